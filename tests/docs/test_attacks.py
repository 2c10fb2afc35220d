"""The table of attacks is what the folder holds: every promise, every file, every attack on plain LangChain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ATTACKS = ROOT / "tests" / "attacks"
PROMISES = [f"P{number}" for number in range(1, 16)]
# What is about no promise in particular: crashes, what dies around us, and the ways in.
OTHERS = ("test_crash", "test_survival", "test_any")


def table() -> dict[str, list[str]]:
    """The rows of the table, by promise."""
    lines = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| P\d+ \|", line)]
    return {row[0]: row for row in rows}


def plain_attacks() -> dict[str, set[str]]:
    """The attacks on plain LangChain, by the promise of the file that they stand in."""
    found: dict[str, set[str]] = {promise: set() for promise in PROMISES}
    for path in ATTACKS.glob("test_p*.py"):
        found[promise_of(path)] |= set(re.findall(r"def (test_plain_\w+)", path.read_text(encoding="utf-8")))
    return found


def promise_of(path: Path) -> str:
    named = re.match(r"test_p(\d\d)_", path.name)
    assert named, f"{path.name} is not named after the promise that it attacks"
    return f"P{int(named[1])}"


def test_every_promise_has_a_row() -> None:
    assert list(table()) == PROMISES


def test_every_file_is_named_after_what_it_attacks() -> None:
    for path in ATTACKS.glob("test_*.py"):
        assert path.name.startswith(OTHERS) or promise_of(path) in PROMISES


@pytest.mark.parametrize("promise", PROMISES)
def test_a_row_names_the_files_and_every_attack_on_plain_langchain(promise: str) -> None:
    _, files, plain, _ = table()[promise]
    number = f"{int(promise[1:]):02}"
    assert files == (f"`test_p{number}_*`" if list(ATTACKS.glob(f"test_p{number}_*.py")) else "none yet")
    assert set(re.findall(r"`(test_plain_\w+)`", plain)) == plain_attacks()[promise]


def test_an_attack_on_plain_langchain_says_that_it_falls() -> None:
    for names in plain_attacks().values():
        assert all(name.endswith("_falls") for name in names)
