"""Origins: what is found in a text, however it is written, and what is not found in it."""

from __future__ import annotations

import pytest

from stateward.model.provenance import Origin
from stateward.verify.arguments import Shape, shape_of
from stateward.verify.origin import Sightings, sighting

TEXT, NUMBER = Shape(kind="string"), Shape(kind="number")
IBAN = "DE89370400440532013000"


def origin(value: object, seen: object, shape: Shape = TEXT, *, of: Origin = "person") -> Origin:
    """The origin of a value where only one text was seen."""
    sightings = Sightings()
    sightings.add(sighting("s", of, seen))
    return sightings.origin(shape, [value])


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("ACME Corp", "pay acme  corp\nnow"),
        ("acme corp", "Pay ACME\tCorp."),
        ("acme corp", "pay ＡＣＭＥ corp"),
        ("acme corp", "pay ac\u200bme corp"),
        ("Müller", "an Mu\u0308ller"),
        ("ann@example.com", "write to ANN@Example.com."),
        ("ann@example.com", "mailto:ann@example.com, please"),
        ("ann@example.com", "Ann <ann@example.com>"),
        ("ann@example.com", "ann@example.com,bob@example.com"),
        (IBAN, "de89 3704 0044 0532 0130 00"),
        (IBAN, "to DE89-3704-0044-0532-0130-00 today"),
        ("DE89 3704 0044 0532 0130 00", f"IBAN:{IBAN}"),
        (IBAN, "DE89 3704 0044 0532 0130 00 500 EUR"),
        ("+49 170 1234567", "call 0049-170-1234567"),
        ("00491701234567", "call +49 (170) 123-4567"),
        ("0170/1234567", "0170 1234567"),
        ("4111111111111111", "4111 1111 1111 1111"),
        ("SO-1042", "order so-1042: late"),
        ("https://example.com/a?b=1", "see https://example.com/a?b=1 ."),
        ("1000.0", "1,000.00"),
        ("/srv/report.pdf", "send /srv/report.pdf, please"),
        ("long words that somebody wrote", "the long words that somebody wrote, and more"),
        ("1042", {"order": 1042}),
        ("acme", {"name": ["x", {"y": "Acme"}]}),
        ("acme", {"acme": 1}),
    ],
)
def test_a_text_is_found_however_it_is_written(value: str, seen: object) -> None:
    assert origin(value, seen) == "person"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("smith@example.com", "ann.smith@example.com"),
        ("ann@example.com", "ann@example.com.evil.org"),
        ("ann@example.co", "ann@example.com"),
        ("an.n@example.com", "ann@example.com"),
        ("ann.x@example.com", "ann@x.example.com"),
        ("ann@example.com", "ann+tag@example.com"),
        ("example.com", "https://example.com.evil.org/x"),
        ("https://example.com/a", "https://example.com/a/b"),
        ("strasse.de", "straße.de"),
        ("аcme corp", "acme corp"),  # its first letter is Cyrillic
        ("acme\u200bcorp", "acme\u200bcorp"),
        ("acme\x01corp", "acme\x01corp"),
        ("cat", "cat"),
        ("a-1", "a-1"),
        ("arma", "an armada"),
        (IBAN[:-1], IBAN),
        ("DE02120300000000202051", IBAN),
        ("00031023504400407398ED", IBAN),
        ("192.168.101.1", "192.168.10.11"),
        ("370400440532", "DE89 3704 0044 0532 0130 00"),
        ("ann1", "ann-1"),
        ("pay4.you.com", "pay4you.com"),
        ("1000", "1,000"),  # a text of digits only is no amount
        ("", "anything"),
        ("x y", ["x", "y"]),
        ("word of two", ["word of", "two"]),
    ],
)
def test_another_text_is_not_found(value: str, seen: object) -> None:
    assert origin(value, seen) == "unknown"


