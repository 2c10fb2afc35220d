"""The Postgres adapter: its statements, its migrations, and the logins that it lends to tools."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import stateward
import stateward.adapters.postgres.statements as statements_module
from bank import BOOKS, Bank
from stateward import AsyncRuntime, Effect, Principal, Settings, call
from stateward.adapters.postgres import commits
from stateward.adapters.postgres.credentials import PostgresCredentials
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.statements import migrations, statements
from stateward.errors import ConfigurationError, DatabaseError, NotDurable
from stateward.model.effect import Credential
from stateward.model.policy import Identity
from stateward.model.verdict import Permit
from stateward.testing.contracts.samples import asks, facts, judged, past
from stateward.testing.databases import Databases

SQL = Path(statements_module.__file__).parent / "sql"
NAMED = [(path.stem, name) for path in sorted(SQL.glob("*.sql")) for name in statements(path.stem).names()]
WRITER = Identity(kind="credential", role="bank_writer")
ACTION, OTHER, THIRD = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[str]:
    """One migrated database for the tests that only look."""
    with databases.fresh() as url:
        yield url


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}.{name}" for file, name in NAMED])
def test_every_statement_fits_the_schema(shared: str, file: str, name: str) -> None:
    text = statements(file)[name].decode()
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    text = re.sub(r"%\((\w+)\)[sb]", numbered, text).replace("%%", "%")
    with psycopg.connect(shared, autocommit=True) as connection:
        if text.startswith("create"):
            connection.execute(f"explain {text}") if text.startswith("create table as") else connection.execute(text)
        else:
            connection.execute(f"prepare checked as {text}")


def test_a_thread_whose_rows_another_holds_is_busy(shared: str) -> None:
    """Promise P11 rests on it: a commit that does not wait for a thread leaves it out."""

    def admitted(thread: str) -> str:
        with psycopg.connect(shared, autocommit=True, options="-c statement_timeout=20s") as other:
            ask = "select (stateward.admit(%s, gen_random_uuid(), false)).status"
            return (other.execute(ask, [thread]).fetchone() or ("",))[0]

    assert admitted("held") == "open"
    with psycopg.connect(shared) as holder:
        holder.execute("select from stateward.checkpoint_thread where thread_id = 'held' for no key update")
        assert admitted("held") == "busy"
        assert admitted("another") == "open"
    assert admitted("held") == "open"
    with psycopg.connect(shared) as holder:
        holder.execute("insert into stateward.checkpoint_thread (thread_id) values ('begun')")
        assert admitted("begun") == "busy"
    assert admitted("begun") == "open"


WAITING = """
insert into stateward.thread (thread_id, tenant, principal, roles, requester, purpose, subject, graph, graph_version)
values ('waits', 'default', 'bot', '{}', 'ann', 'bank', 's', 'bank', '1');
insert into stateward.approval (approval_id, tenant, thread_id, turn, kind, tool, requirements,
    allowed, digest, requester, subject, expires_at, remind_at)
select 'A-' || n, 'default', 'waits', 't', 'outcome', 'pay', '[]', '{}', '', 'ann', 's',
       now() + interval '1 d', now() + interval '1 h' from generate_series(1, 3000) as n;
insert into stateward.memory (tenant, subject, namespace, key, kind, purpose, value, source, expires_at)
select 'default', 's', '{n}', n::text, 'note', 'bank', '{}', 'waits', now() + interval '1 d'
  from generate_series(1, 3000) as n;
analyze stateward.approval, stateward.memory;
"""
READ = """
select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int as read from pg_stat_xact_user_tables
 where schemaname = 'stateward' and relname in ('approval', 'memory')
