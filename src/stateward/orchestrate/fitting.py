"""Whether what tools say of themselves fits what the policy says of them; what does not is refused at build time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from langchain_core.tools import ToolException

from stateward.act.calling import NothingDone
from stateward.errors import ConfigurationError, PolicyError
from stateward.model.policy import PolicyDocument, ToolRule, nearest
from stateward.model.served import overlapping
from stateward.orchestrate.invoking import Invoker
from stateward.orchestrate.tools import ToolSpec
from stateward.verify.servers import is_trusted, rule_of


def refuse_misfits(document: PolicyDocument, tools: Mapping[str, ToolSpec]) -> None:
    """Check the tools that the policy names; any other never runs.

    Raises:
        ConfigurationError: a tool would be called again where that is not safe, or could not be undone, or could have
            the name of another MCP server's tool.
    """
    two = overlapping(spec.served.server for spec in tools.values() if spec.served is not None)
    if two is not None:
        raise ConfigurationError(
            f"a tool of the MCP server {two[0]!r} could have the name of one of {two[1]!r}: both begin with "
            f"'{two[0]}_'; rename one of the servers"
        )
    for name, spec in tools.items():
        ruled = rule_of(document, name, spec.served)
        if ruled is not None:
            _refuse_unsafe_retry(spec, ruled.rule)
            _refuse_unfit_undo(spec, document, tools)


def refuse_stranger(document: PolicyDocument, principal: str, *, file: str) -> None:
    """Refuse an agent that may call nothing: no `for:` names it, and none names a role that it could have.

    Raises:
        PolicyError: it is such an agent, mostly a misspelt one.
    """
    named = {name for rule in (*document.tools.values(), *document.mcp.values()) for name in rule.allowed}
    roles = {one.role for one in document.identities.values()}
    if named and principal not in named and not named & roles:
        raise PolicyError(f"{principal!r} may call no tool: no `for:` names it{nearest(principal, named)}", file=file)


def believed(document: PolicyDocument, spec: ToolSpec) -> ToolSpec:
    """The tool, whose own word that nothing happened counts only where the policy trusts whoever says it."""
    if spec.served is None or is_trusted(document, spec.served):
        return spec
    return replace(spec, invoker=Invoker(spec.tool, tells=False))


def _refuse_unfit_undo(spec: ToolSpec, document: PolicyDocument, tools: Mapping[str, ToolSpec]) -> None:
    if spec.undo is None:
        return
    name = spec.undo.tool.name
    ruled = rule_of(document, name, tools[name].served if name in tools else None)
    if ruled is None or ruled.rule.effect != "write":
        says = "does not name it" if ruled is None else "says that it is a read"
        raise ConfigurationError(
            f"tool {spec.name!r} is to be undone by {name!r}, but the policy {says}: name it under `tools:` with "
            "`effect: write`"
        )


def _refuse_unsafe_retry(spec: ToolSpec, rule: ToolRule) -> None:
    traits = spec.traits
    repeatable = rule.effect == "read" or rule.idempotent or traits.idempotent or traits.transactional
    if traits.retry is None or repeatable:
        return
    unsafe = [one.__name__ for one in traits.retry.on if not issubclass(one, (ToolException, NothingDone))]
    if unsafe:
        raise ConfigurationError(
            f"tool {spec.name!r} may not be called again after {', '.join(unsafe)}: it is a write that is neither "
            "idempotent nor transactional, and such an error does not say that nothing happened. Raise a ToolException "
            "where nothing happened and retry on that, or make the tool idempotent by its effect.key"
        )
