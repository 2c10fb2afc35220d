"""Origin: where a value was seen. In the person's own words, in a trusted result, in untrusted content, or nowhere.

What it proves is that the same value stood there, written the same or in another usual way. A value that somebody has
encoded, translated or put in other words was seen nowhere. No I/O, and nothing here knows who vouches for a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import cast

from stateward.model.provenance import ORIGINS, Origin, Sighting
from stateward.model.values import JsonObject
from stateward.verify.arguments import Shape

_SHORTEST, _FEWEST_DIGITS = 4, 3
_LONGEST, _MOST = 200_000, 1_000_000  # characters of one text, and of all of one origin
_CUT = "\1"  # stands between two values, and in place of what a call was given itself

_INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFEFF])
_BREAKS = str.maketrans("", "", "\n\r\t")
_WORD = re.compile(r"[^\W_]+")
_IBAN = re.compile(r"[a-z]{2}[0-9]{2}[a-z0-9]{11,30}")
_DIGITS = re.compile(r"\+?[0-9]{6,}")
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>-?)"
    r"(?:(?P<grouped>\d{1,3}(?P<mark>[ ,.'’])\d{3}(?:(?P=mark)\d{3})*)(?:[.,](?P<rest>\d+))?"
    r"|(?P<whole>\d+)(?:[.,](?P<part>\d+))?)(?!\w|[.,]\d)"
)


class _Pile:
    """The texts of one origin, and all of them in one, which is searched much faster."""

    def __init__(self) -> None:
        self._texts: dict[str, Sighting] = {}
        self._size = 0
        self._whole: Sighting | None = None

    def add(self, sighting: Sighting) -> None:
        self._drop(sighting.source)
        self._texts[sighting.source] = sighting
        self._size += len(sighting.text)
        self._whole = None
        while self._size > _MOST:
            self._drop(next(iter(self._texts)))

    def whole(self) -> Sighting:
        if self._whole is None:
            texts = self._texts.values()
            numbers = frozenset[str]().union(*(one.numbers for one in texts))
            self._whole = Sighting(
                source="", origin="unknown", text=_CUT.join(one.text for one in texts), numbers=numbers
            )
        return self._whole

    def _drop(self, source: str) -> None:
        if (dropped := self._texts.pop(source, None)) is not None:
            self._size -= len(dropped.text)


class Sightings:
    """The texts of one thread. Of each origin the newest million characters count; what is older was seen nowhere."""

    def __init__(self) -> None:
        self._piles: dict[Origin, _Pile] = {origin: _Pile() for origin in ORIGINS[:-1]}

    def add(self, sighting: Sighting) -> None:
        """Take a text; one of the same source is replaced."""
        self._piles[sighting.origin].add(sighting)

    def origin(self, shape: Shape, values: Sequence[object]) -> Origin:
        """The origin of an argument: that of the value in it which proves least.

        Args:
            shape: The argument's shape.
            values: What it holds: several values where it stands in the items of a list.
        """
        leaves = [leaf for value in values for leaf in _leaves(shape, value)]
        if not leaves or any(value is None for value in values):
            return "unknown"  # what is left out was seen nowhere
        return ORIGINS[max(self._rank(part, leaf) for part, leaf in leaves)]

    def _rank(self, shape: Shape, value: object) -> int:
        wanted = _wanted(shape, value)
        found = (at for at, pile in enumerate(self._piles.values()) if wanted and wanted.stands_in(pile.whole()))
        return next(found, len(self._piles))


def sighting(source: str, origin: Origin, value: object, *, given: object = None) -> Sighting:
    """A text to look for values in.

    Args:
        source: What names it.
        origin: What a value that stands in it is.
        value: Text, or JSON of any depth.
        given: What the call that returned it was given: a result proves nothing about that, as it may only repeat it.
    """
    leaves = [leaf for _, leaf in _leaves(Shape(), value)]
    text = normal(_CUT.join(_text(leaf) for leaf in leaves)[:_LONGEST])
    numbers = _numbers(leaves, text)
    repeated = [leaf for _, leaf in _leaves(Shape(), given)]
    if repeated:
        said = normal(_CUT.join(_text(leaf) for leaf in repeated))
        letters = "".join(_WORD.findall(said))
        text = _WORD.sub(lambda word: _CUT if word[0] in letters else word[0], text)
        numbers -= _numbers(repeated, said)
    return Sighting(source=source, origin=origin, text=text, numbers=numbers)


def unprovable(shape: Shape) -> str | None:
    """Why the origin of a value of this shape says nothing, where that is certain: `yes` stands in every text."""
    if shape.kind == "boolean":
        return "it is true or false"
    return "it is one of a few choices" if shape.choices else None


def normal(text: str) -> str:
    """A text in one form: case, width, invisible characters and white space do not count."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_INVISIBLE))
    return " ".join(text.lower().split())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """A value in the forms that it may stand in."""

    text: str
    number: str
    groups: tuple[str, ...]
    is_digits: bool

    def stands_in(self, sighting: Sighting) -> bool:
        if self.number and self.number in sighting.numbers:
            return True
        if self.text and _stands(self.text, sighting.text):
            return True
        return any(group in sighting.compact and self._grouped(group, sighting.text) for group in self.groups)

    def _grouped(self, group: str, text: str) -> bool:
        # Digits beside it would be part of the same number; an IBAN says itself how long it is.
        before, after = (r"(?<!\d[ \-/()])", r"(?![ \-/()]\d)") if self.is_digits else ("", "")
        return bool(re.search(rf"(?<!\w){before}" + r"[ \-/()]{0,3}".join(group) + rf"(?!\w){after}", text))


