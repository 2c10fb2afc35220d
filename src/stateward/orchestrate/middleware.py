"""The same wards for LangChain's `create_agent`: one middleware, thin over the same steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.types import Command

from stateward.errors import ConfigurationError, MissingExtra, ThreadError
from stateward.model.policy import PolicyDocument
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.services import Services, Ward, current_services, current_thread
from stateward.orchestrate.steps import Turn, calls_of, message_of
from stateward.orchestrate.tools import specs
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
        document, source = policy_of(policy)
        known = specs(list(tools))
        self.ward = Ward(
            name=principal,
            version="",
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

    def after_model(self, state: Any, runtime: Any) -> None:
        """Judge the turn's calls, and wait for people where the policy asks."""
        blocking(current_services().loop, self._verify(state))

    async def aafter_model(self, state: Any, runtime: Any) -> None:
        """Judge the turn's calls, and wait for people where the policy asks."""
        await on_loop(current_services().loop, self._verify(state))

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], ToolAnswer]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        return blocking(current_services().loop, self._act(request))

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[ToolAnswer]]) -> ToolAnswer:
        """Perform a permitted call; what was refused is answered with the reason."""
        return await on_loop(current_services().loop, self._act(request))

    async def _verify(self, state: Any) -> None:
        message = _last(state)
        if message is None or not message.tool_calls:
            return
        turn = await self._turn(message)
        await turn.verify(calls_of(message))
        await turn.approve()

    async def _act(self, request: Any) -> ToolMessage:
        message = _last(request.state)
        call_id = str(request.tool_call["id"])
        if message is None:
            raise ConfigurationError("a tool call without a message that made it")
        turn = await self._turn(message)
        while (found := await turn.act_one(call_id)) is None:
            await turn.approve()  # the outcome of a cut-off attempt is unknown, and people are asked
        row, receipt = found
        if row is None:
            refused = f"refused: {receipt.error}"
            return ToolMessage(refused, tool_call_id=call_id, name=request.tool_call["name"], status="error")
        return message_of(row, receipt)

    async def _turn(self, message: AIMessage) -> Turn:
        services = current_services()
        await services.install(self.ward)
        facts = await services.facts(current_thread())
        self._refuse_foreign(services, facts.principal, facts.graph)
        return Turn(
            services=services, ward=self.ward, thread=facts, id=message.id or "turn", rounds=count(), planned=True
        )

    def _refuse_foreign(self, services: Services, principal: str, graph: str) -> None:
        if (principal, graph) != (self.ward.principal, self.ward.name):
            raise ThreadError(
                f"the thread was opened for {principal!r} on {graph or 'no graph'!r}, this agent is "
                f"{self.ward.principal!r}: open it with runtime.thread(..., graph={self.ward.name!r})"
            )


def _last(state: Any) -> AIMessage | None:
    messages = cast("Sequence[Any]", state["messages"] if isinstance(state, dict) else state.messages)
    return next((one for one in reversed(messages) if isinstance(one, AIMessage)), None)
