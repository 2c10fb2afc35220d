"""The close pack: one workbook and one Markdown summary that show what was found, posted and left open.

Text in it comes from bank statements and people, so no cell may turn into a formula and no line into markup.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from month_end.matching import KINDS, Match, Reconciliation, Variance
from month_end.proposals import OpenItem, Proposal, account_name
from month_end.records import BANK_ACCOUNT, CENT
from month_end.render import Cell, Column, Sheet, Table, markdown_text, workbook_bytes


@dataclass(frozen=True, kw_only=True)
class PostedEntry:
    """A proposal that stands in the ledger.

    Attributes:
        proposal: What was proposed.
        entry_id: The id the ledger gave it.
        posted_by: Who or what posted it.
        posted_at: When.
        approved_by: Who approved it; empty when its amount needed no approval.
        approved_at: When; None when its amount needed no approval.
    """

    proposal: Proposal
    entry_id: str
    posted_by: str
    posted_at: datetime
    approved_by: str = ""
    approved_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RejectedProposal:
    """A proposal that somebody turned down, and why; its difference stays open."""

    proposal: Proposal
    rejected_by: str
    rejected_at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClosePack:
    """What goes into the pack of one period; version counts from 1 and is not part of the content."""

    company: str
    version: int
    reconciliation: Reconciliation
    posted: tuple[PostedEntry, ...] = ()
    rejected: tuple[RejectedProposal, ...] = ()
    open_items: tuple[OpenItem, ...] = ()

    @property
    def name(self) -> str:
        """The file name without its ending, such as ``close-pack-2026-10-v1``."""
        return f"close-pack-{self.reconciliation.period.key}-v{self.version}"


@dataclass(frozen=True, kw_only=True)
class PackFiles:
    """The files of a pack and the digest of their content."""

    workbook: Path
    markdown: Path
    digest: str


@dataclass(frozen=True, kw_only=True)
class CurrencyProof:
    """How the difference of one currency is settled; all amounts are bank minus ledger.

    Attributes:
        currency: The currency.
        bank: What the bank moved in the period.
        ledger: What the ledger booked on the bank account.
        posted: What the posted entries add to the ledger.
        rejected: What rejected proposals would have added.
        open_items: What the open items explain.
    """

    currency: str
    bank: Decimal
    ledger: Decimal
    posted: Decimal
    rejected: Decimal
    open_items: Decimal

    @property
    def unsettled(self) -> Decimal:
        """What is neither posted nor rejected nor open; zero once the close is complete."""
        return self.bank - self.ledger - self.posted - self.rejected - self.open_items


def build_pack(data: ClosePack, directory: str | Path) -> PackFiles:
    """Write the pack as a workbook and as Markdown.

    Each file appears at once and complete, replacing one of the same name; a failure leaves no half of it.

    Args:
        data: The content.
        directory: Where to write; created if it is missing.

    Returns:
        Where the files are, and the digest of their content.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    digest = pack_digest(data)
    sheets = _sheets(data, digest)
    files = PackFiles(workbook=folder / f"{data.name}.xlsx", markdown=folder / f"{data.name}.md", digest=digest)
    title = f"{data.company}: close of {data.reconciliation.period.key}, version {data.version}"
    _replace(files.workbook, workbook_bytes(sheets, title=title))
    _replace(files.markdown, markdown_text(sheets, title=title).encode())
    return files


def pack_digest(data: ClosePack) -> str:
    """Return the SHA-256 of the content, in hexadecimal.

    The version, the order of the entries, trailing zeros and time zones make no difference, so that a pack
    built again from the same facts is recognised as the same.
    """
    content = {
        "company": data.company,
        "reconciliation": asdict(data.reconciliation),
        "posted": [asdict(entry) for entry in sorted(data.posted, key=_proposal_key)],
        "rejected": [asdict(entry) for entry in sorted(data.rejected, key=_proposal_key)],
        "open_items": [asdict(item) for item in sorted(data.open_items, key=_item_key)],
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_canonical)
    return hashlib.sha256(canonical.encode()).hexdigest()


def prove(data: ClosePack) -> tuple[CurrencyProof, ...]:
    """Show for each currency how the difference between bank and ledger is settled."""
    return tuple(
        CurrencyProof(
            currency=total.currency,
            bank=total.bank,
            ledger=total.ledger,
            posted=_effect((entry.proposal for entry in data.posted), total.currency),
            rejected=_effect((entry.proposal for entry in data.rejected), total.currency),
            open_items=sum((item.amount for item in data.open_items if item.currency == total.currency), Decimal(0)),
        )
        for total in data.reconciliation.totals
    )


