"""Exact counts of what a run does to Postgres: no noise, whatever else the machine is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from psycopg import AsyncConnection, sql

from benchmarks import job
from benchmarks.agents import Run, Variant
from benchmarks.relay import Relay

# Transaction ids, not pg_stat_database: idle connections report their commits there up to ten seconds late.
_NOW = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
WARM_STEPS = 8  # psycopg prepares a statement when it runs it for the sixth time
_QUIET = ("alter system set autovacuum = off", "alter system set checkpoint_timeout = '1h'", "select pg_reload_conf()")
_USUAL = ("alter system reset all", "select pg_reload_conf()")
_COLUMNS = """
select c.table_name, c.column_name, c.data_type from information_schema.columns c
 where c.table_schema = %s and c.table_name like 'checkpoint%%'
   and exists (select from information_schema.columns k where k.table_schema = c.table_schema
                                                        and k.table_name = c.table_name and k.column_name = 'thread_id')
 order by c.table_name, c.ordinal_position
"""
_SIZES = {
    "bytea": "octet_length({})",
    "text": "octet_length({})",
    "json": "octet_length({}::text)",
    "jsonb": "octet_length({}::text)",
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a run did.

    Attributes:
        commits: Transactions that wrote something.
        statements: Statements that the client sent.
        trips: Times that the client waited for the server's answer, or could have.
        logins: Connections opened.
        supersteps: LangGraph's supersteps.
        entries: Entries of our ledger.
        wal: Bytes of write-ahead log.
    """

    commits: float
    statements: float
    trips: float
    logins: float
    supersteps: float
    entries: float
    wal: float

    def each(self, idle: Counts, steps: int) -> Counts:
        """For each step: the difference to a run with so many steps less."""
        return Counts(**{one.name: (getattr(self, one.name) - getattr(idle, one.name)) / steps for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Counts around a run.

    Attributes:
        admin: A connection straight to the server.
        relay: What the run's own connections go through.
    """

    admin: AsyncConnection[Any]
    relay: Relay

    async def count(self, run: Run) -> Counts:
        """Run it once and count, until nothing goes on in the background any more."""
        before, said = await now(self.admin), self._said()
        await run.go()
        await self.relay.settle()
        said = [after - earlier for after, earlier in zip(self._said(), said, strict=True)]
        after = await now(self.admin)
        return Counts(
            commits=after[0] - before[0],
            wal=after[1] - before[1],
            statements=said[0],
            trips=said[1],
            logins=said[2],
            supersteps=run.ticks[-1].superstep,
            entries=await self._entries(run.thread),
        )

    def _said(self) -> list[int]:
        return [self.relay.statements, self.relay.trips, self.relay.logins]

    async def _entries(self, thread: str) -> int:
        query = "select count(*) from stateward.ledger where thread_id = %s"
        row = await (await self.admin.execute(query, (thread,))).fetchone()
        return int(row[0]) if row else 0


async def counted(meter: Meter, variant: Variant, tool: str, *, few: int, many: int) -> Counts:
    """The exact counts of each step: the difference of a long and a short run, over the steps between."""
    await (await variant.run(job.script(tool, WARM_STEPS))).go()
    short = await meter.count(await variant.run(job.script(tool, few)))
    long = await meter.count(await variant.run(job.script(tool, many)))
    return long.each(short, many - few)


async def now(admin: AsyncConnection[Any]) -> tuple[int, int]:
    """The next transaction id, and the position in the write-ahead log."""
    row = await (await admin.execute(_NOW)).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def checkpoint_bytes(admin: AsyncConnection[Any], schema: str, thread: str) -> int:
    """The uncompressed size of everything that a thread has in the schema's tables of checkpoints."""
    columns = await (await admin.execute(_COLUMNS, (schema,))).fetchall()
    assert columns, f"the schema {schema} has no tables of checkpoints"
    tables = {table: [one[1:] for one in columns if one[0] == table] for table, _, _ in columns}
    return sum([await _size(admin, sql.Identifier(schema, table), thread, of) for table, of in tables.items()])


@asynccontextmanager
async def quiet(admin: AsyncConnection[Any]) -> AsyncIterator[None]:
    """Keep the server from writing anything by itself."""
    for statement in ("checkpoint", *_QUIET):
        await admin.execute(statement)
    await asyncio.sleep(0.5)  # every process of the server has read its new settings then
    try:
        yield
    finally:
        for statement in _USUAL:
            await admin.execute(statement)


async def _size(admin: AsyncConnection[Any], table: sql.Identifier, thread: str, columns: list[Any]) -> int:
    sizes = [sql.SQL(_SIZES.get(kind, "pg_column_size({})")).format(sql.Identifier(name)) for name, kind in columns]
    each = sql.SQL(" + ").join(sql.SQL("coalesce({}, 0)").format(one) for one in sizes)
    query = sql.SQL("select coalesce(sum({}), 0) from {} where thread_id = %s").format(each, table)
    row = await (await admin.execute(query, (thread,))).fetchone()
    return int(row[0]) if row else 0
