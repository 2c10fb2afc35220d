"""One middleware for any agent: what LangChain gives a tool and takes from it passes, in `create_agent` and beyond."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolEmulator,
    ModelCallLimitMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolErrorMiddleware,
    ToolRetryMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, ToolException
from langchain_core.tools import tool as plain_tool
from langgraph.graph import MessagesState
from langgraph.prebuilt import InjectedState, InjectedStore
from langgraph.types import Command
from pydantic import BaseModel, Field

from agents import GO, asked, both_ways, drawn, governed, named, says, says_pay, thread, wards
from bank import BOSS, POLICY, Bank, Killed
from stateward import Effect, PolicyError, call, tool
from stateward.errors import ConfigurationError
from stateward.testing import ScriptedModel


class Watching(ScriptedModel):
    """A scripted model that notes which tools it is shown."""

    shown: list[list[str]] = Field(default_factory=list)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Watching:
        self.shown.append([one["type"] if isinstance(one, dict) else one.name for one in tools])
        return self


@dataclass
class Seen:
    """What tools were given."""

    given: list[Any] = field(default_factory=list)


def results(out: dict[str, Any]) -> dict[str, str]:
    """The answers to calls, by call id."""
    return {one.tool_call_id: str(one.text) for one in out["messages"] if isinstance(one, ToolMessage)}


@both_ways
async def test_the_model_sees_only_what_its_principal_may_use(bank: Bank, run: Any) -> None:
    policy = POLICY.replace("wire: {effect: write, for: [bot]}", "wire: {effect: write, for: [chief]}")
    model = Watching(script=[AIMessage("done")])
    agent = governed(bank, model, [*bank.tools(), {"type": "web_search"}], wards(bank, bank.tools(), policy=policy))
    await run(agent, GO, thread(bank))
    assert model.shown == [["look", "pay", "renew", "post"]]


@both_ways
async def test_a_call_of_a_tool_that_is_not_shown_is_refused(bank: Bank, run: Any) -> None:
    policy = POLICY.replace("wire: {effect: write, for: [bot]}", "wire: {effect: write, for: [chief]}")
    agent = governed(
        bank, says([call("wire", amount=5), call("steal")]), bank.tools(), wards(bank, bank.tools(), policy=policy)
    )
    out = await run(agent, GO, thread(bank))
    assert bank.ran == []
    assert [one.status for one in out["messages"] if isinstance(one, ToolMessage)] == ["error", "error"]


class Noted(AgentState):
    note: str
    counts: Annotated[list[int], operator.add]


def injected_tools(seen: Seen) -> list[Any]:
    """One tool for each thing that LangChain injects."""

    @plain_tool
    async def with_state(
        x: int, state: Annotated[dict, InjectedState], note: Annotated[str, InjectedState("note")]
    ) -> str:
        """State."""
        seen.given.append((x, len(state["messages"]), note))
        return "ok"

    @plain_tool
    def with_store(x: int, store: Annotated[Any, InjectedStore()], call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Store and call id."""
        seen.given.append((x, type(store).__name__, call_id))
        return "ok"

    @plain_tool
    async def with_runtime(x: int, runtime: ToolRuntime) -> str:
        """Runtime."""
        state = runtime.state["note"]
        seen.given.append((x, state, runtime.tool_call_id, runtime.context, type(runtime.store).__name__))
        runtime.stream_writer({"told": x})
        return "ok"

    @tool
    async def with_effect(x: int, effect: Effect, runtime: ToolRuntime) -> str:
        """Our effect, and LangChain's runtime beside it."""
        seen.given.append((x, effect.key[:3], runtime.state["note"]))
        return "ok"

    return [with_state, with_store, with_runtime, with_effect]


LINES = [
    "with_state: {effect: write, for: [bot]}",
    "with_store: {effect: write, for: [bot]}",
    "with_runtime: {effect: read, for: [bot]}",
    "with_effect: {effect: write, for: [bot]}",
]