def _effect(proposals: Iterable[Proposal], currency: str) -> Decimal:
    """Add up what the entries do to the bank account."""
    own = [proposal for proposal in proposals if proposal.currency == currency]
    return sum((_signed(proposal) for proposal in own), Decimal(0))


def _signed(proposal: Proposal) -> Decimal:
    return proposal.amount if proposal.debit_account == BANK_ACCOUNT else -proposal.amount


def _proposal_key(entry: PostedEntry | RejectedProposal) -> str:
    return entry.proposal.key


def _item_key(item: OpenItem) -> str:
    return item.key


def _canonical(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value.quantize(CENT) + 0)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no canonical form for {type(value).__name__}")


def _moment(when: datetime | None) -> str:
    """Write a time in UTC; one without a time zone is taken for UTC."""
    if when is None:
        return ""
    aware = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return aware.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")


def _sheets(data: ClosePack, digest: str) -> list[Sheet]:
    matches, variances = data.reconciliation.matches, data.reconciliation.variances
    return [
        Sheet(title="Summary", tables=(_facts(data, digest), _proof(data), _kinds(data.reconciliation))),
        Sheet(title="Matches", tables=(_matches(matches),), in_markdown=False),
        Sheet(title="Variances", tables=(_variances(variances),)),
        Sheet(title="Adjustments", tables=(_adjustments(data),)),
        Sheet(title="Open items", tables=(_open(data),)),
        Sheet(title="Approvals", tables=(_approvals(data),)),
    ]


def _facts(data: ClosePack, digest: str) -> Table:
    period = data.reconciliation.period
    rows: tuple[tuple[Cell, ...], ...] = (
        ("Company", data.company),
        ("Period", f"{period.start} to {period.end}"),
        ("Version", data.version),
        ("Matches", len(data.reconciliation.matches)),
        ("Variances", len(data.reconciliation.variances)),
        ("Entries posted", len(data.posted)),
        ("Proposals rejected", len(data.rejected)),
        ("Open items", len(data.open_items)),
        ("Content digest", digest),
    )
    return Table(title="Close pack", columns=(Column(title="Item", width=24), Column(title="Value")), rows=rows)


def _proof(data: ClosePack) -> Table:
    rows = tuple(
        (
            proof.currency,
            proof.bank,
            proof.ledger,
            proof.bank - proof.ledger,
            proof.posted,
            proof.rejected,
            proof.open_items,
            proof.unsettled,
        )
        for proof in prove(data)
    )
    titles = ("Bank", "Ledger", "Difference", "Posted", "Rejected", "Open items", "Unsettled")
    money = tuple(Column(title=title, width=16) for title in titles)
    return Table(title="Bank and ledger", columns=(Column(title="Currency"), *money), rows=rows)


def _kinds(reconciliation: Reconciliation) -> Table:
    counts = Counter((variance.kind, variance.currency) for variance in reconciliation.variances)
    sums: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for variance in reconciliation.variances:
        sums[variance.kind, variance.currency] += variance.amount
    rows = tuple(
        (_label(kind), currency, counts[kind, currency], sums[kind, currency])
        for kind, currency in sorted(counts, key=lambda pair: (KINDS.index(pair[0]), pair[1]))
    )
    titles = ("Kind", "Currency", "Count", "Bank minus ledger")
    return Table(title="Variances by kind", columns=tuple(Column(title=title) for title in titles), rows=rows)


def _matches(matches: Sequence[Match]) -> Table:
    columns = (
        Column(title="Matched by", width=22),
        Column(title="Bank lines", width=40),
        Column(title="Ledger entries", width=20),
        Column(title="Date", width=12),
        Column(title="Reference", width=24),
        Column(title="Currency", width=10),
        Column(title="Bank"),
        Column(title="Ledger"),
        Column(title="Difference"),
    )
    rows = tuple(_match_row(match) for match in matches)
    return Table(columns=columns, rows=rows, totals=_totals(rows, width=len(columns), currency=5, sums=(6, 7, 8)))


def _match_row(match: Match) -> tuple[Cell, ...]:
    lines = (*match.ledger_lines, *match.bank_lines)
    return (
        match.how.capitalize(),
        ", ".join(line.line for line in match.bank_lines),
        ", ".join(dict.fromkeys(line.entry_id for line in match.ledger_lines)),
        lines[0].date,
        next((line.reference for line in lines if line.reference), ""),
        match.currency,
        match.bank_total,
        match.ledger_total,
        match.difference,
    )