"""


@pytest.mark.parametrize(("file", "name"), [("desk", "tick"), ("memory", "sweep")])
def test_the_clock_reads_what_is_due_and_not_what_waits(databases: Databases, file: str, name: str) -> None:
    """They are called again and again, and find nothing most of the time."""
    with databases.fresh() as url, psycopg.connect(url) as connection:
        connection.execute(WAITING)
        connection.commit()
        connection.execute(statements(file)[name], {"limit": 1000, "tenant": "default", "batch": 1000})
        assert connection.execute(READ).fetchone() == (0,)


@pytest.mark.parametrize(("part", "path"), [(None, None), ("{}", None), (None, "$"), ("{}", "$")])
def test_the_newest_items_are_read_and_not_all_that_a_filter_lets_through(
    databases: Databases, part: str | None, path: str | None
) -> None:
    values = {"tenant": "default", "subject": "s", "purpose": "bank", "namespace": ["n"], "part": part, "filter": path}
    with databases.fresh() as url, psycopg.connect(url) as connection:
        connection.execute(WAITING)
        connection.commit()
        asked = values | {"limit": 10, "offset": 5, "query": None}
        assert len(connection.execute(statements("memory")["items"], asked).fetchall()) == 10
        assert connection.execute(READ).fetchone() == (15,)


def test_what_is_remembered_anew_is_not_swept(databases: Databases) -> None:
    with databases.fresh() as url, psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as sweeper:
        sweeper.execute(WAITING + "update stateward.memory set expires_at = now() where key = '7'")
        writer.execute("update stateward.memory set expires_at = now() + interval '1 d' where key = '7'")
        sweeper.execute("set statement_timeout = '10s'")
        values = {"tenant": "default", "batch": 1000}
        assert sweeper.execute(statements("memory")["sweep"], values).fetchone() == (0,)
        writer.commit()
        assert sweeper.execute("select count(*) from stateward.memory").fetchone() == (3000,)


async def test_a_checkpoint_is_waited_for_while_the_one_before_it_is_under_way(
    async_runtime: AsyncRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes its time is no graph without our checkpointer, and who looks at the thread no server."""
    monkeypatch.setattr(commits, "_ACCEPTED", 0.2)
    ours: commits.Commits = async_runtime.services.journal._commits  # type: ignore[attr-defined]
    lane = ours.lane("t")
    lane.arriving = 1
    following = asyncio.create_task(ours.follow("t", "c"))
    await asyncio.sleep(0.6)
    assert not following.done()
    lane.arriving = 0
    for at in range(100):
        lane.loaded(("", f"another-{at}"), head=False, moves=lane.moves)
        if (await asyncio.wait([following], timeout=0.1))[0]:
            break
    with pytest.raises(NotDurable):
        following.result()


def test_every_statement_has_a_sentence(shared: str) -> None:
    for path in SQL.glob("*.sql"):
        for part in path.read_text().split("-- name: ")[1:]:
            assert part.splitlines()[1].startswith("-- "), part.splitlines()[0]


def test_python_holds_no_statement_that_is_not_there() -> None:
    used = set()
    for path in SQL.parent.glob("*.py"):
        used |= set(re.findall(r"_(?:SQL|JOURNAL|ACTIONS|MEMORY|THREADS)\[\"(\w+)\"\]", path.read_text()))
    named = {name for _, name in NAMED}
    assert used <= named
    assert named <= used, f"nobody uses {sorted(named - used)}"


def schema(url: str) -> list[Any]:
    query = """select table_name, column_name, data_type, is_nullable, column_default, generation_expression
                 from information_schema.columns where table_schema = 'stateward' order by 1, 2"""
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


async def test_many_who_migrate_at_once_migrate_once(databases: Databases, shared: str, tmp_path: Path) -> None:
    with databases.empty() as url:
        settings = Settings(home=tmp_path, database_url=url, pool_size=2)

        async def connect() -> None:
            async with AsyncRuntime.connect(settings=settings, migrations=[("books", BOOKS)]):
                pass

        await asyncio.gather(*(connect() for _ in range(6)))
        assert schema(url) == schema(shared)
        with psycopg.connect(url) as connection:
            done = [row[0] for row in connection.execute("select name from stateward.migration order by applied_at")]
    assert done == [*(name for name, _ in migrations()), "books"]


MIGRATE = """
import asyncio, sys
from stateward.adapters.postgres.database import Database
async def main():
    database = Database(sys.argv[1])
    await database.migrate()
asyncio.run(main())
"""


