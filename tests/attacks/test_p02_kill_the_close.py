"""P2: a month-end close that is killed a hundred times posts every entry once and sends one mail.

The tables' own unique constraints are taken away first, so that what keeps it to once is the runtime. The same kills
are made on the same postings through a plain LangChain agent, to see that they bite.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from month_end.books import MIGRATIONS
from month_end.matching import reconcile
from month_end.proposals import propose
from month_end.records import parse_period, read_bank_csv, read_ledger_csv
from psycopg.rows import dict_row
from small_books import ENTRIES, write_small_books

from stateward import Runtime, Settings
from stateward.testing.databases import Databases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SEED = 20261031
CLOSES, KILLS_EACH = 5, 24
WINDOW_KILLS = 10  # at least so many have to hit a write between its reservation and its settlement
PERIOD, THREAD = "2026-10", "close-1"
WORKER = Path(__file__).with_name("close_worker.py")

# The constraint that the posting names stays in name only, and the others go: nothing but the runtime prevents doubles.
# A posting takes a moment, as it does in a ledger that is not on the same machine.
WITHOUT_A_NET = """
alter table month_end.journal_entry
    drop constraint one_entry_for_a_variance, drop constraint journal_entry_pkey, drop constraint journal_entry_key_key,
    add constraint one_entry_for_a_variance unique (period, variance, posted_at);
alter table month_end.mailing drop constraint mailing_pkey, drop constraint mailing_message_id_key;
create function month_end.linger() returns trigger language plpgsql as $$
begin
    perform pg_sleep(0.02);
    return new;
end $$;
create trigger linger before insert on month_end.journal_entry for each row execute function month_end.linger();
"""


@dataclass
class Mailbox:
    """A mail server that remembers what it took, and how many are talking to it."""

    talking: int = 0
    messages: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        head = (envelope.content or b"").split(b"\r\n\r\n")[0].decode()  # type: ignore[union-attr, arg-type]
        self.messages += [line.split("<")[1].rstrip(">") for line in head.splitlines() if line.startswith("Message-ID")]
        return "250 taken"

    async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, address: str) -> str:  # noqa: N802
        # A killed sender's last bytes may still be on their way: answer when nobody else is talking.
        while self.talking > 1:
            await asyncio.sleep(0.01)
        return "250 taken" if address in self.messages else "550 never seen"


class CountingSMTP(SMTP):
    def connection_made(self, transport: Any) -> None:
        self.event_handler.talking += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.talking -= 1
        super().connection_lost(error)


class PostOffice(Controller):
    def factory(self) -> SMTP:
        return CountingSMTP(self.handler, hostname="localhost")


@dataclass(frozen=True, kw_only=True)
class Zygote:
    """A process that has imported everything, and forks a worker for each job."""

    process: subprocess.Popen[str]
    errors: Path

    def run(self, job: dict[str, Any], *, kill_after: float | None = None) -> int:
        """Run a worker to its end or to its kill; gives how it ended."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({**job, "kill_after": kill_after}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the zygote is gone: {self.said()}"
        return int(line)

    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8", errors="replace")[-6000:]


@dataclass
class Tally:
    """What the kills hit."""

    kills: int = 0
    in_window: int = 0
    ended_before: int = 0
    errors: int = 0
    restarts: int = 0
    asked: int = 0
    closes: int = 0
    where: Counter[str] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    errors = tmp_path_factory.mktemp("zygote") / "errors"
    with errors.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
        )
    with process:
        yield Zygote(process=process, errors=errors)
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    office = PostOffice(box, hostname="127.0.0.1", port=0)
    office.start()
    box.address = "127.0.0.1:%d" % office.server.sockets[0].getsockname()[1]
    yield box
    office.stop()


@dataclass(frozen=True, kw_only=True)
class Close:
    """One close on a database of its own."""

    url: str
    zygote: Zygote
    job: dict[str, Any]

    def attempt(self, kill_after: float | None = None) -> int:
        return self.zygote.run(self.job, kill_after=kill_after)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def number(self, query: str) -> int:
        return int(next(iter(self.rows(query)[0].values())))

    def posted(self) -> Counter[tuple[str, Decimal]]:
        return Counter((row["variance"], row["amount"]) for row in self.rows("select * from month_end.journal_entry"))
