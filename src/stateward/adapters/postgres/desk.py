"""Questions to people: the inbox, and the functions in the database that decide. Each is one statement."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.actions import action_row, judge_transit, question_of, response_field
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Connection, Database, Row, fetch_one
from stateward.adapters.postgres.envelopes import sealed
from stateward.adapters.postgres.history import read_history, summed
from stateward.adapters.postgres.ledger import sealed_detail
from stateward.adapters.postgres.questions import (
    approval_noun,
    asked_detail,
    delegation_noun,
    insert_question,
    note_question,
    opened_questions,
    question_row,
    readable_questions,
    signature_fields,
)
from stateward.adapters.postgres.statements import statements
from stateward.adapters.postgres.threads import facts_of, is_ended
from stateward.adapters.sealing import Sealer
from stateward.approve.ask import short_id
from stateward.approve.rules import unconfirmed
from stateward.errors import KeyringError, SealBroken, ThreadAbandoned, ThreadErased, UnknownApproval
from stateward.model.approval import Approval, ApprovalStatus, Delegation
from stateward.model.history import History
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts
from stateward.ports import ActionRow, Decided, Judged, Notice, Past, Refused, Rejudge, Seen, ToJudge, Vote

_SQL = statements("desk")
_UNCONFIRMED = "to approve it, the confirmation has to be typed"  # what the trail says; the person is told what it is
_AT_ONCE = 1000  # questions that one tick deals with


class PostgresDesk:
    """The approval tables."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def waiting(self) -> int:
        """How many questions wait, of everybody's; what they say is not read."""
        return int(await self._one(_SQL["waiting"], {}, "waiting"))

    async def get(self, approval: str) -> Approval | None:
        """One approval, or None."""
        found = await self._one(_SQL["question"], {"approval": approval}, "found")
        return None if found is None else (await opened_questions(self._keys, [{"found": found}]))[0]

    async def list(
        self,
        *,
        tenant: str | None = None,
        thread: str | None = None,
        status: ApprovalStatus | None = "pending",
    ) -> list[Approval]:
        """The inbox, oldest first; of all threads, without questions that cannot be opened."""
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
        sealer = await self._keys.make(question.thread)
        async with self._db.transaction() as connection:
            if await is_ended(connection, question.thread):
                raise ThreadAbandoned(question.thread)
            if await insert_question(connection, sealer, question):
                await note_question(connection, question, actor=actor)

    async def decide(self, vote: Vote, *, rejudge: Rejudge) -> Decided | Refused:
        """Take one decision, or refuse it."""
        async with self._taken([vote]) as (ballot,):
            if vote.decision.kind == "edit":
                return await self._edit(ballot, rejudge)
            said = ballot.said(await self._one(_SQL["decide"], {"decision": Jsonb(ballot.row())}, "said"))
        assert not isinstance(said, ToJudge)
        return said

    async def tick(self) -> list[Notice]:
        """Do what is due by the clock."""
        notices: list[Notice] = []
        for row in await self._db.all(_SQL["tick"], {"limit": _AT_ONCE}):
            with suppress(SealBroken, KeyringError):  # it is noted, and keeps nobody from being told of the others
                [question] = await opened_questions(self._keys, [row])
                notices.append(Notice(event=row["event"], approval=question))
        return notices

    async def look(self, thread: str, turn: str, *, task: str = "", round_: int = 0) -> Seen:
        """A turn as it stands."""
        await self._commits.told(thread)
        seen = await self._one(_SQL["look"], {"thread": thread, "turn": turn, "task": task, "round": round_}, "seen")
        async with self._keys.opening(thread) as sealer:
            return Seen(
                questions=[approval_noun(one, sealer) for one in seen["questions"]],
                actions=[action_row(one, sealer) for one in seen["actions"]],
                shown=tuple(seen["shown"]),
            )

    async def answer(
        self, thread: str, task: str, round_: int, votes: Sequence[Vote]
    ) -> list[Decided | Refused | ToJudge] | None:
        """Use up an interrupt's answer."""
        await self._commits.barrier(thread)
        values = {"thread": thread, "task": task, "round": round_}
        async with self._taken(votes) as ballots:
            rows = Jsonb([one.row() for one in ballots])
            said = await self._one(_SQL["answer"], values | {"decisions": rows}, "said")
            return None if said is None else [one.said(row) for one, row in zip(ballots, said, strict=True)]

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

    async def _edit(self, ballot: _Ballot, rejudge: Rejudge) -> Decided | Refused:
        """An edit, judged under the lock that it is made under, so that no limit is judged by two at once."""
        vote = ballot.vote
        async with self._db.transaction() as connection:
            found = await _decide(connection, ballot.row())
            said = ballot.said(found)
            if isinstance(said, ToJudge):
                case = PostgresCase(connection, facts_of(found["thread"]), action_row(found["action"], ballot.sealer))
                judged = await rejudge(case, vote.decision.arguments or {}, vote.by.id)
                row = ballot.row() | ballot.edited(case, judged)
                said = ballot.said(await _decide(connection, row), refused=judged if isinstance(judged, str) else "")
        assert not isinstance(said, ToJudge)
        return said

    @property
    def _keys(self) -> DataKeys:
        return self._commits.keys

    @asynccontextmanager
    async def _taken(self, votes: Sequence[Vote]) -> AsyncGenerator[list[_Ballot]]:
        """Decisions with the sealers of the threads that they are about."""
        rows = await self._db.all(_SQL["asked"], {"approvals": [vote.approval for vote in votes]})
        found = {row["found"]["approval"]["approval_id"]: row["found"] for row in rows}
        for vote in votes:
            if vote.approval not in found:
                raise UnknownApproval(vote.approval)
        async with self._keys.openings(one["approval"]["thread_id"] for one in found.values()) as sealers:
            yield [_ballot(vote, found[vote.approval], sealers) for vote in votes]

    async def _list(
        self,
        *,
        tenant: str | None = None,
        thread: str | None = None,
        turn: str | None = None,
        status: ApprovalStatus | None = None,
    ) -> list[Approval]:
        values = {"tenant": tenant, "thread": thread, "turn": turn, "status": status}
        rows = await self._db.all(_SQL["questions"], values)
        return await (readable_questions if thread is None else opened_questions)(self._keys, rows)

    async def _one(self, statement: bytes, values: dict[str, Any], column: str) -> Any:
        row = await self._db.one(statement, values)
        return None if row is None else row[column]


