"""The steps of a turn, for every way in: judge its calls, ask people once, perform what is permitted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.errors import GraphInterrupt
from langgraph.runtime import get_runtime
from langgraph.types import interrupt

from stateward.act.calling import Paused
from stateward.act.perform import Performer, Traits, Waiting
from stateward.model.action import Action, Call, action_id, undo_id
from stateward.model.approval import Approval, Decision
from stateward.model.effect import Effect, Receipt
from stateward.model.history import History
from stateward.model.principal import Principal
from stateward.model.provenance import UNTRUSTED
from stateward.model.thread import Spent, ThreadFacts
from stateward.model.values import Json, plain_object
from stateward.model.verdict import Deny, Permit, Reason
from stateward.orchestrate.identity import server_principal
from stateward.orchestrate.interrupts import is_look_again, parse, payload
from stateward.orchestrate.invoking import Given, probing
from stateward.orchestrate.judging import fitted, judged
from stateward.orchestrate.reading import Doubt, Reading
from stateward.orchestrate.said import Returned, Said, content_text, replayed
from stateward.orchestrate.services import Services, Ward
from stateward.orchestrate.tools import ToolSpec, there
from stateward.orchestrate.turns import Known, Rounds
from stateward.personal_data.boundary import Boundary, Reveal
from stateward.ports import ActionRow, Decided, EditCase, Judged, Past, Refused, Rejudge, Seen, ToJudge, Vote
from stateward.verify.budget import used_up
from stateward.verify.origin import sighting

_FRESH = 10.0  # seconds for which a verdict by the history need not be held against it again
_NOT_ITS_OWN = Reason(rule="orchestrate.tools", because="the agent that calls this tool does not have it")
_NOT_FOR_PLANNERS = Reason(rule="orchestrate.tools", because="this tool is for the workflow's own steps")


class Skipped:
    """The conversation has the answer already."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of one thread, as the steps see it.

    Attributes:
        id: Id of the message that makes the calls.
        rounds: Counts the interrupts of the running task, whose answers are positional.
        planned: Whether a planner makes the calls, which may only use the tools that it is shown.
        given: What LangChain injects into the tools.
        own: The tools of the agent that makes the calls, where the ward has those of other agents too.
        undoes: Id of the settled action that its one call takes back, outside of any run.
        boundary: The pseudonyms in its calls.
    """

    services: Services
    ward: Ward
    thread: ThreadFacts
    id: str
    rounds: Rounds
    planned: bool = False
    given: Given = field(default_factory=Given)
    own: Mapping[str, ToolSpec] | None = None
    undoes: str | None = None
    boundary: Boundary = field(default_factory=Boundary)
    _answers: dict[str, Returned] = field(default_factory=dict[str, Returned])

    async def verify(self, calls: Sequence[Call], *, refusal: Reason | None = None) -> list[ActionRow]:
        """Judge the calls and record the verdicts; a turn that was judged before keeps them (P6).

        Args:
            calls: The turn's calls, in order.
            refusal: Denies all of them, whatever the policy says, such as a budget that is used up.
        """
        refusal = refusal or await self.over_budget()
        await self.meet(calls)
        if self.is_new:
            plain = self.plain(calls, refusal)
            if plain is not None:
                self._known.rows = self.services.journal.note(self.thread, plain, actor=self._actor)
                return self._known.rows
        rows = await self.rows()
        known = {row.action.call.id for row in rows}
        for at, call in enumerate(calls):
            if call.id not in known:
                rows = await self._record(call, at, refusal)
        return rows

    def plain(self, calls: Sequence[Call], refusal: Reason | None = None) -> list[Judged] | None:
        """The verdicts, where neither a person nor the history has to be asked; else None."""
        found: list[Judged] = []
        for at, call in enumerate(calls):
            if self.ward.gate.needs(call.tool):
                return None
            found.append(_refused(self._judge_by(call, at, {}, edit=0), refusal))
        return None if any(one.verdict.kind == "ask" for one in found) else found

    async def spend(self, more: Spent) -> Reason | None:
        """Add to what the thread has used up; the budget that is used up by that, if one is."""
        spent = await self.services.threads.spend(self.thread.thread, more)
        return used_up(self.ward.document.budget, spent)

    async def over_budget(self) -> Reason | None:
        """The budget of tokens, money or time that is used up, if one is; steps are counted where they are taken."""
        budget = self.ward.document.budget
        if self.undoes is not None or (budget.tokens is None and budget.usd is None and budget.wall is None):
            return None
        spent = await self.services.threads.spend(self.thread.thread, Spent())
        return used_up(budget, replace(spent, steps=0))

    async def rows(self) -> list[ActionRow]:
        """The turn's actions, as the database has them or will have them with the next commit."""
        known = self._known.rows
        if known is not None:
            return known
        found = await self.services.journal.turn(self.thread.thread, self.id)
        # A client may have named a turn like that of an undo.
        return [row for row in found if row.effect != "answer" and row.undoes == self.undoes]

    async def answers(self) -> list[ActionRow]:
        """The answers of the turn that were judged, in order; an edited one as it stands now."""
        if self.is_new:
            return []
        found = await self.services.journal.turn(self.thread.thread, self.id)
        return [row for row in found if row.effect == "answer"]

    async def judge_answer(
        self, content: dict[str, Json], *, call: str, position: int = 0, refusal: Reason | None = None
    ) -> ActionRow:
        """Judge an answer, and wait for people where the policy asks; one that was judged keeps its verdict (P6).

        Args:
            content: The answer.
            call: Which answer of the turn it is.
            position: 0-based place among the turn's answers.
            refusal: Denies it, whatever the policy says: it is not valid.
        """
        row = await self._answer(call)
        if row is None:
            judged = _refused(self.judged_answer(content, call=call, position=position), refusal)
            asks = judged.verdict.kind == "ask"
            actor, journal = self._actor, self.services.journal
            rows = await journal.record(self.thread, [judged], actor=actor) if asks else []
            rows = rows or journal.note(self.thread, [judged], actor=actor)
            self._known.new = False
            row = next(one for one in rows if one.action.call.id == call)
        while row.status == "asked":
            await self.approve()
            row = await self._answer(call) or row
        return row

    def judged_answer(self, content: dict[str, Json], *, call: str, position: int, edit: int = 0) -> Judged:
        """The gate's verdict on an answer."""
        spec, answer = self.ward.answer, Call(id=call, tool=self.ward.answer.name, arguments=content)
        action = Action(
            id=self._ids(answer, edit)[-1],
            thread=self.thread.thread,
            turn=self.id,
            position=position,
            call=answer,
            tool_digest=spec.digest,
            edit=edit,
        )
        return judged(self.ward, self.thread, action, {}, self._reading, answer=True)

    def keeps_back(self, row: ActionRow) -> str:
        """Why an answer may not leave, or nothing where it may, under today's policy as well (P3)."""
        if row.status not in ("permitted", "consumed"):
            return _why_not(row)
        today = (self.ward.gate.digest, self.ward.answer.digest)
        same = today == (row.policy_digest, row.action.tool_digest) and not self._labels_since(row)
        if row.status == "consumed" or same:
            return ""
        call = row.action.call
        judged = self.judged_answer(call.arguments, call=call.id, position=row.action.position)
        if row.verdict == "allow" and judged.verdict.kind == "allow":
            return ""
        return "refused: the policy, the answer's schema or what was read has changed since it was judged; answer again"

    async def _answer(self, call: str) -> ActionRow | None:
        return next((row for row in await self.answers() if row.action.call.id == call), None)

    async def edited(self, case: EditCase, call: Call, action: Action) -> Judged:
        """Judge the call that an edit makes of an action, in the transaction that decides it."""
        edit = action.edit + 1
        return self._judge_by(call, action.position, await case.history(self._past(call, edit)), edit=edit)

    async def approve(self) -> None:
        """Ask people until every question of the turn is decided; it interrupts the run as long as one is not."""
        note = ""
        while (seen := await self._look()).pending:
            self._known.rows = None
            await self.mark("waiting")
            note = await self._ask(seen, note)
        self._known.rows = [row for row in seen.actions if row.effect != "answer"] or None
        await self.mark("open")

    async def act(self, answered: frozenset[str] = frozenset()) -> tuple[list[tuple[ActionRow, Receipt]], bool]:
        """Perform what is permitted, in order, and say whether people have to decide something first.

        Args:
            answered: Calls whose answers are in the conversation; a read among them is not repeated.
        """
        done: list[tuple[ActionRow, Receipt]] = []
        waits = False
        for row in await self.rows():
            outcome = None if row.status == "asked" else await self._perform(row, row.action.call.id in answered)
            if isinstance(outcome, Receipt):
                done.append((row, outcome))
            elif not isinstance(outcome, Skipped):
                waits = True
        return done, waits

    async def act_one(self, call: str, rows: Sequence[ActionRow]) -> tuple[ActionRow | None, Receipt] | None:
        """Perform one call of the turn, whose actions are given; None while people have to decide something first.

        LangGraph runs the calls of an agent's turn as tasks of their own, each of which comes by here.
        """
        row = next((one for one in rows if one.action.call.id == call), None)
        if row is None:
            return None, Receipt(action="", status="abandoned", error="nobody has judged this call")
        outcome = None if row.status == "asked" else await self._perform(row, answered=False)
        return (row, outcome) if isinstance(outcome, Receipt) else None

    async def ask_once(self, call: str) -> Sequence[ActionRow]:
        """Wait for people where the turn asks, and give its actions; the first of its calls that is asked about asks.

        One interrupt then stands for the whole turn, which is what clients that answer without its id can handle.
        """
        rows = await self.rows()
        asked = [row.action.call.id for row in rows if row.status == "asked"]
        if call not in asked:
            return rows
        decided = self._known.decided
        if call == asked[0]:
            try:
                await self.approve()
            finally:
                decided.set()
            return await self.rows()
        await decided.wait()
        rows = await self.rows()
        if any(row.status == "asked" and row.action.call.id == call for row in rows):
            raise GraphInterrupt(())
        return rows

    def said(self, row: ActionRow, receipt: Receipt) -> list[Said]:
        """What the planner is told: what the tool has said just now, or what the journal has kept of it."""
        answer = self._answers.get(row.action.id)
        if receipt.status == "settled" and answer is not None and answer.said is not None:
            return answer.said
        return said_of(row, receipt)

    async def told(self, row: ActionRow, receipt: Receipt) -> list[Said]:
        """The same, with its personal data treated as the policy says, before it enters the state."""
        said, talk = self.said(row, receipt), self.services.conversation(self.ward, self.thread)
        return said if talk is None else await talk.said(said, row.action.call.arguments)

    @property
    def judging(self) -> asyncio.Lock:
        """Held by whoever judges the turn, where several of its calls run at once."""
        return self._known.judging

    def acting(self, call: str) -> asyncio.Lock:
        """Held by whoever performs the call: a second one of the same id is then answered as the first."""
        return self._known.acting.setdefault(call, asyncio.Lock())

    @property
    def is_new(self) -> bool:
        """Whether a planner of this run made the turn, and nobody has judged it."""
        return self._known.new and self._known.rows is None

    @property
    def _known(self) -> Known:
        return self.services.turns.of(self.thread.thread, self.id)

    @property
    def _reading(self) -> Reading:
        return self.services.turns.readings.of(self.thread.thread)

    @property
    def _actor(self) -> str:
        return f"policy:{self.ward.document.policy}"

    async def _record(self, call: Call, position: int, refusal: Reason | None) -> list[ActionRow]:
        """Judge one call and record it. One by one, so that a limit sees the calls before this one."""
        action, past = self._ids(call, 0)[-1], self._past(call, 0)
        self._known.rows = None

        def judge(history: History) -> Judged:
            return _refused(self._judge_by(call, position, history, edit=0), refusal)

        rows = await self.services.journal.judge(self.thread, past, judge, actor=self._actor)
        if past.queries and any(row.action.id == action and row.verdict == "allow" for row in rows):
            self._known.cleared[action] = self.services.loop.time()
        return rows

    async def _judge(self, call: Call, position: int, *, edit: int = 0) -> Judged:
        history = await self.services.journal.history(self.thread, self._past(call, edit))
        return self._judge_by(call, position, history, edit=edit)

    async def _clear(self, row: ActionRow) -> str:
        """Why a permit that was not used yet does not hold against what has been done by now, if so."""
        call, past = row.action.call, self._past(row.action.call, row.action.edit)
        if row.status != "permitted" or not past.queries or self._is_fresh(row.action.id, past):
            return ""

        def why_not(history: History) -> str:
            judged = self._judge_by(call, row.action.position, history, edit=row.action.edit)
            if judged.verdict.kind == "deny":
                return "; ".join(reason.because for reason in judged.verdict.reasons)
            if judged.verdict.kind == "ask" and row.verdict == "allow":
                return f"after what was done since, {call.tool} has to be approved; propose it again"
            return ""

        return await self.services.journal.clear(self.thread, row.action.id, past, why_not, actor=self._actor)

    def _is_fresh(self, action: str, past: Past) -> bool:
        """Whether it was judged in this run, so short a time ago that it has counted for everybody else since."""
        at = self._known.cleared.get(action)
        shortest = min(query.window.total_seconds() for query in past.queries)
        return at is not None and self.services.loop.time() - at < min(_FRESH, shortest)

    def _past(self, call: Call, edit: int) -> Past:
        return Past(tool=call.tool, queries=self.ward.gate.needs(call.tool), excluding=self._ids(call, edit))

    def _ids(self, call: Call, edit: int) -> list[str]:
        if self.undoes is not None:
            return [undo_id(self.undoes)]
        return [action_id(thread=self.thread.thread, turn=self.id, call=call.id, edit=n) for n in range(edit + 1)]

    def _judge_by(self, call: Call, position: int, history: History, *, edit: int) -> Judged:
        spec = self.ward.tools.get(call.tool)
        fitting = fitted(self.ward, call, self.reveals(call))
        action = Action(
            id=self._ids(call, edit)[-1],
            thread=self.thread.thread,
            turn=self.id,
            position=position,
            call=fitting,
            tool_digest=spec.digest if spec else "",
            edit=edit,
        )
        found = judged(self.ward, self.thread, action, history, self._reading, reveal=self.reveals(fitting))
        if made_up := self.boundary.refusal(call.arguments):
            return replace(found, verdict=Deny(reasons=(Reason(rule="pseudonyms", because=made_up),)))
        if self.planned and spec is not None and call.tool not in self.ward.shown:
            return replace(found, verdict=Deny(reasons=(_NOT_FOR_PLANNERS,)))
        if self.own is not None and spec is not None and call.tool not in self.own:
            return replace(found, verdict=Deny(reasons=(_NOT_ITS_OWN,)))
        return found if self.undoes is None else replace(found, undoes=self.undoes)

    async def meet(self, calls: Iterable[Call]) -> None:
        """Look up what the pseudonyms in calls stand for, before they are judged or run."""
        services, ward = self.services, self.ward
        self.boundary.tokens = await services.tokens(ward, self.thread.thread)
        if self.boundary.tokens.entities:
            scope = await services.scope(self.thread.thread)
            await self.boundary.meet(services.vault, scope, (call.arguments for call in calls))

    def reveals(self, call: Call) -> Reveal | None:
        """What is put back into a call that was met; None where nothing is."""
        rule = self.ward.gate.rule(call.tool)
        return self.boundary.of(rule.reveal, call.arguments) if rule is not None and rule.reveal else None

    def traits(self, call: Call, spec: ToolSpec | None) -> Traits:
        """What the tool of a call that was met says of itself; its probe asks with the values of its pseudonyms."""
        reveal = self.reveals(call)
        traits = spec.traits if spec is not None else Traits()
        return traits if reveal is None else probing(traits, reveal)

    async def _look(self) -> Seen:
        desk, thread = self.services.desk, self.thread.thread
        return await desk.look(thread, self.id, task=running_task(), round_=self.rounds.at)

    async def mark(self, status: Literal["open", "waiting"]) -> None:
        """Change the thread's status."""
        await self.services.threads.mark(self.thread.thread, status, actor=self.thread.principal)

    async def answer(self, status: Literal["answered", "escalated"] = "answered") -> None:
        """The run has its answer, or people have to go on without it."""
        thread = self.thread.thread
        kept = self.ward.document.threads
        await self.services.threads.mark(thread, status, actor=self.thread.principal, retention=kept)
        if self.ward.document.checkpoints.keep == "latest":
            self.services.turns.answered(thread)

    async def _ask(self, seen: Seen, note: str) -> str:
        """Interrupt once; where there is an answer already, take it, and say what was wrong with it."""
        shown = [one for one in seen.questions if one.id in seen.shown]
        task, round_ = running_task(), self.rounds.use()
        raw: object = interrupt(payload(shown, note))
        look_again = is_look_again(raw)
        decisions = [] if look_again else parse(raw, shown)
        votes = self._votes(decisions or (), shown)
        said = await self.services.desk.answer(self.thread.thread, task, round_, votes or ())
        if said is None or look_again:
            return note
        if decisions is None:
            typed = any(one.confirmation for one in shown)
            wanted = " To approve, type what is asked for, exactly." if typed else ""
            return f"The last answer was not understood; nothing was decided.{wanted}"
        if votes is None:
            return "Nobody verified gave that answer; decide it with a verified identity."
        rejudge = _rejudge(self.services)
        ended = [
            await self.services.desk.decide(vote, rejudge=rejudge) if isinstance(one, ToJudge) else one
            for vote, one in zip(votes, said, strict=True)
        ]
        return "; ".join(one.why for one in ended if isinstance(one, Refused))

    def _votes(self, decisions: Sequence[tuple[str, Decision]], shown: Sequence[Approval]) -> list[Vote] | None:
        """The decisions with their author, or None where nobody verified gave them."""
        votes: list[Vote] = []
        for approval, decision in decisions:
            who = self._answering(next(one for one in shown if one.id == approval))
            if who is None:
                return None
            votes.append(Vote(approval=approval, decision=decision, by=who))
        return votes

    def _answering(self, approval: Approval) -> Principal | None:
        verified = server_principal(self.thread.tenant)
        if verified is not None or not self.services.development:
            return verified
        by = approval.open_requirements[0].by if approval.open_requirements else ()
        return Principal(by[0], tenant=self.thread.tenant, verified_by="development: nobody") if by else None

    async def _perform(self, row: ActionRow, answered: bool) -> Receipt | Waiting | Skipped:
        if answered and (row.effect == "read" or row.status != "consumed"):
            return Skipped()
        if row.status not in ("permitted", "consumed"):
            said = row.response if row.status == "responded" else None
            return Receipt(action=row.action.id, status="abandoned", error=_why_not(row), result=said)
        await self.meet([row.action.call])
        why_not = await self._holds_no_more(row) or await self._clear(row)
        if why_not:
            return Receipt(action=row.action.id, status="abandoned", error=why_not)
        spec = self._spec(row.action.call.tool)
        traits, reveal = self.traits(row.action.call, spec), self.reveals(row.action.call)
        given = replace(self.given, talk=self.services.conversation(self.ward, self.thread))
        call = self.services.spans.call(row)

        async def run(effect: Effect) -> Json:
            with call.attempt(effect.attempt):
                answer = await spec.run(row.action.call, effect, given, reveal)
            if effect.credential is None:  # else what the journal keeps is said, which is without secrets
                self._answers[row.action.id] = answer
            return answer.result

        self._bring_labels(row)
        with Doubt.of_a_run() as doubt, call:
            try:
                outcome = call.outcome = await self.performer().perform(permit_of(row), self.thread, run, traits)
            except Paused as pause:
                raise pause.__cause__ or pause from None
        if call.ran and isinstance(outcome, Receipt):
            await self._see(row, outcome, doubt)
        return outcome

    def _bring_labels(self, row: ActionRow) -> None:
        """The thread has a tool's labels from the call on: they are as durable as its reservation or its receipt."""
        call = row.action.call
        labels = self.ward.gate.returns(call.tool)
        if UNTRUSTED in labels:
            Doubt.rise()
        self.services.label(self.thread, labels, turn=self.id, action=row.action.id, tool=call.tool)

    async def _see(self, row: ActionRow, receipt: Receipt, doubt: Doubt) -> None:
        """Keep what the tool returned, where a rule asks for origins. What was only found again is kept already."""
        if not self.ward.gate.reads_origin or receipt.status != "settled":
            return
        call = row.action.call
        if doubt.raised or UNTRUSTED in self.ward.gate.returns(call.tool):
            one = sighting(row.action.id, "untrusted", receipt.result)
        else:
            one = sighting(row.action.id, "trusted", receipt.result, given=call.arguments)
        await self.services.see(self.thread.thread, one)

    def _spec(self, tool: str) -> ToolSpec:
        """The calling agent's own tool: another of its name may have other files, or other agents, behind it."""
        return (self.own or {}).get(tool) or there(self.ward.tools, tool)

    async def _holds_no_more(self, row: ActionRow) -> str:
        """Why a permit that was not used yet does not hold under today's policy, tools and budgets, if so (P3, P14)."""
        if row.status == "consumed" and row.effect == "write":
            return ""  # it was used: now it is about what became of it
        over = await self.over_budget()
        if over is not None:
            return f"refused: {over.because}"
        call, spec = row.action.call, self.ward.tools.get(row.action.call.tool)
        today = (self.ward.gate.digest, spec.digest if spec else "")
        more = self._labels_since(row)
        if today == (row.policy_digest, row.action.tool_digest) and not more:
            return ""
        judged = await self._judge(call, row.action.position, edit=row.action.edit)
        if row.verdict == "allow" and judged.verdict.kind == "allow":
            return ""
        what = f"the thread has read what is {', '.join(more)}" if more else "the policy or the tool has changed"
        return f"refused: {what} since {call.tool} was judged; propose it again"

    def _labels_since(self, row: ActionRow) -> list[str]:
        """Labels that came after the call was judged, where its rules ask for them.

        What the calls beside it have brought does not count: all of them were proposed before any of them ran.
        """
        if not self.ward.gate.reads_labels(row.action.call.tool, answer=row.effect == "answer"):
            return []
        labels = self._reading.labels
        return sorted(label for label, turn in labels.items() if turn != self.id and label not in row.labels)

    def performer(self) -> Performer:
        """Performs the turn's permits; outside of a run they follow from no checkpoint."""
        return Performer(
            journal=self.services.journal,
            desk=self.services.desk,
            credentials=self.services.credentials,
            identities=self.ward.document.identities,
            settlers=lambda tool: settlers(self.ward, tool),
            follows=None if self.undoes is not None else _follows(),
        )


