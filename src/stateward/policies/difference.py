"""What a new policy changes against an old one, and for each change whether it loosens or tightens what may happen.

`unknown` is said wherever that depends on more than the two texts; it is never guessed. That a condition which cannot
be evaluated denies is left aside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, cast

from pydantic import BaseModel

from stateward.model.durations import duration_text
from stateward.model.policy import AnswerRule, AskRule, DenyRule, LimitRule, PolicyDocument, ServerRule, ToolRule

Effect = Literal["loosens", "tightens", "unknown", "neither"]
Kind = Literal["added", "removed", "changed"]
Rule = DenyRule | LimitRule | AskRule


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change.

    Attributes:
        place: Where, such as `tools.pay.ask[0]`: in the new policy, or in the old one for what was removed.
        kind: `added`, `removed` or `changed`.
        effect: Whether more may happen after it (`loosens`), less (`tightens`), that cannot be said (`unknown`), or it
            decides nothing (`neither`).
        old: What it was, for people; empty where it was not there.
        new: What it is now.
    """

    place: str
    kind: Kind
    effect: Effect
    old: str = ""
    new: str = ""


def difference(old: PolicyDocument, new: PolicyDocument) -> list[Change]:
    """All changes, tools first, in the order of the new policy."""
    return [
        *_tools(old.tools, new.tools),
        *_mapping("mcp", old.mcp, new.mcp, added="loosens", deeper=_server),
        *_mapping("answers", old.answers, new.answers, added="tightens", deeper=_answer),
        *_mapping("identities", old.identities, new.identities),
        *_mapping("memory.kinds", old.memory.kinds, new.memory.kinds, added="loosens", deeper=_kind),
        *_treatments(old, new),
        *_fields("memory.detection", old.memory.detection, new.memory.detection, _DETECTION),
        *_fields("budget", old.budget, new.budget, _BUDGET),
        *_mapping("prices", old.prices, new.prices),
        *_fields("", old, new, _DOCUMENT, without=_LOOKED_AT),
    ]


def together(effects: Iterable[Effect]) -> Effect:
    """What several changes come to."""
    said = set(effects) - {"neither"}
    return next(iter(said)) if len(said) == 1 else "unknown" if said else "neither"


def _tools(old: Mapping[str, ToolRule], new: Mapping[str, ToolRule]) -> Iterator[Change]:
    for name, rule in new.items():
        if name in old:
            yield from _tool(f"tools.{name}", old[name], rule)
        else:
            yield Change(place=f"tools.{name}", kind="added", effect=_appears(name, old, "loosens"), new=_text(rule))
    for name, rule in old.items():
        if name not in new:
            yield Change(place=f"tools.{name}", kind="removed", effect=_appears(name, new, "tightens"), old=_text(rule))


def _appears(name: str, others: Iterable[str], alone: Effect) -> Effect:
    """The effect of a tool's key that only one policy has: a pattern of the other one may have meant the same tools."""
    meets = any(fnmatchcase(name, other) or fnmatchcase(other, name) for other in others if "*" in name + other)
    return "unknown" if meets else alone


def _tool(place: str, old: ToolRule, new: ToolRule) -> Iterator[Change]:
    yield from _fields(place, old, new, _TOOL, without={"deny", "limit", "ask"})
    for step in ("deny", "limit", "ask"):
        yield from _rules(f"{place}.{step}", getattr(old, step), getattr(new, step))


def _server(place: str, old: ServerRule, new: ServerRule) -> Iterator[Change]:
    yield from _fields(place, old, new, _SERVER, without={"deny", "limit", "ask"})
    for step in ("deny", "limit", "ask"):
        yield from _rules(f"{place}.{step}", getattr(old, step), getattr(new, step))


def _answer(place: str, old: AnswerRule, new: AnswerRule) -> Iterator[Change]:
    yield from _fields(place, old, new, {}, without={"deny", "ask"})
    for step in ("deny", "ask"):
        yield from _rules(f"{place}.{step}", getattr(old, step), getattr(new, step))


