"""Actions, their verdicts and what came of them; each change and its ledger entry are one transaction.

What belongs to a step goes through the group commit, with the step's checkpoint. What waits for people, or is found out
after a crash, has a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from stateward.adapters.postgres.actions import (
    action_row,
    effect_fields,
    insert_judged,
    judge_transit,
    judged_row,
    receipt_of,
    response_field,
)
from stateward.adapters.postgres.commits import LOST, Commits
from stateward.adapters.postgres.database import Database, Row, fetch_one
from stateward.adapters.postgres.envelopes import sealed
from stateward.adapters.postgres.history import read_history, summed
from stateward.adapters.postgres.ledger import append, sealed_detail
from stateward.adapters.postgres.questions import approval_of, insert_question, note_question
from stateward.adapters.postgres.statements import statements
from stateward.adapters.postgres.threads import is_ended
from stateward.approve.ask import outcome_question
from stateward.errors import DatabaseError, ThreadAbandoned
from stateward.model.approval import Approval
from stateward.model.effect import Receipt
from stateward.model.history import History
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json, digest
from stateward.model.verdict import Permit
from stateward.ports import ActionRow, Judged, Past, Reservation

_SQL, _THREADS = statements("journal"), statements("threads")
_NOTHING: dict[str, Any] = {"attempt": 0, "key": "", "worker": 0}


class PostgresJournal:
    """The action and effect tables."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits
        self._running: set[str] = set()

    async def record(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Write verdicts and questions once; what is there already stays."""
        await self._commits.barrier(thread.thread)
        sealer = await self._commits.keys.make(thread.thread)
        async with self._db.transaction() as connection:
            ended = await is_ended(connection, thread.thread)
            for one in judged:
                _refuse_late(one, ended=ended)
                await insert_judged(connection, sealer, thread, one, actor=actor)
        return await self.turn(thread.thread, judged[0].action.turn) if judged else []

    async def judge(
        self, thread: ThreadFacts, past: Past, judge: Callable[[History], Judged], *, actor: str
    ) -> list[ActionRow]:
        """Judge by the history and record the verdict, under the lock."""
        await self._commits.barrier(thread.thread)
        sealer = await self._commits.keys.make(thread.thread)
        async with self._db.transaction() as connection:
            ended = await is_ended(connection, thread.thread)
            judged = judge(await read_history(connection, thread, past, hold=True))
            _refuse_late(judged, ended=ended)
            await insert_judged(connection, sealer, thread, judged, actor=actor, summed=summed(past))
        return await self.turn(thread.thread, judged.action.turn)

    async def clear(
        self, thread: ThreadFacts, action: str, past: Past, why_not: Callable[[History], str], *, actor: str
    ) -> str:
        """Hold a permit against what has been done by now, under the lock."""
        await self._commits.barrier(thread.thread)
        sealer = await self._commits.keys.make(thread.thread)
        async with self._db.transaction() as connection:
            await connection.execute(_THREADS["hold"], {"thread": thread.thread})
            why = why_not(await read_history(connection, thread, past, hold=True, waiting=False))
            response = {"response": response_field(thread.thread, action, why)}
            if not why:
                await connection.execute(_SQL["clear"], {"action_id": action})
            elif await fetch_one(connection, _SQL["withdraw"], {"action_id": action, **sealed(response, sealer)}):
                kind = "action.withdrawn"
                detail = sealed_detail(sealer, thread.thread, kind, {"why": why})
                await append(connection, thread.thread, kind, actor=actor, detail=detail, action=action, tool=past.tool)
        return why

    def note(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Hand over verdicts that ask nobody; the thread's next commit has them."""
        for one in judged:
            self._commits.transit(thread.thread, judge_transit(thread, one, actor=actor))
        return [judged_row(one) for one in judged]

    async def turn(self, thread: str, turn: str) -> list[ActionRow]:
        """The actions of a turn that stand."""
        await self._commits.settled(thread)
        rows = await self._db.all(_SQL["turn"], {"thread": thread, "turn": turn})
        async with self._commits.keys.opening(thread) as sealer:
            return [action_row(row, sealer) for row in rows]

    async def begun(self, thread: str) -> list[tuple[ActionRow, Receipt]]:
        """The writes that were begun."""
        await self._commits.settled(thread)
        rows = await self._db.all(_SQL["begun"], {"thread": thread})
        async with self._commits.keys.opening(thread) as sealer:
            return [
                (action_row(row, sealer), receipt_of({**row, "status": row["effect_status"]}, sealer)) for row in rows
            ]

    async def reserve(self, permit: Permit, *, actor: str, follows: str | None = None) -> Reservation:
        """Use up the permit in one commit with all that led to it, or find what became of the effect."""
        what = {"do": "reserve", "action": permit.action, "digest": digest(permit.arguments), "actor": actor}
        row = await self._now(permit, what, follows)
        row = _NOTHING | (await self._after_a_lost_answer(permit) if row is LOST else row)
        match row["outcome"]:
            case "new":
                self._running.add(permit.action)
                return _reservation(permit, row, "reserved")
            case "reserved":
                return _reservation(permit, row, "busy" if await self._lives(permit, row) else "unknown")
            case "refused":
                return _reservation(permit, row, "refused", error=row["why"])
            case outcome:
                async with self._commits.keys.opening(permit.thread) as sealer:
                    found = receipt_of(row, sealer)
                return _reservation(permit, row, outcome, result=found.result, error=found.error)

    async def restart(self, permit: Permit, *, attempt: int, actor: str, follows: str | None = None) -> Reservation:
        """Start an effect of unknown outcome anew; whoever comes second finds it busy."""
        what = {"do": "restart", "action": permit.action, "attempt": attempt, "actor": actor}
        started = await self._now(permit, what, follows)
        if started is LOST:
            row = await self._after_a_lost_answer(permit)
            started = row["attempt"] if row["outcome"] == "new" and row["attempt"] > attempt else 0
        if started:
            self._running.add(permit.action)
        receipt = Receipt(action=permit.action, status="reserved", attempt=started or attempt)
        return Reservation(outcome="reserved" if started else "busy", receipt=receipt, key=_key(permit))

    def leave(self, row: ActionRow, *, actor: str) -> None:
        """An answer that is permitted leaves; the thread's next commit has it."""
        self._commits.transit(row.action.thread, {"do": "leave", "action": row.action.id, "actor": actor})

    def send(self, permit: Permit, *, attempt: int, result: Json, actor: str) -> Receipt:
        """Send the receipt of a call that is done; the thread's next barrier waits for it."""
        self._running.discard(permit.action)
        envelope = effect_fields(permit.thread, permit.action).json("result", result)
        what = {"do": "settle", "action": permit.action, "attempt": attempt, "result": envelope, "actor": actor}
        answer = self._commits.transit(permit.thread, what, urgent=True)
        answer.add_done_callback(lambda done: self._commits.owned(permit.thread, permit.action, done))
        return Receipt(action=permit.action, status="settled", result=result, attempt=attempt)

    async def settle(self, permit: Permit, *, attempt: int, result: Json, actor: str) -> Receipt:
        """It is done."""
        return await self._move(permit, attempt, "settled", result=result, actor=actor)

    async def fail(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        """It did not happen."""
        return await self._move(permit, attempt, "failed", error=error, actor=actor)

    async def abandon(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        """Nobody will try again."""
        return await self._move(permit, attempt, "abandoned", error=error, actor=actor)

    async def lose(
        self, permit: Permit, *, attempt: int, thread: ThreadFacts, by: Sequence[str], why: str = ""
    ) -> Approval:
        """Nobody knows what happened: ask people."""
        self._running.discard(permit.action)
        await self._commits.barrier(permit.thread)
        async with self._commits.keys.opening(permit.thread) as sealer, self._db.transaction() as connection:
            await connection.execute(_THREADS["hold"], {"thread": permit.thread})
            row = await fetch_one(connection, _SQL["action"], {"action_id": permit.action})
            assert row is not None
            question = outcome_question(action_row(row, sealer), thread, attempt=attempt, by=by, why=why)
            values = sealed(_move_values(permit, attempt, "unknown", actor=thread.principal, error=why), sealer)
            moved = await fetch_one(connection, _SQL["move_effect"], values)
            if moved and moved["moved"]:
                await insert_question(connection, sealer, question)
                await note_question(connection, question, actor=thread.principal)
            return await approval_of(connection, sealer, question.id) or question

    def refuse_late(self, thread: str) -> None:
        """Refuse what would act in a thread that is known to be abandoned."""
        if self._commits.lane(thread).ended:
            raise ThreadAbandoned(thread)

    def read(self, permit: Permit, *, actor: str, ok: bool) -> None:
        """Audit a read; the thread's next commit has it."""
        kind = "read.done" if ok else "read.failed"
        what = {"do": "read", "action": permit.action, "tool": permit.tool, "kind": kind, "actor": actor}
        self._commits.transit(permit.thread, what)

    async def receipt(self, action: str, *, thread: str) -> Receipt | None:
        """What is known of an effect."""
        await self._commits.settled(thread)
        row = await self._db.one(_SQL["effect"], {"action_id": action})
        if row is None:
            return None
        async with self._commits.keys.opening(thread) as sealer:
            return receipt_of(row, sealer)

    def let_go(self, action: str) -> None:
        """This process does not run the effect any more."""
        self._running.discard(action)

    async def release(self, permit: Permit, *, attempt: int) -> None:
        """Nobody runs the effect any more; a release that fails is as good as a worker that lives a little longer."""
        values = {"action": permit.action, "attempt": attempt, "worker": self._db.worker}
        with suppress(DatabaseError):
            await self._db.one(_SQL["release"], values)

    async def history(self, thread: ThreadFacts, past: Past) -> History:
        """How a tool was used."""
        await self._commits.settled(thread.thread)
        async with self._db.connection() as connection:
            return await read_history(connection, thread, past, hold=False)

    async def _now(self, permit: Permit, what: dict[str, Any], follows: str | None) -> Any:
        """One transition whose answer decides what happens next, in a commit of its own or with what led to it."""
        await self._db.live()
        if follows is not None:
            await self._commits.follow(permit.thread, follows)
        found = await self._commits.transit(permit.thread, what | {"worker": self._db.worker}, urgent=True)
        if found == {"outcome": "late"}:
            raise ThreadAbandoned(permit.thread)
        return found

    async def _after_a_lost_answer(self, permit: Permit) -> dict[str, Any]:
        """The commit arrived and its answer did not: what is reserved for us, and not running, is what we reserved."""
        row = await self._db.one(_SQL["effect"], {"action_id": permit.action})
        if row is None:
            return {"outcome": "refused", "why": "no permit"}
        ours = row["status"] == "reserved" and row["worker"] == self._db.worker and permit.action not in self._running
        return {**row, "outcome": "new" if ours else row["status"]}

    async def _lives(self, permit: Permit, row: Row) -> bool:
        if row["worker"] == self._db.worker:
            return permit.action in self._running
        return await self._db.lives(row["worker"])

    async def _move(
        self, permit: Permit, attempt: int, status: str, *, actor: str, result: Json = None, error: str = ""
    ) -> Receipt:
        self._running.discard(permit.action)
        await self._commits.barrier(permit.thread)
        values = _move_values(permit, attempt, status, actor=actor, result=result, error=error)
        sealer = await self._commits.keys.make(permit.thread)
        await self._db.one(_SQL["move_effect"], sealed(values, sealer))
        found = await self.receipt(permit.action, thread=permit.thread)
        return found or Receipt(action=permit.action, status="unknown", attempt=attempt)


def _refuse_late(judged: Judged, *, ended: bool) -> None:
    if ended and judged.undoes is None:
        raise ThreadAbandoned(judged.action.thread)


def _move_values(
    permit: Permit, attempt: int, status: str, *, actor: str, result: Json = None, error: str = ""
) -> dict[str, Any]:
    fields = effect_fields(permit.thread, permit.action)
    return {
        "action_id": permit.action,
        "attempt": attempt,
        "status": status,
        "actor": actor,
        "error": fields.text("error", error),
        "result": fields.json("result", result) if status == "settled" else None,
    }


def _reservation(permit: Permit, row: Row, outcome: Any, *, result: Json = None, error: str = "") -> Reservation:
    status = "reserved" if row["outcome"] in ("new", "refused") else row["outcome"]
    receipt = Receipt(
        action=permit.action,
        status=status,
        result=result,
        error=error,
        attempt=row["attempt"] or 1,
    )
    return Reservation(outcome=outcome, receipt=receipt, key=row["key"] or _key(permit))


def _key(permit: Permit) -> str:
    return f"sw-{permit.action}"
