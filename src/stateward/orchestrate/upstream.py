"""What is known of LangGraph's inside, in one place; `tests/contract/test_upstream.py` fails where it changes.

None of it decides what is right, only how long a commit may wait for company.
"""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint

_RUNTIME, _DURABILITY = "__pregel_runtime", "__pregel_durability"
_NEXT, _TASKS = "branch:to:", "__pregel_tasks"


def in_run(config: RunnableConfig) -> bool:
    """Whether a graph that is running makes this call, and not its caller."""
    return _RUNTIME in (config.get("configurable") or {})


def saves_each_step(config: RunnableConfig) -> bool:
    """Whether the run was started with `durability="sync"`."""
    return (config.get("configurable") or {}).get(_DURABILITY) == "sync"


def looks_final(checkpoint: Checkpoint) -> bool:
    """Whether nothing in this checkpoint says that a node comes next."""
    changed = checkpoint.get("updated_channels") or ()
    return not any(name.startswith(_NEXT) or name in (_TASKS, "__start__") for name in changed)
