"""P3: an approval is bound to what was shown, is decided once, used once, before it expires."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import plain
import pytest
from langgraph.types import Command

from bank import ANN, BOSS, CHIEF, POLICY, Bank, start, texts
from stateward import DecisionRefused, Effect, Principal, Runtime, Settings, call, tool
from stateward.errors import SealBroken, ThreadBusy, UnknownApproval
from stateward.model.approval import Decision
from stateward.orchestrate.steps import take_decision
from stateward.ports import Vote
from ways import every_way

BIG = [call("pay", amount=500)]
APPROVE = {"decisions": [{"type": "approve"}]}
LATER = datetime.now(UTC) + timedelta(days=3)


class User:
    """What LangGraph's server puts into the config for a person whom it has verified."""

    def __init__(self, identity: str, *, authenticated: object = True) -> None:
        self.identity, self.is_authenticated = identity, authenticated


def as_server(config: Any, identity: str = "boss", *, authenticated: object = True) -> Any:
    """The config as LangGraph's server gives it for that person."""
    user = User(identity, authenticated=authenticated)
    return {**config, "configurable": {**config["configurable"], "langgraph_auth_user": user}}


@pytest.mark.parametrize(
    "other",
    [
        {"script": [call("pay", amount=501)]},
        {"script": [call("pay", amount=500, to="mallory")]},
        {"policy": POLICY.replace("version: 1", "version: 2")},
        {"facts": {"requester": "bea"}},
    ],
)
def test_every_question_has_a_digest_of_its_own(bank: Bank, other: dict[str, Any]) -> None:
    first = bank.run(BIG).asked
    graph = bank.graph(other.get("script", BIG), policy=other.get("policy", POLICY))
    config = bank.config(**other.get("facts", {}))
    start(graph, config)
    second = bank.runtime.approvals(thread=config["configurable"]["thread_id"])[0]
    assert first.digest != second.digest


@every_way
def test_what_is_shown_is_what_runs(bank: Bank) -> None:
    run = bank.run([call("pay", amount="500")])
    (request,) = run.out["__interrupt__"][0].value["action_requests"]
    assert request["args"] == run.asked.arguments == run.actions()[0]["arguments"] == {"amount": 500.0}
    run.decide("approve")
    run.resume()
    assert bank.amounts() == [500.0]


@every_way
def test_it_is_decided_once(bank: Bank) -> None:
    run = bank.run(BIG)
    asked = run.asked
    run.decide("approve")
    for decision in ("approve", "reject", "edit", "respond"):
        with pytest.raises(DecisionRefused, match="it is approved already"):
            bank.runtime.decide(asked, decision, by=CHIEF, reason="late", arguments={"amount": 1})
    run.resume()
    assert bank.amounts() == [500]


def test_of_many_who_decide_at_once_one_decides(bank: Bank) -> None:
    run = bank.run(BIG)
    asked, barrier = run.asked, Barrier(6)

    def decide(at: int) -> str:
        barrier.wait(20)
        try:
            who, what = (BOSS, "approve") if at % 2 else (CHIEF, "reject")
            return bank.runtime.decide(asked, what, by=who, reason="no").status
        except DecisionRefused:
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(decide, range(6)))
    assert said.count("refused") == 5
    assert len([kind for kind in run.kinds if kind in ("approval.approved", "approval.rejected")]) == 1


def test_a_decision_after_it_expired_is_refused(bank: Bank) -> None:
    asked = bank.run(BIG).asked
    bank.rows("update stateward.approval set expires_at = now() - interval '1 second'")
    with pytest.raises(DecisionRefused, match="it expired at"):
        bank.runtime.decide(asked, "approve", by=BOSS)


@every_way
def test_an_expired_question_is_a_rejection(bank: Bank) -> None:
    run = bank.run(BIG)
    bank.rows("update stateward.approval set expires_at = now() - interval '1 second'")
    assert "nobody decided before" in texts(run.resume())[0]
    assert bank.amounts() == []
    assert "approval.expired" in run.kinds


