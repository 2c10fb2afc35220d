"""Workers that are killed at random points: a process that has imported everything forks one or two for each job.

Each line that it reads is a job in JSON. It kills the workers when the job says, waits for all of them, and says how
each ended. What their tools do reaches a file that is another side's: it is appended to, synced, and knows nothing of
Stateward. A transactional tool writes to the books, whose table has no constraint that would stop a double.
"""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import InjectedToolCallId, StructuredTool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.conninfo import make_conninfo

from bank import BOSS, POLICY, BankState
from stateward import AsyncRuntime, DecisionRefused, Effect, Principal, Runtime, Settings, Workflow, call, tool
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.errors import ThreadError
from stateward.model.approval import Approval
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

RULES = POLICY.replace("steps: 50", "steps: 100000").replace("  look: {effect: read, for: [bot]}\n", "")
APPROVED, REJECTED, EDITED, AS_EDITED = 500.0, 700.0, 900.0, 90.0
GIVES_WAY = 3  # how a worker ends that another one leaves no room
HANGS = 60.0  # seconds after which a worker that nobody killed is taken for stuck
TRIES = 80


@dataclass(frozen=True, kw_only=True)
class OtherSide:
    """Whoever the tools act on: it keeps what reaches it, and tells the truth about it.

    Attributes:
        file: Appended to, a line for each call.
    """

    file: Path

    def receive(self, name: str, key: str, amount: float, attempt: int) -> None:
        """A call has come. A `renew` whose key it knows does nothing more; any other takes effect."""
        with self.file.open("ab", buffering=0) as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            new = name != "renew" or not self.knows(key)
            line = {"tool": name, "key": key, "amount": amount, "attempt": attempt, "pid": os.getpid(), "new": new}
            log.write(json.dumps(line).encode() + b"\n")
            os.fsync(log.fileno())

    def knows(self, key: str) -> bool:
        """Whether a call with this key has taken effect."""
        return any(one["key"] == key for one in self.calls())

    def calls(self) -> list[dict[str, Any]]:
        """All that has come, in order."""
        return [json.loads(line) for line in self.file.read_bytes().splitlines()] if self.file.exists() else []


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is to do.

    Attributes:
        url: The database.
        home: Where the master key is.
        thread: The thread that it goes on with, or begins.
        other_side: The file of the other side.
        way: `workflow` or `agent`, or `plain` for LangChain's own agent on LangGraph's own saver.
        sync: Whether blocking code drives it, with blocking tools.
        begins: Whether it may begin the thread; one of two that begin the same work would ask for it twice.
        seed: Draws how long the tools take.
        pipe: Where it says how far it is.
    """

    url: str
    home: str
    thread: str
    other_side: str
    way: str
    sync: bool
    begins: bool
    seed: int
    pipe: int = -1

    @property
    def other(self) -> OtherSide:
        """The other side."""
        return OtherSide(file=Path(self.other_side))

    def give_way(self) -> None:
        """Note that another worker was met, which was at the same thread."""
        with self.other.file.with_suffix(".met").open("ab", buffering=0) as notes:
            notes.write(b".")

    def mark(self) -> None:
        """Say that it is ready, or that an effect has just happened, to the process that may kill it."""
        os.write(self.pipe, b".")

    def moments(self, key: str, attempt: int) -> tuple[float, float]:
        """Seconds that a tool takes before it takes effect, and after that until it says so."""
        rng = Random(f"{self.seed} {key} {attempt}")
        return rng.uniform(0, 0.03), rng.uniform(0.02, 0.15)


def script() -> list[AIMessage]:
    """Three turns of calls that run at once, half of them harmless to repeat; then one that people are asked about."""
    turns = [
        [call(name, amount=turn * 10 + at) for at, name in enumerate(("renew", "pay", "post", "wire", "renew", "pay"))]
        for turn in (1, 2, 3)
    ]
    asks = [call("pay", amount=amount) for amount in (APPROVED, REJECTED, EDITED)]
    turns.append([call("renew", amount=41), *asks, call("wire", amount=42), call("post", amount=43)])
    return [*(proposes(*turn) for turn in turns), *[AIMessage("done")] * 3]


def plain_script() -> list[AIMessage]:
    """The turns that ask nobody: there is nobody to ask."""
    return [*script()[:3], *[AIMessage("done")] * 3]


# The same code for async and blocking: what is awaited is there at once where the tools and the runtime block.


def by_hand(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what never waits without an event loop."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits for something")


async def settled(found: Any) -> Any:
    """The value, or what it is awaited for."""
    return await found if inspect.isawaitable(found) else found


def pause(seconds: float, *, sync: bool) -> Any:
    """Blocks, or can be awaited."""
    return time.sleep(seconds) if sync else asyncio.sleep(seconds)


def tools(job: Job) -> list[Any]:
    """pay (plain), renew (idempotent), wire (probe), post (transactional)."""

    async def act(name: str, amount: float, effect: Effect) -> dict[str, Any]:
        before, after = job.moments(effect.key, effect.attempt)
        await settled(pause(before, sync=job.sync))
        job.other.receive(name, effect.key, amount, effect.attempt)
        job.mark()
        await settled(pause(after, sync=job.sync))
        return {"done": amount}

    def made(name: str, says: str, **traits: Any) -> Any:
        async def awaited(amount: float, effect: Effect) -> dict[str, Any]:
            return await act(name, amount, effect)

        def blocks(amount: float, effect: Effect) -> dict[str, Any]:
            return by_hand(act(name, amount, effect))

        function: Any = blocks if job.sync else awaited
        function.__name__, function.__doc__ = name, says
        return tool(**traits)(function)

    async def ask_other_side(arguments: Any, key: str) -> Any:
        return {"found": key} if job.other.knows(key) else None

    @tool(transactional=True)
    async def post(amount: float, effect: Effect) -> dict[str, Any]:
        """Post to the books."""
        before, after = job.moments(effect.key, effect.attempt)
        job.other.receive("post", effect.key, amount, effect.attempt)
        async with effect.transaction() as work:
            await asyncio.sleep(before)
            statement = "insert into books.entry (key, attempt, amount) values (%s, %s, %s)"
            await work.connection.execute(statement, (effect.key, effect.attempt, amount))
            work.settle({"posted": amount})
            job.mark()
            await asyncio.sleep(after)
        return {}

    return [
        made("pay", "Pay somebody."),
        made("renew", "Renew a contract.", idempotent=True),
        made("wire", "Wire money.", probe=ask_other_side),
        post,
    ]


def governed(job: Job, runtime: AsyncRuntime | Runtime) -> Any:
    """The workflow, or the agent with the middleware."""
    policy, planner, acts = parse_policy(RULES), ScriptedModel(script=script()), tools(job)
    if job.way == "agent":
        ward = runtime.middleware(policy=policy, tools=acts, principal="bot", purpose="bank")
        return create_agent(planner, acts, middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store)
    flow = Workflow("bank", state=BankState, policy=policy, principal="bot", subject=lambda _: "customer:17")
    flow.orchestrate(planner, tools=acts)
    return flow.compile(runtime)


async def work(job: Job, runtime: AsyncRuntime | Runtime) -> int:
    """Begin the thread or go on with it, and decide what it asks, until it is answered."""
    graph = governed(job, runtime)
    opening = runtime.thread(
        job.thread,
        principal=Principal("bot", kind="agent"),
        purpose="bank",
        subject="customer:17",
        requester="ann",
        graph="bot" if job.way == "agent" else "bank",
    )
    config = await settled(opening)
    job.mark()
    for _ in range(TRIES):
        try:
            await go_on(job, runtime, graph, config)
            if (await settled(runtime.find_thread(job.thread))).status == "answered":
                return 0
            for asked in await settled(runtime.approvals(thread=job.thread)):
                await decide(runtime, asked, job.other)
        except (ThreadError, DecisionRefused):
            job.give_way()
            await settled(pause(0.02, sync=job.sync))
    return GIVES_WAY


async def go_on(job: Job, runtime: AsyncRuntime | Runtime, graph: Any, config: Any) -> None:
    """As far as it goes."""
    state = await settled(graph.get_state(config) if job.sync else graph.aget_state(config))
    if state.created_at is not None:
        await settled(runtime.resume(graph, job.thread))
    elif job.begins:
        given = {"messages": [("user", "go")]}
        await settled(graph.invoke(given, config) if job.sync else graph.ainvoke(given, config))


async def decide(runtime: AsyncRuntime | Runtime, asked: Approval, other: OtherSide) -> None:
    """What an honest person says: of an outcome that nobody knows, what the other side knows."""
    if asked.kind == "outcome":
        said: Any = "done" if other.knows(f"sw-{asked.action}") else "retry"
        await settled(runtime.decide(asked, said, by=BOSS))
        return
    amount = asked.arguments["amount"]
    said = {APPROVED: "approve", REJECTED: "reject", EDITED: "edit"}[amount]
    more: Any = {"arguments": {"amount": AS_EDITED}} if said == "edit" else {}
    await settled(runtime.decide(asked, said, by=BOSS, reason="so it is", **more))


async def awaited(job: Job) -> int:
    """A worker whose code is async."""
    if job.way == "plain":
        return await plain(job)
    async with AsyncRuntime.connect(settings=_settings(job)) as runtime:
        return await work(job, runtime)


def blocks(job: Job) -> int:
    """A worker whose code blocks."""
    if job.way == "plain":
        return by_hand(plain(job))
    with Runtime.open(settings=_settings(job)) as runtime:
        return by_hand(work(job, runtime))


def _settings(job: Job) -> Settings:
    return Settings(home=Path(job.home), database_url=_signed(job.url), pool_size=3)


def _signed(url: str) -> str:
    # So that it can be seen when all that a killed worker had sent is done with.
    return make_conninfo(url, application_name=name_of(os.getpid()))


def name_of(pid: int) -> str:
    """What a worker's connections call themselves."""
    return f"chaos-{pid}"


