"""What people see of approvals, threads, timelines and metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stateward.audit.views import Line, Metrics
from stateward.model.approval import Approval
from stateward.model.thread import ThreadRecord
from stateward.model.values import Json
from stateward.model.verdict import Requirement

_STATUS = {"waiting": "magenta", "answered": "green", "escalated": "red", "abandoned": "red", "erased": "dim"}
_TITLES = {
    "action": "may this happen?",
    "answer": "may this answer leave?",
    "outcome": "did this happen?",
    "escalation": "how shall it go on?",
}
_LAPSES = {
    "action": "it is rejected",
    "answer": "it is rejected",
    "outcome": "it is given up",
    "escalation": "the run ends",
}


def approval_panel(approval: Approval) -> Panel:
    """Exactly what is asked, and why: tool, arguments, rules, who, until when."""
    table = _facts()
    for name, value in approval.arguments.items():
        table.add_row(Text(name, style="cyan"), _value(value))
    if approval.arguments:
        table.add_row()
    _add_conditions(table, approval)
    parts: list[RenderableType] = [table]
    if approval.kind != "action":
        parts.insert(0, Markdown(approval.description))
    title = f"[bold]{approval.id}[/]  {escape(approval.tool)}: {_TITLES[approval.kind]}"
    return Panel(Group(*parts), title=title, title_align="left", border_style="magenta", padding=(0, 1))


def decision_lines(approval: Approval) -> Iterator[str]:
    """Who said what, for `show`."""
    for one in approval.signatures:
        reason = f": {one.decision.reason}" if one.decision.reason else ""
        acting = f" for {one.acting_for}" if one.acting_for else ""
        yield f"{moment(one.at)}  {one.principal}{acting} ({one.verified_by})  {one.decision.kind}{reason}"


def approvals_table(approvals: Sequence[Approval]) -> Table:
    """The inbox."""
    table = _table("id", "thread", "asks for", "of", "lapses")
    for one in approvals:
        short = ", ".join(f"{name}={_cut(_short(value), 24)}" for name, value in one.arguments.items())
        by = ", ".join(dict.fromkeys(name for need in one.open_requirements for name in need.by))
        cells = (one.id, one.thread, _cut(f"{one.tool} {short}", 140), by, remaining(one.expires_at))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def threads_table(records: Sequence[ThreadRecord]) -> Table:
    """All threads."""
    table = _table("thread", "status", "subject", "requested by", "changed (UTC)")
    for one in records:
        facts = one.facts
        said = "erased" if one.is_erased else one.status
        status = Text(said, style=_STATUS.get(said, "yellow"))
        changed = moment(one.updated_at)
        table.add_row(Text(facts.thread), status, Text(facts.subject), Text(facts.requester), Text(changed))
    return table


def timeline_table(lines: Iterable[Line]) -> Table:
    """What happened; the date stands where it changes."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    day = ""
    for line in lines:
        at = line.at.astimezone(UTC)
        date = f"{at:%Y-%m-%d}"
        if date != day:
            table.add_row(Text(date, style="dim"))
            day = date
        times = f" ×{line.times}" if line.times > 1 else ""
        who = (Text(line.word, style="cyan"), Text(_who_acted(line.who), style="bold"))
        table.add_row(Text(f"  {at:%H:%M:%S}", style="dim"), *who, Text(line.what + times))
    return table


def metrics_table(metrics: Metrics) -> Table:
    """The numbers."""
    table = _facts()
    for name, text in _metric_rows(metrics):
        table.add_row(name, text)
    return table


