"""Questions to people: the inbox, and one decision at a time under lock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.actions import action_row, insert_judged
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Connection, Database, fetch_one
from stateward.adapters.postgres.history import read_history
from stateward.adapters.postgres.ledger import append
from stateward.adapters.postgres.questions import approval_noun, approval_of, insert_question
from stateward.adapters.postgres.statements import statements
from stateward.adapters.postgres.threads import thread_record
from stateward.errors import UnknownApproval
from stateward.model.approval import Approval, ApprovalStatus, Decision
from stateward.model.history import History
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts
from stateward.ports import ActionRow, Judged, Past

_SQL = statements("desk")
_ACTIONS = statements("journal")
_THREADS = statements("threads")
_ACTION_STATUS = {
    "approved": "permitted",
    "rejected": "rejected",
    "responded": "responded",
    "expired": "rejected",
}


class PostgresDesk:
    """The approval tables."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def get(self, approval: str) -> Approval | None:
        """One approval, or None."""
        row = await self._db.one(_SQL["approval"], {"approval_id": approval})
        return None if row is None else approval_noun(row)

    async def list(
        self,
        *,
        tenant: str | None = None,
        thread: str | None = None,
        status: ApprovalStatus | None = "pending",
    ) -> list[Approval]:
        """The inbox, oldest first."""
        return await self._list(tenant=tenant, thread=thread, status=status)

    async def of_turn(self, thread: str, turn: str) -> list[Approval]:
        """All questions of a turn, decided or not."""
        return await self._list(thread=thread, turn=turn)

    @asynccontextmanager
    async def deciding(self, approval: str) -> AsyncGenerator[PostgresCase]:
        """The approval under lock.

        Raises:
            UnknownApproval: there is none of that id.
        """
        async with self._db.transaction() as connection:
            held = await fetch_one(connection, _SQL["lock_approval"], {"approval_id": approval})
            found = await approval_of(connection, approval)
            if held is None or found is None:
                raise UnknownApproval(approval)
            row = await fetch_one(connection, _THREADS["find_thread"], {"thread": found.thread})
            assert row is not None
            yield PostgresCase(connection, found, thread_record(row).facts, held["now"])

    async def ask(self, question: Approval, *, actor: str) -> None:
        """A question of its own, such as an escalation."""
        await self._commits.barrier(question.thread)
        async with self._db.transaction() as connection:
            await connection.execute(_THREADS["hold"], {"thread": question.thread})
            if not await insert_question(connection, question):
                return
            detail: dict[str, Any] = {
                "approval": question.id,
                "kind": question.kind,
                "digest": question.digest,
            }
            await append(connection, question.thread, "approval.asked", actor=actor, detail=detail, tool=question.tool)

    async def expire(self, *, now: datetime | None = None) -> list[str]:
        """Turn overdue questions into rejections; a question that somebody decides meanwhile stays decided."""
        expired: list[str] = []
        for row in await self._db.all(_SQL["overdue"], {"now": now}):
            async with self.deciding(row["approval_id"]) as case:
                if case.approval.status == "pending":
                    await case.lapse()
                    expired.append(case.approval.id)
        return expired

    async def show(self, thread: str, task: str, round_: int, approvals: Sequence[str]) -> tuple[str, ...]:
        """Note what an interrupt shows; a replay gets what was shown at first."""
        values: dict[str, Any] = {"thread": thread, "task": task, "round": round_}
        async with self._db.transaction() as connection:
            await connection.execute(_SQL["show"], values | {"approvals": list(approvals)})
            row = await fetch_one(connection, _SQL["shown"], values)
        return tuple(row["approvals"]) if row else ()

    async def take_answer(self, thread: str, task: str, round_: int) -> bool:
        """Use up an interrupt's answer."""
        values = {"thread": thread, "task": task, "round": round_}
        await self._commits.barrier(thread)
        async with self._db.transaction() as connection:
            taken = await fetch_one(connection, _SQL["take_answer"], values)
            if taken:
                await connection.execute(_SQL["forget_answer"], values)
        return taken is not None

    async def _list(
        self,
        *,
        tenant: str | None = None,
        thread: str | None = None,
        turn: str | None = None,
        status: ApprovalStatus | None = None,
    ) -> list[Approval]:
        values = {"tenant": tenant, "thread": thread, "turn": turn, "status": status}
        return [approval_noun(row) for row in await self._db.all(_SQL["approvals"], values)]


