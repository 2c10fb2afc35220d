"""What of a call's arguments stands in clear for limits, and what does not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stateward.adapters.postgres.amounts import amounts


def test_numbers_are_kept_and_nothing_else() -> None:
    arguments: dict[str, Any] = {
        "amount": 5,
        "rate": 0.25,
        "approved": True,
        "note": "call Jane",
        "price": "12.50",
        "deep": {"amount": 5},
        "many": [1, 2],
        "left_out": None,
    }
    kept = amounts(arguments, ())
    assert kept == {"amount": 5, "rate": 0.25, **dict.fromkeys(("approved", "note", "price", "deep", "many"))}


@pytest.mark.parametrize(
    "name",
    [
        *("phone", "cardNumber", "customer_id", "iban", "account_no", "dateOfBirth", "age", "postcode", "taxNumber"),
        *("zipcode", "userid", "birthyear", "pincode", "phone2", "Age1", "accountnumber"),
    ],
)
def test_a_number_that_is_somebodys_is_kept_only_where_a_rule_adds_it_up(name: str) -> None:
    assert amounts({name: 4711}, ()) == {name: None}
    assert amounts({name: 4711}, {name}) == {name: 4711}


@pytest.mark.parametrize("value", [1_000_000, -4_155_550_187, 19_800_101, 4_111_111_111_111_111, 1e6])
def test_a_number_of_many_digits_is_kept_only_where_a_rule_adds_it_up(value: float) -> None:
    assert amounts({"contact": value}, ()) == {"contact": None}
    assert amounts({"contact": value}, {"contact"}) == {"contact": value}


@pytest.mark.parametrize("name", ["amount", "total", "bid", "q4", "identity_fee", "average", "stage", "accounted"])
def test_a_name_that_only_looks_like_that_is_an_amount(name: str) -> None:
    assert amounts({name: 3}, ()) == {name: 3}


@pytest.mark.parametrize(
    ("text", "kept"),
    [("12.50", True), (" -1e3 ", True), ("Jane 12", False), ("", False), ("1" * 401, False), ("٣", False)],
)
def test_a_text_is_kept_only_where_a_rule_adds_it_up_and_it_is_a_number(text: str, kept: bool) -> None:
    assert amounts({"amount": text}, ()) == {"amount": None}
    assert amounts({"amount": text}, {"amount"}) == {"amount": text if kept else None}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_a_number_that_no_sum_can_hold_is_not_kept(value: Any) -> None:
    assert amounts({"amount": value}, {"amount"}) == {"amount": None}


def test_a_name_that_says_something_is_not_kept_either() -> None:
    assert amounts({"Jane Doe, DE02": 5, "x" * 65: 1, "amount": 5}, ()) == {"amount": 5, "": None}
