"""Threads that LangGraph's own PostgresSaver has kept come over as they are, and go on; nothing is lost on the way."""

from __future__ import annotations

import asyncio
import importlib
import json
import operator
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from bank import Bank, Started, start
from stateward import AsyncRuntime, Settings, call
from stateward.adapters.postgres.importing import Arrivals, LangGraphTables
from stateward.cli.app import app
from stateward.errors import ThreadBusy
from stateward.importing import AsIs, Verbatim, numbered, parents_first
from stateward.testing.databases import Databases

Saver = BaseCheckpointSaver[Any]
ROOT = Path(__file__).parents[2]
TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
PATIENCE = 60


@dataclass
class Place:
    """A database with upstream's tables in it, and the runtime that threads are brought over to."""

    runtime: AsyncRuntime
    url: str
    theirs: Saver

    @property
    def ours(self) -> Saver:
        return self.runtime.checkpointer

    async def bring(self, *args: str, code: int = 0) -> Result:
        """`stateward threads import` as a user types it."""
        done = await asyncio.to_thread(self.run, "threads", "import", *args)
        assert done.exit_code == code, f"{args} ended with {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done

    async def states(self, *args: str, code: int = 0) -> dict[str, str]:
        """What it says of each thread."""
        said = json.loads((await self.bring("--json", *args, code=code)).stdout)
        return {one["thread"]: one["state"] + (", dropped" if one["dropped"] else "") for one in said["threads"]}

    def run(self, *args: str) -> Result:
        return CliRunner(env=self.environment).invoke(app, [*args])

    @property
    def environment(self) -> dict[str, str]:
        settings = self.runtime.settings
        return {"DATABASE_URL": settings.database_url, "STATEWARD_HOME": str(settings.home), "COLUMNS": "200"}

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row, autocommit=True) as connection:
            found = connection.execute(query, values)  # pyright: ignore[reportArgumentType]
            return found.fetchall() if found.description else []

    def kept(self, schema: str = "stateward") -> int:
        """How many rows upstream's tables hold."""
        return sum(self.rows(f"select count(*) as n from {schema}.{name}")[0]["n"] for name in TABLES)


@asynccontextmanager
async def upstream(url: str, schema: str) -> AsyncGenerator[AsyncPostgresSaver]:
    """LangGraph's own saver in that schema, found by the search path as release 0.1.0 did."""
    async with await AsyncConnection.connect(
        url, autocommit=True, prepare_threshold=0, row_factory=dict_row
    ) as connection:
        await connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
        saver = AsyncPostgresSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=[Note]))
        await saver.setup()
        yield saver


@pytest.fixture
async def place(async_runtime: AsyncRuntime, database_url: str) -> AsyncIterator[Place]:
    async with upstream(database_url, "stateward") as theirs:
        yield Place(runtime=async_runtime, url=database_url, theirs=theirs)


@pytest.fixture(autouse=True)
def nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> Any:
    """LangGraph's serialiser says of every class that it does not know that it does not: nobody asked."""
    yield
    assert not [one.getMessage() for one in caplog.records if "deserializ" in one.getMessage().lower()]


# --- the threads


@dataclass
class Note:
    text: str


class Colour(Enum):
    RED = "red"


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    messages: Annotated[list[AnyMessage], add_messages]
    count: int
    note: Any
    extra: Any


def adding(name: str, **more: Any) -> Callable[[Any], Any]:
    return lambda state: {"log": [name], "count": len(state.get("log") or []), **more}


def line(*names: str) -> StateGraph[Any]:
    builder = StateGraph(State)
    for before, name in zip([START, *names], names, strict=False):
        builder.add_node(name, adding(name, extra={"by": name, "at": 1.5, 7: None}))
        builder.add_edge(before, name)
    return builder


def asking(*, rounds: int = 1) -> StateGraph[Any]:
    def ask(state: Any) -> Any:
        return {"log": [interrupt({"round": number}) for number in range(rounds)]}

    builder = StateGraph(State)
    builder.add_node("before", adding("before"))
    builder.add_node("ask", ask)
    builder.add_node("after", adding("after"))
    builder.add_edge(START, "before")
    builder.add_edge("before", "ask")
    builder.add_edge("ask", "after")
    return builder


