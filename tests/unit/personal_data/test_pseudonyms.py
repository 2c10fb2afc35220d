"""A token is read however a model writes it, put back only where it is known, and escaped where it is nobody's."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from test_treating import KEY, PatternRedactor

from stateward.errors import MemoryRefused, RedactionFailed
from stateward.model.memory import Finding, KnownValue
from stateward.model.pseudonym import Pseudonym
from stateward.personal_data.normal import normal
from stateward.personal_data.pseudonyms import Key, Tokens, hidden
from stateward.personal_data.treating import PersonalDataPolicy, treat

TOKENS = Tokens(entities=frozenset({"PERSON", "EMAIL_ADDRESS", "X_2"}))
JANE = Pseudonym(entity="PERSON", number=1, value="Jane Doe")
MAIL = Pseudonym(entity="EMAIL_ADDRESS", number=12, value="jo@example.com")
KNOWN = {("PERSON", 1): JANE, ("EMAIL_ADDRESS", 12): MAIL}


class Fake:
    """Numbers in the order in which they come, for values in small letters."""

    def __init__(self, *issued: Key) -> None:
        self.numbers: dict[tuple[str, str], int] = {}
        self.before = set(issued)

    async def issue(self, values: Sequence[KnownValue]) -> list[int]:
        for one in values:
            self.numbers.setdefault((one.entity, normal(one.entity, one.value)), len(self.numbers) + 1)
        return [self.numbers[one.entity, normal(one.entity, one.value)] for one in values]

    async def issued(self, wanted: Collection[Key]) -> Collection[Key]:
        return self.before & set(wanted)


@pytest.mark.parametrize(
    "text",
    [
        "<PERSON_1>",
        "<person_1>",
        "<Person_01>",
        "[PERSON_1]",
        "{person_1}",
        "< PERSON 1 >",
        "<PERSON-1>",
        "<PERSON1>",
        "<PERSON\\_1>",
        "&lt;PERSON_1&gt;",
        "«PERSON_1»",
        "[ person_0001 ]",
    ],
)
def test_what_models_make_of_a_token_is_read_as_it(text: str) -> None:
    assert TOKENS.found({"a": [f"for {text}."]}) == {("PERSON", 1)}
    assert TOKENS.put_back({"a": [f"for {text}."]}, KNOWN) == {"a": ["for Jane Doe."]}


@pytest.mark.parametrize(
    "text",
    [
        "(PERSON_1)",
        "PERSON_1",
        "<PERSON>",
        "<PERSON_x>",
        "<PERSON_1",
        "<LOCATION_1>",
        "[1]",
        "<b>1</b>",
        "<PERSON_1_2>",
    ],
)
def test_other_text_is_no_token(text: str) -> None:
    assert TOKENS.found(text) == set()
    assert TOKENS.put_back(text, KNOWN) == text


def test_the_number_is_the_last_one_of_a_name_with_digits() -> None:
    assert TOKENS.found("<X_2_1> <x 2 1>") == {("X_2", 1)}


def test_what_nobody_has_issued_is_escaped_and_the_rest_is_written_properly() -> None:
    text = {"<PERSON_7>": "[person_01] and < PERSON_7 > and {email address 12}", "n": [1, None, "<PERSON_1>"]}
    settled = TOKENS.settled(text, KNOWN)
    assert settled == {
        "(PERSON_7)": "<PERSON_1> and (PERSON_7) and <EMAIL_ADDRESS_12>",
        "n": [1, None, "<PERSON_1>"],
    }
    assert TOKENS.settled(settled, KNOWN) == settled


def test_keys_that_become_alike_do_not_lose_a_value() -> None:
    assert TOKENS.settled({"<PERSON_7>": 1, "[PERSON_7]": 2, "(PERSON_7)": 3}, {}) == {
        "(PERSON_7)": 1,
        "(PERSON_7) (2)": 2,
        "(PERSON_7) (3)": 3,
    }


def test_a_value_is_hidden_however_it_is_quoted_and_no_longer_word_is_cut() -> None:
    said = {"a": "Sent to JO@example.com for jane doe", "url": "?to=jo%40example.com&for=Jane+Doe", "n": "Jane Does"}
    assert hidden(said, KNOWN.values()) == {
        "a": "Sent to <EMAIL_ADDRESS_12> for <PERSON_1>",
        "url": "?to=<EMAIL_ADDRESS_12>&for=<PERSON_1>",
        "n": "Jane Does",
    }


def test_a_long_text_of_brackets_takes_time_in_proportion() -> None:
    text = "<a " * 20_000 + "<PERSON_" * 20_000 + "[[[[" * 20_000
    assert TOKENS.found(text) == set()
    assert len(TOKENS.found("<PERSON_1> " * 50_000)) == 1


def policy(**entities: Any) -> PersonalDataPolicy:
    return PersonalDataPolicy(default="redact", entities=entities)


async def treated(value: Any, names: Any, redactor: Any = None, known: Sequence[KnownValue] = ()) -> Any:
    found = await treat(
        {"v": value},
        policy=policy(EMAIL_ADDRESS="pseudonymize", PERSON="pseudonymize", CREDIT_CARD="refuse"),
        redactor=redactor or PatternRedactor(),
        key=KEY,
        known=known,
        names=names,
    )
    return found.value["v"]


async def test_equal_values_have_one_pseudonym_wherever_they_stand() -> None:
    value = {"a@b.com": ["to A@B.com", "c@d.org"], "phone": "+1 212 555 0187"}
    assert await treated(value, Fake()) == {
        "<EMAIL_ADDRESS_1>": ["to <EMAIL_ADDRESS_1>", "<EMAIL_ADDRESS_2>"],
        "phone": "[PHONE_NUMBER]",
    }


async def test_what_was_treated_is_left_alone_and_its_pseudonyms_are_issued_ones() -> None:
    once = await treated("to a@b.com", Fake())
    assert once == "to <EMAIL_ADDRESS_1>"
    assert await treated(once, Fake(("EMAIL_ADDRESS", 1))) == once
    assert await treated(once, Fake()) == "to (EMAIL_ADDRESS_1)"


async def test_every_way_of_writing_somebody_known_is_one_pseudonym() -> None:
    jane = "Jane Doe"
    redactor = PatternRedactor(
        more={
            "v: J. Doe and jane": [
                Finding(entity="PERSON", start=3, end=9, score=1, known=jane),
                Finding(entity="PERSON", start=14, end=18, score=1, known=jane),
            ],
            "v: Mrs Jane Doe": [
                Finding(entity="PERSON", start=3, end=15, score=0.9),
                Finding(entity="PERSON", start=7, end=15, score=1, known=jane),
            ],
        }
    )
    known = [KnownValue(entity="PERSON", value=jane)]
    names = Fake()
    said = await treated(["J. Doe and jane", "Mrs Jane Doe"], names, redactor, known)
    assert said == ["<PERSON_1> and <PERSON_1>", "<PERSON_1>"]
    assert list(names.numbers) == [("PERSON", "jane doe")]


async def test_a_name_that_two_have_is_neither_of_them() -> None:
    both = [Finding(entity="PERSON", start=3, end=6, score=1, known=one) for one in ("Jane Doe", "John Doe")]
    names = Fake()
    assert await treated(["Doe"], names, PatternRedactor(more={"v: Doe": both})) == ["<PERSON_1>"]
    assert list(names.numbers) == [("PERSON", "doe")]


async def test_what_is_refused_leaves_no_pseudonym_behind() -> None:
    names = Fake()
    with pytest.raises(MemoryRefused):
        await treated("a@b.com paid with 4111111111111111", names)
    assert names.numbers == {}


async def test_without_a_subject_nothing_is_written() -> None:
    with pytest.raises(RedactionFailed, match="whom this is about"):
        await treated("a@b.com", None)


@pytest.mark.parametrize("value", ["Zoë Quirke", "Jane Weiß", "日本 太郎", 'O\'Neill "Jo"', "a@b.org"])
def test_a_value_is_hidden_whatever_letters_it_has(value: str) -> None:
    one = Pseudonym(entity="PERSON", number=1, value=value)
    said = [value, value.upper(), json.dumps(value), quote(value), repr(value)]
    behind = [json.dumps(f"To:\n{value}"), json.dumps(f"é{value}")[1:], repr(f"\x01{value}"), quote(f"?to={value}")]
    assert all("<PERSON_1>" in text for text in hidden([*said, *behind], [one]))  # type: ignore[union-attr]
    assert hidden(["nobody"], [one]) == ["nobody"]
