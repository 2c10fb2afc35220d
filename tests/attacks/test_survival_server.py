"""It survives: Postgres is restarted, or drops its connections, at any moment of a run.

A run goes on, or fails with an error that says so. Whoever goes on with the thread finds every effect once.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from surviving import (
    WRITES,
    Journey,
    OwnServer,
    Town,
    Wire,
    agent_journey,
    journey,
    kill_backends,
    once,
    one_of_each,
    own_databases,
    town_on,
)

from stateward import Principal, Runtime, Settings, StatewardError, call
from stateward.errors import DatabaseError
from stateward.testing.databases import Databases

Own = tuple[OwnServer, Databases]
ONCE_EACH = {"pay": 2, "renew": 1, "wire": 1, "post": 1}
OUTAGES = [pytest.param(0, id="back-at-once"), pytest.param(2.5, id="down-for-a-while")]


@pytest.fixture(scope="module")
def own() -> Iterator[Own]:
    """A server that may be restarted."""
    home = Path(tempfile.mkdtemp(prefix="sw"))
    try:
        with own_databases(home / "pg", home) as made:
            yield made
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def server(own: Own) -> OwnServer:
    return own[0]


@pytest.fixture
def town(own: Own, tmp_path: Path) -> Iterator[Town]:
    """A town on the server that may be restarted."""
    server, databases = own
    with databases.fresh() as url:
        try:
            with town_on(url, tmp_path, pool_size=4) as made:
                yield made
        finally:
            server.start()


def outage(server: OwnServer, seconds: float) -> Any:
    """What stops the server, once."""
    return once(server.restart if not seconds else lambda: server.go_down(seconds))


@pytest.mark.parametrize("seconds", OUTAGES)
@pytest.mark.parametrize("name", WRITES)
def test_a_restart_inside_a_write(town: Town, server: OwnServer, name: str, seconds: float) -> None:
    town.during = outage(server, seconds)
    case = journey(town, [call(name, amount=7)])
    case.go()
    town.assert_once(**{name: 1})


@pytest.mark.parametrize("seconds", OUTAGES)
@pytest.mark.parametrize("turn", range(6))
def test_a_restart_while_the_model_thinks(town: Town, server: OwnServer, turn: int, seconds: float) -> None:
    town.thinks = once(outage(server, seconds), lambda at: at == turn)
    journey(town, *one_of_each()).go()
    town.assert_once(**ONCE_EACH)


@pytest.mark.parametrize("seconds", OUTAGES)
@pytest.mark.parametrize("name", WRITES)
def test_a_restart_between_a_write_and_the_next_step(town: Town, server: OwnServer, name: str, seconds: float) -> None:
    town.keeps = outage(server, seconds)
    journey(town, [call(name, amount=7)], [call("renew", amount=8)]).go()
    town.assert_once(**({"renew": 1, name: 1} if name != "renew" else {"renew": 2}))


def test_a_restart_while_people_are_asked(town: Town, server: OwnServer) -> None:
    case = journey(town, [call("pay", amount=500)])
    out = case.graph.invoke({"messages": [("user", "go")]}, case.config)
    assert "__interrupt__" in out
    server.restart()
    (asked,) = town.runtime.approvals(thread=case.thread)
    server.restart()
    town.runtime.decide(asked, "approve", by=Principal("boss"))
    server.restart()
    case.go()
    town.assert_once(pay=1)


@pytest.mark.parametrize("where", ["thinks", "during"])
def test_an_agent_survives_a_restart(town: Town, server: OwnServer, where: str) -> None:
    setattr(town, where, outage(server, 1))
    agent_journey(town, *one_of_each()).go()
    town.assert_once(**ONCE_EACH)


def test_ten_runs_at_once_survive_a_restart(town: Town, server: OwnServer) -> None:
    cases = [journey(town, *one_of_each()) for _ in range(10)]
    writes = itertools.count(1)
    town.keeps = once(lambda: server.go_down(1), lambda: next(writes) == 12)
    with ThreadPoolExecutor(10) as pool:
        for done in [pool.submit(case.go) for case in cases]:
            done.result(120)
    town.assert_once(**{name: 10 * times for name, times in ONCE_EACH.items()})


# Connections that are killed one and all, as a failover or an administrator does.


@pytest.mark.parametrize("seed", range(6))
def test_killed_connections_at_moments_of_the_run(town: Town, seed: int) -> None:
    rng, killed = Random(seed), []

    def perhaps(*_: Any) -> None:
        if len(killed) < 6 and rng.random() < 0.5:
            killed.append(kill_backends(town.url))

    town.thinks = town.during = town.keeps = perhaps
    journey(town, *one_of_each()).go()
    assert len(killed) >= 3
    town.assert_once(**ONCE_EACH)


@pytest.mark.parametrize("seed", range(6))
def test_connections_killed_at_any_moment(town: Town, seed: int) -> None:
    rng, over, killed = Random(seed), threading.Event(), []

    def kill() -> None:
        while not over.wait(rng.uniform(0.01, 0.2)) and len(killed) < 15:
            killed.append(kill_backends(town.url))

    town.thinks = lambda _: time.sleep(0.05)
    killer = threading.Thread(target=kill)
    case = journey(town, *one_of_each(), *one_of_each())
    killer.start()
    try:
        case.go()
    finally:
        over.set()
        killer.join()
    assert len(killed) >= 3
    town.assert_once(**{name: 2 * times for name, times in ONCE_EACH.items()})


def test_a_login_of_one_call_that_is_killed_leaves_nothing_and_is_made_anew(town: Town) -> None:
    town.during = once(lambda: kill_backends(town.url))
    case = journey(town, [call("post", amount=7)])
    case.go()
    town.assert_once(post=1)
    assert town.rows("select rolname from pg_roles where rolname ~ '^stateward_call_'") == []


def test_a_worker_whose_connections_were_killed_still_counts_as_alive(town: Town, own: Own, tmp_path: Path) -> None:
    """Its write is under way: another worker that goes on with the thread must not do it a second time."""
    inside, go_on = threading.Event(), threading.Event()
    case = journey(town, [call("wire", amount=7)])
    with town_on(town.url, tmp_path) as other:
        other.ran = town.ran
        again = Journey(town=other, graph=other.graph([call("wire", amount=7)]), config=case.config)

        def linger() -> None:
            inside.set()
            go_on.wait(30)

        town.lingers = linger
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(case.go)
            assert inside.wait(30)
            kill_backends(town.url)
            threading.Event().wait(2)
            errors = _try_to_go_on(again)
            go_on.set()
            running.result(60)
        assert errors
    town.assert_once(wire=1)


def _try_to_go_on(case: Journey) -> list[Exception]:
    try:
        case.town.runtime.resume(case.graph, case.thread)
    except StatewardError as error:
        return [error]
    return []


@pytest.mark.parametrize("where", ["thinks", "during", "keeps", "lingers"])
def test_a_network_that_is_cut_and_a_server_that_does_not_notice(own: Own, tmp_path: Path, where: str) -> None:
    """The old sessions live on, and hold what they held: the sign of life among it."""
    folder = Path(tempfile.mkdtemp(prefix="sw"))
    with own[1].fresh() as url:
        wire = Wire(folder, url)
        try:
            with town_on(wire.url(url), tmp_path, pool_size=4) as town:
                cuts = itertools.count(1)
                setattr(town, where, lambda *_: wire.cut() if next(cuts) in (1, 3) else None)
                town.url = url
                began = time.monotonic()
                journey(town, *one_of_each()).go()
                assert time.monotonic() - began < 20
                town.assert_once(**ONCE_EACH)
        finally:
            wire.close()
            shutil.rmtree(folder, ignore_errors=True)


def test_an_outage_that_does_not_end_is_said_before_anything_happens(town: Town, server: OwnServer) -> None:
    case = journey(town, [call("pay", amount=7)])
    town.thinks = once(server.stop)
    try:
        with pytest.raises(StatewardError, match=r"Postgres|database"):
            case.graph.invoke({"messages": [("user", "go")]}, case.config)
        assert town.ran == []
    finally:
        server.start()
    case.go()
    town.assert_once(pay=1)


def test_a_runtime_that_finds_no_server_says_so(server: OwnServer, tmp_path: Path, own: Own) -> None:
    with own[1].fresh() as url:
        server.stop()
        try:
            with pytest.raises(DatabaseError, match="Check DATABASE_URL"):
                Runtime.open(settings=Settings(home=tmp_path, database_url=url))
        finally:
            server.start()
