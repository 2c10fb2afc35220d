"""The same wards for LangChain's `create_agent`: one middleware, thin over the same steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command
from pydantic import BaseModel

from stateward.conversation import Conversation
from stateward.errors import ConfigurationError, MissingExtra
from stateward.model.policy import PolicyDocument
from stateward.model.thread import Spent
from stateward.model.values import Json, JsonObject
from stateward.model.verdict import Reason
from stateward.orchestrate.answers import AnswerCheck, answer_spec
from stateward.orchestrate.escalation import escalate
from stateward.orchestrate.invoking import Given
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.reading import Doubt
from stateward.orchestrate.said import Said
from stateward.orchestrate.services import Ward, current_services, current_thread
from stateward.orchestrate.steps import Turn, calls_of, running_task
from stateward.orchestrate.turns import Rounds
from stateward.orchestrate.unanswered import in_order, unanswered, waiting_task
from stateward.orchestrate.usage import refuse_unpriced, used
from stateward.orchestrate.wards import Register, Wards, messages_of, open_calls, turn_id
from stateward.orchestrate.workflow import policy_of
from stateward.upstream import (
    agent_in_making,
    graph_namespace,
    is_innermost,
    spare_idle_threads,
    subagents_of,
)

try:
    from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelResponse
except ImportError as error:  # pragma: no cover - the extra is installed wherever this is tested
    raise MissingExtra("langchain", extra="openai") from error

ANSWER_TRIES = 3
ToolAnswer = ToolMessage | Command[Any]
_NO_HOOKS: Any = AgentMiddleware
_CHANGED = "a middleware has changed the call that the model made; edit it where Stateward asks, or not at all"
_STANDS_WITHIN = (
    "{} stands within Stateward's middleware and wraps tool calls, so it could change, answer or repeat a call that "
    "was judged: put it before Stateward's in the list, which must be the last of those that do (in a deep agent, "
    "leave `interrupt_on` and `permissions` to the policy, and give `skills` as a subclass of SkillsMiddleware)"
)


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

    It has wrap hooks only, which are no nodes of the graph. It is the innermost of those that wrap tool calls: what
    stood within it could change a call that was judged, so that is refused when the agent is built.

    Args:
        policy: The policy's file, or a document.
        tools: The tools of the agent and of the agents within it; None to take them as the agents are built. One that
            the policy does not name is not shown to the model, and denied.
        principal: The agent identity that acts; the tools' `for:` names it. It names the threads' graph as well.
        purpose: What the threads are for. Default: the policy's name.
        answer: The pydantic model of the agent's answer: of its structured response, else of its text, which then has
            to be JSON. The policy names a model `ClosePack` as `close_pack`. Default: a plain text, `text`.
        validate: `async (answer) -> problem | None`, each with the answer's object, or its text.
        register: Makes the ward known to the runtime.
    """

    def __init__(
        self,
        *,
        policy: str | Path | PolicyDocument,
        tools: Sequence[BaseTool] | None = None,
        principal: str,
        purpose: str = "",
        answer: type[BaseModel] | None = None,
        validate: Sequence[AnswerCheck] = (),
        register: Register = lambda _: None,
    ) -> None:
        super().__init__()
        spare_idle_threads()
        spec, self._checks = answer_spec(answer), tuple(validate)
        self._wards = Wards(
            policy=policy, tools=tools, principal=principal, purpose=purpose, register=register, answer=spec
        )
        self._treats = bool(self._wards.document.conversation.personal_data)
        self._leaves_unseen = spec.is_text and not self._wards.document.answers and not validate

    @property
    def name(self) -> str:
        """The name of its node in the drawn graph."""
        return "stateward"

    @property
    def ward(self) -> Ward:
        """The policy, compiled against the tools."""
        return self._wards.ward

    @property
    def tools(self) -> Sequence[BaseTool]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """None of its own. LangChain asks when it builds an agent, which is when the agent is looked at.

        Raises:
            ConfigurationError: another middleware stands where it could change a call that was judged, or an agent
                within this one has no wards.
            PolicyError: the policy does not name one of the agent's tools, or does not fit it.
        """
        agent = agent_in_making(self)
        if agent is not None:
            _refuse_within(self, agent.middleware)
            for name, inner in subagents_of(agent.middleware).items():
                _refuse_unwarded(name, inner)
            self._wards.meet(agent.tools)
        return []

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Ask the model while the budget lasts, until it makes calls or gives an answer that may leave."""
        loop = current_services().loop
        found = blocking(loop, self._ready(request))
        while isinstance(found, Asking):
            asked = blocking(loop, self._given(found.request)) if self._treats else found.request
            with current_services().spans.chat(found.request.model, self.ward.name) as chat:
                said = chat.heard(handler(asked))
            found = blocking(loop, self._said(found, said))
        return blocking(loop, self._left(request, found.response)) if self._treats else found.response

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask the model while the budget lasts, until it makes calls or gives an answer that may leave."""
        loop = current_services().loop
        found = await on_loop(loop, self._ready(request))
        while isinstance(found, Asking):
            asked = await on_loop(loop, self._given(found.request)) if self._treats else found.request
            with current_services().spans.chat(found.request.model, self.ward.name) as chat:
                said = chat.heard(await handler(asked))
            found = await on_loop(loop, self._said(found, said))
        return await on_loop(loop, self._left(request, found.response)) if self._treats else found.response

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], ToolAnswer]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        _refuse_hooks_within(handler)
        return blocking(current_services().loop, self._act(request))

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[ToolAnswer]]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        _refuse_hooks_within(handler)
        return await on_loop(current_services().loop, self._act(request))

    async def _ready(self, request: Any) -> Asking | Finished:
        """What the model is asked, or what is said in its place: what waited, or that a budget is used up."""
        waiting = unanswered(request.state["messages"])
        if waiting is not None:
            return Finished(response=waiting)  # somebody wrote on while people are asked: that comes after the answer
        request = await self._shown(request.override(messages=in_order(request.messages)))
        asking = Asking(request=request, task=await _task(request.state["messages"]), rounds=Rounds())
        services = current_services()
        if self.ward.document.answers and not graph_namespace() and services.turns.is_fresh(current_thread()):
            turn = await self._wards.turn(asking.turn, rounds=asking.rounds)
            for row in await turn.answers():
                found = await self._judged(asking, turn, row.action.call.arguments, "", None)
                if isinstance(found, Finished):
                    return found
                asking = found
        return await self._affordable(asking)

    async def _given(self, request: Any) -> Any:
        """The request as the model gets it: its personal data is treated as the policy says."""
        talk = await self._talk()
        if talk is None:
            return request
        return request.override(messages=await talk.given(request.messages, messages_of(request.state)))

    async def _left(self, request: Any, response: Any) -> Any:
        """What the model's node says, and what the state keeps from now on in place of what people wrote."""
        talk = await self._talk()
        if talk is None:
            return response
        kept = await talk.kept(messages_of(request.state))
        left = response if graph_namespace() else await self._told(talk, response)
        if not kept:
            return left
        made = ModelResponse(result=[left]) if isinstance(left, AIMessage) else left
        return ExtendedModelResponse(model_response=made, command=Command(update={"messages": kept}))

    async def _told(self, talk: Conversation, response: Any) -> Any:
        """An answer as its reader gets it; what makes calls, or answers another agent, keeps its pseudonyms."""
        if isinstance(response, AIMessage):
            return response if response.tool_calls else await talk.leaving(response)
        made, spec = response.structured_response, self.ward.answer
        if made is not None and not spec.is_text:
            made = spec.made(cast("JsonObject", await talk.answered(spec.read(made))))
        elif any(isinstance(one, AIMessage) and one.tool_calls for one in response.result):
            return response
        result = [await talk.leaving(one) if isinstance(one, AIMessage) else one for one in response.result]
        return replace(response, result=result, structured_response=made)

    async def _talk(self) -> Conversation | None:
        services = current_services()
        facts = await services.facts(current_thread())
        return services.conversation(self.ward, facts, within=bool(graph_namespace()))

    async def _shown(self, request: Any) -> Any:
        turn = await self._wards.turn(running_task())
        shown = self._wards.shown(turn.thread)
        # What the provider runs itself, such as its web search, never comes by here and cannot be judged.
        kept = [one for one in request.tools if isinstance(one, BaseTool) and one.name in shown]
        return request if len(kept) == len(request.tools) else request.override(tools=kept)

    async def _affordable(self, asking: Asking) -> Asking | Finished:
        turn, asked = await self._wards.turn(asking.task, rounds=asking.rounds), count()
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
        turn = await self._wards.turn(turn_id(message), rounds=asking.rounds)
        Doubt.rise()  # a subagent's model: what the tool around it returns are a model's words
        await turn.spend(used(self.ward.document, asking.request.model, response.result))
        if message.id:
            turn.services.turns.begin(turn.thread.thread, turn.id)
        if message.tool_calls and response.structured_response is None:
            return Finished(response)
        if graph_namespace():
            return Finished(response)  # an agent within another one has answered that one: nothing leaves
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
        turn = await self._wards.turn(asking.turn, rounds=asking.rounds)
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

    async def _act(self, request: Any) -> Any:
        message, calls = open_calls(messages_of(request.state))
        asked = request.tool_call
        if message is None:
            raise ConfigurationError("a tool call without a message that made it")
        given = Given(state=request.state, config=request.runtime.config)
        turn = await self._wards.turn(turn_id(message), given=given, tools=request.runtime.tools)
        await self._wards.judge(turn, calls)
        call_id = str(asked["id"])
        if calls_of(AIMessage("", tool_calls=[asked]))[0] not in calls:
            if calls and call_id not in {one["id"] for one in message.tool_calls}:
                raise ConfigurationError(_CHANGED)  # the call that the model made would stay without an answer
            return _refused(asked, _CHANGED)
        async with turn.acting(call_id):
            said = await _answer(turn, call_id)
        return said if said is not None else _refused(asked, "nobody has judged this call")


