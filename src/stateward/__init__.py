"""The governed, stateful runtime for LangGraph agents on your own Postgres.

The door is small, and nothing is imported before it is used: `import stateward` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateward.adapters.postgres.statements import Statements as Statements
    from stateward.blocking import Runtime as Runtime
    from stateward.errors import ActionRefused as ActionRefused
    from stateward.errors import DecisionRefused as DecisionRefused
    from stateward.errors import PolicyError as PolicyError
    from stateward.errors import StatewardError as StatewardError
    from stateward.model.approval import Approval as Approval
    from stateward.model.effect import Effect as Effect
    from stateward.model.principal import Principal as Principal
    from stateward.orchestrate.nodes import Step as Step
    from stateward.orchestrate.parts import Done as Done
    from stateward.orchestrate.playbook import PlaybookModel as PlaybookModel
    from stateward.orchestrate.playbook import call as call
    from stateward.orchestrate.tools import tool as tool
    from stateward.orchestrate.workflow import FlowState as FlowState
    from stateward.orchestrate.workflow import Workflow as Workflow
    from stateward.runtime import AsyncRuntime as AsyncRuntime
    from stateward.settings import Settings as Settings
    from stateward.verify.load import load_policy as load_policy

_DOOR = {
    "ActionRefused": "stateward.errors",
    "Approval": "stateward.model.approval",
    "AsyncRuntime": "stateward.runtime",
    "DecisionRefused": "stateward.errors",
    "Done": "stateward.orchestrate.parts",
    "Effect": "stateward.model.effect",
    "FlowState": "stateward.orchestrate.workflow",
    "PlaybookModel": "stateward.orchestrate.playbook",
    "PolicyError": "stateward.errors",
    "Principal": "stateward.model.principal",
    "Runtime": "stateward.blocking",
    "Settings": "stateward.settings",
    "Statements": "stateward.adapters.postgres.statements",
    "StatewardError": "stateward.errors",
    "Step": "stateward.orchestrate.nodes",
    "Workflow": "stateward.orchestrate.workflow",
    "call": "stateward.orchestrate.playbook",
    "load_policy": "stateward.verify.load",
    "tool": "stateward.orchestrate.tools",
}
__all__ = [*_DOOR, "__version__"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("stateward")
    if name not in _DOOR:
        raise AttributeError(f"module 'stateward' has no attribute {name!r}")
    return getattr(import_module(_DOOR[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
