"""Pages of threads, approvals, actions and ledger entries, for whoever looks from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stateward.adapters.postgres.actions import action_row, receipt_of
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Database, Row
from stateward.adapters.postgres.ledger import opened_entries
from stateward.adapters.postgres.questions import opened_questions, readable_questions
from stateward.adapters.postgres.statements import statements
from stateward.adapters.postgres.threads import thread_record
from stateward.adapters.sealing import Sealer
from stateward.model.approval import Approval, ApprovalStatus
from stateward.model.effect import Receipt
from stateward.model.ledger import Entry
from stateward.model.thread import ThreadRecord, ThreadStatus
from stateward.ports import ActionRow, Viewer

_SQL = statements("overview")


class PostgresOverview:
    """Reads the tables, a page at a time."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def threads(
        self,
        viewer: Viewer,
        *,
        thread: str | None = None,
        status: ThreadStatus | None = None,
        graph: str | None = None,
        subject: str | None = None,
        after: str | None = None,
        limit: int = 1,
    ) -> list[ThreadRecord]:
        """Threads that the viewer may see, newest first."""
        await self._commits.settled(thread)
        values = {"thread": thread, "status": status, "graph": graph, "subject": subject}
        rows = await self._db.all(_SQL["threads"], _of(viewer) | values | {"after": after, "limit": limit})
        return [thread_record(row) for row in rows]

    async def approvals(
        self,
        viewer: Viewer,
        *,
        approval: str | None = None,
        thread: str | None = None,
        status: ApprovalStatus | None = None,
        after: str | None = None,
        limit: int = 1,
    ) -> list[Approval]:
        """Questions that the viewer may see, oldest first; of all threads, without those that cannot be opened."""
        values = _of(viewer) | {"approval": approval, "thread": thread, "status": status}
        open_ = readable_questions if approval is None and thread is None else opened_questions
        found: list[Approval] = []
        while True:
            more = limit - len(found)
            rows = await self._db.all(_SQL["approvals"], values | {"after": after, "limit": more})
            found += await open_(self._commits.keys, rows)
            if len(rows) < more or len(found) == limit:
                return found
            after = rows[-1]["found"]["approval"]["approval_id"]

    async def actions(
        self, *, thread: str | None = None, action: str | None = None, after: str | None = None, limit: int = 1
    ) -> list[tuple[ActionRow, Receipt | None]]:
        """Actions with what became of them, in the order in which they were judged."""
        await self._commits.settled(thread)
        values = {"thread": thread, "action_id": action, "after": after, "limit": limit}
        rows = await self._db.all(_SQL["actions"], values)
        async with self._commits.keys.openings(row["thread_id"] for row in rows) as sealers:
            return [(action_row(row, sealers[row["thread_id"]]), _receipt(row, sealers)) for row in rows]

    async def entries(self, thread: str, *, after: int = 0, limit: int) -> list[Entry]:
        """Entries of a thread, in the order of its chain."""
        await self._commits.settled(thread)
        rows = await self._db.all(_SQL["entries"], {"thread": thread, "after": after, "limit": limit})
        return await opened_entries(self._commits, rows)


def _of(viewer: Viewer) -> dict[str, Any]:
    return {
        "tenant": viewer.tenant,
        "id": viewer.id,
        "names": sorted(viewer.names),
        "everything": viewer.everything,
    }


def _receipt(row: Row, sealers: Mapping[str, Sealer]) -> Receipt | None:
    if row["effect_status"] is None:
        return None
    effect = {name: row[f"effect_{name}"] for name in ("status", "result", "error", "attempt", "settled_at")}
    return receipt_of({**row, **effect}, sealers[row["thread_id"]])
