"""What the steps need from outside, as small Protocols named for what they do for us."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from stateward.model.action import Action, ActionStatus
from stateward.model.approval import Approval, ApprovalStatus, Decision
from stateward.model.effect import Credential, Receipt, Transaction
from stateward.model.ledger import AuditReport, Entry
from stateward.model.memory import Coverage, Finding, MemoryItem, Scope
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts, ThreadRecord, ThreadStatus
from stateward.model.values import Json
from stateward.model.verdict import Permit, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """An action with its verdict, as verify hands it to the journal.

    Attributes:
        policy: `name@version` of the policy that judged.
        policy_digest: Digest of that policy.
        effect: `read` or `write`.
        identity: The credential that the policy names for the tool.
        idempotent: Whether the policy says that a repetition is harmless.
        facts: Numbers among the arguments, which limits add up later.
        description: What people are shown if they are asked.
        allowed: The decisions that they may take.
    """

    action: Action
    verdict: Verdict
    policy: str
    policy_digest: str
    effect: Literal["read", "write"]
    identity: str | None
    idempotent: bool
    description: str = ""
    supersedes: str | None = None
    editor: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionRow:
    """An action as the journal has it: the only authority on what may happen (promise P15).

    Attributes:
        response: Why it was rejected or denied, or the answer that a person gave in place of the tool.
    """

    action: Action
    status: ActionStatus
    verdict: Literal["allow", "deny", "ask"]
    effect: Literal["read", "write"]
    identity: str | None
    idempotent: bool
    reasons: tuple[tuple[str, str], ...]
    response: str
    approvers: tuple[str, ...]
    policy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """What reserving found.

    Attributes:
        outcome: `reserved` (run it now), `settled` or `failed` (it has run), `unknown` (an earlier attempt was cut
            off), `busy` (a living worker runs it now), `abandoned`, or `refused` (no unused permit).
    """

    outcome: Literal["reserved", "settled", "failed", "unknown", "busy", "abandoned", "refused"]
    receipt: Receipt
    key: str


class Schema(Protocol):
    """Creates tables."""

    async def migrate(self, extra: Sequence[tuple[str, str]] = ()) -> None:
        """Run a workflow's own migrations that have not run yet: name and SQL each."""
        ...


class Threads(Protocol):
    """Which threads exist and whom they belong to."""

    async def open(self, facts: ThreadFacts) -> ThreadRecord:
        """Open the thread, or find it as it was opened.

        Raises:
            ThreadMismatch: it was opened for someone or something else (P12).
        """
        ...

    async def find(self, thread: str) -> ThreadRecord | None: ...
    async def list(self, *, tenant: str | None = None, subject: str | None = None) -> list[ThreadRecord]: ...
    async def mark(
        self, thread: str, status: ThreadStatus, *, actor: str, detail: Mapping[str, Json]
    ) -> None: ...
    async def count_steps(self, thread: str, steps: int) -> int: ...


