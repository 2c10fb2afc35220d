"""The data keys of threads and of subjects: made at first use, kept wrapped, wrapped anew with a new master key."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any
from weakref import WeakValueDictionary

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.database import Database, Row
from stateward.adapters.postgres.statements import statements
from stateward.adapters.rings import split
from stateward.adapters.sealing import KEY_BYTES, Sealer
from stateward.errors import KeyringError, SealBroken, ThreadErased
from stateward.model.values import canonical
from stateward.ports import Keyring

_SQL = statements("keys")
_LOG = logging.getLogger("stateward.security")
_KEPT = 2048
# A few rows that somebody has damaged must not keep the others from a new master key; many mean that the ring fails.
_TOLERATED = 20


class KeyTable:
    """A table of wrapped data keys, and the sealers of the owners that were used last.

    All of it lives on one event loop. Where several processes work, `renew` in one of them is not seen by the others
    before they `forget` the owner.

    Args:
        database: Where the table is.
        keyring: What wraps and unwraps.
        kept: How many owners' sealers are kept in memory.
    """

    kind = "thread"
    table = "data_key"
    sql: Mapping[str, bytes] = {
        "read": _SQL["read_thread_keys"],
        "add": _SQL["add_thread_keys"],
        "walk": _SQL["walk_thread_keys"],
        "rewrap": _SQL["rewrap_thread_keys"],
        "count": _SQL["count_thread_keys"],
    }

    def __init__(self, database: Database, keyring: Keyring, *, kept: int = _KEPT) -> None:
        self._db, self._ring, self._kept = database, keyring, kept
        self._sealers: OrderedDict[str, Sealer] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._forgotten = 0

    async def of(self, owner: str) -> Sealer | None:
        """The owner's sealer, or None where there is no data key.

        Raises:
            KeyringError: a data key cannot be unwrapped.
        """
        async with self._alone(owner):
            return self._known(owner) or await self._read(owner)

    async def make(self, owner: str, *, thread: str = "") -> Sealer:
        """The owner's sealer, with a new data key where there is none, whoever else makes one at the same time.

        Args:
            owner: Whose key it is.
            thread: For a subject, the thread that needs it.

        Raises:
            KeyringError: the data key cannot be wrapped or unwrapped.
            ThreadErased: the thread was deleted, and gets no new one.
        """
        async with self._alone(owner):
            return self._known(owner) or await self._add(owner, generation=1, thread=thread or owner)

    @asynccontextmanager
    async def opening(self, owner: str, *, thread: str = "") -> AsyncGenerator[Sealer]:
        """The owner's sealer, to read with; a value that it refuses is a security event.

        Args:
            owner: Whose key it is.
            thread: For a subject, the thread in whose chain a refusal stands.

        Raises:
            SealBroken: what is kept is not what was sealed for its place.
            KeyringError: a data key cannot be unwrapped.
        """
        try:
            yield await self.of(owner) or await self._nothing(owner)
        except (SealBroken, KeyringError) as error:
            await self._note(error, owner, thread or owner)
            raise

    async def renew(self, owner: str, *, thread: str = "") -> Sealer:
        """A data key of a new generation: new values are sealed with it, and those of old ones still open.

        Raises:
            KeyringError: a data key cannot be wrapped or unwrapped.
            ThreadErased: the thread was deleted, and gets no new one.
        """
        async with self._alone(owner):
            return await self._add(owner, generation=None, thread=thread or owner)

    def forget(self, owner: str) -> None:
        """Drop the owner's sealer from memory, as its keys are gone or have changed."""
        self._sealers.pop(owner, None)
        self._forgotten += 1

    async def wrap_anew(self, batch: int, failed: dict[str, KeyringError]) -> int:
        """Wrap anew what the current master key does not wrap, until too many have failed; how many were wrapped."""
        done, rows = 0, await self.first(batch)
        while rows and len(failed) <= _TOLERATED:
            done += await self._rewrap(rows, failed)
            rows = await self._after(self._owner(rows[-1]), rows[-1]["generation"], batch)
        return done

    async def lost(self) -> KeyringError | None:
        """Why none of the first keys can be unwrapped; None where one can, or there is none."""
        lost: KeyringError | None = None
        for row in await self.first(_TOLERATED):
            try:
                await self._ring.unwrap(row["wrapped"], context=self._context(self._owner(row)))
                return None
            except KeyringError as error:
                lost = lost or error
        return lost

    async def counted(self) -> Sequence[Row]:
        """How many keys have the same head of an envelope."""
        return await self._db.all(self.sql["count"])

    async def first(self, batch: int) -> Sequence[Row]:
        """The first keys of the table."""
        return await self._after("", 0, batch)

    async def _nothing(self, owner: str) -> Sealer:
        """What stands for the sealer of an owner without a key."""
        return _Nothing(self.kind, is_erased=False)

    async def _note(self, error: SealBroken | KeyringError, owner: str, thread: str) -> None:
        _LOG.error("refused a stored value: %s", error)
        place = error.place if isinstance(error, SealBroken) else (self.table, owner)
        await self._db.one(_SQL["note_refusal"], {"thread": thread, "detail": Jsonb({"place": list(place)})})

    def _columns(self, owner: str) -> dict[str, str]:
        return {"thread": owner}

    def _owner(self, row: Row) -> str:
        return str(row["thread_id"])

    def _context(self, owner: str) -> str:
        return f"{self.kind}:{owner}"

    def _alone(self, owner: str) -> asyncio.Lock:
        # Whoever waits for a lock holds it, so that it goes with the last of them.
        return self._locks.setdefault(owner, asyncio.Lock())

    def _known(self, owner: str) -> Sealer | None:
        sealer = self._sealers.get(owner)
        if sealer is not None:
            self._sealers.move_to_end(owner)
        return sealer

    async def _read(self, owner: str) -> Sealer | None:
        began = self._forgotten
        rows = await self._db.all(self.sql["read"], self._columns(owner))
        if not rows:
            return None
        return self._keep(owner, await self._unwrapped(owner, rows), began)

    async def _unwrapped(self, owner: str, rows: Sequence[Row]) -> Sealer:
        context = self._context(owner)
        keys = {row["generation"]: await self._ring.unwrap(row["wrapped"], context=context) for row in rows}
        return Sealer(keys, born=rows[0].get("born", 0))

    def _keep(self, owner: str, sealer: Sealer, began: int) -> Sealer:
        if began == self._forgotten:  # else this may be what was to be forgotten
            self._sealers[owner] = sealer
            self._sealers.move_to_end(owner)
            while len(self._sealers) > self._kept:
                self._sealers.popitem(last=False)
        return sealer

    async def _add(self, owner: str, *, generation: int | None, thread: str) -> Sealer:
        began, key = self._forgotten, secrets.token_bytes(KEY_BYTES)
        wrapped = await self._ring.wrap(key, context=self._context(owner))
        values = {"thread": thread, **self._columns(owner), "generation": generation, "wrapped": wrapped}
        added = await self._db.one(self.sql["add"], values)
        if added and generation == 1:  # the first, and ours: there is nothing to read
            return self._keep(owner, Sealer({1: key}, born=added.get("born", 0)), began)
        sealer = await self._read(owner)
        if sealer is None:
            raise ThreadErased(thread)
        return sealer

    async def _after(self, owner: str, generation: int, batch: int) -> Sequence[Row]:
        return await self._db.all(self.sql["walk"], {**self._columns(owner), "generation": generation, "batch": batch})

    async def _rewrap(self, rows: Sequence[Row], failed: dict[str, KeyringError]) -> int:
        # A ring may read a file, or ask a service, to say which master key is the current one.
        stale = await asyncio.to_thread(lambda: [row for row in rows if not self._ring.is_current(row["wrapped"])])
        anew: list[tuple[Row, bytes]] = []
        for row in stale:
            if len(failed) > _TOLERATED:
                break
            owner = self._owner(row)
            context = self._context(owner)
            try:
                key = await self._ring.unwrap(row["wrapped"], context=context)
                anew.append((row, await self._ring.wrap(key, context=context)))
            except KeyringError as error:
                failed[owner] = error
        return len(await self._db.all(self.sql["rewrap"], self._lists(anew))) if anew else 0

    def _lists(self, anew: Sequence[tuple[Row, bytes]]) -> dict[str, list[Any]]:
        owners = [self._columns(self._owner(row)) for row, _ in anew]
        return {
            **{f"{name}s": [one[name] for one in owners] for name in owners[0]},
            "generations": [row["generation"] for row, _ in anew],
            "was": [row["wrapped"] for row, _ in anew],
            "now": [wrapped for _, wrapped in anew],
        }