class TreatingMiddleware(WardMiddleware):
    """The same under a policy that treats the conversation, with a node at the start of a run.

    What the person wrote is treated there, so that no other node has it but the hooks of the kind that stand before
    this one. What comes into the state later is treated when the model is asked.
    """

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Let the state keep what people wrote as the policy says."""
        return blocking(current_services().loop, self._entered(state))

    async def abefore_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Let the state keep what people wrote as the policy says."""
        return await on_loop(current_services().loop, self._entered(state))

    async def _entered(self, state: Any) -> dict[str, Any] | None:
        await self._wards.turn(running_task())  # which refuses a thread that is not this agent's
        talk, messages = await self._talk(), messages_of(state)
        if talk is None:
            return None
        # A list that keeps what is added to it gives no id to a text that came as a tuple or a string.
        named = [one if one.id else one.model_copy(update={"id": str(uuid4())}) for one in messages]
        kept = await talk.kept(named, enters=True)
        if kept and any(not one.id for one in messages):
            treated = {one.id: one for one in kept}
            kept = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *(treated.get(one.id, one) for one in named)]
        return {"messages": kept} if kept else None


def ward_middleware(*, policy: str | Path | PolicyDocument, **more: Any) -> WardMiddleware:
    """The middleware for a policy: its node is in the graphs of those only whose conversation is treated."""
    treats = bool(policy_of(policy)[0].conversation.personal_data)
    return (TreatingMiddleware if treats else WardMiddleware)(policy=policy, **more)


