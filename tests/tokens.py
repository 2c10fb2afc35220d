"""An issuer of tokens for the tests: keys, a key set, and tokens that hold, or that somebody forged."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://id.example", "stateward"
_MAKERS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
_JWKS: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


@cache
def known_keys() -> dict[str, Any]:
    """The keys of the issuer that is trusted; making them takes a while."""
    return other_keys()


def other_keys() -> dict[str, Any]:
    """Keys of somebody else."""
    return {name: make() for name, make in _MAKERS.items()}


@dataclass
class Issuer:
    """An identity provider with a key for each algorithm; the key's id is the algorithm's name in small letters."""

    keys: dict[str, Any] = field(default_factory=lambda: dict(known_keys()))

    def key_set(self) -> dict[str, Any]:
        """The public keys."""
        return {"keys": [self.public(name) for name in self.keys]}

    def public(self, algorithm: str) -> dict[str, Any]:
        """One public key."""
        key = json.loads(_JWKS[algorithm].to_jwk(self.keys[algorithm].public_key()))
        return key | {"kid": algorithm.lower(), "use": "sig", "alg": algorithm}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims that hold; None leaves one out."""
        now = int(time.time())
        given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "boss", "iat": now, "exp": now + 300} | changed
        return {name: value for name, value in given.items() if value is not None}

    def token(self, *, algorithm: str = "ES256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that this issuer signs."""
        more = {"kid": algorithm.lower()} | (headers or {})
        return jwt.encode(self.claims(**claims), self.keys[algorithm], algorithm=algorithm, headers=more)
