"""Questions to people: the inbox, and the functions in the database that decide. Each is one statement."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.actions import action_row, judge_transit, question_of
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Connection, Database, Row, fetch_one
from stateward.adapters.postgres.history import read_history
from stateward.adapters.postgres.questions import (
    approval_noun,
    asked_detail,
    delegation_noun,
    insert_question,
    note_question,
    question_row,
)
from stateward.adapters.postgres.statements import statements
from stateward.adapters.postgres.threads import facts_of, is_ended
from stateward.approve.ask import short_id
from stateward.errors import ThreadAbandoned, UnknownApproval
from stateward.model.approval import Approval, ApprovalStatus, Delegation
from stateward.model.history import History
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts
from stateward.ports import ActionRow, Decided, Judged, Notice, Past, Refused, Rejudge, Seen, ToJudge, Vote

_SQL = statements("desk")
_AT_ONCE = 1000  # questions that one tick deals with


class PostgresDesk:
    """The approval tables."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def get(self, approval: str) -> Approval | None:
        """One approval, or None."""
        found = await self._one(_SQL["question"], {"approval": approval}, "found")
        return None if found is None else approval_noun(found)

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

    async def awaited(self, thread: str, *, task: str = "") -> str | None:
        """The turn that a thread waits in."""
        await self._commits.told(thread)
        return await self._one(_SQL["awaited"], {"thread": thread, "task": task}, "turn")

    async def ask(self, question: Approval, *, actor: str) -> None:
        """A question of its own, such as an escalation."""
        await self._commits.barrier(question.thread)
        async with self._db.transaction() as connection:
            if await is_ended(connection, question.thread):
                raise ThreadAbandoned(question.thread)
            if await insert_question(connection, question):
                await note_question(connection, question, actor=actor)

    async def decide(self, vote: Vote, *, rejudge: Rejudge) -> Decided | Refused:
        """Take one decision, or refuse it."""
        if vote.decision.kind == "edit":
            return await self._edit(vote, rejudge)
        said = _said(await self._one(_SQL["decide"], {"decision": Jsonb(_vote_row(vote))}, "said"), vote.approval)
        assert not isinstance(said, ToJudge)
        return said

    async def tick(self) -> list[Notice]:
        """Do what is due by the clock."""
        rows = await self._db.all(_SQL["tick"], {"limit": _AT_ONCE})
        return [Notice(event=row["event"], approval=approval_noun(row["found"])) for row in rows]

    async def look(self, thread: str, turn: str, *, task: str = "", round_: int = 0) -> Seen:
        """A turn as it stands."""
        await self._commits.told(thread)
        seen = await self._one(_SQL["look"], {"thread": thread, "turn": turn, "task": task, "round": round_}, "seen")
        return Seen(
            questions=[approval_noun(one) for one in seen["questions"]],
            actions=[action_row(one) for one in seen["actions"]],
            shown=tuple(seen["shown"]),
        )

    async def answer(
        self, thread: str, task: str, round_: int, votes: Sequence[Vote]
    ) -> list[Decided | Refused | ToJudge] | None:
        """Use up an interrupt's answer."""
        await self._commits.barrier(thread)
        values = {"thread": thread, "task": task, "round": round_}
        said = await self._one(_SQL["answer"], values | {"decisions": Jsonb([_vote_row(one) for one in votes])}, "said")
        return None if said is None else [_said(one, vote.approval) for one, vote in zip(said, votes, strict=True)]

    async def delegate(
        self, principal: Principal, *, to: str, until: datetime, by: Principal, since: datetime | None = None
    ) -> Delegation | str:
        """Hand a person's right to another for a time."""
        grant = {
            "id": short_id("D", secrets.token_hex(8)),
            "tenant": by.tenant,
            "delegator": principal.id,
            "roles": sorted(principal.roles),
            "delegate": to,
            "since": None if since is None else since.isoformat(),
            "until": until.isoformat(),
            **_author(by),
        }
        return _granted(await self._one(_SQL["delegate"], {"grant": Jsonb(grant)}, "said"))

    async def revoke(self, delegation: str, *, by: Principal) -> Delegation | str:
        """End a delegation."""
        revocation = {"id": delegation, "tenant": by.tenant, **_author(by)}
        return _granted(await self._one(_SQL["revoke_delegation"], {"revocation": Jsonb(revocation)}, "said"))

    async def delegations(self, *, tenant: str | None = None, person: str | None = None) -> list[Delegation]:
        """Those that hold now or later."""
        rows = await self._db.all(_SQL["delegations"], {"tenant": tenant, "person": person})
        return [delegation_noun(row["found"]) for row in rows]

    async def _edit(self, vote: Vote, rejudge: Rejudge) -> Decided | Refused:
        """An edit, judged under the lock that it is made under, so that no limit is judged by two at once."""
        async with self._db.transaction() as connection:
            found = await _decide(connection, _vote_row(vote))
            said = _said(found, vote.approval)
            if isinstance(said, ToJudge):
                case = PostgresCase(connection, facts_of(found["thread"]), action_row(found["action"]))
                judged = await rejudge(case, vote.decision.arguments or {}, vote.by.id)
                row = _vote_row(vote) | _edit_row(case.thread, judged, vote.by.id)
                said = _said(await _decide(connection, row), vote.approval)
        assert not isinstance(said, ToJudge)
        return said

    async def _list(
        self,
        *,
        tenant: str | None = None,
        thread: str | None = None,
        turn: str | None = None,
        status: ApprovalStatus | None = None,
    ) -> list[Approval]:
        values = {"tenant": tenant, "thread": thread, "turn": turn, "status": status}
        return [approval_noun(row["found"]) for row in await self._db.all(_SQL["questions"], values)]

    async def _one(self, statement: bytes, values: dict[str, Any], column: str) -> Any:
        row = await self._db.one(statement, values)
        return None if row is None else row[column]


