"""Arguments by a plain JSON Schema, as MCP servers give it: checked, and read as what the schema says.

The schema is a stranger's. Nothing of it is fetched, its patterns run in an engine whose time is linear, and its size,
its depth and the work that it makes are bounded: what goes beyond is refused when the tool is loaded, or with the call.
Only a pattern that cannot be checked so, or for which a call is too long, is left to the server.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, cast

from pydantic_core import SchemaError, SchemaValidator, core_schema

from stateward.errors import ConfigurationError
from stateward.model.values import Json, JsonObject, canonical, plain_object
from stateward.verify.arguments import Shape, problem, shape_of, target_of

_DEEPEST, _LARGEST = 40, 20_000  # of a schema, with its references followed
_KEYWORDS, _LONGEST = 100, 1_000_000  # of each part of it, and characters of all of it
_DEEPEST_CALL = 60
_STEPS, _REFERENCE = 200_000, 40  # the work that one call may make, and what following a reference counts for
_CHARACTERS = 20_000  # what one call may hold against patterns
_LONGEST_PATTERN = 20_000  # with its repetitions written out

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLE = ("items", "additionalItems", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames")
_REFUSED = ("$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems")
_DIALECTS = {
    "https://json-schema.org/draft/2020-12/schema": "Draft202012Validator",
    "https://json-schema.org/draft/2019-09/schema": "Draft201909Validator",
    "http://json-schema.org/draft-07/schema": "Draft7Validator",
    "http://json-schema.org/draft-06/schema": "Draft6Validator",
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0{1,18})?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?")
_REPEATED = re.compile(r"\{([0-9]*),?([0-9]*)\}")


Check = Callable[[Any, Any, Any, Any], Iterable[Any] | None]


class JsonSchema:
    """What a call's arguments have to fit.

    Args:
        tool: The tool's name, for errors.
        schema: The JSON Schema of its arguments.

    Raises:
        ConfigurationError: it is no JSON Schema, or one that could not be checked safely; the message says where.
    """

    def __init__(self, tool: str, schema: JsonObject) -> None:
        self._tool = tool
        self.schema = {key: value for key, value in schema.items() if key != "$id"}
        wrong = next(_Walk(self.schema).problems(), None) or _unsayable(self.schema)
        if wrong:
            raise self._unreadable(wrong)
        dialect = str(schema.get("$schema", next(iter(_DIALECTS)))).removesuffix("#")
        if dialect not in _DIALECTS:
            raise self._unreadable(f"$schema names none of {', '.join(_DIALECTS)}")
        kind, registry, nothing = _validator(_DIALECTS[dialect])
        try:
            kind.check_schema(self.schema, format_checker=nothing)
        except Exception as error:
            place = "/".join(str(step) for step in getattr(error, "absolute_path", ()))
            raise self._unreadable(f"it is no JSON Schema at /{place}") from None
        self._validator = kind(self.schema, registry=registry)
        self.shape = shape_of(self.schema)

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments that it names."""
        return tuple(self.shape.properties)

    def normalize(self, arguments: JsonObject) -> dict[str, Json]:
        """The arguments as the schema reads them: a text as a number or a boolean where nothing else fits.

        Raises:
            ValueError: they do not fit; the message says where, and repeats no value, nor a key that the schema does
                not name.
        """
        if _deeper(arguments, _DEEPEST_CALL):
            raise ValueError("the call is nested too deep")
        given = plain_object(cast("dict[str, object]", _read(self.shape, arguments)))
        wrong = problem(self.shape, given) or self._misfit(given)
        if wrong:
            raise ValueError(wrong)
        return given

    def _misfit(self, given: JsonObject) -> str | None:
        token = _BUDGET.set(_Budget())
        try:
            error: Any = next(self._validator.iter_errors(given), None)
        except Exception as failed:
            return f"the arguments could not be checked ({type(failed).__name__})"
        finally:
            _BUDGET.reset(token)
        if error is None:
            return None
        named = set(error.absolute_schema_path)
        steps = (str(step) if isinstance(step, int) or step in named else "*" for step in error.absolute_path)
        place = ".".join(steps) or "the call"
        value = error.validator_value
        said = f" ({value})" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        return f"{place} does not fit the schema's `{error.validator}`{said}"

    def _unreadable(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"the argument schema of tool {self._tool!r} cannot be used: {why}")


