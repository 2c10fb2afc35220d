"""What came of abandoning a thread: which effects were taken back, and which were left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Undoing:
    """One effect of an abandoned thread.

    Attributes:
        action: Id of the action that had the effect.
        tool: Its tool.
        outcome: `undone`, `left` (it stands, and nothing more is done about it) or `waiting`.
        why: Why it is left, or what it waits for; empty where it was undone.
        approval: Id of the question to people that it waits for.
    """

    action: str
    tool: str
    outcome: Literal["undone", "left", "waiting"]
    why: str = ""
    approval: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Abandonment:
    """What came of it, the latest effect first.

    Attributes:
        thread: The thread, which is abandoned whatever stands here.
        effects: What it has done. While it is not known whether something happened, only that.
    """

    thread: str
    effects: tuple[Undoing, ...] = ()

    @property
    def undone(self) -> tuple[Undoing, ...]:
        """What was taken back."""
        return tuple(one for one in self.effects if one.outcome == "undone")

    @property
    def left(self) -> tuple[Undoing, ...]:
        """What stands, with the reason."""
        return tuple(one for one in self.effects if one.outcome == "left")

    @property
    def waiting(self) -> tuple[Undoing, ...]:
        """What is not finished: abandoning the thread again goes on with it."""
        return tuple(one for one in self.effects if one.outcome == "waiting")
