"""What a team gives to a workflow: its functions, and what they are handed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stateward.model.effect import Receipt
from stateward.ports import ActionRow

Update = Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A call that was performed in this turn: its row and its receipt."""

    row: ActionRow
    receipt: Receipt


StepFunction = Callable[[Any, Any], Awaitable[Update]]
RememberFunction = Callable[[Any, Any, Done], Awaitable[None]]
CheckFunction = Callable[[Any, Any], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The functions that a team gives to a workflow."""

    retrieve: Sequence[StepFunction]
    planner: object
    instructions: str
    remember: Mapping[str, RememberFunction]
    validate: Sequence[CheckFunction]
    answer: StepFunction | None
    subject: Callable[[Any], str]
