"""Names with the last name first are found by how they are written, beside one that is known."""

from __future__ import annotations

import pytest

from stateward.adapters.detection.turned_names import turned_names


def named(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in turned_names(text)]


def test_a_list_of_them_needs_one_first_name() -> None:
    row = "van den Qorv, C.J.M.; de la Blyx, Maria Inez; O'Qor, Cao; St. Blyx, Roscoe - all paid"
    assert named(row) == ["van den Qorv, C.J.M.", "de la Blyx, Maria Inez", "O'Qor, Cao", "St. Blyx, Roscoe"]
    assert named("1 Qorvan-Blyxt A. 2 Qor M. 3 de Blyx P. – reserve") == ["Qorvan-Blyxt A.", "Qor M.", "de Blyx P."]


def test_capitals_before_a_comma_or_a_slash() -> None:
    assert named("QORVANOV, Delphine  03/17") == ["QORVANOV, Delphine"]
    assert named("QORVANOV, DELPHINE") == ["QORVANOV, DELPHINE"]
    assert named('"pax":"QORV/KA LOK MR"') == ["QORV/KA LOK"]
    assert named("BORROWER  QORVANOV/DELPHINE R  SS# x") == ["QORVANOV/DELPHINE R"]


@pytest.mark.parametrize(
    "text",
    [
        "TCP/IP, AND/OR, INPUT/OUTPUT, READ/WRITE, A/B",
        "Austin, Texas; Boston, Massachusetts; Qorvan, Blyxt",
        "Qorvan, Blyxt; Stapler, Red; Lamp, Tall",
        "URGENT, Delphine; DHL, Delphine",
        "see 4 A. 5 B. 6 C.",
        "path/QORVANOV/DELPHINE/x",
    ],
)
def test_things_and_places_are_left_alone(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize("piece", ["A/", "AB, ", "Qor, B; ", "1 Qor A. ", "A'", "de la ", "Qor B; ", "A-", "AB/CD E "])
def test_text_made_to_be_slow_is_answered(piece: str) -> None:
    turned_names((piece * 20_000)[:20_000])
