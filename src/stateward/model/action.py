"""An action: a tool call that somebody proposes, before anybody has judged it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from stateward.model.values import Json, canonical

ActionStatus = Literal["denied", "asked", "permitted", "rejected", "responded", "superseded", "consumed", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A tool call as the planner made it.

    Attributes:
        id: The call's id within its message.
        tool: Name of the tool.
        arguments: The arguments as JSON.
    """

    id: str
    tool: str
    arguments: dict[str, Json]


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """A call with its place: which thread, which turn, which position.

    Attributes:
        id: Derived from thread, turn, call and edit, so that a replay finds the same row.
        thread: The thread's id.
        turn: Id of the message that made the call.
        position: 0-based place within the turn.
        call: The call.
        tool_digest: Digest over the tool's argument schema.
        edit: How many times a person has changed the arguments.
    """

    id: str
    thread: str
    turn: str
    position: int
    call: Call
    tool_digest: str
    edit: int = 0


def undo_id(action: str) -> str:
    """Id of the action that takes this one back. No turn and no call that a client names can arrive at it."""
    return hashlib.sha256(canonical(["undo", action]).encode()).hexdigest()[:32]


def action_id(*, thread: str, turn: str, call: str, edit: int = 0) -> str:
    """The action's id: 32 hex digits that a crash and a replay arrive at again."""
    return hashlib.sha256(canonical([thread, turn, call, edit]).encode()).hexdigest()[:32]
