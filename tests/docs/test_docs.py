"""The documents agree with each other and with the code: navigation, links, names, cited files, and the built site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import stateward
from stateward.model.policy import AnswerRule, AskRule, Budget, Identity, MemoryKind, PolicyDocument, Price, ToolRule

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AT_ROOT = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]

_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CITED = re.compile(r"`(?P<path>(?:src|tests|graphs|docs)/[\w./*-]+)`")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class _Yaml(yaml.SafeLoader):
    """Reads `mkdocs.yml`, whose Python names only MkDocs understands."""


_Yaml.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)


def prose(path: Path) -> str:
    return _CODE.sub("", path.read_text(encoding="utf-8"))


def navigated(part: Any) -> Iterator[str]:
    match part:
        case str():
            yield part
        case list():
            for each in part:
                yield from navigated(each)
        case _:
            yield from navigated(list(part.values()))


def first_sentences(path: Path, count: int) -> list[str]:
    _, _, text = prose(path).partition("\n\n")
    return _SENTENCE_END.split(" ".join(text.split()))[:count]


def anchors(path: Path) -> set[str]:
    titles = (found["title"].lower() for found in _HEADING.finditer(prose(path)))
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}


def test_the_navigation_names_every_page_once() -> None:
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_Yaml)
    named = list(navigated(config["nav"]))
    assert sorted(named) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("name", AT_ROOT)
def test_links_lead_somewhere(name: str) -> None:
    for link in _LINK.finditer(prose(ROOT / name)):
        target, _, anchor = link["target"].partition("#")
        if target.startswith("https://"):
            continue
        path = ROOT / target if target else ROOT / name
        assert path.is_file(), f"{name} links to {link['target']}"
        assert not anchor or anchor in anchors(path), f"{name} links to {link['target']}"


@pytest.mark.parametrize("name", [*AT_ROOT, *(str(path.relative_to(ROOT)) for path in sorted(DOCS.rglob("*.md")))])
def test_cited_files_are_there(name: str) -> None:
    for cited in _CITED.finditer(prose(ROOT / name)):
        assert list(ROOT.glob(cited["path"].rstrip("/"))), f"{name} cites {cited['path']}"


def test_the_readme_and_the_index_begin_alike() -> None:
    readme, index = first_sentences(ROOT / "README.md", 3), first_sentences(DOCS / "index.md", 3)
    assert readme == index
    assert len(readme) == 3
    assert readme[0].startswith("Stateward is ")


def test_every_promise_stands_in_the_architecture_once() -> None:
    found = re.findall(r"^\| (P\d+) \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found == [f"P{number}" for number in range(1, 16)]


def test_every_attack_stands_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    missing = [path.name for path in sorted((ROOT / "tests" / "attacks").glob("test_*.py")) if path.stem not in text]
    assert not missing


def test_the_policy_page_explains_every_key() -> None:
    page = (DOCS / "policy.md").read_text(encoding="utf-8")
    parts = (PolicyDocument, Identity, ToolRule, AskRule, AnswerRule, MemoryKind, Budget, Price)
    keys = {field.alias or name for part in parts for name, field in part.model_fields.items()}
    assert not {key for key in keys if f"`{key}`" not in page and f"{key}:" not in page}


def test_the_reference_has_every_name_of_the_door() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md")))
    missing = [name for name in stateward.__all__ if not re.search(rf"\b{re.escape(name)}\b", pages)]
    assert missing in ([], ["__version__"])


def test_the_command_line_page_has_every_command() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert not [name for name in commands() if f"stateward {name}" not in page]


def commands() -> Iterator[str]:
    from typer.core import TyperGroup
    from typer.main import get_command

    from stateward.cli.app import app

    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        inner = command.commands if isinstance(command, TyperGroup) else {"": None}
        yield from (f"{name} {each}".strip() for each in inner)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        build, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "reference" / "runtime" / "index.html").is_file()
