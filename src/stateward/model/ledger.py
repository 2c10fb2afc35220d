"""Ledger entries and what a check of their chain finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stateward.model.values import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One transition.

    Attributes:
        thread: The thread whose chain it is in.
        seq: 1-based position without gaps.
        at: When, by the database's clock, in UTC.
        kind: `thread.opened`, `action.allowed`, `approval.approved`, `effect.settled`, ...
        actor: Who caused it.
        action: The action's id, where it is about one.
        tool: The tool's name, where it is about one.
        detail: More that holds no personal data: rule, digest, version, counts.
        prev: Hash of the entry before, 64 zeros for the first.
        hash: SHA-256 over `prev` and `text`.
        text: The exact text that was hashed.
    """

    thread: str
    seq: int
    at: datetime
    kind: str
    actor: str
    action: str | None
    tool: str | None
    detail: dict[str, Json]
    prev: str
    hash: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The end of a thread's chain, as the thread's own row has it."""

    thread: str
    seq: int
    hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """A place where a chain does not hold."""

    thread: str
    seq: int
    problem: Literal["edited", "missing", "reordered", "cut tail", "foreign"]
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReport:
    """What a check of the ledger found."""

    threads: int
    entries: int
    breaks: tuple[Break, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether every chain holds."""
        return not self.breaks
