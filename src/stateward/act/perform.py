"""Perform a permitted call: reserve, run, settle. It takes a permit and never asks whether the call is allowed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from stateward.errors import ConfigurationError, ThreadError
from stateward.model.approval import Approval
from stateward.model.effect import Credential, Effect, Receipt, Transaction
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json, JsonObject
from stateward.model.verdict import Permit
from stateward.ports import Credentials, Desk, Journal, Reservation

Run = Callable[[Effect], Awaitable[Json]]
Probe = Callable[[JsonObject, str], Awaitable[Json]]


class NothingDone(Exception):
    """A tool says that it failed before anything happened: the call failed, and nobody has to be asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a tool says of itself.

    Attributes:
        transactional: All it does happens in `effect.transaction()`; a cut-off attempt has left nothing.
        idempotent: The same key again does nothing more.
        probe: Asks the other side by arguments and key: the result if it was done, None if it was not.
    """

    transactional: bool = False
    idempotent: bool = False
    probe: Probe | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """The outcome is unknown, and people have been asked."""

    approval: Approval


@dataclass(frozen=True, kw_only=True, slots=True)
class Performer:
    """Performs permits.

    Attributes:
        roles: The Postgres group role for each of the policy's credentials.
        settlers: Who is asked when nobody knows whether a call happened, by tool.
        follows: Id of the checkpoint that the calls follow from.
    """

    journal: Journal
    desk: Desk
    credentials: Credentials
    roles: Mapping[str, str]
    settlers: Callable[[str], tuple[str, ...]]
    follows: str | None = None

    async def perform(self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits) -> Receipt | Waiting:
        """Do it, or find out what became of it.

        Args:
            permit: The right to do it once.
            thread: The thread that it belongs to.
            run: Calls the tool.
            traits: What the tool says of itself.

        Raises:
            ThreadError: a living worker is running it right now.
        """
        if permit.effect == "read":
            return await self._read(permit, thread, run)
        found = await self.journal.reserve(permit, actor=thread.principal, follows=self.follows)
        match found.outcome:
            case "reserved":
                return await self._attempt(permit, thread, run, traits, found)
            case "unknown":
                return await self._find_out(permit, thread, run, traits, found)
            case "busy":
                raise ThreadError(f"{permit.tool} is being run by another worker of thread {thread.thread!r}")
            case "refused":
                return Receipt(action=permit.action, status="failed", error=found.receipt.error)
            case _:
                return found.receipt

    async def _read(self, permit: Permit, thread: ThreadFacts, run: Run) -> Receipt:
        try:
            async with self._effect(permit, attempt=1, settled=[]) as effect:
                result = await run(effect)
        except Exception as error:
            self.journal.read(permit, actor=thread.principal, ok=False)
            return Receipt(action=permit.action, status="failed", error=_said(error))
        self.journal.read(permit, actor=thread.principal, ok=True)
        return Receipt(action=permit.action, status="settled", result=result)

    async def _attempt(
        self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits, found: Reservation
    ) -> Receipt | Waiting:
        attempt, started, settled = found.receipt.attempt, False, list[Json]()
        try:
            async with self._effect(permit, attempt=attempt, settled=settled) as effect:
                started = True
                result = await run(effect)
        except Exception as error:
            if started and not isinstance(error, NothingDone):
                return await self._failed(permit, thread, traits, attempt=attempt, error=error)
            return _owned(await self.journal.fail(permit, attempt=attempt, error=_said(error), actor=thread.principal))
        finally:
            self.journal.let_go(permit.action)
        if settled:  # in the tool's own transaction, which has committed
            return Receipt(action=permit.action, status="settled", result=settled[-1], attempt=attempt)
        return self.journal.send(permit, attempt=attempt, result=result, actor=thread.principal)

    async def _failed(
        self, permit: Permit, thread: ThreadFacts, traits: Traits, *, attempt: int, error: Exception
    ) -> Receipt | Waiting:
        if traits.transactional or traits.idempotent or permit.idempotent:
            return _owned(await self.journal.fail(permit, attempt=attempt, error=_said(error), actor=thread.principal))
        return await self._ask(permit, thread, attempt=attempt)

    async def _find_out(
        self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits, found: Reservation
    ) -> Receipt | Waiting:
        attempt = found.receipt.attempt
        if traits.probe is not None:
            result = await traits.probe(permit.arguments, found.key)
            if result is not None:
                return await self.journal.settle(permit, attempt=attempt, result=result, actor=thread.principal)
        if found.receipt.status == "unknown":  # people were asked already, and what they say counts
            return await self._believe(permit, thread, run, traits, attempt=attempt)
        if traits.probe is not None or traits.transactional or traits.idempotent or permit.idempotent:
            return await self._again(permit, thread, run, traits, attempt=attempt)
        return await self._believe(permit, thread, run, traits, attempt=attempt)

    async def _believe(
        self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits, *, attempt: int
    ) -> Receipt | Waiting:
        asked = await self._ask(permit, thread, attempt=attempt)
        if isinstance(asked, Receipt) or asked.approval.status == "pending":
            return asked
        signature = asked.approval.signatures[-1] if asked.approval.signatures else None
        person = signature.principal if signature else "clock"
        match asked.approval.status:
            case "approved":
                said: dict[str, Json] = {
                    "settled_by": person,
                    "note": signature.decision.reason if signature else "",
                }
                return await self.journal.settle(permit, attempt=attempt, result=said, actor=person)
            case "edited":
                return await self._again(permit, thread, run, traits, attempt=attempt)
            case _:
                return await self.journal.abandon(permit, attempt=attempt, error=f"given up by {person}", actor=person)

    async def _again(
        self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits, *, attempt: int
    ) -> Receipt | Waiting:
        actor = thread.principal
        found = await self.journal.restart(permit, attempt=attempt, actor=actor, follows=self.follows)
        if found.outcome == "busy":
            # A commit that the last worker sent before it died may have arrived only now.
            receipt = await self.journal.receipt(permit.action, thread=permit.thread)
            if receipt is not None and receipt.status not in ("reserved", "unknown"):
                return receipt
            raise ThreadError(f"{permit.tool} is being run by another worker of thread {thread.thread!r}")
        return await self._attempt(permit, thread, run, traits, found)

    async def _ask(self, permit: Permit, thread: ThreadFacts, *, attempt: int) -> Receipt | Waiting:
        by = self.settlers(permit.tool)
        approval = await self.journal.lose(permit, attempt=attempt, thread=thread, by=by)
        receipt = await self.journal.receipt(permit.action, thread=permit.thread)
        if receipt is not None and receipt.status not in ("unknown", "reserved"):
            return receipt
        return Waiting(approval=approval)

    @asynccontextmanager
    async def _effect(self, permit: Permit, *, attempt: int, settled: list[Json]) -> AsyncGenerator[Effect]:
        async with AsyncExitStack() as stack:
            credential = await self._lend(stack, permit, attempt=attempt)
            yield Effect(
                action=permit.action,
                thread=permit.thread,
                key=f"sw-{permit.action}",
                attempt=attempt,
                approvers=permit.approvers,
                credential=credential,
                opens=lambda: self._open(permit, credential, attempt=attempt, settled=settled),
            )

    async def _lend(self, stack: AsyncExitStack, permit: Permit, *, attempt: int) -> Credential | None:
        if permit.identity is None:
            return None
        role = self.roles.get(permit.identity)
        if role is None:
            raise ConfigurationError(f"the policy's identity {permit.identity!r} has no role to mint a credential for")
        return await stack.enter_async_context(self.credentials.lend(permit, role=role, attempt=attempt))

    @asynccontextmanager
    async def _open(
        self, permit: Permit, credential: Credential | None, *, attempt: int, settled: list[Json]
    ) -> AsyncGenerator[Transaction]:
        """The tool's own transaction; what it settled is known once it has committed."""
        if credential is None:
            raise ConfigurationError(f"the policy gives {permit.tool} no identity, so it has no transaction")
        async with self.credentials.transaction(permit, credential, attempt=attempt) as work:
            watched = _Watched(work)
            yield watched
        settled.extend(watched.results)


class _Watched:
    """A tool's transaction, and what the tool says of itself in it."""

    def __init__(self, work: Transaction) -> None:
        self.connection = work.connection
        self.results: list[Json] = []
        self._work = work

    def settle(self, result: Json) -> None:
        """Pass it on."""
        self._work.settle(result)
        self.results.append(result)


def _owned(receipt: Receipt) -> Receipt:
    """The receipt of an attempt that has ended: still open, it is another worker's by now."""
    if receipt.status in ("reserved", "unknown"):
        raise ThreadError(f"the effect of action {receipt.action} was taken over by another worker")
    return receipt


def _said(error: Exception) -> str:
    if isinstance(error, NothingDone):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
