"""P9: a subject's pseudonyms go with the last that can hold one, and never sooner, whoever comes meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from test_p07_tenants import plain  # noqa: F401
from test_p08_canaries import columns, envelopes, keys_of, opened, search
from test_p08_vault import dumped
from test_p09_retention import aged

from bank import POLICY, Bank
from stateward import AsyncRuntime, Principal, Runtime, Settings, call
from stateward.adapters.postgres.statements import statements
from stateward.adapters.postgres.vault import PostgresVault
from stateward.errors import ThreadErased
from stateward.model.memory import KnownValue, Scope
from stateward.orchestrate.loops import blocking
from stateward.testing.contracts.samples import facts, scope

DPO = Principal("dpo")
WHO, OTHER = "customer:17", "customer:18"
JANE, JOHN = KnownValue(entity="PERSON", value="Zanzibar Blyxt"), KnownValue(entity="PERSON", value="Yucatan Qwertz")
MAIL = KnownValue(entity="EMAIL_ADDRESS", value="xanadu@example.org")
VALUES = [JANE.value, MAIL.value]
WORKER = Path(__file__).with_name("sweep_worker.py")
TREATED = "{default: allow, PERSON: pseudonymize, EMAIL_ADDRESS: pseudonymize}"
KEPT = (
    POLICY.replace("memory:\n", f"conversation: {{personal_data: {TREATED}}}\nmemory:\n  personal_data: {TREATED}\n")
    + "threads: {keep: 30d}\n"
)


def about(bank: Bank, subject: str = WHO, policy: str = KEPT, note: str = "") -> str:
    """A thread about somebody that ends, with values in what was said, done and, where there is a note, remembered."""

    async def keep(state: Any, step: Any) -> None:
        if note:
            await step.remember("note", "n", text=note)

    graph = bank.graph(
        [call("look", what="<EMAIL_ADDRESS_1>")],
        AIMessage("Dear <PERSON_1>"),
        policy=policy,
        prepare=lambda flow: flow.retrieve(keep),
    )
    config = bank.config(subject=subject, known={"PERSON": JANE.value})
    out = graph.invoke({"messages": [("user", f"I am {JANE.value}, {MAIL.value}")], "subject": subject}, config)
    assert out["messages"][-1].text == f"Dear {JANE.value}"
    return config["configurable"]["thread_id"]


def kept_of(bank: Bank, subject: str) -> tuple[int, int]:
    """How many keys and pseudonyms there are of a subject."""
    tables = ("subject_key", "pseudonym")
    counts = [bank.rows(f"select 1 from stateward.{one} where subject = %s", subject) for one in tables]
    return len(counts[0]), len(counts[1])


def test_they_go_with_the_last_thread_and_nothing_opens_them_any_more(bank: Bank) -> None:
    about(bank)
    copied = envelopes(dumped(bank.url))
    assert search({"opened": opened(copied, keys_of(bank.runtime))}, VALUES) == {"opened": set(VALUES)}
    aged(bank, 29)
    assert bank.runtime.sweep().vaults == 0
    assert kept_of(bank, WHO) == (1, 2)
    aged(bank, 2)
    swept = bank.runtime.sweep()
    assert (swept.threads, swept.vaults) == (1, 1)
    assert kept_of(bank, WHO) == (0, 0)
    left, keys = dumped(bank.url), keys_of(bank.runtime)
    assert search(columns(left) | {"opened": opened([*envelopes(left), *copied], keys)}, VALUES) == {}
    (entry,) = [one for one in bank.runtime.timeline("desk:default") if one.kind == "vault.expired"]
    assert (entry.actor, entry.detail["pseudonyms"], entry.detail["keys"]) == ("clock", 2, 1)
    assert WHO not in str(entry)
    assert bank.runtime.sweep().vaults == 0
    assert bank.runtime.verify_audit().intact


def test_whatever_is_left_of_a_subject_keeps_all_of_it(bank: Bank) -> None:
    about(bank, note=f"{JANE.value} called")
    aged(bank)
    for left in ("an item", "a former version"):
        if left == "a former version":
            bank.rows(
                """with gone as (delete from stateward.memory returning *)
                   insert into stateward.memory_version
                   select tenant, subject, purpose, place, key, version, namespace, kind, value, source, action,
                          sensitivity, labels, created_at, updated_at, expires_at from gone"""
            )
        assert bank.runtime.sweep().vaults == 0, left
        exported = str(bank.runtime.export_subject(WHO, by=DPO))
        assert f"{JANE.value} called" in exported, left
        assert MAIL.value in exported
    bank.rows("update stateward.memory_version set expires_at = now()")
    swept = bank.runtime.sweep()
    assert (swept.items, swept.vaults) == (1, 1)
    assert search(columns(dumped(bank.url)), VALUES) == {}


@pytest.mark.parametrize("status", ["open", "waiting", "answered"])
def test_a_thread_that_is_not_emptied_keeps_them_whatever_its_state(bank: Bank, status: str) -> None:
    about(bank, policy=KEPT.replace("threads: {keep: 30d}\n", ""))
    bank.rows("update stateward.thread set status = %s where subject = %s", status, WHO)
    aged(bank, 4000)
    assert bank.runtime.sweep().vaults == 0
    assert kept_of(bank, WHO) == (1, 2)


def test_a_thread_that_langgraph_has_deleted_keeps_them_until_it_is_emptied(bank: Bank) -> None:
    thread = about(bank)
    bank.runtime.checkpointer.delete_thread(thread)
    assert bank.runtime.sweep().vaults == 0
    aged(bank)
    swept = bank.runtime.sweep()
    assert (swept.threads, swept.vaults) == (1, 1)


def test_a_legal_hold_keeps_them_and_so_does_one_that_is_placed_at_the_same_moment(bank: Bank) -> None:
    thread = about(bank)
    bank.rows("update stateward.thread set erased_at = now() where thread_id = %s", thread)
    with psycopg.connect(bank.url) as connection:
        connection.execute("select stateward.place_hold('default', %s, 'a lawsuit', 'dpo', 'token')", [WHO])
        swept: list[int] = []
        services = bank.runtime.services
        sweep = lambda: swept.append(blocking(services.loop, services.erasure.sweep_vaults()))  # noqa: E731
        sweeping = threading.Thread(target=sweep)
        sweeping.start()
        while sweeping.is_alive() and not waits(bank.rows, "expire_vault"):
            time.sleep(0.01)
        assert sweeping.is_alive()
        connection.commit()
        sweeping.join()
    assert swept == [0]
    assert bank.runtime.sweep().vaults == 0
    assert kept_of(bank, WHO) == (1, 2)
    bank.runtime.end_hold(WHO, by=DPO)
    assert bank.runtime.sweep().vaults == 1


def test_each_tenant_and_each_subject_has_its_own_end(bank: Bank) -> None:
    gone = about(bank)
    about(bank, OTHER)
    rival = facts("of-rival", tenant="rival")
    blocking(bank.runtime.services.loop, bank.runtime.services.threads.open(rival))
    theirs = scope("of-rival", tenant="rival")
    blocking(bank.runtime.services.loop, bank.runtime.services.vault.issue(theirs, [JANE]))
    bank.rows("update stateward.thread set erased_at = now() where thread_id = %s", gone)
    assert bank.runtime.sweep().vaults == 1
    left = bank.rows("select tenant, subject from stateward.subject_key order by tenant")
    assert [(one["tenant"], one["subject"]) for one in left] == [("default", OTHER), ("rival", WHO)]
    assert len(bank.rows("select 1 from stateward.pseudonym where tenant = 'rival'")) == 1
    assert [one.kind for one in bank.runtime.timeline("desk:default")] == ["vault.expired"]


def test_it_works_with_a_login_that_row_level_security_binds(plain: tuple[Runtime, str]) -> None:  # noqa: F811
    runtime, url = plain
    for tenant in ("acme", "rival"):
        mine = scope(f"of-{tenant}", tenant=tenant)
        blocking(runtime.services.loop, runtime.services.vault.issue(mine, [JANE]))
    assert runtime.sweep().vaults == 0
    with psycopg.connect(url) as connection:
        connection.execute("update stateward.thread set erased_at = now()")
    assert runtime.sweep().vaults == 0, "their memory is still there"
    with psycopg.connect(url) as connection:
        connection.execute("select stateward.as_tenant('acme')")
        connection.execute("delete from stateward.memory")
        connection.execute("delete from stateward.memory_version")
    assert runtime.sweep().vaults == 1
    with psycopg.connect(url) as connection:
        assert connection.execute("select tenant from stateward.subject_key").fetchall() == [("rival",)]


async def ended(runtime: AsyncRuntime, thread: str = "t1", *values: KnownValue, subject: str = WHO) -> Scope:
    """A thread about a subject that has had pseudonyms, and is emptied."""
    mine = await open_thread(runtime, thread, subject)
    await runtime.services.vault.issue(mine, values or [JOHN, JANE])
    await emptied(runtime, thread)
    return mine


async def open_thread(runtime: AsyncRuntime, thread: str, subject: str = WHO) -> Scope:
    await runtime.services.threads.open(facts(thread, subject=subject))
    return scope(thread, subject=subject)


async def emptied(runtime: AsyncRuntime, thread: str) -> None:
    await runtime.database.all(
        b"update stateward.thread set keep_for = 1, status = 'answered', created_at = created_at - interval '1 h',"
        b" updated_at = updated_at - interval '1 h' where thread_id = %(thread)s returning 1",
        {"thread": thread},
    )
    row = await runtime.database.one(b"select stateward.expire_thread(%(thread)s) as done", {"thread": thread})
    assert row is not None
    assert row["done"]


def waits(rows: Callable[[str], Any], what: str, event: str = "Lock") -> bool:
    """Whether a statement waits for a lock, or for another kind of event."""
    return bool(
        rows(
            f"select pid from pg_stat_activity where wait_event_type = '{event}' and datname = current_database()"
            f" and strpos(query, '{what}') > 0"
        )
    )


def until_it_waits(url: str, what: str, event: str = "Lock") -> None:
    with psycopg.connect(url, autocommit=True) as watching:
        while not waits(lambda query: watching.execute(query).fetchall(), what, event):  # pyright: ignore[reportArgumentType]
            time.sleep(0.01)


async def test_whoever_opens_a_thread_while_they_go_gets_others_that_open(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    await ended(async_runtime)
    vault = async_runtime.services.vault
    with psycopg.connect(database_url) as sweeper:
        done = sweeper.execute("select stateward.expire_vault('default', %s)", [WHO]).fetchone()
        assert done == (True,)  # and it is not committed yet
        again = await open_thread(async_runtime, "t2")
        reading = asyncio.create_task(vault.reveal(again, [("PERSON", 1)]))
        issuing = asyncio.create_task(vault.issue(again, [JANE]))
        await asyncio.to_thread(until_it_waits, database_url, "subject_key")
        await asyncio.sleep(0.1)
        assert not reading.done()
        assert not issuing.done()
        sweeper.commit()
    assert await issuing == [1]
    assert {one.value for one in (await reading).values()} <= {JANE.value}, "never the one that has gone"
    assert (await async_runtime.sweep()).vaults == 0
    fresh = PostgresVault(async_runtime.database, async_runtime.keys)
    assert [one.value for one in (await fresh.reveal(again)).values()] == [JANE.value]


SLOWLY = """
alter function stateward.unkept(text, text[]) rename to looked_at;
create function stateward.unkept(p_tenant text, p_subjects text[]) returns setof text language plpgsql as $$
begin
    return query select * from stateward.looked_at(p_tenant, p_subjects);
    perform pg_sleep(0.7);
