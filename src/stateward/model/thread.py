"""A thread: one piece of work, and whom it belongs to (promise P12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

ThreadStatus = Literal["open", "waiting", "answered", "escalated", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ThreadFacts:
    """What a thread was started for. None of it changes while the thread lives.

    Attributes:
        thread: LangGraph's thread id.
        tenant: Organisation; threads of one tenant never see another's.
        principal: The agent identity that acts; a tool's `for:` is held against it.
        roles: The roles of that identity.
        requester: Who asked for the work; a policy's `not: [requester]` is held against it.
        purpose: Why; memory is read and written for this purpose only.
        subject: Whom or what it is about (`customer:17`, `period:2026-10`).
        graph: Name of the workflow.
        graph_version: Its version, a digest over its drawn structure unless stated.
    """

    thread: str
    tenant: str = "default"
    principal: str
    roles: tuple[str, ...] = ()
    requester: str
    purpose: str
    subject: str
    graph: str = ""
    graph_version: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What a thread has used up.

    Attributes:
        steps: Model turns.
        tokens: What models have read and written.
        usd: What that cost, in US dollars, by the prices of the policy.
        seconds: How long ago it was opened, by the server's clock.
    """

    steps: int = 0
    tokens: int = 0
    usd: Decimal = Decimal(0)
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            steps=self.steps + other.steps,
            tokens=self.tokens + other.tokens,
            usd=self.usd + other.usd,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ThreadRecord:
    """A thread as the database has it.

    Attributes:
        is_erased: Its subject was forgotten, or its time was over: what it held is gone.
    """

    facts: ThreadFacts
    status: ThreadStatus
    spent: Spent
    created_at: datetime
    updated_at: datetime
    is_erased: bool = False
