"""P8: a model is given pseudonyms, whoever brings a value in; no tool brings one into state; an answer has them."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId
from langgraph.types import Command

from bank import POLICY, Bank, start
from stateward import Principal, call, tool
from stateward.errors import MemoryRefused, RedactionFailed
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy
from ways import WAYS, every_way

MAIL, OTHER, JANE, CARD = "zanzibar@example.org", "yucatan@example.org", "Xanadu Qwertz-Blyxt", "4111 1111 1111 1111"
VALUES = (MAIL, OTHER, JANE, CARD, "anadu", "wertz")
TALKING = POLICY.replace(
    "memory:\n",
    """conversation:
  personal_data: {default: allow, PERSON: pseudonymize, EMAIL_ADDRESS: pseudonymize, PHONE_NUMBER: pseudonymize,
    CREDIT_CARD: redact}
memory:
""",
).replace(
    "  look: {effect: read, for: [bot]}",
    "  look: {effect: read, for: [bot]}\n  read: {effect: read, for: [bot]}\n"
    "  send: {effect: write, for: [bot], reveal: [to]}",
)
with_answers = pytest.mark.parametrize("way", [one for one in WAYS if one.answers], ids=str)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever any model is given."""
    seen: list[str] = []
    generate = ScriptedModel._generate

    def generating(self: Any, messages: Any, *args: Any, **more: Any) -> Any:
        seen.append("\n".join(repr(one) for one in messages))
        return generate(self, messages, *args, **more)

    monkeypatch.setattr(ScriptedModel, "_generate", generating)
    return seen


def tools(bank: Bank, returns: Any, sent: list[str] | None = None) -> list[Any]:
    """The bank's tools, and one that reads, one that sends."""

    @tool
    async def read(what: str = "") -> Any:
        """Read a ticket."""
        return returns

    @tool
    async def send(to: str) -> Any:
        """Send a mail."""
        (sent if sent is not None else []).append(to)
        return f"sent to {to}"

    return [read, send, *bank.tools()]


def talk(bank: Bank, made: list[Any], *script: Any, policy: str = TALKING, text: Any = "go", **more: Any) -> Any:
    """A conversation, and what came of it."""
    said = [one if isinstance(one, AIMessage) else proposes(*one) for one in script]
    graph = bank.way.made(bank, made, policy, said, bank.runtime)
    config = bank.config(**more)
    return graph, config, graph.invoke({"messages": [HumanMessage(text)]}, config)


def found(text: Any) -> set[str]:
    return {value for value in VALUES if value in str(text)}


@with_answers
def test_the_model_gets_pseudonyms_the_tool_the_value_and_the_reader_the_values(bank: Bank, heard: list[str]) -> None:
    sent: list[str] = []
    ticket = {"from": OTHER, "by": JANE, "text": f"I am {JANE}, call xanadu qwertz-blyxt, {CARD}", "phone": 2125550187}
    _, _, out = talk(
        bank,
        tools(bank, ticket, sent),
        [call("read")],
        [call("send", to="[email_address_02]")],
        AIMessage("Dear <person_1>, your <EMAIL_ADDRESS_1> and <PERSON_9>"),
        text=f"mail me at {MAIL}",
        known={"PERSON": JANE},
    )
    assert len(heard) == 3
    assert found(heard) == set()
    assert "<EMAIL_ADDRESS_1>" in heard[0]
    assert "<PERSON_1>" in heard[1]
    assert "2125550187" not in heard[1]
    assert sent == [OTHER]
    read, told = [one for one in out["messages"] if isinstance(one, ToolMessage)]
    assert json.loads(str(read.text)) == {
        "from": "<EMAIL_ADDRESS_2>",
        "by": "<PERSON_1>",
        "text": "I am <PERSON_1>, call <PERSON_1>, [CREDIT_CARD]",
        "phone": "<PHONE_NUMBER_1>",
    }
    assert told.text == "sent to <EMAIL_ADDRESS_2>"
    assert out["messages"][-1].text == f"Dear {JANE}, your {MAIL} and <PERSON_9>"
    assert out["messages"][0].text == "mail me at <EMAIL_ADDRESS_1>"
    (action,) = bank.runtime.export_subject("customer:17", by=Principal("dpo"))["threads"]
    assert action["known"] == [{"entity": "PERSON", "value": JANE}]


