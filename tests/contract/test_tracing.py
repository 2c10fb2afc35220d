"""What is relied on in LangSmith: who sends what LangChain traces, and that idle spans stay on the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import langsmith as langsmith_client
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_core.tracers import LangChainTracer
from langsmith import run_trees, set_runtime_overrides, traceable
from langsmith import utils as langsmith
from langsmith._runtime_overrides import get_runtime_overrides
from langsmith.run_helpers import get_tracing_context, tracing_context

from stateward.upstream import ambient_client, as_sent, check_by, checks, output_of, spare_idle_threads


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


class Client(langsmith_client.Client):
    """Sends nothing."""

    def __init__(self) -> None:
        super().__init__(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False)


def test_a_configured_client_is_what_langchain_sends_by() -> None:
    client = Client()
    before = ambient_client()
    langsmith_client.configure(client=client)
    try:
        assert ambient_client() is client
        assert LangChainTracer().client is client
        assert run_trees.RunTree(name="step").client is client
    finally:
        langsmith_client.configure(client=before)
    assert ambient_client() is before


def test_asking_who_sends_makes_nobody() -> None:
    before = ambient_client()
    langsmith_client.configure(client=None)
    try:
        assert ambient_client() is None
        assert ambient_client() is None
        assert run_trees.get_cached_client() is ambient_client()
    finally:
        langsmith_client.configure(client=before)


def test_a_client_that_a_block_gives_is_seen() -> None:
    client = Client()
    assert get_tracing_context().get("client") is None
    with tracing_context(client=client):
        assert get_tracing_context().get("client") is client


def test_what_is_sent_is_json() -> None:
    sent = {"inputs": {"messages": [HumanMessage("hello")], "when": datetime(2026, 11, 1, tzinfo=UTC)}}
    assert json.loads(as_sent(sent))["inputs"]["messages"][0]["content"] == "hello"


def test_a_tool_says_what_langchain_makes_of_its_result() -> None:
    @tool(response_format="content_and_artifact")
    def look() -> tuple[str, int]:
        """Look."""
        return "seen", 7

    said = look.invoke({"name": "look", "args": {}, "id": "c", "type": "tool_call"})
    assert said == output_of(look, ("seen", 7), "c")
    assert said.artifact == 7
    with pytest.raises(ValueError, match="str"):
        output_of(look, "seen", "c")


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_tools_arguments_are_checked_after_its_callbacks_were_told(awaited: bool) -> None:
    order: list[Any] = []

    class Heard(BaseCallbackHandler):
        run_inline = True

        def on_tool_start(self, serialized: Any, input_str: str, **more: Any) -> None:
            order.append(more["inputs"])

    @tool
    def look(at: int) -> int:
        """Look."""
        order.append(at)
        return at

    check = checks(look)

    def checked(given: Any, *more: Any) -> Any:
        order.append("checked")
        return check({"at": 2}, *more)

    check_by(look, checked)
    asked, config = {"name": "look", "args": {"at": 1}, "id": "c", "type": "tool_call"}, {"callbacks": [Heard()]}
    said = await look.ainvoke(asked, config) if awaited else look.invoke(asked, config)
    assert (said.content, order) == ("2", [{"at": 1}, "checked", 2])
