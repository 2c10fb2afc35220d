"""P8, for checkpoints: nothing of them is in clear, and a forged, moved, cut or plaintext row is refused.

Distinctive values are planted in every kind of place that reaches a checkpoint, and looked for in a whole dump. The
same search finds them where LangGraph's own saver has written, with and without its encryption. Then rows are tampered
with, one way after the other: each is refused before anything is read from it, told to the thread's chain and to the
log, and nobody acts; with the rows as they were, the same run goes on.

What the journal keeps of calls and people has its own attacks, in `test_p08_journal.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import operator
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.tools import ToolException
from langchain_core.tools import tool as plain_tool
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Overwrite, Send, StateUpdate, interrupt
from planting import Plant, dumped, escaped, table_name
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import BaseModel

from bank import BOSS, Bank, Killed, start
from stateward import FlowState, Principal, Runtime, Settings, Workflow, call
from stateward.errors import KeyringError, SealBroken, SealError, ThreadErased
from stateward.testing import ScriptedModel, proposes
from stateward.testing.databases import Databases
from stateward.verify.load import parse_policy

Saver = BaseCheckpointSaver[Any]
SEALED = ("checkpoint", "checkpoint_value", "checkpoint_write", "checkpoint_head", "checkpoint_thread", "data_key")
NOT_SEALED = ("memory",)  # which has its own treatment of personal data, and is searched by the database
BOT = Principal("bot", kind="agent")


# --- Nothing is in clear


class Form(BaseModel):
    """A pydantic model in a channel."""

    name: str
    amount: int


@dataclass
class Point:
    """A dataclass in a channel."""

    label: str


class Refused(Exception):
    """A node's own error."""


class Channels(TypedDict, total=False):
    text: str
    number: int
    ratio: float
    agreed_by_zq: bool
    nothing: Any
    raw: bytes
    book: dict[str, Any]
    items: Annotated[list[Any], operator.add]
    form: Form
    point: Point
    private: str
    answers: Annotated[list[str], operator.add]


class Below(TypedDict, total=False):
    below: str
    text: str
    answers: Annotated[list[str], operator.add]


class Part(TypedDict):
    part: str


def joined(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(line for lines in writes for line in lines)]


class Deltas(TypedDict):
    lines: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=2)]


def config_of(thread: str, plant: Plant) -> Any:
    return {
        "configurable": {
            "thread_id": thread,
            "customer": plant.text("configurable text"),
            "limit": plant.number("configurable number"),
        },
        "metadata": {
            "case": plant.text("metadata text"),
            "size": plant.number("metadata number"),
            "share": plant.ratio("metadata ratio"),
        },
        "run_name": plant.text("run name"),
        "tags": [plant.text("tag")],
    }


async def play(saver: Saver, plant: Plant) -> None:
    """Graphs of every kind, with questions, answers, errors and deaths, that put values everywhere."""
    await play_agent(saver, plant)
    await play_channels(saver, plant)
    await play_crashes(saver, plant)
    await play_functional(saver, plant)
    await play_deltas(saver, plant)


async def play_agent(saver: Saver, plant: Plant) -> None:
    @plain_tool(response_format="content_and_artifact")
    def find(who: str) -> tuple[str, Any]:
        """Find somebody."""
        return plant.text("tool result"), {"seen": plant.text("tool artifact")}

    @plain_tool
    def fail(who: str) -> str:
        """Fail."""
        raise ToolException(plant.text("tool error"))

    fail.handle_tool_error = True
    asks = call("find", who=plant.text("tool argument"))
    said = AIMessage(
        plant.text("answer"),
        additional_kwargs={"thought": plant.text("additional_kwargs of an answer")},
        response_metadata={"trace": plant.text("response_metadata")},
    )
    model = ScriptedModel(
        script=[proposes(asks, text=plant.text("thinking aloud")), proposes(call("fail", who="x")), said]
    )
    agent = create_agent(model, [find, fail], checkpointer=saver)
    prompt = HumanMessage(
        [{"type": "text", "text": plant.text("content block")}, {"type": "text", "text": "go"}],
        additional_kwargs={"from": plant.text("additional_kwargs of a prompt")},
        name=plant.text("name of a speaker"),
        id=plant.text("id of a message"),
    )
    given = [SystemMessage(plant.text("system prompt")), HumanMessage(plant.text("prompt")), prompt]
    await agent.ainvoke({"messages": given}, config_of("agent", plant))


async def play_channels(saver: Saver, plant: Plant) -> None:
    def fill(state: Any) -> Any:
        return {
            "number": plant.number("int channel"),
            "ratio": plant.ratio("float channel"),
            "agreed_by_zq": plant.truth("bool channel", "agreed_by_zq"),
            "raw": plant.raw("bytes channel"),
            "book": {plant.text("key of a dict channel"): {"deep": [plant.text("value of a dict channel")]}},
            "items": [plant.text("list channel"), plant.number("number in a list channel")],
            "form": Form(name=plant.text("pydantic channel"), amount=plant.number("number in a pydantic channel")),
            "point": Point(plant.text("dataclass channel")),
            "private": plant.text("channel between nodes"),
        }

    def ask(state: Any) -> Any:
        said = interrupt(
            {"question": plant.text("interrupt payload"), "amount": plant.number("number in an interrupt")}
        )
        return {"answers": [said["said"]]}

    def ask_again(state: Any) -> Any:
        said = interrupt(plant.text("second interrupt"))
        return Command(update={"answers": [said, plant.text("update of a command")]})

    def part(state: Part) -> Any:
        return {"answers": [plant.text("result of a sent task")]}

    def ask_below(state: Any) -> Any:
        return {"answers": [interrupt(plant.text("interrupt of a subgraph"))]}

    below = StateGraph(Below)
    below.add_node("deep", lambda state: {"below": plant.text("state of a subgraph")})
    below.add_node("ask", ask_below)
    below.add_edge(START, "deep")
    below.add_edge("deep", "ask")
    builder = StateGraph(Channels)
    builder.add_node("fill", fill)
    builder.add_node("ask", ask)
    builder.add_node("again", ask_again)
    builder.add_node("part", cast("Any", part))
    builder.add_node("below", below.compile())
    builder.add_edge(START, "fill")
    builder.add_edge("fill", "ask")
    builder.add_edge("ask", "again")
    builder.add_conditional_edges(
        "again", lambda state: [Send("part", {"part": plant.text("argument of a send")})], ["part"]
    )
    builder.add_edge("part", "below")
    graph, config = builder.compile(checkpointer=saver), config_of("channels", plant)
    await graph.ainvoke({"text": plant.text("input channel")}, config)
    await graph.ainvoke(Command(resume={"said": plant.text("resume value")}), config)
    (asked,) = (await graph.aget_state(config)).interrupts
    await graph.ainvoke(Command(resume={asked.id: plant.text("resume value by id")}), config)
    await graph.ainvoke(
        Command(resume=plant.text("resume value of a subgraph"), update={"text": plant.text("update beside a resume")}),
        config,
    )
    await graph.aupdate_state(config, {"text": plant.text("update_state")}, "fill")
    steps = [[StateUpdate({"items": [plant.text("bulk_update_state")]}, "fill")]]
    await graph.abulk_update_state(config, steps)
    await graph.aupdate_state(config, {"items": Overwrite([plant.text("overwritten list")])}, "fill")


