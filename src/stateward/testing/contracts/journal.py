"""The journal's contract: a verdict once, a permit used once, an outcome once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

from stateward.errors import ThreadAbandoned
from stateward.model.history import History, HistoryQuery, HistoryScope, HistoryValue
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts
from stateward.model.verdict import Reason
from stateward.ports import Judged, Past
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import (
    BOT,
    HOUR,
    asks,
    denies,
    facts,
    judged,
    kinds,
    past,
    permit,
    permit_of,
    recorded,
)


async def records_each_verdict_with_its_entry(adapters: Adapters) -> None:
    """Allow, ask and deny become permitted, asked and denied."""
    three = [judged(), judged(asks(), call="c2", position=1), judged(denies(), call="c3", position=2)]
    rows = await recorded(adapters, *three)
    assert [row.status for row in rows] == ["permitted", "asked", "denied"]
    assert rows[2].response == "never"
    expected = ["thread.opened", "action.allowed", "action.asked", "approval.asked", "action.denied"]
    assert await kinds(adapters) == expected


async def keeps_the_first_verdict(adapters: Adapters) -> None:
    """The same action judged again stays as it was judged."""
    await recorded(adapters, judged(denies()))
    rows = await adapters.journal.record(facts(), [judged()], actor="policy:bank")
    assert [row.status for row in rows] == ["denied"]
    assert (await kinds(adapters)).count("action.denied") == 1
    assert "action.allowed" not in await kinds(adapters)


async def gives_a_turn_by_position(adapters: Adapters) -> None:
    """However the rows were written; other turns are not in it."""
    await recorded(adapters, judged(call="b", position=1), judged(call="a"), judged(call="z", turn="turn-2"))
    rows = await adapters.journal.turn("t1", "turn-1")
    assert [row.action.call.id for row in rows] == ["a", "b"]


async def uses_a_permit_once(adapters: Adapters) -> None:
    """The second reservation finds the first."""
    one = await permit(adapters)
    first = await adapters.journal.reserve(one, actor=BOT)
    second = await adapters.journal.reserve(one, actor=BOT)
    assert (first.outcome, second.outcome) == ("reserved", "busy")
    assert first.key == second.key
    assert (await kinds(adapters)).count("effect.reserved") == 1


async def lets_one_of_many_reserve(adapters: Adapters) -> None:
    """Whoever comes at the same moment."""
    one = await permit(adapters)
    found = await asyncio.gather(*(adapters.journal.reserve(one, actor=BOT) for _ in range(8)))
    assert sorted(each.outcome for each in found) == ["busy"] * 7 + ["reserved"]


async def refuses_what_is_not_permitted(adapters: Adapters) -> None:
    """Denied, asked, unknown, with other arguments, or a read."""
    await adapters.threads.open(facts())
    three = [judged(denies()), judged(asks(), call="c2", position=1), judged(call="c3", position=2, effect="read")]
    rows = await adapters.journal.record(facts(), three, actor="policy:bank")
    for row in rows:
        assert (await adapters.journal.reserve(permit_of(row), actor=BOT)).outcome == "refused"
    good = await permit(adapters, judged(call="c4", turn="turn-2"))
    for bad in (replace(good, action="f" * 32), replace(good, arguments={"amount": 501})):
        assert (await adapters.journal.reserve(bad, actor=BOT)).outcome == "refused"
    assert (await adapters.journal.reserve(good, actor=BOT)).outcome == "reserved"


async def settles_once(adapters: Adapters) -> None:
    """A later settlement, failure or loss changes nothing."""
    one = await permit(adapters)
    await adapters.journal.reserve(one, actor=BOT)
    await adapters.journal.settle(one, attempt=1, result={"paid": 5}, actor=BOT)
    await adapters.journal.settle(one, attempt=1, result={"paid": 6}, actor=BOT)
    receipt = await adapters.journal.fail(one, attempt=1, error="late", actor=BOT)
    assert (receipt.status, receipt.result, receipt.error) == ("settled", {"paid": 5}, "")
    assert (await adapters.journal.reserve(one, actor=BOT)).outcome == "settled"
    assert (await kinds(adapters)).count("effect.settled") == 1


async def ends_with_a_failure_or_an_abandonment(adapters: Adapters) -> None:
    """Both are final."""
    first, second = await permit(adapters), await permit(adapters, judged(call="c2", turn="turn-2"))
    for one in (first, second):
        await adapters.journal.reserve(one, actor=BOT)
    failed = await adapters.journal.fail(first, attempt=1, error="no money", actor=BOT)
    given_up = await adapters.journal.abandon(second, attempt=1, error="given up", actor="boss")
    assert (failed.status, failed.error) == ("failed", "no money")
    assert (given_up.status, given_up.error) == ("abandoned", "given up")
    assert (await adapters.journal.reserve(first, actor=BOT)).outcome == "failed"
    assert (await adapters.journal.reserve(second, actor=BOT)).outcome == "abandoned"


async def finds_a_cut_off_attempt_unknown(adapters: Adapters) -> None:
    """As soon as nobody runs it any more; one of those who restart it does."""
    one = await permit(adapters)
    await adapters.journal.reserve(one, actor=BOT)
    adapters.journal.let_go(one.action)
    assert (await adapters.journal.reserve(one, actor=BOT)).outcome == "unknown"
    first, second = [await adapters.journal.restart(one, attempt=1, actor=BOT) for _ in range(2)]
    assert (first.outcome, first.receipt.attempt, second.outcome) == ("reserved", 2, "busy")


async def releases_an_attempt_to_whoever_goes_on(adapters: Adapters) -> None:
    """Its outcome is not known then; a newer attempt is not let go of, and what has ended stays as it is."""
    one, other = await permit(adapters), await permit(adapters, judged(call="c2", turn="turn-2"))
    for each in (one, other):
        await adapters.journal.reserve(each, actor=BOT)
        adapters.journal.let_go(each.action)
        await adapters.journal.release(each, attempt=1)
    assert (await adapters.journal.reserve(one, actor=BOT)).outcome == "unknown"
    assert (await adapters.journal.restart(one, attempt=1, actor=BOT)).receipt.attempt == 2
    await adapters.journal.release(one, attempt=1)
    assert (await adapters.journal.reserve(one, actor=BOT)).outcome == "busy"
    await adapters.journal.settle(other, attempt=1, result={"paid": 5}, actor=BOT)
    await adapters.journal.release(other, attempt=1)
    assert (await adapters.journal.reserve(other, actor=BOT)).outcome == "settled"


async def asks_no_more_what_a_late_receipt_tells(adapters: Adapters) -> None:
    """The worker that was taken for dead has done it, and says so after people were asked."""
    one = await permit(adapters)
    await adapters.journal.reserve(one, actor=BOT)
    asked = await adapters.journal.lose(one, attempt=1, thread=facts(), by=("boss",))
    assert [each.id for each in await adapters.desk.list(thread="t1")] == [asked.id]
    adapters.journal.send(one, attempt=1, result={"paid": 5}, actor=BOT)
    assert (await adapters.journal.reserve(one, actor=BOT)).outcome == "settled"
    assert await adapters.desk.list(thread="t1") == []
    assert (await kinds(adapters))[-2:] == ["effect.settled", "approval.withdrawn"]


async def ignores_an_older_attempt(adapters: Adapters) -> None:
    """It does not own the effect any more."""
    one = await permit(adapters)
    await adapters.journal.reserve(one, actor=BOT)
    adapters.journal.let_go(one.action)
    await adapters.journal.restart(one, attempt=1, actor=BOT)
    receipt = await adapters.journal.settle(one, attempt=1, result={"old": True}, actor=BOT)
    assert (receipt.status, receipt.attempt) == ("reserved", 2)
    receipt = await adapters.journal.settle(one, attempt=2, result={"new": True}, actor=BOT)
    assert (receipt.status, receipt.result) == ("settled", {"new": True})


async def asks_people_about_a_lost_outcome_once(adapters: Adapters) -> None:
    """Losing it again finds the same question."""
    one = await permit(adapters)
    await adapters.journal.reserve(one, actor=BOT)
    asked = [await adapters.journal.lose(one, attempt=1, thread=facts(), by=["boss"]) for _ in range(2)]
    assert asked[0].id == asked[1].id
    assert [each.kind for each in await adapters.desk.list(thread="t1")] == ["outcome"]
    receipt = await adapters.journal.receipt(one.action, thread=one.thread)
    assert receipt is not None
    assert receipt.status == "unknown"


async def asks_nobody_about_a_settled_one(adapters: Adapters) -> None:
    """It was not lost."""
    one = await permit(adapters)
    await adapters.journal.reserve(one, actor=BOT)
    await adapters.journal.settle(one, attempt=1, result=None, actor=BOT)
    await adapters.journal.lose(one, attempt=1, thread=facts(), by=["boss"])
    assert await adapters.desk.list(thread="t1") == []


async def audits_every_read(adapters: Adapters) -> None:
    """It may be repeated, and each time is told."""
    one = await permit(adapters, judged(effect="read"))
    adapters.journal.read(one, actor=BOT, ok=True)
    adapters.journal.read(one, actor=BOT, ok=False)
    assert (await kinds(adapters))[-2:] == ["read.done", "read.failed"]
    assert [row.status for row in await adapters.journal.turn("t1", "turn-1")] == ["consumed"]


async def counts_what_was_let_through(adapters: Adapters) -> None:
    """What waits counts as well; what was denied or failed does not."""
    many = [judged(call=f"c{at}", position=at, arguments={"amount": 10 * at}) for at in range(1, 4)]
    many += [judged(denies(), call="c4", position=4), judged(asks(), call="c5", position=5)]
    rows = await recorded(adapters, *many)
    failed = permit_of(rows[0])
    await adapters.journal.reserve(failed, actor=BOT)
    await adapters.journal.fail(failed, attempt=1, error="no", actor=BOT)

    async def used(thread: ThreadFacts, asked: Past) -> list[HistoryValue]:
        return list((await adapters.journal.history(thread, asked)).values())

    assert await used(facts(), past()) == [3, 550.0]
    assert await used(facts(), past(excluding=[rows[-1].action.id])) == [2, 50.0]
    assert await used(facts(tenant="other"), past()) == [0, 0.0]
    assert await used(facts(), past("other")) == [0, 0.0]


async def counts_for_a_scope(adapters: Adapters) -> None:
    """A thread, a subject or a principal of the tenant; whether there was a call, and how long ago."""
    await recorded(adapters, judged(arguments={"amount": 1}))
    other = facts("t2", subject="customer:18")
    await adapters.threads.open(other)
    await adapters.journal.record(other, [judged(thread="t2", arguments={"amount": 2})], actor="policy:bank")
    expected: dict[HistoryScope, float] = {"tenant": 3.0, "principal": 3.0, "subject": 1.0, "thread": 1.0}
    for scope, total in expected.items():
        assert list((await adapters.journal.history(facts(), past(scope=scope))).values())[-1] == total
    there = HistoryQuery(kind="exists", window=HOUR)
    asked = Past(tool="pay", queries=[there, replace(there, kind="last")])
    exists, last = (await adapters.journal.history(facts(), asked)).values()
    assert exists is True
    assert isinstance(last, timedelta)
    assert timedelta() <= last < timedelta(minutes=1)


async def knows_no_sum_of_what_is_no_number(adapters: Adapters) -> None:
    """Text with a number is one to whoever adds it up, and what is left out adds nothing."""
    await recorded(adapters, judged(call="c2", position=1, arguments={}))
    text = judged(arguments={"amount": "1e1"})
    await adapters.journal.judge(facts(), past(), lambda _: text, actor="policy:bank")
    query = past().queries[1]
    assert await adapters.journal.history(facts(), past()) == {past().queries[0]: 2, query: 10.0}
    await recorded(adapters, judged(call="c3", turn="turn-2", arguments={"amount": "much"}))
    assert query not in await adapters.journal.history(facts(), past())


async def sums_only_what_a_number_can_hold(adapters: Adapters) -> None:
    """The sum of a number too large for any is told by nobody: no other call of the tool fails because of it."""
    await adapters.threads.open(facts())
    query = past().queries[1]
    for at, amount in enumerate([1e308, 1e308, 10**400, "9" * 140_000, "1." + "1" * 20_000]):
        call = judged(call=f"c{at}", position=at, arguments={"amount": amount})
        await adapters.journal.judge(facts(), past(), lambda _, call=call: call, actor="policy:bank")
        found = await adapters.journal.history(facts(), past())
        assert found.get(query) == (1e308 if at == 0 else None)


async def judges_one_after_the_other_by_the_history(adapters: Adapters) -> None:
    """Whoever judges at the same moment sees those before: nobody spends the last of a limit twice."""
    threads = [facts(f"t{at}") for at in range(8)]
    for thread in threads:
        await adapters.threads.open(thread)

    async def spend(thread: ThreadFacts) -> str:
        def judge(history: History) -> Judged:
            verdict = None if history[past().queries[0]] < 3 else denies()  # pyright: ignore[reportOperatorIssue]
            return replace(judged(verdict, thread=thread.thread), limited=True)

        (row,) = await adapters.journal.judge(thread, past(), judge, actor="policy:bank")
        return row.status

    found = await asyncio.gather(*(spend(thread) for thread in threads))
    assert sorted(found) == ["denied"] * 5 + ["permitted"] * 3


async def holds_a_permit_against_what_was_done(adapters: Adapters) -> None:
    """What only waits does not count then; a permit that is not good any more is withdrawn, and cannot be used."""
    await recorded(adapters, judged(asks()), judged(asks(), call="c2", position=1))
    one = await permit(adapters, judged(call="c3", turn="turn-2"))
    seen: list[HistoryValue] = []

    async def clear(why: str) -> str:
        def why_not(history: History) -> str:
            seen.append(history[past().queries[0]])
            return why

        asked = past(excluding=[one.action])
        return await adapters.journal.clear(facts(), one.action, asked, why_not, actor="policy:bank")

    assert (await clear(""), await clear("the limit is used up"), seen) == ("", "the limit is used up", [0, 0])
    (row,) = await adapters.journal.turn("t1", "turn-2")
    assert (row.status, row.response) == ("abandoned", "the limit is used up")
    assert (await kinds(adapters))[-1] == "action.withdrawn"
    assert (await adapters.journal.reserve(one, actor=BOT)).outcome == "refused"


async def keeps_what_was_only_observed_apart(adapters: Adapters) -> None:
    """With the action, and in the ledger with what the rules have read."""
    saw = Reason(rule="tools.pay.deny[1]", because="strange")
    await recorded(adapters, replace(judged(), observed=(saw,), facts={"history": {"x": 1.5}}))
    (row,) = await adapters.journal.turn("t1", "turn-1")
    assert (row.reasons, row.observed) == ((), ((saw.rule, saw.because),))
    entries = [entry async for entry in adapters.ledger.entries("t1")]
    assert entries[-1].detail["observed"] == [saw.rule]
    assert entries[-1].detail["facts"] == {"history": {"x": 1.5}}


async def reads_no_more_in_an_abandoned_thread(adapters: Adapters) -> None:
    """From when this process knows of it."""
    await adapters.threads.open(facts())
    adapters.journal.refuse_late("t1")
    await adapters.threads.abandon("t1", by=Principal("ann"), reason="over")
    try:
        adapters.journal.refuse_late("t1")
    except ThreadAbandoned:
        return
    raise AssertionError("it was let through")


async def acts_no_more_in_an_abandoned_thread(adapters: Adapters) -> None:
    """What was begun ends, what takes it back is done, and nothing else is begun or asked."""
    begun, unused = (permit_of(row) for row in await recorded(adapters, judged(), judged(call="c2", position=1)))
    await adapters.journal.reserve(begun, actor=BOT)
    await adapters.threads.abandon("t1", by=Principal("ann"), reason="over")
    late = judged(asks(), call="c3", turn="turn-2")
    for attempt in (
        adapters.journal.reserve(unused, actor=BOT),
        adapters.journal.restart(begun, attempt=1, actor=BOT),
        adapters.journal.record(facts(), [late], actor="policy:bank"),
        adapters.journal.judge(facts(), past(), lambda _: late, actor="policy:bank"),
    ):
        assert await _is_refused(attempt)
    assert (await adapters.journal.reserve(begun, actor=BOT)).outcome == "busy"
    assert (await adapters.journal.settle(begun, attempt=1, result=1, actor=BOT)).status == "settled"
    back = replace(judged(call="undo", turn="turn-3"), undoes=begun.action)
    (row,) = await adapters.journal.record(facts(), [back], actor="policy:bank")
    assert row.undoes == begun.action
    assert (await adapters.journal.reserve(permit_of(row), actor=BOT)).outcome == "reserved"
    listed = [(one.undoes, receipt.status) for one, receipt in await adapters.journal.begun("t1")]
    assert listed == [(begun.action, "reserved"), (None, "settled")]


async def _is_refused(attempt: Awaitable[object]) -> bool:
    try:
        await attempt
    except ThreadAbandoned:
        return True
    return False


CHECKS: tuple[Check, ...] = (
    records_each_verdict_with_its_entry,
    keeps_the_first_verdict,
    gives_a_turn_by_position,
    uses_a_permit_once,
    lets_one_of_many_reserve,
    refuses_what_is_not_permitted,
    settles_once,
    ends_with_a_failure_or_an_abandonment,
    finds_a_cut_off_attempt_unknown,
    releases_an_attempt_to_whoever_goes_on,
    asks_no_more_what_a_late_receipt_tells,
    ignores_an_older_attempt,
    asks_people_about_a_lost_outcome_once,
    asks_nobody_about_a_settled_one,
    audits_every_read,
    counts_what_was_let_through,
    counts_for_a_scope,
    knows_no_sum_of_what_is_no_number,
    sums_only_what_a_number_can_hold,
    judges_one_after_the_other_by_the_history,
    holds_a_permit_against_what_was_done,
    keeps_what_was_only_observed_apart,
    acts_no_more_in_an_abandoned_thread,
    reads_no_more_in_an_abandoned_thread,
)
