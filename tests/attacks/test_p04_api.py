"""P4 through the HTTP API: forged tokens name nobody, and what is sent beside a token decides nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from asking import Asking, stopped
from bank import Bank
from stateward import Settings
from stateward.api.identity import Tokens
from stateward.api.keys import LAST_RESORT, PAUSE, KeySet, key_source, parse_keys
from stateward.errors import ConfigurationError, NotAuthenticated, RequestError
from tokens import AUDIENCE, ISSUER, Issuer, other_keys

ISSUED = Issuer()


def text(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(header: Any, claims: Any, signature: bytes = b"") -> str:
    return f"{text(header)}.{text(claims)}.{text(signature) if signature else ''}"


def hs256_with_the_public_key() -> str:
    """The classic confusion: the public key, which everybody has, as the secret of an HMAC."""
    public = ISSUED.keys["RS256"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = f"{text({'alg': 'HS256', 'kid': 'rs256'})}.{text(ISSUED.claims())}"
    return f"{head}.{text(hmac.new(pem, head.encode(), hashlib.sha256).digest())}"


def tampered() -> str:
    """The claims of somebody else under a signature that was good for one's own."""
    head, _, signature = ISSUED.token(sub="mallory").split(".")
    return f"{head}.{text(ISSUED.claims(sub='boss'))}.{signature}"


def with_its_own_key() -> str:
    """A key that the token brings along, and a place where it says that keys are."""
    rogue = Issuer(keys=other_keys())
    header = {"jwk": rogue.public("ES256"), "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/x"}
    return rogue.token(headers=header)


FORGED: dict[str, Callable[[], str]] = {
    "none": lambda: unsigned({"alg": "none", "kid": "es256"}, ISSUED.claims(), b"x"),
    "none without a signature": lambda: unsigned({"alg": "none", "kid": "es256"}, ISSUED.claims()),
    "None": lambda: unsigned({"alg": "nOnE", "kid": "es256"}, ISSUED.claims(), b"x"),
    "unsigned claims": lambda: unsigned({"alg": "ES256", "kid": "es256"}, ISSUED.claims(), b"x" * 64),
    "HS256 with the public key": hs256_with_the_public_key,
    "tampered claims": tampered,
    "its own key": with_its_own_key,
    "another issuer's key": lambda: Issuer(keys=other_keys()).token(),
    "unknown kid": lambda: ISSUED.token(headers={"kid": "somebody"}),
    "a kid that is a path": lambda: ISSUED.token(headers={"kid": "../../etc/passwd"}),
    "a kid of another algorithm": lambda: ISSUED.token(headers={"kid": "rs256"}),
    "no kid": lambda: jwt.encode(ISSUED.claims(), ISSUED.keys["ES256"], algorithm="ES256"),
    "wrong audience": lambda: ISSUED.token(aud="another"),
    "no audience": lambda: ISSUED.token(aud=None),
    "wrong issuer": lambda: ISSUED.token(iss="https://id.example.evil"),
    "issuer with a slash": lambda: ISSUED.token(iss=f"{ISSUER}/"),
    "no issuer": lambda: ISSUED.token(iss=None),
    "expired": lambda: ISSUED.token(exp=1_700_000_000),
    "no expiry": lambda: ISSUED.token(exp=None),
    "an endless expiry": lambda: ISSUED.token(exp=float("inf")),
    "not yet": lambda: ISSUED.token(nbf=4_000_000_000),
    "no subject": lambda: ISSUED.token(sub=None),
    "a blank subject": lambda: ISSUED.token(sub="  "),
    "a subject with a NUL": lambda: ISSUED.token(sub="boss\0"),
    "roles that are no names": lambda: ISSUED.token(roles={"boss": True}),
    "a kind of its own": lambda: ISSUED.token(kind="admin"),
    "critical": lambda: ISSUED.token(headers={"crit": ["b64"], "b64": True}),
    "an algorithm that is a list": lambda: unsigned({"alg": ["ES256"], "kid": "es256"}, ISSUED.claims(), b"x"),
    "deep": lambda: unsigned(b'{"alg":' + b"[" * 4000, ISSUED.claims(), b"x"),
    "long": lambda: ISSUED.token(padding="x" * 9000),
    "not a token": lambda: "boss",
    "empty": lambda: "",
}


@pytest.fixture
def asking(bank: Bank) -> Asking:
    return Asking(bank=bank, issuer=ISSUED)


def tokens(keys: Any = None) -> Tokens:
    settings = Settings(home=Path(), jwks="keys.json", jwt_issuer=ISSUER, jwt_audience=AUDIENCE)
    return Tokens(settings, keys=keys or KeySet(lambda: json.dumps(ISSUED.key_set()).encode()))


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_forged_token_names_nobody(forge: Callable[[], str]) -> None:
    with pytest.raises(NotAuthenticated, match="a valid token is needed"):
        await tokens().principal([f"Bearer {forge()}"])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_one_names_its_person(algorithm: str) -> None:
    who = await tokens().principal(
        [f"bearer {ISSUED.token(algorithm=algorithm, roles=['chief'], aud=['x', AUDIENCE])}"]
    )
    assert (who.id, who.kind, who.tenant, who.verified_by) == ("boss", "person", "default", f"jwt:{ISSUER}")
    assert who.roles == frozenset({"chief"})


