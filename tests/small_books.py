"""Small books for tests: ten differences between bank and ledger, three of them above what the agent may post alone."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random

from month_end.records import BANK_COLUMNS, LEDGER_COLUMNS, BankLine, LedgerLine
from month_end.sample_books import Books, Deal

ORDINARY = 12
CHARGES = ("-4.10", "-12.35", "-19.99", "-27.40", "-33.05", "-48.60", "-61.25", "-1050.00")
DUPLICATE = "1100.00"
PAID, BOOKED = "-1300.00", "-130.00"
ENTRIES = len(CHARGES) + 2
ASKED = 3  # 1,050 and 1,100, and the 1,170 between what was paid and what was booked


@dataclass(frozen=True, kw_only=True)
class SmallBooks:
    """The two files of a period."""

    period: str
    bank: Path
    ledger: Path


def write_small_books(folder: Path, *, period: str = "2026-10") -> SmallBooks:
    """Write the files; the same period always gets the same."""
    year, month = map(int, period.split("-"))
    books = Books()
    for number in range(ORDINARY):
        deal, day = _deal(f"INV-{number}", -(100 + number * 7)), date(year, month, 2 + number)
        books.book(day, deal)
        books.clear(day, deal)
    _plant(books, date(year, month, 20))
    bank, ledger, _ = books.finish(Random(7))
    folder.mkdir(parents=True, exist_ok=True)
    files = SmallBooks(period=period, bank=folder / "bank.csv", ledger=folder / "ledger.csv")
    _write(files.bank, BANK_COLUMNS, bank)
    _write(files.ledger, LEDGER_COLUMNS, ledger)
    return files


def _plant(books: Books, day: date) -> None:
    for number, amount in enumerate(CHARGES):
        books.clear(day, _deal(f"BNK-{number}", amount, words="Account fee"))
    twice = _deal("RCPT-1", DUPLICATE, words="Customer receipt")
    books.book(day, twice)
    books.clear(day, twice)
    books.book(day, twice)
    books.book(day, _deal("INV-99", BOOKED))
    books.clear(day, _deal("INV-99", PAID))


def _deal(reference: str, amount: str | int, *, words: str = "Supplier invoice") -> Deal:
    return Deal(
        amount=Decimal(amount).quantize(Decimal("0.01")),
        account="2000",
        counterparty="Alder Creek Timber Co",
        description=f"{words} {reference}",
        reference=reference,
    )


def _write(path: Path, columns: Sequence[str], lines: Sequence[BankLine] | Sequence[LedgerLine]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for line in lines:
            cells = {one.name: str(getattr(line, one.name)) for one in fields(line)}
            writer.writerow([cells[column] for column in columns])
