"""The desk's contract: a decision is checked and taken in one step, once, by the server's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stateward.approve.ask import escalation_question
from stateward.errors import UnknownApproval
from stateward.model.approval import Approval, Decision, DecisionKind
from stateward.model.principal import Principal
from stateward.model.values import Json
from stateward.model.verdict import Ask
from stateward.ports import Decided, EditCase, Judged, Refused, Vote
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import BOSS, BOT, asks, facts, judged, kinds, permit, recorded

APPROVE = Decision(kind="approve")
DAY, AT_ONCE = timedelta(days=1), timedelta(milliseconds=1)
CHIEF, DEPUTY = Principal("chief"), Principal("deputy")


async def _asked(adapters: Adapters, verdict: Ask | None = None) -> Approval:
    await recorded(adapters, judged(verdict or asks()))
    (one,) = await adapters.desk.list(thread="t1")
    return one


def _asking(**rule: Any) -> Ask:
    """A verdict with one rule that is otherwise as usual."""
    return Ask(requirements=(replace(asks().requirements[0], **rule),))


async def _vote(
    adapters: Adapters, approval: Approval, kind: DecisionKind = "approve", by: Principal = BOSS, **more: Any
) -> Approval | str:
    """The approval after a decision, or why it was refused."""
    decision = Decision(kind=kind, reason="because", **more)
    said = await adapters.desk.decide(Vote(approval=approval.id, decision=decision, by=by), rejudge=_never)
    return said.approval if isinstance(said, Decided) else said.why


async def _never(*_: object) -> str:
    raise AssertionError("nothing was to be judged")


async def _now(adapters: Adapters, approval: Approval) -> Approval:
    found = await adapters.desk.get(approval.id)
    assert found is not None
    return found


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


async def lets_one_of_many_decide(adapters: Adapters) -> None:
    """Whoever is first; the others are told that it is decided."""
    one = await _asked(adapters, _asking(by=("boss", "chief", "deputy")))
    votes: list[tuple[DecisionKind, Principal]] = [("approve", BOSS), ("reject", CHIEF), ("respond", DEPUTY)]
    said = await asyncio.gather(*(_vote(adapters, one, kind, by) for kind, by in votes))
    assert len([each for each in said if isinstance(each, Approval)]) == 1
    closed = {f"approval.{status}" for status in ("approved", "rejected", "responded")}
    assert len([kind for kind in await kinds(adapters) if kind in closed]) == 1


async def changes_the_action_with_the_decision(adapters: Adapters) -> None:
    """Both are one transaction."""
    one = await _asked(adapters)
    await _vote(adapters, one)
    (row,) = await adapters.journal.turn("t1", "turn-1")
    assert (row.status, row.approvers) == ("permitted", ("boss",))
    decided = await _now(adapters, one)
    assert (decided.status, [each.principal for each in decided.signatures]) == ("approved", ["boss"])
    assert (await kinds(adapters))[-2:] == ["approval.signed", "approval.approved"]


async def refuses_and_says_why(adapters: Adapters) -> None:
    """The question stays as it was; the ledger has who tried."""
    one = await _asked(adapters)
    assert await _vote(adapters, one, by=Principal("mallory")) == "mallory may not decide this; it is for boss"
    assert await _now(adapters, one) == one
    assert (await kinds(adapters))[-1] == "approval.refused"


async def binds_a_decision_to_what_was_shown(adapters: Adapters) -> None:
    """Whoever was shown something else decides nothing."""
    one = await _asked(adapters)
    for digest, outcome in (("other", Refused), (one.digest, Decided)):
        vote = Vote(approval=one.id, decision=APPROVE, by=BOSS, digest=digest)
        said = await adapters.desk.decide(vote, rejudge=_never)
        assert isinstance(said, outcome)


async def counts_a_quorum(adapters: Adapters) -> None:
    """As many different people as the rule says."""
    one = await _asked(adapters, _asking(by=("boss", "chief"), of=2))
    first = await _vote(adapters, one)
    assert isinstance(first, Approval)
    assert first.status == "pending"
    assert "signed already" in str(await _vote(adapters, one))
    second = await _vote(adapters, one, by=CHIEF)
    assert isinstance(second, Approval)
    assert second.status == "approved"
    (row,) = await adapters.journal.turn("t1", "turn-1")
    assert row.approvers == ("boss", "chief")


async def asks_stage_by_stage(adapters: Adapters) -> None:
    """A later stage's people have no turn before the earlier one is met, and their time begins then."""
    rule = asks().requirements[0]
    one = await _asked(
        adapters, Ask(requirements=(rule, replace(rule, by=("chief",), stage=2, within=timedelta(days=9))))
    )
    assert (one.stage, one.expires_at - one.requested_at < timedelta(days=2)) == (1, True)
    assert await _vote(adapters, one, by=CHIEF) == "it is not chief's turn yet; first it is for boss"
    passed = await _vote(adapters, one)
    assert isinstance(passed, Approval)
    assert (passed.status, passed.stage) == ("pending", 2)
    assert passed.expires_at - one.requested_at > timedelta(days=8)
    assert (await kinds(adapters))[-1] == "approval.passed_on"
    done = await _vote(adapters, one, by=CHIEF)
    assert isinstance(done, Approval)
    assert done.status == "approved"


