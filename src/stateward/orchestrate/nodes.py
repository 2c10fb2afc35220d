"""Run a workflow: what each drawn node does. State carries the conversation; what may happen stands in the database."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any, cast
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send

from stateward.conversation import Conversation
from stateward.errors import ActionRefused, ConfigurationError, ThreadError
from stateward.model.action import Call
from stateward.model.approval import Signature
from stateward.model.effect import Receipt
from stateward.model.memory import MemoryItem, Scope, Search
from stateward.model.thread import Spent, ThreadFacts
from stateward.model.values import Json, digest, plain, plain_object
from stateward.model.verdict import Reason
from stateward.orchestrate.answers import fields_of
from stateward.orchestrate.escalation import escalate
from stateward.orchestrate.identity import server_principal
from stateward.orchestrate.invoking import Given, current_action
from stateward.orchestrate.models import planner as planner_of
from stateward.orchestrate.models import readable
from stateward.orchestrate.parts import Done, Parts
from stateward.orchestrate.said import divided, result_of
from stateward.orchestrate.services import Services, Ward, current_services, current_thread, refuse_nobody
from stateward.orchestrate.steps import Turn, calls_of
from stateward.orchestrate.turns import Rounds
from stateward.orchestrate.unanswered import as_it_was, going_back, in_order, unanswered
from stateward.orchestrate.usage import refuse_unpriced, used
from stateward.personal_data.known import known_values
from stateward.ports import ActionRow
from stateward.remember.write import Entry, MemoryRules

_ANSWER_TRIES = 3
Goto = Command[Any]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a team's own function is given: governed ways to act, recall and remember.

    Attributes:
        thread: Whom the run belongs to.
        services: The runtime's ports.
        place: Where in the conversation it stands: the same after a crash, another one in the next round.
        action: Id of the action whose result is being remembered, if one is.
    """

    services: Services
    ward: Ward
    thread: ThreadFacts
    node: str
    place: str
    rounds: Rounds = field(default_factory=Rounds)
    action: str | None = None
    _calls: count[int] = field(default_factory=count)

    async def act(self, tool: str, /, **arguments: Any) -> Json:
        """A tool call through the same gate as a model's; it may stop the run to ask people.

        Raises:
            ActionRefused: it was denied or rejected, or it failed; what failed is tried anew when the step runs again.
        """
        at = next(self._calls)
        turn = await self._attempt(f"step:{self.node}:{self.place}:{at}")
        rows = await turn.verify([Call(id=f"{self.node}-{at}", tool=tool, arguments=plain_object(arguments))])
        if any(row.verdict == "ask" for row in rows):
            await turn.approve()
        else:
            await turn.mark("open")
        done, waits = await turn.act()
        while waits:
            await turn.approve()
            done, waits = await turn.act()
        row, receipt = done[0]
        if row.status == "responded":
            return row.response
        if receipt.status != "settled":
            raise ActionRefused(receipt.error or f"{tool} did not run ({row.status})")
        return result_of(receipt.result)

    async def recall(self, kind: str, /, *, query: str | None = None, limit: int = 100) -> list[MemoryItem]:
        """What is remembered of this kind, for this thread's subject and purpose; it brings its labels along."""
        return await self.services.search(await self._scope(), Search(prefix=(kind,), query=query, limit=limit))

    async def remember(self, kind: str, key: str, /, **value: Any) -> None:
        """Keep something under the policy; the same key again replaces it with a new version.

        What it said before is kept until that would have expired.

        Raises:
            MemoryRefused: the policy does not let it be kept.
        """
        await self.revise(kind, key, value)

    async def revise(self, kind: str, key: str, value: Mapping[str, Any], /, *, version: int | None = None) -> int:
        """Keep something in the place of what is known now, and say which version it has.

        Args:
            kind: A kind that the policy declares.
            key: Its name among those of this kind.
            value: All of its new content.
            version: The version that it is made from, as `recall` has given it; 0 where it found nothing. Default: any.

        Raises:
            MemoryConflict: somebody else has changed it meanwhile: recall it again.
            MemoryRefused: the policy does not let it be kept.
        """
        entry = Entry(
            namespace=(kind,),
            key=key,
            value=plain_object(value),
            version=version,
            action=self.action or current_action(),
        )
        rules = MemoryRules.of(self.ward.document)
        (made,) = await self.services.keeper.keep(rules, await self._scope(), [entry])
        return made or 0

    async def forget(self, kind: str, key: str, /) -> bool:
        """Delete something with what it said before; whether there was anything."""
        entry = Entry(namespace=(kind,), key=key, action=self.action or current_action())
        rules = MemoryRules.of(self.ward.document)
        (gone,) = await self.services.keeper.keep(rules, await self._scope(), [entry])
        return gone is not None

    async def knows(self, **values: str | Iterable[str]) -> None:
        """Say who the case is about, as in `knows(PERSON="Jane Doe", PHONE_NUMBER=["+1 212 555 0187"])`.

        From then on these values are found however they are written: names turned round, shortened, without accents,
        by their parts; numbers whatever stands between their digits. They are kept sealed, for this thread.

        Args:
            values: By Presidio's entity type: one value, or some. What is empty is left out.

        Raises:
            ConfigurationError: an entity type or a value is none; the message does not quote values.
        """
        await self.services.case_file.add(self.thread.thread, known_values(values))

    async def decision(self, done: Done, /) -> Signature | None:
        """Who decided last about a call, and what; None where nobody was asked or has decided."""
        approvals = await self.services.desk.of_turn(self.thread.thread, done.row.action.turn)
        signed = [one.signatures[-1] for one in approvals if one.action == done.row.action.id and one.signatures]
        return signed[-1] if signed else None

    def turn(self, id_: str, *, planned: bool = False) -> Turn:
        """A turn of this step; `planned` where a planner makes its calls."""
        return Turn(
            services=self.services,
            ward=self.ward,
            thread=self.thread,
            id=id_,
            rounds=self.rounds,
            planned=planned,
        )

    async def _attempt(self, id_: str) -> Turn:
        """The call's turn; where an earlier run of this step failed, nothing has happened, and a new turn begins."""
        turn = self.turn(id_)
        for tries in count(1):
            receipts = [
                await self.services.journal.receipt(row.action.id, thread=self.thread.thread)
                for row in await turn.rows()
            ]
            if not any(one is not None and one.status == "failed" for one in receipts):
                break
            turn = self.turn(f"{id_}:{tries}")
        return turn

    async def _scope(self) -> Scope:
        return await self.services.scope(self.thread.thread)


