"""The table of data keys: one key for a thread whoever races, bound to it, wrapped anew while others work."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from stateward.adapters.keyring import LocalKeyring, key_id, open_keyring
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
from stateward.adapters.rings import split
from stateward.cli.app import app
from stateward.errors import KeyringError, SealBroken, ThreadErased

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


class CountingRing:
    """The local ring, which counts what is asked of it, and may be told to be slow or to stop."""

    def __init__(self, *keys: bytes) -> None:
        self.inner = LocalKeyring.from_environment(",".join(map(text, keys)))
        self.wrapped = self.unwrapped = 0
        self.stop_after = -1
        self.asked = asyncio.Event()

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        if self.wrapped == self.stop_after:
            raise ConnectionError("killed")
        self.wrapped += 1
        await asyncio.sleep(0)
        return await self.inner.wrap(key, context=context)

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        self.unwrapped += 1
        self.asked.set()
        await asyncio.sleep(0)
        return await self.inner.unwrap(wrapped, context=context)

    def is_current(self, wrapped: bytes) -> bool:
        return self.inner.is_current(wrapped)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, size=5)
    await opened.open()
    yield opened
    await opened.close()


def execute(url: str, text: str, *values: object) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        done = connection.execute(text, values)  # pyright: ignore[reportArgumentType]
        return done.fetchall() if done.description else []


def wrappings(url: str) -> dict[tuple[str, int], bytes]:
    rows = execute(url, "select thread_id, generation, wrapped from stateward.data_key")
    return {(thread, generation): wrapped for thread, generation, wrapped in rows}


def masters(url: str) -> set[str]:
    return {split(wrapped, context="")[0].master for wrapped in wrappings(url).values()}


async def test_a_thread_without_a_key_has_no_sealer(database: Database) -> None:
    keys = DataKeys(database, CountingRing(NEW))
    assert await keys.of("t") is None
    sealer = await keys.make("t")
    assert await keys.of("t") is sealer


async def test_another_process_opens_what_was_sealed(database: Database) -> None:
    sealed = (await DataKeys(database, CountingRing(NEW)).make("t")).seal(b"value", "table", "t")
    other = await DataKeys(database, CountingRing(NEW)).of("t")
    assert other is not None
    assert other.open(sealed, "table", "t") == b"value"


async def test_many_first_uses_in_one_process_make_one_key(database: Database) -> None:
    ring = CountingRing(NEW)
    keys = DataKeys(database, ring)
    sealers = await asyncio.gather(*(keys.make("t") for _ in range(20)), *(keys.of("u") for _ in range(20)))
    assert len(set(map(id, sealers[:20]))) == 1
    assert ring.wrapped == 1
    assert len(wrappings(database.uri)) == 1


async def test_a_caller_that_is_cancelled_does_not_spoil_it_for_others(database: Database) -> None:
    keys = DataKeys(database, CountingRing(NEW))
    first = asyncio.create_task(keys.make("t"))
    others = [asyncio.create_task(keys.make("t")) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    assert len(set(map(id, await asyncio.gather(*others)))) == 1
    assert len(wrappings(database.uri)) == 1


async def test_first_uses_from_many_databases_make_one_key(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        found: list[DataKeys] = []
        for _ in range(4):
            database = Database(database_url, size=3)
            await database.open()
            stack.push_async_callback(database.close)
            found.append(DataKeys(database, CountingRing(NEW)))
        for number in range(10):
            thread = f"t-{number}"
            sealers = await asyncio.gather(*(keys.make(thread) for keys in found))
            sealed = [sealer.seal(b"value", thread) for sealer in sealers]
            assert {sealer.open(one, thread) for sealer in sealers for one in sealed} == {b"value"}
    assert len(wrappings(database_url)) == 10


async def test_a_cold_thread_is_unwrapped_once(database: Database) -> None:
    await DataKeys(database, CountingRing(NEW)).make("t")
    ring = CountingRing(NEW)
    keys = DataKeys(database, ring)
    await asyncio.gather(*(keys.of("t") for _ in range(10)))
    assert ring.unwrapped == 1


async def test_only_the_last_used_threads_are_kept(database: Database) -> None:
    ring = CountingRing(NEW)
    keys = DataKeys(database, ring, kept=2)
    for thread in ("a", "b", "a", "c"):
        await keys.make(thread)
    before = ring.unwrapped
    await keys.of("a")
    await keys.of("c")
    assert ring.unwrapped == before
    await keys.of("b")
    assert ring.unwrapped == before + 1


async def test_what_is_forgotten_is_read_anew(database: Database) -> None:
    keys = DataKeys(database, CountingRing(NEW))
    await keys.make("t")
    execute(database.uri, "delete from stateward.data_key")
    assert await keys.of("t") is not None
    keys.forget("t")
    assert await keys.of("t") is None


async def test_forgetting_counts_for_those_who_are_reading(database: Database) -> None:
    await DataKeys(database, CountingRing(NEW)).make("t")
    ring = CountingRing(NEW)
    keys = DataKeys(database, ring)
    reading = asyncio.create_task(keys.of("t"))
    await ring.asked.wait()
    execute(database.uri, "delete from stateward.data_key")
    keys.forget("t")
    await reading
    assert await keys.of("t") is None


async def test_rows_that_were_swapped_are_refused(database: Database) -> None:
    keys = DataKeys(database, CountingRing(NEW))
    await keys.make("a")
    await keys.make("b")
    was = wrappings(database.uri)
    for thread, other in (("a", "b"), ("b", "a")):
        execute(
            database.uri, "update stateward.data_key set wrapped = %s where thread_id = %s", was[(other, 1)], thread
        )
        keys.forget(thread)
        with pytest.raises(KeyringError, match=f"thread:{thread} cannot be unwrapped"):
            await keys.of(thread)
        with pytest.raises(KeyringError):
            await keys.make(thread)


async def test_an_erased_thread_gets_no_new_key(database: Database) -> None:
    keys = DataKeys(database, CountingRing(NEW))
    execute(
        database.uri, "insert into stateward.checkpoint_thread (thread_id, erased_at) values ('t', clock_timestamp())"
    )
    for refused in (keys.make("t"), keys.renew("t")):
        with pytest.raises(ThreadErased):
            await refused
    assert wrappings(database.uri) == {}


async def test_a_renewed_key_seals_and_the_old_one_still_opens(database: Database) -> None:
    keys = DataKeys(database, CountingRing(NEW))
    first = await keys.make("t")
    before = first.seal(b"before", "t")
    second = await keys.renew("t")
    assert await keys.of("t") is second
    after = second.seal(b"after", "t")
    assert (second.open(before, "t"), second.open(after, "t")) == (b"before", b"after")
    with pytest.raises(SealBroken, match="a key that is not there"):
        first.open(after, "t")
    assert set(wrappings(database.uri)) == {("t", 1), ("t", 2)}


async def test_a_thread_without_a_key_is_renewed_to_its_first(database: Database) -> None:
    await DataKeys(database, CountingRing(NEW)).renew("t")
    assert set(wrappings(database.uri)) == {("t", 1)}


async def test_renewals_at_once_leave_a_sealer_that_opens_everything(database: Database) -> None:
    rings = [DataKeys(database, CountingRing(NEW)) for _ in range(3)]
    await rings[0].make("t")
    sealers = await asyncio.gather(*(keys.renew("t") for keys in rings))
    sealed = [sealer.seal(b"value", "t") for sealer in sealers]
    last = await DataKeys(database, CountingRing(NEW)).of("t")
    assert last is not None
    assert {last.open(one, "t") for one in sealed} == {b"value"}


async def fill(database: Database, count: int, *, ring: CountingRing) -> dict[str, bytes]:
    """Threads with a data key, and a value that each has sealed."""
    keys = DataKeys(database, ring)
    return {name: (await keys.make(name)).seal(name.encode(), name) for name in [f"t-{n:03}" for n in range(count)]}


async def check(database: Database, sealed: dict[str, bytes], ring: CountingRing) -> None:
    keys = DataKeys(database, ring)
    for name, value in sealed.items():
        sealer = await keys.of(name)
        assert sealer is not None
        assert sealer.open(value, name) == name.encode()


async def test_rewrapping_takes_all_and_changes_no_data_key(database: Database) -> None:
    sealed = await fill(database, 25, ring=CountingRing(OLD))
    assert await DataKeys(database, CountingRing(NEW, OLD)).rewrap(batch=4) == 25
    assert masters(database.uri) == {key_id(NEW)}
    await check(database, sealed, CountingRing(NEW))
    assert await DataKeys(database, CountingRing(NEW, OLD)).rewrap(batch=4) == 0


async def test_a_rewrapping_that_was_cut_off_goes_on(database: Database) -> None:
    sealed = await fill(database, 20, ring=CountingRing(OLD))
    ring = CountingRing(NEW, OLD)
    ring.stop_after = 11
    with pytest.raises(ConnectionError):
        await DataKeys(database, ring).rewrap(batch=5)
    assert masters(database.uri) == {key_id(OLD), key_id(NEW)}
    await check(database, sealed, CountingRing(NEW, OLD))
    assert await DataKeys(database, CountingRing(NEW, OLD)).rewrap(batch=5) == 10
    await check(database, sealed, CountingRing(NEW))


async def test_two_rewrappings_at_once_do_not_hurt(database: Database) -> None:
    sealed = await fill(database, 60, ring=CountingRing(OLD))
    both = [DataKeys(database, CountingRing(NEW, OLD)) for _ in range(3)]
    assert sum(await asyncio.gather(*(keys.rewrap(batch=7) for keys in both))) == 60
    await check(database, sealed, CountingRing(NEW))


async def test_others_work_while_it_is_rewrapped(database: Database) -> None:
    sealed = await fill(database, 30, ring=CountingRing(OLD))
    ring = CountingRing(NEW, OLD)
    keys, others = DataKeys(database, ring), DataKeys(database, CountingRing(NEW, OLD))
    rewrapping = asyncio.create_task(keys.rewrap(batch=3))
    for number in range(30):
        await others.make(f"u-{number}")
        await others.renew(f"t-{number:03}")
        await asyncio.sleep(0)
    await rewrapping
    await keys.rewrap()
    assert masters(database.uri) == {key_id(NEW)}
    await check(database, sealed, CountingRing(NEW))


class MeddlingRing(CountingRing):
    """Lets somebody else change the table between the look at a row and its new wrapping."""

    def __init__(self, *keys: bytes, meddle: Any) -> None:
        super().__init__(*keys)
        self.meddle = meddle

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        self.meddle(context)
        return await super().wrap(key, context=context)


async def test_a_key_that_goes_meanwhile_does_not_come_back(database: Database) -> None:
    await fill(database, 3, ring=CountingRing(OLD))

    def meddle(context: str) -> None:
        if context == "thread:t-001":
            execute(database.uri, "delete from stateward.data_key where thread_id = 't-001'")

    assert await DataKeys(database, MeddlingRing(NEW, OLD, meddle=meddle)).rewrap() == 2
    assert {thread for thread, _ in wrappings(database.uri)} == {"t-000", "t-002"}


async def test_a_row_that_changes_meanwhile_keeps_its_change(database: Database) -> None:
    await fill(database, 1, ring=CountingRing(OLD))

    def meddle(_: str) -> None:
        execute(database.uri, "update stateward.data_key set wrapped = %s", b"changed")

    assert await DataKeys(database, MeddlingRing(NEW, OLD, meddle=meddle)).rewrap() == 0
    assert set(wrappings(database.uri).values()) == {b"changed"}


async def test_a_damaged_row_does_not_keep_the_others_back(database: Database) -> None:
    sealed = await fill(database, 10, ring=CountingRing(OLD))
    execute(database.uri, "update stateward.data_key set wrapped = %s where thread_id = %s", b"junk", "t-004")
    with pytest.raises(KeyringError, match=r"^\[SW820\] 9 data keys were wrapped anew. Those of t-004 could not be"):
        await DataKeys(database, CountingRing(NEW, OLD)).rewrap(batch=3)
    del sealed["t-004"]
    await check(database, sealed, CountingRing(NEW))
    assert await DataKeys(database, CountingRing(NEW)).count() == {key_id(NEW): 9, "": 1}


async def test_a_ring_that_fails_is_not_tried_for_ever(database: Database) -> None:
    await fill(database, 60, ring=CountingRing(OLD))
    ring = CountingRing(NEW)
    with pytest.raises(KeyringError, match=r"0 data keys.*MASTER KEY MISSING.*the rest was not tried"):
        await DataKeys(database, ring).rewrap(batch=50)
    assert ring.unwrapped == 21
    assert masters(database.uri) == {key_id(OLD)}


async def test_a_lost_master_key_is_said_at_the_start(database: Database) -> None:
    await DataKeys(database, CountingRing(NEW)).probe()
    await fill(database, 1, ring=CountingRing(OLD))
    await DataKeys(database, CountingRing(NEW, OLD)).probe()
    with pytest.raises(KeyringError) as caught:
        await DataKeys(database, CountingRing(NEW)).probe()
    assert key_id(OLD) in str(caught.value)
    assert key_id(NEW) in str(caught.value)


async def test_each_master_key_is_counted(database: Database) -> None:
    await fill(database, 3, ring=CountingRing(OLD))
    await DataKeys(database, CountingRing(NEW, OLD)).make("other")
    for thread, junk in (("x", b""), ("y", b"\1"), ("z", b"\1\377\377abc"), ("w", b"plain text")):
        execute(database.uri, "insert into stateward.data_key values (%s, 1, %s)", thread, junk)
    assert await DataKeys(database, CountingRing(NEW)).count() == {key_id(OLD): 3, key_id(NEW): 1, "": 4}


@pytest.mark.parametrize("thread", ["", "a:b", "thread:t", "ü 😀", "x" * 1000, "a'b\"c"])
async def test_any_name_of_a_thread_will_do(database: Database, thread: str) -> None:
    sealed = (await DataKeys(database, CountingRing(OLD)).make(thread)).seal(b"value", thread)
    assert await DataKeys(database, CountingRing(NEW, OLD)).rewrap() == 1
    await DataKeys(database, CountingRing(NEW)).probe()
    sealer = await DataKeys(database, CountingRing(NEW)).of(thread)
    assert sealer is not None
    assert sealer.open(sealed, thread) == b"value"


ROTATE = """
import asyncio, sys
from pathlib import Path
from stateward.adapters.keyring import LocalKeyring
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
async def main():
    database = Database(sys.argv[1])
    await database.open()
    ring = LocalKeyring.from_file(Path(sys.argv[2]))
    await ring.rotate()
    print("rotated", flush=True)
    await DataKeys(database, ring).rewrap(batch=2)
