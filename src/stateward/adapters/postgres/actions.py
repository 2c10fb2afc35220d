"""Actions as rows: written and read in the caller's transaction, with what can hold content sealed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.amounts import amounts
from stateward.adapters.postgres.database import Connection, Row, fetch_one
from stateward.adapters.postgres.envelopes import Fields, Unsealed, sealed
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.questions import insert_question, note_question
from stateward.adapters.postgres.statements import statements
from stateward.adapters.sealing import Sealer
from stateward.approve.ask import action_question
from stateward.errors import SealBroken
from stateward.model.action import Action, ActionStatus, Call
from stateward.model.approval import Approval
from stateward.model.effect import Receipt
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json, digest
from stateward.model.verdict import Reason
from stateward.ports import ActionRow, Judged

_SQL = statements("journal")
_SAID_BY_POSTGRES = re.compile(r"the work was abandoned|edited|nobody decided before [-0-9: ]{16} UTC")
_SAID = {"allow": "allowed", "deny": "denied", "ask": "asked"}
_STATUS: dict[str, ActionStatus] = {"allow": "permitted", "deny": "denied", "ask": "asked"}


async def insert_judged(
    connection: Connection,
    sealer: Sealer,
    thread: ThreadFacts,
    judged: Judged,
    *,
    actor: str,
    summed: Collection[str] = (),
) -> None:
    """A judged action, its ledger entry and its question, in the caller's transaction.

    Args:
        sealer: The thread's own.
        summed: The arguments that the tool's rules add up.
    """
    values = _action_values(sealer, thread, judged, summed)
    if not await fetch_one(connection, _SQL["insert_action"], values):
        return
    action = judged.action
    await append(
        connection,
        thread.thread,
        _kind(judged),
        actor=actor,
        detail=_detail(judged, values["arguments_digest"]),
        action=action.id,
        tool=action.call.tool,
    )
    question = question_of(judged, thread)
    if question is not None:
        await insert_question(connection, sealer, question)
        await note_question(connection, question, actor=actor)


def question_of(judged: Judged, thread: ThreadFacts) -> Approval | None:
    """The question that goes with a verdict, where it asks."""
    return action_question(judged, thread) if judged.verdict.kind == "ask" else None


def judge_transit(thread: ThreadFacts, judged: Judged, *, actor: str, summed: Collection[str] = ()) -> dict[str, Any]:
    """The same as a transition of the next commit, for a verdict that asks nobody; it is to be sealed."""
    row = _action_row(thread, judged, summed)
    detail = _detail(judged, row["arguments_digest"])
    return {"do": "judge", "row": row, "kind": _kind(judged), "actor": actor, "detail": detail}


def judged_row(judged: Judged) -> ActionRow:
    """A judged action as its row will read."""
    verdict = judged.verdict
    return ActionRow(
        action=judged.action,
        status=_STATUS[verdict.kind],
        verdict=verdict.kind,
        effect=judged.effect,
        identity=judged.identity,
        idempotent=judged.idempotent,
        reasons=_pairs(verdict.reasons),
        response=_because(judged),
        approvers=(),
        policy=judged.policy,
        policy_digest=judged.policy_digest,
        observed=_pairs(judged.observed),
        labels=judged.labels,
        undoes=judged.undoes,
    )


def action_row(row: Row, sealer: Sealer) -> ActionRow:
    """A row as a noun.

    Raises:
        SealBroken: something in it is not what was sealed for its place.
    """
    reasons = _fields(row).opened_json(sealer, "reasons", row["reasons"], empty=(), required=False)
    call = Call(id=row["call_id"], tool=row["tool"], arguments=arguments_of(row, sealer))
    return ActionRow(
        action=Action(
            id=row["action_id"],
            thread=row["thread_id"],
            turn=row["turn"],
            position=row["position"],
            call=call,
            tool_digest=row["tool_digest"],
            edit=row["edit"],
        ),
        status=row["status"],
        verdict=row["verdict"],
        effect=row["effect"],
        identity=row["identity"],
        idempotent=row["idempotent"],
        reasons=tuple((one["rule"], one["because"]) for one in reasons if not one.get("observed")),
        response=_response(row, sealer),
        approvers=tuple(row["approvers"]),
        policy=row["policy"],
        policy_digest=row["policy_digest"],
        observed=tuple((one["rule"], one["because"]) for one in reasons if one.get("observed")),
        labels=tuple(row["labels"]),
        undoes=row["undoes"],
    )


def arguments_of(row: Row, sealer: Sealer) -> dict[str, Json]:
    """The arguments of a row; of one whose thread was erased, none. Errors as `action_row`."""
    return _fields(row).opened_json(sealer, "arguments", row["arguments"], empty={})


def receipt_of(row: Row, sealer: Sealer) -> Receipt:
    """An effect's row as a noun. Errors as `action_row`."""
    fields = effect_fields(row["thread_id"], row["action_id"])
    return Receipt(
        action=row["action_id"],
        status=row["status"],
        result=fields.opened_json(sealer, "result", row["result"], required=row["status"] == "settled"),
        error=fields.opened(sealer, "error", row["error"]) or "",
        attempt=row["attempt"],
        settled_at=_moment(row["settled_at"]),
    )