@dataclass(frozen=True)
class Nodes:
    """The nodes of one workflow."""

    ward: Ward
    parts: Parts

    async def retrieve(self, state: Any) -> Goto:
        """Open the thread, and load what the run starts from; or go back to where people are still asked."""
        before = as_it_was(state)
        step = await self._step("retrieve", before, opens=True)
        back = await self._back(step, state) if before is state else None
        if back is not None:
            if back.goto == "retrieve":  # it goes on with what it had, so that it asks the same
                return back
            return replace(back, update=await self._kept(state, step, back.update or {}, enters=True))
        update: dict[str, Any] = {"failures": 0, "outcome": ""}
        for function in self.parts.retrieve:
            update.update(await function({**before, **update}, step) or {})
        return Command(goto="orchestrate", update=await self._kept(state, step, update, enters=True))

    async def orchestrate(self, state: Any) -> Goto:
        """Let the planner say what is next."""
        step = await self._step("orchestrate", state)
        if unanswered(state["messages"]) is not None:
            return Command(goto="act")  # somebody wrote on while people are asked: that comes after the answer
        turn = step.turn(step.place)
        over = await turn.spend(Spent(steps=1))
        if over:
            return Command(goto="escalate", update={"outcome": over.because})
        refuse_unpriced(self.ward.document, self.parts.planner)
        said = await self._plan(step, state["messages"])
        await turn.spend(used(self.ward.document, self.parts.planner, [said]))
        update = await self._kept(state, step, {"messages": [said]})
        return Command(goto=await self._after(step, said), update=update)

    async def verify(self, state: Any) -> Goto:
        """Judge every call of the turn."""
        step = await self._step("verify", state)
        message = _last(state["messages"])
        rows = await step.turn(_turn_id(message), planned=True).verify(calls_of(message))
        _tell_verdicts(rows)
        # What the policy allows does not wait for people who are asked about the rest.
        return Command(goto="approve" if rows and all(row.status == "asked" for row in rows) else "act")

    async def approve(self, state: Any) -> None:
        """Wait for people."""
        step = await self._step("approve", state)
        await step.turn(_turn_id(_last(state["messages"]))).approve()

    async def act(self, state: Any) -> list[Goto]:
        """Perform what is permitted, once."""
        step = await self._step("act", state)
        message = _last(state["messages"])
        answered = _answered(state["messages"], message)
        turn = replace(step.turn(_turn_id(message), planned=True), given=Given(state=state))
        if turn.is_new or not await turn.rows():
            _tell_verdicts(await self._verify_here(step, turn, calls_of(message)))
        performed, waits = await turn.act(answered)
        told = [(row, receipt, await turn.told(row, receipt)) for row, receipt in performed]
        for row, receipt, said in told:
            error = "; ".join(str(one.text) for one in said if isinstance(one, ToolMessage)) if receipt.error else ""
            _tell(step="act", tool=row.action.call.tool, status=receipt.status, error=error)
        fresh = [said for row, _, said in told if row.action.call.id not in answered]
        messages, changes = divided([one for said in fresh for one in said])
        if waits:
            return [*changes, Command(goto="approve", update={"messages": messages})]
        kept = any(call.tool in self.parts.remember for call in calls_of(message))
        update = {"messages": _complete(message, messages, answered)}
        return [*changes, Command(goto="remember" if kept else "orchestrate", update=update)]

    async def remember(self, state: Any) -> None:
        """Keep what the team's functions keep of this turn."""
        state = as_it_was(state)
        step = await self._step("remember", state)
        for row in await step.turn(_turn_id(_last(state["messages"]))).rows():
            function = self.parts.remember.get(row.action.call.tool)
            said = _answer_of(state["messages"], row.action.call.id)
            if function is not None and said is not None:
                found = await self.services.journal.receipt(row.action.id, thread=row.action.thread)
                receipt = replace(found, result=result_of(found.result)) if found else _unless_read(row, said)
                await function(state, replace(step, action=row.action.id), Done(row=row, receipt=receipt))

    async def validate(self, state: Any) -> Goto:
        """Check the answer; what fails goes back to the planner, and to people after some tries."""
        state = as_it_was(state)
        step = await self._step("validate", state)
        update, content, problem = await self._shaped(state, step)
        problem = problem or await self._problem({**state, **update}, step)
        if self.ward.document.answers:
            update, problem = await self._judged(state, step, update, content, problem)
        if problem:
            return self._try_again(state, problem)
        return Command(goto="answer", update={**update, "failures": 0, "outcome": "answered"})

    async def escalate(self, state: Any) -> Goto:
        """Ask a person how to go on."""
        step = await self._step("escalate", state)
        why = state.get("outcome") or "it needs a decision"
        about = state.get("asked_about") or _asked_about(state["messages"])
        said = await escalate(step.turn(step.place), why, about=about)
        if said is None:
            return Command(goto="answer", update={"outcome": "escalated"})
        return Command(goto="orchestrate", update={"failures": 0, "messages": [HumanMessage(said.reason)]})

    async def answer(self, state: Any) -> Goto:
        """Let the answer leave; where the policy has rules for it, only as it was permitted."""
        whole, state = state, as_it_was(state)
        step = await self._step("answer", state)
        last, escalated = _last(state["messages"]), state.get("outcome") == "escalated"
        turn = step.turn(_turn_id(last))
        update: dict[str, Any] = {}
        if self.ward.document.answers:
            permitted = None if escalated else await self._permitted(state, turn)
            if permitted is not None:
                self.services.journal.leave(permitted, actor=step.thread.principal)
            elif not escalated:
                return Command(goto="validate")  # a client has led here past `validate`
            else:
                update = {"messages": [AIMessage("The answer was withheld.", id=last.id)]}
        elif self.parts.answer and self.ward.answer.is_text:
            update = dict(await self.parts.answer(state, step) or {})
        if talk := self.services.conversation(self.ward, step.thread):
            update = await self._leaving(talk, {**state, **update}, update, last)
        await turn.answer("escalated" if escalated else "answered")
        if whole is not state and not escalated:  # what came while people were asked about it is read now
            return Command(goto="retrieve", update={**update, "resumes": {}})
        return Command(goto=END, update=update)

    async def _leaving(
        self, talk: Conversation, state: Mapping[str, Any], update: dict[str, Any], last: AnyMessage
    ) -> dict[str, Any]:
        """The update that gives the reader the values in the answer: in its fields, and in its message."""
        leaving = dict(update)
        for name, value in fields_of(self.ward.answer, state).items() if not self.ward.answer.is_text else ():
            try:
                given = plain(value)
            except (TypeError, ValueError):
                continue
            if (new := await talk.answered(given)) != given:
                leaving[name] = new
        messages = cast("list[AnyMessage]", update.get("messages") or [last])
        left = [await talk.leaving(one) if isinstance(one, AIMessage) else one for one in messages]
        return {**leaving, "messages": left} if left != [last] else leaving

    @property
    def services(self) -> Services:
        """The ports of the runtime that this run belongs to."""
        return current_services()

    @cached_property
    def model(self) -> Any:
        """The planner with its tools bound."""
        model: BaseChatModel = planner_of(self.parts.planner)
        return model.bind_tools([spec.tool for name, spec in self.ward.tools.items() if name in self.ward.shown])

    async def _step(self, node: str, state: Any, *, opens: bool = False) -> Step:
        services = self.services
        await services.install(self.ward)
        facts = await self._facts(services, current_thread(), state if opens else None)
        await services.reading(self.ward, facts)
        return Step(services=services, ward=self.ward, thread=facts, node=node, place=_place(state))

    async def _facts(self, services: Services, thread: str, opening: Any) -> ThreadFacts:
        if opening is not None:
            asked = refuse_nobody(self.ward, await self._opening(services, thread, opening))
            return (await services.threads.open(asked, retention=self.ward.document.threads)).facts
        facts = await services.facts(thread)
        if (facts.graph, facts.graph_version) != (self.ward.name, self.ward.version):
            raise ThreadError(
                f"thread {thread!r} was started on {facts.graph} {facts.graph_version}, this is {self.ward.name} "
                f"{self.ward.version}: resume it with the version that it was started with"
            )
        return refuse_nobody(self.ward, facts)

    async def _opening(self, services: Services, thread: str, state: Any) -> ThreadFacts:
        found = await services.threads.find(thread)
        person = server_principal(found.facts.tenant if found else "default")
        # A second person who asks on somebody's thread is not its requester, so `open` refuses them.
        asking = person.id if person else None
        return ThreadFacts(
            thread=thread,
            tenant=person.tenant if person else found.facts.tenant if found else "default",
            principal=self.ward.principal,
            requester=asking or (found.facts.requester if found else _local_user(services)),
            purpose=self.ward.purpose,
            subject=self.parts.subject(state),
            graph=self.ward.name,
            graph_version=self.ward.version,
        )

    async def _verify_here(self, step: Step, turn: Turn, calls: Sequence[Call]) -> list[ActionRow]:
        """Judge a turn where it acts, in one commit with what follows: the policy asks nobody about it, or a crash or a
        client has led here past `verify`. What no planner of this run has made counts as a step of its own.
        """
        over = None if turn.is_new else await turn.spend(Spent(steps=1))
        return await turn.verify(calls, refusal=over)

    async def _after(self, step: Step, said: AIMessage) -> str:
        """Where the planner's message leads; a turn that asks nobody needs no superstep to be judged in."""
        turn = step.turn(_turn_id(said), planned=True)
        self.services.turns.begin(step.thread.thread, turn.id)
        if not said.tool_calls:
            return "validate"
        await turn.meet(calls_of(said))
        return "verify" if turn.plain(calls_of(said)) is None else "act"

    async def _plan(self, step: Step, messages: Sequence[AnyMessage]) -> AIMessage:
        prompt = [SystemMessage(self.parts.instructions)] if self.parts.instructions else []
        if "model" not in vars(self):
            # A provider's client is made in a thread of its own: that takes seconds and reads files.
            await asyncio.to_thread(lambda: self.model)
        asked, talk = in_order(messages), self.services.conversation(self.ward, step.thread)
        asked = asked if talk is None else await talk.given(asked)
        with step.services.spans.chat(self.model, self.ward.name) as chat:
            said = chat.heard(await self.model.ainvoke([*prompt, *asked]))
        if not isinstance(said, AIMessage):
            raise ConfigurationError(f"the planner answered with a {type(said).__name__}, not with an AIMessage")
        # The id names the turn in the database; providers may repeat theirs.
        return readable(said).model_copy(update={"id": f"turn-{uuid4().hex}"})

    async def _kept(self, state: Any, step: Step, update: dict[str, Any], *, enters: bool = False) -> dict[str, Any]:
        """The update with what the state keeps in place of what people wrote, where the policy treats that."""
        talk, said = self.services.conversation(self.ward, step.thread), update.get("messages", [])
        if talk is None or not isinstance(said, list):
            return update  # a team's own function may put it otherwise: then it is done after the planner's turn
        kept = await talk.kept(state.get("messages") or (), enters=enters)
        return {**update, "messages": [*kept, *cast("list[Any]", said)]} if kept else update

    async def _shaped(self, state: Any, step: Step) -> tuple[dict[str, Any], dict[str, Json], str]:
        """What the answer changes in the state, the answer as JSON, and why it does not fit its model, if so."""
        spec, said = self.ward.answer, str(_last(state["messages"]).text)
        update: dict[str, Any] = {}
        if self.parts.answer and not spec.is_text:
            update = dict(await self.parts.answer(state, step) or {})
            if unknown := sorted(set(update) - set(spec.model.model_fields)):
                raise ConfigurationError(
                    f"flow.answer(...) returns {', '.join(unknown)}, which {spec.name} does not have"
                )
        try:
            return update, spec.read(update or said), ""
        except ValueError as error:
            return update, {"text": said}, str(error)

    async def _problem(self, state: Any, step: Step) -> str:
        for check in self.parts.validate:
            if problem := await check(state, step):
                return problem
        return ""

    async def _judged(
        self, state: Any, step: Step, update: dict[str, Any], content: dict[str, Json], problem: str
    ) -> tuple[dict[str, Any], str]:
        """The answer as people leave it, and why it may not leave, if so."""
        turn, spec = step.turn(_turn_id(_last(state["messages"]))), self.ward.answer
        refusal = Reason(rule=f"answers.{spec.name}.validate", because=problem) if problem else None
        row = await turn.judge_answer(content, call=f"answer-{digest(content)[:16]}", refusal=refusal)
        problem = turn.keeps_back(row)
        if not problem and row.action.edit:
            update = self._edited(state, update, row.action.call.arguments)
            shown = {**state, **update, "messages": add_messages(state["messages"], update.get("messages", []))}
            problem = await self._problem(shown, step)
        return update, problem

    def _edited(self, state: Any, update: dict[str, Any], content: dict[str, Json]) -> dict[str, Any]:
        """What an edited answer changes in the state: the fields of `flow.answer`, else the planner's message."""
        spec = self.ward.answer
        if update:
            made = spec.made(content)
            return {name: getattr(made, name) for name in spec.model.model_fields}
        return {"messages": [AIMessage(spec.said(content), id=_last(state["messages"]).id)]}

    async def _permitted(self, state: Any, turn: Turn) -> ActionRow | None:
        """The permit of what would leave; None where nobody has judged it.

        Raises:
            ThreadError: what is in the state is not what was permitted.
        """
        spec, said = self.ward.answer, str(_last(state["messages"]).text)
        rows = [row for row in await turn.answers() if not turn.keeps_back(row)]
        try:
            content = spec.read(fields_of(spec, state) if self.parts.answer else said)
        except ValueError:
            content = {}
        found = next((row for row in rows if row.action.call.arguments == content), None)
        if rows and found is None:
            raise ThreadError("the answer in the state is not the one that was permitted, so it does not leave")
        return found

    async def _back(self, step: Step, state: Any) -> Goto | None:
        """Where people are still asked about what the last message does not belong to, or their answer waits."""
        messages = cast("Sequence[AnyMessage]", state.get("messages") or ())
        asked = await self.services.desk.awaited(step.thread.thread) if len(messages) > 1 else None
        if asked is None:
            return None
        about = asked.removeprefix("escalate:")
        if about != asked:
            return Command(goto=Send("escalate", {"messages": messages[-1:], "asked_about": about}))
        found = going_back(asked, messages[:-1])
        if found is None:
            return None  # about a turn's calls, which `orchestrate` finds in the conversation
        node, place = found
        return Command(goto=node, update={"resumes": {_turn_id(messages[-1]): place}})

    def _try_again(self, state: Any, problem: str) -> Goto:
        failures = int(state.get("failures") or 0) + 1
        rule = self.ward.document.answers.get(self.ward.answer.name)
        if failures >= (rule.tries if rule else _ANSWER_TRIES):
            return Command(goto="escalate", update={"failures": failures, "outcome": problem})
        note = HumanMessage(f"The answer does not hold: {problem}")
        return Command(goto="orchestrate", update={"failures": failures, "messages": [note]})


