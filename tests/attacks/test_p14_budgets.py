"""P14, for budgets: steps, tokens, money and time stop a run before the next model call and before the next action.

What is used up is counted in the thread's row, with the commit of the step that used it. Graph state has no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool as plain_tool
from langgraph.graph import END, START, MessagesState, StateGraph

from bank import ANN, POLICY, Bank, Killed, Started, texts
from stateward import PolicyError, Principal, Runtime, Settings, call
from stateward.errors import ConfigurationError
from stateward.orchestrate.playbook import PlaybookCall
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

PRICES = "prices: {brain-1: {input: 2, output: 10}}\n"


def policy(budget: str, *, prices: str = "") -> str:
    """The bank's policy with another budget; `chief` is who is escalated to."""
    made = POLICY.replace("budget: {steps: 50}", f"budget: {{{budget}}}")
    return f"{made}{prices}escalate: {{to: [chief], after: 2d}}\n"


def using(
    *calls: PlaybookCall, read: int, written: int, text: str = "", model: str | None = "brain-1-2026-05-01"
) -> AIMessage:
    """What a model says, with what it used for that."""
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    named = {"model_name": model} if model else {}
    return proposes(*calls, text=text).model_copy(update={"usage_metadata": usage, "response_metadata": named})


def spent(run: Started) -> tuple[int, int, float]:
    """What the thread's row says: steps, tokens, dollars."""
    (row,) = run.bank.rows("select steps, tokens, usd from stateward.thread where thread_id = %s", run.thread)
    return row["steps"], row["tokens"], float(row["usd"])


def backdate(run: Started, days: int) -> None:
    """The thread was opened so many days earlier."""
    run.bank.rows(
        "update stateward.thread set created_at = created_at - make_interval(days => %s) where thread_id = %s",
        days,
        run.thread,
    )


GO = {"messages": [("user", "go")]}
LOOK, PAY = call("look", what="x"), call("pay", amount=5)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("tokens: 100", "the budget of 100 tokens is used up: 110 were"),
        ("usd: 0.0006", "the budget of 0.0006 USD is used up: 0.0006 were"),
    ],
)
def test_what_is_used_up_stops_the_next_action_and_the_next_model_call(bank: Bank, budget: str, said: str) -> None:
    run = bank.run(using(PAY, read=60, written=50), using(PAY, read=1, written=1), policy=policy(budget, prices=PRICES))
    assert bank.ran == []
    assert texts(run.out) == [f"denied: {said}"]
    assert run.asked.kind == "escalation"
    assert said in run.asked.description
    assert spent(run) == (2, 110, 0.00062)
    assert [row["reasons"][0]["rule"] for row in run.actions()] == [f"budget.{budget.partition(':')[0]}"]


def test_a_call_that_asks_people_is_denied_as_well(bank: Bank) -> None:
    run = bank.run(using(call("pay", amount=500), read=60, written=50), policy=policy("tokens: 100"))
    assert [row["verdict"] for row in run.actions()] == ["deny"]
    assert [one.kind for one in run.waiting] == ["escalation"]


def test_a_budget_that_is_not_used_up_stops_nothing(bank: Bank) -> None:
    last = using(read=5, written=5, text="done")
    run = bank.run(using(PAY, read=60, written=30), last, policy=policy("tokens: 100, usd: 1, wall: 1d", prices=PRICES))
    assert bank.amounts() == [5]
    assert run.out["outcome"] == "answered"
    assert spent(run)[:2] == (2, 100)


def test_what_a_person_says_raises_no_budget_and_a_new_policy_does(bank: Bank) -> None:
    script = [using(PAY, read=60, written=50), using(PAY, read=10, written=10), using(read=1, written=1)]
    run = bank.run(*script, policy=policy("tokens: 100"))
    first = run.asked.id
    run.decide("respond", by=Principal("chief"), reason="go on, whatever it costs")
    run.resume()
    assert (run.asked.id != first, run.asked.kind, spent(run)[1]) == (True, "escalation", 110)
    run.decide("respond", by=Principal("chief"), reason="there is more now")
    run.resume(bank.graph(*script, policy=policy("tokens: 1000")))
    assert (bank.amounts(), run.out["outcome"]) == ([5], "answered")


