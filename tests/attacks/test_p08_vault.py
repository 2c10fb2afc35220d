"""P8, P9: the vault of pseudonyms holds nothing in clear, opens nothing that was moved, and ends with its subject."""

from __future__ import annotations

import asyncio
import base64
import secrets
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from stateward import AsyncRuntime, Principal, Settings
from stateward.adapters import embedded
from stateward.adapters.keyring import LocalKeyring
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.vault import PostgresVault
from stateward.errors import KeyringError, SealBroken, ThreadErased
from stateward.model.memory import KnownValue, Scope
from stateward.testing.contracts.samples import facts, scope

JANE, JOHN = KnownValue(entity="PERSON", value="Zanzibar Blyxt"), KnownValue(entity="PERSON", value="Yucatan Qwertz")
MAIL = KnownValue(entity="EMAIL_ADDRESS", value="xanadu@example.org")
DPO = Principal("dpo")
ERASER = Path(__file__).with_name("forget_worker.py")


async def opened(runtime: AsyncRuntime, thread: str = "t1", *, subject: str = "customer:17", tenant: str = "") -> Scope:
    """A thread about a subject."""
    tenant = tenant or "default"
    await runtime.services.threads.open(facts(thread, subject=subject, tenant=tenant))
    return scope(thread, subject=subject, tenant=tenant)


def dumped(url: str) -> str:
    """The whole database as `pg_dump` writes it, as a superuser."""
    command = [str(embedded._find_tools().bin_dir / "pg_dump"), "--dbname", url]
    return subprocess.run(command, capture_output=True, check=True, timeout=120, text=True).stdout


