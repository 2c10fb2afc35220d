"""Plain JSON Schemas, as MCP servers give them: what fits, what is read from text, and what a hostile one cannot do."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

from stateward.errors import ConfigurationError
from stateward.json_schema import JsonSchema


def reads(properties: dict[str, Any], arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return JsonSchema("pay", {"type": "object", "properties": properties, **more}).normalize(arguments)


@pytest.mark.parametrize(
    ("schema", "given", "read"),
    [
        ({"type": "integer"}, "12", 12),
        ({"type": "integer"}, "12.0", 12),
        ({"type": "integer"}, 12.0, 12),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "number"}, "-7", -7),
        ({"type": "number"}, "1e3", 1000.0),
        ({"type": "boolean"}, "True", True),
        ({"type": ["integer", "null"]}, "3", 3),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "3", 3),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, "3", "3"),
        ({"type": "string"}, "3", "3"),
        ({}, "3", "3"),
        ({"type": "array", "items": {"type": "integer"}}, ["1", 2], [1, 2]),
        ({"type": "object", "properties": {"n": {"type": "number"}}}, {"n": "4"}, {"n": 4}),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, {"x": "false"}, {"x": False}),
        ({"type": "array", "uniqueItems": True}, [1, True, "1"], [1, True, "1"]),
    ],
)
def test_a_text_is_read_where_nothing_else_fits(schema: dict[str, Any], given: Any, read: Any) -> None:
    found = reads({"a": schema}, {"a": given})["a"]
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("schema", "given", "said"),
    [
        ({"type": "integer"}, "12.5", "a has to be an integer"),
        ({"type": "integer"}, "१२", "a has to be an integer"),
        ({"type": "number"}, "nan", "a has to be a number"),
        ({"type": "boolean"}, "yes", "a has to be a boolean"),
        ({"type": "boolean"}, 1, "a has to be a boolean"),
        ({"type": "integer", "maximum": 5}, 6, r"a does not fit the schema's `maximum` \(5\)"),
        ({"type": "string", "pattern": "^a+$"}, "b", "a does not fit the schema's `pattern`"),
        ({"type": "string"}, None, "a does not fit the schema's `type`"),
        ({"enum": ["x", "y"]}, "z", "a is none of the allowed values"),
        ({"type": "object", "properties": {"n": {}}}, {"m": 1}, "a has an argument"),
        ({"not": {"const": 3}}, 3, "a does not fit the schema's `not`"),
        (
            {"type": "array", "uniqueItems": True},
            [{"n": [1]}, {"n": [1.0]}],
            "a does not fit the schema's `uniqueItems`",
        ),
    ],
)
def test_what_does_not_fit_is_said_without_the_value(schema: dict[str, Any], given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        reads({"a": schema}, {"a": given})


@pytest.mark.parametrize("keys", ["additionalProperties", "patternProperties"])
def test_what_does_not_fit_is_said_without_a_key_that_is_data(keys: str) -> None:
    line = {"type": "object", "properties": {"n": {"allOf": [{"maximum": 5}]}}}
    people = {"type": "object", keys: line if keys == "additionalProperties" else {"@": line}}
    with pytest.raises(ValueError, match=r"^a\.1\.\*\.n does not fit the schema's `maximum` \(5\)$"):
        reads({"a": {"type": "array", "items": people}}, {"a": [{}, {"jane@example.com": {"n": 6}}]})


def test_unknown_and_missing_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"does not take; did you mean 'amount'"):
        reads({"amount": {"type": "number"}}, {"amuont": 1})
    with pytest.raises(ValueError, match="amount is missing"):
        reads({"amount": {"type": "number"}}, {}, required=["amount"])
    assert reads({}, {"x": 1}, additionalProperties=True) == {"x": 1}
    with pytest.raises(ValueError, match="does not take"):
        JsonSchema("look", {"type": "object"}).normalize({"x": 1})


def test_names_of_properties_are_no_keywords() -> None:
    named = {"$ref": {"type": "string"}, "pattern": {"type": "string"}, "unevaluatedItems": {"type": "integer"}}
    given = {"$ref": "http://example.com", "pattern": "(", "unevaluatedItems": 1}
    assert reads(named, given) == given


@pytest.mark.parametrize(
    "schema", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
def test_older_dialects_are_read(schema: str) -> None:
    assert reads({"a": {"type": "integer"}}, {"a": 1}, **{"$schema": schema}) == {"a": 1}


@pytest.mark.parametrize(
    "reference", ["#/properties/b/anyOf/1", "#/$defs/a~1b", "#/%24defs/a~1b", "#/$defs/c~0d", "#/$defs/c%7E0d"]
)
def test_a_reference_may_point_anywhere_in_the_schema(reference: str) -> None:
    """Zod's schemas, which TypeScript servers send, refer to where a type stands first, within lists as well."""
    either = {"anyOf": [{"type": "null"}, {"type": "integer", "maximum": 5}]}
    defs = {"$defs": {"a/b": {"type": "integer", "maximum": 5}, "c~d": {"type": "integer", "maximum": 5}}}
    assert reads({"a": {"$ref": reference}, "b": either}, {"a": "3"}, **defs) == {"a": 3}
    with pytest.raises(ValueError, match="`maximum`"):
        reads({"a": {"$ref": reference}, "b": either}, {"a": 6}, **defs)


def test_nothing_is_fetched() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        for part in (
            {"$ref": address},
            {"$schema": address},
            {"$id": address, "$ref": "#/x"},
            {"$dynamicRef": address},
        ):
            with pytest.raises(ConfigurationError):
                JsonSchema("pay", {"type": "object", "properties": {"a": part}, **part})
        with pytest.raises(TimeoutError):
            listener.accept()