def test_processes_that_migrate_at_once_migrate_once(databases: Databases, shared: str) -> None:
    with databases.empty() as url:
        command = [sys.executable, "-W", "error", "-c", MIGRATE, url]
        started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(6)]
        said = [process.communicate(timeout=60)[1].decode() for process in started]
        assert said == [""] * 6
        assert schema(url) == schema(shared)


async def test_a_workflows_own_migrations_run_once(async_runtime: AsyncRuntime) -> None:
    counted = "create table if not exists public.counted (n int); insert into public.counted values (1);"
    for _ in range(3):
        await async_runtime.apply([("counted", counted)])
    with psycopg.connect(async_runtime.settings.database_url) as connection:
        assert connection.execute("select count(*) from public.counted").fetchone() == (1,)


async def test_a_migration_whose_text_has_changed_is_refused(async_runtime: AsyncRuntime) -> None:
    await async_runtime.apply([("mine", "create table public.mine (n int)")])
    with pytest.raises(DatabaseError, match="migration mine has run with another text"):
        await async_runtime.apply([("mine", "create table public.mine (n bigint)")])


async def test_a_migration_that_fails_leaves_nothing_and_can_be_mended(async_runtime: AsyncRuntime) -> None:
    with pytest.raises(psycopg.Error):
        await async_runtime.apply([("half", "create table public.half (n int); select 1 / 0;")])
    await async_runtime.apply([("half", "create table public.half (n int)")])


async def test_a_percent_sign_in_a_migration_is_a_percent_sign(async_runtime: AsyncRuntime) -> None:
    await async_runtime.apply([("percent", "create table public.p as select '100%s {}' as text")])
    with psycopg.connect(async_runtime.settings.database_url) as connection:
        assert connection.execute("select text from public.p").fetchone() == ("100%s {}",)


async def test_an_address_where_nobody_answers_is_said_so(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseError, match="Check DATABASE_URL"):
        async with AsyncRuntime.connect(settings=settings):
            pass


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://app:s3cret@localhost/app",
        "mysql://app:s3cret@localhost/app",
        "app:s3cret",
        "postgresql://app:p@s3cret@localhost/app",
        "postgresql://app:p/s3cret@localhost/app",
    ],
)
async def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path, address: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        async with AsyncRuntime.connect(settings=Settings(home=tmp_path, database_url=address)):
            pass
    told = "".join(traceback.format_exception(raised.value))
    assert "write postgresql://USER:PASSWORD@HOST:5432/DATABASE" in told
    assert "s3cret" not in told


@pytest.mark.parametrize("style", ["datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'"])
async def test_times_are_read_however_the_server_writes_them(settings: Settings, style: str) -> None:
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"alter database {connection.info.dbname} set {style}".encode())
    async with AsyncRuntime.connect(settings=settings) as runtime:
        await runtime.services.threads.open(facts())
        await runtime.services.journal.record(facts(), [judged()], actor="bot")
        assert (await runtime.services.journal.history(facts(), past()))[past().queries[0]] == 1
        assert (await runtime.find_thread("t1")).created_at.tzinfo is not None


@pytest.mark.parametrize(
    ("arguments", "total"),
    [({"amount": 5}, 5.0), ({}, 0.0), ({"amount": None}, 0.0), ({"amount": "5"}, None), ({"amount": True}, None)],
    ids=str,
)
async def test_a_rule_that_comes_later_adds_up_what_was_kept_in_clear_or_nothing(
    async_runtime: AsyncRuntime, arguments: dict[str, Any], total: float | None
) -> None:
    await async_runtime.services.threads.open(facts())
    await async_runtime.services.journal.record(facts(), [judged(arguments=arguments)], actor="bot")
    assert (await async_runtime.services.journal.history(facts(), past())).get(past().queries[1]) == total


