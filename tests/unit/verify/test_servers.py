"""What an MCP server's tool is under a policy: whose word counts, and in which direction."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from stateward import PolicyError
from stateward.model.policy import PolicyDocument
from stateward.model.served import Hints, Served, overlapping
from stateward.policies.difference import difference
from stateward.verify.arguments import ToolSchema
from stateward.verify.gate import Gate
from stateward.verify.load import parse_policy, policy_digest, policy_from_json, policy_json
from stateward.verify.servers import means, rule_of

BARE = """
policy: p
version: 1
identities: {bot: {kind: agent}, boss: {kind: person}}
"""
UNTRUSTED, TRUSTED = (f"{BARE}mcp: {{bank: {{trusted: {word}, for: [bot]}}}}\n" for word in ("false", "true"))


def served(server: str = "bank", **hints: Any) -> Served:
    return Served(server=server, hints=Hints(**hints), definition="d", takes_credential=True)


def rule(text: str, **hints: Any) -> Any:
    found = rule_of(parse_policy(text), "bank_pay", served(**hints))
    return found and found.rule


EVERY = [
    dict(zip(("read_only", "destructive", "idempotent", "open_world"), one, strict=True))
    for one in product((None, True, False), repeat=4)
]


@pytest.mark.parametrize("hints", EVERY, ids=str)
def test_no_annotation_of_an_untrusted_server_lowers_anything(hints: dict[str, Any]) -> None:
    one = rule(UNTRUSTED, **hints)
    assert (one.effect, one.destructive, one.idempotent, one.open_world) == ("write", True, False, True)
    assert one.returns == ("untrusted",)


@pytest.mark.parametrize("hints", EVERY, ids=str)
def test_a_trusted_server_is_what_it_says_with_the_defaults_of_mcp(hints: dict[str, Any]) -> None:
    one = rule(TRUSTED, **hints)
    reads = hints["read_only"] is True
    assert one.effect == ("read" if reads else "write")
    assert one.destructive is (not reads and hints["destructive"] is not False)
    assert one.idempotent is (not reads and hints["idempotent"] is True)
    assert one.open_world is (hints["open_world"] is not False)
    assert one.returns == ()


def test_a_server_that_is_not_named_gives_nothing() -> None:
    assert rule_of(parse_policy(TRUSTED), "web_pay", served("web", read_only=True)) is None
    assert rule_of(parse_policy(TRUSTED), "bank_pay", None) is None


def test_what_the_policy_says_of_a_tool_stays_and_its_results_stay_untrusted() -> None:
    text = f"{UNTRUSTED}tools: {{bank_pay: {{effect: read, for: [bot], returns: [money]}}}}\n"
    assert (rule(text).effect, rule(text).returns) == ("read", ("money", "untrusted"))
    trusted = text.replace("trusted: false", "trusted: true")
    assert rule(trusted).returns == ("money",)


@pytest.mark.parametrize(
    ("key", "tool", "meant"),
    [
        ("bank_pay", "bank_pay", True),
        ("bank_*", "bank_pay", True),
        ("bank_p*", "bank_pay", True),
        ("*_pay", "bank_pay", False),
        ("b*", "bank_pay", False),
        ("bank*", "bank_pay", False),
        ("bank_*", "other_pay", False),
    ],
)
def test_a_pattern_names_a_servers_tools_only_where_it_begins_with_the_server(key: str, tool: str, meant: bool) -> None:
    assert means(key, tool, served(tool.split("_")[0])) is meant


def test_hints_are_booleans_only() -> None:
    assert Hints.of({"readOnlyHint": "true", "idempotentHint": 1, "destructiveHint": None}) == Hints()


def test_servers_that_could_have_each_others_names() -> None:
    assert overlapping(["bank_eu", "web", "bank"]) == ("bank", "bank_eu")
    assert overlapping(["bank", "banker", "web", "bank"]) is None


def test_servers_are_in_the_digest() -> None:
    documents = [parse_policy(text) for text in (BARE, TRUSTED, UNTRUSTED)]
    assert "mcp" not in policy_json(documents[0])
    assert len({policy_digest(one) for one in documents}) == 3


def test_a_policy_with_servers_is_read_again_as_it_was_kept() -> None:
    text = """
policy: p
version: 1
identities: {bot: {kind: agent}, boss: {kind: person}, token: {kind: credential, env: TOKEN}}
mcp:
  bank:
    trusted: true
    for: [bot]
    identity: token
    returns: [money]
    deny: [{when: args.amount > 5, because: much}]
    limit: [{keep: 'history.count("24h") < 3', because: often}]
    ask: [{by: [boss], within: 2d}]
"""
    document = parse_policy(text)
    assert document.labels == {"money"}
    assert policy_from_json(policy_json(document), policy_digest(document)) == document


def gate(document: PolicyDocument, **tools: Served) -> Gate:
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
    return Gate(document, {name: ToolSchema(name=name, json_schema=schema, served=one) for name, one in tools.items()})


def test_a_rule_of_a_server_is_checked_against_each_of_its_tools() -> None:
    text = UNTRUSTED.replace("for: [bot]", "for: [bot], deny: [{when: args.amuont > 5, because: much}]")
    with pytest.raises(PolicyError, match=r"for 'bank_pay' of this server: .*did you mean 'args\.amount'"):
        gate(parse_policy(text), bank_pay=served())


def test_labels_of_servers_are_known_to_conditions() -> None:
    ask = "for: [bot], ask: [{when: \"'untrusted' in labels\", by: [boss]}]"
    made = gate(parse_policy(UNTRUSTED.replace("for: [bot]", ask)), bank_pay=served())
    assert (made.labelled, made.reads_labels("bank_pay"), made.returns("bank_pay")) == (True, True, ("untrusted",))
    with pytest.raises(PolicyError, match="untrusted"):
        gate(parse_policy(TRUSTED.replace("for: [bot]", ask)), bank_pay=served())


@pytest.mark.parametrize(
    ("old", "new", "effect"),
    [
        (BARE, UNTRUSTED, "loosens"),
        (UNTRUSTED, BARE, "tightens"),
        (UNTRUSTED, TRUSTED, "loosens"),
        (TRUSTED, UNTRUSTED, "tightens"),
        (TRUSTED, TRUSTED.replace("for: [bot]", "for: [bot], ask: [{by: [boss]}]"), "tightens"),
    ],
)
def test_what_a_change_of_servers_does(old: str, new: str, effect: str) -> None:
    assert [one.effect for one in difference(parse_policy(old), parse_policy(new))] == [effect]