class SubjectKeys(KeyTable):
    """The data keys of subjects, which end with them: whoever comes back gets another one. Owners: `subject_owner`."""

    kind = "subject"
    table = "subject_key"
    sql: Mapping[str, bytes] = {
        "read": _SQL["read_subject_keys"],
        "add": _SQL["add_subject_keys"],
        "walk": _SQL["walk_subject_keys"],
        "rewrap": _SQL["rewrap_subject_keys"],
        "count": _SQL["count_subject_keys"],
    }

    def _columns(self, owner: str) -> dict[str, str]:
        tenant, subject = json.loads(owner) if owner else ("", "")
        return {"tenant": tenant, "subject": subject}

    def _owner(self, row: Row) -> str:
        return subject_owner(row["tenant"], row["subject"])


class DataKeys(KeyTable):
    """The data keys of threads, beside those of subjects.

    Attributes:
        subjects: Those of subjects.
    """

    def __init__(self, database: Database, keyring: Keyring, *, kept: int = _KEPT) -> None:
        super().__init__(database, keyring, kept=kept)
        self.subjects = SubjectKeys(database, keyring, kept=kept)
        self._told = set[tuple[str, str]]()

    @asynccontextmanager
    async def openings(self, threads: Iterable[str], *, once: bool = False) -> AsyncGenerator[Mapping[str, Sealer]]:
        """The sealers of several threads at once, by thread, to read with. Errors as `opening`.

        Args:
            threads: Their ids.
            once: Tell of a refusal once in this process, as lists are read again and again.
        """
        failed: list[str] = []
        try:
            yield await self.sealers(threads, failed)
        except (SealBroken, KeyringError) as error:
            thread = error.place[1] if isinstance(error, SealBroken) else next(iter(failed), "")
            if not once or (thread, error.message) not in self._told:
                await self._note(error, thread, thread)
            if once:
                self._told.add((thread, error.message))
            raise

    async def rewrap(self, batch: int = 500) -> int:
        """Wrap anew what the current master key does not wrap. It may be cut off and called again, and others may work.

        Args:
            batch: How many data keys are looked at at once.

        Returns:
            How many data keys it has wrapped anew.

        Raises:
            KeyringError: some could not be; the message names their owners, and says whether the others were.
        """
        failed = dict[str, KeyringError]()
        done = await self.wrap_anew(batch, failed) + await self.subjects.wrap_anew(batch, failed)
        if failed:
            raise _left(done, failed, everything=len(failed) <= _TOLERATED)
        return done

    async def probe(self) -> None:
        """Unwrap a data key, so that a lost master key is said at the start, not at the first read.

        Raises:
            KeyringError: none of the first ones of threads, or of subjects, can be unwrapped; a single one may have
                been damaged.
        """
        if lost := await self.lost() or await self.subjects.lost():
            raise lost

    async def count(self) -> dict[str, int]:
        """How many data keys each master key wraps, by its id; under `` those that are no envelopes."""
        counted: dict[str, int] = {}
        for row in [*await self.counted(), *await self.subjects.counted()]:
            master = _master(row["head"])
            counted[master] = counted.get(master, 0) + row["keys"]
        return counted

    async def sealers(self, threads: Iterable[str], failed: list[str] | None = None) -> dict[str, Sealer]:
        """The same, and nobody is told of a refusal.

        Args:
            threads: Their ids.
            failed: Gets the thread whose data key cannot be unwrapped.
        """
        names = dict.fromkeys(threads)
        began, missing = self._forgotten, [one for one in names if one not in self._sealers]
        found = {one: self._sealers[one] for one in names if one in self._sealers}
        rows = await self._db.all(_SQL["read_threads_keys"], {"threads": missing}) if missing else ()
        held = {thread: list(mine) for thread, mine in groupby(rows, key=lambda row: row["thread_id"])}
        broken: list[tuple[str, BaseException]] = []
        unwrapping = (self._unwrapped(thread, mine) for thread, mine in held.items())
        for thread, sealer in zip(held, await asyncio.gather(*unwrapping, return_exceptions=True), strict=True):
            if isinstance(sealer, BaseException):
                broken.append((thread, sealer))
            else:  # one that came in meanwhile may have a newer key
                found[thread] = self._sealers.get(thread) or self._keep(thread, sealer, began)
        for thread, error in broken:
            if failed is not None:
                failed.append(thread)
            raise error
        return {one: found.get(one) or await self._nothing(one) for one in names}

    async def _nothing(self, owner: str) -> Sealer:
        row = await self._db.one(_SQL["is_erased"], {"thread": owner})
        return _Nothing(self.kind, is_erased=bool(row and row["erased"]))


