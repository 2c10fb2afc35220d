"""What is known of the inside of LangGraph, LangChain, deepagents and LangSmith, in one place.

What is private there is used here only, and only where nothing public does it.
`tests/contract/test_upstream.py`, `test_agents_upstream.py` and `test_tracing.py` fail where it changes.

What it says of a step only changes what that costs. What it says of an agent decides how early a mistake is told: where
it cannot be known, nothing acts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast

import ormsgpack
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool, tool
from langchain_core.tools.base import _format_output  # pyright: ignore[reportPrivateUsage]
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.jsonplus import EXT_PYDANTIC_V2, JsonPlusSerializer
from langgraph.config import get_config
from langsmith import Client, run_trees
from langsmith import utils as langsmith
from langsmith._internal._serde import dumps_json

INTERRUPT, INPUT = "__interrupt__", "__start__"
_RUNTIME, _DURABILITY, _REPLAY = "__pregel_runtime", "__pregel_durability", "__pregel_replay_state"
_TASK = "__pregel_task_id"
_NEXT, _TASKS = ("branch:to:", "join:"), ("__pregel_tasks", "__start__")


_FACTORY = ("langchain.agents.factory", "create_agent")
_PLAIN = ormsgpack.OPT_NON_STR_KEYS
_MESSAGES = {kind.__name__: kind for kind in (HumanMessage, AIMessage, ToolMessage, SystemMessage)}
_FIELDS = {name: kind.model_fields.keys() for name, kind in _MESSAGES.items()}
_OPENINGS = tuple(
    b"\x94" + ormsgpack.packb(kind.__module__) + ormsgpack.packb(name) for name, kind in _MESSAGES.items()
)
_EXECUTES = frozenset({"ToolNode._run_one.<locals>.execute", "ToolNode._arun_one.<locals>.execute"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """An agent that LangChain is building.

    Attributes:
        middleware: Its middleware, outermost first.
        tools: Its tools, those of its middleware first.
    """

    middleware: Sequence[Any]
    tools: list[BaseTool]


class Serializer(JsonPlusSerializer):
    """LangGraph's own, which does not validate the messages anew that it has serialised itself.

    Validating takes most of the time in which a long conversation is read, and what is read here was a message when it
    was sealed. One of another version of LangChain, which has other fields, is validated as ever.
    """

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """See `JsonPlusSerializer`."""
        kind, body = data
        if kind != "msgpack":
            return super().loads_typed(data)
        others = self._unpack_ext_hook

        def loaded(code: int, inner: bytes) -> Any:
            if code == EXT_PYDANTIC_V2 and inner.startswith(_OPENINGS):
                _, name, fields, _ = ormsgpack.unpackb(inner, ext_hook=others, option=_PLAIN)
                if fields.keys() == _FIELDS[name]:
                    return _built(_MESSAGES[name], fields)
            return others(code, inner)

        return ormsgpack.unpackb(body, ext_hook=loaded, option=_PLAIN)


def agent_in_making(asked: object) -> Agent | None:
    """The agent that `create_agent` builds, where it has just asked a middleware for its tools; else None.

    A middleware is not told of its neighbours, so this looks at the variables of whoever asks.
    """
    frame: FrameType | None = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    for _ in range(2):  # the list is made in a frame of its own before Python 3.12
        if frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) == _FACTORY:
            middleware = cast("Sequence[Any]", frame.f_locals["middleware"])
            theirs = [one for each in middleware if each is not asked for one in getattr(each, "tools", ())]
            given = [one for one in frame.f_locals["tools"] or () if not isinstance(one, dict)]
            return Agent(middleware=middleware, tools=[_as_tool(one) for one in [*theirs, *given]])
        frame = frame.f_back if frame is not None else None
    return None


def subagents_of(middleware: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """The middleware of each agent that deepagents runs within this one; one that is built already says nothing."""
    specs = [spec for one in middleware for spec in getattr(one, "_subagents", ())]
    named = [cast("Mapping[str, Any]", spec) for spec in specs if isinstance(spec, dict)]
    return {spec["name"]: spec.get("middleware", ()) for spec in named if "runnable" not in spec and "model" in spec}


def is_innermost(handler: Any) -> bool:
    """Whether a hook's handler of a tool call leads to the tool at once, with nobody else's hook between them."""
    return getattr(handler, "__qualname__", "") in _EXECUTES


def graph_namespace() -> str:
    """The checkpoint namespace of the graph whose node is running: empty for one that nobody runs within another."""
    place = str((get_config().get("configurable") or {}).get("checkpoint_ns") or "")
    return place.rpartition("|")[0]


def in_run(config: RunnableConfig) -> bool:
    """Whether a graph that is running makes this call, and not its caller."""
    return _RUNTIME in (config.get("configurable") or {})


def is_nested(config: RunnableConfig) -> bool:
    """Whether a node of another graph has started this one, so that no person has given its input.

    A config with a thread of its own hides that, and the context that the graph was started in does not.
    """
    around = var_child_runnable_config.get() or {}
    return any(_TASK in (one.get("configurable") or {}) for one in (config, around))


def asking(config: RunnableConfig) -> tuple[str | None, bool]:
    """The user whom LangGraph's server names, and whether it has verified them; no user where it is no server's run."""
    user: Any = (config.get("configurable") or {}).get("langgraph_auth_user")
    identity = getattr(user, "identity", None)
    if user is None:
        return None, True
    is_verified = getattr(user, "is_authenticated", False) is True and isinstance(identity, str) and bool(identity)
    return (identity if is_verified else None), is_verified


def saves_each_step(config: RunnableConfig) -> bool:
    """Whether the run was started with `durability="sync"`."""
    return (config.get("configurable") or {}).get(_DURABILITY) == "sync"


def replays(config: RunnableConfig) -> bool:
    """Whether a subgraph runs again because its parent goes back in time; its own saves do not say so."""
    given = config.get("configurable") or {}
    return bool(given.get("checkpoint_ns") and given.get(_REPLAY))


def looks_final(checkpoint: Checkpoint) -> bool:
    """Whether nothing in this checkpoint says that a node comes next."""
    changed = checkpoint.get("updated_channels") or ()
    return not any(name.startswith(_NEXT) or name in _TASKS for name in changed)


def spare_idle_threads() -> None:
    """Let LangSmith's spans around middleware hooks stay on the event loop while tracing is off.

    LangChain wraps each hook of a middleware in a span, which goes to a thread and back twice, even where nothing is
    traced: a quarter of a step's CPU. Where an application has set this itself, it stays as it is.
    """
    try:
        from langsmith._runtime_overrides import get_runtime_overrides, set_runtime_overrides
    except ImportError:  # it is private, and without it all is right and costs more
        return
    if get_runtime_overrides().aio_to_thread is None:
        set_runtime_overrides(aio_to_thread=_inline_while_idle)


async def _inline_while_idle(default: Any, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    if langsmith.tracing_is_enabled():  # pyright: ignore[reportUnknownMemberType]
        return await default(context, function, *args, **kwargs)
    return context.run(function, *args, **kwargs)


def output_of(one: BaseTool, result: Any, call: str) -> Any:
    """What LangChain makes of what a tool returns: a message, but for what is one already.

    Raises:
        ValueError: it is not what the tool's `response_format` wants.
    """
    content, artifact = result, None
    if one.response_format == "content_and_artifact":
        if not isinstance(result, tuple):
            raise ValueError(type(cast("object", result)).__name__)
        content, artifact = cast("tuple[Any, Any]", result)
    return _format_output(content, artifact, call, one.name, "success")


def checks(one: BaseTool) -> Callable[..., Any]:
    """What checks a tool's arguments, once its callbacks were told of them."""
    return cast("Any", one)._to_args_and_kwargs


def check_by(one: BaseTool, check: Callable[..., Any]) -> None:
    """Let something else check them."""
    vars(one)["_to_args_and_kwargs"] = check


def ambient_client() -> Client | None:
    """What LangSmith's tracers send by where nobody gives them a client; None where nobody has made one.

    `get_cached_client`, which is public, would make one.
    """
    return cast("Any", run_trees)._CLIENT


def as_sent(run: Mapping[str, Any]) -> bytes:
    """The JSON that LangSmith's client makes of a run."""
    return dumps_json(run)


def _as_tool(one: Any) -> BaseTool:
    return one if isinstance(one, BaseTool) else cast("BaseTool", tool(one))


def _built(kind: type[BaseMessage], fields: dict[str, Any]) -> BaseMessage:
    message, keep = kind.__new__(kind), object.__setattr__
    keep(message, "__dict__", fields)
    keep(message, "__pydantic_fields_set__", set(fields))
    keep(message, "__pydantic_extra__", {})
    keep(message, "__pydantic_private__", None)
    return message
