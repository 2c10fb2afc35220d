"""Taking turns: what is compared is measured one after the other, again and again."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from benchmarks.agents import Run

T = TypeVar("T")


def turns(what: str, of: Sequence[T], repetitions: int) -> Iterator[T]:
    """Each in its turn, so many times; who comes first changes, so that nobody always does."""
    for at in range(repetitions):
        first = at % len(of)
        yield from (*of[first:], *of[:first])
        print(f"{what} {at + 1}/{repetitions}", file=sys.stderr)


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Milliseconds of wall time and of this process's CPU."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def paces(run: Run) -> list[tuple[float, float]]:
    """Milliseconds of wall time and of CPU of each step of a run: from one question to the model to the next."""
    return [(_ms(one.wall, two.wall), _ms(one.cpu, two.cpu)) for one, two in pairwise(run.ticks)]


def _ms(earlier: float, later: float) -> float:
    return (later - earlier) * 1000
