"""Run a workflow at the terminal: live progress, a stop at every question, and what came of it at the end."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.markup import escape

from stateward.audit.views import metrics, timeline
from stateward.blocking import Runtime
from stateward.cli.exits import DONE, FAILED, INTERRUPTED, WAITS, program
from stateward.cli.options import check_options, parse_options, usage
from stateward.cli.people import Approvers, os_user, suggested
from stateward.cli.progress import Progress
from stateward.cli.render import metrics_table, section, timeline_table
from stateward.cli.threads import Session, is_first, never_started, open_thread, session_for
from stateward.cli.workflows import Loaded, Start, load_workflow
from stateward.errors import ThreadErased, ThreadError, ToolInputError
from stateward.orchestrate.loops import blocking

_LOOKS = 3


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user said about a run besides the workflow's own options.

    Attributes:
        model: Another planner, such as `openai:gpt-5.1`.
        requester: Who asks for the work; the operating system's user where it is None.
        thread: Exactly this thread.
        approve_as: Who decides.
    """

    model: str | None = None
    requester: str | None = None
    thread: str | None = None
    approve_as: str | None = None


def run(name: str, args: list[str], wishes: Wishes) -> int:
    """`stateward run`: start a workflow, or go on where an unfinished run of the same base stands."""
    loaded = load_workflow(name)
    return _start(loaded, parse_options(args, loaded.cli.options), wishes)


def options_of(name: str) -> str:
    """The options of a workflow's own, for its help; nothing where no workflow is named."""
    if name == "--help":
        return ""
    return f"\nOptions of {name}:\n{usage(load_workflow(name).cli.options)}\n"


def demo(name: str, directory: Path, wishes: Wishes) -> int:
    """`stateward demo`: a run on sample data."""
    loaded = load_workflow(name)
    directory.mkdir(parents=True, exist_ok=True)
    options = check_options(loaded.cli.demo(directory), loaded.cli.options)
    return _start(loaded, options, wishes)


def resume(thread: str, workflow: str | None, wishes: Wishes) -> int:
    """`stateward resume`: go on with a thread that was decided, or that a crash cut off."""
    with Runtime.open(keep_running=True) as runtime:
        record = runtime.find_thread(thread)
        if record.is_erased:
            raise ThreadErased(thread)
        loaded = load_workflow(workflow or record.facts.graph)
        graph = loaded.flow.compile(runtime, planner=wishes.model)
        session = Session(runtime=runtime, graph=graph, loaded=loaded, thread=thread, record=record)
        if never_started(session):
            raise ToolInputError(f"thread {thread} was opened and never started: run the command that opened it again")
        console = Console()
        if not session.unfinished:
            console.print(f"{escape(thread)} is finished ({record.status}); nothing is left to do")
            return DONE
        _headline(console, session, "goes on")
        return _drive(console, session, wishes, None)


def _start(loaded: Loaded, options: dict[str, Any], wishes: Wishes) -> int:
    start = loaded.cli.prepare(options)
    console = Console()
    with Runtime.open(keep_running=True) as runtime:
        graph = loaded.flow.compile(runtime, planner=wishes.model)
        session = session_for(runtime, graph, loaded, start, thread=wishes.thread)
        if session.record is not None and not session.unfinished:
            raise ToolInputError(f"thread {session.thread} is finished ({session.record.status}): choose another")
        known = session.record.facts.requester if session.record else None
        open_thread(session, start, requester=wishes.requester or known or os_user())
        if session.record is None or never_started(session):
            _headline(console, session, "starts")
            return _drive(console, session, wishes, start)
        _headline(console, session, "is not finished and goes on")
        return _drive(console, session, wishes, None)


def _drive(console: Console, session: Session, wishes: Wishes, start: Start | None) -> int:
    with _told_how_to_go_on(session):
        people = Approvers(
            console=console,
            runtime=session.runtime,
            loaded=session.loaded,
            name=wishes.approve_as,
            interactive=sys.stdin.isatty() and sys.stdout.isatty(),
        )
        _stream(console, session, None if start is None else start.input)
        looks = 0
        while session.snapshot().tasks:
            decided = _decide_all(session, people)
            if decided is None:
                return _stopped(session, people)
            looks = 0 if decided else looks + 1
            if looks == _LOOKS:
                raise ThreadError(f"thread {session.thread!r} does not go on, though nothing is left to decide")
            _stream(console, session, None)
        return _ended(console, session)


def _decide_all(session: Session, people: Approvers) -> int | None:
    """How many questions were decided; None where one stays open."""
    decided = 0
    while pending := session.runtime.approvals(thread=session.thread):
        if not people.decide(pending[0]):
            return None
        decided += 1
    return decided


def _stream(console: Console, session: Session, given: Mapping[str, Any] | None) -> None:
    runtime, graph = session.runtime, cast("Any", session.graph)
    config, command = blocking(runtime.services.loop, runtime.inner.resumption(session.thread))
    with Progress(console) as progress:
        source: Any = dict(given) if given is not None else command
        # The synchronous stream ends a running step before an interrupt by Ctrl-C leaves it.
        streamed: Iterator[Any] = graph.stream(source, config, stream_mode=["updates", "custom"])
        for mode, payload in streamed:
            progress.show(mode, payload)


@contextmanager
def _told_how_to_go_on(session: Session) -> Generator[None]:
    goes_on = f"{program()} resume {session.thread}{session.loaded.again}"
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(f"\nStopped. Nothing is lost; go on with: [bold]{escape(goes_on)}[/]")
        raise SystemExit(INTERRUPTED) from None
    except Exception:
        Console(stderr=True).print(f"The run stopped; go on with: [bold]{escape(goes_on)}[/]", soft_wrap=True)
        raise


def _headline(console: Console, session: Session, what: str) -> None:
    record = session.record or session.runtime.find_thread(session.thread)
    facts = record.facts
    console.print(
        f"[bold]{escape(facts.graph)}[/]  {escape(facts.thread)} {what} "
        f"[dim](for {escape(facts.requester)}, about {escape(facts.subject)})[/]",
        highlight=False,
        soft_wrap=True,
    )


def _stopped(session: Session, people: Approvers) -> int:
    console, again = people.console, session.loaded.again
    pending = session.runtime.approvals(thread=session.thread)
    for approval in [] if people.interactive else pending:
        people.show(approval)
    count = f"{len(pending)} question{'s' if len(pending) != 1 else ''}"
    console.print(f"\n[magenta]Stopped:[/] {count} to decide. The process may end here; go on with", highlight=False)
    first = pending[0] if pending else None
    commands = [f"{program()} inbox"]
    if first is not None:
        who = suggested(first, session.loaded.flow.document) or "NAME"
        commands.append(f"{program()} decide {first.id} {first.allowed[0]} --as {who}")
    for command in [*commands, f"{program()} resume {session.thread}{again}"]:
        console.print(f"  {escape(command)}", highlight=False, soft_wrap=True)
    return WAITS


def _ended(console: Console, session: Session) -> int:
    entries = session.runtime.timeline(session.thread)
    ended = session.runtime.find_thread(session.thread)
    baselines = session.loaded.baselines if is_first(session.runtime, ended) else {}
    state = dict(session.snapshot().values)
    console.print()
    for line in session.loaded.cli.describe(state):
        console.print(escape(line), highlight=False, soft_wrap=True)
    section(console, "What happened", timeline_table(timeline(entries)))
    section(console, "How it went", metrics_table(metrics(entries, baselines=baselines)))
    return FAILED if ended.status == "escalated" else DONE