async def wants_what_has_to_be_typed(adapters: Adapters) -> None:
    """Exactly that, and nothing empty."""
    one = await _asked(adapters, _asking(confirm=True))
    assert one.confirmation == "500"
    for typed in (None, "", "  ", "50", "5000", "approve"):
        assert "has to be typed" in str(await _vote(adapters, one, confirmation=typed))
    assert isinstance(await _vote(adapters, one, confirmation=" 500 "), Approval)


async def has_an_edit_judged_before_it_is_taken(adapters: Adapters) -> None:
    """Nothing changes until then; the old action is superseded, the new one has a question of its own."""
    one = await _asked(adapters)
    new = replace(judged(asks(), edit=1, arguments={"amount": 400}), editor="boss")

    async def rejudge(case: EditCase, arguments: Mapping[str, Json], editor: str) -> Judged:
        assert (case.thread, case.action.action.call.arguments) == (facts(), {"amount": 500})
        assert (arguments, editor, await _now(adapters, one)) == ({"amount": 400}, "boss", one)
        return new

    vote = Vote(approval=one.id, decision=Decision(kind="edit", arguments={"amount": 400}), by=BOSS)
    assert isinstance(await adapters.desk.decide(vote, rejudge=rejudge), Decided)
    (row,) = await adapters.journal.turn("t1", "turn-1")
    assert (row.action.edit, row.action.call.arguments, row.status) == (1, {"amount": 400}, "asked")
    (waiting,) = await adapters.desk.list(thread="t1")
    assert (waiting.editor, waiting.id != one.id, waiting.digest != one.digest) == ("boss", True, True)
    assert (await kinds(adapters))[-4:] == ["approval.signed", "action.asked", "approval.asked", "approval.edited"]


async def refuses_an_edit_that_does_not_fit(adapters: Adapters) -> None:
    """And keeps in the ledger why; one that fails while it is judged leaves nothing."""
    one = await _asked(adapters)
    before = await kinds(adapters)

    async def fails(*_: object) -> str:
        raise LookupError

    async def refuses(*_: object) -> str:
        return "amount is missing"

    vote = Vote(approval=one.id, decision=Decision(kind="edit", arguments={}), by=BOSS)
    try:
        await adapters.desk.decide(vote, rejudge=fails)
    except LookupError:
        assert await kinds(adapters) == before
    said = await adapters.desk.decide(vote, rejudge=refuses)
    assert isinstance(said, Refused)
    assert said.why == "amount is missing"
    assert await _now(adapters, one) == one
    assert await kinds(adapters) == [*before, "approval.refused"]


