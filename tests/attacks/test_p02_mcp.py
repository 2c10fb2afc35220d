"""P2: a write of an MCP server runs at most once, whatever the server does in the middle of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph.checkpoint.memory import InMemorySaver

from bank import Bank, texts
from branch import POLICY, TRUSTED, Branch, behind, loaded, offer
from stateward import call, mcp
from stateward.mcp import IDEMPOTENCY_KEY
from stateward.testing import ScriptedModel, proposes
from ways import every_way

PAY = [call("bank_pay", amount=5)]


@every_way
def test_a_server_that_dies_in_the_middle_of_a_write_leaves_a_question(bank: Bank, branch: Branch) -> None:
    branch.does(pay="die")
    started = behind(bank, *mcp.tools_sync({"bank": branch.stdio})).run(PAY, policy=POLICY)
    question = started.asked
    assert (question.kind, question.tool) == ("outcome", "bank_pay")
    assert started.effects()[0]["status"] == "unknown"
    started.resume()  # asking again does not call again
    assert branch.names == ["pay"]
    started.decide("done")
    started.resume()
    assert branch.names == ["pay"]
    assert "settled_by" in texts(started.out)[0]


def test_over_http_a_server_that_dies_in_the_middle_of_a_write_leaves_a_question(bank: Bank, branch: Branch) -> None:
    branch.does(pay="die")
    started = behind(bank, *loaded(branch, "4s")).run(PAY, policy=TRUSTED)
    assert started.asked.kind == "outcome"
    assert branch.process is not None
    assert branch.process.wait() == -9
    branch.does()
    branch.start()
    started.decide("retry")
    started.resume()
    first, second = branch.calls()
    assert first["meta"][IDEMPOTENCY_KEY] == second["meta"][IDEMPOTENCY_KEY] == started.effects()[0]["key"]
    assert texts(started.out) == ['pay {"amount": 5}']


def test_a_write_that_does_not_come_to_its_end_in_time_leaves_a_question(bank: Bank, branch: Branch) -> None:
    branch.does(pay="hang")
    started = behind(bank, *loaded(branch, "2s")).run(PAY, policy=TRUSTED)
    assert started.asked.kind == "outcome"
    assert branch.names == ["pay"]


def test_a_server_that_cannot_be_reached_has_done_nothing(bank: Bank, branch: Branch) -> None:
    tools = loaded(branch, "10s")
    branch.stop()
    started = behind(bank, *tools).run(PAY, policy=POLICY)
    assert started.waiting == []
    assert "was not called" in texts(started.out)[0]
    assert started.effects()[0]["status"] == "failed"


@every_way
def test_a_failure_that_an_untrusted_server_reports_is_no_proof_that_nothing_happened(
    bank: Bank, branch: Branch
) -> None:
    branch.does(pay="fail")
    started = behind(bank, *loaded(branch)).run(PAY, policy=POLICY)
    assert started.asked.kind == "outcome"
    assert "the ledger is shut" in started.asked.description
    assert started.effects()[0]["status"] == "unknown"


@every_way
def test_a_failure_that_a_trusted_server_reports_is_believed(bank: Bank, branch: Branch) -> None:
    branch.does(pay="fail")
    started = behind(bank, *loaded(branch)).run(PAY, policy=TRUSTED)
    assert started.waiting == []
    assert texts(started.out) == ["the ledger is shut"]
    assert started.effects()[0]["status"] == "failed"


def test_an_internal_error_of_a_trusted_server_is_no_proof_either(bank: Bank, branch: Branch) -> None:
    branch.does(pay="refuse")  # a JSON-RPC error, which says nothing about how far the tool has come
    assert behind(bank, *loaded(branch)).run(PAY, policy=TRUSTED).asked.kind == "outcome"


def test_a_failure_of_a_read_asks_nobody(bank: Bank, branch: Branch) -> None:
    branch.does(look="fail")
    started = behind(bank, *loaded(branch)).run([call("bank_look", amount=1)], policy=TRUSTED)
    assert started.waiting == []
    assert "the ledger is shut" in texts(started.out)[0]


def test_a_server_that_says_idempotent_is_called_again_only_where_it_is_trusted(bank: Bank, branch: Branch) -> None:
    branch.offers(offer("pay", {"idempotentHint": True, "destructiveHint": False}))
    branch.does(pay="refuse")
    behind(bank, *loaded(branch)).run(PAY, policy=POLICY)
    assert branch.names == ["pay"]
    behind(bank, *loaded(branch)).run(PAY, policy=TRUSTED)
    keys = [one["meta"][IDEMPOTENCY_KEY] for one in branch.calls()[1:]]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_an_adopted_tool_does_not_swallow_a_failure(bank: Bank, branch: Branch) -> None:
    branch.does(pay="fail")
    tools = mcp.adopt(adapters(branch), server="bank")
    assert [one.name for one in tools] == ["bank_pay", "bank_look"]
    started = behind(bank, *tools).run(PAY, policy=POLICY)
    assert started.asked.kind == "outcome"
    again = behind(bank, *tools).run(PAY, policy=TRUSTED)
    assert again.waiting == []


def adapters(branch: Branch) -> list[Any]:
    """The tools as the adapters themselves load them."""
    import asyncio

    return asyncio.run(MultiServerMCPClient({"bank": branch.http}).get_tools())


def test_plain_a_server_that_dies_in_a_write_is_called_again_falls(branch: Branch, tmp_path: Path) -> None:
    import asyncio

    branch.does(pay="die")
    client = MultiServerMCPClient({"bank": branch.stdio})
    tools = asyncio.run(client.get_tools())
    script = [proposes(call("pay", amount=5)), AIMessage("done"), AIMessage("done")]
    agent = create_agent(ScriptedModel(script=script), tools, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "plain"}}
    with pytest.raises(Exception, match="Connection closed"):
        asyncio.run(agent.ainvoke({"messages": [("user", "go")]}, config))
    branch.does()
    asyncio.run(agent.ainvoke(None, config))
    assert branch.names == ["pay", "pay"]
