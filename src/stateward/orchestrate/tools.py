"""Tools: LangChain's `@tool`, and what a tool says of itself to the gate and the journal."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast, get_type_hints, overload

from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, ToolException
from pydantic import BaseModel, ValidationError

from stateward.act.perform import NothingDone, Probe, Traits
from stateward.errors import ConfigurationError
from stateward.model.action import Call
from stateward.model.effect import Effect
from stateward.model.values import Json, JsonObject, digest, plain, plain_object

_TRAITS = "stateward"
AnyFunction = Callable[..., Any]


@overload
def tool(function: AnyFunction, /) -> BaseTool: ...
@overload
def tool(
    *, transactional: bool = False, idempotent: bool = False, probe: Probe | None = None
) -> Callable[[AnyFunction], BaseTool]: ...
def tool(
    function: AnyFunction | None = None,
    /,
    *,
    transactional: bool = False,
    idempotent: bool = False,
    probe: Probe | None = None,
) -> BaseTool | Callable[[AnyFunction], BaseTool]:
    """LangChain's `@tool`, with what the journal needs to know after a crash.

    A parameter annotated `Effect` is filled in by the runtime and hidden from the model. A function that raises
    LangChain's `ToolException` says that nothing happened; any other error of a write leaves its outcome unknown
    unless the tool is transactional or idempotent.

    Args:
        function: A function with type hints and a docstring.
        transactional: All that it writes is written in `effect.transaction()`.
        idempotent: The other side recognises `effect.key`, so that a repetition does nothing more.
        probe: `async (arguments, key) -> result | None`: asks the other side whether it was done.
    """
    traits = Traits(transactional=transactional, idempotent=idempotent, probe=probe)

    def build(made: AnyFunction) -> BaseTool:
        return _build(made, traits)

    return build if function is None else build(function)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """A tool as the wards see it.

    Attributes:
        tool: The LangChain tool.
        schema: JSON schema of the arguments that a model may give.
        digest: Digest of that schema; an approval is bound to it.
        traits: What the tool says of itself.
    """

    tool: BaseTool
    schema: dict[str, Any]
    digest: str
    traits: Traits

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name

    def normalize(self, arguments: JsonObject) -> dict[str, Json]:
        """The arguments as the schema reads them, so that what is judged is what runs ("100" becomes 100).

        Raises:
            ValueError: they do not fit; the message says where.
        """
        model = _schema_model(self.tool)
        unknown = sorted(set(arguments) - set(model.model_fields))
        if unknown:
            raise ValueError(f"{self.name} has no argument {', '.join(unknown)}")
        try:
            return plain_object(model.model_validate(dict(arguments)).model_dump(mode="json", exclude_unset=True))
        except ValidationError as error:
            raise ValueError("; ".join(_problem(one) for one in error.errors())) from error

    def problem(self, arguments: JsonObject) -> str | None:
        """What is wrong with the arguments, or None."""
        try:
            self.normalize(arguments)
        except ValueError as error:
            return str(error)
        return None

    async def run(self, call: Call, effect: Effect) -> Json:
        """Call the tool.

        Raises:
            NothingDone: the tool says that nothing happened.
        """
        problem = self.problem(call.arguments)
        if problem is not None:
            raise NothingDone(problem)
        given: dict[str, Any] = {**call.arguments, **dict.fromkeys(_effect_parameters(self.tool), effect)}
        try:
            return plain(await _to_its_end(self.tool, given))
        except ToolException as error:
            raise NothingDone(str(error)) from error


async def _to_its_end(one: BaseTool, given: dict[str, Any]) -> object:
    """Call the tool; a blocking one runs in a thread, which a cancelled run cannot stop and must not let go of."""
    is_plain = isinstance(one, StructuredTool) and one.coroutine is None
    running = asyncio.ensure_future(_beside(one.invoke, given) if is_plain else one.ainvoke(given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if getattr(one, "coroutine", None) is not None:
            running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # it is nobody's any more: what came of it is found out later
        raise


async def _beside(function: Callable[[Any], object], given: dict[str, Any]) -> object:
    """Call it in a thread of its own: the event loop's helpers are few, and others wait for them."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="stateward tool")
    try:
        call = partial(copy_context().run, partial(function, given))
        return await asyncio.get_running_loop().run_in_executor(executor, call)
    finally:
        executor.shutdown(wait=False)


def specs(tools: list[BaseTool]) -> dict[str, ToolSpec]:
    """The tools by name.

    Raises:
        ConfigurationError: two have the same name.
    """
    found: dict[str, ToolSpec] = {}
    for one in tools:
        if one.name in found:
            raise ConfigurationError(f"two tools are called {one.name!r}")
        schema = _schema_model(one).model_json_schema()
        found[one.name] = ToolSpec(tool=one, schema=schema, digest=digest(schema), traits=_traits(one))
    return found


def _build(function: AnyFunction, traits: Traits) -> BaseTool:
    hints = get_type_hints(function, include_extras=True)
    for name, hint in hints.items():
        if hint is Effect:
            # Pydantic must not try to validate it, and no schema shows it.
            hints[name] = Annotated[Any, InjectedToolArg, Effect]
    function.__annotations__ = hints
    kinds: dict[str, Any] = {"coroutine": function} if inspect.iscoroutinefunction(function) else {"func": function}
    return StructuredTool.from_function(**kinds, metadata={_TRAITS: traits}, parse_docstring=_has_arguments(function))


def _has_arguments(function: AnyFunction) -> bool:
    return "\n    Args:" in (function.__doc__ or "")


def _effect_parameters(one: BaseTool) -> list[str]:
    function = cast("AnyFunction | None", getattr(one, "coroutine", None) or getattr(one, "func", None))
    if function is None:
        return []
    hints = cast("Mapping[str, Any]", function.__annotations__)
    return [name for name, hint in hints.items() if hint is Effect or Effect in getattr(hint, "__metadata__", ())]


def _traits(one: BaseTool) -> Traits:
    found = (one.metadata or {}).get(_TRAITS)
    return found if isinstance(found, Traits) else Traits()


def _schema_model(one: BaseTool) -> type[BaseModel]:
    schema = one.tool_call_schema
    if isinstance(schema, dict):
        raise ConfigurationError(f"tool {one.name!r} has a plain JSON schema; give it a pydantic model")
    return cast("type[BaseModel]", schema)


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "arguments"
    return f"{place}: {error['msg']}"
