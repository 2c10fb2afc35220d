"""P3: a message that comes while people are asked neither loses the question nor breaks the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.types import Command
from test_p03_bound_approvals import APPROVE, as_server

from bank import BOSS, POLICY, Bank, Started, start, texts
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
