"""The bank on plain LangChain and LangGraph, to see that each attack succeeds there.

The tests that use it are called `test_plain_..._falls` and stand beside the attacks. They show what the locked versions
do, with the parts that their documentation gives for the purpose: `create_agent`, `HumanInTheLoopMiddleware`,
LangGraph's own savers. One that fails after an upgrade says that upstream has become better, and so is to say
`docs/attacks.md`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import psycopg
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from psycopg.rows import dict_row

from stateward.orchestrate.playbook import PlaybookCall
from stateward.testing import ScriptedModel, proposes

GO: Any = {"messages": [("user", "go")]}
APPROVE, REJECT = ({"decisions": [{"type": kind}]} for kind in ("approve", "reject"))
PAYMENTS_ASK: Mapping[str, Any] = {"pay": True}


@dataclass
class PlainBank:
    """The bank's tools, and an agent with them that nothing governs.

    Attributes:
        saver: Where its threads are kept.
        ran: Tool and amount of every call that took effect.
        during: Called inside each tool after it took effect.
    """

    saver: Any = field(default_factory=InMemorySaver)
    ran: list[tuple[str, float]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def tools(self) -> list[Any]:
        """The writes of the bank."""

        def made(name: str) -> Any:
            def act(amount: float, to: str = "") -> str:
                self.ran.append((name, amount))
                self.during()
                return f"done {amount}"

            return StructuredTool.from_function(act, name=name, description=name)

        return [made(name) for name in ("pay", "renew", "wire")]

    def agent(
        self, *script: Sequence[PlaybookCall], interrupt_on: Mapping[str, Any] = PAYMENTS_ASK, **more: Any
    ) -> Any:
        """LangChain's agent, whose model says these things in order, with LangChain's own approvals."""
        said = [*(proposes(*one) for one in script), *[AIMessage("done")] * 9]
        asks = HumanInTheLoopMiddleware(interrupt_on=dict(interrupt_on))
        tools = more.pop("tools", self.tools())
        return create_agent(ScriptedModel(script=said), tools, middleware=[asks], checkpointer=self.saver, **more)

    def asks(self, *script: Sequence[PlaybookCall], **more: Any) -> tuple[Any, Any]:
        """An agent that has been started and waits for an answer; with its config."""
        agent, config = self.agent(*script, **more), thread()
        assert "__interrupt__" in agent.invoke(GO, config)
        return agent, config

    def gated_graph(self, gate: str = "gate") -> Any:
        """A graph of three nodes by hand: it proposes to pay 500, asks a person, and pays."""

        class State(TypedDict, total=False):
            amount: float
            said: Annotated[list[str], operator.add]

        def ask(state: State) -> Any:
            answer = interrupt({"pay": state["amount"]})
            return Command(goto="act" if answer == "approve" else END)

        def act(state: State) -> dict[str, Any]:
            self.ran.append(("pay", state["amount"]))
            return {"said": ["paid"]}

        graph = StateGraph(State)
        graph.add_node("propose", lambda state: {"amount": 500.0})
        graph.add_node(gate, ask, destinations=("act", END))
        graph.add_node("act", act)
        graph.add_edge(START, "propose")
        graph.add_edge("propose", gate)
        graph.add_edge("act", END)
        return graph.compile(checkpointer=self.saver)


@dataclass
class PlainPostgres:
    """A bank whose threads are in LangGraph's own saver for Postgres, and what it has there."""

    url: str
    bank: PlainBank

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Look into the database, or change it."""
        with psycopg.connect(self.url, row_factory=dict_row, autocommit=True) as connection:
            found = connection.execute(query, values or None)  # pyright: ignore[reportArgumentType]
            return found.fetchall() if found.description else []

    def size(self) -> int:
        """Bytes of all that it keeps for checkpoints."""
        sizes = [
            self.rows(f"select coalesce(sum(octet_length(t::text)), 0)::bigint as size from {table} t")[0]["size"]
            for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
        ]
        return sum(sizes)


@contextmanager
def on_postgres(url: str, **options: Any) -> Iterator[PlainPostgres]:
    """LangGraph's own saver on a database."""
    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()
        if "serde" in options:
            saver.serde = options["serde"]
        yield PlainPostgres(url=url, bank=PlainBank(saver=saver))


def thread(name: str = "plain-1", **more: Any) -> Any:
    """A thread's config: whoever knows its name has it."""
    return {"configurable": {"thread_id": name, **more}}


def edit(name: str, **arguments: Any) -> Any:
    """An answer that changes the call."""
    return {"decisions": [{"type": "edit", "edited_action": {"name": name, "args": arguments}}]}