class PostgresCase:
    """An edit that may be made; its approval's lock holds the thread's row."""

    def __init__(self, connection: Connection, thread: ThreadFacts, action: ActionRow) -> None:
        self._connection = connection
        self.thread, self.action = thread, action
        self.summed: frozenset[str] = frozenset()

    async def history(self, past: Past) -> History:
        """How a tool was used."""
        self.summed = summed(past)
        return await read_history(self._connection, self.thread, past, hold=True)


async def _decide(connection: Connection, row: dict[str, Any]) -> Row:
    found = await fetch_one(connection, _SQL["decide"], {"decision": Jsonb(row)})
    assert found is not None
    return found["said"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ballot:
    """A decision on its way to `stateward.decide`.

    Attributes:
        vote: The decision.
        asked: Its question: one that cannot be opened is not decided.
        sealer: The thread's own.
    """

    vote: Vote
    asked: Approval
    sealer: Sealer

    def row(self) -> dict[str, Any]:
        """The decision as the function takes it; what is not there is left out, as is a text that says nothing."""
        vote, said = self.vote, self.vote.decision
        thread, action = self.asked.thread, self.asked.action
        fields = signature_fields(thread, vote.approval, vote.by.id)
        reason = said.reason if said.reason.strip() else ""
        row = _vote_row(vote) | {
            "reason": fields.text("reason", reason),
            "response": response_field(thread, action, reason) if action else None,
            "arguments": None if said.arguments is None else fields.json("arguments", said.arguments),
            "confirmed": self._is_confirmed(),
        }
        return sealed({name: value for name, value in row.items() if value is not None}, self.sealer)

    def edited(self, case: PostgresCase, judged: Judged | str) -> dict[str, Any]:
        """What became of judging an edit: the new action with its question, or why the tool's schema refuses it."""
        thread, editor = case.thread, self.vote.by.id
        if isinstance(judged, str):
            return {"refuse": sealed_detail(self.sealer, thread.thread, "approval.refused", {"why": judged})["why"]}
        row: dict[str, Any] = {"judged": judge_transit(thread, judged, actor=editor, summed=case.summed)}
        question = question_of(judged, thread)
        if question is not None:
            row |= {"question": question_row(question), "asked": asked_detail(question)}
        return sealed(row, self.sealer)

    def said(self, said: Row, *, refused: str = "") -> Decided | Refused | ToJudge:
        """What the function answers; `refused` is what it was told to refuse an edit with."""
        if said["outcome"] == "unknown":
            raise UnknownApproval(self.vote.approval)
        found = approval_noun(said["question"], self.sealer)
        match said["outcome"]:
            case "refused" if said["why"] == _UNCONFIRMED and found.confirmation is not None:
                return Refused(approval=found, why=unconfirmed(found.confirmation))
            case "refused":
                return Refused(approval=found, why=said["why"] or refused)
            case "judge":
                return ToJudge(approval=found)
            case _:
                return Decided(approval=found)

    def _is_confirmed(self) -> bool:
        word = self.asked.confirmation
        return word is not None and (self.vote.decision.confirmation or "").strip() == word


def _ballot(vote: Vote, found: Row, sealers: Mapping[str, Sealer]) -> _Ballot:
    thread = found["approval"]["thread_id"]
    sealer = sealers[thread]
    if sealer.is_erased:  # it reads as nothing, and nobody decides about nothing
        raise ThreadErased(thread)
    return _Ballot(vote=vote, asked=approval_noun(found, sealer), sealer=sealer)


def _vote_row(vote: Vote) -> dict[str, Any]:
    return {
        "approval": vote.approval,
        "principal": vote.by.id,
        "roles": sorted(vote.by.roles),
        "kind": vote.by.kind,
        "tenant": vote.by.tenant,
        "verified_by": vote.by.verified_by,
        "decision": vote.decision.kind,
        "digest": vote.digest,
    }


def _author(by: Principal) -> dict[str, Any]:
    return {"by": by.id, "kind": by.kind, "held": sorted(by.roles), "verified_by": by.verified_by}


def _granted(said: Row) -> Delegation | str:
    return said["why"] if "why" in said else delegation_noun(said["delegation"])
