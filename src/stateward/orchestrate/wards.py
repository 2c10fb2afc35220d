"""The wards around agents that somebody else builds: which tools they have, whose turn it is, and who judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool

from stateward.errors import ConfigurationError, PolicyError, ThreadError
from stateward.model.action import Call
from stateward.model.policy import PolicyDocument, ServerRule, ToolRule
from stateward.model.principal import Principal
from stateward.model.thread import Spent, ThreadFacts
from stateward.model.values import digest
from stateward.orchestrate.answers import AnswerSpec, answer_spec
from stateward.orchestrate.fitting import believed
from stateward.orchestrate.invoking import Given
from stateward.orchestrate.services import Ward, current_services, current_thread, refuse_nobody
from stateward.orchestrate.steps import Turn, calls_of
from stateward.orchestrate.tools import ToolSpec, served_of, set_of, spec_of, specs
from stateward.orchestrate.turns import Rounds
from stateward.orchestrate.workflow import gate_of, policy_of
from stateward.upstream import graph_namespace
from stateward.verify.servers import means, rule_of

Register = Callable[[Ward], None]


class Wards:
    """One policy around the agents of one principal, which may call each other.

    Args:
        policy: The policy's file, or a document.
        tools: All tools that those agents have; None to take them from the agents as they are built.
        principal: The agent identity that acts; the tools' `for:` names it. It names the threads' graph as well.
        purpose: What the threads are for. Default: the policy's name.
        answer: What the agent answers with.
        register: Makes the ward known to the runtime.

    Raises:
        PolicyError: the policy does not fit the tools.
    """

    def __init__(
        self,
        *,
        policy: str | Path | PolicyDocument,
        tools: Sequence[BaseTool] | None,
        principal: str,
        purpose: str,
        register: Register,
        answer: AnswerSpec | None = None,
    ) -> None:
        self.document, self._source = policy_of(policy)
        self.answer = answer or answer_spec(None)
        self._principal, self._purpose, self._register = principal, purpose or self.document.policy, register
        self._takes, self._tools, self._misfit = tools is None, dict[str, ToolSpec](), cast("PolicyError | None", None)
        self._ward: Ward | None = None
        self._given: set[str] = set()  # without those that are only there to take effects back
        self._own: dict[int, tuple[BaseTool, ToolSpec]] = {}
        if tools is not None:
            known = specs(tools)
            self._given |= {one.name for one in tools}
            self._know(known)

    @property
    def ward(self) -> Ward:
        """The policy, compiled against the tools.

        Raises:
            PolicyError: the policy names a tool that none of the agents has.
            ConfigurationError: no agent has been built with it.
        """
        if self._misfit is not None:
            raise self._misfit
        if self._ward is None:
            raise ConfigurationError("no agent has been built with this middleware yet, so its tools are not known")
        return self._ward

    def meet(self, tools: Sequence[BaseTool]) -> None:
        """An agent with these tools is built; what it has is added to what is known.

        Raises:
            PolicyError: the policy does not name one of them, or does not fit it.
        """
        if not self._takes:
            return
        unnamed = [one for one in tools if rule_of(self.document, one.name, served_of(one)) is None]
        if unnamed:
            raise PolicyError(_lines_for(unnamed, self._principal), file=self._source.file if self._source else "")
        self._given |= {one.name for one in tools}
        fresh = {name: spec for name, spec in specs(tools).items() if name not in self._tools}
        if fresh or self._ward is None:
            self._know(self._tools | fresh)

    def own(self, tools: Sequence[BaseTool]) -> dict[str, ToolSpec]:
        """An agent's own tools, by name: those that the ward knows with the same arguments."""
        found: dict[str, ToolSpec] = {}
        for one in tools:
            known = self.ward.tools.get(one.name)
            if known is not None:
                spec = known if known.tool is one else self._spec(one)
                found |= {one.name: spec} if spec.digest == known.digest else {}
        return found

    def shown(self, facts: ThreadFacts) -> frozenset[str]:
        """The tools that the policy lets this principal use at all."""
        who = Principal(facts.principal, roles=facts.roles, kind="agent", tenant=facts.tenant)
        return frozenset(name for name in self.ward.tools if self.ward.gate.offers(name, who))

    async def turn(
        self,
        id_: str,
        *,
        rounds: Rounds | None = None,
        given: Given | None = None,
        tools: Sequence[BaseTool] = (),
    ) -> Turn:
        """A turn of the running thread.

        Raises:
            ThreadError: the thread belongs to another agent, was started with other tools, or is about nobody.
        """
        services = current_services()
        await services.install(self.ward)
        facts = refuse_nobody(self.ward, await services.facts(current_thread()))
        self.refuse_foreign(facts)
        await services.reading(self.ward, facts)
        return Turn(
            services=services,
            ward=self.ward,
            thread=facts,
            id=id_,
            rounds=rounds or Rounds(),
            planned=True,
            given=given or Given(),
            own=self.own(tools) if tools else None,
        )

    async def judge(self, turn: Turn, calls: Sequence[Call]) -> None:
        """Judge the whole turn, once, whichever of its calls comes first."""
        async with turn.judging:
            rows = [] if turn.is_new else await turn.rows()
            if not rows:
                # What no model of this run has made counts as a step of its own.
                await turn.verify(calls, refusal=None if turn.is_new else await turn.spend(Spent(steps=1)))
            elif {row.action.call.id for row in rows} < {call.id for call in calls}:
                await turn.verify(calls)  # a crash has left it judged in part

    def refuse_foreign(self, facts: ThreadFacts) -> None:
        """Refuse a thread that is not this agent's.

        Raises:
            ThreadError: it belongs to another agent, or was started with other tools.
        """
        ward = self.ward
        if (facts.principal, facts.graph) != (ward.principal, ward.name):
            raise ThreadError(
                f"the thread was opened for {facts.principal!r} on {facts.graph or 'no graph'!r}, this agent is "
                f"{ward.principal!r}: open one with runtime.thread(..., principal=Principal({ward.principal!r}, "
                f"kind='agent'), graph={ward.name!r})"
            )
        if facts.graph_version != ward.version:
            raise ThreadError(
                f"the thread was started with other tools ({facts.graph_version or 'unknown'}) than this agent has "
                f"({ward.version}): make the middleware before runtime.thread(...), or start a new thread"
            )

    def _spec(self, one: BaseTool) -> ToolSpec:
        if id(one) not in self._own:
            self._own[id(one)] = (
                one,
                believed(self.document, spec_of(one)),
            )  # kept with its tool, so that the id stays that tool's
        return self._own[id(one)][1]

    def _know(self, tools: Mapping[str, ToolSpec]) -> None:
        self._tools = {name: believed(self.document, spec) for name, spec in tools.items()}
        try:
            ward = self._made(self.document)
        except PolicyError as misfit:
            named, servers = _there(self.document, tools)
            if not self._takes or (len(named), len(servers)) == (len(self.document.tools), len(self.document.mcp)):
                raise
            # An agent within this one comes first, so the rest of the tools may still come; what is there has to fit.
            self._made(self.document.model_copy(update={"tools": named, "mcp": servers}))
            self._misfit = misfit
            return
        self._ward, self._misfit = ward, None
        self._register(ward)

    def _made(self, document: PolicyDocument) -> Ward:
        return Ward(
            name=self._principal,
            version=digest([self._principal, set_of(self._tools[name].tool for name in self._given)])[:12],
            document=document,
            gate=gate_of(document, self._tools, self._source, answer=self.answer, principal=self._principal),
            tools=self._tools,
            principal=self._principal,
            purpose=self._purpose,
            shown=frozenset(self._given),
            answer=self.answer,
            only_messages=True,
        )


