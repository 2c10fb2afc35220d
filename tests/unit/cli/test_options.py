"""Options of a workflow and new values of an approval: what is read, and what an error says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stateward.cli.options import check_options, parse_arguments, parse_options, parse_sets
from stateward.cli.workflows import Option
from stateward.errors import ToolInputError

DECLARED = (
    Option(name="period", help="The month.", required=True),
    Option(name="limit", help="Most that is paid.", type=Decimal, default=Decimal(10)),
    Option(name="bank", help="The statement.", type=Path),
    Option(name="mail-to", help="Who gets it.", many=True),
    Option(name="dry", help="Post nothing.", type=bool, default=False),
)


def test_every_declared_option_has_a_value() -> None:
    args = ["--period=2026-10", "--bank", "bank.csv", "--mail-to", "ann", "--mail-to", "bo", "--dry"]
    assert parse_options(args, DECLARED) == {
        "period": "2026-10",
        "limit": Decimal(10),
        "bank": Path("bank.csv"),
        "mail_to": ["ann", "bo"],
        "dry": True,
    }


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--perod", "2026-10"], "did you mean '--period'?"),
        ([], "--period is missing: The month."),
        (["--period"], "--period needs a value"),
        (["--period", "--dry"], "--period needs a value"),
        (["--period", "a", "--period", "b"], "given 2 times"),
        (["--period", "a", "--limit", "ten"], "--limit 'ten': expected a number such as 250.00"),
        (["2026-10"], "'2026-10' is not expected here"),
    ],
)
def test_a_wrong_option_is_said(args: list[str], said: str) -> None:
    with pytest.raises(ToolInputError) as raised:
        parse_options(args, DECLARED)
    assert said in raised.value.message


def test_a_demo_gets_the_defaults_of_the_others() -> None:
    assert check_options({"period": "2026-10"}, DECLARED)["limit"] == Decimal(10)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["amount=250.00"], {"amount": 250.0, "to": "a"}),
        (["to=12"], {"amount": 500.0, "to": "12"}),
        (["amount=much"], {"amount": "much", "to": "a"}),
        (["to=a=b"], {"amount": 500.0, "to": "a=b"}),
    ],
)
def test_a_new_value_has_the_type_of_the_current_one(pairs: list[str], expected: dict[str, Any]) -> None:
    assert parse_sets(pairs, {"amount": 500.0, "to": "a"}) == expected


@pytest.mark.parametrize(("pair", "said"), [("amont=1", "did you mean 'amount'?"), ("amount", "write name=value")])
def test_a_wrong_value_is_said(pair: str, said: str) -> None:
    with pytest.raises(ToolInputError, match="--set") as raised:
        parse_sets([pair], {"amount": 500.0})
    assert said in raised.value.message


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_arguments_are_an_object(text: str) -> None:
    with pytest.raises(ToolInputError, match="--arguments"):
        parse_arguments(text)
