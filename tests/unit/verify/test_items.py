"""Conditions over nested objects, lists of models, unions, enums and optional values: typed when they are loaded."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, cast

import pytest
from pydantic import BaseModel, Field

from stateward.model.principal import Principal
from stateward.model.values import Json, JsonObject
from stateward.verify.arguments import problem, shape_of
from stateward.verify.conditions import Condition, Conditions, Facts, Flaw


class Unit(StrEnum):
    HOUR = "hour"
    DAY = "day"


class Part(BaseModel):
    text: str
    weight: float | None = None


class Line(BaseModel):
    amount: float
    unit: Unit = Unit.HOUR
    note: str | None = None
    parts: list[Part] = Field(default_factory=list[Part])


class ByBank(BaseModel):
    kind: Literal["bank"] = "bank"
    iban: str
    name: str = ""


class ByCard(BaseModel):
    kind: Literal["card"] = "card"
    number: str
    name: str = ""
    limit: int = 0


class Bill(BaseModel):
    lines: list[Line]
    maybe: list[Line] | None = None
    first: Line | None = None
    way: Annotated[ByBank | ByCard, Field(discriminator="kind")]
    unit: Unit = Unit.DAY
    codes: list[str]
    rows: list[list[float]] = Field(default_factory=list[list[float]])


SHAPE = shape_of(cast("JsonObject", Bill.model_json_schema()))
CONDITIONS = Conditions("bill", SHAPE)
ARGUMENTS: dict[str, Json] = {
    "lines": [{"amount": 5, "parts": [{"text": "a", "weight": 2}]}, {"amount": 7.5, "note": "x", "unit": "day"}],
    "way": {"kind": "bank", "iban": "DE89"},
    "codes": ["a"],
    "rows": [[1, 2]],
}


def value(text: str) -> bool | None:
    condition = CONDITIONS.compile(text)
    assert isinstance(condition, Condition), condition
    agent = Principal("bot", kind="agent")
    facts = Facts(arguments=ARGUMENTS, principal=agent, requester="a", purpose="p", subject="s", thread="t")
    return condition.evaluate(facts).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("args.lines.exists(l, l.amount > 7)", True),
        ("args.lines.all(l, l.amount > 5)", False),
        ("args.lines.exists_one(l, l.amount == 5)", True),
        ("args.lines.filter(l, l.amount > 6).exists(m, m.note == 'x')", True),
        ("args.lines.map(l, l.amount).exists(a, a > 7)", True),
        ("args.lines.exists(l, l.unit == 'day')", True),
        ("args.lines.exists(l, l.note != null && l.note.startsWith('x'))", True),
        ("args.lines.exists(l, has(l.note) && l.amount > 7)", True),
        ("args.lines.exists(l, l.parts.exists(p, p.text == 'a' && l.amount < 6))", True),
        ("args.lines.exists(l, l.parts.size() > 0 && l.parts[0].weight > 1)", True),
        ("args.lines[0].amount > 4", True),
        ("args.lines[size(args.lines) - 1].amount > 7", True),
        ("args.lines[1].note.endsWith('x')", True),
        ("args.lines[0].parts[0].text == 'a'", True),
        ("args.lines[0].parts.exists(p, p.text == 'a')", True),
        ("args.lines.exists(l, args.codes.exists(c, c == 'a' && l.amount > 7))", True),
        ("args.codes[0] == 'a' && args.codes.exists(c, c.size() == 1)", True),
        ("args.rows[0][1] > 1 && args.rows.exists(r, r.exists(x, x > 1))", True),
        ("args.maybe != null && args.maybe.exists(l, l.amount > 1)", False),
        ("args.first != null && args.first.amount > 5", False),
        ("args.way.kind == 'bank' && args.way.iban == 'DE89'", True),
        ("args.way.number == null", True),
        ("args.unit == 'day'", True),
        ("args.lines.exists(l, l.note == ')' || l.amount > 7)", True),
    ],
)
def test_items_are_read(text: str, expected: bool) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("args.lines.exists(l, l.amout > 7)", 24, "did you mean 'l.amount'?"),
        ("args.lines.exists(l, l.amount > 'x')", 31, "'>' does not work with double and string"),
        ("args.lines.filter(l, l.amount > 6).exists(m, m.note2 == 'x')", 48, "did you mean 'm.note'?"),
        ("args.lines.exists(l, l.parts.exists(p, p.txt == 'a'))", 42, "did you mean 'p.text'?"),
        (
            "args.lines.exists(l, l.parts.exists(p, p.text == l.amount))",
            47,
            "'==' does not work with string and double",
        ),
        ("args.lines.exists(l, has(l.noet))", 28, "did you mean 'l.note'?"),
        ("args.lines.exists(l, l.amount.startsWith('x'))", 41, "'startsWith' does not work"),
        ("args.lines[0].amout > 5", 15, "did you mean 'item.amount'?"),
        ("args.lines[0].amount > 'x'", 22, "'>' does not work with double and string"),
        ("args.lines[0].parts[0].txt == 'a'", 24, "did you mean 'item.text'?"),
        ("args.lines[0].parts.exists(p, p.txt == 'a')", 33, "did you mean 'p.text'?"),
        ("args.first.amout > 5", 12, "did you mean 'args.first.amount'?"),
        ("args.maybe.exists(l, l.amout > 1)", 24, "did you mean 'l.amount'?"),
        ("args.way.ibn == 'x'", 10, "did you mean 'args.way.iban'?"),
        ("args.way.limit == 'x'", 16, "'==' does not work with int or null and string"),
        ("args.way.name > 5", 15, "'>' does not work"),
        ("args.codes.exists(c, c > 5)", 24, "'>' does not work with string and int"),
        ("args.codes[0] > 5", 15, "'>' does not work with string and int"),
        ("args.unit > 5", 11, "'>' does not work with string and int"),
    ],
)
def test_mistakes_in_items_are_found_at_load(text: str, column: int, says: str) -> None:
    found = CONDITIONS.compile(text)
    assert isinstance(found, Flaw), "it compiled"
    assert says in found.message
    assert found.column == column


@pytest.mark.parametrize(
    ("way", "wrong"),
    [
        ({"kind": "bank", "iban": "x"}, None),
        ({"kind": "card", "number": "x", "limit": 5}, None),
        ({"kind": "cash"}, "is none of the allowed values"),
        ({"kind": "bank", "iban": 5}, "has to be a string"),
        ("bank", "has to be an object"),
    ],
)
def test_a_union_of_objects_is_an_object(way: Json, wrong: str | None) -> None:
    found = problem(SHAPE, {"lines": [], "codes": [], "way": way})
    assert (found is None) if wrong is None else (wrong in (found or ""))
