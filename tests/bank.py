"""A bank: the small governed workflow that the attacks are made on. Its tools write down what they did."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException
from psycopg.rows import dict_row

from opening import opened
from stateward import Effect, FlowState, Principal, Runtime, Workflow, tool
from stateward.model.approval import Approval
from stateward.orchestrate.playbook import PlaybookCall
from stateward.orchestrate.workflow import Graph
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy
from ways import WORKFLOW, Way, resume

POLICY = """
policy: bank
version: 1
identities:
  bot: {kind: agent}
  boss: {kind: person}
  chief: {kind: person}
  writer: {kind: credential, role: bank_writer}
tools:
  look: {effect: read, for: [bot]}
  pay:
    effect: write
    for: [bot]
    deny: [{when: args.amount <= 0, because: a payment is positive}]
    ask:
      - {when: args.amount > 100, by: [boss, chief], not: [requester, subject, editor], within: 2d, because: big}
  renew: {effect: write, for: [bot], idempotent: true}
  wire: {effect: write, for: [bot]}
  post: {effect: write, for: [bot], identity: writer}
memory:
  kinds:
    note: {purpose: [bank], keep: 10d}
    other: {purpose: [elsewhere], keep: 10d}
budget: {steps: 50}
"""

# The group is the server's, not the database's: another database may have made it before.
BOOKS = """
do $$ begin
    create role bank_writer nologin;
exception when duplicate_object or unique_violation then null;
end $$;
create schema books;
create table books.entry (key text not null, attempt int not null, amount numeric not null);
grant usage on schema books to bank_writer;
grant insert on books.entry to bank_writer;
"""

BOSS, CHIEF = Principal("boss"), Principal("chief")
ANN = "ann"


class Killed(BaseException):
    """The process dies here: nothing that catches errors sees it."""


class BankState(FlowState, total=False):
    """The state of the bank's runs."""

    subject: str


