"""P6: a decision once taken stays, whatever the policy says later."""

from __future__ import annotations

from typing import Any

from langgraph.types import Command
from plain import REJECT, PlainBank

from bank import POLICY, Bank, texts
from stateward import call
from stateward.testing import proposes
from ways import every_way

BIG = [call("pay", amount=500)]
OPEN = POLICY.replace("version: 1", "version: 2").replace("args.amount > 100", "args.amount > 100000")


@every_way
def test_a_rejected_action_does_not_run_under_a_policy_that_would_allow_it(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("reject", reason="no")
    assert texts(run.resume(bank.graph(BIG, policy=OPEN))) == ["rejected: no"]
    assert bank.ran == []


@every_way
def test_a_waiting_action_still_waits_under_a_policy_that_would_allow_it(bank: Bank) -> None:
    run = bank.run(BIG)
    run.resume(bank.graph(BIG, policy=OPEN))
    assert run.asked.status == "pending"
    assert bank.ran == []


def test_a_denied_action_stays_denied(bank: Bank) -> None:
    message = proposes(call("pay", amount=-5))
    run = bank.run(message)
    turn = run.actions()[0]["turn"]
    kinder = bank.graph(policy=POLICY.replace("version: 1", "version: 2").replace("args.amount <= 0", "false"))
    again = message.model_copy(update={"id": turn})
    kinder.invoke(Command(goto="verify", update={"messages": [again]}), run.config)
    assert bank.ran == []
    assert [row["verdict"] for row in run.actions()] == ["deny"]


@every_way
def test_the_recorded_verdict_is_the_first_one(bank: Bank) -> None:
    run = bank.run(BIG)
    before = run.actions()
    run.resume(bank.graph(BIG, policy=OPEN))
    assert run.actions() == before
    assert before[0]["policy"] == "bank@1"


def test_what_happened_stays_when_its_rule_goes(bank: Bank) -> None:
    run = bank.run([call("pay", amount=5)])
    stricter = POLICY.replace("version: 1", "version: 2").replace("args.amount <= 0", "true")
    run.resume(bank.graph([call("pay", amount=5)], policy=stricter))
    assert bank.amounts() == [5]
    assert run.effects()[0]["status"] == "settled"


def test_plain_a_rejected_call_runs_when_its_rule_has_changed_falls() -> None:
    bank, limit = PlainBank(), [100]

    def when(request: Any) -> bool:
        return request.tool_call["args"]["amount"] > limit[0]

    rule = {"allowed_decisions": ["approve", "reject"], "when": when}
    agent, config = bank.asks(BIG, interrupt_on={"pay": rule})
    limit[0] = 1000
    agent.invoke(Command(resume=REJECT), config)
    assert bank.ran == [("pay", 500)]
