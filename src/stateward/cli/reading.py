"""The commands that read, and the one that decides: each as people see it, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from stateward.audit.views import metrics, timeline
from stateward.blocking import Runtime
from stateward.cli import shapes
from stateward.cli.exits import program
from stateward.cli.options import parse_arguments, parse_sets
from stateward.cli.people import person
from stateward.cli.render import (
    approval_panel,
    approvals_table,
    decision_lines,
    metrics_table,
    threads_table,
    timeline_table,
)
from stateward.cli.threads import is_first
from stateward.cli.workflows import Loaded, load_workflow
from stateward.errors import ConfigurationError, PolicyError, ToolInputError
from stateward.model.approval import Approval, DecisionKind
from stateward.model.policy import PolicyDocument, nearest
from stateward.model.values import Json

_DECISIONS: tuple[DecisionKind, ...] = ("approve", "edit", "reject", "respond", "done", "retry", "give_up")


@dataclass(frozen=True, kw_only=True)
class Said:
    """A decision as it was typed.

    Attributes:
        sets: `name=value` for an edit.
        arguments: The complete arguments for an edit, as JSON.
        confirm: What was typed to confirm an approval.
        roles: Roles of whoever decides, beside those that the policy gives.
    """

    decision: str
    by: str
    reason: str = ""
    sets: Sequence[str] = ()
    arguments: str | None = None
    confirm: str | None = None
    roles: Sequence[str] = ()


def inbox(*, thread: str | None, as_json: bool) -> None:
    """What waits for people."""
    with _runtime() as runtime:
        before = 0 if thread else runtime.waiting()
        pending = runtime.approvals(thread=thread)
        # Both times, as one may be asked, or decided, between the two.
        hidden = max(0, min(before, runtime.waiting()) - len(pending))
    if as_json:
        shapes.emit({"approvals": [shapes.approval_json(one) for one in pending], "unreadable": hidden})
        return
    if pending:
        _print(approvals_table(pending))
        _hint(f"`{program()} show {pending[0].id}` shows exactly what is asked and why")
    elif not hidden:
        _hint("nothing waits for anybody")
    if hidden:
        what = "1 question waits that" if hidden == 1 else f"{hidden} questions wait that"
        _hint(f"{what} cannot be shown: what the database holds is not what was sealed, so nobody can decide it")
        _hint("`stateward threads` shows which threads wait, and `stateward timeline THREAD` what was refused there")


def show(id_: str, *, as_json: bool) -> None:
    """One question with its decisions."""
    with _runtime() as runtime:
        approval = runtime.approval(id_)
    if as_json:
        shapes.emit(shapes.approval_json(approval))
        return
    console = Console()
    console.print(approval_panel(approval), highlight=False)
    open_ = f"; can be answered: {', '.join(approval.allowed)}" if approval.status == "pending" else ""
    console.print(f"  {approval.status}{open_}", highlight=False)
    for line in decision_lines(approval):
        console.print(f"  {line}", highlight=False, markup=False)


def threads(*, as_json: bool) -> None:
    """All threads, newest first."""
    with _runtime() as runtime:
        records = runtime.threads()
    if as_json:
        shapes.emit({"threads": [shapes.thread_json(one) for one in records]})
    elif records:
        _print(threads_table(records))
    else:
        _hint("no thread was opened yet: `stateward demo` opens one")


def show_timeline(thread: str, *, everything: bool, as_json: bool) -> None:
    """What happened in a thread."""
    with _runtime() as runtime:
        runtime.find_thread(thread)
        entries = runtime.timeline(thread)
    if as_json:
        shapes.emit({"thread": thread, "entries": [shapes.entry_json(one) for one in entries]})
    else:
        _print(timeline_table(timeline(entries, everything=everything)))


def show_metrics(thread: str | None, *, as_json: bool) -> None:
    """How the workflows went."""
    with _runtime() as runtime:
        records = [runtime.find_thread(thread)] if thread else runtime.threads()
        entries = runtime.timeline(thread)
        counting = [one for one in records if not thread or is_first(runtime, one)]
    subjects = {one.facts.thread: one.facts.subject for one in records}
    measured = metrics(entries, baselines=_baselines({one.facts.graph for one in counting}), subjects=subjects)
    if as_json:
        shapes.emit(shapes.metrics_json(measured))
    else:
        _print(metrics_table(measured))


def decide(id_: str, said: Said, *, workflow: str | None, as_json: bool) -> None:
    """Take a decision."""
    kind = _decision(said.decision)
    with _runtime() as runtime:
        approval = runtime.approval(id_)
        arguments = _arguments(kind, said, approval)
        # An edit is judged again, which takes the workflow itself; for the rest its policy only names roles.
        loaded = _workflow(runtime, approval.thread, workflow, needed=kind == "edit")
        document = loaded.flow.document if loaded else _policy(runtime, approval)
        who = person(said.by, document, said.roles)
        if loaded and kind == "edit":
            loaded.flow.compile(runtime)
        typed = said.confirm if kind != "approve" else _typed(approval, said.confirm)
        taken = runtime.decide(approval, kind, by=who, reason=said.reason, arguments=arguments, confirmation=typed)
        left = runtime.approvals(thread=approval.thread)
    if as_json:
        shapes.emit(shapes.approval_json(taken))
        return
    print(_outcome(taken, said.by))
    _hint(_next_step(taken, left, here=loaded is not None))


def _runtime() -> Runtime:
    return Runtime.open(keep_running=True)


def _decision(text: str) -> DecisionKind:
    for kind in _DECISIONS:
        if text.replace("-", "_") == kind:
            return kind
    raise ToolInputError(f"{text!r} is no decision{nearest(text, _DECISIONS)}: write {', '.join(_DECISIONS)}")


def _typed(approval: Approval, given: str | None) -> str | None:
    """What is typed at the terminal where the question asks for it; without one, `--confirm` has to say it."""
    if given is not None or approval.confirmation is None or not sys.stdin.isatty():
        return given
    Console().print(approval_panel(approval), highlight=False)
    return input(f"To approve it, type exactly {approval.confirmation}: ")


def _arguments(kind: DecisionKind, said: Said, approval: Approval) -> dict[str, Json] | None:
    if kind != "edit":
        if said.sets or said.arguments:
            raise ToolInputError(f"--set and --arguments go with `edit`, not with {kind}")
        return None
    if bool(said.sets) == (said.arguments is not None):
        current = json.dumps(approval.arguments, ensure_ascii=False)
        raise ToolInputError(f"edit needs --set name=value, or --arguments JSON. The arguments are {current}")
    if said.arguments is not None:
        return parse_arguments(said.arguments)
    return parse_sets(said.sets, approval.arguments)


def _workflow(runtime: Runtime, thread: str, given: str | None, *, needed: bool) -> Loaded | None:
    try:
        return load_workflow(given or runtime.find_thread(thread).facts.graph)
    except (ConfigurationError, PolicyError):
        if needed or given:
            raise
        return None


def _policy(runtime: Runtime, approval: Approval) -> PolicyDocument | None:
    """The policy that has asked, as the database kept it: who has which role is known without an agent's program."""
    judged = runtime.judgements(action=approval.action) if approval.action else []
    return runtime.policy(judged[0].policy_digest) if judged else None


def _outcome(approval: Approval, by: str) -> str:
    status = "signed, and more people have to approve" if approval.status == "pending" else approval.status
    return f"{approval.id} {status} by {by}" if approval.status != "pending" else f"{approval.id} {status}"


def _next_step(approval: Approval, left: Sequence[Approval], *, here: bool) -> str:
    if left:
        listed = ", ".join(f"{one.id} ({one.tool})" for one in left)
        return f"{approval.thread} still waits for {listed}"
    if not here:  # an agent's, or a workflow's of another folder
        return f"go on with runtime.resume(..., {approval.thread!r}) in the program that runs it"
    return f"go on with: {program()} resume {approval.thread}"


def _baselines(graphs: set[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for graph in graphs:
        # A workflow that is not here states none.
        with suppress(ConfigurationError):
            found |= load_workflow(graph).baselines
    return found


def _print(what: Any) -> None:
    Console().print(what, highlight=False)


def _hint(text: str) -> None:
    Console(stderr=True).print(text, style="dim", highlight=False, markup=False, soft_wrap=True)
