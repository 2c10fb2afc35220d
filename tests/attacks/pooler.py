"""A PgBouncer of the test's own, before any server that can be reached by a Unix socket."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from surviving import missing

from stateward.adapters import embedded

PORT = 6432


@dataclass
class Pooler:
    """PgBouncer in transaction mode, with few connections, each transaction on the next of them.

    Attributes:
        folder: Its socket, settings and log.
        server: A connection string of the server behind it.
        settings: More of PgBouncer's settings, or others.
    """

    folder: Path
    server: str
    settings: dict[str, str] = field(default_factory=dict[str, str])

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        ini = self.folder / "pgbouncer.ini"
        ini.write_text(self._ini(), encoding="utf-8")
        # It refuses to run as root as well, and has to reach the server's socket.
        command = [*embedded._find_tools().prefix, program(), "--quiet", str(ini)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.url(self.server), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text(encoding="utf-8")
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it as `kill -9` does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Stop it, and have it running again when this returns."""
        self.stop()
        self.start()

    def url(self, server: str) -> str:
        """The same database, reached through it."""
        return make_conninfo(server, host=str(self.folder), port=PORT)

    def _ini(self) -> str:
        server = conninfo_to_dict(self.server)
        behind = f"* = host={server['host']} port={server.get('port', 5432)} user={server['user']}"
        settings = {
            "auth_type": "any",
            "default_pool_size": "4",
            "listen_addr": "",
            "listen_port": str(PORT),
            "logfile": str(self.folder / "log"),
            "max_client_conn": "400",
            "pool_mode": "transaction",
            "server_round_robin": "1",
            "unix_socket_dir": str(self.folder),
        }
        lines = [f"{name} = {value}" for name, value in (settings | self.settings).items()]
        return "\n".join(["[databases]", behind, "[pgbouncer]", *lines, ""])


@contextmanager
def pooler(folder: Path, server: str, **settings: str) -> Iterator[Pooler]:
    """A running PgBouncer."""
    made = Pooler(folder=folder, server=server, settings=settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def program() -> str:
    """Where it is installed; a test that needs it is skipped on a laptop without it, and fails in CI."""
    return _program() or missing("PgBouncer is not installed (Debian: apt-get install pgbouncer)")


def version() -> tuple[int, ...]:
    """Its version, such as (1, 18, 0); that of none is empty."""
    found = _program()
    if found is None:
        return ()
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said.splitlines()[0]))


def _program() -> str | None:
    # Debian puts it where only root's path leads.
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
