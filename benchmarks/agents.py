"""The same job six ways: plain `create_agent` with and without a saver, with our middleware, and as our Workflow.

The model is scripted and takes no time: it calls one write tool a number of times, one call a turn.
"""

# No `from __future__ import annotations`: LangChain resolves string annotations anew at each tool call.

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as plain_tool
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from stateward import AsyncRuntime, Effect, FlowState, Principal, Settings, Workflow, tool
from stateward.testing import ScriptedModel
from stateward.verify.load import parse_policy

_SCHEMA = """
do $$ begin
    create role bench_writer nologin;
exception when duplicate_object then null;
end $$;
create schema bench;
create table bench.entry (account text not null, amount numeric not null);
grant usage on schema bench to bench_writer;
grant insert on bench.entry to bench_writer;
"""
_POLICY = """
policy: bench
version: 1
identities:
  clerk: {kind: agent}
  boss: {kind: person}
  writer: {kind: credential, role: bench_writer}
tools:
  note:
    effect: write
    for: [clerk]
    deny: [{when: args.amount <= 0, because: an amount is positive}]
    ask: [{when: args.amount > 1000, by: [boss], within: 2d, because: it is big}]
  post:
    effect: write
    for: [clerk]
    identity: writer
    deny: [{when: args.amount <= 0, because: an amount is positive}]
    ask: [{when: args.amount > 1000, by: [boss], within: 2d, because: it is big}]
budget: {steps: 1000}
"""
_INSERT = "insert into bench.entry (account, amount) values (%s, %s)"

Start = Callable[[], Awaitable[RunnableConfig]]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to do the job.

    Attributes:
        name: As the table shows it.
        tool: The tool that its model calls.
        schema: The Postgres schema of its checkpoints; None where it keeps none.
        build: Compiles the graph for a model.
        start: Opens a new thread and gives its config.
    """

    name: str
    tool: str
    schema: str | None
    build: Callable[[ScriptedModel], Any]
    start: Start

    async def run(self, steps: int) -> Callable[[], Awaitable[str]]:
        """Prepare a run of so many steps, which starts when what is returned is awaited; it gives its thread's id."""
        graph, config = self.build(_model(self.tool, steps)), await self.start()
        durability: dict[str, Any] = {"durability": "sync"} if self.schema else {}

        async def go() -> str:
            out = await graph.ainvoke({"messages": [("user", "go")]}, config, **durability)
            assert out["messages"][-1].text == "done"
            assert sum(one.type == "tool" and one.status == "success" for one in out["messages"]) == steps
            return config["configurable"]["thread_id"]

        return go


@asynccontextmanager
async def variants(uri: str, settings: Settings) -> AsyncIterator[list[Variant]]:
    """All ways on one database; the first that calls a tool with a saver is what the others are held against."""
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(
            AsyncRuntime.connect(uri, settings=settings, migrations=[("bench", _SCHEMA)])
        )
        # Upstream's saver as its documentation opens it: one connection, statements prepared at once.
        saver = await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(make_conninfo(uri)))
        await saver.setup()
        connection = await stack.enter_async_context(await AsyncConnection.connect(uri, autocommit=True))
        yield [*_note(runtime, saver, connection), *_post(runtime, saver, connection)]


def _note(runtime: AsyncRuntime, saver: AsyncPostgresSaver, connection: Any) -> list[Variant]:
    plain, governed = _plain_tools(connection), _governed_tools()
    return [
        _plain("create_agent, no saver", "note", plain, None),
        _plain("create_agent + AsyncPostgresSaver", "note", plain, saver),
        _middleware("create_agent + Stateward", "note", governed, runtime),
        _workflow("Stateward Workflow", "note", governed, runtime),
    ]


def _post(runtime: AsyncRuntime, saver: AsyncPostgresSaver, connection: Any) -> list[Variant]:
    plain, governed = _plain_tools(connection), _governed_tools()
    return [
        _plain("create_agent + AsyncPostgresSaver", "post", plain, saver),
        _middleware("create_agent + Stateward", "post", governed, runtime),
        _workflow("Stateward Workflow", "post", governed, runtime),
    ]


def _plain(name: str, called: str, tools: list[BaseTool], saver: AsyncPostgresSaver | None) -> Variant:
    async def start() -> RunnableConfig:
        return {"configurable": {"thread_id": uuid4().hex}, "recursion_limit": 1000}

    def build(model: ScriptedModel) -> Any:
        return create_agent(model, tools, checkpointer=saver)

    return Variant(name=name, tool=called, schema="public" if saver else None, build=build, start=start)


def _middleware(name: str, called: str, tools: list[BaseTool], runtime: AsyncRuntime) -> Variant:
    ward = runtime.middleware(policy=parse_policy(_POLICY), tools=tools, principal="clerk")

    def build(model: ScriptedModel) -> Any:
        return create_agent(model, tools, middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store)

    return Variant(name=name, tool=called, schema="stateward", build=build, start=_starter(runtime, "clerk"))


def _workflow(name: str, called: str, tools: list[BaseTool], runtime: AsyncRuntime) -> Variant:
    flow = Workflow("bench", state=FlowState, policy=parse_policy(_POLICY), principal="clerk")

    def build(model: ScriptedModel) -> Any:
        flow.orchestrate(model, tools=tools)
        return flow.compile(runtime)

    return Variant(name=name, tool=called, schema="stateward", build=build, start=_starter(runtime, "bench"))


def _starter(runtime: AsyncRuntime, graph: str) -> Start:
    clerk = Principal("clerk", kind="agent")

    async def start() -> RunnableConfig:
        return await runtime.thread(
            uuid4().hex, principal=clerk, purpose="bench", subject="none", requester="ann", graph=graph
        )

    return start


def _model(called: str, steps: int) -> ScriptedModel:
    numbers = count(1)
    calls = [_call(called, next(numbers)) for _ in range(steps)]
    return ScriptedModel(script=[*calls, AIMessage("done")])


def _call(called: str, at: int) -> AIMessage:
    arguments = {"account": "4711", "amount": 1.0 + at / 100}
    return AIMessage("", tool_calls=[{"name": called, "args": arguments, "id": f"call-{at}", "type": "tool_call"}])


def _plain_tools(connection: AsyncConnection[Any]) -> list[BaseTool]:
    @plain_tool
    async def note(account: str, amount: float) -> dict[str, float]:
        """Note an amount."""
        return {account: amount}

    @plain_tool
    async def post(account: str, amount: float) -> dict[str, float]:
        """Post an amount, over a connection that stands open with the application's own login."""
        await connection.execute(_INSERT, (account, amount))
        return {"posted": amount}

    return [note, post]


def _governed_tools() -> list[BaseTool]:
    @tool
    async def note(account: str, amount: float) -> dict[str, float]:
        """Note an amount."""
        return {account: amount}

    @tool(transactional=True)
    async def post(account: str, amount: float, effect: Effect) -> dict[str, float]:
        """Post an amount, over a connection with a login that was made for this call."""
        async with effect.transaction() as work:
            await work.connection.execute(_INSERT, (account, amount))
            work.settle({"posted": amount})
        return {"posted": amount}

    return [note, post]
