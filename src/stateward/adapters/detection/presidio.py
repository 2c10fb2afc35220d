"""Personal data found by Microsoft Presidio's recognizers, each judged by a rule that spares references.

Presidio, spaCy and tldextract are imported when something is scanned for the first time, and nothing here
makes a request: suffixes come from the list inside tldextract, and a name model is never downloaded. What is
used is Presidio's registry and recognizers, not its engine: that one's context enhancer takes quadratic time
and does nothing without a model.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from stateward.adapters.detection.fields import fields, things
from stateward.adapters.detection.known_values import matches
from stateward.adapters.detection.mentions import mentions
from stateward.adapters.detection.name_lists import LIKELY
from stateward.adapters.detection.name_models import NameModel, load
from stateward.adapters.detection.rules import (
    CHECKED,
    FINDERS,
    IN_WORDS,
    OWN_PATTERNS,
    RULES,
    STOCK_RECOGNIZERS,
    Finder,
    Rule,
)
from stateward.errors import ConfigurationError, RedactionFailed
from stateward.model.memory import COUNTRIES, Coverage, Finding, KnownValue

_CHUNK = 4_000
_MARGIN = 320
_CACHED_TEXTS = 4_096
_LOAD_SECONDS = 120.0
_ACCEPTED_SCORE = 0.6
_FLOOR = frozenset({*RULES, *FINDERS})
_NAME_CANARIES = (
    "My name is John Smith and I live in London.",
    "She is an American lawyer who works for Microsoft Corporation in New York.",
    "Barack Obama met the Germans at Google in Paris, France.",
)


class PresidioRedactor:
    """A `Redactor` over Presidio: patterns always, names where a model is there.

    Args:
        ner_model: A model that finds names, as `name_models.load` takes it. Without one, people and places are
            found in part only, and `coverage` says so.
        language: The language of the model (ISO 639-1). The words that introduce a number are English.
        timeout_seconds: How long one scan may take before it is refused; less than Presidio's own limit for a
            pattern (60 s, `REGEX_TIMEOUT_SECONDS`), after which it skips the pattern. Loading has two minutes
            of its own.
    """

    def __init__(
        self, *, ner_model: str | Path | None = None, language: str = "en", timeout_seconds: float = 20.0
    ) -> None:
        self._model = ner_model
        self._language = language
        self._timeout = timeout_seconds
        self._opening = threading.Lock()
        self._engine: _Engine | None = None
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, list[Finding]] = {}

    def coverage(self, entities: Iterable[str]) -> Coverage:
        """Which of the entity types are looked for. With a model, the first call loads it.

        Raises:
            ConfigurationError: the model is not installed.
            RedactionFailed: Presidio cannot be loaded, or does not find a known sample.
        """
        asked = sorted(set(entities))
        labels = frozenset[str]() if self._model is None else self._open().labels
        covered = _FLOOR | labels
        return Coverage(
            covered=tuple(e for e in asked if e in covered),
            partial=tuple(e for e in asked if e in FINDERS and e not in labels),
            uncovered=tuple(e for e in asked if e not in covered),
            engine=f"presidio-analyzer {version('presidio-analyzer')}, {self._model_name()}",
        )

    async def scan(
        self,
        texts: Sequence[str],
        *,
        entities: frozenset[str],
        countries: Sequence[str] = COUNTRIES,
        known: Sequence[KnownValue] = (),
    ) -> list[list[Finding]]:
        """The findings of each text, by position. What is not covered is not looked for: see `coverage`.

        Raises:
            RedactionFailed: the scan failed or took too long; nothing may be written then.
        """
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                engine = await asyncio.to_thread(self._open)
            found = await self._scan(engine, texts, Wanted(entities, frozenset(countries)))
            wanted = [one for one in known if one.entity in entities]
            return await self._add(found, texts, wanted) if wanted else found
        except RedactionFailed:
            raise
        except ConfigurationError as error:
            raise RedactionFailed(error.message) from error
        except TimeoutError:
            raise RedactionFailed(
                f"looking for personal data took longer than {self._timeout:g} s, or Presidio longer than"
                f" {_LOAD_SECONDS:g} s to load: keep shorter texts, or raise the limit"
            ) from None
        except (Exception, SystemExit) as error:
            # The text of the error may quote what was scanned, so that only its type is told.
            raise RedactionFailed(f"Presidio failed with {type(error).__name__}: nothing was written") from None

    async def prove(self, entities: Iterable[str], *, least: Callable[[str], float] | None = None) -> Coverage:
        """Load what is needed, and find a known sample of each of these entity types.

        Args:
            entities: What is promised.
            least: From which score on a finding of a type counts; None where every finding does.

        Raises:
            ConfigurationError: one of them cannot be found here, no finding of one counts, or the model is not
                installed.
            RedactionFailed: Presidio cannot be loaded, or does not find a known sample.
        """
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                engine = await asyncio.to_thread(self._open)
        except TimeoutError:
            raise RedactionFailed(f"Presidio takes longer than {_LOAD_SECONDS:g} s to load") from None
        coverage = self.coverage(entities)
        if coverage.uncovered:
            raise ConfigurationError(
                f"the policy promises to find {', '.join(coverage.uncovered)}, which {coverage.engine} cannot find: "
                "install a model that does, and name it in STATEWARD_NER_MODEL, or let the policy's personal_data"
                " allow it"
            )
        if least is not None:
            await asyncio.to_thread(_check_scores, engine, {entity: least(entity) for entity in coverage.covered})
        return coverage

    async def _scan(self, engine: _Engine, texts: Sequence[str], wanted: Wanted) -> list[list[Finding]]:
        digests = [self._digest(text, wanted) for text in texts]
        missing = {d: text for d, text in zip(digests, texts, strict=True) if d not in self._known}
        found = {digest: self._known[digest] for digest in digests if digest not in missing}
        if missing:
            deadline = time.monotonic() + self._timeout
            async with asyncio.timeout(self._timeout):
                fresh = await asyncio.to_thread(_find_all, engine, missing, wanted, deadline)
            # Kept only here: a scan that ran out of time must not be remembered as one that found nothing.
            self._remember(fresh)
            found |= fresh
        return [list(found[digest]) for digest in digests]

    async def _add(
        self, found: list[list[Finding]], texts: Sequence[str], known: Sequence[KnownValue]
    ) -> list[list[Finding]]:
        async with asyncio.timeout(self._timeout):
            more = await asyncio.to_thread(lambda: [matches(text, known) for text in texts])
        return [[*one, *other] for one, other in zip(found, more, strict=True)]

    def _digest(self, text: str, wanted: Wanted) -> bytes:
        head = " ".join([*sorted(wanted.entities), "/", *sorted(wanted.countries)])
        return hashlib.blake2b(
            f"{head}\n{text}".encode(errors="surrogatepass"), key=self._secret, digest_size=32
        ).digest()

    def _remember(self, fresh: Mapping[bytes, list[Finding]]) -> None:
        self._known.update(fresh)
        for digest in list(self._known)[: max(0, len(self._known) - _CACHED_TEXTS)]:
            self._known.pop(digest, None)

    def _open(self) -> _Engine:
        with self._opening:
            if self._engine is None:
                self._engine = _open_engine(self._model, self._language, self._timeout)
            return self._engine

    def _model_name(self) -> str:
        return "no name model" if self._model is None else f"names by {Path(self._model).name}"


class Wanted(NamedTuple):
    """What to look for, and how phone numbers are written."""

    entities: frozenset[str]
    countries: frozenset[str]


class _Hit(Protocol):
    entity_type: str
    start: int
    end: int
    score: float


class _Recognizer(Protocol):
    def analyze(self, *, text: str, entities: list[str], nlp_artifacts: object) -> list[_Hit] | None: ...


class _Registry(Protocol):
    def get_recognizers(self, *, language: str, entities: list[str]) -> list[_Recognizer]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Engine:
    """Presidio's recognizers, loaded and proven."""

    registry: _Registry
    names: NameModel | None
    language: str
    chosen: dict[tuple[str, ...], Sequence[_Recognizer]] = field(
        default_factory=dict[tuple[str, ...], "Sequence[_Recognizer]"]
    )

    @property
    def labels(self) -> frozenset[str]:
        """The entity types that the name model finds."""
        return self.names.labels if self.names else frozenset()

    @property
    def covered(self) -> frozenset[str]:
        """The entity types that are looked for, if only in part."""
        return _FLOOR | self.labels

    def find(self, text: str, asked: Wanted, deadline: float) -> list[Finding]:
        """The findings of one text."""
        wanted = sorted(asked.entities & self.covered)
        if not wanted or not text.strip():
            return []
        recognizers = self._recognizers(wanted, text)
        found: set[Finding] = set()
        for low, high, owned in _chunks(len(text)):
            if time.monotonic() > deadline:
                raise TimeoutError
            piece = text[low:high]
            hits = self._hits(piece, recognizers, wanted)
            found.update(
                finding
                for hit in hits
                if low + hit.start in owned
                for finding in _judged(text, low, hit, asked.countries)
            )
            found.update(finding for finding in _by_rules(piece, low, wanted) if finding.start in owned)
        found.update(one for one in fields(text) if one.entity in wanted)
        if "PERSON" in wanted:
            found -= _of_things(text, found)
            found.update(_again(text, found))
        return sorted(_widest(found), key=lambda f: (f.start, f.end, f.entity))

    def model_finds(self, text: str, entity: str) -> bool:
        """Whether the name model alone finds the entity type in a text."""
        return any(True for _ in self._hits(text, self._recognizers([entity], text), [entity]))

    def _recognizers(self, wanted: Sequence[str], text: str) -> Sequence[_Recognizer]:
        """Those of Presidio's that can find something in a text; it refuses to be asked for what it does not have."""
        folded = (
            text.casefold().replace("ı", "i").replace("i\u0307", "i")
        )  # as a pattern takes it that knows no difference of case
        theirs = tuple(
            one for one in wanted if one in self.labels or ((rule := RULES.get(one)) and rule.may_be_in(folded))
        )
        if theirs and theirs not in self.chosen:
            self.chosen[theirs] = self.registry.get_recognizers(language=self.language, entities=list(theirs))
        return self.chosen[theirs] if theirs else ()

    def _hits(self, text: str, recognizers: Sequence[_Recognizer], wanted: list[str]) -> Iterator[_Hit]:
        pipeline = self.names.pipeline if self.names and self.labels & set(wanted) else None
        read = pipeline.process_text(text, self.language) if pipeline else None
        for recognizer in recognizers:
            for hit in recognizer.analyze(text=text, entities=wanted, nlp_artifacts=read) or ():
                if hit.entity_type in wanted:
                    yield hit


