"""P8: what traces tools and runs is given pseudonyms, as the model is: callbacks of tools, and LangSmith's client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from canaries import TEXTS, Canary, planted
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, ToolException
from langchain_core.tools import tool as plain_tool
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from plain import thread

from bank import POLICY, Bank
from stateward import call
from stateward.errors import RedactionFailed
from stateward.testing import ScriptedModel, proposes
from ways import Awaited, every_way

TOOLS = {
    **dict.fromkeys(("read", "own", "odd", "refuse", "break", "pause"), "read"),
    **dict.fromkeys(("file", "command", "artifact"), "write"),
}
TALKING = POLICY.replace(
    "memory:\n",
    """conversation:
  personal_data: {PERSON: pseudonymize, EMAIL_ADDRESS: pseudonymize, PHONE_NUMBER: pseudonymize, IP_ADDRESS: redact,
    MAC_ADDRESS: redact, URL: redact}
memory:
  detection: {countries: [US, GB, ES, PL, DE]}
""",
).replace(
    "  look: {effect: read, for: [bot]}",
    "  look: {effect: read, for: [bot]}\n  send: {effect: write, for: [bot], reveal: [to]}\n"
    + "\n".join(f"  {name}: {{effect: {effect}, for: [bot]}}" for name, effect in TOOLS.items()),
)
CANARIES = [one for run in planted(20260) for one in run.values()]


class Hidden(Exception):
    """An error that says what is wrong in a field of its own."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__()

    def __str__(self) -> str:
        return f"it broke: {self.text}"


@dataclass
class Odd:
    """What is no JSON."""

    text: str


@dataclass
class Planted:
    """The canaries of one test: each is taken once, and looked for in the end."""

    left: list[Canary] = field(default_factory=lambda: list(CANARIES))
    taken: list[Canary] = field(default_factory=list[Canary])

    def text(self, entity: str) -> str:
        """One of this entity type, as somebody would write it."""
        at = next(at for at, one in enumerate(self.left) if one.entity == entity)
        self.taken.append(self.left.pop(at))
        return self.taken[-1].text

    def texts(self) -> list[str]:
        """One of each entity type."""
        return [self.text(entity) for entity in TEXTS]

    def found(self, text: Any) -> set[str]:
        """Which entity types stand in it."""
        said = str(text)
        return {one.entity for one in self.taken if one.value in said or (one.number and str(one.number) in said)}


