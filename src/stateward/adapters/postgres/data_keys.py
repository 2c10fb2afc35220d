"""The data keys of the threads: made at first use, kept wrapped, and wrapped anew when the master key changes."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.database import Database, Row
from stateward.adapters.postgres.statements import statements
from stateward.adapters.rings import split
from stateward.adapters.sealing import KEY_BYTES, Sealer
from stateward.errors import KeyringError, SealBroken, ThreadErased
from stateward.ports import Keyring

_SQL = statements("keys")
_LOG = logging.getLogger("stateward.security")
_KEPT = 2048
# A few rows that somebody has damaged must not keep the others from a new master key; many mean that the ring fails.
_TOLERATED = 20


class DataKeys:
    """The table of wrapped data keys, and the sealers of the threads that were used last.

    All of it lives on one event loop. Where several processes work, `renew` in one of them is not seen by the others
    before they `forget` the thread.

    Args:
        database: Where the table is.
        keyring: What wraps and unwraps.
        kept: How many threads' sealers are kept in memory.
    """

    def __init__(self, database: Database, keyring: Keyring, *, kept: int = _KEPT) -> None:
        self._db, self._ring, self._kept = database, keyring, kept
        self._sealers: OrderedDict[str, Sealer] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._forgotten = 0

    async def of(self, thread: str) -> Sealer | None:
        """The thread's sealer, or None where it has no data key.

        Raises:
            KeyringError: a data key cannot be unwrapped.
        """
        async with self._alone(thread):
            return self._known(thread) or await self._read(thread)

    async def make(self, thread: str) -> Sealer:
        """The thread's sealer, with a new data key where it has none, whoever else makes one at the same time.

        Raises:
            KeyringError: the data key cannot be wrapped or unwrapped.
            ThreadErased: the thread was deleted, and gets no new one.
        """
        async with self._alone(thread):
            return self._known(thread) or await self._add(thread, generation=1)

    @asynccontextmanager
    async def opening(self, thread: str) -> AsyncGenerator[Sealer]:
        """The thread's sealer, to read with; a value that it refuses is a security event.

        Raises:
            SealBroken: what is kept is not what was sealed for its place.
            KeyringError: a data key cannot be unwrapped.
        """
        try:
            yield await self.of(thread) or _Nothing()
        except (SealBroken, KeyringError) as error:
            _LOG.error("refused a stored value: %s", error)
            place = error.place if isinstance(error, SealBroken) else ("data_key", thread)
            detail = Jsonb({"place": list(place)})
            await self._db.one(_SQL["note_refusal"], {"thread": thread, "detail": detail})
            raise

    async def renew(self, thread: str) -> Sealer:
        """A data key of a new generation: new values are sealed with it, and those of old ones still open.

        Raises:
            KeyringError: a data key cannot be wrapped or unwrapped.
            ThreadErased: the thread was deleted, and gets no new one.
        """
        async with self._alone(thread):
            return await self._add(thread, generation=None)

    def forget(self, thread: str) -> None:
        """Drop the thread's sealer from memory, as its keys are gone or have changed."""
        self._sealers.pop(thread, None)
        self._forgotten += 1

    async def rewrap(self, batch: int = 500) -> int:
        """Wrap anew what the current master key does not wrap. It may be cut off and called again, and others may work.

        Args:
            batch: How many data keys are looked at at once.

        Returns:
            How many data keys it has wrapped anew.

        Raises:
            KeyringError: some could not be; the message names their threads, and says whether the others were.
        """
        done, failed = 0, dict[str, KeyringError]()
        rows = await self._after(("", 0), batch)
        while rows and len(failed) <= _TOLERATED:
            done += await self._rewrap(rows, failed)
            rows = await self._after((rows[-1]["thread_id"], rows[-1]["generation"]), batch)
        if failed:
            raise _left(done, failed, everything=len(failed) <= _TOLERATED)
        return done

    async def probe(self) -> None:
        """Unwrap a data key, so that a lost master key is said at the start, not at the first read.

        Raises:
            KeyringError: none of the first ones can be unwrapped; a single one may have been damaged.
        """
        lost: KeyringError | None = None
        for row in await self._after(("", 0), _TOLERATED):
            try:
                await self._ring.unwrap(row["wrapped"], context=_context(row["thread_id"]))
                return
            except KeyringError as error:
                lost = lost or error
        if lost is not None:
            raise lost

    async def count(self) -> dict[str, int]:
        """How many data keys each master key wraps, by its id; under `` those that are no envelopes."""
        counted: dict[str, int] = {}
        for row in await self._db.all(_SQL["count_keys"]):
            master = _master(row["head"])
            counted[master] = counted.get(master, 0) + row["keys"]
        return counted

    def _alone(self, thread: str) -> asyncio.Lock:
        # Whoever waits for a lock holds it, so that it goes with the last of them.
        return self._locks.setdefault(thread, asyncio.Lock())

    def _known(self, thread: str) -> Sealer | None:
        sealer = self._sealers.get(thread)
        if sealer is not None:
            self._sealers.move_to_end(thread)
        return sealer

    async def _read(self, thread: str) -> Sealer | None:
        began = self._forgotten
        rows = await self._db.all(_SQL["keys_of"], {"thread": thread})
        if not rows:
            return None
        context = _context(thread)
        sealer = Sealer({row["generation"]: await self._ring.unwrap(row["wrapped"], context=context) for row in rows})
        return self._keep(thread, sealer, began)

    def _keep(self, thread: str, sealer: Sealer, began: int) -> Sealer:
        if began == self._forgotten:  # else this may be what was to be forgotten
            self._sealers[thread] = sealer
            self._sealers.move_to_end(thread)
            while len(self._sealers) > self._kept:
                self._sealers.popitem(last=False)
        return sealer

    async def _add(self, thread: str, *, generation: int | None) -> Sealer:
        began, key = self._forgotten, secrets.token_bytes(KEY_BYTES)
        wrapped = await self._ring.wrap(key, context=_context(thread))
        values = {"thread": thread, "generation": generation, "wrapped": wrapped}
        if await self._db.one(_SQL["add_key"], values) and generation == 1:
            return self._keep(thread, Sealer({1: key}), began)  # the first, and ours: there is nothing to read
        sealer = await self._read(thread)
        if sealer is None:
            raise ThreadErased(thread)
        return sealer

    async def _after(self, place: tuple[str, int], batch: int) -> Sequence[Row]:
        return await self._db.all(_SQL["keys_after"], {"thread": place[0], "generation": place[1], "batch": batch})

    async def _rewrap(self, rows: Sequence[Row], failed: dict[str, KeyringError]) -> int:
        # A ring may read a file, or ask a service, to say which master key is the current one.
        stale = await asyncio.to_thread(lambda: [row for row in rows if not self._ring.is_current(row["wrapped"])])
        anew: list[tuple[Row, bytes]] = []
        for row in stale:
            if len(failed) > _TOLERATED:
                break
            context = _context(row["thread_id"])
            try:
                key = await self._ring.unwrap(row["wrapped"], context=context)
                anew.append((row, await self._ring.wrap(key, context=context)))
            except KeyringError as error:
                failed[row["thread_id"]] = error
        return len(await self._db.all(_SQL["rewrap"], _columns(anew))) if anew else 0