def moment(time: datetime) -> str:
    """A time for people, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def remaining(time: datetime, now: datetime | None = None) -> str:
    """How long there is until a time."""
    left = time - (now or datetime.now(UTC))
    return f"in {duration(left.total_seconds())}" if left > timedelta() else "over"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `2 d 3 h`, `4 min 10 s`, `0.8 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for (name, size), (smaller, part) in pairwise((("d", 86400), ("h", 3600), ("min", 60), ("s", 1))):
        count, rest = divmod(round(seconds / part), size // part)
        if count:
            return f"{count} {name} {rest} {smaller}" if rest else f"{count} {name}"
    return f"{round(seconds)} s"


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things: `1 thread`, `2 threads`; `many` where it is not the one with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def section(console: Console, title: str, body: RenderableType) -> None:
    """A titled part of the output."""
    console.print()
    console.print(f"[bold]{title}[/]", highlight=False)
    console.print(body, highlight=False)


def _who_acted(actor: str) -> str:
    # A run has one policy; its name is in the entries.
    return "policy" if actor.startswith("policy:") else actor


def _add_conditions(table: Table, approval: Approval) -> None:
    for one in approval.requirements:
        table.add_row("why", Text.assemble(one.reason.because, (f"  ({one.reason.rule})", "dim")))
        table.add_row("who decides" if one in approval.open_requirements else _turn(one, approval), _who(one, approval))
    after = f"after that {_after(approval)}"
    table.add_row("until", Text(f"{moment(approval.expires_at)} UTC ({remaining(approval.expires_at)}); {after}"))
    if approval.confirmation is not None:
        table.add_row("to approve", Text(f"type exactly {approval.confirmation}"))
    table.add_row("asked by", Text(f"{approval.requester}, about {approval.subject}, thread {approval.thread}"))
    table.add_row("bound to", Text(approval.digest[:12], style="dim"))


def _turn(one: Requirement, approval: Approval) -> str:
    return "decides later" if one.stage > approval.stage else "has decided"


def _after(approval: Approval) -> str:
    rules = approval.open_requirements
    if rules and approval.escalated_at is None and all(one.escalate for one in rules):
        return f"{' or '.join(dict.fromkeys(name for one in rules for name in one.escalate))} decides"
    return _LAPSES[approval.kind]


def _who(one: Requirement, approval: Approval) -> Text:
    people = {"requester": approval.requester, "subject": approval.subject, "editor": approval.editor}
    excluded = [f"{name} ({people[name]})" if people.get(name) else name for name in one.excluding]
    count = f"{one.of} of " if one.of > 1 else ""
    without = f", not the {' or '.join(excluded)}" if excluded else ""
    return Text(f"{count}{' or '.join(one.by)}{without}")


def _metric_rows(one: Metrics) -> Iterator[tuple[str, str]]:
    yield (
        "completed",
        f"{one.completed} of {one.workflows} ({one.completion_rate:.0%}), {one.escalated} escalated",
    )
    yield "actions", f"{one.actions}: {one.reads} read, {one.writes} written, {one.denied} denied"
    decided = ", ".join(f"{count} {name}" for name, count in one.decided.items()) or "none decided"
    yield "approvals", f"{one.asked} asked: {decided}, {one.pending} pending; {one.refused_decisions} refused"
    if one.prompts_per_completed is not None:
        yield "prompts", f"{one.prompts_per_completed:.1f} for each completed workflow"
    yield "waited", f"{duration(one.waiting_seconds)} for people; {duration(one.working_seconds)} at work"
    yield "errors", f"{one.errors} ({one.error_rate:.0%} of the calls), {one.escalations} escalations"
    yield "rework", f"{one.rework} edits and repeated calls ({one.rework_rate:.0%} of the actions)"
    if one.saved_minutes is not None and one.baseline_minutes is not None:
        baseline = duration(one.baseline_minutes * 60)
        yield (
            "time saved",
            f"{duration(one.saved_minutes * 60)}, against {baseline} by hand for each subject, as stated",
        )


def _facts() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        # What is typed again is never broken.
        table.add_column(name, no_wrap=name not in ("asks for", "subject"), overflow="fold")
    return table


def _value(value: Json) -> Text:
    if isinstance(value, str):
        return Text(value, style="bold")
    return Text(json.dumps(value, ensure_ascii=False, indent=2 if _nested(value) else None), style="bold")


def _nested(value: Json) -> bool:
    return isinstance(value, dict | list) and len(str(value)) > 60


def _short(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
