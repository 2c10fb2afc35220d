"""Tools: LangChain's `@tool`, and what a tool says of itself to the gate and the journal."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Annotated, Any, Protocol, cast, get_type_hints, overload

from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool
from pydantic import BaseModel, ValidationError

from stateward.act.calling import NothingDone
from stateward.act.perform import Probe, Traits
from stateward.act.secrets import clean, scrub
from stateward.callbacks import cleaned
from stateward.errors import ConfigurationError, ThreadError
from stateward.json_schema import JsonSchema
from stateward.model.action import Call
from stateward.model.durations import parse_duration
from stateward.model.effect import Credential, Effect, Retry
from stateward.model.served import Served
from stateward.model.values import Json, JsonObject, digest, plain, plain_object
from stateward.orchestrate.invoking import Given, Invoker, effect_parameters
from stateward.orchestrate.said import Returned
from stateward.personal_data.boundary import Reveal

_TRAITS, _UNDO, _SERVED = "stateward", "stateward_undo", "stateward_mcp"
_NOT_ADOPTED = (
    "tool {!r} is an MCP server's, and nothing says which server's: load it with stateward.mcp.tools(...), or give it "
    "to stateward.mcp.adopt(tools, server=...)"
)
AnyFunction = Callable[..., Any]


@overload
def tool(function: AnyFunction, /) -> BaseTool: ...
@overload
def tool(
    *,
    transactional: bool = False,
    idempotent: bool = False,
    probe: Probe | None = None,
    timeout: str | timedelta | None = None,
    retry: Retry | None = None,
    undo: BaseTool | Undo | None = None,
) -> Callable[[AnyFunction], BaseTool]: ...
def tool(
    function: AnyFunction | None = None,
    /,
    *,
    transactional: bool = False,
    idempotent: bool = False,
    probe: Probe | None = None,
    timeout: str | timedelta | None = None,
    retry: Retry | None = None,
    undo: BaseTool | Undo | None = None,
) -> BaseTool | Callable[[AnyFunction], BaseTool]:
    """LangChain's `@tool`, with what the journal needs to know after a crash, a timeout or an error.

    A parameter annotated `Effect` is filled in by the runtime and hidden from the model. A function that raises
    LangChain's `ToolException` says that nothing happened. Any other error, and a timeout, of a write that is not
    transactional leaves its outcome unknown: an idempotent one is called once more with the same key, then `probe` is
    asked, then a person.

    Args:
        function: A function with type hints and a docstring.
        transactional: All that it writes is written in `effect.transaction()`.
        idempotent: The other side recognises `effect.key`, so that a repetition does nothing more.
        probe: `async (arguments, key) -> result | None`: asks the other side whether it was done.
        timeout: How long one attempt may take, such as `30s`. For async functions: a thread cannot be stopped.
        retry: When it is called again. A write that is neither transactional nor idempotent may be called again only
            for errors that say that nothing happened: `ToolException` and classes below it.
        undo: The tool that takes its effect back when the work is abandoned; the policy has to name it. Its arguments
            are taken by name from the result, else from the arguments; `Undo` says otherwise.

    Raises:
        ConfigurationError: `timeout=` on a function that is not async, or not a duration; or there is no docstring.
    """
    span = None if timeout is None else _duration(timeout)
    traits = Traits(transactional=transactional, idempotent=idempotent, probe=probe, timeout=span, retry=retry)

    back = Undo(undo) if isinstance(undo, BaseTool) else undo

    def build(made: AnyFunction) -> BaseTool:
        built = _build(made, traits)
        built.metadata = {**(built.metadata or {}), _UNDO: back}
        return built

    return build if function is None else build(function)


@dataclass(frozen=True, slots=True)
class Undo:
    """How the effect of a tool is taken back: by a call of another tool, through the same gate.

    Attributes:
        tool: That tool; the policy has to name it as a write.
        arguments: `(arguments, result) -> arguments` of its call. By default each is taken by its name from the result,
            else from the arguments.
    """

    tool: BaseTool
    arguments: Callable[[JsonObject, Json], JsonObject] | None = None

    def call(self, arguments: JsonObject, result: Json) -> Call:
        """The call that takes back a call with these arguments and this result."""
        if self.arguments is not None:
            return Call(id="undo", tool=self.tool.name, arguments=plain_object(self.arguments(arguments, result)))
        known = {**arguments, **(result if isinstance(result, dict) else {})}
        names = _arguments(self.tool).names
        return Call(id="undo", tool=self.tool.name, arguments={name: known[name] for name in names if name in known})


class Arguments(Protocol):
    """What a tool's schema makes of the arguments of a call."""

    @property
    def schema(self) -> JsonObject:
        """The JSON Schema."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The arguments that it names."""
        ...

    def normalize(self, arguments: JsonObject) -> dict[str, Json]:
        """The arguments as the schema reads them.

        Raises:
            ValueError: they do not fit; the message says where.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """A tool as the wards see it.

    Attributes:
        tool: The LangChain tool.
        schema: JSON schema of the arguments that a model may give.
        digest: Digest of that schema, and of what an MCP server says of its tool; an approval is bound to it.
        traits: What the tool says of itself.
        invoker: Calls it.
        arguments: Reads its arguments.
        undo: How its effect is taken back, if it can be.
        served: Of an MCP server's tool, whose it is.
    """

    tool: BaseTool
    schema: JsonObject
    digest: str
    traits: Traits
    invoker: Invoker
    arguments: Arguments
    undo: Undo | None = None
    served: Served | None = None

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name

    def normalize(self, arguments: JsonObject) -> dict[str, Json]:
        """The arguments as the schema reads them, so that what is judged is what runs ("100" becomes 100).

        Raises:
            ValueError: they do not fit; the message says where.
        """
        return self.arguments.normalize(arguments)

    def problem(self, arguments: JsonObject, reveal: Reveal | None = None) -> str | None:
        """What is wrong with the arguments, as they run, or None."""
        if reveal is not None:
            return reveal.told(self.problem, arguments)
        try:
            self.normalize(arguments)
        except ValueError as error:
            return str(error)
        return None

    async def run(
        self, call: Call, effect: Effect, given: Given | None = None, reveal: Reveal | None = None
    ) -> Returned:
        """Call the tool.

        Args:
            call: What to call it with.
            effect: What the runtime lends it.
            given: What LangChain injects into it.
            reveal: The values that only its function gets, and that nothing is told of.

        Raises:
            NothingDone: the tool says that nothing happened.
            Paused: it stops to ask, or an agent that it runs does.
        """
        problem = self.problem(call.arguments, reveal)
        if problem is not None:
            raise NothingDone(problem)
        return await self.invoker.call(call, effect, given or Given(), reveal)


def specs(tools: Sequence[BaseTool]) -> dict[str, ToolSpec]:
    """The tools by name, with those that take back their effects.

    Raises:
        ConfigurationError: two have the same name, or one is a plain function.
    """
    found: dict[str, ToolSpec] = {}
    for one in tools:
        if not isinstance(one, BaseTool):  # pyright: ignore[reportUnnecessaryIsInstance]
            name = getattr(one, "__name__", repr(one))
            raise ConfigurationError(f"{name} is no tool: make it one with Stateward's or LangChain's @tool")
        if one.name in found:
            raise ConfigurationError(f"two tools are called {one.name!r}")
        found[one.name] = spec_of(one)
    for spec in [one for one in found.values() if one.undo is not None]:
        back = cast("Undo", spec.undo).tool
        if found.setdefault(back.name, spec_of(back)).tool is not back:
            raise ConfigurationError(f"two tools are called {back.name!r}; one of them takes back {spec.name!r}")
    return found


def spec_of(one: BaseTool) -> ToolSpec:
    """A tool as the wards see it."""
    arguments, undo, served = _arguments(one), (one.metadata or {}).get(_UNDO), served_of(one)
    if served is None and getattr(getattr(one, "coroutine", None), "__module__", "") == "langchain_mcp_adapters.tools":
        raise ConfigurationError(_NOT_ADOPTED.format(one.name))
    said: object = {"schema": arguments.schema, "definition": served.definition} if served else arguments.schema
    return ToolSpec(
        tool=one,
        schema=arguments.schema,
        digest=digest(said),
        traits=_traits(one),
        invoker=Invoker(one),
        arguments=arguments,
        undo=undo if isinstance(undo, Undo) else None,
        served=served,
    )


def there(tools: Mapping[str, ToolSpec], name: str) -> ToolSpec:
    """A tool that something waits for.

    Raises:
        ThreadError: it is not there any more, as an MCP server may withdraw one.
    """
    if name not in tools:
        raise ThreadError(
            f"the thread waits for what becomes of a call of {name!r}, which is not there any more: bring the tool "
            "back, or abandon the thread"
        )
    return tools[name]


def set_of(tools: Iterable[BaseTool]) -> list[str]:
    """What a thread's version says of the tools: their names, and of an MCP server's only which server it is.

    So a thread that waits goes on when the server offers more, or less; each call is still held against what it offers.
    """
    return sorted({f"mcp:{served.server}" if (served := served_of(one)) else one.name for one in tools})


def served_of(one: BaseTool) -> Served | None:
    """Which MCP server's tool it is, if it is one."""
    found = (one.metadata or {}).get(_SERVED)
    return found if isinstance(found, Served) else None


