"""Credentials from AWS STS (moto's server) and from an OAuth server (a small one of ours): for one call, and unseen."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import boto3
import pytest
from moto.server import ThreadedMotoServer

from stateward.adapters.credentials import MintedCredentials
from stateward.errors import CredentialError
from stateward.model.effect import Credential
from stateward.model.grants import OAuthGrant, StsGrant
from stateward.model.policy import Identity
from stateward.model.verdict import Permit

ACTION = "a" * 32
PERMIT = Permit(action=ACTION, thread="t", call="c", tool="move", arguments={}, effect="write", identity="mover")
ROLE = "arn:aws:iam::123456789012:role/mover"
SESSION_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
CLIENT, SECRET = "crm client", "s&cret of the=client"


def credential(**source: Any) -> Identity:
    return Identity(kind="credential", **source)


async def lent(identity: Identity, environment: dict[str, str] | None = None, **own: Any) -> Credential:
    logins: Any = None
    minted = MintedCredentials(logins, own=own, environment=environment or {})
    async with minted.lend(PERMIT, identity=identity, attempt=1) as found:
        return found


async def test_a_secret_of_the_environment() -> None:
    found = await lent(credential(env="API_KEY"), {"API_KEY": "hunter2"})
    assert (found.identity, found.secret) == ("mover", "hunter2")
    with pytest.raises(CredentialError, match="'mover' needs the variable API_KEY, which is not set"):
        await lent(credential(env="API_KEY"), {"API_KEY": ""})


async def test_a_provider_of_the_teams_own() -> None:
    class Vault:
        @asynccontextmanager
        async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> Any:
            yield Credential(identity="mover", secret=f"{identity.provider}/{permit.tool}/{attempt}")

    assert (await lent(credential(provider="vault"), vault=Vault())).secret == "vault/move/1"
    with pytest.raises(CredentialError, match="needs the provider 'vault'"):
        await lent(credential(provider="vault"))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment is the standard one of AWS."""
    for name in ("AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return moto


def grant(**more: Any) -> StsGrant:
    given = {"role": ROLE, "session_policy": SESSION_POLICY, "region": "eu-west-1", "for": "20m"} | more
    return StsGrant.model_validate(given)


async def test_sts_gives_keys_of_a_session_that_names_the_action(aws: str) -> None:
    found = await lent(credential(sts=grant()))
    assert found.user == f"arn:aws:sts::123456789012:assumed-role/mover/sw-{ACTION}"
    assert found.expires_at is not None
    who = boto3.Session().client("sts", **found.values).get_caller_identity()
    assert who["Arn"].startswith("arn:aws:sts::123456789012:")


async def test_sts_is_asked_for_no_more_than_the_policy_says(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.append(dict(params))

    made = boto3.Session

    def session(**given: Any) -> Any:
        one = made(**given)
        one.events.register("provide-client-params.sts.AssumeRole", note)
        return one

    monkeypatch.setattr(boto3, "Session", session)
    await lent(credential(sts=grant(external_id="ours")))
    (one,) = asked
    assert json.loads(one.pop("Policy")) == SESSION_POLICY
    assert one == {
        "RoleArn": ROLE,
        "RoleSessionName": f"sw-{ACTION}",
        "DurationSeconds": 1200,
        "ExternalId": "ours",
    }


async def test_no_key_of_sts_stands_in_a_log(aws: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = await lent(credential(sts=grant()))
    assert caplog.text
    for secret in (found.secret, *found.hidden):
        assert secret not in caplog.text
    assert not logging.getLogger("botocore.parsers").filters


async def test_sts_that_cannot_be_reached_gives_nothing(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    with pytest.raises(CredentialError, match=f"gives no keys of {ROLE} to 'mover'"):
        await lent(credential(sts=grant()))


@dataclass
class TokenServer:
    """A token endpoint: it checks its client as RFC 6749 says, and answers what it is told to."""

    answer: tuple[int, Any] = (200, {"access_token": "t0ken-of-one-call", "token_type": "Bearer", "expires_in": 60})
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    clients: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    state = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            user, _, password = base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
            state.asked.append(parse_qs(body))
            state.clients.append((unquote_plus(user), unquote_plus(password)))
            status, said = state.answer
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/token"
    yield state
    server.shutdown()
    server.server_close()


async def token(server: TokenServer, **more: Any) -> Credential:
    oauth = OAuthGrant(token_url=server.url, client_id="CRM_ID", client_secret="CRM_SECRET", **more)
    return await lent(credential(oauth=oauth), {"CRM_ID": CLIENT, "CRM_SECRET": SECRET})


async def test_an_oauth_server_gives_a_token(tokens: TokenServer) -> None:
    found = await token(tokens, scopes=("crm.read", "crm.write"), audience="https://crm.example.com")
    assert found.values == {"Authorization": "Bearer t0ken-of-one-call"}
    assert (found.user, found.secret) == (CLIENT, "t0ken-of-one-call")
    assert found.expires_at is not None
    assert tokens.clients == [(CLIENT, SECRET)]
    assert tokens.asked == [
        {
            "grant_type": ["client_credentials"],
            "scope": ["crm.read crm.write"],
            "audience": ["https://crm.example.com"],
        }
    ]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((401, {"error": "invalid_client", "error_description": f"not {SECRET}"}), "invalid_client not \\[secret\\]"),
        ((200, {"access_token": "x", "token_type": "mac"}), "no bearer token"),
        ((200, {"token_type": "bearer"}), "no bearer token"),
        ((200, ["no object"]), "no bearer token"),
        ((200, b"<html>"), "gives no token"),
        ((302, {}), "status 302"),
    ],
)
async def test_what_is_no_token_is_refused(tokens: TokenServer, answer: Any, says: str) -> None:
    tokens.answer = answer
    with pytest.raises(CredentialError, match=says) as refused:
        await token(tokens)
    assert SECRET not in str(refused.value)


async def test_no_token_stands_in_a_log(tokens: TokenServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = await token(tokens)
    assert caplog.text
    for secret in (found.secret, SECRET, base64.b64encode(SECRET.encode()).decode()):
        assert secret not in caplog.text


async def test_a_server_that_is_away_gives_nothing() -> None:
    oauth = OAuthGrant(token_url="http://127.0.0.1:1/token", client_id="A", client_secret="B")
    with pytest.raises(CredentialError, match="gives no token to 'mover'"):
        await lent(credential(oauth=oauth), {"A": "a", "B": "b"})