def _find_all(
    engine: _Engine, texts: Mapping[bytes, str], wanted: Wanted, deadline: float
) -> dict[bytes, list[Finding]]:
    return {digest: engine.find(text, wanted, deadline) for digest, text in texts.items()}


def _chunks(length: int) -> Iterator[tuple[int, int, range]]:
    """Overlapping pieces, each with the starts that it answers for.

    Presidio compares every hit with every other to remove duplicates, which makes one long text quadratic.
    """
    low = 0
    while True:
        high = min(low + _CHUNK, length)
        last = high == length
        yield low, high, range(low + _MARGIN if low else 0, length if last else high - _MARGIN)
        if last:
            return
        low = high - 2 * _MARGIN


def _by_rules(piece: str, offset: int, wanted: Iterable[str]) -> Iterator[Finding]:
    for entity in wanted:
        find = FINDERS[entity].find if entity in FINDERS else IN_WORDS.get(entity)
        if find:
            for start, end, score in find(piece):
                yield Finding(entity=entity, start=offset + start, end=offset + end, score=score)


def _of_things(text: str, found: Iterable[Finding]) -> set[Finding]:
    """What is only like a name, where a key or a column says that a thing is named."""
    doubtful = [one for one in found if one.entity == "PERSON" and one.score <= LIKELY]
    begins = {low for low, _ in things(text)} if doubtful else set[int]()
    return {one for one in doubtful if one.start in begins}


