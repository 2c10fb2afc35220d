"""What is known of the people of a case is found in every way in which it is written, and nothing else is."""

from __future__ import annotations

import pytest

from stateward.adapters.detection.known_values import matches
from stateward.errors import ConfigurationError
from stateward.model.memory import KnownValue
from stateward.personal_data.known import known_values


def found(text: str, **values: str) -> list[str]:
    known = [KnownValue(entity=entity, value=value) for entity, value in values.items()]
    spans = sorted({(one.start, one.end) for one in matches(text, known)}, key=lambda s: (s[0], -s[1]))
    widest: list[tuple[int, int]] = []
    for start, end in spans:
        if not widest or start >= widest[-1][1]:
            widest.append((start, end))
    return [text[start:end] for start, end in widest]


@pytest.mark.parametrize(
    "written",
    [
        "Zoë Quarles-Brück",
        "ZOE QUARLES-BRUCK",
        "zoe quarles-bruck",
        "Quarles-Brück, Zoë",
        "Z. Quarles-Brück",
        "Zoë Q.",
        "Z.Q.",
        "Quarles-Brück",
        "Brück",
        "Zoë",
        "zoë",
        "zoe.quarles-bruck",
        "zoe_quarles-bruck",
        "ZoëQuarles-Brück",
        "zquarles-bruck",
    ],
)
@pytest.mark.parametrize("given", ["Zoë Quarles-Brück", "Quarles-Brück, Zoë", "Zoe Quarles-Bruck"])
def test_a_name_is_found_however_it_is_written(written: str, given: str) -> None:
    assert found(f"I met {written} there, and paid.", PERSON=given) == [written]


@pytest.mark.parametrize(
    "written", ["Ludwig van den Berg", "van den Berg, Ludwig", "L. van den Berg", "Ludwig Berg", "van den Berg Ludwig"]
)
def test_particles_go_along(written: str) -> None:
    assert found(f"see {written}!", PERSON="Ludwig van den Berg") == [written]


@pytest.mark.parametrize(
    "written", ["Maria Jose Ortega", "Maria Ortega", "Ortega, Maria Jose", "Ortega, Maria", "M. Ortega"]
)
def test_a_second_name_may_be_there_or_not(written: str) -> None:
    assert found(f"see {written}!", PERSON="Maria Jose Ortega") == [written]


@pytest.mark.parametrize("written", ["Juergen Mueller", "MUELLER, JUERGEN", "jmueller", "Müller", "Muller"])
@pytest.mark.parametrize("given", ["Jürgen Müller", "JU\u0308RGEN MU\u0308LLER"])
def test_an_umlaut_may_be_spelt_out(written: str, given: str) -> None:
    assert found(f"see {written}!", PERSON=given) == [written]
    assert found("Søren Ågaard; soeren aagaard", PERSON="Søren Ågaard") == ["Søren Ågaard", "soeren aagaard"]


def test_an_ordinary_word_is_a_name_only_with_a_capital_within_a_sentence() -> None:
    text = "Will it rain? May we ask Will if May may come, as it will? Bill will pay the bill that Bill got."
    assert found(text, PERSON="Will May") == ["Will", "May"]
    assert [one.start for one in matches(text, [KnownValue(entity="PERSON", value="Will May")])] == [25, 33]
    assert found(text, PERSON="Bill") == ["Bill"]
    assert found("talk to will may, or WILL MAY", PERSON="Will May") == ["will may", "WILL MAY"]


def test_nothing_within_a_word_is_found() -> None:
    assert found("Annabel, Johanna, Annas, Susanna", PERSON="Anna Li") == []
    assert found("a list, Ali, li; but Mr Li", PERSON="Anna Li") == ["Li"]


@pytest.mark.parametrize("given", ["+44 20 7946 0958", "0044 (0)20 7946 0958", "020 7946 0958", "02079460958"])
@pytest.mark.parametrize(
    "written", ["+442079460958", "020 7946 0958", "20-7946-0958", "(020) 7946 0958", "0044 20 7946 0958"]
)
def test_a_phone_number_is_its_digits(given: str, written: str) -> None:
    assert found(f"ring {written} now", PHONE_NUMBER=given) == [written]


def test_digits_within_a_longer_number_are_none() -> None:
    assert found("order 992079460958, 20794609581", PHONE_NUMBER="+44 20 7946 0958") == []


@pytest.mark.parametrize(
    ("entity", "given", "written"),
    [
        ("IBAN_CODE", "DE89370400440532013000", "de89 3704 0044 0532 0130 00"),
        ("EMAIL_ADDRESS", "Jane@Corp.Example", "jane@corp.example"),
        ("CUSTOMER_NUMBER", "C-0012345", "c 0012345"),
        ("LOCATION", "Hauptstraße 5", "HAUPTSTRASSE 5"),
    ],
)
def test_anything_else_is_found_by_its_signs(entity: str, given: str, written: str) -> None:
    assert found(f"of {written} here", **{entity: given}) == [written]


def test_places_are_right_where_folding_changes_the_length() -> None:
    text = "ﬁßß Æ Straße ﬁ: Jürgen Weiß, JÜRGEN WEISS"
    assert found(text, PERSON="Jürgen Weiß") == ["Jürgen Weiß", "JÜRGEN WEISS"]


@pytest.mark.parametrize("value", ["(", "a.*b", "\\", "[x", "Jane (Jo) Doe", "O'Brien", "..", ",", "- -"])
def test_any_text_may_be_a_value(value: str) -> None:
    for entity in ("PERSON", "PHONE_NUMBER", "EMAIL_ADDRESS"):
        matches(f"x {value} y", [KnownValue(entity=entity, value=value)])


@pytest.mark.parametrize(
    ("values", "said"),
    [({"person": "Jane"}, "no entity type"), ({"PERSON": "x" * 201}, "201 characters"), ({"PERSON": [17]}, "is a int")],
)
def test_what_is_none_is_refused_without_quoting_it(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        known_values(values)  # type: ignore[arg-type]
    assert "xxx" not in str(refused.value)


def test_what_is_empty_is_left_out_and_nothing_is_twice() -> None:
    assert known_values({"PERSON": ["", " ", "Jane  Doe", "Jane Doe"], "PHONE_NUMBER": ""}) == (
        KnownValue(entity="PERSON", value="Jane Doe"),
    )


def test_a_known_value_does_not_show_itself() -> None:
    assert "Jane" not in repr(KnownValue(entity="PERSON", value="Jane Doe"))


@pytest.mark.parametrize("between", [", ", " ", " <", ",\n"])
def test_a_name_ends_before_the_address_that_begins_with_it(between: str) -> None:
    text = f"write to Zoe Quirke{between}zoe@example.org, or to zoe.quirke@example.org"
    spans = {(one.start, one.end) for one in matches(text, [KnownValue(entity="PERSON", value="Zoë Quirke")])}
    address = text.index("zoe@")
    assert not any(start < address < end for start, end in spans)
    assert {(9, 19), (address, address + 3), (text.index("zoe.q"), text.index("zoe.q") + 10)} <= spans
