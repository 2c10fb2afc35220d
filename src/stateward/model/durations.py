"""Durations as a policy writes them: a whole number and one unit."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([1-9][0-9]*)([smhdw])")


def parse_duration(text: object) -> timedelta:
    """Read a duration: a whole number and one unit, `90s`, `15m`, `48h`, `7d` or `2w`.

    Raises:
        ValueError: it is something else, or longer than a timedelta holds.
    """
    if isinstance(text, timedelta):
        return text
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("expected a duration such as 90s, 15m, 48h, 7d or 2w")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise ValueError("this duration is too long") from None


def duration_text(span: timedelta) -> str:
    """A duration as a policy writes it, in the largest unit that divides it: `48h` reads `2d`."""
    seconds = int(span.total_seconds())
    sizes = ((unit, int(timedelta(**{word: 1}).total_seconds())) for unit, word in reversed(_UNITS.items()))
    return next(f"{seconds // size}{unit}" for unit, size in sizes if seconds % size == 0)


def _read(value: object, info: ValidationInfo) -> object:
    # What was kept of a policy has ISO 8601, which its digest is taken over and which pydantic reads by itself.
    kept = info.context == KEPT and isinstance(value, str) and value.startswith("P")
    return value if kept else parse_duration(value)


KEPT = "kept"
"""The context in which what was kept is validated, instead of what a team writes."""

Duration = Annotated[timedelta, BeforeValidator(_read)]
