"""The sentences that explain a variance to an accountant, one for each kind of difference."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from month_end.records import BankLine, LedgerLine, Period


def money(amount: Decimal, currency: str) -> str:
    """Write an amount without its sign, such as ``1,234.50 USD``; the words around it say the direction."""
    return f"{abs(amount):,.2f} {currency}"


def missing_text(line: BankLine | LedgerLine) -> str:
    """Explain a line that only one side has."""
    if isinstance(line, BankLine):
        return f"{_bank_moved((line,))}{_about(line.description)}, which the ledger does not have."
    direction = "pays" if line.amount < 0 else "receives"
    sum_ = money(line.amount, line.currency)
    return (
        f"Entry {line.entry_id} of {line.date} {direction} {sum_}{_about(line.description)}, "
        "which the bank has not cleared."
    )


def duplicate_text(line: BankLine | LedgerLine, original: BankLine | LedgerLine) -> str:
    """Explain a line that repeats an earlier one of the same side."""
    reference = f" with reference {line.reference}" if line.reference else ""
    again = f"{money(line.amount, line.currency)} a second time{reference} on {line.date}"
    if isinstance(line, LedgerLine) and isinstance(original, LedgerLine):
        first = f"entry {original.entry_id} of {original.date} is the first"
        return f"Entry {line.entry_id} books {again}; {first}."
    verb = "charged" if line.amount < 0 else "credited"
    return f"The bank {verb} {again}; line {original.line} of {original.date} is the first."


def timing_text(bank: Sequence[BankLine], ledger: Sequence[LedgerLine], period: Period) -> str:
    """Explain a transaction whose two sides fall into different periods."""
    entries = _entries(ledger)
    booked = _when(max(line.date for line in ledger), period)
    if not bank:
        return f"{entries} cancel out, but only on {booked}."
    cleared = _when(max(line.date for line in bank), period)
    sum_ = money(_total(bank), bank[0].currency)
    return f"{entries} for {sum_} {_was(ledger)} booked on {booked} and cleared the bank on {cleared}."


def difference_text(bank: Sequence[BankLine], ledger: Sequence[LedgerLine], *, rounding: bool) -> str:
    """Explain a transaction on which bank and ledger agree except for the amount."""
    paid, booked = _total(bank), _total(ledger)
    currency = bank[0].currency
    verb = "books" if len(_entry_ids(ledger)) == 1 else "book"
    sides = f"{_bank_moved(bank)} for {_entries(ledger, start=False)}, which {verb} {money(booked, currency)}"
    if rounding:
        return f"{sides}; the {money(paid - booked, currency)} come from rounding the exchange rate."
    return f"{sides}{_slip(paid, booked)}."


def _bank_moved(lines: Sequence[BankLine]) -> str:
    total = _total(lines)
    verb, preposition = ("received", "from") if total > 0 else ("paid", "to")
    who = f" {preposition} {lines[0].counterparty}" if lines[0].counterparty and len(lines) == 1 else ""
    count = f" in {len(lines)} lines" if len(lines) > 1 else ""
    return f"The bank {verb} {money(total, lines[0].currency)}{count}{who} on {lines[0].date}"


def _slip(paid: Decimal, booked: Decimal) -> str:
    """Name the keying error that turns one amount into the other, if there is one."""
    if paid in (booked * 10, booked / 10):
        return "; a decimal place looks slipped"
    if sorted(f"{abs(paid):.2f}") == sorted(f"{abs(booked):.2f}"):
        return "; two digits look swapped"
    return ""


def _when(day: date, period: Period) -> str:
    if day in period:
        return str(day)
    return f"{day} ({'next' if day > period.end else 'previous'} period)"


def _entries(lines: Sequence[LedgerLine], *, start: bool = True) -> str:
    ids = _entry_ids(lines)
    word = "entry" if len(ids) == 1 else "entries"
    return f"{word.capitalize() if start else word} {' and '.join(ids)}"


def _entry_ids(lines: Iterable[LedgerLine]) -> list[str]:
    return list(dict.fromkeys(line.entry_id for line in lines))


def _was(lines: Sequence[LedgerLine]) -> str:
    return "was" if len(_entry_ids(lines)) == 1 else "were"


def _about(description: str) -> str:
    return f" ({description})" if description else ""


def _total(lines: Iterable[BankLine | LedgerLine]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))
