"""Which threads exist, and whom they belong to."""

from __future__ import annotations

from typing import Any

from stateward.adapters.postgres.commits import LOST, Commits
from stateward.adapters.postgres.database import Connection, Database, Row, fetch_one
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.statements import statements
from stateward.errors import ThreadMismatch, UnknownThread
from stateward.model.thread import ThreadFacts, ThreadRecord, ThreadStatus
from stateward.model.values import Json

_SQL = statements("threads")
_FIXED = ("tenant", "principal", "requester", "purpose", "subject", "graph", "graph_version")


class PostgresThreads:
    """The thread table."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def open(self, facts: ThreadFacts) -> ThreadRecord:
        """Open the thread, or find it as it was opened; what differs is refused."""
        await self._commits.barrier(facts.thread)
        async with self._db.transaction() as connection:
            if await fetch_one(connection, _SQL["open_thread"], _values(facts)):
                await _note_opening(connection, facts)
            elif await fetch_one(connection, _SQL["pin_version"], _values(facts)):
                detail: dict[str, Json] = {"graph_version": facts.graph_version}
                await append(connection, facts.thread, "thread.pinned", actor=facts.principal, detail=detail)
            row = await fetch_one(connection, _SQL["find_thread"], {"thread": facts.thread})
        if row is None:
            raise UnknownThread(facts.thread)
        record = thread_record(row)
        _refuse_other(record.facts, facts)
        self._commits.lane(facts.thread).steps = record.steps
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

    async def mark(self, thread: str, status: ThreadStatus, *, actor: str) -> None:
        """Change the status, with the thread's next commit; a status that it has already leaves no entry."""
        self._commits.transit(thread, {"do": "mark", "status": status, "actor": actor})

    async def count_steps(self, thread: str, steps: int) -> int:
        """Add to the thread's steps, with its next commit where this process knows their number."""
        lane = self._commits.lane(thread)
        known = lane.steps
        if known is not None:
            lane.steps = known + steps
        answer = self._commits.transit(thread, {"do": "count", "steps": steps}, urgent=known is None)
        if known is not None:
            return known + steps
        found = await answer
        if found is LOST:
            return (await self._record(thread)).steps
        if found is None:
            raise UnknownThread(thread)
        lane.steps = found if lane.steps is None else max(lane.steps, found)
        return int(found)

    async def _record(self, thread: str) -> ThreadRecord:
        found = await self.find(thread)
        if found is None:
            raise UnknownThread(thread)
        return found


def thread_record(row: Row) -> ThreadRecord:
    """A row as a noun."""
    return ThreadRecord(
        facts=ThreadFacts(thread=row["thread_id"], roles=tuple(row["roles"]), **{name: row[name] for name in _FIXED}),
        status=row["status"],
        steps=row["steps"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def _note_opening(connection: Connection, facts: ThreadFacts) -> None:
    detail = {name: getattr(facts, name) for name in _FIXED if name != "subject"}
    await append(connection, facts.thread, "thread.opened", actor=facts.requester, detail=detail)


def _values(facts: ThreadFacts) -> dict[str, Any]:
    return {"thread": facts.thread, "roles": sorted(facts.roles)} | {name: getattr(facts, name) for name in _FIXED}


def _refuse_other(was: ThreadFacts, asked: ThreadFacts) -> None:
    for name in _FIXED:
        if getattr(was, name) != getattr(asked, name):
            raise ThreadMismatch(was.thread, field=name, is_=getattr(was, name), asked=getattr(asked, name))
