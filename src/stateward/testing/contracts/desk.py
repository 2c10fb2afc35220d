"""The desk's contract: one question at a time under lock, decided once, answered once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from stateward.approve.ask import escalation_question
from stateward.errors import UnknownApproval
from stateward.model.approval import Approval, ApprovalStatus, Decision
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import BOSS, BOT, asks, facts, judged, kinds, recorded

APPROVE = Decision(kind="approve")


async def _asked(adapters: Adapters, *, within: timedelta = timedelta(days=1)) -> Approval:
    await recorded(adapters, judged(asks(within=within)))
    (one,) = await adapters.desk.list(thread="t1")
    return one


async def _close(adapters: Adapters, approval: str, status: ApprovalStatus = "approved") -> None:
    async with adapters.desk.deciding(approval) as case:
        await case.sign(BOSS, APPROVE)
        await case.close(status, principal=BOSS, decision=APPROVE)


async def shows_a_question_as_it_was_asked(adapters: Adapters) -> None:
    """With its digest, its requirements and its expiry."""
    one = await _asked(adapters)
    assert (one.status, one.tool, one.arguments, one.requester) == ("pending", "pay", {"amount": 500}, "ann")
    assert one.requirements == asks().requirements
    assert timedelta(hours=23) < one.expires_at - datetime.now(UTC) < timedelta(hours=25)
    assert await adapters.desk.get(one.id) == one
    assert await adapters.desk.of_turn("t1", "turn-1") == [one]


async def lists_by_tenant_thread_and_status(adapters: Adapters) -> None:
    """What does not match is not there."""
    one = await _asked(adapters)
    assert await adapters.desk.list(tenant="default", thread="t1", status="pending") == [one]
    assert await adapters.desk.list(tenant="other") == []
    assert await adapters.desk.list(thread="t2") == []
    assert await adapters.desk.list(status="approved") == []
    assert await adapters.desk.list(status=None) == [one]


async def lets_one_of_many_close_it(adapters: Adapters) -> None:
    """The lock is held for the length of the block, and the first who closes it counts."""
    one = await _asked(adapters)
    statuses: list[ApprovalStatus] = ["approved", "rejected", "responded"]
    await asyncio.gather(*(_close(adapters, one.id, status) for status in statuses))
    closed = [kind for kind in await kinds(adapters) if kind in {f"approval.{status}" for status in statuses}]
    assert len(closed) == 1


async def changes_the_action_with_the_decision(adapters: Adapters) -> None:
    """Both are one transaction."""
    one = await _asked(adapters)
    await _close(adapters, one.id)
    (row,) = await adapters.journal.turn("t1", "turn-1")
    assert (row.status, row.approvers) == ("permitted", ("boss",))
    decided = await adapters.desk.get(one.id)
    assert decided is not None
    assert (decided.status, [each.principal for each in decided.signatures]) == ("approved", ["boss"])
    assert (await kinds(adapters))[-2:] == ["approval.signed", "approval.approved"]


async def leaves_nothing_of_a_decision_that_fails(adapters: Adapters) -> None:
    """An error inside the block takes everything back."""
    one = await _asked(adapters)
    before = await kinds(adapters)
    try:
        async with adapters.desk.deciding(one.id) as case:
            await case.sign(BOSS, APPROVE)
            raise LookupError
    except LookupError:
        pass
    assert await adapters.desk.get(one.id) == one
    assert await kinds(adapters) == before


async def replaces_an_edited_action(adapters: Adapters) -> None:
    """The old one is superseded, the new one has a question of its own."""
    one = await _asked(adapters)
    new = judged(asks(), edit=1, arguments={"amount": 400})
    async with adapters.desk.deciding(one.id) as case:
        await case.sign(BOSS, Decision(kind="edit", arguments={"amount": 400}))
        await case.replace(new, principal=BOSS)
        await case.close("edited", principal=BOSS, decision=Decision(kind="edit"))
    (row,) = await adapters.journal.turn("t1", "turn-1")
    assert (row.action.edit, row.action.call.arguments, row.status) == (1, {"amount": 400}, "asked")
    (waiting,) = await adapters.desk.list(thread="t1")
    assert waiting.id != one.id
    assert waiting.digest != one.digest


async def turns_overdue_questions_into_rejections(adapters: Adapters) -> None:
    """Once, and only those that are overdue."""
    one = await _asked(adapters)
    assert await adapters.desk.expire() == []
    later = datetime.now(UTC) + timedelta(days=2)
    assert await adapters.desk.expire(now=later) == [one.id]
    assert await adapters.desk.expire(now=later) == []
    (row,) = await adapters.journal.turn("t1", "turn-1")
    assert row.status == "rejected"
    assert (await kinds(adapters))[-1] == "approval.expired"


async def asks_a_question_of_its_own_once(adapters: Adapters) -> None:
    """Such as an escalation; asked again it stays as it was, another turn's is another one."""
    await adapters.threads.open(facts())

    async def ask(turn: str) -> None:
        day = timedelta(days=1)
        question = escalation_question(facts(), action="", turn=turn, why="stuck", by=["boss"], within=day)
        await adapters.desk.ask(question, actor=BOT)

    for turn in ("turn-1", "turn-1", "turn-2"):
        await ask(turn)
    assert len(await adapters.desk.list(thread="t1")) == 2
    assert (await kinds(adapters)).count("approval.asked") == 2


async def notes_a_refusal(adapters: Adapters) -> None:
    """The question stays as it was; the ledger has who tried."""
    one = await _asked(adapters)
    async with adapters.desk.deciding(one.id) as case:
        await case.refuse(BOSS, APPROVE, "not yours")
    assert await adapters.desk.get(one.id) == one
    assert (await kinds(adapters))[-1] == "approval.refused"


async def takes_an_answer_once(adapters: Adapters) -> None:
    """And shows at a replay what was shown at first."""
    await adapters.threads.open(facts())
    assert await adapters.desk.show("t1", "task", 0, ["A-1", "A-2"]) == ("A-1", "A-2")
    assert await adapters.desk.show("t1", "task", 0, ["A-2"]) == ("A-1", "A-2")
    assert [await adapters.desk.take_answer("t1", "task", 0) for _ in range(2)] == [True, False]
    assert await adapters.desk.take_answer("t1", "task", 1) is False


async def knows_what_it_does_not_have(adapters: Adapters) -> None:
    """None, or an error where something is to be decided."""
    assert await adapters.desk.get("A-NONE") is None
    try:
        async with adapters.desk.deciding("A-NONE"):
            raise AssertionError("there was nothing to decide")
    except UnknownApproval:
        pass


CHECKS: tuple[Check, ...] = (
    shows_a_question_as_it_was_asked,
    lists_by_tenant_thread_and_status,
    lets_one_of_many_close_it,
    changes_the_action_with_the_decision,
    leaves_nothing_of_a_decision_that_fails,
    replaces_an_edited_action,
    turns_overdue_questions_into_rejections,
    asks_a_question_of_its_own_once,
    notes_a_refusal,
    takes_an_answer_once,
    knows_what_it_does_not_have,
)
