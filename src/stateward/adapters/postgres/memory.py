"""Memory rows. Every statement names tenant, subject and purpose: what does not match is not found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Database, Row, fetch_one
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.statements import statements
from stateward.model.memory import MemoryItem, Scope
from stateward.model.values import Json, digest
from stateward.remember.filters import matches

_SQL = statements("memory")


class PostgresMemory:
    """The memory table."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def put(
        self,
        scope: Scope,
        *,
        namespace: tuple[str, ...],
        key: str,
        kind: str,
        value: Mapping[str, Json],
        keep: timedelta,
        labels: Collection[str] = (),
        note: Mapping[str, Json] = MappingProxyType({}),
    ) -> int:
        """Write an item and its ledger entry; returns the version."""
        values = _place(scope, namespace, key) | {
            "kind": kind,
            "value": Jsonb(dict(value)),
            "source": scope.thread,
            "keep": keep,
            "labels": list(labels),
        }
        await self._commits.barrier(scope.thread)
        async with self._db.transaction() as connection:
            row = await fetch_one(connection, _SQL["put_item"], values)
            version = int(row["version"]) if row else 0
            detail: dict[str, Json] = {**note, "kind": kind, "item": digest([*namespace, key]), "version": version}
            if row and row["labels"]:
                detail["labels"] = row["labels"]
            await append(connection, scope.thread, "memory.written", actor=scope.principal, detail=detail)
        return version

    async def get(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> MemoryItem | None:
        """One item that has not expired."""
        row = await self._db.one(_SQL["get_item"], _place(scope, namespace, key))
        return None if row is None else _item(row)

    async def delete(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> bool:
        """Remove an item; whether there was one."""
        await self._commits.barrier(scope.thread)
        async with self._db.transaction() as connection:
            if not await fetch_one(connection, _SQL["delete_item"], _place(scope, namespace, key)):
                return False
            detail: dict[str, Json] = {"item": digest([*namespace, key])}
            await append(connection, scope.thread, "memory.deleted", actor=scope.principal, detail=detail)
        return True

    async def search(
        self,
        scope: Scope,
        *,
        prefix: tuple[str, ...],
        query: str | None = None,
        filter_: Mapping[str, object] | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> list[MemoryItem]:
        """Items below a namespace, best first."""
        rows = await self._db.all(
            _SQL["search_items"], _place(scope, prefix, "") | {"prefix": list(prefix), "query": query}
        )
        found = [_item(row) for row in rows if matches(row["value"], filter_ or {})]
        return found[offset : offset + limit]

    async def namespaces(self, scope: Scope) -> list[tuple[str, ...]]:
        """The namespaces that hold something."""
        return [tuple(row["namespace"]) for row in await self._db.all(_SQL["namespaces"], _place(scope, (), ""))]

    async def sweep(self) -> int:
        """Delete what has expired; returns how many items."""
        swept = 0
        while True:
            async with self._db.connection() as connection:
                count = (await connection.execute(_SQL["sweep"])).rowcount
            swept += count
            if count <= 0:
                return swept


def _place(scope: Scope, namespace: tuple[str, ...], key: str) -> dict[str, Any]:
    return {
        "tenant": scope.tenant,
        "subject": scope.subject,
        "purpose": scope.purpose,
        "namespace": list(namespace),
        "key": key,
    }


def _item(row: Row) -> MemoryItem:
    names = (
        "key",
        "kind",
        "subject",
        "purpose",
        "value",
        "source",
        "version",
        "created_at",
        "updated_at",
        "expires_at",
    )
    more = {name: row[name] for name in names}
    return MemoryItem(namespace=tuple(row["namespace"]), labels=tuple(row["labels"]), **more)