def subject_owner(tenant: str, subject: str) -> str:
    """Names a subject in the table of their keys: no two read the same."""
    return canonical([tenant, subject])


class _Nothing(Sealer):
    """Opens nothing: there is no key, so whatever is kept was not sealed by us, or its key is destroyed."""

    def __init__(self, kind: str, *, is_erased: bool) -> None:
        self._kind, self.born, self.is_erased = kind, 0, is_erased

    def seal(self, plain: bytes, *place: str) -> bytes:
        if self.is_erased:
            raise ThreadErased(place[1])
        raise SealBroken(place, f"its {self._kind} has no key")

    def open(self, sealed: bytes, *place: str) -> bytes:
        raise SealBroken(place, f"its {self._kind} has no key")


def _left(done: int, failed: Mapping[str, KeyringError], *, everything: bool) -> KeyringError:
    owners = ", ".join(list(failed)[:_TOLERATED])
    more = f" and {len(failed) - _TOLERATED} more" if len(failed) > _TOLERATED else ""
    rest = "all others have the current master key" if everything else "the rest was not tried: run it again then"
    first = next(iter(failed.values())).message
    return KeyringError(f"{done} data keys were wrapped anew. Those of {owners}{more} could not be ({first}); {rest}")


def _master(head: bytes) -> str:
    try:
        # A head needs something that it is the head of.
        return split(head + b"\0", context="")[0].master
    except KeyringError:
        return ""