async def turns_overdue_questions_into_rejections(adapters: Adapters) -> None:
    """Once, however many look, and only those that are overdue."""
    await _asked(adapters)
    assert await adapters.desk.tick() == []
    await recorded(adapters, judged(_asking(within=AT_ONCE), call="c2", position=1))
    await asyncio.sleep(0.01)
    found = await asyncio.gather(*(adapters.desk.tick() for _ in range(4)))
    (notice,) = [one for each in found for one in each]
    assert (notice.event, notice.approval.status, notice.approval.tool) == ("expired", "expired", "pay")
    assert [row.status for row in await adapters.journal.turn("t1", "turn-1")] == ["asked", "rejected"]
    assert (await kinds(adapters))[-1] == "approval.expired"


async def escalates_once(adapters: Adapters) -> None:
    """With time of its own, to those whom the rule names; then it lapses."""
    rule = _asking(within=AT_ONCE, escalate=("chief",), escalate_within=DAY)
    one = await _asked(adapters, rule)
    await asyncio.sleep(0.01)
    assert "it expired at" in str(await _vote(adapters, one))
    found = await _now(adapters, one)
    assert (found.status, found.asking, found.open_requirements[0].by) == ("pending", 2, ("chief",))
    assert timedelta(hours=23) < found.expires_at - datetime.now(UTC) < timedelta(hours=25)
    assert (await kinds(adapters))[-1] == "approval.escalated"
    assert await _vote(adapters, one) == "boss may not decide this; it is for chief"
    assert isinstance(await _vote(adapters, one, by=CHIEF), Approval)


async def an_escalation_lapses_too(adapters: Adapters) -> None:
    """It is escalated once."""
    one = await _asked(adapters, _asking(within=AT_ONCE, escalate=("chief",), escalate_within=AT_ONCE))
    events: list[str] = []
    for _ in range(4):
        await asyncio.sleep(0.01)
        events += [notice.event for notice in await adapters.desk.tick()]
    assert events == ["escalated", "expired"]
    assert (await _now(adapters, one)).status == "expired"


async def delegates_a_right_for_a_time(adapters: Adapters) -> None:
    """The delegate decides for the delegator until it ends or is revoked."""
    one = await _asked(adapters, _asking(of=1))
    ends = datetime.now(UTC) + DAY
    given = await adapters.desk.delegate(BOSS, to="deputy", until=ends, by=BOSS)
    assert not isinstance(given, str)
    assert await adapters.desk.delegations(person="deputy") == [given]
    revoked = await adapters.desk.revoke(given.id, by=BOSS)
    assert not isinstance(revoked, str)
    assert "may not decide this" in str(await _vote(adapters, one, by=DEPUTY))
    assert not isinstance(await adapters.desk.delegate(BOSS, to="deputy", until=ends, by=BOSS), str)
    done = await _vote(adapters, one, by=DEPUTY)
    assert isinstance(done, Approval)
    assert (done.signatures[0].principal, done.signatures[0].acting_for) == ("deputy", "boss")
    assert await kinds(adapters, "desk:default") == ["delegation.granted", "delegation.revoked", "delegation.granted"]


async def refuses_to_delegate_what_is_not_ones_own(adapters: Adapters) -> None:
    """Neither another's right, nor a role that one does not have, nor to oneself, nor for the past."""
    ends, held = datetime.now(UTC) + DAY, Principal("boss", roles=["lead"])
    tries: list[tuple[Principal, str, datetime, Principal]] = [
        (CHIEF, "deputy", ends, BOSS),
        (held, "deputy", ends, BOSS),
        (BOSS, "boss", ends, BOSS),
        (BOSS, "deputy", ends - 2 * DAY, BOSS),
        (BOSS, "deputy", ends, Principal("boss", kind="agent")),
    ]
    for principal, to, until, by in tries:
        assert isinstance(await adapters.desk.delegate(principal, to=to, until=until, by=by), str)
    assert await adapters.desk.delegations() == []
    assert await kinds(adapters, "desk:default") == ["delegation.refused"] * len(tries)
    assert isinstance(await adapters.desk.revoke("D-NONE", by=BOSS), str)


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