async def play_crashes(saver: Saver, plant: Plant) -> None:
    fails: list[BaseException] = [Refused(plant.text("error of a node")), Killed()]

    def beside(state: Any) -> Any:
        return {"private": plant.text("written beside an error")}

    async def crash(state: Any) -> Any:
        await asyncio.sleep(0.05)  # what is beside it has come to its end by then
        if fails:
            raise fails.pop(0)
        return {"text": plant.text("written after two crashes")}

    builder = StateGraph(Channels)
    builder.add_node("beside", beside)
    builder.add_node("crash", crash)
    builder.add_edge(START, "beside")
    builder.add_edge(START, "crash")
    graph, config = builder.compile(checkpointer=saver), config_of("crashes", plant)
    for error in (Refused, Killed):
        with pytest.raises(error):
            await graph.ainvoke({"text": plant.text("input of a crash")} if error is Refused else None, config)
    await graph.ainvoke(None, config)


async def play_functional(saver: Saver, plant: Plant) -> None:
    @task
    async def work(given: str) -> str:
        return plant.text("result of a task")

    @entrypoint(checkpointer=saver)
    async def flow(given: str) -> Any:
        done = await work(given)
        said = interrupt(plant.text("interrupt of an entrypoint"))
        return entrypoint.final(value=[done, said], save={"kept": plant.text("saved by an entrypoint")})

    config = config_of("functional", plant)
    await flow.ainvoke(plant.text("input of an entrypoint"), config)
    await flow.ainvoke(Command(resume=plant.text("answer to an entrypoint")), config)


async def play_deltas(saver: Saver, plant: Plant) -> None:
    builder = StateGraph(Deltas)
    builder.add_node("add", lambda state: {"lines": [plant.text("delta channel")]})
    builder.add_edge(START, "add")
    graph, config = builder.compile(checkpointer=saver), config_of("deltas", plant)
    for at in range(3):
        await graph.ainvoke({"lines": [plant.text(f"input {at} of a delta channel")]}, config)


async def opened(saver: Saver) -> str:
    """Everything that a saver brings back."""
    found = [one async for one in saver.alist(None)]
    return repr([[one.checkpoint, one.metadata, one.pending_writes] for one in found])


