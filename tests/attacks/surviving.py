"""What the survival tests need: a server of their own that may die, a world that remembers, and who goes on."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bank import BOOKS, BOSS, Bank, start
from stateward import Effect, Runtime, Settings, StatewardError, call, tool
from stateward.adapters import embedded
from stateward.adapters.embedded import EmbeddedServer
from stateward.model.approval import Approval
from stateward.orchestrate.playbook import PlaybookCall
from stateward.orchestrate.workflow import Graph
from stateward.testing import ScriptedModel, proposes
from stateward.testing.databases import Databases

WRITES = ("pay", "renew", "wire", "post")


def nothing(*_: Any) -> None:
    """Nothing happens here."""


@dataclass(frozen=True)
class Clock:
    """A clock that may be put wrong, for processes that are started with its environment.

    Attributes:
        file: Says by how much.
    """

    file: Path

    def put(self, days: float) -> None:
        """So many days ahead of the right time, or behind it."""
        # Replaced and not rewritten: a process that looks in between must not find it empty.
        part = self.file.with_suffix(".part")
        part.write_text(f"{_hours(days)}\n", encoding="ascii")
        part.rename(self.file)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes are started with."""
        fixed = wrong_clock(0)
        del fixed["FAKETIME"]  # it would count more than the file
        return fixed | {"FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1"}


def wrong_clock(days: float) -> dict[str, str]:
    """The environment of a process whose clock is so many days off; it waits by another clock, which is right."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("libfaketime is not installed (Debian: apt-get install faketime)")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": _hours(days), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def _hours(days: float) -> str:
    return f"{days * 24:+.3f}h"


@dataclass
class OwnServer:
    """A server of the test's own: it may be stopped at any moment, as a machine does that loses its power."""

    root: Path
    durable: bool = False

    def __post_init__(self) -> None:
        self._server = EmbeddedServer(self.root, durable=self.durable)

    def start(self) -> str:
        """Start it, or find it running; gives the address."""
        return self._server.start()

    def stop(self) -> None:
        """Stop it without a word to anybody: what was committed is recovered at the next start."""
        tools = embedded._find_tools()
        tools.run("pg_ctl", "-D", ".", "-m", "immediate", "-w", "stop", cwd=self.root / "data")

    def restart(self) -> None:
        """Stop it, and have it running again when this returns."""
        self.stop()
        self.start()

    def go_down(self, seconds: float) -> threading.Timer:
        """Stop it, and start it again later, while others go on."""
        self.stop()
        later = threading.Timer(seconds, self.start)
        later.start()
        return later

    def close(self) -> None:
        """The end."""
        self._server.close()