@dataclass(slots=True)
class _Budget:
    steps: int = _STEPS
    characters: int = _CHARACTERS


_BUDGET: ContextVar[_Budget] = ContextVar("stateward_schema_budget")


class _Walk:
    """Walks a schema as whoever reads it will: references followed, until they come back to where they are within."""

    def __init__(self, root: JsonObject) -> None:
        self._root, self._inside, self._seen = root, list[str](), 0

    def problems(self) -> Iterator[str]:
        """Why it cannot be used."""
        if _deeper(self._root, _DEEPEST):
            yield "it is nested too deep"
        else:
            yield from self._schema(self._root, "")

    def _schema(self, part: object, place: str) -> Iterator[str]:
        self._seen += 1
        if self._seen > _LARGEST or len(self._inside) > _DEEPEST:
            yield "it is too large, with its references followed"
        elif isinstance(part, Mapping):
            schema = cast("JsonObject", part)
            if len(schema) > _KEYWORDS:
                yield f"{place or '/'} has more than {_KEYWORDS} keywords"
            yield from (f"{place}/{name} is not supported" for name in _REFUSED if name in schema)
            if place and "$id" in schema:
                yield f"{place}/$id would change what references mean"
            yield from self._patterns(schema, place)
            yield from self._reference(schema, place)
            for step, each in _parts(schema):
                yield from self._schema(each, f"{place}/{step}")

    def _patterns(self, schema: JsonObject, place: str) -> Iterator[str]:
        named = schema.get("patternProperties")
        for pattern, _ in _items(named):
            if _pattern(pattern) is None:
                yield f"{place}/patternProperties has a pattern that cannot be held against names in bounded time"

    def _reference(self, schema: JsonObject, place: str) -> Iterator[str]:
        if "$ref" not in schema:
            return
        reference = str(schema["$ref"])
        if (reference != "#" and not reference.startswith("#/")) or not reference.isprintable():
            yield f"{place}/$ref points outside of it, and nothing is fetched"
        elif reference not in self._inside:
            self._inside.append(reference)
            target = target_of(self._root, reference)
            if target is None:
                yield f"{place}/$ref points at nothing"
            else:
                yield from self._schema(target, reference)
            self._inside.pop()


def _unsayable(schema: JsonObject) -> str | None:
    try:
        text = canonical(schema).encode()
    except (TypeError, ValueError):  # NaN, half of a character, or an object of Python's
        return "it is not JSON"
    return "it is too large" if len(text) > _LONGEST else None


def _parts(schema: JsonObject) -> Iterator[tuple[str, object]]:
    """The schemas in a schema. A property may be called `$ref` or `pattern`, and is no keyword then."""
    for name in _MAPS:
        each = schema.get(name)
        yield from ((f"{name}/{key}", one) for key, one in _items(each))
    for name in _LISTS:
        each = schema.get(name)
        yield from ((f"{name}/{at}", one) for at, one in enumerate(cast("list[Json]", each) if _is_list(each) else ()))
    yield from ((name, schema[name]) for name in _SINGLE if isinstance(schema.get(name), Mapping))


def _items(value: object) -> Iterator[tuple[str, object]]:
    yield from cast("JsonObject", value).items() if isinstance(value, Mapping) else ()


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _deeper(value: object, limit: int) -> bool:
    """Whether it is nested deeper; level by level, so that no depth of it is a depth of ours."""
    level: list[object] = [value]
    for _ in range(limit):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return False
    return True


