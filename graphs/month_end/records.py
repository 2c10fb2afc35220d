"""Bank statement lines and ledger lines, and how both are read from CSV files.

Everything wrong with a file is refused here, naming the place and what was expected, so that the matching
never has to doubt its input.
"""

import csv
import difflib
import io
import re
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

BANK_ACCOUNT = "1000"
"""The ledger account that mirrors the bank statement; every other account is a counter account."""

BANK_COLUMNS = ("line", "date", "amount", "currency", "reference", "counterparty", "description")
LEDGER_COLUMNS = ("line", "entry_id", "date", "account", "amount", "currency", "reference", "description")

CENT = Decimal("0.01")
LARGEST_AMOUNT = Decimal("999999999999.99")
LONGEST_TEXT = 500

_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]{1,2})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"(19[0-9]{2}|20[0-9]{2})-(0[1-9]|1[0-2])")
_CURRENCY = re.compile(r"[A-Z]{3}")
_ACCOUNT = re.compile(r"[0-9]{4}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")


class InputError(Exception):
    """An input that cannot be used, with the place to look at and what should stand there.

    Attributes:
        file: The file as it was given, or the name of the argument.
        line: The line of the file, counted from 1; None when the whole file is meant.
        column: The column's name; None when no single column is meant.
        value: What was found.
        expected: What should have been found, as a phrase that completes "expected ...".
    """

    def __init__(self, file: str, line: int | None, column: str | None, value: str, expected: str) -> None:
        super().__init__(file, line, column, value, expected)
        self.file = file
        self.line = line
        self.column = column
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line is not None else ""
        column = f", column {self.column}" if self.column is not None else ""
        return f"{self.file}{line}{column}: found {_short(self.value)!r}, expected {self.expected}"


@dataclass(frozen=True, kw_only=True)
class Period:
    """One accounting month, both days included."""

    start: date
    end: date

    @property
    def key(self) -> str:
        """The month as it is written in file names, such as ``2026-10``."""
        return f"{self.start:%Y-%m}"

    def __contains__(self, day: date) -> bool:
        return self.start <= day <= self.end

    def widened(self, days: int) -> "Period":
        """The same period with so many days added on both sides."""
        return Period(start=self.start - timedelta(days=days), end=self.end + timedelta(days=days))


@dataclass(frozen=True, kw_only=True)
class BankLine:
    """One line of the bank statement; money received is positive, money paid negative."""

    line: str
    date: date
    amount: Decimal
    currency: str
    reference: str
    counterparty: str
    description: str


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """One row of a double-entry journal entry; debits are positive, credits negative."""

    line: str
    entry_id: str
    date: date
    account: str
    amount: Decimal
    currency: str
    reference: str
    description: str


def parse_period(text: str) -> Period:
    """Read a month such as ``2026-10``.

    Args:
        text: The year and the month, ``YYYY-MM``, between 1900-01 and 2099-12.

    Raises:
        InputError: If the text is not such a month.
    """
    if not _MONTH.fullmatch(text):
        raise InputError("period", None, None, text, "a month written as YYYY-MM, such as 2026-10")
    year, month = int(text[:4]), int(text[5:])
    return Period(start=date(year, month, 1), end=date(year, month, monthrange(year, month)[1]))


def read_bank_csv(path: str | Path, period: Period) -> tuple[BankLine, ...]:
    """Read a bank statement.

    Args:
        path: A UTF-8 CSV file with the columns of ``BANK_COLUMNS``, in any order.
        period: The month to close; lines of other months are read as well, and judged by the matching.

    Returns:
        All lines of the file, in its order.

    Raises:
        InputError: If the file cannot be used, or holds no line of the period.
    """
    rows = _read_rows(Path(path), BANK_COLUMNS)
    lines = tuple(_bank_line(row) for row in rows)
    _check_period(str(path), (line.date for line in lines), period)
    return lines