@every_way
def test_an_approval_is_used_once(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    for _ in range(3):
        run.resume()
    assert bank.amounts() == [500]


@every_way
def test_resume_without_a_decision_does_nothing(bank: Bank) -> None:
    run = bank.run(BIG)
    run.graph.invoke(None, run.config)
    run.resume()
    run.graph.invoke(Command(resume=APPROVE), run.config)
    assert run.asked.status == "pending"
    assert bank.ran == []


@every_way
@pytest.mark.parametrize("fake", [{"identity": "boss"}, "boss", ["boss"], {"is_authenticated": True}])
def test_an_identity_that_a_client_writes_into_the_config_decides_nothing(bank: Bank, fake: Any) -> None:
    run = bank.run(BIG)
    config = {**run.config, "configurable": {**run.config["configurable"], "langgraph_auth_user": fake}}
    run.graph.invoke(Command(resume=APPROVE), config)
    assert run.asked.status == "pending"


def test_in_development_the_same_answer_decides(settings: Settings, database_url: str) -> None:
    from dataclasses import replace

    with Runtime.open(settings=replace(settings, development=True)) as runtime:
        bank = Bank(runtime=runtime, url=database_url)
        run = bank.run(BIG)
        run.graph.invoke(Command(resume=APPROVE), run.config)
        assert bank.amounts() == [500]
        (signature,) = runtime.approvals(status="approved")[0].signatures
        assert signature.verified_by == "development: nobody"


@every_way
def test_the_servers_verified_person_decides(bank: Bank) -> None:
    run = bank.run(BIG)
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    assert bank.amounts() == [500]
    assert bank.runtime.approvals(status="approved")[0].signatures[0].verified_by == "langgraph server"


@pytest.mark.parametrize("authenticated", [False, None, "yes", 1])
def test_a_user_whom_the_server_has_not_verified_decides_nothing(bank: Bank, authenticated: object) -> None:
    run = bank.run(BIG)
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config, authenticated=authenticated))
    assert run.asked.status == "pending"


@pytest.mark.parametrize("identity", [ANN, "mallory"])
def test_the_servers_person_needs_the_right_as_well(bank: Bank, identity: str) -> None:
    run = bank.run(BIG)
    out = run.graph.invoke(Command(resume=APPROVE), as_server(run.config, identity))
    assert run.asked.status == "pending"
    assert identity in out["__interrupt__"][0].value["action_requests"][0]["description"]


MALFORMED = [
    "yes", 0, False, [], {"decisions": []}, {"decisions": "approve"}, {"decisions": [{}]}, {"decisions": ["approve"]},
    {"decisions": [{"type": "approve"}, {"type": "approve"}]}, {"decisions": [{"type": "Approve"}]},
    {"decisions": [{"type": {"approve": 1}}]}, {"decisions": [{"type": "edit"}]},
    {"decisions": [{"type": "edit", "edited_action": {"name": "pay", "args": "500"}}]},
    {"decisions": [{"type": "edit", "edited_action": {"name": "pay", "args": {"amount": float("nan")}}}]},
    {"decisions": [{"type": "edit", "edited_action": {"name": "wire", "args": {"amount": 1}}}]},
    {"decisions": [{"type": "done"}]}, {"decisions": None}, [None], {"type": "approve", "decisions": 1},
]  # fmt: skip


@every_way
@pytest.mark.parametrize("answer", MALFORMED, ids=str)
def test_a_malformed_answer_asks_again_and_stays_answerable(bank: Bank, answer: object) -> None:
    run = bank.run(BIG)
    out = run.graph.invoke(Command(resume=answer), as_server(run.config))
    assert len(out["__interrupt__"]) == 1
    assert bank.ran == []
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    assert bank.amounts() == [500]


