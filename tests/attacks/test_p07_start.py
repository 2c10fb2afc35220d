"""P7: what a policy promises to find is found, proven before the first step, or the start is refused."""

from __future__ import annotations

from typing import Any

import pytest

from bank import POLICY, Bank, start
from stateward import call
from stateward.errors import ConfigurationError, RedactionFailed
from ways import every_way


def promising(**treatments: str) -> str:
    said = ", ".join(f"{entity}: {treatment}" for entity, treatment in treatments.items())
    return POLICY.replace("memory:\n", f"memory:\n  personal_data: {{{said}}}\n")


def paying(bank: Bank, policy: str) -> Any:
    return bank.graph([call("pay", amount=1)], policy=policy)


@every_way
@pytest.mark.parametrize("entity", ["ORGANIZATION", "NRP", "MEDICAL_LICENSE", "EMAIL_ADRESS"])
def test_a_promise_that_cannot_be_kept_refuses_the_start(bank: Bank, entity: str) -> None:
    with pytest.raises(ConfigurationError, match=f"promises to find {entity}"):
        start(paying(bank, promising(**{entity: "mask"})), bank.config())
    assert bank.ran == []
    assert bank.rows("select * from stateward.effect") == []


@every_way
def test_a_threshold_that_nothing_reaches_refuses_the_start(bank: Bank) -> None:
    """A promise is proven with the scores that count: the same types were proven without them before."""
    start(paying(bank, POLICY), bank.config("t-1"))
    for detection, entity in (("threshold: 0.7", "CREDIT_CARD"), ("thresholds: {PERSON: 0.95}", "PERSON")):
        policy = POLICY.replace("memory:\n", f"memory:\n  detection: {{{detection}}}\n")
        with pytest.raises(ConfigurationError, match=f"promises to find {entity}, but no finding of it counts"):
            start(paying(bank, policy), bank.config(f"t-{entity}"))
    assert bank.amounts() == [1]


@pytest.mark.parametrize("detection", ["threshold: 0.6", "thresholds: {PERSON: 0.9, LOCATION: 0.75, IBAN_CODE: 1}"])
def test_a_threshold_that_a_sure_finding_reaches_is_kept(bank: Bank, detection: str) -> None:
    start(
        paying(bank, POLICY.replace("memory:\n", f"memory:\n  detection: {{{detection}}}\n")),
        bank.config(),
    )
    assert bank.amounts() == [1]


@every_way
def test_what_is_allowed_is_no_promise(bank: Bank) -> None:
    start(paying(bank, promising(ORGANIZATION="allow")), bank.config())
    assert bank.amounts() == [1]


@every_way
def test_a_recognizer_that_has_died_refuses_the_start(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    from presidio_analyzer.predefined_recognizers import UsPassportRecognizer

    monkeypatch.setattr(UsPassportRecognizer, "analyze", lambda *_, **__: [])
    with pytest.raises(RedactionFailed, match="US_PASSPORT is not found"):
        start(paying(bank, POLICY), bank.config())
    assert bank.ran == []


@pytest.mark.parametrize("entity", ["PERSON", "LOCATION"])
def test_rules_that_have_died_refuse_the_start(bank: Bank, monkeypatch: pytest.MonkeyPatch, entity: str) -> None:
    from stateward.adapters.detection import presidio
    from stateward.adapters.detection.rules import FINDERS, Finder

    dead = {**FINDERS, entity: Finder(lambda _: [], FINDERS[entity].canary)}
    monkeypatch.setattr(presidio, "FINDERS", dead)
    with pytest.raises(RedactionFailed, match=f"{entity} is not found"):
        start(paying(bank, POLICY), bank.config())


def test_a_policy_that_keeps_nothing_needs_nothing(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bank.runtime.services.redactor), "prove", None)
    head, _, tail = POLICY.partition("memory:")
    start(paying(bank, head + tail[tail.index("budget:") :]), bank.config())
    assert bank.amounts() == [1]


def test_the_audit_says_what_was_treated_and_what_is_found_in_part_only(bank: Bank) -> None:
    async def notes(state, step):
        await step.remember(
            "note", "n1", text="jo@corp.example and Anna Schneider paid with 4111111111111111, jo@corp.example"
        )

    start(bank.graph(prepare=lambda flow: flow.retrieve(notes)), bank.config())
    (entry,) = [one for one in bank.runtime.timeline() if one.kind == "memory.written"]
    assert entry.detail["treated"] == {"EMAIL_ADDRESS": 2, "PERSON": 1, "CREDIT_CARD": 1}
    assert entry.detail["found_in_part"] == ["LOCATION", "PERSON"]
    assert "corp" not in str(entry)
    assert "Schneider" not in str(entry)


def test_a_scan_that_takes_too_long_for_known_values_refuses_the_write(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stateward.adapters.detection import presidio

    def fail(text: str, known: object) -> list[Any]:
        raise TimeoutError(text)

    async def notes(state, step):
        await step.remember("note", "n1", text="said Qwertz")

    monkeypatch.setattr(presidio, "matches", fail)
    with pytest.raises(RedactionFailed) as refused:
        start(bank.graph(prepare=lambda flow: flow.retrieve(notes)), bank.config(known={"PERSON": "Jo Qwertz"}))
    assert "Qwertz" not in str(refused.value)
    assert bank.rows("select * from stateward.memory") == []
