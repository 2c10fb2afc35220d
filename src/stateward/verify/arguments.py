"""A tool's arguments by its JSON Schema: their shape, whether a call fits, and what conditions see of it.

A small part of JSON Schema (2020-12), the part that pydantic and MCP servers write for arguments. What it
cannot read is `any`, which a condition may use without type checks at load; evaluation then refuses what does
not fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast
from urllib.parse import unquote

from stateward.model.policy import nearest
from stateward.model.served import Served
from stateward.model.values import Json, JsonObject

Kind = Literal["number", "integer", "decimal", "boolean", "string", "array", "object", "any"]

_ABSENT = object()
_BY_VALUE: dict[type, Kind] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_MARKS = frozenset({"properties", "additionalProperties", "$ref", "$defs", "allOf", "anyOf", "oneOf"})
_TYPES: dict[Kind, tuple[type, ...]] = {
    "boolean": (bool,),
    "string": (str,),
    "array": (list, tuple),
    "object": (Mapping,),
    "number": (int, float),
    "decimal": (int, float, str),
    "integer": (int,),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSchema:
    """A tool's argument schema, as the caller knows it.

    Attributes:
        name: The tool's name.
        json_schema: The JSON Schema of its arguments, `$defs` included: what
            `tool.tool_call_schema.model_json_schema()` or an MCP server's `inputSchema` gives. LangChain's
            bare `tool.args`, properties only, is read as well.
        served: Of an MCP server's tool, whose it is.
    """

    name: str
    json_schema: JsonObject
    served: Served | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What one value looks like.

    Attributes:
        kind: JSON's types; `decimal` is a number or a string, which is how pydantic describes a `Decimal`. A
            condition sees it as a number, and cannot be evaluated where the string is none.
        nullable: It may be null, or be left out without a default; a condition then sees null.
        required: It has to be there.
        default: What the tool takes where it is left out.
        choices: The allowed values, empty where any will do.
        properties: Of an object, by name.
        items: Of an array.
        extra: Of an object: what other keys hold; None where there are no other keys.
    """

    kind: Kind = "any"
    nullable: bool = False
    required: bool = False
    default: object = _ABSENT
    choices: tuple[Json, ...] = ()
    properties: Mapping[str, Shape] = field(default_factory=dict[str, "Shape"])
    items: Shape | None = None
    extra: Shape | None = None

    @property
    def numeric(self) -> bool:
        """Whether values of it can be added up."""
        return self.kind in ("number", "integer", "decimal")


def shape_of(schema: JsonObject) -> Shape:
    """The shape of a tool's arguments: always an object.

    Args:
        schema: A complete JSON Schema of an object, or bare properties.
    """
    if schema and schema.get("type") != "object" and not _MARKS & set(schema):
        required = [name for name, part in schema.items() if "default" not in _object(part)]
        schema = {"type": "object", "properties": schema, "required": required}
    shape = _Reader(schema).read(schema)
    # A tool's own arguments are closed unless the schema opens them in so many words.
    extra = shape.extra if "properties" in schema or "additionalProperties" in schema else None
    return replace(shape, kind="object", nullable=False, extra=extra)


def target_of(root: JsonObject, reference: str) -> object:
    """What a reference in a schema points at, such as `#/$defs/line` or `#/properties/a/anyOf/0`; None for nothing."""
    found: object = root
    for step in unquote(reference.removeprefix("#")).split("/")[1:]:
        if isinstance(found, list):
            part = cast("list[object]", found)
            is_place = step.isascii() and step.isdigit() and len(step) < 10
            found = part[int(step)] if is_place and int(step) < len(part) else None
        else:
            found = _object(found).get(step.replace("~1", "/").replace("~0", "~"))
    return found


