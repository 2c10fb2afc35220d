"""The append-only trail: entries are written in the transaction of the change that they tell of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Connection, Database, Row, fetch_one
from stateward.adapters.postgres.statements import statements
from stateward.audit.chain import check_chains, parse_entry
from stateward.model.ledger import AuditReport, Entry, Head
from stateward.model.values import Json

_SQL = statements("threads")


async def append(
    connection: Connection,
    thread: str,
    kind: str,
    *,
    actor: str,
    detail: Mapping[str, Json],
    action: str | None = None,
    tool: str | None = None,
) -> int:
    """One entry in the caller's transaction."""
    values: dict[str, Any] = {"thread": thread, "kind": kind, "actor": actor, "action": action, "tool": tool}
    row = await fetch_one(connection, _SQL["append"], values | {"detail": Jsonb(dict(detail))})
    return 0 if row is None else int(row["seq"])


class PostgresLedger:
    """The ledger table."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def append(
        self,
        thread: str,
        kind: str,
        *,
        actor: str,
        detail: Mapping[str, Json],
        action: str | None = None,
        tool: str | None = None,
    ) -> int:
        """One entry in a transaction of its own, for a transition that changes no row."""
        await self._commits.barrier(thread)
        async with self._db.transaction() as connection:
            return await append(connection, thread, kind, actor=actor, detail=detail, action=action, tool=tool)

    async def entries(self, thread: str | None = None) -> AsyncIterator[Entry]:
        """The entries, in the order of the chains."""
        await self._commits.settled(thread)
        for row in await self._db.all(_SQL["entries"], {"thread": thread}):
            yield entry_noun(row)

    async def verify(self, thread: str | None = None) -> AuditReport:
        """Recompute every chain, in one snapshot of heads and entries."""
        await self._commits.settled(thread)
        async with self._db.connection() as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            try:
                async with connection.transaction():
                    heads = await (await connection.execute(_SQL["heads"], {"thread": thread})).fetchall()
                    rows = await (await connection.execute(_SQL["entries"], {"thread": thread})).fetchall()
            finally:
                await connection.set_isolation_level(None)
        ends = [Head(thread=row["thread_id"], seq=row["head_seq"], hash=row["head_hash"]) for row in heads]
        return check_chains([_raw(row) for row in rows], ends)


def entry_noun(row: Row) -> Entry:
    """A row as a noun."""
    return parse_entry(*_raw(row))


def _raw(row: Row) -> tuple[str, int, str, str, str]:
    return row["thread_id"], row["seq"], row["prev"], row["hash"], row["entry"]
