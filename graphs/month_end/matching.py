"""Bank reconciliation: which bank lines and ledger entries belong together, and what explains the rest.

Every line of the period ends in exactly one place, a match or a variance, so the variances of a currency
always add up to the difference between bank and ledger. That sum is the proof that no money was lost.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Literal, TypeVar

from month_end.explain import difference_text, duplicate_text, missing_text, timing_text
from month_end.records import BANK_ACCOUNT, BankLine, LedgerLine, Period

Kind = Literal[
    "missing_in_ledger",
    "missing_in_bank",
    "duplicate_in_ledger",
    "duplicate_in_bank",
    "timing",
    "wrong_amount",
    "fx_rounding",
]
KINDS: tuple[Kind, ...] = (
    "missing_in_ledger",
    "missing_in_bank",
    "duplicate_in_ledger",
    "duplicate_in_bank",
    "timing",
    "wrong_amount",
    "fx_rounding",
)

How = Literal["reference and amount", "amount and date", "batch", "reversal", "reference only"]

Line = TypeVar("Line", BankLine, LedgerLine)
_Originals = dict[tuple[object, ...], list[Line]]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far apart two lines may lie and still belong together.

    Attributes:
        window_days: Days before and after the period in which the other half of an item is looked for, and
            the most days between an item and its duplicate.
        match_days: Days between bank and ledger when only amount and date tell that they belong together.
        fx: The largest difference taken for a rounding of foreign exchange, in units of the currency.
        base_currency: The company's own currency, in which nothing is rounded.
    """

    window_days: int = 7
    match_days: int = 4
    fx: Decimal = Decimal("0.05")
    base_currency: str = "USD"


@dataclass(frozen=True, kw_only=True)
class Match:
    """Bank lines and ledger lines of one transaction."""

    how: How
    currency: str
    bank_lines: tuple[BankLine, ...]
    ledger_lines: tuple[LedgerLine, ...]

    @property
    def bank_total(self) -> Decimal:
        """What the bank moved."""
        return _total(self.bank_lines)

    @property
    def ledger_total(self) -> Decimal:
        """What the ledger booked on the bank account."""
        return _total(self.ledger_lines)

    @property
    def difference(self) -> Decimal:
        """Bank minus ledger; zero when both agree."""
        return self.bank_total - self.ledger_total


