"""Which classes a graph's state can hold, so that a checkpoint brings back those and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel


def classes_of(state: type) -> set[tuple[str, ...]]:
    """Module and name of every pydantic model, dataclass and enum that the fields of a state can hold."""
    found: set[type] = set()
    _collect(state, found)
    return {(one.__module__, one.__name__) for one in found if _is_data(one)}


def _collect(hint: Any, found: set[type]) -> None:
    if isinstance(hint, type):
        if hint in found or hint.__module__ == "builtins":
            return
        found.add(hint)
        for inner in _fields(hint):
            _collect(inner, found)
    for inner in get_args(hint):
        _collect(inner, found)


def _fields(owner: type) -> Iterator[Any]:
    if not (_is_data(owner) or hasattr(owner, "__required_keys__")):
        return
    try:
        yield from get_type_hints(owner, include_extras=True).values()
    except NameError:  # a hint that names something which is imported for type checkers only
        return


def _is_data(one: type) -> bool:
    return dataclasses.is_dataclass(one) or issubclass(one, (BaseModel, Enum))
