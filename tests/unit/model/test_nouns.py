"""The nouns: frozen, with one text for a value, and ids that a replay arrives at again."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import pkgutil
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import stateward.model
from stateward import Principal
from stateward.model.action import action_id
from stateward.model.values import canonical, digest, plain, plain_object

IO_MODULES = {"asyncio", "io", "os", "pathlib", "socket", "subprocess", "sqlite3", "urllib", "http"}
MODULES = [name for _, name, _ in pkgutil.iter_modules(stateward.model.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_every_noun_is_frozen(module: str) -> None:
    found = importlib.import_module(f"stateward.model.{module}")
    for noun in vars(found).values():
        if dataclasses.is_dataclass(noun) and isinstance(noun, type):
            assert noun.__dataclass_params__.frozen, noun


def test_nouns_do_no_io() -> None:
    trees = [ast.parse(path.read_text()) for path in Path(stateward.model.__path__[0]).glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    modules = {name.split(".")[0] for name in named - {"urllib.parse"}}  # which only writes and reads text
    modules |= {name.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    # `referencing` is jsonschema's: its registry holds what it is given, and fetches nothing.
    others = {"stateward", "pydantic", "pydantic_core", "jsonschema", "referencing"}
    assert modules <= {*sys.stdlib_module_names, *others} - IO_MODULES


def test_one_value_has_one_text() -> None:
    assert canonical({"b": 1, "a": (1, 2)}) == canonical({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"amount": 1}, {"amount": "1"}),
        ({"amount": 1}, {"amount": True}),
        ({"amount": 1}, {"amount": 1, "to": None}),
        ([["a"], "b"], [["a", "b"]]),
        ("a\x00", "a"),
        ({"a": {"b": 1}}, {"a": 1, "b": 1}),
    ],
)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_what_json_cannot_say_has_no_digest(value: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        digest(value)


@pytest.mark.parametrize("value", [object(), {"a": object()}, b"bytes"])
def test_what_is_no_json_has_no_text(value: object) -> None:
    with pytest.raises(TypeError, match="is not a JSON value"):
        canonical(value)


def test_a_plain_value_is_what_json_brings_back() -> None:
    value = {"amount": Decimal("1.10"), "on": date(2026, 10, 31), "tags": {"b", "a"}, "pair": (1, 2)}
    assert plain(value) == {"amount": "1.10", "on": "2026-10-31", "tags": ["a", "b"], "pair": [1, 2]}
    assert plain_object(value) == json.loads(canonical(value))


def test_an_actions_id_is_found_again_and_no_other_has_it() -> None:
    given = {"thread": "t", "turn": "u", "call": "c"}
    assert action_id(**given) == action_id(**given, edit=0)
    others = [{**given, key: "x"} for key in given] + [{"thread": "tu", "turn": "", "call": "c"}]
    ids = {action_id(**given), action_id(**given, edit=1), *(action_id(**other) for other in others)}
    assert len(ids) == 6
    assert all(len(one) == 32 for one in ids)


def test_a_principal_is_named_by_its_id_and_its_roles() -> None:
    ann = Principal("ann", roles=["boss", "boss"])
    assert ann.names == {"ann", "boss"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        ann.id = "mallory"
