"""What every key ring shares: the head of an envelope, which names the master key, and what a ring tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from stateward.errors import KeyringError
from stateward.ports import Keyring

RingKind = Literal["file", "environment", "kms"]

# Envelope: version, length of the master key's id, that id, and then what the ring of that version makes of it.
_VERSIONS: dict[int, Literal["local", "kms"]] = {1: "local", 2: "kms"}
_LENGTH = 2
_FIXED = 1 + _LENGTH
_OWNERS = {"local": "a local master key", "kms": "AWS KMS"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """How an envelope begins.

    Attributes:
        kind: Which sort of ring made it.
        master: The id of the master key. It is not secret.
    """

    kind: Literal["local", "kms"]
    master: str

    def __bytes__(self) -> bytes:
        version = next(number for number, kind in _VERSIONS.items() if kind == self.kind)
        master = self.master.encode("ascii")
        return bytes([version]) + len(master).to_bytes(_LENGTH, "big") + master


@dataclass(frozen=True, kw_only=True, slots=True)
class RingFacts:
    """What may be told of a ring; nothing of it is secret.

    Attributes:
        kind: Where the master keys come from.
        where: The file, the variable, or the service.
        keys: The ids of the master keys, the current one first; none before the first use of a new file.
    """

    kind: RingKind
    where: str
    keys: tuple[str, ...]

    @property
    def current(self) -> str | None:
        """The master key that wraps, or None where there is none yet."""
        return self.keys[0] if self.keys else None


class Ring(Keyring, Protocol):
    """A key ring that can be looked at."""

    async def facts(self) -> RingFacts:
        """Which master keys it holds. Nothing is made.

        Raises:
            KeyringError: the master keys cannot be read.
        """
        ...


def split(wrapped: bytes, *, context: str) -> tuple[Head, bytes]:
    """The head of an envelope, and what follows it.

    Args:
        context: What the data key is for; errors name it.

    Raises:
        KeyringError: it is no envelope of this version.
    """
    kind = _VERSIONS.get(wrapped[0]) if len(wrapped) >= _FIXED else None
    end = _FIXED + int.from_bytes(wrapped[1:_FIXED], "big")
    master = wrapped[_FIXED:end]
    if kind is None or not master or len(wrapped) <= end or not master.isascii():
        raise broken(context, "it is not one that this version of Stateward wraps")
    return Head(kind=kind, master=master.decode("ascii")), wrapped[end:]


def broken(context: str, why: str) -> KeyringError:
    """The error for a wrapped data key that is not what a ring has made."""
    table = "subject_key" if context.startswith("subject:") else "data_key"
    return KeyringError(
        f"the data key of {context} cannot be unwrapped: {why}. Restore its row of stateward.{table} from a backup; "
        "somebody may have changed the database beside Stateward"
    )


def lost(context: str, needed: Head, *, held: Sequence[str], where: str, remedy: str) -> KeyringError:
    """The error for a data key of a master key that a ring does not hold.

    Args:
        context: What the data key is for.
        needed: The head of its envelope.
        held: Ids of the master keys in the ring.
        where: Where they were looked for.
        remedy: What to do, as a sentence without a full stop.
    """
    holds = f"it holds {', '.join(held)}" if held else "it holds none"
    return KeyringError(
        f"MASTER KEY MISSING: the data key of {context} was wrapped with {needed.master!r} of {_OWNERS[needed.kind]}, "
        f"and this ring does not hold that key: {holds}; looked in {where}. {remedy}. Without that key, what it "
        "protects cannot be read, by anybody"
    )
