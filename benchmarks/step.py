"""The cost of one governed step against the same step on plain `create_agent` and on stacked middleware."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import AsyncConnection

from benchmarks import job
from benchmarks.agents import OURS, Place, Variant, place
from benchmarks.counters import WARM_STEPS, Counts, Meter, counted, quiet
from benchmarks.relay import Relay
from benchmarks.server import Server, private_server
from benchmarks.table import Goal, Table, count, figure, ratios, spread
from benchmarks.timing import paces, timed, turns

_DELAY, _DELAYED_STEPS = 0.03, 13
_FAMILIES = {
    "note": "a write tool without I/O",
    "post": "a write tool that inserts one row, with a login of its own for each call",
}


@dataclass(frozen=True, kw_only=True)
class Exact:
    """What does not depend on the machine, for each step.

    Attributes:
        counts: What Postgres saw.
        waits: Round trips that the run waited for, with a model that thinks for longer than a round trip takes.
        waits_at_once: The same with a model that answers at once.
    """

    counts: Counts
    waits: float
    waits_at_once: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found of one variant with one tool, for each step.

    Attributes:
        wall: Milliseconds, one for each repetition.
        cpu: Milliseconds of the process's CPU, one for each repetition.
        server: Milliseconds of the server's CPU, one for each repetition.
        alone: Milliseconds of the median step of a run, one for each repetition.
    """

    variant: Variant
    tool: str
    exact: Exact
    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    server: list[float] = field(default_factory=list[float])
    alone: list[float] = field(default_factory=list[float])


def tables(steps: int, repetitions: int) -> list[Table]:
    """Measure on a private server."""
    with private_server() as server:
        results = asyncio.run(_measure(server, steps, repetitions))
        commit = asyncio.run(_commit_ms(server.uri))
    made: list[Table] = []
    for tool, title in _FAMILIES.items():
        family = [one for one in results if one.tool == tool]
        made += [_times(title, family, steps, repetitions, commit), _counts(title, family)]
    return made


async def _measure(server: Server, steps: int, repetitions: int) -> list[Result]:
    exact = await _count(server.uri, server.home, steps)
    async with place(server.uri, server.home / "home") as at:
        found = zip(_variants(at), exact, strict=True)
        results = [Result(variant=variant, tool=tool, exact=known) for (tool, variant), known in found]
        for one in results:
            await (await one.variant.run(job.script(one.tool, WARM_STEPS))).go()
        for one in turns("step", results, repetitions):
            before = server.cpu()
            await _time(one, steps)
            one.server.append((server.cpu() - before) * 1000 / steps)
    return results


def _variants(at: Place) -> list[tuple[str, Variant]]:
    note = [at.unsaved(), at.plain(), at.stacked(), at.middleware(), at.workflow()]
    post = [at.plain(), at.middleware(), at.workflow()]
    return [*(("note", one) for one in note), *(("post", one) for one in post)]


async def _time(result: Result, steps: int) -> None:
    run = await result.variant.run(job.script(result.tool, steps))
    wall, cpu = await timed(run.go)
    result.wall.append(wall / steps)
    result.cpu.append(cpu / steps)
    result.alone.append(statistics.median(wall for wall, _ in paces(run)))


async def _count(uri: str, home: Path, steps: int) -> list[Exact]:
    relay = Relay()
    async with (
        relay.listen(uri, home) as through,
        place(through, home / "home") as at,
        await AsyncConnection.connect(uri, autocommit=True) as admin,
    ):
        meter = Meter(admin=admin, relay=relay)
        async with quiet(admin):
            return [await _exact(meter, variant, tool, steps) for tool, variant in _variants(at)]


async def _exact(meter: Meter, variant: Variant, tool: str, steps: int) -> Exact:
    counts = await counted(meter, variant, tool, few=2, many=steps + 2)
    return Exact(
        counts=counts,
        waits=await _waits(meter.relay, variant, tool, pause=_DELAY * 2),
        waits_at_once=await _waits(meter.relay, variant, tool, pause=0),
    )


async def _waits(relay: Relay, variant: Variant, tool: str, pause: float) -> float:
    """By how many delays a step takes longer where every answer of the server is late."""
    usual = await _pace(variant, tool, pause)
    relay.delay = _DELAY
    try:
        return max(0.0, await _pace(variant, tool, pause) - usual) / (_DELAY * 1000)
    finally:
        relay.delay = 0


async def _pace(variant: Variant, tool: str, pause: float) -> float:
    run = await variant.run(job.script(tool, _DELAYED_STEPS), pause=pause)
    await run.go()
    # The lower quartile, because whatever else the machine does only makes a step longer.
    return statistics.quantiles((wall for wall, _ in paces(run)), n=4)[0]


