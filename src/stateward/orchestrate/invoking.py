"""Call a tool as LangChain's agents call it: state, store, runtime and call id are injected, and a `Command` passes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import Any, cast, get_type_hints

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import merge_configs
from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolInvocationError
from langgraph.runtime import Runtime
from langgraph.types import Command, Interrupt
from pydantic import ValidationError

from stateward.act.calling import NothingDone, Paused
from stateward.act.perform import Traits
from stateward.callbacks import Told, cleaned, listeners
from stateward.conversation import Conversation
from stateward.errors import ConfigurationError
from stateward.model.action import Call
from stateward.model.effect import Effect, Transaction
from stateward.model.values import Json, JsonObject, plain
from stateward.orchestrate.loops import blocking
from stateward.orchestrate.said import Returned, Said, content_of, failure_of, kept
from stateward.personal_data.boundary import Reveal
from stateward.upstream import check_by, checks, in_run

AnyFunction = Callable[..., Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What LangChain gives a tool beside its arguments.

    Attributes:
        state: The graph's state.
        config: The config of the task that makes the call; the running one unless given.
        talk: Treats what callbacks are told of the call; None where they are told all of it.
    """

    state: Any = field(default_factory=dict[str, Any])
    config: RunnableConfig | None = None
    talk: Conversation | None = None


@dataclass(slots=True)
class _Attempt:
    effect: Effect
    reveal: Reveal | None = None
    told: Told | None = None
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    begun: bool = False
    ended: bool = False
    result: object = None


_PAUSED = (
    "it stops to ask in the middle of a write: make it `effect: read`, or `idempotent: true`, if it may be repeated"
)
_ATTEMPT: ContextVar[_Attempt] = ContextVar("stateward_attempt")
# Where the call is made that the wards have let through last.
_PLACE: ContextVar[str] = ContextVar("stateward_place")


def running_effect() -> Effect | None:
    """The effect of the call that a tool is running for; None where the wards have not called it."""
    attempt = _ATTEMPT.get(None)
    return None if attempt is None else attempt.effect


def current_action() -> str | None:
    """Id of the action whose tool is running here, or None."""
    effect = running_effect()
    return None if effect is None else effect.action


class Invoker:
    """Calls one tool; LangChain's own `ToolNode` fills in what is injected.

    Args:
        tool: The tool.
        tells: Whether its `ToolException` says that nothing happened.
    """

    def __init__(self, tool: BaseTool, *, tells: bool = True) -> None:
        self._tool, self._tells = tool, tells
        self._node = ToolNode([_held(tool)], handle_tool_errors=False)

    async def call(self, call: Call, effect: Effect, given: Given, reveal: Reveal | None = None) -> Returned:
        """Call it with exactly these arguments; only its function gets the values that `reveal` has.

        Raises:
            NothingDone: the tool says that nothing happened, or was not reached.
            Paused: it stops to ask on its own, or an agent that it runs does.
        """
        attempt = _Attempt(effect if reveal is None else _settling(effect, reveal), reveal)
        heard = listeners(self._tool, given.config or ensure_config()) if given.talk is not None else []
        if given.talk is not None and any(one is not _WATCH for one in heard):
            attempt.told = Told(given.talk, call)
        asked = {"name": call.tool, "args": dict(call.arguments), "id": call.id, "type": "tool_call"}
        config = _watched(given.config or ensure_config())
        # A task of its own, so that what is said here of the call holds for the call only.
        running = copy_context()
        running.run(_ATTEMPT.set, attempt)
        running.run(_PLACE.set, _place_of(config.get("metadata")))
        what = {"__type": "tool_call_with_context", "tool_call": asked, "state": given.state}
        alone = {} if in_run(config) else {"runtime": Runtime()}
        work = cast("Any", self._node).ainvoke(what, config, **alone)
        try:
            said = await asyncio.get_running_loop().create_task(work, context=running)
        except asyncio.CancelledError:
            if not attempt.ended:
                raise
            _cancel_again()
            return self._answer(_unsaid(attempt), call, attempt)
        except GraphBubbleUp as pause:
            raise Paused(_PAUSED) from pause
        except ToolInvocationError as error:
            raise self._unfit(attempt, error) from error
        except ToolException as error:
            if self._is_nothing(attempt):
                raise NothingDone(_told(self._tool.handle_tool_error, error)) from error
            raise
        return self._answer(_said(said), call, attempt)

    def _answer(self, said: list[Said], call: Call, attempt: _Attempt) -> Returned:
        content, failure = content_of(said, call.id), failure_of(said, call.id)
        if failure is not None:  # the tool says so itself: it is no success, whatever it returned
            error = ToolException(failure)
            if self._is_nothing(attempt):
                raise NothingDone(failure) from error
            raise error
        only = said[0] if len(said) == 1 else None
        if not said:
            return Returned(result=kept(_plainly(attempt.result, str(attempt.result))), said=None)
        if isinstance(only, ToolMessage) and only.artifact is None and attempt.result is not only:
            return Returned(result=kept(_plainly(attempt.result, content)), said=None)
        return Returned(result=kept(content, said), said=said)

    def _is_nothing(self, attempt: _Attempt) -> bool:
        """Whether an error that a tool tells of says that nothing happened."""
        return self._tells or not attempt.begun

    def _unfit(self, attempt: _Attempt, error: ToolInvocationError) -> Exception:
        """Arguments that do not fit were never run; what fails inside the tool in the same way may have."""
        if attempt.begun:
            return error.source
        handler = self._tool.handle_validation_error
        return NothingDone(_told(handler, error.source, bare="Tool input validation error") if handler else str(error))


