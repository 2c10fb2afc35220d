"""Workers that die at one named point of a run: a process that has imported everything forks one for each job.

Each line that it reads is a job in JSON; it says how the worker ended: 0, 1 after an error, or minus the signal. A
worker kills itself with SIGKILL, so that nothing is tidied up. What its tools do, they do to a world that remembers: a
schema in the same database, written over connections that Stateward knows nothing of.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

from bank import POLICY, BankState
from stateward import AsyncRuntime, Effect, Principal, Settings, Workflow, call, tool
from stateward.act.perform import Performer
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.adapters.postgres import commits
from stateward.adapters.postgres.checkpoints import PostgresCheckpoints
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.desk import PostgresDesk
from stateward.adapters.postgres.journal import PostgresJournal
from stateward.adapters.postgres.memory import PostgresMemory
from stateward.orchestrate.steps import Turn
from stateward.orchestrate.tools import ToolSpec
from stateward.orchestrate.turns import Turns
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

WRITES = ("pay", "renew", "wire", "post")
# What the world has seen. `renew` is idempotent there: a key that it knows does nothing more.
WORLD = """
create schema world;
create table world.called (tool text not null, key text not null, at timestamptz not null default clock_timestamp());
create table world.happened (tool text not null, key text not null, amount numeric not null);
create table world.asked (turn int not null, worker int not null);
"""
MESSAGES = "select count(*) from stateward.checkpoint_value where thread_id = %s and ns = '' and channel = 'messages'"
SETTLED = "select count(*) from stateward.effect where thread_id = %s and status = 'settled'"
READ = "select count(*) from stateward.ledger where thread_id = %s and kind = 'read.done'"
NEVER = 600.0  # seconds: what may linger does not go into the database by itself within a test


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class World:
    """Where tools act: it keeps what a killed process did."""

    url: str
    thread: str

    def execute(self, query: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            done = connection.execute(query, values)  # pyright: ignore[reportArgumentType]
            return done.fetchall() if done.description else []

    def called(self, name: str, key: str) -> None:
        """A tool's body runs."""
        self.execute("insert into world.called (tool, key) values (%s, %s)", name, key)

    def knows(self, name: str, key: str) -> bool:
        return bool(self.execute("select 1 from world.happened where (tool, key) = (%s, %s)", name, key))

    def happens(self, name: str, key: str, amount: float) -> None:
        """The effect itself."""
        if name != "renew" or not self.knows(name, key):
            self.execute("insert into world.happened values (%s, %s, %s)", name, key, amount)

    def until(self, query: str, count: int) -> None:
        """Wait until so many rows of the thread are in the database."""
        deadline = time.monotonic() + 20
        while self.execute(query, self.thread)[0][0] < count:
            assert time.monotonic() < deadline, f"it never came: {query} {count}"
            time.sleep(0.005)


@dataclass
class Points:
    """Where this worker dies.

    Attributes:
        at: The name of the point.
        turn: In which turn of the planner, counted from 0.
        now: Which turn it is.
        writes: Whether memory is being written.
    """

    world: World
    at: str
    turn: int
    now: int = 0
    writes: bool = False

    def here(self, name: str) -> bool:
        return self.at == name and self.now == self.turn

    def reach(self, name: str) -> None:
        """The run has come to this point."""
        if self.here(name):
            die()

    async def keeps(self, query: str, count: int) -> None:
        """Let the run stand still here until something is durable."""
        await asyncio.to_thread(self.world.until, query, count)

    @property
    def of_turn(self) -> int:
        """Versions of the conversation when the turn's message is in it: the request, and two for each turn before."""
        return 2 + 2 * self.now


class Planner(ScriptedModel):
    """A scripted model that notes in the world that it was asked, and signs its answer with its process."""

    points: Any

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        points: Points = self.points
        points.now = sum(isinstance(one, AIMessage) for one in messages)
        points.world.execute("insert into world.asked values (%s, %s)", points.now, os.getpid())
        if points.here("thinks, the request is kept"):
            points.world.until(MESSAGES, 1)
            die()
        if points.here("thinks, the receipt is kept"):
            points.world.until(SETTLED, points.now)
            die()
        points.reach("thinks")
        return super()._generate(messages, *args, **kwargs)


def before(owner: Any, name: str, reach: Callable[..., Any]) -> None:
    """Something happens before each call of a method; it may be awaited."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        waits = reach(*args, **kwargs)
        if waits is not None:
            await waits
        return await original(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, reach: Callable[..., Any]) -> None:
    """Something happens after each call of a method; it is given the result, and may be awaited."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        found = await original(*args, **kwargs)
        waits = reach(found, *args)
        if waits is not None:
            await waits
        return found

    setattr(owner, name, wrapped)


