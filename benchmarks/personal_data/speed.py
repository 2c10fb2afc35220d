"""How fast texts are searched, against Presidio's `AnalyzerEngine` as it comes, in turns within one run.

Without a name model on either side: theirs runs over its `no_op` engine, the fastest that it has.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

from benchmarks.personal_data import corpus
from benchmarks.personal_data.accuracy import ENTITIES, is_covered
from benchmarks.personal_data.corpus import Sample
from benchmarks.table import Goal, Table, ratios, spread
from benchmarks.timing import turns
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.personal_data.treating import DEFAULT_ENTITIES

_TURNS = 30
Scan = Callable[[Sequence[str]], Sequence[Sequence[Any]]]


def tables(repetitions: int) -> list[Table]:
    """Characters per second of both, and which planted values each of them loses."""
    theirs = analyzer()
    workloads: dict[str, Callable[[Callable[[], Scan]], int]] = {
        "unseen texts of a line": lambda make: _at_once(make(), _lines(400)),
        "unseen texts of 1,000 characters": lambda make: _at_once(make(), _blocks(1_000, 20)),
        "unseen texts of 10,000 characters": lambda make: _at_once(make(), _blocks(10_000, 3)),
        f"a conversation that grows to {_TURNS} messages": lambda make: _growing(make(), _blocks(600, _TURNS)),
    }
    makers: dict[str, Callable[[], Scan]] = {"presidio": lambda: theirs, "stateward": ours}
    rows: list[Sequence[str]] = []
    goals: list[Goal] = []
    for name, work in workloads.items():
        rates: dict[str, list[float]] = {maker: [] for maker in makers}
        for maker in turns(name, list(makers), repetitions):
            rates[maker].append(_rate(work, makers[maker]))
        speedup = ratios(rates["stateward"], rates["presidio"])
        thousands = (spread([one / 1000 for one in rates[maker]], "k") for maker in makers)
        rows.append((name, *thousands, spread(speedup, "x")))
        bound = 5.0 if "grows" in name else 2.0
        what = f"{name}, stateward / presidio"
        goals.append(Goal(what=what, value=statistics.median(speedup), bound=bound, least=True))
    lost, won, planted = differences(theirs, ours())
    goals.append(Goal(what="planted values that Presidio finds and Stateward does not", value=len(lost), bound=0))
    return [
        Table(
            title="Characters searched per second",
            header=("workload", "AnalyzerEngine", "Stateward", "ratio"),
            rows=rows,
            notes=(
                "AnalyzerEngine: its default recognizers over its no_op engine, one call for each text.",
                "Stateward: the types that are looked for by default, names by rules among them.",
                f"Of {planted} planted values, Stateward finds {won} that Presidio does not, and Presidio {len(lost)}"
                f" that Stateward does not{': ' if lost else ''}{', '.join(sorted(set(lost)))}.",
            ),
            goals=goals,
        )
    ]


def analyzer() -> Scan:
    """Presidio as it comes, but for two requests: its model, and the list of domains."""
    os.environ["TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS"] = ""
    presidio = cast("Any", import_module("presidio_analyzer"))
    engines = cast("Any", import_module("presidio_analyzer.nlp_engine"))
    configuration = {"nlp_engine_name": "no_op", "models": [{"lang_code": "en", "model_name": "no_op"}]}
    nlp = engines.NlpEngineProvider(nlp_configuration=configuration).create_engine()
    engine = presidio.AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])
    return lambda texts: [engine.analyze(text=text, language="en") for text in texts]


def ours() -> Scan:
    """A redactor that has seen nothing yet."""
    redactor = PresidioRedactor(timeout_seconds=50)
    asyncio.run(redactor.prove(DEFAULT_ENTITIES))
    return lambda texts: asyncio.run(redactor.scan(texts, entities=DEFAULT_ENTITIES))


def differences(theirs: Scan, own: Scan) -> tuple[list[str], int, int]:
    """The types of the planted values that only Presidio finds, how many only we find, and how many were planted."""
    samples = corpus.held_out()
    texts = [one.text for one in samples]
    lost: list[str] = []
    won = planted = 0
    for sample, other, mine in zip(samples, theirs(texts), own(texts), strict=True):
        for value in sample.planted:
            if value.entity in ENTITIES:
                planted += 1
                by_them, by_us = (_covers(sample, (value.start, value.end), spans) for spans in (other, mine))
                won += by_us and not by_them
                lost += [value.entity] if by_them and not by_us else []
    return lost, won, planted


def _covers(sample: Sample, value: tuple[int, int], findings: Sequence[Any]) -> bool:
    """Whether the findings, of whatever type, cover a value."""
    return is_covered(sample.text, value, [(one.start, one.end) for one in findings])


def _rate(work: Callable[[Callable[[], Scan]], int], make: Callable[[], Scan]) -> float:
    made = make()
    gc.collect()
    start = time.perf_counter()
    characters = work(lambda: made)
    return characters / (time.perf_counter() - start)


def _at_once(scan: Scan, texts: Sequence[str]) -> int:
    scan(texts)
    return sum(map(len, texts))


def _growing(scan: Scan, texts: Sequence[str]) -> int:
    """Each turn hands over the whole conversation so far, as middleware is given it."""
    done = 0
    for at in range(1, len(texts) + 1):
        scan(texts[:at])
        done += sum(map(len, texts[:at]))
    return done


def _lines(count: int) -> list[str]:
    lines = [one.text for one in [*corpus.held_out(), *corpus.held_out_business()]]
    random.Random(9).shuffle(lines)
    return lines[:count]


def _blocks(size: int, count: int) -> list[str]:
    """Texts of about so many characters, each of them another."""
    lines = iter(_lines(1_000) * 50)
    texts: list[str] = []
    for at in range(count):
        text = f"Block {at}."
        while len(text) < size:
            text += f"\n{next(lines)}"
        texts.append(text)
    return texts
