"""A thread's lane: what its run has handed over and is not in the database yet, in order. No I/O."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from stateward.errors import ThreadBusy
from stateward.model.checkpoint import CheckpointKey, CheckpointRow, ValueRow, WriteRow
from stateward.model.thread import Spent

Place = tuple[str, str]  # namespace and checkpoint id
_REMEMBERED = 512


@dataclass(slots=True)
class Move:
    """A namespace's head moves: from where, to where, and whether it is declared to come from elsewhere."""

    was: str | None
    now: str
    fork: bool


@dataclass(slots=True)
class Batch:
    """What is committed together.

    Attributes:
        id: A batch whose answer was lost is recognised by it.
        done: Done when it is in the database, or failed.
        moves: Where namespaces go, each from where it must stand for the batch to be let in.
        follows: Checkpoints that must be heads of their namespaces when it is in.
        transits: The runtime's own transitions in order, each with who waits for its answer.
    """

    done: asyncio.Future[None]
    id: str = field(default_factory=lambda: str(uuid4()))
    moves: dict[str, Move] = field(default_factory=dict[str, Move])
    follows: set[Place] = field(default_factory=set[Place])
    checkpoints: dict[Place, CheckpointRow] = field(default_factory=dict[Place, CheckpointRow])
    values: dict[tuple[str, str, str], ValueRow] = field(default_factory=dict[tuple[str, str, str], ValueRow])
    writes: dict[tuple[str, str, str, int], WriteRow] = field(default_factory=dict[tuple[str, str, str, int], WriteRow])
    transits: list[tuple[dict[str, Any], asyncio.Future[Any]]] = field(
        default_factory=list[tuple[dict[str, Any], "asyncio.Future[Any]"]]
    )

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.checkpoints or self.writes or self.transits)

    def put(self, row: CheckpointRow) -> None:
        """A checkpoint with what is new in its channels."""
        ns = row.key.ns
        move = self.moves.get(ns)
        if move is None:
            self.moves[ns] = Move(was=row.parent, now=row.key.id, fork=row.fork)
        else:
            move.now = row.key.id
        self.checkpoints[(ns, row.key.id)] = row
        for value in row.values:
            self.values[(ns, value.channel, value.version)] = value

    def write(self, key: CheckpointKey, rows: tuple[WriteRow, ...]) -> None:
        """Writes of a task: an ordinary one stays as it was first, a special one is replaced."""
        for row in rows:
            place = (key.ns, key.id, row.task, row.idx)
            if row.idx < 0 or place not in self.writes:
                self.writes[place] = row


