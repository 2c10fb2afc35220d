"""Deep agents: files, to-do lists and subagents under one middleware, and one inbox for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.middleware.skills import SkillsMiddleware
from langchain_core.messages import AIMessage

from agents import DEEP, GO, asked, both_ways, named, says, says_pay, thread, wards
from bank import BOSS, Bank
from stateward import PolicyError, call
from stateward.errors import ConfigurationError


def deep(bank: Bank, *main: Any, payer: Any = (), general: bool = True, **more: Any) -> Any:
    """A deep agent with a subagent that pays."""
    ward = wards(bank, policy=named(*DEEP))
    subagents: list[Any] = [
        {
            "name": "payer",
            "description": "Pays.",
            "system_prompt": "Pay.",
            "model": says(*payer),
            "tools": bank.tools(),
            "middleware": [ward],
        }
    ]
    if general:
        subagents.append({**subagents[0], "name": "general-purpose", "description": "Does anything else."})
    return create_deep_agent(
        says(*main),
        bank.tools(),
        middleware=[ward],
        subagents=subagents,
        checkpointer=bank.runtime.checkpointer,
        store=bank.runtime.store,
        **more,
    )


def sends(who: str, *what: str) -> Any:
    """One turn that gives tasks to a subagent."""
    return [call("task", description=one, subagent_type=who) for one in what]


@both_ways
async def test_its_own_tools_and_its_subagents_work_under_the_wards(bank: Bank, run: Any) -> None:
    writes = [call("write_file", file_path="/plan.md", content="pay"), call("pay", amount=7)]
    agent = deep(bank, writes, [call("read_file", file_path="/plan.md")], sends("payer", "pay"), payer=[says_pay(5)])
    out = await run(agent, GO, thread(bank))
    assert "/plan.md" in out["files"]
    assert sorted(bank.amounts()) == [5, 7]
    assert [one.tool_calls for one in out["messages"] if isinstance(one, AIMessage)][-1] == []
    assert bank.runtime.find_thread("case-1").status == "answered"
    assert bank.runtime.verify_audit().intact


@both_ways
async def test_an_approval_inside_a_subagent_reaches_the_same_inbox_and_goes_on_inside(bank: Bank, run: Any) -> None:
    agent = deep(bank, sends("payer", "pay a lot"), payer=[says_pay(5), says_pay(500), says_pay(6)])
    out = await run(agent, GO, thread(bank))
    assert "__interrupt__" in out
    (question,) = asked(bank)
    assert (question.tool, question.arguments) == ("pay", {"amount": 500.0})
    bank.runtime.decide(question, "approve", by=BOSS)
    out = bank.runtime.resume(agent, "case-1")
    assert bank.amounts() == [5, 500, 6]
    assert bank.runtime.find_thread("case-1").status == "answered"


@both_ways
async def test_subagents_that_ask_at_once(bank: Bank, run: Any) -> None:
    agent = deep(bank, [*sends("payer", "one", "two"), call("pay", amount=700)], payer=[says_pay(500)])
    await run(agent, GO, thread(bank))
    assert sorted(one.arguments["amount"] for one in asked(bank)) == [500, 500, 700]
    while questions := asked(bank):
        bank.runtime.decide(questions[0], "approve", by=BOSS)
        bank.runtime.resume(agent, "case-1")
    assert sorted(bank.amounts()) == [500, 500, 700]


def test_a_policy_without_its_tools_says_which_lines_to_add(bank: Bank) -> None:
    ward = wards(bank)
    spec: Any = {"name": "general-purpose", "description": "x", "system_prompt": "x", "middleware": [ward]}
    with pytest.raises(PolicyError, match=r"\n  write_file: \{effect: write, for: \[bot\]\}") as told:
        create_deep_agent(says(), bank.tools(), middleware=[ward], subagents=[spec])
    assert "\n  ls: {effect: read, for: [bot]}" in str(told.value)


def test_a_subagent_without_wards_is_refused_when_the_agent_is_built(bank: Bank) -> None:
    with pytest.raises(ConfigurationError, match="subagent 'general-purpose' has no wards"):
        deep(bank, general=False)


@pytest.mark.parametrize("more", [{"interrupt_on": {"pay": True}}, {"skills": ["/skills/"]}], ids=str)
def test_what_deepagents_puts_within_the_wards_is_refused_with_the_way_out(bank: Bank, more: Any) -> None:
    with pytest.raises(ConfigurationError, match="leave `interrupt_on` and `permissions` to the policy"):
        deep(bank, **more)


def test_skills_stand_before_the_wards(bank: Bank) -> None:
    from deepagents.backends import StateBackend

    class TeamSkills(SkillsMiddleware):
        """By a name of its own it stands where it is put, and not in deepagents' own place for it."""

    ward = wards(bank, bank.tools())
    skills = TeamSkills(backend=StateBackend(), sources=["/skills/"])
    spec: Any = {"name": "general-purpose", "description": "x", "system_prompt": "x", "middleware": [ward]}
    agent = create_deep_agent(
        says(says_pay(5)),
        bank.tools(),
        middleware=[skills, ward],
        subagents=[spec],
        checkpointer=bank.runtime.checkpointer,
        store=bank.runtime.store,
    )
    agent.invoke(GO, thread(bank))
    assert bank.amounts() == [5]
