"""Actions as rows: written and read in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.database import Connection, Row, fetch_one
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.questions import insert_question, note_question
from stateward.adapters.postgres.statements import statements
from stateward.approve.ask import action_question
from stateward.model.action import Action, ActionStatus, Call
from stateward.model.approval import Approval
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json, digest
from stateward.model.verdict import Reason
from stateward.ports import ActionRow, Judged

_SQL = statements("journal")
_SAID = {"allow": "allowed", "deny": "denied", "ask": "asked"}
_STATUS: dict[str, ActionStatus] = {"allow": "permitted", "deny": "denied", "ask": "asked"}


async def insert_judged(connection: Connection, thread: ThreadFacts, judged: Judged, *, actor: str) -> None:
    """A judged action, its ledger entry and its question, in the caller's transaction."""
    values = _action_values(thread, judged)
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
        await insert_question(connection, question)
        await note_question(connection, question, actor=actor)


def question_of(judged: Judged, thread: ThreadFacts) -> Approval | None:
    """The question that goes with a verdict, where it asks."""
    return action_question(judged, thread) if judged.verdict.kind == "ask" else None


def judge_transit(thread: ThreadFacts, judged: Judged, *, actor: str) -> dict[str, Any]:
    """The same as a transition of the next commit, for a verdict that asks nobody."""
    row = _action_row(thread, judged)
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
        reasons=tuple((one["rule"], one["because"]) for one in row["reasons"] if not one.get("observed")),
        response=row["response"],
        approvers=tuple(row["approvers"]),
        policy=row["policy"],
        policy_digest=row["policy_digest"],
        observed=tuple((one["rule"], one["because"]) for one in row["reasons"] if one.get("observed")),
        labels=tuple(row["labels"]),
        undoes=row["undoes"],
    )


def _action_values(thread: ThreadFacts, judged: Judged) -> dict[str, Any]:
    row = _action_row(thread, judged)
    cleared = judged.limited and judged.verdict.kind == "allow"
    more = {"thread": thread.thread, "cleared": cleared, "undoes": judged.undoes}
    return row | more | {"arguments": Jsonb(row["arguments"]), "reasons": Jsonb(row["reasons"])}


def _action_row(thread: ThreadFacts, judged: Judged) -> dict[str, Any]:
    action, verdict = judged.action, judged.verdict
    return {
        "action_id": action.id,
        "tenant": thread.tenant,
        "turn": action.turn,
        "position": action.position,
        "call_id": action.call.id,
        "edit": action.edit,
        "tool": action.call.tool,
        "tool_digest": action.tool_digest,
        "arguments": action.call.arguments,
        "arguments_digest": digest(action.call.arguments),
        "effect": judged.effect,
        "identity": judged.identity,
        "idempotent": judged.idempotent,
        "policy": judged.policy,
        "policy_digest": judged.policy_digest,
        "verdict": verdict.kind,
        "reasons": _reasons(judged),
        "status": _STATUS[verdict.kind],
        "response": _because(judged),
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


def _pairs(reasons: Iterable[Reason]) -> tuple[tuple[str, str], ...]:
    return tuple((one.rule, one.because) for one in reasons)


def _because(judged: Judged) -> str:
    return "; ".join(reason.because for reason in judged.verdict.reasons) if judged.verdict.kind == "deny" else ""
