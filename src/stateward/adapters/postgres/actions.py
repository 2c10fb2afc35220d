"""Actions as rows: written and read in the caller's transaction."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.database import Connection, Row, fetch_one
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.questions import insert_question, note_question
from stateward.adapters.postgres.statements import statements
from stateward.approve.ask import action_question
from stateward.model.action import Action, Call
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json, digest
from stateward.ports import ActionRow, Judged

_SQL = statements("journal")
_STATUS = {"allow": "permitted", "deny": "denied", "ask": "asked"}


async def insert_judged(connection: Connection, thread: ThreadFacts, judged: Judged, *, actor: str) -> None:
    """A judged action, its ledger entry and its question, in the caller's transaction."""
    if not await fetch_one(connection, _SQL["insert_action"], _action_values(thread, judged)):
        return
    action = judged.action
    detail: dict[str, Json] = {
        "policy": judged.policy,
        "rules": [reason.rule for reason in judged.verdict.reasons],
        "digest": digest(action.call.arguments),
    }
    kind = {"allow": "action.allowed", "deny": "action.denied", "ask": "action.asked"}[judged.verdict.kind]
    await append(connection, thread.thread, kind, actor=actor, detail=detail, action=action.id, tool=action.call.tool)
    if judged.verdict.kind == "ask":
        question = action_question(judged, thread)
        await insert_question(connection, question)
        await note_question(connection, question, actor=actor)


def action_row(row: Row) -> ActionRow:
    """A row as a noun."""
    call = Call(id=row["call_id"], tool=row["tool"], arguments=row["arguments"])
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
        reasons=tuple((reason["rule"], reason["because"]) for reason in row["reasons"]),
        response=row["response"],
        approvers=tuple(row["approvers"]),
        policy=row["policy"],
        policy_digest=row["policy_digest"],
    )


def _action_values(thread: ThreadFacts, judged: Judged) -> dict[str, Any]:
    action, verdict = judged.action, judged.verdict
    because = "; ".join(reason.because for reason in verdict.reasons) if verdict.kind == "deny" else ""
    return {
        "action_id": action.id,
        "thread": thread.thread,
        "tenant": thread.tenant,
        "turn": action.turn,
        "position": action.position,
        "call_id": action.call.id,
        "edit": action.edit,
        "tool": action.call.tool,
        "tool_digest": action.tool_digest,
        "arguments": Jsonb(action.call.arguments),
        "arguments_digest": digest(action.call.arguments),
        "effect": judged.effect,
        "identity": judged.identity,
        "idempotent": judged.idempotent,
        "policy": judged.policy,
        "policy_digest": judged.policy_digest,
        "verdict": verdict.kind,
        "reasons": Jsonb([{"rule": reason.rule, "because": reason.because} for reason in verdict.reasons]),
        "status": _STATUS[verdict.kind],
        "response": because,
    }
