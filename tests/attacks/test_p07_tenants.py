"""P7: one tenant's memory is out of another's reach in the database itself, whatever SQL is run.

The production login is a plain one that owns the tables; the embedded server's is a superuser, whom row-level security
does not bind, so that the runtime steps down before it looks. Both are attacked.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from bank import Bank
from stateward import AsyncRuntime, Principal, Runtime, Settings
from stateward.adapters.postgres.statements import statements
from stateward.model.memory import Change, KnownValue, Search
from stateward.orchestrate.loops import blocking
from stateward.testing.contracts.samples import facts, scope
from stateward.testing.databases import Databases

TABLES = ("memory", "memory_version")
TENANTS = ("acme", "rival")
# Statements that read no items; and the one that needs pgvector, which this login cannot create.
_OTHERS = ("enter", "change", "tenants", "sweep", "recall_by_meaning", "items_by_both")


async def fill(runtime: AsyncRuntime) -> None:
    """Two tenants with the same subject, purpose and key, each with an item and a former version of it."""
    for tenant in TENANTS:
        await runtime.services.threads.open(facts(f"of-{tenant}", tenant=tenant))
        for text in ("old", "new"):
            change = Change(
                namespace=("note",), key="k", kind="note", value={"of": tenant, "text": text}, keep=timedelta(days=1)
            )
            await runtime.services.memory.change(scope(f"of-{tenant}", tenant=tenant), [change])


@pytest.fixture(scope="module")
def plain(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, str]]:
    """A runtime of a login that owns its database and may create roles, and nothing more; and that login."""
    name = f"plain_{secrets.token_hex(4)}"
    with psycopg.connect(databases.uri, autocommit=True) as admin:
        admin.execute(f"create role {name} login createrole password 'secret'")  # pyright: ignore[reportCallIssue, reportArgumentType]
        admin.execute(f"create database {name} owner {name}")  # pyright: ignore[reportCallIssue, reportArgumentType]
    url = make_conninfo(databases.uri, dbname=name, user=name, password="secret")
    try:
        with Runtime.open(
            settings=Settings(home=tmp_path_factory.mktemp("home"), database_url=url, pool_size=4)
        ) as runtime:
            blocking(runtime.services.loop, fill(runtime.inner))
            yield runtime, url
    finally:
        with psycopg.connect(databases.uri, autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")  # pyright: ignore[reportCallIssue, reportArgumentType]
            admin.execute(f"drop role {name}")  # pyright: ignore[reportCallIssue, reportArgumentType]


def run(url: str, statement: str, tenant: str | None = None, role: str = "") -> list[Any]:
    """Hand-written SQL, in a transaction that names this tenant, or none."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        if tenant is not None:
            connection.execute("select set_config('stateward.tenant', %s, true)", [tenant])
        if role:
            connection.execute(f"set local role {role}")  # pyright: ignore[reportCallIssue, reportArgumentType]
        found = connection.execute(statement)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return found.fetchall() if found.description else [found.rowcount]


@pytest.mark.parametrize("table", TABLES)
def test_the_owner_of_the_tables_sees_no_row_without_a_tenant_and_its_own_with_one(plain: Any, table: str) -> None:
    _, url = plain
    for unset in (None, ""):
        assert run(url, f"select * from stateward.{table}", unset) == []
    for tenant in TENANTS:
        assert [row["value"]["of"] for row in run(url, f"select * from stateward.{table}", tenant)] == [tenant]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "select * from stateward.{table} where tenant = 'rival'",
        "select * from stateward.{table} where tenant = 'rival' or true",
        "update stateward.{table} set value = '{{}}' where tenant = 'rival' returning *",
        "delete from stateward.{table} where tenant = 'rival' returning *",
        "with gone as (delete from stateward.{table} where tenant <> 'acme' returning *) select * from gone",
        "select * from stateward.{table} a join stateward.{table} b on a.tenant <> b.tenant",
    ],
)
def test_hand_written_sql_for_another_tenant_finds_nothing(plain: Any, table: str, statement: str) -> None:
    _, url = plain
    assert [one for one in run(url, statement.format(table=table), "acme") if one.get("tenant") != "acme"] == []
    for tenant in TENANTS:
        assert [row["value"]["of"] for row in run(url, f"select * from stateward.{table}", tenant)] == [tenant]


