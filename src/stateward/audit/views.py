"""Views of the ledger for people: what happened, and how well it went. Pure functions over entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from stateward.model.ledger import Entry

Word = Literal["orchestrate", "verify", "approve", "act", "remember", "audit"]

# The step that each kind of entry belongs to, by the part before the dot.
_WORDS: dict[str, Word] = {
    "thread": "orchestrate",
    "abandon": "orchestrate",
    "action": "verify",
    "answer": "verify",
    "approval": "approve",
    "effect": "act",
    "read": "act",
    "memory": "remember",
    "delegation": "approve",
    "erasure": "remember",
    "subject": "remember",
    "hold": "remember",
    "vault": "remember",
}
# What the next entry of the same action tells as well, and better.
_IN_PASSING = frozenset(
    {
        "action.allowed",
        "action.asked",
        "answer.allowed",
        "answer.asked",
        "effect.reserved",
        "approval.signed",
        "thread.open",
        "thread.waiting",
    }
)
_CLOSED = frozenset(
    {
        "approval.approved",
        "approval.edited",
        "approval.rejected",
        "approval.responded",
        "approval.expired",
        "approval.withdrawn",
    }
)
_SETTLING = frozenset({"effect.settled", "effect.failed", "effect.unknown", "effect.abandoned"})
_FINISHED = frozenset({"thread.answered", "thread.escalated", "thread.abandoned"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a timeline.

    Attributes:
        at: When, in UTC; the first time where several entries are told together.
        thread: The thread.
        seq: Position of the first entry in the thread's chain.
        word: Which of the six steps it belongs to.
        who: Who caused it.
        what: What happened, as a sentence for people.
        times: How many entries in a row say the same.
    """

    at: datetime
    thread: str
    seq: int
    word: Word
    who: str
    what: str
    times: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """How the workflows of some threads went.

    Attributes:
        workflows: Threads that were opened.
        completed: Those that gave an answer.
        escalated: Those that ended without one, at a person.
        completion_rate: `completed` of all that were opened, 0 to 1.
        actions: Actions that were judged.
        reads: Reads that were done.
        writes: Writes that were done.
        denied: Actions that the policy denied.
        asked: Questions to people.
        decided: How the decided ones were answered: approved, edited, rejected, responded, expired, withdrawn.
        pending: Questions that still wait.
        refused_decisions: Decisions by somebody who may not, or not like that.
        escalations: Questions because the workflow could not go on by itself.
        prompts_per_completed: Questions for each completed workflow; None before the first.
        waiting_seconds: How long threads waited for people.
        working_seconds: How long they were under way otherwise.
        errors: Calls that failed, or whose outcome got lost.
        error_rate: `errors` of all calls that were started, 0 to 1.
        rework: Edits by people and calls that were started again.
        rework_rate: `rework` of all actions, 0 to 1.
        baseline_minutes: Manual work that a completed workflow replaces, as the workflow states it, or None.
        saved_minutes: The baselines of the completed work, once for each subject, less the workflows' own time.
    """

    workflows: int
    completed: int
    escalated: int
    completion_rate: float
    actions: int
    reads: int
    writes: int
    denied: int
    asked: int
    decided: dict[str, int]
    pending: int
    refused_decisions: int
    escalations: int
    prompts_per_completed: float | None
    waiting_seconds: float
    working_seconds: float
    errors: int
    error_rate: float
    rework: int
    rework_rate: float
    baseline_minutes: float | None
    saved_minutes: float | None


def timeline(entries: Iterable[Entry], *, everything: bool = False) -> list[Line]:
    """What happened, in order of time.

    Args:
        entries: The ledger of one thread or of several.
        everything: One line for each entry. Otherwise what a later entry tells as well is left out, and
            repetitions are told once with their number.
    """
    ordered = sorted(entries, key=lambda entry: (entry.at, entry.thread, entry.seq))
    if everything:
        return [_line(entry) for entry in ordered]
    settled = {entry.action for entry in ordered if entry.kind in _SETTLING}
    return _grouped(_line(entry) for entry in ordered if not _told_later(entry, settled))