class _Reader:
    """Reads one schema; knows the definitions that it is inside of, because they may be recursive."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._inside: list[str] = []

    def read(self, schema: object) -> Shape:
        part = _object(schema)
        if "$ref" in part:
            return self._reference(str(part["$ref"]), part)
        options = _list(part.get("anyOf", part.get("oneOf")))
        if options:
            return self._union(options, part)
        if len(_list(part.get("allOf"))) == 1:
            return _with_default(self.read(_list(part["allOf"])[0]), part)
        return _with_default(self._plain(part), part)

    def _reference(self, reference: str, part: JsonObject) -> Shape:
        if reference in self._inside:
            return Shape()
        self._inside.append(reference)
        shape = self.read(target_of(self._root, reference))
        self._inside.pop()
        return _with_default(shape, part)

    def _union(self, options: Sequence[Json], part: JsonObject) -> Shape:
        solid = [option for option in options if _object(option).get("type") != "null"]
        shapes = [self.read(option) for option in solid]
        shape = _either(shapes)
        nullable = shape.nullable or len(solid) < len(options) or any(each.nullable for each in shapes)
        return _with_default(replace(shape, nullable=nullable), part)

    def _plain(self, part: JsonObject) -> Shape:
        declared = part.get("type")
        types = [declared] if isinstance(declared, str) else [str(each) for each in _list(declared)]
        solid = [each for each in types if each != "null"]
        choices = (part["const"],) if "const" in part else tuple(_list(part.get("enum")))
        kind = _kind(solid, choices)
        return Shape(
            kind=kind,
            nullable="null" in types or None in choices,
            choices=choices,
            properties=self._properties(part) if kind == "object" else {},
            items=self.read(part["items"]) if kind == "array" and "items" in part else None,
            extra=self._extra(part) if kind == "object" else None,
        )

    def _properties(self, part: JsonObject) -> dict[str, Shape]:
        required = set(_list(part.get("required")))
        shapes: dict[str, Shape] = {}
        for name, schema in _object(part.get("properties")).items():
            shape = self.read(schema)
            absent = name not in required and shape.default in (_ABSENT, None)
            shapes[name] = replace(shape, required=name in required, nullable=shape.nullable or absent)
        return shapes

    def _extra(self, part: JsonObject) -> Shape | None:
        patterns = list(_object(part.get("patternProperties")).values())
        extra = patterns[0] if len(patterns) == 1 else part.get("additionalProperties", "properties" not in part)
        if extra is False:
            return None
        return Shape() if extra is True else self.read(extra)


def _either(shapes: Sequence[Shape]) -> Shape:
    """What fits every one of some shapes fits this one, and no less is known of it than they have in common."""
    kinds = {shape.kind for shape in shapes}
    if len(shapes) == 1:
        return shapes[0]
    if kinds == {"object"}:
        return _either_object(shapes)
    if kinds == {"number", "string"}:
        return Shape(kind="decimal")
    if kinds == {"number", "integer"}:
        return Shape(kind="number")
    if len(kinds) == 1 and kinds < {"string", "integer", "number", "boolean"}:
        choices = tuple(choice for shape in shapes for choice in shape.choices)
        return Shape(kind=shapes[0].kind, choices=choices if all(shape.choices for shape in shapes) else ())
    return Shape()


def _either_object(shapes: Sequence[Shape]) -> Shape:
    properties: dict[str, Shape] = {}
    for name in dict.fromkeys(name for shape in shapes for name in shape.properties):
        parts = [shape.properties[name] for shape in shapes if name in shape.properties]
        everywhere = len(parts) == len(shapes)
        properties[name] = replace(
            _either(parts),
            required=everywhere and all(part.required for part in parts),
            nullable=not everywhere or any(part.nullable for part in parts),
            default=_ABSENT,
        )
    extras = [shape.extra for shape in shapes if shape.extra is not None]
    return Shape(kind="object", properties=properties, extra=_either(extras) if extras else None)


def _kind(types: Sequence[str], choices: Sequence[Json]) -> Kind:
    if not types:
        kinds: set[Kind] = {_BY_VALUE.get(type(choice), "any") for choice in choices if choice is not None}
        return kinds.pop() if len(kinds) == 1 else "any"
    known: list[Kind] = [kind for kind in _TYPES if types == [kind]]
    return known[0] if known else "any"


def _with_default(shape: Shape, part: JsonObject) -> Shape:
    return replace(shape, default=part["default"]) if "default" in part else shape


def _object(value: object) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Json]:
    return cast("list[Json]", value) if isinstance(value, list) else []


def problem(shape: Shape, arguments: JsonObject) -> str | None:
    """Why these arguments do not fit the shape, without repeating any value; None where they fit.

    Required and unknown keys, JSON types and choices are checked, all the way down. A boolean is no number,
    as in JSON.
    """
    return next(_misfits(shape, arguments, "the call"), None)


def unspeakable(value: object, where: str = "the call") -> str | None:
    """Why a value cannot be judged, whatever its schema: not finite, or text that CEL or Postgres would cut.

    CEL's runtime reads a string up to its first NUL, so that "EUR\\0..." would equal "EUR".
    """
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{where} holds a number that is not finite"
    if isinstance(value, str):
        return None if speakable(value) else f"{where} holds text with a NUL or a broken character"
    if isinstance(value, Mapping):
        return _first_unspeakable([*cast("JsonObject", value), *cast("JsonObject", value).values()], where)
    return _first_unspeakable(cast("list[Json]", value), where) if isinstance(value, list | tuple) else None


def speakable(text: str) -> bool:
    """Whether a text goes through CEL unchanged: no NUL, no lone surrogate."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def _first_unspeakable(values: Sequence[object], where: str) -> str | None:
    return next((found for value in values if (found := unspeakable(value, where))), None)


