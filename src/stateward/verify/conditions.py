"""Conditions: CEL whose every name is declared from the tool's own argument schema, compiled once.

A condition sees `args.<name>` (nested objects as `args.customer.city`, arrays as lists), `principal.id`,
`principal.roles`, `requester`, `purpose`, `subject`, `thread`, and what this tool has done within a window:
`history.sum("amount", "24h")`, `history.count("24h")`, `history.exists("24h")` and `history.last("24h")`, a duration;
for the tenant, or with `history.thread`, `history.principal` or `history.subject` for one of those in it. `labels` are
those of the thread, and `origin.<name>` says where an argument's value was seen; what they are compared with is
checked too, as a misspelt word would never hold, and so is what an argument that is one of a few texts is. An
argument that is optional without a default, or nullable, is null where it is missing: write
`args.note != null && args.note.startsWith("x")`, or `has(args.note) && ...`. A comparison that meets null is
an error, and an error denies. A default of the tool is filled in. Whole numbers divide to whole numbers, as
in CEL. Names inside the items of a list (`args.lines.all(l, l.amount > 0)`, `args.lines[0].amount`) are checked too.

A compiled condition may be evaluated by one thread at a time; the gate is used from one event loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast

from stateward.model.history import KINDS, SCOPES, History, HistoryKind, HistoryQuery, HistoryScope, HistoryValue
from stateward.model.policy import nearest, parse_duration
from stateward.model.principal import Principal
from stateward.model.provenance import ORIGINS, Origin
from stateward.model.values import JsonObject
from stateward.verify.arguments import Kind, Shape, default_of, fit, unspeakable
from stateward.verify.celenv import cel, new_env
from stateward.verify.items import LITERAL, NAME, TOKEN, Items, Misspelt, Use
from stateward.verify.origin import Sightings, unprovable


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a condition is evaluated over. Nothing of it comes from graph state but the arguments.

    Attributes:
        labels: The thread's labels.
        sightings: What the thread has seen; None where nobody kept it, and then every origin is `unknown`.
        origins: Those that were looked up, as several conditions read the same one.
    """

    arguments: JsonObject
    principal: Principal
    requester: str
    purpose: str
    subject: str
    thread: str
    history: History = field(default_factory=dict[HistoryQuery, HistoryValue])
    labels: frozenset[str] = frozenset()
    sightings: Sightings | None = None
    origins: dict[str, Origin] = field(default_factory=dict[str, Origin])


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What came out: True or False, or None with the error, which repeats no values."""

    value: bool | None
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """Why a condition cannot be compiled, and where in its text: 1-based line and column."""

    message: str
    line: int = 1
    column: int = 1


Root = Literal["args", "answer"]
_Read = Callable[[Facts], object]
_Steps = tuple[tuple[str, Shape], ...]

_CALLED = re.compile(rf"\s*\(\s*(?:(?P<first>{LITERAL})\s*(?:,\s*(?P<second>{LITERAL})\s*)?)?\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A name that conditions may use.

    Attributes:
        checked: Its type when the policy is loaded.
        run: Its type when it is evaluated: what may be null has none then.
        read: Its value.
    """

    checked: cel.Type
    run: cel.Type
    read: _Read


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A compiled condition.

    Attributes:
        text: As the policy has it.
        queries: What has to be fetched before.
        rewritten: As CEL is given it.
        variables: What it names.
    """

    text: str
    queries: tuple[HistoryQuery, ...]
    rewritten: str
    variables: Mapping[str, Variable]
    _expression: cel.Expression

    def evaluate(self, facts: Facts) -> Evaluation:
        """True or False; whatever goes wrong comes back as an error, for the gate to deny."""
        try:
            value = self._expression.eval(data=values_of(self.variables, facts)).value()
        except Exception as error:
            return Evaluation(value=None, error=self._explained(str(error)))
        if isinstance(value, bool):
            return Evaluation(value=value)
        return Evaluation(value=None, error=self._explained(str(value)))

    def _explained(self, error: str) -> str:
        if "null_type" in error or "NoneType" in error or error == "None":
            return "it meets null, because an argument is missing; test it first, such as `args.note != null`"
        text = re.sub(r"^[A-Z_]+: ", "", error)
        # CEL quotes the offending value, and reasons are kept in clear.
        return re.sub(
            r"'([^']*)'|\"([^\"]*)\"",
            lambda quoted: quoted[0] if quoted[0][1:-1] in self.text else "a value",
            text,
        )


class Conditions:
    """Compiles the conditions of one tool.

    Args:
        tool: The tool's name, for messages.
        arguments: The shape of its arguments.
        labels: Those that a thread under this policy can come by.
        root: What conditions call them: `args`, or `answer` for the fields of an answer.
    """

    def __init__(
        self, tool: str, arguments: Shape, labels: frozenset[str] = frozenset(), *, root: Root = "args"
    ) -> None:
        self._tool = tool
        self._arguments = arguments
        self._labels = labels
        self._variables = {**_FACTS, **dict(_argument_variables(arguments, root))}
        self._queries: dict[HistoryQuery, int] = {}
        self._root: Root = root

    def compile(self, text: str) -> Condition | Flaw:
        """Compile a condition, or say what is wrong with it: a name, a type, the syntax, no yes or no."""
        try:
            rewritten = _Rewriting(
                self._tool, self._arguments, self._root, self._variables, self._queries, text, self._labels
            ).done()
            uses = list(Items(text, self._root, self._arguments).uses())
        except (_Flawed, Misspelt) as flawed:
            return _flaw_at(text, flawed.offset, flawed.message)
        names = {name: self._variables[name] for name in rewritten.names} | rewritten.made
        declared = self._variables | rewritten.made
        try:
            typed, items = _typed(rewritten.text, uses)
            checked = new_env({name: each.checked for name, each in declared.items()} | items).compile(typed)
            expression = new_env({name: each.run for name, each in names.items()}).compile(rewritten.text)
        except RuntimeError as error:
            return _cel_flaw(str(error), self._variables)
        returned = checked.return_type().name()
        if returned != "BOOL":
            return Flaw(message=f"a condition is true or false, this one is {returned.lower()}")
        return Condition(
            text=text,
            queries=tuple(rewritten.queries),
            rewritten=rewritten.text,
            variables=names,
            _expression=expression,
        )


def _typed(text: str, uses: Sequence[Use]) -> tuple[str, dict[str, cel.Type]]:
    """The text that is checked: paths into items are names with their types, at the same columns."""
    names: dict[str, cel.Type] = {}
    apart = [use for at, use in enumerate(uses) if not any(one.end > use.start for one in uses[:at])]
    for at, use in enumerate(apart):
        name = f"_{_DIGITS[at // 36]}{_DIGITS[at % 36]}"
        names[name] = _types(use.shape, use.nullable)[0]
        text = text[: use.start] + name.ljust(use.end - use.start) + text[use.end :]
    return text, names


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_STRINGS = cel.Type.List(cel.Type.STRING)
_FACTS: dict[str, Variable] = {
    "principal.id": Variable(checked=cel.Type.STRING, run=cel.Type.STRING, read=lambda facts: facts.principal.id),
    "principal.roles": Variable(checked=_STRINGS, run=_STRINGS, read=lambda facts: sorted(facts.principal.roles)),
    "requester": Variable(checked=cel.Type.STRING, run=cel.Type.STRING, read=lambda facts: facts.requester),
    "purpose": Variable(checked=cel.Type.STRING, run=cel.Type.STRING, read=lambda facts: facts.purpose),
    "subject": Variable(checked=cel.Type.STRING, run=cel.Type.STRING, read=lambda facts: facts.subject),
    "thread": Variable(checked=cel.Type.STRING, run=cel.Type.STRING, read=lambda facts: facts.thread),
    "labels": Variable(checked=_STRINGS, run=_STRINGS, read=lambda facts: sorted(facts.labels)),
}
_SCALARS: dict[Kind, tuple[cel.Type, cel.Type]] = {
    "number": (cel.Type.DOUBLE, cel.Type("google.protobuf.DoubleValue")),
    "decimal": (cel.Type.DOUBLE, cel.Type("google.protobuf.DoubleValue")),
    "integer": (cel.Type.INT, cel.Type("google.protobuf.Int64Value")),
    "boolean": (cel.Type.BOOL, cel.Type("google.protobuf.BoolValue")),
    "string": (cel.Type.STRING, cel.Type("google.protobuf.StringValue")),
}
_PRESENT = "__has."


def values_of(variables: Mapping[str, Variable], facts: Facts) -> dict[str, object]:
    """The values of some names.

    Raises:
        ValueError: one is not of its type, is not known, or cannot go through CEL unchanged.
    """
    return {name: _safe(each.read(facts)) for name, each in variables.items()}


def _safe(value: object) -> object:
    if (why := unspeakable(value, "a value")) is not None:
        raise ValueError(why)
    return value


def _argument_variables(
    shape: Shape, root: Root, path: _Steps = (), nullable: bool = False
) -> Iterator[tuple[str, Variable]]:
    for name, part in shape.properties.items():
        if re.fullmatch(NAME, name) is None:
            continue
        inner, absent = (*path, (name, part)), nullable or part.nullable
        dotted = ".".join(step for step, _ in inner)
        read = _argument(inner)
        checked, run = _types(part, absent)
        yield f"{root}.{dotted}", Variable(checked=checked, run=run, read=read)
        yield f"{_PRESENT}{dotted}", _presence(read)
        yield from _argument_variables(part, root, inner, absent)


def _presence(read: _Read) -> Variable:
    return Variable(checked=cel.Type.BOOL, run=cel.Type.BOOL, read=lambda facts: read(facts) is not None)


def _types(shape: Shape, nullable: bool) -> tuple[cel.Type, cel.Type]:
    """The types to check and to run with: CEL checks nullable scalars, but takes no None for them."""
    if shape.kind in _SCALARS:
        plain, wrapped = _SCALARS[shape.kind]
        return (wrapped, cel.Type.DYN) if nullable else (plain, plain)
    if nullable or shape.kind == "any":
        return cel.Type.DYN, cel.Type.DYN
    if shape.kind == "array":
        checked, run = _types(shape.items or Shape(), (shape.items or Shape()).nullable)
        return cel.Type.List(checked), cel.Type.List(run)
    mapped = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    return mapped, mapped


def _argument(path: _Steps) -> _Read:
    def read(facts: Facts) -> object:
        value: object = facts.arguments
        for name, part in path:
            if value is None:
                return None
            value = _item(value, name, part)
        return fit(path[-1][1], value)

    return read


def _item(value: object, name: str, part: Shape) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("a value is not an object")
    return cast("JsonObject", value).get(name, default_of(part))


class _Flawed(Exception):
    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message, self.offset = message, offset


@dataclass(kw_only=True, slots=True)
class _Rewritten:
    """A condition whose history calls and `has` are variables, at the same columns as before."""

    text: str
    names: set[str] = field(default_factory=set[str])
    made: dict[str, Variable] = field(default_factory=dict[str, Variable])
    queries: list[HistoryQuery] = field(default_factory=list[HistoryQuery])


class _Rewriting:
    """One pass over a condition: checks `args` paths, turns history calls and `has` into variables."""

    def __init__(
        self,
        tool: str,
        arguments: Shape,
        root: Root,
        variables: Mapping[str, Variable],
        queries: dict[HistoryQuery, int],
        text: str,
        labels: frozenset[str] = frozenset(),
    ) -> None:
        self._tool, self._arguments, self._variables, self._source = tool, arguments, variables, text
        self._queries = queries
        self._root: Root = root
        self._labels = labels
        self._result = _Rewritten(text=text)

    def done(self) -> _Rewritten:
        for token in TOKEN.finditer(self._source):
            if token["has"]:
                self._has(token)
            elif token["path"] and not self._source[: token.start()].rstrip().endswith("."):
                self._path(token)
        return self._result

    def _has(self, token: re.Match[str]) -> None:
        self._check(token["tested"], token.start("tested"))
        name = _PRESENT + _joined(token["tested"]).removeprefix(f"{self._root}.")
        if name in self._variables:
            self._replace(token.start(), token.end(), name)
            self._result.names.add(name)
        else:
            self._use(_joined(token["tested"]))

    def _path(self, token: re.Match[str]) -> None:
        path, called = _joined(token["path"]), self._source[token.end() :].lstrip().startswith("(")
        if path.split(".")[0] == "history":
            self._history(path, token)
            return
        if path.split(".")[0] == "origin":
            self._origin(token["path"].rpartition(".")[0] if called else token["path"], token.start())
            return
        if path.split(".")[0] == "labels":
            known = sorted(self._labels)
            self._compared(
                token.start(),
                token.start() + len("labels"),
                known,
                "no tool and no memory kind of this policy gives the label",
            )
        if path.split(".")[0] == self._root:
            shape = self._check(token["path"].rpartition(".")[0] if called else token["path"], token.start())
            if not called:
                self._chosen(
                    token,
                    path,
                    [one for one in (*shape.choices, shape.default) if shape.choices and isinstance(one, str)],
                )
        self._use(path)

    def _use(self, path: str) -> None:
        while path and path not in self._variables:
            path = path.rpartition(".")[0]
        if path:
            self._result.names.add(path)

    def _check(self, path: str, offset: int) -> Shape:
        """What the path leads to, as far as it is known."""
        shape, known = self._arguments, str(self._root)
        steps = list(re.finditer(NAME, path))
        if len(steps) < 2:
            raise _Flawed(f"`{known}` is no value by itself; name a part, such as `{known}.amount`", offset)
        for step in steps[1:]:
            if shape.kind != "object":
                return Shape()
            part = shape.properties.get(step[0], shape.extra)
            if part is None:
                hint = nearest(f"{known}.{step[0]}", [f"{known}.{name}" for name in shape.properties])
                what = "argument" if self._root == "args" else "field"
                raise _Flawed(f"{self._tool} has no {what} '{known}.{step[0]}'{hint}", offset + step.start())
            shape, known = part, f"{known}.{step[0]}"
        return shape

    def _origin(self, path: str, offset: int) -> None:
        shapes = self._walk(path, offset)
        if not shapes:
            raise _Flawed("`origin` is of an argument, such as `origin.account`", offset)
        shape = shapes[-1][1]
        for name, part in _parts(_joined(path), shape):
            if why := unprovable(part):
                raise _Flawed(f"the origin of {name!r} would always be unknown, because {why}", offset)
        self._compared(offset, offset + len(path), ORIGINS, "an origin is person, trusted, untrusted or unknown, never")
        name = _joined(path)
        read = _seen(name, tuple(shapes))
        self._result.made[name] = Variable(checked=cel.Type.STRING, run=cel.Type.STRING, read=read)

    def _walk(self, path: str, offset: int) -> list[tuple[str, Shape]]:
        """The steps to an argument's shape; a step into a list is one into each of its items."""
        shape, found, known = self._arguments, list[tuple[str, Shape]](), "origin"
        for step in list(re.finditer(NAME, path))[1:]:
            while shape.kind == "array" and shape.items is not None:
                shape = shape.items
            part = shape.properties.get(step[0], shape.extra if shape.kind == "object" else None)
            if part is None:
                hint = nearest(f"{known}.{step[0]}", [f"{known}.{name}" for name in shape.properties])
                raise _Flawed(f"{self._tool} has no argument '{known}.{step[0]}'{hint}", offset + step.start())
            found.append((step[0], part))
            shape, known = part, f"{known}.{step[0]}"
        return found

    def _compared(self, start: int, end: int, known: Sequence[str], why: str) -> None:
        """Every text that this name is compared with has to be one that it can be."""
        for at, text in _compared_with(self._source, start, end):
            if text not in known:
                raise _Flawed(f"{why} {text!r}{nearest(text, known)}", at)

    def _chosen(self, token: re.Match[str], path: str, choices: Sequence[str]) -> None:
        """One of a few texts has to be able to be what it is compared with; of a list, one of it."""
        found = list(_compared_with(self._source, *token.span()))
        if not choices or not found or any(text in choices for _, text in found):
            return
        at, text = found[0]
        begins = self._source[:at].rstrip().endswith("+") if at < token.start() else False
        if not begins and (at < token.start() or _WITH_TEXTS_ONLY.match(self._source, token.end())):
            may = " or ".join(map(repr, dict.fromkeys(choices)))
            raise _Flawed(f"{path!r} of {self._tool} is {may}, never {text!r}{nearest(text, choices)}", at)

    def _history(self, path: str, token: re.Match[str]) -> None:
        call = _CALLED.match(self._source, token.end())
        query = self._query(path, call, token.start())
        # A query has the same name in every condition of the tool, so that they can be evaluated together.
        name = f"__h{self._queries.setdefault(query, len(self._queries))}"
        self._result.queries.append(query)
        kind = _HISTORY[query.kind]
        self._result.made[name] = Variable(checked=kind, run=kind, read=_fetched(query))
        self._replace(token.start(), call.end() if call else token.end(), name)

    def _query(self, path: str, call: re.Match[str] | None, offset: int) -> HistoryQuery:
        scope, kind = self._asked(path, offset)
        first, second = (call["first"], call["second"]) if call else (None, None)
        if kind == "sum" and first and second:
            window, argument = self._window(second, offset), self._summed(first, offset)
            return HistoryQuery(kind=kind, window=window, argument=argument, scope=scope)
        if kind != "sum" and first and not second:
            return HistoryQuery(kind=kind, window=self._window(first, offset), scope=scope)
        usage = f'{path}("amount", "24h")' if kind == "sum" else f'{path}("24h")'
        raise _Flawed(f"history is used as {usage}, with the argument and the window in quotes", offset)

    def _asked(self, path: str, offset: int) -> tuple[HistoryScope, HistoryKind]:
        *between, last = path.split(".")[1:] or [""]
        scopes: dict[str, HistoryScope] = {one: one for one in SCOPES}
        kinds: dict[str, HistoryKind] = {one: one for one in KINDS}
        scope, kind = scopes.get(".".join(between) or "tenant"), kinds.get(last)
        if scope is None or kind is None:
            known = [f"history.{prefix}{one}" for prefix in ("", *(f"{one}." for one in SCOPES)) for one in KINDS]
            listed = f"{', '.join(KINDS)}; for the tenant, or as history.thread, history.principal, history.subject"
            raise _Flawed(f"history has {listed}{nearest(path, known)}", offset)
        return scope, kind

    def _window(self, literal: str, offset: int) -> timedelta:
        try:
            return parse_duration(literal[1:-1])
        except ValueError as error:
            raise _Flawed(f"the window of history: {error}", offset) from None

    def _summed(self, literal: str, offset: int) -> str:
        name = literal[1:-1]
        shape = self._arguments.properties.get(name)
        numeric = [each for each, part in self._arguments.properties.items() if part.numeric]
        if shape is None:
            raise _Flawed(f"{self._tool} has no argument {name!r} to add up{nearest(name, numeric)}", offset)
        if not shape.numeric:
            raise _Flawed(f"history.sum adds up numbers, and {name!r} is no number{nearest(name, numeric)}", offset)
        return name

    def _replace(self, start: int, end: int, name: str) -> None:
        # The replacement is as long as the original, so that CEL's columns are the author's.
        text = self._result.text
        self._result.text = text[:start] + name.ljust(end - start) + text[end:]