def _rules(place: str, old: Sequence[Rule], new: Sequence[Rule]) -> Iterator[Change]:
    pairs = _paired(old, new)
    for at, rule in enumerate(new):
        if at not in pairs:
            effect: Effect = "neither" if rule.mode == "observe" else "tightens"
            yield Change(place=f"{place}[{at}]", kind="added", effect=effect, new=_text(rule))
        else:
            yield from _fields(f"{place}[{at}]", old[pairs[at]], rule, _RULE, decides=_enforced(old[pairs[at]], rule))
    for at, rule in enumerate(old):
        if at not in pairs.values():
            effect = "neither" if rule.mode == "observe" else "loosens"
            yield Change(place=f"{place}[{at}]", kind="removed", effect=effect, old=_text(rule))


def _paired(old: Sequence[Rule], new: Sequence[Rule]) -> dict[int, int]:
    """Which old rule each new one is: the same one, else one of the same condition, else of the same sentence, else of
    the same place where only the condition's numbers are others.
    """
    pairs: dict[int, int] = {}
    alike: tuple[Callable[[Rule], object], ...] = (
        _text,
        _condition,
        _sentence,
        _skeleton,
    )
    for key in alike:
        for at, rule in enumerate(new):
            free = [other for other in range(len(old)) if other not in pairs.values() and key(old[other]) == key(rule)]
            if at not in pairs and free:
                pairs[at] = free[0]
    return pairs


def _sentence(rule: Rule) -> object:
    return rule.because or object()  # which is equal to nothing else


def _skeleton(rule: Rule) -> str:
    return _NUMBER.sub("#", _condition(rule))


def _condition(rule: Rule) -> str:
    return rule.keep if isinstance(rule, LimitRule) else rule.when


def _enforced(old: Rule, new: Rule) -> bool:
    """Whether both are enforced: what is only observed changes nothing, and a new mode decides by itself."""
    return old.mode == new.mode == "enforce"


def _fields(
    place: str,
    old: BaseModel,
    new: BaseModel,
    effects: Mapping[str, Callable[[Any, Any], Effect]],
    *,
    without: Collection[str] = (),
    decides: bool = True,
) -> Iterator[Change]:
    for name, field in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if name not in without and before != after:
            effect = effects.get(name, _unknown)(before, after) if decides or name == "mode" else "neither"
            where = ".".join(part for part in (place, field.alias or name) if part)
            yield Change(place=where, kind="changed", effect=effect, old=_text(before), new=_text(after))


def _mapping(
    place: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    added: Effect = "unknown",
    deeper: Callable[[str, Any, Any], Iterator[Change]] | None = None,
) -> Iterator[Change]:
    removed = _OPPOSITE[added]
    for name in [*new, *(name for name in old if name not in new)]:
        where, before, after = f"{place}.{name}", old.get(name), new.get(name)
        if before is None:
            yield Change(place=where, kind="added", effect=added, new=_text(after))
        elif after is None:
            yield Change(place=where, kind="removed", effect=removed, old=_text(before))
        elif before != after and deeper is not None:
            yield from deeper(where, before, after)
        elif before != after:
            yield Change(place=where, kind="changed", effect="unknown", old=_text(before), new=_text(after))


def _kind(place: str, old: BaseModel, new: BaseModel) -> Iterator[Change]:
    yield from _fields(place, old, new, {"purpose": _more_loosens, "keep": _higher_loosens})


def _treatments(old: PolicyDocument, new: PolicyDocument) -> Iterator[Change]:
    names = dict.fromkeys(["default", *new.memory.personal_data, *old.memory.personal_data])
    for name in names:
        before, after = old.memory.treatment(name), new.memory.treatment(name)
        if before != after:
            # Redacted, masked and hashed cannot be ranked without knowing what it is for.
            rank = {"allow": 2, "refuse": 0}
            effect = _higher_loosens(rank.get(before, 1), rank.get(after, 1))
            place = f"memory.personal_data.{name}"
            yield Change(place=place, kind="changed", effect=effect, old=before, new=after)


def _unknown(_old: object, _new: object) -> Effect:
    return "unknown"


def _neither(_old: object, _new: object) -> Effect:
    return "neither"


def _higher_loosens(old: Any, new: Any) -> Effect:
    if old == new:
        return "unknown"
    return "loosens" if new > old else "tightens"


def _higher_tightens(old: Any, new: Any) -> Effect:
    return _OPPOSITE[_higher_loosens(old, new)]