@both_ways
async def test_what_is_injected_comes_from_langchain_and_from_nobody_else(bank: Bank, run: Any) -> None:
    seen = Seen()
    tools = [*bank.tools(), *injected_tools(seen)]
    forged = {"state": {}, "note": "forged", "store": "mine", "call_id": "mine", "runtime": "mine", "effect": "mine"}
    honest = [call("with_state", x=1), call("with_store", x=2), call("with_runtime", x=3), call("with_effect", x=4)]
    lies = [
        call("with_state", x=1, note=forged["note"]),
        call("with_store", x=2, store=forged["store"]),
        call("with_store", x=2, call_id=forged["call_id"]),
        call("with_runtime", x=3, runtime=forged["runtime"]),
        call("with_effect", x=4, effect=forged["effect"]),
    ]
    ward = wards(bank, tools, policy=named(*LINES))
    agent = governed(bank, says(honest, lies), tools, ward, state_schema=Noted)
    out = await run(agent, GO | {"note": "hello", "counts": []}, thread(bank))
    assert sorted(seen.given, key=str) == [
        (1, 2, "hello"),
        (2, "StatewardStore", "call-1-with_store"),
        (3, "hello", "call-2-with_runtime", None, "StatewardStore"),
        (4, "sw-", "hello"),
    ]
    refused = [one for one in out["messages"] if isinstance(one, ToolMessage) and one.status == "error"]
    assert len(refused) == 5
    assert all("has no argument" in str(one.text) for one in refused)


