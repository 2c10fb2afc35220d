"""Which thread a run is: the unfinished one of the same base, which goes on, or the next number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from stateward.blocking import Runtime
from stateward.cli.workflows import Loaded, Start
from stateward.errors import ToolInputError
from stateward.model.principal import Principal
from stateward.model.thread import ThreadRecord
from stateward.model.values import Json, canonical
from stateward.orchestrate.workflow import Graph

_UNFINISHED = ("open", "waiting")


@dataclass(frozen=True, kw_only=True)
class Session:
    """A thread, and the graph that runs it.

    Attributes:
        record: The thread; None before it is opened.
    """

    runtime: Runtime
    graph: Graph
    loaded: Loaded
    thread: str
    record: ThreadRecord | None

    @property
    def config(self) -> RunnableConfig:
        """The config that runs the thread."""
        return self.runtime.config(self.thread)

    def snapshot(self) -> StateSnapshot:
        """Where the thread stands."""
        return self.graph.get_state(self.config)

    @property
    def unfinished(self) -> bool:
        """Whether there is something left to do: by its state, or as a crash came before the first state."""
        if self.record is None or self.record.status == "abandoned":
            return False
        # The last status is written before the last checkpoint: the tasks tell the rest.
        return self.record.status in _UNFINISHED or bool(self.snapshot().tasks)


def session_for(runtime: Runtime, graph: Graph, loaded: Loaded, start: Start, *, thread: str | None) -> Session:
    """The session of a run.

    Args:
        start: What the run starts from; its base id gives the thread's id.
        thread: Exactly this thread, instead of one by number.

    Raises:
        ToolInputError: the unfinished thread was started with another input.
    """
    records = {record.facts.thread: record for record in runtime.threads()}
    latest = thread or _numbered(start.thread, _latest(start.thread, records) or 1)
    session = _session(runtime, graph, loaded, latest, records)
    if session.unfinished:
        _refuse_other_input(session, start)
    elif session.record is not None and thread is None:
        following = _numbered(start.thread, _latest(start.thread, records) + 1)
        session = _session(runtime, graph, loaded, following, records)
    return session


def open_thread(session: Session, start: Start, *, requester: str) -> None:
    """Open the session's thread for whom it is.

    Raises:
        ThreadMismatch: it was opened for someone or something else.
    """
    flow = session.loaded.flow
    session.runtime.thread(
        session.thread,
        principal=Principal(flow.principal, kind="agent"),
        purpose=flow.purpose,
        subject=start.subject,
        requester=requester,
        graph=flow.name,
    )


def never_started(session: Session) -> bool:
    """Whether a crash came before the thread's first checkpoint: it is opened, and has no state."""
    return session.snapshot().created_at is None


def is_first(runtime: Runtime, record: ThreadRecord) -> bool:
    """Whether no earlier run of this workflow has done the same subject: only the first one saves the work."""
    facts = record.facts
    return not any(
        other.status == "answered" and other.facts.graph == facts.graph and other.created_at < record.created_at
        for other in runtime.threads(subject=facts.subject)
    )


def _session(
    runtime: Runtime, graph: Graph, loaded: Loaded, thread: str, records: Mapping[str, ThreadRecord]
) -> Session:
    return Session(runtime=runtime, graph=graph, loaded=loaded, thread=thread, record=records.get(thread))


def _numbered(base: str, number: int) -> str:
    return f"{base}.{number}"


def _latest(base: str, threads: Iterable[str]) -> int:
    pattern = re.compile(re.escape(base) + r"\.([1-9][0-9]*)")
    found = [pattern.fullmatch(thread) for thread in threads]
    return max((int(match[1]) for match in found if match), default=0)


def _refuse_other_input(session: Session, start: Start) -> None:
    was = _first_input(session)
    if was is None:
        return
    # Messages get ids of their own, so they cannot be compared.
    changed = [
        name
        for name in start.input
        if name != "messages" and canonical(_plain(was.get(name))) != canonical(_plain(start.input[name]))
    ]
    if changed:
        said = "; ".join(f"{name} was {was.get(name)!r}, is {start.input[name]!r} now" for name in changed)
        raise ToolInputError(
            f"thread {session.thread} is not finished and was started with other input ({said}). Finish it "
            f"with `stateward resume {session.thread}`, or start another one with `--thread ID`"
        )


def _first_input(session: Session) -> dict[str, Any] | None:
    """The state as it was before the first step; None where a crash came before that."""
    first = session.graph.get_state_history(session.config, filter={"step": 0})
    return next((dict(snapshot.values) for snapshot in first), None)


def _plain(value: object) -> Json | str:
    try:
        canonical(value)
    except (TypeError, ValueError):
        return str(value)
    return value  # pyright: ignore[reportReturnType]