@pytest.mark.parametrize("answer", [[{"type": "accept", "args": None}], {"type": "approve"}, [{"type": "approve"}]])
def test_the_words_of_other_clients_are_understood(bank: Bank, answer: object) -> None:
    run = bank.run(BIG)
    run.graph.invoke(Command(resume=answer), as_server(run.config))
    assert bank.amounts() == [500]


def test_a_rejection_without_a_reason_is_a_rejection(bank: Bank) -> None:
    run = bank.run(BIG)
    out = run.graph.invoke(Command(resume={"decisions": [{"type": "reject"}]}), as_server(run.config))
    assert texts(out) == ["rejected: rejected without a reason"]


@every_way
def test_a_resume_that_is_sent_twice_acts_once(bank: Bank) -> None:
    run = bank.run(BIG)
    for _ in range(3):
        run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    assert bank.amounts() == [500]


@every_way
def test_a_stale_answer_by_id_does_not_answer_the_next_question(bank: Bank) -> None:
    run = bank.run(BIG, [call("pay", amount=900)])
    stale = {run.out["__interrupt__"][0].id: APPROVE}
    run.graph.invoke(Command(resume=stale), as_server(run.config))
    run.graph.invoke(Command(resume=stale), as_server(run.config))
    run.graph.invoke(None, as_server(run.config))
    assert bank.amounts() == [500]
    assert run.asked.arguments == {"amount": 900.0}


@every_way
def test_invoking_with_nothing_does_not_repeat_an_answer(bank: Bank) -> None:
    run = bank.run(BIG, [call("pay", amount=900)])
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    for _ in range(3):
        run.graph.invoke(None, as_server(run.config))
    assert bank.amounts() == [500]
    assert run.asked.arguments == {"amount": 900.0}


def test_an_answer_with_another_identity_afterwards_changes_nothing(bank: Bank) -> None:
    run = bank.run(BIG)
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    out = run.graph.invoke(Command(resume={"decisions": [{"type": "reject"}]}), as_server(run.config, "chief"))
    assert bank.amounts() == [500]
    assert "rejected" not in str(texts(out))


@every_way
def test_an_answer_that_nobody_verified_gave_is_not_replayed_by_a_person(bank: Bank) -> None:
    run = bank.run(BIG)
    run.graph.invoke(Command(resume=APPROVE), run.config)
    run.graph.invoke(None, as_server(run.config))
    assert run.asked.status == "pending"
    assert bank.ran == []


def stale_config(run: Any) -> Any:
    """The checkpoint at which the thread waited, as a browser tab that was left open sends it."""
    waiting = [one for one in run.graph.get_state_history(run.config) if one.next == ("approve",)]
    return as_server(waiting[0].config)


def test_a_stale_tab_neither_forks_the_thread_nor_repeats_the_effect(bank: Bank) -> None:
    run = bank.run(BIG)
    stale = stale_config(run)
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    before = run.graph.get_state(run.config)
    for _ in range(2):
        with pytest.raises(ThreadBusy):
            run.graph.invoke(Command(resume=APPROVE), stale)
    assert run.graph.get_state(run.config) == before
    assert bank.amounts() == [500]


