"""Who may decide what: plain functions over a question, a decision and a principal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stateward import Approval, Principal
from stateward.approve.ask import action_question, approval_id, escalation_question
from stateward.approve.rules import outcome, refusal
from stateward.model.approval import Decision, Signature
from stateward.model.verdict import Allow, Ask, Reason, Requirement
from stateward.testing.contracts.samples import asks, facts, judged

NOW = datetime.now(UTC)
APPROVE = Decision(kind="approve")


def requires(*by: str, of: int = 1, excluding: tuple[str, ...] = (), hours: int = 24) -> Requirement:
    reason = Reason(rule="r", because="b")
    return Requirement(by=by, of=of, excluding=excluding, within=timedelta(hours=hours), reason=reason)


def question(*requirements: Requirement, **more: Any) -> Approval:
    made = action_question(judged(Ask(requirements=requirements or (requires("boss"),))), facts())
    return replace(made, **more)


def signed(approval: Approval, *people: Principal) -> Approval:
    made = (
        Signature(principal=one.id, roles=tuple(one.roles), verified_by="x", decision=APPROVE, at=NOW) for one in people
    )
    return replace(approval, signatures=tuple(made))


def why(approval: Approval, principal: Principal, decision: Decision = APPROVE, *, now: datetime = NOW) -> str | None:
    return refusal(approval, decision, principal, now=now)


def test_who_is_named_may() -> None:
    assert why(question(), Principal("boss")) is None
    assert why(question(), Principal("ann2", roles=["boss"])) is None


@pytest.mark.parametrize(
    ("principal", "said"),
    [
        (Principal("mallory"), "may not decide this; it is for boss"),
        (Principal("boss", kind="agent"), "only a person decides"),
        (Principal("boss", kind="service"), "only a person decides"),
        (Principal("boss", tenant="other"), "another tenant"),
        (Principal("Boss"), "may not decide"),
        (Principal("bos"), "may not decide"),
    ],
)
def test_who_is_not_may_not(principal: Principal, said: str) -> None:
    assert said in (why(question(), principal) or "")


@pytest.mark.parametrize("status", ["approved", "edited", "rejected", "responded", "expired"])
def test_what_is_decided_is_not_decided_again(status: str) -> None:
    assert why(question(status=status), Principal("boss")) == f"it is {status} already"


def test_it_lapses_at_the_moment_that_it_says() -> None:
    approval = question()
    assert why(approval, Principal("boss"), now=approval.expires_at - timedelta(microseconds=1)) is None
    assert "it expired" in (why(approval, Principal("boss"), now=approval.expires_at) or "")


def test_the_shortest_time_of_all_rules_counts() -> None:
    approval = question(requires("boss", hours=48), requires("chief", hours=2))
    assert approval.expires_at - approval.requested_at == timedelta(hours=2)


@pytest.mark.parametrize("party", ["requester", "subject", "editor"])
def test_a_party_of_the_case_is_excluded_where_the_policy_says_so(party: str) -> None:
    approval = question(requires("boss", excluding=(party,)), **{party: "boss"})
    assert f"not {party}" in (why(approval, Principal("boss")) or "")
    assert why(question(requires("boss"), **{party: "boss"}), Principal("boss")) is None


def test_an_excluded_person_is_excluded_by_any_of_their_names() -> None:
    approval = question(requires("boss", excluding=("requester",)), requester="ann")
    assert why(approval, Principal("ann", roles=["boss"])) is not None
    assert why(question(requires("boss", excluding=("night",))), Principal("boss", roles=["night"])) is not None


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (Decision(kind="edit"), "needs the complete new arguments"),
        (Decision(kind="reject"), "needs a reason"),
        (Decision(kind="reject", reason="  "), "needs a reason"),
        (Decision(kind="respond"), "needs a reason"),
        (Decision(kind="done"), "cannot be answered here"),
    ],
)
def test_a_decision_says_what_it_needs(decision: Decision, said: str) -> None:
    assert said in (why(question(), Principal("boss"), decision) or "")


def test_an_escalation_is_answered_or_ended() -> None:
    one = escalation_question(facts(), action="", turn="t", why="stuck", by=["boss"], within=timedelta(days=1))
    assert "cannot be answered here" in (why(one, Principal("boss")) or "")
    assert why(one, Principal("boss"), Decision(kind="respond", reason="go on")) is None


def test_one_approval_closes_it() -> None:
    assert outcome(question(), APPROVE, Principal("boss")) == "approved"


def test_a_quorum_needs_as_many_people() -> None:
    approval = question(requires("boss", of=3))
    first, second, third = (Principal(f"p{at}", roles=["boss"]) for at in range(3))
    assert outcome(approval, APPROVE, first) == "pending"
    assert outcome(signed(approval, first), APPROVE, second) == "pending"
    assert outcome(signed(approval, first, second), APPROVE, third) == "approved"
    assert "signed already" in (why(signed(approval, first), first) or "")


def test_every_rule_needs_its_own() -> None:
    approval = question(requires("boss"), requires("chief"))
    assert outcome(approval, APPROVE, Principal("boss")) == "pending"
    assert outcome(signed(approval, Principal("boss")), APPROVE, Principal("chief")) == "approved"
    assert outcome(approval, APPROVE, Principal("ann2", roles=["boss", "chief"])) == "approved"


def test_a_rule_that_excludes_a_signer_does_not_count_them() -> None:
    approval = question(requires("boss"), requires("boss", excluding=("requester",)), requester="boss")
    assert outcome(approval, APPROVE, Principal("boss")) == "pending"


@pytest.mark.parametrize(
    ("kind", "becomes"),
    [
        ("edit", "edited"),
        ("reject", "rejected"),
        ("respond", "responded"),
        ("done", "approved"),
        ("give_up", "rejected"),
    ],
)
def test_everything_else_closes_it_at_once(kind: Any, becomes: str) -> None:
    assert outcome(question(requires("boss", of=3)), Decision(kind=kind, reason="x"), Principal("boss")) == becomes


def test_a_verdict_that_asks_nothing_makes_no_question() -> None:
    with pytest.raises(ValueError, match="asks nothing"):
        action_question(judged(Allow()), facts())


@pytest.mark.parametrize("other", [{"arguments": {"amount": 501}}, {"thread": "t2"}])
def test_the_digest_binds_it_to_what_is_shown(other: dict[str, Any]) -> None:
    mine = action_question(judged(asks()), facts())
    assert mine.digest == action_question(judged(asks()), facts()).digest
    changed = action_question(judged(asks(), **other), facts(other.get("thread", "t1")))
    assert mine.digest != changed.digest


@pytest.mark.parametrize("name", ["policy_digest", "tool_digest"])
def test_the_digest_binds_it_to_policy_and_schema(name: str) -> None:
    one = judged(asks())
    changed = (
        replace(one, policy_digest="other")
        if name == "policy_digest"
        else replace(one, action=replace(one.action, tool_digest="x"))
    )
    assert action_question(one, facts()).digest != action_question(changed, facts()).digest


def test_an_id_is_short_and_found_again() -> None:
    assert approval_id("a", "b") == approval_id("a", "b")
    assert approval_id("a", "b") != approval_id("ab", "")
    assert len(approval_id("a")) == 10


def test_two_escalations_of_a_thread_are_two_questions() -> None:
    day = timedelta(days=1)
    made = [escalation_question(facts(), action="", turn=turn, why="w", by=["boss"], within=day) for turn in "ab"]
    assert made[0].id != made[1].id