@dataclass
class Bank:
    """A governed workflow whose tools write down what they did.

    Attributes:
        runtime: Where it runs.
        ran: Tool, amount and key of every call that took effect.
        during: Called inside each write after it took effect, so that a test can crash there.
        wired: Whether the other side says, when it is asked, that a `wire` was done.
        way: How its graph is built and called.
    """

    runtime: Runtime
    url: str
    ran: list[tuple[str, float, str]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None
    wired: bool = True
    way: Way = WORKFLOW
    threads: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def graph(
        self,
        *script: Sequence[PlaybookCall] | AIMessage,
        policy: str = POLICY,
        runtime: Any = None,
        prepare: Callable[[Workflow], None] = lambda _: None,
        without: Sequence[str] = (),
    ) -> Graph:
        """A graph whose model says these things in order: lists of calls, and at last `done`."""
        said = [one if isinstance(one, AIMessage) else proposes(*one) for one in script]
        tools = [one for one in self.tools() if one.name not in without]
        if self.way is not WORKFLOW:
            return self.way.made(self, tools, policy, said, runtime or self.runtime)
        flow = self.flow(tools, policy, said)
        prepare(flow)
        return flow.compile(runtime or self.runtime)

    def flow(self, tools: list[Any], policy: str, said: list[AIMessage]) -> Workflow:
        """The workflow before it is compiled."""
        subject = lambda state: state.get("subject") or "customer:17"  # noqa: E731
        flow = Workflow("bank", state=BankState, policy=parse_policy(policy), principal="bot", subject=subject)
        flow.orchestrate(ScriptedModel(script=[*said, *[AIMessage("done")] * 9]), tools=tools)
        return flow

    def config(self, thread: str = "", **facts: Any) -> Any:
        """Open a thread; a new one each time unless named."""
        given: dict[str, Any] = {"principal": Principal("bot", kind="agent"), "purpose": "bank"}
        given |= {"subject": "customer:17", "requester": ANN, "graph": self.way.graph} | facts
        return self.runtime.thread(thread or f"thread-{next(self.threads)}", **given)

    def run(self, *script: Sequence[PlaybookCall] | AIMessage, **more: Any) -> Started:
        """Start a run on a thread of its own and go as far as it goes."""
        graph = self.graph(*script, **more)
        config = self.config()
        return Started(bank=self, graph=graph, config=config, out=start(graph, config))

    def amounts(self, name: str = "pay") -> list[float]:
        """What took effect, by amount."""
        return [amount for tool, amount, _ in self.ran if tool == name]

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Look into the database directly, as its owner."""
        with psycopg.connect(self.url, row_factory=dict_row, autocommit=True) as connection:
            found = connection.execute(query, values)
            return found.fetchall() if found.description else []

    def opened(self, table: str, query: str, *values: Any) -> list[dict[str, Any]]:
        """Whole rows of `action` or `effect`, with what is sealed in them as the runtime reads it."""
        return opened(self.runtime, table, self.rows(query, *values))

    def took_effect(self, name: str, amount: float, effect: Effect) -> dict[str, Any]:
        """A tool did its work."""
        self.ran.append((name, amount, effect.key))
        self.during()
        return {"done": amount}

    def tools(self) -> list[Any]:
        """look (read), pay (plain), renew (idempotent), wire (probe), post (transactional)."""
        bank = self

        @tool
        async def look(what: str) -> dict[str, str]:
            """Look something up."""
            bank.ran.append(("look", 0, what))
            return {"seen": what}

        @tool
        async def pay(amount: float, effect: Effect, to: str = "") -> dict[str, Any]:
            """Pay somebody."""
            return bank.took_effect("pay", amount, effect)

        @tool(idempotent=True)
        async def renew(amount: float, effect: Effect) -> dict[str, Any]:
            """Renew a contract."""
            return bank.took_effect("renew", amount, effect)

        async def ask_other_side(arguments: Any, key: str) -> Any:
            return {"found": key} if bank.wired else None

        @tool(probe=ask_other_side)
        async def wire(amount: float, effect: Effect) -> dict[str, Any]:
            """Wire money."""
            if amount == 13:
                raise ToolException("the other side refused it")
            return bank.took_effect("wire", amount, effect)

        @tool(transactional=True)
        async def post(amount: float, effect: Effect) -> dict[str, Any]:
            """Post to the books."""
            async with effect.transaction() as tx:
                await tx.connection.execute(
                    "insert into books.entry (key, attempt, amount) values (%s, %s, %s)",
                    (effect.key, effect.attempt, amount),
                )
                bank.took_effect("post", amount, effect)
                tx.settle({"posted": amount})
            return {}

        return [look, pay, renew, wire, post]


@dataclass
class Started:
    """A thread that was started."""

    bank: Bank
    graph: Graph
    config: Any
    out: dict[str, Any]

    @property
    def thread(self) -> str:
        """The thread's id."""
        return self.config["configurable"]["thread_id"]

    @property
    def waiting(self) -> list[Approval]:
        """The questions that wait."""
        return self.bank.runtime.approvals(thread=self.thread)

    @property
    def asked(self) -> Approval:
        """The one question that waits."""
        (one,) = self.waiting
        return one

    @property
    def kinds(self) -> list[str]:
        """The ledger, by kind of entry."""
        return [entry.kind for entry in self.bank.runtime.timeline(self.thread)]

    def decide(self, decision: Any, /, by: Principal = BOSS, **more: Any) -> Approval:
        """Decide the one question that waits."""
        return self.bank.runtime.decide(self.asked, decision, by=by, **more)

    def resume(self, graph: Graph | None = None) -> dict[str, Any]:
        """Go on."""
        again = self.bank.runtime.resume if self.bank.way is WORKFLOW else partial(resume, self.bank)
        self.out = again(graph or self.graph, self.thread)
        return self.out

    def actions(self) -> list[dict[str, Any]]:
        """The thread's actions as the database has them."""
        rows = "select * from stateward.action where thread_id = %s order by created_at"
        return self.bank.opened("action", rows, self.thread)

    def effects(self) -> list[dict[str, Any]]:
        """The thread's effects as the database has them."""
        rows = "select * from stateward.effect where thread_id = %s order by reserved_at"
        return self.bank.opened("effect", rows, self.thread)


def start(graph: Graph, config: Any, text: str = "go") -> dict[str, Any]:
    """Invoke a graph with a request."""
    return graph.invoke({"messages": [("user", text)]}, config, durability="sync")


def texts(out: dict[str, Any]) -> list[str]:
    """What the tools' messages say."""
    return [str(message.text) for message in out["messages"] if message.type == "tool"]