def nested() -> StateGraph[Any]:
    inner = asking().compile()
    builder = StateGraph(State)
    builder.add_node("inner", inner)
    builder.add_node("outer", adding("outer"))
    builder.add_edge(START, "inner")
    builder.add_edge("inner", "outer")
    return builder


def spread() -> StateGraph[Any]:
    """Sends that run at once, of which one waits for a person."""

    def work(state: Any) -> Any:
        name = state["name"]
        return {"log": [f"{name}:{interrupt(name)}" if name == "w3" else name]}

    builder = StateGraph(State)
    builder.add_node("plan", adding("plan"))
    builder.add_node("work", work)
    builder.add_node("end", adding("end"))
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda _: [Send("work", {"name": f"w{n}"}) for n in range(12)], ["work"])
    builder.add_edge("work", "end")
    return builder


def talking(messages: int = 300) -> StateGraph[Any]:
    def say(state: Any) -> Any:
        said = len(state["messages"])
        return {"messages": [AIMessage(f"line {said}", id=f"m{said}", additional_kwargs={"n": said})]}

    builder = StateGraph(State)
    builder.add_node("say", say)
    builder.add_edge(START, "say")
    builder.add_conditional_edges("say", lambda state: "say" if len(state["messages"]) < messages else "__end__")
    return builder


def joined(state: list[str], writes: Sequence[Any]) -> list[str]:
    return [*state, *(one for write in writes for one in write)]


class Delta(TypedDict):
    log: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=4)]


def deltas() -> StateGraph[Any]:
    builder = StateGraph(Delta)
    for name in ("c", "a", "b"):
        builder.add_node(name, lambda state, name=name: {"log": [f"{name}{len(state['log'])}"]})
        builder.add_edge(START, name)
    return builder


def config(thread: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread, **more}, "recursion_limit": 1000}


async def fill(saver: Saver, *, messages: int = 10) -> dict[str, StateGraph[Any]]:
    """Threads of every kind, by name, with the graph of each."""
    graphs = {
        "linear": line("a", "b", "c"),
        "fork": line("a", "b", "c"),
        "waiting": asking(),
        "twice": asking(rounds=2),
        "nested": nested(),
        "spread": spread(),
        "delta": deltas(),
        "talk": talking(messages),
    }
    compiled = {name: graph.compile(checkpointer=saver) for name, graph in graphs.items()}
    for name, graph in compiled.items():
        given: Any = {"messages": [HumanMessage("go", id="m0")]} if name == "talk" else {"log": ["in"]}
        await graph.ainvoke(given, config(name))
    await compiled["linear"].ainvoke({"log": ["again"]}, {**config("linear"), "metadata": {"customer": "c1"}})
    history = [one async for one in compiled["fork"].aget_state_history(config("fork"))]
    updated = await compiled["fork"].aupdate_state(history[2].config, {"log": ["forked"]})
    await compiled["fork"].ainvoke(None, updated)
    await compiled["fork"].ainvoke(None, history[3].config)
    await compiled["twice"].ainvoke(Command(resume="first"), config("twice"))
    for number in range(9):
        await compiled["delta"].ainvoke({"log": [f"in{number}"]}, config("delta"))
    return graphs


async def history(graph: StateGraph[Any], saver: Saver, thread: str, limit: int | None = None) -> list[Any]:
    compiled = graph.compile(checkpointer=saver)
    return [one async for one in compiled.aget_state_history(config(thread), limit=limit)]


async def tuples(saver: Saver, thread: str) -> list[CheckpointTuple]:
    """Every checkpoint of every namespace."""
    found = [one async for one in saver.alist(config(thread))]
    return sorted(found, key=lambda one: (one.config["configurable"]["checkpoint_ns"], one.checkpoint["id"]))


ANSWERS: dict[str, Any] = {"waiting": "yes", "twice": "second", "nested": "yes", "spread": "yes"}


