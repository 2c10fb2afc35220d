"""Checkpoints in Postgres: handed over to the group commit, read back opened; whatever was tampered with is refused."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from stateward.adapters.postgres.case_file import PostgresCaseFile
from stateward.adapters.postgres.commits import Commits, checkpoint_place, value_place, write_place
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Connection, Database, Row, fetch_one
from stateward.adapters.postgres.statements import statements
from stateward.adapters.sealing import Sealer
from stateward.errors import ErasureRefused, SealBroken, ThreadErased
from stateward.model.checkpoint import CheckpointKey, CheckpointRow, StoredCheckpoint, StoredValue, ValueRow, WriteRow

_SQL = statements("checkpoints")


class PostgresCheckpoints:
    """The checkpoint tables."""

    def __init__(self, database: Database, keys: DataKeys, commits: Commits) -> None:
        self._db, self._keys, self._commits = database, keys, commits

    async def put(self, row: CheckpointRow, *, urgent: bool) -> None:
        """Keep a checkpoint."""
        await self._commits.put(replace(row, run=_digest(row.run)), urgent=urgent)

    async def write(self, key: CheckpointKey, rows: Sequence[WriteRow], *, urgent: bool, asks: bool = False) -> None:
        """Keep a task's writes."""
        await self._commits.write(key, tuple(rows), urgent=urgent, asks=asks)

    async def load(self, thread: str, ns: str, id_: str | None) -> StoredCheckpoint | None:
        """A checkpoint, or the head of the namespace."""
        lane = self._commits.lane(thread)
        await self._commits.settled(thread)
        lane.heal()
        moves = lane.moves
        row = await self._one(_SQL["load"], {"thread": thread, "ns": ns, "id": id_})
        lane.ended = lane.ended or bool(row and row["ended"])
        if row is None or row["checkpoint_id"] is None:
            return None
        async with self._keys.opening(
            thread
        ) as sealer:  # after its row: a thread's key is there before its first row is
            found = _checkpoint(sealer, thread, ns, row)
        lane.loaded((ns, found.key.id), head=id_ is None, moves=moves)
        return found

    def stands(self, thread: str, ns: str) -> str | None:
        """The head of a namespace, where this process knows it."""
        return self._commits.lane(thread).head(ns)

    async def values(
        self, thread: str, ns: str, versions: Mapping[str, str], *, needed: Sequence[str] = ()
    ) -> dict[str, StoredValue]:
        """The values of channels at their versions; a channel that is empty at its version is left out."""
        if not versions:
            return {}
        wanted = {"thread": thread, "ns": ns, "channels": list(versions), "versions": list(versions.values())}
        rows = await self._all(_SQL["values"], wanted)
        async with self._keys.opening(thread) as sealer:
            found = _values(sealer, thread, ns, rows)
            for channel in needed:
                if channel not in found:
                    raise SealBroken(("checkpoint_value", thread, ns, channel, versions[channel]), "its row is missing")
            return found

    async def list(
        self, thread: str | None, *, ns: str | None, id_: str | None, before: str | None, limit: int | None
    ) -> list[StoredCheckpoint]:
        """Checkpoints, newest first."""
        await self._commits.settled(thread)
        given = {"thread": thread, "ns": ns, "id": id_, "before": before, "limit": limit}
        rows = await self._all(_SQL["list_all"] if thread is None else _SQL["list"], given)
        found: list[StoredCheckpoint] = []
        for row in rows:
            async with self._keys.opening(row["thread_id"]) as sealer:
                found.append(_checkpoint(sealer, row["thread_id"], row["ns"], row))
        return found

    async def ancestors(self, key: CheckpointKey, channels: Sequence[str], *, depth: int) -> list[StoredCheckpoint]:
        """A checkpoint and those that it follows from, nearest first, with what was written to some channels."""
        await self._commits.settled(key.thread)
        given = {"thread": key.thread, "ns": key.ns, "id": key.id, "channels": list(channels), "depth": depth}
        rows = await self._all(_SQL["ancestors"], given)
        async with self._keys.opening(key.thread) as sealer:
            return [_checkpoint(sealer, key.thread, key.ns, row) for row in rows]

    async def heads(self, thread: str) -> dict[str, str]:
        """The head of each namespace."""
        await self._commits.settled(thread)
        return {row["ns"]: row["checkpoint_id"] for row in await self._db.all(_SQL["heads"], {"thread": thread})}

    async def prune(
        self, thread: str, *, keep: Iterable[CheckpointKey], values: Iterable[tuple[str, str, str]]
    ) -> None:
        """Delete all of a thread but some checkpoints, and what their values are made of.

        Args:
            keep: The checkpoints that stay. Where the thread has moved on meanwhile, or its subject is on legal hold,
                nothing is deleted.
            values: Namespace, channel and version of the values that stay.
        """
        kept, stay = list(keep), list(values)
        given = {"thread": thread, "nss": [key.ns for key in kept], "ids": [key.id for key in kept]}
        async with self._held(thread) as connection:
            if await _is_held(connection, thread):
                return
            rows = await (await connection.execute(_SQL["heads"], {"thread": thread})).fetchall()
            if {(row["ns"], row["checkpoint_id"]) for row in rows} - {(key.ns, key.id) for key in kept}:
                return
            await connection.execute(_SQL["prune_checkpoints"], given)
            await connection.execute(_SQL["prune_writes"], {"thread": thread})
            of = {"nss": [ns for ns, _, _ in stay], "channels": [channel for _, channel, _ in stay]}
            await connection.execute(
                _SQL["prune_values"], of | {"thread": thread, "versions": [version for _, _, version in stay]}
            )

    async def clear(self, thread: str) -> None:
        """Delete all of a thread's checkpoints; it may go on as a new one."""
        async with self._held(thread) as connection:
            await _refuse_held(connection, thread)
            await connection.execute(_SQL["delete_rows"], {"thread": thread})
        self._commits.lane(thread).reset()

    async def erase(self, thread: str) -> None:
        """Delete a thread for good: its keys go, and a tombstone refuses whatever a run still writes."""
        async with self._db.transaction() as connection:
            await connection.execute(_SQL["erase"], {"thread": thread})
            await _refuse_held(connection, thread)
            await connection.execute(_SQL["delete_keys"], {"thread": thread})
            await connection.execute(_SQL["delete_rows"], {"thread": thread})
            await connection.execute(_SQL["forget_sightings"], {"thread": thread})
            await connection.execute(_SQL["forget_case_values"], {"thread": thread})
        self._keys.forget(thread)
        self._commits.erased(thread)

    async def delete_runs(self, runs: Sequence[str]) -> list[str]:
        """Delete the checkpoints of some runs, and say in which threads; the newest that is left becomes the head."""
        await self._commits.settled(None)
        digests = [bytes.fromhex(_digest(run) or "") for run in runs]
        threads = [str(row["thread_id"]) for row in await self._db.all(_SQL["threads_of_runs"], {"runs": digests})]
        for thread in threads:
            async with self._held(thread) as connection:
                await _refuse_held(connection, thread)
                await connection.execute(_SQL["delete_runs"], {"thread": thread, "runs": digests})
                await connection.execute(_SQL["mend_heads"], {"thread": thread})
                await connection.execute(_SQL["prune_writes"], {"thread": thread})
            self._commits.lane(thread).reset()
        return threads

    async def copy(self, source: str, target: str) -> None:
        """Copy every checkpoint of a thread to another, sealed anew; before them its labels and who it is about."""
        await self._commits.settled(source)
        await self._db.one(_SQL["copy_labels"], {"source": source, "target": target})
        case_file = PostgresCaseFile(self._db, self._keys)
        await case_file.add(target, await case_file.known(source))
        stored = await self.list(source, ns=None, id_=None, before=None, limit=None)
        heads, values = await self.heads(source), await self._all_values(source)
        # The head goes last, so that it is the copy's head as well.
        for one in sorted(stored, key=lambda one: (heads.get(one.key.ns) == one.key.id, one.key.id)):
            key, new = replace(one.key, thread=target), values.pop(one.key.ns, ())
            row = CheckpointRow(key=key, parent=one.parent, run=one.run, body=one.body, values=new, fork=True)
            await self._commits.put(row, urgent=True)
            await self._commits.write(key, one.writes, urgent=True)

    async def _all_values(self, thread: str) -> dict[str, tuple[ValueRow, ...]]:
        found: dict[str, tuple[ValueRow, ...]] = {}
        async with self._keys.opening(thread) as sealer:
            for row in await self._all(_SQL["values_of"], {"thread": thread}):
                names = ("channel", "version", "root", "ordinal")
                place = value_place(thread, row["ns"], *(row[name] for name in names))
                value = ValueRow(**{name: row[name] for name in names}, body=sealer.open(row["body"], *place))
                found[row["ns"]] = (*found.get(row["ns"], ()), value)
        return found

    @asynccontextmanager
    async def _held(self, thread: str) -> AsyncGenerator[Connection]:
        """A transaction in which nothing is committed on the thread beside it."""
        await self._commits.settled(thread)
        async with self._db.transaction() as connection:
            row = await fetch_one(connection, _SQL["hold_thread"], {"thread": thread})
            if row is not None and row["erased_at"] is not None:
                raise ThreadErased(thread)
            yield connection

    async def _one(self, statement: bytes, values: Mapping[str, Any]) -> Row | None:
        found = await self._all(statement, values)
        return found[0] if found else None

    async def _all(self, statement: bytes, values: Mapping[str, Any]) -> Sequence[Row]:
        async with self._db.connection() as connection:
            return await (await connection.execute(statement, values, binary=True)).fetchall()


