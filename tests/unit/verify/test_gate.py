"""The gate: its order, its verdicts, and what it says about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from stateward.errors import PolicyError
from stateward.model.principal import Principal
from stateward.model.values import Json, JsonObject
from stateward.model.verdict import Allow, Ask, Deny
from stateward.verify import Gate, HistoryQuery, Ruling, ToolSchema, explain, policy_digest, read_policy
from stateward.verify.load import parse_source

MONTH_END = Path(__file__).parent / "policy_month_end.yaml"
AGENT = Principal("close-agent", kind="agent")
PERIOD: JsonObject = {"type": "object", "properties": {"period": {"type": "string"}}, "required": ["period"]}
ENTRY: JsonObject = {
    "type": "object",
    "properties": {"account": {"type": "string"}, "amount": {"type": "number"}},
    "required": ["account", "amount"],
}
SOURCE = read_policy(MONTH_END)
SCHEMAS = {
    name: ToolSchema(name=name, json_schema=ENTRY if name == "post_journal_entry" else PERIOD)
    for name in [*SOURCE.document.tools, "delete_ledger"]
}
GATE = Gate(SOURCE.document, SCHEMAS, source=SOURCE)
(POSTED,) = GATE.needs("post_journal_entry")


def judge(
    tool: str,
    *,
    gate: Gate = GATE,
    principal: Principal = AGENT,
    history: Mapping[HistoryQuery, float | int] | None = None,
    **arguments: Json,
) -> Ruling:
    return gate.judge(
        tool=tool,
        arguments=arguments,
        principal=principal,
        requester="ana",
        purpose="month-end-close",
        subject="period:2026-10",
        thread="t-1",
        history=history,
    )


def post(amount: Json, posted: float = 0.0) -> Ruling:
    return judge("post_journal_entry", account="4711", amount=amount, history={POSTED: posted})


def gate_of(rules: str, *, validate: Mapping[str, Callable[[JsonObject], str | None]] | None = None) -> Gate:
    source = parse_source(
        "policy: p\nversion: 2\n"
        "identities: {close-agent: {kind: agent}, ana: {kind: person}, eva: {kind: person}}\n"
        "tools:\n  post:\n    effect: write\n    for: [close-agent]\n" + rules,
        file="p.yaml",
    )
    return Gate(
        source.document,
        {"post": ToolSchema(name="post", json_schema=ENTRY)},
        validate=validate,
        source=source,
    )


def because(ruling: Ruling) -> str:
    assert isinstance(ruling.verdict, Deny)
    return ruling.verdict.reasons[0].because


def test_small_entries_are_allowed() -> None:
    ruling = post(250)
    assert ruling.verdict == Allow()
    assert (ruling.effect, ruling.identity, ruling.idempotent) == ("write", "ledger-writer", False)
    assert (ruling.policy, ruling.policy_digest) == ("month-end-close@1", policy_digest(SOURCE.document))


def test_large_entries_are_asked() -> None:
    verdict = post(1000.01).verdict
    assert isinstance(verdict, Ask)
    (requirement,) = verdict.requirements
    assert (requirement.by, requirement.of, requirement.excluding) == (("controller",), 1, ("requester",))
    assert requirement.within == timedelta(hours=48)
    assert requirement.reason.rule == "tools.post_journal_entry.ask[0]"
    assert requirement.reason.because == "entries above 1,000 need the controller"


def test_a_refusal_wins_over_a_question() -> None:
    ruling = post(2000, posted=49_000)
    assert because(ruling) == "no more than 50,000 is posted in a day"
    assert [result.step for result in ruling.trace] == ["named", "identity", "arguments", "deny", "limit"]


def test_the_limit_counts_what_was_posted() -> None:
    assert (POSTED.kind, POSTED.argument, POSTED.window) == ("sum", "amount", timedelta(hours=24))
    assert post(1000, posted=49_000).verdict == Allow()
    assert isinstance(post(1000, posted=49_000.5).verdict, Deny)


def test_history_that_was_not_fetched_denies() -> None:
    ruling = judge("post_journal_entry", account="4711", amount=5)
    assert "history.sum was not fetched" in because(ruling)


def test_every_call_of_a_tool_can_be_asked() -> None:
    verdict = judge("send_close_pack", period="2026-10").verdict
    assert isinstance(verdict, Ask)
    assert verdict.reasons[0].because == "every call of send_close_pack is approved"


@pytest.mark.parametrize("tool", ["delete_ledger", "nowhere", "", "Reconcile", "reconcile ", "tools", "*"])
def test_a_tool_that_is_not_named_is_denied(tool: str) -> None:
    ruling = judge(tool, period="2026-10")
    assert because(ruling) == "the policy does not name this tool"
    assert (ruling.effect, ruling.identity, ruling.idempotent) == ("write", None, False)
    assert GATE.needs(tool) == ()


def test_a_tool_is_only_for_those_it_names() -> None:
    other = Principal("mallory", roles=["reader"])
    by_role = Principal("agent-7", roles=["close-agent"])
    assert "for close-agent, not for mallory" in because(judge("reconcile", principal=other, period="x"))
    assert judge("reconcile", principal=by_role, period="x").verdict == Allow()


def test_identity_is_looked_at_before_the_arguments() -> None:
    trace = judge("reconcile", principal=Principal("mallory"), wrong=1).trace
    assert [result.step for result in trace] == ["named", "identity"]


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        ("5", "amount has to be a number"),
        (True, "amount has to be a number"),
        (None, "amount has to be a number"),
        (float("nan"), "not finite"),
        (float("-inf"), "not finite"),
        (10**400, "too large"),
        ([1], "amount has to be a number"),
    ],
)
def test_arguments_that_are_no_amount_are_denied(amount: Json, says: str) -> None:
    assert says in because(post(amount))


@pytest.mark.parametrize("account", ["47\x0011", "\ud800"])
def test_text_that_would_be_cut_is_denied(account: str) -> None:
    ruling = judge("post_journal_entry", account=account, amount=5, history={POSTED: 0})
    assert "NUL or a broken character" in because(ruling)


def test_no_refusal_repeats_an_argument() -> None:
    secret = "AT61 1904 3002 3457 3201"
    ruling = judge("post_journal_entry", account=[secret], amount=secret, history={POSTED: 0})
    assert secret not in explain(ruling)


def test_missing_and_unknown_arguments_are_denied() -> None:
    assert because(judge("reconcile")) == "period is missing"
    assert "does not take" in because(judge("reconcile", period="x", force=True))


def test_the_tools_own_validation_is_asked_first() -> None:
    seen: list[JsonObject] = []

    def refuse(arguments: JsonObject) -> str | None:
        seen.append(arguments)
        return "the account is closed"

    gate = gate_of("    deny: [{when: 1 / 0 == 1, because: never}]\n", validate={"post": refuse})
    assert because(judge("post", gate=gate, account="a", amount=5)) == "the account is closed"
    assert seen == [{"account": "a", "amount": 5}]


def test_a_validator_that_fails_denies() -> None:
    def broken(arguments: JsonObject) -> str | None:
        raise KeyError(str(arguments))

    gate = gate_of("", validate={"post": broken})
    assert "could not be checked (KeyError)" in because(judge("post", gate=gate, account="a", amount=5))


def test_arguments_nested_without_end_are_denied() -> None:
    deep: Json = []
    for _ in range(100_000):
        deep = [deep]
    assert "could not be checked (RecursionError)" in because(judge("reconcile", period=deep))


@pytest.mark.parametrize("rules", ["deny", "limit", "ask"])
def test_a_condition_that_errors_denies_wherever_it_stands(rules: str) -> None:
    rule = {
        "deny": "{when: args.amount / 0 > 1, because: x}",
        "limit": "{keep: args.amount / 0 > 1, because: x}",
        "ask": "{when: args.amount / 0 > 1, by: [ana]}",
    }[rules]
    ruling = judge("post", gate=gate_of(f"    {rules}: [{rule}]\n"), account="a", amount=5)
    assert because(ruling).startswith("the condition could not be evaluated: ")
    assert ruling.trace[-1].value is None


def test_every_question_is_collected_and_an_error_after_one_denies() -> None:
    asks = "    ask:\n      - {when: args.amount > 10, by: [ana]}\n"
    asks += "      - {when: args.amount > 20, by: [eva], of: 2}\n"
    gate = gate_of(asks + "      - {when: 10 / int(args.account) > 100, by: [ana]}\n")
    verdict = judge("post", gate=gate, account="1", amount=30).verdict
    assert isinstance(verdict, Ask)
    assert [requirement.by for requirement in verdict.requirements] == [("ana",), ("eva",)]
    assert verdict.reasons[1].rule == "tools.post.ask[1]"
    assert verdict.reasons[1].because == "post is approved where args.amount > 20"
    assert isinstance(judge("post", gate=gate, account="0", amount=30).verdict, Deny)


def test_the_first_refusal_is_the_reason() -> None:
    gate = gate_of(
        "    deny:\n      - {when: args.amount > 1, because: first}\n      - {when: args.amount > 0, because: second}\n"
    )
    assert because(judge("post", gate=gate, account="a", amount=2)) == "first"
    assert because(judge("post", gate=gate, account="a", amount=0.5)) == "second"


def test_a_policy_names_only_tools_that_there_are() -> None:
    schemas = {name: schema for name, schema in SCHEMAS.items() if name != "reconcile"}
    schemas["reconciles"] = ToolSchema(name="reconciles", json_schema=PERIOD)
    with pytest.raises(PolicyError, match="there is no tool 'reconcile'; did you mean 'reconciles'") as caught:
        Gate(SOURCE.document, schemas, source=SOURCE)
    assert MONTH_END.read_text().splitlines()[caught.value.line - 1] == "  reconcile:"


def test_every_flawed_condition_is_listed_with_its_place() -> None:
    with pytest.raises(PolicyError) as caught:
        gate_of(
            "    deny:\n      - when: args.amout > 5\n        because: x\n"
            "    limit:\n      - keep: 'args.account > 5'\n        because: x\n"
            "    ask:\n      - when: |\n          args.amount > 5\n          && args.zzz\n        by: [ana]\n"
        )
    assert caught.value.message.splitlines() == [
        "p.yaml:9:20: post has no argument 'args.amout'; did you mean 'args.amount'?",
        "p.yaml:12:29: '>' does not work with string and int",
        "p.yaml:15:15: post has no argument 'args.zzz'",
    ]
    assert (caught.value.file, caught.value.line, caught.value.column) == ("p.yaml", 9, 20)


def test_without_a_source_the_error_names_the_rule() -> None:
    with pytest.raises(PolicyError, match="there is no tool 'load_period'"):
        Gate(SOURCE.document, {})


def test_explain_gives_every_rule_its_value_and_why() -> None:
    assert explain(post(2000)).splitlines() == [
        f"ask: post_journal_entry, by month-end-close@1 ({policy_digest(SOURCE.document)[:12]})",
        "  pass named      tools.post_journal_entry: the policy names it",
        "  pass identity   tools.post_journal_entry.for: close-agent may call it",
        "  pass arguments  tools.post_journal_entry: they fit the tool's schema",
        "  pass deny       tools.post_journal_entry.deny[0]: "
        "`args.amount <= 0` is false: an entry needs a positive amount",
        "  pass limit      tools.post_journal_entry.limit[0]: "
        '`history.sum("amount", "24h") + args.amount <= 50000` is true: '
        "no more than 50,000 is posted in a day",
        "  ask  ask        tools.post_journal_entry.ask[0]: `args.amount > 1000` is true: "
        "entries above 1,000 need the controller (by controller, not requester, within 2d)",
    ]


def test_judging_is_pure() -> None:
    assert post(2000) == post(2000)


# Patterns.

CRM = {name: ToolSchema(name=name, json_schema=ENTRY) for name in ("crm.read", "crm.write", "post")}


def crm(tools: str) -> Gate:
    head = "policy: p\nversion: 1\nidentities: {close-agent: {kind: agent}, ana: {kind: person}}\ntools:\n"
    source = parse_source(head + tools, file="p.yaml")
    return Gate(source.document, CRM, source=source)


def test_a_pattern_names_the_tools_that_it_matches_and_no_other() -> None:
    gate = crm("  crm.*: {effect: write, for: [close-agent], deny: [{when: args.amount > 5, because: much}]}\n")
    assert set(gate.tools) == {"crm.read", "crm.write"}
    assert judge("crm.read", gate=gate, account="a", amount=5).verdict == Allow()
    denied = judge("crm.write", gate=gate, account="a", amount=6).verdict
    assert [one.rule for one in denied.reasons] == ["tools.crm.*.deny[0]"]
    for tool in ("post", "crm.delete", "crm.*"):
        assert because(judge(tool, gate=gate, account="a", amount=1)) == "the policy does not name this tool"


def test_an_exact_name_wins_over_a_pattern() -> None:
    gate = crm("  crm.*: {effect: write, for: [close-agent]}\n  crm.read: {effect: read, for: [close-agent]}\n")
    assert [judge(name, gate=gate, account="a", amount=5).effect for name in ("crm.read", "crm.write")] == [
        "read",
        "write",
    ]


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ("  cmr.*: {effect: read, for: [close-agent]}\n", "5:3: no tool matches 'cmr.*'; the nearest are crm.read"),
        (
            "  crm.*: {effect: read, for: [close-agent]}\n  '*.read': {effect: write, for: [close-agent]}\n",
            "6:3: both 'crm.*' and '*.read' match the tool 'crm.read'; name it by itself",
        ),
        (
            "  crm.r*: {effect: read, for: [close-agent], deny: [{when: args.amuont > 1, because: x}]}\n",
            "5:65: for 'crm.read', which 'crm.r*' matches: crm.read has no argument 'args.amuont'; did you mean",
        ),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(tools: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        crm(tools)
    assert says in str(caught.value)


# Rules that are only observed.

OBSERVED = """\
    deny:
      - {when: args.amount > 10, because: first, mode: observe}
      - {when: args.amount > 20, because: second}
    limit: [{keep: 100 / (int(args.amount) - 5) > 0, because: third, mode: observe}]
    ask:
      - {when: args.amount > 1, by: [ana], because: fourth, mode: observe}
      - {when: args.amount > 2, by: [eva], because: fifth}
