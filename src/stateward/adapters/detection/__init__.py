"""Finding personal data in texts: Presidio's recognizers, rules and lists of our own, and models by choice."""
