"""Reading a policy: what holds, and where every error points."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from stateward.errors import PolicyError
from stateward.model.policy import PolicyDocument, duration_text, parse_duration
from stateward.verify.load import load_policy, parse_policy, policy_digest, policy_from_json, policy_json, read_policy

MONTH_END = Path(__file__).parent / "policy_month_end.yaml"
HEAD = "policy: p\nversion: 1\nidentities: {bot: {kind: agent}, ana: {kind: person, role: lead}}\n"


def refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, file="p.yaml")
    return caught.value


def test_month_end_policy_says_what_the_team_wrote() -> None:
    policy = load_policy(MONTH_END)
    post = policy.tools["post_journal_entry"]
    assert policy.label == "month-end-close@1"
    assert (post.effect, post.identity, post.allowed) == ("write", "ledger-writer", ("close-agent",))
    assert post.ask[0].excluding == ("requester",)
    assert post.ask[0].within == timedelta(hours=48)
    assert policy.tools["send_close_pack"].ask[0].when == "true"
    assert policy.memory.kinds["variance_note"].keep == timedelta(days=400)
    assert policy.budget.steps == 200
    assert policy.escalate is not None
    assert policy.escalate.to == ("controller",)


@pytest.mark.parametrize(
    ("entity", "treatment"), [("CREDIT_CARD", "refuse"), ("EMAIL_ADDRESS", "mask"), ("PERSON", "redact")]
)
def test_personal_data_has_a_treatment_for_every_entity(entity: str, treatment: str) -> None:
    assert load_policy(MONTH_END).memory.treatment(entity) == treatment


def test_personal_data_is_redacted_where_the_policy_is_silent() -> None:
    assert parse_policy("policy: p\nversion: 1").memory.treatment("PERSON") == "redact"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("48h", timedelta(hours=48)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_durations(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span
    assert parse_duration(duration_text(span)) == span


@pytest.mark.parametrize(
    "text", ["", "0s", "48", "48 h", "-1h", "1.5h", "1H", "1y", "1h30m", "9999999999999d", 48, True]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 0, 0, "the policy is empty"),
        ("- a", 1, 1, "expected keys with values"),
        ("policy: p\nversion: yes", 2, 10, "expected a whole number"),
        ("policy: p\nversion: true", 2, 10, "expected a whole number"),
        ("policy: p\nversion: 0", 2, 10, "greater than or equal to 1"),
        ("policy: p@1\nversion: 1", 1, 9, "expected a name"),
        ("policy: p\nverson: 1\nversion: 1", 2, 1, "unknown key 'verson'; did you mean 'version'?"),
        ("policy: p\nversion: 1\non: 3", 3, 1, "unknown key 'on'; known here: abandon, answers, budget"),
        ("policy: p\nversion: 1\npolicy: q", 3, 1, "'policy' is there twice"),
        ("policy: p\nversion: 1\n[a]: 1", 3, 1, "a key has to be a name"),
        ("policy: p\nversion: 1\n---\npolicy: q", 3, 1, "another document"),
        ("policy: p\nversion: 1\ntools: &t\n  x: *t", 3, 8, "alias of itself"),
        ("policy: p\nversion: 1\nbudget: {dollars: 5}", 3, 10, "unknown key 'dollars'; known here: steps, tokens"),
        ("policy: p\nversion: 1\nbudget: {usd: 5}", 3, 15, "needs to know what models cost"),
        ("policy: p\nversion: 1\nprices: {m: {input: -1, output: 1}}", 3, 21, "expected an amount such as 20"),
        ("policy: p\nversion: 1\nbudget: {wall: 7}", 3, 16, "expected a duration"),
        (HEAD + "tools: {t: {effect: read}}", 4, 9, "'for' is missing: say for whom"),
        (HEAD + "tools: {t: {effect: read, for: []}}", 4, 32, "must not be empty"),
        (HEAD + "tools: {t: {effect: raed, for: [bot]}}", 4, 21, "did you mean 'read'?"),
        (HEAD + "tools: {t: {effect: read, for: [bto]}}", 4, 33, "did you mean 'bot'?"),
        (HEAD + "tools: {t: {effect: read, for: [bot], idempotent: yes}}", 4, 51, "true or false"),
        (HEAD + "tools: {t: {effect: read, for: [bot], destructive: true}}", 4, 12, "cannot be destructive"),
        (HEAD + "tools: {t: {effect: read, for: [bot], identity: bot}}", 4, 49, "not a credential"),
        (HEAD + "tools: {'t_?': {effect: read, for: [bot]}}", 4, 9, "* stands for any of them"),
        (HEAD + "tools: {'*': {effect: read, for: [bot]}}", 4, 9, "matches every tool"),
        (
            HEAD + "tools: {t: {effect: read, for: [bot], deny: [{when: true, because: x, mode: observ}]}}",
            4,
            77,
            "did you mean 'observe'?",
        ),
        (HEAD + "tools: {t: {effect: read, for: [bot], labels: [x]}}", 4, 39, "unknown key 'labels'"),
        (HEAD + "tools: {t: {effect: read, for: [bot], ask: [{by: [bot]}]}}", 4, 51, "not a person"),
        (HEAD + "tools: {t: {effect: read, for: [bot], ask: [{by: [leed]}]}}", 4, 51, "did you mean 'lead'?"),
        (HEAD + "tools: {t: {effect: read, for: [bot], ask: [{by: [ana], of: 0}]}}", 4, 61, "equal to 1"),
        (
            HEAD + "tools: {t: {effect: read, for: [bot], ask: [{by: [ana], not: [requestr]}]}}",
            4,
            63,
            "did you mean 'requester'?",
        ),
        (
            HEAD + "tools: {t: {effect: read, for: [bot], ask: [{by: [ana], not: [ana]}]}}",
            4,
            62,
            "nobody is left to decide",
        ),
        (
            HEAD + "tools: {t: {effect: read, for: [bot], ask: [{by: [ana], within: 48}]}}",
            4,
            65,
            "a duration such as",
        ),
        (HEAD + "escalate: {to: [bot], after: 1h}", 4, 17, "not a person"),
        (HEAD + "abandon: {by: [bot]}", 4, 16, "not a person or service"),
        (HEAD + "abandon: {by: []}", 4, 15, "must not be empty"),
        ("policy: p\nversion: 1\nidentities: {editor: {kind: person}}", 3, 14, "'editor' is reserved"),
        (
            "policy: p\nversion: 1\nidentities: {w: {kind: credential}}",
            3,
            17,
            "a credential needs exactly one of `role:`",
        ),
        ("policy: p\nversion: 1\nmemory: {personal_data: {email: mask}}", 3, 26, "in capitals"),
        ("policy: p\nversion: 1\nmemory: {personal_data: {EMAIL: pseudonym}}", 3, 33, "did you mean 'pseudonymize'"),
        ("policy: p\nversion: 1\nconversation: {personal_data: {PERSON: pseudonymise}}", 3, 40, "mean 'pseudonymize'"),
        ("policy: p\nversion: 1\nconversation: {answers: value}", 3, 25, "did you mean 'values'"),
        ("policy: p\nversion: 1\nconversation: {default: allow}", 3, 16, "unknown key 'default'"),
        ("policy: p\nversion: 1\nmemory: {detection: {threshold: 1.5}}", 3, 33, "from 0 to 1"),
        ("policy: p\nversion: 1\nmemory: {detection: {threshold: true}}", 3, 33, "from 0 to 1"),
        ("policy: p\nversion: 1\nmemory: {detection: {thresholds: {person: 0.5}}}", 3, 35, "in capitals"),
        ("policy: p\nversion: 1\nmemory: {detection: {countries: [US, UK]}}", 3, 38, "ISO 3166"),
        ("policy: p\nversion: 1\nmemory: {detection: {countries: []}}", 3, 33, "must not be empty"),
        ("policy: p\nversion: 1\nmemory: {kinds: {n: {purpose: [], keep: 1d}}}", 3, 31, "must not be empty"),
    ],
)
def test_an_error_names_its_line_and_column(text: str, line: int, column: int, says: str) -> None:
    error = refused(text)
    assert says in str(error)
    assert (error.file, error.line, error.column) == ("p.yaml", line, column)


def test_all_errors_are_listed_in_the_order_of_the_file() -> None:
    error = refused("policy: p\nversion: x\nverson: 1\nbudget: {steps: 0}")
    assert (error.line, error.column) == (2, 10)
    assert [line.split(": ")[0] for line in error.message.splitlines()] == [
        "p.yaml:2:10",
        "p.yaml:3:1",
        "p.yaml:4:17",
    ]


def test_a_comma_in_an_unquoted_condition_gets_a_hint() -> None:
    text = HEAD + 'tools: {t: {effect: read, for: [bot], limit: [{keep: history.sum("a", "1h") < 5, because: x}]}}'
    assert "needs quotes" in str(refused(text))


def test_yaml_words_stay_words() -> None:
    text = "policy: p\nversion: 1\nidentities: {no: {kind: agent}, on: {kind: person}}\n"
    policy = parse_policy(text + "tools: {t: {effect: read, for: [no], ask: [{when: true, by: [on], because: yes}]}}")
    assert policy.tools["t"].allowed == ("no",)
    assert (policy.tools["t"].ask[0].when, policy.tools["t"].ask[0].because) == ("true", "yes")


def test_anchors_are_fine_and_tags_build_no_objects() -> None:
    policy = parse_policy(
        "policy: !!python/object:os.system p\nversion: 1\nidentities: {a: &agent {kind: agent}, b: *agent}"
    )
    assert policy.policy == "p"
    assert policy.identities["b"].kind == "agent"


def test_a_missing_file_is_a_policy_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent\.yaml: the policy cannot be read: No such file"):
        load_policy(tmp_path / "absent.yaml")


def test_a_file_in_another_encoding_is_a_policy_error(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"policy: \xe9")
    with pytest.raises(PolicyError, match="not UTF-8"):
        load_policy(tmp_path / "latin.yaml")


def test_places_point_at_keys_values_and_what_is_around_what_is_absent() -> None:
    source = read_policy(MONTH_END)
    keep = ("tools", "post_journal_entry", "limit", 0, "keep")
    line = MONTH_END.read_text().splitlines().index('      - keep: history.sum("amount", "24h") + args.amount <= 50000')
    assert source.where(keep) == (line + 1, 15)
    assert source.where(keep, key=True) == (line + 1, 9)
    assert source.where(keep, column=5) == (line + 1, 19)
    assert source.where(("tools", "send_close_pack", "ask", 0, "when"))[0] > line


def test_a_policy_that_does_not_say_how_to_look_keeps_its_digest() -> None:
    base = "policy: p\nversion: 1\nmemory: {kinds: {note: {purpose: [x], keep: 1d}}}"
    said = base.replace("}}}", "}}, detection: {threshold: 0.4, countries: [US, GB, FR]}}")
    other = base.replace("}}}", "}}, detection: {threshold: 0.6}}")
    assert "detection" not in policy_json(parse_policy(base))["memory"]  # type: ignore[operator]
    assert policy_digest(parse_policy(base)) == policy_digest(parse_policy(said))
    assert policy_digest(parse_policy(base)) != policy_digest(parse_policy(other))
    assert (
        policy_from_json(
            policy_json(parse_policy(other)), policy_digest(parse_policy(other))
        ).memory.detection.threshold
        == 0.6
    )


def test_the_digest_follows_what_is_said_not_how() -> None:
    base = parse_policy("policy: p\nversion: 1\nbudget: {steps: 5}")
    same = parse_policy("# a comment\nbudget:\n  steps: 5\nversion: 1\npolicy: 'p'")
    other = parse_policy("policy: p\nversion: 1\nbudget: {steps: 6}")
    assert policy_digest(base) == policy_digest(same)
    assert policy_digest(base) != policy_digest(other)
    assert len(policy_digest(base)) == 64


def test_a_document_built_without_yaml_checks_itself() -> None:
    with pytest.raises(ValidationError, match="not an agent, service or person"):
        PolicyDocument.model_validate(
            {"policy": "p", "version": 1, "tools": {"t": {"effect": "read", "for": ["nobody"]}}}
        )


def test_a_document_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_policy("policy: p\nversion: 1").version = 2  # pyright: ignore[reportAttributeAccessIssue]