class Wire:
    """A stretch of network before a server's Unix socket, which may be cut: the server does not notice that.

    Args:
        folder: Where its own socket is.
        server: A connection string of the server behind it.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self._folder = folder
        self._behind = f"{conninfo_to_dict(server)['host']}/.s.PGSQL.5432"
        self._ends: list[socket.socket] = []
        self._left: list[socket.socket] = []
        self._ear = socket.socket(socket.AF_UNIX)
        self._ear.bind(str(folder / ".s.PGSQL.5432"))
        self._ear.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, server: str) -> str:
        """The same database, reached through it."""
        return make_conninfo(server, host=str(self._folder), port=5432)

    def cut(self) -> None:
        """Our side of every connection ends; the server's sides stay as they are."""
        ends, self._ends = self._ends, []
        for end in ends:
            end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The end."""
        self._ear.shutdown(socket.SHUT_RDWR)
        self.cut()
        for one in (self._ear, *self._left):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                end, _ = self._ear.accept()
                behind = socket.socket(socket.AF_UNIX)
                behind.connect(self._behind)
                self._ends.append(end)
                self._left += [end, behind]
                for pair in ((end, behind), (behind, end)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        # A client that leaves in good order says so before; one that is cut off leaves the server waiting.
        if target in self._ends:
            target.shutdown(socket.SHUT_RDWR)


class Thinking(ScriptedModel):
    """A scripted model that proposes a turn again where a write of it failed, and during whose turns something happens.

    Attributes:
        hook: Gives what is called with the number of the turn, before the model says anything.
    """

    hook: Callable[[], Callable[[int], None]]

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.hook()(_turn(messages))
        return self._say(messages)

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        hook = self.hook()
        if hook is not nothing:
            await asyncio.to_thread(hook, _turn(messages))
        return self._say(messages)

    def _say(self, messages: list[BaseMessage]) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.script[_turn(messages)].model_copy(deep=True))])


def _turn(messages: Sequence[BaseMessage]) -> int:
    return sum(_went_well(messages, at) for at, one in enumerate(messages) if isinstance(one, AIMessage))


def _went_well(messages: Sequence[BaseMessage], at: int) -> bool:
    results = itertools.takewhile(lambda one: isinstance(one, ToolMessage), messages[at + 1 :])
    return not any(isinstance(one, ToolMessage) and one.status == "error" for one in results)


@dataclass
class Town(Bank):
    """The bank, whose other side tells the truth, in a town where things happen.

    Attributes:
        thinks: Happens during each turn of the model, which it is given the number of.
        keeps: Happens in the step after each write.
        lingers: Happens inside a `wire`, before it takes effect.
    """

    thinks: Callable[[int], None] = nothing
    keeps: Callable[[], None] = nothing
    lingers: Callable[[], None] = nothing

    def flow(self, tools: list[Any], policy: str, said: list[AIMessage]) -> Any:
        """The workflow, whose model can be watched while it thinks."""
        flow = super().flow(tools, policy, said)
        script = [*said, *[AIMessage("done")] * 9]
        flow.orchestrate(Thinking(script=script, hook=lambda: self.thinks), tools=tools)

        async def keep(state: Any, step: Any, done: Any) -> None:
            self.keeps()

        flow.remember(keep, after=WRITES)
        return flow

    def tools(self) -> list[Any]:
        """The bank's tools, with a `wire` whose other side knows which keys it has seen."""

        async def ask_other_side(arguments: Any, key: str) -> Any:
            return {"found": key} if key in self.keys("wire") else None

        @tool(probe=ask_other_side)
        def wire(amount: float, effect: Effect) -> dict[str, Any]:
            """Wire money; a plain function, which runs beside the event loop."""
            self.lingers()
            return self.took_effect("wire", amount, effect)

        return [*(one for one in super().tools() if one.name != "wire"), wire]

    def keys(self, name: str) -> Counter[str]:
        """How often each key has reached the world: by the books for `post`, as its transaction may be undone."""
        if name == "post":
            return Counter(row["key"] for row in self.rows("select key from books.entry"))
        return Counter(key for tool_, _, key in self.ran if tool_ == name)

    def assert_once(self, **expected: int) -> None:
        """Every write happened once, no other did, and the trail holds.

        Args:
            expected: How many writes of each tool.
        """
        for name in WRITES:
            keys = self.keys(name)
            assert len(keys) == expected.get(name, 0), (name, keys)
            # The same key again does nothing more at the other side of `renew`: that is what it says of itself.
            assert name == "renew" or set(keys.values()) <= {1}, (name, keys)
        report = self.runtime.verify_audit()
        assert report.intact, report.breaks
        assert self.rows("select * from stateward.effect where status in ('reserved', 'unknown')") == []


