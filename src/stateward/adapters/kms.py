"""The key ring on AWS KMS: the master key never leaves it, and each wrapping and unwrapping is a call that AWS logs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

from stateward.adapters.rings import Head, RingFacts, broken, lost, split
from stateward.errors import KeyringError, MissingExtra

VARIABLE = "STATEWARD_KMS_KEY"

_KEY_ARN = re.compile(r"arn:[\w-]+:kms:[\w-]+:\d+:key/[\w-]+")
_WRONG_CIPHERTEXT = {"InvalidCiphertextException", "IncorrectKeyException"}
_ADVICE = {
    "AccessDeniedException": "allow this identity kms:Encrypt, kms:Decrypt and kms:DescribeKey on that key",
    "NotFoundException": f"correct {VARIABLE}, or AWS_REGION if the key is in another region",
    "DisabledException": "enable that key in AWS KMS",
    "KMSInvalidStateException": "cancel the deletion of that key in AWS KMS, or enable it",
    "UnrecognizedClientException": "correct the AWS credentials of this process",
    "ExpiredTokenException": "renew the AWS credentials of this process",
}
_OTHERWISE = "check the AWS credentials, AWS_REGION and the way to AWS KMS, and try again"


class KmsKeyring:
    """Wraps with the first of its KMS keys, and unwraps with those that it names, and no others.

    Whoever can write to the database could otherwise put in a data key under a KMS key of their own, which an
    identity with broad rights would accept. The context goes along as the encryption context `stateward`.

    Args:
        keys: Ids, ARNs or aliases of KMS keys, separated by commas, the current one first.

    Raises:
        KeyringError: a name is empty, or AWS has no region here.
        MissingExtra: boto3 is not installed.
    """

    def __init__(self, keys: str) -> None:
        self._keys = [key.strip() for key in keys.split(",")]
        if not all(self._keys):
            raise KeyringError(f"{VARIABLE} is {keys!r}: write the id, ARN or alias of a KMS key, others after a comma")
        self._client = _client(self._keys[0])
        self._arns = {key: key for key in self._keys if _KEY_ARN.fullmatch(key)}

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        """The envelope of a data key under the current KMS key.

        Raises:
            KeyringError: KMS refuses, or cannot be reached.
        """
        current = self._keys[0]
        said = await self._call(
            current, self._client.encrypt, KeyId=current, Plaintext=key, EncryptionContext=_context(context)
        )
        # An alias that points elsewhere since is noticed here.
        self._arns[current] = said["KeyId"]
        return bytes(Head(kind="kms", master=said["KeyId"])) + said["CiphertextBlob"]

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """The data key again.

        Raises:
            KeyringError: this ring does not name the KMS key, it is not what was wrapped for this context, or KMS
                refuses or cannot be reached.
        """
        head, body = split(wrapped, context=context)
        if not await self._holds(head):
            held = tuple(self._arns.get(key, key) for key in self._keys)
            raise lost(context, head, held=held, where=VARIABLE, remedy=_remedy(head))
        arguments = {"KeyId": head.master, "CiphertextBlob": body, "EncryptionContext": _context(context)}
        said = await self._call(head.master, self._client.decrypt, wrapped_for=context, **arguments)
        return said["Plaintext"]

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the current KMS key wrapped it. An id or an alias is asked for at KMS once: call it off the loop.

        Raises:
            KeyringError: KMS refuses, or cannot be reached.
        """
        try:
            head, _ = split(wrapped, context="")
        except KeyringError:
            return False
        return head.kind == "kms" and head.master == self._arn(self._keys[0])

    async def facts(self) -> RingFacts:
        """The ARNs of its keys, asked for anew.

        Raises:
            KeyringError: KMS refuses, or cannot be reached.
        """
        await asyncio.to_thread(self._resolve)
        return RingFacts(kind="kms", where="AWS KMS", keys=tuple(dict.fromkeys(self._arns[key] for key in self._keys)))

    async def _holds(self, head: Head) -> bool:
        if head.kind != "kms":
            return False
        if head.master not in self._arns.values():
            await asyncio.to_thread(self._resolve)
        return head.master in self._arns.values()

    def _resolve(self) -> None:
        """Ask where ids and aliases lead now."""
        self._arns = {key: key if _KEY_ARN.fullmatch(key) else self._ask(key) for key in self._keys}

    def _arn(self, key: str) -> str:
        if key not in self._arns:
            self._arns[key] = self._ask(key)
        return self._arns[key]

    def _ask(self, key: str) -> str:
        with _explained(key):
            return self._client.describe_key(KeyId=key)["KeyMetadata"]["Arn"]

    async def _call(
        self, key: str, call: Callable[..., Mapping[str, Any]], *, wrapped_for: str = "", **arguments: object
    ) -> Mapping[str, Any]:
        with _explained(key, wrapped_for):
            return await asyncio.to_thread(call, **arguments)


class _Client(Protocol):
    """What we call of boto3's client, which has no types."""

    def encrypt(self, **arguments: object) -> Mapping[str, Any]: ...

    def decrypt(self, **arguments: object) -> Mapping[str, Any]: ...

    def describe_key(self, **arguments: object) -> Mapping[str, Any]: ...


def _client(key: str) -> _Client:
    try:
        import boto3
    except ImportError:
        raise MissingExtra("boto3", extra="aws") from None
    with _explained(key):
        # A session of our own: boto3's default one is shared with whoever else is in this process.
        return cast("_Client", boto3.Session().client("kms"))  # pyright: ignore[reportUnknownMemberType]


def _context(context: str) -> dict[str, str]:
    return {"stateward": context}


def _remedy(head: Head) -> str:
    if head.kind == "local":
        return f"Unset {VARIABLE} and give that master key"
    return f"If you know that key as yours, add it to {VARIABLE} after a comma"


@contextmanager
def _explained(key: str, wrapped_for: str = "") -> Generator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = cast("dict[str, Any]", error.response)["Error"]["Code"]
        if wrapped_for and code in _WRONG_CIPHERTEXT:
            raise broken(wrapped_for, f"AWS KMS says that {key} has not wrapped this for it") from error
        raise KeyringError(f"AWS KMS refuses {key!r} ({error}): {_ADVICE.get(code, _OTHERWISE)}") from error
    except BotoCoreError as error:
        raise KeyringError(f"AWS KMS cannot be used with {key!r} ({error}): {_OTHERWISE}") from error