class _Nothing(Sealer):
    """Opens nothing: the thread has no key, so whatever is kept of it was not sealed by us, or its key is destroyed."""

    def __init__(self) -> None:
        pass

    def open(self, sealed: bytes, *place: str) -> bytes:
        raise SealBroken(place, "its thread has no key")


def _columns(anew: Sequence[tuple[Row, bytes]]) -> dict[str, list[Any]]:
    return {
        "threads": [row["thread_id"] for row, _ in anew],
        "generations": [row["generation"] for row, _ in anew],
        "was": [row["wrapped"] for row, _ in anew],
        "now": [wrapped for _, wrapped in anew],
    }


def _left(done: int, failed: Mapping[str, KeyringError], *, everything: bool) -> KeyringError:
    threads = ", ".join(list(failed)[:_TOLERATED])
    more = f" and {len(failed) - _TOLERATED} more" if len(failed) > _TOLERATED else ""
    rest = "all others have the current master key" if everything else "the rest was not tried: run it again then"
    first = next(iter(failed.values())).message
    return KeyringError(f"{done} data keys were wrapped anew. Those of {threads}{more} could not be ({first}); {rest}")


def _context(thread: str) -> str:
    return f"thread:{thread}"


def _master(head: bytes) -> str:
    try:
        # A head needs something that it is the head of.
        return split(head + b"\0", context="")[0].master
    except KeyringError:
        return ""
