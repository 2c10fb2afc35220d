"""What whoever is new here gets wrong first: each is told what is wrong and what to do, before anything happens."""

from __future__ import annotations

import re
from functools import wraps
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent

from agents import GO, governed, says, thread, wards
from bank import BOSS, POLICY, Bank, BankState
from stateward import Principal, Workflow, call
from stateward.errors import ConfigurationError, PolicyError, ThreadError, UnknownThread
from stateward.verify.load import parse_policy, read_text


def one(amount: float) -> str:
    """A plain function, which LangChain's agents take as a tool."""
    return str(amount)


def opened(bank: Bank) -> list[str]:
    return [record.facts.thread for record in bank.runtime.threads()]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"purpose": "support"}, "its purpose is 'support', and 'bank' works for 'bank'"),
        ({"principal": Principal("bott", kind="agent")}, "its principal is 'bott', and 'bank' works for 'bot'"),
        ({"principal": "bot"}, "principal='bot' is no Principal: give principal=Principal('bot', kind='agent')"),
        ({"principal": None}, "principal=None is no Principal"),
    ],
)
def test_a_thread_that_could_never_run_is_not_opened(bank: Bank, facts: dict[str, Any], said: str) -> None:
    bank.graph()
    with pytest.raises((ThreadError, ConfigurationError), match=re.escape(said)):
        bank.config("case-1", **facts)
    assert opened(bank) == []
    bank.config("case-1")  # so that its id is still there for the right one


@pytest.mark.parametrize("id_", ["", " "])
def test_a_thread_needs_an_id(bank: Bank, id_: str) -> None:
    with pytest.raises(ConfigurationError, match="a thread needs an id"):
        bank.runtime.thread(id_, principal=Principal("bot", kind="agent"), purpose="bank", subject="customer:17")


def test_an_agents_thread_is_for_its_principal_and_any_purpose(bank: Bank) -> None:
    wards(bank, bank.tools())
    with pytest.raises(ThreadError, match="its principal is 'bott', and 'bot' works for 'bot'"):
        thread(bank, principal=Principal("bott", kind="agent"))
    thread(bank, purpose="support")
    assert opened(bank) == ["case-1"]


def test_a_thread_of_nobodys_graph_says_how_to_open_one(bank: Bank) -> None:
    agent = governed(bank, says([call("pay", amount=5)]), bank.tools(), wards(bank, bank.tools()))
    config = thread(bank, graph="bank")
    with pytest.raises(ThreadError, match=r"principal=Principal\('bot', kind='agent'\), graph='bot'\)"):
        agent.invoke(GO, config)
    assert bank.ran == []


@pytest.mark.parametrize("name", ["boss", None])
def test_whoever_decides_is_a_principal(bank: Bank, name: Any) -> None:
    run = bank.run([call("pay", amount=500)])
    with pytest.raises(ConfigurationError, match=r"by=.* is no Principal: give by=Principal\('.*', roles="):
        bank.runtime.decide(run.asked, "approve", by=name)
    assert run.asked.status == "pending"


def test_roles_are_a_list() -> None:
    with pytest.raises(ValueError, match=re.escape("give a list, such as roles=['support-lead']")):
        Principal("ana", roles="support-lead")


def test_a_plain_function_is_no_tool(bank: Bank) -> None:
    with pytest.raises(ConfigurationError, match="one is no tool: make it one with"):
        bank.runtime.middleware(policy=parse_policy(POLICY), tools=[*bank.tools(), one], principal="bot")  # pyright: ignore[reportArgumentType]
    flow = Workflow("bank", state=BankState, policy=parse_policy(POLICY), principal="bot")
    flow.orchestrate(says(), tools=[*bank.tools(), one])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigurationError, match="one is no tool: make it one with"):
        flow.compile(bank.runtime)


