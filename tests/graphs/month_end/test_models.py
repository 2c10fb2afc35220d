"""Real model clients drive the close, over the wire, against servers that are as strict as their providers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator
from langchain_core.messages import AIMessage, ToolMessage

from month_end.graph import flow
from month_end.playbook import close_period
from stateward import Principal, Runtime, call
from stateward.errors import ConfigurationError
from stateward.orchestrate.models import planner
from stateward.testing.providers import BedrockServer, OpenAIServer, ProviderServer

OPENAI = "openai:gpt-5.1"
BEDROCK = "bedrock_converse:us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CONTROLLER = Principal("controller")
PROVIDERS = pytest.mark.parametrize(
    ("server_of", "name"), [(OpenAIServer, OPENAI), (BedrockServer, BEDROCK)], ids=["openai", "bedrock"]
)
Server = Callable[[object], ProviderServer]
ENTRY = {
    "period": "2026-10",
    "variance": "missing-in-ledger:B-1",
    "debit_account": "6200",
    "credit_account": "1000",
    "amount": 12.5,
    "currency": "USD",
    "date": "2026-10-07",
    "memo": "Book a fee",
}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own accounts is read, and nothing is sent anywhere but to loopback."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "missing")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "missing")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def serving(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with server:
        yield server


def open_thread(runtime: Runtime, thread: str) -> Any:
    return runtime.thread(
        thread,
        principal=Principal("close-agent", kind="agent"),
        purpose=flow.purpose,
        subject="period:2026-10",
        requester="ann",
        graph=flow.name,
    )


def entries(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("select variance, amount, approved_by from month_end.journal_entry").fetchall()


def said(out: dict[str, Any]) -> list[ToolMessage]:
    return [message for message in out["messages"] if isinstance(message, ToolMessage)]


@pytest.mark.slow
@PROVIDERS
def test_a_real_client_drives_the_whole_close(
    server_of: Server,
    name: str,
    runtime: Runtime,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(server_of(close_period), monkeypatch) as server:
        graph = flow.compile(runtime, planner=name)
        config = open_thread(runtime, "close")
        out = graph.invoke({"period": "2026-10", "out": str(tmp_path)}, config)
        waiting = runtime.approvals(thread="close")
        assert out["__interrupt__"]
        assert sorted(one.arguments["amount"] for one in waiting) == [1860.0, 2312.5, 4950.0, 12480.0]
        for one in waiting:
            runtime.decide(one, "approve", by=CONTROLLER)
        out = runtime.resume(graph, "close")
    assert out["outcome"] == "answered"
    assert "36 entries posted now" in out["messages"][-1].text
    assert out["pack"]["version"] == 1
    assert Path(out["pack"]["workbook"]).exists()
    posted = entries(database_url)
    assert len(posted) == 36
    assert all(approved == (["controller"] if amount > 1000 else []) for _, amount, approved in posted)
    assert runtime.verify_audit().intact
    assert server.refusals == []
    assert len(server.requests) == 6


@PROVIDERS
def test_tools_go_over_the_wire_with_schemas_and_without_what_is_injected(
    server_of: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server_of(lambda _: "done"), monkeypatch) as server:
        model = planner(name).bind_tools([spec.tool for spec in flow.ward().tools.values()])
        model.invoke("go")
    (request,) = server.requests
    assert {"reconcile", "post_journal_entry", "build_close_pack"} <= set(request.tools)
    for schema in request.tools.values():
        Draft202012Validator.check_schema(schema)
        assert "effect" not in schema["properties"]
    post = request.tools["post_journal_entry"]
    assert post["properties"]["amount"]["type"] == "number"
    assert set(post["required"]) == set(ENTRY)


@PROVIDERS
def test_a_run_that_is_streamed_gives_the_same_calls(
    server_of: Server, name: str, runtime: Runtime, small_books: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server_of(close_period), monkeypatch) as server:
        graph = flow.compile(runtime, planner=name)
        config = open_thread(runtime, "close")
        chunks = list(graph.stream({"period": "2026-10", **small_books}, config, stream_mode="messages"))
    assert "".join(str(one.text) for one, _ in chunks if one.type == "AIMessageChunk") == ""
    (waiting,) = runtime.approvals(thread="close")
    assert waiting.arguments["amount"] == 2312.5
    assert server.refusals == []
    assert any(one.body.get("stream") or one.path.endswith("-stream") for one in server.requests)


@PROVIDERS
def test_an_answer_that_is_streamed_arrives_in_pieces(
    server_of: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "A long answer that does not fit into one piece of what a provider streams."
    with serving(server_of(lambda _: text), monkeypatch):
        pieces = [str(one.text) for one in planner(name).stream("go")]
    assert "".join(pieces) == text
    assert sum(map(bool, pieces)) > 1
