"""It survives: more threads than connections, and threads that are slow or broken beside threads that are not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from surviving import Town, agent_journey, journey, one_of_each, town_on

from bank import BOOKS
from stateward import AsyncRuntime, Settings, StatewardError, call
from stateward.errors import SealBroken
from stateward.orchestrate.workflow import Graph

GO = {"messages": [("user", "go")]}
ONCE_EACH = {"pay": 2, "renew": 1, "wire": 1, "post": 1}


@pytest_asyncio.fixture
async def many(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    """A town for async code; the parameter says how many connections it has."""
    settings = Settings(home=tmp_path, database_url=database_url, pool_size=request.param)
    async with AsyncRuntime.connect(settings=settings) as runtime:
        await runtime.apply([("books", BOOKS)])
        yield Town(runtime=runtime, url=database_url)  # type: ignore[arg-type]


@pytest.fixture
def town(database_url: str, tmp_path: Path) -> Iterator[Town]:
    with town_on(database_url, tmp_path, pool_size=4) as made:
        yield made


@contextmanager
def row_lock(url: str, thread: str) -> Iterator[None]:
    """Somebody's psql session holds the row of a thread, and has gone to lunch."""
    with psycopg.connect(url) as connection:
        connection.execute("select from stateward.thread where thread_id = %s for update", [thread])
        yield
        connection.rollback()


async def run_all(town: Town, script: Any, number: int) -> list[dict[str, Any]]:
    """That many threads at once, each a short run."""
    return await run_graph(town, town.graph(*script), number)


async def run_graph(town: Town, graph: Graph, number: int) -> list[dict[str, Any]]:
    configs = [await town.config() for _ in range(number)]
    return await asyncio.gather(*(graph.ainvoke(GO, config) for config in configs))


async def assert_intact(town: Town) -> None:
    report = await town.runtime.verify_audit()  # type: ignore[misc]
    assert report.intact, report.breaks


@pytest.mark.parametrize("many", [2], indirect=True)
async def test_thirty_threads_on_two_connections(many: Town) -> None:
    outs = await asyncio.wait_for(run_all(many, [[call("pay", amount=5)], [call("renew", amount=6)]], 30), 90)
    assert [out["messages"][-1].text for out in outs] == ["done"] * 30
    assert (many.keys("pay").total(), len(many.keys("pay"))) == (30, 30)
    assert (many.keys("renew").total(), len(many.keys("renew"))) == (30, 30)
    await assert_intact(many)


@pytest.mark.parametrize("name", ["pay", "post"])
@pytest.mark.parametrize("many", [10], indirect=True)
async def test_two_hundred_threads_on_ten_connections(many: Town, name: str) -> None:
    outs = await asyncio.wait_for(run_all(many, [[call(name, amount=5)]], 200), 200)
    assert [out["messages"][-1].text for out in outs] == ["done"] * 200
    assert (many.keys(name).total(), len(many.keys(name))) == (200, 200)
    await assert_intact(many)


def test_thirty_blocking_callers_on_two_connections(database_url: str, tmp_path: Path) -> None:
    with town_on(database_url, tmp_path, pool_size=2) as town:
        cases = [journey(town, *one_of_each()) for _ in range(30)]
        with ThreadPoolExecutor(30) as pool:
            for done in [pool.submit(case.go) for case in cases]:
                done.result(200)
        assert [case.errors for case in cases] == [[]] * 30
        town.assert_once(**{name: 30 * times for name, times in ONCE_EACH.items()})


def test_a_locked_thread_does_not_hold_up_others(town: Town) -> None:
    slow = journey(town, [call("pay", amount=7)], thread="slow")
    others = [journey(town, [call("renew", amount=at)]) for at in range(20)]
    with ThreadPoolExecutor(21) as pool:
        with row_lock(town.url, "slow"):
            waiting = pool.submit(slow.go)
            for done in [pool.submit(case.go) for case in others]:
                done.result(60)
            assert not waiting.done()
            assert town.keys("pay").total() == 0
        waiting.result(60)
    town.assert_once(pay=1, renew=20)