class Aes:
    """LangGraph's `CipherProtocol` over the same algorithm as ours."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(12)
        return "aes", nonce + self._cipher.encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return self._cipher.decrypt(ciphertext[:12], ciphertext[12:], None)


@asynccontextmanager
async def upstream(url: str, serde: Any = None) -> AsyncIterator[AsyncPostgresSaver]:
    async with AsyncPostgresSaver.from_conn_string(url, serde=serde) as saver:
        await saver.setup()
        yield saver


async def test_no_planted_value_is_in_clear(runtime: Runtime, database_url: str) -> None:
    plant = Plant()
    await play(runtime.checkpointer, plant)
    reached = plant.reached(await opened(runtime.checkpointer))
    assert set(plant.looks) - reached <= {"run name", "tag"}  # LangGraph does not put these into metadata
    assert len(reached) >= 40

    assert plant.found_in(dumped(database_url, but=NOT_SEALED)) == set()
    raw = {table: escaped(database_url, table) for table in SEALED}
    assert {table for table in SEALED if raw[table]} == {
        "checkpoint",
        "checkpoint_value",
        "checkpoint_write",
        "data_key",
    }
    assert {table: plant.found_in(text) for table, text in raw.items()} == {table: set() for table in SEALED}


# Warnings of upstream's serializer about classes that it was not told are not what this is about.
async def test_the_same_search_finds_what_upstream_leaves_in_clear(databases: Databases) -> None:
    found: dict[bool, set[str]] = {}
    for encrypted in (False, True):
        plant = Plant()
        with databases.fresh() as url:
            async with upstream(url, EncryptedSerializer(Aes()) if encrypted else None) as saver:
                await play(saver, plant)
                reached = plant.reached(await opened(saver))
                found[encrypted] = plant.found_in(dumped(url, but=NOT_SEALED))
        assert set(plant.looks) - reached <= {"run name", "tag"}
        if not encrypted:
            assert found[False] == reached
    in_clear = {"input channel", "int channel", "float channel", "bool channel", "update_state"}
    in_clear |= {"configurable text", "configurable number", "metadata text", "metadata number", "metadata ratio"}
    assert in_clear <= found[True] < found[False]


def test_a_governed_run_leaves_nothing_in_clear_in_its_checkpoints(bank: Bank) -> None:
    plant = Plant()
    graph = bank.graph(
        [call("look", what=plant.text("argument of a read"))],
        [call("pay", amount=500, to=plant.text("argument of a write"))],
        AIMessage(plant.text("answer of a planner")),
    )
    config = bank.config()
    start(graph, config, plant.text("request"))
    (asked,) = bank.runtime.approvals()
    bank.runtime.decide(asked, "approve", by=BOSS)
    bank.runtime.resume(graph, asked.thread)
    assert bank.amounts() == [500]
    assert plant.reached(repr(graph.get_state(config).values)) == set(plant.looks)

    assert plant.found_in(dumped(bank.url, but=NOT_SEALED)) == set()
    assert {place for table in SEALED for place in plant.found_in(escaped(bank.url, table))} == set()


# --- Whatever was tampered with is refused


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    note: str
    count: int
    answers: Annotated[list[str], operator.add]


Rows = dict[str, list[dict[str, Any]]]
SECRET = "Zq-nobody-may-read-this"


@dataclass
class Vault:
    """Threads of one graph on one database, and ways to tamper with their rows.

    Each thread talks in four messages, asks a person in a subgraph, and acts on the answer: every table has rows of it,
    in two namespaces, and its messages are a chain of rows.
    """

    runtime: Runtime
    url: str
    acted: list[str] = field(default_factory=list)
    threads: int = 0

    def __post_init__(self) -> None:
        self.graph = self._graph()

    def waiting(self) -> Case:
        """A new thread that waits for an answer, and its twin, which is exactly alike."""
        self.threads += 1
        names = [f"{twin}-{self.threads}" for twin in ("mine", "other")]
        for name in names:
            config: Any = self.runtime.thread(name, principal=BOT, purpose="bank", subject="none", graph="talk")
            given = {"messages": [HumanMessage(f"{SECRET} 0", id="0")], "note": SECRET}
            self.graph.invoke(given, config, durability="sync")
        return Case(vault=self, thread=names[0], other=names[1])

    def _graph(self) -> Any:
        def says(at: int) -> Callable[[Any], Any]:
            return lambda state: {"messages": [AIMessage(f"{SECRET} {at}", id=str(at))], "count": at}

        def act(state: Any) -> Any:
            self.acted.append("acted")
            return {"answers": ["acted"]}

        below = StateGraph(Talk)
        below.add_node("think", lambda state: {"note": f"{SECRET} below"})
        below.add_node("ask", lambda state: {"answers": [interrupt(SECRET)]})
        below.add_edge(START, "think")
        below.add_edge("think", "ask")
        builder = StateGraph(Talk)
        for at in (1, 2, 3):
            builder.add_node(f"say{at}", says(at))
        builder.add_node("beside", lambda state: {"answers": [f"{SECRET} beside"]})
        builder.add_node("below", below.compile())
        builder.add_node("act", act)
        builder.add_edge(START, "say1")
        builder.add_edge("say1", "say2")
        builder.add_edge("say2", "say3")
        builder.add_edge("say3", "beside")
        builder.add_edge("say3", "below")
        builder.add_edge(["beside", "below"], "act")
        return builder.compile(checkpointer=self.runtime.checkpointer)


@dataclass
class Case:
    """One thread that is tampered with."""

    vault: Vault
    thread: str
    other: str

    def __post_init__(self) -> None:
        self.config = self.vault.runtime.config(self.thread)
        with self.database() as connection:
            self.was = self.rows(connection)
            self.names = self._names(connection)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        with psycopg.connect(self.vault.url, row_factory=dict_row, autocommit=True) as connection:
            yield connection

    def rows(self, connection: psycopg.Connection[dict[str, Any]]) -> Rows:
        """Every row of both threads, in a fixed order."""
        found: Rows = {}
        for table in SEALED:
            query = sql.SQL("select * from {} t where thread_id = any(%s) order by t::text").format(table_name(table))
            found[table] = connection.execute(query, [[self.thread, self.other]]).fetchall()
        return found

    def forge(self, *statements: str, **values: Any) -> None:
        """Do something to the database that Stateward knows nothing of."""
        with self.database() as connection, connection.transaction():
            for statement in statements:
                done = connection.execute(statement, self.names | values)  # pyright: ignore[reportArgumentType]
                assert done.rowcount, f"it changed nothing: {statement}"
            assert self.rows(connection) != self.was, "the forgery left everything as it was"

    def restore(self) -> None:
        """Put every row back."""
        with self.database() as connection, connection.transaction():
            for table in SEALED:
                where = sql.SQL("delete from {} where thread_id = any(%s)").format(table_name(table))
                connection.execute(where, [[self.thread, self.other]])
                for row in self.was[table]:
                    columns = sql.SQL(", ").join(map(sql.Identifier, row))
                    places = sql.SQL(", ").join(sql.Placeholder() for _ in row)
                    insert = sql.SQL("insert into {} ({}) values ({})").format(table_name(table), columns, places)
                    connection.execute(insert, list(row.values()))

    def read(self) -> Any:
        return self.vault.graph.get_state(self.config, subgraphs=True)

    def look_back(self) -> Any:
        return list(self.vault.graph.get_state_history(self.config))

    def resume(self) -> Any:
        return self.vault.graph.invoke(Command(resume="yes"), self.config)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.vault.runtime.timeline(self.thread)]

    def now(self) -> Rows:
        with self.database() as connection:
            return self.rows(connection)

    def _names(self, connection: psycopg.Connection[dict[str, Any]]) -> dict[str, Any]:
        """Names of rows, for the statements of a forgery."""
        query = "select ns, checkpoint_id from stateward.checkpoint_head where thread_id = %s"
        heads = {row["ns"]: row["checkpoint_id"] for row in connection.execute(query, [self.thread]).fetchall()}
        (below,) = [ns for ns in heads if ns]
        query = "select parent_id from stateward.checkpoint where thread_id = %s and checkpoint_id = %s"
        parents = [heads[""]]
        for _ in range(2):
            (row,) = connection.execute(query, [self.thread, parents[-1]]).fetchall()
            parents.append(row["parent_id"])
        query = (
            "select channel, version from stateward.checkpoint_value where thread_id = %s and ns = '' order by version"
        )
        versions: dict[str, list[str]] = {}
        for row in connection.execute(query, [self.thread]).fetchall():
            versions.setdefault(row["channel"], []).append(row["version"])
        query = "select ns, checkpoint_id from stateward.checkpoint_head where thread_id = %s"
        others = {row["ns"]: row["checkpoint_id"] for row in connection.execute(query, [self.other]).fetchall()}
        return {
            "mine": self.thread,
            "other": self.other,
            "head": heads[""],
            "below": below,
            "head_below": heads[below],
            "others_head": others[""],
            "parent": parents[1],
            "grandparent": parents[2],
            "older": versions["count"][-2],
        } | {name: versions[name][-1] for name in ("note", "count", "messages")}


@pytest.fixture(scope="module")
def vault(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with databases.fresh() as url:
        settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=url, pool_size=4)
        with Runtime.open(settings=settings) as runtime:
            yield Vault(runtime=runtime, url=url)


@pytest.fixture
def case(vault: Vault) -> Case:
    return vault.waiting()


class Untold(AssertionError):
    """It was refused, and nobody was told."""


@contextmanager
def refused(case: Case, caplog: pytest.LogCaptureFixture, *, error: type[Exception] = SealBroken) -> Iterator[None]:
    """What happens inside is refused and acts on nothing; chain and log are told, without a word of what is kept."""
    before = case.kinds().count("security.seal_broken")
    caplog.clear()
    with caplog.at_level(logging.ERROR, "stateward.security"), pytest.raises(error) as raised:
        yield
    assert SECRET not in str(raised.value)
    assert case.vault.acted == []
    told = [record for record in caplog.records if record.name == "stateward.security"]
    if not told or case.kinds().count("security.seal_broken") == before:
        raise Untold
    assert {record.levelno for record in told} == {logging.ERROR}
    assert not any(SECRET in record.getMessage() for record in told)
    assert SECRET not in repr(case.vault.runtime.timeline(case.thread))
    assert case.vault.runtime.verify_audit(case.thread).intact


def still_runs(case: Case) -> None:
    """With its rows as they were, the run goes on: what was refused was the forgery, and nothing else."""
    case.restore()
    assert case.resume()["answers"] == ["yes", f"{SECRET} beside", "acted"]
    assert case.vault.acted == ["acted"]
    case.vault.acted.clear()


HEAD = "thread_id = %(mine)s and ns = '' and checkpoint_id = %(head)s"
BELOW = "thread_id = %(mine)s and ns = %(below)s and checkpoint_id = %(head_below)s"
OTHERS_HEAD = "thread_id = %(other)s and ns = '' and checkpoint_id = %(others_head)s"
PARENT = "thread_id = %(mine)s and ns = '' and checkpoint_id = %(parent)s"
BESIDE = f"{HEAD} and channel = 'answers'"  # what a task has written that has come to its end
ASKED = f"{HEAD} and channel = '__interrupt__'"


def newest(channel: str, thread: str = "mine", ns: str = "''") -> str:
    """The row of a channel's last version."""
    where = f"thread_id = %({thread})s and ns = {ns} and channel = '{channel}'"
    last = f"select version from stateward.checkpoint_value where {where} order by version desc limit 1"
    return f"{where} and version = ({last})"