def read_ledger_csv(path: str | Path, period: Period) -> tuple[LedgerLine, ...]:
    """Read a double-entry ledger.

    Args:
        path: A UTF-8 CSV file with the columns of ``LEDGER_COLUMNS``, in any order.
        period: The month to close; lines of other months are read as well, and judged by the matching.

    Returns:
        All lines of the file, in its order, of all accounts.

    Raises:
        InputError: If the file cannot be used, an entry does not balance, nothing is booked on the bank
            account, or no line falls in the period.
    """
    rows = _read_rows(Path(path), LEDGER_COLUMNS)
    lines = tuple(_ledger_line(row) for row in rows)
    _check_balanced(rows, lines)
    _check_bank_account(str(path), lines)
    _check_period(str(path), (line.date for line in lines), period)
    return lines


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The cells of one CSV row, and where it stands."""

    file: str
    line: int
    cells: dict[str, str]

    def refuse(self, column: str, expected: str) -> InputError:
        return InputError(self.file, self.line, column, self.cells[column], expected)

    def shaped(self, column: str, shape: re.Pattern[str], expected: str) -> str:
        if not shape.fullmatch(self.cells[column]):
            raise self.refuse(column, expected)
        return self.cells[column]

    def text(self, column: str) -> str:
        value = self.cells[column].strip()
        if len(value) > LONGEST_TEXT:
            raise self.refuse(column, f"at most {LONGEST_TEXT} characters")
        if not value.isprintable():
            raise self.refuse(column, "text on one line, without control characters")
        return value

    def day(self, column: str) -> date:
        expected = "a day of the calendar written as YYYY-MM-DD, such as 2026-10-31"
        value = self.shaped(column, _DATE, expected)
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise self.refuse(column, expected) from None

    def amount(self, column: str) -> Decimal:
        expected = "a plain number with at most two decimals and no thousands separator, such as -1234.50"
        amount = Decimal(self.shaped(column, _AMOUNT, expected))
        if abs(amount) > LARGEST_AMOUNT:
            raise self.refuse(column, f"an amount of at most {LARGEST_AMOUNT}")
        if not amount:
            raise self.refuse(column, "an amount other than zero")
        return amount.quantize(CENT)


def _bank_line(row: _Row) -> BankLine:
    return BankLine(
        line=row.cells["line"],
        date=row.day("date"),
        amount=row.amount("amount"),
        currency=_currency(row),
        reference=row.text("reference"),
        counterparty=row.text("counterparty"),
        description=row.text("description"),
    )


def _ledger_line(row: _Row) -> LedgerLine:
    return LedgerLine(
        line=row.cells["line"],
        entry_id=row.shaped("entry_id", _ID, "the entry's id, such as JE-00042"),
        date=row.day("date"),
        account=row.shaped("account", _ACCOUNT, f"an account of four digits, such as {BANK_ACCOUNT}"),
        amount=row.amount("amount"),
        currency=_currency(row),
        reference=row.text("reference"),
        description=row.text("description"),
    )


def _currency(row: _Row) -> str:
    return row.shaped("currency", _CURRENCY, "a currency code of three capital letters, such as USD")


def _read_rows(path: Path, columns: Sequence[str]) -> list[_Row]:
    rows = list(_parse(str(path), _read_text(path), columns))
    if not rows:
        raise InputError(str(path), None, None, "no lines", "at least one line below the header")
    _check_unique(rows)
    return rows


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise InputError(str(path), None, None, found, "a CSV file that can be read") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x}"
        raise InputError(str(path), line, None, found, "text exported as UTF-8") from error


def _parse(file: str, text: str, columns: Sequence[str]) -> Iterator[_Row]:
    records = _records(file, text)
    nothing: tuple[int, list[str]] = (1, [])
    _, header = next(records, nothing)
    _check_header(file, header, columns)
    for line, cells in records:
        if len(cells) != len(header):
            expected = f"{len(header)} columns, as in the header"
            raise InputError(file, line, None, f"{len(cells)} columns", expected)
        yield _Row(file=file, line=line, cells=dict(zip(header, cells, strict=True)))


def _records(file: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line it starts on; csv itself only knows the line it ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(file, start, None, str(error), "well-formed CSV with every quote closed") from error


def _check_header(file: str, header: Sequence[str], columns: Sequence[str]) -> None:
    known = ", ".join(columns)
    if not header:
        raise InputError(file, None, None, "an empty file", f"a header line with the columns {known}")
    if len(header) == 1:
        raise InputError(file, 1, None, header[0], f"columns separated by commas: {known}")
    missing = [name for name in columns if name not in header]
    for name in header:
        if name not in columns:
            raise InputError(file, 1, name, name, _nearest(name, missing or columns, known))
    if missing:
        expected = f"the column {missing[0]} as well; all are {known}"
        raise InputError(file, 1, missing[0], ", ".join(header), expected)
    for name, following in pairwise(sorted(header)):
        if name == following:
            raise InputError(file, 1, name, name, "each column once")


def _nearest(name: str, candidates: Sequence[str], known: str) -> str:
    nearest = difflib.get_close_matches(name.strip().lower(), candidates, n=1, cutoff=0.0)[0]
    return f"only the columns {known}; did you mean {nearest}?"


def _check_unique(rows: Iterable[_Row]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        line_id = row.shaped("line", _ID, "the line's id, such as B-000123")
        if line_id in seen:
            raise row.refuse("line", f"an id of its own; line {seen[line_id]} already has this one")
        seen[line_id] = row.line


def _check_period(file: str, days: Iterable[date], period: Period) -> None:
    months = {f"{day:%Y-%m}" for day in days}
    if period.key not in months:
        held = ", ".join(sorted(months))
        raise InputError(file, None, "date", period.key, f"a period of this file, which holds {held}")


def _check_balanced(rows: Sequence[_Row], lines: Sequence[LedgerLine]) -> None:
    sums: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    first: dict[tuple[str, str], _Row] = {}
    for row, line in zip(rows, lines, strict=True):
        key = (line.entry_id, line.currency)
        sums[key] += line.amount
        first.setdefault(key, row)
    for (entry_id, currency), total in sums.items():
        if total:
            row = first[entry_id, currency]
            expected = f"entry {entry_id} to balance to 0.00 {currency}; it is off by {total} {currency}"
            raise row.refuse("amount", expected)


def _check_bank_account(file: str, lines: Iterable[LedgerLine]) -> None:
    accounts = {line.account for line in lines}
    if BANK_ACCOUNT not in accounts:
        found = ", ".join(sorted(accounts))
        expected = f"at least one line on the bank account {BANK_ACCOUNT}"
        raise InputError(file, None, "account", found, expected)


def _short(value: str) -> str:
    return value if len(value) <= 80 else f"{value[:77]}..."
