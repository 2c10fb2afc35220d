"""Recorded verdicts judged again: from what was recorded, and never by a guess."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stateward import PolicyError
from stateward.model.judgement import Judgement
from stateward.model.policy import PolicyDocument
from stateward.policies.backtest import Backtest, Replay, Unjudged
from stateward.verify.arguments import ToolSchema
from stateward.verify.gate import Gate, Ruling
from stateward.verify.load import load_policy, parse_policy, policy_digest, policy_from_json, policy_json

OLD = """\
policy: pay
version: 1
identities: {bot: {kind: agent}, boss: {kind: person}}
tools:
  read_mail: {effect: read, for: [bot], returns: [untrusted]}
  pay: {effect: write, for: [bot]}
"""
SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}, "account": {"type": "string"}}}
ANSWER = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def replay(rules: str, *, more: str = "") -> Replay:
    text = OLD.replace("pay: {effect: write, for: [bot]}", f"pay: {{effect: write, for: [bot], {rules}}}") + more
    document = parse_policy(text)
    schemas = {name: ToolSchema(name=name, json_schema=SCHEMA) for name in ("pay", "read_mail")}
    gate = Gate(document, schemas, answers={"text": ToolSchema(name="text", json_schema=ANSWER)})
    return Replay(gate=gate, labels=document.labels, tools=schemas)


def judgement(**changes: Any) -> Judgement:
    given: dict[str, Any] = {
        "action": "a1",
        "thread": "t1",
        "graph": "pay",
        "at": datetime(2026, 11, 1, tzinfo=UTC),
        "tool": "pay",
        "tool_digest": "",
        "arguments": {"amount": 500.0},
        "principal": "bot",
        "requester": "tom",
        "purpose": "pay",
        "subject": "none",
        "verdict": "allow",
        "policy": "pay@1",
        "policy_digest": "d",
        "facts": {},
    }
    return Judgement(**given | changes)


def kind(said: Ruling | Unjudged) -> str:
    return said.why if isinstance(said, Unjudged) else said.verdict.kind


def old() -> PolicyDocument:
    return parse_policy(OLD)


def test_it_is_judged_by_the_facts_of_that_time() -> None:
    by_history = replay('limit: [{keep: \'history.sum("amount", "24h") + args.amount <= 1000\', because: much}]')
    found = {'history.sum("amount", "1d")': 600.0}
    assert kind(by_history.judge(judgement(facts={"history": found}), old())) == "deny"
    by_origin = replay("ask: [{when: 'origin.account != \"person\"', by: [boss]}]")
    assert kind(by_origin.judge(judgement(facts={"origin.account": "person"}), old())) == "allow"
    assert kind(by_origin.judge(judgement(facts={"origin.account": "untrusted"}), old())) == "ask"
    by_label = replay("ask: [{when: '\"untrusted\" in labels', by: [boss]}]")
    assert kind(by_label.judge(judgement(labels=("untrusted",)), old())) == "ask"
    assert kind(by_label.judge(judgement(), old())) == "allow"
    by_requester = replay("deny: [{when: requester == 'tom', because: not for tom}]")
    assert kind(by_requester.judge(judgement(), old())) == "deny"


def test_what_was_not_recorded_is_said_and_not_guessed() -> None:
    by_history = replay("limit: [{keep: 'history.count(\"24h\") < 3', because: often}]")
    assert kind(by_history.judge(judgement(), old())) == 'history.count("1d") was not recorded for pay'
    by_origin = replay("ask: [{when: 'origin.account != \"person\"', by: [boss]}]")
    assert kind(by_origin.judge(judgement(), old())) == "origin.account was not recorded for pay"
    by_label = replay("ask: [{when: '\"untrusted\" in labels', by: [boss]}]")
    unlabelled = parse_policy(OLD.replace(", returns: [untrusted]", ""))
    for then in (unlabelled, None):
        assert kind(by_label.judge(judgement(), then)) == "labels was not recorded for pay"


def test_what_is_beside_the_rules_of_a_tool_is_not_judged() -> None:
    rules = replay("deny: [{when: args.amount > 100, because: much}]")
    assert kind(rules.judge(judgement(tool="gone"), old())) == "the tool gone is not loaded"
    assert kind(rules.judge(judgement(tool="madeup", verdict="deny", rules=("tools",)), old())) == "deny"
    assert "budget.steps refused it" in kind(rules.judge(judgement(verdict="deny", rules=("budget.steps",)), old()))
    invalid = judgement(tool="text", is_answer=True, verdict="deny", rules=("answers.text.validate",))
    assert "was not valid" in kind(rules.judge(invalid, old()))


def test_answers_are_judged_as_answers() -> None:
    said = judgement(tool="text", is_answer=True, arguments={"text": "secret"})
    assert kind(replay("deny: []").judge(said, old())) == "allow"
    strict = replay("deny: []", more="answers: {text: {deny: [{when: 'answer.text == \"secret\"', because: no}]}}\n")
    assert kind(strict.judge(said, old())) == "deny"


def test_the_counts() -> None:
    rules = replay("deny: [{when: args.amount > 100, because: much}]")
    found = Backtest()
    for one in (
        judgement(),
        judgement(arguments={"amount": 5}),
        judgement(tool="gone"),
        judgement(arguments={"amount": 5}, verdict="ask", rules=("tools.pay.ask[0]",)),
    ):
        found.add(one, rules.judge(one, old()))
    assert found.same == 1
    assert found.by_verdict == {("allow", "deny"): 1, ("ask", "allow"): 1}
    assert found.by_rule == {"tools.pay.deny[0]": 1, "tools.pay.ask[0]": 1}
    assert found.unjudged == {"the tool gone is not loaded": 1}


def test_a_policy_comes_back_as_it_was_kept() -> None:
    for document in (old(), load_policy(Path(__file__).parents[1] / "verify" / "policy_month_end.yaml")):
        kept = json.loads(json.dumps(policy_json(document)))
        back = policy_from_json(kept, policy_digest(document))
        assert back.model_copy(update={"checkpoints": document.checkpoints}) == document


def test_a_policy_that_somebody_has_changed_is_refused() -> None:
    document = old()
    kept = json.loads(json.dumps(policy_json(document)))
    kept["tools"]["pay"]["for"] = ["boss"]
    with pytest.raises(PolicyError, match="not the one that has judged"):
        policy_from_json(kept, policy_digest(document))


def test_what_was_erased_is_not_judged_by_what_is_left() -> None:
    rules = replay("deny: [{when: args.amount > 100, because: much}]")
    said = rules.judge(judgement(arguments={}, is_erased=True), old())
    assert kind(said) == "its thread was emptied, and the arguments with it"