"""


@pytest.mark.parametrize(
    ("amount", "kind", "reasons", "observed"),
    [
        (1, "allow", [], ["limit[0]"]),
        (1.5, "allow", [], ["limit[0]", "ask[0]"]),
        (6, "ask", ["fifth"], ["ask[0]"]),
        (11, "ask", ["fifth"], ["deny[0]", "ask[0]"]),
        (21, "deny", ["second"], ["deny[0]"]),
    ],
)
def test_an_observed_rule_is_told_and_changes_nothing(
    amount: float, kind: str, reasons: list[str], observed: list[str]
) -> None:
    ruling = judge("post", gate=gate_of(OBSERVED), account="a", amount=amount)
    assert ruling.verdict.kind == kind
    assert [one.because for one in ruling.verdict.reasons] == reasons
    assert [one.rule.removeprefix("tools.post.") for one in ruling.observed] == observed


def test_an_observed_condition_that_errors_is_noted_and_denies_nothing() -> None:
    ruling = judge("post", gate=gate_of(OBSERVED), account="a", amount=5)
    assert ruling.verdict.kind == "ask"
    failed = next(one for one in ruling.observed if "limit" in one.rule)
    assert failed.because.startswith("the condition could not be evaluated")
    assert "third (observed only)" not in explain(ruling)
    assert "could not be evaluated: divide by zero (observed only)" in explain(ruling)


def test_observing_one_rule_loosens_no_other() -> None:
    enforced = gate_of(OBSERVED.replace(", mode: observe", ""))
    observed = gate_of(OBSERVED)
    only = gate_of("".join(line for line in OBSERVED.splitlines(True) if "observe" not in line or "[{" in line))
    for amount in (0.5, 1.5, 3, 6, 12, 25):
        with_, without = (judge("post", gate=gate, account="a", amount=amount).verdict for gate in (observed, only))
        assert [one.because for one in with_.reasons] == [one.because for one in without.reasons]
        strict = judge("post", gate=enforced, account="a", amount=amount).verdict.kind
        assert ["allow", "ask", "deny"].index(strict) >= ["allow", "ask", "deny"].index(with_.kind)


# All conditions of a tool are evaluated together, with the same results.


@pytest.mark.parametrize("count", [1, 2, 65, 200])
def test_evaluating_together_says_what_each_condition_says(count: int) -> None:
    denies = "".join(f"      - {{when: args.amount == {at}, because: 'rule {at}'}}\n" for at in range(count))
    gate = gate_of(f"    deny:\n{denies}    ask: [{{when: args.amount > 500, by: [ana]}}]\n")
    assert judge("post", gate=gate, account="a", amount=count).verdict == Allow()
    assert len(judge("post", gate=gate, account="a", amount=count).trace) == 3 + count + 1
    for at in {0, count // 2, count - 1}:
        ruling = judge("post", gate=gate, account="a", amount=at)
        assert because(ruling) == f"rule {at}"
        assert [one.value for one in ruling.trace[3:]] == [False] * at + [True]
    assert judge("post", gate=gate, account="a", amount=501).verdict.kind == "ask"


def test_a_condition_that_errors_does_not_hide_a_refusal_before_it() -> None:
    gate = gate_of("    deny: [{when: args.amount > 5, because: first}, {when: 1 / 0 == 1, because: second}]\n")
    assert because(judge("post", gate=gate, account="a", amount=6)) == "first"
    assert "could not be evaluated" in because(judge("post", gate=gate, account="a", amount=5))


def test_a_comment_in_a_condition_hides_nothing_of_the_next_one() -> None:
    rules = "    deny:\n      - when: |\n          args.amount > 5 // much\n        because: first\n"
    gate = gate_of(rules + "      - {when: args.amount < 2, because: second}\n")
    assert [because(judge("post", gate=gate, account="a", amount=amount)) for amount in (6, 1)] == ["first", "second"]


def test_what_the_rules_read_of_the_past_is_told() -> None:
    assert post(5, posted=7).facts == {"history": {'history.sum("amount", "1d")': 7.0}}
    assert judge("reconcile", period="x").facts == {}


def test_a_field_to_reveal_has_to_be_an_argument_of_the_tool() -> None:
    with pytest.raises(PolicyError) as refused:
        gate_of("    reveal: [account, amuont]\n")
    assert (refused.value.line, refused.value.column) == (8, 23)
    assert "'post' has no argument 'amuont'; did you mean 'amount'?" in str(refused.value)
    assert gate_of("    reveal: [account]\n").rule("post").reveal == ("account",)  # type: ignore[union-attr]
