"""LangGraph's own tables, read as they are; and the way in for whole threads, each in one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection, Error, InterfaceError, OperationalError
from psycopg.rows import DictRow, dict_row

from stateward.adapters.postgres.commits import Commits, document
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Connection, Database, Row, check_address, fetch_one
from stateward.adapters.postgres.lanes import Lane, Move
from stateward.adapters.postgres.statements import statements
from stateward.errors import ConfigurationError, DatabaseError, ThreadBusy, ThreadErased
from stateward.model.checkpoint import CheckpointKey, CheckpointRow, WriteRow

_TABLES = statements("langgraph/tables")
_HOME, _USUAL = "stateward", "public"  # where release 0.1.0 kept its own, and where everybody else does
_CHUNK = 16 << 20  # bytes that go to the server at once


class LangGraphTables:
    """The tables of LangGraph's PostgresSaver in one schema of one database; use `open`.

    Attributes:
        connection: The one connection, for upstream's saver; it reads them within `held`.
        schema: Where they are.
    """

    def __init__(self, connection: Connection, schema: str, *, has_paths: bool) -> None:
        self.connection, self.schema, self._has_paths = connection, schema, has_paths

    @classmethod
    @asynccontextmanager
    async def open(cls, uri: str, schema: str | None = None) -> AsyncGenerator[LangGraphTables]:
        """Find the tables.

        Args:
            uri: A libpq connection string; it may lead through a pooler in transaction mode.
            schema: Where they are. Default: `stateward` if they are there, as release 0.1.0 kept its own, else
                `public`.

        Raises:
            DatabaseError: nobody answers at the address, or the login is refused.
            ConfigurationError: they are not there.
        """
        async with await _connected(uri) as connection:
            for candidate in (schema,) if schema else (_HOME, _USUAL):
                found = await fetch_one(connection, _TABLES["there"], {"schema": candidate}) or {}
                if found["complete"]:
                    yield cls(connection, candidate, has_paths=found["has_paths"])
                    return
                if found["some"]:
                    raise ConfigurationError(
                        f"schema {candidate!r} has tables that look like LangGraph's, and not all that its "
                        "PostgresSaver needs: those of its ShallowPostgresSaver, which are not brought over, or this "
                        "login may not read them"
                    )
        places = repr(schema) if schema else f"{_HOME!r} and {_USUAL!r}"
        raise ConfigurationError(f"there are no tables of LangGraph's PostgresSaver in {places}: name their --schema")

    @asynccontextmanager
    async def held(self, *, alone: bool = False) -> AsyncGenerator[None]:
        """A transaction that sees one state of the tables.

        Args:
            alone: Nobody else writes them until its end.

        Raises:
            DatabaseError: they cannot be read, or with `alone` somebody is writing them.
        """
        try:
            async with self.connection.transaction():
                if not alone:
                    await self.connection.execute(_TABLES["one_state"])
                await self.connection.execute(_TABLES["look_into"], {"schema": self.schema})
                if not self._has_paths:
                    await self.connection.execute(_TABLES["without_paths"])
                if alone:
                    await self.connection.execute(_TABLES["alone"])
                yield
                if not self._has_paths:
                    await self.connection.execute(_TABLES["with_paths"])
        except (OperationalError, InterfaceError) as error:
            raise self._unusable(error) from error

    async def threads(self) -> dict[str, int]:
        """How many checkpoints each thread has, by thread. Errors as `held`."""
        try:
            async with self.held():
                return {row["thread"]: row["checkpoints"] for row in await self._all("threads", {})}
        except Error as error:
            raise self._unusable(error) from error

    async def line(self, thread: str) -> Sequence[Row]:
        """`ns`, `id`, `parent` and number of `writes` of a thread's checkpoints, oldest first; within `held`."""
        return await self._all("line", {"thread": thread})

    async def places(self, thread: str) -> Sequence[Row]:
        """`ns`, `id`, `path`, `task`, `idx` and `channel` of a thread's writes, in no order; within `held`."""
        return await self._all("places", {"thread": thread})

    async def _all(self, name: str, values: Mapping[str, Any]) -> Sequence[Row]:
        return await (await self.connection.execute(_TABLES[name], values)).fetchall()

    def _unusable(self, error: Error) -> DatabaseError:
        return DatabaseError(f"LangGraph's tables in schema {self.schema!r} cannot be used: {str(error).strip()}")


