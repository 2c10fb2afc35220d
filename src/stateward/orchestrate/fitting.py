"""Whether what tools say of themselves fits what the policy says of them; what does not is refused at build time."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from langchain_core.tools import ToolException

from stateward.act.calling import NothingDone
from stateward.errors import ConfigurationError
from stateward.model.policy import PolicyDocument, ToolRule
from stateward.orchestrate.tools import ToolSpec


def refuse_misfits(document: PolicyDocument, tools: Mapping[str, ToolSpec]) -> None:
    """Check the tools that the policy names; any other never runs.

    Raises:
        ConfigurationError: a tool would be called again where that is not safe, or could not be undone.
    """
    for name, spec in tools.items():
        rule = _rule(document, name)
        if rule is not None:
            _refuse_unsafe_retry(spec, rule)
            _refuse_unfit_undo(spec, document)


def _rule(document: PolicyDocument, name: str) -> ToolRule | None:
    """What the policy says of a tool: by its name, else by the pattern that matches it."""
    matching = (rule for key, rule in document.tools.items() if "*" in key and fnmatchcase(name, key))
    return document.tools.get(name) or next(matching, None)


def _refuse_unfit_undo(spec: ToolSpec, document: PolicyDocument) -> None:
    if spec.undo is None:
        return
    name = spec.undo.tool.name
    rule = _rule(document, name)
    if rule is None or rule.effect != "write":
        says = "does not name it" if rule is None else "says that it is a read"
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
