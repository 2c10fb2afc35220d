"""P3: a message that comes while people are asked neither loses the question nor breaks the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.types import Command
from test_p03_bound_approvals import APPROVE, as_server

from bank import BOSS, CHIEF, POLICY, Bank, Killed, Started, start, texts
from stateward import Principal, call
from stateward.orchestrate.unanswered import in_order, unanswered
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

BIG = [call("pay", amount=500)]
MORE = {"messages": [("user", "and hurry")]}


class Strict(ScriptedModel):
    """A model that refuses, as providers do, a conversation in which a call is not followed by its answer."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **more: Any) -> Any:
        refuse_dangling(messages)
        return super()._generate(messages, *args, **more)


def refuse_dangling(messages: Sequence[BaseMessage]) -> None:
    waiting: set[str | None] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in waiting, "an answer to nothing"
            waiting.discard(message.tool_call_id)
            continue
        assert not waiting, f"400: {waiting} must be followed by tool messages"
        waiting = {one["id"] for one in message.tool_calls} if isinstance(message, AIMessage) else set()
    assert not waiting


def workflow(bank: Bank, *script: Any) -> Any:
    said = [proposes(*one) for one in script]
    flow = bank.flow(bank.tools(), POLICY, said)
    flow.orchestrate(Strict(script=[*said, *[AIMessage("done")] * 9]), tools=bank.tools())
    return flow.compile(bank.runtime), bank.config()


def agent(bank: Bank, *script: Any) -> Any:
    ward = bank.runtime.middleware(policy=parse_policy(POLICY), tools=bank.tools(), principal="bot", purpose="bank")
    made = create_agent(
        Strict(script=[*[proposes(*one) for one in script], *[AIMessage("done")] * 9]),
        bank.tools(),
        middleware=[ward],
        checkpointer=bank.runtime.checkpointer,
        store=bank.runtime.store,
    )
    return made, bank.config(graph="bot")


WAYS = pytest.mark.parametrize("built", [workflow, agent], ids=["workflow", "agent"])


def started(bank: Bank, built: Any, *script: Any) -> Started:
    graph, config = built(bank, *script)
    return Started(bank=bank, graph=graph, config=config, out=start(graph, config))


@WAYS
def test_the_question_stays_and_the_message_is_read_after_its_answer(bank: Bank, built: Any) -> None:
    run = started(bank, built, BIG)
    first = run.asked
    for _ in range(2):
        out = run.graph.invoke(MORE, run.config)
        assert out["__interrupt__"][0].value["approvals"] == [first.id]
    assert (run.asked.id, bank.ran) == (first.id, [])
    run.decide("approve")
    out = run.resume()
    assert bank.amounts() == [500]
    assert out["messages"][-1].text == "done"
    assert [one.text for one in out["messages"] if isinstance(one, HumanMessage)] == ["go", "and hurry", "and hurry"]


@WAYS
def test_a_message_after_the_decision_does_not_lose_it(bank: Bank, built: Any) -> None:
    run = started(bank, built, BIG)
    run.decide("approve")
    for _ in range(2):
        run.graph.invoke(MORE, run.config)
    assert bank.amounts() == [500]
    assert run.waiting == []


@WAYS
def test_a_rejection_is_told_before_the_message(bank: Bank, built: Any) -> None:
    run = started(bank, built, BIG)
    run.graph.invoke(MORE, run.config)
    run.decide("reject", reason="no")
    assert texts(run.resume()) == ["rejected: no"]
    assert bank.ran == []


@WAYS
def test_the_interrupt_that_is_raised_anew_can_be_answered_once(bank: Bank, built: Any) -> None:
    run = started(bank, built, BIG, [call("pay", amount=900)])
    run.graph.invoke(MORE, run.config)
    for _ in range(2):
        run.graph.invoke(Command(resume=APPROVE), as_server(run.config, "boss"))
        run.graph.invoke(None, as_server(run.config, "boss"))
    assert bank.amounts() in ([500], [500, 900])
    assert bank.amounts().count(500) == 1


@WAYS
async def test_it_is_the_same_awaited(bank: Bank, built: Any) -> None:
    graph, config = built(bank, BIG)
    await graph.ainvoke({"messages": [("user", "go")]}, config)
    await graph.ainvoke(MORE, config)
    (asked,) = bank.runtime.approvals()
    bank.runtime.decide(asked, "approve", by=BOSS)
    out = await graph.ainvoke(MORE, config)
    assert bank.amounts() == [500]
    assert out["messages"][-1].text == "done"


