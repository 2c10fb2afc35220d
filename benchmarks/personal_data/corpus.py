"""The corpora: templates filled from a seed, with what was planted and where."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.personal_data import texts
from benchmarks.personal_data.people import DEVELOPMENT_NAMES, HARD_NAMES, HELD_OUT_NAMES, fillers

_SLOT = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_MEANS = {
    "FIRST": "PERSON",
    "LAST": "PERSON",
    "LAST_FIRST": "PERSON",
    "CAPITALS": "PERSON",
    "SHOUTED": "PERSON",
    "SMALL": "PERSON",
    "SMALL_FIRST": "PERSON",
    "SPOKEN_PHONE": "PHONE_NUMBER",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """One value in a text."""

    entity: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A text and what is personal in it; nothing, for business text."""

    text: str
    planted: tuple[Planted, ...] = ()


def development(each: int = 12) -> list[Sample]:
    """What the rules are written against."""
    return list(_filled(texts.DEVELOPMENT, DEVELOPMENT_NAMES, each, seed=1))


def held_out(each: int = 12) -> list[Sample]:
    """What the figures are made of."""
    return list(_filled(texts.HELD_OUT, HELD_OUT_NAMES, each, seed=2))


def hard(each: int = 12) -> list[Sample]:
    """What is hard: rare names, small letters and capitals, firms and places beside people; no goal is set for it."""
    return list(_filled(texts.HARD, [*HELD_OUT_NAMES, *HARD_NAMES * 2], each, seed=5))


def development_business(each: int = 5) -> list[Sample]:
    """Business text without personal data, for writing rules."""
    return list(_filled(texts.DEVELOPMENT_BUSINESS, DEVELOPMENT_NAMES, each, seed=3))


def held_out_business(each: int = 5) -> list[Sample]:
    """At least 300 lines of business text without personal data, for the figures."""
    return list(_filled(texts.HELD_OUT_BUSINESS, HELD_OUT_NAMES, each, seed=4))


def _filled(templates: str, names: list[str], each: int, *, seed: int) -> Iterator[Sample]:
    made = random.Random(seed)
    values = fillers(names, made)
    for template in templates.strip().splitlines():
        for _ in range(each):
            yield _sample(template.replace("\\n", "\n").replace("\\t", "\t"), values)


def _sample(template: str, values: Mapping[str, object]) -> Sample:
    text, planted, done = "", [], 0
    for match in _SLOT.finditer(template):
        text += template[done : match.start()]
        done = match.end()
        slot = match[1]
        value = values[slot]() if slot else match[0][0]  # type: ignore[operator]
        if slot and slot.isupper():
            planted.append(Planted(entity=_MEANS.get(slot, slot), start=len(text), end=len(text) + len(value)))
        text += value
    return Sample(text=text + template[done:], planted=tuple(planted))