def test_what_is_injected_is_in_no_schema_and_no_edit_can_set_it(bank: Bank) -> None:
    seen = Seen()
    tools = [*bank.tools(), *injected_tools(seen)]
    lines = [*LINES[:3], "with_effect: {effect: write, for: [bot], ask: [{by: [boss]}]}"]
    ward = wards(bank, tools, policy=named(*lines))
    assert [list(ward.ward.tools[one.name].schema["properties"]) for one in tools[-4:]] == [["x"]] * 4
    agent = governed(bank, says([call("with_effect", x=4)]), tools, ward, state_schema=Noted)
    agent.invoke(GO | {"note": "hello", "counts": []}, thread(bank))
    with pytest.raises(Exception, match="has no argument runtime"):
        bank.runtime.decide(asked(bank)[0], "edit", by=BOSS, arguments={"x": 4, "runtime": {}})
    bank.runtime.decide(asked(bank)[0], "approve", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert seen.given == [(4, "sw-", "hello")]


def commanding(seen: Seen) -> list[Any]:
    """Tools that change the state."""

    @plain_tool
    async def note(text: str, call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Write it down."""
        seen.given.append(text)
        said = ToolMessage(f"noted {text}", tool_call_id=call_id)
        return Command(update={"note": text, "counts": [1], "messages": [said]})

    @plain_tool
    async def odd(call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Change the state to what the journal cannot keep."""
        seen.given.append("odd")
        return Command(update={"note": object.__new__(Seen), "messages": [ToolMessage("odd", tool_call_id=call_id)]})

    @plain_tool(response_format="content_and_artifact")
    async def pictured() -> tuple[str, dict[str, int]]:
        """Text for the model, and more for the application."""
        seen.given.append("pictured")
        return "a picture", {"width": 3}

    return [note, odd, pictured]


COMMANDS = [f"{name}: {{effect: write, for: [bot]}}" for name in ("note", "odd", "pictured")]


@both_ways
async def test_a_command_changes_the_state_and_its_message_is_what_is_journalled(bank: Bank, run: Any) -> None:
    seen = Seen()
    tools = [*bank.tools(), *commanding(seen)]
    script = says([call("note", text="a"), call("pictured")], [call("note", text="b")])
    agent = governed(bank, script, tools, wards(bank, tools, policy=named(*COMMANDS)), state_schema=Noted)
    out = await run(agent, GO | {"counts": []}, thread(bank))
    assert sorted(seen.given) == ["a", "b", "pictured"]
    assert out["counts"] == [1, 1]
    assert results(out) == {"call-0-note": "noted b", "call-1-pictured": "a picture"}
    assert next(one for one in out["messages"] if getattr(one, "artifact", None)).artifact == {"width": 3}
    kept = bank.opened("effect", "select * from stateward.effect")
    assert sorted(one["result"]["content"] for one in kept) == ["a picture", "noted a", "noted b"]


@both_ways
async def test_a_replay_from_the_receipt_neither_loses_nor_doubles_the_change(bank: Bank, run: Any) -> None:
    seen, killed = Seen(), [True]
    tools = [*bank.tools(), *commanding(seen)]

    class Dies(AgentMiddleware):
        """The process dies after the receipt and before the step is saved."""

        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            said = handler(request)
            if killed and killed.pop():
                raise Killed
            return said

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            said = await handler(request)
            if killed and killed.pop():
                raise Killed
            return said

    ward = wards(bank, tools, policy=named(*COMMANDS))
    agent = governed(bank, says([call("note", text="a")]), tools, ward, state_schema=Noted, middleware=[Dies(), ward])
    config = thread(bank)
    with pytest.raises(Killed):
        await run(agent, GO | {"counts": []}, config)
    out = await run(agent, None, config)
    assert seen.given == ["a"]
    assert (out["note"], out["counts"]) == ("a", [1])
    assert results(out) == {"call-0-note": "noted a"}


def test_a_change_that_the_journal_cannot_keep_is_told_where_it_is_lost(bank: Bank) -> None:
    seen, killed = Seen(), [True]
    tools = [*bank.tools(), *commanding(seen)]

    class Dies(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            said = handler(request)
            if killed and killed.pop():
                raise Killed
            return said

    ward = wards(bank, tools, policy=named(*COMMANDS))
    agent = governed(bank, says([call("odd")]), tools, ward, state_schema=Noted, middleware=[Dies(), ward])
    config = thread(bank)
    with pytest.raises(Killed):
        agent.invoke(GO | {"counts": []}, config)
    out = agent.invoke(None, config)
    assert seen.given == ["odd"]
    assert "was lost when the run was cut off" in results(out)["call-0-odd"]


class Weather(BaseModel):
    """A structured answer."""

    degrees: int


class pay(BaseModel):
    """A structured answer that is called like a tool."""

    amount: float


@both_ways
async def test_a_structured_answer_is_no_action(bank: Bank, run: Any) -> None:
    script = says([call("pay", amount=5), call("Weather", degrees=3)])
    agent = governed(bank, script, bank.tools(), wards(bank, bank.tools()), response_format=ToolStrategy(Weather))
    out = await run(agent, GO, thread(bank))
    assert out["structured_response"] == Weather(degrees=3)
    assert bank.amounts() == [5]
    assert [row["tool"] for row in bank.rows("select tool from stateward.action")] == ["pay"]
    assert bank.runtime.find_thread("case-1").status == "answered"


@both_ways
async def test_a_structured_answer_that_is_called_like_a_tool_runs_nothing(bank: Bank, run: Any) -> None:
    script = says([call("pay", amount=500)])
    agent = governed(bank, script, bank.tools(), wards(bank, bank.tools()), response_format=ToolStrategy(pay))
    out = await run(agent, GO, thread(bank))
    assert out["structured_response"] == pay(amount=500)
    assert bank.ran == []
    assert bank.rows("select 1 from stateward.action") == []


def test_a_providers_structured_answer_ends_the_run(bank: Bank) -> None:
    script = says([call("pay", amount=5)], AIMessage('{"degrees": 4}'))
    agent = governed(bank, script, bank.tools(), wards(bank, bank.tools()), response_format=ProviderStrategy(Weather))
    out = agent.invoke(GO, thread(bank))
    assert out["structured_response"] == Weather(degrees=4)
    assert bank.amounts() == [5]
    assert bank.runtime.find_thread("case-1").status == "answered"


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "custom", "debug", "tasks", "checkpoints", "tools"])
def test_every_stream_mode_streams(bank: Bank, mode: Any) -> None:
    seen = Seen()
    tools = [*bank.tools(), *injected_tools(seen)]
    agent = governed(
        bank,
        says([call("with_runtime", x=7), call("pay", amount=5)]),
        tools,
        wards(bank, tools, policy=named(*LINES)),
        state_schema=Noted,
    )
    chunks = list(agent.stream(GO | {"note": "n", "counts": []}, thread(bank), stream_mode=mode))
    assert chunks
    assert bank.amounts() == [5]
    if mode == "custom":
        assert chunks == [{"told": 7}]
    if mode == "tools":
        started = {one["tool_call_id"]: one["input"] for one in chunks if one["event"] == "tool-started"}
        assert started["call-0-with_runtime"] == {"x": 7}
        assert started["call-1-pay"] == {"amount": 5.0}
        assert sum(one["event"] == "tool-finished" for one in chunks) == 2


NEIGHBOURS: dict[str, Any] = {
    "model retry": lambda: ModelRetryMiddleware(),
    "model limit": lambda: ModelCallLimitMiddleware(run_limit=9),
    "tool limit": lambda: ToolCallLimitMiddleware(run_limit=9),
    "summary": lambda: SummarizationMiddleware(model=says(), trigger=("messages", 999)),
    "pii": lambda: PIIMiddleware("email", apply_to_output=True, apply_to_tool_results=True),
    "context": lambda: ContextEditingMiddleware(),
}
WRAPPING: dict[str, Any] = {
    "asks": lambda: HumanInTheLoopMiddleware(interrupt_on={"post": True}),
    "tool retry": lambda: ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False),
    "tool error": lambda: ToolErrorMiddleware(on_error=lambda error, request: "sorry"),
    "emulator": lambda: LLMToolEmulator(tools=["post"], model=says()),
    "asks each": lambda: HumanInTheLoopMiddleware(interrupt_on={"post": True}, interrupt_mode="per_call"),
}