def link(ordinal: int) -> str:
    """A row of the chain that the messages of the head are made of."""
    root = f"(select r.root from stateward.checkpoint_value r where {newest('messages')})"
    return f"thread_id = %(mine)s and ns = '' and channel = 'messages' and ordinal = {ordinal} and root = {root}"


def given_body(table: str, to: str, of: str) -> str:
    """One row gets the body of another."""
    return f"update stateward.{table} set body = (select f.body from stateward.{table} f where {of}) where {to}"


def renamed(table: str, where: str, **columns: str) -> str:
    """A row says that it is something else."""
    sets = ", ".join(f"{name} = {new}" for name, new in columns.items())
    return f"update stateward.{table} set {sets} where {where}"


def gone(table: str, where: str) -> str:
    """A row is deleted."""
    return f"delete from stateward.{table} where {where}"


def swapped(table: str, one: str, other: str) -> str:
    """Two rows have each other's bodies."""
    rows = f"select ctid as at, body, lag(body) over () as before, lead(body) over () as after from stateward.{table}"
    return (
        f"update stateward.{table} t set body = coalesce(x.before, x.after) "
        f"from ({rows} where ({one}) or ({other})) x where t.ctid = x.at"
    )


def moved(table: str, to: str, of: str, **columns: str) -> list[str]:
    """A row goes, and another one comes into its place with all that it has."""
    return [gone(table, to), renamed(table, of, **columns)]


CHECKPOINTS: dict[str, str | list[str]] = {
    "from another thread": given_body("checkpoint", HEAD, OTHERS_HEAD),
    "from another thread, the whole row": moved(
        "checkpoint", HEAD, OTHERS_HEAD, thread_id="%(mine)s", checkpoint_id="%(head)s", parent_id="%(parent)s"
    ),
    "from another namespace": given_body("checkpoint", HEAD, BELOW),
    "from another namespace, the whole row": moved(
        "checkpoint", HEAD, BELOW, ns="''", checkpoint_id="%(head)s", parent_id="%(parent)s"
    ),
    "from another checkpoint": given_body("checkpoint", HEAD, PARENT),
    "from another checkpoint, the whole row": moved(
        "checkpoint", HEAD, PARENT, checkpoint_id="%(head)s", parent_id="%(parent)s"
    ),
    "two swapped": swapped("checkpoint", HEAD, PARENT),
    "another parent": renamed("checkpoint", HEAD, parent_id="%(grandparent)s"),
    "no parent": renamed("checkpoint", HEAD, parent_id="null"),
    "itself as the parent": renamed("checkpoint", HEAD, parent_id="%(head)s"),
    "from another table": f"update stateward.checkpoint set body = (select f.body from stateward.checkpoint_value f "
    f"where {newest('note')}) where {HEAD}",
}
VALUES: dict[str, str | list[str]] = {
    "from another thread": given_body("checkpoint_value", newest("note"), newest("note", "other")),
    "from another thread, with its version": [
        gone("checkpoint_value", newest("note")),
        renamed(
            "checkpoint_value",
            newest("note", "other"),
            thread_id="%(mine)s",
            version="%(note)s",
            root="%(note)s",
        ),
    ],
    "from another namespace": given_body("checkpoint_value", newest("note"), newest("note", ns="%(below)s")),
    "from another channel": given_body("checkpoint_value", newest("note"), newest("count")),
    "from another channel of the same version": given_body(
        "checkpoint_value", newest("count"), newest("branch:to:below")
    ),
    "from an older version": given_body(
        "checkpoint_value",
        newest("count"),
        "thread_id = %(mine)s and ns = '' and channel = 'count' and version = %(older)s",
    ),
    "an older version, the whole row": [
        gone("checkpoint_value", newest("count")),
        "update stateward.checkpoint_value set version = %(count)s, root = %(count)s "
        "where thread_id = %(mine)s and ns = '' and channel = 'count' and version = %(older)s",
    ],
    "the first link of a chain is missing": gone("checkpoint_value", link(0)),
    "a link of a chain is missing": gone("checkpoint_value", link(1)),
    "a later link of a chain is missing": gone("checkpoint_value", link(2)),
    "the last link of a chain is missing": gone("checkpoint_value", link(3)),
    "the only row is missing": gone("checkpoint_value", newest("note")),
    "all rows are missing": gone("checkpoint_value", "thread_id = %(mine)s and ns = ''"),
    "two links swapped": swapped("checkpoint_value", link(1), link(2)),
    "two links with each other's places": [
        renamed("checkpoint_value", link(1), ordinal="100"),
        renamed("checkpoint_value", link(2), ordinal="1"),
        renamed("checkpoint_value", link(100), ordinal="2"),
    ],
    "a link closes a gap": [gone("checkpoint_value", link(1)), renamed("checkpoint_value", link(2), ordinal="1")],
    "another ordinal": renamed("checkpoint_value", newest("note"), ordinal="1"),
    "another ordinal of the last link": renamed("checkpoint_value", link(3), ordinal="4"),
    "another root": renamed("checkpoint_value", newest("note"), root="'elsewhere'"),
    "the last link as a root": renamed("checkpoint_value", link(3), root="version", ordinal="0"),
    "another root of all links": renamed(
        "checkpoint_value", "thread_id = %(mine)s and ns = '' and channel = 'messages'", root="'elsewhere'"
    ),
    "a shorter chain": [
        gone("checkpoint_value", link(3)),
        renamed("checkpoint_value", link(2), version="%(messages)s"),
    ],
}
WRITES: dict[str, str | list[str]] = {
    "from another thread": given_body("checkpoint_write", BESIDE, f"{OTHERS_HEAD} and channel = 'answers'"),
    "from another namespace": given_body("checkpoint_write", ASKED, f"{BELOW} and channel = '__interrupt__'"),
    "from another checkpoint": given_body("checkpoint_write", BESIDE, f"{PARENT} and channel = 'count'"),
    "from another checkpoint, the whole row": renamed(
        "checkpoint_write", f"{PARENT} and channel = 'count'", checkpoint_id="%(head)s"
    ),
    "from another task": given_body("checkpoint_write", BESIDE, ASKED),
    "another task": renamed("checkpoint_write", BESIDE, task_id="'00000000-0000-0000-0000-000000000000'"),
    "another place among the task's": renamed("checkpoint_write", BESIDE, idx="7"),
    "another path": renamed("checkpoint_write", BESIDE, task_path="'~__pregel_pull, a'"),
    "another channel": renamed("checkpoint_write", BESIDE, channel="'note'"),
    "a question for an answer": renamed("checkpoint_write", ASKED, channel="'__resume__'", idx="-4"),
    "a question for an error": renamed("checkpoint_write", ASKED, channel="'__error__'", idx="-1"),
    "two swapped": swapped("checkpoint_write", BESIDE, ASKED),
}
FORGERIES = {
    f"{table}: {name}": [forged] if isinstance(forged, str) else forged
    for table, forgeries in {"checkpoint": CHECKPOINTS, "value": VALUES, "write": WRITES}.items()
    for name, forged in forgeries.items()
}


