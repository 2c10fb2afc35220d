"""P2: what may be spent is spent at most once: nobody gets past a limit by coming at the same moment, late, or again.

The control judges as one would without the lock, in the same race, and overspends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bank import POLICY, Bank, Killed, Started, start, texts
from stateward import call

WORKER = Path(__file__).parent / "limits_worker.py"
EACH = 20  # threads of each process; each wants to pay ten
DAILY = 'history.sum("amount", "24h") + args.amount <= 100'
LIMIT = f"    limit: [{{keep: '{DAILY}', because: the daily limit}}]\n    ask:\n"
ASKED = POLICY.replace("    ask:\n", LIMIT, 1).replace("args.amount > 100, by", "args.amount >= 60, by")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (DAILY, 10),
        ('history.count("24h") < 7', 7),
        ('history.subject.sum("amount", "24h") + args.amount <= 50', 10),
        ('!history.principal.exists("1h")', 1),
        ('history.thread.count("24h") < 1', 2 * EACH),
    ],
)
def test_processes_that_race_do_not_spend_the_last_of_a_limit_twice(
    database_url: str, tmp_path: Path, keep: str, expected: int
) -> None:
    paid = race(database_url, tmp_path, keep)
    assert paid == expected == let_through(database_url)


@pytest.mark.slow
def test_control_without_the_lock_the_same_race_overspends(database_url: str, tmp_path: Path) -> None:
    assert race(database_url, tmp_path, DAILY, naive=True) > 10


def race(url: str, home: Path, keep: str, *, naive: bool = False) -> int:
    """How many payments two processes made, that started at the same moment; each is about a subject of its own."""
    jobs = [
        {
            "url": url,
            "home": str(home),
            "naive": naive,
            "keep": keep,
            "subject": f"customer:{at}",
            "threads": [f"{at}-{n}" for n in range(EACH)],
        }
        for at in range(2)
    ]
    command = [sys.executable, "-W", "error", str(WORKER)]
    workers = [
        subprocess.Popen([*command, json.dumps(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for job in jobs
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(len(workers)) as pool:
        said = list(pool.map(lambda worker: worker.communicate("go\n", timeout=120)[0], workers))
    assert [worker.returncode for worker in workers] == [0, 0]
    return sum(len(json.loads(one)) for one in said)


def let_through(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from stateward.effect where status = 'settled'").fetchone()
    return row[0] if row else 0


# What a person approves counts when it is used, however long that takes.


def long_ago(bank: Bank, run: Started) -> None:
    """The thread's verdicts are of two days ago."""
    change = "update stateward.action set created_at = created_at - interval '2 days' where thread_id = %s"
    bank.rows(change, run.thread)


def test_what_is_approved_days_later_is_held_against_what_was_done_since(bank: Bank) -> None:
    late = bank.run([call("pay", amount=60)], policy=ASKED)
    long_ago(bank, late)
    bank.run([call("pay", amount=50)], policy=ASKED)
    late.decide("approve")
    assert texts(late.resume()) == ["the daily limit"]
    assert bank.amounts() == [50]
    assert [row["status"] for row in late.actions()] == ["abandoned"]
    assert "action.withdrawn" in late.kinds
    late.resume()
    assert bank.amounts() == [50]


def test_what_is_approved_within_the_limit_runs(bank: Bank) -> None:
    late = bank.run([call("pay", amount=60)], policy=ASKED)
    long_ago(bank, late)
    bank.run([call("pay", amount=40)], policy=ASKED)
    late.decide("approve")
    late.resume()
    assert bank.amounts() == [40, 60]


def test_of_two_that_were_approved_and_go_on_at_once_one_runs(bank: Bank) -> None:
    two: list[Started] = []
    for _ in range(2):
        two.append(bank.run([call("pay", amount=60)], policy=ASKED))
        long_ago(bank, two[-1])
    for one in two:
        one.decide("approve")
    with ThreadPoolExecutor(2) as pool:
        said = sorted(texts(out)[0] for out in pool.map(lambda one: one.resume(), two))
    assert bank.amounts() == [60]
    assert said[0] == "the daily limit"


def test_what_waits_is_kept_free_for_it(bank: Bank) -> None:
    waits = bank.run([call("pay", amount=60)], policy=ASKED)
    second = bank.run([call("pay", amount=50)], policy=ASKED)
    assert texts(second.out) == ["denied: the daily limit"]
    waits.decide("reject", reason="no")
    bank.run([call("pay", amount=50)], policy=ASKED)
    assert bank.amounts() == [50]


def test_an_edit_that_raises_is_held_against_the_limit(bank: Bank) -> None:
    bank.run([call("pay", amount=30)], policy=ASKED)
    run = bank.run([call("pay", amount=60)], policy=ASKED)
    run.decide("edit", arguments={"amount": 71})
    assert "denied: the daily limit" in texts(run.resume())
    other = bank.run([call("pay", amount=60)], policy=ASKED)
    other.decide("edit", arguments={"amount": 50})
    other.resume()
    assert bank.amounts() == [30, 50]


def test_a_turn_of_several_calls_sees_those_before(bank: Bank) -> None:
    run = bank.run([call("pay", amount=40), call("pay", amount=40), call("pay", amount=40)], policy=ASKED)
    assert texts(run.out)[-1] == "denied: the daily limit"
    assert bank.amounts() == [40, 40]


def test_a_permit_that_a_crash_left_is_held_against_what_was_done_since(bank: Bank) -> None:
    from stateward.orchestrate.steps import Turn

    performed, graph, config = Turn.act, bank.graph([call("pay", amount=50)], policy=ASKED), bank.config()

    async def die(*_: Any) -> Any:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Turn, "act", die)
        with pytest.raises(Killed):
            start(graph, config)
    assert Turn.act is performed
    cut_off = Started(bank=bank, graph=graph, config=config, out={})
    long_ago(bank, cut_off)
    bank.rows("update stateward.action set cleared_at = cleared_at - interval '2 days'")
    bank.run([call("pay", amount=55)], policy=ASKED)
    assert texts(cut_off.resume()) == ["the daily limit"]
    assert bank.amounts() == [55]
