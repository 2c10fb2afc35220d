"""What is shown of threads, actions, approvals and the ledger, as JSON: by the HTTP API and by `--json` alike.

The shapes are stable: keys are added, never renamed or dropped. Times are ISO 8601 in UTC. The OpenAPI document is made
from these models.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from stateward.audit.views import sentence
from stateward.model.action import ActionStatus
from stateward.model.approval import Approval as Question
from stateward.model.approval import ApprovalKind, ApprovalStatus, DecisionKind
from stateward.model.approval import Signature as Signed
from stateward.model.effect import EffectStatus
from stateward.model.effect import Receipt as Outcome
from stateward.model.ledger import Entry as LedgerEntry
from stateward.model.thread import ThreadRecord, ThreadStatus
from stateward.model.verdict import Requirement as Needed
from stateward.ports import ActionRow


def when(time: datetime) -> str:
    """A time in UTC."""
    return time.astimezone(UTC).isoformat()


Time = Annotated[
    datetime,
    PlainSerializer(when, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
JsonValue = Annotated[Any, WithJsonSchema({})]
JsonObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


class Shape(BaseModel):
    """A shape: what is not declared is not shown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, json_schema_serialization_defaults_required=True
    )

    def json_object(self) -> dict[str, Any]:
        """The shape as JSON."""
        return self.model_dump(mode="json", by_alias=True)


class Thread(Shape):
    """One piece of work."""

    thread: str = Field(description="LangGraph's thread id.")
    workflow: str = Field(description="The graph that it runs on, or the agent identity of a middleware.")
    workflow_version: str = Field(description="The version of the graph that it has to be resumed with.")
    status: ThreadStatus
    erased: bool = Field(description="Its subject was forgotten, or its time was over: what it held is gone.")
    subject: str = Field(description="Whom or what it is about.")
    purpose: str
    principal: str = Field(description="The agent identity that acts.")
    requester: str = Field(description="Who asked for it.")
    tenant: str
    steps: int = Field(description="Steps taken so far.")
    tokens: int = Field(description="Tokens that models have used so far.")
    usd: str = Field(description="What they have cost so far, in US dollars.")
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, record: ThreadRecord) -> Thread:
        """The shape of a thread."""
        return cls(**_thread(record))


class ThreadDetail(Thread):
    """One piece of work, and what it waits for."""

    waits_for: list[str] = Field(description="The approvals that are still to be decided; empty: it can be resumed.")

    @classmethod
    def of(cls, record: ThreadRecord, waits_for: Sequence[str] = ()) -> ThreadDetail:
        """The shape of a thread with the ids of its undecided approvals."""
        return cls(**_thread(record), waits_for=list(waits_for))


class Requirement(Shape):
    """Who has to approve, for one asking rule of the policy."""

    by: list[str] = Field(description="Ids or roles, any of which may decide.")
    of: int = Field(description="How many different people have to approve.")
    excluding: list[str] = Field(alias="not", description="Who may not: requester, subject, editor, or ids.")
    rule: str = Field(description="Where the rule stands in the policy.")
    because: str = Field(description="The rule's sentence for people.")
    stage: int = Field(description="Its people are asked when every rule of a lower stage has its quorum.")

    @classmethod
    def of_noun(cls, one: Needed) -> Requirement:
        """The shape of a requirement."""
        reason = one.reason
        given = {"by": list(one.by), "of": one.of, "not": list(one.excluding), "stage": one.stage}
        return cls.model_validate(given | {"rule": reason.rule, "because": reason.because})


class Signature(Shape):
    """A decision with its author."""

    by: str
    acting_for: str | None = Field(description="Whose right it was decided by, where that was delegated.")
    verified_by: str = Field(description="How the author's identity was established.")
    decision: DecisionKind
    reason: str
    arguments: JsonObject | None = Field(description="The complete new arguments, for an edit.")
    at: Time

    @classmethod
    def of(cls, one: Signed) -> Signature:
        """The shape of a signature."""
        said = one.decision
        return cls(
            by=one.principal,
            acting_for=one.acting_for,
            verified_by=one.verified_by,
            decision=said.kind,
            reason=said.reason,
            arguments=said.arguments,
            at=one.at,
        )


