"""A server of your own: what the how-to gives to Stateward's login is all that it needs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from bank import BOOKS, BOSS, Bank, texts
from stateward import Runtime, Settings, call
from stateward.adapters.embedded import EmbeddedServer

# As in docs/howto/run-on-your-postgres.md.
FIRST = """
create role stateward login createrole password 'secret';
create database stateward owner stateward;
"""
SECOND = """
create role second login createrole password 'secret';
create database second owner second;
"""
GRANT = "grant stateward_call, bank_writer to second with admin option"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that Stateward has never seen."""
    home = Path(tempfile.mkdtemp(prefix="sw"))
    try:
        with EmbeddedServer(home / "pg", durable=False) as server:
            yield server.start()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def administrate(server: str, statements: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        for one in filter(str.strip, statements.split(";")):
            connection.execute(one)  # pyright: ignore[reportArgumentType, reportCallIssue]


def pays_and_posts(server: str, name: str, home: Path) -> list[str]:
    """A run with an approval and a login of one call, all as this login; what the tools say."""
    url = make_conninfo(server, dbname=name, user=name, password="secret")
    with Runtime.open(settings=Settings(home=home, database_url=url, pool_size=4)) as runtime:
        runtime.apply([("books", BOOKS)])
        bank = Bank(runtime=runtime, url=url)
        run = bank.run([call("pay", amount=500), call("post", amount=5)])
        run.decide("approve", by=BOSS)
        said = texts(run.resume())
        assert bank.amounts() == [500]
        assert runtime.verify_audit().intact
    return said


def test_a_login_that_may_create_roles_and_owns_its_database_is_enough(server: str, tmp_path: Path) -> None:
    administrate(server, FIRST)
    assert '{"posted": 5.0}' in pays_and_posts(server, "stateward", tmp_path)


def test_a_second_login_of_the_same_server_has_to_be_given_the_groups_of_the_first(server: str, tmp_path: Path) -> None:
    administrate(server, SECOND)
    said = pays_and_posts(server, "second", tmp_path)
    assert [one for one in said if "no login could be made" in one and "ADMIN option" in one]
    administrate(server, GRANT + "; drop database second with (force); create database second owner second")
    assert '{"posted": 5.0}' in pays_and_posts(server, "second", tmp_path)