def _more_loosens(old: Sequence[str], new: Sequence[str]) -> Effect:
    before, after = set(old), set(new)
    if before == after:
        return "neither"
    return "loosens" if before < after else "tightens" if after < before else "unknown"


def _more_tightens(old: Sequence[str], new: Sequence[str]) -> Effect:
    return _OPPOSITE[_more_loosens(old, new)]


def _limit(old: Any, new: Any) -> Effect:
    """Of a budget, where nothing is no limit."""
    if old is None or new is None:
        return "tightens" if old is None else "loosens"
    return _higher_loosens(old, new)


def _when(old: str, new: str) -> Effect:
    """A condition that speaks where it holds: the more often, the less may happen."""
    if old.strip() == new.strip():
        return "neither"
    if "true" in (old, new):
        return "tightens" if new == "true" else "loosens"
    return _OPPOSITE[_bound(old, new)]


def _keep(old: str, new: str) -> Effect:
    if old.strip() == new.strip():
        return "neither"
    return _bound(old, new)


def _bound(old: str, new: str) -> Effect:
    """Whether a comparison with a number holds more often (`loosens`) with another number in its place."""
    before, after = _BOUND.fullmatch(old), _BOUND.fullmatch(new)
    if before is None or after is None or before["left"].split() != after["left"].split():
        return "unknown"
    if before["sign"] != after["sign"] or _JOINS.search(before["left"]):
        return "unknown"
    first, second = float(before["number"]), float(after["number"])
    holds = _higher_loosens(first, second)
    return holds if before["sign"] in ("<", "<=") else _OPPOSITE[holds]


def _effect_kind(old: str, _new: str) -> Effect:
    # A write is reserved, and is never repeated on suspicion.
    return "tightens" if old == "read" else "loosens"


_OPPOSITE: dict[Effect, Effect] = {
    "loosens": "tightens",
    "tightens": "loosens",
    "unknown": "unknown",
    "neither": "neither",
}
_NUMBER = re.compile(r"-?\b[0-9]+(?:\.[0-9]+)?")
_BOUND = re.compile(r"\s*(?P<left>[^<>]+?)\s*(?P<sign><=|>=|<|>)\s*(?P<number>-?[0-9]+(?:\.[0-9]+)?)\s*", re.DOTALL)
_JOINS = re.compile(r"&&|\|\||[?!:=]|//")
_TOOL: dict[str, Callable[[Any, Any], Effect]] = {
    "effect": _effect_kind,
    "destructive": _neither,
    "open_world": _neither,
    "idempotent": _higher_loosens,
    "allowed": _more_loosens,
    "reveal": _more_loosens,
}
_SERVER: dict[str, Callable[[Any, Any], Effect]] = {"trusted": _higher_loosens, "allowed": _more_loosens}
_RULE: dict[str, Callable[[Any, Any], Effect]] = {
    "when": _when,
    "keep": _keep,
    "because": _neither,
    "mode": lambda old, _new: "loosens" if old == "enforce" else "tightens",
    "by": _more_loosens,
    "of": _higher_tightens,
    "excluding": _more_tightens,
    "within": _higher_loosens,
}
_BUDGET: dict[str, Callable[[Any, Any], Effect]] = dict.fromkeys(("steps", "tokens", "usd", "wall"), _limit)
_DETECTION: dict[str, Callable[[Any, Any], Effect]] = {"threshold": _higher_loosens, "countries": _more_tightens}
_DOCUMENT: dict[str, Callable[[Any, Any], Effect]] = dict.fromkeys(
    ("policy", "version", "checkpoints", "threads"), _neither
)
_LOOKED_AT = {"tools", "mcp", "answers", "identities", "memory", "budget", "prices"}


def _text(value: object) -> str:
    """A part of a policy as a person would write it in short."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case BaseModel():
            fields = type(value).model_fields
            said = [
                f"{field.alias or name}: {_text(getattr(value, name))}"
                for name, field in fields.items()
                if getattr(value, name) != field.default or field.is_required()
            ]
            return f"{{{', '.join(said)}}}"
        case tuple():
            return f"[{', '.join(map(_text, cast('tuple[object, ...]', value)))}]"
        case _ if hasattr(value, "total_seconds"):
            return duration_text(value)  # pyright: ignore[reportArgumentType]
        case _:
            return str(value)
