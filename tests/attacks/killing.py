"""What the kill tests need: a zygote of workers, a mail server that remembers, a close on a database of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from psycopg.rows import dict_row

from month_end.books import MIGRATIONS
from small_books import write_small_books
from stateward import Runtime, Settings
from stateward.testing.databases import Databases

WORKER = Path(__file__).with_name("close_worker.py")
PERIOD, THREAD = "2026-10", "close-1"
Posted = Counter[tuple[str, Decimal]]

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

# What the last worker left of a write: reserved, or lost and not yet decided.
OPEN_EFFECTS = "select count(*) from stateward.effect where status in ('reserved', 'unknown')"
IN_WINDOW = "select count(*) from stateward.effect where status = 'reserved'"
LAST_ENTRY = "select kind || coalesce(' ' || tool, '') as last from stateward.ledger order by seq desc limit 1"


@dataclass
class Mailbox:
    """A mail server that remembers what it took, and how many are talking to it."""

    talking: int = 0
    messages: list[str] = field(default_factory=list[str])

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        head = envelope.content.split(b"\r\n\r\n")[0].decode()
        self.messages += [line.partition(" ")[2] for line in head.splitlines() if line.startswith("Message-ID:")]
        return "250 taken"

    async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, address: str) -> str:
        # A killed sender's last bytes may still be on their way: answer when nobody else is talking.
        while self.talking > 1:  # noqa: ASYNC110  it changes in callbacks of this loop
            await asyncio.sleep(0.01)
        return "250 taken" if f"<{address.strip('<>')}>" in self.messages else "550 never seen"


class PostOffice(Controller):
    """Serves a mailbox on a free port."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox, hostname="127.0.0.1", port=_free_port())

    @property
    def address(self) -> str:
        return f"{self.hostname}:{self.port}"

    def factory(self) -> SMTP:
        return _CountingSMTP(self.handler)


class _CountingSMTP(SMTP):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.event_handler.talking += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.talking -= 1
        super().connection_lost(error)


@dataclass(frozen=True, kw_only=True)
class Zygote:
    """A process that has imported everything, and forks a worker for each job."""

    process: subprocess.Popen[str]
    errors: Path

    def run(self, job: dict[str, Any], kill_after: float | None) -> int:
        """Run a worker to its end or to its kill, and say how it ended."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({**job, "kill_after": kill_after}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the zygote is gone: {self.said()}"
        return int(line)

    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8", errors="replace")[-6000:]


@dataclass(frozen=True, kw_only=True)
class Close:
    """One close on a database of its own, gone on with by worker after worker."""

    url: str
    folder: Path
    zygote: Zygote
    job: dict[str, Any]

    def attempt(self, kill_after: float | None = None) -> int:
        return self.zygote.run(self.job, kill_after)

    def finish(self) -> float:
        """Run to the end without a kill; gives the seconds."""
        began = time.monotonic()
        assert self.attempt() == 0, self.zygote.said()
        return time.monotonic() - began

    def rows(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def number(self, query: str) -> int:
        return int(next(iter(self.rows(query)[0].values())))

    def posted(self) -> Posted:
        return Counter((row["variance"], row["amount"]) for row in self.rows("select * from month_end.journal_entry"))


@dataclass(frozen=True, kw_only=True)
class Closes:
    """Makes closes, one after the other."""

    databases: Databases
    zygote: Zygote
    smtp: str
    folder: Path

    @contextmanager
    def prepared(self, name: str, *, plain: bool = False, **more: Any) -> Iterator[Close]:
        """A close on a database with all tables, whose constraints would not stop a double."""
        with self.databases.fresh() as url:
            with Runtime.open(settings=Settings(home=self.folder / "home", database_url=url)) as runtime:
                runtime.apply(MIGRATIONS)
            with psycopg.connect(url) as connection:
                connection.execute(WITHOUT_A_NET)
            yield self._close(url, name, plain=plain, **more)

    @contextmanager
    def unprepared(self, name: str) -> Iterator[Close]:
        """A close on an empty database: the first worker makes the tables."""
        with self.databases.empty() as url:
            yield self._close(url, name, plain=False)

    def _close(self, url: str, name: str, **more: Any) -> Close:
        folder = self.folder / name
        books = write_small_books(folder, period=PERIOD)
        given = {"period": PERIOD, "bank": str(books.bank), "ledger": str(books.ledger), "out": str(folder / "out")}
        job = {
            "url": url,
            "home": str(self.folder / "home"),
            "smtp": self.smtp,
            "thread": THREAD,
            "input": {**given, "mail_to": ["controller@example.com"]},
            **more,
        }
        return Close(url=url, folder=folder, zygote=self.zygote, job=job)


@dataclass
class Tally:
    """What the kills hit."""

    closes: int = 0
    kills: int = 0
    in_window: int = 0
    restarted: int = 0
    asked: int = 0
    after: Counter[str] = field(default_factory=Counter[str])

    def note_kill(self, close: Close) -> None:
        self.kills += 1
        self.in_window += close.number(IN_WINDOW)
        last = close.rows(LAST_ENTRY)
        self.after[last[0]["last"] if last else "nothing yet"] += 1

    def note_close(self, close: Close) -> None:
        self.closes += 1
        self.restarted += close.number("select count(*) from stateward.ledger where kind = 'effect.restarted'")
        self.asked += close.number("select count(*) from stateward.approval where kind = 'outcome'")


def kill_until_done(close: Close, rng: Random, tally: Tally, *, start: float, work: float) -> None:
    """Kill worker after worker, most of them soon after their start-up, until one gets to the end.

    Args:
        start: About how many seconds a worker needs before it works.
        work: About how many seconds a whole close takes after that.
    """
    for attempt in range(200):
        # Every seventh is killed while it starts; the others get a sixth of the work done at most, and slowly more, as
        # the machine may have become slower since it was measured.
        worked = rng.uniform(-0.2 * start, work / 6) * (1 + attempt / 12)
        delay = rng.uniform(0, start) if rng.random() < 1 / 7 else start + worked
        ended = close.attempt(kill_after=max(delay, 0))
        if ended == 0:
            return
        assert ended == -signal.SIGKILL, close.zygote.said()
        tally.note_kill(close)
    raise AssertionError(f"200 kills, and the close is not done: {close.zygote.said()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
