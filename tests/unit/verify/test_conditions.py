"""Conditions: what compiles, what is refused at load, and what a compiled one comes to."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Literal, cast

import pytest
from pydantic import BaseModel, Field

from stateward.model.history import HistoryQuery, HistoryValue, Usage, history_json, history_of, value_of
from stateward.model.principal import Principal
from stateward.model.values import Json, JsonObject
from stateward.verify.arguments import problem, shape_of
from stateward.verify.conditions import Condition, Conditions, Facts, Flaw


class Customer(BaseModel):
    city: str
    limit: float = 100.0
    parent: Customer | None = None


class Line(BaseModel):
    amount: float
    text: str | None = None


class Booking(BaseModel):
    amount: float
    count: int = 1
    cost: Decimal = Decimal("1.5")
    price: str = "12.50"
    currency: Literal["EUR", "USD"] = "EUR"
    urgent: bool = False
    note: str | None = None
    score: float | None = None
    nights: int | None = None
    flag: bool | None = None
    codes: list[str]
    tags: list[str] = Field(default_factory=list)
    weights: list[float] = Field(default_factory=list)
    lines: list[Line] = Field(default_factory=list[Line])
    customer: Customer
    payer: Customer | None = None
    prices: dict[str, float] = Field(default_factory=dict)


SHAPE = shape_of(cast("JsonObject", Booking.model_json_schema()))
CONDITIONS = Conditions("book", SHAPE)
ARGUMENTS: dict[str, Json] = {
    "amount": 1200,
    "count": 3,
    "cost": "12.50",
    "codes": ["a1"],
    "tags": ["vip", "new"],
    "weights": [1, 2.5],
    "lines": [{"amount": 5}, {"amount": 7.5, "text": "x"}],
    "customer": {"city": "Graz"},
    "prices": {"eur": 4},
}
History = dict[HistoryQuery, HistoryValue]
SUM = HistoryQuery(kind="sum", argument="amount", window=timedelta(hours=24))
COUNT = HistoryQuery(kind="count", window=timedelta(days=7))


def compiled(text: str) -> Condition:
    condition = CONDITIONS.compile(text)
    assert isinstance(condition, Condition), condition
    return condition


def flaw(text: str) -> Flaw:
    found = CONDITIONS.compile(text)
    assert isinstance(found, Flaw), "it compiled"
    return found


def facts(history: History | None = None, /, **arguments: Json) -> Facts:
    return Facts(
        arguments={**ARGUMENTS, **arguments},
        principal=Principal("close-agent", roles=["closer", "reader"], kind="agent"),
        requester="ana",
        purpose="close",
        subject="period:2026-10",
        thread="t-1",
        history=history or {},
    )


def value(text: str, history: History | None = None, /, **arguments: Json) -> bool | None:
    return compiled(text).evaluate(facts(history, **arguments)).value


def error(text: str, history: History | None = None, /, **arguments: Json) -> str:
    found = compiled(text).evaluate(facts(history, **arguments))
    assert found.value is None
    return found.error


@pytest.mark.parametrize(
    "text",
    [
        "args.amount > 1000",
        "args.amount == 1200",
        "args.amount != 1200.5",
        "1000 < args.amount",
        "args.count > 1.5",
        "args.count == 3.0",
        "args.count < args.amount",
        "args.count * 1.5 + 1 == 5.5",
        "args.amount / 2 - 1 == 599",
        "args.count % 2 == 1",
        "args.amount in [1200, 1300]",
        "args.count in [1.0, 3.0]",
        "args.count in [1, 3]",
        "args.cost == 12.5",
        "args.cost > 12",
        "size(args.tags) >= 2",
        "size(args.tags) > 1.5",
        "args.weights.all(w, w > 0)",
        "args.weights[1] == 2.5",
        "args.lines.exists(l, l.amount + 1.5 > 8)",
        "args.prices.eur > 3",
        "args.prices['eur'] * 1.5 == 6",
        "-args.amount < 0",
    ],
)
def test_numbers_go_together_without_the_author_thinking_of_it(text: str) -> None:
    assert value(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "'vip' in args.tags",
        "args.tags.exists(t, t == 'new')",
        "args.price == '12.50'",
        "args.price > '12'",
        "args.currency == 'EUR'",
        "args.currency in ['EUR', 'CHF']",
        "args.currency.startsWith('E')",
        "args.currency.matches('^[A-Z]{3}$')",
        "!args.urgent",
        "args.customer.city == 'Graz'",
        "args . customer . city == 'Graz'",
        "args.customer.limit == 100",
        "args.customer['city'] == 'Graz'",
        "principal.id == 'close-agent'",
        "'closer' in principal.roles",
        "requester != principal.id",
        "purpose == 'close' && subject.startsWith('period:') && thread == 't-1'",
        "args.amount > 5 ? args.count == 3 : false",
        "'args.typo and history.sum(' != subject // args.typo",
        r"""r'\d' != "a'b" && args.count == 3""",
        "timestamp('2026-01-01T00:00:00Z') + duration('1h') > timestamp('2026-01-01T00:00:00Z')",
        "[1] + [2] == [1, 2] && 'a' + 'b' == 'ab'",
        "true",
    ],
)
def test_what_holds(text: str) -> None:
    assert value(text) is True


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("args.note == null", {}, True),
        ("args.note != null && args.note.startsWith('x')", {}, False),
        ("args.note != null && args.note.startsWith('x')", {"note": "xy"}, True),
        ("has(args.note)", {}, False),
        ("has( args.note ) && args.note.size() == 2", {"note": "xy"}, True),
        ("has(args.note)", {"note": None}, False),
        ("has(args.currency)", {}, True),
        ("has(args.flag)", {"flag": False}, True),
        ("has(args.prices.eur) && !has(args.prices.usd)", {}, True),
        ("has(args.payer.city)", {}, False),
        ("has(args.payer.city) && args.payer.city == 'Wien'", {"payer": {"city": "Wien"}}, True),
        ("args.payer == null", {}, True),
        ("args.payer.city == null", {}, True),
        ("args.score == null || args.score > 5", {}, True),
        ("args.score == null || args.score > 5", {"score": 6}, True),
        ("args.score + 1 > 5", {"score": 6}, True),
        ("args.nights == null || args.nights > 2.5", {"nights": 2}, False),
        ("args.note in ['a', 'b']", {}, False),
        ("args.count == 1", {"count": 1.0}, True),
    ],
)
def test_optional_arguments_are_null_and_defaults_are_filled_in(
    text: str, given: dict[str, Json], expected: bool
) -> None:
    assert value(text, None, **given) is expected


def test_the_tools_own_default_is_what_a_condition_sees() -> None:
    without = Facts(
        arguments={"amount": 1, "codes": [], "customer": {"city": "x"}},
        principal=Principal("a"),
        requester="",
        purpose="",
        subject="",
        thread="",
    )
    assert compiled("args.count == 1 && args.currency == 'EUR' && !args.urgent").evaluate(without).value is True


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("args.amout > 5", 6, "book has no argument 'args.amout'; did you mean 'args.amount'?"),
        (
            'args.currency == "EURO"',
            18,
            "'args.currency' of book is 'EUR' or 'USD', never 'EURO'; did you mean 'EUR'?",
        ),
        ('args.amount > 5 && args.currency != "usd"', 37, "is 'EUR' or 'USD', never 'usd'"),
        ('"CHF" == args.currency', 1, "is 'EUR' or 'USD', never 'CHF'"),
        ('args.currency in ["CHF", "GBP"]', 19, "is 'EUR' or 'USD', never 'CHF'"),
        ("args.count > 1 && args.curency == 'x'", 24, "did you mean 'args.currency'?"),
        ("args.customer.cty == 'x'", 15, "did you mean 'args.customer.city'?"),
        ("args.payer.x == 1", 12, "no argument 'args.payer.x'"),
        ("has(args.nte)", 10, "did you mean 'args.note'?"),
        ("args.tgs.exists(t, t == 'x')", 6, "did you mean 'args.tags'?"),
        ("args.note.size() > args.cnt", 25, "did you mean 'args.count'?"),
        ("args", 1, "no value by itself"),
        ("args['amount'] > 5", 1, "no value by itself"),
        ("principal.rols == ['x']", 1, "did you mean 'principal.roles'?"),
        ("requestor == 'x'", 1, "did you mean 'requester'?"),
        ("labels == 'x'", 11, "no tool and no memory kind of this policy gives the label 'x'"),
        ("args.currency > 5", 15, "'>' does not work with string and int"),
        ("args.price > 5", 12, "'>' does not work with string and int"),
        ("args.note == 5", 11, "'==' does not work with string or null and int"),
        ("args.amount == 'x'", 13, "'==' does not work with double and string"),
        ("args.amount == null", 13, "'==' does not work with double and null_type"),
        ("args.urgent == 1", 13, "'==' does not work with bool and int"),
        ("args.codes == 'x'", 12, "'==' does not work with list(string) and string"),
        ("5 in args.codes", 3, "'in' does not work with int and list(string)"),
        ("args.note.startsWith(1)", 21, "'startsWith' does not work with"),
        ("args.currency.upper() == 'x'", 20, "'upper' is not known here"),
        ("args.amount", 1, "true or false"),
        ("args.lines[0].amount", 1, "true or false"),
        ("args.amount >", 14, "Syntax error"),
        ("args.amount > 5 5", 17, "Syntax error"),
        ("args.count > 9223372036854775808", 14, "invalid int literal"),
        ("'é' == 'x' && args.amout > 1", 20, "did you mean 'args.amount'?"),
        ("'é' == 'x' && args.urgent > 1", 27, "'>' does not work"),
    ],
)
def test_mistakes_are_found_at_load(text: str, column: int, says: str) -> None:
    found = flaw(text)
    assert says in found.message
    assert (found.line, found.column) == (1, column)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("args.urgent or args.count > 1", "||"),
        ("args.count > 1 AND args.urgent", "&&"),
        ("args.count = 1", "=="),
        ("args.count => 1", ">="),
        ("args.note is null", "=="),
        ("args.note == None", "null"),
        ("args.urgent == True", "true"),
        ("len(args.codes) > 1", "size(...)"),
        ("args.count not in [1]", "!(...)"),
    ],
)
def test_what_other_languages_write_is_told_in_cel(text: str, written: str) -> None:
    assert flaw(text).message.endswith(f"; in CEL write {written}")


@pytest.mark.parametrize(
    "text",
    [
        'args.currency == "EU" + "R"',
        'args.currency in ["CHF"] + ["EUR"]',
        'args.currency in [args.note, "CHF"]',
        '"E" + "UR" == args.currency',
    ],
)
def test_what_may_be_one_of_the_choices_is_no_mistake(text: str) -> None:
    compiled(text)


def test_a_mistake_on_a_later_line() -> None:
    found = flaw("args.amount > 5\n  && args.cuont > 1")
    assert (found.line, found.column) == (2, 11)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("args.score > 5", "meets null"),
        ("args.score + 1.5 > 5", "meets null"),
        ("args.note.startsWith('x')", "meets null"),
        ("args.flag", "meets null"),
        ("1 / 0 == 1", "divide by zero"),
        ("args.amount / 0 > 1", "division by zero"),
        ("args.prices.usd > 1", "Key not found"),
        ("args.lines[9].amount > 1", "index"),
        ("int(args.currency) > 1", "cannot convert string to int"),
        ("args.count + 9223372036854775807 > 0", "overflow"),
        ("args.currency.matches('(')", "invalid regular expression"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_and_neither_true_nor_false(text: str, says: str) -> None:
    assert says in error(text)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("args.amount > 5", {"amount": True}),
        ("args.count > 0", {"count": True}),
        ("args.count > 0", {"count": 1.5}),
        ("args.count > 0", {"count": 2**63}),
        ("args.amount > 5", {"amount": 10**400}),
        ("args.amount > 5", {"amount": "1200"}),
        ("args.amount > 5", {"amount": float("nan")}),
        ("args.amount > 5", {"amount": float("inf")}),
        ("args.cost > 5", {"cost": "NaN"}),
        ("args.cost > 5", {"cost": "a lot"}),
        ("args.amount > 5", {"amount": None}),
        ("args.urgent", {"urgent": 1}),
        ("args.urgent", {"urgent": "true"}),
        ("args.customer.city == 'Graz'", {"customer": "Graz"}),
        ("'a' in args.tags", {"tags": "abc"}),
        ("args.currency == 'EUR'", {"currency": "EUR\0"}),
        ("args.currency == 'EUR'", {"currency": "\ud800"}),
        ("args.prices.eur > 1", {"prices": {"eur\0": 1}}),
    ],
)
def test_values_that_are_not_what_they_seem_are_errors(text: str, given: dict[str, Json]) -> None:
    assert value(text, None, **given) is None


def test_an_error_repeats_no_value() -> None:
    assert "1208925819614629174706176" not in error("args.count > 0", count=2**80)


def test_history_is_named_for_the_caller_and_evaluated_over_what_it_fetched() -> None:
    text = 'history.sum("amount", "24h") + args.amount <= 50000 && history.count( \'7d\' ) < 3'
    condition = compiled(text)
    assert condition.queries == (SUM, COUNT)
    assert value(text, {SUM: 48_800.0, COUNT: 2}) is True
    assert value(text, {SUM: 48_800.5, COUNT: 2}) is False
    assert value(text, {SUM: 0, COUNT: 3}) is False
    assert "was not fetched" in error(text, {SUM: 0})
    assert value(text, {SUM: float("nan"), COUNT: 0}) is None


@pytest.mark.parametrize(
    ("text", "scope", "kind", "known", "expected"),
    [
        ('history.subject.sum("amount", "1d") + args.amount <= 2000', "subject", "sum", 500, True),
        ('history.thread.count("1h") < 3', "thread", "count", 3, False),
        ('history . principal . exists("1h")', "principal", "exists", True, True),
        ('history.tenant.last("1h") >= duration("30m")', "tenant", "last", timedelta(minutes=29), False),
        ('history.last("1h") >= duration("30m")', "tenant", "last", timedelta(hours=1), True),
    ],
)
def test_history_has_a_scope(text: str, scope: str, kind: str, known: HistoryValue, expected: bool) -> None:
    (query,) = compiled(text).queries
    assert (query.scope, query.kind) == (scope, kind)
    assert value(text, {query: known}) is expected


def test_without_a_call_the_last_one_is_as_long_ago_as_the_window() -> None:
    last = HistoryQuery(kind="last", window=timedelta(hours=24))
    assert value_of(last, Usage()) == timedelta(hours=24)
    assert value_of(last, Usage(calls=1, age=timedelta(seconds=-1))) == timedelta()
    assert value_of(last, Usage(calls=1, age=timedelta(minutes=5))) == timedelta(minutes=5)


def test_a_sum_that_nobody_knows_has_no_value() -> None:
    assert value_of(SUM, Usage(calls=1, total=None)) is None


def test_a_query_reads_as_the_policy_has_it_and_comes_back_from_the_trail() -> None:
    query = compiled('history.subject.last("90m") > duration("1m")').queries[0]
    assert query.text == 'history.subject.last("90m")'
    recorded = history_json({query: timedelta(minutes=3), SUM: 5.5})
    assert recorded == {'history.subject.last("90m")': 180.0, 'history.sum("amount", "1d")': 5.5}
    assert history_of(recorded, (query, SUM, COUNT)) == {query: timedelta(minutes=3), SUM: 5.5}


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ('history.sum("amuont", "24h") > 1', 1, "did you mean 'amount'?"),
        ('history.sum("currency", "24h") > 1', 1, "'currency' is no number"),
        ('history.sum("amount", "1 day") > 1', 1, "a duration such as"),
        ('history.sum("amount") > 1', 1, "history.sum("),
        ('true && history.count("24h", "x") > 1', 9, "history.count("),
        ('history.cuont("24h") > 1', 1, "did you mean 'history.count'?"),
        ("history.sum(args.currency, '24h') > 1", 1, "history is used as"),
        ("history == 1", 1, "history has count, sum, last, exists"),
        ('history.subjct.count("24h") > 1', 1, "did you mean 'history.subject.count'?"),
        ('history.subject.agent.count("24h") > 1', 1, "history has count"),
        ('history.thread.last("24h") > 5', 28, "'>' does not work with duration and int"),
        ('history.exists("24h") > 5', 23, "'>' does not work with bool and int"),
        ('history.last("amount", "24h") > duration("1h")', 1, 'history.last("24h")'),
        ('history.count("24h") > "x"', 22, "'>' does not work with int and string"),
    ],
)
def test_history_is_checked_at_load(text: str, column: int, says: str) -> None:
    found = flaw(text)
    assert says in found.message
    assert found.column == column


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, None),
        ({"amount": "5"}, "amount has to be a number"),
        ({"amount": True}, "amount has to be a number"),
        ({"count": 1.5}, "count has to be an integer"),
        ({"count": 2.0}, None),
        ({"currency": "CHF"}, "currency is none of the allowed values"),
        ({"tags": ["a", 5]}, "tags[1] has to be a string"),
        ({"customer": {}}, "customer.city is missing"),
        ({"customer": {"city": "x", "cty": "y"}}, "customer does not take; did you mean 'city'?"),
        ({"amuont": 5}, "the tool does not take; did you mean 'amount'?"),
        ({"payer": None, "note": None}, None),
        ({"customer": None}, "customer has to be an object"),
        ({"prices": {"eur": "x"}}, "another key of prices has to be a number"),
        ({"cost": "ten"}, None),
        ({"cost": []}, "cost has to be a number"),
    ],
)
def test_arguments_are_held_against_the_schema(given: dict[str, Json], says: str | None) -> None:
    found = problem(SHAPE, {**ARGUMENTS, **given})
    assert found is None if says is None else says in str(found)


def test_a_missing_argument_is_said() -> None:
    assert problem(SHAPE, {"codes": [], "customer": {"city": "x"}}) == "amount is missing"


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_tool_without_arguments_takes_none(schema: JsonObject) -> None:
    assert problem(shape_of(schema), {}) is None
    assert problem(shape_of(schema), {"x": 1}) is not None


def test_bare_properties_are_read_as_langchains_args() -> None:
    shape = shape_of({"amount": {"type": "number"}, "note": {"type": "string", "default": ""}})
    assert problem(shape, {"amount": 5}) is None
    assert problem(shape, {"note": "x"}) == "amount is missing"


def test_a_recursive_schema_is_read() -> None:
    shape = shape_of(cast("JsonObject", Customer.model_json_schema()))
    assert problem(shape, {"city": "x", "parent": {"city": "y"}}) is None
    assert isinstance(Conditions("c", shape).compile("args.city == 'x'"), Condition)