asyncio.run(main())
"""


async def test_a_rotation_that_is_killed_is_made_good_by_the_next(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    ring = LocalKeyring.from_file(file)
    keys = DataKeys(database, ring)
    sealed = {name: (await keys.make(name)).seal(b"value", name) for name in [f"t-{n:03}" for n in range(150)]}
    old = (await ring.facts()).keys
    command = [sys.executable, "-c", ROTATE, database.uri, str(file)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout
    await process.stdout.readline()
    while len(masters(database.uri)) < 2:
        assert process.returncode is None
        await asyncio.sleep(0)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert len(masters(database.uri)) == 2, "it was to be cut off half-way"
    again = LocalKeyring.from_file(file)
    new = await again.rotate()
    assert (await again.facts()).keys[0] == new
    assert set(old) < set((await again.facts()).keys)
    assert await DataKeys(database, again).rewrap() == 150
    assert masters(database.uri) == {new}
    for reader in (keys, DataKeys(database, LocalKeyring.from_file(file))):
        for name, value in sealed.items():
            reader.forget(name)
            sealer = await reader.of(name)
            assert sealer is not None
            assert sealer.open(value, name) == b"value"


@dataclass(frozen=True)
class Shell:
    """The command line on a database with a home of its own."""

    url: str
    home: Path
    environment: dict[str, str | None]

    def __call__(self, *args: str, code: int = 0) -> Result:
        done = CliRunner(env=self.environment).invoke(app, [*args])
        assert done.exit_code == code, f"{args} ended with {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self(*args, "--json", code=code).stdout)

    def work(self, *threads: str) -> None:
        """Make data keys as a run does."""
        asyncio.run(self._work(threads))

    async def _work(self, threads: tuple[str, ...]) -> None:
        master_key = self.environment["STATEWARD_MASTER_KEY"] or ""
        database = Database(self.url, size=2)
        await database.open()
        ring = await asyncio.to_thread(open_keyring, home=self.home, master_key=master_key, kms_key="")
        for thread in threads:
            await DataKeys(database, ring).make(thread)
        await database.close()

    def check(self, name: str) -> dict[str, str]:
        """One line of the doctor."""
        done = CliRunner(env=self.environment).invoke(app, ["doctor", "--json"])
        return next(one for one in json.loads(done.stdout)["checks"] if one["name"] == name)


@pytest.fixture
def shell(database_url: str, tmp_path: Path) -> Shell:
    home = tmp_path / "home"
    names = ("STATEWARD_MASTER_KEY", "STATEWARD_KMS_KEY", "STATEWARD_DIRECT_URL")
    environment: dict[str, str | None] = {"DATABASE_URL": database_url, "STATEWARD_HOME": str(home), "COLUMNS": "200"}
    return Shell(url=database_url, home=home, environment=environment | dict.fromkeys(names))


def test_looking_makes_no_key(shell: Shell) -> None:
    assert shell.json("keys") == {"ring": "file", "where": f"{shell.home}/master.key", "current": None, "keys": []}
    assert "there is no master key yet" in shell("keys").stderr
    assert "none yet" in shell.check("master key")["found"]
    assert not (shell.home / "master.key").exists()


def test_the_ring_and_what_each_key_wraps_is_shown(shell: Shell) -> None:
    shell.work("a", "b")
    secret = (shell.home / "master.key").read_text().split()[0]
    found = shell.json("keys")
    assert found["keys"] == [{"master": found["current"], "status": "current", "data_keys": 2}]
    said = [shell("keys").output, shell("keys", "--json").output, shell("doctor", code=0).output]
    assert all(found["current"] in one and secret not in one for one in said)
    assert shell.check("data keys") == {
        "name": "data keys",
        "status": "ok",
        "found": "2 for threads, 0 of them under an older master key",
        "fix": "",
    }


def test_a_file_is_rotated_with_all_that_it_wraps(shell: Shell) -> None:
    shell.work("a", "b", "c")
    old = shell.json("keys")["current"]
    done = shell("keys", "rotate")
    new = shell.json("keys")["current"]
    assert new != old
    assert done.stdout == f"3 data keys wrapped anew, with {new}\n"
    assert f"master key {new} is made" in done.stderr
    assert f"back up {shell.home}/master.key now" in done.stderr
    assert f"nothing in this database is wrapped by {old} any more" in done.stderr
    assert [(one["status"], one["data_keys"]) for one in shell.json("keys")["keys"]] == [("current", 3), ("held", 0)]
    assert shell.json("keys", "rotate")["rewrapped"] == 3
    secrets_ = [word for word in (shell.home / "master.key").read_text().split() if word.endswith("=")]
    assert len(secrets_) == 3
    assert not [secret for secret in secrets_ if secret in done.output]


def test_the_environment_is_rotated_to_its_first_key(shell: Shell) -> None:
    shell.environment["STATEWARD_MASTER_KEY"] = text(OLD)
    shell.work("a", "b")
    shell.environment["STATEWARD_MASTER_KEY"] = f"{text(NEW)},{text(OLD)}"
    assert shell.check("data keys")["fix"] == "stateward keys rotate"
    done = shell("keys", "rotate")
    assert done.stdout == f"2 data keys wrapped anew, with {key_id(NEW)}\n"
    assert "put a new key first in STATEWARD_MASTER_KEY" in done.stderr
    assert text(OLD) not in done.output
    assert shell.json("keys", "rotate")["rewrapped"] == 0
    assert not (shell.home / "master.key").exists()


def test_a_lost_master_key_is_shown_and_nothing_is_rotated(shell: Shell) -> None:
    shell.work("a")
    lost = shell.json("keys")["current"]
    file = shell.home / "master.key"
    file.rename(shell.home / "elsewhere")
    assert shell.json("keys", code=1)["keys"] == [{"master": lost, "status": "missing", "data_keys": 1}]
    assert f"{lost}            1  MISSING from the ring" in shell("keys", code=1).stdout
    refused = shell("keys", "rotate", code=1)
    assert "error: [SW820] MASTER KEY MISSING" in refused.stderr
    assert f"{lost}' of a local master key" in refused.stderr
    assert not file.exists()
    assert shell.check("data keys")["status"] == "fail"
    assert lost in shell.check("data keys")["found"]


def test_a_run_refuses_to_start_without_its_master_key(shell: Shell) -> None:
    shell.work("a")
    (shell.home / "master.key").rename(shell.home / "elsewhere")
    assert "MASTER KEY MISSING" in shell("threads", code=1).stderr
    assert not (shell.home / "master.key").exists()


def test_a_row_that_is_no_wrapped_key_is_shown(shell: Shell) -> None:
    execute(shell.url, "insert into stateward.data_key values ('t', 1, 'junk')")
    assert shell.json("keys", code=1)["keys"] == [{"master": None, "status": "broken", "data_keys": 1}]
    assert "rows that are no wrapped key" in shell("keys", code=1).stdout


def test_a_ring_that_cannot_be_read_is_said(shell: Shell) -> None:
    shell.work("a")
    (shell.home / "master.key").chmod(0o644)
    assert "can be read or written by others (mode 0644): chmod 600" in shell("keys", code=1).stderr
    assert shell.check("master key")["status"] == "fail"
    assert shell.check("data keys")["status"] == "warn"
    shell.environment.update(STATEWARD_MASTER_KEY=text(NEW), STATEWARD_KMS_KEY="alias/a")
    assert "both set" in shell("keys", code=2).stderr