class Listener(BaseCallbackHandler):
    """A team's own handler, which keeps what it is told of tools."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: list[Any] = []
        self.failed: list[Any] = []

    def on_tool_start(self, serialized: Any, input_str: str, **more: Any) -> None:
        self.started.append((input_str, more.get("inputs")))

    def on_tool_end(self, output: Any, **more: Any) -> None:
        self.ended.append((repr(output), getattr(output, "__dict__", None)))

    def on_tool_error(self, error: BaseException, **more: Any) -> None:
        chain = [error, error.__cause__, error.__context__]
        self.failed.append([(str(one), repr(one), getattr(one, "__dict__", None)) for one in chain])


class Tracer(BaseTracer):
    """A tracer, which keeps the runs of tools."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        """It keeps them as they end."""

    def _end_trace(self, run: Any) -> None:
        super()._end_trace(run)
        if run.run_type == "tool":
            self.runs.append((run.name, run.inputs, run.outputs, run.error, run.events))


def tools(bank: Bank | None, plant: Planted, ran: list[Any], make: Any = None) -> list[Any]:
    """Tools that bring canaries in every way there is, once for each."""
    from stateward import tool

    tool = make or tool

    @tool
    async def read(what: str = "") -> Any:
        """Read a ticket."""
        return {"by": plant.texts(), "nested": [{plant.text("EMAIL_ADDRESS"): {"phone": plant.text("PHONE_NUMBER")}}]}

    @tool
    def file(name: str) -> str:
        """Read a file, without awaiting."""
        ran.append(name)
        return "\n".join(plant.texts())

    @tool
    async def own(call_id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
        """A message of its own."""
        more = {"by": plant.text("PERSON")}
        return ToolMessage(plant.text("IBAN_CODE"), tool_call_id=call_id, additional_kwargs=more)

    @tool
    async def command(call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """A command."""
        return Command(update={"messages": [ToolMessage(" ".join(plant.texts()), tool_call_id=call_id)]})

    @tool
    async def refuse() -> str:
        """Say that nothing was done."""
        raise ToolException(f"nobody is called so: {plant.text('PERSON')}")

    @tool(**({} if make else {"idempotent": True}))
    def pause() -> str:
        """Ask somebody."""
        return str(interrupt({"shall I write to": plant.text("EMAIL_ADDRESS")}))

    @tool
    async def send(to: str) -> str:
        """Send a mail."""
        ran.append(to)
        return f"sent to {to}"

    async def breaking() -> str:
        """Break."""
        try:
            raise ValueError(plant.text("US_SSN"))
        except ValueError as error:
            raise Hidden(plant.text("CREDIT_CARD")) from error

    def artifact() -> Any:
        """A result with a file."""
        return plant.text("PHONE_NUMBER"), {"file": [plant.text("PERSON"), {"phone": plant.text("PHONE_NUMBER")}]}

    async def odd() -> Any:
        """A result with what is no JSON."""
        return "read", Odd(plant.text("EMAIL_ADDRESS"))

    both = [plain_tool(one, response_format="content_and_artifact") for one in (artifact, odd)]
    breaks = plain_tool("break")(breaking)
    return [read, file, own, command, refuse, pause, send, breaks, *both, *(bank.tools() if bank else [])]


def run_all(graph: Any, config: Any, heard: list[Any]) -> Any:
    """One run with what listens."""
    return graph.invoke({"messages": [HumanMessage("go")]}, {**config, "callbacks": heard})


def script(plant: Planted) -> list[AIMessage]:
    """Each tool is called in a turn of its own, the two that fail hard left out."""
    calls = [call("read", what="all"), call("file", name="notes.txt"), call("own"), call("command"), call("artifact")]
    return [proposes(one) for one in [*calls, call("odd"), call("refuse")]]


@every_way
def test_callbacks_of_tools_get_what_the_conversation_gets(bank: Bank) -> None:
    plant, ran, listener, tracer = Planted(), list[Any](), Listener(), Tracer()
    graph = bank.way.made(bank, tools(bank, plant, ran), TALKING, script(plant), bank.runtime)
    out = run_all(graph, bank.config(), [listener, tracer])
    assert len(listener.started) == 7
    assert len(listener.ended) == 6, listener.failed
    assert len(listener.failed) == 1
    assert len(tracer.runs) == 7
    assert plant.found([listener.started, listener.ended, listener.failed, tracer.runs]) == set()
    assert len(plant.taken) > 3 * len(TEXTS)
    told = [one for one in out["messages"] if isinstance(one, ToolMessage)]
    assert plant.found(told) - {"EMAIL_ADDRESS"} == set()  # an artifact that is no JSON stays as it is in the state
    assert told[1].content in listener.ended[1][0].encode().decode("unicode_escape"), "the same, and not something else"
    assert "<PERSON_1>" in listener.ended[0][0]
    assert "ToolException" in str(listener.failed)
    kept = bank.opened("effect", "select * from stateward.effect")
    assert len(kept) == 3
    assert plant.found(kept) == set(TEXTS), "the journal keeps it as it came"


@every_way
def test_a_tool_that_breaks_or_asks_tells_callbacks_nothing(bank: Bank) -> None:
    plant, listener, tracer = Planted(), Listener(), Tracer()
    made = tools(bank, plant, [])
    asks = bank.way.made(bank, made, TALKING, [proposes(call("pause"))], bank.runtime)
    out = run_all(asks, bank.config(), [listener, tracer])
    assert plant.found(out["__interrupt__"]) == {"EMAIL_ADDRESS"}, "the person is asked as the tool asks"
    breaks = bank.way.made(bank, made, TALKING, [proposes(call("break"))], bank.runtime)
    out = run_all(breaks, bank.config(), [listener, tracer])
    assert "<US_SSN" not in str(out), "only what the error says of itself is told"
    assert len(listener.failed) == len(tracer.runs) == 2, out
    assert {one.entity for one in plant.taken} == {"EMAIL_ADDRESS", "CREDIT_CARD", "US_SSN"}
    assert plant.found([listener.failed, tracer.runs]) == set()
    assert "Hidden: it broke: card [CREDIT_CARD]" in str(listener.failed)


def test_what_a_step_calls_by_itself_is_told_with_pseudonyms(bank: Bank) -> None:
    plant, ran, listener, got = Planted(), list[Any](), Listener(), list[Any]()
    mail = plant.text("EMAIL_ADDRESS").removeprefix("write to ")

    async def prepare(state: Any, step: Any) -> None:
        await step.act("send", to=mail)
        got.append(await step.act("file", name=mail))

    graph = bank.graph(policy=TALKING, prepare=lambda flow: flow.retrieve(prepare, tools=tools(None, plant, ran)))
    run_all(graph, bank.config(), [listener])
    assert ran == [mail, mail]
    assert plant.found(got) == set(TEXTS), "the step gets the values"
    assert len(listener.ended) == 2
    assert plant.found([listener.started, listener.ended]) == set()
    assert "<EMAIL_ADDRESS_1>" in str(listener.started)


def test_what_cannot_be_treated_is_not_told_and_was_done_all_the_same(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, ran, listener = Planted(), list[Any](), Listener()
    graph = bank.way.made(bank, tools(bank, plant, ran), TALKING, [proposes(call("file", name="a.txt"))], bank.runtime)
    scan = type(bank.runtime.services.redactor).scan

    async def failing(self: Any, texts: Any, **more: Any) -> Any:
        if ran:
            raise RuntimeError(f"cannot read {texts}")
        return await scan(self, texts, **more)

    monkeypatch.setattr(type(bank.runtime.services.redactor), "scan", failing)
    with pytest.raises(RedactionFailed):
        run_all(graph, bank.config(), [listener])
    assert ran == ["a.txt"]
    assert len(listener.ended) == 1
    assert "not shown" in listener.ended[0][0]
    assert plant.found(listener.ended) == set()
    (kept,) = bank.opened("effect", "select * from stateward.effect")
    assert (kept["status"], plant.found(kept)) == ("settled", set(TEXTS))


def test_nothing_is_treated_for_callbacks_where_nobody_listens(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    from stateward.conversation import Conversation

    asked: list[Any] = []
    shown = Conversation.shown

    async def counted(self: Any, value: Any) -> Any:
        asked.append(value)
        return await shown(self, value)

    monkeypatch.setattr(Conversation, "shown", counted)
    said = [proposes(call("file", name="a.txt"))]
    silent = TALKING[: TALKING.index("conversation:")] + TALKING[TALKING.index("memory:") :]
    for policy, heard in ((TALKING, []), (silent, [Listener()])):
        graph = bank.way.made(bank, tools(bank, Planted(), []), policy, said, bank.runtime)
        run_all(graph, bank.config(), heard)
        assert not asked
    graph = bank.way.made(bank, tools(bank, Planted(), []), TALKING, said, bank.runtime)
    run_all(graph, bank.config(), [Listener()])
    assert asked


def test_plain_callbacks_fall() -> None:
    plant, listener = Planted(), Listener()
    made = tools(None, plant, [], plain_tool)  # pyright: ignore[reportArgumentType]
    agent = create_agent(
        ScriptedModel(script=[*script(plant)[:6], AIMessage("done")]), made, checkpointer=InMemorySaver()
    )
    run_all(Awaited(agent), thread(), [listener])
    assert plant.found(listener.ended) == set(TEXTS)
