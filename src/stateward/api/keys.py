"""The public keys that tokens are signed with: a JSON Web Key Set (RFC 7517) from a file or a URL, kept and renewed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from stateward.errors import ConfigurationError, RequestError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
GOOD_FOR = 600.0  # seconds until keys are read anew, so that one that was withdrawn is not trusted for ever
LAST_RESORT = 3600.0  # seconds that keys are trusted for while they cannot be read anew
PAUSE = 30.0  # seconds between two attempts, whatever key ids strangers make up
_TIMEOUT = 5.0
_LARGEST = 1 << 20
# What a key may verify, by its type and curve. Neither `none` nor a shared secret is among them.
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
ALGORITHMS = frozenset(_ALGORITHMS.values())


class KeySet:
    """The keys by id and algorithm.

    Args:
        load: Reads the key set; it may block.
        clock: Seconds that only grow.
    """

    def __init__(self, load: Callable[[], bytes], *, clock: Callable[[], float] = monotonic) -> None:
        self._load, self._clock = load, clock
        self._keys: dict[tuple[str, str], PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._reading = asyncio.Lock()

    async def find(self, id_: str, algorithm: str) -> PyJWK | None:
        """The key of that id for that algorithm, or None.

        Raises:
            RequestError: there are no keys, because they cannot be read.
        """
        if self._age() > GOOD_FOR or (id_, algorithm) not in self._keys:
            await self._renew()
        if self._age() > LAST_RESORT:
            raise RequestError("the keys that tokens are signed with cannot be read now: try again later", status=503)
        return self._keys.get((id_, algorithm))

    async def _renew(self) -> None:
        async with self._reading:
            now = self._clock()
            if self._tried_at is not None and now - self._tried_at < PAUSE:
                return
            self._tried_at = now
            try:
                self._keys = parse_keys(await asyncio.to_thread(self._load))
            except (OSError, HTTPException, ConfigurationError):
                return  # those that are known stay, until they are too old
            self._read_at = now

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._clock() - self._read_at


def key_source(place: str) -> Callable[[], bytes]:
    """Reads the key set of a file or a URL.

    Args:
        place: A path, or a URL: `https`, or `http` on this machine.

    Raises:
        ConfigurationError: there is no such file, it holds no key that can be used, or the URL is not safe.
    """
    if "://" not in place:
        path = Path(place).expanduser()
        parse_keys(_read(path))
        return lambda: _read(path)
    parts = urlsplit(place)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ConfigurationError(f"STATEWARD_JWKS is {place!r}: give an https URL, or a file")
    return lambda: _fetch(place)


def parse_keys(text: bytes) -> dict[tuple[str, str], PyJWK]:
    """The keys that may verify a signature, by id and algorithm; whatever else the set holds is left out.

    Raises:
        ConfigurationError: it is no key set, or holds no such key.
    """
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError('STATEWARD_JWKS is no key set: expected {"keys": [...]}') from error
    found = {name: key for one in keys if isinstance(one, dict) for name, key in _usable(cast("Any", one))}
    if not found:
        raise ConfigurationError(
            "STATEWARD_JWKS holds no public key with an id (`kid`) for RS256 (2048 bits or more), ES256 or EdDSA"
        )
    return found


def _usable(jwk: Mapping[str, Any]) -> list[tuple[tuple[str, str], PyJWK]]:
    algorithm = _ALGORITHMS.get((jwk.get("kty", ""), jwk.get("crv")))
    id_ = jwk.get("kid")
    fits = jwk.get("use", "sig") == "sig" and jwk.get("alg", algorithm) == algorithm
    if algorithm is None or not fits or not isinstance(id_, str):
        return []
    try:
        key = PyJWK.from_dict(dict(jwk), algorithm=algorithm)
    except (PyJWTError, ValueError):
        return []
    weak = algorithm == "RS256" and key.key.key_size < 2048
    return [] if weak else [((id_, algorithm), key)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"STATEWARD_JWKS is {str(path)!r}, which cannot be read: {error.strerror}") from error


def _fetch(url: str) -> bytes:
    request = Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    with build_opener(_NoRedirect).open(request, timeout=_TIMEOUT) as answer:
        text = answer.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise OSError("the key set is too large")
    return text


class _NoRedirect(HTTPRedirectHandler):
    """A key set stands where it was said to stand: whoever redirects could name any other place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Refuse, which leaves the redirect's own status as an error."""
        return
