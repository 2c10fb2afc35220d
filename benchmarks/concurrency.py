"""Steps per second of many threads at once in one process."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import job
from benchmarks.agents import OURS, POOL, UPSTREAM, Run, Variant, place
from benchmarks.server import private_server
from benchmarks.table import Goal, Table, ratios, spread
from benchmarks.timing import paces, timed, turns

_STEPS = {1: 40, 10: 10, 50: 6, 200: 6}  # of each thread
_WARM_STEPS = 8


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found of one variant with so many threads.

    Attributes:
        rate: Steps per second, one for each repetition.
        cpu: Milliseconds of the process's CPU for each step, one for each repetition.
        latency: Milliseconds of every step, from one question to the model to the next.
    """

    variant: Variant
    threads: int
    rate: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    latency: list[float] = field(default_factory=list[float])

    def percentile(self, hundredth: int) -> float:
        """A percentile of the latency."""
        return statistics.quantiles(self.latency, n=100, method="inclusive")[hundredth - 1]


def tables(threads: Sequence[int], repetitions: int) -> list[Table]:
    """Measure on a private server."""
    with private_server() as server:
        results = asyncio.run(_measure(server.uri, server.home, threads, repetitions))
    return [_table([one for one in results if one.threads == many], repetitions) for many in threads]


async def _measure(uri: str, home: Path, threads: Sequence[int], repetitions: int) -> list[Result]:
    async with place(uri, home / "home", pool=True) as at:
        variants = [at.plain(), at.unsaved(), at.middleware(), at.workflow()]
        results = [Result(variant=variant, threads=many) for many in threads for variant in variants]
        for variant in variants:
            await _together(await variant.runs(job.script("note", _WARM_STEPS), threads=POOL))
        for many in threads:
            family = [one for one in results if one.threads == many]
            for result in turns(f"concurrency {many}", family, repetitions):
                await _time(result)
    return results


async def _time(result: Result) -> None:
    steps = _STEPS.get(result.threads, 6)
    runs = await result.variant.runs(job.script("note", steps), threads=result.threads)
    wall, cpu = await timed(lambda: _together(runs))
    done = steps * result.threads
    result.rate.append(done * 1000 / wall)
    result.cpu.append(cpu / done)
    result.latency.extend(wall for run in runs for wall, _ in paces(run))


async def _together(runs: Sequence[Run]) -> None:
    await asyncio.gather(*(run.go() for run in runs))


def _table(family: Sequence[Result], repetitions: int) -> Table:
    many = family[0].threads
    saved = next(one for one in family if one.variant.schema == UPSTREAM)
    bare = next(one for one in family if one.variant.schema is None)
    header = ("variant", "steps/s", "/ AsyncPostgresSaver", "/ no saver", "p50 ms", "p95 ms", "CPU ms")
    rows = [
        (
            one.variant.name,
            spread(one.rate),
            _ratio(one, saved),
            _ratio(one, bare),
            *(f"{one.percentile(at):.0f}" for at in (50, 95)),
            spread(one.cpu),
        )
        for one in family
    ]
    notes = [
        f"{many} {_threads(many)} of one graph in one process, started together, {_STEPS.get(many, 6)} steps each; "
        f"{repetitions} repetitions, taken in turns. p50 and p95 are of a step's latency, CPU is for each step.",
        f"All threads of upstream share one AsyncPostgresSaver on a pool of {POOL} connections with durability='sync'; "
        f"ours has a pool of {POOL} too.",
    ]
    return Table(
        title=f"Concurrency: {many} {_threads(many)}",
        header=header,
        rows=rows,
        notes=notes,
        goals=_goals(family, saved, bare),
    )


def _threads(many: int) -> str:
    return "thread" if many == 1 else "threads"


def _ratio(one: Result, base: Result) -> str:
    return "1" if one is base else spread(ratios(one.rate, base.rate))


def _goals(family: Sequence[Result], saved: Result, bare: Result) -> list[Goal]:
    if saved.threads < 50:
        return []
    return [
        Goal(
            what=f"steps/s at {one.threads} threads, {one.variant.name} / {word}",
            value=statistics.median(ratios(one.rate, base.rate)),
            bound=bound,
            least=True,
        )
        for base, word, bound in ((saved, "AsyncPostgresSaver", 3), (bare, "no saver", 0.55))
        for one in family
        if one.variant.schema == OURS
    ]
