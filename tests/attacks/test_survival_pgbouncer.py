"""It survives: PgBouncer in transaction mode between us and Postgres, where no session outlasts a transaction."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pooler import Pooler, pooler, version
from surviving import WRITES, Journey, Town, agent_journey, journey, kill_backends, once, one_of_each, work

from bank import BOOKS, BOSS, Bank, Killed, start
from stateward import AsyncRuntime, Principal, Runtime, Settings, call
from stateward.errors import DatabaseError
from stateward.testing.databases import Databases

ONCE_EACH = {"pay": 2, "renew": 1, "wire": 1, "post": 1}
# An old one cannot prepare statements for its clients at all, whatever it is told.
KINDS = {"as-it-is": {}} | ({"nothing-prepared": {"max_prepared_statements": "0"}} if version() >= (1, 21) else {})


@pytest.fixture(scope="module", params=KINDS)
def bouncer(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Pooler]:
    """A PgBouncer before the session's server: with its own settings, and without prepared statements."""
    folder = Path(tempfile.mkdtemp(prefix="sw"))
    try:
        with pooler(folder, databases.uri, **KINDS[request.param]) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pooled(bouncer: Pooler, database_url: str, tmp_path: Path) -> Settings:
    """Settings that go through it."""
    url = bouncer.url(database_url)
    return Settings(home=tmp_path, database_url=url, direct_url=database_url, pool_size=8)


@pytest.fixture
def town(pooled: Settings, database_url: str) -> Iterator[Town]:
    with Runtime.open(settings=pooled) as runtime:
        runtime.apply([("books", BOOKS)])
        yield Town(runtime=runtime, url=database_url)


def test_every_kind_of_write_and_an_approval(town: Town) -> None:
    case = journey(town, *one_of_each())
    case.go()
    assert case.errors == []
    town.assert_once(**ONCE_EACH)


def test_an_agent_with_calls_at_once(town: Town) -> None:
    calls = [call("renew", amount=at) for at in range(8)] + [call("pay", amount=500), call("post", amount=3)]
    case = agent_journey(town, calls)
    case.go()
    assert case.errors == []
    town.assert_once(renew=8, pay=1, post=1)


@pytest.mark.parametrize("decision", ["approve", "edit", "reject", "respond"])
def test_each_decision(town: Town, decision: Any) -> None:
    run = Bank(runtime=town.runtime, url=town.url).run([call("pay", amount=500)])
    run.decide(decision, reason="because", arguments={"amount": 300})
    run.resume()
    if decision == "edit":
        run.decide("approve", by=Principal("chief"))
        run.resume()
    assert run.bank.amounts() == {"approve": [500], "edit": [300]}.get(decision, [])
    assert town.runtime.find_thread(run.thread).status == "answered"
    assert town.runtime.verify_audit().intact


@pytest.mark.parametrize("name", WRITES)
def test_a_crash_and_a_resume(town: Town, name: str) -> None:
    def die() -> None:
        raise Killed

    town.during = once(die)
    case = journey(town, [call(name, amount=7)])
    with pytest.raises(Killed):
        start(case.graph, case.config)
    case.go()
    town.assert_once(**{name: 1})


@pytest.mark.parametrize("name", WRITES)
def test_a_killed_worker_is_dead_and_a_living_one_is_not(town: Town, pooled: Settings, name: str) -> None:
    """Its sign of life ends with it: held through the pooler, it would stay behind on a session that lives on."""
    job = {"url": pooled.database_url, "direct": pooled.direct_url, "home": str(pooled.home), "thread": "killed"}
    ended = work({**job, "do": "die", "script": [[name, 7]]})
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    wait_until_nobody_lives(town)
    case = Journey(town=town, graph=town.graph([call(name, amount=7)]), config=town.config("killed"))
    town.runtime.resume(case.graph, case.thread)
    # What the killed worker did is known to nobody here, so a person is asked, or the other side, which did not see it.
    asked = [one.kind for one in town.runtime.approvals(thread="killed")]
    assert asked == (["outcome"] if name == "pay" else [])
    assert town.keys(name).total() == (name != "pay")
    assert town.runtime.verify_audit().intact


def wait_until_nobody_lives(town: Town) -> None:
    """The server notices a moment later that a process is gone."""
    locks = "select 1 from pg_locks where locktype = 'advisory' and classid = 21335 and database = "
    deadline = time.monotonic() + 10
    while town.rows(locks + "(select oid from pg_database where datname = current_database())"):
        assert time.monotonic() < deadline, "its sign of life outlives it"
        time.sleep(0.01)


