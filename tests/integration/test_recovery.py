"""What a killed process leaves behind, and what the next one makes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bank import BOOKS, BOSS, Bank, Started, texts
from stateward import Runtime, Settings, call
from stateward.testing.databases import Databases

CLASSES = ("pay", "renew", "wire", "post")
WORKER = Path(__file__).with_name("killed_worker.py")


@pytest.fixture(scope="module")
def killed(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """A bank whose worker was killed with SIGKILL inside one tool of each class; nothing has resumed yet."""
    home = tmp_path_factory.mktemp("home")
    with databases.fresh() as url:
        settings = Settings(home=home, database_url=url)
        with Runtime.open(settings=settings, migrations=[("books", BOOKS)]) as runtime:
            command = [sys.executable, str(WORKER), url, str(home), *CLASSES]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
            assert ended.stdout.split("\n")[:-1] == [f"{name} 9" for name in CLASSES], ended.stderr
            yield Bank(runtime=runtime, url=url)


def resumed(bank: Bank, name: str) -> Started:
    graph = bank.graph([call(name, amount=5)])
    run = Started(bank=bank, graph=graph, config=bank.runtime.config(f"killed-{name}"), out={})
    assert run.effects()[0]["status"] == "reserved"
    run.resume()
    return run


def test_the_books_hold_the_transaction_once(killed: Bank) -> None:
    assert killed.rows("select * from books.entry") == []
    run = resumed(killed, "post")
    assert [(row["attempt"], row["amount"]) for row in killed.rows("select * from books.entry")] == [(2, 5)]
    assert run.kinds[-4:] == ["effect.reserved", "effect.restarted", "effect.settled", "thread.answered"]


def test_the_idempotent_call_is_repeated_with_its_key(killed: Bank) -> None:
    run = resumed(killed, "renew")
    assert [key for name, _, key in killed.ran if name == "renew"] == [run.effects()[0]["key"]]
    assert run.effects()[0]["attempt"] == 2


def test_the_other_side_is_asked(killed: Bank) -> None:
    run = resumed(killed, "wire")
    assert killed.amounts("wire") == []
    assert texts(run.out) == [f'{{"found": "{run.effects()[0]["key"]}"}}']


def test_a_person_is_asked_about_the_rest(killed: Bank) -> None:
    run = resumed(killed, "pay")
    assert killed.amounts() == []
    assert run.asked.kind == "outcome"
    run.decide("done", by=BOSS)
    run.resume()
    assert killed.amounts() == []
    assert run.effects()[0]["status"] == "settled"


def test_the_ledger_of_all_of_it_is_intact(killed: Bank) -> None:
    assert killed.runtime.verify_audit().intact
    assert len(killed.runtime.threads()) == len(CLASSES)


def test_the_login_that_a_dead_worker_left_settles_nothing(killed: Bank) -> None:
    (effect,) = killed.rows("update stateward.effect set attempt = attempt + 1 where tool = 'post' returning *")
    left = f"^stateward_call_{effect['action_id']}_1_"
    (login,) = killed.rows("select rolname from pg_roles where rolname ~ %s and rolvaliduntil > now()", left)
    with psycopg.connect(killed.url, autocommit=True) as connection:
        connection.execute(f"set session authorization {login['rolname']}")
        with pytest.raises(psycopg.Error, match="no longer owns its effect"):
            connection.execute("select stateward.settle_here('{}')")