async def test_every_kind_of_thread_comes_over_and_goes_on(place: Place) -> None:
    graphs = await fill(place.theirs, messages=300)
    said = await place.states()
    assert said == dict.fromkeys(sorted(graphs), "imported")
    for name, graph in graphs.items():
        assert await tuples(place.ours, name) == await tuples(place.theirs, name), name
        mine, theirs = [await history(graph, saver, name, limit=20) for saver in (place.ours, place.theirs)]
        assert mine == theirs, name
        assert len(mine) > 1
    columns = "thread_id, {}, checkpoint_id, task_id, idx, task_path, channel"
    ours, theirs = columns.format("ns"), columns.format("checkpoint_ns as ns")
    assert place.rows(f"select {ours} from stateward.checkpoint_write order by 1, 2, 3, 4, 5") == place.rows(
        f"select {theirs} from stateward.checkpoint_writes order by 1, 2, 3, 4, 5"
    )
    for name, graph in graphs.items():
        given = Command(resume=ANSWERS[name]) if name in ANSWERS else {"log": ["on"], "messages": ["on"]}
        given = {"log": ["on"]} if name == "delta" else given
        ends = [
            await graph.compile(checkpointer=saver).ainvoke(given, config(name)) for saver in (place.ours, place.theirs)
        ]
        assert _told(ends[0]) == _told(ends[1]), name
        last = [(await history(graph, saver, name, limit=1))[0] for saver in (place.ours, place.theirs)]
        assert _told(last[0].values) == _told(last[1].values)
        assert last[0].next == last[1].next == ()


def _told(values: Any) -> Any:
    messages = [one.text for one in values.get("messages", [])]
    return {**values, "messages": messages}


async def test_old_checkpoints_of_a_thread_can_be_forked_from(place: Place) -> None:
    graphs = await fill(place.theirs)
    await place.bring()
    graph = graphs["linear"].compile(checkpointer=place.ours)
    past = (await history(graphs["linear"], place.ours, "linear"))[-2]
    out = await graph.ainvoke(None, await graph.aupdate_state(past.config, {"log": ["elsewhere"]}))
    assert out["log"] == ["in", "elsewhere", "a", "b", "c"]


async def test_a_list_of_messages_is_kept_as_it_grows(place: Place) -> None:
    await talking().compile(checkpointer=place.theirs).ainvoke({"messages": [HumanMessage("go")]}, config("talk"))
    await place.bring()
    theirs = place.rows("select sum(length(blob)) as n from stateward.checkpoint_blobs where channel = 'messages'")
    ours = place.rows("select sum(length(body)) as n from stateward.checkpoint_value where channel = 'messages'")
    assert ours[0]["n"] * 20 < theirs[0]["n"]


async def test_nothing_of_it_is_in_clear_here(place: Place) -> None:
    graph = line("a").compile(checkpointer=place.theirs)
    await graph.ainvoke({"log": ["Erika Mustermann"]}, {**config("t"), "metadata": {"who": "Erika Mustermann"}})
    await place.bring()
    for table in ("checkpoint", "checkpoint_value", "checkpoint_write"):
        [row] = place.rows(f"select string_agg(encode(body, 'escape'), ' ') as all from stateward.{table}")
        assert row["all"]
        assert "Erika" not in row["all"]


# --- again, cut off, gone on


async def test_a_second_time_nothing_happens(place: Place) -> None:
    graphs = await fill(place.theirs)
    await place.bring()
    before = place.rows("select * from stateward.checkpoint order by thread_id, ns, checkpoint_id")
    assert await place.states() == dict.fromkeys(sorted(graphs), "complete")
    assert place.rows("select * from stateward.checkpoint order by thread_id, ns, checkpoint_id") == before


KILLED = """
import os, signal, sys
from stateward.cli.app import app
from stateward.importing import Importer
left, keep = int(sys.argv[1]), Importer._copy_writes
async def counted(*args):
    global left
    await keep(*args)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
Importer._copy_writes = counted
app(["threads", "import"])
"""


