"""What public clients are shown, and what is understood of what they send back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stateward.approve.ask import action_question, escalation_question
from stateward.model.approval import Decision
from stateward.orchestrate.interrupts import LOOK_AGAIN, is_look_again, parse, payload
from stateward.testing.contracts.samples import asks, facts, judged

ONE = action_question(judged(asks()), facts())
TWO = action_question(judged(asks(), call="c2", arguments={"amount": 7}), facts())
STUCK = escalation_question(facts(), action="", turn="t", why="stuck", by=["boss"], within=timedelta(days=1))


def decision(raw: object) -> Decision | None:
    found = parse(raw, [ONE])
    return None if found is None else found[0][1]


def test_the_request_is_one_that_every_client_draws() -> None:
    shown = payload([ONE, TWO], note="not understood")
    assert [one["args"] for one in shown["action_requests"]] == [{"amount": 500}, {"amount": 7}]
    assert all(one["args"] == one["arguments"] and one["name"] == "pay" for one in shown["action_requests"])
    assert all("not understood" in one["description"] for one in shown["action_requests"])
    assert shown["review_configs"][0]["allowed_decisions"] == ["approve", "edit", "reject", "respond"]
    assert shown["approvals"] == [ONE.id, TWO.id]


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ({"type": "approve"}, "approve", ""),
        ({"type": "accept", "args": None}, "approve", ""),
        ({"type": "reject", "message": "no"}, "reject", "no"),
        ({"type": "reject"}, "reject", "rejected without a reason"),
        ({"type": "ignore"}, "reject", "rejected without a reason"),
        ({"type": "response", "args": "paid by hand"}, "respond", "paid by hand"),
    ],
)
def test_every_clients_words_are_understood(said: Any, kind: str, reason: str) -> None:
    for raw in ({"decisions": [said]}, [said], said):
        assert decision(raw) == Decision(kind=kind, reason=reason)


@pytest.mark.parametrize(
    "said",
    [
        {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 1}}},
        {"type": "edit", "args": {"action": "pay", "args": {"amount": 1}}},
    ],
)
def test_an_edit_is_understood(said: Any) -> None:
    assert decision([said]) == Decision(kind="edit", arguments={"amount": 1})


@pytest.mark.parametrize(
    "edited",
    [
        {"name": "wire", "args": {"amount": 1}},
        {"args": {"amount": 1}},
        {"name": "pay", "args": [1]},
        {"name": "pay", "args": {"amount": float("nan")}},
        {"name": ["pay"], "args": {"amount": 1}},
        "pay",
        None,
    ],
)
def test_an_edit_cannot_change_the_tool_or_say_what_json_cannot(edited: Any) -> None:
    assert decision([{"type": "edit", "edited_action": edited}]) is None


@pytest.mark.parametrize(
    "raw", ["yes", None, True, 1, [], {}, [[]], {"decisions": {}}, {"decisions": [None]}, {"type": 1}]
)
def test_anything_else_decides_nothing(raw: object) -> None:
    assert decision(raw) is None


def test_an_answer_decides_all_that_was_shown_or_nothing() -> None:
    approve, bad = {"type": "approve"}, {"type": "perhaps"}
    assert parse([approve], [ONE, TWO]) is None
    assert parse([approve] * 3, [ONE, TWO]) is None
    assert parse([approve, bad], [ONE, TWO]) is None
    assert parse([approve, {"type": "reject"}], [ONE, TWO]) == [
        (ONE.id, Decision(kind="approve")),
        (TWO.id, Decision(kind="reject", reason="rejected without a reason")),
    ]


@pytest.mark.parametrize("kind", ["approve", "edit"])
def test_an_escalation_is_not_approved(kind: str) -> None:
    assert parse([{"type": kind}], [STUCK]) is None


def test_looking_again_is_no_answer() -> None:
    assert is_look_again(LOOK_AGAIN)
    assert parse(LOOK_AGAIN, [ONE]) is None
    assert not is_look_again({"decisions": []})
