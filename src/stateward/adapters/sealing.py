"""Sealed values: AES-256-GCM, bound to the place where they stand, so that a forged or moved one is refused."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stateward.errors import SealBroken

# Envelope: version, generation of the data key, nonce, ciphertext with its tag (NIST SP 800-38D).
_VERSION = 1
_HEAD, _NONCE, _TAG = 3, 12, 16
KEY_BYTES = 32


class Sealer:
    """Seals with the newest of an owner's data keys, and opens with whichever a value names.

    Args:
        keys: The data keys of 32 bytes by generation; the highest one seals.
        born: Tells the keys of a subject from those that the same subject had before it was forgotten.

    Attributes:
        is_erased: Whether the keys are gone for good, so that nothing is left to read.
    """

    is_erased = False

    def __init__(self, keys: Mapping[int, bytes], *, born: int = 0) -> None:
        self.born = born
        self._first = keys[min(keys)]
        self._ciphers = {generation: AESGCM(key) for generation, key in keys.items()}
        newest = max(keys)
        self._newest = self._ciphers[newest]
        self._head = bytes([_VERSION]) + newest.to_bytes(2, "big")

    def seal(self, plain: bytes, *place: str) -> bytes:
        """The envelope of a value.

        Args:
            plain: The value.
            place: Table, thread and whatever else names the row: it opens nowhere else.
        """
        nonce = os.urandom(_NONCE)
        return self._head + nonce + self._newest.encrypt(nonce, plain, _bound(self._head, place))

    def digest(self, plain: str, *place: str) -> bytes:
        """A keyed digest (HMAC-SHA256, RFC 2104) of 32 bytes: equal values of a place have equal ones, as long as the
        owner has its first key; without that, it cannot be guessed."""
        key = hmac.digest(self._first, b"stateward digest", hashlib.sha256)
        return hmac.digest(key, "\0".join([*place, plain]).encode(errors="surrogatepass"), hashlib.sha256)

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The value again.

        Raises:
            SealBroken: it is not what was sealed for this place.
        """
        head = sealed[:_HEAD]
        if len(sealed) < _HEAD + _NONCE + _TAG or head[0] != _VERSION:
            raise SealBroken(place, "it is not sealed")
        cipher = self._ciphers.get(int.from_bytes(head[1:], "big"))
        if cipher is None:
            raise SealBroken(place, "it was sealed with a key that is not there")
        try:
            return cipher.decrypt(sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :], _bound(head, place))
        except InvalidTag:
            raise SealBroken(place, "it was changed, cut, or sealed for another place") from None


def _bound(head: bytes, place: tuple[str, ...]) -> bytes:
    # Postgres keeps no zero byte in a text, so no two places read the same.
    return head + "\0".join(place).encode()
