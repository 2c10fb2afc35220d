"""The connection pool, transactions, and the schema: migrated once, under a polled advisory lock."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

from psycopg import AsyncConnection, Error, InterfaceError, OperationalError, ProgrammingError, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps
from psycopg_pool import AsyncConnectionPool

from stateward.adapters.postgres.statements import migrations, statements
from stateward.adapters.postgres.texts import dumps
from stateward.errors import DatabaseError, ThreadErased

Connection = AsyncConnection[DictRow]
Row = Mapping[str, Any]
Step = Callable[[Connection], Awaitable[None]]

_LOCK_CLASS = 0x5357  # "SW": the class of our workers' signs of life among advisory locks
_BEAT = 0.25  # seconds within which a sign of life that was cut off is shown again
_STYLES = {"DateStyle": "ISO, MDY", "IntervalStyle": "postgres"}  # those in which psycopg reads times
_ERASED = "SW008"  # raised by `stateward.hold`, with the thread
_SQL = statements("database")
_JOURNAL = statements("journal")


class Database:
    """One pool on one database.

    Args:
        uri: A libpq connection string; it may lead through a pooler in transaction mode.
        size: Most connections of the pool.
        direct: One that reaches Postgres without a pooler, for what is bound to a session; default: `uri`.
    """

    def __init__(self, uri: str, *, size: int = 10, direct: str = "") -> None:
        self.uri, self.direct = uri, direct or uri
        self._has_direct, self._pooled = bool(direct), False
        self.worker = secrets.randbelow(2**31 - 1) + 1
        self.pool: AsyncConnectionPool[Connection] = _Pool(
            uri,
            min_size=1,
            max_size=size,
            open=False,
            connection_class=Connection,
            configure=self._configure,
            kwargs={"autocommit": True, "row_factory": dict_row},
        )
        self._life: Connection | None = None
        self._living = asyncio.Lock()
        self._heart: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            DatabaseError: nobody answers at an address, the login is refused, or only a pooler answers.
        """
        self._pooled, place = await _met(self.uri, "DATABASE_URL")
        if self._pooled and not self._has_direct:
            raise DatabaseError(
                "a connection pooler such as PgBouncer answers at DATABASE_URL, and locks that live as long as a "
                "process cannot be held through it. Set STATEWARD_DIRECT_URL to a connection string that reaches "
                "Postgres itself; where the pooler is in session mode, the same one will do."
            )
        if self.direct != self.uri and (await _met(self.direct, "STATEWARD_DIRECT_URL"))[1] != place:
            raise DatabaseError("STATEWARD_DIRECT_URL reaches another database than DATABASE_URL: name the same one")
        await self.pool.open(wait=True)

    async def close(self) -> None:
        """Close every connection."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait([self._heart])
        if self._life is not None:
            await self._life.close()
        await self.pool.close()

    async def live(self) -> None:
        """Show a sign of life that ends with this process: an advisory lock on a connection of its own."""
        if self._heart is None:
            self._heart = asyncio.create_task(self._beat(), name="stateward sign of life")
        async with self._living:
            if self._life is not None and await self._holds(self._life):
                return
            life = await self._connect()
            try:
                await life.execute(_JOURNAL["hold_sign_of_life"], {"class": _LOCK_CLASS, "worker": self.worker})
                self._life = life
            except Error as error:
                raise _unusable(error) from error
            finally:
                if self._life is not life:
                    await life.close()

    async def lives(self, worker: int) -> bool:
        """Whether that worker still shows its sign of life; one that lost its connection has a moment to come back."""
        for pause in (_BEAT, 2 * _BEAT, 0):
            row = await self.one(_JOURNAL["worker_lives"], {"class": _LOCK_CLASS, "worker": worker})
            if row is not None and not row["dead"]:
                return True
            await asyncio.sleep(pause)
        return False

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection of the pool.

        Raises:
            DatabaseError: none could be had in time, it was lost, or the server has no room left.
        """
        try:
            async with self.pool.connection() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise _unusable(error) from error
        except Error as error:
            if error.sqlstate == _ERASED:
                raise ThreadErased(str(error.diag.message_primary)) from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection in a transaction. Errors as `connection`."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def one(self, statement: bytes, values: Mapping[str, Any] | None = None) -> Row | None:
        """The first row of a statement of its own."""
        async with self.connection() as connection:
            return await fetch_one(connection, statement, values)

    async def all(self, statement: bytes, values: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """All rows of a statement of its own."""
        async with self.connection() as connection:
            return await (await connection.execute(statement, values)).fetchall()

    async def about(self) -> Row:
        """Version, database, user, and whether logins can be minted."""
        row = await self.one(_SQL["about"])
        if row is None:
            raise DatabaseError("the server says nothing about itself")
        return row

    async def migrate(self, extra: Sequence[tuple[str, str]] = (), *, before: Mapping[str, Step] | None = None) -> None:
        """Bring the schema up to date, once, whoever else tries at the same time.

        Args:
            extra: Name and text of a workflow's own migrations, after ours.
            before: What is done in a migration's transaction before its text, by its name.

        Raises:
            DatabaseError: a migration that has run has another text now.
        """
        # LangGraph's server refuses file access on an event loop.
        ours = await asyncio.to_thread(migrations)
        async with await self._connect() as connection:
            await _poll_lock(connection)
            await connection.execute(_SQL["create_schema"])
            await connection.execute(_SQL["create_migrations"])
            await _apply(connection, [*ours, *extra], before or {})
            await connection.execute(_SQL["unlock"])

    async def _beat(self) -> None:
        # Without it a worker whose connection is cut during a long call would be taken for dead, and the call repeated.
        while True:
            await asyncio.sleep(_BEAT)
            with suppress(DatabaseError):  # the server is away: the next beat tries again
                await self.live()

    async def _holds(self, life: Connection) -> bool:
        if _is_quiet(life):
            return True
        # A server that was restarted has forgotten the lock, and this connection does not know it yet.
        values = {"class": _LOCK_CLASS, "worker": self.worker}
        try:
            row = await fetch_one(life, _JOURNAL["worker_lives"], values)
        except Error:
            await life.close()
            return False
        return row is not None and not row["dead"]

    async def connect(self) -> Connection:
        """A connection beside the pool's, for whoever keeps it."""
        connection = await AsyncConnection[DictRow].connect(
            self.uri, autocommit=True, row_factory=dict_row, connect_timeout=10
        )
        await self._configure(connection)
        return connection

    async def _connect(self) -> Connection:
        try:
            return await AsyncConnection[DictRow].connect(
                self.direct, autocommit=True, row_factory=dict_row, connect_timeout=10
            )
        except OperationalError as error:
            raise _unusable(error) from error

    async def _configure(self, connection: Connection) -> None:
        set_json_dumps(dumps, connection)
        if any(connection.info.parameter_status(name) != style for name, style in _STYLES.items()):
            await connection.execute(_SQL["styles"])  # PgBouncer keeps these for each of its clients
        # What one transaction prepares, the next one finds on another server's session, or not at all.
        if self._pooled:
            connection.prepare_threshold = None


def _unusable(error: Error) -> DatabaseError:
    said = str(error).strip()
    return DatabaseError(f"Postgres cannot be used: {said}. What was committed stays; go on once that is mended.")


async def _met(uri: str, setting: str) -> tuple[bool, Any]:
    """Whether a pooler answers there, for its greeting names a process of its own; and which database it leads to."""
    check_address(uri, setting)
    try:
        async with await AsyncConnection[DictRow].connect(uri, connect_timeout=10, row_factory=dict_row) as connection:
            row = await fetch_one(connection, _SQL["met"]) or {}
            return row["pid"] != connection.info.backend_pid, (row["database"], row["since"])
    except Error as error:
        raise DatabaseError(f"Postgres cannot be reached: {str(error).strip()}. Check {setting}.") from error


def check_address(uri: str, setting: str) -> None:
    """Refuse an address that libpq cannot read, whose own words would repeat it with its password.

    Raises:
        DatabaseError: it cannot be read.
    """
    try:
        parts = conninfo_to_dict(uri)
        # An unescaped @ or / in the password ends it early, and the rest is taken for a host, a port or a database.
        is_read = not re.search(r"@", f"{parts.get('host')}{parts.get('dbname')}") and re.fullmatch(
            r"[\d,]*", str(parts.get("port") or "")
        )
    except ProgrammingError:
        is_read = None
    if not is_read:
        raise DatabaseError(
            f"{setting} is no address that Postgres knows: write postgresql://USER:PASSWORD@HOST:5432/DATABASE, "
            "without SQLAlchemy's +driver, and signs such as @ and / in the password as %40 and %2F"
        )


class _Pool(AsyncConnectionPool[Connection]):
    """A pool that hands out no connection that has died with its backend, and loses no time over those.

    The pool's own `check` asks the server each time, and waits ever longer from one dead connection to the next.
    """

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109  the pool's own signature
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = await super().getconn(deadline - monotonic())
            if await _answers(connection):
                return connection
            await self.putconn(connection)  # which throws it away, and makes another


async def _answers(connection: Connection) -> bool:
    if _is_quiet(connection):
        return True
    try:
        await AsyncConnectionPool.check_connection(connection)  # pyright: ignore[reportArgumentType]
    except Error:
        return False
    return True


def _is_quiet(connection: Connection) -> bool:
    """Whether an idle connection has nothing to read: a server that hung up has left the end of the stream there."""
    if connection.closed or connection.broken:
        return False
    try:
        readable, _, _ = select.select([connection.fileno()], [], [], 0)
    except ValueError:  # more files are open than `select` can watch
        return False
    return not readable


async def fetch_one(connection: Connection, statement: bytes, values: Mapping[str, Any] | None = None) -> Row | None:
    """The first row."""
    return await (await connection.execute(statement, values)).fetchone()


async def _poll_lock(connection: Connection) -> None:
    while True:
        row = await fetch_one(connection, _SQL["try_lock"])
        if row is not None and row["locked"]:
            return
        await asyncio.sleep(0.05)


async def _apply(connection: Connection, wanted: Sequence[tuple[str, str]], before: Mapping[str, Step]) -> None:
    rows = await (await connection.execute(_SQL["migrations"])).fetchall()
    done = {row["name"]: row["checksum"] for row in rows}
    for name, text in wanted:
        checksum = hashlib.sha256(text.encode()).hexdigest()
        if name not in done:
            async with connection.transaction():
                if name in before:
                    await before[name](connection)
                # The text comes from our own files; a parameterless execute may hold many statements.
                await connection.execute(sql.SQL(text))  # pyright: ignore[reportArgumentType]
                await connection.execute(_SQL["note_migration"], {"name": name, "checksum": checksum})
        elif done[name] != checksum:
            raise DatabaseError(
                f"migration {name} has run with another text: restore it and add a new one; if it is not yours, "
                "another version of Stateward made this database: run that one"
            )
