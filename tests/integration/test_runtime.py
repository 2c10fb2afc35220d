"""The runtime as code meets it: opening, closing, both surfaces, settings."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from bank import BOSS, Bank, start
from stateward import AsyncRuntime, DecisionRefused, Principal, Runtime, Settings, call
from stateward.errors import ConfigurationError, UnknownApproval, UnknownThread

BIG = [call("pay", amount=500)]


def loops() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == "stateward"}


def test_closing_twice_does_no_harm_and_leaves_no_thread(settings: Settings) -> None:
    before = loops()
    runtime = Runtime.open(settings=settings)
    assert len(loops() - before) == 1
    runtime.close()
    runtime.close()
    assert loops() <= before


def test_an_opening_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    before = loops()
    with pytest.raises(Exception, match="Check DATABASE_URL"):
        Runtime.open("postgresql://nobody@127.0.0.1:1/none", settings=Settings(home=tmp_path))
    assert loops() <= before


def test_closing_leaves_no_connection(settings: Settings, bank: Bank) -> None:
    bank.run([call("pay", amount=1)])
    bank.runtime.close()
    others = "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    deadline = time.monotonic() + 10  # the server ends a process a moment after its client has gone
    while bank.rows(others) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bank.rows(others) == []


def test_a_url_wins_over_the_settings(settings: Settings, database_url: str) -> None:
    from dataclasses import replace

    with Runtime.open(database_url, settings=replace(settings, database_url="postgresql://nowhere")) as runtime:
        assert runtime.threads() == []


def test_without_a_url_it_starts_its_own_server(tmp_path: Path) -> None:
    with Runtime.open(settings=Settings(home=tmp_path / "a home with spaces")) as runtime:
        assert runtime.verify_audit().intact


def test_a_relative_home_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="absolute"):
        Runtime.open(settings=Settings(home=Path("here")))


def test_two_runtimes_see_the_same(settings: Settings, bank: Bank) -> None:
    run = bank.run(BIG)
    with Runtime.open(settings=settings) as second:
        assert [one.id for one in second.approvals()] == [run.asked.id]
        second.decide(run.asked, "approve", by=BOSS)
    run.resume()
    assert bank.amounts() == [500]


def test_what_a_restarted_process_needs_is_in_the_database(settings: Settings, bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    bank.runtime.close()
    with Runtime.open(settings=settings) as later:
        again = Bank(runtime=later, url=bank.url)
        later.resume(again.graph(BIG), run.thread)
        assert again.amounts() == [500]


def test_an_edit_needs_the_workflow_that_judges_it(settings: Settings, bank: Bank) -> None:
    run = bank.run(BIG)
    with Runtime.open(settings=settings) as elsewhere:
        with pytest.raises(Exception, match="not loaded in this process"):
            elsewhere.decide(run.asked, "edit", by=BOSS, arguments={"amount": 5})
        assert elsewhere.decide(run.asked, "reject", by=BOSS, reason="no").status == "rejected"


def test_resuming_what_is_finished_gives_its_end_again(bank: Bank) -> None:
    run = bank.run([call("pay", amount=5)])
    assert run.resume()["messages"][-1].text == "done"
    assert bank.amounts() == [5]


def test_resuming_what_has_not_begun_does_nothing(bank: Bank) -> None:
    graph, config = bank.graph(), bank.config()
    assert bank.runtime.resume(graph, config["configurable"]["thread_id"]) == {}
    assert bank.ran == []


def test_unknown_things_are_said_so(bank: Bank) -> None:
    with pytest.raises(UnknownThread):
        bank.runtime.find_thread("none")
    with pytest.raises(UnknownThread):
        bank.runtime.resume(bank.graph(), "none")
    with pytest.raises(UnknownApproval):
        bank.runtime.approval("A-NONE")


def test_threads_are_listed_by_subject(bank: Bank) -> None:
    bank.config("one", subject="customer:1")
    bank.config("two", subject="customer:2")
    assert [one.facts.thread for one in bank.runtime.threads(subject="customer:2")] == ["two"]
    assert {one.facts.thread for one in bank.runtime.threads()} == {"one", "two"}


def test_a_refused_decision_is_raised_because_a_return_could_be_overlooked(bank: Bank) -> None:
    run = bank.run(BIG)
    with pytest.raises(DecisionRefused, match=f"{run.asked.id}: mallory may not decide this; it is for boss, chief"):
        run.decide("approve", by=Principal("mallory"))


def test_a_waiting_thread_says_that_it_waits(bank: Bank) -> None:
    run = bank.run(BIG)
    assert bank.runtime.find_thread(run.thread).status == "waiting"
    run.decide("reject", reason="no")
    run.resume()
    assert bank.runtime.find_thread(run.thread).status == "answered"


async def test_the_async_surface_does_the_same(async_runtime: AsyncRuntime, database_url: str) -> None:
    bank = Bank(runtime=async_runtime, url=database_url)
    graph = bank.graph(BIG)
    config = await bank.config("async")
    await graph.ainvoke({"messages": [("user", "go")]}, config)
    (asked,) = await async_runtime.approvals()
    await async_runtime.decide(asked, "approve", by=BOSS)
    out = await async_runtime.resume(graph, "async")
    assert out["messages"][-1].text == "done"
    assert (await async_runtime.verify_audit()).intact
    assert bank.amounts() == [500]


def test_a_graph_of_a_blocking_runtime_runs_on_another_event_loop(bank: Bank) -> None:
    graph, config = bank.graph([call("pay", amount=5)]), bank.config()
    asyncio.run(graph.ainvoke({"messages": [("user", "go")]}, config))
    assert bank.amounts() == [5]


async def test_a_blocking_call_on_its_own_loop_is_refused_and_does_not_hang(async_runtime: AsyncRuntime) -> None:
    with pytest.raises(ConfigurationError, match="use the async method"):
        async_runtime.store.get(("note",), "n1")


def test_streaming_tells_of_every_step(bank: Bank) -> None:
    graph, config = bank.graph([call("pay", amount=5), call("steal")]), bank.config()
    told = list(graph.stream({"messages": [("user", "go")]}, config, stream_mode="custom"))
    assert [(one["step"], one["tool"]) for one in told] == [
        ("verify", "pay"), ("verify", "steal"), ("act", "pay"), ("act", "steal"),
    ]  # fmt: skip


def test_the_budget_stops_a_run_and_asks(bank: Bank) -> None:
    from bank import POLICY

    policy = POLICY.replace("steps: 50", "steps: 3")
    run = bank.run(*[[call("look", what=str(at))] for at in range(6)], policy=policy)
    assert run.asked.kind == "escalation"
    assert "the budget of 3 steps is used up" in run.asked.description


def test_many_threads_run_at_once(bank: Bank) -> None:
    from concurrent.futures import ThreadPoolExecutor

    # Made one after the other: LangChain silences a warning while it makes a tool, for all threads of the process.
    ready = [(bank.graph([call("pay", amount=at)]), bank.config(f"many-{at}")) for at in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        assert [out["messages"][-1].text for out in pool.map(lambda one: start(*one), ready)] == ["done"] * 8
    assert sorted(bank.amounts()) == list(range(1, 9))
    assert bank.runtime.verify_audit().intact
