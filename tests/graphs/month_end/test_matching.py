"""The reconciliation finds what was planted and nothing else, and never loses money."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from month_end.generate import sample
from month_end.matching import Kind, Reconciliation, Tolerance, reconcile
from month_end.records import BANK_ACCOUNT, BankLine, LedgerLine, parse_period

OCTOBER = parse_period("2026-10")
Found = set[tuple[Kind, Decimal]]


def bank(
    line: str,
    amount: str,
    day: int | date = 10,
    *,
    reference: str = "",
    currency: str = "USD",
    who: str = "Acme",
) -> BankLine:
    return BankLine(
        line=line,
        date=day if isinstance(day, date) else date(2026, 10, day),
        amount=Decimal(amount),
        currency=currency,
        reference=reference,
        counterparty=who,
        description="Payment",
    )


def entry(
    line: str,
    amount: str,
    day: int | date = 10,
    *,
    reference: str = "",
    currency: str = "USD",
    accounts: Sequence[str] = ("2000",),
) -> list[LedgerLine]:
    cash = LedgerLine(
        line=line,
        entry_id=f"JE-{line}",
        date=day if isinstance(day, date) else date(2026, 10, day),
        account=BANK_ACCOUNT,
        amount=Decimal(amount),
        currency=currency,
        reference=reference,
        description="Payment",
    )
    share = -cash.amount / len(accounts)
    return [cash, *(replace(cash, line=f"{line}-{n}", account=n, amount=share) for n in accounts)]


def found(result: Reconciliation) -> Found:
    return {(variance.kind, variance.amount) for variance in result.variances}


def assert_no_money_is_lost(
    result: Reconciliation, bank_lines: Sequence[BankLine], ledger: Sequence[LedgerLine]
) -> None:
    for currency in {line.currency for line in (*bank_lines, *ledger)}:
        moved = sum(line.amount for line in bank_lines if line.currency == currency and line.date in OCTOBER)
        booked = sum(
            line.amount
            for line in ledger
            if line.currency == currency and line.date in OCTOBER and line.account == BANK_ACCOUNT
        )
        explained = sum(variance.amount for variance in result.variances if variance.currency == currency)
        assert moved - booked == explained
    assert all(total.unexplained == 0 for total in result.totals)


def assert_each_line_has_one_place(
    result: Reconciliation, bank_lines: Sequence[BankLine], ledger: Sequence[LedgerLine]
) -> None:
    alone = ("missing_in_ledger", "missing_in_bank", "duplicate_in_ledger", "duplicate_in_bank")
    places = Counter(line.line for match in result.matches for line in (*match.bank_lines, *match.ledger_lines))
    for variance in result.variances:
        if variance.kind in alone:
            places.update(line.line for line in (*variance.bank_lines, *variance.ledger_entries))
    cash = [line for line in ledger if line.account == BANK_ACCOUNT]
    own = {line.line for line in (*bank_lines, *cash) if line.date in OCTOBER}
    assert own <= set(places)
    assert set(places.values()) <= {1}


@pytest.mark.parametrize("seed", range(1, 21))
def test_every_planted_variance_is_found_and_nothing_else(seed: int) -> None:
    bank_lines, ledger, planted = sample(seed, OCTOBER)
    result = reconcile(bank_lines, ledger, OCTOBER)
    assert [
        (
            variance.key,
            variance.kind,
            variance.amount,
            variance.currency,
            tuple(line.line for line in variance.bank_lines),
            tuple(line.line for line in variance.ledger_entries),
        )
        for variance in sorted(result.variances, key=lambda variance: variance.key)
    ] == [
        (item.key, item.kind, item.amount, item.currency, item.bank_lines, item.ledger_lines)
        for item in sorted(planted, key=lambda item: item.key)
    ]
    assert_no_money_is_lost(result, bank_lines, ledger)
    assert_each_line_has_one_place(result, bank_lines, ledger)


@pytest.mark.parametrize("period", ["2027-02", "2026-12"])
def test_other_months_are_reconciled_as_well(period: str) -> None:
    month = parse_period(period)
    bank_lines, ledger, planted = sample(4, month)
    keys = {variance.key for variance in reconcile(bank_lines, ledger, month).variances}
    assert keys == {item.key for item in planted}


@pytest.mark.parametrize("seed", range(300))
def test_no_money_is_lost_in_random_books(seed: int) -> None:
    """Few references, amounts and days make every kind of collision likely."""
    rng = random.Random(seed)
    bank_lines: list[BankLine] = []
    ledger: list[LedgerLine] = []
    for number in range(rng.randint(1, 40)):
        side = rng.choice(("bank", "ledger"))
        amount = rng.choice(("10.00", "-10.00", "20.00", "10.03", "30.00", "-0.01"))
        day = date(2026, 9, 15) + timedelta(days=rng.randint(0, 65))
        reference, currency = rng.choice(("", "A", "B", "a ", "C-1")), rng.choice(("USD", "EUR"))
        if side == "bank":
            bank_lines.append(bank(f"B{number}", amount, day, reference=reference, currency=currency))
        else:
            ledger += entry(f"L{number}", amount, day, reference=reference, currency=currency)
    result = reconcile(bank_lines, ledger, OCTOBER)
    assert_no_money_is_lost(result, bank_lines, ledger)
    assert_each_line_has_one_place(result, bank_lines, ledger)
    assert len({variance.key for variance in result.variances}) == len(result.variances)
    rng.shuffle(bank_lines)
    rng.shuffle(ledger)
    assert reconcile(bank_lines, ledger, OCTOBER) == result


def test_the_order_of_the_files_makes_no_difference() -> None:
    bank_lines, ledger, _ = sample(7, OCTOBER)
    assert reconcile(bank_lines[::-1], ledger[::-1], OCTOBER) == reconcile(bank_lines, ledger, OCTOBER)


def test_the_sample_takes_far_less_than_a_second() -> None:
    bank_lines, ledger, _ = sample(7, OCTOBER)
    started = time.process_time()
    reconcile(bank_lines, ledger, OCTOBER)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("reference", ["", "SAME"])
def test_lines_that_all_look_alike_stay_fast(reference: str) -> None:
    bank_lines = [bank(f"B{n:05d}", "10.00", n % 28 + 1, reference=reference) for n in range(3000)]
    ledger = [line for n in range(2000) for line in entry(f"L{n:05d}", "10.00", n % 28 + 1, reference=reference)]
    ledger += [line for n in range(1000) for line in entry(f"M{n:05d}", "-10.00", n % 28 + 1, reference=reference)]
    started = time.process_time()
    result = reconcile(bank_lines, ledger, OCTOBER)
    assert time.process_time() - started < 2
    assert_no_money_is_lost(result, bank_lines, ledger)


def test_reference_and_amount_match_whatever_the_days_and_the_spelling() -> None:
    result = reconcile(
        [bank("B1", "-5.00", 28, reference="inv 1")], entry("L1", "-5.00", 1, reference="INV-1"), OCTOBER
    )
    assert [match.how for match in result.matches] == ["reference and amount"]
    assert not result.variances


def test_amount_and_date_match_when_one_side_has_no_reference() -> None:
    result = reconcile([bank("B1", "-5.00", 12)], entry("L1", "-5.00", 8, reference="INV-1"), OCTOBER)
    assert [match.how for match in result.matches] == ["amount and date"]
    assert not result.variances


def test_amount_and_date_do_not_match_over_too_many_days() -> None:
    result = reconcile([bank("B1", "-5.00", 13)], entry("L1", "-5.00", 8), OCTOBER)
    assert found(result) == {("missing_in_ledger", Decimal("-5.00")), ("missing_in_bank", Decimal("5.00"))}


def test_amount_and_date_pass_over_lines_that_lie_too_far_back() -> None:
    late_bank = reconcile([bank("B1", "-5.00", 20)], entry("L1", "-5.00", 1) + entry("L2", "-5.00", 19), OCTOBER)
    assert found(late_bank) == {("missing_in_bank", Decimal("5.00"))}
    late_entry = reconcile([bank("B1", "-5.00", 1), bank("B2", "-5.00", 19)], entry("L1", "-5.00", 20), OCTOBER)
    assert [variance.key for variance in late_entry.variances] == ["missing-in-ledger:B1"]


def test_two_different_references_are_two_transactions() -> None:
    ledger = entry("L1", "-5.00", reference="INV-2")
    result = reconcile([bank("B1", "-5.00", reference="INV-1")], ledger, OCTOBER)
    assert found(result) == {("missing_in_ledger", Decimal("-5.00")), ("missing_in_bank", Decimal("5.00"))}


def test_equal_amounts_in_two_currencies_do_not_match() -> None:
    ledger = entry("L1", "-5.00", reference="INV-1", currency="EUR")
    assert len(reconcile([bank("B1", "-5.00", reference="INV-1")], ledger, OCTOBER).variances) == 2


def test_many_bank_lines_match_one_batch_entry() -> None:
    lines = [bank(f"B{n}", "10.00", reference="CARD-1") for n in range(5)]
    result = reconcile(lines, entry("L1", "50.00", reference="CARD-1"), OCTOBER)
    assert [(match.how, len(match.bank_lines)) for match in result.matches] == [("batch", 5)]
    assert not result.variances


def test_a_batch_that_does_not_add_up_is_one_wrong_amount() -> None:
    lines = [bank(f"B{n}", "10.00", reference="CARD-1") for n in range(5)]
    result = reconcile(lines, entry("L1", "60.00", reference="CARD-1"), OCTOBER)
    assert found(result) == {("wrong_amount", Decimal("-10.00"))}


def test_a_repeat_beside_another_amount_is_not_taken_for_its_wrong_amount() -> None:
    lines = [bank("B1", "-5.00", reference="INV-1"), bank("B2", "-5.00", 11, reference="INV-1")]
    ledger = entry("L1", "-5.00", reference="INV-1") + entry("L2", "-80.00", reference="INV-1")
    assert found(reconcile(lines, ledger, OCTOBER)) == {
        ("duplicate_in_bank", Decimal("-5.00")),
        ("missing_in_bank", Decimal("80.00")),
    }


def test_a_repeat_long_after_the_first_is_a_new_transaction() -> None:
    lines = [bank("B1", "-5.00", 1, reference="RENT"), bank("B2", "-5.00", 20, reference="RENT")]
    result = reconcile(lines, entry("L1", "-5.00", 1, reference="RENT"), OCTOBER)
    assert found(result) == {("missing_in_ledger", Decimal("-5.00"))}


def test_a_repeat_without_reference_needs_the_same_words_on_the_same_day() -> None:
    same = [bank("B1", "-5.00"), bank("B2", "-5.00")]
    other = [bank("B1", "-5.00"), bank("B2", "-5.00", who="Other")]
    assert ("duplicate_in_bank", Decimal("-5.00")) in found(reconcile(same, entry("L1", "-5.00"), OCTOBER))
    assert ("missing_in_ledger", Decimal("-5.00")) in found(reconcile(other, entry("L1", "-5.00"), OCTOBER))


def test_a_reversed_entry_is_no_variance_but_money_that_came_back_is() -> None:
    reversed_entry = entry("L1", "-5.00", reference="X") + entry("L2", "5.00", reference="X")
    assert not reconcile([], reversed_entry, OCTOBER).variances
    returned = [bank("B1", "-5.00", reference="X"), bank("B2", "5.00", reference="X")]
    assert len(reconcile(returned, [], OCTOBER).variances) == 2


@pytest.mark.parametrize(("cleared", "kinds"), [(date(2026, 11, 7), "timing"), (date(2026, 11, 8), "missing_in_bank")])
def test_an_item_may_clear_within_the_window_after_the_period(cleared: date, kinds: str) -> None:
    lines = [bank("B1", "-5.00", cleared, reference="INV-1"), bank("B2", "1.00")]
    result = reconcile(lines, entry("L1", "-5.00", 31, reference="INV-1") + entry("L2", "1.00"), OCTOBER)
    assert found(result) == {(kinds, Decimal("5.00"))}


def test_an_item_of_the_previous_month_that_clears_now_is_timing() -> None:
    result = reconcile(
        [bank("B1", "-5.00", 1, reference="INV-1")],
        entry("L1", "-5.00", date(2026, 9, 30), reference="INV-1"),
        OCTOBER,
    )
    assert found(result) == {("timing", Decimal("-5.00"))}
    assert "previous period" in result.variances[0].explanation


def test_a_wrong_amount_that_clears_next_month_is_split_into_amount_and_timing() -> None:
    result = reconcile(
        [bank("B1", "-450.00", date(2026, 11, 2), reference="INV-1")],
        entry("L1", "-540.00", 30, reference="INV-1"),
        OCTOBER,
    )
    assert found(result) == {("wrong_amount", Decimal("90.00")), ("timing", Decimal("450.00"))}


def test_what_lies_wholly_in_another_month_is_not_reported() -> None:
    lines = [bank("B1", "-5.00", date(2026, 11, 2)), bank("B2", "-6.00", date(2026, 9, 30), reference="A")]
    result = reconcile(lines, entry("L1", "-7.00", date(2026, 9, 30), reference="A"), OCTOBER)
    assert not result.variances
    assert not result.matches


@pytest.mark.parametrize(
    ("currency", "booked", "kind"),
    [
        ("EUR", "-100.05", "fx_rounding"),
        ("EUR", "-100.06", "wrong_amount"),
        ("USD", "-100.01", "wrong_amount"),
    ],
)
def test_only_cents_of_a_foreign_currency_are_rounding(currency: str, booked: str, kind: Kind) -> None:
    ledger = entry("L1", booked, reference="INV-1", currency=currency)
    result = reconcile([bank("B1", "-100.00", reference="INV-1", currency=currency)], ledger, OCTOBER)
    assert [variance.kind for variance in result.variances] == [kind]


def test_the_tolerance_can_be_set() -> None:
    tight = Tolerance(window_days=0, match_days=0, fx=Decimal("0.00"), base_currency="EUR")
    lines = [bank("B1", "-5.00", date(2026, 11, 1), reference="A"), bank("B2", "-6.00", 11)]
    ledger = entry("L1", "-5.00", 31, reference="A") + entry("L2", "-6.00", 10)
    assert Counter(kind for kind, _ in found(reconcile(lines, ledger, OCTOBER, tight))) == {
        "missing_in_bank": 2,
        "missing_in_ledger": 1,
    }


def test_opposite_directions_are_not_one_item() -> None:
    ledger = entry("L1", "-7.00", reference="INV-1")
    result = reconcile([bank("B1", "5.00", reference="INV-1")], ledger, OCTOBER)
    assert found(result) == {("missing_in_ledger", Decimal("5.00")), ("missing_in_bank", Decimal("7.00"))}


def test_the_counter_account_is_named_only_when_there_is_one() -> None:
    plain = reconcile([], entry("L1", "-5.00"), OCTOBER)
    split = reconcile([], entry("L1", "-5.00", accounts=("6400", "1300")), OCTOBER)
    assert (plain.variances[0].counter_account, split.variances[0].counter_account) == ("2000", "")


@pytest.mark.parametrize(
    ("paid", "booked", "words"),
    [
        ("-450.00", "-540.00", "two digits look swapped"),
        ("-5500.00", "-550.00", "a decimal place looks slipped"),
        ("-450.00", "-451.00", "which books 451.00 USD."),
    ],
)
def test_the_explanation_names_the_keying_error(paid: str, booked: str, words: str) -> None:
    ledger = entry("L1", booked, reference="INV-1")
    (variance,) = reconcile([bank("B1", paid, reference="INV-1")], ledger, OCTOBER).variances
    assert words in variance.explanation


def test_every_explanation_is_one_sentence_that_names_its_lines() -> None:
    bank_lines, ledger, _ = sample(7, OCTOBER)
    for variance in reconcile(bank_lines, ledger, OCTOBER).variances:
        assert variance.explanation.endswith(".")
        assert ". " not in variance.explanation
        assert all(line.entry_id in variance.explanation for line in variance.ledger_entries)
        assert variance.key.startswith(variance.kind.replace("_", "-"))
