"""The local key ring: master keys in a file of their owner or in the environment, AES-256-GCM around each data key."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import stat
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stateward.adapters.rings import Head, Ring, RingFacts, RingKind, broken, lost, split
from stateward.errors import ConfigurationError, KeyringError

KEY_BYTES = 32
VARIABLE = "STATEWARD_MASTER_KEY"

_NONCE, _TAG = 12, 16
_MAKE = "`openssl rand -base64 32` makes one"


def open_keyring(*, home: Path, master_key: str, kms_key: str) -> Ring:
    """The ring that the settings ask for. It reads a file or imports boto3: call it outside an event loop.

    Args:
        home: Where `master.key` is, or will be at the first use, if neither of the others is given.
        master_key: Master keys in base64, separated by commas, the current one first.
        kms_key: Ids, ARNs or aliases of AWS KMS keys, separated by commas, the current one first.

    Raises:
        ConfigurationError: both are given, or the home is not an absolute path.
        KeyringError: a master key cannot be read.
        MissingExtra: boto3 is not installed.
    """
    if master_key and kms_key:
        raise ConfigurationError(
            f"{VARIABLE} and STATEWARD_KMS_KEY are both set: keep the one that wraps the data keys"
        )
    if kms_key:
        from stateward.adapters.kms import KmsKeyring

        return KmsKeyring(kms_key)
    if master_key:
        return LocalKeyring.from_environment(master_key)
    if not home.is_absolute():
        # Else the master key would be another one in each working directory.
        raise ConfigurationError(f"STATEWARD_HOME is {str(home)!r}: give an absolute path")
    return LocalKeyring.from_file(home / "master.key")


def key_id(key: bytes) -> str:
    """What a local master key is called: 8 hex digits of its SHA-256, which say nothing that helps to guess it."""
    return sha256(key).hexdigest()[:8]


class LocalKeyring:
    """Wraps with the first of its master keys, and unwraps with whichever an envelope names.

    A key file is read again whenever something is wrapped or a key is missing, so that a process that runs on
    notices a rotation. An envelope is bound to its head and its context as associated data (NIST SP 800-38D).

    Args:
        source: Where the master keys come from.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._ciphers: Mapping[str, AESGCM] = {}
        self._refresh()

    @classmethod
    def from_file(cls, path: Path) -> LocalKeyring:
        """A ring on a key file, which is made at the first wrapping if it is not there.

        Raises:
            KeyringError: the file is no key file, or others than its owner may read it.
        """
        return cls(KeyFile(path))

    @classmethod
    def from_environment(cls, value: str) -> LocalKeyring:
        """A ring on the value of `STATEWARD_MASTER_KEY`: keys in base64, separated by commas, the current one first.

        Raises:
            KeyringError: one is no key.
        """
        return cls(_Given(value))

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        """The envelope of a data key under the current master key.

        Raises:
            KeyringError: the master key cannot be read or made.
        """
        ciphers = await asyncio.to_thread(self._refresh, make=True)
        master, cipher = next(iter(ciphers.items()))
        head = bytes(Head(kind="local", master=master))
        nonce = os.urandom(_NONCE)
        return head + nonce + cipher.encrypt(nonce, key, _bound(head, context))

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """The data key again.

        Raises:
            KeyringError: this ring does not hold the master key, or it is not what was wrapped for this context.
        """
        head, body = split(wrapped, context=context)
        cipher = self._find(head) or await asyncio.to_thread(self._find_anew, head)
        if cipher is None:
            raise lost(context, head, held=tuple(self._ciphers), where=self._source.where, remedy=self._remedy(head))
        if len(body) < _NONCE + _TAG:
            raise broken(context, "it was cut")
        try:
            return cipher.decrypt(body[:_NONCE], body[_NONCE:], _bound(bytes(head), context))
        except InvalidTag:
            raise broken(context, "it was changed, or wrapped for another place") from None

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the current master key wrapped it; a key file is read for that.

        Raises:
            KeyringError: the master keys cannot be read.
        """
        current = next(iter(self._refresh()), None)
        try:
            head, _ = split(wrapped, context="")
        except KeyringError:
            return False
        return head.kind == "local" and head.master == current

    async def facts(self) -> RingFacts:
        """Which master keys it holds; a key file is not made."""
        held = await asyncio.to_thread(self._refresh)
        return RingFacts(kind=self._source.kind, where=self._source.where, keys=tuple(held))

    async def rotate(self) -> str:
        """Put a new master key in front; those that were there go on unwrapping. Returns the new one's id.

        Raises:
            KeyringError: the ring is not a file, or the file cannot be written.
        """
        await asyncio.to_thread(self._source.rotate)
        return next(iter(await asyncio.to_thread(self._refresh)))

    def _refresh(self, *, make: bool = False) -> Mapping[str, AESGCM]:
        keys = self._source.read()
        if not keys and self._ciphers:
            # A new file in its place would hide the loss until what the old one wrapped is needed.
            held = ", ".join(self._ciphers)
            raise KeyringError(f"{self._source.where} was here and is gone, with {held}: restore it from a backup")
        if not keys and make:
            keys = self._source.make()
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        return self._ciphers

    def _find(self, head: Head) -> AESGCM | None:
        return self._ciphers.get(head.master) if head.kind == "local" else None

    def _find_anew(self, head: Head) -> AESGCM | None:
        self._refresh()
        return self._find(head)

    def _remedy(self, head: Head) -> str:
        if head.kind == "kms":
            return f"Set STATEWARD_KMS_KEY to that key, and not {VARIABLE}"
        return self._source.remedy


class Source(Protocol):
    """Where the master keys of a local ring come from.

    Attributes:
        kind: Which sort of place it is.
        where: The place, for messages.
        remedy: How a master key comes back, as a sentence without a full stop.
    """

    kind: RingKind
    where: str
    remedy: str

    def read(self) -> tuple[bytes, ...]:
        """The master keys, the current one first; none where there are none yet."""
        ...

    def make(self) -> tuple[bytes, ...]:
        """The first master key, made; or what somebody else has made meanwhile."""
        ...

    def rotate(self) -> None:
        """Put a new master key in front."""
        ...


class KeyFile:
    """A file of master keys: one in base64 on each line, the first is current, `#` begins a comment.

    Args:
        path: A regular file that only its owner can read.
    """

    kind: RingKind = "file"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self.remedy = f"Restore {path} from a backup, or add that key to it as a further line"

    def read(self) -> tuple[bytes, ...]:
        """The master keys, the current one first; none where there is no file.

        Raises:
            KeyringError: it is not a regular file, others can read it, it is empty, or a line is no key.
        """
        text = self._text()
        if text is None:
            return ()
        lines = enumerate((line.partition("#")[0].strip() for line in text.split("\n")), 1)
        keys = tuple(_decoded(line, f"{self.path}, line {number}") for number, line in lines if line)
        if not keys:
            raise KeyringError(f"{self.path} has no key in it: restore it from a backup")
        return keys

    def make(self) -> tuple[bytes, ...]:
        """The file with a first key, or as somebody else has just made it.

        Raises:
            KeyringError: it cannot be written.
        """
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
            _write(part, _new_line())
            try:
                with contextlib.suppress(FileExistsError):
                    os.link(part, self.path)  # whoever is first wins; a link never replaces
            finally:
                part.unlink()
            _sync(self.path.parent)
        return self.read()

    def rotate(self) -> None:
        """Put a new key before the others; the file is the old one or the new one, whatever crashes.

        Raises:
            KeyringError: it cannot be read or written.
        """
        if not self.read():
            self.make()
            return
        # Under a lock, or one of two rotations would drop the key that the other has wrapped with already.
        with self._explained(), _alone(self.path.parent):
            self.read()
            part = self.path.with_name(f".{self.path.name}.next")
            part.unlink(missing_ok=True)
            _write(part, _new_line() + (self._text() or ""))
            part.replace(self.path)
            _sync(self.path.parent)

    def _text(self) -> str | None:
        with self._explained():
            try:
                # Neither through a link, nor waiting for the writer of a pipe.
                opened = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            try:
                self._refuse_unsafe(os.fstat(opened).st_mode)
                with open(opened, "rb", closefd=False) as file:
                    return file.read().decode(errors="surrogateescape")
            finally:
                os.close(opened)

    def _refuse_unsafe(self, mode: int) -> None:
        if not stat.S_ISREG(mode):
            raise KeyringError(f"{self.path} is not a regular file: move it away and restore the key file")
        if mode & 0o077:
            raise KeyringError(
                f"{self.path} can be read or written by others (mode {stat.S_IMODE(mode):04o}): chmod 600 it, and if "
                "somebody may have read it, run `stateward keys rotate`"
            )

    @contextlib.contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise KeyringError(
                f"{self.path} cannot be used ({error.strerror}): it has to be a regular file with mode 0600, in a "
                f"directory that this user may write to. Otherwise set {VARIABLE}"
            ) from error


class _Given:
    kind: RingKind = "environment"
    where = VARIABLE
    remedy = f"Add that key to {VARIABLE}, after a comma"

    def __init__(self, value: str) -> None:
        parts = enumerate(value.split(","), 1)
        self._keys = tuple(_decoded(part.strip(), f"{VARIABLE}, key {number}") for number, part in parts)

    def read(self) -> tuple[bytes, ...]:
        return self._keys

    def make(self) -> tuple[bytes, ...]:
        return self._keys

    def rotate(self) -> None:
        raise KeyringError(f"put a new key first in {VARIABLE}, before a comma and the others: {_MAKE}")


def _bound(head: bytes, context: str) -> bytes:
    # The head says its own length, so that no two pairs read the same.
    return head + context.encode()


def _decoded(text: str, place: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        # The text is not shown: it may be a key with a slip of the pen in it.
        raise KeyringError(f"{place}: not a key of {KEY_BYTES} bytes in base64; {_MAKE}. Restore it from a backup")
    return key


def _new_line() -> str:
    key = secrets.token_bytes(KEY_BYTES)
    return f"{base64.b64encode(key).decode()}  # {key_id(key)}, made {datetime.now(UTC):%Y-%m-%d}\n"


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(text.encode(errors="surrogateescape"))
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    # The name of a file is durable with its directory only.
    with _opened(directory) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _alone(directory: Path) -> Generator[None]:
    import fcntl  # not on Windows

    with _opened(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(directory: Path) -> Generator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
