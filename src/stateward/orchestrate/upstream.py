"""What is known of LangGraph's and LangSmith's inside, in one place.

`tests/contract/test_upstream.py` and `test_tracing.py` fail where it changes.

None of it decides what is right, only what it costs.
"""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.base import Checkpoint
from langsmith import utils as langsmith

INTERRUPT, INPUT = "__interrupt__", "__start__"
_RUNTIME, _DURABILITY, _REPLAY = "__pregel_runtime", "__pregel_durability", "__pregel_replay_state"
_TASK = "__pregel_task_id"
_NEXT, _TASKS = ("branch:to:", "join:"), ("__pregel_tasks", "__start__")


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
