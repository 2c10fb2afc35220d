"""The same wards on LangChain's `create_agent`: the policy's answers, people, crashes, budgets, foreign threads."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent

from bank import ANN, BOSS, POLICY, Bank, Killed
from stateward import DecisionRefused, PlaybookModel, Principal, Runtime, Settings, StatewardError, call
from stateward.orchestrate.playbook import Playbook
from stateward.verify.load import parse_policy


def agent_of(bank: Bank, playbook: Playbook, *, runtime: Any = None, policy: str = POLICY) -> Any:
    """A LangChain agent with the bank's tools under the bank's policy."""
    chosen = runtime or bank.runtime
    ward = chosen.middleware(policy=parse_policy(policy), tools=bank.tools(), principal="bot", purpose="bank")
    return create_agent(
        PlaybookModel(playbook=playbook),
        bank.tools(),
        middleware=[ward],
        checkpointer=chosen.checkpointer,
        store=chosen.store,
    )


def thread(bank: Bank, name: str = "case-1", **facts: Any) -> Any:
    """A thread for the agent."""
    given: dict[str, Any] = {"principal": Principal("bot", kind="agent"), "purpose": "bank", "subject": "customer:17"}
    return bank.runtime.thread(name, **(given | {"requester": ANN, "graph": "bot"} | facts))


def pays(*amounts: float) -> Playbook:
    """A playbook that pays these amounts in one turn and says what came of it."""

    def play(request: str) -> Any:
        results = yield [call("pay", amount=amount) for amount in amounts]
        return " | ".join(one.text for one in results)

    return play


GO = {"messages": [("user", "go")]}


def test_each_answer_of_the_policy_in_one_turn(bank: Bank) -> None:
    def play(request: str) -> Any:
        results = yield [call("pay", amount=5), call("pay", amount=500), call("pay", amount=-1), call("steal")]
        return " | ".join(one.text for one in results)

    agent, config = agent_of(bank, play), thread(bank)
    out = agent.invoke(GO, config)
    assert [one["name"] for one in out["__interrupt__"][0].value["action_requests"]] == ["pay"]
    (asked,) = bank.runtime.approvals(thread="case-1")
    bank.runtime.decide(asked, "approve", by=BOSS)
    said = bank.runtime.resume(agent, "case-1")["messages"][-1].text
    assert sorted(bank.amounts()) == [5, 500]
    assert "a payment is positive" in said
    assert "does not name this tool" in said
    assert bank.runtime.find_thread("case-1").status == "answered"
    assert bank.runtime.verify_audit().intact


def test_a_rejection_and_an_answer_in_place_of_the_tool_run_nothing(bank: Bank) -> None:
    agent, config = agent_of(bank, pays(500, 600)), thread(bank)
    agent.invoke(GO, config)
    first, second = bank.runtime.approvals(thread="case-1")
    bank.runtime.decide(first, "reject", reason="not ours", by=BOSS)
    bank.runtime.decide(second, "respond", reason="paid by hand", by=BOSS)
    said = bank.runtime.resume(agent, "case-1")["messages"][-1].text
    assert bank.amounts() == []
    assert "not ours" in said
    assert "paid by hand" in said


def test_an_edit_is_judged_again_and_asks_again(bank: Bank) -> None:
    agent, config = agent_of(bank, pays(500)), thread(bank)
    agent.invoke(GO, config)
    (asked,) = bank.runtime.approvals(thread="case-1")
    bank.runtime.decide(asked, "edit", by=BOSS, arguments={"amount": "300"})
    bank.runtime.resume(agent, "case-1")
    assert bank.amounts() == []
    (again,) = bank.runtime.approvals(thread="case-1")
    with pytest.raises(DecisionRefused, match="editor"):
        bank.runtime.decide(again, "approve", by=BOSS)
    bank.runtime.decide(again, "approve", by=Principal("chief"))
    bank.runtime.resume(agent, "case-1")
    assert bank.amounts() == [300]


def test_an_edit_in_another_process_needs_the_agent_loaded_and_says_so(bank: Bank, settings: Settings) -> None:
    agent_of(bank, pays(500)).invoke(GO, thread(bank))
    (asked,) = bank.runtime.approvals(thread="case-1")
    with Runtime.open(settings=settings) as other:
        with pytest.raises(StatewardError, match="not loaded in this process"):
            other.decide(asked, "edit", by=BOSS, arguments={"amount": 7})
        agent = agent_of(bank, pays(500), runtime=other)
        other.decide(asked, "edit", by=BOSS, arguments={"amount": 7})
        other.resume(agent, "case-1")
    assert bank.amounts() == [7]


def test_a_write_that_was_cut_off_is_a_question_to_people(bank: Bank) -> None:
    def play(request: str) -> Any:
        result = yield call("pay", amount=50)
        return result.text

    def die() -> None:
        raise Killed

    agent, config = agent_of(bank, play), thread(bank)
    bank.during = die
    with pytest.raises(Killed):
        agent.invoke(GO, config)
    bank.during = lambda: None
    bank.runtime.resume(agent, "case-1")
    (asked,) = bank.runtime.approvals(thread="case-1")
    assert asked.kind == "outcome"
    bank.runtime.decide(asked, "done", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert bank.amounts() == [50]


def test_two_writes_of_one_turn_that_were_cut_off_are_two_questions_and_go_on(bank: Bank) -> None:
    def fail() -> None:
        raise TimeoutError("the other side did not answer")

    agent, config = agent_of(bank, pays(50, 60)), thread(bank)
    bank.during = fail
    agent.invoke(GO, config)
    bank.during = lambda: None
    first, second = bank.runtime.approvals(thread="case-1")
    bank.runtime.resume(agent, "case-1")  # nothing is decided yet
    bank.runtime.decide(second, "done", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    bank.runtime.decide(first, "retry", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert sorted(bank.amounts()) in ([50, 50, 60], [50, 60, 60])
    assert bank.runtime.find_thread("case-1").status == "answered"


def test_a_used_up_budget_asks_and_ends_the_run_where_nobody_helps(bank: Bank) -> None:
    def play(request: str) -> Any:
        yield call("pay", amount=1)
        yield call("pay", amount=2)
        return "done"

    agent = agent_of(bank, play, policy=POLICY.replace("steps: 50", "steps: 1"))
    agent.invoke(GO, thread(bank))
    (asked,) = bank.runtime.approvals(thread="case-1")
    assert asked.kind == "escalation"
    bank.runtime.decide(asked, "reject", reason="enough", by=BOSS)
    said = bank.runtime.resume(agent, "case-1")["messages"][-1].text
    assert bank.amounts() == [1]
    assert "budget of 1 steps" in said


def test_a_thread_of_another_agent_or_of_other_tools_is_refused(bank: Bank) -> None:
    config = thread(bank, graph="somebody-else")
    agent = agent_of(bank, pays(5))
    with pytest.raises(StatewardError, match="opened for 'bot' on 'somebody-else'"):
        agent.invoke(GO, config)
    with pytest.raises(StatewardError, match="not known"):
        agent.invoke(GO, bank.runtime.config("never-opened"))
    assert bank.amounts() == []


async def test_it_works_awaited(bank: Bank) -> None:
    agent, config = agent_of(bank, pays(5, 500)), thread(bank)
    out = await agent.ainvoke(GO, config)
    assert "__interrupt__" in out
    bank.runtime.decide(bank.runtime.approvals(thread="case-1")[0], "approve", by=BOSS)
    await agent.ainvoke(None, config)
    assert sorted(bank.amounts()) == [5, 500]


def test_it_survives_that_every_idle_backend_was_killed(bank: Bank) -> None:
    agent, config = agent_of(bank, pays(500)), thread(bank)
    agent.invoke(GO, config)
    # Waits until each is gone: a backend that dies between the look at its socket and the query is another matter.
    others = "datname = current_database() and pid <> pg_backend_pid()"
    killed = bank.rows(f"select pg_terminate_backend(pid, 10000) as gone from pg_stat_activity where {others}")
    assert killed
    assert all(one["gone"] for one in killed)
    (asked,) = bank.runtime.approvals(thread="case-1")
    bank.runtime.decide(asked, "approve", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert bank.amounts() == [500]


async def test_many_calls_of_one_turn_at_once_do_not_lock_each_other_out(bank: Bank) -> None:
    amounts = [float(amount) for amount in range(1, 21)]
    agent, config = agent_of(bank, pays(*amounts)), thread(bank)
    await agent.ainvoke(GO, config)
    assert sorted(bank.amounts()) == amounts
    assert bank.runtime.verify_audit().intact
