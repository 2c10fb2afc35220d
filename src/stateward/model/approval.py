"""A question to people, and what they may answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stateward.model.values import Json
from stateward.model.verdict import Requirement

ApprovalKind = Literal["action", "answer", "outcome", "escalation"]
ApprovalStatus = Literal["pending", "approved", "edited", "rejected", "responded", "expired"]
DecisionKind = Literal["approve", "edit", "reject", "respond", "done", "retry", "give_up"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a person says.

    Attributes:
        kind: approve, edit (new arguments, judged again), reject, or respond (an answer in place of the tool); for an
            unknown outcome: done (it happened), retry (it did not), give_up.
        reason: Why, for reject; the answer, for respond.
        arguments: The complete new arguments, for edit.
    """

    kind: DecisionKind
    reason: str = ""
    arguments: dict[str, Json] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A decision with its author, as it stands in the database."""

    principal: str
    roles: tuple[str, ...]
    verified_by: str
    decision: Decision
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A question to people, bound by its digest to exactly what they are shown (promise P3).

    Attributes:
        id: Short id for people (`A-7F3K2M`).
        kind: `action` (may this happen?), `answer` (may it leave?), `outcome` (did it happen? after a crash) or
            `escalation`.
        thread: The thread that waits.
        action: The action's id.
        tool: The tool's name, or the answer's.
        arguments: What is to be approved.
        description: What it is, for people, as Markdown.
        requirements: Who has to approve, and why each asks.
        allowed: The decisions that can be taken.
        digest: Over tool, arguments, tool schema, policy, thread and principal.
        editor: The last person who changed the arguments.
        requester: Who asked for the work.
        subject: Whom the work is about.
        expires_at: When the question lapses into a rejection.
    """

    id: str
    kind: ApprovalKind
    tenant: str
    thread: str
    action: str
    turn: str
    tool: str
    arguments: dict[str, Json]
    description: str
    requirements: tuple[Requirement, ...]
    allowed: tuple[DecisionKind, ...]
    digest: str
    requester: str
    subject: str
    editor: str | None = None
    status: ApprovalStatus = "pending"
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    signatures: tuple[Signature, ...] = ()
