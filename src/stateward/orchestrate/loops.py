"""Crossing from any thread or event loop to the runtime's own, context variables included."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from stateward.errors import ConfigurationError

T = TypeVar("T")


async def on_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Await the work on that loop, wherever we are: LangGraph's server and notebooks bring loops of their own."""
    if asyncio.get_running_loop() is loop:
        return await work
    _refuse_closed(loop, work)
    # The hand-over copies the caller's context variables, so that `interrupt()` and `get_config()` work there.
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def blocking(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Wait for the work on that loop from another thread.

    Raises:
        ConfigurationError: it is called on the loop's own thread, which would wait for itself for ever; or the runtime
            is closed.
    """
    _refuse_closed(loop, work)
    if _running() is loop:
        work.close()
        raise ConfigurationError("a blocking call on the runtime's own event loop: use the async method")
    return asyncio.run_coroutine_threadsafe(work, loop).result()


def _refuse_closed(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> None:
    if loop.is_closed():
        work.close()
        raise ConfigurationError("the runtime is closed: open it again")


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
