"""Two say who may decide: `stateward.decide` in the database, which counts, and `approve/rules.py`, which people read.

A generated table of cases holds the one against the other: may they, by whose right, why not, and what it becomes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from stateward import AsyncRuntime, Principal
from stateward.adapters.postgres.desk import _Ballot  # pyright: ignore[reportPrivateUsage]
from stateward.adapters.sealing import Sealer
from stateward.approve.ask import action_question, approval_id
from stateward.approve.rules import outcome, weigh
from stateward.model.approval import Approval, Decision, DecisionKind, Delegation
from stateward.model.verdict import Ask, Reason, Requirement
from stateward.ports import Decided, Refused, Vote
from stateward.testing.contracts.samples import asks, facts, judged

PEOPLE = ("ann", "boss", "chief", "dora", "customer:17")
ROLES = ("lead", "night")
KINDS: tuple[DecisionKind, ...] = ("approve", "approve", "approve", "reject", "respond", "done")
CASES = 200
EXPIRE = "update stateward.approval set expires_at = now() where approval_id = %s"


def a_rule(pick: random.Random, stage: int) -> Requirement:
    return Requirement(
        by=tuple(pick.sample([*PEOPLE, *ROLES], pick.randint(1, 3))),
        of=pick.choice([1, 1, 2]),
        excluding=tuple(pick.sample(["requester", "subject", "editor", "boss", "night"], pick.choice([0, 0, 1, 2]))),
        within=timedelta(days=1),
        stage=stage,
        confirm=pick.random() < 0.15,
        reason=Reason(rule="r", because="b"),
    )


def a_person(pick: random.Random) -> Principal:
    kind: Any = pick.choice(["person"] * 9 + ["agent"])
    tenant = pick.choice(["default"] * 9 + ["other"])
    return Principal(pick.choice(PEOPLE), roles=pick.sample(ROLES, pick.choice([0, 0, 1, 2])), kind=kind, tenant=tenant)


def a_question(pick: random.Random, at: int, *, for_: str | None) -> Approval:
    """A question; `for_` is asked in it for certain, and has to find somebody else who approves as well."""
    rules = tuple(a_rule(pick, pick.choice([1, 1, 2])) for _ in range(pick.choice([1, 1, 2, 3])))
    if for_ is not None:
        rules = (Requirement(by=(for_,), of=2, reason=Reason(rule="r", because="b")),)
    made = action_question(judged(Ask(requirements=rules), call=f"c{at}"), facts())
    editor = pick.choice([None, "boss", "dora"])
    return replace(
        made, id=approval_id(str(at)), action="", kind="outcome", editor=editor, requester=pick.choice(PEOPLE)
    )


def some_delegations(pick: random.Random, at: int) -> Iterator[Delegation]:
    now = datetime.now(UTC)
    for number in range(pick.choice([0, 1, 2])):
        delegator, delegate = pick.sample(PEOPLE, 2)
        since = now + timedelta(hours=pick.choice([-48, -24, 5]))
        yield Delegation(
            id=f"D-{at}-{number}",
            tenant="default",
            delegator=delegator,
            roles=tuple(sorted(pick.sample(ROLES, pick.choice([0, 1])))),
            delegate=delegate,
            since=since,
            until=since + timedelta(hours=pick.choice([1, 100])),
            revoked_at=pick.choice([None, None, None, now]),
        )


async def test_the_database_says_what_the_rules_say(async_runtime: AsyncRuntime, database_url: str) -> None:
    services, pick = async_runtime.services, random.Random(7)
    await services.threads.open(facts())
    seen: dict[str, int] = {}
    with psycopg.connect(database_url, autocommit=True) as connection:
        for at in range(CASES):
            delegations = list(some_delegations(pick, at))
            question = a_question(pick, at, for_=delegations[0].delegator if delegations and at % 2 else None)
            await services.desk.ask(question, actor="bot")
            connection.execute("delete from stateward.delegation")
            for one in delegations:
                _insert(connection, one)
            if pick.random() < 0.05:
                connection.execute(EXPIRE, [question.id])
            for _ in range(pick.choice([1, 2, 3, 4])):
                said = await _once(async_runtime, pick, question.id, delegations)
                seen[said] = seen.get(said, 0) + 1
    # The table holds every kind of case, or it proves less than it says.
    expected = {"approved", "rejected", "responded", "pending", "acting for"} | set(WHY)
    assert expected <= set(seen), expected - set(seen)


WHY = (
    "only a person decides",
    "another tenant",
    " already",
    "it expired at",
    "something else than what you were shown",
    "cannot be answered here",
    "needs a reason",
    "has to be typed",
    "has signed already",
    "has signed for",
    "is excluded here",
    "may not decide this for",
    "'s turn yet",
    "may not decide this; it is for",
)


async def _once(runtime: AsyncRuntime, pick: random.Random, id_: str, delegations: list[Delegation]) -> str:
    approval, who = await runtime.approval(id_), a_person(pick)
    if delegations and pick.random() < 0.6:  # one of the two people of a delegation, without any role
        who = Principal(pick.choice([delegations[0].delegate, delegations[0].delegate, delegations[0].delegator]))
    kind = pick.choice(KINDS)
    typed = pick.choice([None, "", "500", "500"])
    decision = Decision(kind=kind, reason=pick.choice(["why", "why", "why", " "]), confirmation=typed)
    digest = pick.choice([None, None, approval.digest, "x"]) if pick.random() < 0.3 else None
    weighed = weigh(approval, decision, who, now=datetime.now(UTC), digest=digest, delegations=delegations)
    said = await runtime.services.desk.decide(
        Vote(approval=id_, decision=decision, by=who, digest=digest), rejudge=_never
    )
    case = (approval, decision, who, delegations)
    if isinstance(said, Refused):
        assert said.why == weighed.why, case
        return next(text for text in WHY[::-1] if text in said.why)
    assert isinstance(said, Decided)
    assert weighed.why is None, case
    after, mine = said.approval, said.approval.signatures[-1]
    assert after.status == outcome(approval, decision, who, acting_for=weighed.acting_for), case
    assert mine.acting_for == (weighed.acting_for.delegator if weighed.acting_for else None), case
    return "acting for" if mine.acting_for else after.status


async def _never(*_: Any) -> str:
    raise AssertionError("nothing was edited")


def _insert(connection: Any, one: Delegation) -> None:
    connection.execute(
        "insert into stateward.delegation (delegation_id, tenant, delegator, roles, delegate, since, until, revoked_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (one.id, one.tenant, one.delegator, list(one.roles), one.delegate, one.since, one.until, one.revoked_at),
    )


@pytest.mark.parametrize("name", ["digest", "reason", "response", "arguments"])
def test_what_is_not_said_is_not_sent(name: str) -> None:
    vote = Vote(approval="A", decision=Decision(kind="approve", reason=" "), by=Principal("boss"))
    row = _Ballot(vote=vote, asked=action_question(judged(asks()), facts()), sealer=Sealer({1: bytes(32)})).row()
    assert name not in row
    assert Jsonb(row)


VOTE: dict[str, Any] = {
    "approval": "A-LESS",
    "principal": "boss",
    "roles": [],
    "kind": "person",
    "tenant": "default",
    "verified_by": "test",
    "decision": "reject",
    "reason": "\\x00",
}
GRANT: dict[str, Any] = {
    "id": "D-LESS",
    "tenant": "default",
    "delegator": "boss",
    "delegate": "dora",
    "by": "boss",
    "kind": "person",
    "roles": ["lead"],
    "held": ["lead"],
    "until": "2999-01-01",
    "verified_by": "test",
}


@pytest.mark.parametrize("name", ["kind", "tenant", "decision", "reason"])
async def test_what_a_decision_does_not_say_does_not_hold(
    async_runtime: AsyncRuntime, database_url: str, name: str
) -> None:
    """In SQL a comparison with nothing is neither true nor false, and must let nobody through."""
    question = action_question(judged(asks()), facts())
    await async_runtime.services.threads.open(facts())
    await async_runtime.services.desk.ask(replace(question, id="A-LESS", action="", kind="outcome"), actor="bot")
    assert _said(database_url, "decide", VOTE, without=name)["outcome"] == "refused"
    assert _said(database_url, "decide", VOTE)["outcome"] == "decided"


@pytest.mark.parametrize("name", ["kind", "held", "roles"])
def test_what_a_delegation_does_not_say_does_not_hold(database_url: str, name: str) -> None:
    assert "why" in _said(database_url, "delegate", GRANT, without=name)
    assert "delegation" in _said(database_url, "delegate", GRANT)


def _said(url: str, function: Literal["decide", "delegate"], what: dict[str, Any], *, without: str = "") -> Any:
    call = b"select stateward.decide(%s)" if function == "decide" else b"select stateward.delegate(%s)"
    with psycopg.connect(url) as connection:
        row = connection.execute(
            call, [Jsonb({key: value for key, value in what.items() if key != without})]
        ).fetchone()
        assert row is not None
        return row[0]