WRITES = [
    "insert into stateward.memory (tenant, subject, namespace, key, kind, purpose, value, source, expires_at) "
    "values ('rival', 's', '{note}', 'planted', 'note', 'bank', '{}', 't', now() + interval '1 day')",
    "update stateward.memory set tenant = 'rival', key = 'moved'",
]


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("tenant", ["acme", "", None])
def test_nothing_is_written_into_another_tenant(plain: Any, statement: str, tenant: str | None) -> None:
    _, url = plain
    if tenant != "acme" and statement.startswith("update"):
        assert run(url, statement, tenant) == [0]
    else:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            run(url, statement, tenant)
    assert [row["key"] for row in run(url, "select * from stateward.memory", "rival")] == ["k"]


def test_a_function_that_leaks_what_it_is_asked_about_is_shown_no_row_of_another_tenant(plain: Any) -> None:
    _, url = plain
    leaky = """create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0000001
               as $$ begin raise exception 'leaked %', $1; end $$"""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(leaky)
        connection.execute("select * from stateward.memory where pg_temp.leak(value::text)")
        with connection.transaction():
            connection.execute("select set_config('stateward.tenant', 'acme', true)")
            with pytest.raises(psycopg.errors.RaiseException, match="acme"):
                connection.execute("select * from stateward.memory where pg_temp.leak(value::text)")


