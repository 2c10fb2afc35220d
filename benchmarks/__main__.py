"""`python -m benchmarks [step|import|demo|all] [--markdown FILE]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import imports, machine
from benchmarks.table import Table


def main() -> int:
    """Measure, print, and say by the exit code whether the limits hold."""
    arguments = _arguments()
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped then too
    tables: list[Table] = []
    for table in _tables(arguments):
        print(f"{table.markdown()}\n", flush=True)
        tables.append(table)
        if arguments.markdown:
            text = "\n\n".join(["# Benchmarks", *(one.markdown() for one in tables)])
            arguments.markdown.write_text(f"{text}\n", encoding="utf-8")
    return 1 if any(table.problems for table in tables) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Stateward, as ratios in one run."
    )
    parser.add_argument("what", nargs="?", choices=("step", "import", "demo", "all"), default="all")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--steps", type=int, default=30, help="steps of each run (default: 30)")
    parser.add_argument("--repetitions", type=int, help="default: 9 for step, 3 for import and for demo")
    return parser.parse_args()


def _tables(arguments: argparse.Namespace) -> Iterator[Table]:
    what, repetitions = arguments.what, arguments.repetitions
    yield machine.facts()
    if what in ("import", "all"):
        yield imports.table(repetitions or 3)
    if what in ("step", "all"):
        from benchmarks import step

        yield from step.tables(arguments.steps, repetitions or 9)
    if what in ("demo", "all"):
        from benchmarks import demo

        yield demo.table(repetitions or 3)


if __name__ == "__main__":
    sys.exit(main())
