"""P3: what has to be typed to approve cannot be approved by a button, by nothing, or by something near it."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command
from test_p03_bound_approvals import APPROVE, as_server

from bank import BOSS, POLICY, Bank, texts
from stateward import DecisionRefused, call

BIG = [call("pay", amount=500, to="R-17")]
TYPED = POLICY.replace("within: 2d, because: big", "within: 2d, confirm: typed, because: big")
SHOWN = {"amount": 500.0, "to": "R-17"}


def edited(**arguments: Any) -> dict[str, Any]:
    """Agent Chat UI's answer after the form was edited."""
    return {"decisions": [{"type": "edit", "edited_action": {"name": "pay", "args": arguments}}]}


def inbox(**arguments: Any) -> list[dict[str, Any]]:
    """The older Agent Inbox's: its forms make strings of everything."""
    return [{"type": "edit", "args": {"action": "pay", "args": {name: str(one) for name, one in arguments.items()}}}]


NOTHING = [
    APPROVE,
    [{"type": "accept", "args": None}],
    [{"type": "accept", "args": {"action": "pay", "args": SHOWN}}],
    {"decisions": [{"type": "respond", "message": ""}]},
    {"decisions": [{"type": "respond", "message": "50"}]},
    {"decisions": [{"type": "respond", "message": "5000"}]},
    {"decisions": [{"type": "respond", "message": "yes"}]},
    [{"type": "response", "args": ""}],
    edited(**SHOWN),
    edited(**SHOWN, confirmation=""),
    edited(**SHOWN, confirmation="yes"),
    inbox(**SHOWN, confirmation=""),
]


@pytest.mark.parametrize("answer", NOTHING, ids=str)
def test_no_button_and_nothing_empty_approves(bank: Bank, answer: Any) -> None:
    run = bank.run(BIG, policy=TYPED)
    out = run.graph.invoke(Command(resume=answer), as_server(run.config))
    assert bank.ran == []
    assert run.asked.status == "pending"
    assert "type" in out["__interrupt__"][0].value["action_requests"][0]["description"]


@pytest.mark.parametrize(
    "answer",
    [
        {"decisions": [{"type": "respond", "message": "500"}]},
        {"decisions": [{"type": "approve", "message": "500"}]},
        {"decisions": [{"type": "respond", "message": " 500\n"}]},
        [{"type": "response", "args": "500"}],
        edited(**SHOWN, confirmation="500"),
        inbox(**SHOWN, confirmation="500"),
        inbox(amount="500", to="R-17", confirmation="500"),
    ],
    ids=str,
)
def test_what_was_typed_exactly_approves_what_was_shown(bank: Bank, answer: Any) -> None:
    run = bank.run(BIG, policy=TYPED)
    run.graph.invoke(Command(resume=answer), as_server(run.config))
    assert bank.amounts() == [500]
    assert run.actions()[0]["arguments"] == SHOWN


def test_the_payload_has_no_bare_approve(bank: Bank) -> None:
    run = bank.run(BIG, policy=TYPED)
    value = run.out["__interrupt__"][0].value
    assert value["review_configs"][0]["allowed_decisions"] == ["edit", "reject", "respond"]
    assert value["action_requests"][0]["args"] == {**SHOWN, "confirmation": ""}
    assert "`500`" in value["action_requests"][0]["description"]


def test_other_values_are_an_edit_whatever_was_typed(bank: Bank) -> None:
    run = bank.run(BIG, policy=TYPED)
    run.graph.invoke(Command(resume=edited(amount=900, to="R-17", confirmation="500")), as_server(run.config))
    assert bank.ran == []
    assert (run.asked.arguments["amount"], run.asked.confirmation, run.asked.editor) == (900.0, "900", "boss")


@pytest.mark.parametrize("typed", [None, "", "  ", "approve", "500.0", "0500"])
def test_the_desk_wants_it_too(bank: Bank, typed: str | None) -> None:
    run = bank.run(BIG, policy=TYPED)
    with pytest.raises(DecisionRefused, match=r'"500" has to be typed'):
        run.decide("approve", confirmation=typed)
    run.resume()
    assert bank.ran == []


def test_a_rejection_needs_nothing_typed(bank: Bank) -> None:
    run = bank.run(BIG, policy=TYPED)
    out = run.graph.invoke(Command(resume={"decisions": [{"type": "reject"}]}), as_server(run.config))
    assert texts(out) == ["rejected: rejected without a reason"]


@pytest.mark.parametrize("digest", ["", "x", "0" * 64])
def test_a_decision_about_something_else_than_was_shown_is_refused(bank: Bank, digest: str) -> None:
    run = bank.run(BIG)
    other = bank.run([call("pay", amount=900)]).asked
    for wrong in (digest, other.digest):
        with pytest.raises(DecisionRefused, match="something else than what you were shown"):
            bank.runtime.decide(run.asked.id, "approve", by=BOSS, digest=wrong)
    assert run.kinds[-1] == "approval.refused"
    bank.runtime.decide(run.asked.id, "approve", by=BOSS, digest=run.asked.digest)
    run.resume()
    assert bank.amounts() == [500]
