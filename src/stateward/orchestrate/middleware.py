"""The same wards for LangChain's `create_agent`: one middleware, thin over the same steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.types import Command
from pydantic import BaseModel

from stateward.errors import ConfigurationError, MissingExtra, ThreadError
from stateward.model.policy import PolicyDocument
from stateward.model.thread import Spent, ThreadFacts
from stateward.model.values import Json, digest
from stateward.model.verdict import Reason
from stateward.orchestrate.answers import AnswerCheck, answer_spec
from stateward.orchestrate.escalation import escalate
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.reading import Doubt
from stateward.orchestrate.services import Ward, current_services, current_thread
from stateward.orchestrate.steps import Turn, calls_of, message_of, running_task
from stateward.orchestrate.tools import specs
from stateward.orchestrate.turns import Rounds
from stateward.orchestrate.unanswered import in_order, unanswered
from stateward.orchestrate.upstream import spare_idle_threads
from stateward.orchestrate.usage import refuse_unpriced, used
from stateward.orchestrate.workflow import gate_of, policy_of

try:
    from langchain.agents.middleware import AgentMiddleware, ModelResponse
except ImportError as error:  # pragma: no cover - the extra is installed wherever this is tested
    raise MissingExtra("langchain", extra="openai") from error

ANSWER_TRIES = 3
ToolAnswer = ToolMessage | Command[Any]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A model's node while it has no answer that may leave.

    Attributes:
        request: What the model is asked next.
        task: Id of LangGraph's task: the same after an interrupt and after a crash.
        rounds: Counts the interrupts of the task.
        attempts: How many answers of the task did not hold. They are no part of the conversation.
    """

    request: Any
    task: str
    rounds: Rounds
    attempts: int = 0

    @property
    def turn(self) -> str:
        """Id of the turn that the task's answers are judged in."""
        return f"answer:{self.task}"

    def with_messages(self, *messages: AnyMessage) -> Asking:
        """The same with more to say to the model, this time only."""
        return replace(self, request=self.request.override(messages=[*self.request.messages, *messages]))


@dataclass(frozen=True)
class Finished:
    """What the model's node says."""

    response: Any


