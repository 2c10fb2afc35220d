"""LangGraph's store filters on JSON values. Numbers compare as numbers, and only with numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matches(value: Mapping[str, Any], wanted: Mapping[str, object]) -> bool:
    """Whether every named key of the item fulfils its condition.

    Args:
        value: The item's value.
        wanted: Per top-level key a plain value, or operators: `$eq $ne $gt $gte $lt $lte`.

    Raises:
        ValueError: an operator is not known.
    """
    return all(_fulfils(value.get(key), condition) for key, condition in wanted.items())


def _fulfils(found: object, condition: object) -> bool:
    if isinstance(condition, Mapping) and any(
        str(key).startswith("$") for key in cast("Mapping[str, object]", condition)
    ):
        return all(_compare(found, name, bound) for name, bound in cast("Mapping[str, object]", condition).items())
    return found == condition


def _compare(found: object, name: str, bound: object) -> bool:
    if name == "$eq":
        return found == bound
    if name == "$ne":
        return found != bound
    if name not in _ORDER:
        raise ValueError(f"unknown filter operator {name!r}: $eq, $ne, $gt, $gte, $lt and $lte are known")
    return _comparable(found, bound) and _ORDER[name](found, bound)


def _comparable(found: object, bound: object) -> bool:
    numbers = isinstance(found, int | float) and isinstance(bound, int | float)
    booleans = isinstance(found, bool) or isinstance(bound, bool)
    return (numbers and not booleans) or (isinstance(found, str) and isinstance(bound, str))