class Lane:
    """One thread's way into the database.

    Attributes:
        pending: What was handed over and is not on its way.
        flying: What is on its way.
        arriving: How many hand something over and wait for the thread's key.
        moves: How often it was moved: by a checkpoint that it took, or by one that landed.
        spent: What the thread has used up, where this process knows; `seconds` as of `spent_at` on the loop's clock.
        ended: Whether the thread is known to be abandoned, which it stays.
        sealer: What its values are sealed with, from the first of them on.
    """

    def __init__(self, thread: str, loop: asyncio.AbstractEventLoop) -> None:
        self.thread, self._loop = thread, loop
        self.pending = self._batch()
        self.flying: Batch | None = None
        self.error: Exception | None = None
        self.urgent = False
        self.timer: asyncio.TimerHandle | None = None
        self.spent: Spent | None = None
        self.spent_at = 0.0
        self.ended = False
        self.sealer: Any = None
        self._refused = ""
        self.arriving = 0
        self.moves = 0
        self._heads: dict[str, str] = {}
        self._seen: OrderedDict[str, str] = OrderedDict()  # namespaces by checkpoint
        self._holds: dict[Place, asyncio.Future[None]] = {}
        self._passed: set[Place] = set()
        self._watchers: list[asyncio.Future[None]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing of it is under way."""
        return self.pending.empty and self.flying is None and not self._holds and not self.arriving

    def put(self, row: CheckpointRow) -> asyncio.Future[None]:
        """Take a checkpoint; the future is done when it is durable, or when the run has visibly moved on.

        Raises:
            ThreadBusy: another run of this process has moved the thread on.
        """
        self.refuse_broken()
        head = self.head(row.key.ns)
        if not row.fork and head is not None and head != row.parent:
            self._refused = row.key.id
            self._notice((row.key.ns, row.key.id))
            raise ThreadBusy(self.thread)
        if row.parent is not None:
            self._release((row.key.ns, row.parent))
        self.moves += 1
        self.pending.put(row)
        self._heads[row.key.ns] = row.key.id
        self._notice((row.key.ns, row.key.id))
        return self._hold((row.key.ns, row.key.id))

    def write(self, key: CheckpointKey, rows: tuple[WriteRow, ...]) -> None:
        """Take a task's writes."""
        self.refuse_broken()
        if any(row.idx >= 0 for row in rows):
            self._release((key.ns, key.id))
            if not self.knows(key.id):
                self._passed.add((key.ns, key.id))  # LangGraph hands a checkpoint over after the one before it
        self.pending.write(key, rows)

    def transit(self, what: dict[str, Any]) -> asyncio.Future[Any]:
        """Take one of the runtime's own transitions; the future has the database's answer."""
        self.refuse_broken()
        answer: asyncio.Future[Any] = quiet(self._loop.create_future())
        self.pending.transits.append((what, answer))
        return answer

    def reserve(self, what: dict[str, Any]) -> asyncio.Future[Any]:
        """Take a reservation: with the verdict that it follows from, where both go into one commit."""
        for at, (verdict, _) in enumerate(self.pending.transits):
            if verdict["do"] == "judge" and _is_permit(verdict["row"], what):
                answer = self.transit(verdict | {"reserve": what})
                self.pending.transits[at] = self.pending.transits.pop()
                return answer
        return self.transit(what)

    def follow(self, checkpoint: str) -> None:
        """Commit what is pending only while this checkpoint is the head of its namespace.

        Raises:
            ThreadBusy: it is not.
        """
        ns = self._seen[checkpoint]
        if checkpoint == self._refused or (self.head(ns) or checkpoint) != checkpoint:
            raise ThreadBusy(self.thread)
        self.pending.follows.add((ns, checkpoint))

    def loaded(self, place: Place, *, head: bool, moves: int) -> None:
        """A checkpoint was read from the database.

        Args:
            place: Which one.
            head: Whether the head was asked for.
            moves: How often the lane had been moved when it was asked; what is older than a move is no news.
        """
        ns, checkpoint = place
        if head and moves == self.moves and not self._is_moving(ns):
            if not ns and self._heads.get(ns) != checkpoint:
                self.spent = None  # another process may have moved the thread on, and used up more of its budgets
            self._heads[ns] = checkpoint
        self._notice(place)

    def knows(self, checkpoint: str) -> bool:
        """Whether this process has seen the checkpoint."""
        return checkpoint in self._seen

    def head(self, ns: str) -> str | None:
        """Where the namespace stands or will stand, as far as is known here."""
        return self._heads.get(ns)

    def watch(self) -> asyncio.Future[None]:
        """Done when the next checkpoint is seen."""
        watcher: asyncio.Future[None] = self._loop.create_future()
        self._watchers.append(watcher)
        return watcher

    def take(self) -> Batch:
        """What is pending leaves."""
        self.urgent = False
        self.flying, self.pending = self.pending, self._batch()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return self.flying

    def landed(self) -> None:
        """What was on its way is in the database."""
        assert self.flying is not None
        batch, self.flying = self.flying, None
        self.moves += bool(batch.moves)
        for place in batch.checkpoints:
            self._release(place)
        _finish(batch.done)

    def fail(self, error: Exception) -> None:
        """What was on its way is not, and what came after it follows from it: none of it is kept."""
        self.error = error
        for batch in (self.flying, self.pending):
            for waiting in _waiting(batch):
                if not waiting.done():
                    waiting.set_exception(error)
        for hold in self._holds.values():
            if not hold.done():
                hold.set_exception(error)
        self._holds.clear()
        self.flying, self.pending = None, self._batch()
        self.reset()

    def reset(self) -> None:
        """Forget what this process knew of the thread; it is read again."""
        self._heads.clear()
        self._seen.clear()
        self._passed.clear()
        self.spent = None

    def heal(self) -> None:
        """The thread is read again: what failed before is told, and over."""
        self.error = None

    def refuse_broken(self) -> None:
        """Raise what went wrong with what was handed over before, until the thread is read again."""
        if self.error is not None:
            raise self.error

    def _is_moving(self, ns: str) -> bool:
        return any(batch is not None and ns in batch.moves for batch in (self.pending, self.flying))

    def _notice(self, place: Place) -> None:
        ns, checkpoint = place
        self._seen[checkpoint] = ns
        self._seen.move_to_end(checkpoint)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            _finish(watcher)

    def _hold(self, place: Place) -> asyncio.Future[None]:
        hold: asyncio.Future[None] = quiet(self._loop.create_future())
        if place in self._passed:
            self._passed.discard(place)
            _finish(hold)
        else:
            self._holds[place] = hold
        return hold

    def _release(self, place: Place) -> None:
        hold = self._holds.pop(place, None)
        if hold is not None:
            _finish(hold)

    def _batch(self) -> Batch:
        return Batch(done=quiet(self._loop.create_future()))


def quiet(future: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """A future whose failure need not be looked at: the lane keeps it too, and raises it at the next step."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _is_permit(row: dict[str, Any], what: dict[str, Any]) -> bool:
    permitted = row["status"] == "permitted" and row["effect"] == "write"
    return permitted and (row["action_id"], row["arguments_digest"]) == (what["action"], what["digest"])


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _waiting(batch: Batch | None) -> Iterator[asyncio.Future[Any]]:
    if batch is not None:
        yield batch.done
        yield from (answer for _, answer in batch.transits)
