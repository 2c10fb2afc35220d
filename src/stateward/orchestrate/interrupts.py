"""One interrupt for each turn, in the shape that Agent Chat UI and Studio draw, and what comes back from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from stateward.model.approval import Approval, Decision, DecisionKind
from stateward.model.values import Json, plain_object

LOOK_AGAIN = {"stateward": "look at the desk"}

# What public clients can say, for each kind of question. Ours reach the desk directly and can say everything.
_CLIENT_DECISIONS: dict[str, dict[str, DecisionKind]] = {
    "action": {"approve": "approve", "edit": "edit", "reject": "reject", "respond": "respond"},
    "answer": {"approve": "approve", "edit": "edit", "reject": "reject"},
    "outcome": {"approve": "done", "reject": "give_up", "respond": "retry"},
    "escalation": {"respond": "respond", "reject": "reject"},
}
# Where an approval has to be typed, clients that cannot respond have this field among the arguments to type it in.
_FIELD = "confirmation"
# The older Agent Inbox has other words for the same.
_INBOX_WORDS = {"accept": "approve", "response": "respond", "ignore": "reject"}


def payload(approvals: Sequence[Approval], note: str = "") -> dict[str, Any]:
    """The interrupt's value: LangChain's `HITLRequest`, with our ids beside it.

    Args:
        approvals: The questions of this turn that are still open.
        note: Why the last answer was not taken, if there was one.
    """
    return {
        "action_requests": [_request(approval, note) for approval in approvals],
        "review_configs": [
            {"action_name": approval.tool, "allowed_decisions": _client_decisions(approval)} for approval in approvals
        ],
        "approvals": [approval.id for approval in approvals],
    }


def parse(raw: object, approvals: Sequence[Approval]) -> list[tuple[str, Decision]] | None:
    """The decisions in an answer, each with its approval's id, or None where the answer cannot be understood.

    A client answers by position, so the answer belongs to what the interrupt showed; it must decide all of it.
    """
    answers = _listed(raw)
    if answers is None or len(answers) != len(approvals):
        return None
    decisions = [_decision(answer, approval) for answer, approval in zip(answers, approvals, strict=True)]
    if any(decision is None for decision in decisions):
        return None
    pairs = zip(approvals, decisions, strict=True)
    return [(approval.id, decision) for approval, decision in pairs if decision is not None]


def is_ours(value: object) -> bool:
    """Whether an interrupt's value is a question of ours."""
    return isinstance(value, Mapping) and "approvals" in value and "action_requests" in value


def is_look_again(raw: object) -> bool:
    """Whether the answer only says that somebody has decided elsewhere."""
    return raw == LOOK_AGAIN


def _client_decisions(approval: Approval) -> list[str]:
    """What a client shows buttons for: none approves by itself where something has to be typed."""
    words = _CLIENT_DECISIONS[approval.kind]
    return [word for word in words if approval.confirmation is None or word != "approve"]


def _request(approval: Approval, note: str) -> dict[str, Any]:
    description = f"{approval.description}\n\n> {note}" if note else approval.description
    arguments = dict(approval.arguments)
    if _has_field(approval):
        arguments[_FIELD] = ""
        description += f"\n\nHere: respond with it, or edit the field `{_FIELD}` and nothing else."
    # Agent Inbox reads `arguments`, everything else reads `args`.
    return {"name": approval.tool, "args": arguments, "arguments": arguments, "description": description}


def _listed(raw: object) -> list[object] | None:
    if isinstance(raw, Mapping):
        found = cast("Mapping[str, object]", raw)
        raw = found.get("decisions", [found])
    return cast("list[object]", raw) if isinstance(raw, list) else None


def _decision(answer: object, approval: Approval) -> Decision | None:
    if not isinstance(answer, Mapping):
        return None
    said = cast("Mapping[str, Any]", answer)
    word = str(said.get("type", ""))
    kind = _CLIENT_DECISIONS[approval.kind].get(_INBOX_WORDS.get(word, word))
    if kind is None:
        return None
    if approval.confirmation is not None and kind in ("approve", "respond"):
        return _confirmed(_text(said, kind), approval)
    if kind == "edit":
        return _edit(said, approval)
    return Decision(kind=kind, reason=_text(said, kind))


def _text(said: Mapping[str, Any], kind: DecisionKind) -> str:
    text = said.get("message") or said.get("args") or ""
    if isinstance(text, str) and text.strip():
        return text
    # Clients let people reject without a reason; that it is a rejection matters more than why.
    return "rejected without a reason" if kind == "reject" else ""


def _edit(said: Mapping[str, Any], approval: Approval) -> Decision | None:
    edited = said.get("edited_action") or said.get("args")
    if not isinstance(edited, Mapping):
        return None
    action = cast("Mapping[str, Any]", edited)
    name = action.get("name") or action.get("action")
    arguments = action.get("args") or action.get("arguments")
    if name != approval.tool or not isinstance(arguments, Mapping):
        return None  # an edit cannot change the tool
    try:
        edited_to = plain_object(cast("Mapping[str, object]", arguments))
    except ValueError:
        return None  # JSON cannot say it, such as NaN
    if _has_field(approval):
        typed = edited_to.pop(_FIELD, "")
        if all(_same(edited_to.get(name), value) for name, value in approval.arguments.items()):
            return _confirmed(str(typed), approval)  # nothing was edited: it is an approval, or no decision
    return Decision(kind="edit", arguments=edited_to)


def _has_field(approval: Approval) -> bool:
    return approval.confirmation is not None and _FIELD not in approval.arguments


def _confirmed(typed: str, approval: Approval) -> Decision | None:
    """An approval, where exactly that was typed: a button, an empty text or a wrong one decides nothing."""
    return Decision(kind="approve", confirmation=typed) if typed.strip() == approval.confirmation else None


def _same(edited: Json, shown: Json) -> bool:
    """Whether a form gives a value back as it was shown; forms make strings of everything."""
    if edited == shown:
        return True
    if isinstance(edited, str) and isinstance(shown, int | float) and not isinstance(shown, bool):
        return edited.strip() in (str(shown), f"{shown:g}")
    return isinstance(edited, str) and not isinstance(shown, str) and edited == json.dumps(shown, ensure_ascii=False)
