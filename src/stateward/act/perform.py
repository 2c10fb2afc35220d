"""Perform a permitted call: reserve, run, settle. It takes a permit and never asks whether the call is allowed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from stateward.act.calling import Called, Caller, Paused, Run
from stateward.errors import ThreadAbandoned, ThreadError
from stateward.model.approval import Approval
from stateward.model.effect import Receipt, Retry
from stateward.model.policy import Identity
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json, JsonObject
from stateward.model.verdict import Permit
from stateward.ports import Credentials, Desk, Journal, Reservation

Probe = Callable[[JsonObject, str], Awaitable[Json]]

_ONCE_MORE = Retry(on=(Exception,), attempts=2, wait=0)  # what a crash does too: the same key again


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a tool says of itself.

    Attributes:
        transactional: All it does happens in `effect.transaction()`; a cut-off attempt has left nothing.
        idempotent: The same key again does nothing more.
        probe: Asks the other side by arguments and key: the result if it was done, None if it was not.
        timeout: How long one attempt may take.
        retry: When it is called again.
    """

    transactional: bool = False
    idempotent: bool = False
    probe: Probe | None = None
    timeout: timedelta | None = None
    retry: Retry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """The outcome is unknown, and people have been asked."""

    approval: Approval


@dataclass(frozen=True, kw_only=True, slots=True)
class Performer:
    """Performs permits.

    Attributes:
        identities: The policy's identities, of which the credentials are minted.
        settlers: Who is asked when nobody knows whether a call happened, by tool.
        follows: Id of the checkpoint that the calls follow from.
    """

    journal: Journal
    desk: Desk
    credentials: Credentials
    identities: Mapping[str, Identity]
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
            ThreadAbandoned: the thread was abandoned.
        """
        if permit.effect == "read":
            return await self._read(permit, thread, run, traits)
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

    async def find_out(self, permit: Permit, thread: ThreadFacts, traits: Traits) -> Receipt | Waiting:
        """What became of a call that was begun, without running it again.

        Returns:
            What is known of it, `reserved` where a living worker runs it right now; or the question to people.
        """
        found = await self.journal.reserve(permit, actor=thread.principal)
        if found.outcome != "unknown":
            return found.receipt
        attempt, actor = found.receipt.attempt, thread.principal

        async def did_not_happen() -> Receipt:
            return await self.journal.fail(permit, attempt=attempt, error="it did not happen", actor=actor)

        result, knows = None, traits.transactional
        if traits.probe is not None:
            with contextlib.suppress(Exception):  # it cannot be asked now, so a person is
                result, knows = await traits.probe(permit.arguments, found.key), True
        if result is not None:
            return await self.journal.settle(permit, attempt=attempt, result=result, actor=actor)
        if knows and found.receipt.status == "reserved":
            return await did_not_happen()
        return await self._believe(permit, thread, did_not_happen, attempt=attempt)

    async def _read(self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits) -> Receipt:
        retry, attempt = traits.retry, 1
        while True:
            self.journal.refuse_late(permit.thread)
            called = Called(attempt=attempt)
            await self._caller.call(called, permit, run, within=traits.timeout)
            self.journal.read(permit, actor=thread.principal, ok=called.error is None)
            if called.error is None:
                return Receipt(action=permit.action, status="settled", result=called.result, attempt=attempt)
            if retry is None or attempt >= retry.attempts or not called.failed_with(retry.on):
                return Receipt(action=permit.action, status="failed", error=called.said, attempt=attempt)
            await asyncio.sleep(retry.pause(attempt))
            attempt += 1

    async def _attempt(
        self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits, found: Reservation, *, doubt: bool = False
    ) -> Receipt | Waiting:
        """Run it, and again with the same key where that does no harm.

        Args:
            doubt: Whether an attempt before this one may have left something.
        """
        called, tries = Called(attempt=found.receipt.attempt, doubt=doubt), 1
        retry = traits.retry or (_ONCE_MORE if traits.idempotent or permit.idempotent else None)
        try:
            await self._caller.call(called, permit, run, within=traits.timeout)
            while retry is not None and tries < retry.attempts and called.failed_with(retry.on):
                await asyncio.sleep(retry.pause(tries))
                try:
                    found = await self.journal.restart(
                        permit, attempt=called.attempt, actor=thread.principal, follows=self.follows
                    )
                except ThreadAbandoned:
                    break  # nothing is tried again there, but what the last attempt left is noted
                if found.outcome == "busy":
                    return await self._overtaken(permit, thread)
                doubt = not called.nothing_happened and not traits.transactional
                called, tries = Called(attempt=found.receipt.attempt, doubt=doubt), tries + 1
                await self._caller.call(called, permit, run, within=traits.timeout)
        except asyncio.CancelledError:
            await self._cut_off(called, permit, thread, traits)
            raise
        except Paused as pause:
            if _may_repeat(permit, traits):
                await self.journal.release(permit, attempt=called.attempt)
                raise  # it is called again when the run goes on
            called.error = pause
        finally:
            self.journal.let_go(permit.action)
        return await self._ended(called, permit, thread, traits)

    async def _cut_off(self, called: Called, permit: Permit, thread: ThreadFacts, traits: Traits) -> None:
        """The run is cancelled: what is known is kept, and the rest is found out by whoever goes on."""
        if called.finished and not called.settled:
            self.journal.send(permit, attempt=called.attempt, result=called.result, actor=thread.principal)
        elif called.nothing_happened and not _may_repeat(permit, traits):
            why = called.said or "the run was cancelled before it began"
            await asyncio.shield(self.journal.fail(permit, attempt=called.attempt, error=why, actor=thread.principal))
        else:
            await asyncio.shield(self.journal.release(permit, attempt=called.attempt))

    async def _ended(self, called: Called, permit: Permit, thread: ThreadFacts, traits: Traits) -> Receipt | Waiting:
        attempt, actor = called.attempt, thread.principal
        if called.error is None:
            if called.settled:  # in the tool's own transaction, which has committed
                return Receipt(action=permit.action, status="settled", result=called.settled[-1], attempt=attempt)
            return self.journal.send(permit, attempt=attempt, result=called.result, actor=actor)
        if called.nothing_happened or traits.transactional:
            return _owned(await self.journal.fail(permit, attempt=attempt, error=called.said, actor=actor))
        found = await self._probed(permit, traits)
        if found is not None:
            return _owned(await self.journal.settle(permit, attempt=attempt, result=found, actor=actor))
        return await self._ask(permit, thread, attempt=attempt, why=called.said)

    async def _probed(self, permit: Permit, traits: Traits) -> Json:
        """What the other side knows of a call that has just failed; nothing where it cannot be asked now either."""
        try:
            return None if traits.probe is None else await traits.probe(permit.arguments, f"sw-{permit.action}")
        except Exception:
            return None

    async def _find_out(
        self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits, found: Reservation
    ) -> Receipt | Waiting:
        attempt = found.receipt.attempt
        if traits.probe is not None:
            result = await traits.probe(permit.arguments, found.key)
            if result is not None:
                return await self.journal.settle(permit, attempt=attempt, result=result, actor=thread.principal)

        async def again() -> Receipt | Waiting:
            return await self._again(permit, thread, run, traits, attempt=attempt)

        if found.receipt.status == "unknown":  # people were asked already, and what they say counts
            return await self._believe(permit, thread, again, attempt=attempt)
        if traits.probe is not None or traits.transactional:
            return await again()
        if traits.idempotent or permit.idempotent:
            return await self._again(permit, thread, run, traits, attempt=attempt, doubt=True)
        return await self._believe(permit, thread, again, attempt=attempt)

    async def _believe(
        self, permit: Permit, thread: ThreadFacts, retry: Callable[[], Awaitable[Receipt | Waiting]], *, attempt: int
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
                return await retry()
            case _:
                return await self.journal.abandon(permit, attempt=attempt, error=f"given up by {person}", actor=person)

    async def _again(
        self, permit: Permit, thread: ThreadFacts, run: Run, traits: Traits, *, attempt: int, doubt: bool = False
    ) -> Receipt | Waiting:
        actor = thread.principal
        found = await self.journal.restart(permit, attempt=attempt, actor=actor, follows=self.follows)
        if found.outcome == "busy":
            return await self._overtaken(permit, thread)
        return await self._attempt(permit, thread, run, traits, found, doubt=doubt)

    async def _overtaken(self, permit: Permit, thread: ThreadFacts) -> Receipt:
        # A commit that the last worker sent before it died may have arrived only now.
        receipt = await self.journal.receipt(permit.action, thread=permit.thread)
        if receipt is not None and receipt.status not in ("reserved", "unknown"):
            return receipt
        raise ThreadError(f"{permit.tool} is being run by another worker of thread {thread.thread!r}")

    async def _ask(self, permit: Permit, thread: ThreadFacts, *, attempt: int, why: str = "") -> Receipt | Waiting:
        by = self.settlers(permit.tool)
        approval = await self.journal.lose(permit, attempt=attempt, thread=thread, by=by, why=why)
        receipt = await self.journal.receipt(permit.action, thread=permit.thread)
        if receipt is not None and receipt.status not in ("unknown", "reserved"):
            return receipt
        return Waiting(approval=approval)

    @property
    def _caller(self) -> Caller:
        return Caller(credentials=self.credentials, identities=self.identities)


def _may_repeat(permit: Permit, traits: Traits) -> bool:
    """Whether it may be called again with the same key, whatever an attempt that was cut off has left."""
    return traits.transactional or traits.idempotent or permit.idempotent


def _owned(receipt: Receipt) -> Receipt:
    """The receipt of an attempt that has ended: still open, it is another worker's by now."""
    if receipt.status in ("reserved", "unknown"):
        raise ThreadError(f"the effect of action {receipt.action} was taken over by another worker")
    return receipt
