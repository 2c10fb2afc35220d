"""The close pack says what was found, posted and left open, is safe to open, and never half-written."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from openpyxl.workbook import Workbook

from month_end import pack as pack_module
from month_end.generate import sample
from month_end.matching import reconcile
from month_end.pack import ClosePack, PostedEntry, RejectedProposal, build_pack, pack_digest, prove
from month_end.proposals import open_items, propose
from month_end.records import parse_period
from month_end.render import safe_text

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
EVIL = '=HYPERLINK("http://example.com","x")'


@cache
def sample_pack() -> ClosePack:
    """Post everything, with approval above 1,000, but for one rejected proposal."""
    october = parse_period("2026-10")
    bank_lines, ledger, _ = sample(7, october)
    result = reconcile(bank_lines, ledger, october)
    *accepted, last = propose(result)
    return ClosePack(
        company="Northlight Home Goods",
        version=1,
        reconciliation=result,
        posted=tuple(
            PostedEntry(
                proposal=proposal,
                entry_id=f"ADJ-{number:04d}",
                posted_by="close workflow",
                posted_at=NOON,
                approved_by="controller" if proposal.amount > 1000 else "",
                approved_at=NOON if proposal.amount > 1000 else None,
            )
            for number, proposal in enumerate(accepted, start=1)
        ),
        rejected=(RejectedProposal(proposal=last, rejected_by="controller", rejected_at=NOON, reason="Ask treasury."),),
        open_items=open_items(result),
    )


@cache
def small_pack() -> ClosePack:
    """The sample with few matches, for tests that build it often."""
    data = sample_pack()
    return replace(data, reconciliation=replace(data.reconciliation, matches=data.reconciliation.matches[:9]))


def opened(path: Path) -> Workbook:
    return load_workbook(io.BytesIO(path.read_bytes()))


def cells_of(path: Path, sheet: str) -> list[tuple[Any, ...]]:
    return list(opened(path)[sheet].iter_rows(values_only=True))


def with_text(text: str) -> ClosePack:
    """Put the text wherever somebody else can write one."""
    data = small_pack()
    first, *others = data.posted
    proposal = replace(first.proposal, memo=text, reason=text)
    variances = tuple(replace(variance, explanation=text) for variance in data.reconciliation.variances)
    return replace(
        data,
        company=text,
        reconciliation=replace(data.reconciliation, variances=variances),
        posted=(replace(first, proposal=proposal, posted_by=text, approved_by=text), *others),
        rejected=tuple(replace(entry, reason=text, rejected_by=text) for entry in data.rejected),
        open_items=tuple(replace(item, explanation=text) for item in data.open_items),
    )


def test_the_files_are_named_after_period_and_version(tmp_path: Path) -> None:
    files = build_pack(small_pack(), tmp_path / "new")
    assert files.workbook == tmp_path / "new" / "close-pack-2026-10-v1.xlsx"
    assert files.markdown == tmp_path / "new" / "close-pack-2026-10-v1.md"
    assert sorted(tmp_path.joinpath("new").iterdir()) == sorted([files.workbook, files.markdown])


def test_the_workbook_has_every_sheet_with_every_row(tmp_path: Path) -> None:
    data = sample_pack()
    book = opened(build_pack(data, tmp_path).workbook)
    assert book.sheetnames == ["Summary", "Matches", "Variances", "Adjustments", "Open items", "Approvals"]
    # A header, the rows, and a total for each currency among them.
    assert book["Matches"].max_row == 1 + len(data.reconciliation.matches) + 3
    assert book["Variances"].max_row == 1 + 57 + 3
    assert book["Adjustments"].max_row == 1 + 35 + 3
    assert book["Open items"].max_row == 1 + 21 + 1
    assert book["Approvals"].max_row == 1 + 4 + 1


def test_the_workbook_is_formatted(tmp_path: Path) -> None:
    book = opened(build_pack(small_pack(), tmp_path).workbook)
    sheet = book["Variances"]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:E58"
    assert sheet["A1"].font.bold
    assert sheet["A1"].fill.fgColor.rgb == "001F3A5F"
    assert sheet.column_dimensions["E"].width > 60
    assert "#,##0.00" in sheet["C2"].number_format
    assert sheet["A59"].font.bold
    assert book["Adjustments"]["B2"].number_format == "yyyy-mm-dd"


def test_amounts_are_numbers_and_totals_add_up(tmp_path: Path) -> None:
    data = small_pack()
    rows = cells_of(build_pack(data, tmp_path).workbook, "Variances")
    total = next(row for row in rows if row[0] == "Total" and row[3] == "USD")
    expected = sum(v.amount for v in data.reconciliation.variances if v.currency == "USD")
    assert Decimal(str(total[2])) == expected
    assert all(isinstance(row[2], (int, float)) for row in rows[1:])


def test_the_approvals_sheet_shows_who_decided_what(tmp_path: Path) -> None:
    rows = cells_of(build_pack(small_pack(), tmp_path).workbook, "Approvals")[1:]
    assert sorted(row[1] for row in rows if row[3] == "approved") == [1860, 2312.5, 4950, 12480]
    assert [row[4:] for row in rows if row[3] == "rejected"] == [
        ("controller", "2026-11-03 12:00:00 UTC", None, "Ask treasury.")
    ]


@pytest.mark.parametrize(
    "text", [EVIL, "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1+1", "\r=1", "  =1+1", "\x0b=1"]
)
def test_no_text_becomes_a_formula(tmp_path: Path, text: str) -> None:
    book = opened(build_pack(with_text(text), tmp_path).workbook)
    held = 0
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f"
                if isinstance(cell.value, str):
                    assert cell.value.lstrip()[:1] not in ("=", "+", "-", "@")
                    held += cell.value.startswith("'")
    assert held > 80


@pytest.mark.parametrize("text", ["nul\0", "\ud800", "\ufffe", "x" * 40_000, "#N/A", "\u2028"])
def test_no_text_breaks_the_files(tmp_path: Path, text: str) -> None:
    files = build_pack(with_text(text), tmp_path)
    (shown,) = {row[4] for row in cells_of(files.workbook, "Variances")[1:] if row[0] != "Total"}
    assert (shown or "") == safe_text(text)
    assert opened(files.workbook)["Variances"]["E2"].data_type != "e"
    plain = build_pack(with_text("plain"), tmp_path / "plain").markdown
    lines = files.markdown.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(plain.read_text(encoding="utf-8").splitlines())


def test_markdown_shows_text_as_it_is(tmp_path: Path) -> None:
    text = "a | b\n# c <script>alert(1)</script> [x](http://example.com) ![y](z) `d` *e*"
    shown = build_pack(with_text(text), tmp_path).markdown.read_text(encoding="utf-8")
    assert "<script>" not in shown.replace("\\<", "")
    assert "a \\| b \\# c \\<script\\>alert(1)\\</script\\> \\[x\\](http://example.com) \\!\\[y\\](z)" in shown


def test_markdown_holds_the_proof_and_every_variance(tmp_path: Path) -> None:
    data = small_pack()
    shown = build_pack(data, tmp_path).markdown.read_text(encoding="utf-8")
    assert shown.startswith("# Northlight Home Goods: close of 2026-10, version 1\n")
    assert all(variance.key in shown for variance in data.reconciliation.variances)
    assert all(entry.entry_id in shown for entry in data.posted)
    usd = next(proof for proof in prove(data) if proof.currency == "USD")
    assert f"| USD | {usd.bank:,.2f} | {usd.ledger:,.2f} | {usd.bank - usd.ledger:,.2f} |" in shown


def test_an_empty_close_can_be_packed(tmp_path: Path) -> None:
    october = parse_period("2026-10")
    data = ClosePack(company="Northlight", version=2, reconciliation=reconcile([], [], october))
    files = build_pack(data, tmp_path)
    assert files.workbook.name == "close-pack-2026-10-v2.xlsx"
    assert "None." in files.markdown.read_text(encoding="utf-8")


def test_the_proof_is_complete_only_when_everything_is_settled() -> None:
    data = sample_pack()
    assert all(proof.unsettled == 0 for proof in prove(data))
    first, *others = data.posted
    forgotten = {proof.currency: proof.unsettled for proof in prove(replace(data, posted=tuple(others)))}
    assert abs(forgotten[first.proposal.currency]) == first.proposal.amount
    assert any(proof.unsettled for proof in prove(replace(data, open_items=())))


def again(data: ClosePack) -> ClosePack:
    return replace(data, version=9)


def reordered(data: ClosePack) -> ClosePack:
    return replace(data, posted=data.posted[::-1], open_items=data.open_items[::-1])


def in_another_zone(data: ClosePack) -> ClosePack:
    local = NOON.astimezone(timezone(timedelta(hours=2)))
    return replace(data, posted=tuple(replace(entry, posted_at=local) for entry in data.posted))


def with_more_zeros(data: ClosePack) -> ClosePack:
    def longer(entry: PostedEntry) -> PostedEntry:
        amount = entry.proposal.amount.quantize(Decimal("0.0000"))
        return replace(entry, proposal=replace(entry.proposal, amount=amount))

    return replace(data, posted=tuple(longer(entry) for entry in data.posted))


@pytest.mark.parametrize("change", [again, reordered, in_another_zone, with_more_zeros])
def test_the_same_content_has_the_same_digest(change: Callable[[ClosePack], ClosePack]) -> None:
    assert pack_digest(change(sample_pack())) == pack_digest(sample_pack())


def one_less_posted(data: ClosePack) -> ClosePack:
    return replace(data, posted=data.posted[1:])


def another_approver(data: ClosePack) -> ClosePack:
    return replace(data, posted=tuple(replace(entry, approved_by="somebody") for entry in data.posted))


def another_reason(data: ClosePack) -> ClosePack:
    return replace(data, rejected=tuple(replace(entry, reason="No.") for entry in data.rejected))


def one_less_open(data: ClosePack) -> ClosePack:
    return replace(data, open_items=data.open_items[1:])


def one_less_match(data: ClosePack) -> ClosePack:
    result = data.reconciliation
    return replace(data, reconciliation=replace(result, matches=result.matches[1:]))


def another_company(data: ClosePack) -> ClosePack:
    return replace(data, company="Southlight")


def a_second_later(data: ClosePack) -> ClosePack:
    later = NOON + timedelta(seconds=1)
    return replace(data, rejected=tuple(replace(entry, rejected_at=later) for entry in data.rejected))


@pytest.mark.parametrize(
    "change",
    [
        one_less_posted,
        another_approver,
        another_reason,
        one_less_open,
        one_less_match,
        another_company,
        a_second_later,
    ],
)
def test_other_content_has_another_digest(change: Callable[[ClosePack], ClosePack]) -> None:
    assert pack_digest(change(sample_pack())) != pack_digest(sample_pack())


def test_building_reports_the_digest_and_prints_it(tmp_path: Path) -> None:
    files = build_pack(small_pack(), tmp_path)
    assert files.digest == pack_digest(small_pack())
    assert ("Content digest", files.digest) in [row[:2] for row in cells_of(files.workbook, "Summary")]
    assert files.digest in files.markdown.read_text(encoding="utf-8")


def test_building_again_replaces_the_files(tmp_path: Path) -> None:
    build_pack(replace(small_pack(), company="Before"), tmp_path)
    files = build_pack(small_pack(), tmp_path)
    assert "Before" not in files.markdown.read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_pack(small_pack(), tmp_path).workbook.read_bytes()

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pack_module.os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        build_pack(replace(small_pack(), company="After"), tmp_path)
    assert (tmp_path / "close-pack-2026-10-v1.xlsx").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