def arm(points: Points) -> None:
    """Put every point into place."""
    begin = Turns.begin

    def said(self: Turns, thread: str, turn: str) -> None:
        points.reach("said")
        begin(self, thread, turn)

    Turns.begin = said
    leave = PostgresJournal.leave

    def leaves(self: PostgresJournal, row: Any, *, actor: str) -> None:
        points.reach("leaves")
        leave(self, row, actor=actor)

    PostgresJournal.leave = leaves

    async def kept(name: str, query: str, count: int) -> None:
        if points.here(name):
            await points.keeps(query, count)
            die()

    before(Turn, "verify", lambda *_, **__: kept("said, and kept", MESSAGES, points.of_turn))
    before(Turn, "answer", lambda *_, **__: kept("answers, and kept", MESSAGES, points.of_turn))
    before(Performer, "perform", lambda *_: points.reach("permitted"))
    after(PostgresJournal, "judge", lambda *_: points.reach("judged"))
    after(PostgresJournal, "reserve", lambda *_: points.reach("reserved"))
    after(ToolSpec, "run", lambda *_: points.reach("returned"))
    after(Performer, "perform", lambda _, __, permit, *___: points.reach("read") if permit.effect == "read" else None)
    after(Performer, "perform", lambda *_: kept("read, and kept", READ, 1))
    before(PostgresDesk, "look", lambda *_, **__: points.reach("asks"))
    after(PostgresDesk, "look", lambda *_, **__: points.reach("shows"))
    before(PostgresMemory, "change", lambda *_: points.reach("remembers"))
    after(PostgresMemory, "change", lambda *_: points.reach("remembered"))
    after(PostgresCheckpoints, "prune", lambda *_: points.reach("pruned"))
    arm_commits(points)
    arm_memory(points)
    arm_pruning(points)


def arm_commits(points: Points) -> None:
    """Around the one statement that commits a step: before it is sent, before its answer is read, and after that."""
    original = Commits._send

    async def send(self: Commits, connection: Any, values: Any) -> Any:
        what = next((name for name, mark in COMMITS.items() if mark in values["doc"]), "")
        # Whatever turn it is: a receipt is on its way while the planner thinks already.
        if points.at == f"sends the {what}":
            die()
        if points.at == f"sent the {what}":
            connection.prepare_threshold, connection.wait = None, _die_when_sent
        found = await original(self, connection, values)
        if points.at == f"committed the {what}":
            die()
        return found

    Commits._send = send


COMMITS = {
    "reservation": '"do":"reserve"',
    "restart": '"do":"restart"',
    "receipt": '"do":"settle"',
    "answer": '"status":"answered"',
}


async def _die_when_sent(generator: Any, interval: float = 0) -> Any:
    """Drive a statement of psycopg's until all of it is on its way and nothing has come back."""
    state = next(generator)
    while state & psycopg.waiting.WAIT_W:
        select.select([], [], [], 0.001)
        state = generator.send(psycopg.waiting.READY_W)
    die()


def arm_memory(points: Points) -> None:
    """The one statement that writes an item with its entry is on its way, and its answer is never read."""
    connection = Database.connection

    @asynccontextmanager
    async def sent(self: Database) -> AsyncIterator[Any]:
        async with connection(self) as here:
            if points.writes and points.here("remembers, sent"):
                here.prepare_threshold, here.wait = None, _die_when_sent
            yield here

    change = PostgresMemory.change

    async def changes(self: PostgresMemory, *given: Any) -> Any:
        await self._commits.barrier(given[0].thread)
        points.writes = True
        return await change(self, *given)

    Database.connection, PostgresMemory.change = sent, changes


def arm_pruning(points: Points) -> None:
    """Within the transaction in which history goes: checkpoints are deleted, and the rest is not yet."""
    held = PostgresCheckpoints._held

    @asynccontextmanager
    async def watched(self: PostgresCheckpoints, thread: str) -> AsyncIterator[Any]:
        async with held(self, thread) as connection:
            yield _Watched(connection, points)

    PostgresCheckpoints._held = watched


@dataclass
class _Watched:
    connection: Any
    points: Points

    async def execute(self, query: bytes, *values: Any) -> Any:
        found = await self.connection.execute(query, *values)
        if b"delete from stateward.checkpoint c" in query:
            self.points.reach("prunes")
        return found