@dataclass(frozen=True, kw_only=True)
class Variance:
    """One reason why bank and ledger differ in the period.

    Attributes:
        key: A stable name made of the kind and the line it is about, such as ``missing-in-ledger:B-000123``.
        kind: What happened.
        amount: Bank minus ledger within the period, signed.
        currency: The currency of the amount.
        bank_lines: The bank lines concerned.
        ledger_entries: The ledger lines on the bank account concerned; their entry_id names the entry.
        counter_account: The other account of those entries; empty when there is none or more than one.
        explanation: One sentence for the accountant.
    """

    key: str
    kind: Kind
    amount: Decimal
    currency: str
    bank_lines: tuple[BankLine, ...]
    ledger_entries: tuple[LedgerLine, ...]
    counter_account: str
    explanation: str


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The movements of one currency in the period; explained is the sum of its variances."""

    currency: str
    bank: Decimal
    ledger: Decimal
    explained: Decimal

    @property
    def difference(self) -> Decimal:
        """Bank minus ledger."""
        return self.bank - self.ledger

    @property
    def unexplained(self) -> Decimal:
        """What no variance explains; always zero."""
        return self.difference - self.explained


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """The result: what matched, what did not and why, and the proof by currency."""

    period: Period
    matches: tuple[Match, ...]
    variances: tuple[Variance, ...]
    totals: tuple[Totals, ...]


def reconcile(
    bank: Sequence[BankLine],
    ledger: Sequence[LedgerLine],
    period: Period,
    tolerance: Tolerance = Tolerance(),
) -> Reconciliation:
    """Match a bank statement with a ledger and explain every difference of the period.

    The same lines give the same result in whatever order they come. The effort grows with n log n.

    Args:
        bank: The bank statement; lines outside the period and its window are ignored.
        ledger: The ledger with all accounts; counter accounts only tell where an adjustment belongs.
        period: The month to close.
        tolerance: How far apart two lines may lie and still belong together.

    Returns:
        The matches that touch the period and the variances, ordered by kind and key.
    """
    span = period.widened(tolerance.window_days)
    bank_lines = _in_order(line for line in bank if line.date in span)
    cash_lines = _in_order(line for line in ledger if line.date in span and line.account == BANK_ACCOUNT)
    matches, loose = _match(bank_lines, cash_lines, tolerance)
    explain = _Explainer(period, tolerance, _counter_accounts(ledger))
    variances = [variance for match in matches for variance in explain.match(match)]
    variances += explain.loose(loose.bank, bank_lines)
    variances += explain.loose(loose.ledger, cash_lines)
    variances.sort(key=lambda variance: (KINDS.index(variance.kind), variance.key))
    return Reconciliation(
        period=period,
        matches=tuple(match for match in matches if explain.touches(match)),
        variances=tuple(variances),
        totals=_totals(bank_lines, cash_lines, variances, period),
    )


@dataclass(kw_only=True)
class _Group:
    """Lines that may belong together and are not matched yet; each step takes out what it matches."""

    bank: list[BankLine] = field(default_factory=list[BankLine])
    ledger: list[LedgerLine] = field(default_factory=list[LedgerLine])

    def take(self, how: How, bank: Sequence[BankLine], ledger: Sequence[LedgerLine]) -> Match:
        """Match the given lines and remove them from the group."""
        self.bank = _without(self.bank, bank)
        self.ledger = _without(self.ledger, ledger)
        return _match_of(how, bank=bank, ledger=ledger)


def _match(bank: Sequence[BankLine], ledger: Sequence[LedgerLine], tolerance: Tolerance) -> tuple[list[Match], _Group]:
    matches: list[Match] = []
    loose = _Group()
    for reference, group in _by_reference(bank, ledger).items():
        if reference[1]:
            matches += _match_reference(group, tolerance)
        loose.bank += group.bank
        loose.ledger += group.ledger
    # A reference on both sides that differs means two transactions, however equal the amounts.
    matches += _match_dates(loose, tolerance, bank_side=_has_no_reference, ledger_side=_is_any)
    matches += _match_dates(loose, tolerance, bank_side=_is_any, ledger_side=_has_no_reference)
    matches.sort(key=_match_order)
    return matches, loose


def _by_reference(bank: Iterable[BankLine], ledger: Iterable[LedgerLine]) -> defaultdict[tuple[str, str], _Group]:
    groups: defaultdict[tuple[str, str], _Group] = defaultdict(_Group)
    for line in bank:
        groups[line.currency, _reference(line)].bank.append(line)
    for line in ledger:
        groups[line.currency, _reference(line)].ledger.append(line)
    return groups


def _match_reference(group: _Group, tolerance: Tolerance) -> list[Match]:
    """Match the lines of one reference, from the surest evidence to the weakest."""
    matches = _match_amounts(group)
    matches += _match_reversals(group)
    repeats = _take_repeats(group, matches, tolerance)
    if group.bank and group.ledger and _total(group.bank) == _total(group.ledger):
        matches.append(group.take("batch", group.bank, group.ledger))
    elif _is_one_item(group):
        matches.append(group.take("reference only", group.bank, group.ledger))
    group.bank += repeats.bank
    group.ledger += repeats.ledger
    return matches


def _match_amounts(group: _Group) -> list[Match]:
    ledger = _by_amount(group.ledger)
    pairs: list[tuple[BankLine, LedgerLine]] = []
    for amount, bank_lines in _by_amount(group.bank).items():
        pairs += zip(bank_lines, ledger.get(amount, ()), strict=False)
    return _take_pairs(group, "reference and amount", pairs)


def _match_reversals(group: _Group) -> list[Match]:
    """Pair an entry with its reversal. The bank has none: money that left and came back must be booked."""
    by_amount = _by_amount(group.ledger)
    pairs = [
        pair
        for amount in sorted(amount for amount in by_amount if amount > 0)
        for pair in zip(by_amount[amount], by_amount.get(-amount, ()), strict=False)
    ]
    group.ledger = _without(group.ledger, [line for pair in pairs for line in pair])
    return [_match_of("reversal", ledger=pair) for pair in pairs]


def _take_repeats(group: _Group, matches: Sequence[Match], tolerance: Tolerance) -> _Group:
    """Take out repeats of matched lines, lest they be taken for another line's wrong amount."""
    if _total(group.bank) == _total(group.ledger):
        return _Group()
    bank = [line for match in matches for line in match.bank_lines]
    ledger = [line for match in matches for line in match.ledger_lines if match.bank_lines]
    repeats = _Group(bank=_repeats(group.bank, bank, tolerance), ledger=_repeats(group.ledger, ledger, tolerance))
    group.bank = _without(group.bank, repeats.bank)
    group.ledger = _without(group.ledger, repeats.ledger)
    return repeats