def _again(text: str, found: Iterable[Finding]) -> list[Finding]:
    """The people of a text where it names them again."""
    people = [(one.start, one.end, one.score) for one in found if one.entity == "PERSON"]
    return [Finding(entity="PERSON", start=low, end=high, score=score) for low, high, score in mentions(text, people)]


def _widest(found: Iterable[Finding]) -> Iterator[Finding]:
    """Those that do not stand within another of their type that is as sure."""
    kept: dict[str, Finding] = {}
    for one in sorted(found, key=lambda f: (f.start, -f.end, -f.score)):
        wider = kept.get(one.entity)
        if wider is None or one.end > wider.end or one.score > wider.score:
            yield one
        if wider is None or one.end > wider.end:
            kept[one.entity] = one


def _judged(text: str, offset: int, hit: _Hit, countries: frozenset[str]) -> Iterator[Finding]:
    rule = RULES.get(hit.entity_type)
    start, end = offset + hit.start, offset + hit.end
    for low, high in rule.judge(text, start, end, countries) if rule else [(start, end)]:
        yield Finding(entity=hit.entity_type, start=low, end=high, score=max(float(hit.score), _ACCEPTED_SCORE))


def _open_engine(model: str | Path | None, language: str, timeout_seconds: float) -> _Engine:
    try:
        _check_limit(timeout_seconds)
        with _without_news():
            names = None if model is None else load(str(model), language)
            registry = _registry(language, names)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:  # spaCy's command line calls sys.exit where it fails
        raise RedactionFailed(f"Presidio cannot be loaded ({type(error).__name__}: {error})") from error
    engine = _Engine(registry=registry, names=names, language=language)
    _prove(engine)
    return engine


