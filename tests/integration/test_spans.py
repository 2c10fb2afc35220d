"""OpenTelemetry's spans, as an application's exporter gets them: names, ids, what stands around what, and errors."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool as plain_tool
from langgraph.types import Command, interrupt
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from agents import DEEP, GO, both_ways, governed, named, says, says_pay, thread, wards
from bank import BOSS, POLICY, Bank, start
from spanning import Exported, exporting
from stateward import Principal, Runtime, Settings, call, tool
from stateward.errors import MissingExtra
from stateward.model.effect import Retry
from stateward.spans import Spans
from stateward.testing import ScriptedModel, proposes
from ways import every_way


@pytest.fixture
def spans() -> Iterator[Exported]:
    with exporting() as found:
        yield found


@contextmanager
def within(name: str) -> Iterator[Any]:
    """A span of the application's own."""
    with trace.get_tracer("application").start_as_current_span(name) as span:
        yield span


class Model(ScriptedModel):
    """A model that is asked over the network, and says what it has used."""

    model_name: str = "gpt-5.1"

    def _generate(self, *given: Any, **more: Any) -> Any:
        with within("POST"):
            made = super()._generate(*given, **more)
        said = cast("AIMessage", made.generations[0].message)
        said.usage_metadata = {"input_tokens": 20, "output_tokens": 3, "total_tokens": 23}
        said.response_metadata = {"model_name": "gpt-5.1-2025-11-13", "finish_reason": "tool_calls"}
        return made


def calling(*script: Any) -> Model:
    return Model(script=[*[proposes(*one) for one in script], *[AIMessage("done")] * 9])


@every_way
def test_a_run_its_models_its_verdicts_and_its_tools(spans: Exported, bank: Bank) -> None:
    run = bank.run([call("look", what="x"), call("pay", amount=5)], [call("pay", amount=500), call("steal")])
    whole = f"invoke_agent {run.bank.way.graph}"
    chats = {"chat": {whole}} if bank.way.answers else {}
    assert spans.parents() == {
        whole: {""},
        **chats,
        **{step: {whole} for step in ("verify look", "verify pay", "verify", "ask pay")},
        **{f"execute_tool {name}": {whole} for name in ("look", "pay")},
    }
    assert len({one.context.trace_id for one in spans.all()}) == 1
    about = spans.facts(whole)
    assert about.pop("stateward.run.id")
    assert about == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": bank.way.graph,
        "gen_ai.conversation.id": run.thread,
    }
    looked, (first, second) = spans.facts("execute_tool look"), spans.named("verify pay")
    actions = {row["tool"]: row for row in run.actions()}
    assert looked == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.type": "function",
        "gen_ai.conversation.id": run.thread,
        "stateward.action.id": actions["look"]["action_id"],
        "stateward.effect": "read",
        "stateward.verdict": "allow",
        "stateward.policy": "bank@1",
        "stateward.policy.digest": actions["look"]["policy_digest"],
        "stateward.attempt": 1,
        "stateward.status": "settled",
    }
    assert (first.attributes or {})["stateward.verdict"] == "allow"
    asked = dict(second.attributes or {})
    assert (asked["stateward.verdict"], asked["stateward.rules"]) == ("ask", ("tools.pay.ask[0]",))
    denied = spans.facts("verify")
    assert (denied["stateward.verdict"], denied["stateward.rules"]) == ("deny", ("tools",))
    assert "gen_ai.tool.name" not in denied, "the model has made this name up"
    assert "steal" not in spans.text()
    assert spans.facts("ask pay")["stateward.approval.id"] == run.asked.id
    assert {one.status.status_code for one in spans.all()} == {StatusCode.UNSET}, "a refusal is no error"
    assert {one.kind for one in spans.all() if one.name != "chat"} == {SpanKind.INTERNAL}


