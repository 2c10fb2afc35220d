"""Who asks: a person, agent or service, from a verified token; in development mode, from a header on this machine."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import jwt
from jwt.exceptions import InvalidTokenError, PyJWTError
from starlette.requests import HTTPConnection

from stateward.api.keys import ALGORITHMS, LOOPBACK, KeySet, key_source
from stateward.errors import ConfigurationError, NotAuthenticated, RequestError
from stateward.model.principal import Principal, PrincipalKind
from stateward.settings import Settings
from stateward.verify.arguments import speakable

PERSON_HEADER, ROLES_HEADER = "stateward-person", "stateward-roles"
DEVELOPMENT = "development: nobody"

_LEEWAY = 30  # seconds that two clocks may differ
_LONGEST_TOKEN, _LONGEST_NAME = 8192, 255
_BEARER = re.compile(r"bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.IGNORECASE)
_KINDS: dict[object, PrincipalKind] = {"person": "person", "agent": "agent", "service": "service"}
# A proxy on this machine speaks for somebody who may sit anywhere.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
# What a forged token can make a parser raise, JSON that is nested a thousand times included.
_BAD = (PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
_LOG = logging.getLogger("stateward.api")


class Identity(Protocol):
    """Says who asks."""

    @property
    def development(self) -> bool:
        """Whether nobody is verified."""
        ...

    async def of(self, request: HTTPConnection) -> Principal:
        """Who asks.

        Raises:
            NotAuthenticated: nobody has verified who.
            RequestError: it is not taken from there.
        """
        ...


def identity_of(settings: Settings) -> Tokens | LocalPeople:
    """How these settings say that people are known.

    Raises:
        ConfigurationError: they do not say it, so nobody can be served.
    """
    if settings.jwks:
        return Tokens(settings)
    if settings.development:
        return LocalPeople()
    raise ConfigurationError(
        "the HTTP API does not know whom to trust: set STATEWARD_JWKS, STATEWARD_JWT_ISSUER and "
        "STATEWARD_JWT_AUDIENCE, or STATEWARD_DEVELOPMENT=1 on your own machine"
    )


class Tokens:
    """Bearer tokens (RFC 6750) that are JSON Web Tokens (RFC 7519), checked as RFC 8725 says.

    Args:
        settings: Keys, issuer, audience, and where the claims stand.
        keys: Instead of those that the settings name.
    """

    development = False

    def __init__(self, settings: Settings, *, keys: KeySet | None = None) -> None:
        self._settings = settings
        self._keys = keys or KeySet(key_source(settings.jwks))

    async def of(self, request: HTTPConnection) -> Principal:
        """Who asks."""
        return await self.principal(request.headers.getlist("authorization"))

    async def principal(self, authorization: list[str]) -> Principal:
        """Whom the one `Authorization` header names."""
        match = _BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
        if match is None or len(match[1]) > _LONGEST_TOKEN:
            raise NotAuthenticated
        try:
            return self._named(await self._claims(match[1]))
        except _BAD as error:
            _LOG.info("refused a token: %s", type(error).__name__)
            raise NotAuthenticated from None

    async def _claims(self, token: str) -> Mapping[str, Any]:
        # Only `alg` and `kid` of the header are looked at: keys and places that a token brings along are not.
        header = jwt.get_unverified_header(token)
        algorithm, id_ = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or not isinstance(id_, str) or "crit" in header:
            raise InvalidTokenError
        key = await self._keys.find(id_, algorithm) if algorithm in ALGORITHMS else None
        if key is None:
            raise InvalidTokenError
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._settings.jwt_audience,
            issuer=self._settings.jwt_issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )

    def _named(self, claims: Mapping[str, Any]) -> Principal:
        settings = self._settings
        tenant = _claim(claims, settings.jwt_tenant_claim) if settings.jwt_tenant_claim else "default"
        return Principal(
            _name(claims["sub"]),
            roles=_names(_claim(claims, settings.jwt_roles_claim)),
            kind=_kind(claims, settings.jwt_kind_claim),
            tenant=_name(tenant),
            verified_by=f"jwt:{settings.jwt_issuer}",
        )


class LocalPeople:
    """Development mode: whoever sits at this machine says who they are. A signature says that nobody is verified."""

    development = True

    async def of(self, request: HTTPConnection) -> Principal:
        """Whom the header names."""
        refuse_elsewhere(request)
        try:
            roles = _names(request.headers.get(ROLES_HEADER, "").replace(",", " "))
            return Principal(_name(request.headers.get(PERSON_HEADER)), roles=roles, verified_by=DEVELOPMENT)
        except ValueError:
            raise NotAuthenticated(
                "development mode: say who you are in the header `Stateward-Person: NAME`, and your roles in "
                "`Stateward-Roles: ROLE, ROLE`"
            ) from None


def refuse_elsewhere(request: HTTPConnection) -> None:
    """Development mode serves this machine only, and no web page of another site in its browser.

    Raises:
        RequestError: the request comes from elsewhere, or was made out to another host.
    """
    address = request.client.host if request.client else ""
    origin = request.headers.get("origin")
    here = (
        address in LOOPBACK
        and _host(f"//{request.headers.get('host', '')}") in LOOPBACK
        and (origin is None or _host(origin) in LOOPBACK)
        and not any(name in request.headers for name in _FORWARDED)
    )
    if not here:
        raise RequestError("development mode serves this machine only, as localhost and without a proxy", status=403)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its name, or by a path of names with dots between them."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = cast("Mapping[str, object]", found).get(part) if isinstance(found, Mapping) else None
    return found


def _kind(claims: Mapping[str, Any], name: str) -> PrincipalKind:
    said = _claim(claims, name)
    if said is not None:
        if not isinstance(said, str) or said not in _KINDS:
            raise ValueError
        return _KINDS[said]
    # A token that a client got for itself: RFC 9068 names the client as its subject; Auth0 and Entra say so.
    own = claims["sub"] in (claims.get("client_id"), claims.get("azp"))
    return "service" if own or claims.get("gty") == "client-credentials" or claims.get("idtyp") == "app" else "person"


def _names(value: object) -> list[str]:
    if value is None:
        return []
    given = value.split() if isinstance(value, str) else value
    if not isinstance(given, list):
        raise ValueError
    return [_name(one) for one in cast("list[object]", given)]


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME or not speakable(value):
        raise ValueError
    return value
