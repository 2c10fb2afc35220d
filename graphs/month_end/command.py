"""What `stateward run month_end` takes, and what `stateward demo` runs."""


class MonthEndCommand:
    """Placeholder until the command line's contract is known."""
