"""What the middleware relies on in LangChain and deepagents: each of these fails loudly when a new version differs."""

from __future__ import annotations

import os
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import MessagesState, StateGraph

from stateward import call
from stateward.testing import ScriptedModel, proposes
from stateward.upstream import Agent, agent_in_making, graph_namespace, is_innermost, subagents_of


@tool
def look(what: str) -> str:
    """Look."""
    return what


@tool
def other(what: str) -> str:
    """Look elsewhere."""
    return what


def bare(what: str) -> str:
    """A function that LangChain makes a tool of."""
    return what


class Looks(AgentMiddleware[Any, Any, Any]):
    """Notes the agent that it becomes part of, and the handlers that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Agent] = []
        self.innermost: list[bool] = []
        self.places: list[str] = []

    @property
    def tools(self) -> Any:
        found = agent_in_making(self)
        self.seen += [found] if found else []
        return []

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.innermost.append(is_innermost(handler))
        self.places.append(graph_namespace())
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.innermost.append(is_innermost(handler))
        self.places.append(graph_namespace())
        return await handler(request)


class Wraps(AgentMiddleware[Any, Any, Any]):
    """Another one that wraps tool calls, and brings a tool."""

    tools = [other]  # noqa: RUF012

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)


def model() -> ScriptedModel:
    return ScriptedModel(script=[proposes(call("look", what="x")), AIMessage("done")])


def test_a_middleware_sees_the_agent_that_is_built_around_it() -> None:
    looks, wraps = Looks(), Wraps()
    create_agent(model(), [look, bare, {"type": "web_search"}], middleware=[looks, wraps])
    (found,) = looks.seen
    assert list(found.middleware) == [looks, wraps]
    assert [one.name for one in found.tools] == ["other", "look", "bare"]
    assert list(looks.tools) == []
    assert len(looks.seen) == 1, "only create_agent is looked at"


@pytest.mark.parametrize("awaited", [True, False])
@pytest.mark.parametrize("before", [True, False])
async def test_a_handler_tells_whether_another_hook_is_within(awaited: bool, before: bool) -> None:
    looks, wraps = Looks(), Wraps()
    agent = create_agent(model(), [look], middleware=[looks, wraps] if before else [wraps, looks])
    given: Any = {"messages": [("user", "go")]}
    if awaited:
        await agent.ainvoke(given)
    else:
        agent.invoke(given)
    assert looks.innermost == [not before]


def test_the_namespace_of_a_graph_that_is_run_within_another() -> None:
    looks = Looks()
    agent = create_agent(model(), [look], middleware=[looks])
    agent.invoke({"messages": [("user", "go")]})
    graph = StateGraph(MessagesState)
    graph.add_node("inner", agent)
    graph.set_entry_point("inner")
    graph.compile().invoke({"messages": [("user", "go")]})
    assert looks.places[0] == ""
    assert looks.places[1].startswith("inner:")
    assert "|" not in looks.places[1]


def test_the_tools_of_an_agent_come_with_a_call() -> None:
    found: list[Any] = []

    class Tools(Looks):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            found.extend(request.runtime.tools)
            return handler(request)

    create_agent(model(), [look, other], middleware=[Tools()]).invoke({"messages": [("user", "go")]})
    assert found == [look, other]


def test_deepagents_names_its_subagents() -> None:
    if os.environ.get("STATEWARD_VERSIONS"):
        pytest.importorskip("deepagents", reason="it has a range of LangChain of its own")
    from deepagents import create_deep_agent

    looks, inner = Looks(), Looks()
    spec: Any = {"name": "helper", "description": "x", "system_prompt": "x", "middleware": [inner]}
    create_deep_agent(model(), [look], middleware=[looks], subagents=[spec])
    (found,) = looks.seen
    subagents = subagents_of(found.middleware)
    assert sorted(subagents) == ["general-purpose", "helper"]
    assert inner in subagents["helper"]
    assert inner not in subagents["general-purpose"]
