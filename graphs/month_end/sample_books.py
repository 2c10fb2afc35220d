"""The two sets of books that the sample generator fills: a bank statement and a double-entry ledger.

Transactions are added in any order and get their numbers at the end, by date, as real exports number them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from random import Random

from month_end.matching import Kind
from month_end.records import BANK_ACCOUNT, BankLine, LedgerLine


@dataclass(frozen=True, kw_only=True)
class Deal:
    """One transaction as both sides should see it; money received is positive.

    Attributes:
        amount: What moves on the bank account.
        currency: Its currency.
        account: The counter account of the ledger entry.
        reference: The reference that both sides carry.
        counterparty: The company on the other side.
        description: What it is for.
        splits: The counter rows of the ledger entry where there is more than one; they add up to -amount.
    """

    amount: Decimal
    account: str
    counterparty: str
    description: str
    currency: str = "USD"
    reference: str = ""
    splits: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One planted variance; key, lines and entries name it the way the reconciliation does."""

    kind: Kind
    key: str
    amount: Decimal
    currency: str
    bank_lines: tuple[str, ...]
    ledger_lines: tuple[str, ...]
    note: str


@dataclass(frozen=True, kw_only=True)
class _Entry:
    day: date
    currency: str
    reference: str
    description: str
    rows: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, kw_only=True)
class _Plant:
    kind: Kind
    amount: Decimal
    currency: str
    bank: tuple[int, ...]
    entries: tuple[int, ...]
    note: str


@dataclass(kw_only=True)
class Books:
    """Both sets of books while they are being filled."""

    _statement: list[tuple[date, Deal]] = field(default_factory=list[tuple[date, Deal]])
    _entries: list[_Entry] = field(default_factory=list[_Entry])
    _plants: list[_Plant] = field(default_factory=list[_Plant])

    @property
    def bank_count(self) -> int:
        """The bank lines so far."""
        return len(self._statement)

    @property
    def ledger_count(self) -> int:
        """The ledger lines so far."""
        return sum(len(entry.rows) for entry in self._entries)

    def clear(self, day: date, deal: Deal) -> int:
        """Add a line to the bank statement and return its handle."""
        self._statement.append((day, deal))
        return len(self._statement) - 1

    def book(self, day: date, deal: Deal) -> int:
        """Add an entry on the bank account to the ledger and return its handle."""
        counter = deal.splits or ((deal.account, -deal.amount),)
        description = f"{deal.description}, {deal.counterparty}"
        rows = ((BANK_ACCOUNT, deal.amount), *counter)
        return self._add(day, deal.currency, deal.reference, description, rows)

    def journal(self, day: date, description: str, rows: Sequence[tuple[str, Decimal]]) -> int:
        """Add an entry that does not touch the bank account and return its handle."""
        return self._add(day, "USD", "", description, rows)

    def plant(
        self,
        kind: Kind,
        amount: Decimal,
        deal: Deal,
        *,
        bank: Sequence[int] = (),
        entries: Sequence[int] = (),
    ) -> None:
        """Write down that these lines hold a variance, with the amount that bank minus ledger shows."""
        note = f"{deal.description}, {deal.counterparty}"
        self._plants.append(
            _Plant(
                kind=kind,
                amount=amount,
                currency=deal.currency,
                bank=tuple(bank),
                entries=tuple(entries),
                note=note,
            )
        )

    def finish(self, rng: Random) -> tuple[list[BankLine], list[LedgerLine], list[Planted]]:
        """Number everything by date, shuffled within a day; return bank, ledger and the ground truth."""
        bank_ids = _numbers([day for day, _ in self._statement], "B-{:06d}", rng)
        entry_ids = _numbers([entry.day for entry in self._entries], "JE-{:05d}", rng)
        bank = [_bank_line(bank_ids[i], *line) for i, line in enumerate(self._statement)]
        ledger, cash_ids = self._ledger(entry_ids)
        planted = [_planted(plant, bank_ids, cash_ids) for plant in self._plants]
        return sorted(bank, key=lambda line: line.line), ledger, sorted(planted, key=lambda item: item.key)

    def _add(
        self,
        day: date,
        currency: str,
        reference: str,
        description: str,
        rows: Sequence[tuple[str, Decimal]],
    ) -> int:
        entry = _Entry(day=day, currency=currency, reference=reference, description=description, rows=tuple(rows))
        self._entries.append(entry)
        return len(self._entries) - 1

    def _ledger(self, entry_ids: Sequence[str]) -> tuple[list[LedgerLine], dict[int, str]]:
        lines: list[LedgerLine] = []
        cash_ids: dict[int, str] = {}
        for handle in sorted(range(len(self._entries)), key=entry_ids.__getitem__):
            cash_ids[handle] = f"L-{len(lines) + 1:06d}"
            for account, amount in self._entries[handle].rows:
                line_id = f"L-{len(lines) + 1:06d}"
                lines.append(_ledger_line(line_id, entry_ids[handle], self._entries[handle], account, amount))
        return lines, cash_ids


def _numbers(days: Sequence[date], pattern: str, rng: Random) -> list[str]:
    places = rng.sample(range(len(days)), len(days))
    order = sorted(range(len(days)), key=lambda handle: (days[handle], places[handle]))
    ids = [""] * len(days)
    for number, handle in enumerate(order, start=1):
        ids[handle] = pattern.format(number)
    return ids


def _bank_line(line_id: str, day: date, deal: Deal) -> BankLine:
    return BankLine(
        line=line_id,
        date=day,
        amount=deal.amount,
        currency=deal.currency,
        reference=deal.reference,
        counterparty=deal.counterparty,
        description=deal.description,
    )


def _ledger_line(line_id: str, entry_id: str, entry: _Entry, account: str, amount: Decimal) -> LedgerLine:
    return LedgerLine(
        line=line_id,
        entry_id=entry_id,
        date=entry.day,
        account=account,
        amount=amount,
        currency=entry.currency,
        reference=entry.reference,
        description=entry.description,
    )


def _planted(plant: _Plant, bank_ids: Sequence[str], cash_ids: dict[int, str]) -> Planted:
    bank = tuple(bank_ids[handle] for handle in plant.bank)
    ledger = tuple(cash_ids[handle] for handle in plant.entries)
    return Planted(
        kind=plant.kind,
        key=f"{plant.kind.replace('_', '-')}:{(*bank, *ledger)[0]}",
        amount=plant.amount,
        currency=plant.currency,
        bank_lines=bank,
        ledger_lines=ledger,
        note=plant.note,
    )