@pytest.mark.parametrize("name", ["amount of Jane", "amount", "other"])
async def test_an_argument_whose_name_is_not_kept_is_not_taken_for_one_that_is_not_there(
    async_runtime: AsyncRuntime, name: str
) -> None:
    await async_runtime.services.threads.open(facts())
    row = judged(arguments={"amount": 5, "a name that says something": 1})
    await async_runtime.services.journal.record(facts(), [row], actor="bot")
    query = replace(past().queries[1], argument=name)
    found = await async_runtime.services.journal.history(facts(), replace(past(), queries=[query]))
    assert found.get(query) == {"amount of Jane": None, "amount": 5.0, "other": 0.0}[name]


async def test_what_is_sealed_is_read_however_the_server_writes_bytes(settings: Settings) -> None:
    """In the documents that the database's functions give, it is text."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"alter database {connection.info.dbname} set bytea_output = 'escape'".encode())
    async with AsyncRuntime.connect(settings=settings) as runtime:
        await runtime.services.threads.open(facts())
        for at in range(16):  # each of other random bytes
            call = judged(asks(), call=f"c{at}", position=at, arguments={"amount": at, "to": "Zo\u00eb"})
            await runtime.services.journal.record(facts(), [call], actor="bot")
        seen = await runtime.services.desk.look("t1", "turn-1")
        assert [one.arguments["amount"] for one in seen.questions] == [*range(16)]
        assert {one.action.call.arguments["to"] for one in seen.actions} == {"Zo\u00eb"}


# A login that was lent for one call.


@asynccontextmanager
async def lent(runtime: AsyncRuntime, *, action: str = ACTION) -> AsyncIterator[tuple[Any, Credential]]:
    """A connection as the login of an effect that is running."""
    await runtime.apply([("books", BOOKS)])
    if await runtime.services.threads.find("t") is None:
        await runtime.thread("t", principal=Principal("bot", kind="agent"), purpose="bank", subject="s")
        await runtime.database.one(EFFECTS.encode())
    permit = Permit(action=action, thread="t", call="c", tool="post", arguments={}, effect="write", identity="writer")
    credentials = PostgresCredentials(runtime.database, runtime.keys)
    async with credentials.lend(permit, identity=WRITER, attempt=1) as credential:
        connect = psycopg.AsyncConnection.connect(credential.secret, row_factory=dict_row, autocommit=True)
        connection = await connect
        async with connection:
            yield connection, credential


EFFECTS = f"""
with a as (
    insert into stateward.action (action_id, thread_id, tenant, turn, position, call_id, tool, tool_digest,
        arguments_digest, effect, idempotent, policy, policy_digest, verdict, status)
    select id, 't', 'default', 'turn', 0, id, 'post', '', '', 'write', false, 'bank@1', '', 'allow',
           'consumed'
      from unnest(array['{ACTION}', '{OTHER}', '{THIRD}']) as id
    returning action_id)
