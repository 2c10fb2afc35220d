"""What a condition says of the items of lists: `args.lines.all(l, l.amount > 0)`, `args.lines[0].amount`.

CEL does not know what stands in an item, so each such path is found here, checked by the tool's schema, and given to
CEL's checker as a name with a type of its own. What runs is the condition as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stateward.model.policy import nearest
from stateward.verify.arguments import Shape

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
PATH = rf"{NAME}(?:\s*\.\s*{NAME})*"
LITERAL = r"\"[^\"\\\n]*\"|'[^'\\\n]*'"
TOKEN = re.compile(
    rf"""
    (?P<comment>//[^\n]*)
    |(?P<raw>[bB]?[rR][bB]?(?:\"\"\".*?\"\"\"|'''.*?'''|\"[^\"\n]*\"|'[^'\n]*'))
    |(?P<string>[bB]?(?:\"\"\"(?:\\.|.)*?\"\"\"|'''(?:\\.|.)*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'))
    |(?P<number>[0-9][A-Za-z0-9_.]*)
    |(?P<has>\bhas\s*\(\s*(?P<tested>(?:args|answer)(?:\s*\.\s*{NAME})+)\s*\))
    |(?P<path>{PATH})
    """,
    re.VERBOSE | re.DOTALL,
)
_MACROS = ("all", "exists", "exists_one", "filter", "map")
_BOUND = re.compile(rf"\s*\(\s*(?P<name>{NAME})\s*,")
_CHAINED = re.compile(rf"\s*\.\s*(?P<macro>{'|'.join(_MACROS)})(?=\s*\()")
_INDEXED = re.compile(rf"\s*\[[^\[\]]*\](?P<fields>(?:\s*\.\s*{NAME})*)")
_CALLED = re.compile(r"\s*\(")
_TESTED = re.compile(r"\bhas\s*\(\s*$")


class Misspelt(Exception):
    """An item has no such field; `offset` is where it is named."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message, self.offset = message, offset


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """A path into an item, and what stands there.

    Attributes:
        start: Its first character.
        end: One past its last.
        shape: What stands there.
        nullable: It, or what it stands in, may be null.
    """

    start: int
    end: int
    shape: Shape
    nullable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Binding:
    """A name that a macro gives to the items of a list, as far as it reaches."""

    name: str
    item: Shape
    start: int
    end: int


class Items:
    """The paths into items of one condition.

    Args:
        source: The condition.
        root: What it calls the arguments.
        arguments: Their shape.
    """

    def __init__(self, source: str, root: str, arguments: Shape) -> None:
        self._source, self._root, self._arguments = source, root, arguments
        self._bindings: list[_Binding] = []

    def uses(self) -> Iterator[Use]:
        """Each path into an item, in order.

        Raises:
            Misspelt: an item has no such field.
        """
        for token in TOKEN.finditer(self._source):
            if token["path"] and not self._source[: token.start()].rstrip().endswith("."):
                yield from self._path(token)

    def _path(self, token: re.Match[str]) -> Iterator[Use]:
        base = self._base(token)
        if base is None:
            return
        steps = list(re.finditer(NAME, self._source[token.start() : token.end()]))
        offset = token.start()
        macro = self._source[offset:][steps[-1].start() : steps[-1].end()] if self._is_called(token.end()) else ""
        fields = steps[1:-1] if macro else steps[1:]
        known = self._fields(steps[0][0], base, fields, offset)
        into = known is not None and steps[0][0] != self._root and bool(fields)
        end = offset + (fields or steps[:1])[-1].end()
        if known is not None and not macro:
            known, end, macro, indexed = self._indexed(known, end)
            into = into or indexed
        if known is not None and into and not _TESTED.search(self._source, 0, offset):
            yield Use(start=offset, end=end, shape=known[0], nullable=known[1])
        if known is not None and macro in _MACROS and known[0].kind == "array":
            self._bind(macro, known[0].items or Shape(), self._source.index("(", end))

    def _base(self, token: re.Match[str]) -> Shape | None:
        head = re.match(NAME, token["path"])
        name = head[0] if head else ""
        for bound in reversed(self._bindings):
            if bound.name == name and bound.start <= token.start() < bound.end:
                return bound.item
        return self._arguments if name == self._root else None

    def _fields(
        self, known: str, shape: Shape, steps: Sequence[re.Match[str]], offset: int
    ) -> tuple[Shape, bool] | None:
        """What stands at a path, and whether it may be null; nothing where nobody knows."""
        nullable = shape.nullable
        for step in steps:
            if shape.kind != "object":
                return None
            part = shape.properties.get(step[0], shape.extra)
            if part is None:
                hint = nearest(f"{known}.{step[0]}", [f"{known}.{name}" for name in shape.properties])
                raise Misspelt(f"there is no '{known}.{step[0]}'{hint}", offset + step.start())
            shape, known, nullable = part, f"{known}.{step[0]}", nullable or part.nullable
        return shape, nullable

    def _indexed(self, known: tuple[Shape, bool], end: int) -> tuple[tuple[Shape, bool] | None, int, str, bool]:
        """Goes on with `[0]` and what follows it: what stands there, its end, a called method, whether any was."""
        found: tuple[Shape, bool] | None = known
        into = False
        while found is not None and found[0].kind == "array" and (index := _INDEXED.match(self._source, end)):
            steps = list(re.finditer(NAME, index["fields"]))
            called = bool(steps) and self._is_called(index.end())
            fields, offset = steps[:-1] if called else steps, index.start("fields")
            item = found[0].items or Shape()
            found = self._fields("item", item, fields, offset)
            end, into = (offset + fields[-1].end()) if fields else offset, True
            if called:
                return found, end, steps[-1][0], into
        return found, end, "", into

    def _bind(self, macro: str, item: Shape, opens: int) -> None:
        while bound := _BOUND.match(self._source, opens):
            closes = self._closing(opens)
            self._bindings.append(_Binding(name=bound["name"], item=item, start=bound.end(), end=closes))
            chained = _CHAINED.match(self._source, closes + 1)
            if macro != "filter" or chained is None:
                return
            macro, opens = chained["macro"], chained.end()

    def _closing(self, opens: int) -> int:
        """Where the bracket that opens here is closed."""
        depth, strings = 0, [token.span() for token in TOKEN.finditer(self._source) if token["string"] or token["raw"]]
        for at in range(opens, len(self._source)):
            if any(start <= at < end for start, end in strings):
                continue
            depth += {"(": 1, ")": -1}.get(self._source[at], 0)
            if depth == 0 and self._source[at] == ")":
                return at
        return len(self._source)

    def _is_called(self, end: int) -> bool:
        return _CALLED.match(self._source, end) is not None
