"""Seeded sample data for the month-end close: a bank statement, a ledger, and the truth about both.

Run ``python -m month_end.generate --seed 7 --period 2026-10 --out DIR``. The README says what is planted.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

from month_end.matching import Kind
from month_end.records import (
    BANK_COLUMNS,
    LEDGER_COLUMNS,
    BankLine,
    InputError,
    LedgerLine,
    Period,
    parse_period,
)
from month_end.sample_books import Books, Deal, Planted

BANK_LINES = 1500
LEDGER_LINES = 2000

_BANK = "First Harbor Bank"
_SUPPLIERS = (
    "Alder Creek Timber Co",
    "Brightwater Textiles Inc",
    "Cobalt Lighting Supply",
    "Dunmore Packaging LLC",
    "Eastgate Freight Lines",
    "Fennel & Oak Ceramics",
    "Granite State Hardware",
    "Harborview Paper Co",
    "Ironbridge Logistics",
    "Juniper Office Supply",
)
_CUSTOMERS = (
    "Lakeside Hotels Group",
    "Maple Row Interiors",
    "Northern Lodge Partners",
    "Orchard Street Stores",
    "Pinecrest Property Mgmt",
    "Quarry Hill Resorts",
    "Redwood Living Inc",
    "Silver Birch Care Homes",
)
_EURO_SUPPLIERS = ("Keramik Werkstatt Nord GmbH", "Lumiere Atelier SARL", "Tessuti Riva Srl")
_STERLING_CUSTOMERS = ("Thameside Interiors Ltd", "Pennine Hotels plc", "Ashdown Retail Ltd")
_TAX = Decimal("0.08")


@dataclass(frozen=True, kw_only=True)
class SampleFiles:
    """Where a sample was written; planted holds the ground truth as JSON."""

    bank: Path
    ledger: Path
    planted: Path


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """A kind of transaction that makes up the ordinary business of a month."""

    account: str
    prefix: str
    parties: Sequence[str]
    words: str
    low: int
    high: int
    sign: int
    currency: str = "USD"


_PAYMENT = _Flow(account="2000", prefix="INV", parties=_SUPPLIERS, words="Supplier invoice", low=40, high=4000, sign=-1)
_RECEIPT = _Flow(account="1100", prefix="RCPT", parties=_CUSTOMERS, words="Customer receipt", low=60, high=6000, sign=1)
_EURO_PAYMENT = replace(_PAYMENT, prefix="EINV", parties=_EURO_SUPPLIERS, currency="EUR")
_STERLING_RECEIPT = replace(_RECEIPT, prefix="GRCPT", parties=_STERLING_CUSTOMERS, currency="GBP")
_CHEQUE = replace(_PAYMENT, prefix="CHQ", words="Cheque", low=90, high=1900)
_ORDINARY = ((_PAYMENT, 330), (_RECEIPT, 300), (_EURO_PAYMENT, 50), (_STERLING_RECEIPT, 40))

_FEES = (
    ("Monthly account fee", 35),
    ("Wire transfer fee", 25),
    ("Card terminal rental fee", 60),
    ("Foreign payment fee", 45),
    ("Cash handling charge", 30),
    ("Merchant service charge", 85),
    ("Payroll file fee", 20),
    ("Online banking fee", 25),
    ("Cheque book fee", 15),
    ("Returned payment fee", 40),
    ("Night safe charge", 20),
    ("Paper statement fee", 12),
)
# The few amounts a controller has to approve stay the same for every seed, so that a demo can name them.
_LARGE_DUPLICATE_RECEIPT = Decimal("12480.00")
_LARGE_DUPLICATE_PAYMENT = Decimal("-1860.00")
_SLIPPED_PAYMENT, _SLIPPED_BOOKING = Decimal("-5500.00"), Decimal("-550.00")
_LOAN_INTEREST = Decimal("-2312.50")


def write_sample(directory: str | Path, seed: int = 7, period: str = "2026-10") -> SampleFiles:
    """Write bank.csv, ledger.csv and planted.json; the same arguments always write the same bytes.

    Args:
        directory: Where to write; created if it is missing.
        seed: Any integer.
        period: The month, such as ``2026-10``.

    Raises:
        InputError: If the period is not a month.
    """
    bank, ledger, planted = sample(seed, parse_period(period))
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    files = SampleFiles(bank=folder / "bank.csv", ledger=folder / "ledger.csv", planted=folder / "planted.json")
    _write_csv(files.bank, BANK_COLUMNS, bank)
    _write_csv(files.ledger, LEDGER_COLUMNS, ledger)
    truth = {"seed": seed, "period": period, "variances": [asdict(item) for item in planted]}
    files.planted.write_text(json.dumps(truth, indent=2, default=str) + "\n", encoding="utf-8", newline="\n")
    return files


def sample(seed: int, period: Period) -> tuple[list[BankLine], list[LedgerLine], list[Planted]]:
    """Make one month of books: 1,500 bank lines, 2,000 ledger lines, and what is wrong with them."""
    month = _Month(Random(seed), period)
    month.plant_all()
    month.run_business()
    return month.books.finish(month.rng)


class _Month:
    """One month of a company that sells home goods, told with the help of a random generator."""

    def __init__(self, rng: Random, period: Period) -> None:
        self.books = Books()
        self.rng = rng
        self._period = period
        self._days = [day for day in _calendar(period) if day.weekday() < 5]
        self._number = 20000
        self._used: set[Decimal] = set()

    def plant_all(self) -> None:
        """Plant every variance of the README's table."""
        self._plant_ledger_duplicates()
        self._plant_bank_duplicates()
        self._plant_bank_charges()
        self._plant_cheques()
        self._plant_timing()
        self._plant_wrong_amounts()
        self._plant_roundings()

    def run_business(self) -> None:
        """Add everything that is in order, up to the exact number of lines."""
        for flow, count in _ORDINARY:
            for _ in range(count):
                self._settle(self._deal(flow))
        for _ in range(40):
            self._settle(_with_tax(self._deal(_PAYMENT), "6400", "1300"))
        for _ in range(24):
            self._settle_without_reference()
        self._add_fixed_costs()
        self._add_neighbours()
        self._add_card_sales()
        self._add_journals()

    def _plant_ledger_duplicates(self) -> None:
        for flow, amount in (
            (_RECEIPT, _LARGE_DUPLICATE_RECEIPT),
            (_PAYMENT, _LARGE_DUPLICATE_PAYMENT),
            (_PAYMENT, -self._fresh(120, 900)),
        ):
            deal = replace(self._deal(flow), amount=amount)
            first, second = self._two_days()
            self.books.book(first, deal)
            self.books.clear(first, deal)
            again = self.books.book(second, deal)
            self.books.plant("duplicate_in_ledger", -amount, deal, entries=[again])

    def _plant_bank_duplicates(self) -> None:
        for _ in range(3):
            deal = self._planted_deal(_PAYMENT)
            first, second = self._two_days()
            self.books.book(first, deal)
            self.books.clear(first, deal)
            again = self.books.clear(second, deal)
            self.books.plant("duplicate_in_bank", deal.amount, deal, bank=[again])

    def _plant_bank_charges(self) -> None:
        charges = [self._fee(number) for number in range(len(_FEES))]
        charges += [
            self._charge("Loan interest, term loan", _LOAN_INTEREST),
            self._charge("Overdraft interest", -self._fresh(8, 90)),
            self._charge("Credit interest", self._fresh(5, 60)),
        ]
        software = self._charge("Software subscription, direct debit", -self._fresh(100, 400))
        receipt = self._planted_deal(_RECEIPT, 150, 950)
        charges += [replace(software, counterparty="Juniper Office Supply"), receipt]
        for charge in charges:
            line = self.books.clear(self.rng.choice(self._days), charge)
            self.books.plant("missing_in_ledger", charge.amount, charge, bank=[line])

    def _plant_cheques(self) -> None:
        for _ in range(6):
            cheque = self._planted_deal(_CHEQUE)
            entry = self.books.book(self.rng.choice(self._days), cheque)
            self.books.plant("missing_in_bank", -cheque.amount, cheque, entries=[entry])

    def _plant_timing(self) -> None:
        before, after = self._period.start, self._period.end
        soon = [day for day in (after + timedelta(days=days) for days in range(1, 7)) if day.weekday() < 5]
        for flow in (_PAYMENT,) * 8 + (_RECEIPT,) * 2:
            deal = self._planted_deal(flow)
            entry = self.books.book(self.rng.choice(self._days[-2:]), deal)
            line = self.books.clear(self.rng.choice(soon), deal)
            self.books.plant("timing", -deal.amount, deal, bank=[line], entries=[entry])
        for _ in range(2):
            deal = self._planted_deal(_PAYMENT)
            entry = self.books.book(before - timedelta(days=self.rng.randint(1, 3)), deal)
            line = self.books.clear(self.rng.choice(self._days[:2]), deal)
            self.books.plant("timing", deal.amount, deal, bank=[line], entries=[entry])

    def _plant_wrong_amounts(self) -> None:
        self._plant_difference("wrong_amount", _PAYMENT, _SLIPPED_PAYMENT, _SLIPPED_BOOKING)
        for flow in (_PAYMENT,) * 3 + (_RECEIPT,) * 2:
            right, wrong = self._swapped()
            self._plant_difference("wrong_amount", flow, flow.sign * right, flow.sign * wrong)

    def _plant_roundings(self) -> None:
        for flow in (_EURO_PAYMENT,) * 6 + (_STERLING_RECEIPT,) * 4:
            right = flow.sign * self._fresh(flow.low, flow.high)
            cents = Decimal(self.rng.choice((-4, -3, -2, -1, 1, 2, 3, 4))).scaleb(-2)
            self._plant_difference("fx_rounding", flow, right, right + cents)

    def _plant_difference(self, kind: Kind, flow: _Flow, paid: Decimal, booked: Decimal) -> None:
        deal = replace(self._deal(flow), amount=paid)
        first, second = self._two_days()
        entry = self.books.book(first, replace(deal, amount=booked))
        line = self.books.clear(second, deal)
        self.books.plant(kind, paid - booked, deal, bank=[line], entries=[entry])

    def _deal(self, flow: _Flow) -> Deal:
        self._number += self.rng.randint(1, 3)
        reference = f"{flow.prefix}-{self._number}"
        return Deal(
            amount=flow.sign * self._amount(flow.low, flow.high),
            account=flow.account,
            counterparty=self.rng.choice(flow.parties),
            description=f"{flow.words} {reference}",
            currency=flow.currency,
            reference=reference,
        )

    def _planted_deal(self, flow: _Flow, low: int = 90, high: int = 1900) -> Deal:
        return replace(self._deal(flow), amount=flow.sign * self._fresh(low, high))

    def _charge(self, description: str, amount: Decimal) -> Deal:
        self._number += 1
        reference = f"BNK-{self._number}"
        return Deal(amount=amount, account="", counterparty=_BANK, description=description, reference=reference)

    def _fee(self, number: int) -> Deal:
        """Make a bank fee; as on real statements, every third has no reference."""
        description, most = _FEES[number]
        fee = self._charge(description, -self._fresh(4, most))
        return replace(fee, reference="") if number % 3 == 0 else fee

    def _settle(self, deal: Deal) -> None:
        """Book a deal and let the bank clear it up to three working days later, but within the month."""
        place = self.rng.randrange(len(self._days))
        later = min(place + self.rng.randint(0, 3), len(self._days) - 1)
        self.books.book(self._days[place], deal)
        self.books.clear(self._days[later], deal)

    def _settle_without_reference(self) -> None:
        """Settle a deal of which the bank passes on no reference, so that amount and date have to do."""
        flow = self.rng.choice((_PAYMENT, _RECEIPT))
        deal = self._planted_deal(flow)
        words = "Standing order" if flow is _PAYMENT else "Counter deposit"
        first, second = self._two_days()
        self.books.book(first, deal)
        self.books.clear(second, replace(deal, reference="", description=words))

    def _add_fixed_costs(self) -> None:
        month = f"{self._period.start:%Y%m}"
        rent = Deal(
            amount=Decimal("-8400.00"),
            account="6100",
            counterparty="Pinecrest Property Mgmt",
            description="Warehouse and office rent",
            reference=f"RENT-{month}",
        )
        loan = replace(
            rent,
            amount=Decimal("-6250.00"),
            account="2500",
            counterparty=_BANK,
            description="Loan instalment",
            reference=f"LOAN-{month}",
        )
        for deal in (rent, loan, self._payroll(f"{month}A"), self._payroll(f"{month}B")):
            self._settle(deal)

    def _payroll(self, run: str) -> Deal:
        net = self._amount(38000, 44000)
        tax = (net * Decimal("0.31")).quantize(Decimal("0.01"))
        return Deal(
            amount=-net,
            account="6000",
            counterparty="Northlight Home Goods payroll",
            description=f"Payroll run {run}",
            reference=f"PAY-{run}",
            splits=(("6000", net + tax), ("2100", -tax)),
        )

    def _add_neighbours(self) -> None:
        """Add lines of both neighbouring months, as exports contain them; none of them is a variance."""
        before, after = self._period.start, self._period.end
        for days in range(1, 13):
            day = before - timedelta(days=days) if days % 2 else after + timedelta(days=days)
            deal = self._deal(_PAYMENT)
            self.books.book(day, deal)
            self.books.clear(day, deal)
        self.books.clear(after + timedelta(days=3), self._charge("Monthly account fee", -self._fresh(20, 40)))
        self.books.book(before - timedelta(days=6), self._planted_deal(_CHEQUE))

    def _add_card_sales(self) -> None:
        """Settle card sales in batches, one ledger entry for many bank lines, up to the number of lines."""
        batches = [(day, shop) for day in _calendar(self._period) for shop in ("SHOP", "WEB")]
        counts = [4] * len(batches)
        for _ in range(BANK_LINES - self.books.bank_count - sum(counts)):
            counts[self.rng.randrange(len(counts))] += 1
        for (day, shop), count in zip(batches, counts, strict=True):
            self._add_card_batch(day, f"CARD-{day:%Y%m%d}-{shop}", count)

    def _add_card_batch(self, day: date, reference: str, count: int) -> None:
        sale = Deal(
            amount=Decimal(0),
            account="4000",
            counterparty="Meridian Card Services",
            description=f"Card settlement {reference}",
            reference=reference,
        )
        amounts = [self._amount(15, 480) for _ in range(count)]
        for amount in amounts:
            self.books.clear(day, replace(sale, amount=amount))
        self.books.book(day, _with_tax(replace(sale, amount=sum(amounts, Decimal(0))), "4000", "2200"))

    def _add_journals(self) -> None:
        """Fill the ledger with entries that move no cash, up to the number of lines."""
        kinds = (
            ("Sales invoice", "1100", "4000"),
            ("Purchase invoice", "5000", "2000"),
            ("Depreciation of shop fittings", "6500", "1590"),
            ("Accrued utilities", "6400", "2300"),
        )
        while left := LEDGER_LINES - self.books.ledger_count:
            words, debit, credit = self.rng.choice(kinds)
            amount = self._amount(50, 5000)
            rows = [(debit, amount), (credit, -amount)]
            if left == 3:
                rows = [(debit, amount), (credit, 1 - amount), ("2200", Decimal("-1.00"))]
            self.books.journal(self.rng.choice(self._days), words, rows)

    def _two_days(self) -> tuple[date, date]:
        place = self.rng.randrange(len(self._days) - 1)
        return self._days[place], self._days[place + 1]

    def _amount(self, low: int, high: int) -> Decimal:
        return Decimal(self.rng.randint(low * 100, high * 100 - 1)).scaleb(-2)

    def _fresh(self, low: int, high: int) -> Decimal:
        """Draw an amount never drawn here before, so that no planted item can be explained by another."""
        while (amount := self._amount(low, high)) in self._used:
            pass
        self._used.add(amount)
        return amount

    def _swapped(self) -> tuple[Decimal, Decimal]:
        """Draw a round amount and the same with two digits swapped, such as 540 and 450."""
        while True:
            one, two = self.rng.sample(range(1, 10), 2)
            pair = (Decimal(f"{one}{two}0.00"), Decimal(f"{two}{one}0.00"))
            if not self._used & set(pair):
                self._used |= set(pair)
                return pair


def _with_tax(deal: Deal, account: str, tax_account: str) -> Deal:
    net = (deal.amount / (1 + _TAX)).quantize(Decimal("0.01"))
    return replace(deal, splits=((account, -net), (tax_account, net - deal.amount)))


def _calendar(period: Period) -> list[date]:
    return [period.start + timedelta(days=days) for days in range((period.end - period.start).days + 1)]


def _write_csv(path: Path, columns: Sequence[str], lines: Sequence[BankLine] | Sequence[LedgerLine]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for line in lines:
            cells = {part.name: getattr(line, part.name) for part in fields(line)}
            cells["amount"] = f"{line.amount:.2f}"
            writer.writerow([cells[column] for column in columns])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a sample from the command line and say where it is."""
    parser = argparse.ArgumentParser(prog="month_end.generate", description="Write sample books.")
    parser.add_argument("--seed", type=int, default=7, help="any integer; the same seed gives the same books")
    parser.add_argument("--period", default="2026-10", help="the month, such as 2026-10")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    options = parser.parse_args(arguments)
    try:
        files = write_sample(options.out, options.seed, options.period)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(files.bank, files.ledger, files.planted, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
