"""The contract of the overview: pages in a fixed order, of what the viewer may see and nothing else."""

from __future__ import annotations

from datetime import timedelta

from stateward.approve.ask import escalation_question
from stateward.model.principal import Principal
from stateward.ports import Viewer
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import BOT, asks, facts, judged, permit_of, recorded

ALL = Viewer(id="auditor", names=frozenset({"auditor"}), tenant="default", everything=True)


def _seen_by(name: str, *roles: str, tenant: str = "default") -> Viewer:
    return Viewer(id=name, names=frozenset({name, *roles}), tenant=tenant)


async def _threads(adapters: Adapters, viewer: Viewer) -> list[str]:
    return [one.facts.thread for one in await adapters.overview.threads(viewer, limit=9)]


async def shows_threads_newest_first_in_pages(adapters: Adapters) -> None:
    """Each page begins after the last item of the one before."""
    for name in ("t1", "t2", "t3"):
        await adapters.threads.open(facts(name))
    pages: list[str] = []
    after: str | None = None
    while page := await adapters.overview.threads(ALL, after=after, limit=2):
        assert len(page) <= 2
        pages += [one.facts.thread for one in page]
        after = pages[-1]
    assert pages == ["t3", "t2", "t1"]


async def narrows_threads_down(adapters: Adapters) -> None:
    """By id, status, workflow and subject."""
    await adapters.threads.open(facts("t1"))
    await adapters.threads.open(facts("t2", subject="customer:18"))
    await adapters.threads.mark("t2", "answered", actor=BOT)
    show = adapters.overview.threads
    assert [one.facts.thread for one in await show(ALL, thread="t1", limit=9)] == ["t1"]
    assert [one.facts.thread for one in await show(ALL, status="answered", limit=9)] == ["t2"]
    assert [one.facts.thread for one in await show(ALL, subject="customer:17", limit=9)] == ["t1"]
    assert [one.facts.thread for one in await show(ALL, graph="bank", limit=9)] == ["t2", "t1"]
    assert await show(ALL, graph="another", limit=9) == []


async def shows_threads_to_whoever_takes_part(adapters: Adapters) -> None:
    """Whoever asked for it, acts in it, or is asked about it; nobody else, and nobody of another tenant."""
    await recorded(adapters, judged(asks()))
    await adapters.threads.open(facts("t2", tenant="other"))
    for name in ("ann", BOT, "boss"):
        assert await _threads(adapters, _seen_by(name)) == ["t1"], name
    assert await _threads(adapters, _seen_by("eve", "boss")) == ["t1"]
    assert await _threads(adapters, _seen_by("eve")) == []
    assert await _threads(adapters, _seen_by("ann", tenant="other")) == ["t2"]
    assert await _threads(adapters, ALL) == ["t1"]


async def shows_approvals_oldest_first_in_pages(adapters: Adapters) -> None:
    """By id, thread and status too."""
    await recorded(adapters, judged(asks()))
    await recorded(adapters, judged(asks(), thread="t2"), thread="t2")
    show = adapters.overview.approvals
    first, second = await show(ALL, limit=9)
    assert (first.thread, second.thread) == ("t1", "t2")
    assert await show(ALL, limit=1) == [first]
    assert await show(ALL, after=first.id, limit=9) == [second]
    assert await show(ALL, approval=second.id) == [second]
    assert await show(ALL, thread="t1", limit=9) == [first]
    assert await show(ALL, status="pending", limit=9) == [first, second]
    assert await show(ALL, status="approved", limit=9) == []


async def shows_approvals_to_whoever_takes_part(adapters: Adapters) -> None:
    """Whose thread it is, or who is asked, by id or by role."""
    await recorded(adapters, judged(asks()))
    within = timedelta(days=1)
    question = escalation_question(facts(), action="", turn="stuck", why="stuck", by=["chief"], within=within)
    await adapters.desk.ask(question, actor=BOT)
    show = adapters.overview.approvals
    assert len(await show(_seen_by("ann"), limit=9)) == 2
    assert "stuck" in [one.turn for one in await show(_seen_by("eve", "chief"), limit=9)]
    assert await show(_seen_by("eve"), limit=9) == []
    assert await show(_seen_by("chief", tenant="other"), limit=9) == []


async def shows_actions_with_what_became_of_them(adapters: Adapters) -> None:
    """In the order in which they were judged; None where nothing was begun."""
    rows = await recorded(adapters, judged(), judged(asks(), call="c2", position=1))
    one = permit_of(rows[0])
    await adapters.journal.reserve(one, actor=BOT)
    await adapters.journal.settle(one, attempt=1, result={"done": 1}, actor=BOT)
    (first, receipt), (second, nothing) = await adapters.overview.actions(thread="t1", limit=9)
    assert (first.action.id, second.action.id) == (rows[0].action.id, rows[1].action.id)
    assert receipt is not None
    assert (receipt.status, receipt.result, nothing) == ("settled", {"done": 1}, None)
    assert [row.action.id for row, _ in await adapters.overview.actions(thread="t1", limit=1)] == [first.action.id]
    after = await adapters.overview.actions(thread="t1", after=first.action.id, limit=9)
    assert [row.action.id for row, _ in after] == [second.action.id]
    assert [row for row, _ in await adapters.overview.actions(action=second.action.id)] == [second]
    assert await adapters.overview.actions(thread="t9", limit=9) == []


async def shows_entries_after_a_position(adapters: Adapters) -> None:
    """In the order of the chain."""
    await recorded(adapters, judged(), judged(call="c2", position=1))
    await adapters.ledger.append("t1", "noted", actor=Principal("ann").id, detail={})
    entries = await adapters.overview.entries("t1", limit=99)
    assert [one.seq for one in entries] == list(range(1, len(entries) + 1))
    assert await adapters.overview.entries("t1", after=1, limit=1) == entries[1:2]
    assert await adapters.overview.entries("t1", after=len(entries), limit=9) == []
    assert await adapters.overview.entries("t9", limit=9) == []


CHECKS: tuple[Check, ...] = (
    shows_threads_newest_first_in_pages,
    narrows_threads_down,
    shows_threads_to_whoever_takes_part,
    shows_approvals_oldest_first_in_pages,
    shows_approvals_to_whoever_takes_part,
    shows_actions_with_what_became_of_them,
    shows_entries_after_a_position,
)