def test_memory(town: Town) -> None:
    seen: list[Any] = []

    async def keep(state: Any, step: Any) -> None:
        await step.remember("note", "n1", text="paid the 17th")
        seen.extend(await step.recall("note", query="17th"))

    town.run([call("look", what="x")], prepare=lambda flow: flow.retrieve(keep))
    assert [item.key for item in seen] == ["n1"]
    assert town.runtime.verify_audit().intact


def test_the_login_of_one_call_goes_past_it(town: Town, bouncer: Pooler) -> None:
    """PgBouncer logs in as one user; the login's own rights would be lost, and with them what they keep apart."""
    who: list[Any] = []

    def look() -> None:
        who.extend(town.rows("select usename from pg_stat_activity where usename like 'stateward_call_%%'"))

    town.during = look
    journey(town, [call("post", amount=7)]).go()
    assert len(who) == 1
    town.assert_once(post=1)


def test_forty_threads_at_once(town: Town) -> None:
    cases = [journey(town, *one_of_each()) for _ in range(40)]
    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(case.go) for case in cases]:
            done.result(200)
    assert [case.errors for case in cases] == [[]] * 40
    town.assert_once(**{name: 40 * times for name, times in ONCE_EACH.items()})


def test_the_chain_is_checked_while_others_write(town: Town) -> None:
    cases = [journey(town, *one_of_each()) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(case.go) for case in cases]
        while not all(done.done() for done in running):
            assert town.runtime.verify_audit().intact
        for done in running:
            done.result(1)
    town.assert_once(**{name: 4 * times for name, times in ONCE_EACH.items()})


def test_many_who_migrate_at_once_migrate_once(bouncer: Pooler, databases: Databases, tmp_path: Path) -> None:
    with databases.empty() as url:
        settings = Settings(home=tmp_path, database_url=bouncer.url(url), direct_url=url, pool_size=2)

        async def connect() -> None:
            async with AsyncRuntime.connect(settings=settings, migrations=[("books", BOOKS)]):
                pass

        async def all_at_once() -> None:
            await asyncio.gather(*(connect() for _ in range(6)))

        asyncio.run(all_at_once())
        with psycopg.connect(url) as connection:
            names = [name for (name,) in connection.execute("select name from stateward.migration")]
    assert len(names) == len(set(names))
    assert "books" in names


@pytest.mark.parametrize("where", ["thinks", "during", "keeps"])
def test_it_is_restarted_in_the_middle(town: Town, bouncer: Pooler, where: str) -> None:
    setattr(town, where, once(bouncer.restart))
    journey(town, *one_of_each()).go()
    town.assert_once(**ONCE_EACH)


@pytest.mark.parametrize("where", ["thinks", "during", "keeps"])
def test_the_connections_behind_it_are_killed(town: Town, where: str) -> None:
    setattr(town, where, once(lambda: kill_backends(town.url)))
    journey(town, *one_of_each()).go()
    town.assert_once(**ONCE_EACH)


def test_without_a_direct_address_it_is_noticed_at_the_start(pooled: Settings) -> None:
    with pytest.raises(DatabaseError, match="STATEWARD_DIRECT_URL"):
        Runtime.open(settings=replace(pooled, direct_url=""))


def test_a_direct_address_of_another_database_is_noticed_at_the_start(pooled: Settings, databases: Databases) -> None:
    with databases.empty() as other, pytest.raises(DatabaseError, match="another database"):
        Runtime.open(settings=replace(pooled, direct_url=other))


def test_a_pooler_in_session_mode_is_its_own_direct_address(database_url: str, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sw"))
    try:
        with pooler(folder, database_url, pool_mode="session", default_pool_size="20") as made:
            url = made.url(database_url)
            settings = Settings(home=tmp_path, database_url=url, direct_url=url, pool_size=4)
            with Runtime.open(settings=settings) as runtime:
                runtime.apply([("books", BOOKS)])
                run = Town(runtime=runtime, url=database_url).run([call("pay", amount=500)])
                run.decide("approve", by=BOSS)
                run.resume()
                assert run.bank.amounts() == [500]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_environment_names_the_direct_address() -> None:
    given = {"DATABASE_URL": "postgresql://pooled", "STATEWARD_DIRECT_URL": "postgresql://direct"}
    settings = Settings.from_environment(given)
    assert (settings.database_url, settings.direct_url) == ("postgresql://pooled", "postgresql://direct")
