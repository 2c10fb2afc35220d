"""Playbooks and the scripted model: planners that say the same to the same conversation."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from stateward import call
from stateward.errors import ConfigurationError
from stateward.orchestrate.models import planner
from stateward.orchestrate.playbook import PlaybookModel, next_message
from stateward.testing import ScriptedModel, proposes


def book(request: str) -> Generator[Any, Any, str]:
    found = yield call("look", what=request)
    if not found.ok:
        return f"failed: {found.text}"
    first, second = yield [call("pay", amount=found.value["amount"]), call("pay", amount=2)]
    return f"{first.value} {second.text}"


def answered(
    conversation: list[BaseMessage], said: AIMessage, *texts: str, status: Any = "success"
) -> list[BaseMessage]:
    pairs = zip(said.tool_calls, texts, strict=True)
    return [*conversation, said, *(ToolMessage(text, tool_call_id=one["id"], status=status) for one, text in pairs)]


def test_it_plays_to_the_end() -> None:
    conversation: list[BaseMessage] = [HumanMessage("rent")]
    said = next_message(book, conversation)
    assert [(one["name"], one["args"]) for one in said.tool_calls] == [("look", {"what": "rent"})]
    conversation = answered(conversation, said, '{"amount": 7}')
    said = next_message(book, conversation)
    assert [one["args"] for one in said.tool_calls] == [{"amount": 7}, {"amount": 2}]
    conversation = answered(conversation, said, "[1]", "paid")
    assert next_message(book, conversation).text == "[1] paid"


def test_a_refusal_reaches_it_as_a_value() -> None:
    start = [HumanMessage("rent")]
    said = next_message(book, start)
    assert next_message(book, answered(start, said, "denied: no", status="error")).text == "failed: denied: no"


def test_the_same_conversation_gives_the_same_calls() -> None:
    start = [HumanMessage("rent")]
    assert next_message(book, start).tool_calls == next_message(book, start).tool_calls


def test_another_request_has_other_call_ids() -> None:
    first = next_message(book, [HumanMessage("rent")]).tool_calls[0]["id"]
    again = [HumanMessage("rent"), AIMessage("done"), HumanMessage("rent")]
    assert next_message(book, again).tool_calls[0]["id"] != first


def test_a_turn_that_is_half_answered_is_proposed_again() -> None:
    start = [HumanMessage("rent")]
    conversation = answered(start, next_message(book, start), '{"amount": 7}')
    said = next_message(book, conversation)
    half = answered(conversation, said, "x", "y")[:-1]
    assert next_message(book, half).tool_calls == said.tool_calls


async def test_a_function_is_a_planner() -> None:
    model = planner(book)
    assert isinstance(model, PlaybookModel)
    said = await model.bind_tools([]).ainvoke([HumanMessage("rent")])
    assert isinstance(said, AIMessage)
    assert said.tool_calls


def test_a_model_is_a_planner_as_it_is() -> None:
    model = ScriptedModel(script=[])
    assert planner(model) is model


@pytest.mark.parametrize(
    ("wrong", "said"), [(5, "is no planner"), ("gpt", "names no provider"), (None, "is no planner")]
)
def test_anything_else_is_no_planner(wrong: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        planner(wrong)


def test_a_script_is_said_in_order_and_counts_in_the_conversation() -> None:
    model = ScriptedModel(script=[proposes(call("look", what="x")), AIMessage("done")])
    first, again = (model.invoke([HumanMessage("go")]) for _ in range(2))
    assert isinstance(first, AIMessage)
    assert isinstance(again, AIMessage)
    assert first.tool_calls == again.tool_calls
    assert first.tool_calls[0]["name"] == "look"
    assert model.invoke([HumanMessage("go"), first]).text == "done"
    with pytest.raises(IndexError, match="the script ends after 2 messages"):
        model.invoke([HumanMessage("go"), first, AIMessage("done")])


def test_what_is_no_playbook_says_what_one_is() -> None:
    def text(request: str) -> str:
        return "done"

    def yields(request: str) -> Generator[Any, Any, str]:
        yield "look"
        return "done"

    def nothing(request: str) -> Generator[Any, Any, str]:
        yield []
        return "done"

    def returns(request: str) -> Generator[Any, Any, Any]:
        yield from ()
        return {"done": True}

    for wrong, said in [
        (text, "yields nothing, and gave str"),
        (yields, "yielded 'look'"),
        (nothing, r"yielded \[\]"),
        (returns, r"returned \{'done': True\}"),
    ]:
        with pytest.raises(ConfigurationError, match=rf"a playbook is a generator that yields call\(...\).*{said}"):
            next_message(wrong, [HumanMessage("rent")])  # pyright: ignore[reportArgumentType]
