"""Build a workflow: a StateGraph whose drawn nodes are the six words, around a team's own functions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar, cast

from langchain_core.messages import AnyMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from stateward.errors import ConfigurationError
from stateward.model.policy import PolicyDocument, nearest
from stateward.model.values import digest
from stateward.orchestrate.answers import AnswerSpec, answer_spec
from stateward.orchestrate.fitting import believed, refuse_misfits, refuse_stranger
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.models import planner as planner_of
from stateward.orchestrate.nodes import Nodes
from stateward.orchestrate.parts import CheckFunction, Parts, RememberFunction, StepFunction
from stateward.orchestrate.services import Ward, current_services
from stateward.orchestrate.state import classes_of
from stateward.orchestrate.tools import ToolSpec, set_of, specs
from stateward.verify.arguments import ToolSchema
from stateward.verify.gate import Gate
from stateward.verify.load import PolicySource, read_policy

Graph = CompiledStateGraph[Any, Any, Any, Any]
F = TypeVar("F", bound=Callable[..., Any])


class FlowState(TypedDict):
    """What every workflow's state has; a team's own state extends it.

    Attributes:
        messages: The conversation between the planner and its tools.
        failures: How many times in a row the answer did not pass its checks.
        outcome: `answered` or `escalated`, at the end.
        resumes: Where a message leads that came while people were asked: by its id, the message that was worked on.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    failures: NotRequired[int]
    outcome: NotRequired[str]
    resumes: NotRequired[dict[str, str]]


