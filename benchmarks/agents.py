"""The same job several ways: plain `create_agent`, a stack of LangChain's own middleware, ours, and our Workflow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    PIIMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks import job
from benchmarks.job import BenchModel, Hook, Tick
from stateward import AsyncRuntime, FlowState, Principal, Settings, Workflow
from stateward.verify.load import parse_policy

UPSTREAM, OURS = "public", "stateward"  # the schemas of the checkpoints
POOL = 10
_CLERK, _BOSS = Principal("clerk", kind="agent"), Principal("boss", kind="person")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One thread that is ready to start.

    Attributes:
        variant: How it runs.
        graph: The compiled graph.
        model: What the graph asks.
        config: LangGraph's config of the thread.
        calls: When a tool of its place was called, in seconds.
    """

    variant: Variant
    graph: Any
    model: BenchModel
    config: RunnableConfig
    calls: list[float]

    @property
    def thread(self) -> str:
        """The thread's id."""
        return self.config["configurable"]["thread_id"]

    @property
    def ticks(self) -> list[Tick]:
        """When its model was asked."""
        return self.model.ticks[self.thread]

    async def go(self) -> Sequence[Any]:
        """Run the script to its end; every call of it has succeeded then."""
        messages = await self.say("go")
        assert messages[-1].text == job.DONE
        assert sum(one.type == "tool" and one.status == "success" for one in messages) == len(self.model.script) - 1
        return messages

    async def say(self, text: str) -> Sequence[Any]:
        """Give it a message of a person, and run as far as that goes."""
        out = await self.graph.ainvoke({"messages": [("user", text)]}, self.config, **self.variant.durability)
        return out["messages"]

    async def approve(self) -> Sequence[Any]:
        """Let a person approve what it waits for, and run as far as that goes."""
        return (await self.variant.approve(self))["messages"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to do the job.

    Attributes:
        name: As the tables show it.
        schema: The Postgres schema of its checkpoints; None where it keeps none.
        build: Compiles the graph for a model.
        open: Opens a new thread and gives its config.
        approve: Approves what a run waits for and goes on with it.
        calls: When a tool of its place was called, in seconds.
    """

    name: str
    schema: str | None
    build: Callable[[BenchModel], Any]
    open: Callable[[], Awaitable[RunnableConfig]]
    approve: Callable[[Run], Awaitable[Any]]
    calls: list[float]

    @property
    def durability(self) -> dict[str, Any]:
        """Upstream is durable before the next superstep with `sync` only; ours at its own barriers."""
        return {"durability": "sync"} if self.schema == UPSTREAM else {}

    async def run(self, script: Sequence[AIMessage], *, pause: float = 0, hook: Hook | None = None) -> Run:
        """Prepare one thread."""
        (made,) = await self.runs(script, threads=1, pause=pause, hook=hook)
        return made

    async def runs(
        self, script: Sequence[AIMessage], *, threads: int, pause: float = 0, hook: Hook | None = None
    ) -> list[Run]:
        """Prepare so many threads of one graph."""
        model = BenchModel(script=script, pause=pause, hook=hook)
        graph = self.build(model)
        configs = [await self.open() for _ in range(threads)]
        return [Run(variant=self, graph=graph, model=model, config=one, calls=self.calls) for one in configs]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Makes the variants on one database.

    Attributes:
        runtime: Ours.
        saver: Upstream's.
        connection: What the plain tools write through.
        calls: When a tool was called, in seconds.
    """

    runtime: AsyncRuntime
    saver: AsyncPostgresSaver
    connection: AsyncConnection[Any]
    calls: list[float] = field(default_factory=list[float])

    def unsaved(self) -> Variant:
        """`create_agent` alone: what the framework costs."""
        return self._plain("create_agent, no saver", None, ())

    def plain(self) -> Variant:
        """`create_agent` with upstream's saver: what the others are held against."""
        return self._plain("create_agent + AsyncPostgresSaver", UPSTREAM, ())

    def asking(self) -> Variant:
        """The same with LangChain's way to ask people."""
        return self._plain("create_agent + HumanInTheLoop + AsyncPostgresSaver", UPSTREAM, (_asks(),))

    def stacked(self) -> Variant:
        """What a team stacks out of LangChain's own middleware to get some of what a ward does."""
        wards = (
            PIIMiddleware("email", apply_to_input=True),
            PIIMiddleware("credit_card", apply_to_input=False, apply_to_output=True),
            PIIMiddleware("ip", apply_to_input=False, apply_to_tool_results=True),
            _asks(),
            ToolRetryMiddleware(),
            ToolCallLimitMiddleware(thread_limit=100_000),
        )
        return self._plain("create_agent + stacked middleware", UPSTREAM, wards)

    def middleware(self) -> Variant:
        """`create_agent` with our middleware, saver and store."""
        runtime, tools = self.runtime, job.governed_tools(self.calls)
        ward = runtime.middleware(policy=parse_policy(job.POLICY), tools=tools, principal=_CLERK.id)

        def build(model: BenchModel) -> Any:
            return create_agent(model, tools, middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store)

        return self._governed("create_agent + Stateward", build, _CLERK.id)

    def workflow(self) -> Variant:
        """Our `Workflow`."""
        flow = Workflow("bench", state=FlowState, policy=parse_policy(job.POLICY), principal=_CLERK.id)

        def build(model: BenchModel) -> Any:
            flow.orchestrate(model, tools=job.governed_tools(self.calls))
            return flow.compile(self.runtime)

        return self._governed("Stateward Workflow", build, flow.name)

    def _plain(self, name: str, schema: str | None, wards: Sequence[Any]) -> Variant:
        tools, saver = job.plain_tools(self.connection, self.calls), self.saver if schema else None

        async def start() -> RunnableConfig:
            return {"configurable": {"thread_id": uuid4().hex}, "recursion_limit": 100_000}

        def build(model: BenchModel) -> Any:
            return create_agent(model, tools, middleware=wards, checkpointer=saver)

        async def approve(run: Run) -> Any:
            answer = Command(resume={"decisions": [{"type": "approve"}]})
            return await run.graph.ainvoke(answer, run.config, **run.variant.durability)

        return Variant(name=name, schema=schema, build=build, open=start, approve=approve, calls=self.calls)

    def _governed(self, name: str, build: Callable[[BenchModel], Any], graph: str) -> Variant:
        async def start() -> RunnableConfig:
            found = await self.runtime.thread(
                uuid4().hex, principal=_CLERK, purpose="bench", subject="none", requester="ann", graph=graph
            )
            return found | {"recursion_limit": 100_000}

        async def approve(run: Run) -> Any:
            for asked in await self.runtime.approvals(thread=run.thread):
                await self.runtime.decide(asked, "approve", by=_BOSS)
            return await self.runtime.resume(run.graph, run.thread)

        return Variant(name=name, schema=OURS, build=build, open=start, approve=approve, calls=self.calls)


@asynccontextmanager
async def place(uri: str, home: Path, *, pool: bool = False) -> AsyncIterator[Place]:
    """Open everything on one database.

    Args:
        uri: The database.
        home: Where our settings live.
        pool: Give upstream's saver a pool; else one connection, as its documentation opens it.
    """
    async with AsyncExitStack() as stack:
        settings = Settings(home=home, pool_size=POOL)
        runtime = await stack.enter_async_context(
            AsyncRuntime.connect(uri, settings=settings, migrations=[("bench", job.SCHEMA)])
        )
        saver = await _upstream(stack, uri, pool=pool)
        await saver.setup()
        connection = await stack.enter_async_context(await AsyncConnection.connect(uri, autocommit=True))
        yield Place(runtime=runtime, saver=saver, connection=connection)


async def _upstream(stack: AsyncExitStack, uri: str, *, pool: bool) -> AsyncPostgresSaver:
    if not pool:
        return await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(make_conninfo(uri)))
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    connections = AsyncConnectionPool(uri, min_size=POOL, max_size=POOL, open=False, kwargs=options)
    return AsyncPostgresSaver(await stack.enter_async_context(connections))


def _asks() -> HumanInTheLoopMiddleware:
    """Asks where our policy does."""

    def big(request: Any) -> bool:
        return request.tool_call["args"]["amount"] > 1000

    return HumanInTheLoopMiddleware({"note": {"allowed_decisions": ["approve", "reject"], "when": big}})
