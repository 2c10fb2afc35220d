"""A private server in a temporary directory, as durable as any."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from stateward.adapters.embedded import EmbeddedServer


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        uri: Its connection string.
        home: A directory for whatever else is needed; its path is short, as a socket's must be.
        pid: Its process id.
    """

    uri: str
    home: Path
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU of all its processes so far, with those that have ended; in hundredths."""
        parent = psutil.Process(self.pid)
        alive = sum(_cpu(one) for one in parent.children())
        ended = parent.cpu_times()
        return alive + ended.children_user + ended.children_system


@contextmanager
def private_server() -> Iterator[Server]:
    """Start it for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="swb") as place, EmbeddedServer(Path(place, "pg")) as server:
        uri = server.start()
        pid = server.status().pid
        assert pid is not None
        yield Server(uri=uri, home=Path(place), pid=pid)


def _cpu(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:  # it has ended since, and its parent knows what it used
        return 0.0
    return used.user + used.system