def test_a_stale_tab_that_decides_otherwise_changes_nothing(bank: Bank) -> None:
    run = bank.run(BIG)
    stale = stale_config(run)
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    edit = {"decisions": [{"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 700}}}]}
    with pytest.raises(ThreadBusy):
        run.graph.invoke(Command(resume=edit), stale)
    assert bank.amounts() == [500]
    assert run.waiting == []


def test_a_tab_that_was_left_open_does_not_decide_the_next_question(bank: Bank) -> None:
    run = bank.run(BIG, [call("pay", amount=900)])
    stale = stale_config(run)
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    with pytest.raises(ThreadBusy):
        run.graph.invoke(Command(resume=APPROVE), stale)
    assert bank.amounts() == [500]
    assert {one.status for one in run.waiting} == {"pending"}


def both(first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
    """Both at once; what they raise is among the results."""
    barrier = Barrier(2)

    def one(work: Callable[[], Any]) -> Any:
        barrier.wait(20)
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, [first, second]))


@pytest.mark.parametrize("round_", range(5))
def test_two_workers_that_resume_one_decision_act_once(bank: Bank, settings: Settings, round_: int) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    with Runtime.open(settings=settings) as second:
        other = bank.graph(BIG, runtime=second)
        both(lambda: bank.runtime.resume(run.graph, run.thread), lambda: second.resume(other, run.thread))
    run.resume()
    assert bank.amounts() == [500]
    assert len(run.effects()) == 1


def test_two_workers_that_answer_one_interrupt_act_once(bank: Bank, settings: Settings) -> None:
    run = bank.run(BIG)
    with Runtime.open(settings=settings) as second:
        other = bank.graph(BIG, runtime=second)
        answer = Command(resume=APPROVE)
        both(
            lambda: run.graph.invoke(answer, as_server(run.config)),
            lambda: other.invoke(answer, as_server(run.config, "chief")),
        )
    run.resume()
    assert bank.amounts() == [500]
    assert run.kinds.count("approval.approved") == 1


@every_way
def test_a_changed_policy_asks_anew(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    stricter = POLICY.replace("version: 1", "version: 2").replace("by: [boss, chief]", "by: [chief]")
    out = run.resume(bank.graph(BIG, BIG, policy=stricter))
    assert bank.ran == []
    assert "propose it again" in texts(out)[0]
    assert run.asked.requirements[0].by == ("chief",)


def test_a_changed_tool_schema_asks_anew(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")

    @tool
    async def pay(amount: float, effect: Effect, to: str = "mallory") -> str:
        """Pay somebody."""
        bank.ran.append(("pay", amount, effect.key))
        return "paid"

    tools = [pay if one.name == "pay" else one for one in bank.tools()]
    from langchain_core.messages import AIMessage

    from stateward.testing import proposes

    changed = bank.flow(tools, POLICY, [proposes(*BIG), AIMessage("done")]).compile(bank.runtime)
    assert "propose it again" in texts(run.resume(changed))[0]
    assert bank.ran == []


@pytest.mark.parametrize(("limit", "amounts"), [("args.amount > 100", [5]), ("args.amount > 1", [])])
def test_a_permit_that_was_not_used_yet_holds_where_the_new_policy_gives_it_as_well(
    bank: Bank, limit: str, amounts: list[float]
) -> None:
    graph, config = bank.graph([call("pay", amount=5)]), bank.config()
    graph.invoke({"messages": [("user", "go")]}, config, interrupt_before=["act"])
    assert bank.ran == []
    changed = POLICY.replace("version: 1", "version: 2").replace("args.amount > 100", limit)
    bank.runtime.resume(bank.graph(policy=changed), config["configurable"]["thread_id"])
    assert bank.amounts() == amounts


@every_way
def test_arguments_that_are_changed_in_the_database_do_not_run(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    bank.rows("""update stateward.action set arguments = '{"amount": 9999}'""")
    with pytest.raises(SealBroken, match="arguments: it is not sealed"):
        run.resume()
    assert bank.ran == []


def test_an_approval_that_is_not_there_is_said_so(bank: Bank) -> None:
    with pytest.raises(UnknownApproval, match="A-NOTHERE"):
        bank.runtime.decide("A-NOTHERE", "approve", by=BOSS)


@every_way
def test_quorum_needs_different_people(bank: Bank) -> None:
    two = POLICY.replace("by: [boss, chief],", "by: [boss, chief], of: 2,")
    run = bank.run(BIG, policy=two)
    assert run.decide("approve").status == "pending"
    with pytest.raises(DecisionRefused, match="signed already"):
        run.decide("approve")
    run.resume()
    assert bank.ran == []
    assert run.decide("approve", by=CHIEF).status == "approved"
    run.resume()
    assert bank.amounts() == [500]


def test_one_rejection_outweighs_a_signature(bank: Bank) -> None:
    two = POLICY.replace("by: [boss, chief],", "by: [boss, chief], of: 2,")
    run = bank.run(BIG, policy=two)
    run.decide("approve")
    run.decide("reject", by=CHIEF, reason="no")
    assert texts(run.resume()) == ["rejected: no"]
    assert bank.ran == []


def test_every_asking_rule_needs_its_own_person(bank: Bank) -> None:
    line = "      - {when: args.amount > 100"
    second = "      - {when: args.amount > 400, by: [chief], because: very big}\n"
    policy = POLICY.replace(line, second + line.replace("100", "100")).replace("by: [boss, chief]", "by: [boss]")
    run = bank.run(BIG, policy=policy)
    assert len(run.asked.requirements) == 2
    assert run.decide("approve").status == "pending"
    assert run.decide("approve", by=CHIEF).status == "approved"
    run.resume()
    assert bank.amounts() == [500]


async def test_the_same_decision_through_two_doors_at_once(async_runtime: Any, database_url: str) -> None:
    import asyncio

    bank = Bank(runtime=async_runtime, url=database_url)
    graph = bank.graph(BIG)
    config = await bank.config("doors")
    await graph.ainvoke({"messages": [("user", "go")]}, config)
    (asked,) = await async_runtime.approvals()
    said = Decision(kind="approve")
    votes = [Vote(approval=asked.id, decision=said, by=Principal(who)) for who in ("boss", "chief") * 3]
    outcomes = await asyncio.gather(*(take_decision(async_runtime.services, vote) for vote in votes))
    assert sorted(type(one).__name__ for one in outcomes) == ["Decided"] + ["Refused"] * 5


def test_plain_a_double_click_answers_the_next_question_falls() -> None:
    bank = plain.PlainBank()
    agent, config = bank.asks(BIG, [call("pay", amount=900)])
    for _ in range(2):
        agent.invoke(Command(resume=plain.APPROVE), config)
    assert bank.ran == [("pay", 500), ("pay", 900)]


def test_plain_a_malformed_answer_is_kept_and_no_later_one_is_taken_falls() -> None:
    bank = plain.PlainBank()
    agent, config = bank.asks(BIG)
    for answer in ({"decisions": []}, plain.APPROVE, plain.APPROVE):
        with pytest.raises(ValueError, match=r"Number of human decisions \(0\)"):
            agent.invoke(Command(resume=answer), config)
    assert bank.ran == []


def test_plain_an_approval_holds_for_arguments_that_were_changed_since_falls() -> None:
    bank = plain.PlainBank()
    agent, config = bank.asks(BIG)
    said = agent.get_state(config).values["messages"][-1].model_copy(deep=True)
    said.tool_calls[0]["args"] = {"amount": 99999}
    agent.update_state(config, {"messages": [said]}, as_node="HumanInTheLoopMiddleware.after_model")
    agent.invoke(None, config)
    assert bank.ran == [("pay", 99999)]


def test_plain_two_workers_that_answer_one_interrupt_act_twice_falls(database_url: str) -> None:
    inside = Barrier(2)
    with plain.on_postgres(database_url) as first, plain.on_postgres(database_url) as second:
        agent, config = first.bank.asks(BIG)
        first.bank.during = second.bank.during = lambda: inside.wait(20) and None
        other = second.bank.agent(BIG)
        answer = Command(resume=plain.APPROVE)
        both(lambda: agent.invoke(answer, config), lambda: other.invoke(answer, config))
        assert [*first.bank.ran, *second.bank.ran] == [("pay", 500), ("pay", 500)]


def test_a_question_whose_short_id_is_taken_is_an_error_and_not_silence(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stateward.approve.ask.short_id", lambda letter, *_: f"{letter}-THESAME2")
    first = bank.run([call("pay", amount=500)])
    with pytest.raises(Exception, match="the id A-THESAME2 is that of another question"):
        bank.run([call("pay", amount=700)])
    assert first.asked.arguments["amount"] == 500
    assert [row["thread_id"] for row in bank.rows("select thread_id from stateward.action")] == [first.thread]
