"""How much of what is planted is found, and how much business text is damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.personal_data import blind, corpus
from benchmarks.personal_data.corpus import Sample
from benchmarks.table import Goal, Table, figure
from stateward.model.memory import Finding
from stateward.ports import Redactor

ENTITIES = (
    "PERSON",
    "LOCATION",
    "CREDIT_CARD",
    "PHONE_NUMBER",
    "EMAIL_ADDRESS",
    "IBAN_CODE",
    "US_SSN",
    "DATE_OF_BIRTH",
)
_LEAST = {"CREDIT_CARD": 0.9, "PHONE_NUMBER": 0.9, "EMAIL_ADDRESS": 1.0, "IBAN_CODE": 1.0, "US_SSN": 1.0}
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What was found of one entity type.

    Attributes:
        planted: How many values were planted.
        found: How many of them are covered to the last letter and digit.
        right: How many findings touch a planted value of their type.
        wrong: How many do not.
    """

    planted: int
    found: int
    right: int
    wrong: int

    @property
    def precision(self) -> float:
        """Of the findings, the part that is right."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Of what was planted, the part that is found whole."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def f2(self) -> float:
        """The two together, recall counting twice."""
        below = 4 * self.precision + self.recall
        return 5 * self.precision * self.recall / below if below else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """What was found in text that holds nothing personal."""

    lines: int
    tokens: int
    hits: tuple[tuple[str, str], ...]

    @property
    def rate(self) -> float:
        """False hits per 1,000 tokens; a token is a word, or a mark."""
        return 1000 * len(self.hits) / self.tokens


async def scores(redactor: Redactor, samples: Sequence[Sample]) -> dict[str, Score]:
    """The score of each entity type."""
    findings = await redactor.scan([one.text for one in samples], entities=frozenset(ENTITIES))
    return {entity: _score(entity, samples, findings) for entity in ENTITIES}


async def damage(redactor: Redactor, samples: Sequence[Sample], entities: frozenset[str]) -> Damage:
    """What is found in business text."""
    findings = await redactor.scan([one.text for one in samples], entities=entities)
    hits = [
        (found.entity, one.text[found.start : found.end])
        for one, several in zip(samples, findings, strict=True)
        for found in several
    ]
    tokens = sum(len(_TOKEN.findall(one.text)) for one in samples)
    return Damage(lines=len(samples), tokens=tokens, hits=tuple(hits))


async def tables(redactor: Redactor, entities: frozenset[str]) -> list[Table]:
    """Accuracy on the held-out and the blind texts, and the damage to business text of both."""
    held_out = corpus.held_out()
    measured = await scores(redactor, held_out)
    before = await scores(redactor, corpus.development())
    hard = (await scores(redactor, corpus.hard()))["PERSON"]
    engine = redactor.coverage(entities).engine
    return [
        Table(
            title="Personal data that is found",
            header=("entity", "planted", "precision", "recall", "F2", "F2 on what the rules were written against"),
            rows=_rows(measured, before),
            notes=(
                f"{engine}. {len(held_out)} held-out texts of our own making; the rules were not written against them.",
                "Found is what is covered to its last letter and digit; a finding is wrong that touches no value.",
            ),
            goals=_goals("", measured),
        ),
        Table(
            title="Names that are hard to find",
            header=("entity", "planted", "precision", "recall", "F2"),
            rows=[("PERSON", str(hard.planted), f"{hard.precision:.3f}", f"{hard.recall:.3f}", f"{hard.f2:.3f}")],
            notes=("Rare names, small letters and capitals only, firms and places beside people; held out as well.",),
        ),
        *[await _blind(redactor, name) for name in blind.CORPORA],
        await _damage(redactor, entities),
    ]


async def _blind(redactor: Redactor, name: str) -> Table:
    test, development = blind.test(name), blind.development(name)
    measured = await scores(redactor, test)
    return Table(
        title=f"Personal data in whole texts: {name}, test",
        header=("entity", "planted", "precision", "recall", "F2", f"F2, {name}, development"),
        rows=_rows(measured, await scores(redactor, development)),
        notes=(
            f"{len(test)} tickets, mails, chats, forms, payloads and logs, written whole and blind to the rules.",
            "A part is in small letters; of an address the street line is asked for, not the town.",
        ),
        goals=_goals(f"{name}, ", measured),
    )


async def _damage(redactor: Redactor, entities: frozenset[str]) -> Table:
    held_out = await damage(redactor, corpus.held_out_business(), entities)
    by_texts = {"held out": held_out}
    for name in blind.CORPORA:
        by_texts[f"{name}, test"] = await damage(redactor, blind.test_business(name), entities)
    return Table(
        title="Business text that is damaged",
        header=("texts", "lines", "tokens", "false hits", "per 1,000 tokens"),
        rows=[
            (texts, str(one.lines), str(one.tokens), str(len(one.hits)), figure(one.rate))
            for texts, one in by_texts.items()
        ],
        notes=tuple(
            f"{texts}: {entity}: {count}"
            for texts, one in by_texts.items()
            for entity, count in sorted(Counter(entity for entity, _ in one.hits).items())
        ),
        goals=[Goal(what="false hits per 1,000 tokens of business text", value=held_out.rate, bound=0.5)],
    )


def _goals(texts: str, measured: Mapping[str, Score]) -> list[Goal]:
    return [
        Goal(what=f"{texts}PERSON, F2", value=measured["PERSON"].f2, bound=0.78, least=True),
        *(
            Goal(what=f"{texts}{name}, recall", value=measured[name].recall, bound=least, least=True)
            for name, least in _LEAST.items()
        ),
    ]


def _rows(measured: Mapping[str, Score], before: Mapping[str, Score]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            str(one.planted),
            *(f"{value:.3f}" for value in (one.precision, one.recall, one.f2)),
            f"{before[name].f2:.3f}",
        )
        for name, one in measured.items()
    ]


def _score(entity: str, samples: Sequence[Sample], findings: Sequence[Sequence[Finding]]) -> Score:
    planted = found = right = wrong = 0
    for sample, several in zip(samples, findings, strict=True):
        mine = [(one.start, one.end) for one in several if one.entity == entity]
        values = [(one.start, one.end) for one in sample.planted if one.entity == entity]
        planted += len(values)
        found += sum(is_covered(sample.text, value, mine) for value in values)
        touching = sum(any(low < end and start < high for start, end in values) for low, high in mine)
        right += touching
        wrong += len(mine) - touching
    return Score(planted=planted, found=found, right=right, wrong=wrong)


def is_covered(text: str, value: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    """Whether spans cover every letter and digit of a value."""
    return all(any(low <= at < high for low, high in spans) for at in range(*value) if text[at].isalnum())
