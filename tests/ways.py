"""The ways into the gate that the attacks are made through: each builds the bank's graph, and is blocking or awaited.

A test that takes `bank` goes through the workflow, blocking; marked with `every_way`, it goes through each. A further
way in is a function that builds it, and a line in `WAYS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition

from stateward.orchestrate.loops import blocking
from stateward.testing import ScriptedModel
from stateward.verify.load import parse_policy

if TYPE_CHECKING:
    from bank import Bank

Build = Callable[["Bank", list[Any], str, list[AIMessage], Any], Any]


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way in.

    Attributes:
        name: As the test's name has it.
        build: Makes the graph from the bank, its tools, the policy, what the model says, and the runtime.
        graph: The name of the graph that its threads are opened for.
        awaits: Whether the graph is awaited on a loop of its own, and not called.
        answers: Whether the wards see its answer.
    """

    name: str
    build: Build
    graph: str
    awaits: bool = False
    answers: bool = True

    def __str__(self) -> str:
        return self.name

    def made(self, bank: Bank, tools: list[Any], policy: str, said: list[AIMessage], runtime: Any) -> Any:
        """The graph, which is invoked alike whether it is awaited or not."""
        graph = self.build(bank, tools, policy, said, runtime)
        return Awaited(graph) if self.awaits else graph


class Awaited:
    """A graph whose blocking methods await the others."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def __getattr__(self, name: str) -> Any:
        if name not in ("invoke", "get_state", "update_state"):
            return getattr(self.graph, name)
        return lambda *given, **more: asyncio.run(getattr(self.graph, f"a{name}")(*given, **more))


def workflow(bank: Bank, tools: list[Any], policy: str, said: list[AIMessage], runtime: Any) -> Any:
    """Our own graph."""
    return bank.flow(tools, policy, said).compile(runtime)


def agent(bank: Bank, tools: list[Any], policy: str, said: list[AIMessage], runtime: Any) -> Any:
    """LangChain's `create_agent` with the middleware."""
    ward = runtime.middleware(policy=parse_policy(policy), tools=tools, principal="bot", purpose="bank")
    model = ScriptedModel(script=[*said, *[AIMessage("done")] * 9])
    return create_agent(model, tools, middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store)


def own_graph(bank: Bank, tools: list[Any], policy: str, said: list[AIMessage], runtime: Any) -> Any:
    """A graph that a team draws itself, whose node for tools has the wards."""
    node = runtime.tool_node(policy=parse_policy(policy), tools=tools, principal="bot", purpose="bank")
    model = ScriptedModel(script=[*said, *[AIMessage("done")] * 9]).bind_tools(tools)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda now: {"messages": [model.invoke(now["messages"])]})
    graph.add_node("tools", node)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=runtime.checkpointer, store=runtime.store)


def deep_agent(bank: Bank, tools: list[Any], policy: str, said: list[AIMessage], runtime: Any) -> Any:
    """A deep agent, with a subagent."""
    from deepagents import create_deep_agent

    # Of the tools that it brings along none is in the policy: they are not shown, and denied.
    ward = runtime.middleware(policy=parse_policy(policy), tools=tools, principal="bot", purpose="bank")
    model = ScriptedModel(script=[*said, *[AIMessage("done")] * 9])
    inner = {"name": "general-purpose", "description": "Anything.", "system_prompt": "Do it.", "middleware": [ward]}
    kept = {"checkpointer": runtime.checkpointer, "store": runtime.store}
    return create_deep_agent(model, tools, middleware=[ward], subagents=[inner], **kept)


def resume(bank: Bank, graph: Any, thread: str) -> dict[str, Any]:
    """Go on with a thread as whoever has only the graph and `resumption` does: blocking or awaited, as the way is."""
    config, given = blocking(bank.runtime.services.loop, bank.runtime.inner.resumption(thread))
    return graph.invoke(given, config)


WORKFLOW = Way(name="workflow", build=workflow, graph="bank")
WAYS = [
    WORKFLOW,
    Way(name="workflow awaited", build=workflow, graph="bank", awaits=True),
    Way(name="create_agent", build=agent, graph="bot"),
    Way(name="create_agent awaited", build=agent, graph="bot", awaits=True),
    Way(name="a graph of one's own", build=own_graph, graph="bot", answers=False),
]
if find_spec("deepagents"):
    WAYS.append(Way(name="deep agent awaited", build=deep_agent, graph="bot", awaits=True))
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
