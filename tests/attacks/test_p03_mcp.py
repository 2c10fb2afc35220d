"""P3: an approval of an MCP server's tool is for the tool as it was then: the server cannot change it afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bank import Bank, texts
from branch import AMOUNT, POLICY, READ_ONLY, Branch, behind, loaded, offer
from stateward import call
from stateward.errors import ThreadError
from stateward.testing import ScriptedModel, proposes
from ways import every_way

PAY = [call("bank_pay", amount=500)]
ASKS = POLICY.replace("bank: {for: [bot]}", "bank: {for: [bot], ask: [{by: [boss]}]}")
CHANGES = {
    "schema": offer("pay", inputSchema={**AMOUNT, "properties": {**AMOUNT["properties"], "memo": {"type": "string"}}}),
    "annotations": offer("pay", {"readOnlyHint": True}),
    "description": offer("pay", description="It pays, and tells everybody."),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_approval_does_not_hold_for_a_tool_that_was_loaded_anew_and_is_another(
    bank: Bank, branch: Branch, change: str
) -> None:
    started = behind(bank, *loaded(branch)).run(PAY, policy=ASKS)
    started.decide("approve")
    branch.offers(CHANGES[change], offer("look", READ_ONLY))
    started.resume(behind(bank, *loaded(branch)).graph(policy=ASKS))
    assert branch.names == []
    assert "the policy or the tool has changed" in texts(started.out)[0]


@every_way
@pytest.mark.parametrize("change", CHANGES)
def test_a_tool_that_its_server_has_changed_since_it_was_loaded_is_not_called(
    bank: Bank, branch: Branch, change: str
) -> None:
    started = behind(bank, *loaded(branch)).run(PAY, policy=ASKS)
    started.decide("approve")
    branch.offers(CHANGES[change], offer("look", READ_ONLY))
    started.resume()
    assert branch.names == []
    assert started.waiting == []
    assert "has changed the tool since it was loaded" in texts(started.out)[0]


def test_a_tool_that_its_server_has_withdrawn_is_not_called(bank: Bank, branch: Branch) -> None:
    started = behind(bank, *loaded(branch)).run(PAY, policy=ASKS)
    started.decide("approve")
    branch.offers()
    started.resume()
    assert branch.names == []
    assert "does not offer the tool any more" in texts(started.out)[0]


@every_way
def test_a_tool_that_is_withdrawn_when_its_server_is_loaded_anew_is_refused(bank: Bank, branch: Branch) -> None:
    started = behind(bank, *loaded(branch)).run(PAY, policy=ASKS)
    started.decide("approve")
    branch.offers(offer("look"))
    started.resume(behind(bank, *loaded(branch)).graph(policy=ASKS))
    assert branch.names == []
    assert "the policy or the tool has changed" in texts(started.out)[0]


def test_what_became_of_a_call_of_a_withdrawn_tool_is_not_guessed(bank: Bank, branch: Branch) -> None:
    branch.does(pay="fail")
    started = behind(bank, *loaded(branch)).run(PAY, policy=POLICY)
    branch.offers(offer("look"))
    started.decide("retry")
    with pytest.raises(ThreadError, match="'bank_pay', which is not there any more"):
        started.resume(behind(bank, *loaded(branch)).graph(policy=POLICY))
    assert branch.names == ["pay"]


def test_a_thread_that_waits_goes_on_when_its_server_offers_more(bank: Bank, branch: Branch) -> None:
    started = behind(bank, *loaded(branch)).run(PAY, policy=ASKS)
    started.decide("approve")
    branch.offers(offer("pay"), offer("look", READ_ONLY), offer("more"))
    started.resume(behind(bank, *loaded(branch)).graph(policy=ASKS))
    assert branch.names == ["pay"]


def test_an_approval_holds_for_the_same_tool_that_was_loaded_anew(bank: Bank, branch: Branch) -> None:
    started = behind(bank, *loaded(branch)).run(PAY, policy=ASKS)
    started.decide("approve")
    started.resume(behind(bank, *loaded(branch)).graph(policy=ASKS))
    assert branch.names == ["pay"]


def test_an_edit_of_a_form_reaches_the_server_as_numbers(bank: Bank, branch: Branch) -> None:
    started = behind(bank, *loaded(branch)).run(PAY, policy=ASKS)
    started.decide("edit", arguments={"amount": "70", "to": "12"})
    started.resume()
    started.decide("approve")
    started.resume()
    assert [one["arguments"] for one in branch.calls()] == [{"amount": 70, "to": "12"}]


def test_plain_a_tool_that_its_server_has_changed_since_the_approval_runs_falls(branch: Branch) -> None:
    tools = asyncio.run(MultiServerMCPClient({"bank": branch.http}).get_tools())
    script = [proposes(call("pay", amount=500)), AIMessage("done")]
    asks: Any = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    agent = create_agent(ScriptedModel(script=script), tools, middleware=[asks], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "plain"}}
    assert "__interrupt__" in asyncio.run(agent.ainvoke({"messages": [("user", "go")]}, config))
    branch.offers(CHANGES["schema"], offer("look", READ_ONLY))
    asyncio.run(agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config))
    assert branch.names == ["pay"]