async def take_decision(services: Services, vote: Vote) -> Decided | Refused:
    """Take a decision from wherever it comes; edited arguments are judged again from the start (P5)."""
    return await services.desk.decide(vote, rejudge=_rejudge(services))


def _edited_answer(turn: Turn, row: ActionRow, fields: dict[str, Json], editor: str) -> Judged | str:
    spec, call = turn.ward.answer, row.action.call
    if spec.name != call.tool:
        return f"the workflow answers with {spec.name} by now, and not with {call.tool}"
    try:
        unknown = sorted(set(fields) - set(spec.model.model_fields))
        content = spec.read(fields) if not unknown else {}
    except ValueError as error:
        return f"the edited answer does not fit {spec.name}: {error}"
    if unknown:
        return f"{spec.name} has no field {', '.join(unknown)}"
    edit = row.action.edit + 1
    judged = turn.judged_answer(content, call=call.id, position=row.action.position, edit=edit)
    return replace(judged, editor=editor, supersedes=row.action.id)


def calls_of(message: AnyMessage) -> list[Call]:
    """The calls that a message makes."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return [
        Call(id=one["id"] or f"call-{at}", tool=one["name"], arguments=_plainly(one["args"]))
        for at, one in enumerate(calls)
    ]


def permit_of(row: ActionRow) -> Permit:
    """The permit that an action's row stands for; the journal lets it be used once.

    Raises:
        ValueError: it is an answer, which nothing performs.
    """
    if row.effect == "answer":
        raise ValueError("an answer is not performed")
    return Permit(
        action=row.action.id,
        thread=row.action.thread,
        call=row.action.call.id,
        tool=row.action.call.tool,
        arguments=row.action.call.arguments,
        effect=row.effect,
        identity=row.identity,
        idempotent=row.idempotent,
        approvers=row.approvers,
    )


def said_of(row: ActionRow, receipt: Receipt) -> list[Said]:
    """What the planner is told: the result, or why there is none."""
    call = row.action.call
    if receipt.status == "settled":
        return replayed(receipt.result, call.id, call.tool)
    if row.status == "responded":
        return [ToolMessage(content_text(receipt.result), tool_call_id=call.id, name=call.tool)]
    return [ToolMessage(receipt.error, tool_call_id=call.id, name=call.tool, status="error")]


def running_task() -> str:
    """Id of LangGraph's task that runs: the same after an interrupt and after a crash."""
    info = get_runtime().execution_info
    return info.task_id if info else ""