@pytest.mark.parametrize("name", [name for name in statements("memory").names() if name not in _OTHERS])
def test_every_read_is_one_tenants_and_leaves_no_tenant_behind(plain: Any, name: str) -> None:
    _, url = plain
    values = {
        "tenant": "acme",
        "subject": "customer:17",
        "purpose": "bank",
        "namespace": ["note"],
        "key": "k",
        "query": "new",
        "part": None,
        "filter": None,
        "vector": [1.0],
        "limit": 10,
        "offset": 0,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        for tenant, found in (("acme", 1), ("rival", 1), ("nobody", 0), ("", 0)):
            with connection.transaction():
                rows = connection.execute(statements("memory")[name], values | {"tenant": tenant}).fetchall()
                assert len(rows) == found
                assert connection.execute("select * from stateward.memory").fetchall() == []
                assert connection.execute("select current_user = session_user").fetchone() == (True,)


@pytest.mark.parametrize("function", ["find_item", "find_versions", "find_items", "find_namespaces"])
def test_a_read_that_names_no_tenant_finds_nothing(plain: Any, function: str) -> None:
    """Our own functions without their conditions: it is the database that keeps tenants apart, not they."""
    _, url = plain
    more = {
        "find_item": ", array['note'], 'k'",
        "find_versions": ", array['note'], 'k'",
        "find_items": ", array['note'], null, null, 10, 0, 'new'",
    }.get(function, "")
    with psycopg.connect(url) as connection:
        found = connection.execute("select pg_get_functiondef(oid) from pg_proc where proname = %s", [function])
        (text,) = found.fetchone() or ("",)
        assert "tenant = p_tenant and" in text
        connection.execute(text.replace("tenant = p_tenant and", ""))
        call = f"select * from stateward.{function}(%s, 'customer:17', 'bank'{more})"
        for tenant, rows in (("acme", 1), ("rival", 1), ("nobody", 0)):
            assert len(connection.execute(call, [tenant]).fetchall()) == rows  # pyright: ignore[reportCallIssue, reportArgumentType]
        connection.rollback()


def test_the_setting_ends_with_the_transaction(plain: Any) -> None:
    runtime, _ = plain
    memory = runtime.services.memory

    async def look() -> list[Any]:
        found = []
        for tenant in TENANTS * 3:
            items = await memory.search(scope(tenant=tenant), Search(prefix=("note",)))
            found += [item.value["of"] == tenant for item in items]
            rows = await runtime.inner.database.all(b"select * from stateward.memory")
            found += [not rows]
        return found

    assert blocking(runtime.services.loop, look()) == [True] * 12


def test_pseudonyms_are_kept_apart_likewise(plain: Any) -> None:
    runtime, url = plain

    async def issue() -> None:
        for tenant in TENANTS:
            value = KnownValue(entity="PERSON", value=f"Jane of {tenant}")
            await runtime.services.vault.issue(scope(f"of-{tenant}", tenant=tenant), [value])

    blocking(runtime.services.loop, issue())
    for unset in (None, ""):
        assert run(url, "select * from stateward.pseudonym", unset) == []
    for tenant in TENANTS:
        assert [row["tenant"] for row in run(url, "select * from stateward.pseudonym", tenant)] == [tenant]
    assert run(url, "update stateward.pseudonym set number = 9 where tenant = 'rival' returning *", "acme") == []
    assert run(url, "delete from stateward.pseudonym where tenant = 'rival' returning *", "acme") == []


def test_a_superuser_steps_down_before_it_looks(runtime: Runtime, database_url: str) -> None:
    blocking(runtime.services.loop, fill(runtime.inner))

    async def look() -> list[Any]:
        async with runtime.inner.database.transaction() as connection:
            await connection.execute(statements("memory")["enter"], {"tenant": "acme"})
            found = await (await connection.execute("select current_user, value from stateward.memory")).fetchall()
        return [(row["current_user"], row["value"]["of"]) for row in found]

    assert blocking(runtime.services.loop, look()) == [("stateward_memory", "acme")]
    assert len(run(database_url, "select * from stateward.memory")) == 2  # which is what it has to step down from
    for tenant, found in ((None, []), ("acme", ["acme"])):
        rows = run(database_url, "select * from stateward.memory", tenant, "stateward_memory")
        assert [row["value"]["of"] for row in rows] == found


def test_what_it_steps_down_to_reaches_nothing_else(runtime: Runtime, database_url: str) -> None:
    tables = run(database_url, "select tablename from pg_tables where schemaname = 'stateward'")
    reached = []
    for name in [row["tablename"] for row in tables]:
        try:
            run(database_url, f"select * from stateward.{name}", "acme", "stateward_memory")
            reached.append(name)
        except psycopg.errors.InsufficientPrivilege:
            pass
    assert sorted(reached) == sorted([*TABLES, "pseudonym"])


def test_a_login_of_one_call_sees_no_memory(bank: Bank) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(bank.url, "select * from stateward.memory", "default", "stateward_call")


def test_each_tenant_is_swept_and_keeps_what_has_not_expired(plain: Any) -> None:
    runtime, url = plain
    assert blocking(runtime.services.loop, runtime.services.memory.sweep()) == 0
    assert run(url, "update stateward.memory set expires_at = now()", "rival") == [1]
    assert blocking(runtime.services.loop, runtime.services.memory.sweep()) == 1
    assert [len(run(url, "select * from stateward.memory", tenant)) for tenant in TENANTS] == [1, 0]
    blocking(runtime.services.loop, fill(runtime.inner))


def test_a_thread_of_another_tenant_with_the_same_name_of_everything_finds_nothing(plain: Any) -> None:
    runtime, _ = plain
    other = Principal("bot", kind="agent", tenant="rival")
    runtime.thread("theirs", principal=other, purpose="bank", subject="customer:17", graph="bank")
    found = blocking(runtime.services.loop, runtime.services.memory.search(scope("theirs", tenant="rival"), Search()))
    assert [item.value["of"] for item in found] == ["rival"]
