"""Bank and ledger files are read as documented, and everything wrong with one is refused with its place."""

import pickle
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from month_end.records import (
    BankLine,
    InputError,
    LedgerLine,
    Period,
    parse_period,
    read_bank_csv,
    read_ledger_csv,
)

OCTOBER = parse_period("2026-10")
BANK_HEADER = "line,date,amount,currency,reference,counterparty,description"
BANK_ROW = "B-1,2026-10-05,-12.50,USD,FEE-1,First Harbor Bank,Wire fee"
LEDGER_HEADER = "line,entry_id,date,account,amount,currency,reference,description"
LEDGER_ROWS = (
    "L-1,JE-1,2026-10-05,1000,-12.50,USD,FEE-1,Wire fee",
    "L-2,JE-1,2026-10-05,6200,12.50,USD,FEE-1,Wire fee",
)


def write(folder: Path, *lines: str, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal_of_bank(path: Path) -> InputError:
    with pytest.raises(InputError) as refusal:
        read_bank_csv(path, OCTOBER)
    return refusal.value


def refusal_of_ledger(path: Path) -> InputError:
    with pytest.raises(InputError) as refusal:
        read_ledger_csv(path, OCTOBER)
    return refusal.value


def test_a_bank_line_keeps_every_column(tmp_path: Path) -> None:
    assert read_bank_csv(write(tmp_path, BANK_HEADER, BANK_ROW), OCTOBER) == (
        BankLine(
            line="B-1",
            date=date(2026, 10, 5),
            amount=Decimal("-12.50"),
            currency="USD",
            reference="FEE-1",
            counterparty="First Harbor Bank",
            description="Wire fee",
        ),
    )


def test_a_ledger_line_keeps_every_column(tmp_path: Path) -> None:
    cash, _ = read_ledger_csv(write(tmp_path, LEDGER_HEADER, *LEDGER_ROWS), OCTOBER)
    assert cash == LedgerLine(
        line="L-1",
        entry_id="JE-1",
        date=date(2026, 10, 5),
        account="1000",
        amount=Decimal("-12.50"),
        currency="USD",
        reference="FEE-1",
        description="Wire fee",
    )


def test_columns_may_stand_in_any_order_after_a_byte_order_mark_with_blank_lines(tmp_path: Path) -> None:
    header = "description,line,currency,amount,date,counterparty,reference"
    path = write(tmp_path, f"\ufeff{header}", "", '"Fee, wire",B-1,USD,7,2026-10-05,,', "")
    (line,) = read_bank_csv(path, OCTOBER)
    assert (line.description, line.amount, line.reference) == ("Fee, wire", Decimal("7.00"), "")


def test_lines_of_neighbouring_months_are_kept(tmp_path: Path) -> None:
    other = "B-2,2026-11-02,5.00,USD,,,"
    assert len(read_bank_csv(write(tmp_path, BANK_HEADER, BANK_ROW, other), OCTOBER)) == 2


@pytest.mark.parametrize(
    "amount",
    [
        *("NaN", "abc", "1.234", "1,234.50", "1.234,50", "inf", "-Infinity", "1e5", "", " 5", "+5", "0"),
        *("-0.00", "1000000000000.00", "9" * 400, "\u0661\u0662", "5.", ".5", "--5", "$5"),
    ],
)
def test_an_impossible_amount_is_refused_with_its_place(tmp_path: Path, amount: str) -> None:
    row = f'B-2,2026-10-06,"{amount}",USD,,,'
    path = write(tmp_path, BANK_HEADER, BANK_ROW, row)
    refusal = refusal_of_bank(path)
    assert (refusal.file, refusal.line, refusal.column) == (str(path), 3, "amount")
    assert refusal.value == amount
    assert "amount" in refusal.expected or "number" in refusal.expected


@pytest.mark.parametrize("day", ["2026-02-30", "2026-13-01", "10/05/2026", "20261005", "2026-W40-1", "", "٢٠٢٦-10-05"])
def test_an_impossible_date_is_refused(tmp_path: Path, day: str) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, f"B-1,{day},5.00,USD,,,"))
    assert (refusal.line, refusal.column, refusal.value) == (2, "date", day)
    assert "YYYY-MM-DD" in refusal.expected


