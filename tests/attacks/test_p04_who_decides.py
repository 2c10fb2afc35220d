"""P4: the approver is a verified person with the right to decide, and not one whom the policy excludes."""

from __future__ import annotations

import pytest
from langgraph.types import Command
from plain import APPROVE, PlainBank

from bank import BOSS, POLICY, Bank, Started, start
from stateward import DecisionRefused, Principal, call
from ways import every_way

BIG = [call("pay", amount=500)]


def asked_by(bank: Bank, *, subject: str = "customer:17", requester: str = "ann") -> Started:
    graph = bank.graph(BIG)
    config = bank.config(subject=subject, requester=requester)
    out = graph.invoke({"messages": [("user", "go")], "subject": subject}, config)
    return Started(bank=bank, graph=graph, config=config, out=out)


def refused(run: Started, who: Principal, why: str, decision: str = "approve") -> None:
    with pytest.raises(DecisionRefused, match=why):
        run.decide(decision, by=who, reason="because")
    assert run.asked.status == "pending"
    assert run.asked.signatures == ()
    entry = run.bank.runtime.timeline(run.thread)[-1]
    assert (entry.kind, entry.actor, entry.detail["decision"]) == ("approval.refused", who.id, decision)
    run.resume()
    assert run.bank.ran == []


@every_way
@pytest.mark.parametrize("decision", ["approve", "reject", "respond"])
def test_nobody_without_the_right_decides(bank: Bank, decision: str) -> None:
    refused(bank.run(BIG), Principal("mallory"), "may not decide this", decision)


def test_the_requester_does_not_decide(bank: Bank) -> None:
    refused(asked_by(bank, requester="boss"), BOSS, "segregation of duties")


@every_way
def test_the_requester_does_not_decide_under_a_role(bank: Bank) -> None:
    refused(bank.run(BIG), Principal("ann", roles=["boss"]), "segregation of duties")


def test_the_subject_does_not_decide(bank: Bank) -> None:
    refused(asked_by(bank, subject="chief"), Principal("chief"), "segregation of duties")


@every_way
def test_the_last_editor_does_not_decide(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("edit", arguments={"amount": 400})
    refused(run, BOSS, "segregation of duties")
    assert run.decide("approve", by=Principal("chief")).status == "approved"


@pytest.mark.parametrize("kind", ["agent", "service"])
def test_only_a_person_decides(bank: Bank, kind: str) -> None:
    refused(bank.run(BIG), Principal("boss", kind=kind), "only a person decides")


@every_way
def test_another_tenants_boss_does_not_decide(bank: Bank) -> None:
    refused(bank.run(BIG), Principal("boss", tenant="other"), "another tenant")


def test_a_signature_of_somebody_excluded_does_not_count_towards_the_quorum(bank: Bank) -> None:
    policy = POLICY.replace("by: [boss, chief],", "by: [boss, chief], of: 2,")
    run = bank.run(BIG, policy=policy)
    run.decide("approve")
    with pytest.raises(DecisionRefused, match="segregation of duties"):
        run.decide("approve", by=Principal("ann", roles=["chief"]))
    assert run.asked.status == "pending"


def test_who_decided_stands_in_the_ledger_with_how_it_was_verified(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve", by=Principal("boss", verified_by="jwt"))
    entry = bank.runtime.timeline(run.thread)[-1]
    assert (entry.kind, entry.actor, entry.detail["verified_by"]) == ("approval.approved", "boss", "jwt")


def test_the_effect_knows_who_approved_it(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    run.resume()
    assert run.actions()[0]["approvers"] == ["boss"]


@pytest.mark.parametrize("id_", ["", "  "])
def test_nobody_is_not_a_principal(id_: str) -> None:
    with pytest.raises(ValueError, match="needs an id"):
        Principal(id_)


def test_each_escalation_of_a_thread_is_a_question_of_its_own(bank: Bank) -> None:
    async def never(state, step):
        return "it is wrong"

    graph = bank.graph(prepare=lambda flow: flow.validate(never))
    config = bank.config()
    run = Started(bank=bank, graph=graph, config=config, out=start(graph, config))
    first = run.asked
    assert first.kind == "escalation"
    run.decide("respond", reason="try once more")
    run.resume()
    assert run.asked.id != first.id
    run.decide("reject", reason="leave it")
    assert run.resume()["outcome"] == "escalated"


def test_plain_nobody_in_particular_approves_and_nothing_says_who_falls() -> None:
    bank = PlainBank()
    agent, config = bank.asks(BIG)
    agent.invoke(Command(resume=APPROVE), config)
    assert bank.ran == [("pay", 500)]
    kept = [(one.values, one.metadata) for one in agent.get_state_history(config)]
    assert "boss" not in str(kept)
    assert not {key for _, metadata in kept for key in metadata} & {"user", "actor", "principal", "approver"}
