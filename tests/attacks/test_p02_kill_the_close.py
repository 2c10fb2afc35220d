"""P2: a month-end close that is killed again and again posts every entry once and sends one mail.

The tables' own unique constraints are taken away first, so that what keeps it to once is the runtime. The same kills
are made on the same postings through a plain LangChain agent, to see that they bite.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from killing import OPEN_EFFECTS, PERIOD, THREAD, WORKER, Close, Closes, Mailbox, Posted, PostOffice, Tally, Zygote
from killing import kill_until_done as kill_until_done

from month_end.matching import reconcile
from month_end.proposals import propose
from month_end.records import parse_period, read_bank_csv, read_ledger_csv
from small_books import ENTRIES
from stateward import Runtime, Settings
from stateward.testing.databases import Databases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SEED = 20261031
KILLS, CLOSES = 100, 4
IN_WINDOW_AT_LEAST = 10
PLAIN_KILLS_AT_MOST = 150


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    errors = tmp_path_factory.mktemp("zygote") / "errors"
    with errors.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
        )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n", errors.read_text()
        yield Zygote(process=process, errors=errors)
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def closes(databases: Databases, zygote: Zygote, mailbox: Mailbox, tmp_path: Path) -> Iterator[Closes]:
    office = PostOffice(mailbox)
    office.start()
    yield Closes(databases=databases, zygote=zygote, smtp=office.address, folder=tmp_path)
    office.stop()


def test_a_hundred_kills_post_every_entry_once(closes: Closes, mailbox: Mailbox) -> None:
    rng, tally = Random(SEED), Tally()
    wanted, start, work = reference(closes, mailbox)

    while tally.kills < KILLS or tally.closes < CLOSES:
        with closes.prepared(f"close-{tally.closes}") as close:
            kill_until_done(close, rng, tally, start=start, work=work)
            assert_closed_once(close, mailbox, wanted)
            tally.note_close(close)

    print(f"\n{start=:.2f} s {work=:.2f} s {tally}")
    assert tally.in_window >= IN_WINDOW_AT_LEAST
    assert tally.restarted > 0


def test_killed_while_it_makes_its_tables(closes: Closes, mailbox: Mailbox) -> None:
    rng, tally = Random(SEED), Tally()
    with closes.unprepared("first-start") as close:
        for _ in range(12):
            close.attempt(kill_after=rng.uniform(0.02, 0.6))
        kill_until_done(close, rng, tally, start=0.4, work=3)
        assert_closed_once(close, mailbox, planned(close))


def test_plain_the_same_kills_double_the_postings_falls(closes: Closes) -> None:
    rng, tally, doubles = Random(SEED), Tally(), 0
    with closes.prepared("plain-reference", plain=True) as close:
        job = {"entries": plain_entries(close)}
        close.job.update(job)
        seconds = close.finish()
        assert sum(close.posted().values()) == ENTRIES

    while not doubles and tally.kills < PLAIN_KILLS_AT_MOST:
        with closes.prepared(f"plain-{tally.closes}", plain=True, **job) as close:
            while close.attempt(kill_after=rng.uniform(0, seconds)) != 0:
                tally.kills += 1
            tally.closes += 1
            doubles = sum(close.posted().values()) - ENTRIES

    print(f"\n{doubles} doubled postings after {tally.kills} kills in {tally.closes} runs")
    assert doubles > 0


def reference(closes: Closes, mailbox: Mailbox) -> tuple[Posted, float, float]:
    """A close that nobody kills: what it posts, and how long starting and working take."""
    with closes.prepared("reference") as close:
        whole = close.finish()
        start = close.finish()  # it is closed: nothing is left to do
        wanted = close.posted()
        assert wanted == planned(close)
        assert_closed_once(close, mailbox, wanted)
    return wanted, start, whole - start


def planned(close: Close) -> Posted:
    """What the domain code proposes, computed without any runtime."""
    return Posted((one.key, one.amount) for one in proposals(close))


def proposals(close: Close) -> Any:
    month = parse_period(PERIOD)
    bank, ledger = (
        read_bank_csv(close.job["input"]["bank"], month),
        read_ledger_csv(close.job["input"]["ledger"], month),
    )
    return propose(reconcile(bank, ledger, month))


def plain_entries(close: Close) -> list[dict[str, Any]]:
    return [{"period": PERIOD, "proposal": jsonable(asdict(one))} for one in proposals(close)]


def jsonable(proposal: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else str(value) for name, value in proposal.items()}


def assert_closed_once(close: Close, mailbox: Mailbox, wanted: Posted) -> None:
    assert close.posted() == wanted
    assert len(wanted) == sum(wanted.values()) == ENTRIES
    assert len(mailbox.messages) == 1, mailbox.messages
    mailbox.messages.clear()
    assert close.rows("select version from month_end.close_pack") == [{"version": 1}]
    assert close.number(OPEN_EFFECTS) == 0
    assert close.number("select count(*) from pg_stat_activity where usename like 'stateward_call_%'") == 0
    assert (
        close.number(
            "select count(*) from (select action_id from stateward.ledger where kind = 'effect.settled'"
            " group by action_id having count(*) > 1) as twice"
        )
        == 0
    )
    with Runtime.open(settings=Settings(home=Path(close.job["home"]), database_url=close.url)) as runtime:
        report = runtime.verify_audit()
        assert not report.breaks
        assert report.threads == 1
        assert runtime.find_thread(THREAD).status == "answered"
