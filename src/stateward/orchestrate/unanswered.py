"""Calls that a conversation has no answer for, as when a person writes on while people are asked about a call.

The question is not lost: the run goes back to it, and what the person wrote is read after the call's answer. Providers
refuse a conversation in which a call is not followed by its answer, so the model sees it in that order; the state keeps
the order in which things happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

_NEVER_ANSWERED = "there is no answer: this call was left, and whether it ran is not known here"


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