async def _commit_ms(uri: str) -> float:
    """The best time of an insert with its commit, which is mostly the disk's."""
    async with await AsyncConnection.connect(uri, autocommit=True) as connection:
        best = float("inf")
        for _ in range(200):
            start = time.perf_counter()
            await connection.execute("insert into bench.entry values ('', 0)")
            best = min(best, time.perf_counter() - start)
    return best * 1000


def _times(title: str, family: Sequence[Result], steps: int, repetitions: int, commit: float) -> Table:
    plain = _named(family, "AsyncPostgresSaver")
    stacked = _named(family, "stacked")
    bases = [(base, word) for word, found in (("", plain), (" / stacked", stacked)) for base in found]
    ratio_columns = [f"{what}{word}" for _, word in bases for what in ("wall", "CPU", "one step")]
    header = ("variant", *ratio_columns, "wall ms", "CPU ms", "one step ms", "server")
    notes = [
        f"Wall, CPU and one step are ratios to {plain[0].variant.name}. A step is one tool call: a model turn and a "
        f"tool turn. {repetitions} repetitions of {steps} steps for each variant, taken in turns; a ratio is of two "
        "runs of the same repetition.",
        "Wall and CPU are those of the whole run, its opening and its final answer too, over its steps; one step is "
        "the wall time of the run's median step, from one question to the model to the next.",
        "Upstream runs with durability='sync'; ours with LangGraph's default, because its saver has its own barriers.",
        "CPU is the client's; server is the mean of the server's CPU in milliseconds, known in steps of 10 ms.",
        f"The model takes no time. One insert with its commit took {figure(commit)} ms at best on this disk.",
    ]
    return Table(
        title=f"Step: {title}",
        header=header,
        rows=[_time_row(one, [base for base, _ in bases]) for one in family],
        notes=notes,
        goals=_time_goals(family, plain, stacked) if stacked else (),
    )


def _named(family: Sequence[Result], word: str) -> list[Result]:
    return [one for one in family if word in one.variant.name]


def _time_row(result: Result, bases: Sequence[Result]) -> tuple[str, ...]:
    cells = [_ratio(result, base, of) for base in bases for of in ("wall", "cpu", "alone")]
    times = [spread(values) for values in (result.wall, result.cpu, result.alone)]
    return (result.variant.name, *cells, *times, figure(statistics.mean(result.server)))


def _ratio(result: Result, base: Result, of: str) -> str:
    return "1" if result is base else spread(ratios(getattr(result, of), getattr(base, of)))


def _time_goals(family: Sequence[Result], plain: Sequence[Result], stacked: Sequence[Result]) -> list[Goal]:
    bounds = [(plain[0], "plain", 0.6), (stacked[0], "stacked", 0.15)]
    return [
        Goal(
            what=f"step, wall of {one.variant.name} / {word}",
            value=statistics.median(ratios(one.wall, base.wall)),
            bound=bound,
        )
        for base, word, bound in bounds
        for one in _ours(family)
    ]


def _ours(family: Sequence[Result]) -> list[Result]:
    return [one for one in family if one.variant.schema == OURS]


def _counts(title: str, family: Sequence[Result]) -> Table:
    header = (
        "variant",
        "commits",
        "statements",
        "round trips",
        "waited for",
        "waited for, instant model",
        "logins",
        "supersteps",
        "ledger",
        "WAL",
    )
    notes = [
        "For each step alone, without the run's opening and end. Commits are transactions that wrote something; "
        "statements and round trips are counted at the socket, those in the background too.",
        f"Waited for: every answer of the server was made {_DELAY * 1000:.0f} ms late; it is the time that a step took "
        "longer, in such delays. The first with a model that takes two delays, behind which background work can hide, "
        "the second with one that answers at once.",
    ]
    goals = [
        goal
        for one in _ours(family)
        for goal in (
            Goal(what=f"step, round trips that {one.variant.name} waits for", value=one.exact.waits, bound=1.1),
            Goal(what=f"step, supersteps of {one.variant.name}", value=one.exact.counts.supersteps, bound=2),
        )
    ]
    rows = [_count_row(one) for one in family]
    own_login = family[0].tool == "post"  # whose login costs what a login costs
    return Table(
        title=f"Step, exact counts: {title}", header=header, rows=rows, notes=notes, goals=() if own_login else goals
    )


def _count_row(result: Result) -> tuple[str, ...]:
    counts, exact = result.exact.counts, result.exact
    before = (counts.commits, counts.statements, counts.trips)
    after = (counts.logins, counts.supersteps, counts.entries)
    waits = (f"{exact.waits:.1f}", f"{exact.waits_at_once:.1f}")
    return (
        result.variant.name,
        *map(count, before),
        *waits,
        *map(count, after),
        f"{counts.wal / 1000:.1f} kB",
    )