def _variances(variances: Sequence[Variance]) -> Table:
    columns = (
        Column(title="Key", width=32),
        Column(title="Kind", width=20),
        Column(title="Bank minus ledger", width=18),
        Column(title="Currency", width=10),
        Column(title="Explanation", width=90, wrap=True),
    )
    rows = tuple(
        (variance.key, _label(variance.kind), variance.amount, variance.currency, variance.explanation)
        for variance in variances
    )
    return Table(columns=columns, rows=rows, totals=_totals(rows, width=len(columns), currency=3, sums=(2,)))


def _adjustments(data: ClosePack) -> Table:
    columns = (
        Column(title="Entry", width=16),
        Column(title="Date", width=12),
        Column(title="Debit", width=26),
        Column(title="Credit", width=26),
        Column(title="Amount"),
        Column(title="Currency", width=10),
        Column(title="Memo", width=44, wrap=True),
        Column(title="Reason", width=80, wrap=True),
        Column(title="Posted by", width=20),
        Column(title="Posted at", width=24),
        Column(title="Variance", width=32),
    )
    rows = tuple(_adjustment_row(entry) for entry in sorted(data.posted, key=_proposal_key))
    return Table(columns=columns, rows=rows, totals=_totals(rows, width=len(columns), currency=5, sums=(4,)))


def _adjustment_row(entry: PostedEntry) -> tuple[Cell, ...]:
    proposal = entry.proposal
    return (
        entry.entry_id,
        proposal.date,
        account_name(proposal.debit_account),
        account_name(proposal.credit_account),
        proposal.amount,
        proposal.currency,
        proposal.memo,
        proposal.reason,
        entry.posted_by,
        _moment(entry.posted_at),
        proposal.key,
    )


def _open(data: ClosePack) -> Table:
    columns = (
        Column(title="Key", width=32),
        Column(title="Kind", width=20),
        Column(title="Bank minus ledger", width=18),
        Column(title="Currency", width=10),
        Column(title="Who acts", width=14),
        Column(title="Action", width=60, wrap=True),
        Column(title="Explanation", width=80, wrap=True),
    )
    items = sorted(data.open_items, key=_item_key)
    rows = tuple(
        (item.key, _label(item.kind), item.amount, item.currency, item.owner, item.action, item.explanation)
        for item in items
    )
    return Table(columns=columns, rows=rows, totals=_totals(rows, width=len(columns), currency=3, sums=(2,)))


def _approvals(data: ClosePack) -> Table:
    columns = (
        Column(title="Variance", width=32),
        Column(title="Amount"),
        Column(title="Currency", width=10),
        Column(title="Decision", width=12),
        Column(title="By", width=20),
        Column(title="At", width=24),
        Column(title="Entry", width=16),
        Column(title="Reason", width=80, wrap=True),
    )
    approved = (entry for entry in sorted(data.posted, key=_proposal_key) if entry.approved_by)
    rejected = sorted(data.rejected, key=_proposal_key)
    rows = (*map(_approved_row, approved), *map(_rejected_row, rejected))
    return Table(columns=columns, rows=rows)


def _approved_row(entry: PostedEntry) -> tuple[Cell, ...]:
    proposal, at = entry.proposal, _moment(entry.approved_at)
    decision = ("approved", entry.approved_by, at, entry.entry_id, proposal.reason)
    return (proposal.key, proposal.amount, proposal.currency, *decision)


def _rejected_row(entry: RejectedProposal) -> tuple[Cell, ...]:
    proposal, at = entry.proposal, _moment(entry.rejected_at)
    return (
        proposal.key,
        proposal.amount,
        proposal.currency,
        "rejected",
        entry.rejected_by,
        at,
        "",
        entry.reason,
    )


def _totals(
    rows: Sequence[tuple[Cell, ...]], *, width: int, currency: int, sums: Sequence[int]
) -> tuple[tuple[Cell, ...], ...]:
    """Add up the money columns for each currency."""
    totals: dict[str, list[Cell]] = {}
    for row in sorted(rows, key=lambda row: str(row[currency])):
        name = str(row[currency])
        total = totals.setdefault(name, _empty_total(name, width, currency, sums))
        for place in sums:
            total[place] = Decimal(str(total[place])) + Decimal(str(row[place]))
    return tuple(tuple(total) for total in totals.values())


def _empty_total(name: str, width: int, currency: int, sums: Sequence[int]) -> list[Cell]:
    cells: list[Cell] = ["Total", *[""] * (width - 1)]
    cells[currency] = name
    for place in sums:
        cells[place] = Decimal("0.00")
    return cells


def _label(kind: str) -> str:
    return kind.replace("_", " ").capitalize().replace("Fx", "FX")


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file and rename, so that a reader sees the old file or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