def _inner(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(cast("JsonObject", value).values())
    return list(cast("list[object]", value)) if isinstance(value, list | tuple) else []


def _read(shape: Shape, value: object) -> object:
    if isinstance(value, str):
        return _from_text(shape, value)
    if shape.kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if shape.kind == "object" and isinstance(value, Mapping):
        given, other = cast("JsonObject", value), shape.extra or Shape()
        return {name: _read(shape.properties.get(name, other), each) for name, each in given.items()}
    if shape.items is not None and isinstance(value, list | tuple):
        return [_read(shape.items, each) for each in cast("list[Json]", value)]
    return value


def _from_text(shape: Shape, text: str) -> object:
    """A form, or a model, may send a number as a text."""
    if shape.kind == "integer" and _INTEGER.fullmatch(text):
        return int(text.split(".")[0])
    if shape.kind == "number" and _NUMBER.fullmatch(text):
        number = float(text)
        return int(text) if text.lstrip("+-").isdigit() else number if math.isfinite(number) else text
    if shape.kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


@lru_cache(maxsize=1024)
def _pattern(pattern: object) -> SchemaValidator | None:
    """The pattern in Rust's engine, whose time is linear; None for one that it cannot read, or that is too long."""
    text = str(pattern)
    found = _REPEATED.findall(text[:_LONGEST_PATTERN])
    if any(len(count) > len(str(_LONGEST_PATTERN)) for each in found for count in each):
        return None
    counts = [max(int(low or 1), int(high or 1), 1) for low, high in found]
    if len(text) * math.prod(counts) > _LONGEST_PATTERN:
        return None
    try:
        return SchemaValidator(core_schema.str_schema(pattern=text, regex_engine="rust-regex"))
    except SchemaError:
        return None


def _matches(pattern: object, text: str) -> bool:
    """Whether it matches, as far as that can be told in bounded time; the rest is the server's to check."""
    compiled, budget = _pattern(pattern), _BUDGET.get()
    budget.characters -= len(text)
    return compiled is None or budget.characters < 0 or compiled.isinstance_python(text)


def _counted(name: str, check: Check) -> Check:
    """The check of a keyword, which counts what work it makes.

    Raises:
        OverflowError: it is more than one call may make.
    """

    def counted(validator: Any, said: Any, instance: Any, schema: Any) -> Iterator[Any]:
        budget = _BUDGET.get()
        size = _nodes(said) if name in ("enum", "const") else len(_inner(said))
        budget.steps -= _REFERENCE if name == "$ref" else 1 + size + len(_inner(instance))
        if budget.steps < 0:
            raise OverflowError("too much work")
        yield from check(validator, said, instance, schema) or ()

    return counted


def _counting(value: object) -> object:
    """The value with its numbers in one form: in JSON Schema, 1 is 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _counting(one) for name, one in cast("JsonObject", value).items()}
    return [_counting(one) for one in _inner(value)] if _is_list(value) else value


def _nodes(value: object) -> int:
    return 1 + sum(_nodes(one) for one in _inner(value))


@cache
def _validator(name: str) -> tuple[Any, Any, Any]:
    """jsonschema's validator of a dialect, with what could hang or reach out replaced."""
    jsonschema: Any = import_module("jsonschema")
    registry: Any = import_module("referencing").Registry()
    base = getattr(jsonschema, name)
    wrong = jsonschema.ValidationError

    def pattern(_validator: Any, text: Any, instance: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not _matches(text, instance):
            yield wrong("it does not match")

    def named(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[Any]:
        for each, part in patterns.items():
            for key, value in _items(instance):
                if _matches(each, key):
                    yield from validator.descend(value, part, path=key, schema_path=each)

    def additional(validator: Any, extra: Any, instance: Any, schema: Any) -> Iterator[Any]:
        for key, value in _items(instance):
            if key in schema.get("properties", ()) or any(_matches(one, key) for one in schema.get(_MAPS[1], ())):
                continue
            if extra is False:
                yield wrong("it is not named")
            elif extra is not True:
                yield from validator.descend(value, extra, path=key)

    def unique(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[Any]:
        # jsonschema's own compares each with each other.
        if wanted and _is_list(instance) and len({canonical(_counting(one)) for one in instance}) < len(instance):
            yield wrong("it says something twice")

    replaced = {"pattern": pattern, "patternProperties": named, _SINGLE[2]: additional, "uniqueItems": unique}
    counted = {name: _counted(name, check) for name, check in {**base.VALIDATORS, **replaced}.items()}
    # A registry of one's own: jsonschema's default one would fetch what it does not know.
    return jsonschema.validators.extend(base, counted), registry, jsonschema.FormatChecker(formats=())
