"""For those who write policies: tests of cases, what a change means, and what it would have meant in the past."""