def change(url: str, statement: str) -> None:
    """Change the database beside Stateward, as its superuser."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


async def test_a_dump_holds_no_value_and_no_digest_that_can_be_guessed(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    mine = await opened(async_runtime)
    other = await opened(async_runtime, "t2", subject="customer:18")
    for each in (mine, other):
        await async_runtime.services.vault.issue(each, [JANE, JOHN, MAIL])
    text = dumped(database_url)
    assert "stateward.pseudonym" in text
    for word in ("anzibar", "ucatan", "lyxt", "wertz", "anadu"):
        assert word not in text
        assert word.encode().hex() not in text
    rows = await async_runtime.database.all(b"select distinct digest from stateward.pseudonym")
    assert len(rows) == 6, "the same value has another digest for another subject"


MINE = "p.subject = 'customer:17' and p.tenant = 'default'"
MOVED: dict[str, str] = {
    "to another subject": f"set subject = 'customer:18' where {MINE}",
    "to another tenant": f"set tenant = 'rival' where {MINE}",
    "to another number": f"set number = 7 where {MINE} and number = 1",
    "to another entity type": f"set entity = 'LOCATION' where {MINE}",
    "exchanged": "set body = o.body from stateward.pseudonym o "
    f"where {MINE} and o.subject = p.subject and o.entity = p.entity and o.number <> p.number",
    "from another subject": f"set body = o.body from stateward.pseudonym o where {MINE} and o.subject = 'customer:18'",
    "in clear": f"set body = 'Somebody Else' where {MINE}",
    "a bit is another": f"set body = set_bit(body, 200, 1 - get_bit(body, 200)) where {MINE}",
}


@pytest.mark.parametrize("how", MOVED)
async def test_a_forged_or_moved_row_is_refused(async_runtime: AsyncRuntime, database_url: str, how: str) -> None:
    mine = await opened(async_runtime)
    other = await opened(async_runtime, "t2", subject="customer:18")
    rival = await opened(async_runtime, "t3", tenant="rival")
    vault = async_runtime.services.vault
    await vault.issue(mine, [JANE, JOHN])
    for each in (other, rival):
        await vault.issue(each, [MAIL])
    change(database_url, f"update stateward.pseudonym p {MOVED[how]}")
    refused: list[Scope] = []
    for each in (mine, other, rival):
        try:
            assert {one.value for one in (await vault.reveal(each)).values()} <= {MAIL.value}
        except SealBroken:
            refused.append(each)
    assert len(refused) == 1
    assert (await async_runtime.timeline(refused[0].thread))[-1].kind == "security.seal_broken"


async def test_a_key_of_another_subject_opens_nothing(async_runtime: AsyncRuntime, database_url: str) -> None:
    mine = await opened(async_runtime)
    other = await opened(async_runtime, "t2", subject="customer:18")
    for each in (mine, other):
        await async_runtime.services.vault.issue(each, [JANE])
    change(
        database_url,
        "update stateward.subject_key k set wrapped = o.wrapped from stateward.subject_key o "
        "where k.subject = 'customer:17' and o.subject = 'customer:18'",
    )
    vault = PostgresVault(async_runtime.database, DataKeys(async_runtime.database, async_runtime.keys._ring))
    with pytest.raises(KeyringError):
        await vault.reveal(mine)
    assert len(await vault.reveal(other)) == 1


async def test_a_tenant_sees_its_own_rows_only_whoever_asks_the_database(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    mine = await opened(async_runtime)
    await async_runtime.services.vault.issue(mine, [JANE])
    with psycopg.connect(database_url) as connection:
        connection.execute("set role stateward_memory")
        for tenant, rows in (("", 0), ("rival", 0), ("default", 1)):
            connection.execute("select set_config('stateward.tenant', %s, true)", [tenant])
            assert len(connection.execute("select * from stateward.pseudonym").fetchall()) == rows
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from stateward.subject_key")


async def test_two_workers_that_meet_the_same_people_give_them_one_number(
    async_runtime: AsyncRuntime, settings: Settings
) -> None:
    mine = await opened(async_runtime)
    people = [KnownValue(entity="PERSON", value=f"Person {n}") for n in range(30)]
    async with AsyncRuntime.connect(settings=settings) as other:
        work = [
            runtime.services.vault.issue(mine, people[at:] + people[:at])
            for at in (0, 7, 14, 21)
            for runtime in (async_runtime, other)
        ]
        found = await asyncio.gather(*work)
    orders = [people[at:] + people[:at] for at in (0, 7, 14, 21) for _ in range(2)]
    numbers = [
        dict(zip([one.value for one in order], said, strict=True)) for order, said in zip(orders, found, strict=True)
    ]
    assert all(one == numbers[0] for one in numbers)
    assert sorted(numbers[0].values()) == list(range(1, 31))


async def test_forgetting_destroys_key_and_values_and_the_receipt_says_so(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    mine, other = await opened(async_runtime), await opened(async_runtime, "t2", subject="customer:18")
    for each in (mine, other):
        await async_runtime.services.vault.issue(each, [JANE, MAIL])
    copied = await async_runtime.database.all(
        b"select p.*, k.wrapped from stateward.pseudonym p join stateward.subject_key k using (tenant, subject)"
    )
    receipt = await async_runtime.forget(mine.subject, by=DPO)
    assert (receipt.pseudonyms, receipt.keys) == (2, 1)
    assert await async_runtime.verify_receipt(receipt.said(), seal=receipt.seal)
    assert not await async_runtime.verify_receipt({**receipt.said(), "pseudonyms": 3}, seal=receipt.seal)
    for table in (b"pseudonym", b"subject_key"):
        rows = await async_runtime.database.all(b"select subject from stateward." + table)
        assert {row["subject"] for row in rows} == {"customer:18"}
    assert await async_runtime.services.vault.reveal(mine) == {}
    assert len(await async_runtime.services.vault.reveal(other)) == 2
    # Whoever has copied the rows, but not the key, has nothing to open them with: the master key wraps what is gone.
    keys = DataKeys(async_runtime.database, async_runtime.keys._ring)
    assert await keys.subjects.of('["default","customer:17"]') is None
    assert len(copied) == 4
    assert (await async_runtime.verify_audit()).intact


async def test_a_subject_that_comes_back_has_another_key_and_begins_anew(
    async_runtime: AsyncRuntime, settings: Settings
) -> None:
    mine = await opened(async_runtime)
    async with AsyncRuntime.connect(settings=settings) as other:
        # The other worker has the old key in its memory.
        assert await other.services.vault.issue(mine, [JOHN, JANE]) == [1, 2]
        await async_runtime.forget(mine.subject, by=DPO)
        with pytest.raises(ThreadErased):
            await other.services.vault.issue(mine, [JANE])
        again = await opened(async_runtime, "t9")
        assert await async_runtime.services.vault.issue(again, [JANE]) == [1]
        assert await other.services.vault.issue(again, [JANE, JOHN]) == [1, 2]
        assert [one.value for one in (await other.services.vault.reveal(again)).values()] == [JANE.value, JOHN.value]


async def test_an_erasure_that_was_cut_off_is_finished_by_running_it_again(async_runtime: AsyncRuntime) -> None:
    mine = await opened(async_runtime)
    await async_runtime.services.vault.issue(mine, [JANE, MAIL])
    database, tenant = async_runtime.database, mine.tenant
    begun = await database.one(
        b"select stateward.begin_erasure('E-1', %(tenant)s, %(subject)s, 'dpo', 'test') as id",
        {"tenant": tenant, "subject": mine.subject},
    )
    assert begun
    await database.one(b"select stateward.erase_thread('E-1', 't1', 'dpo')")
    await database.one(b"select stateward.erase_memory('E-1', 1000)")
    # Here it is killed: the counts of what has gone are in the row, and nothing says yet that it is finished.
    receipt = await async_runtime.forget(mine.subject, by=DPO)
    assert (receipt.id, receipt.pseudonyms, receipt.keys) == ("E-1", 2, 1)


def killed(command: list[str], pause: float) -> None:
    """Start a worker, and kill it so many seconds after it has begun."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "begins\n"
        time.sleep(pause)
        worker.kill()


