"""What has expired goes, now and then, while a runtime is open; nobody waits for it, as it is not found anyway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger("stateward")


async def sweep_on(sweep: Callable[[], Awaitable[object]], *, after: float, every: float) -> None:
    """Sweep until it is cancelled; what fails is logged, and tried again the next time.

    Args:
        sweep: Deletes what has expired.
        after: Seconds until the first time.
        every: Seconds from then on.
    """
    await asyncio.sleep(after)
    while True:
        try:
            await sweep()
        except Exception as error:
            # Postgres' own words may quote the row: only what kind of error it is.
            state = getattr(error.__cause__ or error, "sqlstate", None)
            _LOG.warning("what has expired could not be deleted: %s (SQLSTATE %s)", type(error).__name__, state)
        await asyncio.sleep(every)
