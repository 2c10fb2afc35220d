"""Call a tool once: mint its credential, give it its effect, end it in time, keep its secrets out of what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stateward.act.secrets import clean, scrub
from stateward.errors import ConfigurationError
from stateward.model.effect import Credential, Effect, Transaction
from stateward.model.policy import Identity
from stateward.model.values import Json
from stateward.model.verdict import Permit
from stateward.ports import Credentials

Run = Callable[[Effect], Awaitable[Json]]


class NothingDone(Exception):
    """A tool says that it failed before anything happened: the call failed, and nobody has to be asked."""


class Paused(Exception):
    """A tool stops to ask, on its own or in an agent that it runs; the call goes on when it is made again.

    What stopped it is the cause of it, and nothing that this step knows.
    """


@dataclass(kw_only=True, slots=True)
class Called:
    """One call, as far as it has got.

    Attributes:
        attempt: Which attempt of the action it is.
        doubt: Whether an attempt before it may have left something, whatever this one says of itself.
        begun: Whether the tool was called, so that something may have happened.
        finished: Whether it has returned.
        result: What it returned.
        settled: What it settled in a transaction of its own, which has committed.
        error: What it raised.
    """

    attempt: int
    doubt: bool = False
    begun: bool = False
    finished: bool = False
    result: Json = None
    settled: list[Json] = field(default_factory=list[Json])
    error: Exception | None = None
    credential: Credential | None = None

    @property
    def nothing_happened(self) -> bool:
        """Whether it certainly has left nothing."""
        return not self.doubt and (not self.begun or isinstance(self.error, NothingDone))

    @property
    def said(self) -> str:
        """The error as a sentence, without secrets."""
        error = self.error
        if error is None:
            return ""
        name = type(error).__name__
        text = str(error) if isinstance(error, NothingDone) else f"{name}: {error}" if str(error) else name
        return scrub(text, self.credential)

    def failed_with(self, kinds: tuple[type[Exception], ...]) -> bool:
        """Whether it raised one of these; `NothingDone` stands for what it was made of as well."""
        raised = [self.error] if not isinstance(self.error, NothingDone) else [self.error, self.error.__cause__]
        return any(isinstance(one, kinds) for one in raised)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Calls tools.

    Attributes:
        identities: The policy's identities, of which the credentials are minted.
    """

    credentials: Credentials
    identities: Mapping[str, Identity]

    async def call(self, called: Called, permit: Permit, run: Run, *, within: timedelta | None) -> None:
        """Call it, and note how far it got; what it raises stands in `called.error`.

        Raises:
            Paused: the tool stops to ask.
        """
        try:
            async with self._effect(called, permit, within) as effect:
                called.begun = True
                result = await _in_time(run(effect), within)
                called.result, called.finished = clean(result, called.credential), True
        except Paused:
            raise
        except Exception as error:
            called.error = error

    @asynccontextmanager
    async def _effect(self, called: Called, permit: Permit, within: timedelta | None) -> AsyncGenerator[Effect]:
        async with AsyncExitStack() as stack:
            identity = self._identity(permit)
            if identity is not None:
                lending = self.credentials.lend(permit, identity=identity, attempt=called.attempt)
                called.credential = await stack.enter_async_context(lending)
            yield Effect(
                action=permit.action,
                thread=permit.thread,
                key=f"sw-{permit.action}",
                attempt=called.attempt,
                approvers=permit.approvers,
                credential=called.credential,
                deadline=None if within is None else datetime.now(UTC) + within,
                opens=lambda: self._open(called, permit, identity),
            )

    def _identity(self, permit: Permit) -> Identity | None:
        if permit.identity is None:
            return None
        found = self.identities.get(permit.identity)
        if found is None or found.kind != "credential":
            raise ConfigurationError(f"the policy has no credential {permit.identity!r} that could be minted")
        return found

    @asynccontextmanager
    async def _open(self, called: Called, permit: Permit, identity: Identity | None) -> AsyncGenerator[Transaction]:
        """The tool's own transaction; what it settled is known once it has committed."""
        credential = called.credential
        if credential is None or identity is None or identity.role is None:
            raise ConfigurationError(f"the policy gives {permit.tool} no identity with a `role:`, so no transaction")
        async with self.credentials.transaction(permit, credential, attempt=called.attempt) as work:
            watched = _Watched(work, credential)
            yield watched
        called.settled.extend(watched.results)


class _Watched:
    """A tool's transaction, and what the tool says of itself in it."""

    def __init__(self, work: Transaction, credential: Credential) -> None:
        self.connection = work.connection
        self.results: list[Json] = []
        self._work, self._credential = work, credential

    def settle(self, result: Json) -> None:
        """Pass it on."""
        kept = clean(result, self._credential)
        self._work.settle(kept)
        self.results.append(kept)


async def _in_time(running: Awaitable[Json], within: timedelta | None) -> Json:
    if within is None:
        return await running
    limit = asyncio.timeout(within.total_seconds())
    try:
        async with limit:
            return await running
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"it did not come to an end within {within.total_seconds():g} seconds") from error
        raise