class PostgresCase:
    """One approval under lock; what happens to it happens in one transaction."""

    def __init__(self, connection: Connection, approval: Approval, thread: ThreadFacts, now: datetime) -> None:
        self._connection = connection
        self.approval = approval
        self.thread = thread
        self.now = now

    async def action(self) -> ActionRow:
        """The action that it is about."""
        row = await fetch_one(self._connection, _ACTIONS["action"], {"action_id": self.approval.action})
        assert row is not None
        return action_row(row)

    async def history(self, past: Past) -> History:
        """How a tool was used; the approval's lock holds the thread's row."""
        return await read_history(self._connection, self.thread, past, hold=True)

    async def sign(self, principal: Principal, decision: Decision) -> None:
        """Keep the decision with its author."""
        values: dict[str, Any] = {
            "approval_id": self.approval.id,
            "principal": principal.id,
            "roles": sorted(principal.roles),
            "verified_by": principal.verified_by,
            "decision": decision.kind,
            "reason": decision.reason,
            "arguments": None if decision.arguments is None else Jsonb(decision.arguments),
        }
        await self._connection.execute(_SQL["sign"], values)
        await self._note("approval.signed", principal, {"decision": decision.kind})

    async def refuse(self, principal: Principal, decision: Decision, why: str) -> None:
        """Keep the refusal in the ledger."""
        await self._note("approval.refused", principal, {"decision": decision.kind, "why": why})

    async def close(self, status: ApprovalStatus, *, principal: Principal, decision: Decision) -> None:
        """The decision is taken: the question closes, and the action becomes what it says."""
        if not await fetch_one(self._connection, _SQL["close_approval"], self._key | {"status": status}):
            return
        if self.approval.kind in ("action", "answer") and status in _ACTION_STATUS:
            approvers = [*self._approvers(), principal.id] if status == "approved" else []
            await self._set_action(_ACTION_STATUS[status], response=decision.reason, approvers=approvers)
        await self._note(f"approval.{status}", principal, {"decision": decision.kind})

    async def lapse(self) -> None:
        """Nobody answered in time."""
        clock = Principal("clock", kind="service", verified_by="runtime")
        reason = f"nobody decided before {self.approval.expires_at:%Y-%m-%d %H:%M} UTC"
        await self.close("expired", principal=clock, decision=Decision(kind="reject", reason=reason))

    async def replace(self, judged: Judged, *, principal: Principal) -> None:
        """An edit: the old action is superseded by the new one, with its own verdict and question."""
        await self._set_action("superseded", response="edited", approvers=[])
        await insert_judged(self._connection, self.thread, judged, actor=principal.id)

    @property
    def _key(self) -> dict[str, Any]:
        return {"approval_id": self.approval.id}

    def _approvers(self) -> list[str]:
        return [one.principal for one in self.approval.signatures if one.decision.kind == "approve"]

    async def _set_action(self, status: str, *, response: str, approvers: list[str]) -> None:
        values = {
            "action_id": self.approval.action,
            "status": status,
            "response": response,
            "approvers": approvers,
        }
        await self._connection.execute(_ACTIONS["set_action"], values)

    async def _note(self, kind: str, principal: Principal, detail: Mapping[str, Any]) -> None:
        more = {
            "approval": self.approval.id,
            "verified_by": principal.verified_by,
            "digest": self.approval.digest,
        }
        await append(
            self._connection,
            self.approval.thread,
            kind,
            actor=principal.id,
            detail={**detail, **more},
            action=self.approval.action or None,
            tool=self.approval.tool,
        )
