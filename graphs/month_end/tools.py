"""The tools of the close: each works on the books in Postgres, as the identity that the policy gives it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from langchain_core.tools import ToolException
from langgraph.config import get_store
from pydantic import Field

from month_end.books import Books, posted_entry, read_files
from month_end.mail import MailError, send_pack
from month_end.matching import Reconciliation, Variance
from month_end.matching import reconcile as reconcile_books
from month_end.pack import ClosePack, PackFiles, RejectedProposal, build_pack, pack_digest
from month_end.proposals import Proposal, open_items, propose
from month_end.records import InputError, parse_period
from stateward import Effect, tool

COMPANY = os.environ.get("MONTH_END_COMPANY", "Northwind Traders")
Month = Annotated[str, Field(description="The accounting month, as YYYY-MM.", pattern=r"^\d{4}-\d{2}$")]


@tool(transactional=True)
async def load_period(
    period: Month, bank: str, ledger: str, out: str, effect: Effect, mail_to: list[str] | None = None
) -> dict[str, Any]:
    """Load the bank statement and the ledger of a period into the books; the same files are loaded once.

    Args:
        period: The month to close, as YYYY-MM.
        bank: Path of the bank statement (CSV).
        ledger: Path of the ledger (CSV).
        out: Folder for the close pack.
        mail_to: Who receives the close pack.
        effect: Filled in by the runtime.
    """
    try:
        files = await asyncio.to_thread(read_files, period, bank, ledger, out, mail_to or [])
    except InputError as error:
        raise ToolException(str(error)) from error
    async with effect.transaction() as tx:
        fresh = await Books(tx.connection).load(files, key=effect.key)
        result = {
            "import": files.import_id,
            "bank_lines": len(files.bank_lines),
            "ledger_lines": len(files.ledger_lines),
            "loaded": fresh,
        }
        tx.settle(result)
    return result


@tool
async def reconcile(period: Month, effect: Effect) -> dict[str, Any]:
    """Match the bank statement with the ledger of a period, and say how much is matched and what is left.

    Args:
        period: The month, as YYYY-MM.
        effect: Filled in by the runtime.
    """
    async with effect.transaction() as tx:
        found = await _reconciliation(Books(tx.connection), period)
    kinds = Counter(variance.kind for variance in found.variances)
    return {
        "period": period,
        "matches": len(found.matches),
        "matched_by": dict(Counter(match.how for match in found.matches)),
        "variances": dict(kinds),
        "totals": [
            {
                "currency": one.currency,
                "bank": str(one.bank),
                "ledger": str(one.ledger),
                "explained": str(one.explained),
            }
            for one in found.totals
        ],
    }


@tool
async def flag_variances(period: Month, effect: Effect) -> dict[str, Any]:
    """List every variance of a period with its explanation, and whether it is settled by a posted entry.

    Args:
        period: The month, as YYYY-MM.
        effect: Filled in by the runtime.
    """
    async with effect.transaction() as tx:
        books = Books(tx.connection)
        found, posted = await _reconciliation(books, period), await books.posted(period)
    return {"period": period, "variances": [_variance(one, one.key in posted) for one in found.variances]}


@tool
async def propose_entries(period: Month, effect: Effect) -> dict[str, Any]:
    """Propose the adjusting entries that are neither posted nor turned down, smallest first.

    Args:
        period: The month, as YYYY-MM.
        effect: Filled in by the runtime.
    """
    async with effect.transaction() as tx:
        books = Books(tx.connection)
        found, posted = await _reconciliation(books, period), await books.posted(period)
    rejected = await _rejections()
    proposals = propose(found)
    fresh = [one for one in proposals if one.key not in posted and one.key not in rejected]
    return {
        "period": period,
        "proposals": [_proposal(one) for one in sorted(fresh, key=lambda one: (one.amount, one.key))],
        "posted_before": sum(one.key in posted for one in proposals),
        "rejected_before": sorted(one.key for one in proposals if one.key in rejected),
        "open_items": len(open_items(found)),
    }


@tool(transactional=True)
async def post_journal_entry(
    period: Month,
    variance: Annotated[str, Field(description="Key of the variance that the entry settles.")],
    debit_account: Annotated[str, Field(description="Account to debit.")],
    credit_account: Annotated[str, Field(description="Account to credit.")],
    amount: Annotated[float, Field(description="What to post, above zero, at most two decimals.")],
    currency: Annotated[str, Field(description="Three letters.", pattern="^[A-Z]{3}$")],
    date: Annotated[date, Field(description="The day to book it on.")],
    memo: Annotated[str, Field(description="The text of the entry.")],
    effect: Effect,
    reference: Annotated[str, Field(description="Reference of the transaction.")] = "",
) -> dict[str, Any]:
    """Post one adjusting entry to the ledger. It is posted exactly once, whatever crashes."""
    proposal = Proposal(
        key=variance,
        debit_account=debit_account,
        credit_account=credit_account,
        amount=_money(amount),
        currency=currency,
        date=date,
        reference=reference,
        memo=memo,
        reason="",
    )
    async with effect.transaction() as tx:
        entry = await Books(tx.connection).post(proposal, period=period, key=effect.key, approvers=effect.approvers)
        result = {
            "variance": variance,
            "entry_id": entry,
            "amount": str(proposal.amount),
            "posted": entry is not None,
        }
        tx.settle(result)
    return result


@tool(idempotent=True)
async def build_close_pack(period: Month, effect: Effect) -> dict[str, Any]:
    """Write the close pack (a spreadsheet and a summary); unchanged content stays the version that it was.

    Args:
        period: The month, as YYYY-MM.
        effect: Filled in by the runtime.
    """
    async with effect.transaction() as tx:
        books = Books(tx.connection)
        data, latest = await _pack_data(books, period), await books.pack(period)
        if latest is not None and latest["digest"] == pack_digest(data):
            result = _pack_result(period, latest["version"], latest["workbook"], latest["markdown"], new=False)
        else:
            data = replace(data, version=latest["version"] + 1 if latest else 1)
            files = await asyncio.to_thread(build_pack, data, (await books.current(period))["out"])
            await books.add_pack(period, data.version, files, key=effect.key)
            result = _pack_result(period, data.version, str(files.workbook), str(files.markdown), new=True)
        tx.settle(result)
    return result


@tool
async def send_close_pack(period: Month, effect: Effect) -> dict[str, Any]:
    """Send the current close pack to the people that the period was opened with.

    Args:
        period: The month, as YYYY-MM.
        effect: Filled in by the runtime.
    """
    async with effect.transaction() as tx:
        books = Books(tx.connection)
        mailing = await books.mailing(period)
        if not mailing.recipients:
            raise ToolException("the period was opened without recipients: start the run with --mail-to")
        message_id = f"<{effect.key}@stateward.local>"
        if not mailing.sent:
            await asyncio.to_thread(_send, mailing.files, mailing.recipients, period, mailing.version, message_id)
            await books.add_mailing(period, mailing, message_id=message_id)
        result = {
            "period": period,
            "version": mailing.version,
            "to": list(mailing.recipients),
            "sent": not mailing.sent,
        }
        tx.settle(result)
    return result


def _send(files: PackFiles, to: tuple[str, ...], period: str, version: int, message_id: str) -> None:
    host, _, port = os.environ.get("MONTH_END_SMTP", "localhost:25").partition(":")
    try:
        send_pack(
            files,
            to=to,
            subject=f"{COMPANY}: close of {period}, version {version}",
            body=f"The close pack of {period}, version {version}, is attached.",
            host=host,
            port=int(port or 25),
            message_id=message_id,
            sender=os.environ.get("MONTH_END_SENDER", "close@stateward.local"),
        )
    except MailError as error:
        if error.may_have_been_sent:
            raise
        raise ToolException(str(error)) from error


async def _reconciliation(books: Books, period: str) -> Reconciliation:
    current = await books.current(period)
    bank, ledger = await books.lines(current["import_id"])
    return await asyncio.to_thread(reconcile_books, bank, ledger, parse_period(period))


async def _rejections() -> dict[str, dict[str, Any]]:
    items = await get_store().asearch(("variance_note",), filter={"status": "rejected"}, limit=1000)
    return {item.key: item.value for item in items}


async def _pack_data(books: Books, period: str) -> ClosePack:
    found = await _reconciliation(books, period)
    posted, rejected = await books.posted(period), await _rejections()
    proposals = propose(found)
    reasons = {one.key: one.reason for one in proposals}
    return ClosePack(
        company=COMPANY,
        version=0,
        reconciliation=found,
        posted=tuple(posted_entry(row, reason=reasons.get(key, "")) for key, row in posted.items()),
        rejected=tuple(_rejected(one, rejected[one.key]) for one in proposals if one.key in rejected),
        open_items=open_items(found),
    )


def _rejected(proposal: Proposal, note: dict[str, Any]) -> RejectedProposal:
    at = datetime.fromisoformat(note["at"]).replace(tzinfo=UTC)
    return RejectedProposal(proposal=proposal, rejected_by=note["by"], rejected_at=at, reason=note["reason"])


def _variance(one: Variance, settled: bool) -> dict[str, Any]:
    return {
        "variance": one.key,
        "kind": one.kind,
        "amount": str(one.amount),
        "currency": one.currency,
        "settled": settled,
        "explanation": one.explanation,
    }


def _proposal(one: Proposal) -> dict[str, Any]:
    return {
        "variance": one.key,
        "debit_account": one.debit_account,
        "credit_account": one.credit_account,
        "amount": float(one.amount),
        "currency": one.currency,
        "date": one.date.isoformat(),
        "reference": one.reference,
        "memo": one.memo,
        "reason": one.reason,
    }


def _pack_result(period: str, version: int, workbook: str, markdown: str, *, new: bool) -> dict[str, Any]:
    return {"period": period, "version": version, "workbook": workbook, "markdown": markdown, "new": new}


def _money(amount: float) -> Decimal:
    exact = Decimal(str(amount))
    rounded = exact.quantize(Decimal("0.01"))
    if exact != rounded:
        raise ToolException(f"{amount} has more than two decimals")
    return rounded
