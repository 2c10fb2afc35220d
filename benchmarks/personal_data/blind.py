"""Texts as a company's agents see them, written whole by somebody who did not know the rules, and read from files.

There are two corpora by two authors. Each half of one has a file of its own: rules may be written against the
development half, figures are made of the test half, and whoever writes rules leaves that file unread. A text follows
a line `=== personal: KIND` or `=== business: KIND`; `⟦ENTITY|value⟧` marks what is personal.
`python -m benchmarks.personal_data.blind` checks all four files and counts what is marked.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.personal_data.corpus import Planted, Sample
from benchmarks.personal_data.people import luhn

CORPORA = ("blind", "blind2")
"""How the names of their files begin; rules have been written against the first for longer."""

_HEAD = re.compile(r"^=== (personal|business): .+\n", re.MULTILINE)
_MARKED = re.compile(r"⟦([A-Z_]+)\|([^⟦⟧|]+)⟧")
_LEFT_OVER = re.compile("[⟦⟧]")
_NUMBERS = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IBANS = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_]{3,}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")
_PARTICLES = frozenset({"abu", "ann", "bin", "binti", "den", "der", "freiherr", "ibn", "van", "von"})


def development(corpus: str) -> list[Sample]:
    """What rules may be written against."""
    return _read(corpus, "development", "personal")


def development_business(corpus: str) -> list[Sample]:
    """Business text without personal data, for writing rules."""
    return _read(corpus, "development", "business")


def test(corpus: str) -> list[Sample]:
    """What the figures are made of."""
    return _read(corpus, "test", "personal")


def test_business(corpus: str) -> list[Sample]:
    """Business text without personal data, for the figures."""
    return _read(corpus, "test", "business")


def main() -> int:
    """Count what is marked and say what is wrong with the texts; nothing of them is shown."""
    found = [problem for corpus in CORPORA for problem in _checked(corpus)]
    print(*found, sep="\n")
    return bool(found)


def _checked(corpus: str) -> list[str]:
    halves = {
        f"{corpus}, development": (development(corpus), development_business(corpus)),
        f"{corpus}, test": (test(corpus), test_business(corpus)),
    }
    found: list[str] = []
    for half, (personal, business) in halves.items():
        counted = Counter(one.entity for sample in personal for one in sample.planted)
        print(f"{half}: {len(personal)} personal texts, {len(business)} business texts, {dict(counted.most_common())}")
        found += _problems(half, personal, business)
    one, other = ([*personal, *business] for personal, business in halves.values())
    return [*found, *_shared(corpus, one, other)]


def _read(corpus: str, half: str, wanted: str) -> list[Sample]:
    text = Path(__file__).with_name(f"{corpus}_{half}.txt").read_text(encoding="utf-8")
    _, *parts = _HEAD.split(text)
    return [_sample(body.strip("\n")) for about, body in zip(parts[::2], parts[1::2], strict=True) if about == wanted]


def _sample(marked: str) -> Sample:
    text, done = "", 0
    planted: list[Planted] = []
    for match in _MARKED.finditer(marked):
        text += marked[done : match.start()]
        done = match.end()
        planted.append(Planted(entity=match[1], start=len(text), end=len(text) + len(match[2])))
        text += match[2]
    return Sample(text=text + marked[done:], planted=tuple(planted))


def _problems(half: str, personal: Sequence[Sample], business: Sequence[Sample]) -> Iterator[str]:
    for at, sample in enumerate(personal):
        if not sample.planted:
            yield f"{half}: personal text {at} marks nothing"
        for entity, value in _values([sample]):
            if entity == "CREDIT_CARD" and not _is_card(value):
                yield f"{half}: personal text {at} has a card number without its check digit"
            if entity == "IBAN_CODE" and not _is_iban(value):
                yield f"{half}: personal text {at} has an IBAN without its check digits"
            if value != value.strip():
                yield f"{half}: personal text {at} marks white space"
    for at, sample in enumerate(business):
        if sample.planted or any(map(_is_card, _NUMBERS.findall(sample.text))):
            yield f"{half}: business text {at} has a mark or a valid card number"
        if any(map(_is_iban, _IBANS.findall(sample.text))):
            yield f"{half}: business text {at} has a valid IBAN"
    for at, sample in enumerate([*personal, *business]):
        if _LEFT_OVER.search(sample.text):
            yield f"{half}: text {at} has a mark that cannot be read"


def _shared(corpus: str, one: Sequence[Sample], other: Sequence[Sample]) -> Iterator[str]:
    if both := _names(one) & _names(other):
        yield f"{corpus}: {len(both)} names are in both halves"
    if both := _sentences(one) & _sentences(other):
        yield f"{corpus}: {len(both)} sentences are in both halves"


def _values(samples: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    for sample in samples:
        for one in sample.planted:
            yield one.entity, sample.text[one.start : one.end]


def _names(samples: Sequence[Sample]) -> set[str]:
    whole = " ".join(value for entity, value in _values(samples) if entity == "PERSON")
    return {name.casefold() for name in _NAME.findall(whole)} - _PARTICLES


def _sentences(samples: Sequence[Sample]) -> set[str]:
    """Sentences and lines of three words or more, without what differs in case and marks only."""
    every = (" ".join(re.findall(r"\w+", one.casefold())) for sample in samples for one in _SENTENCE.split(sample.text))
    return {sentence for sentence in every if sentence.count(" ") > 1}


def _is_card(number: str) -> bool:
    return luhn("".join(filter(str.isdigit, number)))


def _is_iban(code: str) -> bool:
    moved = code.replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in moved[4:] + moved[:4])) % 97 == 1


if __name__ == "__main__":
    sys.exit(main())
