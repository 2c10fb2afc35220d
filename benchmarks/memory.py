"""Governed memory beside LangGraph's own `AsyncPostgresStore`, which has no tenants, purposes, expiry or trail."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from langgraph.store.base import PutOp
from langgraph.store.postgres import AsyncPostgresStore

from benchmarks.server import Server, private_server
from benchmarks.table import Goal, Table, figure, ratios, spread
from stateward import AsyncRuntime, Settings
from stateward.model.memory import Change, Scope, Search
from stateward.model.thread import ThreadFacts

PUT_GOAL, FILTER_GOAL = 1.3, 1.0
_BATCH, _SUBJECT = 500, 1000
_DAY = timedelta(days=400)


@dataclass
class Bench:
    """Both stores with the same items: a thousand of each subject.

    Attributes:
        scope: Of the subject that is written to and looked for.
        taken: Milliseconds by measurement: plain and governed, in turns.
    """

    runtime: AsyncRuntime
    plain: AsyncPostgresStore
    scopes: Sequence[Scope]
    taken: dict[str, tuple[list[float], list[float]]] = field(
        default_factory=dict[str, tuple[list[float], list[float]]]
    )

    async def fill(self) -> None:
        """Write all items to both."""
        memory = self.runtime.services.memory
        for scope in self.scopes:
            for start in range(0, _SUBJECT, _BATCH):
                numbers = range(start, start + _BATCH)
                puts = [PutOp((scope.subject, "note"), f"k{at}", _value(at)) for at in numbers]
                await self.plain.abatch(puts)
                await memory.change(scope, [_change(f"k{at}", at) for at in numbers])
        async with self.runtime.database.connection() as connection:
            await connection.execute("vacuum analyze")

    async def measure(
        self, name: str, plain: Callable[[], Awaitable[Any]], governed: Callable[[], Awaitable[Any]]
    ) -> None:
        """One of each."""
        found = self.taken.setdefault(name, ([], []))
        for took, work in zip(found, (plain, governed), strict=True):
            began = time.perf_counter()
            await work()
            took.append((time.perf_counter() - began) * 1000)

    async def round(self, at: int) -> None:
        """Every measurement once, about another subject each time."""
        scope, store, memory = self.scopes[at % len(self.scopes)], self.plain, self.runtime.services.memory
        place, number = (scope.subject, "note"), _SUBJECT + at
        await self.measure(
            "put one item",
            lambda: store.aput(place, f"k{number}", _value(number)),
            lambda: memory.change(scope, [_change(f"k{number}", number)]),
        )
        many = range(number * 100, number * 100 + 100)
        await self.measure(
            "put 100 in a batch",
            lambda: store.abatch([PutOp(place, f"m{one}", _value(one)) for one in many]),
            lambda: memory.change(scope, [_change(f"m{one}", one) for one in many]),
        )
        await self.measure(
            "get one item",
            lambda: store.aget(place, "k77"),
            lambda: memory.get(scope, namespace=("note",), key="k77"),
        )
        await self.measure(
            "the 10 newest",
            lambda: store.asearch(place, limit=10),
            lambda: memory.search(scope, Search(prefix=("note",), limit=10)),
        )
        wanted = {"customer": f"c{at % 50}", "amount": {"$gt": 500}}
        await self.measure(
            "the 10 newest by a filter",
            lambda: store.asearch(place, filter=wanted, limit=10),
            lambda: memory.search(scope, Search(prefix=("note",), filter=wanted, limit=10)),
        )


def tables(items: int, repetitions: int) -> list[Table]:
    """Measure at so many items."""
    with private_server() as server:
        bench = asyncio.run(_measured(server, items, repetitions))
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    for name, (plain, governed) in bench.taken.items():
        found = ratios(governed, plain)
        rows.append(
            (name, f"{figure(statistics.median(plain))} ms", f"{figure(statistics.median(governed))} ms", spread(found))
        )
        if name == "put one item":
            goals.append(
                Goal(what=f"a governed put at {items} items, by plain", value=statistics.median(found), bound=PUT_GOAL)
            )
        if name == "the 10 newest by a filter":
            what = f"a governed filtered search at {items} items, by plain"
            goals.append(Goal(what=what, value=statistics.median(found), bound=FILTER_GOAL))
    notes = [
        f"{items} items of {len(bench.scopes)} subjects in each store; each measurement is about one of them in turn.",
        "Governed: row-level security, a ledger entry for each item, former versions, full text. Plain: LangGraph's "
        "AsyncPostgresStore on one connection, without vectors; its filters compare numbers as texts.",
        "The search for personal data is not in it: it depends on the text, and is measured by itself.",
    ]
    header = ("what", "plain", "governed", "ratio")
    return [Table(title=f"Memory at {items} items", header=header, rows=rows, notes=notes, goals=goals)]


async def _measured(server: Server, items: int, repetitions: int) -> Bench:
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(AsyncPostgresStore.from_conn_string(server.uri))
        await plain.setup()
        settings = Settings(home=server.home, database_url=server.uri)
        runtime = await stack.enter_async_context(AsyncRuntime.connect(settings=settings))
        scopes = [await _opened(runtime, at) for at in range(max(1, items // _SUBJECT))]
        bench = Bench(runtime=runtime, plain=plain, scopes=scopes)
        await bench.fill()
        await bench.round(0)
        bench.taken.clear()  # the first of each has plans to make
        for at in range(1, repetitions + 1):
            await bench.round(at)
        return bench


async def _opened(runtime: AsyncRuntime, at: int) -> Scope:
    facts = ThreadFacts(
        thread=f"t{at}", principal="bot", requester="ann", purpose="bench", subject=f"customer-{at}", graph="bench"
    )
    await runtime.services.threads.open(facts)
    return await runtime.services.scope(facts.thread)


def _value(at: int) -> dict[str, Any]:
    text = f"Customer c{at % 50} asked about order {at} and was told that it is on its way"
    return {"text": text, "customer": f"c{at % 50}", "amount": at % 1000, "open": at % 3 == 0}


def _change(key: str, at: int) -> Change:
    return Change(namespace=("note",), key=key, kind="note", value=_value(at), keep=_DAY)
