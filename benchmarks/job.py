"""The job that every variant does: its tools, its policy, and the scripted model that takes no time.

The model calls one write tool a number of times, one call a turn, and then says that it is done.
"""

# No `from __future__ import annotations`: LangChain resolves string annotations anew at each tool call.

import asyncio
import random
import string
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as plain_tool
from psycopg import AsyncConnection
from pydantic import Field

from stateward import Effect, tool
from stateward.testing import ScriptedModel

DONE = "done"
BIG = 5000.0  # an amount that people are asked about
SCHEMA = """
do $$ begin
    create role bench_writer nologin;
exception when duplicate_object then null;
end $$;
create schema bench;
create table bench.entry (account text not null, amount numeric not null);
grant usage on schema bench to bench_writer;
grant insert on bench.entry to bench_writer;
"""
POLICY = """
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
  look:
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
budget: {steps: 100000}
"""
_INSERT = "insert into bench.entry (account, amount) values (%s, %s)"

Hook = Callable[[str, int], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A moment at which the model was asked.

    Attributes:
        wall: Seconds.
        cpu: Seconds of the process's CPU.
        superstep: LangGraph's own count of the thread's supersteps.
    """

    wall: float
    cpu: float
    superstep: int


class BenchModel(ScriptedModel):
    """A scripted model that notes when it was asked.

    It answers on the event loop, as the models of real providers do, and not in a thread.

    Attributes:
        pause: Seconds that it takes to answer.
        hook: Awaited with the thread and the number of its answers so far, before it answers.
        ticks: For each thread, the moments at which it was asked.
    """

    pause: float = 0
    hook: Hook | None = None
    ticks: dict[str, list[Tick]] = Field(default_factory=lambda: defaultdict(list))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        about = run_manager.metadata if run_manager else {}
        thread = str(about["thread_id"])
        if self.hook:
            await self.hook(thread, sum(isinstance(one, AIMessage) for one in messages))
        now = Tick(wall=time.perf_counter(), cpu=time.process_time(), superstep=int(about["langgraph_step"]))
        self.ticks[thread].append(now)
        if self.pause:
            await asyncio.sleep(self.pause)
        return self._generate(messages, stop)


def script(called: str, steps: int) -> list[AIMessage]:
    """So many calls of a tool, one a turn, and the end."""
    return [*(call(called, 1.0 + at / 1000, at) for at in range(steps)), AIMessage(DONE)]


_ids = count(1)


def call(called: str, amount: float, at: int | None = None) -> AIMessage:
    """One call, with an id that belongs to its place in the script, or that no other call has."""
    id_ = f"call-{at:06}" if at is not None else f"late-{next(_ids):06}"
    arguments = {"account": "4711", "amount": amount}
    return AIMessage("", tool_calls=[{"name": called, "args": arguments, "id": id_, "type": "tool_call"}])


def plain_tools(connection: AsyncConnection[Any], calls: list[float]) -> list[BaseTool]:
    """The tools as an application without Stateward has them; `note` notes down when it was called as well."""

    @plain_tool
    async def note(account: str, amount: float) -> dict[str, float]:
        """Note an amount."""
        calls.append(time.perf_counter())
        return {account: amount}

    @plain_tool
    async def look(account: str, amount: float) -> str:
        """Note an amount, and say a lot."""
        return _filler(account, amount)

    @plain_tool
    async def post(account: str, amount: float) -> dict[str, float]:
        """Post an amount, over a connection that stands open with the application's own login."""
        await connection.execute(_INSERT, (account, amount))
        return {"posted": amount}

    return [note, look, post]


def governed_tools(calls: list[float]) -> list[BaseTool]:
    """The same tools for Stateward."""

    @tool
    async def note(account: str, amount: float) -> dict[str, float]:
        """Note an amount."""
        calls.append(time.perf_counter())
        return {account: amount}

    @tool
    async def look(account: str, amount: float) -> str:
        """Note an amount, and say a lot."""
        return _filler(account, amount)

    @tool(transactional=True)
    async def post(account: str, amount: float, effect: Effect) -> dict[str, float]:
        """Post an amount, over a connection with a login that was made for this call."""
        async with effect.transaction() as work:
            await work.connection.execute(_INSERT, (account, amount))
            work.settle({"posted": amount})
        return {"posted": amount}

    return [note, look, post]


def _filler(account: str, amount: float) -> str:
    """200 characters that do not compress, and are the same in every run."""
    return "".join(random.Random(f"{account} {amount}").choices(string.ascii_letters + string.digits, k=200))
