"""The same wards for LangChain's `create_agent`: one middleware, thin over the same steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.types import Command

from stateward.errors import ConfigurationError, MissingExtra, ThreadError
from stateward.model.policy import PolicyDocument
from stateward.model.thread import Spent, ThreadFacts
from stateward.model.values import digest
from stateward.orchestrate.escalation import escalate
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.services import Ward, current_services, current_thread
from stateward.orchestrate.steps import Turn, calls_of, message_of, running_task
from stateward.orchestrate.tools import specs
from stateward.orchestrate.upstream import spare_idle_threads
from stateward.orchestrate.usage import refuse_unpriced, used
from stateward.orchestrate.workflow import gate_of, policy_of

try:
    from langchain.agents.middleware import AgentMiddleware
except ImportError as error:  # pragma: no cover - the extra is installed wherever this is tested
    raise MissingExtra("langchain", extra="openai") from error

ToolAnswer = ToolMessage | Command[Any]


class WardMiddleware(AgentMiddleware[Any, Any, Any]):
    """Judges every tool call of a turn, asks people once, performs what is permitted, once.

    Args:
        policy: The policy's file, or a document.
        tools: The tools that the agent has. A tool that the policy does not name is denied.
        principal: The agent identity that acts; the tools' `for:` names it. It names the threads' graph as well.
        purpose: What the threads are for. Default: the policy's name.
    """

    def __init__(
        self, *, policy: str | Path | PolicyDocument, tools: Sequence[BaseTool], principal: str, purpose: str = ""
    ) -> None:
        super().__init__()
        spare_idle_threads()
        document, source = policy_of(policy)
        known = specs(list(tools))
        self.ward = Ward(
            name=principal,
            version=digest([principal, sorted(known)])[:12],
            document=document,
            gate=gate_of(document, known, source),
            tools=known,
            principal=principal,
            purpose=purpose or document.policy,
            shown=frozenset(known),
        )

    @property
    def name(self) -> str:
        """The name of its node in the drawn graph."""
        return "stateward"

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Ask the model while the budget lasts, and notice the turn that it makes; what has no calls is the answer."""
        loop = current_services().loop
        request = blocking(loop, self._ready(request))
        if isinstance(request, AIMessage):
            return request
        said = handler(request)
        blocking(loop, self._said(request, said))
        return said

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask the model while the budget lasts, and notice the turn that it makes; what has no calls is the answer."""
        loop = current_services().loop
        request = await on_loop(loop, self._ready(request))
        if isinstance(request, AIMessage):
            return request
        said = await handler(request)
        await on_loop(loop, self._said(request, said))
        return said

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], ToolAnswer]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        return blocking(current_services().loop, self._act(request))

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[ToolAnswer]]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        return await on_loop(current_services().loop, self._act(request))

    async def _ready(self, request: Any) -> Any:
        """The request for the model; or what is said in its place, where a budget is used up and the run ends."""
        turn = await self._turn(running_task())
        over, asked = await turn.spend(Spent(steps=1)), count()
        while over is not None:
            said = await escalate(turn, over.because, about=f"{turn.id}:{next(asked)}")
            if said is None:
                await turn.answer("escalated")
                return AIMessage(f"The run was ended: {over.because}")
            request = request.override(messages=[*request.messages, HumanMessage(said.reason)])
            over = await turn.spend(Spent())
        refuse_unpriced(self.ward.document, request.model)
        return request

    async def _said(self, request: Any, response: Any) -> None:
        message = next((one for one in reversed(response.result) if isinstance(one, AIMessage)), None)
        if message is None:
            return
        turn = await self._turn(message.id or "turn")
        await turn.spend(used(self.ward.document, request.model, response.result))
        if message.id:
            turn.services.turns.begin(turn.thread.thread, message.id)
        if not message.tool_calls or response.structured_response is not None:
            await turn.answer()

    async def _act(self, request: Any) -> ToolMessage:
        message = _last(request.state)
        call_id = str(request.tool_call["id"])
        if message is None:
            raise ConfigurationError("a tool call without a message that made it")
        turn = await self._turn(message.id or "turn")
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

    async def _turn(self, id_: str) -> Turn:
        services = current_services()
        await services.install(self.ward)
        facts = await services.facts(current_thread())
        self._refuse_foreign(facts)
        return Turn(services=services, ward=self.ward, thread=facts, id=id_, rounds=count(), planned=True)

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