@pytest.mark.slow
async def test_killed_within_a_thread_it_leaves_nothing_of_that_thread(place: Place) -> None:
    await line("a", "b", "c").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("first"))
    await talking().compile(checkpointer=place.theirs).ainvoke({"messages": [HumanMessage("go")]}, config("second"))
    whole = len(await tuples(place.theirs, "first"))

    async def killed_after(checkpoints: int, *expected: str) -> None:
        command = [sys.executable, "-c", KILLED, str(checkpoints)]
        done = await asyncio.to_thread(subprocess.run, command, env=os.environ | place.environment, check=False)
        assert done.returncode == -signal.SIGKILL
        for table in ("checkpoint", "checkpoint_head", "checkpoint_value", "checkpoint_write"):
            threads = place.rows(f"select distinct thread_id from stateward.{table}")
            assert [row["thread_id"] for row in threads] == [*expected]

    await killed_after(2)
    await killed_after(whole + 150, "first")
    await killed_after(300, "first")
    assert await place.states() == {"first": "complete", "second": "imported"}
    assert await tuples(place.ours, "second") == await tuples(place.theirs, "second")


@pytest.mark.slow
async def test_killed_at_any_moment_each_thread_is_here_as_a_whole_or_not(place: Place) -> None:
    graphs = await fill(place.theirs, messages=100)
    expected = {name: len(await tuples(place.theirs, name)) for name in graphs}
    chance = random.Random(7)
    for _ in range(10):
        before = _keys(place)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stateward.cli.app", "threads", "import",
            env=os.environ | place.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        # A thread's key is the first that it leaves.
        while _keys(place) == before < len(expected) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.random() * 0.1)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        for row in place.rows("select thread_id, count(*) as n from stateward.checkpoint group by thread_id"):
            assert row["n"] == expected[row["thread_id"]]
    await place.bring()
    for name in graphs:
        assert await tuples(place.ours, name) == await tuples(place.theirs, name), name


def _keys(place: Place) -> int:
    return place.rows("select count(*) as n from stateward.data_key")[0]["n"]


async def test_a_thread_that_has_gone_on_here_is_left_alone(place: Place) -> None:
    await asking().compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    await place.bring()
    graph = asking().compile(checkpointer=place.ours)
    await graph.ainvoke(Command(resume="yes"), config("t"))
    before = await tuples(place.ours, "t")
    done = await place.bring(code=1)
    assert "gone on: refused: it has gone on here since, by 2 checkpoints; nothing of it was changed" in done.stdout
    assert await tuples(place.ours, "t") == before
    # What is there is all here too, so it may go there.
    assert await place.states("--drop") == {"t": "gone on, dropped"}
    assert await tuples(place.ours, "t") == before
    assert place.kept() == 0


async def test_a_thread_that_went_on_in_both_places_is_refused(place: Place) -> None:
    theirs, ours = [asking().compile(checkpointer=saver) for saver in (place.theirs, place.ours)]
    await theirs.ainvoke({"log": ["in"]}, config("t"))
    await place.bring()
    await ours.ainvoke(Command(resume="here"), config("t"))
    await theirs.ainvoke(Command(resume="there"), config("t"))
    before = await tuples(place.ours, "t")
    done = await place.bring("--drop", code=1)
    assert "refused: there is a thread of this id here already, and 2 of its 5 checkpoints there are not" in done.stdout
    assert await tuples(place.ours, "t") == before
    assert place.kept() > 0


async def test_an_answer_that_was_given_there_since_is_not_overlooked(place: Place) -> None:
    await asking().compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    await place.bring()
    [*_, head] = await tuples(place.theirs, "t")
    await place.theirs.aput_writes(head.config, [("__resume__", "yes")], "00000000-0000-0000-0000-000000000000")
    done = await place.bring("--drop", code=1)
    assert "refused: there is a thread of this id here already, and 1 of its 3 checkpoints there are not" in done.stdout
    assert place.kept() > 0


async def test_a_thread_of_the_same_id_is_refused(place: Place) -> None:
    await line("a").compile(checkpointer=place.ours).ainvoke({"log": ["ours"]}, config("t"))
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["theirs"]}, config("t"))
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["theirs"]}, config("u"))
    before = await tuples(place.ours, "t")
    assert await place.states(code=1) == {"t": "refused", "u": "imported"}
    assert await tuples(place.ours, "t") == before