@both_ways
async def test_a_model_and_what_is_done_in_it(spans: Exported, bank: Bank, run: Any) -> None:
    agent = governed(bank, calling([call("look", what="x")]), bank.tools(), wards(bank))
    await run(agent, GO, thread(bank))
    first, second = spans.named("chat gpt-5.1")
    assert first.kind == SpanKind.CLIENT
    assert dict(first.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "test_spans",
        "gen_ai.request.model": "gpt-5.1",
        "gen_ai.response.model": "gpt-5.1-2025-11-13",
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.agent.name": "bot",
        "gen_ai.conversation.id": "case-1",
    }
    assert "gen_ai.usage.input_tokens" in (second.attributes or {})
    assert spans.parents()["POST"] == {"chat gpt-5.1"}


def test_the_same_in_a_workflow(spans: Exported, bank: Bank) -> None:
    def prepare(flow: Any) -> None:
        flow.retrieve(retrieve)
        flow.orchestrate(calling([call("look", what="x")]), tools=bank.tools())

    async def retrieve(state: Any, step: Any) -> None:
        with within("GET"):
            await step.act("look", what="y")
        await step.remember("note", "first", text="it was paid")
        assert await step.recall("note")

    bank.config("plain")
    # As LangGraph's users write it, without what `runtime.thread` gives.
    start(bank.graph(prepare=prepare), {"configurable": {"thread_id": "plain"}})
    around = spans.parents()
    assert around["GET"] == {"invoke_agent bank"}
    assert around["execute_tool look"] == around["verify look"] == {"GET", "invoke_agent bank"}
    assert around["POST"] == {"chat gpt-5.1"}
    assert around["chat gpt-5.1"] == around["upsert_memory"] == around["search_memory"] == {"invoke_agent bank"}
    assert spans.facts("upsert_memory") == {
        "gen_ai.operation.name": "upsert_memory",
        "gen_ai.conversation.id": "plain",
        "gen_ai.memory.record.count": 1,
        "stateward.memory.kinds": ("note",),
    }
    assert spans.facts("search_memory")["gen_ai.memory.record.count"] == 1


@both_ways
async def test_what_stands_around_is_the_callers_and_what_stands_within_is_the_tools(
    spans: Exported, bank: Bank, run: Any
) -> None:
    """Four calls at once, half of which block a thread."""

    @plain_tool
    def look(what: str) -> str:
        """Look, in a thread."""
        with within(f"GET {what}"):
            return what

    @plain_tool
    async def renew(amount: float) -> str:
        """Renew, on the loop."""
        with within(f"GET {amount:g}"):
            await asyncio.sleep(0.01)
            return "done"

    turn = [call("look", what="a"), call("renew", amount=1), call("look", what="b"), call("renew", amount=2)]
    policy = POLICY.replace(", idempotent: true", "")
    few = "\n".join(line for line in policy.split("\n") if not line.startswith(("  wire:", "  post:")))
    few = few[: few.index("  pay:")] + few[few.index("  renew:") :]
    ward = wards(bank, policy=few)
    agent = governed(bank, calling(turn), [look, renew], ward)
    with within("GET /"):
        await run(agent, GO, thread(bank))
    around, whole = spans.parents(), spans.one("invoke_agent bot")
    assert around["invoke_agent bot"] == {"GET /"}
    assert around["GET a"] == around["GET b"] == {"execute_tool look"}
    assert around["GET 1"] == around["GET 2"] == {"execute_tool renew"}
    performed = [*spans.named("execute_tool look"), *spans.named("execute_tool renew")]
    assert {one.parent.span_id for one in performed if one.parent} == {whole.context.span_id}
    by_tool = {one.context.span_id for one in performed}
    inner = [spans.one(f"GET {name}") for name in ("a", "b", "1", "2")]
    assert {one.parent.span_id for one in inner if one.parent} == by_tool, "each of them in a call of its own"
    assert len({one.context.trace_id for one in spans.all()}) == 1


