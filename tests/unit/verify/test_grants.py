"""What a policy may say of credentials, and where it is told what does not hold."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stateward.errors import PolicyError
from stateward.verify.load import parse_policy

HEAD = "policy: p\nversion: 1\n"
STS = (
    "{role: 'arn:aws:iam::123456789012:role/mover', session_policy: {Version: 2012-10-17, Statement: "
    "[{Effect: Allow, Action: 's3:PutObject', Resource: '*'}]}}"
)
OAUTH = "{token_url: https://login.example.com/token, client_id: CRM_ID, client_secret: CRM_SECRET}"


def identity(text: str, tools: str = "") -> str:
    return f"{HEAD}identities:\n  bot: {{kind: agent}}\n  w: {{kind: credential, {text}}}\ntools: {{{tools}}}\n"


def test_a_credential_comes_from_the_environment_aws_or_an_oauth_server() -> None:
    for text in ("env: API_KEY", "role: writer", "provider: vault", f"sts: {STS}", f"oauth: {OAUTH}"):
        assert parse_policy(identity(text)).identities["w"].kind == "credential"
    grant = parse_policy(identity(f"sts: {STS}")).identities["w"].sts
    assert grant is not None
    assert (grant.lasts, grant.session_policy["Version"]) == (timedelta(minutes=15), "2012-10-17")


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("env: A, role: b", "{kind", "exactly one of"),
        ("env: 'A B'", "A B", "the name of a variable"),
        ("env: A, serves: [reed]", "reed", "did you mean 'read'"),
        (f"sts: {STS.replace('123456789012', '1')}", "arn:", "an ARN such as"),
        (f"sts: {STS.replace(']}}', ']}, for: 5m}')}", "5m", "between 15m and 12h"),
        (f"sts: {STS.replace(']}}', ']}, regoin: x}')}", "regoin", "did you mean 'region'"),
        ("sts: {role: 'arn:aws:iam::123456789012:role/x'}", "sts", "'session_policy' is missing"),
        (f"sts: {STS.replace('Statement', 'Statements')}", "{Version", "with a 'Statement'"),
        (f"oauth: {OAUTH.replace('https', 'http')}", "http:", "expected https"),
        (f"oauth: {OAUTH.replace('https://', 'https://me:pw@')}", "https:", "without a user"),
        (f"oauth: {OAUTH.replace('client_id', 'client')}", "oauth", "'client_id' is missing"),
        (f"oauth: {OAUTH.replace('}', ', scopes: [a b]}')}", "a b", "a scope without spaces"),
    ],
)
def test_what_is_wrong_with_a_credential_is_said_where_it_stands(text: str, at: str, says: str) -> None:
    policy = identity(text)
    with pytest.raises(PolicyError, match=says) as raised:
        parse_policy(policy)
    assert policy.splitlines()[raised.value.line - 1][raised.value.column - 1 :].startswith(at)


def test_a_session_policy_that_aws_would_refuse_is_refused_here() -> None:
    resources = ", ".join(f"'arn:aws:s3:::bucket-{number:030}'" for number in range(60))
    with pytest.raises(PolicyError, match="at most 2048 characters"):
        parse_policy(identity(f"sts: {STS.replace(chr(39) + '*' + chr(39), f'[{resources}]')}"))


@pytest.mark.parametrize("text", ["env: A", "provider: vault", "serves: [read]"])
def test_only_a_credential_is_minted(text: str) -> None:
    with pytest.raises(PolicyError, match="only a credential has"):
        parse_policy(f"{HEAD}identities: {{bot: {{kind: agent, {text}}}}}")


READS, WRITES = "look: {effect: read, for: [bot], identity: %s}", "pay: {effect: write, for: [bot], identity: %s}"


def test_one_credential_does_not_serve_reads_and_writes() -> None:
    with pytest.raises(PolicyError, match="'w' would serve look, a read, and pay, a write") as raised:
        parse_policy(identity("role: writer", f"{READS % 'w'}, {WRITES % 'w'}"))
    assert (raised.value.line, raised.value.column) == (6, 99)


def test_nor_does_the_same_thing_under_two_names() -> None:
    text = identity("role: writer", f"{READS % 'r'}, {WRITES % 'w'}")
    with pytest.raises(PolicyError, match="would serve look, a read, and pay, a write"):
        parse_policy(text.replace("  w:", "  r: {kind: credential, role: writer}\n  w:"))


def test_unless_the_team_says_so() -> None:
    tools = f"{READS % 'w'}, {WRITES % 'w'}"
    assert parse_policy(identity("role: writer, serves: [read, write]", tools))
    with pytest.raises(PolicyError, match="'w' serves read only, and pay is a write"):
        parse_policy(identity("role: writer, serves: [read]", tools))


def test_two_session_policies_of_one_role_are_two_credentials() -> None:
    text = identity(f"sts: {STS}", f"{READS % 'r'}, {WRITES % 'w'}")
    reader = STS.replace("s3:PutObject", "s3:GetObject")
    assert parse_policy(text.replace("  w:", f"  r: {{kind: credential, sts: {reader}}}\n  w:"))
