"""The append-only trail: entries are written in the transaction of the change that they tell of.

A text in an entry that may quote people or other systems is sealed before it is hashed, as `{"sealed": ...}`: the chain
holds for ever, and nobody reads the text any more when the thread's key is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Connection, Database, Row, fetch_one
from stateward.adapters.postgres.envelopes import Fields, sealed
from stateward.adapters.postgres.statements import statements
from stateward.adapters.sealing import Sealer
from stateward.audit.chain import check_chains, parse_entry
from stateward.model.ledger import AuditReport, Entry, Head
from stateward.model.values import Json

_SQL = statements("threads")
_SEALED = "sealed"
_MARK = f'"{_SEALED}"'
_TEXTS = ("why", "reason")
_ERASED = "(erased)"


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
        for entry in await opened_entries(self._commits, await self._db.all(_SQL["entries"], {"thread": thread})):
            yield entry

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


async def opened_entries(commits: Commits, rows: Sequence[Row]) -> list[Entry]:
    """Rows as nouns, with their sealed texts opened.

    Raises:
        SealBroken: a text is not what was sealed for its place.
        KeyringError: a data key cannot be unwrapped.
    """
    entries = [parse_entry(*_raw(row)) for row in rows]
    closed = {entry.thread for entry in entries if _MARK in entry.text}
    if not closed:
        return entries
    async with commits.keys.openings(closed) as sealers:
        return [
            replace(one, detail=_opened(one.detail, sealers[one.thread], _place(one.thread, one.kind)))
            if one.thread in closed
            else one
            for one in entries
        ]


def sealed_detail(sealer: Sealer, thread: str, kind: str, detail: Mapping[str, Json]) -> dict[str, Json]:
    """The detail of an entry with what it gives as a reason sealed, at any depth."""
    return _closed(dict(detail), sealer, _place(thread, kind))


def _place(thread: str, kind: str) -> tuple[str, ...]:
    return "ledger", thread, kind


def _closed(value: Any, sealer: Sealer, place: tuple[str, ...]) -> Any:
    match value:
        case dict():
            return {name: _closed(inner, sealer, (*place, name)) for name, inner in _items(value)}
        case list():
            return [_closed(inner, sealer, (*place, str(at))) for at, inner in _numbered(value)]
        case str() if place[-1] in _TEXTS:
            return sealed({_SEALED: Fields(place[:-1]).text(place[-1], value)}, sealer)
        case _:
            return value


def _opened(value: Any, sealer: Sealer, place: tuple[str, ...]) -> Any:
    match value:
        case {"sealed": envelope}:
            text = Fields(place[:-1]).opened(sealer, place[-1], envelope)
            return _ERASED if sealer.is_erased else text or ""
        case dict():
            return {name: _opened(inner, sealer, (*place, name)) for name, inner in _items(value)}
        case list():
            return [_opened(inner, sealer, (*place, str(at))) for at, inner in _numbered(value)]
        case _:
            return value


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items())


def _numbered(value: Any) -> list[tuple[int, Any]]:
    many: list[Any] = value
    return list(enumerate(many))


def _raw(row: Row) -> tuple[str, int, str, str, str]:
    return row["thread_id"], row["seq"], row["prev"], row["hash"], row["entry"]