def metrics(
    entries: Iterable[Entry],
    *,
    baselines: Mapping[str, float] | None = None,
    subjects: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Metrics:
    """How it went.

    Args:
        entries: The ledger of one thread or of several, each from its beginning.
        baselines: Minutes of manual work that one run replaces, by workflow.
        subjects: What each thread is about, where it is known: work on one subject by one workflow is saved once,
            however often it is run again.
        now: Until when open questions have waited; the current time unless stated.
    """
    until = now or datetime.now(UTC)
    # Who decides for whom stands in the desk's own chain, which is no piece of work.
    threads = _by_thread(entry for entry in entries if not entry.kind.startswith("delegation."))
    kinds = Counter(entry.kind for chain in threads.values() for entry in chain)
    spans = [_span(chain, until) for chain in threads.values()]
    baseline, saved = _saved(threads, baselines or {}, subjects or {}, until)
    completed, actions = _ends(threads, "thread.answered"), _actions(kinds)
    asked, errors = kinds["approval.asked"], _errors(kinds)
    rework = kinds["approval.edited"] + kinds["effect.restarted"]
    decided = {kind.partition(".")[2]: kinds[kind] for kind in sorted(_CLOSED) if kinds[kind]}
    return Metrics(
        workflows=len(threads),
        completed=completed,
        escalated=_ends(threads, "thread.escalated"),
        completion_rate=_rate(completed, len(threads)),
        actions=actions,
        reads=kinds["read.done"],
        writes=kinds["effect.settled"],
        denied=kinds["action.denied"],
        asked=asked,
        decided=decided,
        pending=asked - sum(decided.values()),
        refused_decisions=kinds["approval.refused"],
        escalations=_escalations(threads),
        prompts_per_completed=asked / completed if completed else None,
        waiting_seconds=sum(waiting for waiting, _ in spans),
        working_seconds=sum(working for _, working in spans),
        errors=errors,
        error_rate=_rate(errors, kinds["effect.reserved"] + kinds["read.done"] + kinds["read.failed"]),
        rework=rework,
        rework_rate=_rate(rework, actions),
        baseline_minutes=baseline,
        saved_minutes=saved,
    )


def sentence(entry: Entry) -> str:
    """What one entry says, for people."""
    tell = _SENTENCES.get(entry.kind)
    return tell(entry) if tell else " ".join(filter(None, (entry.kind, entry.tool)))


def _line(entry: Entry) -> Line:
    word = _WORDS.get(entry.kind.partition(".")[0], "audit")
    return Line(
        at=entry.at,
        thread=entry.thread,
        seq=entry.seq,
        word=word,
        who=entry.actor,
        what=sentence(entry),
    )


def _told_later(entry: Entry, settled: set[str | None]) -> bool:
    # A reservation that nothing followed is where a crash stands: it stays.
    if entry.kind == "effect.reserved":
        return entry.action in settled
    # A signature that does not close the question, of two that are needed, stays too.
    if entry.kind == "approval.signed":
        return entry.detail.get("decision") != "approve"
    return entry.kind in _IN_PASSING


def _grouped(lines: Iterable[Line]) -> list[Line]:
    grouped: list[Line] = []
    for line in lines:
        last = grouped[-1] if grouped else None
        if last and (last.thread, last.word, last.who) == (line.thread, line.word, line.who):
            if last.what == line.what:
                grouped[-1] = _again(last)
                continue
            if line.word == "approve" and _approved_after_signing(last, line):
                grouped[-1] = line
                continue
        grouped.append(line)
    return grouped


def _again(line: Line) -> Line:
    return Line(
        at=line.at,
        thread=line.thread,
        seq=line.seq,
        word=line.word,
        who=line.who,
        what=line.what,
        times=line.times + 1,
    )


def _approved_after_signing(signed: Line, approved: Line) -> bool:
    return signed.what.removeprefix("signed ") == approved.what.removeprefix("approved ")


def _by_thread(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    threads: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda one: (one.thread, one.seq)):
        threads.setdefault(entry.thread, []).append(entry)
    return threads


def _ends(threads: Mapping[str, Sequence[Entry]], kind: str) -> int:
    return sum(any(entry.kind == kind for entry in chain) for chain in threads.values())


def _escalations(threads: Mapping[str, Sequence[Entry]]) -> int:
    return sum(
        entry.kind == "approval.asked" and entry.detail.get("kind") == "escalation"
        for chain in threads.values()
        for entry in chain
    )


def _actions(kinds: Counter[str]) -> int:
    return kinds["action.allowed"] + kinds["action.asked"] + kinds["action.denied"]


def _errors(kinds: Counter[str]) -> int:
    return kinds["effect.failed"] + kinds["effect.unknown"] + kinds["read.failed"]


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _span(chain: Sequence[Entry], now: datetime) -> tuple[float, float]:
    """Seconds that questions stood open, and seconds that the thread was under way rather than stopped."""
    finished = any(entry.kind in _FINISHED for entry in chain)
    elapsed = chain[-1].at - chain[0].at
    waited = _waiting(chain, chain[-1].at if finished else max(now, chain[-1].at))
    return waited.total_seconds(), (elapsed - _stopped(chain)).total_seconds()


def _waiting(chain: Sequence[Entry], end: datetime) -> timedelta:
    """The time in which at least one question stood open; questions side by side count once."""
    total, standing, since = timedelta(), set[object](), chain[0].at
    for entry in chain:
        approval = entry.detail.get("approval")
        if entry.kind == "approval.asked":
            since = since if standing else entry.at
            standing.add(approval)
        elif entry.kind in _CLOSED and approval in standing:
            standing.remove(approval)
            total += timedelta() if standing else entry.at - since
    return total + (end - since if standing else timedelta())


def _stopped(chain: Sequence[Entry]) -> timedelta:
    """The time between a stop for people and the resume, the decision's own time and what came after it."""
    total, since = timedelta(), None
    for entry in chain:
        if entry.kind == "thread.waiting":
            since = entry.at
        elif since is not None and entry.kind in ("thread.open", *_FINISHED):
            total, since = total + (entry.at - since), None
    return total + (chain[-1].at - since if since is not None else timedelta())


def _saved(
    threads: Mapping[str, Sequence[Entry]], baselines: Mapping[str, float], subjects: Mapping[str, str], now: datetime
) -> tuple[float | None, float | None]:
    """The baseline of one piece of work, and the minutes saved over all of them."""
    done = [chain for chain in threads.values() if any(entry.kind == "thread.answered" for entry in chain)]
    stated = [chain for chain in done if _graph(chain) in baselines]
    if not stated:
        return next(iter(baselines.values()), None), None
    pieces = {(_graph(chain), subjects.get(chain[0].thread, chain[0].thread)) for chain in stated}
    minutes = sum(baselines[graph] for graph, _ in pieces)
    worked = sum(_span(chain, now)[1] for chain in stated) / 60
    return minutes / len(pieces), minutes - worked


def _graph(chain: Sequence[Entry]) -> str:
    return str(chain[0].detail.get("graph", ""))


def _tool(entry: Entry) -> str:
    return entry.tool or "an action"


def _rules(entry: Entry) -> str:
    rules = entry.detail.get("rules")
    named = [str(one) for one in rules] if isinstance(rules, Sequence) and not isinstance(rules, str) else []
    return f" by {', '.join(named)}" if named else ""


def _question(entry: Entry) -> str:
    return f"{_tool(entry)} ({entry.detail.get('approval', '?')})"


def _asked(entry: Entry) -> str:
    about = {"outcome": "what became of", "escalation": "how to go on:"}.get(str(entry.detail.get("kind")), "about")
    return f"asked {_people(entry)} {about} {_question(entry)}"


def _people(entry: Entry) -> str:
    by = entry.detail.get("by")
    named = [str(one) for one in by] if isinstance(by, Sequence) and not isinstance(by, str) else []
    return " or ".join(named) or "people"


def _attempt(entry: Entry) -> str:
    attempt = entry.detail.get("attempt")
    return f" (attempt {attempt})" if isinstance(attempt, int) and attempt > 1 else ""


def _opened(entry: Entry) -> str:
    detail = entry.detail
    return f"asked for it: {detail.get('purpose', '?')}, done by {detail.get('principal', '?')}"


def _abandoned(entry: Entry) -> str:
    reason = entry.detail.get("reason")
    return f"abandoned it: {reason}" if reason else "abandoned it"


def _compensated(entry: Entry) -> str:
    undone, left = entry.detail.get("undone"), entry.detail.get("left")
    counts = [len(one) if isinstance(one, list) else 0 for one in (undone, left)]
    return f"undid {counts[0]} of {sum(counts)} effects"


def _labelled(entry: Entry) -> str:
    labels = entry.detail.get("labels")
    names = ", ".join(map(str, labels)) if isinstance(labels, list) else "?"
    return f"let in what is {names}, with {entry.tool}" if entry.tool else f"let in what is {names}"


_SENTENCES: dict[str, Callable[[Entry], str]] = {
    "thread.opened": _opened,
    "thread.open": lambda _: "went on",
    "thread.pinned": lambda entry: f"fixed the version that it runs on: {entry.detail.get('graph_version', '?')}",
    "thread.labelled": _labelled,
    "thread.waiting": lambda _: "waited for people",
    "thread.answered": lambda _: "answered",
    "thread.escalated": lambda _: "ended without an answer",
    "thread.abandoned": _abandoned,
    "thread.compensated": _compensated,
    "thread.erased": lambda _: "emptied it, as its subject is forgotten",
    "thread.expired": lambda _: "emptied it, as its time was over",
    "erasure.requested": lambda entry: f"began to forget a subject ({entry.detail.get('erasure')})",
    "subject.erased": lambda entry: f"forgot a subject ({entry.detail.get('erasure')})",
    "subject.exported": lambda _: "was given all that is known of a subject",
    "vault.expired": lambda _: "deleted a subject's pseudonyms, as nothing else of it was left",
    "hold.placed": lambda _: "put a subject on legal hold",
    "hold.ended": lambda _: "ended a legal hold",
    "security.seal_broken": lambda _: "refused a stored value that was not what was sealed",
    "abandon.refused": lambda entry: f"was refused to abandon it: {entry.detail.get('why', 'not allowed')}",
    "action.allowed": lambda entry: f"allowed {_tool(entry)}",
    "action.asked": lambda entry: f"had to ask about {_tool(entry)}{_rules(entry)}",
    "action.denied": lambda entry: f"denied {_tool(entry)}{_rules(entry)}",
    "action.withdrawn": lambda entry: f"withdrew the permit of {_tool(entry)}: {entry.detail.get('why', '')}",
    "answer.allowed": lambda entry: f"allowed the answer {_tool(entry)}",
    "answer.asked": lambda entry: f"had to ask about the answer {_tool(entry)}{_rules(entry)}",
    "answer.denied": lambda entry: f"denied the answer {_tool(entry)}{_rules(entry)}",
    "answer.left": lambda entry: f"let the answer {_tool(entry)} leave",
    "approval.asked": _asked,
    "approval.signed": lambda entry: f"signed {_question(entry)}",
    "approval.refused": lambda entry: f"was refused on {_question(entry)}: {entry.detail.get('why', 'not allowed')}",
    "approval.approved": lambda entry: f"approved {_question(entry)}",
    "approval.edited": lambda entry: f"edited {_question(entry)}",
    "approval.rejected": lambda entry: f"rejected {_question(entry)}",
    "approval.responded": lambda entry: f"answered in place of {_question(entry)}",
    "approval.withdrawn": lambda entry: f"withdrew {_question(entry)}",
    "approval.expired": lambda entry: f"let {_question(entry)} lapse",
    "approval.passed_on": lambda entry: f"passed {_question(entry)} on to {_people(entry)}",
    "approval.escalated": lambda entry: f"escalated {_question(entry)} to {_people(entry)}",
    "approval.reminded": lambda entry: f"reminded people of {_question(entry)}",
    "delegation.granted": lambda entry: (
        f"lets {entry.detail.get('to')} decide until {str(entry.detail.get('until'))[:16]} ({entry.detail.get('id')})"
    ),
    "delegation.revoked": lambda entry: f"ended the delegation {entry.detail.get('id')}",
    "delegation.refused": lambda entry: f"was refused a delegation: {entry.detail.get('why', 'not allowed')}",
    "effect.reserved": lambda entry: f"started {_tool(entry)}",
    "effect.restarted": lambda entry: f"started {_tool(entry)} again{_attempt(entry)}",
    "effect.settled": lambda entry: f"did {_tool(entry)}{_attempt(entry)}",
    "effect.failed": lambda entry: f"failed at {_tool(entry)}{_attempt(entry)}",
    "effect.unknown": lambda entry: f"lost sight of {_tool(entry)}{_attempt(entry)}",
    "effect.abandoned": lambda entry: f"gave up {_tool(entry)}{_attempt(entry)}",
    "read.done": lambda entry: f"read with {_tool(entry)}",
    "read.failed": lambda entry: f"could not read with {_tool(entry)}",
    "memory.written": lambda entry: f"kept a {entry.detail.get('kind', 'memory')}",
    "memory.deleted": lambda _: "deleted from memory",
    "memory.barred": lambda entry: f"found no memory: none is kept for the purpose {entry.detail.get('purpose')}",
}