async def _task(messages: Sequence[AnyMessage]) -> str:
    """The task that asks the model; an earlier one where a person wrote on while people are asked on its behalf."""
    task = running_task()
    if graph_namespace() or len(messages) < 2 or not isinstance(messages[-1], HumanMessage):
        return task
    asked = await current_services().desk.awaited(current_thread(), task=task)
    return waiting_task(asked or "") or task


async def _answer(turn: Turn, call: str) -> Any:
    rows = await turn.ask_once(call)
    while (found := await turn.act_one(call, rows)) is None:
        await turn.approve()  # an edit asks anew, and so does a cut-off attempt whose outcome is unknown
        rows = await turn.rows()
    row, receipt = found
    if row is None:
        return None
    said: list[Said] = await turn.told(row, receipt)
    return said[0] if len(said) == 1 else said


def _refused(asked: Any, why: str) -> ToolMessage:
    return ToolMessage(f"refused: {why}", tool_call_id=str(asked["id"]), name=asked["name"], status="error")


def _refuse_within(ward: WardMiddleware, middleware: Sequence[Any]) -> None:
    """Refuse hooks that would stand between the verdict and the tool; ours does not call them."""
    within = middleware[next((at for at, one in enumerate(middleware) if one is ward), len(middleware)) + 1 :]
    for one in within:
        kind = cast("Any", type(one))
        if (kind.wrap_tool_call, kind.awrap_tool_call) != (_NO_HOOKS.wrap_tool_call, _NO_HOOKS.awrap_tool_call):
            raise ConfigurationError(_STANDS_WITHIN.format(one.name))


def _refuse_unwarded(name: str, middleware: Sequence[Any]) -> None:
    if not any(isinstance(one, WardMiddleware) for one in middleware):
        raise ConfigurationError(
            f"the subagent {name!r} has no wards, so its tools would run unjudged: give it the same middleware, as in "
            f'subagents=[{{"name": {name!r}, ..., "middleware": [wards]}}]'
        )


def _refuse_hooks_within(handler: Any) -> None:
    """The same where the call is made, for an agent that was built where nobody could look."""
    if not is_innermost(handler):
        raise ConfigurationError(_STANDS_WITHIN.format("another middleware"))
