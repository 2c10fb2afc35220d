"""P14, for checkpoints: a step leaves as much at step 200 as at step 10, and what is not needed any more may go.

Bytes are counted exactly, value by value and uncompressed, so it does not matter what else the machine is doing.
"""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, TypedDict

import psycopg
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool as plain_tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt
from plain import PlainBank, on_postgres, thread

from bank import BOSS, POLICY, Bank, Started, start
from stateward import AsyncRuntime, FlowState, Principal, Runtime, Settings, Workflow, call, tool
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

Way = Literal["create_agent", "middleware", "workflow"]
WAYS: tuple[Way, ...] = ("create_agent", "middleware", "workflow")
GOVERNED = """
policy: flat
version: 1
identities: {bot: {kind: agent}}
tools: {look: {effect: write, for: [bot]}}
budget: {steps: 100000}
"""
BOT = Principal("bot", kind="agent")

OUR_TABLES = {
    "stateward.checkpoint": ("thread_id", "ns", "checkpoint_id", "parent_id", "run", "body"),
    "stateward.checkpoint_value": ("thread_id", "ns", "channel", "version", "root", "body"),
    "stateward.checkpoint_write": ("thread_id", "ns", "checkpoint_id", "task_id", "task_path", "channel", "body"),
    "stateward.checkpoint_head": ("thread_id", "ns", "checkpoint_id"),
    "stateward.checkpoint_thread": ("thread_id",),
    "stateward.data_key": ("thread_id", "wrapped"),
}
_UPSTREAM_KEY = ("thread_id", "checkpoint_ns")
UPSTREAM_TABLES = {
    "checkpoints": (
        *_UPSTREAM_KEY,
        "checkpoint_id",
        "parent_checkpoint_id",
        "type",
        "checkpoint::text",
        "metadata::text",
    ),
    "checkpoint_blobs": (*_UPSTREAM_KEY, "channel", "version", "type", "blob"),
    "checkpoint_writes": (*_UPSTREAM_KEY, "checkpoint_id", "task_id", "task_path", "channel", "type", "blob"),
}


def kept(url: str, thread: str, tables: dict[str, tuple[str, ...]] = OUR_TABLES) -> int:
    """Bytes of all that a thread has in the tables of checkpoints."""
    total = 0
    for table, columns in tables.items():
        each = " + ".join(f"coalesce(octet_length({column}), 0)" for column in columns)
        total += number(url, f"select coalesce(sum({each}), 0) from {table} where thread_id = %s", thread)
    return total


def number(url: str, query: str, *values: Any) -> int:
    with psycopg.connect(url) as connection:
        (row,) = connection.execute(query, values).fetchall()  # pyright: ignore[reportArgumentType]
        return int(row[0])


def script(steps: int) -> list[AIMessage]:
    """So many calls of a tool, one a turn, and the end."""
    calls = [
        {"name": "look", "args": {"at": 1000 + at}, "id": f"call-{at:05}", "type": "tool_call"} for at in range(steps)
    ]
    return [*(AIMessage("", tool_calls=[one]) for one in calls), AIMessage("done")]


def filler(at: int) -> str:
    """200 characters that do not compress."""
    return "".join(random.Random(at).choices(string.ascii_letters + string.digits, k=200))


@plain_tool
async def look(at: int) -> str:
    """Look at something."""
    return filler(at)


def governed() -> Any:
    @tool
    async def look(at: int) -> str:
        """Look at something."""
        return filler(at)

    return look


async def run(runtime: AsyncRuntime, way: Way, steps: int, **options: Any) -> str:
    """Run so many steps on a thread of their own; gives its name."""
    model, policy, name = ScriptedModel(script=script(steps)), parse_policy(GOVERNED), f"{way}-{steps:05}"
    if way == "create_agent":
        graph: Any = create_agent(model, [look], checkpointer=runtime.checkpointer)
        config = runtime.config(name)
    else:
        if way == "middleware":
            ward = runtime.middleware(policy=policy, tools=[governed()], principal="bot")
            saver, store = runtime.checkpointer, runtime.store
            graph = create_agent(model, [governed()], middleware=[ward], checkpointer=saver, store=store)
        else:
            flow = Workflow("flow", state=FlowState, policy=policy, principal="bot")
            flow.orchestrate(model, tools=[governed()])
            graph = flow.compile(runtime)
        of = "bot" if way == "middleware" else "flow"
        config = await runtime.thread(name, principal=BOT, purpose="flat", subject="none", requester="ann", graph=of)
    out = await graph.ainvoke({"messages": [("user", "go")]}, config | {"recursion_limit": 100_000}, **options)
    assert len(out["messages"]) == 2 * steps + 2
    return name


