"""From a person's decision to the tool, and to the end: a long thread in a warm process."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from langchain_core.messages import AIMessage

from benchmarks import job
from benchmarks.agents import OURS, Run, place
from benchmarks.server import private_server
from benchmarks.table import Goal, Table, ratios, spread
from benchmarks.timing import timed, turns


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found of one variant, in milliseconds, one for each repetition.

    Attributes:
        tool: Until the tool that was approved was called.
        end: Until the run's end.
        cpu: The process's CPU until then.
    """

    run: Run
    tool: list[float] = field(default_factory=list[float])
    end: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])


def tables(messages: int, repetitions: int) -> list[Table]:
    """Measure on a private server."""
    with private_server() as server:
        results = asyncio.run(_measure(server.uri, server.home, messages, repetitions))
    return [_table(results, messages, repetitions)]


async def _measure(uri: str, home: Path, messages: int, repetitions: int) -> list[Result]:
    async with place(uri, home / "home") as at:
        # A thread starts with the person's message, and its last one asks: the call that waits is the last message.
        steps, asks = (messages - 2) // 2, [job.call("note", job.BIG), AIMessage(job.DONE)]
        script = [*job.script("look", steps)[:-1], *(asks * (repetitions + 1))]
        runs = [await one.run(script) for one in (at.asking(), at.middleware(), at.workflow())]
        results = [Result(run=run) for run in runs]
        for result in results:
            await result.run.say("go")
            await result.run.approve()
        for result in turns("resume", results, repetitions):
            await _time(result)
    return results


async def _time(result: Result) -> None:
    messages = await result.run.say("once more")
    assert messages[-1].tool_calls  # it waits: the model has asked for something big
    start = 0.0

    async def approve() -> None:
        nonlocal start
        start = time.perf_counter()
        await result.run.approve()

    wall, cpu = await timed(approve)
    result.tool.append((result.run.calls[-1] - start) * 1000)
    result.end.append(wall)
    result.cpu.append(cpu)


def _table(results: Sequence[Result], messages: int, repetitions: int) -> Table:
    base = results[0]
    header = ("variant", "to the tool", "to the end", "CPU", "to the tool, ms", "to the end, ms", "CPU ms")
    rows = [
        (
            one.run.variant.name,
            *(_ratio(one, base, of) for of in ("tool", "end", "cpu")),
            *map(spread, (one.tool, one.end, one.cpu)),
        )
        for one in results
    ]
    notes = [
        f"A thread of {messages} messages waits for an approval. Measured from the decision, which ours writes down "
        f"with its author, in a process that has run the thread before; {repetitions} repetitions on one thread for "
        "each variant, taken in turns, each four messages later. The first columns are ratios to the first variant.",
    ]
    goals = [
        Goal(
            what=f"resume, {one.run.variant.name} / HumanInTheLoop, {said}",
            value=statistics.median(ratios(getattr(one, of), getattr(base, of))),
            bound=0.5,
        )
        for of, said in (("tool", "to the tool"), ("end", "to the end"))
        for one in results
        if one.run.variant.schema == OURS
    ]
    return Table(title=f"Resume at {messages} messages", header=header, rows=rows, notes=notes, goals=goals)


def _ratio(one: Result, base: Result, of: str) -> str:
    return "1" if one is base else spread(ratios(getattr(one, of), getattr(base, of)))