@both_ways
async def test_an_agent_within_a_tool(spans: Exported, bank: Bank, run: Any) -> None:
    ward = wards(bank, policy=named(*DEEP))
    payer = {"name": "payer", "description": "Pays.", "system_prompt": "Pay.", "model": says(says_pay(5))}
    task = [call("task", description="pay", subagent_type="payer")]
    kept = {"checkpointer": bank.runtime.checkpointer, "store": bank.runtime.store}
    subagents: list[Any] = [
        payer | {"tools": bank.tools(), "middleware": [ward]},
        payer | {"name": "general-purpose", "tools": bank.tools(), "middleware": [ward]},
    ]
    agent = create_deep_agent(says(task), bank.tools(), middleware=[ward], subagents=subagents, **kept)
    await run(agent, GO, thread(bank))
    around = spans.parents()
    assert around["execute_tool task"] == {"invoke_agent bot"}
    assert around["execute_tool pay"] == around["verify pay"] == {"execute_tool task"}
    assert around["chat"] == {"invoke_agent bot", "execute_tool task"}


@every_way
def test_a_tool_that_fails(spans: Exported, bank: Bank) -> None:
    bank.run([call("wire", amount=13)])
    failed = spans.one("execute_tool wire")
    assert (failed.attributes or {})["stateward.status"] == "failed"
    assert (failed.attributes or {})["error.type"] == "ToolException"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    (event,) = failed.events
    assert (event.name, dict(event.attributes or {})) == (
        "stateward.attempt.failed",
        {"error.type": "ToolException", "stateward.attempt": 1},
    )
    assert "the other side" not in spans.text()


@every_way
def test_an_outcome_that_nobody_knows_and_who_settles_it(spans: Exported, bank: Bank) -> None:
    def breaks() -> None:
        raise RuntimeError("Jane Doe was paid, or was not")

    bank.during = breaks
    run = bank.run([call("pay", amount=5)])
    lost = spans.facts("execute_tool pay")
    assert (lost["stateward.status"], lost["error.type"]) == ("unknown", "RuntimeError")
    asked = spans.facts("ask pay")
    assert (asked["stateward.approval.id"], asked["stateward.approval.kind"]) == (run.asked.id, "outcome")
    run.resume()
    assert len(spans.named("ask pay")) == 1, "the question is asked once, however often the run goes on"
    run.decide("done")
    run.resume()
    assert len(spans.named("execute_tool pay")) == 1, "it was not run again"
    assert spans.facts("decide pay")["stateward.decision"] == "done"
    assert "Jane" not in spans.text()


def test_each_attempt_of_a_tool_is_told(spans: Exported, bank: Bank) -> None:
    tries: list[int] = []

    @tool(idempotent=True, retry=Retry(on=(ConnectionError,), attempts=3, wait=0))
    async def renew(amount: float) -> str:
        """Renew."""
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("no answer from jane@example.com")
        return "done"

    rest = [one for one in bank.tools() if one.name != "renew"]
    flow = bank.flow([*rest, renew], POLICY, [proposes(call("renew", amount=1))])
    start(flow.compile(bank.runtime), bank.config())
    made = spans.one("execute_tool renew")
    assert {key: (made.attributes or {})[key] for key in ("stateward.attempt", "stateward.status")} == {
        "stateward.attempt": 3,
        "stateward.status": "settled",
    }
    assert [dict(one.attributes or {}) for one in made.events] == [
        {"error.type": "ConnectionError", "stateward.attempt": 1},
        {"error.type": "ConnectionError", "stateward.attempt": 2},
    ]
    assert made.status.status_code == StatusCode.UNSET
    assert "error.type" not in (made.attributes or {})


def test_a_tool_that_stops_to_ask_has_not_failed(spans: Exported, bank: Bank) -> None:
    @tool(idempotent=True)
    def renew(amount: float) -> str:
        """Ask first."""
        return str(interrupt("shall I, for jane@example.com?"))

    rest = [one for one in bank.tools() if one.name != "renew"]
    flow = bank.flow([*rest, renew], POLICY, [proposes(call("renew", amount=1))])
    start(flow.compile(bank.runtime), bank.config())
    made = spans.one("execute_tool renew")
    assert (made.attributes or {})["stateward.status"] == "paused"
    assert (made.status.status_code, list(made.events)) == (StatusCode.UNSET, [])
    assert spans.one("invoke_agent bank").status.status_code == StatusCode.UNSET
    assert "jane" not in spans.text()