insert into stateward.effect (action_id, thread_id, tenant, tool, key, status, worker)
select action_id, 't', 'default', 'post', 'sw-' || action_id, 'reserved', 1 from a returning 1
"""

REFUSED = [
    "select * from stateward.thread",
    "select * from stateward.ledger",
    "select * from stateward.action",
    "select * from stateward.effect",
    "select * from stateward.approval",
    "select * from stateward.memory",
    "select * from stateward.checkpoint",
    "select * from stateward.checkpoint_value",
    "select * from stateward.data_key",
    "select stateward.flush('{}', '{}')",
    "update stateward.effect set status = 'settled'",
    "update stateward.approval set status = 'approved'",
    "insert into stateward.signature (approval_id, principal, roles, verified_by, decision) "
    "values ('a', 'boss', '{}', 'x', 'approve')",
    "delete from stateward.ledger",
    "truncate stateward.ledger",
    "select stateward.append('t', 'approval.approved', 'boss', null, null, '{}')",
    "select stateward.mint('stateward_call_x', 'bank_writer', 'md5x', 60)",
    "select stateward.unmint('stateward_call_x')",
    "select stateward.sweep_roles()",
    f'select stateward.reserve(\'{{"action": "{OTHER}"}}\')',
    f'select stateward.restart(\'{{"action": "{OTHER}"}}\')',
    f'select stateward.settle(\'{{"action": "{OTHER}"}}\')',
    "select stateward.judge('t', '{}')",
    f"select stateward.move_effect('{OTHER}', 1, 'settled', '', '', 'x')",
    "set role postgres",
    "set session authorization postgres",
    "create role more login",
    "grant pg_read_all_data to current_user",
    "create table books.mine (n int)",
    "create table public.mine (n int)",
    "create table stateward.mine (n int)",
    "select * from books.entry",
    "delete from books.entry",
    "copy (select 1) to program 'true'",
    "alter table stateward.ledger disable trigger all",
]


@pytest.mark.parametrize("statement", REFUSED)
async def test_a_lent_login_may_do_nothing_else(async_runtime: AsyncRuntime, statement: str) -> None:
    async with lent(async_runtime) as (connection, _):
        with pytest.raises(psycopg.Error) as refused:
            await connection.execute(statement)
    assert refused.value.sqlstate in ("42501", "28000", "0LP01", "SW003"), refused.value


async def test_a_lent_login_does_what_its_group_may_and_settles_its_own_effect(async_runtime: AsyncRuntime) -> None:
    async with lent(async_runtime) as (connection, _):
        await connection.execute("insert into books.entry values ('k', 1, 5)")
        await connection.execute("select stateward.settle_here('{}')")
    rows = await async_runtime.database.all(b"select action_id, status from stateward.effect order by 1")
    assert [row["status"] for row in rows] == ["settled", "reserved", "reserved"]


async def test_it_settles_once(async_runtime: AsyncRuntime) -> None:
    async with lent(async_runtime) as (connection, _):
        await connection.execute("select stateward.settle_here('{}')")
        with pytest.raises(psycopg.Error, match="no longer owns its effect"):
            await connection.execute("select stateward.settle_here('{}')")


async def test_an_older_attempt_does_not_settle(async_runtime: AsyncRuntime) -> None:
    async with lent(async_runtime) as (connection, _):
        await async_runtime.database.all(b"update stateward.effect set attempt = 2 returning 1")
        with pytest.raises(psycopg.Error, match="no longer owns its effect"):
            await connection.execute("select stateward.settle_here('{}')")


async def test_nobody_else_settles(async_runtime: AsyncRuntime) -> None:
    with pytest.raises(psycopg.Error, match="only a role of one call"):
        await async_runtime.database.one(b"select stateward.settle_here('{}')")


async def test_its_own_tables_cannot_be_put_in_place_of_ours(async_runtime: AsyncRuntime) -> None:
    async with lent(async_runtime, action=THIRD) as (connection, _):
        await connection.execute("create temp table effect (action_id text, attempt int, status text)")
        await connection.execute("set search_path = pg_temp, public")
        await connection.execute("select stateward.settle_here('{}')")
    row = await async_runtime.database.one(f"select status from stateward.effect where action_id = '{THIRD}'".encode())
    assert row == {"status": "settled"}


DISGUISED = """
create table pg_temp.seen (who name);
grant insert on pg_temp.seen to public;
create function pg_temp.look(value pg_catalog.text) returns boolean language plpgsql as $$
begin
    insert into pg_temp.seen values (current_user);
    return true;
end $$;
create domain pg_temp.text as pg_catalog.text check (pg_temp.look(value));
"""


async def test_a_type_of_its_own_does_not_run_as_the_owner(async_runtime: AsyncRuntime) -> None:
    async with lent(async_runtime) as (connection, _):
        await connection.execute(DISGUISED)
        await connection.execute("select stateward.settle_here('{}')")
        assert await (await connection.execute("select who from pg_temp.seen")).fetchall() == []
    assert await roles(async_runtime) == []  # also where the server takes its time to end the session that owns them


async def roles(runtime: AsyncRuntime) -> list[str]:
    """The logins of calls that there are, of this test's actions."""
    query = f"select rolname from pg_roles where rolname ~ '^stateward_call_({ACTION}|{OTHER})' order by 1"
    return [row["rolname"] for row in await runtime.database.all(query.encode())]


