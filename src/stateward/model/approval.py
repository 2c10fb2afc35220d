"""A question to people, and what they may answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stateward.model.values import Json
from stateward.model.verdict import Requirement

ApprovalKind = Literal["action", "answer", "outcome", "escalation"]
ApprovalStatus = Literal["pending", "approved", "edited", "rejected", "responded", "expired", "withdrawn"]
DecisionKind = Literal["approve", "edit", "reject", "respond", "done", "retry", "give_up"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a person says.

    Attributes:
        kind: approve, edit (new arguments, judged again), reject, or respond (an answer in place of the tool); for an
            unknown outcome: done (it happened), retry (it did not), give_up.
        reason: Why, for reject; the answer, for respond.
        arguments: The complete new arguments, for edit.
        confirmation: What was typed to confirm an approval, where the question asks for that.
    """

    kind: DecisionKind
    reason: str = ""
    arguments: dict[str, Json] | None = None
    confirmation: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A decision with its author, as it stands in the database.

    Attributes:
        asking: Which asking it answers; it counts for no other stage, and not after an escalation.
        acting_for: Whose right the person decided by, where it was delegated.
        acting_roles: The roles that were delegated.
    """

    principal: str
    roles: tuple[str, ...]
    verified_by: str
    decision: Decision
    at: datetime
    asking: int = 1
    acting_for: str | None = None
    acting_roles: tuple[str, ...] = ()

    @property
    def by(self) -> frozenset[str]:
        """The names that it was decided by."""
        mine = (self.principal, *self.roles)
        return frozenset(mine if self.acting_for is None else (self.acting_for, *self.acting_roles))

    @property
    def names(self) -> frozenset[str]:
        """All names of the person, and of whom they decided for."""
        return self.by | {self.principal, *self.roles}


@dataclass(frozen=True, kw_only=True, slots=True)
class Delegation:
    """One person decides with the right of another, for a time.

    Attributes:
        id: Its id (`D-7F3K2M`).
        delegator: Whose right it is.
        roles: The delegator's roles that go with it.
        delegate: Who decides.
        since: From when.
        until: Until when; at that moment it has ended.
    """

    id: str
    tenant: str
    delegator: str
    roles: tuple[str, ...]
    delegate: str
    since: datetime
    until: datetime
    revoked_at: datetime | None = None

    @property
    def by(self) -> frozenset[str]:
        """The names that the delegate may decide by."""
        return frozenset({self.delegator, *self.roles})


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
        expires_at: When the time of those who are asked now ends; then it is escalated or a rejection.
        stage: The stage whose people are asked now.
        asking: How often people were asked: again for each stage, and when it was escalated.
        escalated_at: When nobody had decided in time, and others were asked.
        confirmation: What has to be typed to approve it, if anything.
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
    stage: int = 1
    asking: int = 1
    escalated_at: datetime | None = None
    confirmation: str | None = None
    signatures: tuple[Signature, ...] = ()

    @property
    def open_requirements(self) -> tuple[Requirement, ...]:
        """The rules whose people are asked now: those of the current stage."""
        return tuple(one for one in self.requirements if one.stage == self.stage and not one.met)
