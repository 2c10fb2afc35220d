"""A table of calls held against a policy: what fits, what differs, and what is wrong with the table."""

from __future__ import annotations

import pytest

from stateward import PolicyError
from stateward.policies.cases import Bench, parse_cases, run_cases
from stateward.verify.arguments import ToolSchema
from stateward.verify.gate import Gate
from stateward.verify.load import parse_policy

POLICY = """\
policy: pay
version: 1
identities: {bot: {kind: agent}, boss: {kind: person}, ana: {kind: person, role: lead}}
tools:
  read_mail: {effect: read, for: [bot], returns: [untrusted]}
  pay:
    effect: write
    for: [bot]
    deny: [{when: '"untrusted" in labels && args.amount > 900', because: too risky}]
    limit: [{keep: 'history.count("24h") < 3 && history.last("7d") >= duration("1m")', because: too often}]
    ask: [{when: 'origin.account != "person"', by: [boss, lead], because: nobody has named it}]
"""
SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "account": {"type": "string"}},
    "required": ["amount", "account"],
}


def bench() -> Bench:
    document = parse_policy(POLICY)
    schemas = {
        "pay": ToolSchema(name="pay", json_schema=SCHEMA),
        "read_mail": ToolSchema(name="read_mail", json_schema={"type": "object"}),
    }
    tools = frozenset({*schemas, "erase"})
    gate = Gate(document, schemas)
    return Bench(gate=gate, tools=tools, labels=document.labels, principal="bot", purpose="pay")


def test_what_is_expected_and_what_is_not() -> None:
    table = """\
cases:
  - name: the person named it
    tool: pay
    arguments: {amount: 5.5, account: DE1}
    facts: {origin: {account: person}, history: {"history.count('1d')": 2, 'history.last("1w")': 5m}}
    expect: allow
  - tool: pay
    arguments: {amount: 5, account: DE1}
    expect: ask
    by: [lead, boss]
    rule: tools.pay.ask[0]
  - tool: pay
    arguments: {amount: 1000, account: DE1}
    facts: {labels: [untrusted]}
    expect: deny
    rule: tools.pay.deny[0]
  - {tool: erase, expect: deny, rule: tools}
  - tool: pay
    arguments: {amount: 5, account: DE1}
    facts: {principal: eve, history: {'history.count("24h")': 3}}
    expect: ask
    by: [boss]
"""
    *good, bad = run_cases(bench(), parse_cases(table))
    assert [one.differs for one in good] == [(), (), (), ()]
    assert (bad.name, bad.line) == ("pay, line 18", 18)
    assert bad.differs == (("verdict", "ask", "deny"), ("by", "boss", "nobody"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("cases: [{tool: pay, expekt: deny}]", "<table>:1:9: 'expect' is missing\n<table>:1:21: unknown key 'expekt'"),
        ("cases: [{tool: pay, expect: alow}]", "1:29: expected 'allow', 'deny' or 'ask'; did you mean 'allow'?"),
        ("cases: [{tool: pya, expect: deny}]", "1:16: there is no tool 'pya'; did you mean 'pay'?"),
        (
            "cases: [{tool: pay, expect: deny, facts: {labels: [untrustd]}}]",
            "1:52: nothing in this policy gives the label 'untrustd'; did you mean 'untrusted'?",
        ),
        (
            "cases: [{tool: pay, expect: deny, facts: {origin: {amount: person}}}]",
            "1:52: no rule of pay reads 'origin.amount'; they read origin.account",
        ),
        (
            "cases: [{tool: pay, expect: deny, facts: {history: {'history.count(\"2d\")': 1}}}]",
            '1:53: no rule of pay reads \'history.count("2d")\'; they read history.count("1d")',
        ),
        (
            "cases: [{tool: pay, expect: deny, facts: {history: {'history.count(\"1d\")': 1.5}}}]",
            'history.count("1d"): expected a whole number',
        ),
        ("cases: []", "1:8: this list must not be empty"),
        ("", "the table is empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(table: str, message: str) -> None:
    with pytest.raises(PolicyError) as raised:
        run_cases(bench(), parse_cases(table))
    assert message in str(raised.value)
