"""The embedded server against what happens on real machines: killed processes, odd paths, root, strangers."""

import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from stateward.adapters import embedded
from stateward.adapters.embedded import EmbeddedServer
from stateward.errors import EmbeddedServerError, EmbeddedServerInUse

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded server needs flock")

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
SOURCES = Path(__file__).parents[2] / "src"
CLIENT = """
import sys
from pathlib import Path
from stateward.adapters.embedded import EmbeddedServer
from stateward.errors import EmbeddedServerError
try:
    with EmbeddedServer(Path(sys.argv[1]), durable=False) as server:
        print(server.status().uri, flush=True)
        sys.stdin.readline()
except EmbeddedServerError as error:
    print(error.message, flush=True)
"""
DOCKER_CAPS = (
    "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,"
    "net_bind_service,net_raw,sys_chroot,mknod,audit_write,setfcap"
)

Client = subprocess.Popen[str]
StartClient = Callable[..., Client]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose database was made by a real cold start, for tests that are about something else."""
    root = tmp_path_factory.mktemp("made") / "pg"
    with EmbeddedServer(root, durable=False):
        return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "pg"
    copy_root(made, copy)
    yield copy
    EmbeddedServer(copy).stop(force=True)


@pytest.fixture
def client() -> Iterator[StartClient]:
    """Start other processes that use a server until they are told to end; none outlives the test."""
    started: list[Client] = []

    def start(root: Path, *, python: str = sys.executable, prefix: tuple[str, ...] = (), **env: str) -> Client:
        command = [*prefix, python, "-c", CLIENT, str(root)]
        process = subprocess.Popen(
            command, text=True, cwd="/", env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def copy_root(made: Path, copy: Path) -> None:
    # Not shutil: the copy has to keep its owner when root runs this.
    subprocess.run(["cp", "-a", str(made), str(copy)], check=True)


def said(process: Client) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: Client) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def answer(uri: str) -> object:
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT 6 * 7").fetchone()
    return row and row[0]


def running(root: Path) -> bool:
    return EmbeddedServer(root).status().running


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.005)


def kill_postmaster(root: Path) -> None:
    pid = EmbeddedServer(root).status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not running(root))


def test_cold_start_then_warm_start_keeps_the_data(tmp_path: Path) -> None:
    root = tmp_path / "pg"
    server = EmbeddedServer(root, durable=False)
    before = server.status()
    assert (before.running, before.pid, before.uri) == (False, None, None)
    assert before.version is not None
    assert before.version.startswith("18.")
    assert not root.exists()

    with psycopg.connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT lower('É') AS letter")
    assert server.status().running
    server.close()
    assert not running(root)

    with (
        EmbeddedServer(root, durable=False) as again,
        psycopg.connect(again.status().uri or "") as connection,
    ):
        assert connection.execute("SELECT letter FROM kept").fetchone() == ("é",)


def test_a_durable_server_syncs_and_none_listens_on_tcp(tmp_path: Path) -> None:
    settings = (
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "data_checksums",
        "listen_addresses",
        "max_connections",
    )
    with EmbeddedServer(tmp_path / "pg") as server, psycopg.connect(server.status().uri or "") as connection:
        values = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in settings]
    assert values == [("on",), ("on",), ("on",), ("on",), ("",), ("200",)]


@pytest.mark.parametrize(
    "name", ["a space", 'it\'s "quoted" $HOME `id` \\', "a,comma", "ünï", "long" * 30], ids=str.split
)
def test_awkward_paths(made: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    copy_root(made, root)
    with EmbeddedServer(root, durable=False) as server:
        assert answer(server.status().uri or "") == 42
    assert not running(root)


def test_a_cold_start_in_an_awkward_path(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / 'it\'s "a" $HOME of pg', durable=False) as server:
        assert answer(server.status().uri or "") == 42


def test_a_relative_path_and_the_environment_of_another_server_do_no_harm(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    for name, value in {
        "PGPORT": "6543",
        "PGDATA": "/nowhere",
        "PGHOST": "nowhere",
        "PGUSER": "nobody",
    }.items():
        monkeypatch.setenv(name, value)
    with EmbeddedServer(Path("pg"), durable=False) as server:
        assert answer(server.status().uri or "") == 42


def test_only_its_user_can_reach_data_socket_and_locks(root: Path) -> None:
    with EmbeddedServer(root, durable=False) as server:
        sockets = socket_dir_of(server)
        for path in [root, *root.rglob("*"), sockets, *sockets.iterdir()]:
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_three_cold_at_once_share_one_server_and_the_last_out_stops_it(tmp_path: Path, client: StartClient) -> None:
    root = tmp_path / "pg"
    clients = [client(root) for _ in range(3)]
    uris = {said(process) for process in clients}
    assert len(uris) == 1
    assert answer(uris.pop()) == 42
    for process in clients:
        assert running(root)
        end(process)
    assert not running(root)


def test_after_a_killed_client_the_next_clean_exit_stops_the_server(root: Path, client: StartClient) -> None:
    killed = client(root)
    uri = said(killed)
    killed.kill()
    killed.wait()
    assert running(root)

    successor = client(root)
    assert said(successor) == uri
    end(successor)
    assert not running(root)


def test_a_forgotten_close_is_made_up_for_at_exit(root: Path) -> None:
    forgetful = CLIENT.split("try:", maxsplit=1)[0] + "print(EmbeddedServer(Path(sys.argv[1]), durable=False).start())"
    ended = subprocess.run([sys.executable, "-c", forgetful, str(root)], check=True, capture_output=True, text=True)
    assert ended.stdout.startswith("postgresql://")
    assert ended.stderr == ""
    assert not running(root)


def test_keep_running_leaves_the_server_to_the_next(root: Path) -> None:
    with EmbeddedServer(root, durable=False, keep_running=True) as server:
        pid = server.status().pid
    with EmbeddedServer(root, durable=False, keep_running=True) as server:
        assert server.status().pid == pid
    assert EmbeddedServer(root).stop()
    assert not EmbeddedServer(root).stop()


def test_a_killed_postmaster_is_started_again_by_the_same_instance(root: Path) -> None:
    with EmbeddedServer(root, durable=False) as server:
        with psycopg.connect(server.start()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(server.start()):
            kill_postmaster(root)  # while a connection is open, so that a child outlives it for a moment
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    assert not running(root)


def test_a_process_id_that_now_belongs_to_another_program_does_not_count(root: Path) -> None:
    with EmbeddedServer(root, durable=False, keep_running=True):
        kill_postmaster(root)
    pid_file = root / "data" / "postmaster.pid"
    _, *rest = pid_file.read_text().splitlines(keepends=True)
    pid_file.write_text("".join([f"{os.getpid()}\n", *rest]))
    with EmbeddedServer(root, durable=False) as server:
        assert answer(server.status().uri or "") == 42


def test_an_empty_process_id_file_of_a_full_disk_does_not_count(root: Path) -> None:
    (root / "data" / "postmaster.pid").touch()
    with EmbeddedServer(root, durable=False) as server:
        assert answer(server.status().uri or "") == 42


def test_a_half_made_database_is_thrown_away(tmp_path: Path, client: StartClient) -> None:
    root = tmp_path / "pg"
    killed = client(root)
    wait_for(lambda: list(root.glob("data.*/base/*/PG_VERSION")))
    killed.kill()
    killed.wait()
    assert not (root / "data").exists()

    # The orphaned initdb may still be at work here, which must not matter either.
    with EmbeddedServer(root, durable=False) as server:
        assert answer(server.status().uri or "") == 42
    with EmbeddedServer(root, durable=False):
        assert not list(root.glob("data.*"))


def test_stop_refuses_while_another_process_uses_it_and_force_works(root: Path, client: StartClient) -> None:
    other = client(root)
    uri = said(other)
    server = EmbeddedServer(root, durable=False)
    server.start()
    with pytest.raises(EmbeddedServerInUse, match="in use by another process"):
        server.stop()
    assert answer(uri) == 42

    end(other)
    assert running(root), "the refused stop gave up its own use"
    other = client(root)
    assert said(other) == uri
    assert server.stop(force=True)
    assert not running(root)
    end(other)


def test_a_role_other_than_postgres_needs_its_password(root: Path) -> None:
    with EmbeddedServer(root, durable=False) as server:
        uri = server.status().uri or ""
        with psycopg.connect(uri) as connection:
            connection.execute("CREATE ROLE minted LOGIN PASSWORD 'right'")
            stored = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'minted'").fetchone()
        assert stored is not None
        assert stored[0].startswith("SCRAM-SHA-256$")
        for wrong in ("minted", "minted:wrong", "minted:"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(uri.replace("postgres@", f"{wrong}@", 1))
        with psycopg.connect(uri.replace("postgres@", "minted:right@", 1)) as connection:
            assert connection.execute("SELECT session_user").fetchone() == ("minted",)


def test_without_binaries_it_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", none)
    server = EmbeddedServer(tmp_path / "pg")
    with pytest.raises(EmbeddedServerError, match=r"Alpine.*DATABASE_URL"):
        server.start()
    assert server.status().version is None
    assert not server.root.exists()


def test_on_windows_it_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(tmp_path / "pg")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        with pytest.raises(EmbeddedServerError, match=r"Windows.*DATABASE_URL"):
            server.start()


def test_data_of_another_major_version_is_left_alone(root: Path) -> None:
    (root / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 17, and this is PostgreSQL 18"):
        EmbeddedServer(root, durable=False).start()


def test_a_server_that_cannot_start_shows_the_end_of_its_log_and_gives_up_its_use(root: Path) -> None:
    (root / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        EmbeddedServer(root, durable=False).start()
    (root / "data" / "postgresql.conf").write_text("")
    with EmbeddedServer(root, durable=False, keep_running=True):
        pass
    assert EmbeddedServer(root).stop(), "somebody still counts as a user"


def test_a_directory_in_use_for_something_else_is_neither_closed_nor_used(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "letter.txt").touch()
    with pytest.raises(EmbeddedServerError, match="can be entered by other users"):
        EmbeddedServer(shared, durable=False).start()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_a_socket_directory_planted_in_the_temporary_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A short root that any user can write to, as the temporary directory is.
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        server = EmbeddedServer(tmp_path / ("long" * 30), durable=False)
        sockets = socket_dir_of(server)
        assert sockets.is_relative_to(temporary)
        sockets.parent.symlink_to(tmp_path)
        with pytest.raises(EmbeddedServerError, match="is not a directory of this user"):
            server.start()
        assert not (tmp_path / "s").exists()


def socket_dir_of(server: EmbeddedServer) -> Path:
    return embedded._socket_dir(server.root)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
class TestAsRoot:
    """Root may use it, at no cost to the machine."""

    def test_modes_and_owners_above_stay_as_they_were(self, tmp_path: Path) -> None:
        above = tmp_path / "closed" / "deeper"
        above.mkdir(parents=True, mode=0o700)
        looked_at = [*above.parents, above, Path(sys.prefix), *Path(sys.prefix).parents]
        before = [(path.stat().st_mode, path.stat().st_uid) for path in looked_at]
        with EmbeddedServer(above / "pg", durable=False) as server:
            assert answer(server.status().uri or "") == 42
        assert [(path.stat().st_mode, path.stat().st_uid) for path in looked_at] == before
        assert (above / "pg").stat().st_uid == 0

    def test_the_capabilities_of_a_docker_container_suffice(self, root: Path, client: StartClient) -> None:
        caps = ",".join(["-all", *(f"+{cap}" for cap in DOCKER_CAPS.split(","))])
        process = client(root, prefix=("setpriv", f"--bounding-set={caps}", "--inh-caps=-all"))
        assert answer(said(process)) == 42
        end(process)

    def test_without_the_capability_it_names_the_way_out(self, root: Path, client: StartClient) -> None:
        process = client(root, prefix=("setpriv", "--bounding-set=-setpcap", "--inh-caps=-all"))
        assert said(process).endswith("Set DATABASE_URL or run as a normal user.")

    def test_without_setpriv_it_names_the_way_out(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        server = EmbeddedServer(root, durable=False)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(EmbeddedServerError, match="DATABASE_URL or run as a normal user"):
            server.start()

    def test_an_ordinary_user_has_a_server_beside_that_of_root(self, root: Path, client: StartClient) -> None:
        nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
        path = os.pathsep.join([str(SOURCES), *(entry for entry in sys.path if entry.endswith("site-packages"))])
        env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        python = python_for(nobody, env)
        home = Path(tempfile.mkdtemp(dir="/tmp"))
        try:
            shutil.chown(home, "nobody")
            with EmbeddedServer(root, durable=False) as server:
                # Long, so that its socket goes to the temporary directory that all users share.
                process = client(home / ("long" * 30), python=python, prefix=nobody, **env)
                uri = said(process)
                assert uri.startswith("postgresql://")
                assert answer(uri) == 42
                assert answer(server.status().uri or "") == 42
                end(process)
        finally:
            shutil.rmtree(home)

    def test_the_directory_of_another_user_is_refused(self, tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        shutil.chown(theirs, "nobody")
        with pytest.raises(EmbeddedServerError, match="is not a directory of this user"):
            EmbeddedServer(theirs, durable=False).start()


def python_for(prefix: tuple[str, ...], env: dict[str, str]) -> str:
    """Find a Python that another user may run; that of a virtual environment may lie below a closed home."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        command = [*prefix, python, "-c", "import stateward.adapters.embedded"]
        with contextlib.suppress(OSError):
            if subprocess.run(command, cwd="/", env=os.environ | env, capture_output=True, check=False).returncode == 0:
                return python
    pytest.skip("no Python here that an ordinary user may run with these packages")