@contextmanager
def _without_news() -> Generator[None]:
    """Presidio logs a line for each recognizer that it loads, which says nothing to whoever runs an agent."""
    log = logging.getLogger("presidio-analyzer")

    def warns(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    log.addFilter(warns)
    try:
        yield
    finally:
        log.removeFilter(warns)


def _check_limit(timeout_seconds: float) -> None:
    limit = getattr(import_module("presidio_analyzer.pattern_recognizer"), "REGEX_TIMEOUT_SECONDS", 60)
    if timeout_seconds >= float(limit):
        raise ConfigurationError(
            f"timeout_seconds is {timeout_seconds:g}, but Presidio silently skips a pattern after {limit} s:"
            " choose a shorter time, or raise REGEX_TIMEOUT_SECONDS"
        )


def _registry(language: str, names: NameModel | None) -> _Registry:
    presidio = cast("Any", import_module("presidio_analyzer"))
    stock = cast("Any", import_module("presidio_analyzer.predefined_recognizers"))
    recognizers = [
        presidio.PatternRecognizer(
            supported_entity=entity,
            supported_language=language,
            name=f"Stateward {entity}",
            patterns=[presidio.Pattern(entity, pattern, 1.0 if entity in CHECKED else _ACCEPTED_SCORE)],
        )
        for entity, pattern in OWN_PATTERNS.items()
    ]
    for name in STOCK_RECOGNIZERS:
        recognizer = getattr(stock, name)(supported_language=language)
        # As Presidio's own loader does; made by hand, they miss what is in small letters.
        recognizer.global_regex_flags = re.DOTALL | re.MULTILINE | re.IGNORECASE
        recognizers.append(recognizer)
    if names:
        recognizers.append(names.recognizer)
    return cast("_Registry", presidio.RecognizerRegistry(recognizers=recognizers, supported_languages=[language]))


def _prove(engine: _Engine) -> None:
    """Find a known sample of every entity type: what is claimed and dead would let everything through."""
    for entity in sorted(engine.covered):
        try:
            live = _is_live(engine, entity)
        except Exception as error:
            raise RedactionFailed(f"looking for {entity} fails ({type(error).__name__}: {error})") from error
        if not live:
            raise RedactionFailed(f"{entity} is not found in a known sample: check Presidio and its model")


def _is_live(engine: _Engine, entity: str) -> bool:
    """Whether each thing that looks for the entity type finds its sample: rules do not speak for a model."""
    if (floor := _floor(entity)) and not _found(engine, entity, floor.canary):
        return False
    return entity not in engine.labels or any(engine.model_finds(sample, entity) for sample in _NAME_CANARIES)


def _check_scores(engine: _Engine, least: Mapping[str, float]) -> None:
    """Refuse a threshold that no sample reaches: what was promised would be found, and kept in clear all the same."""
    for entity, wanted in sorted(least.items()):
        if wanted <= _ACCEPTED_SCORE:
            continue
        samples = [*_NAME_CANARIES, *([floor.canary] if (floor := _floor(entity)) else [])]
        best = max((one.score for sample in samples for one in _found(engine, entity, sample)), default=0.0)
        if best < wanted:
            raise ConfigurationError(
                f"the policy promises to find {entity}, but no finding of it counts from {wanted:g} on: a sure one has"
                f" {best:.2g} here. Lower the threshold in memory.detection, or let personal_data allow it"
            )


def _floor(entity: str) -> Rule | Finder | None:
    return RULES.get(entity) or FINDERS.get(entity)


def _found(engine: _Engine, entity: str, sample: str) -> list[Finding]:
    return engine.find(sample, Wanted(frozenset({entity}), frozenset(COUNTRIES)), float("inf"))
