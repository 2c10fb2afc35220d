"""How long `stateward demo` takes to its first output and to its end, as a subprocess that nobody types to."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg

from benchmarks.table import Table, spread
from stateward.adapters.embedded import EmbeddedServer

_CLI = (sys.executable, "-m", "stateward.cli.app")
_DEMO = (*_CLI, "demo", "--approve-as", "controller")
_OURS = ("DATABASE_URL", "STATEWARD_", "LANGSMITH_", "LANGCHAIN_")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One subprocess, in seconds."""

    first: float
    first_cpu: float
    total: float
    cpu: float


def table(repetitions: int) -> Table:
    """Run the demo on a running server: a full close on an empty database, and the same period once more."""
    with tempfile.TemporaryDirectory() as place:
        cold = _cold(Path(place, "cold"))
        closes, repeats = _warm(Path(place, "warm"), repetitions)
    rows = [
        _row("full close, server running, empty database", closes),
        _row("the same period again, server running", repeats),
        _row("full close, nothing there yet (server is made and started)", [cold]),
        _row("for comparison: `stateward --version`", [_version() for _ in range(repetitions)]),
    ]
    notes = [
        "`stateward demo --approve-as controller` on the month-end close's sample data, its output into a pipe.",
        "First output is the first byte on stdout; CPU is that of the command's process, without the server's.",
    ]
    header = ("run", "first output", "CPU until then", "complete", "CPU")
    return Table(title="Demo", header=header, rows=rows, notes=notes)


def _cold(place: Path) -> Timing:
    place.mkdir()
    home = {"STATEWARD_HOME": str(place / "home")}
    try:
        return _time(_DEMO, place, home)
    finally:
        subprocess.run([*_CLI, "stop"], env=_environment(home), cwd=place, check=True, stdout=subprocess.DEVNULL)


def _warm(place: Path, repetitions: int) -> tuple[list[Timing], list[Timing]]:
    closes: list[Timing] = []
    repeats: list[Timing] = []
    place.mkdir()
    server = EmbeddedServer(place / "pg")
    uri = server.start()
    try:
        for at in range(repetitions):
            folder = place / f"run{at}"
            folder.mkdir()
            given = {"STATEWARD_HOME": str(folder / "home"), "DATABASE_URL": _database(uri, f"demo{at}")}
            closes.append(_time(_DEMO, folder, given))
            repeats.append(_time(_DEMO, folder, given))
            print(f"demo {at + 1}/{repetitions}", file=sys.stderr)
    finally:
        server.close()
    return closes, repeats


def _version() -> Timing:
    return _time((*_CLI, "--version"), Path(tempfile.gettempdir()), {})


def _time(command: tuple[str, ...], place: Path, given: dict[str, str]) -> Timing:
    """Run it and read its first byte.

    Raises:
        RuntimeError: it failed; the message holds the end of what it said.
    """
    before, start = _children_cpu(), time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            cwd=place,
            env=_environment(given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
        )
        assert process.stdout is not None
        with process.stdout as output:
            said = output.read(1)
            first, first_cpu = time.perf_counter() - start, _cpu(process.pid)
            said += b"".join(iter(lambda: output.read(65536), b""))
        code = process.wait()
        total = time.perf_counter() - start
        errors.seek(0)
        if code:
            raise RuntimeError(f"{' '.join(command[1:])} ended with {code}: {(said + errors.read())[-2000:].decode()}")
    return Timing(first=first, first_cpu=first_cpu, total=total, cpu=_children_cpu() - before)


def _environment(given: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | given


def _cpu(pid: int) -> float:
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.Error:  # it has ended already
        return 0.0
    return used.user + used.system


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _database(uri: str, name: str) -> str:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"create database {name}")  # type: ignore[arg-type]
    return urlsplit(uri)._replace(path=f"/{name}").geturl()


def _row(name: str, timings: list[Timing]) -> tuple[str, ...]:
    columns = zip(*((one.first, one.first_cpu, one.total, one.cpu) for one in timings), strict=True)
    return (name, *(spread(column, " s") for column in columns))