class Approval(Shape):
    """A question to people, bound by its digest to exactly what they are shown."""

    id: str
    kind: ApprovalKind = Field(description="action: may this happen? outcome: did it? escalation: how to go on?")
    status: ApprovalStatus = Field(
        description="pending until it is decided, lapses or is withdrawn; then how it ended."
    )
    thread: str
    tool: str
    arguments: JsonObject = Field(description="What is to be approved, exactly as it will run.")
    description: str = Field(description="What it is, for people, as Markdown.")
    requirements: list[Requirement] = Field(description="Who has to approve: the people of each of them.")
    allowed: list[DecisionKind] = Field(description="The decisions that can be taken.")
    digest: str = Field(description="Binds a decision to what was shown; send it back with the decision.")
    stage: int = Field(description="The stage whose people are asked now.")
    confirmation: str | None = Field(description="What has to be typed to approve it, if anything.")
    escalated_at: Time | None = Field(description="When nobody had decided in time, and others were asked.")
    requester: str = Field(description="Who asked for the work.")
    subject: str = Field(description="Whom or what it is about.")
    editor: str | None = Field(description="The last person who changed the arguments.")
    requested_at: Time
    expires_at: Time = Field(description="When it lapses, or is escalated, where nobody has decided.")
    decided_at: Time | None = Field(description="When it was decided; null before.")
    signatures: list[Signature] = Field(description="What people have said so far, oldest first.")

    @classmethod
    def of(cls, one: Question) -> Approval:
        """The shape of an approval."""
        names = cls.model_fields.keys() - {"requirements", "allowed", "signatures"}
        return cls(
            **{name: getattr(one, name) for name in names},
            requirements=[Requirement.of_noun(each) for each in one.requirements],
            allowed=list(one.allowed),
            signatures=[Signature.of(each) for each in one.signatures],
        )


class Reason(Shape):
    """One rule that spoke."""

    rule: str
    because: str


class Receipt(Shape):
    """What became of a write."""

    status: EffectStatus
    attempt: int
    result: JsonValue = Field(description="What the tool returned, where it is settled.")
    error: str
    settled_at: Time | None

    @classmethod
    def of(cls, one: Outcome) -> Receipt:
        """The shape of a receipt."""
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class Action(Shape):
    """A tool call: its verdict, and what came of it."""

    id: str
    thread: str
    turn: str = Field(description="Id of the message that made the call.")
    position: int = Field(description="0-based place within the turn.")
    edit: int = Field(description="How many times a person has changed the arguments.")
    tool: str
    arguments: JsonObject
    effect: Literal["read", "write"]
    verdict: Literal["allow", "deny", "ask"]
    reasons: list[Reason]
    policy: str = Field(description="name@version of the policy that judged.")
    policy_digest: str
    status: ActionStatus
    response: str = Field(description="Why it was refused, or the answer that a person gave in place of the tool.")
    approvers: list[str]
    receipt: Receipt | None = Field(description="None for a read, and before a write is under way.")

    @classmethod
    def of(cls, row: ActionRow, receipt: Outcome | None) -> Action:
        """The shape of an action and its receipt."""
        action, names = row.action, ("effect", "verdict", "policy", "policy_digest", "status", "response")
        return cls(
            **{name: getattr(action, name) for name in ("id", "thread", "turn", "position", "edit")},
            **{name: getattr(row, name) for name in names},
            tool=action.call.tool,
            arguments=action.call.arguments,
            reasons=[Reason(rule=rule, because=because) for rule, because in row.reasons],
            approvers=list(row.approvers),
            receipt=None if receipt is None else Receipt.of(receipt),
        )


class Entry(Shape):
    """One transition, as the ledger has it."""

    thread: str
    seq: int = Field(description="1-based position in the thread's chain, without gaps.")
    at: Time
    kind: str
    actor: str = Field(description="Who caused it: an id, or policy:NAME for a verdict.")
    action: str | None
    tool: str | None
    detail: JsonObject
    text: str = Field(description="What it says, for people.")
    hash: str = Field(description="SHA-256 over the entry and the hash before it, in hexadecimal.")

    @classmethod
    def of(cls, one: LedgerEntry) -> Entry:
        """The shape of a ledger entry."""
        names = cls.model_fields.keys() - {"text"}
        return cls(**{name: getattr(one, name) for name in names}, text=sentence(one))


def _thread(record: ThreadRecord) -> dict[str, Any]:
    facts = record.facts
    names = ("thread", "subject", "purpose", "principal", "requester", "tenant")
    return {
        **{name: getattr(facts, name) for name in names},
        "workflow": facts.graph,
        "workflow_version": facts.graph_version,
        "status": record.status,
        "erased": record.is_erased,
        "steps": record.spent.steps,
        "tokens": record.spent.tokens,
        "usd": str(record.spent.usd),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
