"""Which threads exist, and whom they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.commits import LOST, Commits
from stateward.adapters.postgres.database import Connection, Database, Row, fetch_one
from stateward.adapters.postgres.lanes import Lane
from stateward.adapters.postgres.ledger import append, sealed_detail
from stateward.adapters.postgres.statements import statements
from stateward.errors import ThreadAbandoned, ThreadErased, ThreadError, ThreadMismatch, UnknownThread
from stateward.model.policy import ThreadPolicy
from stateward.model.principal import Principal
from stateward.model.thread import Spent, ThreadFacts, ThreadRecord, ThreadStatus
from stateward.model.values import Json

_SQL = statements("threads")
_DESK = "desk:"  # and the tenant: the chain of what happens at its desk, which `stateward.note_desk` opens
_FIXED = ("tenant", "principal", "requester", "purpose", "subject", "graph", "graph_version")


class PostgresThreads:
    """The thread table."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def open(self, facts: ThreadFacts, *, retention: ThreadPolicy | None = None) -> ThreadRecord:
        """Open the thread, or find it as it was opened; what differs is refused."""
        if facts.thread.startswith(_DESK):
            raise ThreadError(
                f"thread {facts.thread!r} is not opened: names that begin with {_DESK!r} are the desk's own"
            )
        await self._commits.barrier(facts.thread)
        async with self._db.transaction() as connection:
            if await fetch_one(connection, _SQL["open_thread"], _values(facts) | _keep(retention)):
                await _note_opening(connection, facts)
            elif await fetch_one(connection, _SQL["pin_version"], _values(facts)):
                detail: dict[str, Json] = {"graph_version": facts.graph_version}
                await append(connection, facts.thread, "thread.pinned", actor=facts.principal, detail=detail)
            row = await fetch_one(connection, _SQL["find_thread"], {"thread": facts.thread})
            if row is None:
                raise UnknownThread(facts.thread)
            record = thread_record(row)
            _refuse_other(record.facts, facts)  # in the transaction: whoever is refused has pinned nothing
            if retention is not None and _keep(retention) != {"keep": row["keep_for"], "idle": row["idle_for"]}:
                await connection.execute(_SQL["keep_thread"], {"thread": facts.thread} | _keep(retention))
        if record.is_erased:
            raise ThreadErased(facts.thread)
        if record.status == "abandoned":
            raise ThreadAbandoned(facts.thread)
        self._learn(self._commits.lane(facts.thread), record.spent)
        return record

    async def find(self, thread: str) -> ThreadRecord | None:
        """The thread, or None."""
        await self._commits.settled(thread)
        row = await self._db.one(_SQL["find_thread"], {"thread": thread})
        return None if row is None else thread_record(row)

    async def list(self, *, tenant: str | None = None, subject: str | None = None) -> list[ThreadRecord]:
        """The threads, newest first."""
        await self._commits.settled(None)
        rows = await self._db.all(_SQL["list_threads"], {"tenant": tenant, "subject": subject})
        return [thread_record(row) for row in rows]

    async def mark(
        self, thread: str, status: ThreadStatus, *, actor: str, retention: ThreadPolicy | None = None
    ) -> None:
        """Change the status, with the thread's next commit; a status that it has already leaves no entry."""
        keep = _keep(retention) if retention is not None else {}
        self._commits.transit(thread, {"do": "mark", "status": status, "actor": actor, **keep})

    async def abandon(self, thread: str, *, by: Principal, reason: str, retention: ThreadPolicy | None = None) -> bool:
        """End it for good."""
        await self._commits.settled(thread)
        sealer = await self._commits.keys.make(thread)
        detail = sealed_detail(sealer, thread, "thread.abandoned", {"reason": reason, "verified_by": by.verified_by})
        async with self._db.transaction() as connection:
            given = {"thread": thread, "actor": by.id, "detail": Jsonb(detail)}
            row = await fetch_one(connection, _SQL["abandon"], given)
            if retention is not None:
                await connection.execute(_SQL["keep_thread"], {"thread": thread} | _keep(retention))
        self._commits.lane(thread).ended = True
        return bool(row and row["done"])

    async def conclude(self, thread: str, *, actor: str, detail: Mapping[str, Json]) -> None:
        """Say what came of it."""
        await self._commits.barrier(thread)
        sealer = await self._commits.keys.make(thread)
        told = sealed_detail(sealer, thread, "thread.compensated", detail)
        await self._db.one(_SQL["conclude"], {"thread": thread, "actor": actor, "detail": Jsonb(told)})

    async def spend(self, thread: str, more: Spent, /) -> Spent:
        """Add to what the thread has used up, with its next commit where this process knows the rest."""
        lane, what = self._commits.lane(thread), _counted(more)
        known = lane.spent
        if known is not None:
            if what:
                self._commits.transit(thread, {"do": "count", **what})
            seconds = known.seconds + asyncio.get_running_loop().time() - lane.spent_at
            return self._learn(lane, replace(known + more, seconds=seconds))
        found: Any = LOST
        if what:
            found = await self._commits.transit(thread, {"do": "count", "tell": True, **what}, urgent=True)
        if found is LOST:
            return self._learn(lane, (await self._record(thread)).spent)
        if found is None:
            raise UnknownThread(thread)
        return self._learn(lane, _spent(found))

    def _learn(self, lane: Lane, spent: Spent) -> Spent:
        if lane.spent is not None:
            # Somebody else may have counted while the database answered: what is used up never becomes less.
            known = lane.spent
            steps, tokens, usd = (
                max(known.steps, spent.steps),
                max(known.tokens, spent.tokens),
                max(known.usd, spent.usd),
            )
            spent = Spent(steps=steps, tokens=tokens, usd=usd, seconds=spent.seconds)
        lane.spent, lane.spent_at = spent, asyncio.get_running_loop().time()
        return spent

    async def _record(self, thread: str) -> ThreadRecord:
        found = await self.find(thread)
        if found is None:
            raise UnknownThread(thread)
        return found


