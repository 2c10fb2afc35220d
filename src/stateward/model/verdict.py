"""What the gate says: allow, deny or ask, with reasons; and the permit that lets an action happen once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from stateward.model.values import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One rule that spoke.

    Attributes:
        rule: Where it stands, such as `tools.post_journal_entry.ask[0]`.
        because: The sentence for people.
    """

    rule: str
    because: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """Who has to approve, for one asking rule.

    Attributes:
        by: Ids or roles, any of which may decide.
        of: How many different people have to approve.
        excluding: Who may not: `requester`, `subject` or `editor`, or ids.
        within: How long its people have, from the moment that it is their turn.
        stage: Its people are asked when every rule of a lower stage has its quorum.
        remind: How often they are reminded meanwhile; never where it is None.
        confirm: Whether an approval needs the typed confirmation.
        escalate: Who is asked in their place when they have not decided in time; nobody: it is a rejection then.
        escalate_within: How long those have.
        met: Whether it had its quorum when the others of its stage were escalated.
        reason: The rule and its sentence.
    """

    by: tuple[str, ...]
    of: int = 1
    excluding: tuple[str, ...] = ()
    within: timedelta = timedelta(days=7)
    stage: int = 1
    remind: timedelta | None = None
    confirm: bool = False
    escalate: tuple[str, ...] = ()
    escalate_within: timedelta = timedelta(days=7)
    met: bool = False
    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Allow:
    """The action may happen."""

    kind: Literal["allow"] = "allow"
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Deny:
    """The action must not happen. The first refusal wins."""

    kind: Literal["deny"] = "deny"
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """People have to say so first; every asking rule is in the one request."""

    kind: Literal["ask"] = "ask"
    requirements: tuple[Requirement, ...]

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons of all requirements."""
        return tuple(requirement.reason for requirement in self.requirements)


Verdict = Allow | Deny | Ask


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """The right to perform one action once. Only verify and approve make one; reserving uses it up.

    Attributes:
        action: The action's id.
        thread: Its thread.
        call: The call's id, for the tool message.
        tool: The tool.
        arguments: Exactly what was judged, and shown where people were asked.
        effect: `read` or `write`, as the policy says.
        identity: The credential to mint for this call, if any.
        idempotent: Whether running it again with the same key is harmless.
        approvers: Who approved, empty where the policy allowed it.
    """

    action: str
    thread: str
    call: str
    tool: str
    arguments: dict[str, Json]
    effect: Literal["read", "write"]
    identity: str | None = None
    idempotent: bool = False
    approvers: tuple[str, ...] = ()