# The same work through LangChain's own agent, on LangGraph's own saver.


def plain_tools(job: Job) -> list[Any]:
    """The same four; the key is all that they are given, the id of the call."""

    async def act(name: str, amount: float, call_id: str) -> str:
        key = f"{job.thread}-{int(amount)}-{call_id}"
        before, after = job.moments(key, 1)
        await settled(pause(before, sync=job.sync))
        job.other.receive(name, key, amount, 1)
        if name == "post":
            with psycopg.connect(_signed(job.url)) as connection:
                statement = "insert into books.entry (key, attempt, amount) values (%s, 1, %s)"
                connection.execute(statement, (key, amount))
        job.mark()
        await settled(pause(after, sync=job.sync))
        return "done"

    def made(name: str) -> Any:
        async def awaits(amount: float, call_id: Annotated[str, InjectedToolCallId]) -> str:
            return await act(name, amount, call_id)

        def blocks(amount: float, call_id: Annotated[str, InjectedToolCallId]) -> str:
            return by_hand(act(name, amount, call_id))

        given: Any = {"func": blocks} if job.sync else {"coroutine": awaits}
        return StructuredTool.from_function(name=name, description=name, **given)

    return [made(name) for name in ("pay", "renew", "wire", "post")]


async def plain(job: Job) -> int:
    """Begin or go on, as LangGraph's documentation has it, with the safest durability that there is."""
    url, model = _signed(job.url), ScriptedModel(script=plain_script())
    config: Any = {"configurable": {"thread_id": job.thread}}
    given: Any = {"messages": [("user", "go")]}
    if job.sync:
        with PostgresSaver.from_conn_string(url) as saver:
            agent = create_agent(model, plain_tools(job), checkpointer=saver)
            job.mark()
            begun = agent.get_state(config).created_at is not None
            agent.invoke(None if begun else given, config, durability="sync")
        return 0
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        agent = create_agent(model, plain_tools(job), checkpointer=saver)
        job.mark()
        begun = (await agent.aget_state(config)).created_at is not None
        await agent.ainvoke(None if begun else given, config, durability="sync")
    return 0


