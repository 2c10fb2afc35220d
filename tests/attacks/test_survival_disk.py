"""It survives: a full disk. What cannot be kept is said before anything happens, and made up for when there is room."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from langchain_core.messages import AIMessage
from surviving import WRITES, Journey, OwnServer, Town, journey, once, own_databases, town_on

from bank import start
from stateward import StatewardError, call
from stateward.testing import proposes

# Every table of ours refuses new rows as long as the switch is on, with the error of a disk that is full.
NO_ROOM = """
create table public.disk (is_full boolean not null);
insert into public.disk values (false);
grant select on public.disk to public;
create function public.no_room() returns trigger language plpgsql as $$
begin
    if (select is_full from public.disk) then
        raise exception 'could not extend file "base/5/16384": No space left on device' using errcode = '53100';
    end if;
    return new;
end $$;
do $$
declare
    t record;
begin
    for t in select tablename from pg_tables where schemaname = 'stateward' loop
        execute 'create trigger no_room before insert on stateward.' || quote_ident(t.tablename)
                || ' for each row execute function public.no_room()';
    end loop;
end $$;
"""


@dataclass
class Disk:
    """A disk that may be full."""

    town: Town

    def fill(self) -> None:
        self.town.rows("update public.disk set is_full = true")

    def free(self) -> None:
        self.town.rows("update public.disk set is_full = false")


@pytest.fixture
def town(database_url: str, tmp_path: Path) -> Iterator[Town]:
    with town_on(database_url, tmp_path, pool_size=4) as made:
        made.rows(NO_ROOM)
        yield made


@pytest.fixture
def disk(town: Town) -> Disk:
    return Disk(town)


def fails(case: Journey) -> StatewardError:
    """The run ends with an error that names the cause."""
    with pytest.raises(StatewardError, match="No space left on device") as said:
        start(case.graph, case.config)
    return said.value


@pytest.mark.parametrize("name", WRITES)
def test_a_disk_that_is_full_before_the_write(town: Town, disk: Disk, name: str) -> None:
    town.thinks = once(disk.fill)
    case = journey(town, [call(name, amount=7)])
    fails(case)
    assert town.keys(name).total() == 0
    disk.free()
    case.go()
    town.assert_once(**{name: 1})


@pytest.mark.parametrize("name", WRITES)
def test_a_disk_that_is_full_after_the_write(town: Town, disk: Disk, name: str) -> None:
    town.during = once(disk.fill)
    case = journey(town, [call(name, amount=7)], [call("renew", amount=8)])
    with pytest.raises(StatewardError, match="No space left on device"):
        start(case.graph, case.config)
    assert town.keys(name).total() == (name != "post")  # its transaction could not settle, and was rolled back
    with contextlib.suppress(StatewardError):
        town.runtime.resume(case.graph, case.thread)
    assert town.keys(name).total() == (name != "post")
    disk.free()
    case.go()
    town.assert_once(**({"renew": 1, name: 1} if name != "renew" else {"renew": 2}))


def test_a_disk_that_is_full_when_people_are_asked(town: Town, disk: Disk) -> None:
    """Nobody is shown a question that is not kept."""
    town.thinks = once(disk.fill)
    case = journey(town, [call("pay", amount=500)])
    fails(case)
    assert town.runtime.approvals(thread=case.thread) == []
    disk.free()
    case.go()
    town.assert_once(pay=1)


# A disk that is full indeed.

BALLAST = "ballast"


@dataclass
class SmallDisk:
    """A file system of a few megabytes that holds the data directory."""

    where: Path

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.where / BALLAST).open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def free(self) -> None:
        (self.where / BALLAST).unlink(missing_ok=True)


@pytest.fixture
def small() -> Iterator[SmallDisk]:
    """A small file system; only root may mount one. The tests above stand in for it elsewhere."""
    where = Path(tempfile.mkdtemp(prefix="sw"))
    command = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "none", str(where)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
        if not mounted:
            pytest.skip("a file system cannot be mounted here")
        try:
            yield SmallDisk(where)
        finally:
            subprocess.run(["umount", "--lazy", str(where)], check=True)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def noise(seed: int) -> str:
    """A text that cannot be compressed, so that it needs new room."""
    return random.Random(seed).randbytes(300_000).hex()


def talkative(name: str, seed: int) -> AIMessage:
    """A turn whose checkpoint is larger than what is left in the files that are there."""
    return proposes(call(name, amount=7), text=noise(seed))


@pytest.mark.parametrize("name", ["pay", "post"])
def test_a_full_file_system_before_the_write(small: SmallDisk, tmp_path: Path, name: str) -> None:
    with on_small_disk(small, tmp_path) as (_, town):
        town.thinks = once(small.fill)
        case = journey(town, talkative(name, 1))
        fails(case)
        assert town.keys(name).total() == 0
        small.free()
        case.go()
        town.assert_once(**{name: 1})


def test_a_full_file_system_after_the_write(small: SmallDisk, tmp_path: Path) -> None:
    with on_small_disk(small, tmp_path) as (_, town):
        town.during = once(small.fill)
        case = journey(town, talkative("pay", 1), talkative("renew", 2))
        fails(case)
        assert (town.keys("pay").total(), town.keys("renew").total()) == (1, 0)
        small.free()
        case.go()
        town.assert_once(pay=1, renew=1)


def test_no_room_for_the_log_that_postgres_writes_ahead(small: SmallDisk, tmp_path: Path) -> None:
    """Postgres itself goes down then."""
    with on_small_disk(small, tmp_path) as (server, town):

        def fill() -> None:
            small.fill()
            with pytest.raises(psycopg.OperationalError):
                write_ahead(town.url)

        town.thinks = once(fill)
        case = journey(town, talkative("pay", 1))
        with pytest.raises(StatewardError):
            start(case.graph, case.config)
        assert town.keys("pay").total() == 0
        assert "PANIC" in (small.where / "pg" / "data" / "server.log").read_text(encoding="utf-8", errors="replace")
        small.free()
        server.start()
        case.go()
        town.assert_once(pay=1)


def write_ahead(url: str) -> None:
    """Fill the log until it needs a new file."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(300):
            connection.execute("select pg_logical_emit_message(true, 'noise', repeat('x', 1000000))")


@contextlib.contextmanager
def on_small_disk(small: SmallDisk, home: Path) -> Iterator[tuple[OwnServer, Town]]:
    with own_databases(small.where / "pg", home) as (server, databases), databases.fresh() as url:
        try:
            with town_on(url, home, pool_size=4) as town:
                yield server, town
        finally:
            small.free()
            server.start()