def _local_user(services: Services) -> str:
    if not services.development:
        raise ThreadError("nobody verified started this run: open the thread with runtime.thread(..., requester=...)")
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        return f"user {os.getuid()}"


def _last(messages: Sequence[AnyMessage]) -> AnyMessage:
    return next((message for message in reversed(messages) if isinstance(message, AIMessage)), messages[-1])


def _place(state: Any) -> str:
    messages = cast("Sequence[AnyMessage]", state.get("messages") or ())
    return _turn_id(messages[-1]) if messages else "start"


def _asked_about(messages: Sequence[AnyMessage]) -> str:
    # What a person has said since makes it another question.
    return _turn_id(
        next((one for one in reversed(messages) if isinstance(one, AIMessage | HumanMessage)), messages[-1])
    )


def _turn_id(message: AnyMessage) -> str:
    return message.id or "turn"


def _answered(messages: Sequence[AnyMessage], message: AnyMessage) -> frozenset[str]:
    calls = {call.id for call in calls_of(message)}
    after = messages[messages.index(message) :]
    return frozenset(one.tool_call_id for one in after if isinstance(one, ToolMessage) and one.tool_call_id in calls)


def _complete(message: AnyMessage, answers: list[AnyMessage], answered: frozenset[str]) -> list[AnyMessage]:
    """An answer for every call: one that nobody judged did not run, and the planner is told so."""
    known = answered | {one.tool_call_id for one in answers if isinstance(one, ToolMessage)}
    missing = [call for call in calls_of(message) if call.id not in known]
    refused = "refused: nobody has judged this call"
    return [
        *answers,
        *(ToolMessage(refused, tool_call_id=one.id, name=one.tool, status="error") for one in missing),
    ]


def _unless_read(row: ActionRow, said: Receipt) -> Receipt:
    """Only a read leaves no receipt in the journal; what a person answered in place of a tool did not settle."""
    return said if row.status == "consumed" and row.effect == "read" else replace(said, status="abandoned")


def _answer_of(messages: Sequence[AnyMessage], call: str) -> Receipt | None:
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and message.tool_call_id == call:
            text = str(message.text)
            if message.status == "error":
                return Receipt(action="", status="abandoned", error=text)
            return Receipt(action="", status="settled", result=_value(text))
    return None


def _value(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tell_verdicts(rows: Sequence[ActionRow]) -> None:
    for row in rows:
        reasons = [why for _, why in row.reasons]
        _tell(step="verify", tool=row.action.call.tool, verdict=row.verdict, reasons=reasons)


def _tell(**what: Any) -> None:
    get_stream_writer()(what)
