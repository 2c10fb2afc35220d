"""What a new policy changes: every kind of change, and what is said of it."""

from __future__ import annotations

import pytest

from stateward.policies.difference import difference, together
from stateward.verify.load import parse_policy

POLICY = """\
policy: pay
version: 1
identities: {bot: {kind: agent}, clerk: {kind: agent}, boss: {kind: person}, ana: {kind: person, role: lead}}
tools:
  look: {effect: read, for: [bot]}
  pay:
    effect: write
    for: [bot]
    deny: [{when: args.amount <= 0, because: a payment is positive}]
    limit: [{keep: 'history.sum("amount", "24h") + args.amount <= 50000', because: too much}]
    ask: [{when: args.amount > 1000, by: [boss], of: 1, within: 2d, because: large}]
answers: {text: {deny: [{when: 'answer.text == ""', because: empty}]}}
memory: {kinds: {note: {purpose: [pay], keep: 10d}}, personal_data: {EMAIL_ADDRESS: mask}}
budget: {steps: 200, tokens: 1000}
"""


@pytest.mark.parametrize(
    ("before", "after", "place", "effect"),
    [
        ("  look: {effect: read, for: [bot]}\n", "", "tools.look", "tightens"),
        ("  look:", "  see: {effect: read, for: [bot]}\n  look:", "tools.see", "loosens"),
        ("look: {", "lo*: {", "tools.lo*", "unknown"),
        ("read, for: [bot]", "read, for: [bot, clerk]", "tools.look.for", "loosens"),
        ("read, for: [bot]", "read, for: [clerk]", "tools.look.for", "unknown"),
        ("effect: read, for", "effect: write, for", "tools.look.effect", "tightens"),
        ("write\n", "write\n    idempotent: true\n", "tools.pay.idempotent", "loosens"),
        ("write\n", "write\n    open_world: false\n", "tools.pay.open_world", "neither"),
        ("write\n", "write\n    returns: [untrusted]\n", "tools.pay.returns", "unknown"),
        ("write\n", "write\n    reveal: [to]\n", "tools.pay.reveal", "loosens"),
        ("budget:", "conversation: {personal_data: {PERSON: redact}}\nbudget:", "conversation", "unknown"),
        ("args.amount <= 0", "args.amount <= 10", "tools.pay.deny[0].when", "tightens"),
        ("args.amount <= 0", "args.amount < 0", "tools.pay.deny[0].when", "unknown"),
        ("deny: [{when: args", "deny: [{mode: observe, when: args", "tools.pay.deny[0].mode", "loosens"),
        ("a payment is positive", "no", "tools.pay.deny[0].because", "neither"),
        ("50000", "60000", "tools.pay.limit[0].keep", "loosens"),
        ('"24h"', '"48h"', "tools.pay.limit[0].keep", "unknown"),
        ("> 1000", "> 500", "tools.pay.ask[0].when", "tightens"),
        ("when: args.amount > 1000", 'when: "true"', "tools.pay.ask[0].when", "tightens"),
        ("by: [boss]", "by: [boss, lead]", "tools.pay.ask[0].by", "loosens"),
        ("of: 1", "of: 2", "tools.pay.ask[0].of", "tightens"),
        ("of: 1", "not: [requester]", "tools.pay.ask[0].not", "tightens"),
        ("within: 2d", "within: 1d", "tools.pay.ask[0].within", "tightens"),
        ("    limit: [{keep: 'history.sum(\"amount\", \"24h\") + args.amount <= 50000', because: too much}]\n", "",
         "tools.pay.limit[0]", "loosens"),
        ("    ask: [", "    ask: [{when: args.amount > 7, by: [ana]}, ", "tools.pay.ask[0]", "tightens"),
        ("    ask: [", "    ask: [{mode: observe, when: args.amount > 7, by: [ana]}, ", "tools.pay.ask[0]", "neither"),
        ("answers: {text: {deny: [{when: 'answer.text == \"\"', because: empty}]}}\n", "", "answers.text", "loosens"),
        ("clerk: {kind: agent}", "clerk: {kind: agent, role: lead}", "identities.clerk", "unknown"),
        ("keep: 10d", "keep: 9d", "memory.kinds.note.keep", "tightens"),
        ("EMAIL_ADDRESS: mask", "EMAIL_ADDRESS: allow", "memory.personal_data.EMAIL_ADDRESS", "loosens"),
        ("EMAIL_ADDRESS: mask", "EMAIL_ADDRESS: hash", "memory.personal_data.EMAIL_ADDRESS", "unknown"),
        ("personal_data:", "detection: {threshold: 0.5}, personal_data:", "memory.detection.threshold", "loosens"),
        ("personal_data:", "detection: {countries: [US]}, personal_data:", "memory.detection.countries", "loosens"),
        ("personal_data:", "detection: {thresholds: {URL: 0.1}}, personal_data:", "memory.detection.thresholds",
         "unknown"),
        (", tokens: 1000", "", "budget.tokens", "loosens"),
        ("steps: 200", "steps: 20", "budget.steps", "tightens"),
        ("version: 1", "version: 2", "version", "neither"),
    ],
)  # fmt: skip
def test_a_change_and_what_it_does(before: str, after: str, place: str, effect: str) -> None:
    assert before in POLICY
    changes = difference(parse_policy(POLICY), parse_policy(POLICY.replace(before, after, 1)))
    assert (place, effect) in [(one.place, one.effect) for one in changes]
    assert all(one.place == place for one in changes) or "look" in before


def test_the_same_policy_in_another_order_changes_nothing() -> None:
    two = POLICY.replace("ask: [", "ask: [{when: args.amount > 7, by: [ana]}, ")
    swapped = POLICY.replace("because: large}]", "because: large}, {when: args.amount > 7, by: [ana]}]")
    assert difference(parse_policy(two), parse_policy(swapped)) == []


def test_an_observed_rule_that_is_enforced_tightens_whatever_else_it_says_now() -> None:
    observed = POLICY.replace("ask: [{when: args.amount > 1000", "ask: [{mode: observe, when: args.amount > 1000")
    enforced = POLICY.replace("> 1000", "> 2000")
    changes = difference(parse_policy(observed), parse_policy(enforced))
    assert together(one.effect for one in changes) == "tightens"
    assert together(["loosens", "tightens"]) == "unknown"