def forgeries() -> Iterator[Any]:
    for name, statements in FORGERIES.items():
        yield pytest.param(statements, id=name)


@pytest.mark.parametrize("statements", list(forgeries()))
def test_a_row_that_is_not_where_it_was_sealed_is_refused(
    case: Case, statements: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    case.forge(*statements)
    forged = case.now()
    for attempt in (case.read, case.resume, case.look_back):
        with refused(case, caplog):
            attempt()
    assert case.now() == forged, "a run that was refused has written something"
    still_runs(case)


@pytest.mark.parametrize(
    "statement",
    [
        given_body("checkpoint", BELOW, HEAD),
        renamed("checkpoint", BELOW, parent_id="%(head)s"),
        given_body("checkpoint_value", newest("note", ns="%(below)s"), newest("note")),
        renamed("checkpoint_value", newest("messages", ns="%(below)s"), ordinal="1"),
        given_body("checkpoint_write", f"{BELOW} and channel = '__interrupt__'", ASKED),
    ],
)
def test_what_a_subgraph_keeps_is_refused_as_well(case: Case, statement: str, caplog: pytest.LogCaptureFixture) -> None:
    case.forge(statement)
    for attempt in (case.read, case.resume):
        with refused(case, caplog):
            attempt()
    still_runs(case)


# What is older than the head is refused where somebody looks at it, and the run, which does not, goes on.
@pytest.mark.parametrize(
    "statement",
    [
        swapped("checkpoint", PARENT, "thread_id = %(mine)s and ns = '' and checkpoint_id = %(grandparent)s"),
        given_body("checkpoint_write", f"{PARENT} and channel = 'count'", f"{PARENT} and channel = 'messages'"),
        renamed("checkpoint", PARENT, parent_id="null"),
    ],
)
def test_history_is_refused_where_it_is_read(case: Case, statement: str, caplog: pytest.LogCaptureFixture) -> None:
    case.forge(statement)
    older: Any = {"configurable": {"thread_id": case.thread, "checkpoint_id": case.names["parent"]}}
    for attempt in (
        case.look_back,
        lambda: case.vault.graph.get_state(older),
        lambda: case.vault.graph.invoke(None, older),
    ):
        with refused(case, caplog):
            attempt()
    assert case.resume()["answers"] == ["yes", f"{SECRET} beside", "acted"]
    case.vault.acted.clear()


def test_two_forks_of_one_checkpoint_are_not_taken_for_each_other(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    graph, head = case.vault.graph, case.names["head"]
    older: Any = {"configurable": {"thread_id": case.thread, "checkpoint_ns": "", "checkpoint_id": head}}
    forks = [graph.update_state(older, {"note": note}, as_node="say3") for note in ("first", "second")]
    ids = [fork["configurable"]["checkpoint_id"] for fork in forks]
    one, other = (f"thread_id = %(mine)s and ns = '' and checkpoint_id = '{id_}'" for id_ in ids)
    assert [graph.get_state(fork).values["note"] for fork in forks] == ["first", "second"]
    case.forge(swapped("checkpoint", one, other))
    for fork in forks:
        with refused(case, caplog):
            graph.get_state(fork)
    case.restore()
    case.vault.acted.clear()


# Head, nonce, ciphertext and tag of an envelope: where they begin and end.
PARTS = {"version": (0, 1), "generation": (1, 3), "nonce": (3, 15), "ciphertext": (15, -16), "tag": (-16, None)}
ROWS = {"checkpoint": HEAD, "checkpoint_value": newest("note"), "checkpoint_write": BESIDE}
SET_BODY = "update stateward.{table} set body = %(body)s where {where}"


def sealed_body(case: Case, table: str) -> bytes:
    with case.database() as connection:
        query = f"select body from stateward.{table} where {ROWS[table]}"
        (row,) = connection.execute(query, case.names).fetchall()  # pyright: ignore[reportArgumentType]
        return bytes(row["body"])


def put_body(case: Case, table: str, body: bytes) -> None:
    case.forge(SET_BODY.format(table=table, where=ROWS[table]), body=body)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("table", ROWS)
def test_a_flipped_bit_is_refused(case: Case, table: str, part: str, caplog: pytest.LogCaptureFixture) -> None:
    body, rng = sealed_body(case, table), random.Random(f"{table} {part}")
    first, end = PARTS[part]
    places = range(len(body))[first:end]
    for _ in range(6):
        flipped = bytearray(body)
        flipped[rng.choice(places)] ^= 1 << rng.randrange(8)
        put_body(case, table, bytes(flipped))
        for attempt in (case.read, case.resume):
            with refused(case, caplog):
                attempt()
        case.restore()
    still_runs(case)


def plaintext(case: Case, table: str) -> bytes:
    """What the row would hold if it were not sealed, as whoever knows the code can make it."""
    saver = case.vault.runtime.checkpointer
    tuple_ = saver.get_tuple(case.config)
    assert tuple_ is not None
    kept = {name: one for name, one in tuple_.checkpoint.items() if name != "channel_values"}
    whole = {"checkpoint": kept, "metadata": tuple_.metadata, "held": list(tuple_.checkpoint["channel_values"])}
    made: dict[str, Any] = {"checkpoint": whole, "checkpoint_value": "forged", "checkpoint_write": ["forged"]}
    kind, body = saver.serde.dumps_typed(made[table])
    assert saver.serde.loads_typed((kind, body)) == made[table]
    return bytes([len(kind)]) + kind.encode() + body


@pytest.mark.parametrize("table", ROWS)
def test_what_was_not_sealed_is_refused(case: Case, table: str, caplog: pytest.LogCaptureFixture) -> None:
    body, plain = sealed_body(case, table), plaintext(case, table)
    rng = random.Random(table)
    strangers = AESGCM(AESGCM.generate_key(256))
    forged = {
        "empty": b"",
        "a head only": body[:3],
        "head and nonce only": body[:15],
        "no ciphertext": body[:15] + body[-16:],
        "one byte short": body[:-1],
        "one byte long": body + b"\0",
        "half": body[: len(body) // 2],
        "without its head": body[3:],
        "plaintext": plain,
        "plaintext behind a head": body[:3] + plain,
        "plaintext between a nonce and a tag": body[:15] + plain + body[-16:],
        "msgpack of upstream": plain[1 + plain[0] :],
        "a stranger's key": body[:15] + strangers.encrypt(body[3:15], plain, body[:3]),
        "noise": rng.randbytes(len(body)),
        "noise behind a head": body[:3] + rng.randbytes(len(body) - 3),
        "an older version": b"\0" + body[1:],
        "a generation that is not there": body[:1] + b"\0\2" + body[3:],
    }
    for put in forged.values():
        put_body(case, table, put)
        for attempt in (case.read, case.resume):
            with refused(case, caplog):
                attempt()
        case.restore()
    still_runs(case)


def test_a_thread_that_nobody_opened_has_no_chain_and_is_refused_all_the_same(
    vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    config: Any = {"configurable": {"thread_id": "unopened"}}
    vault.graph.invoke({"note": SECRET}, config)
    with psycopg.connect(vault.url, autocommit=True) as connection:
        connection.execute("update stateward.checkpoint set body = '' where thread_id = 'unopened'")
        with caplog.at_level(logging.ERROR, "stateward.security"), pytest.raises(SealBroken):
            vault.graph.invoke(Command(resume="yes"), config)
        assert [record.name for record in caplog.records] == ["stateward.security"]
        assert vault.acted == []
        assert connection.execute("select 1 from stateward.ledger where thread_id = 'unopened'").fetchall() == []
        connection.execute("delete from stateward.checkpoint where thread_id = 'unopened'")


# What a gate has let through and a person has approved.
@pytest.mark.parametrize(
    "statement",
    [
        "update stateward.checkpoint set body = set_byte(body, length(body) - 1, get_byte(body, length(body) - 1) # 1)",
        "update stateward.checkpoint_value set body = set_byte(body, 20, get_byte(body, 20) # 1)",
        "update stateward.checkpoint_write set body = substring(body from 1 for length(body) - 1)",
        "update stateward.checkpoint_value v set body = w.body from stateward.checkpoint_value w "
        "where v.ordinal = 1 and w.ordinal = 0 and (w.thread_id, w.channel, w.root) = (v.thread_id, v.channel, v.root)",
        "delete from stateward.checkpoint_value where channel = 'messages' and ordinal = 0",
        "delete from stateward.data_key",
    ],
)
def test_an_approved_write_is_not_done_on_a_state_that_was_tampered_with(
    bank: Bank, settings: Settings, statement: str
) -> None:
    run = bank.run([call("look", what="x")], [call("pay", amount=500)])
    run.decide("approve")
    tables = {
        table: bank.rows(f"select * from stateward.{table}")
        for table in ("checkpoint", "checkpoint_value", "checkpoint_write", "data_key")
    }
    bank.rows(statement)
    with Runtime.open(settings=settings) as second:
        graph = bank.graph([call("look", what="x")], [call("pay", amount=500)], runtime=second)
        with pytest.raises(SealBroken):
            second.resume(graph, run.thread)
        assert bank.amounts() == []
        assert run.effects() == []
        assert "security.seal_broken" in run.kinds
        assert second.verify_audit().intact
    for table, rows in tables.items():
        bank.rows(f"delete from stateward.{table}")
        for row in rows:
            bank.rows(
                f"insert into stateward.{table} ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})",
                *row.values(),
            )
    with Runtime.open(settings=settings) as third:
        third.resume(bank.graph([call("look", what="x")], [call("pay", amount=500)], runtime=third), run.thread)
    assert bank.amounts() == [500]


# What upstream rebuilds from several rows: a channel's last snapshot, and what was written since.
HALF_READ = pytest.mark.xfail(
    strict=True,
    raises=pytest.fail.Exception,
    reason="rows that a delta channel is rebuilt from, and writes of tasks, may go without anybody noticing",
)
LINES = "where thread_id = %(mine)s and channel = 'lines'"
ROWS_GO = {
    "the snapshots": f"delete from stateward.checkpoint_value {LINES}",
    "a write since": f"delete from stateward.checkpoint_write {LINES} and checkpoint_id = "
    f"(select max(checkpoint_id) from stateward.checkpoint_write {LINES})",
    "an ancestor": "delete from stateward.checkpoint where thread_id = %(mine)s and checkpoint_id = "
    "(select parent_id from stateward.checkpoint where thread_id = %(mine)s order by checkpoint_id desc limit 1)",
}


@HALF_READ
@pytest.mark.parametrize("statement", ROWS_GO.values(), ids=ROWS_GO)
def test_a_delta_channel_is_not_read_by_half(runtime: Runtime, database_url: str, statement: str) -> None:
    class Lines(TypedDict):
        lines: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=5)]

    builder = StateGraph(Lines)
    builder.add_node("add", lambda state: {"lines": ["added"]})
    builder.add_edge(START, "add")
    graph, config = builder.compile(checkpointer=runtime.checkpointer), runtime.config("lines")
    for at in range(6):
        graph.invoke({"lines": [f"in {at}"]}, config, durability="sync")
    assert len(graph.get_state(config).values["lines"]) == 12
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute(statement, {"mine": "lines"}).rowcount  # pyright: ignore[reportArgumentType]
    with pytest.raises(SealBroken):
        graph.get_state(config)


@HALF_READ
@pytest.mark.parametrize("statement", [gone("checkpoint_write", BESIDE), gone("checkpoint_write", ASKED)])
def test_a_write_that_is_gone_is_noticed(case: Case, statement: str) -> None:
    case.forge(statement)
    try:
        with pytest.raises(SealBroken):
            case.resume()
    finally:
        case.vault.acted.clear()


# --- Keys


FLIP = "set_byte(wrapped, {0}, get_byte(wrapped, {0}) # 4)"
FLIPPED = f"update stateward.data_key set wrapped = {FLIP} where thread_id = %(mine)s"
OF_OTHER = "from stateward.data_key o where o.thread_id = %(other)s"
KEYS = {
    "deleted": ("delete from stateward.data_key where thread_id = %(mine)s", []),
    "of another generation": ("update stateward.data_key set generation = 2 where thread_id = %(mine)s", []),
    "of another thread": (
        f"update stateward.data_key k set wrapped = o.wrapped {OF_OTHER} and k.thread_id = %(mine)s",
        [],
    ),
    "of another thread beside its own": (
        f"insert into stateward.data_key (thread_id, generation, wrapped) select %(mine)s, 2, wrapped {OF_OTHER}",
        [],
    ),
    "of another thread, the whole row": (
        "with gone as (delete from stateward.data_key where thread_id = %(mine)s) "
        f"insert into stateward.data_key select %(mine)s, 1 + generation, wrapped, created_at {OF_OTHER}",
        [],
    ),
    "with a flipped bit in its version": (FLIPPED.format("0"), []),
    "with a flipped bit in the master key's name": (FLIPPED.format("4"), []),
    "with a flipped bit in its nonce": (FLIPPED.format("12"), []),
    "with a flipped bit in its key": (FLIPPED.format("30"), []),
    "with a flipped bit in its tag": (FLIPPED.format("length(wrapped) - 1"), []),
    "cut": (
        "update stateward.data_key set wrapped = substring(wrapped from 1 for 40) where thread_id = %(mine)s",
        [],
    ),
    "empty": ("update stateward.data_key set wrapped = '' where thread_id = %(mine)s", []),
}


@dataclass
class Restarted:
    """A vault, and the next process on it, whose memory holds no key."""

    first: Vault
    settings: Settings

    @contextmanager
    def next(self, case: Case) -> Iterator[Case]:
        with Runtime.open(settings=self.settings) as runtime:
            yield dataclasses.replace(case, vault=Vault(runtime=runtime, url=self.first.url))


@pytest.fixture
def restarted(runtime: Runtime, settings: Settings, database_url: str) -> Restarted:
    vault = Vault(runtime=runtime, url=database_url)
    # The first of all keys is tried at a start, and this is not about that one.
    vault.graph.invoke({"note": "another thread"}, runtime.config("a thread that comes first"))
    return Restarted(first=vault, settings=settings)


def keys() -> list[Any]:
    return [pytest.param(statement, id=name, marks=marks) for name, (statement, marks) in KEYS.items()]


@pytest.mark.parametrize("statement", keys())
def test_a_data_key_that_was_tampered_with_opens_nothing(
    restarted: Restarted, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    case = restarted.first.waiting()
    case.forge(statement)
    with restarted.next(case) as again:
        forged = case.now()
        for attempt in (again.read, again.resume, again.look_back):
            with refused(again, caplog, error=SealError):
                attempt()
        assert case.now() == forged


# The same, as far as it is kept today: whatever it is called, it is loud, and nothing is read, done or written.
@pytest.mark.parametrize("name", KEYS)
def test_no_run_goes_on_without_its_data_key(restarted: Restarted, name: str) -> None:
    case = restarted.first.waiting()
    case.forge(KEYS[name][0])
    with restarted.next(case) as again:
        forged = case.now()
        for attempt in (again.read, again.resume, again.look_back):
            with pytest.raises(SealError) as raised:
                attempt()
            assert SECRET not in str(raised.value)
        assert again.vault.acted == []
        assert case.now() == forged
    case.restore()
    with restarted.next(case) as again:
        assert again.resume()["answers"] == ["yes", f"{SECRET} beside", "acted"]


def test_one_damaged_data_key_does_not_keep_other_threads_from_working(restarted: Restarted) -> None:
    case = restarted.first.waiting()
    with case.database() as connection:
        connection.execute("update stateward.data_key set wrapped = '' where thread_id = 'a thread that comes first'")
    with restarted.next(case) as again:
        again.resume()


@pytest.mark.parametrize("how", ["another file", "no file", "the environment"])
def test_a_wrong_master_key_is_said_at_the_start(
    restarted: Restarted, databases: Databases, tmp_path: Path, how: str
) -> None:
    case = restarted.first.waiting()
    given = dataclasses.replace(restarted.settings, home=tmp_path / "other")
    if how == "another file":
        with databases.fresh() as url, Runtime.open(settings=dataclasses.replace(given, database_url=url)) as elsewhere:
            Vault(runtime=elsewhere, url=url).waiting()
        assert (given.home / "master.key").exists()
    if how == "the environment":
        given = dataclasses.replace(restarted.settings, master_key="A" * 43 + "=")
    with pytest.raises(KeyringError, match="MASTER KEY MISSING"), Runtime.open(settings=given):
        pass
    with restarted.next(case) as again:
        again.resume()


# --- What was deleted does not come back


async def test_a_deleted_thread_cannot_be_brought_back(runtime: Runtime, database_url: str, settings: Settings) -> None:
    plant = Plant()
    await play(runtime.checkpointer, plant)
    kept = Vault(runtime=runtime, url=database_url)
    case = await asyncio.to_thread(kept.waiting)
    threads = ["agent", "channels", "crashes", "functional", "deltas"]
    was = sealed_of(database_url, threads)
    assert len(was) > 100
    assert in_dump(was, dumped(database_url)) == set(was)  # with the master key this is all that it takes

    for thread in threads:
        await runtime.checkpointer.adelete_thread(thread)
    with psycopg.connect(database_url) as connection:
        for table in SEALED:
            query = sql.SQL("select distinct thread_id from {}").format(table_name(table))
            left = {thread for (thread,) in connection.execute(query).fetchall()} - {case.thread, case.other}
            assert left == (set(threads) if table == "checkpoint_thread" else set()), table
    dump = dumped(database_url)
    assert (settings.home / "master.key").exists()
    assert in_dump(was, dump) == set()
    assert plant.found_in(dump) == set()
    assert plant.reached(await opened(runtime.checkpointer)) == set()
    assert (await asyncio.to_thread(case.resume))["answers"][-1] == "acted"


def sealed_of(url: str, threads: Sequence[str]) -> set[bytes]:
    """Every sealed value and every wrapped key of some threads."""
    columns = {"checkpoint": "body", "checkpoint_value": "body", "checkpoint_write": "body", "data_key": "wrapped"}
    found: set[bytes] = set()
    with psycopg.connect(url) as connection:
        for table, column in columns.items():
            query = sql.SQL("select {} from {} where thread_id = any(%s)")
            rows = connection.execute(query.format(sql.Identifier(column), table_name(table)), [list(threads)])
            found |= {bytes(body) for (body,) in rows.fetchall()}
    return found


def in_dump(bodies: set[bytes], dump: bytes) -> set[bytes]:
    return {body for body in bodies if body.hex().encode() in dump}


@pytest.mark.parametrize("who", ["the same process", "another process"])
def test_a_tombstone_refuses_whoever_comes_later(bank: Bank, settings: Settings, who: str) -> None:
    graph = bank.graph([call("pay", amount=500)])
    run = bank.run([call("pay", amount=500)])
    run.decide("approve")
    bank.runtime.checkpointer.delete_thread(run.thread)
    with Runtime.open(settings=settings) as second:
        later = bank.runtime if who == "the same process" else second
        graph = bank.graph([call("pay", amount=500)], runtime=later)
        for _ in range(2):
            with pytest.raises(ThreadErased):
                start(graph, run.config)
            with pytest.raises(ThreadErased):
                graph.update_state(run.config, {"messages": [HumanMessage("again")]}, as_node="retrieve")
        assert graph.get_state(run.config).created_at is None
    assert bank.amounts() == []
    assert bank.rows("select * from stateward.data_key where thread_id = %s", run.thread) == []
    for table in ("checkpoint", "checkpoint_value", "checkpoint_write", "checkpoint_head"):
        assert bank.rows(f"select 1 from stateward.{table} where thread_id = %s", run.thread) == []


# --- No class is made that nobody has declared


made: list[str] = []


class Declared(BaseModel):
    name: str

    def model_post_init(self, context: Any, /) -> None:
        made.append("Declared")


class Undeclared(BaseModel):
    name: str

    def __init__(self, **given: Any) -> None:
        made.append("Undeclared")
        super().__init__(**given)

    @classmethod
    def model_construct(cls, *args: Any, **given: Any) -> Any:
        made.append("Undeclared")
        return super().model_construct(*args, **given)


@dataclass
class UndeclaredData:
    name: str

    def __post_init__(self) -> None:
        made.append("UndeclaredData")


@dataclass
class DeclaredData:
    name: str
    inner: list[Declared] = field(default_factory=list)


class Holding(TypedDict, total=False):
    one: Any
    two: Any
    many: Annotated[list[Any], operator.add]


def holding(saver: Saver, *values: Any) -> tuple[Any, Any]:
    def fill(state: Any) -> Any:
        return {"one": values[0], "two": values[1], "many": list(values)}

    def ask(state: Any) -> Any:
        return {"many": [interrupt(values[0])]}

    builder = StateGraph(Holding)
    builder.add_node("fill", fill)
    builder.add_node("ask", ask)
    builder.add_edge(START, "fill")
    builder.add_edge("fill", "ask")
    graph, config = builder.compile(checkpointer=saver), {"configurable": {"thread_id": "holding"}}
    graph.invoke({"one": values[0]}, cast("Any", config))
    return graph, config


def test_a_class_that_nobody_declared_comes_back_as_data(runtime: Runtime) -> None:
    values = (Undeclared(name="a"), UndeclaredData(name="b"))
    graph, config = holding(runtime.checkpointer, *values)
    made.clear()
    found = graph.get_state(config)
    history = list(graph.get_state_history(config))
    assert found.values == {"one": {"name": "a"}, "two": {"name": "b"}, "many": [{"name": "a"}, {"name": "b"}]}
    assert found.interrupts[0].value == {"name": "a"}
    assert history[-1].tasks[0].result == {"one": {"name": "a"}}
    graph.invoke(Command(resume="yes"), config)
    assert made == []


def test_a_class_that_the_runtime_was_told_comes_back_as_itself(settings: Settings) -> None:
    with Runtime.open(settings=settings, types=[Declared, DeclaredData]) as runtime:
        values = (DeclaredData("a", [Declared(name="b")]), Undeclared(name="c"))
        graph, config = holding(runtime.checkpointer, *values)
        made.clear()
        found = graph.get_state(config).values
    assert found["one"] == values[0]
    assert found["two"] == {"name": "c"}
    assert found["many"] == [values[0], {"name": "c"}]
    assert "Undeclared" not in made


class DeclaringState(FlowState, total=False):
    one: DeclaredData
    many: Annotated[list[DeclaredData | None], operator.add]
    anything: Any


def test_a_class_that_a_workflows_state_declares_comes_back_as_itself(runtime: Runtime, settings: Settings) -> None:
    value, other = DeclaredData("a", [Declared(name="b")]), Undeclared(name="c")

    async def fill(state: Any, step: Any) -> Any:
        return {"one": value, "many": [value, None], "anything": [other, UndeclaredData("d")]}

    policy = parse_policy("{policy: bank, version: 1, identities: {bot: {kind: agent}}}")
    flow = Workflow("bank", state=DeclaringState, policy=policy, principal="bot")
    flow.retrieve(fill)
    flow.orchestrate(ScriptedModel(script=[AIMessage("done")] * 3), tools=[])
    config: Any = runtime.thread("t", principal=BOT, purpose="bank", subject="none", requester="ann", graph="bank")
    start(flow.compile(runtime), config)
    with Runtime.open(settings=settings) as second:
        graph = flow.compile(second)
        made.clear()
        found = graph.get_state(config).values
    assert found["one"] == value
    assert found["many"] == [value, None]
    assert found["anything"] == [{"name": "c"}, {"name": "d"}]
    assert set(made) == {"Declared"}
