"""P1 at the gate: no rules, in whatever order, let an unnamed tool pass, and no rule loosens another.

Policies, calls and orders are drawn at random from fixed seeds, so that a failure can be run again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import permutations, product
from typing import cast

import pytest

from stateward.model.principal import Principal
from stateward.model.verdict import Allow, Ask, Deny, Verdict
from stateward.verify import Gate, ToolSchema
from stateward.verify.load import parse_policy

TOOLS = ("pay", "refund", "read", "send")
SCHEMA = ToolSchema(
    name="any",
    json_schema={
        "type": "object",
        "properties": {
            "amount": {"type": "number"},
            "to": {"type": "string"},
            "note": {"type": ["string", "null"]},
        },
        "required": ["amount"],
    },
)
Arguments = dict[str, float | str | None]
CONDITIONS: dict[str, Callable[[Arguments], bool | None]] = {
    "true": lambda args: True,
    "false": lambda args: False,
    "args.amount > 100": lambda args: cast("float", args["amount"]) > 100,
    "args.amount <= 100": lambda args: cast("float", args["amount"]) <= 100,
    "args.to == 'bank'": lambda args: args["to"] == "bank",
    "args.note == null": lambda args: args["note"] is None,
    "args.note.size() > 2": lambda args: None if args["note"] is None else True,
    "1 / 0 == 1": lambda args: None,
}
"""Each condition with what it comes to, worked out without the gate; None where it cannot be evaluated."""

EVERY_CALL: list[Arguments] = [
    {"amount": amount, "to": to, "note": note}
    for amount, to, note in product((0, 100, 100.5, 1e9), ("bank", "else"), (None, "abc"))
]
HARSHNESS: dict[type, int] = {Allow: 0, Ask: 1, Deny: 2}
Rules = list[tuple[str, str]]


def gate_of(tools: dict[str, Rules]) -> Gate:
    lines = ["policy: p", "version: 1", "identities: {bot: {kind: agent}, ana: {kind: person}}", "tools:"]
    for name, rules in tools.items():
        lines += [f"  {name}:", "    effect: write", "    for: [bot]"]
        for step in ("deny", "limit", "ask"):
            chosen = [condition for each, condition in rules if each == step]
            lines += [f"    {step}:"] if chosen else []
            lines += [f"      - {rule_text(step, condition)}" for condition in chosen]
    return Gate(parse_policy("\n".join(lines)), dict.fromkeys(TOOLS, SCHEMA))


def rule_text(step: str, condition: str) -> str:
    if step == "ask":
        return f'{{when: "{condition}", by: [ana]}}'
    return f'{{{"when" if step == "deny" else "keep"}: "{condition}", because: a reason}}'


def verdict(gate: Gate, tool: str, arguments: Arguments) -> Verdict:
    return gate.judge(
        tool=tool,
        arguments=arguments,
        principal=Principal("bot", kind="agent"),
        requester="ana",
        purpose="p",
        subject="s",
        thread="t",
    ).verdict


def drawn_rules(rng: random.Random, most: int = 4) -> Rules:
    return [(rng.choice(("deny", "limit", "ask")), rng.choice(list(CONDITIONS))) for _ in range(rng.randint(0, most))]


def drawn_arguments(rng: random.Random) -> Arguments:
    return rng.choice(EVERY_CALL)


@pytest.mark.parametrize("seed", range(25))
def test_an_unnamed_tool_never_passes(seed: int) -> None:
    rng = random.Random(seed)
    named = rng.sample(TOOLS, rng.randint(0, 3))
    gate = (
        gate_of({name: drawn_rules(rng) for name in named})
        if named
        else Gate(parse_policy("policy: p\nversion: 1"), dict.fromkeys(TOOLS, SCHEMA))
    )
    strangers = [*(set(TOOLS) - set(named)), "pay ", "PAY", "pay\0", "p*", "", "tools.pay", "__class__"]
    for tool in strangers:
        assert isinstance(verdict(gate, tool, drawn_arguments(rng)), Deny), tool


def expected(rules: Rules, arguments: Arguments) -> tuple[type, int]:
    """The verdict by the promise alone: any refusal or error refuses, every true question is asked."""
    came = [(step, CONDITIONS[condition](arguments)) for step, condition in rules]
    if any(value is None or (step, value) in (("deny", True), ("limit", False)) for step, value in came):
        return Deny, 0
    asked = came.count(("ask", True))
    return (Ask, asked) if asked else (Allow, 0)


@pytest.mark.parametrize("seed", range(60))
def test_every_verdict_is_what_the_promise_says(seed: int) -> None:
    rules = drawn_rules(random.Random(seed))
    gate = gate_of({"pay": rules})
    for arguments in EVERY_CALL:
        said = verdict(gate, "pay", arguments)
        asked = len(said.requirements) if isinstance(said, Ask) else 0
        assert (type(said), asked) == expected(rules, arguments), (rules, arguments)


@pytest.mark.parametrize("base", [[], [("ask", "args.amount > 100")], [("deny", "args.to == 'bank'")]])
@pytest.mark.parametrize("step", ["deny", "limit", "ask"])
def test_adding_a_rule_never_loosens_the_verdict(base: Rules, step: str) -> None:
    before = gate_of({"pay": base})
    for condition in CONDITIONS:
        after = gate_of({"pay": [*base, (step, condition)]})
        for arguments in EVERY_CALL:
            loose, strict = verdict(before, "pay", arguments), verdict(after, "pay", arguments)
            assert HARSHNESS[type(strict)] >= HARSHNESS[type(loose)], (condition, arguments)
            if isinstance(loose, Ask) and isinstance(strict, Ask):
                assert set(loose.requirements) <= set(strict.requirements)


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_rules_changes_no_verdict(seed: int) -> None:
    rng = random.Random(seed)
    rules = [(rng.choice(("deny", "limit", "ask")), condition) for condition in rng.sample(list(CONDITIONS), 3)]
    gates = [gate_of({"pay": list(order)}) for order in permutations(rules)]
    for _ in range(5):
        arguments = drawn_arguments(rng)
        assert len({type(verdict(gate, "pay", arguments)) for gate in gates}) == 1, (rules, arguments)


@pytest.mark.parametrize("seed", range(8))
def test_a_neighbours_rules_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    rules = drawn_rules(rng)
    alone = gate_of({"pay": rules})
    among = gate_of({"refund": drawn_rules(rng), "pay": rules, "send": drawn_rules(rng)})
    for _ in range(10):
        arguments = drawn_arguments(rng)
        assert verdict(alone, "pay", arguments) == verdict(among, "pay", arguments)


def test_the_order_of_arguments_changes_nothing() -> None:
    gate = gate_of({"pay": [("deny", "args.to == 'bank'"), ("ask", "args.amount > 100")]})
    arguments: Arguments = {"amount": 500, "to": "else", "note": None}
    verdicts = [verdict(gate, "pay", dict(order)) for order in permutations(arguments.items())]
    assert all(each == verdicts[0] for each in verdicts)
    assert isinstance(verdicts[0], Ask)
