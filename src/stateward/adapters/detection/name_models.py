"""Models that find names: a spaCy pipeline, a token classifier of Hugging Face's transformers, or GLiNER.

Each is on this machine already: nothing is downloaded. What a model cannot read is an error, never an empty answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from stateward.errors import ConfigurationError

NAMES = frozenset({"PERSON", "LOCATION", "ORGANIZATION", "NRP"})
_GLINER_LABELS = {"person": "PERSON", "location": "LOCATION", "organization": "ORGANIZATION"}
_OFFLINE = {"local_files_only": True}


class Pipeline(Protocol):
    """Presidio's wrapper of a spaCy pipeline."""

    def process_text(self, text: str, language: str) -> object:
        """What the pipeline makes of a text."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NameModel:
    """A model, loaded.

    Attributes:
        labels: The entity types of `NAMES` that it finds.
        recognizer: Finds them, for Presidio's registry.
        pipeline: Reads a text for the recognizer, where that does not do so itself.
    """

    labels: frozenset[str]
    recognizer: Any
    pipeline: Pipeline | None = None


def load(model: str, language: str) -> NameModel:
    """Load a model.

    Args:
        model: A spaCy model (`en_core_web_lg`) or its path; or `transformers:` or `gliner:` with a path, or with the
            name of a model in Hugging Face's cache on this machine.
        language: Its language (ISO 639-1).

    Raises:
        ConfigurationError: it is not on this machine, its library is not installed, or it finds no names.
    """
    kind, colon, name = model.partition(":")
    make = {"transformers": _transformers, "gliner": _gliner}.get(kind) if colon else None
    loaded = make(name, language) if make else _spacy(model, language)
    if not loaded.labels:
        raise ConfigurationError(
            f"the model {model!r} finds no names: choose one that finds {', '.join(sorted(NAMES))}"
        )
    return loaded


def _spacy(model: str, language: str) -> NameModel:
    spacy = cast("Any", import_module("spacy"))
    # Presidio would download a model that it does not find, and spaCy's download has no timeout and may exit.
    if not (spacy.util.is_package(model) or Path(model).exists()):
        raise ConfigurationError(f"the spaCy model {model!r} is not installed: install it, or give its path")
    engines = cast("Any", import_module("presidio_analyzer.nlp_engine"))
    names = engines.SpacyNlpEngine(models=[{"lang_code": language, "model_name": model}])
    names.load()
    pipeline = names.nlp[language]
    meanings = names.ner_model_configuration.model_to_presidio_entity_mapping
    found = {
        meanings.get(label, label)
        for pipe in pipeline.pipe_names
        if "doc.ents" in pipeline.get_pipe_meta(pipe).assigns
        for label in pipeline.pipe_labels.get(pipe, ())
    }
    labels = NAMES & found
    recognizer = _stock().SpacyRecognizer(supported_language=language, supported_entities=sorted(labels))
    return NameModel(labels=labels, recognizer=recognizer, pipeline=cast("Pipeline", names))


def _transformers(model: str, language: str) -> NameModel:
    library = _library("transformers", "transformers torch")
    _library("torch", "transformers torch")
    classifier = _there(model, partial(library.AutoModelForTokenClassification.from_pretrained, model, **_OFFLINE))
    tokenizer = _there(model, partial(library.AutoTokenizer.from_pretrained, model, **_OFFLINE))
    stock = _stock().HuggingFaceNerRecognizer
    meanings: Mapping[str, str] = stock.DEFAULT_LABEL_MAPPING
    labels = NAMES & {meanings.get(label, label) for label in _labels(classifier)}
    made = stock(
        model_name=classifier,
        tokenizer_name=tokenizer,
        supported_entities=sorted(labels),
        supported_language=language,
    )
    made.model_name = Path(model).name  # each finding is explained with it
    return NameModel(labels=labels, recognizer=_Loud(made))


def _labels(classifier: Any) -> Iterator[str]:
    """`B-PER` and `I-PER` as `PER`."""
    for label in classifier.config.id2label.values():
        yield str(label).removeprefix("B-").removeprefix("I-")


def _gliner(model: str, language: str) -> NameModel:
    _library("gliner", "gliner")
    make = partial(
        _stock().GLiNERRecognizer,
        entity_mapping=_GLINER_LABELS,
        model_name=model,
        supported_language=language,
        **_OFFLINE,
    )
    return NameModel(labels=frozenset(_GLINER_LABELS.values()), recognizer=_there(model, make))


class _Unread(BaseException):
    """The model failed on a text. Presidio logs any `Exception` with the text, and goes on as if nothing were found."""


class _Loud:
    """Presidio's recognizer over a pipeline of transformers, failing where the pipeline does."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer, self._pipeline = recognizer, recognizer.ner_pipeline
        recognizer.ner_pipeline = self._read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recognizer, name)

    def analyze(self, text: str, entities: list[str], nlp_artifacts: object = None) -> Any:
        """What it finds in a text.

        Raises:
            RuntimeError: the model failed; the message tells nothing of the text.
        """
        try:
            return self._recognizer.analyze(text=text, entities=entities, nlp_artifacts=nlp_artifacts)
        except _Unread as unread:
            raise RuntimeError(f"the model failed with {unread}") from None

    def _read(self, text: str) -> Any:
        try:
            return self._pipeline(text)
        except Exception as error:
            raise _Unread(type(error).__name__) from None


def _there(model: str, load_it: Callable[[], Any]) -> Any:
    try:
        return load_it()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the model {model!r} cannot be loaded from this machine ({type(error).__name__}): give the path of its"
            " folder, or put it into Hugging Face's cache first. Stateward downloads no model"
        ) from error


def _library(name: str, packages: str) -> Any:
    try:
        return cast("Any", import_module(name))
    except ImportError:
        raise ConfigurationError(f"{name} is not installed: pip install {packages}") from None


def _stock() -> Any:
    return cast("Any", import_module("presidio_analyzer.predefined_recognizers"))