class WardMiddleware(AgentMiddleware[Any, Any, Any]):
    """Judges every tool call of a turn, asks people once, performs what is permitted, once.

    Args:
        policy: The policy's file, or a document.
        tools: The tools that the agent has. A tool that the policy does not name is denied.
        principal: The agent identity that acts; the tools' `for:` names it. It names the threads' graph as well.
        purpose: What the threads are for. Default: the policy's name.
        answer: The pydantic model of the agent's answer: of its structured response, else of its text, which then has
            to be JSON. The policy names a model `ClosePack` as `close_pack`. Default: a plain text, `text`.
        validate: `async (answer) -> problem | None`, each with the answer's object, or its text.
    """

    def __init__(
        self,
        *,
        policy: str | Path | PolicyDocument,
        tools: Sequence[BaseTool],
        principal: str,
        purpose: str = "",
        answer: type[BaseModel] | None = None,
        validate: Sequence[AnswerCheck] = (),
    ) -> None:
        super().__init__()
        spare_idle_threads()
        document, source = policy_of(policy)
        known, spec = specs(list(tools)), answer_spec(answer)
        self._checks = tuple(validate)
        self.ward = Ward(
            name=principal,
            version=digest([principal, sorted(known)])[:12],
            document=document,
            gate=gate_of(document, known, source, answer=spec),
            tools=known,
            principal=principal,
            purpose=purpose or document.policy,
            shown=frozenset(known),
            answer=spec,
            only_messages=True,
        )
        self._leaves_unseen = spec.is_text and not document.answers and not validate

    @property
    def name(self) -> str:
        """The name of its node in the drawn graph."""
        return "stateward"

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Ask the model while the budget lasts, until it makes calls or gives an answer that may leave."""
        loop = current_services().loop
        found = blocking(loop, self._ready(request))
        while isinstance(found, Asking):
            found = blocking(loop, self._said(found, handler(found.request)))
        return found.response

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask the model while the budget lasts, until it makes calls or gives an answer that may leave."""
        loop = current_services().loop
        found = await on_loop(loop, self._ready(request))
        while isinstance(found, Asking):
            found = await on_loop(loop, self._said(found, await handler(found.request)))
        return found.response

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], ToolAnswer]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        return blocking(current_services().loop, self._act(request))

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[ToolAnswer]]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        return await on_loop(current_services().loop, self._act(request))

    async def _ready(self, request: Any) -> Asking | Finished:
        """What the model is asked, or what is said in its place: what waited, or that a budget is used up."""
        waiting = unanswered(request.state["messages"])
        if waiting is not None:
            return Finished(response=waiting)  # somebody wrote on while people are asked: that comes after the answer
        request = request.override(messages=in_order(request.messages))
        asking = Asking(request=request, task=running_task(), rounds=Rounds())
        services = current_services()
        if self.ward.document.answers and services.turns.is_fresh(current_thread()):
            turn = await self._turn(asking.turn, asking.rounds)
            for row in await turn.answers():
                found = await self._judged(asking, turn, row.action.call.arguments, "", None)
                if isinstance(found, Finished):
                    return found
                asking = found
        return await self._affordable(asking)

    async def _affordable(self, asking: Asking) -> Asking | Finished:
        turn, asked = await self._turn(asking.task, asking.rounds), count()
        over = await turn.spend(Spent(steps=1))
        while over is not None:
            said = await escalate(turn, over.because, about=f"{turn.id}:{asking.attempts}:{next(asked)}")
            if said is None:
                await turn.answer("escalated")
                return Finished(AIMessage(f"The run was ended: {over.because}"))
            asking = asking.with_messages(HumanMessage(said.reason))
            over = await turn.spend(Spent())
        refuse_unpriced(self.ward.document, asking.request.model)
        return asking

    async def _said(self, asking: Asking, response: Any) -> Asking | Finished:
        message = next((one for one in reversed(response.result) if isinstance(one, AIMessage)), None)
        if message is None:
            return Finished(response)
        turn = await self._turn(message.id or "turn", asking.rounds)
        Doubt.rise()  # a subagent's model: what the tool around it returns are a model's words
        await turn.spend(used(self.ward.document, asking.request.model, response.result))
        if message.id:
            turn.services.turns.begin(turn.thread.thread, message.id)
        if message.tool_calls and response.structured_response is None:
            return Finished(response)
        if self._leaves_unseen:
            await turn.answer()
            return Finished(response)
        found = await self._answer(asking, response, str(message.text))
        return found if isinstance(found, Finished) else await self._affordable(found)

    async def _answer(self, asking: Asking, response: Any, text: str) -> Asking | Finished:
        """Validate an answer, and judge it where the policy has rules for it."""
        spec, given = self.ward.answer, response.structured_response
        if spec.is_text and given is not None and self.ward.document.answers:
            raise ConfigurationError(
                "the agent gives a structured answer, and the policy's rules are for a text: name its model with "
                "runtime.middleware(..., answer=Model)"
            )
        content: dict[str, Json] = {"text": text}
        try:
            content = spec.read(text if given is None or spec.is_text else given)
            problem = await self._problem(content)
        except ValueError as error:
            problem = str(error)
        turn = await self._turn(asking.turn, asking.rounds)
        if self.ward.document.answers:
            return await self._judged(asking, turn, content, problem, response)
        if problem:
            return await self._once_more(asking, turn, text, problem)
        await turn.answer()
        return Finished(response)

    async def _judged(
        self, asking: Asking, turn: Turn, content: dict[str, Json], problem: str, response: Any
    ) -> Asking | Finished:
        """Let an answer leave as it was permitted; what does not hold is told to the model."""
        spec, at = self.ward.answer, asking.attempts
        refusal = Reason(rule=f"answers.{spec.name}.validate", because=problem) if problem else None
        row = await turn.judge_answer(content, call=f"answer-{at}", position=at, refusal=refusal)
        permitted = row.action.call.arguments
        problem = turn.keeps_back(row) or (await self._problem(permitted) if row.action.edit else "")
        if problem:
            return await self._once_more(asking, turn, spec.said(permitted), problem)
        turn.services.journal.leave(row, actor=turn.thread.principal)
        await turn.answer()
        if response is not None and row.verdict == "allow" and permitted == content:
            return Finished(response)
        # What people were shown is what leaves, and not what the model has said or would say now.
        given = spec.made(permitted) if asking.request.response_format is not None and not spec.is_text else None
        message = AIMessage(spec.said(permitted), id=f"answer-{row.action.id}")
        return Finished(ModelResponse(result=[message], structured_response=given))

    async def _problem(self, content: dict[str, Json]) -> str:
        answer = self.ward.answer.made(content)
        for check in self._checks:
            if problem := await check(answer):
                return problem
        return ""

    async def _once_more(self, asking: Asking, turn: Turn, draft: str, problem: str) -> Asking | Finished:
        """Tell the model what is wrong; after some tries people are asked how to go on."""
        rule = self.ward.document.answers.get(self.ward.answer.name)
        attempts, note = asking.attempts + 1, f"The answer does not hold: {problem}"
        if attempts % (rule.tries if rule else ANSWER_TRIES) == 0:
            said = await escalate(turn, problem, about=f"{turn.id}:{attempts}")
            if said is None:
                await turn.answer("escalated")
                return Finished(AIMessage("The answer was withheld."))
            note = said.reason
        return replace(asking.with_messages(AIMessage(draft), HumanMessage(note)), attempts=attempts)

    async def _act(self, request: Any) -> ToolMessage:
        message = _last(request.state)
        call_id = str(request.tool_call["id"])
        if message is None:
            raise ConfigurationError("a tool call without a message that made it")
        turn = await self._turn(message.id or "turn", Rounds())
        await self._verify(turn, message)
        await turn.ask_once(call_id)
        while (found := await turn.act_one(call_id)) is None:
            await turn.approve()  # an edit asks anew, and so does a cut-off attempt whose outcome is unknown
        row, receipt = found
        if row is None:
            refused = f"refused: {receipt.error}"
            return ToolMessage(refused, tool_call_id=call_id, name=request.tool_call["name"], status="error")
        return message_of(row, receipt)

    async def _verify(self, turn: Turn, message: AIMessage) -> None:
        """Judge the whole turn, once, whichever of its calls comes first."""
        async with turn.judging:
            calls = calls_of(message)
            rows = [] if turn.is_new else await turn.rows()
            if not rows:
                # What no model of this run has made counts as a step of its own.
                await turn.verify(calls, refusal=None if turn.is_new else await turn.spend(Spent(steps=1)))
            elif {row.action.call.id for row in rows} < {call.id for call in calls}:
                await turn.verify(calls)  # a crash has left it judged in part

    async def _turn(self, id_: str, rounds: Rounds) -> Turn:
        services = current_services()
        await services.install(self.ward)
        facts = await services.facts(current_thread())
        self._refuse_foreign(facts)
        await services.reading(self.ward, facts)
        return Turn(services=services, ward=self.ward, thread=facts, id=id_, rounds=rounds, planned=True)

    def _refuse_foreign(self, facts: ThreadFacts) -> None:
        if (facts.principal, facts.graph) != (self.ward.principal, self.ward.name):
            raise ThreadError(
                f"the thread was opened for {facts.principal!r} on {facts.graph or 'no graph'!r}, this agent is "
                f"{self.ward.principal!r}: open it with runtime.thread(..., graph={self.ward.name!r})"
            )
        if facts.graph_version != self.ward.version:
            raise ThreadError(
                f"the thread was started with other tools ({facts.graph_version or 'unknown'}) than this agent has "
                f"({self.ward.version}): make the middleware before runtime.thread(...), or start a new thread"
            )


def _last(state: Any) -> AIMessage | None:
    messages = cast("Sequence[Any]", state["messages"] if isinstance(state, dict) else state.messages)
    return next((one for one in reversed(messages) if isinstance(one, AIMessage)), None)
