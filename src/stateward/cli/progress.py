"""The live lines of a run: the six words, each with what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from rich.console import Console
from rich.markup import escape
from rich.status import Status

_STYLES = {
    "retrieve": "cyan",
    "orchestrate": "cyan",
    "verify": "yellow",
    "approve": "magenta",
    "act": "green",
    "remember": "blue",
    "validate": "cyan",
    "escalate": "magenta",
    "answer": "bold cyan",
}
_NEXT = {
    "retrieve": "orchestrate",
    "orchestrate": "verify",
    "verify": "act",
    "approve": "act",
    "act": "orchestrate",
    "remember": "orchestrate",
    "validate": "answer",
}
_VERDICTS = {"allow": "[green]allowed[/]", "ask": "[magenta]has to be asked[/]", "deny": "[red]denied[/]"}
_OUTCOMES = {"settled": "[green]done[/]", "failed": "[red]failed[/]", "unknown": "[red]of unknown outcome[/]"}
_DENIED = "denied:"

Event = Mapping[str, Any]


class Progress:
    """Prints what a run streams, and shows on a terminal which step is at work."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: list[Event] = []
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status("[dim]starting[/]")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, mode: str, payload: Any) -> None:
        """One streamed item.

        Args:
            mode: LangGraph's stream mode, `custom` or `updates`.
            payload: What it carries.
        """
        if mode == "custom":
            self._told.append(payload)
            return
        for node, update in payload.items():
            if node in _STYLES:
                self._tell(node, update)

    def _tell(self, node: str, update: object) -> None:
        told, self._told = self._told, []
        lines = list(_lines(node, update, told))
        for at, line in enumerate(lines):
            word = f"[{_STYLES[node]}]{node:<11}[/]" if at == 0 else " " * 11
            self._console.print(f"  {word}  {line}", highlight=False, soft_wrap=True)
        if self._status is not None and node in _NEXT:
            self._status.update(f"[dim]{_NEXT[node]}[/]")


def _lines(node: str, update: object, told: Sequence[Event]) -> Iterator[str]:
    events = [event for event in told if event.get("step") == node]
    match node:
        case "orchestrate" | "escalate":
            yield from _proposals(update)
        case "verify":
            yield from _counted((event.get("tool"), _verdict(event)) for event in events)
        case "approve":
            yield "decided"
        case "act":
            yield from _counted((event.get("tool"), _outcome(event)) for event in events if not _was_denied(event))
        case "retrieve":
            yield from _loaded(update)
        case "remember":
            yield "kept what the policy allows"
        case "validate":
            yield from _checked(update)
        case _:
            yield "done"


def _proposals(update: object) -> Iterator[str]:
    messages: Sequence[Any] = _fields(update).get("messages") or []
    calls: list[Any] = list(getattr(messages[-1], "tool_calls", ())) if messages else []
    counts = Counter(str(call["name"]) for call in calls)
    if counts:
        yield "proposes " + ", ".join(escape(_times(name, count)) for name, count in counts.items())
    elif messages:
        yield "proposes an answer"
    else:
        yield "[magenta]cannot go on by itself[/]"


def _loaded(update: object) -> Iterator[str]:
    # What the planner is told says best what was found; else the short values of the state.
    fields = dict(_fields(update))
    messages: Sequence[Any] = fields.pop("messages", None) or []
    short = [f"{key} {value}" for key, value in fields.items() if value and isinstance(value, int | float | str)]
    told = str(getattr(messages[-1], "text", "")) if messages else ", ".join(short)
    yield escape(told or "what the run starts from")


def _checked(update: object) -> Iterator[str]:
    passed = _fields(update).get("outcome") == "answered"
    yield "the answer holds" if passed else "[yellow]the answer does not hold; it goes back[/]"


def _fields(update: object) -> Event:
    return cast("Event", update) if isinstance(update, Mapping) else {}


def _counted(said: Iterable[tuple[object, str]]) -> Iterator[str]:
    for (tool, what), count in Counter(said).items():
        yield f"{escape(_times(str(tool), count))} {what}"


def _times(name: str, count: int) -> str:
    return name if count == 1 else f"{name} ×{count}"


def _verdict(event: Event) -> str:
    reasons = "; ".join(str(one) for one in event.get("reasons") or ())
    said = _VERDICTS.get(str(event.get("verdict")), escape(str(event.get("verdict"))))
    return f"{said}[dim]: {escape(reasons)}[/]" if reasons else said


def _outcome(event: Event) -> str:
    error = str(event.get("error") or "")
    said = _OUTCOMES.get(str(event.get("status")), "[yellow]not done[/]")
    return f"{said}[dim]: {escape(error)}[/]" if error else said


def _was_denied(event: Event) -> bool:
    # It was told when it was judged.
    return str(event.get("error") or "").startswith(_DENIED)