def effect_fields(thread: str, action: str) -> Fields:
    """What an effect's result and error are bound to."""
    return Fields(("effect", thread, action))


def response_field(thread: str, action: str, text: str) -> Unsealed | None:
    """A response on its way into an action's row."""
    return Fields(("action", thread, action)).text("response", text)


def _fields(row: Row) -> Fields:
    return Fields(("action", row["thread_id"], row["action_id"]))


def _response(row: Row, sealer: Sealer) -> str:
    text = _fields(row).opened(sealer, "response", row["response"], required=row["status"] == "responded")
    if text is None and row["said"] is not None:
        if not _SAID_BY_POSTGRES.fullmatch(row["said"]):
            raise SealBroken((*_fields(row).place, "said"), "the database does not say this by itself")
        return row["said"]
    return text or ""


def _action_values(sealer: Sealer, thread: ThreadFacts, judged: Judged, summed: Collection[str]) -> dict[str, Any]:
    row = sealed(_action_row(thread, judged, summed), sealer)
    cleared = judged.limited and judged.verdict.kind == "allow"
    more = {"thread": thread.thread, "cleared": cleared, "undoes": judged.undoes}
    return row | more | {"amounts": Jsonb(row["amounts"])}


def _action_row(thread: ThreadFacts, judged: Judged, summed: Collection[str]) -> dict[str, Any]:
    action, verdict = judged.action, judged.verdict
    fields = Fields(("action", thread.thread, action.id))
    reasons = _reasons(judged)
    return {
        "action_id": action.id,
        "tenant": thread.tenant,
        "turn": action.turn,
        "position": action.position,
        "call_id": action.call.id,
        "edit": action.edit,
        "tool": action.call.tool,
        "tool_digest": action.tool_digest,
        "arguments": fields.json("arguments", action.call.arguments),
        "amounts": {} if verdict.kind == "deny" else amounts(action.call.arguments, summed),
        "arguments_digest": digest(action.call.arguments),
        "effect": judged.effect,
        "identity": judged.identity,
        "idempotent": judged.idempotent,
        "policy": judged.policy,
        "policy_digest": judged.policy_digest,
        "verdict": verdict.kind,
        "reasons": fields.json("reasons", reasons) if reasons else None,
        "status": _STATUS[verdict.kind],
        "response": fields.text("response", _because(judged)),
        "labels": list(judged.labels),
    }


def _detail(judged: Judged, arguments_digest: str) -> dict[str, Json]:
    """What the ledger keeps of a verdict: enough to explain it, and to judge the call again by another policy."""
    detail: dict[str, Json] = {
        "policy": judged.policy,
        "policy_digest": judged.policy_digest,
        "rules": [reason.rule for reason in judged.verdict.reasons],
        "digest": arguments_digest,
    }
    if judged.observed:
        detail["observed"] = [reason.rule for reason in judged.observed]
    if judged.facts:
        detail["facts"] = dict(judged.facts)
    if judged.labels:
        detail["labels"] = list(judged.labels)
    if judged.undoes is not None:
        detail["undoes"] = judged.undoes
    return detail


def _kind(judged: Judged) -> str:
    return f"{'answer' if judged.effect == 'answer' else 'action'}.{_SAID[judged.verdict.kind]}"


def _reasons(judged: Judged) -> list[dict[str, Any]]:
    enforced = [{"rule": one.rule, "because": one.because} for one in judged.verdict.reasons]
    return enforced + [{"rule": one.rule, "because": one.because, "observed": True} for one in judged.observed]


def _moment(at: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def _pairs(reasons: Iterable[Reason]) -> tuple[tuple[str, str], ...]:
    return tuple((one.rule, one.because) for one in reasons)


def _because(judged: Judged) -> str:
    return "; ".join(reason.because for reason in judged.verdict.reasons) if judged.verdict.kind == "deny" else ""
