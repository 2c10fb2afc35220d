"""A policy's digest: the same over an upgrade, so that approvals and permits stay valid; another for another policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from stateward.model.policy import PolicyDocument
from stateward.verify.load import parse_policy, policy_digest, policy_from_json, policy_json

# What 0.1.0 could say, and the digest that 0.1.0 took over it.
FIRST = """
policy: close
version: 3
identities:
  bot: {kind: agent}
  boss: {kind: person, role: chiefs}
  writer: {kind: credential, role: bank_writer}
tools:
  look: {effect: read, for: [bot]}
  pay:
    effect: write
    identity: writer
    for: [bot]
    deny: [{when: args.amount <= 0, because: a payment is positive}]
    limit: [{keep: 'history.count("1h") < 5', because: five an hour}]
    ask: [{when: args.amount > 100, by: [chiefs], not: [requester], within: 2d}]
memory:
  kinds: {note: {purpose: [close], keep: 10d}}
  personal_data: {default: redact, EMAIL_ADDRESS: hash}
budget: {steps: 50}
escalate: {to: [boss], after: 2d}
"""
FIRST_DIGEST = "7fad6c107ac5dd540c2041e6b2c28f6c2989db2c341df65e3f063a7231bc21a1"
# The same with what came later, each at its default.
AT_DEFAULTS = (
    FIRST.replace("within: 2d}", "within: 2d, stage: 1, lapse: reject, mode: enforce}")
    .replace("look: {", "look: {returns: [], ")
    .replace("keep: 10d}", "keep: 10d, labels: []}")
    .replace("role: bank_writer}", "role: bank_writer, serves: []}")
    + "answers: {}\nprices: {}\n"
)
# One more of each; what is given counts.
CHANGES = {
    "stage": ("within: 2d}", "within: 2d, stage: 2}"),
    "lapse": ("within: 2d}", "within: 2d, lapse: escalate}"),
    "remind": ("within: 2d}", "within: 2d, remind: 1d}"),
    "confirm": ("within: 2d}", "within: 2d, confirm: typed}"),
    "mode": ("within: 2d}", "within: 2d, mode: observe}"),
    "returns": ("look: {", "look: {returns: [untrusted], "),
    "reveal": ("look: {", "look: {reveal: [what], "),
    "conversation": ("escalate:", "conversation: {answers: pseudonyms}\nescalate:"),
    "labels": ("keep: 10d}", "keep: 10d, labels: [own]}"),
    "schema": ("keep: 10d}", "keep: 10d, schema: {type: object}}"),
    "sensitivity": ("keep: 10d}", "keep: 10d, sensitivity: restricted}"),
    "detection": ("EMAIL_ADDRESS: hash}", "EMAIL_ADDRESS: hash}\n  detection: {threshold: 0.5}"),
    "serves": ("role: bank_writer}", "role: bank_writer, serves: [write]}"),
    "env": ("role: bank_writer}", "env: BANK_KEY}"),
    "provider": ("role: bank_writer}", "provider: bank}"),
    "tokens": ("steps: 50}", "steps: 50, tokens: 9}"),
    "wall": ("steps: 50}", "steps: 50, wall: 1d}"),
    "answers": ("escalate:", "answers: {text: {}}\nescalate:"),
    "mcp": ("escalate:", "mcp: {files: {for: [bot]}}\nescalate:"),
    "prices": ("escalate:", "prices: {m: {input: 1, output: 1}}\nescalate:"),
    "abandon": ("escalate:", "abandon: {by: [boss]}\nescalate:"),
}
# Every key that a part had when it was first released. A key that is not here is declared with `later(...)`.
FIRST_KEYS: dict[str, set[str]] = {
    "Identity": {"kind", "role"},
    "DenyRule": {"when", "because"},
    "LimitRule": {"keep", "because"},
    "AskRule": {"when", "by", "of", "excluding", "within", "because"},
    "ToolRule": {
        *("effect", "destructive", "idempotent", "open_world", "identity", "allowed", "deny", "limit", "ask"),
    },
    "MemoryKind": {"purpose", "keep"},
    "MemoryPolicy": {"kinds", "personal_data"},
    "Detection": {"countries", "threshold", "thresholds"},
    "ConversationPolicy": {"personal_data", "answers"},
    "Budget": {"steps"},
    "Escalation": {"to", "after"},
    "PolicyDocument": {"policy", "version", "identities", "tools", "memory", "budget", "escalate"},
    "ServerRule": {"trusted", "identity", "allowed", "returns", "deny", "limit", "ask"},
    "AnswerRule": {"deny", "ask", "tries"},
    "Price": {"input", "output"},
    "CheckpointPolicy": {"keep"},
    "ThreadPolicy": {"keep"},
    "AbandonRule": {"by"},
    "StsGrant": {"role", "session_policy", "lasts", "region", "external_id"},
    "OAuthGrant": {"token_url", "client_id", "client_secret", "scopes", "audience"},
}


def parts(kind: Any, found: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Every model that a document is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ not in found:
        found[kind.__name__] = kind
        for one in kind.model_fields.values():
            parts(one.annotation, found)
    for inner in get_args(kind):
        parts(inner, found)
    return found


def keys() -> Iterator[tuple[str, str, Any]]:
    for name, kind in parts(PolicyDocument, {}).items():
        for key, field in kind.model_fields.items():
            yield name, key, field


def test_a_policy_of_the_first_release_keeps_its_digest() -> None:
    assert policy_digest(parse_policy(FIRST)) == FIRST_DIGEST
    assert policy_digest(parse_policy(AT_DEFAULTS)) == FIRST_DIGEST
    assert policy_digest(parse_policy(FIRST + "threads: {keep: 9d}\n")) == FIRST_DIGEST  # it says nothing of actions


@pytest.mark.parametrize("key", CHANGES)
def test_what_a_policy_says_beyond_that_changes_it(key: str) -> None:
    before, after = CHANGES[key]
    assert FIRST.count(before) == 1
    changed = parse_policy(FIRST.replace(before, after))
    assert policy_digest(changed) != FIRST_DIGEST
    assert policy_from_json(policy_json(changed), policy_digest(changed)) == changed


def test_a_new_key_is_left_out_at_its_default_and_an_old_one_never_is() -> None:
    for name, key, field in keys():
        if (name, key) != ("PolicyDocument", "checkpoints"):  # which says nothing of actions, and is never in it
            assert (field.exclude_if is None) == (key in FIRST_KEYS[name]), f"{name}.{key}: declare it with later(...)"
