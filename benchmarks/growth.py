"""What a step costs and leaves behind as its thread grows longer: at message 10, 50, 200, 500."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import AsyncConnection

from benchmarks import job
from benchmarks.agents import OURS, UPSTREAM, Place, Variant, place
from benchmarks.counters import checkpoint_bytes, now, quiet
from benchmarks.server import private_server
from benchmarks.table import Goal, Table, figure, spread
from benchmarks.timing import paces, timed, turns

MESSAGES = (10, 50, 200, 500)
TOTAL = 400
_NEAR = 4  # steps before and after that count as being at a message
_SETTLE = 0.1


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a thread has left at one moment.

    Attributes:
        kept: Bytes in the tables of checkpoints.
        wal: Position in the write-ahead log.
    """

    kept: int
    wal: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found of one variant.

    Attributes:
        sizes: What its thread had left after so many steps.
        wall: For each number of messages, milliseconds of a step, one for each repetition.
        cpu: The same of the process's CPU.
    """

    variant: Variant
    sizes: dict[int, Size]
    wall: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    cpu: dict[int, list[float]] = field(default_factory=dict[int, list[float]])

    def each(self, messages: int, of: str) -> float:
        """Bytes for each step at so many messages."""
        few, many = _around(messages)
        return (getattr(self.sizes[many], of) - getattr(self.sizes[few], of)) / (many - few)


def tables(messages: Sequence[int], repetitions: int) -> list[Table]:
    """Measure on a private server, on one thread for each variant and repetition."""
    with private_server() as server:
        results = asyncio.run(_measure(server.uri, server.home, messages, repetitions))
    saved = [one for one in results if one.variant.schema]
    return [_times(results, messages, repetitions), _bytes(saved, messages)]


async def _measure(uri: str, home: Path, messages: Sequence[int], repetitions: int) -> list[Result]:
    async with (
        place(uri, home / "home") as at,
        await AsyncConnection.connect(uri, autocommit=True) as admin,
    ):
        async with quiet(admin):
            results = [Result(variant=one, sizes=await _sizes(admin, one, messages)) for one in _variants(at)]
        for result in turns("growth", results, repetitions):
            await _time(result, messages)
    return results


def _variants(at: Place) -> list[Variant]:
    return [at.unsaved(), at.plain(), at.middleware(), at.workflow()]


async def _sizes(admin: AsyncConnection, variant: Variant, messages: Sequence[int]) -> dict[int, Size]:
    """Look at the sizes before and after each number of messages, while the thread pauses."""
    if variant.schema is None:
        return {}
    marks = {0, _total(messages) // 2} | {mark for one in messages for mark in _around(one)}
    sizes: dict[int, Size] = {}

    async def look(thread: str, steps: int) -> None:
        if steps in marks:
            await asyncio.sleep(_SETTLE)  # until what is in the background is written
            kept = await checkpoint_bytes(admin, str(variant.schema), thread)
            sizes[steps] = Size(kept=kept, wal=(await now(admin))[1])

    await (await variant.run(job.script("look", max(marks)), hook=look)).go()
    return sizes


async def _time(result: Result, messages: Sequence[int]) -> None:
    run = await result.variant.run(job.script("look", max(messages) // 2 + _NEAR))
    await timed(run.go)
    every = paces(run)
    for one in messages:
        few, many = _around(one)
        result.wall.setdefault(one, []).append(statistics.median(wall for wall, _ in every[few:many]))
        result.cpu.setdefault(one, []).append(statistics.median(cpu for _, cpu in every[few:many]))


def _around(messages: int) -> tuple[int, int]:
    """The steps around a number of messages; a step leaves two."""
    return max(1, messages // 2 - _NEAR), messages // 2 + _NEAR


def _total(messages: Sequence[int]) -> int:
    return min(TOTAL, max(messages))


def _times(results: Sequence[Result], messages: Sequence[int], repetitions: int) -> Table:
    first, last = messages[0], messages[-1]
    header = (
        "variant",
        *(f"CPU ms @{one}" for one in messages),
        f"CPU @{last} / @{first}",
        "beyond no saver",
        *(f"wall ms @{one}" for one in messages),
    )
    rows = [
        (
            one.variant.name,
            *(spread(one.cpu[at]) for at in messages),
            spread(_growth(one, first, last)),
            _added(one, results[0], first, last),
            *(spread(one.wall[at]) for at in messages),
        )
        for one in results
    ]
    goals = [
        Goal(
            what=f"growth, CPU of {one.variant.name} at message {last} / at {first}",
            value=statistics.median(_growth(one, first, last)),
            bound=1.15,
        )
        for one in results
        if one.variant.schema == OURS
    ]
    notes = [
        f"One thread that grows to {last} messages in one run, {repetitions} times for each variant, in turns; a "
        f"figure is the median of the {2 * _NEAR} steps around that message. A tool's result is 200 random characters.",
        "What LangGraph and `create_agent` do by themselves grows too, as the first variant shows: the column beyond "
        "it is what a variant adds to that at the last message, over what it adds at the first.",
    ]
    return Table(title="Growth: time of a step", header=header, rows=rows, notes=notes, goals=goals)


def _growth(result: Result, first: int, last: int) -> list[float]:
    return [late / early for late, early in zip(result.cpu[last], result.cpu[first], strict=True)]


def _added(result: Result, bare: Result, first: int, last: int) -> str:
    if result is bare:
        return ""
    late, early = (statistics.median(result.cpu[at]) - statistics.median(bare.cpu[at]) for at in (last, first))
    return figure(late / early)


def _bytes(results: Sequence[Result], messages: Sequence[int]) -> Table:
    total = _total(messages)
    upstream = next(one for one in results if one.variant.schema == UPSTREAM)
    base = _kept(upstream, total)
    header = (
        "variant",
        *(f"bytes/step @{one}" for one in messages),
        f"kB at {total}",
        "upstream / this",
        *(f"WAL/step @{one}" for one in messages),
    )
    rows = [
        (
            one.variant.name,
            *(f"{one.each(at, 'kept'):.0f}" for at in messages),
            f"{_kept(one, total) / 1000:.0f}",
            "1" if one is upstream else figure(base / _kept(one, total)),
            *(f"{one.each(at, 'wal') / 1000:.1f} kB" for at in messages),
        )
        for one in results
    ]
    goals = [
        Goal(
            what=f"growth, bytes of checkpoints at {total} messages, upstream / {one.variant.name}",
            value=base / _kept(one, total),
            bound=25,
            least=True,
        )
        for one in results
        if one.variant.schema == OURS
    ]
    notes = [
        "Uncompressed bytes in all tables of checkpoints, without indexes. The write-ahead log holds everything that "
        "a step writes: the governed steps' ledger, actions and effects too.",
    ]
    return Table(title="Growth: what a step leaves", header=header, rows=rows, notes=notes, goals=goals)


def _kept(result: Result, messages: int) -> int:
    return result.sizes[messages // 2].kept - result.sizes[0].kept