def test_a_locked_thread_with_many_calls_at_once_does_not_hold_up_others(town: Town) -> None:
    calls = [call("renew", amount=at) for at in range(12)]
    slow = agent_journey(town, calls, thread="slow")
    others = [journey(town, [call("pay", amount=at + 1)]) for at in range(20)]
    with ThreadPoolExecutor(21) as pool:
        with row_lock(town.url, "slow"):
            waiting = pool.submit(slow.go)
            for done in [pool.submit(case.go) for case in others]:
                done.result(60)
            assert not waiting.done()
        waiting.result(60)
    town.assert_once(renew=12, pay=20)


@pytest.mark.parametrize("amount", [7, 700], ids=["allowed", "asked"])
def test_several_locked_threads_do_not_hold_up_others(town: Town, amount: float) -> None:
    """As many of them as there are connections."""
    slow = [journey(town, [call("pay", amount=amount)], thread=f"slow-{at}") for at in range(4)]
    others = [journey(town, [call("renew", amount=at)]) for at in range(20)]
    locks = [row_lock(town.url, case.thread) for case in slow]
    with ThreadPoolExecutor(24) as pool:
        for lock in locks:
            lock.__enter__()
        waiting = [pool.submit(case.go) for case in slow]
        try:
            for done in [pool.submit(case.go) for case in others]:
                done.result(60)
        finally:
            for lock in locks:
                lock.__exit__(None, None, None)
        for done in waiting:
            done.result(60)
    town.assert_once(pay=4, renew=20)


@pytest.mark.parametrize("many", [2], indirect=True)
async def test_tools_that_take_their_time_hold_up_nobody(many: Town) -> None:
    """More of them than there are connections, and than the event loop has helpers for plain functions."""
    number = min(32, (os.cpu_count() or 1) + 4) + 3
    inside, go_on, loop = asyncio.Semaphore(0), threading.Event(), asyncio.get_running_loop()
    quick = many.graph([call("pay", amount=5)])
    await run_graph(many, quick, 1)
    many.lingers = lambda: loop.call_soon_threadsafe(inside.release) and go_on.wait(60)
    slow = asyncio.create_task(run_all(many, [[call("wire", amount=7)]], number))
    try:
        await asyncio.wait_for(inside.acquire(), 30)
        await asyncio.wait_for(run_graph(many, quick, 20), 30)
        assert not slow.done()
    finally:
        go_on.set()
        await asyncio.wait([slow], timeout=60)
    await slow
    assert many.keys("pay").total() == 21
    assert (many.keys("wire").total(), len(many.keys("wire"))) == (number, number)


def test_a_broken_thread_does_not_hold_up_others(town: Town) -> None:
    broken = journey(town, [call("pay", amount=500)], thread="broken")
    broken.graph.invoke(GO, broken.config)
    others = [journey(town, [call("renew", amount=at)]) for at in range(10)]
    town.rows("update stateward.checkpoint set body = '\\x00' where thread_id = 'broken'")
    with ThreadPoolExecutor(11) as pool:
        refused = pool.submit(town.runtime.resume, broken.graph, "broken")
        for done in [pool.submit(case.go) for case in others]:
            done.result(60)
        with pytest.raises(SealBroken):
            refused.result(60)
    assert town.keys("pay").total() == 0
    assert town.keys("renew").total() == 10
    assert town.runtime.verify_audit().intact


def test_a_thread_whose_commits_are_refused_does_not_hold_up_others(town: Town) -> None:
    """The server refuses one thread's rows with an error, whoever they are committed together with."""
    town.rows(REFUSE_ONE)
    bad = journey(town, [call("pay", amount=7)], thread="bad")
    others = [journey(town, *one_of_each()) for _ in range(10)]
    with ThreadPoolExecutor(11) as pool:
        refused = pool.submit(bad.graph.invoke, GO, bad.config)
        for done in [pool.submit(case.go) for case in others]:
            done.result(60)
        with pytest.raises(StatewardError, match="bad"):
            refused.result(60)
    assert town.keys("pay").total() == 20
    assert all(not case.errors for case in others)
    town.rows("drop trigger refuse_one on stateward.checkpoint")
    bad.go()
    town.assert_once(**{name: 10 * times + (name == "pay") for name, times in ONCE_EACH.items()})


REFUSE_ONE = """
create function stateward.refuse_one() returns trigger language plpgsql as $$
begin raise exception 'this thread is refused'; end $$;
create trigger refuse_one before insert on stateward.checkpoint for each row
    when (new.thread_id = 'bad') execute function stateward.refuse_one();
"""
