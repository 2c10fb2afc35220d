"""What the numbers were measured on: versions and cores, and nothing that names the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version

from benchmarks.table import Table

_PACKAGES = ("stateward", "langgraph", "langgraph-checkpoint-postgres", "langchain", "langchain-core", "psycopg")


def facts() -> Table:
    """The facts of this machine and this environment."""
    rows = [
        (
            "Python",
            f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        ),
        ("cores", str(_cores())),
        ("load, 1 minute", f"{os.getloadavg()[0]:.1f}"),
        ("PostgreSQL", _postgres()),
        *((name, version(name)) for name in _PACKAGES),
    ]
    notes = [
        "The machine may be doing other things: trust exact counts first, then ratios within one run, then CPU time.",
        "Figures with a range are medians, with the smallest and the largest value.",
    ]
    return Table(title="Measured on", header=("what", "which"), rows=rows, notes=notes)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _postgres() -> str:
    # In a process of its own, so that this one imports nothing before it is measured.
    code = "from stateward.adapters import embedded as e; print(e.EmbeddedServer(e.Path('none')).status().version)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return f"{said}, embedded, fsync on, synchronous_commit on, Unix socket"