@pytest.mark.parametrize("currency", ["usd", "US", "USDT", "$", "", "US1"])
def test_a_currency_of_another_shape_is_refused(tmp_path: Path, currency: str) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, f"B-1,2026-10-05,5.00,{currency},,,"))
    assert (refusal.line, refusal.column, refusal.value) == (2, "currency", currency)


def test_a_repeated_line_id_names_the_line_that_has_it(tmp_path: Path) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, BANK_ROW, "", BANK_ROW))
    assert (refusal.line, refusal.column, refusal.value) == (4, "line", "B-1")
    assert "line 2" in refusal.expected


@pytest.mark.parametrize("line_id", ["", " ", "B 1", "=B1", "B" * 65])
def test_a_line_id_of_another_shape_is_refused(tmp_path: Path, line_id: str) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, f"{line_id},2026-10-05,5.00,USD,,,"))
    assert (refusal.column, refusal.value) == ("line", line_id)


@pytest.mark.parametrize("text", ["two\nlines", "nul\0", "bell\a", "x" * 501])
def test_text_with_control_characters_or_without_end_is_refused(tmp_path: Path, text: str) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, f'B-1,2026-10-05,5.00,USD,,,"{text}"'))
    assert (refusal.line, refusal.column) == (2, "description")
    assert len(str(refusal)) < 400


def test_a_misspelt_column_names_the_nearest(tmp_path: Path) -> None:
    header = BANK_HEADER.replace("amount", "ammount")
    refusal = refusal_of_bank(write(tmp_path, header, BANK_ROW))
    assert (refusal.line, refusal.column, refusal.value) == (1, "ammount", "ammount")
    assert "did you mean amount?" in refusal.expected


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    header = BANK_HEADER.replace(",currency", "")
    refusal = refusal_of_bank(write(tmp_path, header, BANK_ROW.replace(",USD", "")))
    assert (refusal.line, refusal.column) == (1, "currency")


@pytest.mark.parametrize("extra", ["memo", "amount"])
def test_an_extra_or_repeated_column_is_refused(tmp_path: Path, extra: str) -> None:
    refusal = refusal_of_bank(write(tmp_path, f"{BANK_HEADER},{extra}", f"{BANK_ROW},x"))
    assert (refusal.line, refusal.column) == (1, extra)


def test_semicolons_are_named_as_the_wrong_separator(tmp_path: Path) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER.replace(",", ";")))
    assert "separated by commas" in refusal.expected


@pytest.mark.parametrize("row", [f"{BANK_ROW},more", "B-1,2026-10-05,5.00"])
def test_a_row_with_more_or_fewer_cells_is_refused(tmp_path: Path, row: str) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, row))
    assert refusal.line == 2
    assert "7 columns" in refusal.expected


def test_a_line_is_counted_as_an_editor_counts_it(tmp_path: Path) -> None:
    rows = ('B-1,2026-10-05,5.00,USD,,,"two', 'lines"', "B-2,2026-10-05")
    assert refusal_of_bank(write(tmp_path, BANK_HEADER, *rows)).line == 4


def test_an_open_quote_is_refused_where_it_starts(tmp_path: Path) -> None:
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, BANK_ROW, 'B-2,2026-10-05,5.00,USD,,,"open', "more"))
    assert refusal.line == 3
    assert "quote" in refusal.expected


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    absent = refusal_of_bank(tmp_path / "absent.csv")
    assert (absent.file, absent.line, absent.column) == (str(tmp_path / "absent.csv"), None, None)
    assert "can be read" in refusal_of_bank(tmp_path).expected


