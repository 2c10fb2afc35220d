"""Whoever is named in full is found again by a part of the name, and so is whom an address names."""

from __future__ import annotations

import pytest

from stateward.adapters.detection.mentions import mentions
from stateward.adapters.detection.name_lists import LIKELY, LONE, Named


def again(text: str, *people: str, score: float = LIKELY) -> list[str]:
    found: list[Named] = [(text.index(one), text.index(one) + len(one), score) for one in people]
    return [text[start:end] for start, end, _ in mentions(text, found)]


@pytest.mark.parametrize(
    ("text", "person", "later"),
    [
        ("Present: Sarah Qorvan. Qorvan to check; Sarah agreed.", "Sarah Qorvan", ["Qorvan", "Sarah"]),
        ("QORVAN, Ivo signed. Qorvan's copy", "QORVAN, Ivo", ["Qorvan"]),
        ("rachel qorvan wrote, and rachel waits", "rachel qorvan", ["rachel"]),
        ("Jan van Qorvan came; the van is here, van", "Jan van Qorvan", []),
        ("Will Qorvan came. Will it rain?", "Will Qorvan", []),
        ("Kevin Qorvan of Qorvan Roofing, qorvan.com, Qorvan@x, the Qorvan line", "Kevin Qorvan", []),
    ],
)
def test_parts_of_a_name_are_found_again(text: str, person: str, later: list[str]) -> None:
    assert again(text, person) == later


def test_a_name_that_is_alone_and_in_doubt_names_nobody_else() -> None:
    assert again("Anna came. Anna left.", "Anna", score=LONE) == []


def test_an_address_names_people_and_no_desks() -> None:
    assert again("mail keiko-tanaka@example.org, copy Keiko") == ["Keiko"]
    assert again("mail q.blyxten@example.org and ask Blyxten") == []
    assert again("mail qorva.blyxten@example.org and ask Blyxten") == ["Blyxten"]
    assert again("mail service.desk@example.org, Service Desk; jira@example.org, Jira; example@example.org") == []


def test_people_without_end_are_answered() -> None:
    letters = "abcdefghiklmnoprstuvz"
    names = [f"Qorv{a}{b}{c}{d}" for a in letters for b in letters for c in letters for d in "aeiou"]
    text = " ".join(f"{one} Blyxt" for one in names)
    found: list[Named] = [(at, at + 14, LIKELY) for at in range(0, len(text), 15)]
    assert len(mentions(f"{text}. Then {names[7]} left", found)) == 1
