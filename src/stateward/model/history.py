"""What a condition asks of the past: how often a tool was let through, how much, how long ago, for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from stateward.model.policy import duration_text
from stateward.model.values import Json

HistoryKind = Literal["count", "sum", "last", "exists"]
HistoryScope = Literal["tenant", "principal", "subject", "thread"]
HistoryValue = bool | int | float | timedelta

KINDS: tuple[HistoryKind, ...] = get_args(HistoryKind)
SCOPES: tuple[HistoryScope, ...] = get_args(HistoryScope)


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryQuery:
    """What a condition asks of the journal about its own tool; fetched before the evaluation.

    Attributes:
        kind: `count` of calls, `sum` of an argument's values, time since the `last` call, or whether one `exists`.
        window: How far back, from now.
        argument: For a sum, the numeric argument.
        scope: Whose calls: everybody's of the tenant, or those of the same principal, subject or thread in it.
    """

    kind: HistoryKind
    window: timedelta
    argument: str | None = None
    scope: HistoryScope = "tenant"

    @property
    def text(self) -> str:
        """As a policy writes it, such as `history.subject.sum("amount", "1d")`."""
        scope = "" if self.scope == "tenant" else f".{self.scope}"
        argument = f'"{self.argument}", ' if self.argument is not None else ""
        return f'history{scope}.{self.kind}({argument}"{duration_text(self.window)}")'


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the journal found for one query.

    Attributes:
        calls: How many calls.
        total: The sum of the argument; None where one of its values is no number, and so nobody knows the sum.
        age: How long ago the last one was; None where there was none.
    """

    calls: int = 0
    total: float | None = 0.0
    age: timedelta | None = None


History = Mapping[HistoryQuery, HistoryValue]


def value_of(query: HistoryQuery, usage: Usage) -> HistoryValue | None:
    """What a condition sees, or None where it cannot be told. Without a call, `last` is the whole window."""
    match query.kind:
        case "count":
            return usage.calls
        case "exists":
            return usage.calls > 0
        case "sum":
            return usage.total
        case "last":
            return query.window if usage.age is None else min(max(usage.age, timedelta()), query.window)


def history_json(history: History) -> dict[str, Json]:
    """The values as the trail keeps them, by the query's text; a time is in seconds."""
    return {
        query.text: value.total_seconds() if isinstance(value, timedelta) else value for query, value in history.items()
    }


def history_of(recorded: Mapping[str, Json], queries: tuple[HistoryQuery, ...]) -> dict[HistoryQuery, HistoryValue]:
    """The values of these queries, as far as the trail has them."""
    found: dict[HistoryQuery, HistoryValue] = {}
    for query in queries:
        value = recorded.get(query.text)
        if isinstance(value, bool | int | float):
            found[query] = timedelta(seconds=value) if query.kind == "last" else value
    return found