@pytest.mark.parametrize("lines", [(), (BANK_HEADER,)])
def test_an_empty_file_is_refused(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert "header" in refusal_of_bank(write(tmp_path, *lines)).expected


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_names_the_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(f"{BANK_HEADER}\n{BANK_ROW}\nB-2,2026-10-05,5,USD,,Café,".encode(encoding))
    refusal = refusal_of_bank(path)
    assert refusal.line == (3 if encoding == "latin-1" else 1)
    assert "UTF-8" in refusal.expected


def test_a_file_without_a_line_of_the_period_says_which_it_holds(tmp_path: Path) -> None:
    rows = ("B-1,2026-09-05,5.00,USD,,,", "B-2,2026-11-05,5.00,USD,,,")
    refusal = refusal_of_bank(write(tmp_path, BANK_HEADER, *rows))
    assert (refusal.column, refusal.value) == ("date", "2026-10")
    assert "2026-09, 2026-11" in refusal.expected


def test_an_unbalanced_entry_is_named_with_its_line_and_by_how_much(tmp_path: Path) -> None:
    rows = (*LEDGER_ROWS, "L-3,JE-2,2026-10-06,1000,5.00,USD,,", "L-4,JE-2,2026-10-06,4000,-4.90,USD,,")
    refusal = refusal_of_ledger(write(tmp_path, LEDGER_HEADER, *rows))
    assert (refusal.line, refusal.column) == (4, "amount")
    assert "JE-2" in refusal.expected
    assert "off by 0.10 USD" in refusal.expected


def test_an_entry_must_balance_in_each_currency(tmp_path: Path) -> None:
    rows = ("L-3,JE-2,2026-10-06,1000,5.00,EUR,,", "L-4,JE-2,2026-10-06,4000,-5.00,USD,,")
    refusal = refusal_of_ledger(write(tmp_path, LEDGER_HEADER, *LEDGER_ROWS, *rows))
    assert "off by 5.00 EUR" in refusal.expected


def test_a_ledger_without_the_bank_account_is_refused(tmp_path: Path) -> None:
    rows = [row.replace(",1000,", ",1100,") for row in LEDGER_ROWS]
    refusal = refusal_of_ledger(write(tmp_path, LEDGER_HEADER, *rows))
    assert (refusal.column, refusal.value) == ("account", "1100, 6200")


def test_an_account_of_another_shape_is_refused(tmp_path: Path) -> None:
    refusal = refusal_of_ledger(write(tmp_path, LEDGER_HEADER, LEDGER_ROWS[0].replace(",1000,", ",cash,")))
    assert (refusal.line, refusal.column, refusal.value) == (2, "account", "cash")


def test_the_message_names_file_line_column_value_and_expectation(tmp_path: Path) -> None:
    path = write(tmp_path, BANK_HEADER, "B-1,2026-10-05,abc,USD,,,")
    assert str(refusal_of_bank(path)) == (
        f"{path}, line 2, column amount: found 'abc', expected a plain number with at most two decimals "
        "and no thousands separator, such as -1234.50"
    )


def test_a_refusal_survives_pickling(tmp_path: Path) -> None:
    refusal = refusal_of_bank(tmp_path / "absent.csv")
    assert str(pickle.loads(pickle.dumps(refusal))) == str(refusal)


@pytest.mark.parametrize(
    ("text", "last"), [("2026-10", 31), ("2026-02", 28), ("2028-02", 29), ("1900-01", 31), ("2099-12", 31)]
)
def test_a_period_is_a_whole_month(text: str, last: int) -> None:
    year, month = map(int, text.split("-"))
    period = parse_period(text)
    assert period == Period(start=date(year, month, 1), end=date(year, month, last))
    assert period.key == text


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-00", "2026-1", "202610", "", "2026-10-01", "10-2026", "9999-12", "2026-10\n"]
)
def test_a_malformed_period_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="YYYY-MM") as refusal:
        parse_period(text)
    assert (refusal.value.file, refusal.value.value) == ("period", text)


def test_a_period_holds_its_own_days_only() -> None:
    assert date(2026, 10, 1) in OCTOBER
    assert date(2026, 10, 31) in OCTOBER
    assert date(2026, 11, 1) not in OCTOBER
    assert date(2026, 11, 7) in OCTOBER.widened(7)
    assert date(2026, 9, 23) not in OCTOBER.widened(7)
