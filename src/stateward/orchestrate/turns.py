"""What this process knows of the turns that its own planners have just made, so that it need not ask the database."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from stateward.orchestrate.reading import Readings
from stateward.ports import ActionRow

_REMEMBERED = 1024  # threads
_AT_ONCE = 32  # turns of a thread: those of agents within agents, and of steps that act


@dataclass(slots=True)
class Known:
    """One turn.

    Attributes:
        new: A planner of this run made it, so nobody can have judged it before.
        rows: Its actions, as they were judged here or seen at the desk while nobody is asked.
        judging: One of several calls that run at once judges all of them.
        decided: Whether the call that asks people for all of them has come to an end.
        acting: By call, held while it is performed: a model may give two calls of a turn one id.
        cleared: Actions that were held against the history a moment ago, and when, by the loop's clock.
    """

    new: bool = False
    rows: list[ActionRow] | None = None
    judging: asyncio.Lock = field(default_factory=asyncio.Lock)
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    acting: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])
    cleared: dict[str, float] = field(default_factory=dict[str, float])


class Rounds:
    """Counts the interrupts of a running task, whose answers are positional.

    Attributes:
        at: The number of the next one.
    """

    def __init__(self) -> None:
        self.at = 0

    def use(self) -> int:
        """The number of the interrupt that is raised now."""
        self.at += 1
        return self.at - 1


class Turns:
    """The turns of the runs that go on in this process.

    It is never authority: the database refuses what was not judged, and what was judged otherwise. It forgets a thread
    whenever the thread is read, as at the start of a run.

    Attributes:
        readings: Where what the threads work with comes from.
    """

    def __init__(self) -> None:
        self._threads: OrderedDict[str, OrderedDict[str, Known]] = OrderedDict()
        self._answered: set[str] = set()
        self.readings = Readings()

    def begin(self, thread: str, turn: str) -> None:
        """A planner of this run has just made this turn."""
        self.of(thread, turn).new = True

    def of(self, thread: str, turn: str) -> Known:
        """What is known of a turn."""
        turns = self._threads.setdefault(thread, OrderedDict())
        self._threads.move_to_end(thread)
        while len(self._threads) > _REMEMBERED:
            self._threads.popitem(last=False)
        known = turns.get(turn)
        if known is None:
            known = turns[turn] = Known()
            while len(turns) > _AT_ONCE:
                turns.popitem(last=False)
        return known

    def forget(self, thread: str) -> None:
        """The thread is read anew; whoever acts on it may be another process."""
        self._threads.pop(thread, None)
        self._answered.discard(thread)
        self.readings.stale(thread)

    def is_fresh(self, thread: str) -> bool:
        """Whether nothing has been done in the thread since it was read: something may wait from an earlier run."""
        return thread not in self._threads

    def answered(self, thread: str) -> None:
        """The run has its answer, and the policy keeps none of the history behind it."""
        self._answered.add(thread)

    def take_answered(self, thread: str) -> bool:
        """Whether the run has its answer and its history may go; asked once."""
        found = thread in self._answered
        self._answered.discard(thread)
        return found
