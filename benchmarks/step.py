"""The cost of one governed step against the same step on plain `create_agent`, interleaved in one run."""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import AsyncConnection

from benchmarks.agents import Variant, variants
from benchmarks.counters import Counts, Meter, Relay
from benchmarks.table import Table, count, figure, spread
from stateward import Settings
from stateward.adapters.embedded import EmbeddedServer

_WARM_STEPS = 5
_FAMILIES = {
    "note": "Governed step: a write tool without I/O",
    "post": "Governed step: a write tool that inserts one row, with a login of its own for each call",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found of one variant, for each step.

    Attributes:
        wall: Milliseconds, one for each repetition.
        cpu: Milliseconds of the process's CPU, one for each repetition.
    """

    variant: Variant
    counts: Counts
    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])


def tables(steps: int, repetitions: int) -> list[Table]:
    """Measure on a private server in a temporary directory, which is as durable as any."""
    with tempfile.TemporaryDirectory() as place:
        server = EmbeddedServer(Path(place, "pg"))
        uri = server.start()
        try:
            results = asyncio.run(_measure(uri, Path(place), steps, repetitions))
            commit = asyncio.run(_commit_ms(uri))
        finally:
            server.close()
    return [_table(tool, results, steps, repetitions, commit) for tool in _FAMILIES]


async def _measure(uri: str, place: Path, steps: int, repetitions: int) -> list[Result]:
    settings = Settings(home=place / "home")
    counts = await _count(uri, place, settings, steps)
    async with variants(uri, settings) as found:
        results = [Result(variant=one, counts=counted) for one, counted in zip(found, counts, strict=True)]
        for one in found:
            await _timed(one, _WARM_STEPS)
        for at in range(repetitions):
            for result in results:
                wall, cpu = await _timed(result.variant, steps)
                result.wall.append(wall)
                result.cpu.append(cpu)
            print(f"step {at + 1}/{repetitions}", file=sys.stderr)
    return results


async def _timed(variant: Variant, steps: int) -> tuple[float, float]:
    run = await variant.run(steps)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall * 1000 / steps, cpu * 1000 / steps


async def _count(uri: str, place: Path, settings: Settings, steps: int) -> list[Counts]:
    relay = Relay()
    async with (
        relay.listen(uri, place) as relayed,
        variants(relayed, settings) as found,
        await AsyncConnection.connect(uri, autocommit=True) as admin,
    ):
        meter = Meter(admin=admin, relay=relay)
        async with meter.quiet():
            return [await _counted(meter, one, steps) for one in found]


async def _counted(meter: Meter, variant: Variant, steps: int) -> Counts:
    await (await variant.run(_WARM_STEPS))()
    idle = await meter.count(await variant.run(0), variant.schema)
    busy = await meter.count(await variant.run(steps), variant.schema)
    return busy.each(idle, steps)


async def _commit_ms(uri: str) -> float:
    """The best time of an insert with its commit, which is mostly the disk's."""
    async with await AsyncConnection.connect(uri, autocommit=True) as connection:
        best = float("inf")
        for _ in range(200):
            start = time.perf_counter()
            await connection.execute("insert into bench.entry values ('', 0)")
            best = min(best, time.perf_counter() - start)
    return best * 1000


def _table(tool: str, results: Sequence[Result], steps: int, repetitions: int, commit: float) -> Table:
    family = [one for one in results if one.variant.tool == tool]
    base = next(one for one in family if one.variant.schema == "public")
    header = (
        "variant",
        "wall ratio",
        "CPU ratio",
        "wall ms",
        "CPU ms",
        "commits",
        "round trips",
        "logins",
        "supersteps",
        "ledger",
        "WAL",
    )
    notes = [
        f"One step is one tool call: a model turn and a tool turn. {repetitions} repetitions of {steps} steps for each "
        "variant, taken in turns (A, B, A, B, ...); a ratio is of two runs of the same repetition.",
        "Times hold the run's opening and its final answer too; counts are those of the steps alone. Every run with a "
        "saver has durability='sync'.",
        f"The model takes no time. One insert with its commit took {figure(commit)} ms at best on this disk.",
    ]
    return Table(title=_FAMILIES[tool], header=header, rows=[_row(one, base) for one in family], notes=notes)


def _row(result: Result, base: Result) -> tuple[str, ...]:
    counts = result.counts
    exact = (counts.commits, counts.trips, counts.logins, counts.checkpoints, counts.entries)
    return (
        result.variant.name,
        _ratio(result.wall, base.wall, same=result is base),
        _ratio(result.cpu, base.cpu, same=result is base),
        spread(result.wall),
        spread(result.cpu),
        *(count(value) for value in exact),
        f"{counts.wal / 1000:.1f} kB",
    )


def _ratio(values: Sequence[float], base: Sequence[float], *, same: bool) -> str:
    return "1" if same else spread([value / other for value, other in zip(values, base, strict=True)])
