"""Labels and origins in a policy: what is refused at load, what a rule comes to, and how it is explained."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field

from stateward.errors import PolicyError
from stateward.model.principal import Principal
from stateward.verify import Gate, Ruling, ToolSchema, explain
from stateward.verify.load import parse_source
from stateward.verify.origin import Sightings, sighting


class Line(BaseModel):
    account: str
    amount: float = 0


class Order(BaseModel):
    iban: str
    express: bool = False


class Payment(BaseModel):
    account: str
    amount: float = 10
    order: Order | None = None
    lines: list[Line] = Field(default_factory=list[Line])
    parts: dict[str, str] = Field(default_factory=dict)


POLICY = """\
policy: p
version: 1
identities: {bot: {kind: agent}, ana: {kind: person}}
tools:
  read_mail: {effect: read, for: [bot], returns: [untrusted, personal]}
  pay:
    effect: write
    for: [bot]
    ask:
      - when: >-
          CONDITION
        by: [ana]
        because: look at it
memory: {kinds: {note: {purpose: [p], keep: 1d, labels: [rumour]}}}
"""


def gate(condition: str, policy: str = POLICY) -> Gate:
    source = parse_source(policy.replace("CONDITION", condition), file="p.yaml")
    pay = ToolSchema(name="pay", json_schema=Payment.model_json_schema())
    mail = ToolSchema(name="read_mail", json_schema={"type": "object", "properties": {}})
    return Gate(source.document, {"pay": pay, "read_mail": mail}, source=source)


def judge(condition: str, *labels: str, **arguments: object) -> Ruling:
    seen = Sightings()
    seen.add(sighting("1", "person", "account 11112222 for the acme corp"))
    seen.add(sighting("2", "trusted", ["33334444"]))
    seen.add(sighting("3", "untrusted", "account 55556666"))
    return gate(condition).judge(
        tool="pay",
        arguments={"account": "11112222", **arguments},  # pyright: ignore[reportArgumentType]
        principal=Principal("bot", kind="agent"),
        requester="ann",
        purpose="p",
        subject="s",
        thread="t",
        labels=frozenset(labels),
        sightings=seen,
    )


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ('"untrsted" in labels', "gives the label 'untrsted'; did you mean 'untrusted'?"),
        ("'rumor' in labels", "did you mean 'rumour'?"),
        ('labels.exists(l, l == "persnal")', "did you mean 'personal'?"),
        ("labels == ['other']", "gives the label 'other'"),
        ("5 in labels", "'in' does not work with int and list(string)"),
        ("origin.acount == 'person'", "pay has no argument 'origin.acount'; did you mean 'origin.account'?"),
        ("origin.order.ibn == 'person'", "did you mean 'origin.order.iban'?"),
        ("origin.lines.acount == 'person'", "did you mean 'origin.lines.account'?"),
        ("origin.account.x == 'person'", "pay has no argument 'origin.account.x'"),
        ("origin.account == 'untrused'", "never 'untrused'; did you mean 'untrusted'?"),
        ("'persn' != origin.account", "did you mean 'person'?"),
        ("!(origin.account in ['person', 'trustd'])", "did you mean 'trusted'?"),
        ("origin.account == args.amount", "'==' does not work with string and double"),
        ("origin == 'person'", "`origin` is of an argument, such as `origin.account`"),
        ("origin.order.express == 'person'", "would always be unknown, because it is true or false"),
        ("origin.order == 'person'", "the origin of 'origin.order.express' would always be unknown"),
        ("origin.account", "a condition is true or false, this one is string"),
    ],
)
def test_mistakes_are_found_at_load(condition: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        gate(condition)
    assert says in str(caught.value)


def test_the_place_of_a_mistake_is_told() -> None:
    policy = POLICY.replace(">-\n          CONDITION", "CONDITION")
    for condition, column in (("origin.acount == 'person'", 22), ("origin.account == 'persn'", 33)):
        with pytest.raises(PolicyError) as caught:
            gate(condition, policy)
        assert (caught.value.line, caught.value.column) == (10, column)


@pytest.mark.parametrize(
    ("condition", "labels", "asks"),
    [
        ('"untrusted" in labels', (), False),
        ('"untrusted" in labels', ("untrusted",), True),
        ('!("rumour" in labels)', ("untrusted",), True),
        ('labels.exists(l, l == "personal")', ("personal", "untrusted"), True),
        ("size(labels) > 1", ("untrusted",), False),
    ],
)
def test_rules_read_labels(condition: str, labels: tuple[str, ...], asks: bool) -> None:
    assert judge(condition, *labels).verdict.kind == ("ask" if asks else "allow")
    assert gate(condition).reads_labels("pay")
    assert not gate(condition).reads_origin


@pytest.mark.parametrize(
    ("origin", "account"),
    [("person", "11112222"), ("trusted", "3333 4444"), ("untrusted", "55556666"), ("unknown", "77778888")],
)
def test_rules_read_origins(origin: str, account: str) -> None:
    assert judge(f"origin.account == '{origin}'", account=account).verdict.kind == "ask"
    trusted = judge("!(origin.account in ['person', 'trusted'])", account=account).verdict.kind == "allow"
    assert trusted is (origin in ("person", "trusted"))
    assert gate("origin.account == 'person'").reads_origin


def test_origins_go_into_objects_and_lists() -> None:
    order = {"iban": "11112222"}
    assert judge("origin.order.iban == 'person'", order=order).verdict.kind == "ask"
    assert judge("origin . order . iban == 'person'", order=order).verdict.kind == "ask"
    assert judge("origin.order.iban == 'unknown'").verdict.kind == "ask"
    lines = [{"account": "11112222"}, {"account": "55556666"}]
    assert judge("origin.lines.account == 'untrusted'", lines=lines).verdict.kind == "ask"
    assert judge("origin.lines.account == 'person'", lines=lines[:1]).verdict.kind == "ask"
    assert judge("origin.lines.account == 'unknown'", lines=[*lines, {}]).verdict.kind == "deny"  # it does not fit
    assert judge("origin.parts == 'unknown'", parts={"unheard of": "acme corp"}).verdict.kind == "ask"


def test_without_sightings_every_origin_is_unknown() -> None:
    ruling = gate("origin.account == 'unknown'").judge(
        tool="pay",
        arguments={"account": "11112222"},
        principal=Principal("bot", kind="agent"),
        requester="ann",
        purpose="p",
        subject="s",
        thread="t",
    )
    assert ruling.verdict.kind == "ask"


def test_the_explanation_says_what_was_read() -> None:
    said = explain(judge('"untrusted" in labels && origin.account == "unknown"', "untrusted", account="55556666"))
    assert said.endswith("  read  labels: untrusted\n  read  origin.account: untrusted")
    assert explain(judge('"untrusted" in labels')).endswith("  read  labels: none")
    assert judge("origin.account == 'person'").facts == {"origin.account": "person"}


def test_a_policy_without_either_reads_neither() -> None:
    made = gate(
        "args.amount > 5", POLICY.replace(", returns: [untrusted, personal]", "").replace(", labels: [rumour]", "")
    )
    assert (made.labelled, made.reads_origin, made.reads_labels("pay"), made.returns("read_mail")) == (False,) * 3 + (
        (),
    )
    assert gate("args.amount > 5").labelled
    assert gate("args.amount > 5").returns("read_mail") == ("untrusted", "personal")
