"""Memory rows. Every statement names tenant, subject and purpose, and the database shows no row of another tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Error
from psycopg import errors as pg
from psycopg.types.json import Jsonb

from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Database, Row
from stateward.adapters.postgres.statements import statements
from stateward.errors import DatabaseError, MemoryConflict, MemoryRefused
from stateward.model.memory import Change, MemoryItem, Scope, Search
from stateward.model.values import Json, digest
from stateward.remember.filters import filter_path, plain_part

_SQL = statements("memory")
_SWEPT_AT_ONCE = 1000
_OTHER_VERSION = "SW006"


class PostgresMemory:
    """The memory tables."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def change(self, scope: Scope, changes: Sequence[Change]) -> list[int | None]:
        """Write and delete items with their ledger entries, all or none; the version of each, in order."""
        if not changes:
            return []
        order = sorted(range(len(changes)), key=lambda at: _place(changes[at]))
        given: dict[str, Json] = {
            "tenant": scope.tenant,
            "subject": scope.subject,
            "purpose": scope.purpose,
            "thread": scope.thread,
            "actor": scope.principal,
            "changes": _each_written([changes[at] for at in order]),
        }
        await self._commits.barrier(scope.thread)
        try:
            row = await self._db.one(_SQL["change"], {"changes": Jsonb(given)})
        except DatabaseError as error:
            if not isinstance(error.__cause__, pg.ProgramLimitExceeded):
                raise
            said = error.__cause__.diag.message_primary
            raise MemoryRefused(f"Postgres cannot keep this item so that it can be searched: {said}") from error
        except Error as error:
            if error.sqlstate == _OTHER_VERSION:
                raise MemoryConflict(str(error.diag.message_primary)) from error
            raise
        versions: Sequence[int | None] = row["versions"] if row else ()
        return [version for _, version in sorted(zip(order, versions, strict=True))]

    async def get(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> MemoryItem | None:
        """One item that has not expired."""
        rows = await self._all(_SQL["get_item"], scope, {"namespace": list(namespace), "key": key})
        return memory_item(rows[0]) if rows else None

    async def versions(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> list[MemoryItem]:
        """What an item has said before, newest first."""
        rows = await self._all(_SQL["versions"], scope, {"namespace": list(namespace), "key": key})
        return [memory_item(row) for row in rows]

    async def search(self, scope: Scope, search: Search) -> list[MemoryItem]:
        """Items below a namespace, best first."""
        wanted = search.filter or {}
        part = plain_part(wanted)
        values: dict[str, Any] = {
            "namespace": list(search.prefix),
            "query": search.query or None,
            "filter": filter_path(wanted),
            "part": None if part is None else Jsonb(part),
            "limit": max(search.limit, 0),
            "offset": max(search.offset, 0),
        }
        if not search.query or search.embedding is None:
            return [memory_item(row) for row in await self._all(_SQL["items"], scope, values)]
        values |= {"vector": list(search.embedding)}
        return [memory_item(row) for row in await self._all(_SQL["items_by_both"], scope, values)]

    async def namespaces(self, scope: Scope) -> list[tuple[str, ...]]:
        """The namespaces that hold something."""
        return [tuple(row["namespace"]) for row in await self._all(_SQL["namespaces"], scope, {})]

    async def sweep(self) -> int:
        """Delete what has expired and nothing holds, in batches; returns how many items and former versions."""
        swept = 0
        for row in await self._db.all(_SQL["tenants"]):
            more = 1
            while more:
                found = await self._db.one(_SQL["sweep"], {"tenant": row["tenant"], "batch": _SWEPT_AT_ONCE})
                more = int(found["swept"]) if found else 0
                swept += more
        return swept

    async def recall_by_meaning(self) -> None:
        """Make a search by meaning possible.

        Raises:
            DatabaseError: the server has no pgvector, or this login may not create it.
        """
        try:
            async with self._db.connection() as connection:
                await connection.execute(_SQL["recall_by_meaning"])
        except Error as error:
            said = error.diag.message_primary or str(error)
            raise DatabaseError(
                f"embeddings are configured, and this database has no pgvector: {said}. Install pgvector "
                "on the server, or let an administrator run `create extension vector` here; or open the runtime "
                "without embeddings."
            ) from error

    async def _all(self, statement: bytes, scope: Scope, values: dict[str, Any]) -> Sequence[Row]:
        named = {"tenant": scope.tenant, "subject": scope.subject, "purpose": scope.purpose}
        return await self._db.all(statement, named | values)


def _place(change: Change) -> tuple[tuple[str, ...], str]:
    return change.namespace, change.key


def _each_written(changes: Sequence[Change]) -> list[Json]:
    """The changes, in order of their items; one that comes after another of its item says so."""
    before = [None, *map(_place, changes)]
    return [
        _written(change) | ({"again": True} if _place(change) == place else {})
        for change, place in zip(changes, before, strict=False)
    ]


def _written(change: Change) -> dict[str, Json]:
    written: dict[str, Json] = {
        "namespace": list(change.namespace),
        "key": change.key,
        "item": digest([*change.namespace, change.key]),
        "action": change.action,
        "version": change.version,
    }
    if change.value is not None:
        written |= {
            "kind": change.kind,
            "value": dict(change.value),
            "keep": change.keep.total_seconds(),
            "labels": list(change.labels),
            "sensitivity": change.sensitivity,
            "note": dict(change.note),
        }
    if change.embedding is not None:
        written["embedding"] = [float(one) for one in change.embedding]
    return written


def memory_item(row: Row) -> MemoryItem:
    """A row as a noun."""
    more: dict[str, Any] = dict(row) | {name: tuple(row[name]) for name in ("namespace", "labels")}
    return MemoryItem(**more)
