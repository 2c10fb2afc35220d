"""What is relied on in LangSmith, in whose spans LangChain wraps a middleware: idle ones stay on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langsmith import set_runtime_overrides, traceable
from langsmith import utils as langsmith
from langsmith._runtime_overrides import get_runtime_overrides

from stateward.orchestrate.upstream import spare_idle_threads


class Counted(ThreadPoolExecutor):
    """Counts what is handed to it."""

    handed = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.handed += 1
        return super().submit(*args, **kwargs)


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is traced, and LangSmith is afterwards as it was before."""
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING"):
        monkeypatch.delenv(name, raising=False)
    langsmith.get_env_var.cache_clear()
    before = get_runtime_overrides().aio_to_thread
    set_runtime_overrides()
    yield
    set_runtime_overrides(aio_to_thread=before)


async def handed_to_threads() -> int:
    """How often one span goes to a thread."""

    @traceable
    async def step() -> str:
        return "done"

    with Counted(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        assert await step() == "done"
        return threads.handed


async def test_idle_spans_go_to_no_thread() -> None:
    assert await handed_to_threads() > 0
    spare_idle_threads()
    assert await handed_to_threads() == 0


async def test_what_an_application_has_set_stays() -> None:
    async def its_own(default: Any, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await default(context, function, *args, **kwargs)

    set_runtime_overrides(aio_to_thread=its_own)
    spare_idle_threads()
    assert get_runtime_overrides().aio_to_thread is its_own
    assert await handed_to_threads() > 0