def _is_one_item(group: _Group) -> bool:
    """Tell whether a difference can be pinned on one item: one line faces others of its direction."""
    single = min(len(group.bank), len(group.ledger)) == 1
    return single and _total(group.bank) * _total(group.ledger) > 0


def _match_dates(
    loose: _Group,
    tolerance: Tolerance,
    *,
    bank_side: Callable[[BankLine], bool],
    ledger_side: Callable[[LedgerLine], bool],
) -> list[Match]:
    ledger = _by_money(line for line in loose.ledger if ledger_side(line))
    pairs: list[tuple[BankLine, LedgerLine]] = []
    for money, bank_lines in _by_money(line for line in loose.bank if bank_side(line)).items():
        pairs += _close_pairs(bank_lines, ledger.get(money, []), tolerance.match_days)
    return _take_pairs(loose, "amount and date", pairs)


def _close_pairs(
    bank: Sequence[BankLine], ledger: Sequence[LedgerLine], days: int
) -> Iterator[tuple[BankLine, LedgerLine]]:
    """Walk two sides in date order; passing over the earlier line of a distant pair matches the most."""
    i = j = 0
    while i < len(bank) and j < len(ledger):
        apart = (bank[i].date - ledger[j].date).days
        if abs(apart) <= days:
            yield bank[i], ledger[j]
        i += apart <= days
        j += apart >= -days


def _take_pairs(group: _Group, how: How, pairs: Sequence[tuple[BankLine, LedgerLine]]) -> list[Match]:
    group.bank = _without(group.bank, [bank for bank, _ in pairs])
    group.ledger = _without(group.ledger, [ledger for _, ledger in pairs])
    return [_match_of(how, bank=(bank,), ledger=(ledger,)) for bank, ledger in pairs]


def _match_of(how: How, *, bank: Sequence[BankLine] = (), ledger: Sequence[LedgerLine] = ()) -> Match:
    currency = (*bank, *ledger)[0].currency
    return Match(how=how, currency=currency, bank_lines=tuple(bank), ledger_lines=tuple(ledger))


class _Explainer:
    """Turns matches and loose lines into the variances of one period."""

    def __init__(self, period: Period, tolerance: Tolerance, counter_accounts: dict[str, str]) -> None:
        self._period = period
        self._tolerance = tolerance
        self._counter_accounts = counter_accounts

    def touches(self, match: Match) -> bool:
        return any(line.date in self._period for line in (*match.bank_lines, *match.ledger_lines))

    def match(self, match: Match) -> Iterator[Variance]:
        """Split what a match adds to the period's difference into its amount and its timing."""
        if not self.touches(match):
            return
        difference = match.difference
        timing = self._in_period(match.bank_lines) - self._in_period(match.ledger_lines) - difference
        if difference:
            kind = self._difference_kind(match)
            rounding = kind == "fx_rounding"
            text = difference_text(match.bank_lines, match.ledger_lines, rounding=rounding)
            yield self._variance(kind, difference, text, bank=match.bank_lines, ledger=match.ledger_lines)
        if timing:
            text = timing_text(match.bank_lines, match.ledger_lines, self._period)
            yield self._variance("timing", timing, text, bank=match.bank_lines, ledger=match.ledger_lines)

    def loose(self, lines: Sequence[Line], side: Sequence[Line]) -> Iterator[Variance]:
        """Explain lines that nothing matches: as a repeat of an earlier line, or else as missing."""
        originals = _originals(side)
        for line in lines:
            if line.date in self._period:
                original = _original(line, originals, self._tolerance)
                yield self._loose(line, original)

    def _loose(self, line: BankLine | LedgerLine, original: BankLine | LedgerLine | None) -> Variance:
        text = duplicate_text(line, original) if original else missing_text(line)
        if isinstance(line, BankLine):
            kind: Kind = "duplicate_in_bank" if original else "missing_in_ledger"
            return self._variance(kind, line.amount, text, bank=(line,))
        kind = "duplicate_in_ledger" if original else "missing_in_bank"
        return self._variance(kind, -line.amount, text, ledger=(line,))

    def _difference_kind(self, match: Match) -> Kind:
        foreign = match.currency != self._tolerance.base_currency
        return "fx_rounding" if foreign and abs(match.difference) <= self._tolerance.fx else "wrong_amount"

    def _in_period(self, lines: Iterable[BankLine | LedgerLine]) -> Decimal:
        return _total(line for line in lines if line.date in self._period)

    def _variance(
        self,
        kind: Kind,
        amount: Decimal,
        explanation: str,
        *,
        bank: tuple[BankLine, ...] = (),
        ledger: tuple[LedgerLine, ...] = (),
    ) -> Variance:
        first = (*bank, *ledger)[0]
        accounts = {self._counter_accounts[line.entry_id] for line in ledger}
        return Variance(
            key=f"{kind.replace('_', '-')}:{first.line}",
            kind=kind,
            amount=amount,
            currency=first.currency,
            bank_lines=bank,
            ledger_entries=ledger,
            counter_account=accounts.pop() if len(accounts) == 1 else "",
            explanation=explanation,
        )