def test_a_model_that_fails(spans: Exported, bank: Bank) -> None:
    class Failing(ScriptedModel):
        def _generate(self, *given: Any, **more: Any) -> Any:
            raise ConnectionError("refused: jane@example.com")

    agent = governed(bank, Failing(script=[]), bank.tools(), wards(bank))
    config = thread(bank)
    with pytest.raises(ConnectionError):
        asyncio.run(agent.ainvoke(GO, config))
    for name in ("chat", "invoke_agent bot"):
        one = spans.one(name)
        assert (one.attributes or {})["error.type"] == "ConnectionError"
        assert (one.status.status_code, one.status.description, one.events) == (StatusCode.ERROR, None, ())
    assert "jane" not in spans.text()
    assert bank.runtime.services.spans.runs == {}


@every_way
def test_a_question_that_is_decided_elsewhere(spans: Exported, bank: Bank) -> None:
    run = bank.run([call("pay", amount=500)])
    question = run.asked
    asked = spans.facts("ask pay")
    settings = replace(bank.runtime.inner.settings, database_url=bank.url)
    with Runtime.open(settings=settings) as other, within("POST /approvals"):
        with pytest.raises(Exception, match="may not decide"):
            other.decide(question, "approve", by=Principal("jane@example.com"))
        other.decide(question, "approve", by=BOSS, reason="fine by jane@example.com")
    refused, taken = spans.named("decide pay")
    assert (refused.attributes or {})["stateward.decision.taken"] is False
    assert dict(taken.attributes or {}) == asked | {
        "stateward.decision": "approve",
        "stateward.decision.taken": True,
        "stateward.approval.status": "approved",
    }
    assert spans.parents()["decide pay"] == {"POST /approvals"}
    run.resume()
    done = spans.facts("execute_tool pay")
    assert done["stateward.action.id"] == asked["stateward.action.id"]
    assert (done["stateward.verdict"], done["gen_ai.conversation.id"]) == ("ask", run.thread)
    assert "jane" not in spans.text()
    assert "boss" not in spans.text(), "who decides stands in the ledger"


def test_an_edit_is_judged_again(spans: Exported, bank: Bank) -> None:
    run = bank.run([call("pay", amount=500)])
    run.decide("edit", arguments={"amount": 50})
    first, second = (dict(one.attributes or {}) for one in spans.named("verify pay"))
    assert (first["stateward.verdict"], second["stateward.verdict"]) == ("ask", "allow")
    assert first["stateward.action.id"] != second["stateward.action.id"]
    run.resume()
    assert spans.facts("execute_tool pay")["stateward.action.id"] == second["stateward.action.id"]


def test_an_answer_to_the_interrupt_is_a_decision_within_the_run(spans: Exported, bank: Bank) -> None:
    settings = replace(bank.runtime.inner.settings, database_url=bank.url, development=True)
    bank.config("typed")
    with Runtime.open(settings=settings) as runtime:
        graph, config = bank.graph([call("pay", amount=500)], runtime=runtime), runtime.config("typed")
        start(graph, config)
        spans.clear()
        graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert spans.facts("decide pay")["stateward.approval.status"] == "approved"
    assert spans.parents() == {
        "invoke_agent bank": {""},
        **{name: {"invoke_agent bank"} for name in ("decide pay", "execute_tool pay", "chat")},
    }


def test_an_escalation(spans: Exported, bank: Bank) -> None:
    policy = POLICY.replace("steps: 50", "steps: 1") + "escalate: {to: [boss], after: 1d}\n"
    run = bank.run([call("look", what="x")], policy=policy)
    assert spans.facts("ask escalate") == {
        "gen_ai.conversation.id": run.thread,
        "stateward.approval.id": run.asked.id,
        "stateward.approval.kind": "escalation",
    }
    run.decide("reject", reason="enough")
    run.resume()
    assert spans.facts("decide escalate")["stateward.approval.status"] == "rejected"
    assert len(spans.named("ask escalate")) == 1


