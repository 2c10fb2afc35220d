"""Whether a thread has used up what the policy gives it."""

from __future__ import annotations

from datetime import timedelta

from stateward.model.policy import Budget, duration_text
from stateward.model.thread import Spent
from stateward.model.verdict import Reason


def used_up(budget: Budget, spent: Spent) -> Reason | None:
    """The first budget that is used up, with how much was; None where all of them have something left.

    Steps are counted before they are taken, so the last one that is allowed makes their number equal to the budget.
    """
    if spent.steps > budget.steps:
        return _reason("steps", f"of {budget.steps} steps is used up")
    if budget.tokens is not None and spent.tokens >= budget.tokens:
        return _reason("tokens", f"of {budget.tokens} tokens is used up: {spent.tokens} were")
    if budget.usd is not None and spent.usd >= budget.usd:
        return _reason("usd", f"of {budget.usd} USD is used up: {spent.usd:.4f} were")
    if budget.wall is not None and spent.seconds >= budget.wall.total_seconds():
        opened = timedelta(seconds=int(spent.seconds))
        return _reason("wall", f"of {duration_text(budget.wall)} is used up: the thread was opened {opened} ago")
    return None


def _reason(budget: str, because: str) -> Reason:
    return Reason(rule=f"budget.{budget}", because=f"the budget {because}")
