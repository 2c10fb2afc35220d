"""Tables as a formatted workbook and as Markdown, safe for text that other people wrote."""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from openpyxl import Workbook
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

Cell = str | int | Decimal | date

_ROOM = 32_000
_FORMULA_STARTS = ("=", "+", "-", "@")
_MONEY = "#,##0.00;[Red]-#,##0.00"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
_MARKUP = re.compile(r"([\\`*_\[\]<>|~&#!])")

_HEADER_FONT = Font(bold=True, color="FFFFFF")
_HEADER_FILL = PatternFill("solid", fgColor="1F3A5F")
_TITLE_FONT = Font(bold=True, size=13, color="1F3A5F")
_TOTAL_FONT = Font(bold=True)
_TOTAL_BORDER = Border(top=Side(style="thin"), bottom=Side(style="double"))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column with its width in characters; text wraps where wrap says so."""

    title: str
    width: int = 14
    wrap: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows below a header; totals follow the rows in bold."""

    title: str = ""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: tuple[tuple[Cell, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet of the workbook, one section of the Markdown unless it is left to the workbook."""

    title: str
    tables: tuple[Table, ...]
    in_markdown: bool = True


def workbook_bytes(sheets: Iterable[Sheet], *, title: str) -> bytes:
    """Render the sheets as an xlsx file.

    A text that a spreadsheet would read as a formula gets an apostrophe in front, which also keeps it
    harmless when the sheet is saved as CSV later.
    """
    book = Workbook()
    book.remove(book.worksheets[0])
    book.properties.title = safe_text(title)
    book.properties.creator = "Month-end close"
    for sheet in sheets:
        _fill_sheet(book.create_sheet(sheet.title), sheet)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def markdown_text(sheets: Iterable[Sheet], *, title: str) -> str:
    """Render the sheets as Markdown, with all markup in their texts escaped."""
    parts = [f"# {_escaped(title)}"]
    for sheet in sheets:
        if sheet.in_markdown:
            parts.append(f"## {sheet.title}")
            parts += [part for table in sheet.tables for part in _markdown_table(table)]
    return "\n\n".join(parts) + "\n"


def safe_text(text: str) -> str:
    """Make a text harmless in a spreadsheet: no control characters, no start that makes it a formula."""
    clean = _CONTROL.sub(" ", text).strip()[:_ROOM]
    return f"'{clean}" if clean.startswith(_FORMULA_STARTS) else clean


def _fill_sheet(worksheet: Worksheet, sheet: Sheet) -> None:
    row = 1
    for table in sheet.tables:
        row = _fill_table(worksheet, table, row) + 2
    _set_widths(worksheet, sheet.tables)
    worksheet.freeze_panes = "A2"
    worksheet.sheet_view.showGridLines = False
    worksheet.page_setup.orientation = "landscape"
    worksheet.page_setup.fitToHeight = 0
    worksheet.sheet_properties.pageSetUpPr.fitToPage = True  # pyright: ignore[reportOptionalMemberAccess]
    worksheet.print_title_rows = "1:1"


def _fill_table(worksheet: Worksheet, table: Table, row: int) -> int:
    """Write a table from the given row on and return the last row written."""
    if table.title:
        worksheet.cell(row, 1, table.title).font = _TITLE_FONT
        row += 1
    header = row
    _fill_header(worksheet, table.columns, header)
    for cells in table.rows:
        row += 1
        _fill_row(worksheet, table.columns, cells, row)
    if not table.title:
        worksheet.auto_filter.ref = f"A{header}:{get_column_letter(len(table.columns))}{row}"
    for cells in table.totals:
        row += 1
        _fill_row(worksheet, table.columns, cells, row, total=True)
    return row


def _fill_header(worksheet: Worksheet, columns: Sequence[Column], row: int) -> None:
    for place, column in enumerate(columns, start=1):
        cell = worksheet.cell(row, place, column.title)
        cell.font = _HEADER_FONT
        cell.fill = _HEADER_FILL
        cell.alignment = Alignment(vertical="center", wrap_text=True)


def _fill_row(
    worksheet: Worksheet, columns: Sequence[Column], cells: Sequence[Cell], row: int, *, total: bool = False
) -> None:
    for place, (column, value) in enumerate(zip(columns, cells, strict=True), start=1):
        cell = worksheet.cell(row, place, safe_text(value) or None if isinstance(value, str) else value)
        cell.alignment = Alignment(vertical="top", wrap_text=column.wrap)
        if isinstance(cell.value, str):
            # openpyxl guesses a type from the text, such as an error from "#N/A"; it is always text here.
            cell.data_type = "s"
        elif not isinstance(value, str):
            cell.number_format = _number_format(value)
        if total:
            cell.font = _TOTAL_FONT
            cell.border = _TOTAL_BORDER


def _number_format(value: int | Decimal | date) -> str:
    if isinstance(value, Decimal):
        return _MONEY
    return "yyyy-mm-dd" if isinstance(value, date) else "0"


def _set_widths(worksheet: Worksheet, tables: Sequence[Table]) -> None:
    for place in range(max(len(table.columns) for table in tables)):
        width = max(table.columns[place].width for table in tables if place < len(table.columns))
        worksheet.column_dimensions[get_column_letter(place + 1)].width = width


def _markdown_table(table: Table) -> list[str]:
    title = [f"### {table.title}"] if table.title else []
    if not table.rows:
        return [*title, "None."]
    header = _markdown_row([_escaped(column.title) for column in table.columns])
    ruler = "|" + "|".join("---:" if _is_money(table, place) else "---" for place in range(len(table.columns))) + "|"
    rows = [_markdown_row([_markdown_cell(cell) for cell in cells]) for cells in table.rows]
    totals = [_markdown_row([_bold(_markdown_cell(cell)) for cell in cells]) for cells in table.totals]
    return [*title, "\n".join([header, ruler, *rows, *totals])]


def _is_money(table: Table, place: int) -> bool:
    return isinstance(table.rows[0][place], Decimal)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    return f"{cell:,.2f}" if isinstance(cell, Decimal) else _escaped(str(cell))


def _bold(text: str) -> str:
    return f"**{text}**" if text else ""


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", _CONTROL.sub(" ", text).strip())
