"""It survives: clocks that are wrong or jump, the server's and its clients'. Only the server's ends a question."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from surviving import Clock, OwnServer, Town, journey, one_of_each, own_databases, town_on, work, wrong_clock

from bank import BOSS, start
from stateward import DecisionRefused, call
from stateward.testing.databases import Databases

ONCE_EACH = {"pay": 2, "renew": 1, "wire": 1, "post": 1}
YEARS = 365 * 5


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[Clock, OwnServer, Databases]]:
    """A server whose clock is wrong."""
    home = Path(tempfile.mkdtemp(prefix="sw"))
    clock = Clock(home / "clock")
    clock.put(0)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in clock.environment.items():
                patch.setenv(name, value)
            with own_databases(home / "pg", home) as (server, made):
                for name in clock.environment:
                    patch.delenv(name)
                yield clock, server, made
    finally:
        shutil.rmtree(home, ignore_errors=True)
        sweep_shared_memory()


def sweep_shared_memory() -> None:
    """What the library leaves behind of a process that was killed."""
    for left in Path("/dev/shm").glob("*faketime_s*_*"):
        if not Path("/proc", left.name.rpartition("_")[2]).exists():
            left.unlink(missing_ok=True)


@pytest.fixture
def clock(odd: tuple[Clock, OwnServer, Databases]) -> Iterator[Clock]:
    """The server's clock."""
    yield odd[0]
    odd[0].put(0)


@pytest.fixture
def town(odd: tuple[Clock, OwnServer, Databases], clock: Clock, tmp_path: Path) -> Iterator[Town]:
    with odd[2].fresh() as url, town_on(url, tmp_path, pool_size=4) as made:
        yield made


def server_days(town: Town) -> float:
    """By how many days the server's clock is wrong."""
    [row] = town.rows("select extract(epoch from clock_timestamp())::float8 as now")
    return (row["now"] - time.time()) / 86400


@pytest.mark.parametrize("days", [-YEARS, YEARS])
def test_a_server_whose_clock_is_years_off(town: Town, clock: Clock, days: float) -> None:
    clock.put(days)
    assert server_days(town) == pytest.approx(days, abs=0.1)
    journey(town, *one_of_each()).go()
    town.assert_once(**ONCE_EACH)


@pytest.mark.parametrize("seed", range(4))
def test_a_server_whose_clock_jumps_to_and_fro(town: Town, clock: Clock, seed: int) -> None:
    rng = Random(seed)

    def jump(*_: Any) -> None:
        clock.put(rng.choice([-YEARS, -30, -1, -0.01, 0, 0.01, 1, 30, YEARS]))

    town.thinks = town.during = town.keeps = jump
    case = journey(town, *one_of_each(), *one_of_each())
    case.go()
    assert case.errors == []
    town.assert_once(**{name: 2 * times for name, times in ONCE_EACH.items()})


@pytest.mark.parametrize("days", [-YEARS, -30, 1.9])
def test_a_question_is_not_over_before_its_time(town: Town, clock: Clock, days: float) -> None:
    run = town.run([call("pay", amount=500)])
    clock.put(days)
    assert run.asked.status == "pending"
    run.decide("approve")
    run.resume()
    assert town.amounts() == [500]
    assert town.runtime.verify_audit().intact


def test_a_question_is_over_when_the_server_says_so(town: Town, clock: Clock) -> None:
    run = town.run([call("pay", amount=500)])
    asked = run.asked
    clock.put(2.1)
    with pytest.raises(DecisionRefused):
        town.runtime.decide(asked, "approve", by=BOSS)
    assert town.runtime.approvals(thread=run.thread) == []
    clock.put(0)
    run.resume()
    assert town.amounts() == []
    assert town.runtime.verify_audit().intact


# Clients whose clock is wrong; the server's is right.


