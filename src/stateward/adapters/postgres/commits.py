"""Group commit: what the threads of a process hand over goes into the database in one statement, at barriers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Error, InterfaceError, OperationalError
from psycopg import errors as pg

from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Connection, Database, Row
from stateward.adapters.postgres.envelopes import is_unsealed, sealed
from stateward.adapters.postgres.lanes import Batch, Lane
from stateward.adapters.postgres.statements import statements
from stateward.adapters.postgres.texts import kept_json
from stateward.adapters.sealing import Sealer
from stateward.errors import (
    DatabaseError,
    KeyringError,
    NotDurable,
    StatewardError,
    ThreadBusy,
    ThreadErased,
    ThreadError,
)
from stateward.model.checkpoint import CheckpointKey, CheckpointRow, WriteRow

_SQL = statements("checkpoints")
_LINGER = 0.025  # seconds that a step may wait for company; nobody waits for it
_PATIENCE = 15.0  # seconds that a server may be away
_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
_GROUP, _LANES = 64, 2048
_ACCEPTED = 5.0  # seconds after which a checkpoint that nobody has handed over will not come
_AGAIN = (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable)
_GONE = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.IdleInTransactionSessionTimeout)
_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
Flight = tuple[Lane, Batch]
LOST = object()  # the batch was applied, and its answers were lost with the connection


class Commits:
    """The only writer of checkpoints, and of the transitions that belong to a step.

    A thread's rows keep their order. Different threads share commits, and one that is slow or refused does not hold
    up the others. All of it lives on the event loop that it is made on.

    Args:
        database: Where to.
        keys: What values are sealed with; None where nobody writes or reads any.
    """

    def __init__(self, database: Database, keys: DataKeys | None = None) -> None:
        self._db, self._keys = database, keys
        self._loop = asyncio.get_running_loop()
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._ready: OrderedDict[str, Lane] = OrderedDict()
        self._wake = asyncio.Event()
        self._connection: Connection | None = None
        self._alone: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(max(1, database.pool.max_size // 2))  # slow threads leave connections to others
        self._worker: asyncio.Task[None] | None = None

    @property
    def keys(self) -> DataKeys:
        """What values are sealed with.

        Raises:
            KeyringError: there is no key ring.
        """
        if self._keys is None:
            raise KeyringError("what a thread holds is sealed, and this runtime has no key ring")
        return self._keys

    def lane(self, thread: str) -> Lane:
        """The thread's lane."""
        lane = self._lanes.get(thread)
        if lane is None:
            lane = self._lanes[thread] = Lane(thread, self._loop)
            self._drop_idle()
        self._lanes.move_to_end(thread)
        return lane

    async def put(self, row: CheckpointRow, *, urgent: bool) -> None:
        """Take a checkpoint; returns when it is durable, or when the run has visibly moved on.

        Args:
            row: The checkpoint.
            urgent: Do not wait for company, as at the end of a run.

        Raises:
            ThreadBusy: another run has moved the thread on.
            ThreadErased: the thread was deleted.
            DatabaseError: the database did not take it.
        """
        lane = await self._sealed_lane(row.key.thread)
        hold = lane.put(row)
        self._schedule(lane, urgent=urgent)
        await asyncio.shield(hold)

    async def write(self, key: CheckpointKey, rows: tuple[WriteRow, ...], *, urgent: bool, asks: bool = False) -> None:
        """Take a task's writes; where they are urgent, as an interrupt is, returns when they are durable.

        Args:
            asks: They ask people something, who could not answer on a checkpoint that is not the head any more.
        """
        lane = await self._sealed_lane(key.thread)
        if asks and lane.knows(key.id):
            lane.follow(key.id)
        lane.write(key, rows)
        self._schedule(lane, urgent=urgent)
        if urgent:
            await self.barrier(key.thread)

    def transit(self, thread: str, what: dict[str, Any], *, urgent: bool = False) -> asyncio.Future[Any]:
        """Take one of the runtime's own transitions; await the future for the database's answer."""
        lane = self.lane(thread)
        answer = lane.reserve(what) if what["do"] == "reserve" else lane.transit(what)
        self._schedule(lane, urgent=urgent)
        return answer

    def erased(self, thread: str) -> None:
        """The thread was deleted: whatever a run of this process still hands over is refused."""
        lane = self.lane(thread)
        lane.fail(ThreadErased(thread))
        lane.heal()
        lane.sealer = None

    def owned(self, thread: str, action: str, answer: asyncio.Future[Any]) -> None:
        """A receipt has arrived: if another worker owns the effect by now, this run does not go on."""
        if not answer.cancelled() and answer.exception() is None and answer.result() not in ("settled", LOST):
            self.lane(thread).fail(ThreadError(f"the effect of action {action} was taken over by another worker"))

    async def barrier(self, thread: str) -> None:
        """Return when all that the thread has handed over is durable.

        Raises:
            ThreadBusy, ThreadErased, DatabaseError: it is not, and none of what follows from it is.
        """
        lane = self._lanes.get(thread)
        if lane is None:
            return
        lane.refuse_broken()
        if not lane.pending.empty:
            self._urge(lane)
            await asyncio.shield(lane.pending.done)
        elif lane.flying is not None:
            await asyncio.shield(lane.flying.done)

    async def settled(self, thread: str | None) -> None:
        """The same for a read, of one thread or of all: what failed was told to the run, and does not stop a reader."""
        for one in list(self._lanes) if thread is None else [thread]:
            with contextlib.suppress(StatewardError):
                await self.barrier(one)

    async def told(self, thread: str) -> None:
        """The same for a read of the runtime's own rows: checkpoints that are on their way are not waited for."""
        lane = self._lanes.get(thread)
        if lane is not None and (lane.pending.transits or (lane.flying is not None and lane.flying.transits)):
            await self.settled(thread)

    async def follow(self, thread: str, checkpoint: str) -> None:
        """Let the next commit of the thread happen only while it stands on this checkpoint.

        Raises:
            NotDurable: no saver of this runtime was handed the checkpoint.
            ThreadBusy: the thread stands elsewhere by now.
        """
        lane = self.lane(thread)
        deadline = self._loop.time() + _ACCEPTED
        while not lane.knows(checkpoint):
            lane.refuse_broken()
            now = self._loop.time()
            if not lane.idle:  # LangGraph hands it over when the one before it is in: a slow server is waited for
                deadline = now + _ACCEPTED
            if now >= deadline or not checkpoint:
                raise NotDurable(
                    "the state that this action follows from is not in the database: compile the graph with the "
                    "runtime's checkpointer and do not run it with durability='exit'"
                )
            await asyncio.wait([lane.watch()], timeout=_ACCEPTED / 10)
        lane.follow(checkpoint)

    async def close(self) -> None:
        """Commit what is left, and stop."""
        await self.settled(None)
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        for task in list(self._alone):
            await asyncio.wait([task])
        if self._connection is not None:
            await self._connection.close()

    async def _sealed_lane(self, thread: str) -> Lane:
        lane = self.lane(thread)
        if lane.sealer is None:
            lane.arriving += 1
            try:
                lane.sealer = await self.keys.make(thread)
            finally:
                lane.arriving -= 1
        return lane

    def _schedule(self, lane: Lane, *, urgent: bool) -> None:
        if urgent:
            self._urge(lane)
        elif lane.timer is None and not lane.urgent:
            lane.timer = self._loop.call_later(_LINGER, self._urge, lane)

    def _urge(self, lane: Lane) -> None:
        if lane.pending.empty:
            return
        lane.urgent = True
        if lane.flying is None:
            self._ready[lane.thread] = lane
            self._start()

    def _start(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = self._loop.create_task(self._work(), name="stateward commits")
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready:
                lanes = [self._ready.popitem(last=False)[1] for _ in range(min(_GROUP, len(self._ready)))]
                flights = [(lane, lane.take()) for lane in lanes]
                try:
                    await self._commit(flights)
                except Exception as error:  # nobody may wait for ever because of a mistake of ours
                    for flight in flights:
                        self._fail(flight, error)

    async def _commit(self, flights: Sequence[Flight]) -> None:
        """Commit some threads together; those that cannot be had now go on by themselves."""
        for flight in [one for one in flights if _needs_key(*one)]:
            self._by_itself(flight)
        flights = [one for one in flights if not _needs_key(*one)]
        if not flights:
            return
        try:
            found = await self._patiently(flights, wait=False)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if len(flights) == 1:
                self._fail(flights[0], error)
            else:  # one of them is at fault, and the others need not suffer
                for flight in flights:
                    self._by_itself(flight)
            return
        for flight, row in zip(flights, found, strict=True):
            if row["status"] == "busy":
                self._by_itself(flight)
            else:
                self._settle(flight, row)

    def _by_itself(self, flight: Flight) -> None:
        async def commit() -> None:
            try:
                if _needs_key(*flight):
                    flight[0].sealer = await self.keys.make(flight[0].thread)
                found = await self._patiently([flight], wait=True)
                self._settle(flight, found[0])
            except Exception as error:
                self._fail(flight, error)

        task = self._loop.create_task(commit(), name=f"stateward commit {flight[0].thread}")
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    def _settle(self, flight: Flight, row: Row) -> None:
        lane, batch = flight
        if lane.flying is not batch:
            return  # the thread was deleted meanwhile, and whoever waited was told
        match row["status"]:
            case "open" | "ended" | "done":
                lane.ended = lane.ended or row["status"] == "ended"
                answers = [LOST] * len(batch.transits) if row["status"] == "done" else row["answers"]
                for (_, waiting), answer in zip(batch.transits, answers, strict=True):
                    if not waiting.done():
                        waiting.set_result(answer)
                lane.landed()
                if lane.urgent:
                    self._urge(lane)
            case "erased":
                lane.fail(ThreadErased(lane.thread))
            case _:
                lane.fail(ThreadBusy(lane.thread))

    def _fail(self, flight: Flight, error: Exception) -> None:
        lane, batch = flight
        if lane.flying is not batch:
            return
        if isinstance(error, StatewardError):
            lane.fail(error)
            return
        failure = DatabaseError(
            f"thread {lane.thread!r} could not be committed, and nothing that follows was done: {str(error).strip()}"
        )
        failure.__cause__ = error
        lane.fail(failure)

    async def _patiently(self, flights: Sequence[Flight], *, wait: bool) -> Sequence[Row]:
        """Send the batches; a server that is away is waited for, and a batch that arrived is not applied twice."""
        values = document(flights, wait=wait)
        deadline, tries = self._loop.time() + _PATIENCE, 0
        while True:
            try:
                return await (self._send_beside(values) if wait else self._send(await self._own(), values))
            except (OperationalError, InterfaceError, pg.InternalError_) as error:
                if not _passes(error) or self._loop.time() > deadline:
                    raise
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    async def _send_beside(self, values: Mapping[str, Any]) -> Sequence[Row]:
        async with self._few, self._db.pool.connection() as connection:
            return await self._send(connection, values)

    async def _send(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Row]:
        rows = await (await connection.execute(_SQL["flush"], values)).fetchall()
        return sorted(rows, key=lambda row: row["place"])

    async def _own(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await self._db.connect()
        return self._connection

    def _drop_idle(self) -> None:
        for thread in list(self._lanes)[: max(0, len(self._lanes) - _LANES)]:
            if self._lanes[thread].idle:
                del self._lanes[thread]


class _Document:
    """The batches of some threads as `stateward.flush` takes them: names as JSON, sealed bodies beside it."""

    def __init__(self, *, wait: bool) -> None:
        self.bodies: list[bytes] = []
        self._wait = wait
        self._lists: dict[str, list[list[Any]]] = {}

    def text(self) -> str:
        """The document."""
        return kept_json(_ENCODE({"wait": self._wait, **self._lists}))

    def add(self, place: int, lane: Lane, batch: Batch) -> None:
        """What is on its way of one thread."""
        whats = [sealed(what, lane.sealer) for what, _ in batch.transits]
        self._append("threads", lane.thread, batch.id, *([whats] if whats else []))
        for ns, move in batch.moves.items():
            self._append("heads", place, ns, move.was, move.now, move.fork)
        for ns, at in batch.follows:
            self._append("follows", place, ns, at)
        self._checkpoints(place, batch, lane.sealer)
        self._values(place, lane.thread, batch, lane.sealer)
        self._writes(place, lane.thread, batch, lane.sealer)

    def _checkpoints(self, place: int, batch: Batch, sealer: Sealer) -> None:
        for row in batch.checkpoints.values():
            key = row.key
            body = self._body(sealer.seal(row.body, *checkpoint_place(key.thread, key.ns, key.id, row.parent)))
            self._append("checkpoints", place, key.ns, key.id, row.parent, row.run, body)

    def _values(self, place: int, thread: str, batch: Batch, sealer: Sealer) -> None:
        for (ns, channel, version), row in batch.values.items():
            where = value_place(thread, ns, channel, version, row.root, row.ordinal)
            body = self._body(sealer.seal(row.body, *where))
            self._append("values", place, ns, channel, version, row.root, row.ordinal, body)

    def _writes(self, place: int, thread: str, batch: Batch, sealer: Sealer) -> None:
        for (ns, at, task, idx), row in batch.writes.items():
            where = write_place(thread, ns, at, task, idx, row.path, row.channel)
            body = self._body(sealer.seal(row.body, *where))
            self._append("writes", place, ns, at, task, idx, row.path, row.channel, body)

    def _append(self, name: str, *row: Any) -> None:
        self._lists.setdefault(name, []).append(list(row))

    def _body(self, sealed: bytes) -> int:
        self.bodies.append(sealed)
        return len(self.bodies)


def document(flights: Sequence[Flight], *, wait: bool) -> dict[str, Any]:
    """What `stateward.flush` is given for some threads."""
    doc = _Document(wait=wait)
    for place, (lane, batch) in enumerate(flights):
        doc.add(place, lane, batch)
    return {"doc": doc.text(), "bodies": doc.bodies}


def _needs_key(lane: Lane, batch: Batch) -> bool:
    """Whether its thread has no sealer here yet, and something of it is sealed first."""
    return lane.sealer is None and any(is_unsealed(what) for what, _ in batch.transits)


def checkpoint_place(thread: str, ns: str, id_: str, parent: str | None) -> tuple[str, ...]:
    """What a checkpoint's body is bound to."""
    return "checkpoint", thread, ns, id_, parent or ""


def value_place(thread: str, ns: str, channel: str, version: str, root: str, ordinal: int) -> tuple[str, ...]:
    """What a channel's value is bound to."""
    return "checkpoint_value", thread, ns, channel, version, root, str(ordinal)


def write_place(thread: str, ns: str, at: str, task: str, idx: int, path: str, channel: str) -> tuple[str, ...]:
    """What a task's write is bound to."""
    return "checkpoint_write", thread, ns, at, task, str(idx), path, channel


def _passes(error: Error) -> bool:
    """Whether the server may take the same batch a moment later."""
    if isinstance(error, (*_AGAIN, *_GONE)):
        return True
    # Without an SQLSTATE it is the connection that failed, not the statement.
    return error.sqlstate is None or error.sqlstate.startswith("08")
