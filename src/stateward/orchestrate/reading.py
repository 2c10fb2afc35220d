"""What this process knows of where the things come from that its threads work with, so that judging need not ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, cast

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from pydantic import BaseModel

from stateward.model.provenance import Sighting
from stateward.verify.origin import Sightings

_REMEMBERED = 1024  # threads
_RUNNING: ContextVar[Doubt | None] = ContextVar("stateward.running", default=None)


@dataclass(slots=True)
class Doubt:
    """Whether a tool, while it ran, has asked a model or read what is untrusted: its result is then no better.

    Attributes:
        around: That of the tool that this one runs in, as a subagent's tools do.
    """

    around: Doubt | None
    raised: bool = False

    @classmethod
    @contextmanager
    def of_a_run(cls) -> Generator[Doubt]:
        """For a tool that runs in this block, whichever tasks and threads it uses."""
        doubt = cls(around=_RUNNING.get())
        token = _RUNNING.set(doubt)
        try:
            yield doubt
        finally:
            _RUNNING.reset(token)

    @staticmethod
    def rise() -> None:
        """The tools that are running here have a model's words, or untrusted content, in their hands."""
        doubt = _RUNNING.get()
        while doubt is not None:
            doubt.raised, doubt = True, doubt.around


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The input that a run was started with, as LangGraph handed it over before any node saw it.

    Attributes:
        source: Names it: the checkpoint that holds it.
        value: The input.
        by: The person whom LangGraph's server has verified; None where the application itself called the graph.
        is_verified: Whether whoever is asking is known: the application vouches for what it passes on.
    """

    source: str
    value: object
    by: str | None = None
    is_verified: bool = True


@dataclass(slots=True)
class Reading:
    """What one thread has come by. It only grows, and what another process has added is read at the start of a run.

    Attributes:
        fresh: Whether it was read in this run.
        labels: Each with the turn that brought it first.
        sightings: The texts that it has seen.
        given: The input of the run, until a step has taken it.
    """

    fresh: bool = False
    labels: dict[str, str] = field(default_factory=dict[str, str])
    sightings: Sightings = field(default_factory=Sightings)
    given: Given | None = None

    def join(self, labels: Mapping[str, str], sightings: Sequence[Sighting]) -> None:
        """Take what the database knows."""
        for label, turn in labels.items():
            self.labels.setdefault(label, turn)
        for one in sightings:
            self.sightings.add(one)
        self.fresh = True


class Readings:
    """The readings of the threads that this process works on."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, Reading] = OrderedDict()

    def of(self, thread: str) -> Reading:
        """A thread's, as far as it is known here."""
        reading = self._threads.setdefault(thread, Reading())
        self._threads.move_to_end(thread)
        while len(self._threads) > _REMEMBERED:
            self._threads.popitem(last=False)
        return reading

    def stale(self, thread: str) -> None:
        """The thread is read anew, as at the start of a run: another process may have added to it."""
        if thread in self._threads:
            self._threads[thread].fresh = False


def said(given: object, *, only_messages: bool) -> list[Any]:
    """What the person says in an input: the texts of human messages, and what else a workflow is started with.

    Args:
        given: A run's input.
        only_messages: Leave out everything but messages, as an agent's other channels are its own.
    """
    if isinstance(given, BaseModel):
        given = given.model_dump()
    elif is_dataclass(given) and not isinstance(given, type):
        given = asdict(given)
    if not isinstance(given, Mapping):
        return []
    parts = dict(cast("Mapping[str, Any]", given))
    words = _human(parts.pop("messages", None))
    return words if only_messages else [*words, parts]


def _human(messages: Any) -> list[str]:
    many = cast("list[Any]", messages if isinstance(messages, list | tuple) else [messages] if messages else [])
    try:
        known: list[BaseMessage] = convert_to_messages(many)
    except (ValueError, NotImplementedError, TypeError):
        return []  # the graph refuses it in its own words
    return [str(one.text) for one in known if isinstance(one, HumanMessage)]