def _there(
    document: PolicyDocument, tools: Mapping[str, ToolSpec]
) -> tuple[dict[str, ToolRule], dict[str, ServerRule]]:
    """What the policy says of these tools and of their MCP servers."""
    keys = {key for key in document.tools for name, spec in tools.items() if means(key, name, spec.served)}
    servers = {spec.served.server for spec in tools.values() if spec.served}
    return (
        {key: rule for key, rule in document.tools.items() if key in keys},
        {name: rule for name, rule in document.mcp.items() if name in servers},
    )


def open_calls(messages: Sequence[AnyMessage]) -> tuple[AIMessage | None, list[Call]]:
    """The last message that an agent's model made, and those of its calls that nothing has answered.

    What is answered already is no action: the model's structured answer, or a call that another middleware has taken.
    It cannot run either, as nobody has judged it.
    """
    at = next((at for at in range(len(messages) - 1, -1, -1) if isinstance(messages[at], AIMessage)), None)
    if at is None:
        return None, []
    message = cast("AIMessage", messages[at])
    answered = {one.tool_call_id for one in messages[at + 1 :] if isinstance(one, ToolMessage)}
    return message, [call for call in calls_of(message) if call.id not in answered]


def messages_of(state: Any, key: str = "messages") -> Sequence[AnyMessage]:
    """The conversation in a graph's state, be it a list, a mapping or an object."""
    if isinstance(state, list):
        return cast("Sequence[AnyMessage]", state)
    return cast("Sequence[AnyMessage]", state[key] if isinstance(state, dict) else getattr(state, key))


def turn_id(message: AIMessage) -> str:
    """The message's id; within another agent, of that place, as two agents' models may give the same ids."""
    place, id_ = graph_namespace(), message.id or "turn"
    return f"{id_}@{digest(place)[:12]}" if place else id_


# Tools of LangChain and deepagents that have no effect of their own beyond the graph's state.
_HARMLESS = frozenset({"glob", "grep", "ls", "read_file", "task", "write_todos"})


def _lines_for(tools: Sequence[BaseTool], principal: str) -> str:
    lines = [f"  {one.name}: {{effect: {_effect(one)}, for: [{principal}]}}" for one in tools]
    return "\n".join(
        ["the agent has tools that the policy does not name; say who may use them under `tools:`, such as", *lines]
    )


def _effect(one: BaseTool) -> str:
    return "read" if one.name in _HARMLESS else "write"
