"""Name models of transformers and GLiNER: found beside the rules, never downloaded, and never silent where they fail.

The libraries are large and not installed here. Packages that stand in for them have their signatures; what is tested is
the way from a setting through Presidio's own recognizers to a finding.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRANSFORMERS = """
import re
from types import SimpleNamespace


class _There:
    @classmethod
    def from_pretrained(cls, model, *, local_files_only=False):
        assert local_files_only, "this would download it"
        if not model.startswith("/"):
            raise OSError(f"{model} is not in the cache")
        labels = ["O", "B-MISC", "I-MISC"] if "nameless" in model else ["O", "B-PER", "I-PER", "B-ORG", "B-LOC"]
        return SimpleNamespace(config=SimpleNamespace(id2label=dict(enumerate(labels))))


class AutoModelForTokenClassification(_There): ...
class AutoTokenizer(_There): ...


WORDS = {"PER": r"John Smith|Barack Obama|Quux Zyx", "ORG": "Microsoft Corporation|Google", "LOC": "London|Paris"}


def pipeline(task, *, model, tokenizer, aggregation_strategy, device):
    assert task == "token-classification" and aggregation_strategy == "simple"

    def read(text):
        assert len(text) <= 512, "a token classifier cuts off what is longer"
        if "explode" in text:
            raise RuntimeError(text)
        return [
            {"entity_group": label, "score": 0.9, "word": found[0], "start": found.start(), "end": found.end()}
            for label, words in WORDS.items()
            for found in re.finditer(words, text)
        ]

    return read
"""
GLINER = """
import re

WORDS = {"person": r"John Smith|Barack Obama|Quux Zyx", "organization": "Microsoft Corporation", "location": "London"}


class GLiNERConfig: ...


class GLiNER:
    @classmethod
    def from_pretrained(cls, model, *, map_location, load_onnx_model, onnx_model_file, local_files_only=False):
        assert local_files_only, "this would download it"
        if not model.startswith("/"):
            raise FileNotFoundError(model)
        return cls()

    def predict_entities(self, text, labels, flat_ner, threshold, multi_label):
        if "explode" in text:
            raise RuntimeError(text)
        return [
            {"label": label, "score": 0.9, "text": found[0], "start": found.start(), "end": found.end()}
            for label in labels
            for found in re.finditer(WORDS.get(label, "(?!)"), text)
        ]
"""
TORCH = """
from types import SimpleNamespace

cuda = SimpleNamespace(is_available=lambda: False, device_count=lambda: 0)
backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
"""
SCAN = """
import asyncio, json, logging, sys
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.errors import StatewardError

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
model, text, entities = json.loads(sys.argv[1])
redactor = PresidioRedactor(ner_model=model)
try:
    (found,) = asyncio.run(redactor.scan([text], entities=frozenset(entities)))
    said = [[one.entity, text[one.start : one.end]] for one in found]
    print(json.dumps([said, redactor.coverage(entities).engine]))
except StatewardError as error:
    print(json.dumps([type(error).__name__, error.message]))
"""
EVERYTHING = ("PERSON", "LOCATION", "ORGANIZATION")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that stand in for the libraries."""
    folder = tmp_path_factory.mktemp("packages")
    for name, text in (("transformers", TRANSFORMERS), ("gliner", GLINER), ("torch", TORCH)):
        (folder / f"{name}.py").write_text(text)
    return folder


def scanned(model: str, text: str, *entities: str, packages: Path | None = None) -> tuple[Any, str, str]:
    """What a process of its own finds, or the error's name; what it says of it; and all that it logs."""
    run = subprocess.run(
        [sys.executable, "-c", SCAN, json.dumps([model, text, entities])],
        env={"PYTHONPATH": ":".join([str(packages or ""), *sys.path]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout, run.stderr
    found, said = json.loads(run.stdout)
    return found, said, run.stderr


@pytest.mark.parametrize("kind", ["transformers", "gliner"])
def test_its_names_are_found_beside_those_of_the_rules(installed: Path, kind: str) -> None:
    text = f"{'Quux Zyx of Microsoft Corporation. ' * 40}Dear Mrs Miller, quux zyx."
    found, engine, _ = scanned(f"{kind}:/models/names", text, *EVERYTHING, packages=installed)
    assert found.count(["PERSON", "Quux Zyx"]) == 40
    assert found.count(["ORGANIZATION", "Microsoft Corporation"]) == 40
    assert ["PERSON", "Miller"] in [[one[0], one[1].removeprefix("Mrs ")] for one in found]
    assert "names by names" in engine


@pytest.mark.parametrize("kind", ["transformers", "gliner"])
def test_where_it_fails_the_scan_fails_and_nothing_tells_the_text(installed: Path, kind: str) -> None:
    found, said, logged = scanned(f"{kind}:/models/names", "let it explode, Hilde", *EVERYTHING, packages=installed)
    assert (found, "Hilde" in said, "Hilde" in logged) == ("RedactionFailed", False, False)


@pytest.mark.parametrize("kind", ["transformers", "gliner"])
def test_a_model_that_is_not_here_is_not_fetched(installed: Path, kind: str) -> None:
    found, said, _ = scanned(f"{kind}:some/name", "x", "PERSON", packages=installed)
    assert found == "RedactionFailed"
    assert "cannot be loaded from this machine" in said
    assert "some/name" in said


def test_a_model_that_finds_no_names_is_refused(installed: Path) -> None:
    found, said, _ = scanned("transformers:/models/nameless", "x", "PERSON", packages=installed)
    assert (found, "finds no names" in said) == ("RedactionFailed", True)


@pytest.mark.parametrize(("kind", "install"), [("transformers", "transformers torch"), ("gliner", "gliner")])
def test_without_the_library_it_says_how_to_install_it(kind: str, install: str) -> None:
    try:
        __import__(kind)
    except ImportError:
        found, said, _ = scanned(f"{kind}:/models/names", "x", "PERSON")
        assert (found, f"pip install {install}" in said) == ("RedactionFailed", True)
    else:
        pytest.skip(f"{kind} is installed")
