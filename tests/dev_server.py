"""LangGraph's own server, `langgraph dev`, as a developer runs it beside Studio: on an embedded Postgres of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from stateward.adapters.embedded import EmbeddedServer

ROOT = Path(__file__).parents[1]
STARTS_WITHIN, STOPS_WITHIN = 180, 30
_THEIRS = ("STATEWARD_", "DATABASE_", "LANGSMITH_", "LANGCHAIN_")
_OFFLINE = {
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "1",
    "LANGGRAPH_DISABLE_FILE_PERSISTENCE": "true",
    "LANGSMITH_TRACING": "false",
}


@dataclass(frozen=True, kw_only=True)
class DevServer:
    """A server that was started.

    Attributes:
        url: Where it listens.
        home: Stateward's folder.
    """

    url: str
    home: Path

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.home / "server.log"

    def wait_until_up(self) -> None:
        """Fail the test where it does not answer in time."""
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/ok", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        said = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        pytest.fail(f"langgraph dev is not up after {STARTS_WITHIN} s:\n{said}")


@contextmanager
def new_home() -> Iterator[Path]:
    """A folder of a short path: a socket's must not be longer than about 100 characters."""
    home = Path(tempfile.mkdtemp(prefix="sw"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def langgraph_dev(
    home: Path, environment: Mapping[str, str], *, config: Path = ROOT / "langgraph.json", folder: Path = ROOT
) -> Iterator[DevServer]:
    """Start it in a folder; it may not be up yet. At the end it is stopped, and nothing of it runs on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_THEIRS)}
    with (home / "server.log").open("wb") as output:
        process = subprocess.Popen(
            [*command, "--config", str(config)],
            cwd=folder,
            env={**inherited, **_OFFLINE, "STATEWARD_HOME": str(home), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield DevServer(url=f"http://127.0.0.1:{port}", home=home)
    finally:
        _end(process)
        # The last hook that leaves closes the runtime, and with it the embedded server.
        left_running = EmbeddedServer(home / "pg18").stop(force=True)
    assert not left_running


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
