"""P8: what traces tools and runs is given pseudonyms, as the model is: callbacks of tools, and LangSmith's client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import langsmith
import pytest
from canaries import TEXTS, Canary, planted
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, ToolException
from langchain_core.tools import tool as plain_tool
from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.context import tracing_v2_enabled
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from langsmith import utils
from plain import thread

from bank import BOSS, CHIEF, POLICY, Bank
from smith import Smith
from stateward import AsyncRuntime, Principal, call, studio
from stateward import tool as own_tool
from stateward.errors import ConfigurationError, RedactionFailed
from stateward.testing import ScriptedModel, proposes
from stateward.upstream import ambient_client, as_sent
from stateward.verify.load import parse_policy
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
BARE = "\n".join(line for line in TALKING.split("\n") if not re.match(r"  (send|" + "|".join(TOOLS) + "):", line))
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
        self.ended.append((repr(output), getattr(output, "__dict__", None), as_sent({"output": output}).decode()))

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
    tool = make or own_tool

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


@every_way
def test_all_that_a_command_brings_is_told_treated(bank: Bank) -> None:
    plant, listener, tracer = Planted(), Listener(), Tracer()

    def bringing() -> list[Any]:
        asks = [{"name": "look", "args": {"by": plant.text("US_SSN")}, "id": "c"}]
        more = {"by": plant.text("PERSON")}
        return [
            HumanMessage(plant.text("EMAIL_ADDRESS"), additional_kwargs=more),
            AIMessage(plant.text("IBAN_CODE"), tool_calls=asks, response_metadata=more),
            SystemMessage(plant.text("PHONE_NUMBER")),
        ]

    @own_tool
    async def command(call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Messages of all kinds, and others beside them."""
        own = ToolMessage(
            plant.text("CREDIT_CARD"), tool_call_id=call_id, response_metadata={"by": plant.text("UK_NHS")}
        )
        notes = [*bringing(), plant.text("LOCATION"), {"by": plant.text("US_ITIN")}]
        return Command(update={"messages": [own, *bringing()], "notes": notes})

    others = [one for one in tools(bank, plant, []) if one.name != "command"]
    graph = bank.way.made(bank, [command, *others], TALKING, [proposes(call("command"))], bank.runtime)
    out = run_all(graph, bank.config(), [listener, tracer])
    assert len(plant.taken) == 14
    assert len(listener.ended) == len(tracer.runs) == 1, listener.failed
    assert plant.found([listener.ended, tracer.runs]) == set()
    assert "<EMAIL_ADDRESS_1>" in listener.ended[0][0]
    assert "not shown" not in listener.ended[0][0]
    brought = {"PERSON", "IBAN_CODE", "US_SSN", "PHONE_NUMBER"}
    # A person's message is treated in the state as the model is asked next, where the wards see that.
    assert plant.found(str(out["messages"])) == brought | (set() if bank.way.answers else {"EMAIL_ADDRESS"})


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