end $$;
"""


def expired(url: str) -> bool:
    """Whether the vault went, in a session of its own."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select stateward.expire_vault('default', %s)", [WHO]).fetchone()
        return bool(row and row[0])


async def test_whoever_comes_between_the_look_and_the_deletion_waits_for_the_key(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    await ended(async_runtime)
    with psycopg.connect(database_url) as connection:
        connection.execute(SLOWLY)
    sweeping = asyncio.create_task(asyncio.to_thread(expired, database_url))
    await asyncio.to_thread(until_it_waits, database_url, "expire_vault", "Timeout")
    again = await open_thread(async_runtime, "t2")
    assert await async_runtime.services.vault.issue(again, [JANE]) == [1]
    assert await sweeping
    assert [one.value for one in (await async_runtime.services.vault.reveal(again)).values()] == [JANE.value]


async def test_whoever_came_after_the_sweep_had_found_nothing_left_keeps_them(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    await ended(async_runtime)
    again = await open_thread(async_runtime, "t2")
    assert await async_runtime.services.vault.issue(again, [JANE]) == [2]
    assert not await asyncio.to_thread(expired, database_url)
    assert len(await async_runtime.services.vault.reveal(again)) == 2


async def test_a_thread_whose_opening_is_not_committed_when_they_go_begins_anew(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    old = await ended(async_runtime)
    opening = statements("threads")["open_thread"]
    fields = {"tenant": "default", "principal": "bot", "requester": "ann", "purpose": "bank", "subject": WHO}
    values = fields | {"graph": "bank", "graph_version": "1", "thread": "t2", "roles": [], "keep": None, "idle": None}
    with psycopg.connect(database_url) as opener:
        opener.execute(opening, values)
        assert (await async_runtime.sweep()).vaults == 1
        opener.commit()
    again = await open_thread(async_runtime, "t2")
    vault = async_runtime.services.vault
    assert await vault.reveal(again) == {}
    assert await vault.issue(again, [JANE]) == [1]
    assert (await async_runtime.sweep()).vaults == 0
    assert [one.value for one in (await vault.reveal(again)).values()] == [JANE.value]
    await async_runtime.forget(WHO, by=DPO)
    with pytest.raises(ThreadErased):
        await vault.issue(old, [JANE])


async def test_whoever_is_at_them_keeps_them(async_runtime: AsyncRuntime, database_url: str) -> None:
    await ended(async_runtime)
    await ended(async_runtime, "t2", subject=OTHER)
    with psycopg.connect(database_url) as reader:
        reader.execute(statements("vault")["enter"], {"tenant": "default", "subject": WHO})
        assert (await async_runtime.sweep()).vaults == 1
        assert len(await async_runtime.database.all(b"select from stateward.subject_key")) == 1
    assert (await async_runtime.sweep()).vaults == 1


async def test_a_write_to_memory_that_is_not_committed_yet_keeps_them(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    mine = await open_thread(async_runtime, "t1")
    await async_runtime.services.vault.issue(mine, [JANE])
    change = {"namespace": ["note"], "key": "k", "item": "i", "action": None, "version": None, "kind": "note"}
    change |= {"value": {"text": "<PERSON_1>"}, "keep": 1000, "labels": [], "sensitivity": None, "note": {}}
    given = {"tenant": "default", "subject": WHO, "purpose": "bank", "thread": "t1", "actor": "bot"}
    with psycopg.connect(database_url) as writer:
        writer.execute(
            "select stateward.change_memory(%s::jsonb)", [psycopg.types.json.Jsonb(given | {"changes": [change]})]
        )
        with psycopg.connect(database_url, autocommit=True) as other:
            found = other.execute("select stateward.expire_thread('t1')").fetchone()
            assert found == (False,)
        assert (await async_runtime.sweep()).vaults == 0
        writer.commit()
    await emptied(async_runtime, "t1")
    assert (await async_runtime.sweep()).vaults == 0
    assert len(await async_runtime.services.vault.reveal(mine)) == 1


async def test_who_comes_and_goes_while_others_sweep_finds_every_pseudonym_of_a_thread_of_theirs(
    async_runtime: AsyncRuntime, settings: Settings
) -> None:
    talking = 3

    async def talk(runtime: AsyncRuntime, name: str) -> None:
        for number in range(8):
            thread = f"{name}-{number}"
            mine = await open_thread(runtime, thread)
            people = [KnownValue(entity="PERSON", value=f"Person {letter}") for letter in "abc"]
            for _ in range(2):
                numbers = await runtime.services.vault.issue(mine, people)
                found = await runtime.services.vault.reveal(mine)
                assert [found["PERSON", one].value for one in numbers] == [one.value for one in people]
            await emptied(runtime, thread)

    async def sweep(runtime: AsyncRuntime) -> int:
        nonlocal talking
        swept = 0
        while talking:
            swept += await runtime.services.erasure.sweep_vaults()
            await asyncio.sleep(0)
        return swept

    async def counted(work: Any) -> None:
        nonlocal talking
        try:
            await work
        finally:
            talking -= 1

    async with AsyncRuntime.connect(settings=settings) as other:
        everybody = [
            counted(talk(async_runtime, "a")),
            counted(talk(other, "b")),
            counted(talk(other, "c")),
            sweep(async_runtime),
            sweep(other),
        ]
        *_, first, second = await asyncio.gather(*everybody)
        last = await other.services.erasure.sweep_vaults()
    assert (first or 0) + (second or 0) + last >= 1
    for table in (b"subject_key", b"pseudonym"):
        assert await async_runtime.database.all(b"select from stateward." + table) == []
    entries = await async_runtime.database.all(b"select from stateward.ledger where kind = 'vault.expired'")
    assert len(entries) == (first or 0) + (second or 0) + last
    assert (await async_runtime.verify_audit()).intact


KEYS, NAMES = (f"select distinct subject from stateward.{table} order by 1" for table in ("subject_key", "pseudonym"))


def killed_within(url: str, home: Path) -> None:
    """Start a sweep, and kill it when it has deleted one."""
    with psycopg.connect(url, autocommit=True) as watching:
        there = len(watching.execute(KEYS).fetchall())
        command = [sys.executable, str(WORKER), url, str(home)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            while len(watching.execute(KEYS).fetchall()) == there:
                assert worker.poll() is None
                time.sleep(0.01)
            worker.kill()


async def test_killed_within_it_each_is_whole_or_gone_and_the_next_one_goes_on(
    async_runtime: AsyncRuntime, database_url: str, settings: Settings
) -> None:
    for at in range(6):
        await ended(async_runtime, f"t{at}", subject=f"customer:{at}")
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Each row takes a moment, so that the kill falls within a subject.
        connection.execute(
            """create function stateward.linger() returns trigger language plpgsql as $$
               begin perform pg_sleep(0.2); return old; end $$;
               create trigger linger before delete on stateward.pseudonym for each row
               execute function stateward.linger()"""
        )
        await asyncio.to_thread(killed_within, database_url, settings.home)
        left = connection.execute(KEYS).fetchall()
        assert 0 < len(left) < 6
        assert connection.execute(NAMES).fetchall() == left
        # What the killed one was at is free again when its server process has noticed.
        while connection.execute(KEYS).fetchall():
            await async_runtime.sweep()
        assert connection.execute(NAMES).fetchall() == []
        told = "select count(*) from stateward.ledger where kind = 'vault.expired'"
        assert connection.execute(told).fetchone() == (6,)
    assert search(columns(dumped(database_url)), [JANE.value, JOHN.value]) == {}
    assert (await async_runtime.verify_audit()).intact


async def test_one_that_cannot_be_deleted_keeps_none_of_the_others_and_nobody_is_named(
    async_runtime: AsyncRuntime, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await ended(async_runtime)
    await ended(async_runtime, "t2", subject=OTHER)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            f"""create function stateward.stick() returns trigger language plpgsql as $$
                begin raise exception 'stuck with %', old.subject; end $$;
                create trigger stick before delete on stateward.pseudonym for each row
                when (old.subject = '{WHO}') execute function stateward.stick()"""
        )
    assert (await async_runtime.sweep()).vaults == 1
    assert "is over and could not be emptied (SQLSTATE P0001)" in caplog.text
    assert WHO not in caplog.text
    assert len(await async_runtime.database.all(b"select from stateward.subject_key")) == 1


async def test_more_subjects_than_are_looked_at_at_once_are_all_looked_at(
    async_runtime: AsyncRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stateward.adapters.postgres.erasure._BATCH", 2)
    await open_thread(async_runtime, "live", "customer:2")
    for at in range(7):
        await ended(async_runtime, f"t{at}", subject=f"customer:{at}")
    assert (await async_runtime.sweep()).vaults == 6
    assert (await async_runtime.sweep()).vaults == 0


async def test_what_is_left_of_a_subject_is_looked_for_by_index(async_runtime: AsyncRuntime, database_url: str) -> None:
    for at in range(3):
        await ended(async_runtime, f"t{at}", subject=f"customer:{at}")
    scans = "select relname, seq_scan from pg_stat_xact_user_tables where schemaname = 'stateward' and seq_scan > 0"
    with psycopg.connect(database_url) as connection:
        connection.execute("set enable_seqscan = off")
        given = {"tenant": "default", "after": "", "batch": 1000}
        found = connection.execute(statements("erasure")["vaults"], given).fetchall()
        assert [over for _, over in found] == [True] * 3
        assert connection.execute(scans).fetchall() == []
