"""The contract of threads: opened once, and never for somebody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

from stateward.errors import ThreadAbandoned, ThreadMismatch, UnknownThread
from stateward.model.principal import Principal
from stateward.model.thread import Spent, ThreadFacts
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import BOT, facts, kinds


async def _refusal(adapters: Adapters, asked: ThreadFacts) -> str:
    try:
        await adapters.threads.open(asked)
    except ThreadMismatch as refusal:
        return refusal.message
    raise AssertionError("it was opened")


async def opens_once(adapters: Adapters) -> None:
    """Whoever opens it at the same moment."""
    opened = await asyncio.gather(*(adapters.threads.open(facts()) for _ in range(5)))
    assert {one.facts for one in opened} == {facts()}
    assert await kinds(adapters) == ["thread.opened"]


async def refuses_another(adapters: Adapters) -> None:
    """What was fixed at the start stays; the refusal changes nothing."""
    await adapters.threads.open(facts())
    for name in ("tenant", "principal", "requester", "purpose", "subject", "graph", "graph_version"):
        other: ThreadFacts = replace(facts(), **{name: "other"})
        assert name in await _refusal(adapters, other)
    found = await adapters.threads.find("t1")
    assert found is not None
    assert found.facts == facts()


async def takes_the_version_of_its_first_run(adapters: Adapters) -> None:
    """Where it was opened without one; after that it is fixed."""
    await adapters.threads.open(replace(facts(), graph_version=""))
    assert (await adapters.threads.open(facts())).facts.graph_version == "1"
    assert "graph_version" in await _refusal(adapters, replace(facts(), graph_version="2"))


async def marks_a_change_once(adapters: Adapters) -> None:
    """A status that it has already leaves no entry."""
    await adapters.threads.open(facts())
    for _ in range(2):
        await adapters.threads.mark("t1", "waiting", actor=BOT)
    assert (await kinds(adapters)).count("thread.waiting") == 1


async def counts_what_is_used_up(adapters: Adapters) -> None:
    """Of each thread by itself."""
    await adapters.threads.open(facts())
    one = Spent(steps=1, tokens=10, usd=Decimal("0.25"))
    await asyncio.gather(*(adapters.threads.spend("t1", one) for _ in range(5)))
    spent = await adapters.threads.spend("t1", Spent(steps=2, seconds=1e9))
    assert (spent.steps, spent.tokens, spent.usd) == (7, 50, Decimal("1.25"))
    found = await adapters.threads.find("t1")
    assert found is not None
    assert (found.spent.steps, found.spent.tokens, found.spent.usd) == (7, 50, Decimal("1.25"))
    assert 0 <= found.spent.seconds < 1e6
    try:
        await adapters.threads.spend("t2", Spent(steps=1))
    except UnknownThread:
        return
    raise AssertionError("it counted the steps of nothing")


async def lists_by_tenant_and_subject(adapters: Adapters) -> None:
    """Newest first."""
    for one in (facts("t1"), facts("t2", subject="customer:18"), facts("t3", tenant="other")):
        await adapters.threads.open(one)
    listed = [one.facts.thread for one in await adapters.threads.list(tenant="default")]
    assert listed == ["t2", "t1"]
    assert [one.facts.thread for one in await adapters.threads.list(subject="customer:18")] == ["t2"]
    assert await adapters.threads.find("t9") is None


async def abandons_once_and_for_good(adapters: Adapters) -> None:
    """No status comes after it, and it is opened no more."""
    await adapters.threads.open(facts())
    by = Principal("ann")
    assert [await adapters.threads.abandon("t1", by=by, reason="over") for _ in range(2)] == [True, False]
    await adapters.threads.mark("t1", "answered", actor=BOT)
    found = await adapters.threads.find("t1")
    assert found is not None
    assert found.status == "abandoned"
    for _ in range(2):
        await adapters.threads.conclude("t1", actor="ann", detail={"undone": []})
    assert await kinds(adapters) == ["thread.opened", "thread.abandoned", "thread.compensated"]
    try:
        await adapters.threads.open(facts())
    except ThreadAbandoned:
        return
    raise AssertionError("it was opened")


CHECKS: tuple[Check, ...] = (
    opens_once,
    refuses_another,
    takes_the_version_of_its_first_run,
    marks_a_change_once,
    counts_what_is_used_up,
    lists_by_tenant_and_subject,
    abandons_once_and_for_good,
)