class PostgresCase:
    """An edit that may be made; its approval's lock holds the thread's row."""

    def __init__(self, connection: Connection, thread: ThreadFacts, action: ActionRow) -> None:
        self._connection = connection
        self.thread, self.action = thread, action

    async def history(self, past: Past) -> History:
        """How a tool was used."""
        return await read_history(self._connection, self.thread, past, hold=True)


async def _decide(connection: Connection, row: dict[str, Any]) -> Row:
    found = await fetch_one(connection, _SQL["decide"], {"decision": Jsonb(row)})
    assert found is not None
    return found["said"]


def _vote_row(vote: Vote) -> dict[str, Any]:
    """A decision as `stateward.decide` takes it; what is not there is left out."""
    said = vote.decision
    row = {
        "approval": vote.approval,
        "principal": vote.by.id,
        "roles": sorted(vote.by.roles),
        "kind": vote.by.kind,
        "tenant": vote.by.tenant,
        "verified_by": vote.by.verified_by,
        "decision": said.kind,
        "reason": said.reason,
        "arguments": said.arguments,
        "confirmation": None if said.confirmation is None else said.confirmation.strip(),
        "digest": vote.digest,
    }
    return {name: value for name, value in row.items() if value is not None}


def _edit_row(thread: ThreadFacts, judged: Judged | str, editor: str) -> dict[str, Any]:
    """What became of judging an edit: the new action with its question, or why the tool's schema refuses it."""
    if isinstance(judged, str):
        return {"refuse": judged}
    row = {"judged": judge_transit(thread, judged, actor=editor)}
    question = question_of(judged, thread)
    return row if question is None else row | {"question": question_row(question), "asked": asked_detail(question)}


def _author(by: Principal) -> dict[str, Any]:
    return {"by": by.id, "kind": by.kind, "held": sorted(by.roles), "verified_by": by.verified_by}


def _said(said: Row, approval: str) -> Decided | Refused | ToJudge:
    if said["outcome"] == "unknown":
        raise UnknownApproval(approval)
    found = approval_noun(said["question"])
    match said["outcome"]:
        case "refused":
            return Refused(approval=found, why=said["why"])
        case "judge":
            return ToJudge(approval=found)
        case _:
            return Decided(approval=found)


def _granted(said: Row) -> Delegation | str:
    return said["why"] if "why" in said else delegation_noun(said["delegation"])