@dataclass
class Clients:
    """Processes that run one thread after the other, each with a clock of its own."""

    url: str
    home: Path
    script: list[Any]

    def work(self, do: str, days: float, **more: Any) -> dict[str, Any]:
        """One of them, whose clock is so many days off; what it prints."""
        ended = self.end(do, wrong_clock(days), **more)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def end(self, do: str, environment: dict[str, str], **more: Any) -> Any:
        """One of them, and how it ended."""
        job = {"url": self.url, "home": str(self.home), "thread": "clocks", "do": do, "script": self.script}
        return work(job | more, **environment)


@pytest.fixture
def right(database_url: str, tmp_path: Path) -> Iterator[Town]:
    """A town whose clock is right, for those who look at what the others did."""
    with town_on(database_url, tmp_path, pool_size=4) as made:
        yield made


def test_the_latest_state_is_the_latest_whatever_the_clients_clocks_say(right: Town, tmp_path: Path) -> None:
    script: list[Any] = []
    for at in range(1, 5):
        script += [["pay", at], f"paid {at}"]
    clients = Clients(right.url, tmp_path, script)
    for at, days in enumerate([YEARS, 0, -YEARS, 30], 1):
        out = clients.work("start", days, text=f"request {at}")
        assert [amount for _, amount, _ in out["ran"]] == [at]
        assert out["said"][-1] == f"paid {at}"
        assert [text for text in out["said"] if text.startswith("request")] == [f"request {n + 1}" for n in range(at)]
    graph: Any = right.graph([call("pay", amount=1)])
    state = graph.get_state(right.runtime.config("clocks"))
    assert state.values["messages"][-1].text == "paid 4"
    assert state.next == ()
    assert right.runtime.verify_audit().intact


@pytest.mark.parametrize("days", [YEARS, -YEARS])
def test_a_client_with_a_wrong_clock_ends_no_question(right: Town, tmp_path: Path, days: float) -> None:
    clients = Clients(right.url, tmp_path, [["pay", 500]])
    assert clients.work("start", -days)["waiting"] == 1
    assert clients.work("approve", days)["waiting"] == 0
    right.runtime.resume(right.graph([call("pay", amount=500)]), "clocks")
    right.assert_once(pay=1)


def test_a_client_whose_clock_is_behind_answers_no_question_that_is_over(right: Town, tmp_path: Path) -> None:
    graph = right.graph([call("pay", amount=500)])
    start(graph, right.config("clocks"))
    right.rows("update stateward.approval set expires_at = clock_timestamp()")
    assert Clients(right.url, tmp_path, [["pay", 500]]).end("approve", wrong_clock(-YEARS)).returncode != 0
    assert right.rows("select status from stateward.approval") == [{"status": "expired"}]
    right.runtime.resume(graph, "clocks")
    right.assert_once()


def test_a_client_whose_clock_jumps_while_it_runs(right: Town, tmp_path: Path) -> None:
    script = [[name, at] for at, name in enumerate(["pay", "renew", "wire", "post", "pay", "renew"], 1)]
    clients, clock = Clients(right.url, tmp_path, script), Clock(tmp_path / "clock")
    clock.put(0)
    ended = clients.end("start", clock.environment, jumps=[0, YEARS, -YEARS, 30, -30, 0, -YEARS])
    assert ended.returncode == 0, ended.stderr
    out = json.loads(ended.stdout)
    assert out["said"][-1] == "done"
    assert [amount for _, amount, _ in out["ran"]] == [1, 2, 3, 4, 5, 6]
    again = clients.work("resume", -2 * YEARS)
    assert (again["said"], again["ran"]) == (out["said"], [])
    assert right.runtime.verify_audit().intact


def test_a_crash_and_a_resume_years_before(right: Town, tmp_path: Path) -> None:
    clients = Clients(right.url, tmp_path, [["renew", 1], ["post", 2], ["renew", 3]])
    assert clients.end("die", wrong_clock(YEARS)).returncode == -signal.SIGKILL
    out = clients.work("resume", -YEARS)
    assert [amount for _, amount, _ in out["ran"]] == [1, 2, 3]
    assert out["said"][-1] == "done"
    assert len(right.keys("post")) == 1
    assert right.runtime.verify_audit().intact