@dataclass(slots=True)
class _Arriving:
    """A thread on its way in.

    Attributes:
        lane: What was put and has not gone to the server.
        connection: In the transaction that the thread becomes visible with.
        stands: Where each namespace stands in that transaction.
        size: Bytes that are in the lane.
    """

    lane: Lane
    connection: Connection
    stands: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0


class Arrivals(Commits):
    """Takes in whole threads, one at a time: what is put within `thread` is seen at its end, or never."""

    def __init__(self, database: Database, keys: DataKeys) -> None:
        super().__init__(database, keys)
        self._sealing = keys
        self._arriving: _Arriving | None = None

    async def here(self, thread: str) -> Sequence[Row]:
        """`ns`, `id`, whether it is a `head`, and number of `writes` of the checkpoints that we keep of a thread."""
        return await self._db.all(_TABLES["here"], {"thread": thread})

    @asynccontextmanager
    async def thread(self, thread: str, heads: Mapping[str, str]) -> AsyncGenerator[None]:
        """Take in a thread that is not here.

        Args:
            thread: The thread; whatever is put in the block is of it.
            heads: For each of its namespaces the checkpoint where it stands at the end.

        Raises:
            ThreadBusy: somebody has begun it here.
            ThreadErased: it was deleted, and stays deleted.
            DatabaseError: the database did not take it.
        """
        lane = Lane(thread, self._loop)
        lane.sealer = await self._sealing.make(thread)
        async with self._db.transaction() as connection:
            arriving = self._arriving = _Arriving(lane, connection)
            yield
            for ns, head in heads.items():
                lane.pending.moves[ns] = Move(was=None, now=head, fork=False)
            await self._hand_over(arriving)

    async def put(self, row: CheckpointRow, *, urgent: bool) -> None:
        """Take a checkpoint."""
        arriving = self._now()
        arriving.lane.pending.put(row)
        await self._taken(arriving, len(row.body) + sum(len(one.body) for one in row.values))

    async def write(self, key: CheckpointKey, rows: tuple[WriteRow, ...], *, urgent: bool, asks: bool = False) -> None:
        """Take a task's writes."""
        arriving = self._now()
        arriving.lane.pending.write(key, rows)
        await self._taken(arriving, sum(len(row.body) for row in rows))

    def _now(self) -> _Arriving:
        assert self._arriving is not None, "put outside `thread`"
        return self._arriving

    async def _taken(self, arriving: _Arriving, size: int) -> None:
        arriving.size += size
        if arriving.size > _CHUNK:
            await self._hand_over(arriving)

    async def _hand_over(self, arriving: _Arriving) -> None:
        for ns, move in arriving.lane.pending.moves.items():
            # It is fenced by where the namespace stands, not by the parent: a fork's is another, or was pruned.
            move.was, move.fork = arriving.stands.get(ns), False
            arriving.stands[ns] = move.now
        flight = (arriving.lane, arriving.lane.take())
        [row] = await self._send(arriving.connection, document([flight], wait=True))
        arriving.lane.landed()
        arriving.size = 0
        if row["status"] == "erased":
            raise ThreadErased(arriving.lane.thread)
        if row["status"] != "open":
            raise ThreadBusy(arriving.lane.thread)


async def left_behind(database: Database) -> int:
    """How many threads the tables of release 0.1.0 still hold, in clear."""
    found = await database.one(_TABLES["has_old_tables"])
    row = await database.one(_TABLES["left_behind"]) if found and found["found"] else None
    return row["threads"] if row else 0


async def _connected(uri: str) -> Connection:
    check_address(uri, "The address of LangGraph's tables")
    try:
        return await AsyncConnection[DictRow].connect(
            uri, autocommit=True, row_factory=dict_row, prepare_threshold=None, connect_timeout=10
        )
    except Error as error:
        raise DatabaseError(f"LangGraph's tables cannot be reached: {str(error).strip()}") from error