async def test_it_is_gone_after_the_call(async_runtime: AsyncRuntime) -> None:
    async with lent(async_runtime) as (_, credential):
        assert await roles(async_runtime) == [credential.user]
    assert await roles(async_runtime) == []


async def test_what_a_crash_left_behind_is_swept_once_it_has_expired(async_runtime: AsyncRuntime) -> None:
    left = f"stateward_call_{OTHER}_1_abcdef"
    mint = f"select stateward.mint('{left}', 'bank_writer', 'x', "
    await async_runtime.apply([("books", BOOKS)])
    await async_runtime.database.one(f"{mint} 3600)".encode())
    await PostgresCredentials(async_runtime.database, async_runtime.keys).sweep()
    assert await roles(async_runtime) == [left]
    async with async_runtime.database.pool.connection() as connection:
        await connection.execute(f"alter role {left} valid until '2020-01-01'".encode())
    async with AsyncRuntime.connect(settings=async_runtime.settings):
        assert await roles(async_runtime) == []


@pytest.mark.parametrize("role", ["postgres", "nobody_at_all", "pg_read_all_data", "pg_write_all_data", "night_shift"])
async def test_only_a_plain_group_is_lent(async_runtime: AsyncRuntime, role: str) -> None:
    await async_runtime.apply([("night", NIGHT_SHIFT)])
    permit = Permit(action=ACTION, thread="t", call="c", tool="post", arguments={}, effect="write", identity="writer")
    with pytest.raises(ConfigurationError, match="does not exist, or is not a plain group role"):
        async with PostgresCredentials(async_runtime.database, async_runtime.keys).lend(
            permit, identity=Identity(kind="credential", role=role), attempt=1
        ):
            pass


NIGHT_SHIFT = """
do $$ begin
    create role night_shift nologin createrole;
exception when duplicate_object or unique_violation then null;
end $$;
"""


def test_the_secret_is_in_no_repr() -> None:
    credential = Credential(identity="writer", user="u", secret="hunter2")
    opens: Any = None
    effect = Effect(action="a", thread="t", key="k", credential=credential, opens=opens)
    assert "hunter2" not in f"{credential!r} {credential} {effect!r} {[effect]} {credential.__str__()}"


def test_the_secret_is_in_no_table_no_activity_and_no_state(bank: Bank) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(str(bank.rows("select * from pg_stat_activity")) + str(bank.rows("select * from pg_authid")))

    secrets: list[str] = []
    lend = PostgresCredentials.lend

    @asynccontextmanager
    async def watched(self: Any, permit: Permit, *, identity: Identity, attempt: int) -> AsyncIterator[Credential]:
        async with lend(self, permit, identity=identity, attempt=attempt) as credential:
            secrets.append(psycopg.conninfo.conninfo_to_dict(credential.secret)["password"])
            yield credential

    bank.during = look
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PostgresCredentials, "lend", watched)
        bank.run([call("post", amount=5)])
    (secret,) = secrets
    kept = [str(bank.rows(f"select t::text from {table} t")) for table in tables(bank)]
    for text in [*seen, *kept]:
        assert secret not in text


def tables(bank: Bank) -> list[str]:
    query = "select schemaname || '.' || tablename as name from pg_tables where schemaname in ('stateward', 'books')"
    return [row["name"] for row in bank.rows(query)]


async def test_a_user_who_may_not_create_roles_is_told_so(async_runtime: AsyncRuntime, databases: Databases) -> None:
    about = await async_runtime.database.about()
    assert about["may_create_roles"] is True
    await async_runtime.apply([("plain", PLAIN_USER)])
    url = psycopg.conninfo.make_conninfo(async_runtime.settings.database_url, user="plain_user", password="plain")
    database = Database(url)
    await database.open()
    try:
        assert (await database.about())["may_create_roles"] is False
    finally:
        await database.close()


PLAIN_USER = """
do $$ begin
    create role plain_user login password 'plain';
exception when duplicate_object or unique_violation then null;
end $$;
"""


def test_the_version_is_the_distributions() -> None:
    assert stateward.__version__