def served_metadata(served: Served, traits: Traits) -> dict[str, object]:
    """The metadata of a tool that make it an MCP server's."""
    return {_SERVED: served, _TRAITS: traits}


def _build(function: AnyFunction, traits: Traits) -> BaseTool:
    hints = get_type_hints(function, include_extras=True)
    for name, hint in hints.items():
        if hint is Effect:
            # Pydantic must not try to validate it, and no schema shows it.
            hints[name] = Annotated[Any, InjectedToolArg, Effect]
    function.__annotations__ = hints
    is_async = inspect.iscoroutinefunction(function)
    if traits.timeout is not None and not is_async:
        raise ConfigurationError(
            f"timeout= needs an async function, and {function.__name__} is not: a thread cannot be stopped. Give its "
            "client a timeout of its own, which raises an error in it"
        )
    kinds: dict[str, Any] = {"coroutine": function} if is_async else {"func": function}
    if not inspect.getdoc(function):
        raise ConfigurationError(f"tool {function.__name__!r} has no docstring: say in one what it does, for the model")
    made = StructuredTool.from_function(**kinds, metadata={_TRAITS: traits}, parse_docstring=_has_arguments(function))
    if effect_parameters(made):
        # Within LangChain's callbacks, so that no trace gets to see a secret either.
        made.func, made.coroutine = (None, _quiet_async(function)) if is_async else (_quiet(function), None)
    return made


