"""Personal data is treated as the policy says, wherever it stands in a JSON value, and nothing else is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from stateward.errors import MemoryRefused, RedactionFailed
from stateward.model.memory import Coverage, Finding, KnownValue
from stateward.model.policy import Detection
from stateward.model.values import Json
from stateward.personal_data.treating import (
    DEFAULT_ENTITIES,
    PersonalDataPolicy,
    Treated,
    Treatment,
    treat,
)

KEY = b"a key of these tests"
PATTERNS = {
    "EMAIL_ADDRESS": r"[\w.+-]+@[\w.-]+\.\w+",
    "CREDIT_CARD": r"(?<!\d)\d{16}(?!\d)",
    "PHONE_NUMBER": r"(?<=phone: )[+\d][\d -]{6,}\d|\+\d[\d -]{6,}\d",
    "IBAN_CODE": r"[A-Za-z]{2}\d{2}(?: ?\d{4}){4} ?\d{2}",
    "URL": r"https?://\S+",
}


class PatternRedactor:
    """A redactor of a few patterns, which remembers what it was asked."""

    def __init__(self, *, more: Mapping[str, list[Finding]] | None = None) -> None:
        self.more = more or {}
        self.texts: list[str] = []
        self.entities: list[frozenset[str]] = []

    def coverage(self, entities: Iterable[str]) -> Coverage:
        asked = sorted(entities)
        return Coverage(
            covered=tuple(e for e in asked if e in PATTERNS),
            uncovered=tuple(e for e in asked if e not in PATTERNS),
            engine="patterns",
        )

    async def prove(self, entities: Iterable[str], *, least: Callable[[str], float] | None = None) -> Coverage:
        return self.coverage(entities)

    async def scan(
        self,
        texts: Sequence[str],
        *,
        entities: frozenset[str],
        countries: Sequence[str] = (),
        known: Sequence[KnownValue] = (),
    ) -> list[list[Finding]]:
        self.texts += texts
        self.entities.append(entities)
        return [self._find(text, entities) for text in texts]

    def _find(self, text: str, entities: frozenset[str]) -> list[Finding]:
        found = [
            Finding(entity=entity, start=match.start(), end=match.end(), score=0.9)
            for entity, pattern in PATTERNS.items()
            if entity in entities
            for match in re.finditer(pattern, text)
        ]
        return found + self.more.get(text, [])


class BrokenRedactor(PatternRedactor):
    async def scan(
        self,
        texts: Sequence[str],
        *,
        entities: frozenset[str],
        countries: Sequence[str] = (),
        known: Sequence[KnownValue] = (),
    ) -> list[list[Finding]]:
        raise ValueError(f"cannot read {texts[0]}")


class ForgetfulRedactor(PatternRedactor):
    async def scan(
        self,
        texts: Sequence[str],
        *,
        entities: frozenset[str],
        countries: Sequence[str] = (),
        known: Sequence[KnownValue] = (),
    ) -> list[list[Finding]]:
        return []


def run(
    value: Mapping[str, Json],
    *,
    default: Treatment = "redact",
    redactor: PatternRedactor | None = None,
    **entities: Treatment,
) -> Treated:
    policy = PersonalDataPolicy(default=default, entities=entities)
    return asyncio.run(treat(value, policy=policy, redactor=redactor or PatternRedactor(), key=KEY))


def test_every_place_of_a_value_is_treated_and_the_rest_stays() -> None:
    treated = run(
        {
            "note": "write to jane@example.com, amount 4000000000000.50",
            "jane@example.com": [1, 2.5, True, None, {"cc": "joe@example.com"}],
            "deep": [[{"to": ("a@b.com", "x")}]],
        }
    )
    assert treated.value == {
        "note": "write to [EMAIL_ADDRESS], amount 4000000000000.50",
        "[EMAIL_ADDRESS]": [1, 2.5, True, None, {"cc": "[EMAIL_ADDRESS]"}],
        "deep": [[{"to": ["[EMAIL_ADDRESS]", "x"]}]],
    }
    assert treated.counts == {"EMAIL_ADDRESS": 4}


def test_a_whole_number_is_treated_where_its_key_says_what_it_is() -> None:
    treated = run({"cardNumber": 4111111111111111, "order": 4111111111111111, "card_active": True})
    assert treated.value == {"cardNumber": "[CREDIT_CARD]", "order": 4111111111111111, "card_active": True}


def test_a_whole_number_that_is_not_treated_stays_a_number() -> None:
    value = run({"account": 400100, "iban_checked": 1}).value
    assert value == {"account": 400100, "iban_checked": 1}
    assert type(value["account"]) is int


def test_keys_are_shown_to_the_redactor_as_words_and_never_replaced_through_a_value() -> None:
    redactor = PatternRedactor()
    treated = run({"customer": {"homePhone": ["212 555 0187"]}}, redactor=redactor)
    assert "customer home Phone: 212 555 0187" in redactor.texts
    assert treated.value == {"customer": {"homePhone": ["212 555 0187"]}}
    assert run({"phone": "212 555 0187"}).value == {"phone": "[PHONE_NUMBER]"}


def test_two_keys_that_look_alike_once_treated_both_stay() -> None:
    treated = run({"a@b.com": 1, "c@d.com": 2, "e@f.com": 3})
    assert treated.value == {"[EMAIL_ADDRESS]": 1, "[EMAIL_ADDRESS] (2)": 2, "[EMAIL_ADDRESS] (3)": 3}


def test_keys_that_look_alike_do_not_take_the_place_of_another() -> None:
    treated = run({"[EMAIL_ADDRESS] (2)": 0, "a@b.com": 1, "c@d.com": 2, "[EMAIL_ADDRESS]": 3})
    assert treated.value == {
        "[EMAIL_ADDRESS] (2)": 0,
        "[EMAIL_ADDRESS]": 1,
        "[EMAIL_ADDRESS] (3)": 2,
        "[EMAIL_ADDRESS] (4)": 3,
    }


def test_ten_thousand_keys_and_placeholders_are_treated_in_passing() -> None:
    """This runs on the event loop; one that is compared with all others takes minutes here."""
    many = 20_000
    treated = run({**{f"k{i}@b.com": i for i in range(many)}, "text": "[EMAIL_ADDRESS] a@b.com " * many})
    assert list(treated.value)[-2:] == [f"[EMAIL_ADDRESS] ({many})", "text"]
    assert treated.value["text"] == "[EMAIL_ADDRESS] [EMAIL_ADDRESS] " * many


def test_what_is_known_is_not_said_to_be_missing() -> None:
    known = [KnownValue(entity="CUSTOMER_NUMBER", value="QX1")]
    coverage = asyncio.run(
        treat({"n": "x"}, policy=PersonalDataPolicy(), redactor=PatternRedactor(), key=KEY, known=known)
    ).coverage
    assert "CUSTOMER_NUMBER" not in coverage.uncovered
    assert "PERSON" in coverage.uncovered


@pytest.mark.parametrize(
    ("treatment", "expected"),
    [
        ("allow", "card 4111111111111111, joe@example.com, +1 212-555-0187"),
        ("redact", "card [CREDIT_CARD], [EMAIL_ADDRESS], [PHONE_NUMBER]"),
        ("mask", "card ************1111, j**************, ***********0187"),
    ],
)
def test_treatments(treatment: Treatment, expected: str) -> None:
    text = "card 4111111111111111, joe@example.com, +1 212-555-0187"
    assert run({"text": text}, default=treatment).value == {"text": expected}


def test_a_named_entity_type_is_treated_otherwise_than_the_default() -> None:
    treated = run({"text": "4111111111111111 joe@example.com"}, EMAIL_ADDRESS="allow", CREDIT_CARD="mask")
    assert treated.value == {"text": "************1111 joe@example.com"}


def test_hashes_join_the_spellings_of_one_value_under_one_key_only() -> None:
    def hashes(text: str, key: bytes = KEY) -> list[str]:
        policy = PersonalDataPolicy(default="hash")
        treated = asyncio.run(treat({"text": text}, policy=policy, redactor=PatternRedactor(), key=key))
        return re.findall(r"\[[A-Z_]+:([0-9a-f]{12})\]", str(treated.value["text"]))

    assert hashes("Jane@Example.com") == hashes("jane@example.com")
    assert hashes("+1 212-555-0187") == hashes("+12125550187")
    assert hashes("DE89 3704 0044 0532 0130 00") == hashes("de89370400440532013000")
    assert len({*hashes("jane@example.com"), *hashes("joe@example.com")}) == 2
    assert hashes("jane@example.com") != hashes("jane@example.com", key=b"another")


def test_refused_data_names_type_and_place_and_never_the_value() -> None:
    with pytest.raises(MemoryRefused) as refused:
        run({"joe@example.com": {"odd key": [0, {"n": "4111111111111111"}]}}, CREDIT_CARD="refuse")
    assert refused.value.message.startswith('CREDIT_CARD at $["[EMAIL_ADDRESS]"]["odd key"][1].n is refused by')
    assert "4111" not in str(refused.value)
    assert "joe" not in str(refused.value)


def test_a_key_may_be_refused() -> None:
    with pytest.raises(MemoryRefused, match="a key of \\$\\.who"):
        run({"who": {"joe@example.com": 1}}, EMAIL_ADDRESS="refuse")


def test_overlapping_findings_leave_no_rest_and_the_longest_names_the_place() -> None:
    text = "Anna-Maria 4711 Smith"
    more = [
        Finding(entity="PERSON", start=0, end=10, score=0.85),
        Finding(entity="LOCATION", start=5, end=21, score=0.85),
        Finding(entity="US_SSN", start=0, end=21, score=0.1),
    ]
    redactor = PatternRedactor(more={f"text: {text}": [_moved(f, 6) for f in more]})
    treated = run({"text": text}, redactor=redactor)
    assert treated.value == {"text": "[LOCATION]"}
    assert treated.counts == {"LOCATION": 1}


def test_what_must_be_refused_cannot_hide_in_a_longer_finding() -> None:
    value = {"text": "see https://pay.example/4111111111111111 now"}
    assert run(value, URL="redact").value == {"text": "see [URL] now"}
    with pytest.raises(MemoryRefused, match="CREDIT_CARD"):
        run(value, URL="redact", CREDIT_CARD="refuse")


@pytest.mark.parametrize("treatment", ["redact", "mask", "hash"])
def test_treating_again_changes_nothing(treatment: Treatment) -> None:
    value = {"phone": "+1 212-555-0187", "a@b.com": "c@d.com, 4111111111111111", "card": 4111111111111111}
    once = run(value, default=treatment)
    twice = run(once.value, default=treatment)
    assert sum(once.counts.values()) == 5
    assert twice.value == once.value
    assert twice.counts == {}


def test_a_digest_of_digits_alone_is_not_taken_for_a_number() -> None:
    text = "[PHONE_NUMBER:123456789012] and [OTHER:123456789012]"
    redactor = PatternRedactor(
        more={
            f"text: {text}": [
                _moved(Finding(entity="PHONE_NUMBER", start=14, end=26, score=0.9), 6),
                _moved(Finding(entity="PHONE_NUMBER", start=39, end=51, score=0.9), 6),
            ]
        }
    )
    assert run({"text": text}, redactor=redactor).value == {
        "text": "[PHONE_NUMBER:123456789012] and [OTHER:[PHONE_NUMBER]]"
    }


def test_the_default_list_and_the_named_types_are_scanned_and_the_rest_is_said() -> None:
    redactor = PatternRedactor()
    treated = run({"text": "x"}, redactor=redactor, URL="mask", CRYPTO="allow")
    assert redactor.entities == [DEFAULT_ENTITIES - {"CRYPTO"} | {"URL", "UK_NINO"}]
    assert "URL" in treated.coverage.covered
    assert {"PERSON", "LOCATION"} <= set(treated.coverage.uncovered)


def test_a_finding_below_the_policys_threshold_does_not_count() -> None:
    def text(**detection: Any) -> Json:
        policy = PersonalDataPolicy(detection=Detection(**detection))
        return asyncio.run(treat({"t": "a@b.com"}, policy=policy, redactor=PatternRedactor(), key=KEY)).value["t"]

    assert text() == "[EMAIL_ADDRESS]"
    assert text(threshold=0.95) == "a@b.com"
    assert text(thresholds={"EMAIL_ADDRESS": 0.95}) == "a@b.com"
    assert text(threshold=0.95, thresholds={"EMAIL_ADDRESS": 0.9}) == "[EMAIL_ADDRESS]"


def test_the_ids_of_a_country_are_looked_for_where_the_policy_names_it() -> None:
    policy = PersonalDataPolicy(detection=Detection(countries=("ES", "IT")))
    assert {"ES_NIF", "IT_FISCAL_CODE"} <= policy.scanned()
    assert not {"UK_NINO", "PL_PESEL"} & policy.scanned()
    assert "ES_NIF" not in PersonalDataPolicy(entities={"ES_NIF": "allow"}, detection=policy.detection).scanned()


def test_nothing_is_scanned_where_everything_is_allowed() -> None:
    treated = run({"text": "joe@example.com"}, default="allow", redactor=BrokenRedactor())
    assert treated.value == {"text": "joe@example.com"}
    assert treated.coverage.uncovered == ()


@pytest.mark.parametrize("redactor", [BrokenRedactor(), ForgetfulRedactor()])
def test_a_redactor_that_fails_refuses_and_tells_no_value(redactor: PatternRedactor) -> None:
    with pytest.raises(RedactionFailed) as failed:
        run({"text": "joe@example.com"}, redactor=redactor)
    assert "joe" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_the_value_that_was_given_is_not_changed() -> None:
    value: dict[str, Json] = {"to": ["joe@example.com"]}
    run(value)
    assert value == {"to": ["joe@example.com"]}


def _moved(finding: Finding, by: int) -> Finding:
    return Finding(entity=finding.entity, start=finding.start + by, end=finding.end + by, score=finding.score)