@dataclass
class Journey:
    """One thread that is gone on with until it is answered, whatever happens on the way.

    Attributes:
        errors: What its runs failed with.
        asked: How often a person had to say what became of a write.
    """

    town: Town
    graph: Graph
    config: Any
    errors: list[Exception] = field(default_factory=list)
    asked: int = 0

    @property
    def thread(self) -> str:
        """The thread's id."""
        return self.config["configurable"]["thread_id"]

    def go(self, tries: int = 40) -> dict[str, Any]:
        """Start, and go on after every error that says what is wrong; any other error ends the test."""
        for _ in range(tries):
            try:
                out = self._step()
            except StatewardError as error:
                self.errors.append(error)
                continue
            if out is not None:
                return out
        raise AssertionError(f"{tries} runs, and it is not answered: {self.errors[-3:]}") from self.errors[-1]

    def _step(self) -> dict[str, Any] | None:
        runtime = self.town.runtime
        # What was not begun, or of which not even the request was kept, is begun.
        begun = bool(self.graph.get_state(self.config).values)
        out = runtime.resume(self.graph, self.thread) if begun else start(self.graph, self.config)
        waiting = runtime.approvals(thread=self.thread)
        for approval in waiting:
            self._decide(approval)
        return None if waiting or "__interrupt__" in out else out

    def _decide(self, asked: Approval) -> None:
        if asked.kind == "action":
            self.town.runtime.decide(asked, "approve", by=BOSS)
            return
        self.asked += 1
        happened = any(f"sw-{asked.action}" == key for *_, key in self.town.ran)
        self.town.runtime.decide(asked, "done" if happened else "retry", by=BOSS)


def journey(town: Town, *script: Sequence[PlaybookCall] | AIMessage, thread: str = "") -> Journey:
    """A thread of the town's workflow, opened and not yet begun."""
    return Journey(town=town, graph=town.graph(*script), config=town.config(thread))


def agent_journey(town: Town, *script: Sequence[PlaybookCall], thread: str = "agent-1") -> Journey:
    """The same on LangChain's `create_agent`."""
    from langchain.agents import create_agent

    from bank import POLICY
    from stateward.verify.load import parse_policy

    tools, runtime = town.tools(), town.runtime
    ward = runtime.middleware(policy=parse_policy(POLICY), tools=tools, principal="bot", purpose="bank")
    said = [*(proposes(*one) for one in script), *[AIMessage("done")] * 9]
    model = Thinking(script=said, hook=lambda: town.thinks)
    saver, store = runtime.checkpointer, runtime.store
    graph = create_agent(model, tools, middleware=[ward], checkpointer=saver, store=store)
    return Journey(town=town, graph=graph, config=town.config(thread, graph="bot"))


def one_of_each() -> list[list[PlaybookCall]]:
    """A script: one write of each class, each in a turn of its own, the last of which people are asked about."""
    return [[call(name, amount=at)] for at, name in enumerate(WRITES, 1)] + [[call("pay", amount=500)]]


def once(what: Callable[[], Any], when: Callable[..., bool] = lambda *_: True) -> Callable[..., None]:
    """Does it the first time only, when it is time."""
    done: list[bool] = []

    def act(*given: Any) -> None:
        if not done and when(*given):
            done.append(True)
            what()

    return act


def kill_backends(url: str) -> int:
    """Kill every connection to this database, whoever holds it; gives their number when they are gone."""
    of = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        killed = connection.execute(f"select pid, pg_terminate_backend(pid) {of}").fetchall()
        pids = [pid for pid, _ in killed]
        while connection.execute(f"select 1 {of} and pid = any(%s) limit 1", [pids]).fetchone():
            time.sleep(0.002)  # the server's own way to wait looks every tenth of a second only
    return len(killed)


def work(job: dict[str, Any], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a worker in a process of its own to its end; see `survival_worker.py` for what a job is."""
    command = [sys.executable, str(Path(__file__).with_name("survival_worker.py")), json.dumps(job)]
    env = os.environ | environment
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def town_on(url: str, home: Path, **more: Any) -> Iterator[Town]:
    """A town on a database of its own, and a runtime of its own."""
    with Runtime.open(settings=Settings(home=home, database_url=url, **more)) as runtime:
        runtime.apply([("books", BOOKS)])
        yield Town(runtime=runtime, url=url)


@contextmanager
def own_databases(root: Path, home: Path) -> Iterator[tuple[OwnServer, Databases]]:
    """A server of the test's own with the template of a database on it."""
    server = OwnServer(root)
    try:
        made = Databases(uri=make_conninfo(server.start()))
        made.prepare(home)
        yield server, made
    finally:
        server.start()
        server.close()


def missing(what: str) -> NoReturn:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