async def test_a_deleted_thread_stays_deleted(place: Place) -> None:
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    await place.bring()
    await place.ours.adelete_thread("t")
    done = await place.bring(code=1)
    assert "refused: thread 't' was deleted" in done.stdout
    assert await tuples(place.ours, "t") == []


async def test_a_run_that_begins_meanwhile_is_never_overwritten(place: Place) -> None:
    arrivals = Arrivals(place.runtime.database, place.runtime.keys)
    with pytest.raises(ThreadBusy):
        async with arrivals.thread("t", {"": "0"}):
            await line("a").compile(checkpointer=place.ours).ainvoke({"log": ["in"]}, config("t"))
    assert (await history(line("a"), place.ours, "t"))[0].values["log"] == ["in", "a"]


# --- dropping


async def test_without_drop_nothing_is_deleted_and_it_is_said(place: Place) -> None:
    await fill(place.theirs)
    before = place.kept()
    done = await place.bring()
    assert place.kept() == before
    assert "8 threads are in clear in stateward.checkpoints, stateward.checkpoint_blobs, " in done.stderr
    assert "`stateward threads import --drop`" in done.stderr


async def test_drop_deletes_what_is_here_and_the_same(place: Place) -> None:
    graphs = await fill(place.theirs)
    before = {name: await tuples(place.theirs, name) for name in graphs}
    assert await place.states("--drop", "--thread", "delta", "--thread", "fork") == {
        "delta": "imported, dropped",
        "fork": "imported, dropped",
    }
    assert await tuples(place.theirs, "fork") == []
    assert await tuples(place.theirs, "talk") == before["talk"]
    await place.bring()
    done = await place.bring("--drop")
    assert ["talk", "11", "complete, dropped there"] in [
        one.rstrip().split(None, 2) for one in done.stdout.splitlines()
    ]
    assert "VACUUM FULL stateward.checkpoints, " in done.stderr
    assert place.kept() == 0
    for name in graphs:
        assert await tuples(place.ours, name) == before[name]
    assert "hold no thread" in (await place.bring()).stderr


@pytest.mark.parametrize(
    ("table", "change", "why"),
    [
        ("checkpoint_blobs", "blob = blob || '\\x00' where channel = 'log'", "the channel values of checkpoint"),
        ("checkpoint_writes", "channel = 'other' where channel = 'log'", "the writes of checkpoint"),
        ("checkpoints", "metadata = metadata || '{\"a\": 1}'", "the metadata of checkpoint"),
        ("checkpoints", "checkpoint = checkpoint || '{\"v\": 9}'", "the channel versions of checkpoint"),
    ],
)
async def test_what_is_not_the_same_is_not_dropped(place: Place, table: str, change: str, why: str) -> None:
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    await place.bring()
    place.rows(f"update stateward.{table} set {change}")
    done = await place.bring("--drop", code=1)
    assert f"failed: not dropped: {why}" in done.stdout
    assert len(await tuples_raw(place, "t")) == 3


async def tuples_raw(place: Place, thread: str) -> list[Any]:
    return place.rows("select * from stateward.checkpoints where thread_id = %s", thread)


async def test_a_row_of_ours_that_was_tampered_with_keeps_the_others(place: Place) -> None:
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    await place.bring()
    place.rows("update stateward.checkpoint_value set body = body || '\\x00'")
    done = await place.bring("--drop", code=1)
    assert "failed: SealBroken" in done.stdout
    assert place.kept() > 0


async def test_nobody_writes_while_it_is_compared(place: Place, database_url: str) -> None:
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    await place.bring()
    with psycopg.connect(database_url) as writing:
        writing.execute("update stateward.checkpoints set metadata = '{}'")
        done = await place.bring("--drop", code=1)
        assert "error: [SW200] LangGraph's tables in schema 'stateward' cannot be used" in done.stderr
    assert place.kept() > 0


# --- what they hold