def test_an_agent_that_may_call_nothing_is_not_built(bank: Bank) -> None:
    said = "'bott' may call no tool: no `for:` names it; did you mean 'bot'?"
    with pytest.raises(PolicyError, match=re.escape(said)):
        bank.runtime.middleware(policy=parse_policy(POLICY), tools=bank.tools(), principal="bott")
    flow = Workflow("bank", state=BankState, policy=parse_policy(POLICY), principal="bott")
    flow.orchestrate(says(), tools=bank.tools())
    with pytest.raises(PolicyError, match=re.escape(said)):
        flow.compile(bank.runtime)


def test_an_agent_that_may_have_the_role_is_built(bank: Bank) -> None:
    policy = POLICY.replace("bot: {kind: agent}", "bot: {kind: agent, role: teller}").replace("[bot]", "[teller]")
    ward = bank.runtime.middleware(policy=parse_policy(policy), tools=bank.tools(), principal="another")
    agent = governed(bank, says([call("pay", amount=5)]), bank.tools(), ward)
    agent.invoke(GO, thread(bank, principal=Principal("another", roles=["teller"], kind="agent"), graph="another"))
    assert bank.amounts() == [5]


def test_what_is_remembered_after_a_misspelt_tool_is_told(bank: Bank) -> None:
    async def keep(state: Any, step: Any, done: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="there is no tool 'payy'; did you mean 'pay'"):
        bank.graph(prepare=lambda flow: flow.remember(keep, after=["payy"]))


def test_an_agent_without_the_runtimes_store_says_what_to_give_it(bank: Bank) -> None:
    agent = create_agent(says(), bank.tools(), middleware=[wards(bank, bank.tools())])
    with pytest.raises(ConfigurationError, match=r"both checkpointer=runtime\.checkpointer and store=runtime\.store"):
        agent.invoke(GO, thread(bank))


def test_a_workflow_does_not_go_on_with_the_thread_of_an_agent(bank: Bank) -> None:
    agent = governed(bank, says([call("pay", amount=500)]), bank.tools(), wards(bank, bank.tools()))
    agent.invoke(GO, thread(bank))
    (asked,) = bank.runtime.approvals(thread="case-1")
    bank.runtime.decide(asked, "approve", by=BOSS)
    with pytest.raises(ThreadError, match="thread 'case-1' was started on 'bot', and 'bank' cannot go on with it"):
        bank.runtime.resume(bank.graph(), "case-1")
    bank.runtime.resume(agent, "case-1")
    assert bank.amounts() == [500]


def test_a_thread_that_is_not_there_says_where_to_look(bank: Bank) -> None:
    with pytest.raises(UnknownThread, match=r"`stateward threads` lists those that are, runtime\.thread"):
        bank.runtime.find_thread("nothing")


def test_a_policy_that_is_looked_for_elsewhere_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyError, match=f"cannot be read: No such file or directory in {re.escape(str(tmp_path))}"):
        read_text("policy.yaml")


def test_a_workflow_takes_async_functions_before_it_runs(bank: Bank) -> None:
    def keep(state: Any, step: Any, done: Any) -> None: ...

    def check(state: Any, step: Any) -> None: ...

    for name, give in [
        ("retrieve", lambda flow: flow.retrieve(check)),
        ("remember", lambda flow: flow.remember(keep, after=["pay"])),
        ("validate", lambda flow: flow.validate(check)),
        ("answer", lambda flow: flow.answer(check)),
    ]:
        with pytest.raises(ConfigurationError, match=rf"flow\.{name}\((keep|check)\) takes an async function"):
            bank.graph(prepare=give)


def test_a_function_that_gives_something_to_wait_for_is_async_enough(bank: Bank) -> None:
    async def check(state: Any, step: Any) -> None: ...

    @wraps(check)
    def counted(*given: Any) -> Any:
        return check(*given)

    bank.graph(prepare=lambda flow: flow.validate(counted))
    bank.graph(prepare=lambda flow: flow.validate(lambda state, step: check(state, step)))


def test_a_state_without_messages_is_refused() -> None:
    class Bare(TypedDict):
        subject: str

    with pytest.raises(ConfigurationError, match=r"Bare has no `messages`: class Bare\(FlowState\)"):
        Workflow("bank", state=Bare, policy=parse_policy(POLICY), principal="bot")