def fans_out(depth: int) -> dict[str, Any]:
    parts: dict[str, Any] = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{depth}": {}}}


def crossing(count: int) -> dict[str, Any]:
    every = {f"p{at}": {"$ref": f"#/$defs/n{at}"} for at in range(count)}
    return {"$ref": "#/$defs/n0", "$defs": {f"n{at}": {"properties": every} for at in range(count)}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (fans_out(60), "too large"),
        (crossing(14), "too large"),
        ({"properties": {"a": nested(5000)}}, "too deep"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "points at nothing"),
        ({"properties": {"a": {"anyOf": [{}, {"$ref": "#/properties/a/anyOf/-1"}]}}}, "points at nothing"),
        ({"properties": {"a": {"$ref": "#/x\ty"}}, "x\ty": {}, "xy": {"$dynamicRef": "#"}}, "points outside"),
        ({"properties": {"a": {"$ref": "#/x~1y"}}, "x~1y": {}, "x/y": {"$dynamicRef": "#"}}, "not supported"),
        ({"properties": {"a": {f"x{at}": 1 for at in range(200)}}}, "more than 100 keywords"),
        ({"properties": {"a": {"description": "x" * 1_000_000}}}, "too large"),
        ({"patternProperties": {f"a{{{'9' * 5000}}}": {}}}, "bounded time"),
        ({"patternProperties": {"^(?=x)(a+)+$": {}}}, "bounded time"),
        ({"properties": {"a": {"unevaluatedProperties": False}}}, "not supported"),
        ({"properties": {"a": {"$id": "urn:x"}}}, "would change what references mean"),
        ({"properties": {"a": {"type": "nothing"}}}, "no JSON Schema at /properties/a/type"),
        ({"properties": ["a"]}, "no JSON Schema"),
        ({"properties": {"a": {"default": float("nan")}}}, "not JSON"),
        ({"properties": {"a": {"default": "\ud800"}}}, "not JSON"),
        ({"properties": {"a": {"default": object()}}}, "not JSON"),
    ],
)
def test_a_schema_that_cannot_be_checked_safely_is_refused(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        JsonSchema("pay", {"type": "object", **schema})


def test_a_recursive_schema_is_read_and_cannot_make_work_without_end() -> None:
    twice = {"properties": {"c": {"allOf": [{"$ref": "#/$defs/r"}, {"$ref": "#/$defs/r"}]}}, "type": "object"}
    schema = JsonSchema("pay", {"type": "object", "properties": {"a": {"$ref": "#/$defs/r"}}, "$defs": {"r": twice}})
    assert schema.normalize({"a": {"c": {"c": {}}}}) == {"a": {"c": {"c": {}}}}
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"c": deep}
    with pytest.raises(ValueError, match="could not be checked"):
        schema.normalize({"a": deep})
    for _ in range(50):
        deep = {"c": deep}
    with pytest.raises(ValueError, match="nested too deep"):
        schema.normalize({"a": deep})
    with pytest.raises(ValueError, match="could not be checked"):
        reads({"a": {"$ref": "#/$defs/x"}}, {"a": 1}, **{"$defs": {"x": {"$ref": "#/$defs/x"}}})


WIDE = {"allOf": [{"type": "integer"}] * 1500}
ENUM = {"enum": [[0] * 100 + [at] for at in range(1000)]}


@pytest.mark.parametrize(
    ("part", "given"),
    [
        ({"type": "array", "items": {"$ref": "#/$defs/wide"}}, [0] * 4000),
        ({"type": "array", "items": {"$ref": "#/$defs/enum"}}, [[0] * 101] * 4000),
        ({"type": "array", "items": {"not": {"not": {}}}}, [0] * 100_000),
    ],
    ids=["wide", "enum", "items"],
)
def test_no_call_makes_more_work_than_it_may(part: dict[str, Any], given: Any) -> None:
    # Each reference is one of a few, and what stands behind it is small: only both together take minutes.
    with pytest.raises(ValueError, match="could not be checked"):
        reads({"a": part}, {"a": given}, **{"$defs": {"wide": WIDE, "enum": ENUM}})


def test_a_long_call_of_an_honest_tool_is_checked() -> None:
    line = {"type": "object", "properties": {f"p{at}": {"type": "integer"} for at in range(8)}, "required": ["p0"]}
    schema = {"type": "array", "items": {"$ref": "#/$defs/line"}, "uniqueItems": True}
    lines = [{f"p{at}": at + 10 * row for at in range(8)} for row in range(1000)]
    assert reads({"a": schema}, {"a": lines}, **{"$defs": {"line": line}}) == {"a": lines}


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|aa)+$", "^(?:(?:a*)*)*b$", "((((a{30}){30}){30}){30})c", "^(?=(a+)+$)"]
)
def test_no_pattern_hangs(pattern: str) -> None:
    # Python's own engine would need more time than the universe has had for the first ones; the last are the server's.
    text = "a" * 15_000 + "b"
    schema = JsonSchema("pay", {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}})
    try:
        assert schema.normalize({"a": text}) == {"a": text}
    except ValueError as error:
        assert "`pattern`" in str(error)  # noqa: PT017  either is well, as long as it ends


def test_a_missing_extra_says_which_line_installs_it() -> None:
    code = "import sys; sys.modules['langchain_mcp_adapters'] = None; from stateward import mcp"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is not installed: pip install 'stateward[mcp]'" in ran.stderr