async def test_a_class_that_cannot_be_imported_is_what_it_was(
    place: Place, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "invoices_of_old.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Invoice:\n    number: int\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    old = importlib.import_module("invoices_of_old")
    given = {"note": old.Invoice(7), "extra": {"deep": [old.Invoice(8)]}, "log": ["in"]}
    await line("a").compile(checkpointer=place.theirs).ainvoke(given, config("t"))
    monkeypatch.setitem(sys.modules, "invoices_of_old", None)  # nobody can import it now
    done = await place.bring("--drop")
    assert "failed" not in done.stdout
    monkeypatch.setitem(sys.modules, "invoices_of_old", old)
    async with AsyncRuntime.connect(settings=settings, types=[old.Invoice]) as runtime:
        values = [one.values for one in await history(line("a"), runtime.checkpointer, "t")]
    assert [one["note"] for one in values if "note" in one] == [old.Invoice(7)] * 2


async def test_a_message_with_a_class_of_somebody_is_what_it_was(place: Place, settings: Settings) -> None:
    def say(state: Any) -> Any:
        return {"messages": [AIMessage("one", additional_kwargs={"colour": Colour.RED})]}

    builder = StateGraph(State)
    builder.add_node("say", say)
    builder.add_edge(START, "say")
    await builder.compile(checkpointer=place.theirs).ainvoke({"messages": [HumanMessage("go")]}, config("t"))
    await place.bring("--drop")
    async with AsyncRuntime.connect(settings=settings, types=[Colour]) as runtime:
        [last, *_] = await history(builder, runtime.checkpointer, "t")
    assert last.values["messages"][-1].additional_kwargs == {"colour": Colour.RED}


async def test_what_was_pickled_is_refused_and_the_others_come_over(place: Place) -> None:
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("pickled"))
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("z"))
    place.rows("update stateward.checkpoint_blobs set type = 'pickle' where thread_id = 'pickled'")
    done = await place.bring(code=1)
    assert "failed: a value is kept as 'pickle', which is not read here" in done.stdout
    assert await tuples(place.ours, "pickled") == []
    assert len(await tuples(place.ours, "z")) == 3


async def test_values_of_the_time_before_msgpack_come_over(place: Place) -> None:
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"], "extra": {}}, config("t"))
    place.rows("update stateward.checkpoint_blobs set type = 'json', blob = '[\"of\", \"old\"]' where channel = 'log'")
    await place.bring("--drop")
    [last, *_] = await history(line("a"), place.ours, "t")
    assert last.values["log"] == ["of", "old"]


async def test_sends_of_the_time_before_version_4_come_over(place: Place) -> None:
    graph = spread().compile(checkpointer=place.theirs)
    await graph.ainvoke({"log": ["in"]}, config("t"))
    [at] = [one for one in await tuples(place.theirs, "t") if "__pregel_tasks" in one.checkpoint["channel_values"]]
    sends, parent = at.checkpoint["channel_values"]["__pregel_tasks"], (at.parent_config or {})["configurable"]
    # Before, sends were no channel: they stood with the writes of the parent only.
    written = place.rows(
        "select count(*) as n from stateward.checkpoint_writes where checkpoint_id = %s and channel = '__pregel_tasks'",
        parent["checkpoint_id"],
    )
    assert written[0]["n"] == len(sends) == 12
    place.rows("delete from stateward.checkpoint_blobs where channel = '__pregel_tasks'")
    place.rows(
        "update stateward.checkpoints set checkpoint = jsonb_set(checkpoint, '{v}', '3') #- "
        "'{channel_versions,__pregel_tasks}'"
    )
    expected = await tuples(place.theirs, "t")
    assert [one for one in expected if one.checkpoint["channel_values"].get("__pregel_tasks") == sends]
    await place.bring()
    assert await tuples(place.ours, "t") == expected
    out = await spread().compile(checkpointer=place.ours).ainvoke(Command(resume="yes"), config("t"))
    assert out["log"] == ["in", "plan", *("w3:yes" if n == 3 else f"w{n}" for n in range(12)), "end"]
    await place.bring("--drop")


async def test_tables_without_task_paths_come_over(place: Place) -> None:
    await spread().compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    place.rows("alter table stateward.checkpoint_writes drop column task_path")
    await place.bring()
    out = await spread().compile(checkpointer=place.ours).ainvoke(Command(resume="yes"), config("t"))
    assert sorted(out["log"]) == sorted(["in", "plan", "end", "w3:yes", *(f"w{n}" for n in range(12) if n != 3)])
    assert await place.states("--drop") == {"t": "gone on, dropped"}
    assert place.kept() == 0