class _Watch(BaseCallbackHandler):
    """Refuses a tool that an agent within a tool runs past the wards: it has no middleware of ours (P1)."""

    raise_error = True
    run_inline = True

    def on_tool_start(
        self, serialized: dict[str, Any], input_str: str, *, metadata: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Compare where it is run with where the wards have let a call through."""
        place = _place_of(metadata)
        if place and place != _PLACE.get(""):
            raise ConfigurationError(
                f"tool {serialized.get('name')!r} is called by an agent within a tool, which has no wards: give that "
                "agent the same middleware"
            )


_WATCH = _Watch()


def _watched(config: RunnableConfig) -> RunnableConfig:
    return merge_configs(config, {"callbacks": [_WATCH]})


def _place_of(metadata: Mapping[str, Any] | None) -> str:
    return str((metadata or {}).get("langgraph_checkpoint_ns") or "")


def _held(one: BaseTool) -> BaseTool:
    """The tool, which gives the effect to its function, notes what it returns, and raises what goes wrong in it.

    LangChain's handlers make a result of an error, which would be taken for what was done: see `_told`.
    """
    inner = one.model_copy(update={"handle_tool_error": False, "handle_validation_error": False})
    outer = one.model_copy()
    for name in ("_run", "_arun"):
        vars(inner)[name] = _noting(getattr(one, name), one)
    check_by(inner, _revealing(checks(one)))
    effects = effect_parameters(one)

    async def ainvoke(given: dict[str, Any], config: RunnableConfig | None = None) -> object:
        attempt = _ATTEMPT.get()
        told, args = attempt.told, {**given["args"], **dict.fromkeys(effects, attempt.effect)}
        if told is None:
            return await _to_its_end(inner, {**given, "args": args}, config)
        attempt.arguments = args
        try:
            given = {**given, "args": {**args, **await told.arguments()}}
            output = await _to_its_end(inner, given, config)
        except Exception:
            if told.error is None:
                raise
        else:
            return output if told.output is None else told.output
        raise told.error  # not above, where what was told of it would be its context

    vars(outer)["ainvoke"] = ainvoke
    return outer


def _noting(function: AnyFunction, one: BaseTool) -> AnyFunction:
    noting = _noting_calls(function, one)
    with contextlib.suppress(Exception):  # what does not resolve stays as it is, as LangChain has it
        # Once here: LangChain resolves the annotations of what it calls anew at each call.
        noting.__annotations__ = get_type_hints(function, include_extras=True)
    return noting


def _noting_calls(function: AnyFunction, one: BaseTool) -> AnyFunction:
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            attempt = _begun()
            try:
                _ended(attempt, await function(*args, **kwargs))
            except Exception as error:
                failed = _failed(attempt, error)
            else:
                told, result = attempt.told, attempt.result
                return result if told is None else await told.returned(one, result)
            # Not above, where the error that it may stand for would be its context.
            raise failed if attempt.told is None else await attempt.told.failed(failed)

        return later

    @wraps(function)
    def now(*args: Any, **kwargs: Any) -> Any:
        attempt = _begun()
        try:
            _ended(attempt, function(*args, **kwargs))
        except Exception as error:
            failed = _failed(attempt, error)
        else:
            told, result = attempt.told, attempt.result
            return result if told is None else blocking(told.loop, told.returned(one, result))
        raise failed if attempt.told is None else blocking(attempt.told.loop, attempt.told.failed(failed))

    return now


def _begun() -> _Attempt:
    attempt = _ATTEMPT.get()
    attempt.begun = True
    return attempt


def _ended(attempt: _Attempt, result: object) -> None:
    attempt.ended, attempt.result = True, result if attempt.reveal is None else _hidden(result, attempt.reveal)


def _failed(attempt: _Attempt, error: Exception) -> Exception:
    reveal = attempt.reveal
    if reveal is None:
        return error
    if isinstance(error, GraphBubbleUp):  # what the tool asks of people, or where it goes on
        error.args = _hidden(error.args, reveal)
        return error
    return cleaned(error, lambda text: str(reveal.hide(text)))


def _revealing(parse: AnyFunction) -> AnyFunction:
    """LangChain's check of the arguments, after its callbacks, which get to see no value."""

    def parsed(given: Any, *more: Any) -> Any:
        attempt = _ATTEMPT.get()
        reveal, told = attempt.reveal, attempt.told
        if (reveal is None and told is None) or not isinstance(given, dict):
            return parse(given, *more)
        real = {**cast("dict[str, Any]", given), **attempt.arguments}
        try:
            return parse(real if reveal is None else reveal.real(real), *more)
        except Exception as error:
            failed = ToolException("what the pseudonyms stand for does not fit the tool's schema")
            if told is not None:
                told.error = error if reveal is None else failed
        raise failed  # not above: the error quotes what was checked

    return parsed


def _hidden(result: Any, reveal: Reveal) -> Any:
    """What a tool returns, without the values that it was given."""
    if isinstance(result, ToolMessage):
        return result.model_copy(
            update={name: _hidden(getattr(result, name), reveal) for name in ("content", "artifact")}
        )
    if isinstance(result, Command):
        command = cast("Command[Any]", result)
        return replace(command, update=_hidden(command.update, reveal))
    if isinstance(result, Interrupt):
        asked = cast("Interrupt[Any]", result)
        return replace(asked, value=_hidden(asked.value, reveal))
    if isinstance(result, list | tuple):
        parts = [_hidden(one, reveal) for one in cast("Sequence[Any]", result)]
        return parts if isinstance(result, list) else tuple(parts)
    if isinstance(result, Mapping):
        pairs = cast("Mapping[Any, Any]", result).items()
        return {_hidden(name, reveal): _hidden(value, reveal) for name, value in pairs}
    try:
        text = plain(result)
    except (TypeError, ValueError):
        return result
    without = reveal.hide(text)
    return result if without == text else without


def probing(traits: Traits, reveal: Reveal) -> Traits:
    """What a tool says of itself, where its probe asks with the values of a call, and tells none."""
    probe = traits.probe
    if probe is None:
        return traits

    async def asking(arguments: JsonObject, key: str) -> Json:
        return reveal.hide(plain(await probe(reveal.real(arguments), key)))

    return replace(traits, probe=asking)


def _settling(effect: Effect, reveal: Reveal) -> Effect:
    """The effect, in whose transaction the tool settles without the values that it was given."""

    @asynccontextmanager
    async def opens() -> AsyncGenerator[Transaction]:
        async with effect.transaction() as work:
            yield _Settling(work, reveal)

    return replace(effect, opens=opens)


class _Settling:
    def __init__(self, work: Transaction, reveal: Reveal) -> None:
        self.connection, self._work, self._reveal = work.connection, work, reveal

    def settle(self, result: Json) -> None:
        """Pass it on without the values."""
        self._work.settle(self._reveal.hide(plain(result)))


async def _to_its_end(one: BaseTool, given: dict[str, Any], config: RunnableConfig | None) -> object:
    """Call the tool; a blocking one runs in a thread, which a cancelled run cannot stop and must not let go of."""
    is_plain = isinstance(one, StructuredTool | Tool) and one.coroutine is None
    running: asyncio.Future[Any] = asyncio.ensure_future(
        cast("Awaitable[Any]", _beside(one.invoke, given, config) if is_plain else one.ainvoke(given, config))
    )
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if getattr(one, "coroutine", None) is not None:
            running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # it is nobody's any more: what came of it is found out later
        raise


def _cancel_again() -> None:
    """What the tool has done is known, and is kept; the run ends at what it awaits next."""
    task = asyncio.current_task()
    if task is not None:
        task.cancel()


async def _beside(function: AnyFunction, *given: Any) -> object:
    """Call it in a thread of its own: the event loop's helpers are few, and others wait for them."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="stateward tool")
    try:
        call = partial(copy_context().run, partial(function, *given))
        return await asyncio.get_running_loop().run_in_executor(executor, call)
    finally:
        executor.shutdown(wait=False)


def effect_parameters(one: BaseTool) -> list[str]:
    """The parameters that the runtime fills in with the effect."""
    function = cast("AnyFunction | None", getattr(one, "coroutine", None) or getattr(one, "func", None))
    hints = cast("Mapping[str, Any]", getattr(function, "__annotations__", None) or {})
    return [name for name, hint in hints.items() if hint is Effect or Effect in getattr(hint, "__metadata__", ())]


def _said(output: Any) -> list[Said]:
    """What `ToolNode` gives back for one call: messages in an update, or commands and updates in a list."""
    parts = cast("Sequence[Any]", output if isinstance(output, list) else [output])
    found: list[Said] = []
    for part in parts:
        found += [cast("Said", part)] if isinstance(part, Command) else cast("list[Said]", part["messages"])
    return found


def _told(handler: Any, error: Exception, *, bare: str = "Tool execution error") -> str:
    """What the model is told of an error that the tool's own handler is for; nothing more becomes of it than that."""
    if not handler:
        return str(error)
    if isinstance(handler, bool):
        return str(error.args[0]) if isinstance(error, ToolException) and error.args else bare
    try:
        said = handler(error) if callable(handler) else handler
    except Exception:
        return str(error)
    return _text(said.content if isinstance(said, ToolMessage) else said) or str(error)


def _text(content: Any) -> str:
    """The text of a message's content; of what is none, how it prints."""
    try:
        return str(ToolMessage(content, tool_call_id="").text)
    except ValidationError:
        return str(content)


def _unsaid(attempt: _Attempt) -> list[Said]:
    """The answer of a tool that came to its end while the run was cancelled, and was not asked for it any more."""
    return [cast("Said", attempt.result)] if isinstance(attempt.result, ToolMessage | Command) else []


def _plainly(result: object, content: Json) -> Json:
    """The result as JSON; what JSON cannot say is kept as the model is told it."""
    try:
        return plain(result)
    except (TypeError, ValueError):
        return content
