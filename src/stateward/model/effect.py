"""An effect: a permitted call while it runs, the credential minted for it, and the receipt that it leaves."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from stateward.model.values import Json

EffectStatus = Literal["reserved", "settled", "failed", "unknown", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """What a tool authenticates with, minted after the gate and for one call. Its secret is never printed.

    Attributes:
        identity: The policy's name for it.
        user: The minted user.
        secret: A password, token or complete connection string.
    """

    identity: str
    user: str
    secret: str = field(repr=False)


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
        key: Idempotency key: the same on every attempt of this action, for the other side to recognise it by.
        attempt: 1 for the first run, higher after a crash.
        approvers: The people who approved, empty where the policy allowed it by itself.
        credential: Minted for this call; None where the policy names no identity.
    """

    action: str
    thread: str
    key: str
    attempt: int = 1
    approvers: tuple[str, ...] = ()
    credential: Credential | None = field(default=None, repr=False)
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
