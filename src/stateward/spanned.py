"""The ports on Postgres, with a span for each verdict, each question and decision, and each use of memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.desk import PostgresDesk
from stateward.adapters.postgres.journal import PostgresJournal
from stateward.adapters.postgres.memory import PostgresMemory
from stateward.approve.ask import action_question
from stateward.model.approval import Approval
from stateward.model.history import History
from stateward.model.memory import Change, MemoryItem, Scope, Search
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json
from stateward.model.verdict import Permit
from stateward.ports import ActionRow, Decided, EditCase, Judged, Past, Refused, Rejudge, ToJudge, Vote
from stateward.spans import Spans, action_facts


class SpannedJournal(PostgresJournal):
    """Tells of verdicts and of the questions that they ask.

    Args:
        spans: Makes the spans.
    """

    def __init__(self, database: Database, commits: Commits, spans: Spans) -> None:
        super().__init__(database, commits)
        self._spans = spans

    async def record(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Write verdicts and questions once."""
        since = time.time_ns()
        rows = await super().record(thread, judged, actor=actor)
        for one in judged:
            _tell_verdict(self._spans, thread, one, since=since)
        return rows

    async def judge(
        self, thread: ThreadFacts, past: Past, judge: Callable[[History], Judged], *, actor: str
    ) -> list[ActionRow]:
        """Judge by the history and record the verdict."""
        found: list[Judged] = []

        def judging(history: History) -> Judged:
            found.append(judge(history))
            return found[-1]

        since = time.time_ns()
        rows = await super().judge(thread, past, judging, actor=actor)
        _tell_verdict(self._spans, thread, found[-1], since=since)
        return rows

    def note(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Hand over verdicts that ask nobody."""
        since = time.time_ns()
        rows = super().note(thread, judged, actor=actor)
        for one in judged:
            _tell_verdict(self._spans, thread, one, since=since)
        return rows

    async def lose(
        self, permit: Permit, *, attempt: int, thread: ThreadFacts, by: Sequence[str], why: str = ""
    ) -> Approval:
        """Nobody knows what happened: ask people, once."""
        before = await self.receipt(permit.action, thread=permit.thread) if self._spans.records else None
        since = time.time_ns()
        question = await super().lose(permit, attempt=attempt, thread=thread, by=by, why=why)
        if before is None or before.status != "unknown":
            _tell_question(self._spans, question, since=since)
        return question


class SpannedDesk(PostgresDesk):
    """Tells of questions that belong to no action, and of decisions; of the people who decide nothing.

    Args:
        spans: Makes the spans.
    """

    def __init__(self, database: Database, commits: Commits, spans: Spans) -> None:
        super().__init__(database, commits)
        self._spans = spans

    async def ask(self, question: Approval, *, actor: str) -> None:
        """A question of its own, such as an escalation."""
        since = time.time_ns()
        await super().ask(question, actor=actor)
        _tell_question(self._spans, question, since=since)

    async def decide(self, vote: Vote, *, rejudge: Rejudge) -> Decided | Refused:
        """Take one decision, or refuse it."""

        async def rejudging(case: EditCase, arguments: Mapping[str, Json], editor: str) -> Judged | str:
            started = time.time_ns()
            judged = await rejudge(case, arguments, editor)
            if isinstance(judged, Judged):
                _tell_verdict(self._spans, case.thread, judged, since=started)
            return judged

        since = time.time_ns()
        said = await super().decide(vote, rejudge=rejudging)
        self._tell_decision(vote, said, since=since)
        return said

    async def answer(
        self, thread: str, task: str, round_: int, votes: Sequence[Vote]
    ) -> list[Decided | Refused | ToJudge] | None:
        """Use up an interrupt's answer."""
        since = time.time_ns()
        said = await super().answer(thread, task, round_, votes)
        for vote, one in zip(votes, said or (), strict=False):
            if not isinstance(one, ToJudge):
                self._tell_decision(vote, one, since=since)
        return said

    def _tell_decision(self, vote: Vote, said: Decided | Refused, *, since: int) -> None:
        asked = said.approval
        facts = {
            **_question_facts(asked),
            "stateward.decision": vote.decision.kind,
            "stateward.decision.taken": isinstance(said, Decided),
            "stateward.approval.status": asked.status,
        }
        self._spans.told(f"decide {asked.tool}", facts, since=since)


class SpannedMemory(PostgresMemory):
    """Tells of items that are written, deleted and found; of what they say nothing.

    Args:
        spans: Makes the spans.
    """

    def __init__(self, database: Database, commits: Commits, spans: Spans) -> None:
        super().__init__(database, commits)
        self._spans = spans

    async def change(self, scope: Scope, changes: Sequence[Change]) -> list[int | None]:
        """Write and delete items."""
        name = "upsert_memory" if any(one.value is not None for one in changes) else "delete_memory"
        kinds = sorted({one.kind for one in changes if one.kind})
        facts = {**_memory_facts(name, scope), "gen_ai.memory.record.count": len(changes)}
        with self._spans.span(name, {**facts, "stateward.memory.kinds": kinds}):
            return await super().change(scope, changes)

    async def get(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> MemoryItem | None:
        """One item that has not expired."""
        with self._spans.span("search_memory", _memory_facts("search_memory", scope)) as span:
            found = await super().get(scope, namespace=namespace, key=key)
            if span is not None:
                span.set_attribute("gen_ai.memory.record.count", int(found is not None))
            return found

    async def search(self, scope: Scope, search: Search) -> list[MemoryItem]:
        """Items below a namespace."""
        with self._spans.span("search_memory", _memory_facts("search_memory", scope)) as span:
            found = await super().search(scope, search)
            if span is not None:
                span.set_attribute("gen_ai.memory.record.count", len(found))
            return found


def _tell_verdict(spans: Spans, thread: ThreadFacts, judged: Judged, *, since: int) -> None:
    if not spans.records:
        return
    facts = action_facts(
        judged.action,
        verdict=judged.verdict.kind,
        effect=judged.effect,
        policy=judged.policy,
        policy_digest=judged.policy_digest,
        rules=(one.rule for one in judged.verdict.reasons),
    )
    observed = [one.rule for one in judged.observed]
    name = judged.action.call.tool if judged.action.tool_digest else ""
    spans.told(f"verify {name}".strip(), {**facts, "stateward.rules.observed": observed}, since=since)
    if judged.verdict.kind == "ask":
        _tell_question(spans, action_question(judged, thread), since=since)


def _tell_question(spans: Spans, asked: Approval, *, since: int) -> None:
    spans.told(f"ask {asked.tool}", _question_facts(asked), since=since)


def _question_facts(asked: Approval) -> dict[str, str]:
    return {
        "gen_ai.tool.name": asked.tool if asked.kind in ("action", "outcome") else "",
        "gen_ai.conversation.id": asked.thread,
        "stateward.approval.id": asked.id,
        "stateward.approval.kind": asked.kind,
        "stateward.action.id": asked.action,
    }


def _memory_facts(name: str, scope: Scope) -> dict[str, str]:
    return {"gen_ai.operation.name": name, "gen_ai.conversation.id": scope.thread}