async def _is_held(connection: Connection, thread: str) -> bool:
    row = await fetch_one(connection, _SQL["is_held"], {"thread": thread})
    return bool(row and row["held"])


async def _refuse_held(connection: Connection, thread: str) -> None:
    if await _is_held(connection, thread):
        raise ErasureRefused(f"thread {thread} is not deleted: its subject is on legal hold")


def _checkpoint(sealer: Sealer, thread: str, ns: str, row: Row) -> StoredCheckpoint:
    key = CheckpointKey(thread=thread, ns=ns, id=row["checkpoint_id"])
    body = sealer.open(row["body"], *checkpoint_place(thread, ns, key.id, row["parent_id"]))
    # LangGraph applies writes in this order, whatever the server's collation is.
    writes = sorted(_writes(sealer, key, row), key=lambda one: (one.path, one.task, one.idx))
    return StoredCheckpoint(key=key, parent=row["parent_id"], run=row["run"], body=body, writes=tuple(writes))


def _writes(sealer: Sealer, key: CheckpointKey, row: Row) -> Iterable[WriteRow]:
    columns = [row[name] or () for name in ("task", "idx", "path", "channel", "bodies")]
    for task, idx, path, channel, body in zip(*columns, strict=True):
        place = write_place(key.thread, key.ns, key.id, task, idx, path, channel)
        yield WriteRow(task=task, idx=idx, path=path, channel=channel, body=sealer.open(body, *place))


def _values(sealer: Sealer, thread: str, ns: str, rows: Sequence[Row]) -> dict[str, StoredValue]:
    found: dict[str, tuple[str, bool, list[bytes]]] = {}
    for row in rows:
        channel, root, ordinal = row["channel"], row["root"], row["ordinal"]
        root, _, bodies = found.setdefault(channel, (root, row["newest"], []))
        place = value_place(thread, ns, channel, row["version"], root, ordinal)
        if ordinal != len(bodies):
            raise SealBroken(place, f"row {len(bodies)} before it is missing")
        bodies.append(sealer.open(row["body"], *place))
    return {
        channel: StoredValue(root=root, bodies=tuple(bodies), newest=newest)
        for channel, (root, newest, bodies) in found.items()
    }


def _digest(run: str | None) -> str | None:
    return None if run is None else hashlib.sha256(run.encode()).hexdigest()[:32]