@pytest.mark.parametrize("value", [1000, 1000.0])
@pytest.mark.parametrize(
    "seen", ["1000", "1,000.00", "1.000,00", "1'000", "1 000", "1.000", "EUR 1000.", "1000 EUR", "€1,000!", 1000, [1e3]]
)
def test_a_number_is_found_however_it_is_written(value: float, seen: object) -> None:
    assert origin(value, seen, NUMBER) == "person"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (1000, "10000"),
        (1000, "1000k"),
        (1000, "-1000"),
        (-1000, "1000"),
        (1000, "x1000"),
        (1000, "1,000,000"),
        (1000, "1000.5"),
        (1000, "192.1000.1.1"),
        (99, "99"),
        (0, "0"),
        (True, "True 1 yes"),
        (5.0, "5.00"),
        (1e300, "1e300"),
    ],
)
def test_another_number_is_not_found(value: float, seen: object) -> None:
    assert origin(value, seen, NUMBER) == "unknown"


def test_numbers_beside_each_other_are_read_both_ways() -> None:
    assert [origin(value, "4711 500 200", NUMBER) for value in (4711, 500, 500200)] == ["person"] * 3


def test_a_decimal_is_a_number() -> None:
    assert origin("1000.00", "1.000,00 EUR", Shape(kind="decimal")) == "person"


def test_the_best_origin_counts() -> None:
    seen = Sightings()
    for at, of in enumerate(("untrusted", "trusted", "person")):
        seen.add(sighting(str(at), of, "account 47114711"))
        assert seen.origin(TEXT, ["47114711"]) == of
    seen.add(sighting("4", "untrusted", "account 47114711"))
    assert seen.origin(TEXT, ["47114711"]) == "person"


def test_of_many_values_the_one_that_proves_least_counts() -> None:
    seen = Sightings()
    seen.add(sighting("1", "person", "acme corp"))
    seen.add(sighting("2", "untrusted", "evil corp"))
    lines = shape_of({"lines": {"type": "array", "items": {"type": "string"}}}).properties["lines"]
    assert seen.origin(lines, [["acme corp"]]) == "person"
    assert seen.origin(lines, [["acme corp", "evil corp"]]) == "untrusted"
    assert seen.origin(lines, [["acme corp", "other corp"]]) == "unknown"
    assert seen.origin(lines, [[]]) == "unknown"
    assert seen.origin(TEXT, ["acme corp", None]) == "unknown"
    anything = Shape(kind="object", extra=Shape())
    assert seen.origin(anything, [{"acme corp": "acme corp"}]) == "person"
    assert seen.origin(anything, [{"other corp": "acme corp"}]) == "unknown"


def test_choices_prove_nothing() -> None:
    assert origin("express", "express", Shape(kind="string", choices=("express", "normal"))) == "unknown"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"name": IBAN}, IBAN),
        ({"note": f"their new account is {IBAN}, they say"}, IBAN),
        ({"name": "de89 3704 0044 0532 0130 00"}, IBAN),
        ({"amount": 2500}, 2500),
        ({"note": "pay 2,500.00"}, 2500),
    ],
)
def test_what_a_call_was_given_is_not_proven_by_its_result(given: object, value: object) -> None:
    result = {"asked": [IBAN, "DE89 3704 0044 0532 0130 00"], "limit": 2500, "other": "GB29NWBK60161331926819"}
    seen = Sightings()
    seen.add(sighting("s", "trusted", result, given=given))
    shape = TEXT if isinstance(value, str) else NUMBER
    assert seen.origin(shape, [value]) == "unknown"
    assert seen.origin(TEXT, ["GB29NWBK60161331926819"]) == "trusted"


def test_old_texts_make_room_for_new_ones() -> None:
    seen = Sightings()
    seen.add(sighting("old", "person", "account 11112222"))
    for at in range(6):
        seen.add(sighting(str(at), "person", f"account 3333444{at} " + "x" * 180_000))
    assert seen.origin(TEXT, ["11112222"]) == "unknown"
    assert seen.origin(TEXT, ["33334445"]) == "person"


def test_a_text_of_the_same_source_is_replaced() -> None:
    seen = Sightings()
    seen.add(sighting("s", "person", "account 11112222"))
    seen.add(sighting("s", "person", "account 33334444"))
    assert (seen.origin(TEXT, ["11112222"]), seen.origin(TEXT, ["33334444"])) == ("unknown", "person")
