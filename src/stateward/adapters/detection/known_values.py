"""What is known of the people of a case, found in every way in which it is written.

A name is found whole, turned round, shortened and by its parts, whatever its accents and capitals, an ü also as
ue; a part that is an ordinary word, such as Will or May, only where nothing but a name is written with a capital. A
number is found whatever stands between its digits, a phone number with and without the code of its country.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from stateward.adapters.detection.name_lists import PARTICLES, folded, lists
from stateward.model.memory import Finding, KnownValue

_SCORE = 1.0
_BETWEEN_DIGITS = r"[\s().\-/\u00a0\u2010-\u2013]{0,3}"
_BETWEEN_NAMES = r"[\s._\u00a0-]{1,3}"
_START_OF_SENTENCE = re.compile(r"(?:^|[.!?:;\"'“‘(\[>|*\n-]\s*|\n\s*)$")
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})  # where no such letter is at hand
_IN_ADDRESS = re.compile(r"[\w.+-]*@")
_SHORT = 2  # letters; a name so short is found with a capital only


def matches(text: str, known: Sequence[KnownValue]) -> list[Finding]:
    """Where a text holds what is known."""
    plain, places = _folded(text)
    found: set[Finding] = set()
    for one in known:
        for pattern, is_part in _patterns(one.entity, one.value):
            for match in pattern.finditer(plain):
                start, end = places[match.start()], places[match.end() - 1] + 1
                if not is_part or _is_a_name(text, start, end):
                    found.update(
                        Finding(entity=one.entity, start=low, end=high, score=_SCORE, known=one.value)
                        for low, high in _beside_address(text, start, end)
                    )
    return sorted(found, key=lambda one: (one.start, one.end))


def _beside_address(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A name that runs on into an address, as in `Jane Doe, jane@example.org`, ends before it and begins anew."""
    begins = end
    if _IN_ADDRESS.match(text, end):
        while begins > start and (text[begins - 1].isalnum() or text[begins - 1] in "._+-"):
            begins -= 1
    if start < begins < end:
        yield start, start + len(text[start:begins].rstrip(" \t\n\u00a0,;:<(["))
        start = begins
    yield start, end


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The text in small letters without accents, and where each of its characters stands in the text."""
    if text.isascii():
        return text.lower(), range(len(text))
    parts = [folded(character) for character in text]
    return "".join(parts), [at for at, part in enumerate(parts) for _ in part]


@lru_cache(maxsize=1024)
def _patterns(entity: str, value: str) -> tuple[tuple[re.Pattern[str], bool], ...]:
    """The patterns of a value in a folded text, each with whether it is only a part of a name."""
    if entity == "PERSON":
        small = unicodedata.normalize("NFC", value.casefold())
        spellings = dict.fromkeys([small, small.translate(_SPELT_OUT)])
        return tuple(pattern for spelling in spellings for pattern in _of_name(spelling))
    digits = "".join(c for c in value if c.isdecimal())
    if entity == "PHONE_NUMBER" and len(digits) >= 7:
        return ((_phone(value, digits), False),)
    signs = [c for c in folded(value) if c.isalnum()]
    if len(digits) * 2 >= len(signs):
        return ((_whole(_BETWEEN_DIGITS.join(map(re.escape, signs))), False),)
    return ((_whole(r"\s+".join(map(re.escape, folded(value).split()))), False),)


def _of_name(value: str) -> Iterator[tuple[re.Pattern[str], bool]]:
    names = _in_order(value)
    whole = [one for one in names if one not in PARTICLES]
    for variant in dict.fromkeys(_variants(names, whole)):
        yield _whole(variant), False
    for part in dict.fromkeys([*whole, *(half for one in whole for half in one.split("-"))]):
        if len(part) > 1:
            yield _whole(re.escape(part)), True


def _in_order(value: str) -> list[str]:
    """The words of a name, the last name last, also where it is given as `Last, First`."""
    last, _, first = folded(value).partition(",")
    return [word.strip(".") for word in f"{first} {last}".split() if word.strip(".")]


def _variants(names: Sequence[str], whole: Sequence[str]) -> Iterator[str]:
    if len(whole) < 2:
        return
    every = [re.escape(one) for one in names]
    first, last = re.escape(whole[0]), re.escape(whole[-1])
    at = names.index(whole[-1])
    while at > 0 and names[at - 1] in PARTICLES:
        at -= 1
    family = _BETWEEN_NAMES.join(every[at:])
    yield _BETWEEN_NAMES.join(every)
    for ending in dict.fromkeys([family, last]):
        yield f"{first}{_BETWEEN_NAMES}{ending}"
        yield rf"{ending}\s*,\s*{first}(?:\s+{_or(every[1:at])})?"
        yield f"{ending}{_BETWEEN_NAMES}{first}"
        yield rf"{first[0]}\.?{_BETWEEN_NAMES}{ending}"
        yield rf"{ending},? {first[0]}\."
        if len(last) > _SHORT + 1:  # jdoe
            yield f"{first[0]}{ending}"
    yield rf"{first} {last[0]}\."
    yield r"\s?".join(rf"{re.escape(one[0])}\." for one in whole)
    yield f"{first}{last}"


def _or(parts: Sequence[str]) -> str:
    return "|".join(parts) if len(parts) == 1 else f"(?:{_BETWEEN_NAMES.join(parts)})" if parts else "(?!)"


def _phone(value: str, digits: str) -> re.Pattern[str]:
    """The digits after the code of the country, with any code, or a 0, or nothing before them."""
    national = digits.removeprefix("00").lstrip("0")
    code = r"\d{1,3}[\s().\-/\u00a0]"
    if value.lstrip(" (").startswith(("+", "00")):
        whole, national = national, _without_code(national)
        code += f"|{whole.removesuffix(national)}"
    between = _BETWEEN_DIGITS
    before = rf"(?:\+|00)\d{{1,3}}{between}(?:\(?0\)?{between})?|\(?0|(?:{code}){between}|\("
    return re.compile(rf"(?<!\d)(?:{before})?{between.join(national)}(?!\d)")


def _without_code(digits: str) -> str:
    from phonenumbers import NumberParseException, parse

    try:
        return str(parse(f"+{digits}").national_number)
    except NumberParseException:
        return digits


def _whole(pattern: str) -> re.Pattern[str]:
    # `_` and digits end a word as well: jane_doe_1
    return re.compile(rf"(?<![^\W\d_])(?:{pattern})(?![^\W\d_])" if pattern else r"(?!)")


def _is_a_name(text: str, start: int, end: int) -> bool:
    """Whether a part of a name stands for it here; an ordinary word does with a capital within a sentence only."""
    found = text[start:end]
    plain = folded(found)
    if len(found) > _SHORT and not _is_ordinary(plain):
        return True
    return found[0].isupper() and not found.isupper() and not _START_OF_SENTENCE.search(text[max(0, start - 4) : start])


def _is_ordinary(word: str) -> bool:
    known = lists()
    return known.is_word(word) or word in PARTICLES
