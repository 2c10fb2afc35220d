"""P3: stages in their order, a clock that is the server's, escalation once, reminders once each, whoever looks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from bank import BOSS, CHIEF, POLICY, Bank, Started, texts
from stateward import DecisionRefused, PolicyError, Principal, Runtime, Settings, call
from stateward.ports import Notice

BIG = [call("pay", amount=500)]
RULE = "{when: args.amount > 100, by: [boss, chief], not: [requester, subject, editor], within: 2d, because: big}"
DORA = Principal("dora")


def with_rules(*rules: str, more: str = "") -> str:
    """The bank's policy with other questions about payments, and dora."""
    listed = "\n".join(f"      - {rule}" for rule in rules)
    return (
        POLICY.replace(f"      - {RULE}", listed).replace("boss: {kind", "dora: {kind: person}\n  boss: {kind") + more
    )


STAGED = with_rules("{by: [boss], within: 2d}", "{by: [chief], of: 1, stage: 2, within: 2d}")
ESCALATES = with_rules(
    "{by: [boss], within: 2d, lapse: escalate, not: [requester]}", more="escalate: {to: [dora], after: 1d}\n"
)
REMINDS = with_rules("{by: [boss], within: 2d, remind: 12h}")


def passes(bank: Bank, hours: int) -> None:
    """Let time pass, as the server's clock tells it."""
    bank.rows(
        "update stateward.approval set expires_at = expires_at - %s, remind_at = remind_at - %s",
        *[timedelta(hours=hours)] * 2,
    )


def refused(run: Started, who: Principal, why: str, decision: str = "approve") -> None:
    with pytest.raises(DecisionRefused, match=why):
        run.decide(decision, by=who, reason="because")
    assert run.kinds[-1] == "approval.refused"
    run.resume()
    assert run.bank.ran == []


def test_the_second_stage_does_not_go_first(bank: Bank) -> None:
    run = bank.run(BIG, policy=STAGED)
    for decision in ("approve", "reject", "respond"):
        refused(run, CHIEF, "it is not chief's turn yet; first it is for boss", decision)
    run.decide("approve")
    refused(run, BOSS, "signed already")
    assert run.decide("approve", by=CHIEF).status == "approved"
    run.resume()
    assert bank.amounts() == [500]


def test_one_person_in_both_stages_signs_once(bank: Bank) -> None:
    both = Principal("boss", roles=["chief"])
    run = bank.run(BIG, policy=STAGED)
    assert run.decide("approve", by=both).stage == 2
    refused(run, both, "signed already")


def test_the_second_stages_time_begins_with_its_turn(bank: Bank) -> None:
    run = bank.run(BIG, policy=STAGED)
    passes(bank, 47)
    run.decide("approve")
    passes(bank, 47)
    assert run.decide("approve", by=CHIEF).status == "approved"


def test_a_rejection_in_the_first_stage_ends_it(bank: Bank) -> None:
    run = bank.run(BIG, policy=STAGED)
    run.decide("reject", reason="no")
    assert texts(run.resume()) == ["rejected: no"]


def test_what_nobody_decided_in_time_is_escalated_once_and_then_rejected(bank: Bank) -> None:
    run = bank.run(BIG, policy=ESCALATES)
    passes(bank, 49)
    refused(run, BOSS, "it expired at|it is for dora")
    assert run.asked.open_requirements[0].by == ("dora",)
    passes(bank, 25)
    assert "nobody decided before" in texts(run.resume())[0]
    assert (run.kinds.count("approval.escalated"), run.kinds.count("approval.expired")) == (1, 1)
    assert bank.ran == []


def test_an_escalated_question_is_decided_by_those_it_went_to(bank: Bank) -> None:
    run = bank.run(BIG, policy=ESCALATES)
    passes(bank, 49)
    assert [one.event for one in bank.runtime.tick()] == ["escalated"]
    refused(run, BOSS, "it is for dora")
    run.decide("approve", by=DORA)
    run.resume()
    assert bank.amounts() == [500]


def test_the_requester_does_not_decide_by_being_escalated_to(bank: Bank) -> None:
    config = bank.config(requester="dora")
    graph = bank.graph(BIG, policy=ESCALATES)
    out = graph.invoke({"messages": [("user", "go")]}, config)
    run = Started(bank=bank, graph=graph, config=config, out=out)
    passes(bank, 49)
    bank.runtime.tick()
    refused(run, DORA, "segregation of duties")


def test_who_signed_before_an_escalation_stays_counted_and_does_not_sign_again(bank: Bank) -> None:
    policy = with_rules(
        "{by: [boss, chief], of: 2, within: 2d, lapse: escalate}", more="escalate: {to: [dora, boss], after: 1d}\n"
    )
    run = bank.run(BIG, policy=policy)
    run.decide("approve")
    passes(bank, 49)
    bank.runtime.tick()
    refused(run, BOSS, "signed already")
    assert run.decide("approve", by=DORA).status == "approved"


@pytest.mark.parametrize("event", ["reminded", "escalated"])
def test_of_many_workers_one_reminds_and_one_escalates(bank: Bank, settings: Settings, event: str) -> None:
    run = bank.run(BIG, policy=REMINDS if event == "reminded" else ESCALATES)
    passes(bank, 13 if event == "reminded" else 49)
    with Runtime.open(settings=settings) as second, ThreadPoolExecutor(8) as pool:
        said: list[list[Notice]] = list(pool.map(lambda at: (bank.runtime, second)[at % 2].tick(), range(8)))
    assert [one.event for each in said for one in each] == [event]
    assert run.kinds.count(f"approval.{event}") == 1


def test_a_reminder_comes_at_each_interval_and_missed_ones_come_once(bank: Bank) -> None:
    run = bank.run(BIG, policy=REMINDS)
    told: list[int] = []
    for hours in (11, 2, 10, 2, 20):
        passes(bank, hours)
        told.append(len(bank.runtime.tick()))
    assert told == [0, 1, 0, 1, 1]
    run.decide("approve")
    passes(bank, 2)
    assert bank.runtime.tick() == []


def test_a_question_that_is_decided_meanwhile_stays_decided(bank: Bank) -> None:
    run = bank.run(BIG, policy=ESCALATES)
    run.decide("approve")
    passes(bank, 100)
    assert bank.runtime.tick() == []
    run.resume()
    assert bank.amounts() == [500]


def test_the_time_survives_a_restart(bank: Bank, settings: Settings) -> None:
    run = bank.run(BIG, policy=REMINDS)
    until = run.asked.expires_at
    with Runtime.open(settings=settings) as second:
        assert second.approval(run.asked.id).expires_at == until
        passes(bank, 49)
        assert [one.event for one in second.tick()] == ["expired"]


def test_what_nobody_can_be_reminded_of_or_escalated_to_is_refused_at_load(bank: Bank) -> None:
    broken: dict[str, Any] = {
        "nobody to escalate to": with_rules("{by: [boss], lapse: escalate}"),
        "nobody would be reminded": with_rules("{by: [boss], within: 2h, remind: 2h}"),
        "greater than or equal to 1": with_rules("{by: [boss], stage: 0}"),
        "expected 'reject' or 'escalate'": with_rules("{by: [boss], lapse: allow}"),
        "expected 'typed'": with_rules("{by: [boss], confirm: click}"),
    }
    for why, policy in broken.items():
        with pytest.raises(PolicyError, match=why):
            bank.graph(BIG, policy=policy)
