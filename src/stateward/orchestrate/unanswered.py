"""What a conversation has no answer for, as when a person writes on while people are asked about a call.

The question is not lost: the run goes back to it, and what the person wrote is read after the call's answer. Providers
refuse a conversation in which a call is not followed by its answer, so the model sees it in that order; the state keeps
the order in which things happened. Where a step of the workflow waits, or its answer, the node that waits goes on with
the conversation as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

_NEVER_ANSWERED = "there is no answer: this call was left, and whether it ran is not known here"


# The nodes in which a team's own functions may act, and so wait.
_NODES = ("retrieve", "remember", "validate", "answer")


def going_back(turn: str, messages: Sequence[AnyMessage]) -> tuple[str, str] | None:
    """The node that waits for a question of this turn, and the id of the message that it was at.

    Args:
        turn: The question's turn.
        messages: The conversation before the person wrote on.

    Returns:
        None where the turn's calls stand in the conversation.
    """
    if any(one.id == turn and isinstance(one, AIMessage) and not one.tool_calls for one in messages):
        return "validate", turn  # an answer that is judged
    for node in _NODES:
        place = next((id_ for id_ in _ids(messages) if turn.startswith(f"step:{node}:{id_}:")), None)
        if place is not None:
            return node, place
    return None


def waiting_task(turn: str) -> str:
    """The task of an agent's model that asks: about its answer, or how to go on; nothing where it is about calls."""
    about = turn.removeprefix("escalate:").removeprefix("answer:")
    return "" if about == turn else about.split(":")[0]


def as_it_was(state: Any) -> Any:
    """The state as it was when people were asked, where the last message came since; else the state."""
    messages = state.get("messages") or ()
    resumes = cast("Mapping[str, str]", state.get("resumes") or {})
    place = resumes.get(messages[-1].id) if messages else None
    at = next((at for at, one in enumerate(messages) if place is not None and one.id == place), None)
    return state if at is None else {**state, "messages": messages[: at + 1]}


def unanswered(messages: Sequence[AnyMessage]) -> AIMessage | None:
    """The last message that a model made, where it makes calls and not all of them have been answered."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            return message if _calls(message).keys() - answered else None
    return None


def in_order(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The conversation as a model may see it: each call's answer directly after the message that makes the call."""
    if _is_in_order(messages):
        return list(messages)
    answers = {one.tool_call_id: one for one in messages if isinstance(one, ToolMessage)}
    ordered: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            continue
        ordered.append(message)
        if isinstance(message, AIMessage):
            ordered.extend(answers.get(id_) or _left(id_, name) for id_, name in _calls(message).items())
    return ordered


def _ids(messages: Sequence[AnyMessage]) -> list[str]:
    """Longest first: a client may have named one message like the beginning of another."""
    return sorted((one.id for one in messages if one.id), key=len, reverse=True)


def _is_in_order(messages: Sequence[AnyMessage]) -> bool:
    waiting: set[str] = set()
    for message in messages:  # all of them at every turn, so by their types' names: isinstance takes five times as long
        if message.type == "tool":
            waiting.discard(message.tool_call_id)
        elif waiting:
            return False
        elif calls := getattr(message, "tool_calls", None):
            waiting = {call["id"] or f"call-{at}" for at, call in enumerate(calls)}
    return not waiting


def _calls(message: AIMessage) -> dict[str, str]:
    return {call["id"] or f"call-{at}": call["name"] for at, call in enumerate(message.tool_calls)}


def _left(id_: str, name: str) -> ToolMessage:
    return ToolMessage(_NEVER_ANSWERED, tool_call_id=id_, name=name, status="error")
