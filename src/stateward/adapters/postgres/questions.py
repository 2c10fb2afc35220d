"""Questions as rows: written and read in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Json as OrderedJson
from psycopg.types.json import Jsonb

from stateward.adapters.postgres.database import Connection, Row, fetch_one
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.statements import statements
from stateward.model.approval import Approval, Decision, Signature
from stateward.model.values import Json
from stateward.model.verdict import Reason, Requirement

_SQL = statements("desk")


async def insert_question(connection: Connection, question: Approval) -> bool:
    """A question, in the caller's transaction; whether it was not there yet."""
    values: dict[str, Any] = {
        "approval_id": question.id,
        "tenant": question.tenant,
        "thread": question.thread,
        "action_id": question.action or None,
        "turn": question.turn,
        "kind": question.kind,
        "tool": question.tool,
        "arguments": OrderedJson(question.arguments),
        "description": question.description,
        "requirements": Jsonb([_requirement_json(one) for one in question.requirements]),
        "allowed": list(question.allowed),
        "digest": question.digest,
        "requester": question.requester,
        "subject": question.subject,
        "editor": question.editor,
        "within": question.expires_at - question.requested_at,
    }
    return await fetch_one(connection, _SQL["insert_approval"], values) is not None


async def note_question(connection: Connection, question: Approval, *, actor: str) -> None:
    """The ledger entry that goes with a question."""
    by = sorted({name for requirement in question.requirements for name in requirement.by})
    detail: dict[str, Json] = {
        "approval": question.id,
        "kind": question.kind,
        "by": by,
        "digest": question.digest,
    }
    await append(
        connection,
        question.thread,
        "approval.asked",
        actor=actor,
        detail=detail,
        action=question.action,
        tool=question.tool,
    )


async def approval_of(connection: Connection, approval: str) -> Approval | None:
    """An approval, in the caller's transaction."""
    row = await fetch_one(connection, _SQL["approval"], {"approval_id": approval})
    return None if row is None else approval_noun(row)


def approval_noun(row: Row) -> Approval:
    """A row as a noun."""
    return Approval(
        id=row["approval_id"],
        kind=row["kind"],
        tenant=row["tenant"],
        thread=row["thread_id"],
        action=row["action_id"] or "",
        turn=row["turn"],
        tool=row["tool"],
        arguments=row["arguments"],
        description=row["description"],
        requirements=tuple(_requirement(one) for one in row["requirements"]),
        allowed=tuple(row["allowed"]),
        digest=row["digest"],
        requester=row["requester"],
        subject=row["subject"],
        editor=row["editor"],
        status=row["status"],
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        decided_at=row["decided_at"],
        signatures=tuple(_signature(one) for one in row["signatures"]),
    )


def _signature(one: Mapping[str, Any]) -> Signature:
    return Signature(
        principal=one["principal"],
        roles=tuple(one["roles"]),
        verified_by=one["verified_by"],
        decision=Decision(kind=one["decision"], reason=one["reason"], arguments=one["arguments"]),
        at=datetime.fromisoformat(one["at"]),
    )


def _requirement_json(one: Requirement) -> dict[str, Any]:
    return {
        "by": list(one.by),
        "of": one.of,
        "not": list(one.excluding),
        "within": one.within.total_seconds(),
        "rule": one.reason.rule,
        "because": one.reason.because,
    }


def _requirement(one: Mapping[str, Any]) -> Requirement:
    return Requirement(
        by=tuple(one["by"]),
        of=one["of"],
        excluding=tuple(one["not"]),
        within=timedelta(seconds=one["within"]),
        reason=Reason(rule=one["rule"], because=one["because"]),
    )
