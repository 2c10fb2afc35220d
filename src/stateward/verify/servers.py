"""What the policy says of a tool: by its name, by a pattern, or by the MCP server that offers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from stateward.model.policy import Path, PolicyDocument, ToolRule
from stateward.model.provenance import UNTRUSTED
from stateward.model.served import Served

_NAMED = "the policy names it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruled:
    """A tool's rule.

    Attributes:
        place: Where it stands in the policy.
        because: Why it is this one, and where its class comes from.
    """

    place: Path
    rule: ToolRule
    because: str = _NAMED


def means(key: str, tool: str, served: Served | None) -> bool:
    """Whether a key under `tools:` is this tool's name, or a pattern that matches it.

    A pattern names an MCP server's tools only where it begins with the server's name: a server gives its tools the
    names that it likes, and could else choose the rule that it likes.
    """
    if "*" not in key:
        return key == tool
    begins = served is None or key.split("*")[0].startswith(f"{served.server}_")
    return begins and fnmatchcase(tool, key)


def rule_of(document: PolicyDocument, tool: str, served: Served | None) -> Ruled | None:
    """What the policy says of a tool; None where it does not name it in any way."""
    keys = (key for key in document.tools if "*" in key and means(key, tool, served))
    key = tool if tool in document.tools else next(keys, None)
    if key is not None:
        rule = document.tools[key]
        if served is None:
            return Ruled(place=("tools", key), rule=rule)
        because = f"{_NAMED}; it is {_class(rule)}, as the policy says"
        return Ruled(place=("tools", key), rule=_labelled(document, rule, served), because=because)
    server = document.mcp.get(served.server) if served is not None else None
    if served is None or server is None:
        return None
    rule = server.of(served.hints)
    from_ = "by the annotations of its trusted server" if server.trusted else "as its server is not trusted"
    because = f"the policy names its server; it is {_class(rule)}, {from_}"
    return Ruled(place=("mcp", served.server), rule=rule, because=because)


def is_trusted(document: PolicyDocument, served: Served) -> bool:
    """Whether what the server says of its tools and of its calls is believed."""
    server = document.mcp.get(served.server)
    return server is not None and server.trusted


def contradictions(rule: ToolRule, served: Served) -> Iterator[tuple[str, str]]:
    """Where a rule says less of the danger than the server says of its own tool: the key, and a sentence."""
    hints, whose = served.hints, f"the MCP server {served.server!r} says"
    if rule.effect == "read":
        if hints.read_only is False or (hints.destructive and not hints.read_only):
            what = "it changes something" if hints.read_only is False else "it is destructive"
            yield "effect", f"{whose} that {what}; write `effect: write`"
        return
    if hints.read_only:
        return
    if rule.idempotent and hints.idempotent is False:
        yield "idempotent", f"{whose} that it may not be repeated; leave `idempotent: true` out"
    if hints.destructive and not rule.destructive:
        yield "destructive", f"{whose} that it is destructive; leave `destructive: false` out"
    if hints.open_world and not rule.open_world:
        yield "open_world", f"{whose} that it reaches beyond its own domain; leave `open_world: false` out"


def _labelled(document: PolicyDocument, rule: ToolRule, served: Served) -> ToolRule:
    if is_trusted(document, served) or UNTRUSTED in rule.returns:
        return rule
    return rule.model_copy(update={"returns": (*rule.returns, UNTRUSTED)})


def _class(rule: ToolRule) -> str:
    if rule.effect == "read":
        return "a read"
    kinds = [
        "destructive" if rule.destructive else "not destructive",
        *(["idempotent"] if rule.idempotent else []),
        *(["open-world"] if rule.open_world else []),
    ]
    return f"a write ({', '.join(kinds)})"