async def test_a_thread_that_upstream_has_pruned_comes_over(place: Place) -> None:
    await line("a", "b").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    await line("a", "b").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("u"))
    await place.theirs.aprune(["t"])
    place.rows("delete from stateward.checkpoints where thread_id = 'u' and metadata ->> 'step' in ('-1', '0')")
    await place.bring()
    for name in ("t", "u"):
        assert await tuples(place.ours, name) == await tuples(place.theirs, name)
        out = await line("a", "b").compile(checkpointer=place.ours).ainvoke({"log": ["on"]}, config(name))
        assert out["log"] == ["in", "a", "b", "on", "a", "b"]
    assert await place.states("--drop") == {"t": "gone on, dropped", "u": "gone on, dropped"}


def test_a_value_is_the_same_bytes_again() -> None:
    usual, as_is = JsonPlusSerializer(), AsIs()
    for value in (
        None,
        b"x",
        1,
        2**40,
        -1.5,
        "é",
        [1, None],
        {"a": {3: [True]}},
        Note("n"),
        [HumanMessage("x")],
        {1, 2},
    ):
        dumped = usual.dumps_typed(value)
        assert as_is.dumps_typed(as_is.loads_typed(dumped)) == dumped
    odd = ("msgpack", b"\xcd\x00\x01")  # the number 1, at greater length
    assert as_is.loads_typed(odd) == Verbatim(*odd)
    assert as_is.loads_typed(("msgpack", b"\xc1")) == Verbatim("msgpack", b"\xc1")


def test_the_number_of_a_write_is_kept() -> None:
    plain = [(0, "a", 1), (1, "b", 2)]
    assert numbered(plain) == [("a", 1), ("b", 2)]
    mixed = [(-3, "__interrupt__", "i"), (0, "a", 1), (2, "b", 2)]
    assert numbered(mixed) == [("a", 1), ("__interrupt__", "i"), ("b", 2), ("__interrupt__", "i")]
    assert numbered([(-1, "__error__", "e")]) == [("__error__", "e")]


def test_parents_come_first_whatever_their_ids_say() -> None:
    def row(id_: str, parent: str | None) -> dict[str, Any]:
        return {"ns": "", "id": id_, "parent": parent}

    given = [row("1", "3"), row("2", None), row("3", "2"), row("4", "1"), row("5", "gone")]
    assert [id_ for _, id_ in parents_first(given)] == ["2", "3", "1", "4", "5"]
    assert sorted(id_ for _, id_ in parents_first([row("1", "2"), row("2", "1")])) == ["1", "2"]


# --- where from


async def test_the_tables_of_somebody_elses_database(place: Place, databases: Databases) -> None:
    with databases.empty() as other:
        async with upstream(other, "public") as theirs:
            await asking().compile(checkpointer=theirs).ainvoke({"log": ["in"]}, config("t"))
            await place.bring("--from", other)
            assert await tuples(place.ours, "t") == await tuples(theirs, "t")
        done = await place.bring("--from", other, "--schema", "nowhere", code=2)
        assert "error: [SW100] there are no tables of LangGraph's PostgresSaver in 'nowhere'" in done.stderr
        with psycopg.connect(other, autocommit=True) as connection:
            connection.execute("alter table checkpoints drop column checkpoint_id cascade")
        assert "ShallowPostgresSaver" in (await place.bring("--from", other, code=2)).stderr
    assert "[SW200] LangGraph's tables cannot be reached" in (await place.bring("--from", other, code=1)).stderr
    out = await asking().compile(checkpointer=place.ours).ainvoke(Command(resume="yes"), config("t"))
    assert out["log"] == ["in", "before", "yes", "after"]