@pytest.mark.parametrize("pause", [0.0, 0.3, 0.7])
async def test_an_eraser_that_is_killed_is_followed_by_one_that_finishes(
    async_runtime: AsyncRuntime, database_url: str, settings: Settings, pause: float
) -> None:
    mine = await opened(async_runtime)
    await async_runtime.services.vault.issue(mine, [JANE, JOHN, MAIL])
    # Each row takes a moment, so that a kill can fall between two.
    change(
        database_url,
        """create function stateward.linger() returns trigger language plpgsql as $$
           begin perform pg_sleep(0.2); return old; end $$;
           create trigger linger before delete on stateward.pseudonym for each row
           execute function stateward.linger()""",
    )
    command = [sys.executable, str(ERASER), database_url, str(settings.home), mine.subject]
    await asyncio.to_thread(killed, command, pause)
    receipt = await async_runtime.forget(mine.subject, by=DPO)
    rows = await async_runtime.database.all(b"select pseudonyms, subject_keys, finished_at from stateward.erasure")
    assert sum(row["pseudonyms"] for row in rows) == 3
    assert sum(row["subject_keys"] for row in rows) == 1
    assert all(row["finished_at"] for row in rows)
    assert await async_runtime.verify_receipt(receipt.said(), seal=receipt.seal)
    assert await async_runtime.database.all(b"select from stateward.pseudonym") == []


async def test_a_key_that_is_made_while_the_subject_is_forgotten_goes_too(async_runtime: AsyncRuntime) -> None:
    mine = await opened(async_runtime)
    vault = async_runtime.services.vault

    async def talk(thread: str) -> None:
        for number in range(20):
            each = await opened(async_runtime, thread)
            await vault.issue(each, [KnownValue(entity="PERSON", value=f"Person {thread} {number}")])

    await vault.issue(mine, [JANE])
    talking = [asyncio.create_task(talk(f"t{n}")) for n in range(2, 5)]
    receipt = await async_runtime.forget(mine.subject, by=DPO)
    await asyncio.gather(*talking, return_exceptions=True)
    last = await async_runtime.forget(mine.subject, by=DPO)
    for table in (b"pseudonym", b"subject_key"):
        assert await async_runtime.database.all(b"select subject from stateward." + table) == []
    assert receipt.pseudonyms >= 1
    assert last.finished_at > receipt.finished_at


async def test_a_rotation_wraps_subject_keys_anew_and_a_lost_master_key_is_said(
    async_runtime: AsyncRuntime, settings: Settings
) -> None:
    mine = await opened(async_runtime)
    await async_runtime.services.vault.issue(mine, [JANE])
    ring = async_runtime.keys._ring
    assert isinstance(ring, LocalKeyring)
    old = (await ring.facts()).current
    assert await async_runtime.keys.count() == {old: 1}
    await ring.rotate()
    assert await async_runtime.keys.rewrap() == 1
    assert await async_runtime.keys.count() == {(await ring.facts()).current: 1}
    async with AsyncRuntime.connect(settings=settings) as other:
        assert len(await other.services.vault.reveal(mine)) == 1
    strange = base64.b64encode(secrets.token_bytes(32)).decode()
    with pytest.raises(KeyringError, match=r'MASTER KEY MISSING: the data key of subject:\["default","customer:17"\]'):
        async with AsyncRuntime.connect(settings=replace(settings, master_key=strange)):
            pass


async def test_values_that_were_sealed_before_a_new_generation_still_open(async_runtime: AsyncRuntime) -> None:
    mine = await opened(async_runtime)
    vault = async_runtime.services.vault
    await vault.issue(mine, [JANE])
    await async_runtime.keys.subjects.renew('["default","customer:17"]', thread="t1")
    assert await vault.issue(mine, [JOHN, JANE]) == [2, 1]
    assert [one.value for one in (await vault.reveal(mine)).values()] == [JANE.value, JOHN.value]


SUBJECTS: list[tuple[str, str]] = [
    ('a","b', "c"),
    ("a", 'b","c'),
    ("a:b", "c"),
    ("a", "b:c"),
    ('["a', "b"),
    ("ä", "日本"),
]


async def test_no_two_subjects_are_taken_for_each_other(async_runtime: AsyncRuntime) -> None:
    found: list[str] = []
    for at, (tenant, subject) in enumerate(SUBJECTS):
        each = await opened(async_runtime, f"s{at}", tenant=tenant, subject=subject)
        value = KnownValue(entity="PERSON", value=f"Person {at}")
        assert await async_runtime.services.vault.issue(each, [value]) == [1]
        found += [one.value for one in (await async_runtime.services.vault.reveal(each)).values()]
    assert found == [f"Person {at}" for at in range(len(SUBJECTS))]
