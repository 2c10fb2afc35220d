"""The sample books are deterministic, of the promised size, and hold the promised variances."""

import json
from collections import Counter
from pathlib import Path

import pytest

from month_end.generate import main, sample, write_sample
from month_end.records import InputError, parse_period, read_bank_csv, read_ledger_csv

PLANTED = {
    "missing_in_ledger": 17,
    "missing_in_bank": 6,
    "duplicate_in_ledger": 3,
    "duplicate_in_bank": 3,
    "timing": 12,
    "wrong_amount": 6,
    "fx_rounding": 10,
}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = write_sample(tmp_path / "a"), write_sample(tmp_path / "b", seed=7, period="2026-10")
    assert first.bank.read_bytes() == second.bank.read_bytes()
    assert first.ledger.read_bytes() == second.ledger.read_bytes()
    assert first.planted.read_bytes() == second.planted.read_bytes()


def test_another_seed_writes_other_books(tmp_path: Path) -> None:
    first, second = write_sample(tmp_path / "a", seed=1), write_sample(tmp_path / "b", seed=2)
    assert first.bank.read_bytes() != second.bank.read_bytes()


@pytest.mark.parametrize("period", ["2026-10", "2027-02", "2028-02", "2026-05"])
def test_the_files_have_the_promised_size_and_can_be_read(tmp_path: Path, period: str) -> None:
    files = write_sample(tmp_path, seed=3, period=period)
    assert len(read_bank_csv(files.bank, parse_period(period))) == 1500
    assert len(read_ledger_csv(files.ledger, parse_period(period))) == 2000


def test_the_files_say_what_the_generator_made(tmp_path: Path) -> None:
    october = parse_period("2026-10")
    files = write_sample(tmp_path)
    bank, ledger, planted = sample(7, october)
    assert list(read_bank_csv(files.bank, october)) == bank
    assert list(read_ledger_csv(files.ledger, october)) == ledger
    truth = json.loads(files.planted.read_text())
    assert (truth["seed"], truth["period"]) == (7, "2026-10")
    assert [item["key"] for item in truth["variances"]] == [item.key for item in planted]


@pytest.mark.parametrize("seed", [1, 7, 20])
def test_the_promised_number_of_variances_is_planted(seed: int) -> None:
    _, _, planted = sample(seed, parse_period("2026-10"))
    assert Counter(item.kind for item in planted) == PLANTED
    assert len({item.key for item in planted}) == sum(PLANTED.values())


def test_the_books_look_like_a_business() -> None:
    bank, ledger, _ = sample(7, parse_period("2026-10"))
    assert {line.currency for line in bank} == {"USD", "EUR", "GBP"}
    assert all(line.counterparty and line.description for line in bank)
    words = " ".join(line.description for line in bank)
    for word in ("Payroll", "Supplier invoice", "Card settlement", "fee", "interest", "rent"):
        assert word in words
    rows = Counter(line.entry_id for line in ledger)
    assert max(rows.values()) > 2


def test_the_command_line_writes_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = write_sample(tmp_path / "a", seed=11, period="2026-04")
    assert main(["--seed", "11", "--period", "2026-04", "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b" / "bank.csv").read_bytes() == expected.bank.read_bytes()
    assert "ledger.csv" in capsys.readouterr().out


def test_the_command_line_refuses_a_malformed_period(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--period", "2026-13", "--out", str(tmp_path)]) == 2
    assert "2026-13" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_malformed_period_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_sample(tmp_path, period="October")