def _joined(path: str) -> str:
    return "".join(path.split())


_HISTORY: dict[HistoryKind, cel.Type] = {
    "count": cel.Type.INT,
    "sum": cel.Type.DOUBLE,
    "last": cel.Type.DURATION,
    "exists": cel.Type.BOOL,
}


def _parts(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """A value's shape and those of all that is in it, each with its name."""
    yield name, shape
    for inner, part in shape.properties.items():
        yield from _parts(f"{name}.{inner}", part)
    if shape.items is not None:
        yield from _parts(name, shape.items)


_BEFORE = re.compile(rf"(?P<text>{LITERAL})\s*(?:==|!=|\bin\b)\s*$")
_AFTER = re.compile(
    rf"\s*(?:==|!=)\s*(?P<text>{LITERAL})|\s*(?:==|!=|\bin\b)\s*\[(?P<texts>[^\]]*)\]"
    r"|\s*\.\s*(?:exists|exists_one|all|filter|map|contains|startsWith|endsWith)\s*\((?P<body>[^()]*)\)"
)
_WITH_TEXTS_ONLY = re.compile(
    rf"\s*(?:[=!]=\s*(?:{LITERAL})|in\s*\[\s*(?:{LITERAL})(?:\s*,\s*(?:{LITERAL}))*\s*\])(?!\s*[+.\[])"
)


def _compared_with(source: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    """The texts that a name is compared with, each with its place: beside it, in a list, or in its macro."""
    if before := _BEFORE.search(source, 0, start):
        yield before.start("text"), before["text"][1:-1]
    after = _AFTER.match(source, end)
    for group in ("text", "texts", "body") if after else ():
        for literal in re.compile(LITERAL).finditer(source, *after.span(group)) if after and after[group] else ():
            yield literal.start(), literal[0][1:-1]


def _seen(name: str, path: _Steps) -> _Read:
    def read(facts: Facts) -> Origin:
        if name not in facts.origins:
            values = _values(facts.arguments, path)
            known = facts.sightings.origin(path[-1][1], values) if facts.sightings is not None else "unknown"
            facts.origins[name] = known
        return facts.origins[name]

    return read


def _values(value: object, path: _Steps) -> list[object]:
    """The values at a path, through every item of a list; nothing stands for what is left out."""
    if not path:
        return [value]
    if isinstance(value, list | tuple):
        return [found for item in cast("Sequence[object]", value) for found in _values(item, path)]
    inside = cast("JsonObject", value).get(path[0][0]) if isinstance(value, Mapping) else None
    return _values(inside, path[1:])


def _fetched(query: HistoryQuery) -> _Read:
    converts: dict[HistoryKind, Callable[[Any], object]] = {"count": int, "sum": float}
    convert = converts.get(query.kind, lambda value: value)

    def read(facts: Facts) -> object:
        if query not in facts.history:
            raise ValueError(f"history.{query.kind} was not fetched, or cannot be told")
        return convert(facts.history[query])

    return read


_REPORTED = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
# What other languages write, and CEL does not.
_UNREAD = re.compile(r"^Syntax error: .* '([^']+)'")
_WRITTEN = {
    **{
        "and": "&&",
        "or": "||",
        "not": "!(...)",
        "is": "==",
        "=": "==",
        "=>": ">=",
        ">": "!= for <>",
        "len": "size(...)",
    },
    **{"true": "true", "false": "false", "none": "null", "nil": "null"},
}
_MISUSED = re.compile(r"found no matching overload for '_?([^']+?)_?' applied to '\((.*)\)'")


def _cel_flaw(error: str, variables: Mapping[str, Variable]) -> Flaw:
    found = _REPORTED.search(error)
    if found is None:
        return Flaw(message=error)
    message = found[3].removesuffix(" [INVALID_ARGUMENT]").partition(" expecting {")[0]
    line, column = int(found[1]), int(found[2])
    if undeclared := _UNDECLARED.match(message):
        known = {"history", *(name for name in variables if not name.startswith(_PRESENT))}
        # CEL points at the last dot of a dotted name.
        column -= len(undeclared[1].rpartition(".")[0])
        message = f"{undeclared[1]!r} is not known here{_instead(undeclared[1]) or nearest(undeclared[1], known)}"
    elif misused := _MISUSED.match(message):
        types = re.sub(r"wrapper\((\w+)\)", r"\1 or null", misused[2]).replace(", ", " and ")
        types = types.replace("google.protobuf.Duration", "duration")
        message = f"{misused[1].lstrip('@')!r} does not work with {types}"
    elif unread := _UNREAD.search(message):
        message += _instead(unread[1].strip())
    return Flaw(message=message, line=line, column=column)


def _instead(word: str) -> str:
    written = _WRITTEN.get(word.lower())
    return f"; in CEL write {written}" if written else ""


def _flaw_at(text: str, offset: int, message: str) -> Flaw:
    before = text[:offset]
    return Flaw(message=message, line=before.count("\n") + 1, column=offset - before.rfind("\n"))