def settlers(ward: Ward, tool: str) -> tuple[str, ...]:
    """Who is asked what happened: whoever approves the tool, else whoever is escalated to, else any person."""
    rule = ward.gate.rule(tool)
    asking = [name for ask in rule.ask if ask.mode == "enforce" for name in ask.by] if rule else []
    escalation = ward.document.escalate
    people = [name for name, identity in ward.document.identities.items() if identity.kind == "person"]
    return tuple(dict.fromkeys(asking or (escalation.to if escalation else ()) or people))


def _rejudge(services: Services) -> Rejudge:
    async def rejudge(case: EditCase, arguments: Mapping[str, Json], editor: str) -> Judged | str:
        ward, row = services.ward_of(case.thread), case.action
        await services.keep(ward)
        await services.reading(ward, case.thread, anew=True)
        turn = Turn(services=services, ward=ward, thread=case.thread, id=row.action.turn, rounds=Rounds())
        if row.effect == "answer":
            return _edited_answer(turn, row, dict(arguments), editor)
        call = replace(row.action.call, arguments=dict(arguments))
        await turn.meet([call])
        spec = there(ward.tools, call.tool)
        problem = turn.boundary.refusal(call.arguments) or spec.problem(call.arguments, turn.reveals(call))
        if problem is not None:
            return f"the edited arguments do not fit {call.tool}: {problem}"
        judged = await turn.edited(case, call, row.action)
        return replace(judged, editor=editor, supersedes=row.action.id)

    return rejudge


def _plainly(arguments: dict[str, Any]) -> dict[str, Json]:
    try:
        return plain_object(arguments)
    except ValueError:
        return arguments  # the gate refuses it and says why


def _why_not(row: ActionRow) -> str:
    reasons = "; ".join(because for _, because in row.reasons)
    match row.status:
        case "denied":
            return f"denied: {row.response or reasons}"
        case "rejected":
            return f"rejected: {row.response}"
        case _:
            return f"{row.action.call.tool} did not run ({row.status}): {reasons}"


def _follows() -> str:
    return info.checkpoint_id if (info := get_runtime().execution_info) else ""


def _refused(judged: Judged, refusal: Reason | None) -> Judged:
    return judged if refusal is None else replace(judged, verdict=Deny(reasons=(refusal,)))
