"""P4: whoever decides for somebody else decides with their right and no more, and not about themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bank import BOSS, CHIEF, POLICY, Bank, Started, start
from stateward import DecisionRefused, Principal, call
from stateward.errors import ThreadError

BIG = [call("pay", amount=500)]
ANN, DORA, EVE = Principal("ann"), Principal("dora"), Principal("eve")
OPEN = POLICY.replace("not: [requester, subject, editor], ", "")
TWO = OPEN.replace("by: [boss, chief],", "by: [boss, chief], of: 2,")


def delegates(bank: Bank, who: Principal, to: Principal, **more: Any) -> Any:
    return bank.runtime.delegate(who, to=to.id, **({"until": timedelta(days=7), "by": who} | more))


def asked(bank: Bank, policy: str = POLICY, **facts: Any) -> Started:
    graph, config = bank.graph(BIG, policy=policy), bank.config(**facts)
    return Started(bank=bank, graph=graph, config=config, out=start(graph, config))


def refused(run: Started, who: Principal, why: str) -> None:
    with pytest.raises(DecisionRefused, match=why):
        run.decide("approve", by=who)
    assert run.kinds[-1] == "approval.refused"
    run.resume()
    assert run.bank.ran == []


def test_a_delegate_decides_for_the_delegator(bank: Bank) -> None:
    run = asked(bank)
    delegates(bank, BOSS, DORA)
    (signature,) = run.decide("approve", by=DORA).signatures
    assert (signature.principal, signature.acting_for) == ("dora", "boss")
    assert bank.runtime.timeline(run.thread)[-1].detail["for"] == "boss"
    run.resume()
    assert bank.amounts() == [500]


def test_it_ends_when_it_says_and_when_it_is_revoked(bank: Bank) -> None:
    run = asked(bank)
    given = delegates(bank, BOSS, DORA)
    bank.rows("update stateward.delegation set since = since - interval '9 days', until = now()")
    refused(run, DORA, "may not decide this")
    later = delegates(bank, BOSS, DORA, since=datetime.now(UTC) + timedelta(days=1))
    refused(run, DORA, "may not decide this")
    now = delegates(bank, BOSS, DORA)
    for one in (given, later, now):
        bank.runtime.revoke_delegation(one.id, by=BOSS)
    refused(run, DORA, "may not decide this")


def test_nobody_takes_the_desks_own_chain(bank: Bank) -> None:
    """Whoever opened it first would be its requester, of any tenant, and read who hands their right to whom."""
    with pytest.raises(ThreadError, match="the desk's own"):
        bank.config("desk:default", principal=Principal("bot", kind="agent", tenant="other"))
    delegates(bank, BOSS, DORA)
    (row,) = bank.rows("select tenant, requester from stateward.thread where thread_id = 'desk:default'")
    assert row == {"tenant": "default", "requester": "desk"}


def test_there_are_no_chains(bank: Bank) -> None:
    run = asked(bank)
    delegates(bank, BOSS, DORA)
    delegates(bank, DORA, EVE)
    refused(run, EVE, "may not decide this")
    with pytest.raises(DecisionRefused, match="their own right only"):
        bank.runtime.delegate(BOSS, to="eve", until=timedelta(days=1), by=DORA)
    with pytest.raises(DecisionRefused, match="does not have all of these roles"):
        bank.runtime.delegate(Principal("dora", roles=["boss"]), to="eve", until=timedelta(days=1), by=DORA)
    refused(run, EVE, "may not decide this")


def test_a_delegate_has_no_more_than_the_delegator(bank: Bank) -> None:
    run = asked(bank)
    delegates(bank, DORA, EVE)
    refused(run, EVE, "may not decide this; it is for boss, chief")


def test_the_requester_does_not_approve_their_own_request_for_somebody_else(bank: Bank) -> None:
    run = asked(bank, policy=OPEN)
    delegates(bank, BOSS, ANN)
    refused(run, ANN, "may not decide this for boss")


def test_nobody_approves_for_the_requester(bank: Bank) -> None:
    run = asked(bank, requester="boss")
    delegates(bank, BOSS, DORA)
    refused(run, DORA, "may not decide this for boss")


def test_the_subject_and_the_editor_do_not_come_back_as_a_delegate(bank: Bank) -> None:
    graph, config = bank.graph(BIG, policy=OPEN), bank.config(subject="dora")
    out = graph.invoke({"messages": [("user", "go")], "subject": "dora"}, config)
    run = Started(bank=bank, graph=graph, config=config, out=out)
    delegates(bank, BOSS, DORA)
    refused(run, DORA, "may not decide this for boss")
    run.decide("edit", by=CHIEF, arguments={"amount": 900})
    delegates(bank, CHIEF, EVE)
    assert run.asked.editor == "chief"
    bank.rows("update stateward.approval set requirements = jsonb_set(requirements, '{0,not}', '[\"editor\"]')")
    refused(run, EVE, "may not decide this for chief")


def test_two_people_who_are_one_do_not_make_a_quorum(bank: Bank) -> None:
    run = asked(bank, policy=TWO)
    delegates(bank, BOSS, DORA)
    run.decide("approve", by=DORA)
    refused(run, BOSS, "dora has signed for boss already")
    refused(run, DORA, "dora has signed already")
    other = asked(bank, policy=TWO)
    other.decide("approve", by=BOSS)
    refused(other, DORA, "may not decide this for boss")


def test_somebody_with_a_right_of_their_own_signs_once(bank: Bank) -> None:
    run = asked(bank, policy=TWO)
    delegates(bank, BOSS, CHIEF)
    assert run.decide("approve", by=CHIEF).signatures[0].acting_for is None
    refused(run, CHIEF, "chief has signed already")
    assert run.decide("approve", by=BOSS).status == "approved"


@pytest.mark.parametrize("who", [Principal("dora", kind="agent"), Principal("dora", tenant="other")])
def test_a_delegate_is_a_person_of_the_same_tenant(bank: Bank, who: Principal) -> None:
    run = asked(bank)
    delegates(bank, BOSS, DORA)
    refused(run, who, "only a person decides|another tenant")


def test_a_stranger_neither_delegates_nor_revokes(bank: Bank) -> None:
    given = delegates(bank, BOSS, DORA)
    for by in (EVE, Principal("boss", tenant="other"), Principal("boss", kind="service")):
        with pytest.raises(DecisionRefused):
            bank.runtime.revoke_delegation(given.id, by=by)
    with pytest.raises(DecisionRefused, match="only a person delegates"):
        delegates(bank, Principal("bot", kind="agent"), DORA)
    assert [one.id for one in bank.runtime.delegations(person="dora")] == [given.id]


def test_all_of_it_is_in_the_ledger_and_the_chain_holds(bank: Bank) -> None:
    given = delegates(bank, BOSS, DORA)
    bank.runtime.revoke_delegation(given.id, by=DORA)
    with pytest.raises(DecisionRefused):
        bank.runtime.revoke_delegation(given.id, by=DORA)
    kinds = [one.kind for one in bank.runtime.timeline("desk:default")]
    assert kinds == ["delegation.granted", "delegation.revoked", "delegation.refused"]
    assert bank.runtime.verify_audit().intact
    assert "desk:default" not in [one.facts.thread for one in bank.runtime.threads()]
