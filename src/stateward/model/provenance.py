"""Where what a thread works with comes from: its labels, and the texts in which it has seen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Origin = Literal["person", "trusted", "untrusted", "unknown"]
ORIGINS: tuple[Origin, ...] = ("person", "trusted", "untrusted", "unknown")
"""From the one that proves most to the one that proves nothing."""

UNTRUSTED = "untrusted"
"""The label whose meaning is fixed: somebody whom nobody vouches for may have written it."""

_SEPARATORS = str.maketrans("", "", " -/()+")


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A text that values can have been seen in.

    Attributes:
        source: What names it: a call's action, an item, or a request.
        origin: What a value that stands in it is.
        text: Its words in one normal form.
        numbers: The numbers in it, each in one form.
    """

    source: str
    origin: Origin
    text: str
    numbers: frozenset[str]

    @cached_property
    def compact(self) -> str:
        """The text without what people put between the groups of an account's or a telephone's number."""
        return self.text.translate(_SEPARATORS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ThreadPast:
    """What a thread has come by.

    Attributes:
        labels: Each with the turn that brought it first, empty where none did.
        sightings: The texts that it has seen, oldest first.
    """

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    sightings: tuple[Sighting, ...] = ()
