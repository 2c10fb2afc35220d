"""P12: a thread belongs to the principal, tenant, purpose and subject that it was started for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from langchain.tools import ToolRuntime
from langchain_core.tools import tool
from langgraph.types import Command
from plain import APPROVE, GO, PlainBank, thread
from test_p03_bound_approvals import as_server

from bank import Bank, start
from stateward import Principal, call
from stateward.errors import ConfigurationError, ThreadError, ThreadMismatch, UnknownThread
from ways import every_way

OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("principal", {"principal": Principal("other", kind="agent")}),
    ("tenant", {"principal": Principal("bot", kind="agent", tenant="other")}),
    ("purpose", {"purpose": "marketing"}),
    ("subject", {"subject": "customer:18"}),
    ("requester", {"requester": "bea"}),
    ("graph", {"graph": "another"}),
]


@every_way
@pytest.mark.parametrize(("field", "other"), OTHERS, ids=[field for field, _ in OTHERS])
def test_it_is_not_opened_for_another(bank: Bank, field: str, other: dict[str, Any]) -> None:
    run = bank.run([call("pay", amount=5)])
    before = bank.rows("select * from stateward.thread")
    with pytest.raises(ThreadMismatch, match=f"was started with {field}"):
        bank.config(run.thread, **other)
    assert bank.rows("select * from stateward.thread") == before


def test_whoever_is_refused_does_not_choose_its_version(bank: Bank) -> None:
    """A thread that was opened before its graph was loaded takes the version of its first run: of its own first run."""
    bank.config("early")
    bank.graph()  # from here on the version is known
    before = bank.rows("select * from stateward.thread")
    with pytest.raises(ThreadMismatch, match="was started with tenant"):
        bank.config("early", principal=Principal("bot", kind="agent", tenant="other"))
    assert bank.rows("select * from stateward.thread") == before
    assert [entry.kind for entry in bank.runtime.timeline("early")] == ["thread.opened"]


def test_it_is_opened_again_for_the_same(bank: Bank) -> None:
    run = bank.run([call("pay", amount=5)])
    assert bank.config(run.thread)["configurable"]["thread_id"] == run.thread
    assert run.kinds.count("thread.opened") == 1


def test_a_run_about_another_subject_is_refused(bank: Bank) -> None:
    run = bank.run([call("pay", amount=500)])
    with pytest.raises(ThreadMismatch, match="was started with subject 'customer:17'"):
        run.graph.invoke({"messages": [("user", "go")], "subject": "customer:18"}, run.config)
    assert bank.ran == []


def test_the_state_cannot_move_it_to_another_subject(bank: Bank) -> None:
    async def keep(state, step):
        await step.remember("note", "n1", text="about whom?")

    run = bank.run(prepare=lambda flow: flow.answer(keep))
    after = run.graph.update_state(run.config, {"subject": "customer:18"}, as_node="validate")
    run.graph.invoke(None, after)
    assert {row["subject"] for row in bank.rows("select subject from stateward.memory")} == {"customer:17"}


def test_a_second_persons_request_on_it_is_refused(bank: Bank) -> None:
    graph = bank.graph()
    start(graph, as_server({"configurable": {"thread_id": "shared"}}, "ann"))
    with pytest.raises(ThreadMismatch, match="was started with requester 'ann'"):
        start(graph, as_server({"configurable": {"thread_id": "shared"}}, "boss"))


def test_a_verified_person_who_starts_a_run_is_its_requester(bank: Bank) -> None:
    start(bank.graph(), as_server({"configurable": {"thread_id": "served"}}, "ann"))
    assert bank.runtime.find_thread("served").facts.requester == "ann"


def test_nobody_starts_a_run_anonymously_outside_development(bank: Bank) -> None:
    with pytest.raises(ThreadError, match="nobody verified started this run"):
        start(bank.graph(), {"configurable": {"thread_id": "anonymous"}})
    assert bank.runtime.threads() == []


def test_a_run_without_a_thread_is_refused(bank: Bank) -> None:
    with pytest.raises((ConfigurationError, ValueError), match="thread_id"):
        bank.graph().invoke({"messages": [("user", "go")]}, {})


def test_a_thread_that_nobody_opened_is_not_resumed(bank: Bank) -> None:
    with pytest.raises(UnknownThread, match="nothing"):
        bank.runtime.resume(bank.graph(), "nothing")


@dataclass
class _Who:
    name: str


@pytest.mark.parametrize(("context", "seen"), [(_Who("mallory"), "mallory"), (None, None)])
def test_plain_another_identity_or_none_resumes_falls(context: Any, seen: str | None) -> None:
    acted: list[str | None] = []

    @tool
    def pay(amount: float, runtime: ToolRuntime[_Who | None, Any]) -> str:
        """Pay somebody."""
        acted.append(runtime.context.name if runtime.context else None)
        return "paid"

    agent = PlainBank().agent([call("pay", amount=500)], tools=[pay], context_schema=_Who)
    agent.invoke(GO, thread(), context=_Who("ann"))
    agent.invoke(Command(resume=APPROVE), thread(), context=context)
    assert acted == [seen]
