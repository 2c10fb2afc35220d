"""How long imports take, each in fresh interpreters, and what `import stateward` must not pull in."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.table import Table, figure

LIMIT_SECONDS = 0.4
HEAVY = ("presidio_analyzer", "spacy", "langchain_openai", "boto3", "langgraph")
_STATEMENTS = (
    "import stateward",
    "from stateward import Runtime, Workflow, tool",
    "import stateward.cli.app",
    "import langgraph.graph",
)
_CHILD = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
{statement}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps([wall, cpu, len(sys.modules), [name for name in {heavy!r} if name in sys.modules]]))
"""


@dataclass(frozen=True, kw_only=True)
class Import:
    """One statement's import, the best of some fresh interpreters.

    Attributes:
        wall: Seconds.
        cpu: Seconds of CPU.
        traced: Seconds by `-X importtime`, which slows imports a little.
        modules: How many modules are loaded afterwards.
        heavy: Which of the heavy packages are among them.
    """

    statement: str
    wall: float
    cpu: float
    traced: float
    modules: int
    heavy: tuple[str, ...]


def table(repetitions: int) -> Table:
    """Measure every statement."""
    found = [_measure(statement, repetitions) for statement in _STATEMENTS]
    rows = [
        (
            f"`{one.statement}`",
            _ms(one.wall),
            _ms(one.cpu),
            _ms(one.traced),
            str(one.modules),
            ", ".join(one.heavy) or "none",
        )
        for one in found
    ]
    notes = [
        f"The limit of `import stateward` is {LIMIT_SECONDS} s, without any of {', '.join(HEAVY)}; "
        "what it exports is imported when it is first used, which is the second row.",
        f"Each figure is the best of {repetitions} fresh interpreters, with compiled bytecode.",
    ]
    header = ("statement", "wall", "CPU", "-X importtime", "modules", "heavy ones")
    return Table(title="Import time", header=header, rows=rows, notes=notes, problems=_problems(found[0]))


def _measure(statement: str, repetitions: int) -> Import:
    code = _CHILD.format(statement=statement, heavy=HEAVY)
    _run(code)  # compiles what is not compiled yet
    plain = [json.loads(_run(code).stdout) for _ in range(repetitions)]
    traced = [_traced(_run(statement, "-X", "importtime").stderr) for _ in range(repetitions)]
    return Import(
        statement=statement,
        wall=min(one[0] for one in plain),
        cpu=min(one[1] for one in plain),
        traced=min(traced),
        modules=plain[0][2],
        heavy=tuple(plain[0][3]),
    )


def _run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)


def _traced(report: str) -> float:
    """Seconds over the self times of the modules after the interpreter's own, of which `site` is the last."""
    lines = [[field.strip() for field in line[len("import time:") :].split("|")] for line in report.splitlines()]
    start = next(at for at, line in enumerate(lines) if line[-1] == "site")
    return sum(int(line[0]) for line in lines[start + 1 :] if line[0].isdigit()) / 1e6


def _problems(found: Import) -> list[str]:
    slow = (
        [f"`import stateward` takes {found.wall:.2f} s, over {LIMIT_SECONDS} s"] if found.wall > LIMIT_SECONDS else []
    )
    return slow + [f"`import stateward` imports {name}" for name in found.heavy]


def _ms(seconds: float) -> str:
    return f"{figure(max(seconds, 0) * 1000)} ms"
