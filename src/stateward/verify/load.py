"""Reads a policy from YAML, and points at file, line and column of everything that is wrong with it.

YAML is read as in version 1.2: only `true` and `false` are booleans, so `on`, `no` and `1:30` stay the words
that the team wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path as File
from typing import TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stateward.errors import PolicyError
from stateward.model.durations import KEPT
from stateward.model.policy import Path, PolicyDocument, nearest
from stateward.model.values import JsonObject, canonical, digest
from stateward.verify.arguments import Shape, shape_of

Model = TypeVar("Model", bound=BaseModel)

_DEEPEST = 30
_QUOTE_IT = (
    "; a condition that begins with a quote, or has a colon or (inside braces) a comma in it, needs quotes, "
    'such as keep: \'history.sum("amount", "24h") < 5\''
)
_QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong, and where: 1-based line and column, 0 where they are unknown."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a key and its value stand in the text, 1-based.

    Attributes:
        key: Line and column of the key, or of the value in a list.
        value: Line and column of the value's first character, inside its quotes.
        one_line: Whether a column within the value can be told: it is plain or quoted, on one line.
    """

    key: tuple[int, int]
    value: tuple[int, int]
    one_line: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySource:
    """A policy with the places of its parts, so that later errors point at the line too.

    Attributes:
        file: The file as given, or `<policy>`.
        document: What it says.
    """

    file: str
    document: PolicyDocument
    places: dict[Path, Place] = field(repr=False)

    def where(self, path: Path, *, key: bool = False, line: int = 1, column: int = 1) -> tuple[int, int]:
        """Line and column of a part of the policy; of the nearest part around it where it is not in the file.

        Args:
            path: Such as `("tools", "post_journal_entry", "ask", 0, "when")`.
            key: Point at the key instead of the value.
            line: 1-based line within the value.
            column: 1-based column within that line; used where the value stands on one line of the file.
        """
        place = _place(self.places, path)
        if key or path not in self.places:
            return place.key
        offset = column - 1 if place.one_line and line == 1 else 0
        return place.value[0], place.value[1] + offset


def load_policy(path: str | File) -> PolicyDocument:
    """Read a policy file.

    Args:
        path: A YAML file in UTF-8.

    Raises:
        PolicyError: it cannot be read, or does not hold; the message lists every problem with its line and
        column.
    """
    return read_policy(path).document


def parse_policy(text: str, *, file: str = "<policy>") -> PolicyDocument:
    """Read a policy from text; `file` is what errors call it.

    Raises:
        PolicyError: it does not hold; the message lists every problem with its line and column.
    """
    return parse_source(text, file=file).document


def read_policy(path: str | File) -> PolicySource:
    """Like `load_policy`, with the places of all parts: a `Gate` then points at a condition's line."""
    return parse_source(read_text(path), file=str(path))


def parse_source(text: str, *, file: str = "<policy>") -> PolicySource:
    """Like `parse_policy`, with the places of all parts."""
    document, places = parse_as(PolicyDocument, text, file=file)
    return PolicySource(file=file, document=document, places=places)


def read_text(path: str | File, what: str = "policy") -> str:
    """The text of a file in UTF-8.

    Raises:
        PolicyError: it cannot be read.
    """
    try:
        return File(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        if isinstance(error, FileNotFoundError) and not File(path).is_absolute():
            why = f"{why} in {File.cwd()}"
        raise PolicyError(f"the {what} cannot be read: {why}", file=str(path)) from error


def parse_as(
    model: type[Model], text: str, *, file: str, what: str = "policy", fractions: bool = False
) -> tuple[Model, dict[Path, Place]]:
    """Read YAML as a model, with the places of all parts.

    Args:
        what: What errors call the file.
        fractions: Read `0.5` as a number; a policy's own stay text, exactly as they are written.

    Raises:
        PolicyError: it does not hold; the message lists every problem with its line and column.
    """
    reader = _Reader(fractions=fractions)
    try:
        data = reader.read(_compose(text, what))
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error, file) from error
    except yaml.reader.ReaderError as error:
        raise PolicyError(f"the {what} holds a character that YAML does not allow", file=file) from error
    fail(reader.problems, file=file)
    try:
        return model.model_validate(data), reader.places
    except ValidationError as error:
        raise _policy_error([_explained(each, reader.places, model) for each in error.errors()], file) from error


def where(places: Mapping[Path, Place], path: Path, *, key: bool = False) -> tuple[int, int]:
    """Line and column of a part, or of the nearest part around it."""
    place = _place(places, path)
    return place.key if key or path not in places else place.value


def policy_digest(document: PolicyDocument) -> str:
    """SHA-256 over what the policy says of actions and memory, as 64 hex digits; comments and layout do not count."""
    return digest(policy_json(document))


def policy_json(document: PolicyDocument) -> JsonObject:
    """What the digest is taken over: enough to judge again as this policy has judged."""
    return document.model_dump(mode="json", by_alias=True, exclude={"checkpoints", "threads"})


def policy_from_json(stored: JsonObject, wanted: str) -> PolicyDocument:
    """A policy that was kept as `policy_json`.

    Args:
        stored: What was kept.
        wanted: The digest that it has to have.

    Raises:
        PolicyError: it is not the policy of that digest, as somebody has changed it, or this release cannot read it.
    """
    if digest(stored) != wanted:
        raise PolicyError(f"the stored policy {wanted[:12]} is not the one that has judged: its digest is another")
    tools = {
        name: _as_written(rule) for name, rule in cast("Mapping[str, JsonObject]", stored.get("tools", {})).items()
    }
    try:
        document = PolicyDocument.model_validate_json(canonical({**stored, "tools": tools}), context=KEPT)
    except ValidationError as error:
        raise PolicyError(f"the stored policy {wanted[:12]} cannot be read: {error.errors()[0]['msg']}") from error
    return document