async def test_a_stream_that_nobody_reads_to_its_end(spans: Exported, bank: Bank) -> None:
    agent = governed(bank, says([call("look", what="x")]), bank.tools(), wards(bank))
    with within("GET /"):
        around = trace.get_current_span()
        stream = agent.astream(GO, thread(bank))
        async for _ in stream:
            assert trace.get_current_span() is around, "what the caller does meanwhile is the caller's"
            break
        await stream.aclose()
        assert trace.get_current_span() is around
    assert spans.one("invoke_agent bot").status.status_code == StatusCode.UNSET
    assert bank.runtime.services.spans.runs == {}


def test_two_runs_at_once_keep_their_own(spans: Exported, bank: Bank) -> None:
    ward = wards(bank)

    async def both() -> None:
        agents = [governed(bank, says([call("look", what=name)]), bank.tools(), ward) for name in ("a", "b")]
        configs = [await asyncio.to_thread(thread, bank, name) for name in ("a", "b")]
        await asyncio.gather(*(agent.ainvoke(GO, config) for agent, config in zip(agents, configs, strict=True)))

    asyncio.run(both())
    traces: dict[int, set[Any]] = {}
    for one in spans.all():
        traces.setdefault(one.context.trace_id, set()).add((one.attributes or {})["gen_ai.conversation.id"])
    assert sorted(map(sorted, traces.values())) == [["a"], ["b"]]


def test_nothing_is_made_where_nobody_has_configured_it(bank: Bank) -> None:
    assert bank.runtime.services.spans.records is False
    assert bank.runtime.config("one") == {"configurable": {"thread_id": "one"}, "recursion_limit": 1000}
    assert "callbacks" not in bank.config()
    assert bank.graph().config is None


def test_spans_can_be_turned_off(spans: Exported, bank: Bank) -> None:
    settings = replace(bank.runtime.inner.settings, database_url=bank.url, spans=False)
    bank.config("silent")
    with Runtime.open(settings=settings) as silent:
        start(bank.graph([call("look", what="x")], runtime=silent), silent.config("silent"))
    assert spans.names() == []


def test_without_the_package_everything_works(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.config("bare")
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.setitem(sys.modules, name, None)
    settings = replace(bank.runtime.inner.settings, database_url=bank.url)
    with Runtime.open(settings=settings) as runtime:
        assert runtime.services.spans.records is False
        out = start(bank.graph([call("look", what="x")], runtime=runtime), runtime.config("bare"))
        assert out["messages"][-1].text == "done"
    with pytest.raises(MissingExtra, match=r"opentelemetry-api is not installed: pip install 'stateward\[otel\]'"):
        Runtime.open(settings=replace(settings, spans=True))
    assert Spans.of(False).records is False


def test_the_settings_say_whether_there_have_to_be_spans() -> None:
    assert Settings.from_environment({}).spans is None
    assert Settings.from_environment({"STATEWARD_SPANS": "true"}).spans is True
    assert Settings.from_environment({"STATEWARD_SPANS": "off"}).spans is False


def test_an_agent_whose_policy_treats_its_conversation_is_not_treated_for_spans(
    spans: Exported, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stateward.conversation import Conversation

    asked: list[Any] = []

    async def counted(self: Any, value: Any) -> Any:
        asked.append(value)
        return value

    monkeypatch.setattr(Conversation, "shown", counted)
    talking = POLICY.replace("memory:\n", "conversation: {personal_data: {EMAIL_ADDRESS: redact}}\nmemory:\n")
    ward = wards(bank, policy=talking)
    agent = create_agent(
        says([call("look", what="x")]),
        bank.tools(),
        middleware=[ward],
        checkpointer=bank.runtime.checkpointer,
        store=bank.runtime.store,
    )
    asyncio.run(agent.ainvoke(GO, thread(bank)))
    assert spans.named("execute_tool look")
    assert asked == [], "callbacks that are told of no tools cost nothing"
