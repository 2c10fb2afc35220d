"""For tests of the whole close: a small month's books as files, and the workflow on a runtime of its own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from month_end.graph import flow
from month_end.records import BANK_COLUMNS, LEDGER_COLUMNS
from stateward import Approval, Principal, Runtime

CONTROLLER = Principal("controller")
PERIOD = "2026-10"
FEE, INTEREST = "missing-in-ledger:B-2", "missing-in-ledger:B-3"
SLIP, TWICE = "wrong-amount:B-4", "duplicate-in-ledger:L-7"
EARNED = "missing-in-ledger:B-6"
SMALL, LARGE = {FEE, EARNED}, {INTEREST, SLIP, TWICE}

_BANK = (
    ("B-1", "2026-10-05", "-120.00", "USD", "INV-1", "Acme", "Supplier invoice"),
    ("B-2", "2026-10-07", "-12.50", "USD", "", "First Harbor Bank", "Monthly account fee"),
    ("B-3", "2026-10-09", "-2312.50", "USD", "", "First Harbor Bank", "Loan interest"),
    ("B-4", "2026-10-12", "-5500.00", "USD", "INV-4", "Acme", "Supplier invoice"),
    ("B-5", "2026-10-14", "-1860.00", "USD", "INV-5", "Acme", "Supplier invoice"),
    ("B-6", "2026-10-30", "3.20", "USD", "", "First Harbor Bank", "Interest earned"),
)
# Entry, day, reference and amount on the bank account; the other side is accounts payable.
_ENTRIES = (
    ("JE-1", "2026-10-05", "INV-1", "-120.00"),
    ("JE-4", "2026-10-12", "INV-4", "-550.00"),
    ("JE-5", "2026-10-14", "INV-5", "-1860.00"),
    ("JE-6", "2026-10-15", "INV-5", "-1860.00"),
)


@dataclass(frozen=True, kw_only=True)
class Books:
    """The files of a month, and where its close pack goes."""

    bank: Path
    ledger: Path
    out: Path

    @property
    def files(self) -> dict[str, Any]:
        """What a run is started with."""
        return {"bank": str(self.bank), "ledger": str(self.ledger), "out": str(self.out)}

    def add_bank_line(self, *cells: str) -> None:
        """One more line at the end of the statement."""
        with self.bank.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(cells)


@dataclass(frozen=True, kw_only=True)
class Close:
    """The month-end close on a runtime, as a person at the desk sees it."""

    runtime: Runtime
    url: str
    books: Books

    def config(self, thread: str, *, subject: str = f"period:{PERIOD}") -> Any:
        """Open a thread for the close."""
        return self.runtime.thread(
            thread,
            principal=Principal("close-agent", kind="agent"),
            purpose=flow.purpose,
            subject=subject,
            requester="ann",
            graph=flow.name,
        )

    def run(
        self, thread: str = "close", *, planner: object = None, period: str = PERIOD, **files: Any
    ) -> dict[str, Any]:
        """Start a close, and go as far as it goes without people."""
        graph = flow.compile(self.runtime, planner=planner)
        config = self.config(thread, subject=f"period:{period}")
        return graph.invoke({"period": period, **self.books.files, **files}, config)

    def resume(self, thread: str = "close", *, planner: object = None) -> dict[str, Any]:
        """Go on, with a graph that is compiled anew, as another process would."""
        return self.runtime.resume(flow.compile(self.runtime, planner=planner), thread)

    def waiting(self, thread: str = "close") -> dict[str, Approval]:
        """The questions that wait, by the variance that they are about."""
        return {str(one.arguments["variance"]): one for one in self.runtime.approvals(thread=thread)}

    def approve_all(self, thread: str = "close") -> None:
        """The controller agrees with everything."""
        for one in self.waiting(thread).values():
            self.runtime.decide(one, "approve", by=CONTROLLER)

    def posted(self) -> dict[str, dict[str, Any]]:
        """The posted entries by their variance."""
        return {row["variance"]: row for row in self.rows("select * from month_end.journal_entry")}

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Look into the database as its owner."""
        with psycopg.connect(self.url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]

    def kinds(self, thread: str = "close", *, tool: str | None = None) -> list[str]:
        """The thread's ledger by kind of entry."""
        return [one.kind for one in self.runtime.timeline(thread) if tool in (None, one.tool)]


@pytest.fixture(name="books")
def books_fixture(tmp_path: Path) -> Books:
    """Two small differences, three above what the policy lets pass, and one line that matches."""
    made = Books(bank=tmp_path / "bank.csv", ledger=tmp_path / "ledger.csv", out=tmp_path / "out")
    _write(made.bank, BANK_COLUMNS, _BANK)
    _write(made.ledger, LEDGER_COLUMNS, _ledger_lines())
    return made


@pytest.fixture(name="close")
def close_fixture(runtime: Runtime, database_url: str, books: Books) -> Close:
    """The close on a fresh database."""
    return Close(runtime=runtime, url=database_url, books=books)


def _ledger_lines() -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for entry, day, reference, amount in _ENTRIES:
        against = amount.removeprefix("-")
        for account, value in (("1000", amount), ("2000", against)):
            line = f"L-{len(lines) + 1}"
            lines.append((line, entry, day, account, value, "USD", reference, f"Supplier invoice {reference}"))
    return lines


def _write(path: Path, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *lines])
