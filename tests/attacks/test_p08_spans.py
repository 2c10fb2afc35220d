"""P8: OpenTelemetry's spans hold ids, and nothing that people, models or tools have said, errors among it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import ToolException
from test_p08_traces import Hidden, Planted, tools

from bank import POLICY, Bank
from spanning import Exported, exporting
from stateward import Principal, call
from stateward import tool as own_tool
from stateward.errors import ActionRefused, DecisionRefused
from stateward.testing import ScriptedModel, proposes
from ways import every_way

NAMES = ("read", "file", "own", "odd", "refuse", "break", "pause", "command", "artifact", "send")
# Whole errors of the world's tools go through it: no `conversation` treats anything here.
PLAIN = POLICY.replace(
    "  look: {effect: read, for: [bot]}",
    "  look: {effect: read, for: [bot]}\n"
    + "\n".join(f"  {name}: {{effect: {'write' if name == 'file' else 'read'}, for: [bot]}}" for name in NAMES),
)


@pytest.fixture
def spans() -> Iterator[Exported]:
    with exporting() as found:
        yield found


def every_call(plant: Planted) -> list[AIMessage]:
    """Turns that bring canaries with arguments, with names, and with ids of calls."""
    made_up = {"name": f"mail_{plant.text('EMAIL_ADDRESS')}", "args": {}, "id": f"call_{plant.text('PERSON')}"}
    known = {"name": "look", "args": {"what": plant.text("US_SSN")}, "id": plant.text("PHONE_NUMBER")}
    extra = {"name": "look", "args": {"what": "x", plant.text("IBAN_CODE"): 1}, "id": plant.text("URL")}
    calls = [{**one, "type": "tool_call"} for one in (made_up, known, extra)]
    turn = AIMessage(plant.text("LOCATION"), tool_calls=calls, response_metadata=answered(plant))
    rest = [call("read", what=plant.text("CREDIT_CARD")), *(call(name) for name in ("own", "odd", "command"))]
    return [turn, *(proposes(one) for one in [*rest, call("file", name=plant.text("PERSON")), call("refuse")])]


def answered(plant: Planted) -> dict[str, Any]:
    """What a provider may say of its answer, which nobody has looked through."""
    return {"finish_reason": plant.text("PERSON"), "model_name": plant.text("EMAIL_ADDRESS"), "id": plant.text("URL")}


@every_way
def test_what_goes_through_a_run_is_in_no_span(spans: Exported, bank: Bank) -> None:
    plant = Planted()
    made = tools(bank, plant, [])
    graph = bank.way.made(bank, made, PLAIN, every_call(plant), bank.runtime)
    people = {"subject": plant.text("EMAIL_ADDRESS"), "requester": plant.text("PERSON")}
    if bank.way.graph == "bank":
        people["subject"] = "customer:17"  # as the workflow itself says
    config = bank.config(**people, known={"PERSON": plant.text("PERSON")})
    graph.invoke(
        {"messages": [HumanMessage(plant.text("DATE_OF_BIRTH"))]}, {**config, "run_name": plant.text("UK_NHS")}
    )
    performed = {one.name for one in spans.all() if one.name.startswith("execute_tool")}
    assert performed == {f"execute_tool {name}" for name in ("look", "read", "own", "odd", "command", "file", "refuse")}
    assert len(spans.named("verify")) == 1
    assert len(plant.taken) > 60
    assert plant.found(spans.text()) == set()


@every_way
@pytest.mark.parametrize("kind", [Hidden, ToolException, KeyError, BaseExceptionGroup])
def test_what_an_error_says_is_in_no_span(spans: Exported, bank: Bank, kind: Any) -> None:
    plant = Planted()

    def error() -> BaseException:
        text = plant.text("EMAIL_ADDRESS")
        made = kind(text, [ValueError(plant.text("PERSON"))]) if kind is BaseExceptionGroup else kind(text)
        made.add_note(plant.text("PHONE_NUMBER"))
        return made

    @own_tool
    async def look(what: str) -> str:
        """Look, and break."""
        try:
            raise ValueError(plant.text("US_SSN"))
        except ValueError as cause:
            raise error() from cause

    @own_tool
    def file(name: str) -> str:
        """Write, and break, in a thread."""
        raise error()

    rest = [one for one in tools(bank, plant, []) if one.name not in ("look", "file")]
    turns = [proposes(call("look", what="x")), proposes(call("file", name="x"))]
    graph = bank.way.made(bank, [look, file, *rest], PLAIN, turns, bank.runtime)
    graph.invoke({"messages": [("user", "go")]}, bank.config())
    broken = [*spans.named("execute_tool look"), *spans.named("execute_tool file")]
    assert [(one.attributes or {})["error.type"] for one in broken] == [_kind(kind)] * 2
    assert len(plant.taken) >= 5
    assert plant.found(spans.text()) == set()


def _kind(kind: Any) -> str:
    return "ExceptionGroup" if kind is BaseExceptionGroup else kind.__name__


@every_way
def test_a_run_that_breaks_says_its_class_only(spans: Exported, bank: Bank) -> None:
    plant = Planted()

    class Broken(ScriptedModel):
        def _generate(self, *given: Any, **more: Any) -> Any:
            raise Hidden(plant.text("EMAIL_ADDRESS"))

    if bank.way.answers and bank.way.name.startswith("workflow"):
        flow = bank.flow(bank.tools(), POLICY, [])
        flow.orchestrate(Broken(script=[]), tools=bank.tools())
        graph: Any = flow.compile(bank.runtime)
    else:
        graph = _agent(bank, Broken(script=[]))
    with pytest.raises(Hidden):
        graph.invoke({"messages": [("user", "go")]}, bank.config())
    whole = spans.one(f"invoke_agent {bank.way.graph}")
    assert (whole.attributes or {})["error.type"] == "Hidden"
    assert plant.taken
    assert plant.found(spans.text()) == set()


def _agent(bank: Bank, model: Any) -> Any:
    from agents import governed, wards

    return governed(bank, model, bank.tools(), wards(bank))


def test_what_people_decide_and_what_steps_keep_is_in_no_span(spans: Exported, bank: Bank) -> None:
    plant = Planted()

    async def keeps(state: Any, step: Any) -> None:
        await step.remember("note", "first", text=plant.text("PERSON"), by={plant.text("URL"): 1})
        await step.recall("note", query=plant.text("PERSON"))
        await step.forget("note", plant.text("PHONE_NUMBER"))
        with pytest.raises(ActionRefused):
            await step.act("look", nothing=plant.text("IBAN_CODE"))

    graph = bank.graph([call("pay", amount=500, to=plant.text("IBAN_CODE"))], prepare=lambda flow: flow.retrieve(keeps))
    config = bank.config()
    graph.invoke({"messages": [("user", "go")]}, config)
    (asked,) = bank.runtime.approvals()
    stranger = Principal(plant.text("EMAIL_ADDRESS"), roles=[plant.text("PERSON")])
    with pytest.raises(DecisionRefused):
        bank.runtime.decide(asked, "approve", by=stranger, reason=plant.text("US_SSN"))
    boss = Principal(plant.text("EMAIL_ADDRESS"), roles=["boss"])
    edited = {"amount": 600, "to": plant.text("IBAN_CODE")}
    bank.runtime.decide(asked, "edit", by=boss, arguments=edited, reason=plant.text("PERSON"))
    (asked,) = bank.runtime.approvals()
    bank.runtime.decide(
        asked, "reject", by=Principal(plant.text("EMAIL_ADDRESS"), roles=["chief"]), reason=plant.text("PERSON")
    )
    bank.runtime.resume(graph, config["configurable"]["thread_id"])
    wanted = {"upsert_memory", "search_memory", "delete_memory", "ask pay", "decide pay", "verify pay", "verify look"}
    assert wanted <= set(spans.names())
    assert len(plant.taken) > 12
    assert plant.found(spans.text()) == set()


def test_a_span_that_quotes_an_error_is_found(spans: Exported, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the search would say if an error's text were in a span: it sees events, descriptions and attributes."""
    from stateward import spans as module

    plant = Planted()

    def quoting(span: Any, error: Any) -> None:
        span.record_exception(error)

    monkeypatch.setattr(module, "_fail", quoting)
    graph = bank.way.made(bank, tools(bank, plant, []), PLAIN, [proposes(call("refuse"))], bank.runtime)
    graph.invoke({"messages": [("user", "go")]}, bank.config())
    assert plant.found(spans.text()) == {"PERSON"}
