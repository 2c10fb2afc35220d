"""What is due by the clock, and who is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from stateward.errors import StatewardError
from stateward.ports import Desk, Notice, Notifier

_LOG = logging.getLogger(__name__)


async def tick(desk: Desk, notifier: Notifier | None) -> list[Notice]:
    """Do what is due, and tell of it; whoever cannot be told is logged, and it stays done."""
    notices = await desk.tick()
    if notifier is None:
        return notices
    for notice in notices:
        try:
            await notifier.notify(notice)
        except Exception as error:
            _LOG.warning("nobody was told that %s was %s: %s", notice.approval.id, notice.event, error)
    return notices


async def tick_on(desk: Desk, notifier: Notifier | None, *, every: float) -> None:
    """Do so again and again, every so many seconds, for as long as the runtime is open."""
    while True:
        await asyncio.sleep(every)
        with contextlib.suppress(StatewardError):  # the server is away: the next tick tries again
            await tick(desk, notifier)