async def test_without_tables_in_stateward_those_in_public_are_taken(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    async with upstream(database_url, "public") as theirs:
        place = Place(runtime=async_runtime, url=database_url, theirs=theirs)
        await line("a").compile(checkpointer=theirs).ainvoke({"log": ["in"]}, config("t"))
        assert await place.states() == {"t": "imported"}
        async with upstream(database_url, "stateward"):
            assert await place.states() == {}
            assert await place.states("--schema", "public", "--drop") == {"t": "complete, dropped"}
        assert place.kept("public") == 0


async def test_no_tables_and_no_such_thread_are_bad_input(async_runtime: AsyncRuntime, database_url: str) -> None:
    place = Place(runtime=async_runtime, url=database_url, theirs=async_runtime.checkpointer)
    done = await place.bring(code=2)
    assert "there are no tables of LangGraph's PostgresSaver in 'stateward' and 'public'" in done.stderr
    async with upstream(database_url, "stateward") as theirs:
        await line("a").compile(checkpointer=theirs).ainvoke({"log": ["in"]}, config("thread-1"))
        done = await place.bring("--thread", "thread-2", code=2)
        assert "--thread thread-2: those tables have no such thread; did you mean 'thread-1'?" in done.stderr


async def test_doctor_says_that_threads_are_left(place: Place) -> None:
    def said() -> str:
        return place.run("doctor").stdout

    assert "0.1.0 kept" not in await asyncio.to_thread(said)
    await line("a").compile(checkpointer=place.theirs).ainvoke({"log": ["in"]}, config("t"))
    told = " ".join((await asyncio.to_thread(said)).split())
    assert "warn 0.1.0 in clear in LangGraph's own tables, where release 0.1.0 kept them: 1 thread" in told
    assert "→ stateward threads import" in told
    await place.bring("--drop")
    assert "0.1.0 kept" not in await asyncio.to_thread(said)


async def test_many_bytes_go_in_pieces_and_still_all_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stateward.adapters.postgres.importing._CHUNK", 2000)
    graphs = await fill(place.theirs)
    assert await place.states("--drop") == dict.fromkeys(sorted(graphs), "imported, dropped")


async def test_what_is_read_is_of_one_moment(place: Place, database_url: str) -> None:
    graph = line("a").compile(checkpointer=place.theirs)
    await graph.ainvoke({"log": ["in"]}, config("t"))
    async with LangGraphTables.open(database_url) as tables, tables.held():
        before = await tables.line("t")
        await graph.ainvoke({"log": ["more"]}, config("t"))
        assert await tables.line("t") == before


# --- threads of a workflow of release 0.1.0


def as_in_0_1_0(bank: Bank) -> Any:
    """A runtime whose checkpointer is upstream's, in our schema, as release 0.1.0 had it."""

    async def make() -> AsyncPostgresSaver:
        connection = await AsyncConnection.connect(
            bank.url, autocommit=True, row_factory=dict_row, options="-c search_path=stateward"
        )
        saver = AsyncPostgresSaver(connection)
        await saver.setup()
        return saver

    runtime = bank.runtime
    saver = asyncio.run_coroutine_threadsafe(make(), runtime.services.loop).result()
    return SimpleNamespace(checkpointer=saver, store=runtime.store, services=runtime.services)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_workflow_that_waits_for_an_approval_goes_on(bank: Bank, decision: str) -> None:
    old = as_in_0_1_0(bank)
    try:
        script = [[call("look", what="a")], [call("look", what="b"), call("pay", amount=500, to="x")]]
        graph = bank.graph(*script, runtime=old)
        waiting = bank.config()
        out = start(graph, waiting)
        assert out["__interrupt__"]
        asked = Started(bank=bank, graph=graph, config=waiting, out=out).asked
        assert bank.amounts() == []
    finally:
        asyncio.run_coroutine_threadsafe(old.checkpointer.conn.close(), bank.runtime.services.loop).result()

    place = Place(runtime=bank.runtime.inner, url=bank.url, theirs=old.checkpointer)
    done = place.run("threads", "import", "--drop")
    assert "imported, dropped there" in done.stdout
    started = Started(bank=bank, graph=bank.graph(AIMessage("done")), config=waiting, out={})
    assert started.waiting == [asked]
    started.decide(decision, **({"reason": "no"} if decision == "reject" else {}))
    out = started.resume()
    assert bank.amounts("pay") == ([500] if decision == "approve" else [])
    assert out["messages"][-1].text == "done"
    assert bank.runtime.find_thread(started.thread).status == "answered"
    assert bank.runtime.verify_audit().intact