async def shows_at_a_replay_what_was_shown_at_first(adapters: Adapters) -> None:
    """Whatever has been asked or decided meanwhile."""
    one = await _asked(adapters)
    assert (await adapters.desk.look("t1", "turn-1")).shown == ()
    first = await adapters.desk.look("t1", "turn-1", task="task", round_=0)
    assert (first.shown, first.pending, [row.status for row in first.actions]) == ((one.id,), True, ["asked"])
    await recorded(adapters, judged(asks(), call="c2", position=1))
    again = await adapters.desk.look("t1", "turn-1", task="task", round_=0)
    assert (again.shown, len(again.questions)) == ((one.id,), 2)


async def takes_an_answer_once(adapters: Adapters) -> None:
    """With the decisions in it."""
    one = await _asked(adapters)
    await adapters.desk.look("t1", "turn-1", task="task", round_=0)
    votes = [Vote(approval=one.id, decision=APPROVE, by=BOSS)]
    said = await asyncio.gather(*(adapters.desk.answer("t1", "task", 0, votes) for _ in range(3)))
    (taken,) = [each for each in said if each is not None]
    assert [type(each) for each in taken] == [Decided]
    assert await adapters.desk.answer("t1", "task", 1, votes) is None
    assert (await kinds(adapters)).count("approval.signed") == 1


async def knows_what_a_thread_waits_for(adapters: Adapters) -> None:
    """As long as it is open, as nobody has gone on, or for the task that showed it; else a write that has not ended."""
    await adapters.threads.open(facts())
    assert await adapters.desk.awaited("t1") is None
    one = await _asked(adapters)
    assert await adapters.desk.awaited("t1") == one.turn
    await adapters.threads.mark("t1", "waiting", actor=BOT)
    await adapters.desk.look("t1", "turn-1", task="task", round_=0)
    await _vote(adapters, one)
    assert await adapters.desk.awaited("t1") == one.turn
    await adapters.threads.mark("t1", "open", actor=BOT)
    assert await adapters.desk.awaited("t1") is None
    assert await adapters.desk.awaited("t1", task="another") is None
    assert await adapters.desk.awaited("t1", task="task") == one.turn
    begun = await permit(adapters, judged(turn="turn-2"))
    await adapters.journal.reserve(begun, actor=BOT)
    assert await adapters.desk.awaited("t1") == "turn-2"
    await adapters.journal.settle(begun, attempt=1, result={}, actor=BOT)
    assert await adapters.desk.awaited("t1") is None


async def knows_what_it_does_not_have(adapters: Adapters) -> None:
    """None, or an error where something is to be decided."""
    assert await adapters.desk.get("A-NONE") is None
    try:
        await adapters.desk.decide(Vote(approval="A-NONE", decision=APPROVE, by=BOSS), rejudge=_never)
        raise AssertionError("there was nothing to decide")
    except UnknownApproval:
        pass


CHECKS: tuple[Check, ...] = (
    shows_a_question_as_it_was_asked,
    lists_by_tenant_thread_and_status,
    lets_one_of_many_decide,
    changes_the_action_with_the_decision,
    refuses_and_says_why,
    binds_a_decision_to_what_was_shown,
    counts_a_quorum,
    asks_stage_by_stage,
    wants_what_has_to_be_typed,
    has_an_edit_judged_before_it_is_taken,
    refuses_an_edit_that_does_not_fit,
    turns_overdue_questions_into_rejections,
    escalates_once,
    an_escalation_lapses_too,
    delegates_a_right_for_a_time,
    refuses_to_delegate_what_is_not_ones_own,
    asks_a_question_of_its_own_once,
    shows_at_a_replay_what_was_shown_at_first,
    takes_an_answer_once,
    knows_what_a_thread_waits_for,
    knows_what_it_does_not_have,
)