class Workflow:
    """A workflow under a policy.

    Args:
        name: Its name, which threads keep.
        state: A TypedDict that extends `FlowState`.
        policy: The policy's file, or a document.
        principal: The agent identity that acts; the tools' `for:` names it.
        purpose: What its threads are for. Default: the policy's name.
        subject: Whom or what a run is about, from its input, such as `lambda state: f"period:{state['period']}"`.
        migrations: Name and SQL of its own tables, created once at the first run.
        answer: The pydantic model of its answer: of what `flow.answer(f)` returns, else of the planner's last message,
            which then has to be JSON. The policy names a model `ClosePack` as `close_pack`. Default: a text, `text`.

    Raises:
        PolicyError: the policy does not hold.
        ConfigurationError: the state does not extend `FlowState`; or, from the methods below, a function is not async.

    Example:
        flow = Workflow("refunds", state=Refund, policy="policy.yaml", principal="support-agent")
        flow.orchestrate("openai:gpt-5.1", tools=[find_order, refund], instructions="You handle refunds.")
        graph = flow.compile(runtime)
    """

    def __init__(
        self,
        name: str,
        *,
        state: type,
        policy: str | Path | PolicyDocument,
        principal: str,
        purpose: str = "",
        subject: Callable[[Any], str] = lambda _: "none",
        migrations: Sequence[tuple[str, str]] = (),
        answer: type[BaseModel] | None = None,
    ) -> None:
        if "messages" not in state.__annotations__:
            raise ConfigurationError(f"the state {state.__name__} has no `messages`: class {state.__name__}(FlowState)")
        self._spec = answer_spec(answer)
        self.name, self.state, self.principal = name, state, principal
        self.document, self._source = policy_of(policy)
        self.purpose = purpose or self.document.policy
        self._subject = subject
        self._migrations = tuple(migrations)
        self._retrieve: list[StepFunction] = []
        self._tools: list[BaseTool] = []
        self._own_tools: list[BaseTool] = []
        self._planner: object = None
        self._instructions = ""
        self._remember: dict[str, RememberFunction] = {}
        self._validate: list[CheckFunction] = []
        self._answer: StepFunction | None = None

    def retrieve(self, function: StepFunction, /, *, tools: Sequence[BaseTool] = ()) -> StepFunction:
        """`async (state, step) -> update`: what the run starts from. `step.act` and `step.recall` are governed.

        Args:
            function: The team's function.
            tools: Tools for steps only: the planner is not shown them, and may not call them.
        """
        self._retrieve.append(_awaitable("retrieve", function))
        self._own_tools.extend(tools)
        return function

    def orchestrate(self, planner: object, /, *, tools: Sequence[BaseTool], instructions: str = "") -> None:
        """Who decides what is done next.

        Args:
            planner: A chat model, its name (`openai:gpt-5.1`), or a playbook.
            tools: What it may ask for; those that the policy does not name are denied.
            instructions: The system prompt.
        """
        self._planner, self._tools, self._instructions = planner, list(tools), instructions

    def remember(self, function: RememberFunction, /, *, after: Sequence[str]) -> RememberFunction:
        """`async (state, step, done)`: what is kept after a call of these tools, be it done, denied or rejected."""
        for name in after:
            self._remember[name] = _awaitable("remember", function)
        return function

    def validate(self, function: CheckFunction, /) -> CheckFunction:
        """`async (state, step) -> problem | None`: checks the answer before it leaves."""
        self._validate.append(_awaitable("validate", function))
        return function

    def answer(self, function: StepFunction, /) -> StepFunction:
        """`async (state, step) -> update`: shapes the answer that leaves."""
        self._answer = _awaitable("answer", function)
        return function

    def compile(self, runtime: Any = None, *, planner: object = None) -> Graph:
        """The ordinary compiled graph.

        Args:
            runtime: Gives the checkpointer and the store. None for LangGraph's server, which brings them itself.
            planner: Another planner than the one that was declared.

        Raises:
            PolicyError: the policy does not fit the tools.
            ConfigurationError: no planner was declared, or with a runtime it lacks its key; or `remember` names a tool
                that there is not.
        """
        chosen = planner if planner is not None else self._planner
        if chosen is None:
            raise ConfigurationError(f"workflow {self.name!r} has no planner: call flow.orchestrate(...)")
        if self.document.answers and self._answer is not None and self._spec.is_text:
            raise ConfigurationError(
                f"the policy has rules for the answer of {self.name!r}, and flow.answer(...) makes it: say what it "
                "makes with Workflow(..., answer=Model), so that what leaves can be judged"
            )
        ward = self.ward()
        tools = [one.name for one in (*self._tools, *self._own_tools)]
        for name in self._remember:
            if name not in tools:
                raise ConfigurationError(f"flow.remember(after=...): there is no tool {name!r}{nearest(name, tools)}")
        parts = Parts(
            retrieve=tuple(self._retrieve),
            # With a runtime a run is near: a missing key is said now, before anything happens.
            planner=chosen if runtime is None else planner_of(chosen),
            instructions=self._instructions,
            remember=dict(self._remember),
            validate=tuple(self._validate),
            answer=self._answer,
            subject=self._subject,
        )
        nodes = Nodes(ward=ward, parts=parts)
        saver: dict[str, Any] = {}
        if runtime is not None:
            # What a checkpoint brings back is limited to plain data, messages and the classes of this state.
            checkpointer = runtime.checkpointer.with_allowlist(classes_of(self.state))
            saver = {"checkpointer": checkpointer, "store": runtime.store}
            runtime.services.know(nodes.ward)
        graph = _graph(self.state, nodes).compile(name=self.name, **saver)  # pyright: ignore[reportUnknownMemberType]
        return graph if runtime is None else runtime.services.spans.listening(graph, self.name)

    def subject_of(self, given: Any) -> str:
        """Whom or what a run with this input is about."""
        return self._subject(given)

    def ward(self) -> Ward:
        """The policy, compiled against the tools."""
        given = [*self._tools, *self._own_tools]
        tools = {name: believed(self.document, spec) for name, spec in specs(given).items()}
        return Ward(
            name=self.name,
            # What takes effects back is no part of it: a tool may get an undo while its threads wait.
            version=digest([self.name, _SHAPE, set_of(given)])[:12],
            document=self.document,
            gate=gate_of(self.document, tools, self._source, answer=self._spec, principal=self.principal),
            answer=self._spec,
            tools=tools,
            principal=self.principal,
            purpose=self.purpose,
            shown=frozenset(one.name for one in self._tools),
            migrations=self._migrations,
        )


