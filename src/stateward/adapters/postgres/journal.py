"""Actions, their verdicts and what came of them; each change and its ledger entry are one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.actions import action_row, insert_judged
from stateward.adapters.postgres.database import Database, Row, fetch_one
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.questions import approval_of, insert_question, note_question
from stateward.adapters.postgres.statements import statements
from stateward.approve.ask import outcome_question
from stateward.model.approval import Approval
from stateward.model.effect import Receipt
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json, digest
from stateward.model.verdict import Permit
from stateward.ports import ActionRow, Judged, Reservation

_SQL = statements("journal")


class PostgresJournal:
    """The action and effect tables."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._running: set[str] = set()

    async def record(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Write verdicts and questions once; what is there already stays."""
        async with self._db.transaction() as connection:
            for one in judged:
                await insert_judged(connection, thread, one, actor=actor)
        return await self.turn(thread.thread, judged[0].action.turn) if judged else []

    async def turn(self, thread: str, turn: str) -> list[ActionRow]:
        """The actions of a turn that stand."""
        rows = await self._db.all(_SQL["turn"], {"thread": thread, "turn": turn})
        return [action_row(row) for row in rows]

    async def reserve(self, permit: Permit, *, actor: str) -> Reservation:
        """Use up the permit, or find what became of the effect."""
        await self._db.live()
        values = {"action_id": permit.action, "digest": digest(permit.arguments), "worker": self._db.worker}
        row = await self._db.one(_SQL["reserve"], values | {"actor": actor})
        if row is None:
            raise AssertionError("reserve always answers")
        if row["outcome"] == "reserved":
            return _reservation(permit, row, "busy" if await self._lives(permit, row) else "unknown")
        if row["outcome"] == "new":
            self._running.add(permit.action)
        return _reservation(permit, row, "reserved" if row["outcome"] == "new" else row["outcome"])

    async def restart(self, permit: Permit, *, attempt: int, actor: str) -> Reservation:
        """Start an effect of unknown outcome anew; whoever comes second finds it busy."""
        await self._db.live()
        values = {"action_id": permit.action, "attempt": attempt, "worker": self._db.worker, "actor": actor}
        row = await self._db.one(_SQL["restart"], values)
        started = int(row["attempt"]) if row else 0
        if started:
            self._running.add(permit.action)
        receipt = Receipt(action=permit.action, status="reserved", attempt=started or attempt)
        return Reservation(outcome="reserved" if started else "busy", receipt=receipt, key=_key(permit))

    async def settle(self, permit: Permit, *, attempt: int, result: Json, actor: str) -> Receipt:
        """It is done."""
        return await self._move(permit, attempt, "settled", result=result, actor=actor)

    async def fail(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        """It did not happen."""
        return await self._move(permit, attempt, "failed", error=error, actor=actor)

    async def abandon(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        """Nobody will try again."""
        return await self._move(permit, attempt, "abandoned", error=error, actor=actor)

    async def lose(self, permit: Permit, *, attempt: int, thread: ThreadFacts, by: Sequence[str]) -> Approval:
        """Nobody knows what happened: ask people."""
        self._running.discard(permit.action)
        async with self._db.transaction() as connection:
            row = await fetch_one(connection, _SQL["action"], {"action_id": permit.action})
            assert row is not None
            question = outcome_question(action_row(row), thread, attempt=attempt, by=by)
            values = _move_values(permit, attempt, "unknown", actor=thread.principal)
            moved = await fetch_one(connection, _SQL["move_effect"], values)
            if moved and moved["moved"]:
                await insert_question(connection, question)
                await note_question(connection, question, actor=thread.principal)
            return await approval_of(connection, question.id) or question

    async def read(self, permit: Permit, *, actor: str, ok: bool) -> None:
        """Audit a read."""
        async with self._db.transaction() as connection:
            await connection.execute(_SQL["consume_read"], {"action_id": permit.action})
            kind = "read.done" if ok else "read.failed"
            await append(
                connection,
                permit.thread,
                kind,
                actor=actor,
                detail={},
                action=permit.action,
                tool=permit.tool,
            )

    async def receipt(self, action: str) -> Receipt | None:
        """What is known of an effect."""
        row = await self._db.one(_SQL["effect"], {"action_id": action})
        return None if row is None else _receipt(row)

    def let_go(self, action: str) -> None:
        """This process does not run the effect any more."""
        self._running.discard(action)

    async def checkpoint_exists(self, thread: str, checkpoint: str) -> bool:
        """Whether a checkpoint is in the database."""
        values = {"thread": thread, "checkpoint": checkpoint}
        return await self._db.one(_SQL["checkpoint_exists"], values) is not None

    async def usage(
        self, *, tenant: str, tool: str, argument: str | None, window: timedelta, excluding: Sequence[str] = ()
    ) -> tuple[int, float]:
        """Number and sum within a window."""
        values = {
            "tenant": tenant,
            "tool": tool,
            "argument": argument or "",
            "window": window,
            "excluding": list(excluding),
        }
        row = await self._db.one(_SQL["usage"], values)
        return (0, 0.0) if row is None else (int(row["calls"]), float(row["total"]))

    async def _lives(self, permit: Permit, row: Row) -> bool:
        if row["worker"] == self._db.worker:
            return permit.action in self._running
        return await self._db.lives(row["worker"])

    async def _move(
        self, permit: Permit, attempt: int, status: str, *, actor: str, result: Json = None, error: str = ""
    ) -> Receipt:
        self._running.discard(permit.action)
        values = _move_values(permit, attempt, status, actor=actor, result=result, error=error)
        await self._db.one(_SQL["move_effect"], values)
        found = await self.receipt(permit.action)
        return found or Receipt(action=permit.action, status="unknown", attempt=attempt)


def _move_values(
    permit: Permit, attempt: int, status: str, *, actor: str, result: Json = None, error: str = ""
) -> dict[str, Any]:
    values = {
        "action_id": permit.action,
        "attempt": attempt,
        "status": status,
        "actor": actor,
        "error": error,
    }
    return values | {"result": Jsonb(result)}


def _reservation(permit: Permit, row: Row, outcome: Any) -> Reservation:
    status = "reserved" if row["outcome"] in ("new", "refused") else row["outcome"]
    receipt = Receipt(
        action=permit.action,
        status=status,
        result=row["result"],
        error=row["error"],
        attempt=row["attempt"] or 1,
    )
    return Reservation(outcome=outcome, receipt=receipt, key=row["key"] or _key(permit))


def _key(permit: Permit) -> str:
    return f"sw-{permit.action}"


def _receipt(row: Row) -> Receipt:
    return Receipt(
        action=row["action_id"],
        status=row["status"],
        result=row["result"],
        error=row["error"],
        attempt=row["attempt"],
        settled_at=row["settled_at"],
    )