def test_a_message_while_people_are_asked_how_to_go_on(bank: Bank) -> None:
    async def never(state: Any, step: Any) -> str:
        return "it is wrong"

    run = bank.run(prepare=lambda flow: flow.validate(never))
    first = run.asked
    assert first.kind == "escalation"
    run.graph.invoke(MORE, run.config)
    assert run.asked.id == first.id
    bank.runtime.decide(first, "reject", by=Principal("boss"), reason="leave it")
    assert run.resume()["outcome"] == "escalated"


def test_a_conversation_is_put_in_order_and_what_was_left_is_said() -> None:
    calls = proposes(call("pay", amount=1), call("pay", amount=2))
    one, two = (each["id"] for each in calls.tool_calls)
    said: list[AnyMessage] = [
        HumanMessage("go"),
        calls,
        HumanMessage("hurry"),
        ToolMessage("2", tool_call_id=two),
        AIMessage("x"),
    ]
    assert unanswered(said[:4]) is calls
    assert unanswered(said) is None
    ordered = in_order(said)
    refuse_dangling(ordered)
    assert [each.type for each in ordered] == ["human", "ai", "tool", "tool", "human", "ai"]
    assert "left" in ordered[2].text
    assert ordered[2].tool_call_id == one
    assert in_order(ordered) == ordered


ANSWERS = """
answers:
  text:
    ask: [{when: 'answer.text.contains("refund")', by: [boss, chief], because: promises money}]
"""
REFUND = "you get a refund"


def answering(bank: Bank, name: str, *said: str, policy: str = POLICY + ANSWERS) -> Started:
    model, tools = Strict(script=[*[AIMessage(one) for one in said], *[AIMessage("fine")] * 9]), bank.tools()
    if name == "workflow":
        flow = bank.flow(tools, policy, [])
        flow.orchestrate(model, tools=tools)
        graph, config = flow.compile(bank.runtime), bank.config()
    else:
        ward = bank.runtime.middleware(policy=parse_policy(policy), tools=tools, principal="bot", purpose="bank")
        runtime = bank.runtime
        graph = create_agent(model, tools, middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store)
        config = bank.config(graph="bot")
    return Started(bank=bank, graph=graph, config=config, out=start(graph, config))


def asked_so_far(run: Started) -> list[str]:
    return [one.id for one in run.bank.runtime.approvals(thread=run.thread, status=None)]


EITHER = pytest.mark.parametrize("name", ["workflow", "agent"])


@EITHER
def test_an_answer_that_waits_is_asked_about_once(bank: Bank, name: str) -> None:
    run = answering(bank, name, REFUND)
    first = run.asked
    for _ in range(2):
        out = run.graph.invoke(MORE, run.config)
        assert out["__interrupt__"][0].value["approvals"] == [first.id]
    run.decide("approve")
    out = run.resume()
    assert REFUND in [one.text for one in out["messages"]]
    assert (asked_so_far(run), run.kinds.count("answer.left")) == ([first.id], 2 if name == "workflow" else 1)
    if name == "workflow":  # an agent's run ends with its answer; a workflow goes on and reads what came meanwhile
        assert out["messages"][-1].text == "fine"


@EITHER
@pytest.mark.parametrize("decision", ["approve", "edit", "reject"])
def test_what_was_decided_about_an_answer_before_the_message_counts(bank: Bank, name: str, decision: str) -> None:
    run = answering(bank, name, REFUND)
    first = run.asked
    run.decide(decision, **{"edit": {"arguments": {"text": "you get 5"}}, "reject": {"reason": "no"}}.get(decision, {}))
    out = run.graph.invoke(MORE, run.config)
    left = {"approve": [REFUND], "edit": ["you get 5"], "reject": []}[decision]
    rows = bank.opened("action", "select * from stateward.action where status = 'consumed'")
    assert [row["arguments"]["text"] for row in rows if row["arguments"].get("text", "fine") != "fine"] == left
    assert (asked_so_far(run), run.waiting) == ([first.id], [])
    assert ("fine" in out["messages"][-1].text) == (name == "workflow" or decision == "reject")


