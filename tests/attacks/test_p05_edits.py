"""P5: edited arguments are judged again from the start, and an edit cannot change the tool."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command
from plain import PlainBank, edit

from bank import BOSS, CHIEF, POLICY, Bank, texts
from stateward import DecisionRefused, call
from ways import every_way

BIG = [call("pay", amount=500)]
LIMITED = POLICY.replace(
    "    deny: [{when: args.amount <= 0",
    '    limit: [{keep: \'history.sum("amount", "1d") + args.amount <= 1000\', because: the daily limit}]\n'
    "    deny: [{when: args.amount <= 0",
)


@every_way
def test_an_edit_that_is_denied_does_not_run(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("edit", arguments={"amount": -500})
    assert texts(run.resume()) == ["denied: a payment is positive"]
    assert bank.ran == []


@every_way
def test_an_edit_that_asks_again_asks_anew(bank: Bank) -> None:
    run = bank.run(BIG)
    first = run.asked
    run.decide("edit", arguments={"amount": 900})
    run.resume()
    assert bank.ran == []
    assert (run.asked.editor, run.asked.arguments) == ("boss", {"amount": 900.0})
    assert run.asked.digest != first.digest
    run.decide("approve", by=CHIEF)
    run.resume()
    assert bank.amounts() == [900]


@every_way
def test_an_edit_below_the_rule_runs_as_edited(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("edit", arguments={"amount": 50})
    run.resume()
    assert bank.amounts() == [50]
    assert [row["status"] for row in run.actions()] == ["superseded", "consumed"]


def test_numbers_that_a_form_made_strings_are_numbers(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("edit", arguments={"amount": "900"})
    assert run.asked.arguments == {"amount": 900.0}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"amount": "a lot"}, "do not fit pay"),
        ({"amount": 5, "account": "mine"}, "has no argument account"),
        ({}, "do not fit pay"),
        (None, "needs the complete new arguments"),
        ({"amount": 5, "effect": {"key": "forged"}}, "has no argument effect"),
        ({"amount": None}, "do not fit pay"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused_and_the_question_stays(bank: Bank, arguments: Any, why: str) -> None:
    run = bank.run(BIG)
    with pytest.raises(DecisionRefused, match=why):
        run.decide("edit", arguments=arguments)
    assert run.asked.status == "pending"
    assert run.kinds[-1] == "approval.refused"


@every_way
def test_the_edited_permit_cannot_be_had_through_the_old_question(bank: Bank) -> None:
    run = bank.run(BIG)
    first = run.asked
    run.decide("edit", arguments={"amount": 900})
    with pytest.raises(DecisionRefused, match="it is edited already"):
        bank.runtime.decide(first, "approve", by=CHIEF)
    run.resume()
    assert bank.ran == []


def test_signatures_of_the_old_arguments_do_not_count_for_the_new_ones(bank: Bank) -> None:
    run = bank.run(BIG, policy=POLICY.replace("by: [boss, chief],", "by: [boss, chief], of: 2,"))
    run.decide("approve")
    run.decide("edit", by=CHIEF, arguments={"amount": 900})
    assert run.asked.signatures == ()
    assert run.decide("approve", by=BOSS).status == "pending"


@every_way
def test_a_batch_of_calls_does_not_slip_under_a_limit(bank: Bank) -> None:
    run = bank.run([call("pay", amount=90) for _ in range(15)], policy=LIMITED)
    assert bank.amounts() == [90] * 11
    assert texts(run.out)[11:] == ["denied: the daily limit"] * 4


def test_what_waits_for_people_counts_towards_a_limit(bank: Bank) -> None:
    run = bank.run([call("pay", amount=600)], [call("pay", amount=500)], policy=LIMITED)
    second = bank.run([call("pay", amount=500)], policy=LIMITED)
    assert texts(second.out) == ["denied: the daily limit"]
    run.decide("reject", reason="no")
    run.resume()
    assert run.asked.arguments == {"amount": 500.0}


def test_an_edit_does_not_count_what_it_replaces(bank: Bank) -> None:
    run = bank.run([call("pay", amount=900)], policy=LIMITED)
    run.decide("edit", arguments={"amount": 800})
    assert run.asked.arguments == {"amount": 800.0}


def test_a_limit_on_a_read_counts_reads(bank: Bank) -> None:
    policy = POLICY.replace(
        "look: {effect: read, for: [bot]}",
        'look: {effect: read, for: [bot], limit: [{keep: history.count("1h") < 2, because: twice an hour}]}',
    )
    run = bank.run(*[[call("look", what=str(at))] for at in range(4)], policy=policy)
    assert len([row for row in bank.ran if row[0] == "look"]) == 2
    assert texts(run.out)[2:] == ["denied: twice an hour"] * 2


def test_plain_an_edit_runs_another_tool_past_its_own_rule_falls() -> None:
    bank = PlainBank()
    agent, config = bank.asks(BIG, interrupt_on={"pay": True, "wire": {"allowed_decisions": ["reject"]}})
    agent.invoke(Command(resume=edit("wire", amount=1e6)), config)
    assert bank.ran == [("wire", 1e6)]


def test_plain_edited_arguments_are_not_asked_about_again_falls() -> None:
    bank = PlainBank()
    agent, config = bank.asks(BIG)
    agent.invoke(Command(resume=edit("pay", amount=1e6)), config)
    assert bank.ran == [("pay", 1e6)]
