"""A thread: one piece of work, and whom it belongs to (promise P12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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
class ThreadRecord:
    """A thread as the database has it."""

    facts: ThreadFacts
    status: ThreadStatus
    steps: int
    created_at: datetime
    updated_at: datetime
