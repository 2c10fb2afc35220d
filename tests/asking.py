"""The HTTP API as its users meet it: an app over ASGI, and people with tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from starlette.applications import Starlette

from bank import Bank, Started
from stateward import call
from stateward.api import create_app
from stateward.api.identity import Tokens
from stateward.api.keys import KeySet
from tokens import AUDIENCE, ISSUER, Issuer

BIG = [call("pay", amount=500, to="ACME")]


@dataclass
class Asking:
    """A bank with the API before it.

    Attributes:
        settings: What the identity is checked by, on top of the runtime's settings.
    """

    bank: Bank
    issuer: Issuer = field(default_factory=Issuer)
    settings: dict[str, Any] = field(default_factory=dict)

    def tokens(self) -> Tokens:
        """The check of tokens, with the issuer's keys."""
        given = {"jwks": "keys.json", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE} | self.settings
        settings = replace(self.bank.runtime.inner.settings, **given)
        return Tokens(settings, keys=KeySet(lambda: json.dumps(self.issuer.key_set()).encode()))

    def app(self) -> Starlette:
        """The app."""
        return create_app(self.bank.runtime, identity=self.tokens())

    @asynccontextmanager
    async def as_(self, who: str | None = "boss", *, token: str | None = None, **claims: Any) -> AsyncIterator[Client]:
        """A client with a token of somebody, or with none."""
        bearer = token or (self.issuer.token(sub=who, **claims) if who else None)
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        transport = httpx.ASGITransport(self.app(), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example", headers=headers) as client:
            yield Client(client)


@dataclass
class Client:
    """Somebody who asks."""

    http: httpx.AsyncClient

    async def get(self, path: str, status: int = 200, /, **query: Any) -> dict[str, Any]:
        """The answer's body, which has to come with that status."""
        return said(await self.http.get(path, params=query or None), status)

    async def decide(
        self, approval: dict[str, Any], decision: str, status: int = 200, /, **more: Any
    ) -> dict[str, Any]:
        """Decide what was shown."""
        body = {"decision": decision, "digest": approval["digest"]} | more
        return said(await self.http.post(f"/approvals/{approval['id']}/decision", json=body), status)

    async def inbox(self, **query: Any) -> list[dict[str, Any]]:
        """The approvals that wait."""
        return list((await self.get("/approvals", **query))["approvals"])

    async def asked(self) -> dict[str, Any]:
        """The one approval that waits."""
        (one,) = await self.inbox()
        return one


def said(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an answer with that status."""
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    return dict(answer.json())


def stopped(bank: Bank) -> Started:
    """A run that waits for an approval."""
    return bank.run(BIG)
