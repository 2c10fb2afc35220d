"""Agents of LangChain, of deepagents and of a team's own graph, all under the bank's policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition

from bank import ANN, POLICY, Bank
from stateward import Principal, call
from stateward.orchestrate.playbook import PlaybookCall
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

GO = {"messages": [("user", "go")]}
# deepagents' own tools, as lines for the policy.
DEEP = [f"{name}: {{effect: read, for: [bot]}}" for name in ("ls", "read_file", "glob", "grep", "task")]
DEEP += [f"{name}: {{effect: write, for: [bot]}}" for name in ("write_file", "edit_file", "delete", "execute")]


def says(*script: Sequence[PlaybookCall] | AIMessage) -> ScriptedModel:
    """A model that says these things in order, and at last `done`."""
    said = [one if isinstance(one, AIMessage) else proposes(*one) for one in script]
    return ScriptedModel(script=[*said, *[AIMessage("done")] * 9])


def named(*lines: str) -> str:
    """The bank's policy with more tools in it."""
    return POLICY.replace("\nmemory:", "".join(f"\n  {line}" for line in lines) + "\nmemory:")


def wards(bank: Bank, tools: Sequence[BaseTool] | None = None, *, policy: str = POLICY) -> Any:
    """The middleware for the bank's agent."""
    return bank.runtime.middleware(policy=parse_policy(policy), tools=tools, principal="bot", purpose="bank")


def governed(bank: Bank, model: Any, tools: Sequence[BaseTool], ward: Any, **more: Any) -> Any:
    """A LangChain agent of the bank."""
    chosen = {"middleware": [ward], "checkpointer": bank.runtime.checkpointer, "store": bank.runtime.store} | more
    return create_agent(model, list(tools), **chosen)


def drawn(
    bank: Bank, model: Any, tools: Sequence[BaseTool], *, policy: str = POLICY, state: Any = MessagesState
) -> Any:
    """A graph of a team's own, whose tool node has the wards."""
    node = bank.runtime.tool_node(policy=parse_policy(policy), tools=tools, principal="bot", purpose="bank")
    bound = model.bind_tools(list(tools))
    graph = StateGraph(state)
    graph.add_node("model", lambda now: {"messages": [bound.invoke(now["messages"])]})
    graph.add_node("tools", node)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=bank.runtime.checkpointer, store=bank.runtime.store)


def thread(bank: Bank, name: str = "case-1", **facts: Any) -> Any:
    """A thread for the bank's agent."""
    given: dict[str, Any] = {"principal": Principal("bot", kind="agent"), "purpose": "bank", "subject": "customer:17"}
    return bank.runtime.thread(name, **(given | {"requester": ANN, "graph": "bot"} | facts))


def asked(bank: Bank, name: str = "case-1") -> list[Any]:
    """What waits for people."""
    return bank.runtime.approvals(thread=name)


Run = Callable[[Any, Any, Any], Awaitable[dict[str, Any]]]


async def _awaited(agent: Any, given: Any, config: Any) -> dict[str, Any]:
    return await agent.ainvoke(given, config)


async def _blocking(agent: Any, given: Any, config: Any) -> dict[str, Any]:
    import asyncio

    return await asyncio.to_thread(agent.invoke, given, config)


both_ways = pytest.mark.parametrize("run", [_awaited, _blocking], ids=["async", "sync"])


def says_pay(*amounts: float) -> list[PlaybookCall]:
    """One turn that pays these amounts."""
    return [call("pay", amount=amount) for amount in amounts]