def _awaitable(name: str, function: F) -> F:
    # Found here, before a run: after a write it would be too late.
    plain = inspect.unwrap(function)
    if inspect.isfunction(plain) and plain.__name__ != "<lambda>" and not inspect.iscoroutinefunction(plain):
        raise ConfigurationError(f"flow.{name}({plain.__name__}) takes an async function: write async def")
    return function


def gate_of(
    document: PolicyDocument,
    tools: Mapping[str, ToolSpec],
    source: PolicySource | None = None,
    *,
    answer: AnswerSpec,
    principal: str | None = None,
) -> Gate:
    """The gate for these tools and this answer, and for this agent where it is known.

    Raises:
        PolicyError: the policy does not fit the tools, or lets the agent call none.
        ConfigurationError: what a tool says of itself is not safe under the policy.
    """
    refuse_misfits(document, tools)
    if principal is not None:
        refuse_stranger(document, principal, file=source.file if source else "<policy>")
    schemas = {name: ToolSchema(name=name, json_schema=spec.schema, served=spec.served) for name, spec in tools.items()}
    validate = {name: spec.problem for name, spec in tools.items()}
    answers = {answer.name: ToolSchema(name=answer.name, json_schema=answer.schema)}
    return Gate(document, schemas, validate=validate, answers=answers, source=source)


def policy_of(policy: str | Path | PolicyDocument) -> tuple[PolicyDocument, PolicySource | None]:
    """The document, and the places in its file where there is one."""
    if isinstance(policy, PolicyDocument):
        return policy, None
    source = read_policy(Path(policy))
    return source.document, source


# The drawn graph: from each node, where it may go.
EDGES: dict[str, tuple[str, ...]] = {
    "retrieve": ("orchestrate", "retrieve", "validate", "remember", "answer", "escalate"),
    "orchestrate": ("act", "verify", "validate", "escalate"),
    "verify": ("act", "approve"),
    "approve": ("act",),
    "act": ("approve", "remember", "orchestrate"),
    "remember": ("orchestrate",),
    "validate": ("answer", "orchestrate", "escalate"),
    "escalate": ("orchestrate", "answer"),
    "answer": ("validate", "retrieve", END),
}
# What a waiting thread depends on, which its version is a digest of: the nodes, as 0.1.0 drew them. The edges that
# have come since lead from `orchestrate` to where it led by way of `verify`, and back to `validate` from an `answer`
# that nobody has judged; no thread waits in between. Those from `retrieve`, and back to it, are taken by a message that
# comes while people are asked.
_SHAPE = {
    **EDGES,
    "retrieve": ("orchestrate",),
    "orchestrate": ("verify", "validate", "escalate"),
    "answer": (END,),
}


def _graph(state: type, nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    for name, targets in EDGES.items():
        step = cast("Callable[[Any], Awaitable[Any]]", getattr(nodes, name))
        if len(targets) == 1:
            graph.add_node(name, Both(name, step))  # pyright: ignore[reportUnknownMemberType]
            graph.add_edge(name, targets[0])
        else:
            graph.add_node(name, Both(name, step), destinations=targets)  # pyright: ignore[reportUnknownMemberType]
    graph.add_edge(START, "retrieve")
    return graph


class Both(Runnable[Any, Any]):
    """One async step for LangGraph's sync and async users alike, run on the runtime's own loop."""

    def __init__(self, name: str, step: Callable[[Any], Awaitable[Any]]) -> None:
        self.name, self._step = name, step

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step and wait for it."""
        return blocking(current_services().loop, self._run(input))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the step."""
        return await on_loop(current_services().loop, self._run(input))

    async def _run(self, state: Any) -> Any:
        with current_services().spans.within():
            return await self._step(state)
