"""What a tool answers: a message, or a `Command` that changes the state too; and how the journal keeps both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AnyMessage, BaseMessage, ToolMessage, message_to_dict, messages_from_dict
from langgraph.prebuilt import tool_node
from langgraph.types import Command

from stateward.model.values import Json, plain

Said = ToolMessage | Command[Any]
# Marks a result in the journal that is more than what the model is told. A tool's own result that has such a key is
# wrapped, so that nobody else's JSON is ever taken for a command.
_MORE, _MESSAGE = "stateward:said", "stateward:message"
_LOST = "(It is done; what it changes in the state beside this was lost when the run was cut off.)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Returned:
    """What a tool has returned.

    Attributes:
        result: What the journal keeps.
        said: The messages and commands for the graph, where they are more than the result says.
    """

    result: Json
    said: list[Said] | None


def kept(result: Json, said: Sequence[Said] | None = None) -> Json:
    """What the journal keeps of an answer: the result, and what a replay needs to say it all again."""
    if said is None:
        return {"content": result, _MORE: None} if isinstance(result, Mapping) and _MORE in result else result
    try:
        return {"content": result, _MORE: plain([_encoded(one) for one in said])}
    except (TypeError, ValueError):
        return {"content": result, _MORE: "lost"}


def result_of(result: Json) -> Json:
    """What the model is told of a kept result."""
    if isinstance(result, Mapping) and _MORE in result:
        return result["content"]
    return result


def replayed(result: Json, call: str, tool: str) -> list[Said]:
    """The answer to a call, from what the journal has kept."""
    more = result.get(_MORE) if isinstance(result, Mapping) else None
    content = content_text(result_of(result))
    if isinstance(more, list):
        return [_decoded(cast("Mapping[str, Any]", one)) for one in more]
    if more == "lost":
        content = f"{content}\n\n{_LOST}"
    return [ToolMessage(content, tool_call_id=call, name=tool)]


def content_text(result: Json) -> Any:
    """A result as a message's content: text, or blocks of content where it is such."""
    return cast("Any", tool_node).msg_content_output(result)


def content_of(said: Sequence[Said], call: str) -> Json:
    """What the model is told: the content of the message that answers the call."""
    for one in said:
        for message in _messages(one):
            if isinstance(message, ToolMessage) and message.tool_call_id == call:
                return cast("Json", message.content)
    return ""


def failure_of(said: Sequence[Said], call: str) -> str | None:
    """What the message that answers the call says, where it says that the call has failed."""
    answers = [message for one in said for message in _messages(one) if isinstance(message, ToolMessage)]
    failed = [one for one in answers if one.status == "error" and (one.tool_call_id == call or len(answers) == 1)]
    return str(failed[0].text) if failed else None


def divided(said: Sequence[Said]) -> tuple[list[AnyMessage], list[Command[Any]]]:
    """The messages, and the other changes of the state. Where a run goes next is not a tool's to say in a workflow."""
    messages = [message for one in said for message in _messages(one)]
    updates = [_update(one) for one in said]
    others = [{key: value for key, value in update.items() if key != "messages"} for update in updates]
    return messages, [Command(update=other) for other in others if other]


def _messages(one: Said) -> Sequence[Any]:
    if isinstance(one, ToolMessage):
        return [one]
    update: Any = one.update
    found = cast("Any", update if isinstance(update, list) else _update(one).get("messages", []))
    return cast("Sequence[Any]", found if isinstance(found, list) else [found])


def _update(one: Said) -> Mapping[str, Any]:
    update: Any = None if isinstance(one, ToolMessage) else one.update
    return cast("Mapping[str, Any]", update) if isinstance(update, Mapping) else {}


def _encoded(one: Said) -> dict[str, Any]:
    if isinstance(one, ToolMessage):
        return _said(one)
    if one.resume is not None or not _names(one.goto):
        raise TypeError("only names of nodes can be kept")
    return {"update": _said(one.update), "goto": one.goto, "graph": one.graph}


def _names(goto: Any) -> bool:
    places = cast("Sequence[Any]", goto if isinstance(goto, list | tuple) else [goto])
    return all(isinstance(place, str) for place in places)


def _said(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return {_MESSAGE: message_to_dict(value)}
    if isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        if _MESSAGE in found:
            raise TypeError("what is no message may not look like one")
        return {key: _said(one) for key, one in found.items()}
    if isinstance(value, list | tuple):
        return [_said(one) for one in cast("Sequence[Any]", value)]
    return value


def _decoded(value: Mapping[str, Any]) -> Said:
    if _MESSAGE in value:
        return cast("ToolMessage", _heard(value))
    return Command(update=_heard(value["update"]), goto=value["goto"], graph=value["graph"])


def _heard(value: Any) -> Any:
    if isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        if _MESSAGE in found:
            return cast("AnyMessage", messages_from_dict([found[_MESSAGE]])[0])
        return {key: _heard(one) for key, one in found.items()}
    if isinstance(value, list):
        return [_heard(one) for one in cast("list[Any]", value)]
    return value
