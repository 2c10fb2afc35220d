"""Questions as rows: written in the caller's transaction, and read as the JSON that the database makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.database import Connection, fetch_one
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.statements import statements
from stateward.model.approval import Approval, Decision, Delegation, Signature
from stateward.model.values import Json
from stateward.model.verdict import Reason, Requirement

_SQL = statements("desk")


async def insert_question(connection: Connection, question: Approval) -> bool:
    """A question, in the caller's transaction; whether it was not there yet."""
    row = await fetch_one(connection, _SQL["ask"], {"question": Jsonb(question_row(question))})
    return bool(row and row["asked"])


async def note_question(connection: Connection, question: Approval, *, actor: str) -> None:
    """The ledger entry that goes with a question."""
    await append(
        connection,
        question.thread,
        "approval.asked",
        actor=actor,
        detail={**asked_detail(question), "approval": question.id, "digest": question.digest},
        action=question.action or None,
        tool=question.tool,
    )


def asked_detail(question: Approval) -> dict[str, Json]:
    """What that entry says beside the question's id and digest."""
    by = sorted({name for requirement in question.open_requirements for name in requirement.by})
    return {"kind": question.kind, "by": by}


async def approval_of(connection: Connection, approval: str) -> Approval | None:
    """An approval, in the caller's transaction."""
    row = await fetch_one(connection, _SQL["question"], {"approval": approval})
    return None if row is None or row["found"] is None else approval_noun(row["found"])


def question_row(question: Approval) -> dict[str, Any]:
    """A question as `stateward.ask` takes it."""
    reminders = [one.remind for one in question.open_requirements if one.remind is not None]
    row: dict[str, Any] = {
        "approval_id": question.id,
        "tenant": question.tenant,
        "thread_id": question.thread,
        "action_id": question.action or None,
        "turn": question.turn,
        "kind": question.kind,
        "tool": question.tool,
        "arguments": json.dumps(question.arguments, ensure_ascii=False),
        "description": question.description,
        "requirements": [_requirement_json(one) for one in question.requirements],
        "allowed": list(question.allowed),
        "digest": question.digest,
        "requester": question.requester,
        "subject": question.subject,
        "editor": question.editor,
        "stage": question.stage,
        "confirmation": question.confirmation,
        "within": (question.expires_at - question.requested_at).total_seconds(),
        "remind": min(reminders).total_seconds() if reminders else None,
    }
    return {name: value for name, value in row.items() if value is not None}


def approval_noun(found: Mapping[str, Any]) -> Approval:
    """What `stateward.question` gives, as a noun."""
    row = found["approval"]
    return Approval(
        id=row["approval_id"],
        thread=row["thread_id"],
        action=row["action_id"] or "",
        requirements=tuple(_requirement(one) for one in row["requirements"]),
        allowed=tuple(row["allowed"]),
        requested_at=datetime.fromisoformat(row["requested_at"]),
        expires_at=datetime.fromisoformat(row["expires_at"]),
        decided_at=_moment(row["decided_at"]),
        escalated_at=_moment(row["escalated_at"]),
        signatures=tuple(_signature(one) for one in found["signatures"]),
        **{name: row[name] for name in _SAME},
    )


def delegation_noun(row: Mapping[str, Any]) -> Delegation:
    """A delegation's row as a noun."""
    return Delegation(
        id=row["delegation_id"],
        roles=tuple(row["roles"]),
        since=datetime.fromisoformat(row["since"]),
        until=datetime.fromisoformat(row["until"]),
        revoked_at=_moment(row["revoked_at"]),
        **{name: row[name] for name in ("tenant", "delegator", "delegate")},
    )


_SAME = (
    *("kind", "tenant", "turn", "tool", "arguments", "description", "digest", "requester", "subject", "editor"),
    *("status", "stage", "asking", "confirmation"),
)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _signature(one: Mapping[str, Any]) -> Signature:
    return Signature(
        principal=one["principal"],
        roles=tuple(one["roles"]),
        verified_by=one["verified_by"],
        decision=Decision(kind=one["decision"], reason=one["reason"], arguments=one["arguments"]),
        at=datetime.fromisoformat(one["at"]),
        asking=one["asking"],
        acting_for=one["acting_for"],
        acting_roles=tuple(one["acting_roles"]),
    )


def _requirement_json(one: Requirement) -> dict[str, Any]:
    return {
        "by": list(one.by),
        "of": one.of,
        "not": list(one.excluding),
        "within": one.within.total_seconds(),
        "stage": one.stage,
        "remind": None if one.remind is None else one.remind.total_seconds(),
        "confirm": one.confirm,
        "escalate": list(one.escalate),
        "escalate_within": one.escalate_within.total_seconds(),
        "rule": one.reason.rule,
        "because": one.reason.because,
    }


def _requirement(one: Mapping[str, Any]) -> Requirement:
    remind = one.get("remind")
    return Requirement(
        by=tuple(one["by"]),
        of=one["of"],
        excluding=tuple(one["not"]),
        within=timedelta(seconds=one["within"]),
        stage=one.get("stage", 1),
        remind=None if remind is None else timedelta(seconds=remind),
        confirm=one.get("confirm", False),
        escalate=tuple(one.get("escalate", ())),
        escalate_within=timedelta(seconds=one.get("escalate_within", 0)),
        met=one.get("met", False),
        reason=Reason(rule=one["rule"], because=one["because"]),
    )
