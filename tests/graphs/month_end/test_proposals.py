"""Proposals settle what the ledger has to make good; everything else becomes an open item."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache

import pytest

from month_end.generate import sample
from month_end.matching import KINDS, Reconciliation, Variance, reconcile
from month_end.proposals import CHART, SUSPENSE, Proposal, account_name, open_items, propose
from month_end.records import BANK_ACCOUNT, BankLine, LedgerLine, parse_period

OCTOBER = parse_period("2026-10")


@cache
def sample_reconciliation(seed: int = 7) -> Reconciliation:
    bank_lines, ledger, _ = sample(seed, OCTOBER)
    return reconcile(bank_lines, ledger, OCTOBER)


def statement_line(description: str, amount: str) -> BankLine:
    return BankLine(
        line="B-1",
        date=date(2026, 10, 5),
        amount=Decimal(amount),
        currency="USD",
        reference="",
        counterparty="First Harbor Bank",
        description=description,
    )


def posted(proposals: Iterable[Proposal]) -> list[LedgerLine]:
    """Post proposals the way a ledger does: two rows each, under the proposal's date and reference."""
    rows: list[LedgerLine] = []
    for number, proposal in enumerate(proposals):
        for account, amount in ((proposal.debit_account, 1), (proposal.credit_account, -1)):
            row = LedgerLine(
                line=f"ADJ-{number}-{account}",
                entry_id=f"ADJ-{number}",
                date=proposal.date,
                account=account,
                amount=amount * proposal.amount,
                currency=proposal.currency,
                reference=proposal.reference,
                description=proposal.memo,
            )
            rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(1, 11))
def test_posting_every_proposal_leaves_only_the_open_items(seed: int) -> None:
    bank_lines, ledger, _ = sample(seed, OCTOBER)
    before = reconcile(bank_lines, ledger, OCTOBER)
    after = reconcile(bank_lines, [*ledger, *posted(propose(before))], OCTOBER)
    assert not propose(after)
    assert {item.key for item in open_items(after)} == {item.key for item in open_items(before)}
    assert [item.amount for item in open_items(after)] == [item.amount for item in open_items(before)]


def test_every_variance_is_either_proposed_or_open() -> None:
    result = sample_reconciliation()
    keys = [proposal.key for proposal in propose(result)] + [item.key for item in open_items(result)]
    assert Counter(keys) == Counter(variance.key for variance in result.variances)


def test_entries_are_balanced_positive_and_within_the_chart_and_the_period() -> None:
    for proposal in propose(sample_reconciliation()):
        assert proposal.amount > 0
        assert proposal.debit_account != proposal.credit_account
        assert BANK_ACCOUNT in (proposal.debit_account, proposal.credit_account)
        assert {proposal.debit_account, proposal.credit_account} <= set(CHART)
        assert proposal.date in OCTOBER
        assert proposal.memo
        assert proposal.reason


def test_an_entry_moves_the_ledger_towards_the_bank() -> None:
    result = sample_reconciliation()
    amounts = {variance.key: variance.amount for variance in result.variances}
    for proposal in propose(result):
        effect = proposal.amount if proposal.debit_account == BANK_ACCOUNT else -proposal.amount
        assert effect == amounts[proposal.key]


@pytest.mark.parametrize("seed", range(1, 21))
def test_four_entries_of_the_sample_need_a_controller(seed: int) -> None:
    proposals = propose(sample_reconciliation(seed))
    large = sorted(proposal.amount for proposal in proposals if proposal.amount > 1000)
    assert large == [Decimal("1860.00"), Decimal("2312.50"), Decimal("4950.00"), Decimal("12480.00")]
    assert len(proposals) == 36


@pytest.mark.parametrize(
    ("description", "amount", "debit", "credit"),
    [
        ("Wire transfer fee", "-25.00", "6200", BANK_ACCOUNT),
        ("Monthly charges.", "-25.00", "6200", BANK_ACCOUNT),
        ("Loan interest, term loan", "-25.00", "6300", BANK_ACCOUNT),
        ("Credit INTEREST", "25.00", BANK_ACCOUNT, "4200"),
        ("Coffee beans", "-25.00", SUSPENSE, BANK_ACCOUNT),
        ("Consulting fee", "25.00", BANK_ACCOUNT, SUSPENSE),
        ("", "25.00", BANK_ACCOUNT, SUSPENSE),
    ],
)
def test_what_only_the_bank_has_goes_to_the_account_its_words_name(
    description: str, amount: str, debit: str, credit: str
) -> None:
    (proposal,) = propose(reconcile([statement_line(description, amount)], [], OCTOBER))
    assert (proposal.debit_account, proposal.credit_account, proposal.amount) == (debit, credit, Decimal(25))


def test_a_correction_without_a_single_counter_account_goes_to_suspense() -> None:
    result = sample_reconciliation()
    split = tuple(replace(variance, counter_account="") for variance in result.variances)
    for proposal in propose(replace(result, variances=split)):
        if proposal.key.startswith(("wrong-amount", "duplicate-in-ledger")):
            assert SUSPENSE in (proposal.debit_account, proposal.credit_account)
            assert "by hand" in proposal.reason


def test_open_items_say_who_acts() -> None:
    owners = {item.kind: item.owner for item in open_items(sample_reconciliation())}
    assert owners == {"timing": "nobody", "missing_in_bank": "bookkeeper", "duplicate_in_bank": "bank"}


def test_the_bank_is_asked_for_the_amount_it_charged_twice() -> None:
    item = next(item for item in open_items(sample_reconciliation()) if item.kind == "duplicate_in_bank")
    assert item.action == f"Ask the bank to take back {-item.amount:,.2f} USD."


def test_every_kind_is_handled() -> None:
    result = sample_reconciliation()
    assert {variance.kind for variance in result.variances} == set(KINDS)
    variances: tuple[Variance, ...] = result.variances
    assert len(propose(result)) + len(open_items(result)) == len(variances)


def test_an_account_is_written_with_its_name() -> None:
    assert account_name("6200") == "6200 Bank charges"
    assert account_name("9999") == "9999"