def test_plain_callbacks_are_told_everything_falls() -> None:
    plant, listener = Planted(), Listener()
    made = tools(None, plant, [], plain_tool)  # pyright: ignore[reportArgumentType]
    agent = create_agent(
        ScriptedModel(script=[*script(plant)[:6], AIMessage("done")]), made, checkpointer=InMemorySaver()
    )
    run_all(Awaited(agent), thread(), [listener])
    assert plant.found(listener.ended) == set(TEXTS)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Smith]]:
    """They listen until every runtime is closed, which sends what it holds."""
    made: list[Smith] = []
    yield made
    for one in made:
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture
def smith(monkeypatch: pytest.MonkeyPatch, servers: list[Smith]) -> Iterator[Smith]:
    """LangSmith, with tracing on, and no client as yet."""
    made = Smith()
    servers.append(made)
    for name in ("LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING", "LANGSMITH_TRACING_V2"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TRACING": "true", "ENDPOINT": made.url, "API_KEY": "key"}.items():
        monkeypatch.setenv(f"LANGSMITH_{name}", value)
    utils.get_env_var.cache_clear()
    langsmith.configure(client=None)
    yield made
    langsmith.configure(client=None)
    monkeypatch.undo()
    utils.get_env_var.cache_clear()


def sent(smith: Smith, bank: Bank) -> str:
    """What has reached LangSmith once everything was flushed."""
    for client in bank.runtime.inner.tracing._clients:
        client.flush()
    return smith.heard


def talked(plant: Planted) -> list[Any]:
    """A conversation of a person's, with a canary of each type."""
    return [HumanMessage([{"type": "text", "text": text}, {"type": "text", "text": "go"}]) for text in plant.texts()]


@every_way
def test_langsmith_gets_no_personal_data_of_a_run(bank: Bank, smith: Smith) -> None:
    plant = Planted()
    said = [*script(plant), AIMessage(f"Dear <PERSON_1>, {plant.text('IBAN_CODE')}")]
    graph = bank.way.made(bank, tools(bank, plant, []), TALKING, said, bank.runtime)
    known = {"PERSON": "Xanadu Qwertz-Blyxt"}
    config = bank.config(known=known) | {
        "tags": [plant.text("EMAIL_ADDRESS")],
        "metadata": {"by": plant.text("PERSON")},
    }
    given = [*talked(plant), HumanMessage("mail xanadu qwertz-blyxt of qwertz"), HumanMessage("go")]
    graph.invoke({"messages": given}, config)
    heard = sent(smith, bank)
    assert "/runs/multipart" in heard
    assert plant.found(heard) == set()
    assert not re.search("xanadu|qwertz", heard, re.IGNORECASE)
    assert "<PERSON_1>" in heard
    assert config["configurable"]["thread_id"] in heard
    assert len(plant.taken) > 4 * len(TEXTS)
    assert smith.heard.count("not shown") < 20


def test_who_becomes_known_in_a_run_is_found_in_what_it_began_with(bank: Bank, smith: Smith) -> None:
    async def reads(state: Any, step: Any) -> None:
        await RunnableLambda(str).ainvoke("a run that has ended before")
        let_go = Event()
        bank.runtime.inner.tracing._clients[0]._sw_queue.put(let_go)
        await asyncio.to_thread(let_go.wait)
        await step.knows(PERSON="Xanadu Qwertz-Blyxt")

    graph = bank.graph(policy=BARE, prepare=lambda flow: flow.retrieve(reads))
    graph.invoke({"messages": [HumanMessage("what of X. Qwertz-Blyxt, and of xanadu?")]}, bank.config())
    heard = sent(smith, bank)
    assert "what of " in heard
    assert "that has ended before" in heard
    assert not re.search("xanadu|qwertz", heard, re.IGNORECASE)


@every_way
def test_a_client_that_treats_nothing_is_refused_before_anything_runs(bank: Bank, smith: Smith) -> None:
    langsmith.configure(client=smith.client())
    with pytest.raises(ConfigurationError, match=r"langsmith\.configure\(client=runtime\.langsmith_client\(\)\)"):
        bank.way.made(bank, tools(bank, Planted(), []), TALKING, [], bank.runtime)
    langsmith.configure(client=bank.runtime.langsmith_client())
    plant = Planted()
    graph = bank.way.made(bank, tools(bank, plant, []), TALKING, [proposes(call("read"))], bank.runtime)
    config = bank.config()
    theirs = smith.client()
    langsmith.configure(client=theirs)
    with pytest.raises(ConfigurationError, match="LangSmith's tracing is on"):
        bank.config()
    with pytest.raises(ConfigurationError, match="LangSmith's tracing is on"):
        graph.invoke({"messages": [("user", "go")]}, config)
    theirs.flush()
    assert plant.taken == [], "no tool was called"


@every_way
def test_what_a_person_writes_into_an_edit_is_traced_with_pseudonyms(bank: Bank, smith: Smith) -> None:
    plant, listener = Planted(), Listener()
    graph = bank.way.made(bank, bank.tools(), BARE, [proposes(call("pay", amount=500))], bank.runtime)
    config = {**bank.config(), "callbacks": [listener]}
    assert "__interrupt__" in graph.invoke({"messages": [("user", "go")]}, config)
    (asked,) = bank.runtime.approvals()
    bank.runtime.decide(asked, "edit", by=BOSS, arguments={"amount": 600, "to": plant.text("EMAIL_ADDRESS")})
    (asked,) = bank.runtime.approvals()
    bank.runtime.decide(asked, "reject", by=CHIEF, reason=f"not to {plant.text('PERSON')}")
    given = Command(resume={"decisions": [{"type": "approve", "note": plant.text("US_SSN")}]})
    graph.invoke(given, config)
    heard = sent(smith, bank)
    assert "not to " in heard
    assert plant.found([heard, listener.started, listener.ended, listener.failed]) == set()
    assert len(plant.taken) == 3


def test_tracing_that_a_run_turns_on_by_itself_is_refused_too(bank: Bank, smith: Smith, monkeypatch: Any) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    utils.get_env_var.cache_clear()
    plant = Planted()
    graph = bank.way.made(bank, tools(bank, plant, []), TALKING, [proposes(call("read"))], bank.runtime)
    config = bank.config()
    assert ambient_client() is None, "nothing is made where nothing is traced"
    with pytest.raises(ConfigurationError, match="LangSmith's tracing is on"), tracing_v2_enabled():
        graph.invoke({"messages": [("user", "go")]}, config)
    assert plant.taken == []


def test_a_client_that_a_run_is_given_is_the_teams_own(bank: Bank, smith: Smith) -> None:
    plant, theirs = Planted(), smith.client()
    graph = bank.way.made(bank, tools(bank, plant, []), TALKING, [proposes(call("read"))], bank.runtime)
    graph.invoke({"messages": talked(plant)}, {**bank.config(), "callbacks": [LangChainTracer(client=theirs)]})
    theirs.flush()
    assert plant.found(smith.heard) == set(TEXTS)


def test_a_policy_without_a_conversation_changes_nothing(bank: Bank, smith: Smith) -> None:
    plant = Planted()
    silent = TALKING[: TALKING.index("conversation:")] + TALKING[TALKING.index("memory:") :]
    graph = bank.way.made(bank, tools(bank, plant, []), silent, [proposes(call("read"))], bank.runtime)
    config = bank.config()
    assert ambient_client() is None
    langsmith.configure(client=bank.runtime.langsmith_client())
    graph.invoke({"messages": talked(plant)}, config)
    assert plant.found(sent(smith, bank)) == set(TEXTS), "what the model may have, the trace may have"


def test_what_cannot_be_treated_is_traced_as_a_sentence(
    bank: Bank, smith: Smith, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Planted()
    graph = bank.way.made(bank, tools(bank, plant, []), TALKING, [proposes(call("read"))], bank.runtime)

    async def failing(self: Any, *given: Any) -> Any:
        raise RuntimeError(f"cannot read {given}")

    monkeypatch.setattr("stateward.tracing.Sight.treated", failing)
    out = graph.invoke({"messages": talked(plant)}, bank.config())
    assert out["messages"][-1].text == "done"
    heard = sent(smith, bank)
    assert "personal data could not be looked for" in heard
    assert plant.found(heard) == set()
    assert "thread-1" not in heard


def test_a_run_that_is_held_while_its_subject_is_forgotten_leaves_as_a_sentence(bank: Bank, smith: Smith) -> None:
    bank.graph(policy=BARE)
    thread = bank.config(known={"PERSON": "Xanadu Qwertz-Blyxt"})["configurable"]["thread_id"]
    client, id_ = bank.runtime.langsmith_client(), langsmith.uuid7()
    run = {"id": id_, "trace_id": id_, "dotted_order": f"20260101T000000000000Z{id_}"}
    more = {"extra": {"metadata": {"thread_id": thread}}}
    client.create_run("run", {"text": "what of qwertz?"}, "chain", **run, **more)
    bank.runtime.forget("customer:17", by=Principal("dpo"))
    client.flush()
    assert "could not be looked for" in smith.heard
    assert "wertz" not in smith.heard


def test_a_trace_of_two_threads_is_treated_as_both_their_policies_say(bank: Bank, smith: Smith) -> None:
    plant = Planted()
    talks = "conversation: {personal_data: {default: allow, %s: redact}}\nmemory:\n"
    bank.graph(policy=POLICY.replace("memory:\n", talks % "US_SSN"))
    mails = POLICY.replace("memory:\n", talks % "EMAIL_ADDRESS")
    bank.runtime.middleware(policy=parse_policy(mails), tools=bank.tools(), principal="bot", purpose="bank")
    opened = [bank.config(graph=graph)["configurable"]["thread_id"] for graph in ("bank", "bot")]
    client, root = bank.runtime.langsmith_client(), langsmith.uuid7()
    order = f"20260101T000000000000Z{root}"
    for one in opened:
        said = {"text": [plant.text("US_SSN"), plant.text("EMAIL_ADDRESS"), plant.text("IBAN_CODE")]}
        run = {"id": langsmith.uuid7(), "trace_id": root, "dotted_order": order}
        client.create_run("run", said, "chain", **run, extra={"metadata": {"thread_id": one}})
    assert plant.found(sent(smith, bank)) == {"IBAN_CODE"}, "which both allow"


def test_no_more_is_held_than_there_is_room_for(bank: Bank, smith: Smith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stateward.tracing._RUNS", 3)
    monkeypatch.setattr("stateward.tracing._TRACES", 2)
    client, root = bank.runtime.langsmith_client(), langsmith.uuid7()
    held = client._sw_held
    for at in range(4):
        order = f"20260101T000000000000Z{root}"
        client.create_run(f"run {at}", {}, "chain", id=langsmith.uuid7(), trace_id=root, dotted_order=order)
    assert [len(one.ops) for one in held.values()] == [1], "three were let go"
    for _ in range(4):
        other = langsmith.uuid7()
        order = f"20260101T000000000000Z{other}"
        client.create_run("other", {}, "chain", id=other, trace_id=other, dotted_order=order)
    assert len(held) == 2
    client.flush()
    assert (len(held), smith.heard.count('"name":"run ') // 2, smith.heard.count('"name":"other"') // 2) == (0, 4, 4)
    assert client._sw_size == 0
    monkeypatch.setattr("stateward.tracing._ROOM", 100)
    client.create_run("too much", {"text": "x" * 100}, "chain", id=root, trace_id=root, dotted_order=f"2Z{root}")
    client.flush()
    assert len(held) == 0
    assert "too much" not in smith.heard


@pytest.mark.parametrize("multipart", [True, False], ids=["parts", "batches"])
def test_runs_without_a_thread_are_treated_in_all_their_fields(bank: Bank, smith: Smith, multipart: bool) -> None:
    smith.multipart = multipart
    plant, client = Planted(), bank.runtime.langsmith_client(auto_batch_tracing=multipart)
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 200

    def fields() -> dict[str, Any]:
        said = {"nested": [{plant.text("EMAIL_ADDRESS"): {"phone": plant.text("PHONE_NUMBER")}}], "picture": picture}
        metadata = {"by": plant.text("US_SSN"), "thread_id": plant.text("PERSON")}
        extra = {"metadata": metadata, "more": plant.text("IBAN_CODE")}
        events = [{"name": "new_token", "time": "2026-01-01T00:00:00", "kwargs": {"token": plant.text("CREDIT_CARD")}}]
        more = {"error": plant.text("LOCATION"), "tags": [plant.text("UK_NHS")]}
        more |= {"serialized": {"k": plant.text("US_ITIN")}}
        return {"inputs": said, "outputs": said, "extra": extra, "events": events, **more}

    made = [langsmith.uuid7() for _ in range(4)]
    ids = [(one, f"20260101T000000000000Z{one}") for one in made]
    for id_, order in ids[:2]:
        run = {"id": id_, "trace_id": id_, "dotted_order": order}
        client.create_run(name=plant.text("PERSON"), run_type="llm", **run, **fields())
        files = {"a": ("text/plain", b"secret-file")}
        client.update_run(id_, trace_id=id_, dotted_order=order, **fields(), attachments=files)
    for id_, order in ids[2:]:
        run = {"id": id_, "trace_id": id_, "dotted_order": order, "name": "n", "run_type": "llm"}
        client.multipart_ingest(create=[run | fields()])
        client.batch_ingest_runs(update=[run | fields()])
    heard = sent(smith, bank)
    assert ("/runs/multipart" in heard) is multipart
    assert len(plant.taken) == 8 * 9 + 2
    assert plant.found(heard) == set()
    assert "[EMAIL_ADDRESS]" in heard
    assert "secret-file" not in heard
    assert "iVBOR" not in heard


async def test_an_async_runtime_sends_what_it_holds_as_it_closes(
    smith: Smith, settings: Any, database_url: str
) -> None:
    plant = Planted()
    async with AsyncRuntime.connect(database_url, settings=settings) as runtime:
        client = runtime.langsmith_client()
        id_ = langsmith.uuid7()
        order = f"20260101T000000000000Z{id_}"
        client.create_run("begun", {"text": plant.text("PERSON")}, "chain", id=id_, trace_id=id_, dotted_order=order)
        client.flush()  # on the loop that treats it: this must not wait for itself
        client.create_run("again", {"text": plant.text("PERSON")}, "chain", id=id_, trace_id=id_, dotted_order=order)
    id_ = langsmith.uuid7()
    client.create_run("late", {"text": plant.text("PERSON")}, "chain", id=id_, trace_id=id_, dotted_order=order)
    client.update_run(id_, trace_id=id_, dotted_order=order, outputs={"text": plant.text("PERSON")})
    client.flush()
    told = b"\n".join(smith.bodies)
    assert told.count(b"Spoke with [PERSON] about it.") == 2
    assert told.count(b"could not be looked for") >= 2
    assert plant.found(smith.heard) == set()


async def test_a_runtime_closes_though_langsmith_takes_nothing(
    smith: Smith, settings: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stateward.tracing._PATIENCE", 0.1)
    asked, answers, sends = Event(), Event(), list[str]()

    def stuck(self: Any, name: str, inputs: Any, run_type: Any, **more: Any) -> None:
        asked.set()
        answers.wait()
        sends.append(name)

    monkeypatch.setattr(langsmith.Client, "create_run", stuck)
    async with AsyncRuntime.connect(database_url, settings=settings) as runtime:
        client, plant = runtime.langsmith_client(), Planted()
        for _ in range(2):
            client.create_run(plant.text("PERSON"), {}, "chain", id=langsmith.uuid7())
    assert asked.is_set()
    assert sends == []
    answers.set()
    client._sw_worker.join()
    assert len(sends) == 2
    assert plant.found(sends) == set()


async def test_a_runtime_puts_the_global_client_back(smith: Smith, settings: Any, database_url: str) -> None:
    async with AsyncRuntime.connect(database_url, settings=settings) as runtime:
        runtime.tracing.govern()
        assert ambient_client() in runtime.tracing._clients
        async with AsyncRuntime.connect(database_url, settings=settings) as other:
            with pytest.raises(ConfigurationError, match="LangSmith's tracing is on"):
                other.tracing.govern()
    assert ambient_client() is None


def test_plain_traces_have_everything_falls(smith: Smith) -> None:
    plant, client = Planted(), smith.client()
    langsmith.configure(client=client)
    made = tools(None, plant, [], plain_tool)
    agent = create_agent(ScriptedModel(script=[*script(plant)[:6], AIMessage("done")]), made)
    Awaited(agent).invoke({"messages": talked(plant)}, thread())
    client.flush()
    assert plant.found(smith.heard) == set(TEXTS)


async def test_the_hooks_of_langgraphs_server_configure_the_client_as_they_start(
    smith: Smith, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STATEWARD_HOME", str(tmp_path / "home"))
    async with studio.checkpointer(), studio.runtime() as opened:
        assert ambient_client() in opened.inner.tracing._clients
    assert ambient_client() is None
    langsmith.configure(client=smith.client())
    for hook in (studio.checkpointer, studio.store):
        with pytest.raises(ConfigurationError, match="LangSmith's tracing is on"):
            async with hook():
                pass