async def is_ended(connection: Connection, thread: str) -> bool:
    """Take the thread's row, as whoever changes another of its rows has to; whether it was abandoned."""
    row = await fetch_one(connection, _SQL["hold"], {"thread": thread})
    return row is not None and row["status"] == "abandoned"


def thread_record(row: Row) -> ThreadRecord:
    """A row as a noun."""
    return ThreadRecord(
        facts=facts_of(row),
        status=row["status"],
        spent=_spent(row),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        is_erased=row["erased_at"] is not None,
    )


def facts_of(row: Row) -> ThreadFacts:
    """What a row says that the thread was started for."""
    return ThreadFacts(thread=row["thread_id"], roles=tuple(row["roles"]), **{name: row[name] for name in _FIXED})


def _counted(more: Spent) -> dict[str, Json]:
    what: dict[str, Json] = {"steps": more.steps, "tokens": more.tokens, "usd": str(more.usd)}
    return {name: value for name, value in what.items() if value not in (0, "0")}


def _spent(row: Row) -> Spent:
    return Spent(
        steps=int(row["steps"]), tokens=int(row["tokens"]), usd=Decimal(row["usd"]), seconds=float(row["seconds"])
    )


async def _note_opening(connection: Connection, facts: ThreadFacts) -> None:
    detail = {name: getattr(facts, name) for name in _FIXED if name != "subject"}
    await append(connection, facts.thread, "thread.opened", actor=facts.requester, detail=detail)


def _values(facts: ThreadFacts) -> dict[str, Any]:
    return {"thread": facts.thread, "roles": sorted(facts.roles)} | {name: getattr(facts, name) for name in _FIXED}


def _keep(retention: ThreadPolicy | None) -> dict[str, Json]:
    times = {"keep": retention.keep, "idle": retention.idle} if retention else {"keep": None, "idle": None}
    return {name: None if time is None else int(time.total_seconds()) for name, time in times.items()}


def _refuse_other(was: ThreadFacts, asked: ThreadFacts) -> None:
    for name in _FIXED:
        if getattr(was, name) != getattr(asked, name):
            raise ThreadMismatch(was.thread, field=name, is_=getattr(was, name), asked=getattr(asked, name))
