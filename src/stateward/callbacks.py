"""What LangChain's callbacks, tracers among them, are told of a tool's call: what the conversation is given of it.

The tool gets the values, and the journal and the conversation get what it has returned, as if nobody listened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from stateward.conversation import Conversation
from stateward.model.action import Call
from stateward.model.values import Json, plain
from stateward.upstream import output_of

NOT_SHOWN = "(not shown: personal data could not be looked for in it)"
"""What stands in the place of what could not be treated."""
# What a conversation treats of a message, and what says which message it is.
_SAID = frozenset(("content", "name", "tool_calls", "artifact", "id", "type", "tool_call_id", "status"))


class Told:
    """What the callbacks of one call are told.

    Args:
        talk: Treats it.
        call: The call, with the arguments that it runs with.

    Attributes:
        loop: Where it is treated.
        output: What LangChain would make of what the tool has returned; None until then.
        error: What the tool has raised; None until then.
    """

    def __init__(self, talk: Conversation, call: Call) -> None:
        self.loop = asyncio.get_running_loop()
        self.output: Any = None
        self.error: Exception | None = None
        self.call, self._talk = call, talk

    async def arguments(self) -> dict[str, Json]:
        """Those of the call."""
        given = dict(self.call.arguments)
        told = await self._json(given)
        if isinstance(told, dict) and told.keys() == given.keys():
            return cast("dict[str, Json]", told)
        return dict.fromkeys(given, NOT_SHOWN)

    async def returned(self, one: BaseTool, result: Any) -> Any:
        """What the tool has returned: a message or a command with it, which LangChain tells as they are."""
        try:
            output = output_of(one, result, self.call.id)
        except ValueError:
            return result  # LangChain says what is wrong with it, and no more of it
        self.output = output
        told = await self._said(output)
        return (told, None) if one.response_format == "content_and_artifact" else told

    async def _said(self, output: Any) -> Any:
        try:
            return await self._whole(output)
        except Exception:  # it was done all the same; the conversation says what is wrong
            said = ToolMessage(NOT_SHOWN, tool_call_id=self.call.id, name=self.call.tool)
            return [said] if isinstance(output, list) else said

    async def failed(self, error: Exception) -> Exception:
        """What the tool has raised: itself, where nothing in it is treated, and it has no fields of its own."""
        self.error = error
        chain = chain_of(error)
        said: list[Json] = [text for one in chain for text in _texts(one)]
        is_all = not any(vars(one).keys() - {"__notes__"} for one in chain)
        if is_all and await self._json(said) == said:
            return error
        bubbles = GraphBubbleUp if isinstance(error, GraphBubbleUp) else RuntimeError
        kind = ToolException if isinstance(error, ToolException) else bubbles
        return kind(await self._json(f"{type(error).__name__}: {error}")).with_traceback(error.__traceback__)

    async def _whole(self, one: Any) -> Any:
        """What is told of anything that a tool returns, with what is in it."""
        if isinstance(one, BaseMessage):
            return await self._message(one)
        if isinstance(one, list):
            return [await self._whole(each) for each in cast("list[Any]", one)]
        if isinstance(one, Command):
            command = cast("Command[Any]", one)
            changes = cast("Any", command.update)
            if isinstance(changes, Mapping):
                pairs = cast("Mapping[str, Any]", changes).items()
                changes = {name: await self._whole(value) for name, value in pairs}
            elif changes is not None:
                changes = await self._whole(changes)
            return replace(command, update=changes, resume=None, goto=await self._goto(command.goto))
        return await self._json(one)

    async def _message(self, one: BaseMessage) -> BaseMessage:
        (told,) = cast("list[BaseMessage]", await self._talk.said([one], self.call.arguments, is_given=False))
        more = {name: await self._json(value) for name, value in told if value and name not in _SAID}
        if isinstance(told, ToolMessage) and not _is_plain(told.artifact):  # which was not looked through
            more["artifact"] = NOT_SHOWN
        return told.model_copy(update=more)

    async def _goto(self, goto: Any) -> Any:
        return goto if isinstance(goto, str) else await self._json(goto)

    async def _json(self, value: Any) -> Any:
        """A value treated, or a sentence in its place."""
        try:
            return await self._talk.shown(plain(value))
        except Exception:
            return NOT_SHOWN


def listeners(one: BaseTool, config: RunnableConfig) -> list[BaseCallbackHandler]:
    """Who is told of a tool's call."""
    heard = AsyncCallbackManager.configure(config.get("callbacks"), one.callbacks, one.verbose).handlers
    return [handler for handler in heard if not handler.ignore_agent]  # LangChain's word for those of no tools


def chain_of(error: BaseException) -> list[BaseException]:
    """An error, what it came of, and those of a group."""
    chain: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one not in chain:
            chain.append(one)
            left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return chain


def cleaned(error: Exception, clean: Callable[[str], str]) -> Exception:
    """The error with a clean text: in its arguments, its notes, and what it came of.

    Where its text does not come from its arguments, another one that says the same in its place.
    """
    chain = chain_of(error)
    for each in chain:
        each.args = tuple(clean(part) if isinstance(part, str) else part for part in each.args)
        if hasattr(each, "__notes__"):
            each.__notes__ = [clean(note) for note in each.__notes__]
    if all(clean(text) == text for each in chain for text in (str(each), repr(each))):
        return error
    kind = ToolException if isinstance(error, ToolException) else RuntimeError
    return kind(clean(f"{type(error).__name__}: {error}"))


def _is_plain(value: object) -> bool:
    try:
        plain(value)
    except (TypeError, ValueError):
        return False
    return True


def _texts(error: BaseException) -> list[str]:
    return [str(error), repr(error), *getattr(error, "__notes__", ())]
