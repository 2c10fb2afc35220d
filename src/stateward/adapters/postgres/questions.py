"""Questions as rows: written in the caller's transaction, and read as the JSON that the database makes of them.

What can hold content is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Connection, Row, fetch_one
from stateward.adapters.postgres.envelopes import Fields, sealed
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.statements import statements
from stateward.adapters.sealing import Sealer
from stateward.errors import KeyringError, SealBroken
from stateward.model.approval import Approval, Decision, Delegation, Signature
from stateward.model.values import Json
from stateward.model.verdict import Reason, Requirement

_SQL = statements("desk")


async def insert_question(connection: Connection, sealer: Sealer, question: Approval) -> bool:
    """A question, in the caller's transaction; whether it was not there yet."""
    row = await fetch_one(connection, _SQL["ask"], {"question": Jsonb(sealed(question_row(question), sealer))})
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


async def approval_of(connection: Connection, sealer: Sealer, approval: str) -> Approval | None:
    """An approval, in the caller's transaction. Errors as `approval_noun`."""
    row = await fetch_one(connection, _SQL["question"], {"approval": approval})
    return None if row is None or row["found"] is None else approval_noun(row["found"], sealer)


def question_row(question: Approval) -> dict[str, Any]:
    """A question as `stateward.ask` takes it; it is to be sealed."""
    fields = _fields(question.thread, question.id)
    reminders = [one.remind for one in question.open_requirements if one.remind is not None]
    row: dict[str, Any] = {
        "approval_id": question.id,
        "tenant": question.tenant,
        "thread_id": question.thread,
        "action_id": question.action or None,
        "turn": question.turn,
        "kind": question.kind,
        "tool": question.tool,
        "arguments": fields.json("arguments", question.arguments),
        "description": fields.json("description", question.description),
        "because": fields.json("because", [one.reason.because for one in question.requirements]),
        "requirements": [_requirement_json(one) for one in question.requirements],
        "allowed": list(question.allowed),
        "digest": question.digest,
        "requester": question.requester,
        "subject": question.subject,
        "editor": question.editor,
        "stage": question.stage,
        "confirmation": None if question.confirmation is None else fields.json("confirmation", question.confirmation),
        "within": (question.expires_at - question.requested_at).total_seconds(),
        "remind": min(reminders).total_seconds() if reminders else None,
    }
    return {name: value for name, value in row.items() if value is not None}


def approval_noun(found: Mapping[str, Any], sealer: Sealer) -> Approval:
    """What `stateward.question` gives, as a noun.

    Raises:
        SealBroken: something in it is not what was sealed for its place.
    """
    row = found["approval"]
    fields = _fields(row["thread_id"], row["approval_id"])
    because = fields.opened_json(sealer, "because", row["because"], empty=[""] * len(row["requirements"]))
    if len(because) != len(row["requirements"]):
        raise SealBroken((*fields.place, "requirements"), "it asks by another number of rules")
    typed = any(one.get("confirm") for one in row["requirements"])
    return Approval(
        id=row["approval_id"],
        thread=row["thread_id"],
        action=row["action_id"] or "",
        arguments=fields.opened_json(sealer, "arguments", row["arguments"], empty={}),
        description=fields.opened_json(sealer, "description", row["description"], empty=""),
        confirmation=fields.opened_json(sealer, "confirmation", row["confirmation"], required=typed),
        requirements=tuple(_requirement(one, why) for one, why in zip(row["requirements"], because, strict=True)),
        allowed=tuple(row["allowed"]),
        requested_at=datetime.fromisoformat(row["requested_at"]),
        expires_at=datetime.fromisoformat(row["expires_at"]),
        decided_at=_moment(row["decided_at"]),
        escalated_at=_moment(row["escalated_at"]),
        signatures=tuple(_signature(one, row["thread_id"], sealer) for one in found["signatures"]),
        **{name: row[name] for name in _SAME},
    )


async def opened_questions(keys: DataKeys, rows: Sequence[Row]) -> list[Approval]:
    """Rows whose `found` is what `stateward.question` gives, of any threads, as nouns. Errors as `approval_noun`."""
    async with keys.openings(_threads(rows)) as sealers:
        return _nouns(rows, sealers)


async def readable_questions(keys: DataKeys, rows: Sequence[Row]) -> list[Approval]:
    """The same, without those that cannot be opened, which keep nobody from the others. Each is a security event.

    Raises:
        KeyringError: the key ring fails, not a single data key.
    """
    with suppress(SealBroken, KeyringError):
        return _nouns(rows, await keys.sealers(_threads(rows)))
    found: list[Approval] = []
    for row in rows:
        try:
            async with keys.openings(_threads([row]), once=True) as sealers:
                found += _nouns([row], sealers)
        except SealBroken:
            continue
        except KeyringError:
            await keys.probe()
    return found


def signature_fields(thread: str, approval: str, principal: str) -> Fields:
    """What a decision's texts are bound to."""
    return Fields(("signature", thread, approval, principal))


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


def _threads(rows: Sequence[Row]) -> list[str]:
    return [row["found"]["approval"]["thread_id"] for row in rows]


def _nouns(rows: Sequence[Row], sealers: Mapping[str, Sealer]) -> list[Approval]:
    return [approval_noun(row["found"], sealers[thread]) for row, thread in zip(rows, _threads(rows), strict=True)]


_SAME = (
    *("kind", "tenant", "turn", "tool", "digest", "requester", "subject", "editor"),
    *("status", "stage", "asking"),
)


def _fields(thread: str, approval: str) -> Fields:
    return Fields(("approval", thread, approval))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _signature(one: Mapping[str, Any], thread: str, sealer: Sealer) -> Signature:
    fields = signature_fields(thread, one["approval_id"], one["principal"])
    return Signature(
        principal=one["principal"],
        roles=tuple(one["roles"]),
        verified_by=one["verified_by"],
        decision=Decision(
            kind=one["decision"],
            reason=fields.opened(sealer, "reason", one["reason"]) or "",
            arguments=fields.opened_json(sealer, "arguments", one["arguments"], required=False),
        ),
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
    }


def _requirement(one: Mapping[str, Any], because: str) -> Requirement:
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
        reason=Reason(rule=one["rule"], because=because),
    )