class Journal(Protocol):
    """Actions, their verdicts, and what came of them."""

    async def record(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Write verdicts, questions and ledger entries in one transaction; what is already there stays (P6)."""
        ...

    async def turn(self, thread: str, turn: str) -> list[ActionRow]:
        """The actions of a turn that are not superseded, by position."""
        ...

    async def reserve(self, permit: Permit, *, actor: str) -> Reservation: ...
    async def restart(self, permit: Permit, *, attempt: int, actor: str) -> Reservation: ...
    async def settle(self, permit: Permit, *, attempt: int, result: Json, actor: str) -> Receipt: ...
    async def fail(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt: ...
    async def abandon(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt: ...
    def let_go(self, action: str) -> None: ...
    async def lose(self, permit: Permit, *, attempt: int, thread: ThreadFacts, by: Sequence[str]) -> Approval:
        """Mark the outcome as unknown and ask people what happened."""
        ...

    async def read(self, permit: Permit, *, actor: str, ok: bool) -> None:
        """Audit a read that happened."""
        ...

    async def receipt(self, action: str) -> Receipt | None: ...
    async def checkpoint_exists(self, thread: str, checkpoint: str) -> bool: ...
    async def usage(
        self, *, tenant: str, tool: str, argument: str | None, window: timedelta, excluding: str = ""
    ) -> tuple[int, float]:
        """How many calls of the tool were reserved or settled within the window, and the sum of an argument."""
        ...


class Desk(Protocol):
    """Questions to people."""

    async def get(self, approval: str) -> Approval | None: ...
    async def list(
        self,
        *,
        tenant: str | None = None,
        thread: str | None = None,
        status: ApprovalStatus | None = "pending",
    ) -> list[Approval]: ...
    async def of_turn(self, thread: str, turn: str) -> list[Approval]: ...
    def deciding(self, approval: str) -> AbstractAsyncContextManager[DeskCase]:
        """The approval under lock, in one transaction with whatever the decision changes."""
        ...

    async def expire(self, *, now: datetime | None = None) -> list[str]: ...
    async def ask(self, question: Approval, *, actor: str) -> None: ...
    async def show(self, thread: str, task: str, round_: int, approvals: Sequence[str]) -> tuple[str, ...]:
        """Note what one interrupt shows; a replay gets what was shown at first."""
        ...

    async def take_answer(self, thread: str, task: str, round_: int) -> bool:
        """Use up an interrupt's answer. False: it was used before, and is not an answer any more."""
        ...


class DeskCase(Protocol):
    """One approval while it is decided."""

    @property
    def approval(self) -> Approval: ...
    @property
    def thread(self) -> ThreadFacts: ...
    async def action(self) -> ActionRow: ...
    async def sign(self, principal: Principal, decision: Decision) -> None: ...
    async def refuse(self, principal: Principal, decision: Decision, why: str) -> None: ...
    async def close(self, status: ApprovalStatus, *, principal: Principal, decision: Decision) -> None: ...
    async def replace(self, judged: Judged, *, principal: Principal) -> None: ...


class Ledger(Protocol):
    """The append-only trail."""

    async def append(
        self,
        thread: str,
        kind: str,
        *,
        actor: str,
        detail: Mapping[str, Json],
        action: str | None = None,
        tool: str | None = None,
    ) -> int: ...
    def entries(self, thread: str | None = None) -> AsyncIterator[Entry]: ...
    async def verify(self, thread: str | None = None) -> AuditReport: ...


class Memory(Protocol):
    """Items with subject, purpose, kind and expiry."""

    async def put(
        self,
        scope: Scope,
        *,
        namespace: tuple[str, ...],
        key: str,
        kind: str,
        value: Mapping[str, Json],
        keep: timedelta,
    ) -> int: ...
    async def get(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> MemoryItem | None: ...
    async def delete(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> bool: ...
    async def search(
        self,
        scope: Scope,
        *,
        prefix: tuple[str, ...],
        query: str | None = None,
        filter_: Mapping[str, object] | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> list[MemoryItem]: ...
    async def namespaces(self, scope: Scope) -> list[tuple[str, ...]]: ...
    async def sweep(self) -> int: ...


class Redactor(Protocol):
    """Finds personal data."""

    def coverage(self, entities: Iterable[str]) -> Coverage: ...
    async def scan(self, texts: Sequence[str], *, entities: frozenset[str]) -> list[list[Finding]]:
        """The findings of each text.

        Raises:
            RedactionFailed: the scan failed or took too long; nothing may be written then.
        """
        ...


class Credentials(Protocol):
    """Mints what a tool authenticates with, for one call, after the gate."""

    def lend(self, permit: Permit, *, role: str, attempt: int) -> AbstractAsyncContextManager[Credential]: ...
    def transaction(
        self, permit: Permit, credential: Credential, *, attempt: int
    ) -> AbstractAsyncContextManager[Transaction]: ...