def _counter_accounts(ledger: Iterable[LedgerLine]) -> dict[str, str]:
    accounts: defaultdict[str, set[str]] = defaultdict(set)
    for line in ledger:
        accounts[line.entry_id] |= {line.account} - {BANK_ACCOUNT}
    return {entry: next(iter(others)) if len(others) == 1 else "" for entry, others in accounts.items()}


def _totals(
    bank: Iterable[BankLine], ledger: Iterable[LedgerLine], variances: Iterable[Variance], period: Period
) -> tuple[Totals, ...]:
    sums: defaultdict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0), Decimal(0)])
    for place, lines in enumerate((bank, ledger)):
        for line in lines:
            if line.date in period:
                sums[line.currency][place] += line.amount
    for variance in variances:
        sums[variance.currency][2] += variance.amount
    return tuple(
        Totals(currency=currency, bank=bank_sum, ledger=ledger_sum, explained=explained)
        for currency, (bank_sum, ledger_sum, explained) in sorted(sums.items())
    )


def _repeats(lines: Sequence[Line], matched: Sequence[Line], tolerance: Tolerance) -> list[Line]:
    originals = _originals(_in_order(matched))
    return [line for line in lines if _original(line, originals, tolerance)]


def _originals(lines: Iterable[Line]) -> _Originals[Line]:
    originals: defaultdict[tuple[object, ...], list[Line]] = defaultdict(list)
    for line in lines:
        originals[_identity(line)].append(line)
    return originals


def _original(line: Line, originals: _Originals[Line], tolerance: Tolerance) -> Line | None:
    """Find the first earlier line that says the same and is recent enough to be the same transaction."""
    same = originals.get(_identity(line), [])
    since = line.date - timedelta(days=tolerance.window_days)
    place = bisect_left(same, since, key=lambda other: other.date)
    return same[place] if place < len(same) and _order(same[place]) < _order(line) else None


def _identity(line: BankLine | LedgerLine) -> tuple[object, ...]:
    """What makes two lines say the same: the reference, or without one the same words on the same day."""
    if reference := _reference(line):
        return line.currency, line.amount, reference
    who = line.counterparty if isinstance(line, BankLine) else ""
    return line.currency, line.amount, line.date, who, line.description


def _reference(line: BankLine | LedgerLine) -> str:
    """The reference without the spaces, dashes and capitals that banks add and drop."""
    return "".join(character for character in line.reference.upper() if character.isalnum())


def _has_no_reference(line: BankLine | LedgerLine) -> bool:
    return not _reference(line)


def _is_any(_: BankLine | LedgerLine) -> bool:
    return True


def _by_amount(lines: Iterable[Line]) -> dict[Decimal, list[Line]]:
    amounts: defaultdict[Decimal, list[Line]] = defaultdict(list)
    for line in lines:
        amounts[line.amount].append(line)
    return amounts


def _by_money(lines: Iterable[Line]) -> dict[tuple[str, Decimal], list[Line]]:
    monies: defaultdict[tuple[str, Decimal], list[Line]] = defaultdict(list)
    for line in _in_order(lines):
        monies[line.currency, line.amount].append(line)
    return monies


def _without(lines: Sequence[Line], taken: Sequence[Line]) -> list[Line]:
    gone = {line.line for line in taken}
    return [line for line in lines if line.line not in gone]


def _in_order(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=_order)


def _order(line: BankLine | LedgerLine) -> tuple[object, ...]:
    return line.date, line.line


def _match_order(match: Match) -> tuple[object, ...]:
    return _order((*match.bank_lines, *match.ledger_lines)[0])


def _total(lines: Iterable[BankLine | LedgerLine]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))
