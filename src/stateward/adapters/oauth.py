"""OAuth 2.0 client credentials (RFC 6749, section 4.4): an access token for one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote_plus

from stateward.act.secrets import scrub
from stateward.adapters.environment import variable
from stateward.errors import CredentialError
from stateward.model.effect import Credential
from stateward.model.grants import OAuthGrant
from stateward.model.policy import Identity
from stateward.model.verdict import Permit

_TIMEOUT = 10.0  # seconds


class OAuthCredentials:
    """The provider behind `oauth:`.

    Args:
        environment: Where the client's id and secret stand.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @asynccontextmanager
    async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncGenerator[Credential]:
        """A token; it expires by itself.

        Raises:
            CredentialError: the server refuses, cannot be reached, or answers something else than a bearer token.
        """
        grant = identity.oauth
        assert grant is not None
        client = variable(self._environment, grant.client_id, permit)
        secret = variable(self._environment, grant.client_secret, permit)
        try:
            said = await asyncio.to_thread(_ask, grant, client, secret)
        except _Refused as refused:
            why = scrub(str(refused), Credential(identity="", secret=secret))
            raise CredentialError(f"{grant.token_url} gives no token to {permit.identity!r}: {why}") from None
        yield _credential(permit, client, said)


class _Refused(Exception):
    """There is no token; the text may repeat what was sent."""


def _ask(grant: OAuthGrant, client: str, secret: str) -> Mapping[str, Any]:
    import httpx

    asked = {"grant_type": "client_credentials", "scope": " ".join(grant.scopes), "audience": grant.audience or ""}
    # Section 2.3.1 has both form-encoded before they are joined.
    who = httpx.BasicAuth(quote_plus(client), quote_plus(secret))
    form = {name: value for name, value in asked.items() if value}
    try:
        with httpx.Client(timeout=_TIMEOUT) as http:
            response = http.post(grant.token_url, data=form, auth=who, headers={"Accept": "application/json"})
        said: object = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise _Refused(str(error) or type(error).__name__) from None
    return _token(response.status_code, said)


def _token(status: int, said: object) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = cast("Mapping[str, Any]", said) if isinstance(said, Mapping) else {}
    if status != 200:
        # Section 5.2: a code, and a sentence for developers.
        told = " ".join(str(answer[name]) for name in ("error", "error_description") if answer.get(name))
        raise _Refused(f"status {status} {told}".rstrip())
    token, kind = answer.get("access_token"), answer.get("token_type")
    if not isinstance(token, str) or not token or str(kind).lower() != "bearer":
        raise _Refused("the answer holds no bearer token")
    return answer


def _credential(permit: Permit, client: str, said: Mapping[str, Any]) -> Credential:
    token, lasts = str(said["access_token"]), said.get("expires_in")
    expires = datetime.now(UTC) + timedelta(seconds=lasts) if isinstance(lasts, int) else None
    return Credential(
        identity=permit.identity or "",
        user=client,
        secret=token,
        values={"Authorization": f"Bearer {token}"},
        expires_at=expires,
    )
