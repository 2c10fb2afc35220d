"""LangGraph's store filters as SQL/JSON paths, so that the database looks. Numbers compare with numbers only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

from stateward.model.values import Json

_ORDER = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_NEVER, _ALWAYS = "(1 == 2)", "(1 == 1)"


def filter_path(wanted: Mapping[str, object]) -> str | None:
    """A path that exists in every value in which each named key fulfils its condition; None where nothing is asked.

    Args:
        wanted: By key a plain value, operators (`$eq $ne $gt $gte $lt $lte`), or the same for keys below it. A list
            is equal to one whose items are, in order. A key that is not there is `None`.

    Raises:
        ValueError: an operator is not known, or a value is none of JSON's.
    """
    if not wanted:
        return None
    return f"$ ? ({_all(_fulfils(_member('@', key), condition) for key, condition in wanted.items())})"


def plain_part(wanted: Mapping[str, object]) -> dict[str, Json] | None:
    """What every value that fulfils the filter contains, which the database compares faster than a path."""
    return {key: one for key, one in wanted.items() if isinstance(one, str | int | float)} or None


def _fulfils(at: str, condition: object) -> str:
    if isinstance(condition, Mapping):
        named = cast("Mapping[str, object]", condition)
        if any(str(key).startswith("$") for key in named):
            return _all(_compared(at, name, bound) for name, bound in named.items())
        below = (_fulfils(_member(at, key), one) for key, one in named.items())
        return _all([_is(at, "object"), *below])
    if isinstance(condition, Sequence) and not isinstance(condition, str | bytes):
        items = list(cast("Sequence[object]", condition))
        each = (_fulfils(f"{at}[{number}]", one) for number, one in enumerate(items))
        return _all([_is(at, "array"), f"({at}.size() == {len(items)})", *each])
    return _equal(at, condition)


def _compared(at: str, name: str, bound: object) -> str:
    if name == "$eq":
        return _fulfils(at, bound)
    if name == "$ne":
        return f"(!{_fulfils(at, bound)})"
    if name not in _ORDER:
        raise ValueError(f"unknown filter operator {name!r}: $eq, $ne, $gt, $gte, $lt and $lte are known")
    if isinstance(bound, str):
        return _all([f"({at} {_ORDER[name]} {_literal(bound)})", _is(at, "string")])
    if isinstance(bound, int | float) and not isinstance(bound, bool):
        return _all([f"({at} {_ORDER[name]} {_literal(bound)})", _is(at, "number")])
    return _NEVER


def _equal(at: str, value: object) -> str:
    if value is None:
        return f"(!exists({at}) || {_is(at, 'null')})"
    if isinstance(value, bool):
        return _all([f"({at} == {_literal(value)})", _is(at, "boolean")])
    if isinstance(value, int | float):
        return _all([f"({at} == {_literal(value)})", _is(at, "number")])
    if isinstance(value, str):
        return _all([f"({at} == {_literal(value)})", _is(at, "string")])
    raise ValueError(f"a filter compares with text, numbers, true, false, None, lists and mappings, not {value!r}")


def _is(at: str, kind: str) -> str:
    # Without it a list would be unwrapped, and its items compared. `type()` itself does not unwrap. It stands after the
    # comparison, which most values fail.
    return f'({at}.type() == "{kind}")'


def _member(at: str, key: str) -> str:
    return f"{at}.{_literal(key)}"


def _literal(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a filter cannot compare with {value!r}: JSON has no such number")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("a filter cannot compare with a text that holds the character NUL")
    try:
        return json.dumps(value)
    except UnicodeEncodeError as error:
        raise ValueError(f"a filter cannot compare with {value!r}") from error


def _all(parts: object) -> str:
    found = list(cast("Sequence[str]", parts))
    return f"({' && '.join(found)})" if found else _ALWAYS
