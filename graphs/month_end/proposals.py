"""Adjusting journal entries for the variances that the ledger has to make good, and open items for the rest.

A proposal is balanced by construction: one amount, debited to one account and credited to another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from month_end.explain import money
from month_end.matching import Kind, Reconciliation, Variance
from month_end.records import BANK_ACCOUNT

CHART: Mapping[str, str] = MappingProxyType(
    {
        BANK_ACCOUNT: "Bank",
        "1100": "Accounts receivable",
        "1300": "Input tax",
        "1590": "Accumulated depreciation",
        "2000": "Accounts payable",
        "2100": "Payroll tax payable",
        "2200": "Sales tax payable",
        "2300": "Accrued expenses",
        "2500": "Bank loan",
        "2900": "Suspense",
        "4000": "Sales",
        "4200": "Interest income",
        "5000": "Purchases",
        "6000": "Wages and salaries",
        "6100": "Rent",
        "6200": "Bank charges",
        "6250": "Exchange differences",
        "6300": "Interest expense",
        "6400": "Office and utilities",
        "6500": "Depreciation",
    }
)
"""The accounts of the sample company by number."""

SUSPENSE = "2900"
_CHARGES = "6200"
_EXCHANGE = "6250"
_INTEREST_PAID = "6300"
_INTEREST_EARNED = "4200"

_FEE_WORDS = frozenset({"fee", "fees", "charge", "charges", "commission"})


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An adjusting entry that waits to be posted.

    Attributes:
        key: The key of the variance it settles.
        debit_account: The account to debit.
        credit_account: The account to credit.
        amount: What to post, above zero.
        currency: The currency of the amount.
        date: The day to book it on, always within the period.
        reference: The reference of the transaction; posting under it lets the next reconciliation match it.
        memo: The text of the entry.
        reason: Why the entry is right, for whoever approves it.
    """

    key: str
    debit_account: str
    credit_account: str
    amount: Decimal
    currency: str
    date: date
    reference: str
    memo: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class OpenItem:
    """A variance that no entry settles: somebody has to act, or only time has to pass.

    Attributes:
        key: The key of the variance.
        kind: The kind of the variance.
        amount: Bank minus ledger, signed.
        currency: The currency of the amount.
        owner: Who acts: ``bank``, ``bookkeeper`` or ``nobody``.
        action: What the owner does.
        explanation: Why there is a difference.
    """

    key: str
    kind: Kind
    amount: Decimal
    currency: str
    owner: str
    action: str
    explanation: str


def account_name(account: str) -> str:
    """Write an account with its name, such as ``6200 Bank charges``; an unknown one stays a bare number."""
    return f"{account} {CHART.get(account, '')}".strip()


def propose(reconciliation: Reconciliation) -> tuple[Proposal, ...]:
    """Propose one entry for each variance that the ledger has to make good.

    Returns:
        The proposals in the order of the variances. Timing, items the bank has not cleared, and mistakes of
        the bank get none; ``open_items`` lists those.
    """
    return tuple(
        _proposal(variance, reconciliation)
        for variance in reconciliation.variances
        if variance.kind not in _OPEN and variance.amount
    )


def open_items(reconciliation: Reconciliation) -> tuple[OpenItem, ...]:
    """List the variances for which no entry is proposed, each with who should act."""
    return tuple(_open_item(variance) for variance in reconciliation.variances if variance.kind in _OPEN)


def _proposal(variance: Variance, reconciliation: Reconciliation) -> Proposal:
    counter, reason = _counter(variance)
    # A positive variance is money the ledger's bank account lacks, so the bank account is debited.
    debit, credit = (BANK_ACCOUNT, counter) if variance.amount > 0 else (counter, BANK_ACCOUNT)
    lines = (*variance.bank_lines, *variance.ledger_entries)
    return Proposal(
        key=variance.key,
        debit_account=debit,
        credit_account=credit,
        amount=abs(variance.amount),
        currency=variance.currency,
        date=next((line.date for line in lines if line.date in reconciliation.period), reconciliation.period.end),
        reference=next((line.reference for line in lines if line.reference), ""),
        memo=_memo(variance),
        reason=f"{variance.explanation} {reason}",
    )


def _counter(variance: Variance) -> tuple[str, str]:
    """Return the counter account and the sentence that justifies it."""
    if variance.kind == "missing_in_ledger":
        return _counter_of_statement(variance)
    if variance.kind == "fx_rounding":
        return _EXCHANGE, "Rounding belongs to exchange differences."
    if variance.counter_account:
        entries = " and ".join(dict.fromkeys(line.entry_id for line in variance.ledger_entries))
        return variance.counter_account, f"It corrects {entries} on the account it was booked to."
    return SUSPENSE, "The entry has several counter accounts, so the split has to be decided by hand."


def _counter_of_statement(variance: Variance) -> tuple[str, str]:
    words = {word.strip(".,:;()").lower() for line in variance.bank_lines for word in line.description.split()}
    if words & _FEE_WORDS and variance.amount < 0:
        return _CHARGES, "The bank's own charges are an expense of the month."
    if "interest" in words and variance.amount < 0:
        return _INTEREST_PAID, "Interest paid is an expense of the month."
    if "interest" in words:
        return _INTEREST_EARNED, "Interest received is income of the month."
    return SUSPENSE, "It stays in suspense until somebody finds the document."


def _memo(variance: Variance) -> str:
    verb = {
        "missing_in_ledger": "Book",
        "duplicate_in_ledger": "Reverse the duplicate of",
        "wrong_amount": "Correct the amount of",
        "fx_rounding": "Exchange rounding on",
    }[variance.kind]
    first = (*variance.bank_lines, *variance.ledger_entries)[0]
    return f"{verb} {first.description or first.reference or first.line}"


def _open_item(variance: Variance) -> OpenItem:
    owner, action = _OPEN[variance.kind]
    return OpenItem(
        key=variance.key,
        kind=variance.kind,
        amount=variance.amount,
        currency=variance.currency,
        owner=owner,
        action=action.format(money=money(variance.amount, variance.currency)),
        explanation=variance.explanation,
    )


_OPEN: Mapping[Kind, tuple[str, str]] = {
    "timing": ("nobody", "Nothing to do: {money} shows up on both sides over the two months."),
    "missing_in_bank": (
        "bookkeeper",
        "Wait for {money} to clear; ask the payee or the bank if it stays open.",
    ),
    "duplicate_in_bank": ("bank", "Ask the bank to take back {money}."),
}