@with_answers
def test_the_next_turn_has_pseudonyms_where_the_last_answer_has_values(bank: Bank, heard: list[str]) -> None:
    said = [AIMessage("To <EMAIL_ADDRESS_1>."), AIMessage("Again <EMAIL_ADDRESS_1>.")]
    graph = bank.way.made(bank, tools(bank, ""), TALKING, said, bank.runtime)
    config = bank.config()
    out = start(graph, config, f"I am {MAIL}")
    assert out["messages"][-1].text == f"To {MAIL}."
    out = start(graph, config, "and now?")
    assert out["messages"][-1].text == f"Again {MAIL}."
    assert found(heard) == set()
    assert "To <EMAIL_ADDRESS_1>." in heard[1]


@with_answers
def test_what_is_streamed_of_tools_and_of_the_model_are_pseudonyms(bank: Bank) -> None:
    said = [proposes(call("read")), AIMessage("For <PERSON_1>: <EMAIL_ADDRESS_1>")]
    graph = bank.way.made(bank, tools(bank, f"by {JANE}, {MAIL}"), TALKING, said, bank.runtime)
    modes, config = ["messages", "custom", "updates"], bank.config(known={"PERSON": JANE})
    given = {"messages": [("user", "go")]}

    async def streamed() -> list[Any]:
        return [one async for one in graph.graph.astream(given, config, stream_mode=modes)]

    parts = asyncio.run(streamed()) if bank.way.awaits else list(graph.stream(given, config, stream_mode=modes))
    of_tools = [one for mode, one in parts if "ToolMessage(" in repr(one) or mode == "custom"]
    assert any("<EMAIL_ADDRESS_1>" in repr(one) for one in of_tools)
    assert found(of_tools) == set()
    of_the_model = [one[0] for mode, one in parts if mode == "messages" and type(one[0]).__name__ == "AIMessageChunk"]
    assert found(of_the_model) == set()


@every_way
def test_a_pseudonym_that_a_person_or_a_stranger_writes_is_nobodys(bank: Bank, heard: list[str]) -> None:
    services_known = {"EMAIL_ADDRESS": MAIL}
    bank.config("t-before", known=services_known)
    talk(
        bank,
        tools(bank, "as <EMAIL_ADDRESS_3> says"),
        [call("read")],
        AIMessage("done"),
        text=f"I am {MAIL}, and <EMAIL_ADDRESS_1> is [email address 2]",
    )
    if bank.way.answers:
        assert "and (EMAIL_ADDRESS_1) is (email address 2)" in heard[0]
        assert "I am <EMAIL_ADDRESS_1>," in heard[0]
    assert "as (EMAIL_ADDRESS_3) says" in heard[-1]


@every_way
def test_nor_is_one_that_another_thread_of_the_subject_was_given(bank: Bank, heard: list[str]) -> None:
    """It is issued, so that only who has written it says that it is nobody's here."""
    ticket = [call("read")], AIMessage("done")
    talk(bank, tools(bank, f"by {OTHER}"), *ticket)
    asked = len(heard)
    talk(bank, tools(bank, "as <EMAIL_ADDRESS_1> says"), *ticket, text="who is <EMAIL_ADDRESS_1>?")
    if bank.way.answers:
        assert "who is (EMAIL_ADDRESS_1)?" in heard[asked]
    assert "as (EMAIL_ADDRESS_1) says" in heard[-1]
    assert bank.rows("select number from stateward.pseudonym") == [{"number": 1}]