def _wanted(shape: Shape, value: object) -> _Wanted | None:
    """What to look for, or None where the value proves nothing: short, a choice, a yes or no, or not plain text."""
    if unprovable(shape) or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    number = _canonical(value, any_text=shape.numeric)
    if not isinstance(value, str):
        return _Wanted(text="", number=number, groups=(), is_digits=False) if number else None
    if not value.isprintable() and any(
        unicodedata.category(char) in ("Cf", "Cc", "Co") for char in value.translate(_BREAKS)
    ):
        return None
    text = normal(value)
    if sum(map(str.isalnum, text)) < _SHORTEST:
        return _Wanted(text="", number=number, groups=(), is_digits=False) if number else None
    groups = _groups(text)
    return _Wanted(text=text, number=number, groups=groups, is_digits=bool(groups) and groups[0].isdecimal())


def _groups(text: str) -> tuple[str, ...]:
    """A number of an account or a telephone without its separators, with each of the usual beginnings."""
    bare = re.sub(r"[ \-/()]", "", text)
    if _DIGITS.fullmatch(bare):
        digits = bare.removeprefix("+")
        abroad = digits.removeprefix("00") if bare.startswith("00") else digits
        return (digits, f"00{digits}") if bare.startswith("+") else tuple(dict.fromkeys((digits, abroad)))
    return (bare,) if _IBAN.fullmatch(bare) else ()


def _stands(value: str, text: str) -> bool:
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not _goes_on(text[max(0, at - 1) : at], "", "./?#&\\") and not _goes_on(
            text[end : end + 1], text[end + 1 : end + 2], ""
        ):
            return True
        at = text.find(value, at + 1)
    return False


def _goes_on(char: str, after: str, also: str) -> bool:
    """Whether a value goes on at its border: `smith@example.com` is another address than `ann.smith@example.com`."""
    if char.isalnum() or (char and char in "_@%+-~" + also):
        return True
    return bool(after) and ((char in "./:?#&=\\" and after.isalnum()) or (char in ",'" and after.isdecimal()))


def _leaves(shape: Shape, value: object) -> Iterator[tuple[Shape, object]]:
    if isinstance(value, Mapping):
        for name, inner in cast("JsonObject", value).items():
            if name not in shape.properties:
                yield Shape(), name  # a key that the schema does not name is said by whoever made the call
            yield from _leaves(shape.properties.get(name, shape.extra or Shape()), inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[object]", value):
            yield from _leaves(shape.items or Shape(), inner)
    elif value is not None:
        yield shape, value


def _text(leaf: object) -> str:
    if isinstance(leaf, bool):
        return ""
    return leaf if isinstance(leaf, str) else _plain(leaf)


def _numbers(leaves: Sequence[object], text: str) -> frozenset[str]:
    direct = (_plain(leaf) for leaf in leaves if isinstance(leaf, int | float) and not isinstance(leaf, bool))
    return frozenset(number for number in (*direct, *_readings(text)) if number)


def _readings(text: str) -> Iterator[str]:
    """The numbers in a text, in each way that people may have meant them: `1.000` is a thousand, or one."""
    for found in _NUMBER.finditer(text):
        sign, grouped, mark = found["sign"], found["grouped"], found["mark"]
        if grouped is None:
            yield _plain(f"{sign}{found['whole']}.{found['part'] or 0}")
            continue
        parts = grouped.split(mark)
        yield _plain(f"{sign}{''.join(parts)}.{found['rest'] or 0}")
        if mark == " ":
            yield from map(_plain, parts)
        elif len(parts) == 2 and mark in ".," and not found["rest"]:
            yield _plain(f"{sign}{parts[0]}.{parts[1]}")


def _canonical(value: str | float, *, any_text: bool) -> str:
    """A number that has digits enough to be told from others, in one form; else nothing."""
    if isinstance(value, str):
        bare = value.strip()
        if not re.fullmatch(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", bare) or not (
            any_text or re.search("[.,]", bare)
        ):
            return ""
        value = bare.replace(",", "")
    plain = _plain(value)
    return plain if len(plain.replace(".", "").lstrip("-0")) >= _FEWEST_DIGITS else ""


def _plain(value: object) -> str:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return ""
    if not number.is_finite() or abs(number.adjusted()) > 40:
        return ""
    return format(number.normalize(), "f") if number else "0"