def _duration(timeout: str | timedelta) -> timedelta:
    try:
        return parse_duration(timeout)
    except ValueError as error:
        raise ConfigurationError(f"timeout={timeout!r}: {error}") from None


def _quiet(function: AnyFunction) -> AnyFunction:
    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        credential = _credential_in(kwargs)
        try:
            return _without_secrets(function(*args, **kwargs), credential)
        except Exception as error:
            failed = scrubbed(error, credential)
        raise failed  # not above, where the error that it may stand for would be its context

    return called


def _quiet_async(function: AnyFunction) -> AnyFunction:
    @wraps(function)
    async def called(*args: Any, **kwargs: Any) -> Any:
        credential = _credential_in(kwargs)
        try:
            return _without_secrets(await function(*args, **kwargs), credential)
        except Exception as error:
            failed = scrubbed(error, credential)
        raise failed  # as above

    return called


def _credential_in(given: Mapping[str, Any]) -> Credential | None:
    return next((one.credential for one in given.values() if isinstance(one, Effect)), None)


def scrubbed(error: Exception, credential: Credential | None) -> Exception:
    """The error without the credential's secrets."""
    return error if credential is None else cleaned(error, lambda text: scrub(text, credential))


def _without_secrets(result: Any, credential: Credential | None) -> Any:
    if credential is None:
        return result
    try:
        text = plain(result)
    except (TypeError, ValueError):
        return result  # it is no result that the journal could keep, and is refused as such
    without = clean(text, credential)
    return result if without == text else without


def _has_arguments(function: AnyFunction) -> bool:
    return "\n    Args:" in (function.__doc__ or "")


def _traits(one: BaseTool) -> Traits:
    found = (one.metadata or {}).get(_TRAITS)
    return found if isinstance(found, Traits) else Traits()


def _arguments(one: BaseTool) -> Arguments:
    schema = one.tool_call_schema
    if isinstance(schema, dict):
        return JsonSchema(one.name, cast("JsonObject", schema))
    return _Modelled(one.name, cast("type[BaseModel]", schema))


class _Modelled:
    """Arguments by a pydantic model."""

    def __init__(self, tool: str, model: type[BaseModel]) -> None:
        self._tool, self._model = tool, model
        self.schema, self.names = cast("JsonObject", model.model_json_schema()), tuple(model.model_fields)

    def normalize(self, arguments: JsonObject) -> dict[str, Json]:
        """The arguments as the model reads them.

        Raises:
            ValueError: they do not fit.
        """
        unknown = sorted(set(arguments) - set(self.names))
        if unknown:
            raise ValueError(f"{self._tool} has no argument {', '.join(unknown)}")
        try:
            return plain_object(self._model.model_validate(dict(arguments)).model_dump(mode="json", exclude_unset=True))
        except ValidationError as error:
            raise ValueError("; ".join(_problem(one) for one in error.errors())) from error


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "arguments"
    return f"{place}: {error['msg']}"
