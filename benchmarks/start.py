"""How long a fresh process takes to the end of its first step, on a server that runs already."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.agents import place
from benchmarks.cold import POLICY
from benchmarks.server import private_server
from benchmarks.table import Table, ratios, spread
from benchmarks.timing import turns

_WAYS = {
    "plain": "create_agent + AsyncPostgresSaver",
    "middleware": "create_agent + Stateward",
    "workflow": "Stateward Workflow",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found of one way, in seconds from the process's start, one for each repetition.

    Attributes:
        opened: Until everything was imported and open.
        wall: Until the end of the first step.
        cpu: The process's CPU until then.
    """

    way: str
    opened: list[float] = field(default_factory=list[float])
    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])


def tables(repetitions: int) -> list[Table]:
    """Measure on a private server that has all tables."""
    results = [Result(way=way) for way in _WAYS]
    with private_server() as server:
        asyncio.run(_prepare(server.uri, server.home))
        for result in results:
            _time(Result(way=result.way), server.uri, server.home)  # compiles what is not compiled yet
        for result in turns("start", results, repetitions):
            _time(result, server.uri, server.home)
    return [_table(results, repetitions)]


async def _prepare(uri: str, home: Path) -> None:
    async with place(uri, home / "home"):
        (home / "policy.yaml").write_text(POLICY, encoding="utf-8")


def _time(result: Result, uri: str, home: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.cold", result.way, uri, str(home)]
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        opened = time.perf_counter() - start
        cpu = float(process.stdout.readline())
        wall = time.perf_counter() - start
    assert process.returncode == 0
    result.opened.append(opened)
    result.wall.append(wall)
    result.cpu.append(cpu)


def _table(results: Sequence[Result], repetitions: int) -> Table:
    base = results[0]
    header = ("variant", "wall", "CPU", "opened, s", "first step done, s", "CPU s")
    rows = [
        (
            _WAYS[one.way],
            *("1" if one is base else spread(ratios(getattr(one, of), getattr(base, of))) for of in ("wall", "cpu")),
            *map(spread, (one.opened, one.wall, one.cpu)),
        )
        for one in results
    ]
    notes = [
        "From the start of `python` to the end of a run of one step, imports included; the server runs and has all "
        f"tables. {repetitions} fresh processes for each, taken in turns; the first columns are ratios to the first "
        "variant. Ours looks at its migrations at every start; upstream's `setup()` is left out.",
    ]
    return Table(title="First step of a cold process", header=header, rows=rows, notes=notes)
