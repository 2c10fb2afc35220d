"""Exact counts of what a run does to Postgres: no noise, whatever else the machine is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

# Transaction ids, not pg_stat_database: idle connections report their commits there up to ten seconds late.
_NOW = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
_QUIET = ("alter system set autovacuum = off", "alter system set checkpoint_timeout = '1h'", "select pg_reload_conf()")
_USUAL = ("alter system reset all", "select pg_reload_conf()")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a run did.

    Attributes:
        commits: Transactions that wrote something.
        trips: Times that the client waited for the server's answer.
        logins: Connections opened.
        checkpoints: Checkpoints kept, one for each superstep.
        entries: Entries of our ledger.
        wal: Bytes of write-ahead log.
    """

    commits: float
    trips: float
    logins: float
    checkpoints: float
    entries: float
    wal: float

    def each(self, idle: Counts, steps: int) -> Counts:
        """For each step: the difference to a run without steps."""
        return Counts(**{one.name: (getattr(self, one.name) - getattr(idle, one.name)) / steps for one in fields(self)})


class Relay:
    """A Unix socket in front of the server's that counts logins and round trips."""

    def __init__(self) -> None:
        self.trips = self.logins = 0

    @asynccontextmanager
    async def listen(self, uri: str, directory: Path) -> AsyncIterator[str]:
        """Relay for the length of the block; gives the connection string that goes through it."""
        target = conninfo_to_dict(uri)
        name = f".s.PGSQL.{target['port']}"

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.logins += 1
            there = await asyncio.open_unix_connection(str(Path(str(target["host"])) / name))
            await asyncio.gather(*self._both((reader, writer), there))

        server = await asyncio.start_unix_server(relay, str(directory / name))
        try:
            yield make_conninfo(uri, host=str(directory))
        finally:
            server.close()

    def _both(self, here: Any, there: Any) -> tuple[Awaitable[None], Awaitable[None]]:
        asked = False

        async def ask() -> None:
            nonlocal asked
            async for chunk in _chunks(here[0], there[1]):
                self.trips += not asked
                asked = True
                there[1].write(chunk)

        async def answer() -> None:
            nonlocal asked
            async for chunk in _chunks(there[0], here[1]):
                asked = False
                here[1].write(chunk)

        return ask(), answer()


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Counts around a run.

    Attributes:
        admin: A connection straight to the server.
        relay: What the run's own connections go through.
    """

    admin: AsyncConnection[Any]
    relay: Relay

    async def count(self, run: Callable[[], Awaitable[str]], schema: str | None) -> Counts:
        """Run it once and count."""
        before, trips, logins = await self._now(), self.relay.trips, self.relay.logins
        thread = await run()
        trips, logins = self.relay.trips - trips, self.relay.logins - logins
        after = await self._now()
        return Counts(
            commits=after[0] - before[0],
            wal=after[1] - before[1],
            trips=trips,
            logins=logins,
            checkpoints=await self._rows(schema, "checkpoints", thread) if schema else 0,
            entries=await self._rows("stateward", "ledger", thread),
        )

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Keep the server from writing anything by itself."""
        for statement in ("checkpoint", *_QUIET):
            await self.admin.execute(statement)
        await asyncio.sleep(0.5)  # every process of the server has read its new settings then
        try:
            yield
        finally:
            for statement in _USUAL:
                await self.admin.execute(statement)

    async def _now(self) -> tuple[int, int]:
        row = await (await self.admin.execute(_NOW)).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    async def _rows(self, schema: str, table: str, thread: str) -> int:
        query = sql.SQL("select count(*) from {} where thread_id = %s").format(sql.Identifier(schema, table))
        row = await (await self.admin.execute(query, (thread,))).fetchone()
        return int(row[0]) if row else 0


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
    try:
        while chunk := await reader.read(1 << 16):
            yield chunk
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
