"""The `checkpointer` and `store` hooks of LangGraph's server, so that Studio runs a workflow on our Postgres.

In `langgraph.json`, beside graphs that were compiled without a runtime:
`"checkpointer": {"path": "stateward.studio.checkpointer"}, "store": {"path": "stateward.studio.store"}`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from stateward.blocking import Runtime
from stateward.errors import ConfigurationError
from stateward.orchestrate.saver import StatewardSaver
from stateward.orchestrate.store import StatewardStore


@asynccontextmanager
async def checkpointer() -> AsyncGenerator[StatewardSaver]:
    """LangGraph's saver on the Postgres that the environment names, else on the embedded one.

    Raises:
        DatabaseError: the server cannot be reached, or its schema is of another version.
        EmbeddedServerError: the embedded Postgres cannot run here.
    """
    async with _shared() as opened:
        yield opened.checkpointer


@asynccontextmanager
async def store() -> AsyncGenerator[StatewardStore]:
    """Governed memory, and with it the ports that the nodes of a workflow work with. Errors as `checkpointer`."""
    async with _shared() as opened:
        yield opened.store


@asynccontextmanager
async def runtime() -> AsyncGenerator[Runtime]:
    """The runtime that the hooks share, for an app beside the server's own. Errors as `checkpointer`."""
    async with _shared() as opened:
        yield opened


class _Shared:
    """One runtime for whoever uses it at the same time: opened by the first, closed by the last."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._users = 0
        self._runtime: Runtime | None = None

    def enter(self) -> Runtime:
        with self._guard:
            if self._runtime is None:
                opened = Runtime.open()
                try:
                    opened.inner.tracing.govern()  # the server's runs begin before a policy is known here
                except ConfigurationError:
                    opened.close()
                    raise
                self._runtime = opened
            self._users += 1
            return self._runtime

    def leave(self) -> None:
        with self._guard:
            self._users -= 1
            if self._users == 0 and self._runtime is not None:
                self._runtime.close()
                self._runtime = None


# The server calls the hooks by name, for each of its event loops: what they share has no other place than the module.
_SHARED = _Shared()


@asynccontextmanager
async def _shared() -> AsyncGenerator[Runtime]:
    # Opening waits for Postgres; the server refuses what blocks its loop.
    opened = await asyncio.to_thread(_SHARED.enter)
    try:
        yield opened
    finally:
        await asyncio.to_thread(_SHARED.leave)