@pytest.mark.parametrize("name", [*NEIGHBOURS, *WRAPPING])
def test_next_to_langchains_own_outside(bank: Bank, name: str) -> None:
    ward = wards(bank, bank.tools())
    other = (NEIGHBOURS | WRAPPING)[name]()
    agent = governed(bank, says(says_pay(5, 500)), bank.tools(), ward, middleware=[other, ward])
    agent.invoke(GO, thread(bank))
    bank.runtime.decide(asked(bank)[0], "approve", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert sorted(bank.amounts()) == [5, 500]


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_next_to_langchains_own_inside(bank: Bank, name: str) -> None:
    ward = wards(bank, bank.tools())
    agent = governed(bank, says(says_pay(5, 500)), bank.tools(), ward, middleware=[ward, NEIGHBOURS[name]()])
    agent.invoke(GO, thread(bank))
    bank.runtime.decide(asked(bank)[0], "approve", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert sorted(bank.amounts()) == [5, 500]


@pytest.mark.parametrize("name", WRAPPING)
def test_what_wraps_tool_calls_within_ours_is_refused_when_the_agent_is_built(bank: Bank, name: str) -> None:
    ward = wards(bank, bank.tools())
    with pytest.raises(ConfigurationError, match="put it before Stateward's"):
        governed(bank, says(), bank.tools(), ward, middleware=[ward, WRAPPING[name]()])


@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_an_edit_that_another_middleware_takes_does_not_run(bank: Bank, mode: Any) -> None:
    ward = wards(bank, bank.tools())
    other = HumanInTheLoopMiddleware(interrupt_on={"pay": True}, interrupt_mode=mode)
    agent = governed(bank, says(says_pay(5)), bank.tools(), ward, middleware=[other, ward])
    config = thread(bank)
    agent.invoke(GO, config)
    edited = {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 50}}}
    out = agent.invoke(Command(resume={"decisions": [edited]} if mode == "batched" else edited), config)
    assert bank.ran == []
    assert "edit it where Stateward asks" in results(out)["call-0-pay"]


