"""Take the secrets of a credential out of what a tool returns and says: neither is a place for them."""

from __future__ import annotations

from stateward.model.effect import Credential
from stateward.model.values import Json, written_forms
from stateward.personal_data.pseudonyms import mapped

SCRUBBED = "[secret]"


def scrub(text: str, credential: Credential | None) -> str:
    """The text without its secrets, however they are quoted; what is encoded otherwise is not recognised."""
    if credential is None:
        return text
    for secret in sorted((credential.secret, *credential.hidden), key=len, reverse=True):
        for form in written_forms(secret) if secret else ():
            text = text.replace(form, SCRUBBED)
    return text


def clean(result: Json, credential: Credential | None) -> Json:
    """A result without its secrets."""
    if credential is None:
        return result
    return mapped(result, lambda text: scrub(text, credential))