IN_ORDER: dict[str, Any] = {"durability": "sync"}  # a checkpoint is handed over before the tasks that follow from it


@pytest.mark.slow
@pytest.mark.parametrize("options", [IN_ORDER, {}], ids=["in order", "at barriers"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_step_leaves_as_much_at_step_200_as_at_step_10(
    async_runtime: AsyncRuntime, database_url: str, way: Way, options: dict[str, Any]
) -> None:
    left = {at: kept(database_url, await run(async_runtime, way, at, **options)) for at in (10, 20, 200, 210)}
    early, late = left[20] - left[10], left[210] - left[200]
    assert late == pytest.approx(early, rel=0.02)
    assert left[200] > left[20] > left[10] > 0


@pytest.mark.slow
async def test_400_messages_are_a_25th_of_what_upstream_keeps(async_runtime: AsyncRuntime, database_url: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        await saver.setup()
        agent = create_agent(ScriptedModel(script=script(199)), [look], checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "upstream"}, "recursion_limit": 100_000}
        out = await agent.ainvoke({"messages": [("user", "go")]}, config, **IN_ORDER)
    assert len(out["messages"]) == 400
    theirs = kept(database_url, "upstream", UPSTREAM_TABLES)
    for way in WAYS:
        ours = kept(database_url, await run(async_runtime, way, 199, **IN_ORDER))
        assert ours * 25 <= theirs, f"{way}: {theirs / ours:.1f}"


# --- Lists that grow


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    until: int


def said(at: int) -> AIMessage:
    return AIMessage(filler(at), id=f"message-{at:05}")


def talking(saver: BaseCheckpointSaver[Any]) -> Any:
    """A graph that says a message a step, as cheaply as one can."""

    async def say(state: Any) -> Any:
        return {"messages": [said(len(state["messages"]))]}

    builder = StateGraph(Talk)
    builder.add_node("say", say)
    builder.add_edge(START, "say")
    builder.add_conditional_edges(
        "say", lambda state: END if len(state["messages"]) >= state.get("until", 0) else "say"
    )
    return builder.compile(checkpointer=saver)


async def talk(saver: BaseCheckpointSaver[Any], thread: str, until: int, **options: Any) -> None:
    """One run that says so many messages."""
    config: Any = {"configurable": {"thread_id": thread}, "recursion_limit": 100_000}
    await talking(saver).ainvoke({"messages": [said(0)], "until": until}, config, **options)


async def chat(saver: BaseCheckpointSaver[Any], thread: str, until: int) -> None:
    """As many runs as it takes, of a message and its answer each."""
    graph, config = talking(saver), _config(thread)
    for at in range(0, until, 2):
        await graph.ainvoke({"messages": [said(at)]}, config, **IN_ORDER)


async def written(saver: BaseCheckpointSaver[Any], thread: str, until: int) -> None:
    """Every message comes from outside."""
    graph = talking(saver)
    for at in range(until):
        await graph.aupdate_state(_config(thread), {"messages": [said(at)]}, as_node="say")


async def late(saver: BaseCheckpointSaver[Any], thread: str, until: int) -> None:
    """One run, whose checkpoints are handed over after what its tasks write."""
    await talk(Late(saver), thread, until)


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


async def found(saver: BaseCheckpointSaver[Any], thread: str) -> list[str]:
    return [one.text for one in (await talking(saver).aget_state(_config(thread))).values["messages"]]


@pytest.mark.slow
async def test_the_total_is_linear_though_chains_are_written_anew(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    of_messages = "from stateward.checkpoint_value where thread_id = %s and channel = 'messages'"
    left: dict[int, int] = {}
    for until, chains in ((300, 2), (1200, 4)):
        thread = f"talk-{until:05}"
        await talk(async_runtime.checkpointer, thread, until, **IN_ORDER)
        left[until] = kept(database_url, thread)
        assert number(database_url, f"select count(distinct root) {of_messages}", thread) == chains
        assert await found(async_runtime.checkpointer, thread) == [filler(at) for at in range(until)]
    assert left[1200] <= 4.5 * left[300]


Talker = Callable[[BaseCheckpointSaver[Any], str, int], Awaitable[None]]


@pytest.mark.parametrize("how", [chat, written, late])
async def test_a_conversation_grows_with_its_messages_however_it_is_made(
    async_runtime: AsyncRuntime, database_url: str, how: Talker
) -> None:
    left: dict[int, int] = {}
    for until in (20, 40, 80, 100):
        thread = f"talk-{until:05}"
        await how(async_runtime.checkpointer, thread, until)
        left[until] = kept(database_url, thread)
        assert await found(async_runtime.checkpointer, thread) == [filler(at) for at in range(until)]
    assert left[100] - left[80] == pytest.approx(left[40] - left[20], rel=0.02)


class Late(BaseCheckpointSaver[Any]):
    """A saver whose checkpoints arrive a moment later than what the tasks that follow from them write.

    LangGraph hands over each in a task or thread of its own, and promises no order between them.
    """

    def __init__(self, inner: BaseCheckpointSaver[Any]) -> None:
        super().__init__(serde=inner.serde)
        self.inner = inner

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self.inner.get_next_version(current, channel)

    async def aget_tuple(self, config: Any) -> Any:
        return await self.inner.aget_tuple(config)

    async def aput(self, *given: Any) -> Any:
        await asyncio.sleep(0.005)
        return await self.inner.aput(*given)

    async def aput_writes(self, *given: Any) -> None:
        await self.inner.aput_writes(*given)


# --- History that goes


class Deep(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def with_subgraph(saver: BaseCheckpointSaver[Any]) -> Any:
    """A conversation whose answers are made in a subgraph that asks a person."""
    below = StateGraph(Deep)
    below.add_node("ask", lambda state: {"messages": [AIMessage(interrupt("what do I say?"))]})
    below.add_edge(START, "ask")
    builder = StateGraph(Deep)
    builder.add_node("below", below.compile())
    builder.add_edge(START, "below")
    return builder.compile(checkpointer=saver)


def checkpoints(url: str, thread: str) -> dict[str, int]:
    """How many checkpoints each namespace has."""
    with psycopg.connect(url) as connection:
        query = "select ns, count(*) from stateward.checkpoint where thread_id = %s group by ns"
        return dict(connection.execute(query, [thread]).fetchall())


def orphans(url: str, thread: str) -> int:
    """Rows that belong to no checkpoint that is left."""
    query = """
    select count(*) from stateward.checkpoint_write w where thread_id = %s and not exists (
        select from stateward.checkpoint c
         where (c.thread_id, c.ns, c.checkpoint_id) = (w.thread_id, w.ns, w.checkpoint_id))
    """
    return number(url, query, thread)


def test_a_pruned_thread_is_whole_and_grows_on(runtime: Runtime, settings: Settings, database_url: str) -> None:
    saver, config = runtime.checkpointer, _config("talk")
    asyncio.run(talk(saver, "talk", 300, **IN_ORDER))
    before, whole = talking(saver).get_state(config), kept(database_url, "talk")
    saver.prune(["talk"], strategy="keep_latest")
    assert checkpoints(database_url, "talk") == {"": 1}
    assert orphans(database_url, "talk") == 0
    assert number(database_url, "select count(*) from stateward.checkpoint_write where thread_id = %s", "talk") == 0
    assert talking(saver).get_state(config).values == before.values
    assert [one.config for one in talking(saver).get_state_history(config)] == [before.config]

    small = kept(database_url, "talk")
    assert small < whole / 4
    with Runtime.open(settings=settings) as second:
        for at, one in enumerate((runtime, second, runtime, second)):
            out = asyncio.run(_say(one.checkpointer, "talk", said(300 + 2 * at)))
            assert [message.text for message in out["messages"]] == [filler(n) for n in range(302 + 2 * at)]
    assert checkpoints(database_url, "talk") == {"": 1 + 4 * 3}
    assert kept(database_url, "talk") < 1.5 * small  # the list was not written anew four times
    saver.prune(["talk"])
    assert checkpoints(database_url, "talk") == {"": 1}
    assert len(talking(saver).get_state(config).values["messages"]) == 308


async def _say(saver: BaseCheckpointSaver[Any], thread: str, message: AIMessage) -> Any:
    return await talking(saver).ainvoke({"messages": [message], "until": 0}, _config(thread), **IN_ORDER)


def test_a_pruned_thread_keeps_one_checkpoint_for_each_namespace(runtime: Runtime, database_url: str) -> None:
    graph, config = with_subgraph(runtime.checkpointer), _config("deep")
    for at in range(3):
        graph.invoke({"messages": [HumanMessage(f"asked {at}")]}, config)
        if at < 2:
            graph.invoke(Command(resume=f"said {at}"), config)
    before = checkpoints(database_url, "deep")
    assert len(before) == 4
    assert before[""] > 1
    runtime.checkpointer.prune(["deep"])
    assert checkpoints(database_url, "deep") == dict.fromkeys(before, 1)
    assert orphans(database_url, "deep") == 0
    assert [one.value for one in graph.get_state(config, subgraphs=True).interrupts] == ["what do I say?"]
    out = graph.invoke(Command(resume="said 2"), config)
    assert [one.text for one in out["messages"]] == [f"{how} {at}" for at in range(3) for how in ("asked", "said")]


# By policy: `checkpoints: {keep: latest}`.

LATEST = POLICY + "checkpoints: {keep: latest}\n"
ALL = POLICY + "checkpoints: {keep: all}\n"
KEEPS = {"latest": LATEST, "all": ALL, "not said": POLICY}
BIG, SMALL, READ = [call("pay", amount=500)], [call("renew", amount=5)], [call("look", what="x")]


def begun(bank: Bank, kind: str, policy: str, *turns: Sequence[Any], thread: str = "t") -> Started:
    """A thread of a workflow, or of an agent, and its first run."""
    if kind == "workflow":
        graph, config = bank.graph(*turns, policy=policy), bank.config(thread)
    else:
        graph, config = agent(bank, policy, *turns), bank.config(thread, graph="bot")
    out = start(graph, config) if kind.endswith("in order") else graph.invoke({"messages": [("user", "go")]}, config)
    return Started(bank=bank, graph=graph, config=config, out=out)


def agent(bank: Bank, policy: str, *turns: Sequence[Any]) -> Any:
    tools, runtime = bank.tools(), bank.runtime
    ward = runtime.middleware(policy=parse_policy(policy), tools=tools, principal="bot", purpose="bank")
    model = ScriptedModel(script=[*(proposes(*one) for one in turns), *[AIMessage("done")] * 9])
    return create_agent(model, tools, middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store)


def left(run: Started) -> int:
    return sum(checkpoints(run.bank.url, run.thread).values())


KINDS = ["workflow", "agent", "agent, in order"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answered_run_leaves_one_checkpoint_where_the_policy_says_so(bank: Bank, kind: str) -> None:
    run = begun(bank, kind, LATEST, READ, SMALL)
    for at in range(3):
        assert left(run) == 1
        assert orphans(bank.url, run.thread) == 0
        snapshot = run.graph.get_state(run.config)
        assert snapshot.next == ()
        assert [one.text for one in snapshot.values["messages"]] == [one.text for one in run.out["messages"]]
        assert snapshot.values["messages"][-1].text == "done"
        assert bank.runtime.find_thread(run.thread).status == "answered"
        run.out = run.graph.invoke({"messages": [("user", f"and {at}")]}, run.config)
    assert bank.amounts("renew") == [5]
    assert bank.runtime.verify_audit().intact


@pytest.mark.parametrize("kind", KINDS)
def test_history_stays_while_a_person_is_asked(bank: Bank, settings: Settings, kind: str) -> None:
    run = begun(bank, kind, LATEST, SMALL, BIG)
    waiting = left(run)
    assert waiting > 3
    history = [one.config for one in run.graph.get_state_history(run.config)]
    run.resume()  # nobody has decided
    assert left(run) == waiting
    assert [one.config for one in run.graph.get_state_history(run.config)] == history
    run.decide("approve", by=BOSS)
    assert left(run) == waiting
    run.resume()
    assert bank.amounts() == [500]
    assert left(run) == 1
    assert run.graph.get_state(run.config).values["messages"][-1].text == "done"


@pytest.mark.parametrize("keep", ["all", "not said"])
@pytest.mark.parametrize("kind", KINDS)
def test_history_stays_where_the_policy_does_not_say_otherwise(bank: Bank, kind: str, keep: str) -> None:
    run = begun(bank, kind, KEEPS[keep], READ, SMALL)
    assert left(run) > 5
    assert len(list(run.graph.get_state_history(run.config))) == left(run)
    run.graph.invoke({"messages": [("user", "and?")]}, run.config)
    assert left(run) > 8


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_thread_that_was_answered_loses_its_history(bank: Bank, kind: str) -> None:
    other = begun(bank, kind, LATEST, SMALL, BIG, thread="waits")
    waiting = left(other)
    run = begun(bank, kind, LATEST, SMALL, thread="answered")
    assert (left(run), left(other)) == (1, waiting)


def test_plain_storage_grows_with_the_square_of_the_thread_falls(database_url: str) -> None:
    with on_postgres(database_url) as plain:
        model, sizes = ScriptedModel(script=[AIMessage("y" * 500)] * 40), dict[int, int]()
        agent = create_agent(model, [], checkpointer=plain.bank.saver)
        for turn in range(1, 41):
            agent.invoke({"messages": [("user", f"{turn} " + "x" * 500)]}, thread())
            sizes[turn] = plain.size()
    first, second, third = sizes[10], sizes[20], sizes[40]
    assert third - second > 3 * (second - first)  # twice as many turns; flat would be twice as much


def test_plain_a_model_that_goes_on_is_not_stopped_by_default_falls() -> None:
    bank = PlainBank()
    agent = bank.agent(*([call("renew", amount=at)] for at in range(60)))
    assert agent.invoke({"messages": [("user", "go")]}, thread())["messages"][-1].text == "done"
    assert len(bank.ran) == 60