def _misfits(shape: Shape, value: object, where: str) -> Iterator[str]:
    if value is None and (shape.nullable or shape.kind == "any"):
        return
    if shape.kind != "any" and not _is(shape.kind, value):
        yield f"{where} has to be {_article(shape.kind)}"
    elif shape.choices and not any(value == choice and type(value) is type(choice) for choice in shape.choices):
        yield f"{where} is none of the allowed values"
    elif isinstance(value, Mapping):
        yield from _object_misfits(shape, cast("JsonObject", value), where)
    elif isinstance(value, list | tuple) and shape.items is not None:
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from _misfits(shape.items, item, f"{where}[{index}]")


def _object_misfits(shape: Shape, value: JsonObject, where: str) -> Iterator[str]:
    if shape.kind == "any":
        return
    inner = "" if where == "the call" else f"{where}."
    for name, part in shape.properties.items():
        if name in value:
            yield from _misfits(part, value[name], f"{inner}{name}")
        elif part.required:
            yield f"{inner}{name} is missing"
    for name in value:
        if name not in shape.properties and shape.extra is None:
            hint = nearest(name, shape.properties)
            yield f"{where} has an argument that {'the tool' if not inner else where} does not take{hint}"
        elif name not in shape.properties and shape.extra is not None:
            yield from _misfits(shape.extra, value[name], f"another key of {where}")


def _is(kind: Kind, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, (object,)))


def _article(kind: Kind) -> str:
    return {"integer": "an integer", "object": "an object", "array": "a list", "decimal": "a number"}.get(
        kind, f"a {kind}"
    )


def fit(shape: Shape, value: object) -> object:
    """The value as a condition sees it: a number as a float, an integer as an int, defaults filled in.

    Raises:
        ValueError: it is not of the shape's kind.
        OverflowError: it is a number too large for a float.
    """
    if value is None or shape.kind == "any":
        return value
    if not _is(shape.kind, value):
        raise ValueError(f"a value is not {_article(shape.kind)}")
    if shape.kind in ("number", "decimal"):
        return _number(cast("float | str", value))
    if shape.kind == "integer":
        return int(cast("float", value))
    if shape.kind == "array" and shape.items is not None:
        items = shape.items
        return [fit(items, item) for item in cast("Sequence[object]", value)]
    return _fit_object(shape, cast("JsonObject", value)) if shape.kind == "object" else value


def _number(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError("a value is not a number") from None


def _fit_object(shape: Shape, value: JsonObject) -> dict[str, object]:
    fitted: dict[str, object] = {}
    for name in {**shape.properties, **value}:
        part = shape.properties.get(name, shape.extra or Shape())
        fitted[name] = fit(part, value[name] if name in value else default_of(part))
    return fitted


def default_of(shape: Shape) -> object:
    """What a condition sees where the call leaves it out: the tool's own default, else null."""
    return None if shape.default is _ABSENT else shape.default