def test_a_call_that_a_person_has_rejected_elsewhere_is_asked_of_nobody(bank: Bank) -> None:
    ward = wards(bank, bank.tools())
    other = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    script = says([call("pay", amount=500), call("wire", amount=1)])
    agent = governed(bank, script, bank.tools(), ward, middleware=[other, ward])
    config = thread(bank)
    agent.invoke(GO, config)
    agent.invoke(Command(resume={"decisions": [{"type": "reject", "message": "no"}]}), config)
    assert (bank.amounts(), bank.amounts("wire")) == ([], [1])
    assert asked(bank) == []


def test_resuming_leaves_somebody_elses_interrupt_alone(bank: Bank) -> None:
    ward = wards(bank, bank.tools())
    other = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    agent = governed(bank, says(says_pay(5)), bank.tools(), ward, middleware=[other, ward])
    config = thread(bank)
    agent.invoke(GO, config)
    bank.runtime.resume(agent, "case-1")
    assert bank.ran == []
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert bank.amounts() == [5]


def test_tools_are_taken_from_the_agent_where_they_are_not_given(bank: Bank) -> None:
    ward = wards(bank)
    with pytest.raises(PolicyError, match=r"write_todos: \{effect: read, for: \[bot\]\}"):
        governed(bank, says(), bank.tools(), ward, middleware=[TodoListMiddleware(), ward])
    ward = wards(bank, policy=named("write_todos: {effect: read, for: [bot]}"))
    todo = {"content": "pay", "status": "pending"}
    script = says([call("write_todos", todos=[todo]), call("pay", amount=5)])
    agent = governed(bank, script, bank.tools(), ward, middleware=[TodoListMiddleware(), ward])
    out = agent.invoke(GO, thread(bank))
    assert out["todos"] == [todo]
    assert bank.amounts() == [5]


def test_a_misspelt_argument_is_told_when_the_agent_is_built(bank: Bank) -> None:
    ward = wards(bank, policy=POLICY.replace("args.amount > 100", "args.amout > 100"))
    with pytest.raises(PolicyError, match="amout"):
        governed(bank, says(), bank.tools(), ward)


def test_a_tool_that_no_agent_has_is_told_before_anything_runs(bank: Bank) -> None:
    agent = governed(
        bank, says(says_pay(5)), bank.tools(), wards(bank, policy=named("lok: {effect: read, for: [bot]}"))
    )
    config = thread(bank)
    with pytest.raises(PolicyError, match="lok"):
        agent.invoke(GO, config)
    assert bank.ran == []


def sums(bank: Bank, model: Any, ward: Any) -> Any:
    """An agent that another agent calls as a tool."""
    inner = create_agent(model, bank.tools(), middleware=[ward], name="inner")

    @plain_tool
    async def ask_inner(question: str) -> str:
        """Ask the agent within."""
        out = await inner.ainvoke({"messages": [("user", question)]})
        return str(out["messages"][-1].text)

    return ask_inner


INNER = "ask_inner: {effect: read, for: [bot]}"


def nested(bank: Bank, *inner: Any, outer: list[Any] | None = None, line: str = INNER) -> Any:
    """An agent whose tool is an agent, under one middleware."""
    ward = wards(bank, [*bank.tools(), plain_named("ask_inner")], policy=named(line))
    inside = sums(bank, says(*inner), ward)
    calls = outer or [call("ask_inner", question="a")]
    return governed(bank, says(calls), [*bank.tools(), inside], ward)


def plain_named(name: str) -> Any:
    """A tool of that name which only lends its schema."""

    async def function(question: str) -> str:
        raise AssertionError

    return plain_tool(name, description="Ask the agent within.")(function)


