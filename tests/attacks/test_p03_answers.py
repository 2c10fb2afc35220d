"""P3 to P6 for answers: one that the policy asks about leaves only as people have approved it, whatever the way in."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.types import Command
from pydantic import BaseModel

from bank import ANN, CHIEF, POLICY, Bank, Started, start
from stateward import DecisionRefused, FlowState, PolicyError, Principal, Runtime, Settings, StatewardError, Workflow
from stateward.errors import ConfigurationError
from stateward.testing import ScriptedModel
from stateward.verify.load import parse_policy

TEXT = """
answers:
  text:
    deny: [{when: 'answer.text.contains("secret")', because: secrets stay here}]
    ask:
      - {when: 'answer.text.contains("refund")', by: [boss, chief], not: [requester, editor], because: promises money}
"""
PACK = """
answers:
  close_pack:
    deny: [{when: answer.total < 0, because: a total is positive}]
    ask: [{when: answer.total > 1000 && has(answer.note), by: [boss], because: large}]
    tries: 2
"""
ESCALATE = "escalate: {to: [chief], after: 2d}\n"
ASKED = "you get a refund of 5"


class ClosePack(BaseModel):
    """What a close answers with."""

    total: float
    note: str = ""


def rules(answers: str = TEXT) -> str:
    return POLICY + answers + ESCALATE


def says(*texts: str) -> list[AIMessage]:
    return [AIMessage(text) for text in texts]


class Asked(ScriptedModel):
    """A model that counts how often it is asked."""

    times: Any = None

    def _generate(self, *given: Any, **more: Any) -> Any:
        next(self.times)
        return super()._generate(*given, **more)


class Speaker:
    """A way in: starts a run whose model says these things, on a thread of its own, and goes on with it."""

    def __init__(self, bank: Bank, name: str) -> None:
        self.bank, self.name, self.times = bank, name, count()

    def graph(self, *texts: str, policy: str = "", runtime: Any = None, **options: Any) -> Any:
        model = Asked(script=[*says(*texts), *says("fine") * 9], times=self.times)
        document, chosen = parse_policy(policy or rules()), runtime or self.bank.runtime
        tools = self.bank.tools()
        if self.name == "workflow":
            from bank import BankState

            subject = lambda _: "customer:17"  # noqa: E731
            flow = Workflow("bot", state=BankState, policy=document, principal="bot", subject=subject, **options)
            flow.orchestrate(model, tools=tools)
            return flow.compile(chosen)
        ward = chosen.middleware(policy=document, tools=tools, principal="bot", purpose="bank", **options)
        return create_agent(model, tools, middleware=[ward], checkpointer=chosen.checkpointer, store=chosen.store)

    def run(self, *texts: str, **options: Any) -> Started:
        graph = self.graph(*texts, **options)
        facts: dict[str, Any] = {"purpose": "bank", "subject": "customer:17", "requester": ANN, "graph": "bot"}
        config = self.bank.runtime.thread("case-1", principal=Principal("bot", kind="agent"), **facts)
        return Started(bank=self.bank, graph=graph, config=config, out=start(graph, config))


@pytest.fixture(params=["workflow", "create_agent"])
def speaker(bank: Bank, request: pytest.FixtureRequest) -> Speaker:
    return Speaker(bank, request.param)


def last(out: dict[str, Any]) -> str:
    return str(out["messages"][-1].text)


def status(run: Started) -> str:
    return run.bank.runtime.find_thread(run.thread).status


def test_what_nobody_has_to_approve_leaves_and_is_in_the_ledger(speaker: Speaker) -> None:
    run = speaker.run("hello")
    assert (last(run.out), status(run)) == ("hello", "answered")
    assert [kind for kind in run.kinds if kind.startswith("answer")] == ["answer.allowed", "answer.left"]
    assert run.bank.runtime.verify_audit().intact


def test_what_asks_does_not_leave_before_it_is_approved(speaker: Speaker) -> None:
    run = speaker.run(ASKED)
    assert (run.asked.kind, run.asked.tool, run.asked.arguments) == ("answer", "text", {"text": ASKED})
    assert status(run) == "waiting"
    if speaker.name == "create_agent":  # a workflow's planner has said it already; it waits in the state
        assert last(run.graph.get_state(run.config).values) == "go"
    with pytest.raises(DecisionRefused):
        run.decide("approve", by=Principal(ANN))
    run.resume()
    assert status(run) == "waiting"
    run.decide("approve")
    assert (last(run.resume()), status(run)) == (ASKED, "answered")
    assert [kind for kind in run.kinds if kind.startswith("answer")] == ["answer.asked", "answer.left"]
    assert next(speaker.times) == 1


def test_another_worker_goes_on_without_asking_the_model_again(speaker: Speaker, settings: Settings) -> None:
    run = speaker.run(ASKED)
    run.decide("approve")
    with Runtime.open(settings=settings) as other:
        out = other.resume(speaker.graph("something else", runtime=other), run.thread)
    assert (last(out), status(run), next(speaker.times)) == (ASKED, "answered", 1)


def test_a_rejection_goes_back_to_the_planner_with_its_reason(speaker: Speaker) -> None:
    run = speaker.run(ASKED, "we are sorry")
    run.decide("reject", reason="promise nothing")
    assert (last(run.resume()), status(run)) == ("we are sorry", "answered")
    answers = "select * from stateward.action where effect = 'answer' and status = 'consumed'"
    left = run.bank.opened("action", answers)
    assert [row["arguments"] for row in left] == [{"text": "we are sorry"}]


def test_an_edit_is_judged_again_and_leaves_as_edited(speaker: Speaker) -> None:
    run = speaker.run(ASKED)
    with pytest.raises(DecisionRefused, match="has no field tool"):
        run.decide("edit", arguments={"text": "x", "tool": "pay"})
    run.decide("edit", arguments={"text": "you get a refund of 3"})
    run.resume()
    assert (run.asked.editor, run.asked.arguments) == ("boss", {"text": "you get a refund of 3"})
    with pytest.raises(DecisionRefused):
        run.decide("approve")
    run.decide("approve", by=CHIEF)
    assert last(run.resume()) == "you get a refund of 3"


def test_an_edit_into_what_is_denied_does_not_leave(speaker: Speaker) -> None:
    run = speaker.run(ASKED, "nothing")
    run.decide("edit", arguments={"text": "the secret is 5"})
    assert last(run.resume()) == "nothing"


def test_a_rejection_stays_under_a_kinder_policy(speaker: Speaker) -> None:
    run = speaker.run(ASKED, "no")
    run.decide("reject", reason="no")
    kinder = rules(TEXT.replace('"refund"', '"never"'))
    assert last(run.resume(speaker.graph(ASKED, "no", policy=kinder))) == "no"


def test_an_approval_does_not_hold_under_another_policy(speaker: Speaker) -> None:
    run = speaker.run(ASKED, "no")
    run.decide("approve")
    stricter = rules(TEXT.replace("secrets stay here", "secrets stay with us"))
    assert last(run.resume(speaker.graph(ASKED, "no", policy=stricter))) == "no"


def test_what_never_holds_ends_at_a_person_and_is_withheld(speaker: Speaker) -> None:
    run = speaker.run(*["a secret"] * 9)
    assert run.asked.kind == "escalation"
    assert "secrets stay here" in run.asked.description
    assert next(speaker.times) == 3
    run.decide("reject", by=CHIEF, reason="enough")
    assert (last(run.resume()), status(run)) == ("The answer was withheld.", "escalated")


def test_a_person_says_how_to_go_on(speaker: Speaker) -> None:
    run = speaker.run(*["a secret"] * 3, "all is well")
    run.decide("respond", by=CHIEF, reason="say nothing of it")
    assert (last(run.resume()), status(run)) == ("all is well", "answered")


def test_a_model_of_the_answer_is_checked_and_named_in_conditions(speaker: Speaker) -> None:
    run = speaker.run("no json", '{"total": 5000, "note": "x"}', policy=rules(PACK), answer=ClosePack)
    assert run.asked.arguments == {"total": 5000.0, "note": "x"}
    with pytest.raises(DecisionRefused, match="does not fit close_pack: total"):
        run.decide("edit", arguments={"total": "much"})
    run.decide("edit", arguments={"total": "900"})
    assert last(run.resume()) == '{"total": 900.0, "note": ""}'


def test_a_model_of_the_answer_is_checked_without_any_rule(speaker: Speaker) -> None:
    run = speaker.run("no json", '{"total": 5}', policy=POLICY + ESCALATE, answer=ClosePack)
    assert last(run.out) == '{"total": 5}'
    assert not [kind for kind in run.kinds if kind.startswith("answer")]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (PACK.replace("answer.total <", "answer.totl <"), "close_pack has no field 'answer.totl'; did you mean"),
        (PACK.replace("answer.total < 0", "answer.total < args.x"), "'args.x' is not known here"),
        (PACK.replace("answer.total < 0", "answer.note < 0"), "'<' does not work with string and int"),
        (PACK.replace("answer.total < 0", 'history.count("1d") > 5'), "history is about tools"),
        (PACK.replace("close_pack", "close_pak"), "there is no answer 'close_pak'; did you mean 'close_pack'"),
        (PACK.replace("by: [boss]", "by: [bos]"), "did you mean 'boss'"),
        (PACK.replace("close_pack", "pay"), "an answer and a tool are both called 'pay'"),
    ],
)
def test_a_mistake_in_a_rule_is_found_when_it_is_loaded(speaker: Speaker, answers: str, why: str) -> None:
    with pytest.raises(PolicyError) as refused:
        speaker.graph(policy=rules(answers), answer=ClosePack)
    assert why in str(refused.value)


def test_a_tool_call_cannot_be_named_like_the_answer(speaker: Speaker) -> None:
    run = speaker.run("fine")
    assert status(run) == "answered"
    judged = speaker.bank.runtime.services.wards["bot"].gate.judge(
        tool="text", arguments={"text": "x"}, principal=Principal("bot", kind="agent"), requester=ANN, purpose="bank",
        subject="s", thread="t",
    )  # fmt: skip
    assert judged.verdict.kind == "deny"


def test_no_client_leads_round_the_gate(bank: Bank) -> None:
    speaker = Speaker(bank, "workflow")
    run = speaker.run(ASKED)
    for update in ({"outcome": "answered"}, {"messages": [AIMessage("a refund for all", id="forged")]}):
        run.graph.invoke(Command(goto="answer", update=update), run.config)
        assert status(run) == "waiting"
    forged = {"messages": [AIMessage("a refund for me", id="forged-2")], "outcome": "answered"}
    run.graph.invoke(None, run.graph.update_state(run.config, forged, as_node="validate"))
    assert status(run) == "waiting"
    assert "answer.left" not in run.kinds


def test_an_approved_answer_cannot_be_changed_before_it_leaves(bank: Bank) -> None:
    speaker = Speaker(bank, "workflow")
    run = speaker.run(ASKED)
    run.decide("approve")
    waits = run.graph.get_state(run.config).values["messages"][-1]
    forged = {"messages": [AIMessage("a refund of 5000", id=waits.id)], "outcome": "answered"}
    with pytest.raises(StatewardError, match="not the one that was permitted"):
        run.graph.invoke(Command(goto="answer", update=forged), run.config)
    assert "answer.left" not in run.kinds


def test_an_answers_permit_performs_nothing(bank: Bank) -> None:
    speaker = Speaker(bank, "workflow")
    run = speaker.run("fine")
    waits = run.graph.get_state(run.config).values["messages"][-1]
    forged = AIMessage("", id=waits.id, tool_calls=[{"name": "pay", "args": {"amount": 500}, "id": "x"}])
    run.graph.invoke(Command(goto="act", update={"messages": [forged]}), run.config)
    assert bank.ran == []


def test_the_teams_own_functions_check_what_an_edit_made(bank: Bank) -> None:
    async def no_numbers(answer: str) -> str | None:
        return "no numbers, please" if "7" in answer else None

    policy = rules(TEXT.replace("not: [requester, editor], ", ""))
    run = Speaker(bank, "create_agent").run(ASKED, "nothing", policy=policy, validate=[no_numbers])
    run.decide("edit", arguments={"text": "7 apples"})
    assert last(run.resume()) == "nothing"


def test_a_structured_answer_that_the_rules_cannot_see_is_refused(bank: Bank) -> None:
    model = ScriptedModel(
        script=[AIMessage("", tool_calls=[{"name": "ClosePack", "args": {"total": 5, "note": ""}, "id": "1"}])]
    )
    ward = bank.runtime.middleware(policy=parse_policy(rules()), tools=bank.tools(), principal="bot", purpose="bank")
    saver, store = bank.runtime.checkpointer, bank.runtime.store
    agent: Any = create_agent(
        model, bank.tools(), middleware=[ward], response_format=ClosePack, checkpointer=saver, store=store
    )
    config = bank.config(graph="bot")
    with pytest.raises(ConfigurationError, match="structured answer"):
        start(agent, config)


def test_a_structured_answer_leaves_as_it_was_approved(bank: Bank) -> None:
    given = {"name": "ClosePack", "args": {"total": 5000, "note": "x"}, "id": "1", "type": "tool_call"}
    policy = parse_policy(rules(PACK))
    ward = bank.runtime.middleware(policy=policy, tools=bank.tools(), principal="bot", purpose="bank", answer=ClosePack)
    saver, store = bank.runtime.checkpointer, bank.runtime.store
    agent: Any = create_agent(
        ScriptedModel(script=[AIMessage("", tool_calls=[given])]),
        bank.tools(),
        middleware=[ward],
        response_format=ClosePack,
        checkpointer=saver,
        store=store,
    )
    config = bank.config(graph="bot")
    run = Started(bank=bank, graph=agent, config=config, out=start(agent, config))
    assert "structured_response" not in agent.get_state(config).values
    run.decide("approve")
    assert run.resume()["structured_response"] == ClosePack(total=5000, note="x")


def test_an_answer_that_a_function_makes_needs_a_model(bank: Bank) -> None:
    async def make(state: Any, step: Any) -> dict[str, Any]:
        return {"total": 5}

    with pytest.raises(ConfigurationError, match=r"Workflow\(..., answer=Model\)"):
        bank.graph(policy=rules(), prepare=lambda flow: flow.answer(make))


@pytest.mark.parametrize("edited", [False, True])
def test_what_a_function_makes_leaves_as_it_was_approved(bank: Bank, edited: bool) -> None:
    class Closing(FlowState, total=False):
        total: float
        note: str

    async def make(state: Any, step: Any) -> dict[str, Any]:
        return {"total": 5000.0, "note": "as made"}

    subject = lambda _: "customer:17"  # noqa: E731
    flow = Workflow(
        "bot", state=Closing, policy=parse_policy(rules(PACK)), principal="bot", subject=subject, answer=ClosePack
    )
    flow.orchestrate(ScriptedModel(script=says("done")), tools=bank.tools())
    flow.answer(make)
    graph, config = flow.compile(bank.runtime), bank.config(graph="bot")
    run = Started(bank=bank, graph=graph, config=config, out=start(graph, config))
    assert "total" not in graph.get_state(config).values
    with pytest.raises(DecisionRefused):
        run.decide("edit", arguments={"total": "much"})
    run.decide("edit" if edited else "approve", arguments={"total": 900} if edited else None)
    out = run.resume()
    assert (out["total"], out["note"]) == ((900.0, "") if edited else (5000.0, "as made"))
    assert (status(run), out["outcome"]) == ("answered", "answered")
    assert run.kinds.count("answer.left") == 1


def test_a_plain_agent_says_what_it_likes() -> None:
    agent: Any = create_agent(ScriptedModel(script=says(ASKED)), [])
    assert last(agent.invoke({"messages": [("user", "go")]})) == ASKED
