"""Take the secrets of a credential out of what a tool returns and says: neither is a place for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote, quote_plus

from stateward.model.effect import Credential
from stateward.model.values import Json

SCRUBBED = "[secret]"


def scrub(text: str, credential: Credential | None) -> str:
    """The text without its secrets, however they are quoted; what is encoded otherwise is not recognised."""
    if credential is None:
        return text
    for secret in sorted((credential.secret, *credential.hidden), key=len, reverse=True):
        for form in _forms(secret) if secret else ():
            text = text.replace(form, SCRUBBED)
    return text


def clean(result: Json, credential: Credential | None) -> Json:
    """A result without its secrets."""
    if credential is None:
        return result
    if isinstance(result, str):
        return scrub(result, credential)
    if isinstance(result, Mapping):
        parts = cast("Mapping[str, Json]", result)
        return {scrub(name, credential): clean(value, credential) for name, value in parts.items()}
    if isinstance(result, list | tuple):
        return [clean(value, credential) for value in cast("list[Json]", result)]
    return result


def _forms(secret: str) -> set[str]:
    """How a secret may stand in a message: as it is, in a URL, in JSON, as Python prints it."""
    quoted = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    return {secret, *quoted, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