@both_ways
async def test_an_approval_inside_an_agent_inside_reaches_the_same_inbox(bank: Bank, run: Any) -> None:
    agent, config = nested(bank, says_pay(5), says_pay(500, 6)), thread(bank)
    out = await run(agent, GO, config)
    assert "__interrupt__" in out
    (question,) = asked(bank)
    assert question.arguments == {"amount": 500.0}
    assert bank.runtime.find_thread("case-1").status == "waiting"
    bank.runtime.decide(question, "approve", by=BOSS)
    out = bank.runtime.resume(agent, "case-1")
    assert sorted(bank.amounts()) == [5, 6, 500]
    assert results(out) == {"call-0-ask_inner": "done"}
    assert bank.runtime.find_thread("case-1").status == "answered"
    assert bank.runtime.verify_audit().intact


@both_ways
async def test_agents_inside_that_run_at_once_do_not_get_in_each_others_way(bank: Bank, run: Any) -> None:
    outer = [call("ask_inner", question="a"), call("ask_inner", question="b"), call("pay", amount=700)]
    agent, config = nested(bank, says_pay(500), outer=outer), thread(bank)
    await run(agent, GO, config)
    questions = asked(bank)
    assert sorted(one.arguments["amount"] for one in questions) == [500, 500, 700]
    for one in questions[:2]:
        bank.runtime.decide(one, "approve", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    bank.runtime.decide(questions[2], "approve", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert sorted(bank.amounts()) == [500, 500, 700]
    assert bank.runtime.find_thread("case-1").status == "answered"


def test_an_agent_inside_that_counts_as_a_write_goes_on_where_it_stopped(bank: Bank) -> None:
    line = "ask_inner: {effect: write, for: [bot], idempotent: true}"
    agent, config = nested(bank, says_pay(5), says_pay(500), line=line), thread(bank)
    agent.invoke(GO, config)
    bank.runtime.decide(asked(bank)[0], "approve", by=BOSS)
    bank.runtime.resume(agent, "case-1")
    assert sorted(bank.amounts()) == [5, 500]


@both_ways
async def test_a_graph_of_ones_own(bank: Bank, run: Any) -> None:
    calls = [call("pay", amount=5), call("pay", amount=500), call("pay", amount=-1), call("steal")]
    agent = drawn(bank, says(calls, says_pay(7)), bank.tools())
    out = await run(agent, GO, thread(bank))
    assert "__interrupt__" in out
    assert bank.ran == []
    bank.runtime.decide(asked(bank)[0], "approve", by=BOSS)
    out = await run(agent, None, thread(bank))
    assert sorted(bank.amounts()) == [5, 7, 500]
    assert "a payment is positive" in results(out)["call-2-pay"]
    assert "does not name this tool" in results(out)["call-3-steal"]


def test_a_graph_of_ones_own_lets_commands_through(bank: Bank) -> None:
    class State(MessagesState):
        note: str
        counts: Annotated[list[int], operator.add]

    tools = [*bank.tools(), *commanding(Seen())]
    calls = [call("note", text="a"), call("pay", amount=5)]
    agent = drawn(bank, says(calls), tools, policy=named(*COMMANDS), state=State)
    out = agent.invoke(GO | {"counts": []}, thread(bank))
    assert (out["note"], out["counts"]) == ("a", [1])
    assert results(out) == {"call-0-note": "noted a", "call-1-pay": '{"done": 5.0}'}


def test_a_tool_that_says_nothing_happened_and_one_that_does_not_fit(bank: Bank) -> None:
    @plain_tool
    async def strict(level: Literal["low", "high"]) -> str:
        """Take a level."""
        if level == "high":
            raise ToolException("too high")
        raise ValueError("broken")

    tools = [*bank.tools(), strict]
    ward = wards(bank, tools, policy=named("strict: {effect: write, for: [bot]}"))
    agent = governed(bank, says([call("strict", level="high"), call("strict", level="no")]), tools, ward)
    out = agent.invoke(GO, thread(bank))
    assert results(out)["call-0-strict"] == "too high"
    assert "level" in results(out)["call-1-strict"]
    assert asked(bank) == []