# The process that forks them.


@dataclass
class Child:
    """A worker.

    Attributes:
        pipe: It leaves a mark there when it is ready, and at each effect.
        marks: After how many of them the seconds count; 0 counts from its start.
        after: Seconds until it is killed; None lets it live.
        due: When it is killed.
        ended: How it ended.
    """

    pid: int
    pipe: int
    marks: int
    after: float | None
    due: float | None = None
    ended: int | None = None

    def look(self, now: float) -> None:
        """Kill it if it is time, and notice that it has ended."""
        while self.marks and select.select([self.pipe], [], [], 0)[0] and os.read(self.pipe, 1):
            self.marks -= 1
        if self.due is None and self.after is not None and not self.marks:
            self.due = now + self.after
        if self.due is not None and now >= self.due:
            os.kill(self.pid, signal.SIGKILL)  # nobody else waits for it, so the number is still its own
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            os.close(self.pipe)
            self.ended = os.waitstatus_to_exitcode(status)


def fork(job: dict[str, Any], *, marks: int, after: float | None) -> Child:
    """Start a worker."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(_live(Job(**job, pipe=write)))
    os.close(write)
    return Child(pid=pid, pipe=read, marks=marks, after=after)


def _live(job: Job) -> int:
    try:
        return blocks(job) if job.sync else asyncio.run(awaited(job))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1


def watch(children: Sequence[Child]) -> list[tuple[int, int]]:
    """Kill each when it is time; gives the numbers of all and how they ended."""
    stuck = time.monotonic() + HANGS
    while any(one.ended is None for one in children):
        now = time.monotonic()
        for one in children:
            if one.ended is None:
                one.due = stuck if now > stuck else one.due
                one.look(now)
        time.sleep(0.002)
    return [(one.pid, one.ended or 0) for one in children]


async def _warm_up() -> None:
    # What is imported at first use costs each worker a second, in which no kill would hit anything.
    await PresidioRedactor().scan(["warm"], entities=frozenset({"EMAIL_ADDRESS", "CREDIT_CARD", "PHONE_NUMBER"}))
    parse_policy(RULES)


def main() -> None:
    """Fork workers, line by line."""
    asyncio.run(_warm_up())
    print("ready", flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        workers = [fork(given["job"] | one.pop("job"), **one) for one in given["workers"]]
        print(json.dumps(watch(workers)), flush=True)


if __name__ == "__main__":
    main()