def _as_written(rule: JsonObject) -> JsonObject:
    # A read does not say that it destroys nothing; the default of writes stands there in place of it.
    return {key: value for key, value in rule.items() if key != "destructive" or rule.get("effect") != "read"}


def fail(problems: Iterable[Problem], *, file: str) -> None:
    """Raise one error that lists all problems in the order of the file; nothing where there are none.

    Raises:
        PolicyError: there are problems. Its line and column are the first one's.
    """
    found = list(problems)
    if found:
        raise _policy_error(found, file)


def _policy_error(problems: Sequence[Problem], file: str) -> PolicyError:
    first, *others = sorted(problems, key=lambda each: (each.line, each.column))
    more = "".join(f"\n{file}:{each.line}:{each.column}: {each.message}" for each in others)
    return PolicyError(first.message + more, file=file, line=first.line, column=first.column)


class _Reader:
    """Turns YAML nodes into plain values, remembering where each stood. Keys are always text."""

    def __init__(self, *, fractions: bool = False) -> None:
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self._fractions = fractions

    def read(self, root: yaml.Node) -> object:
        """The value of a whole document."""
        self.places[()] = Place(key=_start(root), value=_start(root), one_line=False)
        return self._value(root, ())

    def _value(self, node: yaml.Node, path: Path) -> object:
        # An anchor may be an alias of what is around it; nothing in a policy is nested this deep.
        if len(path) > _DEEPEST:
            self._problem(node, "this is nested too deep, or is an alias of itself")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._child(item, item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(cast("yaml.ScalarNode", node), self._fractions)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        read: dict[str, object] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self._problem(key, "a key has to be a name")
            elif name in read:
                self._problem(key, f"{name!r} is there twice")
            else:
                read[name] = self._child(key, value, (*path, name))
        return read

    def _child(self, key: yaml.Node, value: yaml.Node, path: Path) -> object:
        line, column = _start(value)
        quoted = isinstance(value, yaml.ScalarNode) and value.style in ("'", '"')
        self.places[path] = Place(
            key=_start(key),
            value=(line, column + quoted),
            one_line=value.start_mark.line == value.end_mark.line,
        )
        return self._value(value, path)

    def _problem(self, node: yaml.Node, message: str) -> None:
        line, column = _start(node)
        self.problems.append(Problem(line=line, column=column, message=message))


def _compose(text: str, what: str) -> yaml.Node:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        raise yaml.MarkedYAMLError(problem=f"the {what} is empty")
    return root


def _scalar(node: yaml.ScalarNode, fractions: bool) -> object:
    text = str(node.value)
    if node.style is not None:
        return text
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if fractions and re.fullmatch(r"-?[0-9]{1,18}\.[0-9]{1,18}", text):
        return float(text)
    return {"true": True, "false": False, "null": None, "~": None, "": None}.get(text, text)


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _place(places: Mapping[Path, Place], path: Path) -> Place:
    while path not in places:
        path = path[:-1]
    return places[path]


def _yaml_error(error: yaml.MarkedYAMLError, file: str) -> PolicyError:
    mark = error.problem_mark
    message = error.problem or "this is not YAML"
    if re.search(r"expected (',' or|<block end>)|mapping values", message):
        message += _QUOTE_IT
    return PolicyError(message, file=file, line=mark.line + 1 if mark else 0, column=mark.column + 1 if mark else 0)


def _explained(error: ErrorDetails, places: dict[Path, Place], model: type[BaseModel]) -> Problem:
    path = tuple(step for step in error["loc"] if step != "[key]")
    at_key = error["type"] in ("extra_forbidden", "missing") or "[key]" in error["loc"] or path not in places
    place = _place(places, path)
    line, column = place.key if at_key else place.value
    return Problem(line=line, column=column, message=_message(error, path, model))


_EXPECTED = {
    "tuple_type": "expected a list",
    "mapping_type": "expected keys with values",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "too_short": "this list must not be empty",
    "string_too_short": "this must not be empty",
    "string_pattern_mismatch": "expected a name of letters, digits, '_', '.' and '-'",
}


def _message(error: ErrorDetails, path: Path, model: type[BaseModel]) -> str:
    context = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        return _unknown_key(path, model)
    if error["type"] == "missing":
        return _missing_key(path)
    if error["type"] == "literal_error":
        expected = str(context.get("expected"))
        return f"expected {expected}{nearest(str(error['input']), _QUOTED.findall(expected))}"
    if error["type"] == "value_error":
        return str(context.get("error"))
    return _EXPECTED.get(error["type"], error["msg"].replace("Input should be", "expected"))


def _unknown_key(path: Path, model: type[BaseModel]) -> str:
    known = _keys(path[:-1], model)
    hint = nearest(str(path[-1]), known) or f"; known here: {', '.join(sorted(known))}"
    return f"unknown key {str(path[-1])!r}{hint}"


def _missing_key(path: Path) -> str:
    if path[-1] == "for":
        return "'for' is missing: say for whom the tool is, such as `for: [close-agent]`"
    return f"{str(path[-1])!r} is missing"


def _keys(path: Path, model: type[BaseModel]) -> set[str]:
    shape: Shape | None = _shape(model)
    for step in path:
        if shape is not None:
            shape = shape.items if isinstance(step, int) else shape.properties.get(step, shape.extra)
    return set(shape.properties) if shape is not None else set()


@cache
def _shape(model: type[BaseModel]) -> Shape:
    return shape_of(cast("JsonObject", model.model_json_schema()))
