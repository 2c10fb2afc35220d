"""`python -m benchmarks [--only step,growth] [--quick] [--markdown FILE]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import imports, machine
from benchmarks.table import Table, summary


def main() -> int:
    """Measure, print, and say by the exit code whether the limits hold; a goal that is missed is only said."""
    arguments = _arguments()
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped then too
    tables: list[Table] = []
    for table in _tables(arguments.only, quick=arguments.quick):
        print(f"{table.markdown()}\n", flush=True)
        tables.append(table)
        if arguments.markdown:
            _write(arguments.markdown, tables)
    print(summary(tables).markdown())
    return 1 if any(table.problems for table in tables) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Stateward, as ratios in one run."
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=[name for name in _PARTS if name not in _LONG],
        metavar="A,B",
        help=f"of {', '.join(_PARTS)}",
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions and short threads: a first look")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in _PARTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(_PARTS)}")
    return names


def _tables(names: Iterable[str], *, quick: bool) -> Iterator[Table]:
    yield machine.facts()
    for name, part in _PARTS.items():
        if name in names:
            yield from part(quick)


def _write(path: Path, tables: list[Table]) -> None:
    facts, *others = tables
    text = "\n\n".join(["# Benchmarks", *(one.markdown() for one in (facts, summary(tables), *others))])
    path.write_text(f"{text}\n", encoding="utf-8")


# Each imports what it measures when it is its turn, and not before.


def _import(quick: bool) -> Iterable[Table]:
    return [imports.table(1 if quick else 3)]


def _start(quick: bool) -> Iterable[Table]:
    from benchmarks import start

    return start.tables(2 if quick else 7)


def _policy(quick: bool) -> Iterable[Table]:
    from benchmarks import policy

    return policy.tables(1000 if quick else 20_000)


def _step(quick: bool) -> Iterable[Table]:
    from benchmarks import step

    return step.tables(10, 3) if quick else step.tables(30, 9)


def _concurrency(quick: bool) -> Iterable[Table]:
    from benchmarks import concurrency

    return concurrency.tables((1, 10, 50), 1) if quick else concurrency.tables((1, 10, 50, 200), 3)


def _growth(quick: bool) -> Iterable[Table]:
    from benchmarks import growth

    return growth.tables((10, 50, 100), 1) if quick else growth.tables(growth.MESSAGES, 5)


def _resume(quick: bool) -> Iterable[Table]:
    from benchmarks import resume

    return resume.tables(100, 3) if quick else resume.tables(500, 9)


def _memory(quick: bool) -> Iterable[Table]:
    from benchmarks import memory

    return memory.tables(10_000, 5 if quick else 30)


def _million(quick: bool) -> Iterable[Table]:
    from benchmarks import memory

    return memory.tables(1_000_000, 5 if quick else 30)


def _demo(quick: bool) -> Iterable[Table]:
    from benchmarks import demo

    return [demo.table(1 if quick else 3)]


_PARTS: dict[str, Callable[[bool], Iterable[Table]]] = {
    "import": _import,
    "start": _start,
    "policy": _policy,
    "step": _step,
    "concurrency": _concurrency,
    "growth": _growth,
    "resume": _resume,
    "memory": _memory,
    "demo": _demo,
    "million": _million,
}
_LONG = ("million",)  # measured only when they are named

if __name__ == "__main__":
    sys.exit(main())