def tools(points: Points) -> list[Any]:
    """The bank's tools, in a world that remembers."""
    world = points.world

    def act(name: str, amount: float, effect: Effect) -> dict[str, Any]:
        points.reach("in the tool")
        world.called(name, effect.key)
        world.happens(name, effect.key, amount)
        points.reach("done in the tool")
        return {"done": amount}

    @tool
    async def look(what: str) -> dict[str, str]:
        """Look something up."""
        world.called("look", what)
        points.reach("in the tool")
        return {"seen": what}

    @tool
    async def pay(amount: float, effect: Effect, to: str = "") -> dict[str, Any]:
        """Pay somebody."""
        return act("pay", amount, effect)

    @tool(idempotent=True)
    async def renew(amount: float, effect: Effect) -> dict[str, Any]:
        """Renew a contract."""
        return act("renew", amount, effect)

    async def ask_other_side(arguments: Any, key: str) -> Any:
        return {"found": key} if world.knows("wire", key) else None

    @tool(probe=ask_other_side)
    async def wire(amount: float, effect: Effect) -> dict[str, Any]:
        """Wire money."""
        return act("wire", amount, effect)

    @tool(transactional=True)
    async def post(amount: float, effect: Effect) -> dict[str, Any]:
        """Post to the books."""
        points.reach("in the tool")
        world.called("post", effect.key)
        async with effect.transaction() as work:
            await work.connection.execute(
                "insert into books.entry (key, attempt, amount) values (%s, %s, %s)",
                (effect.key, effect.attempt, amount),
            )
            work.settle({"posted": amount})
            points.reach("done in the tool")
        return {}

    return [look, pay, renew, wire, post]


def built(runtime: AsyncRuntime, job: dict[str, Any], points: Points) -> Any:
    """The workflow or the agent, whose planner follows the job's script."""
    script = [proposes(*(call(name, **given) for name, given in turn)) for turn in job["script"]]
    planner = Planner(script=[*script, *[AIMessage(f"done, says {os.getpid()}")] * 3], points=points)
    policy = parse_policy(job["policy"])
    if job["kind"] == "agent":
        ward = runtime.middleware(policy=policy, tools=tools(points), principal="bot", purpose="bank")
        saver, store = runtime.checkpointer, runtime.store
        return create_agent(planner, tools(points), middleware=[ward], checkpointer=saver, store=store)

    async def remember(state: Any, step: Any, done: Any) -> None:
        await step.remember("note", "last", amount=done.row.action.call.arguments["amount"])

    flow = Workflow("bank", state=BankState, policy=policy, principal="bot", subject=lambda _: "customer:17")
    flow.orchestrate(planner, tools=tools(points))
    if job["remembers"]:
        flow.remember(remember, after=WRITES)
    return flow.compile(runtime)


async def work(job: dict[str, Any]) -> None:
    """Start the run, or go on with it, as far as it goes."""
    points = Points(world=World(job["url"], job["thread"]), at=job["die"], turn=job["turn"])
    if job["lingers"]:
        commits._LINGER = NEVER
    arm(points)
    settings = Settings(home=Path(job["home"]), database_url=job["url"], pool_size=3)
    async with AsyncRuntime.connect(settings=settings) as runtime:
        graph = built(runtime, job, points)
        config = await runtime.thread(
            job["thread"],
            principal=Principal("bot", kind="agent"),
            purpose="bank",
            subject="customer:17",
            requester="ann",
            graph="bot" if job["kind"] == "agent" else "bank",
        )
        if (await graph.aget_state(config)).created_at is None or job["says"]:
            await graph.ainvoke({"messages": [("user", job["says"] or "go")]}, config)
        else:
            await runtime.resume(graph, job["thread"])
        points.now = job["turn"]
        points.reach("waits")
        if job["decides"]:
            (asked,) = await runtime.approvals(thread=job["thread"])
            await runtime.decide(asked, job["decides"], by=Principal("boss"))
            points.reach("decided")


def forked(job: dict[str, Any]) -> int:
    """What a worker does with its life."""
    try:
        asyncio.run(work(job))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


async def _warm_up() -> None:
    # What is imported at first use costs each worker a second.
    await PresidioRedactor().scan(["warm"], entities=frozenset({"EMAIL_ADDRESS", "CREDIT_CARD", "PHONE_NUMBER"}))
    parse_policy(POLICY)


def main() -> None:
    asyncio.run(_warm_up())
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            ended = forked(json.loads(line))
            sys.stderr.flush()
            os._exit(ended)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
