"""The books in Postgres: load files, read them back as records, post entries, keep versions of the close pack."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from month_end.pack import PackFiles, PostedEntry
from month_end.proposals import Proposal
from month_end.records import BankLine, InputError, LedgerLine, parse_period, read_bank_csv, read_ledger_csv
from stateward import Statements

_SQL = Statements(Path(__file__).parent / "sql" / "books.sql")
MIGRATIONS = [("month_end/0001", (Path(__file__).parent / "sql" / "schema.sql").read_text(encoding="utf-8"))]
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Files:
    """The checked input of a period.

    Attributes:
        import_id: Digest over the content and the destination, so that the same input is the same import.
        out: Where the close pack is written.
        mail_to: Who receives it; nobody where it is empty.
    """

    import_id: str
    period: str
    bank: Path
    ledger: Path
    out: Path
    mail_to: tuple[str, ...]
    bank_lines: tuple[BankLine, ...]
    ledger_lines: tuple[LedgerLine, ...]


@dataclass(frozen=True, kw_only=True)
class Mailing:
    """A version of the close pack on its way."""

    version: int
    files: PackFiles
    recipients: tuple[str, ...]
    sent: bool


def read_files(period: str, bank: str, ledger: str, out: str, mail_to: Sequence[str]) -> Files:
    """Read and check everything before anything is written.

    Raises:
        InputError: with file, line, value and what is expected.
    """
    month = parse_period(period)
    bank_lines, ledger_lines = read_bank_csv(bank, month), read_ledger_csv(ledger, month)
    content = hashlib.sha256(repr((period, bank_lines, ledger_lines, out, sorted(mail_to))).encode()).hexdigest()
    return Files(
        import_id=content[:16],
        period=period,
        bank=Path(bank).resolve(),
        ledger=Path(ledger).resolve(),
        out=Path(out).resolve(),
        mail_to=tuple(mail_to),
        bank_lines=bank_lines,
        ledger_lines=ledger_lines,
    )


class Books:
    """The books through one connection: what it may do is what the connection's role may do."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def load(self, files: Files, *, key: str) -> bool:
        """Load the files; False where the same were loaded before."""
        values = {
            "import_id": files.import_id,
            "period": files.period,
            "bank": str(files.bank),
            "ledger": str(files.ledger),
            "out": str(files.out),
            "mail_to": list(files.mail_to),
            "key": key,
        }
        if await self._one("insert_import", values) is None:
            return False
        await self._copy("copy_bank", files.import_id, files.bank_lines)
        await self._copy("copy_ledger", files.import_id, files.ledger_lines)
        return True

    async def current(self, period: str) -> Row:
        """The import that a period is closed with.

        Raises:
            InputError: the period was never loaded.
        """
        row = await self._one("latest_import", {"period": period})
        if row is None:
            raise InputError("period", None, None, period, "a period whose files were loaded")
        return row

    async def lines(self, import_id: str) -> tuple[list[BankLine], list[LedgerLine]]:
        """The bank statement and the ledger of an import."""
        bank = await self._all("bank_lines", {"import_id": import_id})
        ledger = await self._all("ledger_lines", {"import_id": import_id})
        return [BankLine(**row) for row in bank], [LedgerLine(**row) for row in ledger]

    async def post(self, proposal: Proposal, *, period: str, key: str, approvers: Sequence[str]) -> str | None:
        """Post an entry; None where this variance has one already."""
        values = {
            "entry_id": f"ADJ-{key[-10:].upper()}",
            "period": period,
            "variance": proposal.key,
            "debit_account": proposal.debit_account,
            "credit_account": proposal.credit_account,
            "amount": proposal.amount,
            "currency": proposal.currency,
            "date": proposal.date,
            "reference": proposal.reference,
            "memo": proposal.memo,
            "key": key,
            "approved_by": list(approvers),
        }
        row = await self._one("post_entry", values)
        return None if row is None else str(row["entry_id"])

    async def posted(self, period: str) -> dict[str, Row]:
        """The posted entries by their variance."""
        return {row["variance"]: row for row in await self._all("posted_entries", {"period": period})}

    async def pack(self, period: str) -> Row | None:
        """The current version of the close pack."""
        return await self._one("latest_pack", {"period": period})

    async def add_pack(self, period: str, version: int, files: PackFiles, *, key: str) -> None:
        """Keep a new version."""
        values = {"period": period, "version": version, "digest": files.digest, "key": key}
        paths = {"workbook": str(files.workbook), "markdown": str(files.markdown)}
        await self._connection.execute(_SQL["insert_pack"], values | paths)

    async def mailing(self, period: str) -> Mailing:
        """The current version and where it goes.

        Raises:
            InputError: there is no close pack yet.
        """
        row = await self.pack(period)
        if row is None:
            raise InputError("period", None, None, period, "a period whose close pack was built")
        sent = await self._one("mailing", {"period": period, "version": row["version"]})
        files = PackFiles(workbook=Path(row["workbook"]), markdown=Path(row["markdown"]), digest=row["digest"])
        recipients = tuple((await self.current(period))["mail_to"])
        return Mailing(version=row["version"], files=files, recipients=recipients, sent=sent is not None)

    async def add_mailing(self, period: str, mailing: Mailing, *, message_id: str) -> None:
        """Keep that a version was sent."""
        values = {"period": period, "version": mailing.version, "message_id": message_id}
        await self._connection.execute(_SQL["insert_mailing"], values | {"recipients": list(mailing.recipients)})

    async def _one(self, name: str, values: Mapping[str, Any]) -> Row | None:
        return await (await self._connection.execute(_SQL[name], values)).fetchone()

    async def _all(self, name: str, values: Mapping[str, Any]) -> list[Row]:
        return await (await self._connection.execute(_SQL[name], values)).fetchall()

    async def _copy(self, name: str, import_id: str, lines: Sequence[BankLine | LedgerLine]) -> None:
        async with self._connection.cursor().copy(_SQL[name]) as copy:
            for position, line in enumerate(lines):
                await copy.write_row((import_id, position, *astuple(line)))


def posted_entry(row: Row, *, reason: str) -> PostedEntry:
    """A posted row as the close pack shows it, with why it was proposed."""
    proposal = Proposal(
        key=row["variance"],
        debit_account=row["debit_account"],
        credit_account=row["credit_account"],
        amount=row["amount"],
        currency=row["currency"],
        date=row["date"],
        reference=row["reference"],
        memo=row["memo"],
        reason=reason,
    )
    approvers = ", ".join(row["approved_by"])
    return PostedEntry(
        proposal=proposal,
        entry_id=row["entry_id"],
        posted_by="close-agent",
        posted_at=row["posted_at"],
        approved_by=approvers,
        approved_at=row["posted_at"] if approvers else None,
    )
