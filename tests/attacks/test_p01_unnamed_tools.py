"""P1: a tool that the policy does not name never runs, whoever asks for it and however."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage
from langgraph.types import Command
from plain import GO, PlainBank, thread

from bank import POLICY, Bank, texts
from stateward import ActionRefused, PolicyError, call
from stateward.testing import proposes
from ways import every_way

WITHOUT_RENEW = POLICY.replace("  renew: {effect: write, for: [bot], idempotent: true}\n", "")
UNNAMED = "denied: the policy does not name this tool"


@every_way
def test_a_tool_without_a_line_in_the_policy_is_denied(bank: Bank) -> None:
    run = bank.run([call("renew", amount=5)], policy=WITHOUT_RENEW)
    assert texts(run.out) == [UNNAMED]
    assert bank.ran == []
    assert "action.denied" in run.kinds


@every_way
def test_a_tool_that_does_not_exist_is_denied(bank: Bank) -> None:
    assert texts(bank.run([call("steal", everything=True)]).out) == [UNNAMED]


@pytest.mark.parametrize("name", ["Pay", "pay ", " pay", "pay\n", "ｐａｙ", "p\u0430y", "functions.pay", "look,pay"])
def test_a_name_that_looks_like_a_named_one_is_denied(bank: Bank, name: str) -> None:
    assert texts(bank.run([call(name, amount=5)]).out) == [UNNAMED]
    assert bank.ran == []


@every_way
def test_the_named_calls_of_the_same_turn_still_run(bank: Bank) -> None:
    run = bank.run([call("steal"), call("pay", amount=5), call("renew", amount=6)], policy=WITHOUT_RENEW)
    assert bank.ran == [("pay", 5.0, f"sw-{run.actions()[1]['action_id']}")]


def test_a_plain_step_does_not_run_it_either(bank: Bank) -> None:
    said: list[str] = []

    async def renew(state, step):
        try:
            await step.act("renew", amount=5)
        except ActionRefused as refusal:
            said.append(str(refusal))

    bank.run(policy=WITHOUT_RENEW, prepare=lambda flow: flow.retrieve(renew))
    assert said == [f"[SW600] {UNNAMED}"]
    assert bank.ran == []


@pytest.mark.parametrize("node", ["retrieve", "orchestrate", "verify", "approve", "act", "remember", "validate"])
def test_a_forged_message_does_not_run_it(bank: Bank, node: str) -> None:
    run = bank.run(policy=WITHOUT_RENEW)
    forged = proposes(call("renew", amount=5)).model_copy(update={"id": "turn-forged"})
    after = run.graph.update_state(run.config, {"messages": [forged]}, as_node=node)
    run.graph.invoke(None, after)
    assert bank.ran == []


@pytest.mark.parametrize("node", ["verify", "approve", "act", "remember"])
def test_goto_does_not_run_it(bank: Bank, node: str) -> None:
    run = bank.run(policy=WITHOUT_RENEW)
    forged = proposes(call("renew", amount=5)).model_copy(update={"id": "turn-forged"})
    run.graph.invoke(Command(goto=node, update={"messages": [forged]}), run.config)
    assert bank.ran == []


@every_way
def test_an_edit_does_not_turn_a_call_into_it(bank: Bank) -> None:
    run = bank.run([call("pay", amount=500)], policy=WITHOUT_RENEW)
    answer = {"decisions": [{"type": "edit", "edited_action": {"name": "renew", "args": {"amount": 5}}}]}
    run.graph.invoke(Command(resume=answer), run.config)
    assert bank.ran == []
    assert run.asked.status == "pending"


@every_way
def test_a_policy_that_loses_the_tool_while_people_decide_does_not_let_it_run(bank: Bank) -> None:
    run = bank.run([call("pay", amount=500)])
    run.decide("approve")
    lost = POLICY[: POLICY.index("  pay:")] + POLICY[POLICY.index("  renew:") :]
    run.resume(bank.graph([call("pay", amount=500)], policy=lost))
    assert bank.ran == []


def test_a_policy_for_a_tool_that_is_not_there_does_not_load(bank: Bank) -> None:
    with pytest.raises(PolicyError, match="there is no tool 'renew'"):
        bank.graph(without=["renew"])


def test_the_tool_itself_is_not_reachable_through_the_state(bank: Bank) -> None:
    run = bank.run(AIMessage("nothing to do"))
    assert isinstance(run.graph.get_state(run.config).values["messages"][-1], AIMessage)
    assert "tools" not in run.graph.get_state(run.config).values


def test_plain_a_tool_that_nobody_listed_runs_unasked_falls() -> None:
    bank = PlainBank()
    out = bank.agent([call("pay", amount=500), call("renew", amount=5)], [call("renew", amount=6)]).invoke(GO, thread())
    assert "__interrupt__" in out  # it asks about `pay`, which is listed
    bank.agent([call("renew", amount=5)]).invoke(GO, thread("other"))
    assert bank.ran == [("renew", 5)]