def test_nothing_in_the_state_gives_a_budget_back(bank: Bank) -> None:
    run = bank.run(using(PAY, read=60, written=50), policy=policy("tokens: 100"))
    forged = using(read=-500, written=-500, text="it was free").model_copy(update={"id": "forged"})
    run.graph.update_state(run.config, {"messages": [forged], "failures": 0, "outcome": ""}, as_node="escalate")
    run.graph.invoke({"messages": [("user", "again")]}, run.config)
    assert spent(run)[1] == 110
    assert bank.ran == []


def test_a_model_that_says_it_used_less_than_nothing_gives_nothing_back(bank: Bank) -> None:
    script = [using(PAY, read=30, written=30), using(LOOK, read=-90, written=-90), using(read=1, written=1)]
    run = bank.run(*script, policy=policy("tokens: 100"))
    assert spent(run)[1] == 62


@pytest.mark.parametrize("budget", ["tokens: 100", "usd: 1"])
def test_a_model_that_does_not_say_what_it_uses_is_refused(bank: Bank, budget: str) -> None:
    with pytest.raises(ConfigurationError, match="does not say how many tokens it used"):
        bank.run([PAY], policy=policy(budget, prices=PRICES))
    assert bank.ran == []


def test_a_budget_of_money_needs_prices_when_it_is_read() -> None:
    with pytest.raises(PolicyError, match=r"<policy>:4:15: a budget in usd needs to know what models cost"):
        parse_policy("policy: p\nversion: 1\n# money\nbudget: {usd: 5}")


@pytest.mark.parametrize("model", ["brain-2", None])
def test_a_model_without_a_price_is_refused_before_it_acts(bank: Bank, model: str | None) -> None:
    with pytest.raises(ConfigurationError, match="names no price for"):
        bank.run(using(PAY, read=1, written=1, model=model), policy=policy("usd: 1", prices=PRICES))
    assert bank.ran == []


def test_a_known_model_without_a_price_is_refused_before_it_costs_anything(bank: Bank) -> None:
    class Named(ScriptedModel):
        model_name: str = "brane-1"

    flow = bank.flow(bank.tools(), policy("usd: 1", prices=PRICES), [])
    planner = Named(script=[])
    graph = flow.compile(bank.runtime, planner=planner)
    with pytest.raises(ConfigurationError, match=r"'brane-1'.*did you mean 'brain-1'"):
        graph.invoke(GO, bank.config())


def test_time_stops_a_permit_that_people_gave_too_late(bank: Bank, settings: Settings) -> None:
    rules = policy("wall: 7d")
    run = bank.run([call("pay", amount=500)], policy=rules)
    run.decide("approve")
    backdate(run, 8)
    with Runtime.open(settings=settings) as other:
        out = other.resume(bank.graph([call("pay", amount=500)], policy=rules, runtime=other), run.thread)
    assert bank.ran == []
    assert texts(out)[0].startswith("refused: the budget of 1w is used up: the thread was opened 8 days")
    assert run.asked.kind == "escalation"


def test_what_was_begun_in_time_is_still_found_out(bank: Bank, settings: Settings) -> None:
    def die() -> None:
        raise Killed

    rules, config, bank.during = policy("wall: 7d"), bank.config(), die
    with Runtime.open(settings=settings) as first, pytest.raises(Killed):
        bank.graph([call("wire", amount=5)], policy=rules, runtime=first).invoke(GO, config)
    run = Started(bank=bank, graph=bank.graph([call("wire", amount=5)], policy=rules), config=config, out={})
    backdate(run, 8)
    run.resume()
    assert [row["status"] for row in run.effects()] == ["settled"]


def test_a_crash_neither_loses_nor_doubles_what_was_used(bank: Bank, settings: Settings) -> None:
    def die() -> None:
        raise Killed

    script = [using(call("renew", amount=5), read=20, written=20), using(LOOK, read=10, written=10)]
    rules, config, bank.during = policy("tokens: 60"), bank.config(), die
    with Runtime.open(settings=settings) as first, pytest.raises(Killed):
        bank.graph(*script, policy=rules, runtime=first).invoke(GO, config)
    bank.during = lambda: None
    run = Started(bank=bank, graph=bank.graph(*script, policy=rules), config=config, out={})
    assert spent(run)[:2] == (1, 40)
    run.resume()
    assert spent(run)[:2] == (3, 60)
    assert [one.kind for one in run.waiting] == ["escalation"]
    assert [name for name, _, _ in bank.ran] == ["renew", "renew"]  # idempotent, with the same key; the look was denied


