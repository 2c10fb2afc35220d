"""What a credential of the policy is minted from: a secret of the environment, AWS STS, or an OAuth server. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from stateward.model.durations import Duration

_SHORTEST, _LONGEST = timedelta(minutes=15), timedelta(hours=12)
_LARGEST_SESSION_POLICY = 2048  # characters, as AWS counts them
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def _endpoint(url: str) -> str:
    try:
        parts = AnyHttpUrl(url)
    except ValidationError:
        parts = None
    if parts is None or parts.username is not None or parts.fragment is not None:
        raise ValueError("expected a URL such as https://login.example.com/oauth2/token, without a user or a fragment")
    if parts.scheme != "https" and parts.host not in _LOOPBACK:
        raise ValueError("a secret is sent there: expected https, or http on the loopback of this machine")
    return url


def _lifetime(span: timedelta) -> timedelta:
    if not _SHORTEST <= span <= _LONGEST:
        raise ValueError("AWS STS takes a duration between 15m and 12h")
    return span


def _session_policy(document: Mapping[str, Any]) -> Mapping[str, Any]:
    if not document.get("Statement"):
        raise ValueError("expected an IAM policy document with a 'Statement'")
    if len(session_policy_text(document)) > _LARGEST_SESSION_POLICY:
        raise ValueError(f"AWS STS takes a session policy of at most {_LARGEST_SESSION_POLICY} characters")
    return document


def session_policy_text(document: Mapping[str, Any]) -> str:
    """A session policy as AWS is sent it."""
    return json.dumps(document, separators=(",", ":"))


def _like(pattern: str, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"expected {what}")
        return text

    return AfterValidator(check)


Text = Annotated[str, StringConstraints(strict=True, min_length=1)]
Variable = Annotated[Text, _like(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable of the environment")]
RoleArn = Annotated[
    Text, _like(r"arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+", "an ARN such as arn:aws:iam::123456789012:role/mover")
]
Endpoint = Annotated[Text, AfterValidator(_endpoint)]
Scope = Annotated[Text, _like(r"[\x21\x23-\x5B\x5D-\x7E]+", "a scope without spaces, quotes and backslashes")]


class _Grant(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StsGrant(_Grant):
    """AWS STS assumes a role for one call. The session's name holds the action's id, which CloudTrail then shows.

    Attributes:
        role: ARN of the role.
        session_policy: An IAM policy document: the call may do what both it and the role allow.
        lasts: `for:` in the file: how long the keys are good for, `15m` (the least that AWS takes) to `12h`.
        region: The region of STS, and of the tool's own clients. Default: the environment's.
        external_id: What the role's trust policy asks for, where it asks.
    """

    role: RoleArn
    session_policy: Annotated[Mapping[str, Any], AfterValidator(_session_policy)]
    lasts: Annotated[Duration, AfterValidator(_lifetime)] = Field(default=_SHORTEST, alias="for")
    region: Text | None = None
    external_id: Text | None = None


class OAuthGrant(_Grant):
    """An access token by OAuth 2.0 client credentials (RFC 6749, section 4.4), for one call.

    Attributes:
        token_url: The token endpoint: https, or http on the loopback.
        client_id: The variable of the environment that holds the client's id.
        client_secret: The variable that holds its secret.
        scopes: What the token is for.
        audience: The API that it is for, where the server asks for it.
    """

    token_url: Endpoint
    client_id: Variable
    client_secret: Variable
    scopes: tuple[Scope, ...] = ()
    audience: Text | None = None