@pytest.mark.parametrize(
    "headers", [[], ["Bearer"], ["Basic Ym9zczpib3Nz"], [f"Bearer {ISSUED.token()}", f"Bearer {ISSUED.token()}"]]
)
async def test_there_is_one_header_with_one_token(headers: list[str]) -> None:
    with pytest.raises(NotAuthenticated):
        await tokens().principal(headers)


async def test_every_bad_token_gets_the_same_answer(asking: Asking) -> None:
    answers = set()
    for forge in FORGED.values():
        async with asking.as_(None, token=forge() or "x") as forger:
            answer = await forger.http.get("/approvals")
            answers.add((answer.status_code, answer.headers["www-authenticate"], answer.text))
    (only,) = answers
    assert only[:2] == (401, 'Bearer realm="stateward", error="invalid_token"')


async def test_claims_in_the_body_the_query_or_a_header_name_nobody(asking: Asking) -> None:
    await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        asked = await boss.asked()
    path = f"/approvals/{asked['id']}/decision"
    body = {"decision": "approve", "digest": asked["digest"]}
    async with asking.as_("ann") as ann:
        for more in ({"by": "boss"}, {"principal": {"id": "boss"}}, {"verified_by": "jwt"}):
            assert (await ann.http.post(path, json=body | more)).status_code == 422
        assert (await ann.http.post(f"{path}?by=boss", json=body)).status_code == 422
        for name in ("Stateward-Person", "X-Forwarded-User", "X-Remote-User"):
            assert (await ann.http.post(path, json=body, headers={name: "boss"})).status_code == 403
    async with asking.as_("boss") as boss:
        assert (await boss.asked())["signatures"] == []


async def test_strangers_who_make_up_key_ids_do_not_have_keys_fetched() -> None:
    fetched, now = [0], [0.0]

    def load() -> bytes:
        fetched[0] += 1
        return json.dumps(ISSUED.key_set()).encode()

    checked = tokens(KeySet(load, clock=lambda: now[0]))
    await checked.principal([f"Bearer {ISSUED.token()}"])
    for number in range(50):
        now[0] += 0.1
        with pytest.raises(NotAuthenticated):
            await checked.principal([f"Bearer {ISSUED.token(headers={'kid': f'made-up-{number}'})}"])
    assert fetched == [1]
    now[0] += PAUSE
    with pytest.raises(NotAuthenticated):
        await checked.principal([f"Bearer {ISSUED.token(headers={'kid': 'made-up'})}"])
    assert fetched == [2]


async def test_a_new_key_is_found_and_a_withdrawn_one_is_forgotten() -> None:
    served, now = Issuer(keys={"ES256": ISSUED.keys["ES256"]}), [0.0]
    checked = tokens(KeySet(lambda: json.dumps(served.key_set()).encode(), clock=lambda: now[0]))
    await checked.principal([f"Bearer {ISSUED.token()}"])
    served.keys = {"EdDSA": ISSUED.keys["EdDSA"]}
    now[0] += PAUSE
    await checked.principal([f"Bearer {ISSUED.token(algorithm='EdDSA')}"])
    with pytest.raises(NotAuthenticated):
        await checked.principal([f"Bearer {ISSUED.token()}"])


async def test_keys_that_cannot_be_read_hold_for_an_hour() -> None:
    now, up = [0.0], [True]

    def load() -> bytes:
        if not up[0]:
            raise OSError
        return json.dumps(ISSUED.key_set()).encode()

    checked = tokens(KeySet(load, clock=lambda: now[0]))
    await checked.principal([f"Bearer {ISSUED.token()}"])
    up[0] = False
    now[0] = LAST_RESORT - 1
    await checked.principal([f"Bearer {ISSUED.token()}"])
    now[0] = LAST_RESORT + 1
    with pytest.raises(RequestError) as refused:
        await checked.principal([f"Bearer {ISSUED.token()}"])
    assert refused.value.status == 503


@pytest.mark.parametrize(
    "place", ["http://id.example/jwks", "ftp://id.example/jwks", "file:///etc/passwd", "no/such/file"]
)
def test_keys_do_not_come_from_everywhere(place: str) -> None:
    with pytest.raises(ConfigurationError, match="STATEWARD_JWKS"):
        key_source(place)


def test_a_redirect_is_not_followed_and_a_key_set_has_a_size() -> None:
    with answering(
        {"/jwks": (200, json.dumps(ISSUED.key_set()).encode()), "/moved": (302, b""), "/large": (200, b"x" * (2 << 20))}
    ) as url:
        assert parse_keys(key_source(f"{url}/jwks")())
        for path in ("/moved", "/large"):
            with pytest.raises(OSError, match=r"302|too large"):
                key_source(f"{url}{path}")()


def test_secrets_and_weak_keys_are_no_keys() -> None:
    weak = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"}
    encrypting = ISSUED.public("ES256") | {"use": "enc"}
    other = ISSUED.public("RS256") | {"alg": "RS512"}
    with pytest.raises(ConfigurationError, match="holds no public key"):
        parse_keys(json.dumps({"keys": [weak | {"kid": "weak"}, secret, encrypting, other, 7]}).encode())


@contextmanager
def answering(pages: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = pages[self.path]
            self.send_response(status)
            self.send_header("Location", "/jwks")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