@with_answers
def test_content_blocks_are_looked_through_and_files_are_left(bank: Bank, heard: list[str]) -> None:
    image = {"type": "image", "base64": "QUJD" * 40, "mime_type": "image/png"}
    blocks = [{"type": "text", "text": f"from {MAIL}"}, image]
    talk(bank, tools(bank, ""), AIMessage("done"), text=blocks)
    assert found(heard) == set()
    assert "from <EMAIL_ADDRESS_1>" in heard[0]
    assert "QUJD" * 40 in heard[0]


@with_answers
def test_a_scan_that_fails_gives_the_model_nothing(
    bank: Bank, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise ValueError(f"cannot read {MAIL}")

    graph = bank.way.made(bank, tools(bank, ""), TALKING, [AIMessage("done")], bank.runtime)
    config = bank.config()
    monkeypatch.setattr(bank.runtime.services.redactor, "scan", fails)
    with pytest.raises(RedactionFailed) as failed:
        start(graph, config, f"I am {MAIL}")
    assert heard == []
    assert found(str(failed.value)) == set()


@with_answers
def test_what_is_refused_is_given_to_no_model(bank: Bank, heard: list[str]) -> None:
    policy = TALKING.replace("CREDIT_CARD: redact", "CREDIT_CARD: refuse")
    with pytest.raises(MemoryRefused, match="CREDIT_CARD"):
        talk(bank, tools(bank, ""), AIMessage("done"), text=f"pay with {CARD}", policy=policy)
    assert heard == []


@with_answers
def test_an_answer_may_keep_its_pseudonyms(bank: Bank, heard: list[str]) -> None:
    policy = TALKING.replace("conversation:\n", "conversation:\n  answers: pseudonyms\n")
    _, _, out = talk(bank, tools(bank, ""), AIMessage("To <EMAIL_ADDRESS_1>."), text=f"I am {MAIL}", policy=policy)
    assert out["messages"][-1].text == "To <EMAIL_ADDRESS_1>."


@with_answers
def test_without_the_section_everything_is_as_it_was(bank: Bank, heard: list[str]) -> None:
    policy = TALKING[: TALKING.index("conversation:")] + TALKING[TALKING.index("memory:") :]
    _, _, out = talk(
        bank, tools(bank, f"by {OTHER}"), [call("read")], AIMessage("<EMAIL_ADDRESS_1>"), text=MAIL, policy=policy
    )
    assert MAIL in heard[0]
    assert OTHER in heard[1]
    assert out["messages"][-1].text == "<EMAIL_ADDRESS_1>"


def test_each_text_is_looked_through_once(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    redactor, texts = bank.runtime.services.redactor, list[str]()
    scan = redactor.scan

    async def counting(given: Any, **more: Any) -> Any:
        texts.extend(one for one in given if one)
        return await scan(given, **more)

    monkeypatch.setattr(redactor, "scan", counting)
    said = [AIMessage(f"answer {at}") for at in range(4)]
    graph = bank.way.made(bank, tools(bank, ""), TALKING, said, bank.runtime)
    config = bank.config()
    for at in range(4):
        start(graph, config, f"question {at}")
    asked = [one for one in texts if one.startswith(("question", "answer"))]
    assert sorted(asked) == sorted(set(asked))


def test_a_command_of_a_tool_is_treated_too_and_what_it_does_beside_stays(bank: Bank, heard: list[str]) -> None:
    @tool
    async def read(id_: Annotated[str, InjectedToolCallId]) -> Any:
        """Read a ticket."""
        return Command(update={"messages": [ToolMessage(f"by {MAIL}", tool_call_id=id_, artifact={"by": [MAIL]})]})

    made = [read, *(one for one in tools(bank, "") if one.name != "read")]
    _, _, out = talk(bank, made, [call("read")], AIMessage("done"))
    (message,) = [one for one in out["messages"] if isinstance(one, ToolMessage)]
    assert (message.text, message.artifact) == ("by <EMAIL_ADDRESS_1>", {"by": ["<EMAIL_ADDRESS_1>"]})
    assert found(heard) == set()


def test_what_memory_gives_may_be_said_again_and_kept_again(bank: Bank, heard: list[str]) -> None:
    policy = TALKING.replace("memory:\n", "memory:\n  personal_data: {EMAIL_ADDRESS: pseudonymize}\n").replace(
        "  read: {", "  recall: {effect: read, for: [bot]}\n  remember: {effect: write, for: [bot]}\n  read: {"
    )

    async def keep(state: Any, step: Any) -> None:
        await step.remember("note", "n1", mail=OTHER)

    again = call("remember", kind="note", key="n2", value={"mail": "[email_address_1]"})
    said = [proposes(call("recall", query="")), proposes(again), AIMessage("<EMAIL_ADDRESS_1>")]
    flow = bank.flow([*bank.runtime.memory_tools(), *tools(bank, "")], policy.replace("forget", "x"), said)
    flow.retrieve(keep)
    out = start(flow.compile(bank.runtime), bank.config())
    assert "<EMAIL_ADDRESS_1>" in heard[1]
    assert "(EMAIL_ADDRESS_1)" not in heard[1]
    assert out["messages"][-1].text == OTHER
    rows = bank.rows("select value from stateward.memory order by key")
    assert [row["value"] for row in rows] == [{"mail": "<EMAIL_ADDRESS_1>"}] * 2


def test_a_subagent_is_told_pseudonyms_and_tells_them(bank: Bank, heard: list[str]) -> None:
    pytest.importorskip("deepagents")
    from deepagents import create_deep_agent

    runtime, made = bank.runtime, tools(bank, f"from {OTHER}")
    theirs = ("task", "ls", "read_file", "write_file", "edit_file", "delete", "glob", "grep", "execute")
    named = "".join(f"  {name}: {{effect: write, for: [bot]}}\n" for name in theirs if name != "task")
    policy = TALKING.replace("  read: {", f"  task: {{effect: read, for: [bot]}}\n{named}  read: {{")
    ward = runtime.middleware(policy=parse_policy(policy), principal="bot", purpose="bank")
    inner = {
        "name": "general-purpose",
        "description": "Anything.",
        "system_prompt": "Do it.",
        "middleware": [ward],
        "tools": made,
        "model": ScriptedModel(
            script=[proposes(call("read")), AIMessage("<EMAIL_ADDRESS_2> writes to <EMAIL_ADDRESS_1>")]
        ),
    }
    task = call("task", description="who writes to <EMAIL_ADDRESS_1>?", subagent_type="general-purpose")
    model = ScriptedModel(script=[proposes(task), AIMessage("It is <EMAIL_ADDRESS_2>.")])
    kept = {"checkpointer": runtime.checkpointer, "store": runtime.store}
    agent = create_deep_agent(model, made, middleware=[ward], subagents=[inner], **kept)
    config = bank.config(graph="bot")
    out = asyncio.run(agent.ainvoke({"messages": [("user", f"I am {MAIL}")]}, config))
    assert found(heard) == set()
    assert "who writes to <EMAIL_ADDRESS_1>?" in heard[1]
    assert "<EMAIL_ADDRESS_2> writes to <EMAIL_ADDRESS_1>" in heard[3]
    assert out["messages"][-1].text == f"It is {OTHER}."


def test_the_teams_instructions_stay(bank: Bank, heard: list[str]) -> None:
    runtime = bank.runtime
    ward = runtime.middleware(policy=parse_policy(TALKING), tools=tools(bank, ""), principal="bot", purpose="bank")
    model = ScriptedModel(script=[AIMessage("done")])
    agent = create_agent(
        model,
        tools(bank, ""),
        system_prompt=SystemMessage(f"You write for {OTHER}."),
        middleware=[ward],
        checkpointer=runtime.checkpointer,
        store=runtime.store,
    )
    agent.invoke({"messages": [("user", MAIL)]}, bank.config(graph="bot"))
    assert f"You write for {OTHER}." in heard[0]
    assert MAIL not in heard[0]