@EITHER
def test_a_budget_question_is_asked_once(bank: Bank, name: str) -> None:
    policy = POLICY.replace("budget: {steps: 50}", "budget: {steps: 1}\nescalate: {to: [chief], after: 2d}")
    run = answering(bank, name, policy=policy)
    assert run.graph.invoke(MORE, run.config)["__interrupt__"]
    first = run.asked
    assert first.kind == "escalation"
    again = run.graph.invoke(MORE, run.config)
    assert again["__interrupt__"][0].value["approvals"] == [first.id]
    bank.runtime.decide(first, "reject", by=CHIEF, reason="stop")
    run.graph.invoke(MORE, run.config)
    assert (asked_so_far(run), run.waiting) == ([first.id], [])
    assert bank.runtime.find_thread(run.thread).status == "escalated"


def at_the_start(flow: Any, act: Any) -> None:
    async def load(state: Any, step: Any) -> None:
        await act(state, step)

    flow.retrieve(load)


def at_the_check(flow: Any, act: Any) -> None:
    async def check(state: Any, step: Any) -> None:
        await act(state, step)

    flow.validate(check)


def at_the_answer(flow: Any, act: Any) -> None:
    async def shape(state: Any, step: Any) -> None:
        await act(state, step)

    flow.answer(shape)


def at_what_is_kept(flow: Any, act: Any) -> None:
    async def keep(state: Any, step: Any, done: Any) -> None:
        await act(state, step)

    flow.remember(keep, after=["look"])


WHERE = pytest.mark.parametrize("where", [at_the_start, at_the_check, at_the_answer, at_what_is_kept])


def stepping(bank: Bank, where: Any, seen: list[int] | None = None) -> Started:
    """A run one of whose own steps renews, and then pays as much as the conversation is long, times 500."""

    async def act(state: Any, step: Any) -> None:
        long = len(state["messages"])
        if seen is not None:
            seen.append(long)
        await step.act("renew", amount=long)
        await step.act("pay", amount=500 * long)

    script = [[call("look", what="x")]] if where is at_what_is_kept else []
    return bank.run(*script, prepare=lambda flow: where(flow, act))


@WHERE
def test_a_step_that_waits_goes_on_where_it_was(bank: Bank, where: Any) -> None:
    seen: list[int] = []
    run = stepping(bank, where, seen)
    first = run.asked
    for _ in range(2):
        out = run.graph.invoke(MORE, run.config)
        assert out["__interrupt__"][0].value["approvals"] == [first.id]
    run.decide("approve")
    run.resume()
    at = seen[0]
    assert bank.amounts("pay")[:1] == [500 * at]
    assert bank.amounts("renew")[:1] == [at]
    assert bank.amounts("pay").count(500 * at) == 1
    assert run.bank.runtime.approvals(thread=run.thread, status=None)[0].status == "approved"


@WHERE
@pytest.mark.parametrize("decision", ["approve", "respond"])
def test_a_step_keeps_what_was_decided_before_the_message(bank: Bank, where: Any, decision: str) -> None:
    run = stepping(bank, where)
    first = run.asked
    run.decide(decision, **({"reason": "never mind"} if decision == "respond" else {}))
    run.graph.invoke(MORE, run.config)
    paid = first.arguments["amount"]
    assert bank.amounts("pay").count(paid) == (1 if decision == "approve" else 0)
    assert first.id not in [one.id for one in run.waiting]
    arguments = [one.arguments for one in bank.runtime.approvals(thread=run.thread, status=None)]
    assert arguments.count(first.arguments) == 1


@WHERE
def test_a_step_that_dies_after_the_decision_does_not_act_again(bank: Bank, where: Any) -> None:
    run = stepping(bank, where)
    first = run.asked
    run.graph.invoke(MORE, run.config)
    run.decide("approve")

    def dies() -> None:
        bank.during = lambda: None
        raise Killed

    bank.during = dies
    with pytest.raises(Killed):
        run.resume()
    run.graph.invoke(MORE, run.config)  # it goes back to where it was: whether that payment happened has to be said
    outcome = run.asked
    assert (outcome.kind, outcome.id != first.id) == ("outcome", True)
    run.graph.invoke(MORE, run.config)
    run.decide("done")
    run.resume()
    assert bank.amounts("pay").count(first.arguments["amount"]) == 1
    assert bank.amounts("renew").count(first.arguments["amount"] / 500) == 1
