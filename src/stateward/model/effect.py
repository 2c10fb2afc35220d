"""An effect: a permitted call while it runs, the credential minted for it, and the receipt that it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from stateward.model.values import Json

EffectStatus = Literal["reserved", "settled", "failed", "unknown", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """What a tool authenticates with, minted after the gate and for one call. Its secrets are never printed or stored.

    Attributes:
        identity: The policy's name for it.
        user: Whom the other side takes the caller for; empty where only the secret says so.
        secret: A password, token or complete connection string.
        values: The same as a client takes it. AWS: what `boto3.client("s3", **credential.values)` takes. OAuth: the
            headers of a request. Otherwise empty.
        expires_at: When the other side refuses it, where it says so.
        hidden: What else must not be seen, such as the password within a connection string.
    """

    identity: str
    user: str = ""
    secret: str = field(repr=False)
    values: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    expires_at: datetime | None = None
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def __reduce__(self) -> Any:
        raise TypeError("a credential is for one call, and is never stored")


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """When a call that failed is made again, with the same idempotency key. Each attempt is in the ledger.

    Attributes:
        on: The classes of error that it is made again for.
        attempts: The most attempts of one run, the first included.
        wait: Seconds before the second attempt; each further wait is twice as long.
    """

    on: tuple[type[Exception], ...]
    attempts: int = 3
    wait: float = 0.5

    def __post_init__(self) -> None:
        if not self.on or self.attempts < 2 or self.wait < 0:
            raise ValueError("a retry needs classes of error, at least 2 attempts, and a wait of 0 seconds or more")

    def pause(self, attempt: int) -> float:
        """Seconds to wait after this attempt of the run, 1 for the first."""
        return self.wait * 2 ** (attempt - 1)


class Transaction(Protocol):
    """The transaction in which a tool's own write and its settlement commit together: exactly once.

    Attributes:
        connection: A psycopg `AsyncConnection` in dict rows, logged in as the policy's identity for this call.
    """

    connection: Any

    def settle(self, result: Json) -> None:
        """Say what the tool did. Leaving the block commits the write and this result in one commit.

        A write that leaves the block without it is rolled back, because its receipt would be empty.
        """
        ...


class OpensTransaction(Protocol):
    """Opens the transaction of one call."""

    def __call__(self) -> AbstractAsyncContextManager[Transaction]:
        """Open it."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What a tool that takes `effect: Effect` is given.

    Attributes:
        action: The action's id.
        thread: Its thread.
        key: Idempotency key, `sw-` and 32 hex digits: the same on every attempt of this action, in whichever process
            and after whatever crash, and of no other action. Send it along, so that the other side recognises a
            repetition; find by it what became of a call.
        attempt: 1 for the first run, higher after a crash or in a retry.
        approvers: The people who approved, empty where the policy allowed it by itself.
        credential: Minted for this call; None where the policy names no identity.
        deadline: When the tool's `timeout=` ends this attempt; None where it has none.
    """

    action: str
    thread: str
    key: str
    attempt: int = 1
    approvers: tuple[str, ...] = ()
    credential: Credential | None = field(default=None, repr=False)
    deadline: datetime | None = None
    opens: OpensTransaction = field(repr=False)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction on Stateward's own Postgres as the policy's identity for this call.

        Example:
            async with effect.transaction() as tx:
                await tx.connection.execute("insert into books.entry (key) values (%s)", (effect.key,))
                tx.settle({"posted": str(amount)})

        Raises:
            ConfigurationError: the policy names no identity for this tool.
        """
        return self.opens()


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What is known of an effect.

    Attributes:
        action: The action's id.
        status: `settled` (done), `failed` (did not happen), `unknown` (a crash hid it), `reserved`, `abandoned`.
        result: What the tool returned, as JSON, where it settled.
        error: What went wrong, where it failed.
        attempt: How many times it was started.
    """

    action: str
    status: EffectStatus
    result: Json = None
    error: str = ""
    attempt: int = 1
    settled_at: datetime | None = None