def test_a_worker_that_comes_back_knows_what_others_have_used(bank: Bank, settings: Settings) -> None:
    big = call("pay", amount=500)
    script = [using(big, read=10, written=0), using(big, read=80, written=0), using(LOOK, read=10, written=0)]
    rules = policy("tokens: 95")
    run = bank.run(*script, policy=rules)
    run.decide("approve")
    with Runtime.open(settings=settings) as other:
        other.resume(bank.graph(*script, policy=rules, runtime=other), run.thread)
    assert spent(run)[1] == 90
    run.decide("approve")
    run.resume()
    assert [name for name, _, _ in bank.ran] == ["pay", "pay"]
    assert run.asked.kind == "escalation"
    assert spent(run)[1] == 100


class Counting(ScriptedModel):
    """A model that is asked for something else each time, for ever."""

    asked: Any = None

    def _generate(self, *given: Any, **more: Any) -> Any:
        next(self.asked)
        return super()._generate(*given, **more)


def endless(asked: Iterator[int]) -> Counting:
    return Counting(script=[using(LOOK, read=10, written=10) for _ in range(30)], asked=asked)


def agent(bank: Bank, asked: Iterator[int], budget: str) -> Any:
    ward = bank.runtime.middleware(
        policy=parse_policy(policy(budget, prices=PRICES)), tools=bank.tools(), principal="bot", purpose="bank"
    )
    saver, store = bank.runtime.checkpointer, bank.runtime.store
    return create_agent(endless(asked), bank.tools(), middleware=[ward], checkpointer=saver, store=store)


def opened(bank: Bank) -> Any:
    facts: dict[str, Any] = {"purpose": "bank", "subject": "customer:17", "requester": ANN, "graph": "bot"}
    return bank.runtime.thread("case-1", principal=Principal("bot", kind="agent"), **facts)


@pytest.mark.parametrize(("budget", "turns"), [("steps: 3", 3), ("tokens: 60", 3), ("usd: 0.0002", 2)])
def test_an_agent_stops_before_the_model_is_asked_again(bank: Bank, budget: str, turns: int) -> None:
    asked = count()
    graph, config = agent(bank, asked, budget), opened(bank)
    graph.invoke(GO, config)
    (question,) = bank.runtime.approvals(thread="case-1")
    assert (question.kind, next(asked)) == ("escalation", turns)
    assert "is used up" in question.description
    bank.runtime.decide(question, "respond", by=Principal("chief"), reason="go on")
    bank.runtime.resume(graph, "case-1")
    (again,) = bank.runtime.approvals(thread="case-1")
    bank.runtime.decide(again, "reject", by=Principal("chief"), reason="enough")
    out = bank.runtime.resume(graph, "case-1")
    assert next(asked) == turns + 1  # only this test has counted on
    assert out["messages"][-1].text.startswith("The run was ended: the budget of")
    assert bank.runtime.find_thread("case-1").status == "escalated"


def test_agents_within_a_graph_use_up_one_budget(bank: Bank) -> None:
    asked = count()
    ward = bank.runtime.middleware(
        policy=parse_policy(policy("tokens: 70")), tools=bank.tools(), principal="bot", purpose="bank"
    )
    one = create_agent(
        Counting(script=[using(LOOK, read=10, written=10), using(read=10, written=10, text="done")] * 9, asked=asked),
        bank.tools(),
        middleware=[ward],
    )
    parent: Any = StateGraph(MessagesState)
    for name in ("first", "second", "third"):
        parent.add_node(name, one)
    for edge in ((START, "first"), ("first", "second"), ("second", "third"), ("third", END)):
        parent.add_edge(*edge)
    graph = parent.compile(checkpointer=bank.runtime.checkpointer, store=bank.runtime.store)
    graph.invoke(GO, opened(bank))
    (question,) = bank.runtime.approvals(thread="case-1")
    assert (question.kind, next(asked)) == ("escalation", 4)


def test_a_plain_agent_goes_on_for_ever() -> None:
    @plain_tool
    def look(what: str) -> str:
        """Look something up."""
        return what

    asked = count()
    with pytest.raises(IndexError, match="the script ends"):
        create_agent(endless(asked), [look]).invoke(GO)
    assert next(asked) == 31
