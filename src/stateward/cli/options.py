"""Read a workflow's own options, and new values for an approval's arguments; errors name the nearest known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from stateward.cli.workflows import Option
from stateward.errors import ToolInputError
from stateward.model.policy import nearest
from stateward.model.values import Json

_SHAPES = {
    "int": "a whole number",
    "float": "a number",
    "Decimal": "a number such as 250.00",
    "Path": "a path",
}
_RUN_OPTIONS = ("model", "requester", "thread", "approve-as", "workflow")


def parse_options(args: Sequence[str], declared: Sequence[Option]) -> dict[str, Any]:
    """The options of a workflow from the command line.

    Args:
        args: What stands after `stateward run NAME` and is none of its own options.
        declared: What the workflow takes.

    Returns:
        A value for each declared option, by its key.

    Raises:
        ToolInputError: one is not known, has no value, the wrong shape, is given twice, or is missing.
    """
    known = {option.name: option for option in declared}
    given: dict[str, list[object]] = {}
    for name, text in _pairs(args, known):
        given.setdefault(name, []).append(_value(known[name], text))
    return {option.key: _chosen(option, given.get(option.name, [])) for option in declared}


def check_options(given: Mapping[str, Any], declared: Sequence[Option]) -> dict[str, Any]:
    """The options of a workflow from its own demo: with the defaults of the others."""
    return {option.key: given.get(option.key, option.default) for option in declared}


def parse_sets(pairs: Iterable[str], current: Mapping[str, Json]) -> dict[str, Json]:
    """The complete arguments after `--set name=value ...`.

    Args:
        pairs: Each `name=value`. A value is text where the current one is text, else JSON.
        current: The arguments as they are.

    Raises:
        ToolInputError: there is no such argument, or it has no value.
    """
    changed = dict(current)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ToolInputError(f"--set {pair}: write name=value")
        if name not in current:
            hint = nearest(name, current) or f"; there are: {', '.join(current)}"
            raise ToolInputError(f"--set {pair}: there is no argument {name!r}{hint}")
        changed[name] = typed(text, current[name])
    return changed


def parse_arguments(text: str) -> dict[str, Json]:
    """The complete arguments as a JSON object.

    Raises:
        ToolInputError: it is something else.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ToolInputError(f"--arguments is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ToolInputError('--arguments: expected an object such as {"amount": 250.0}')
    return cast("dict[str, Json]", found)


def typed(text: str, current: Json) -> Json:
    """A typed value: text where the current one is text, else JSON, and text again where it is none.

    The tool's own schema judges it; nothing is lost by a wrong guess here.
    """
    if isinstance(current, str):
        return text
    try:
        return cast("Json", json.loads(text))
    except ValueError:
        return text


def usage(declared: Sequence[Option]) -> str:
    """The options of a workflow, one a line."""
    if not declared:
        return "  (none)"
    names = [f"--{option.name}{'' if option.type is bool else ' VALUE'}" for option in declared]
    width = max(len(name) for name in names) + 2
    return "\n".join(
        f"  {name:<{width}}{option.help}{' (required)' if option.required else ''}"
        for name, option in zip(names, declared, strict=True)
    )


def _pairs(args: Sequence[str], known: Mapping[str, Option]) -> Iterator[tuple[str, str]]:
    rest = iter(args)
    for arg in rest:
        if not arg.startswith("--"):
            raise ToolInputError(f"{arg!r} is not expected here: options are written --name VALUE")
        name, equals, text = arg.removeprefix("--").partition("=")
        option = known.get(name)
        if option is None:
            hint = nearest(f"--{name}", [f"--{one}" for one in (*known, *_RUN_OPTIONS)])
            raise ToolInputError(
                f"there is no option --{name}{hint or '.'} The options are:\n{usage(list(known.values()))}"
            )
        yield name, text if equals else _next(option, rest)


def _next(option: Option, rest: Iterator[str]) -> str:
    if option.type is bool:
        return "true"
    text = next(rest, None)
    if text is None or text.startswith("--"):
        raise ToolInputError(f"--{option.name} needs a value: {option.help}")
    return text


def _value(option: Option, text: str) -> object:
    if option.type is bool:
        return text == "true"
    try:
        return option.type(text)
    except (ValueError, ArithmeticError) as error:
        kind = getattr(option.type, "__name__", "")
        expected = _SHAPES.get(kind) or str(error)
        raise ToolInputError(f"--{option.name} {text!r}: expected {expected}") from error


def _chosen(option: Option, values: Sequence[object]) -> object:
    if option.many:
        return list(values) if values else option.default or []
    if len(values) > 1:
        raise ToolInputError(f"--{option.name} is given {len(values)} times; it takes one value")
    if not values and option.required:
        raise ToolInputError(f"--{option.name} is missing: {option.help}")
    return values[0] if values else option.default
