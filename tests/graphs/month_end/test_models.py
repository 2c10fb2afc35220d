"""Real model clients drive the close, over the wire, against servers that are as strict as their providers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from closing import CONTROLLER, LARGE, PERIOD, SMALL, Close, books_fixture, close_fixture  # noqa: F401
from jsonschema import Draft202012Validator
from langchain_core.messages import AIMessage, ToolMessage
from pydantic import ValidationError

from month_end.graph import flow
from month_end.playbook import close_period
from stateward import call
from stateward.errors import ConfigurationError
from stateward.orchestrate.models import planner
from stateward.testing import ScriptedModel
from stateward.testing.providers import BedrockServer, OpenAIServer, ProviderServer

OPENAI = "openai:gpt-5.1"
BEDROCK = "bedrock_converse:us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROVIDERS = pytest.mark.parametrize(
    ("server_of", "name"), [(OpenAIServer, OPENAI), (BedrockServer, BEDROCK)], ids=["openai", "bedrock"]
)
Server = Callable[[object], ProviderServer]
FOREIGN = (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
)  # fmt: skip
ENTRY = {
    "period": PERIOD,
    "variance": "missing-in-ledger:B-2",
    "debit_account": "6200",
    "credit_account": "1000",
    "amount": 12.5,
    "currency": "USD",
    "date": "2026-10-07",
    "memo": "Book a fee",
}


@pytest.fixture(autouse=True)
def no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own accounts is read, and nothing is sent anywhere but to loopback."""
    for name in FOREIGN:
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


def says(text: str) -> Callable[[str], Generator[Any, Any, str]]:
    """A playbook that only says something."""

    def playbook(_: str) -> Generator[Any, Any, str]:
        yield from ()
        return text

    return playbook


def refusals(out: dict[str, Any]) -> list[str]:
    return [str(one.text) for one in out["messages"] if isinstance(one, ToolMessage) and one.status == "error"]


@pytest.mark.slow
@PROVIDERS
def test_a_real_client_drives_the_whole_close(
    server_of: Server, name: str, close: Close, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server_of(close_period), monkeypatch) as server:
        # No files are named: the close runs on the sample month.
        out = close.run(planner=name, bank="", ledger="", out=str(tmp_path))
        asked = close.waiting().values()
        assert sorted(one.arguments["amount"] for one in asked) == [1860.0, 2312.5, 4950.0, 12480.0]
        close.approve_all()
        out = close.resume(planner=name)
    assert out["outcome"] == "answered"
    assert "36 entries posted now" in out["messages"][-1].text
    assert out["pack"]["version"] == 1
    assert Path(out["pack"]["workbook"]).exists()
    posted = close.posted().values()
    assert len(posted) == 36
    assert all(row["approved_by"] == (["controller"] if row["amount"] > 1000 else []) for row in posted)
    assert close.runtime.verify_audit().intact
    assert server.refusals == []
    assert len(server.requests) == 6


@PROVIDERS
def test_a_streamed_run_makes_the_same_calls(
    server_of: Server, name: str, close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server_of(close_period), monkeypatch) as server:
        graph = flow.compile(close.runtime, planner=name)
        given = {"period": PERIOD, **close.books.files}
        for _ in graph.stream(given, close.config("close"), stream_mode="messages"):
            pass
        assert set(close.waiting()) == LARGE
        close.runtime.decide(close.waiting().popitem()[1], "reject", reason="not ours", by=CONTROLLER)
        close.approve_all()
        out = close.resume(planner=name)
    assert "Not posted: rejected: not ours" in out["messages"][-1].text
    assert server.refusals == []
    assert any(one.body.get("stream") or one.path.endswith("-stream") for one in server.requests)


@PROVIDERS
def test_an_answer_is_streamed_in_pieces(server_of: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "A long answer that does not fit into one piece of what a provider streams."
    with serving(server_of(says(text)), monkeypatch):
        pieces = [str(one.text) for one in planner(name).stream("go")]
    assert "".join(pieces) == text
    assert sum(map(bool, pieces)) > 1


@PROVIDERS
def test_tools_go_over_the_wire_with_schemas_and_without_what_is_injected(
    server_of: Server, name: str, close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server_of(close_period), monkeypatch) as server:
        close.run(planner=name)
    for request in server.requests:
        assert set(request.tools) == flow.ward().shown
        assert "load_period" not in request.tools
        for schema in request.tools.values():
            Draft202012Validator.check_schema(schema)
            assert "effect" not in schema["properties"]
    post = server.requests[0].tools["post_journal_entry"]
    assert post["properties"]["amount"]["type"] == "number"
    assert set(post["required"]) == set(ENTRY)


def misbehaving(_: str) -> Generator[Any, Any, str]:
    """Asks for everything that it must not have, and then claims that all is done."""
    loading = {"period": PERIOD, "bank": "/etc/passwd", "ledger": "/etc/passwd", "out": "out"}
    yield [
        call("delete_ledger", period=PERIOD),
        call("load_period", **loading),
        call("post_journal_entry", **ENTRY | {"amount": "lots"}),
        call("post_journal_entry", **ENTRY | {"amount": [12.5]}),
        call("post_journal_entry", **ENTRY | {"amount": -12.5}),
        call("post_journal_entry", **ENTRY | {"amount": 60000}),
        call("post_journal_entry", **ENTRY | {"effect": {"key": "mine"}}),
        call("post_journal_entry", period=PERIOD),
    ]
    return "All done."


@PROVIDERS
def test_a_model_that_misbehaves_is_refused_each_time_and_ends_with_people(
    server_of: Server, name: str, close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server_of(misbehaving), monkeypatch) as server:
        out = close.run(planner=name)
    said = refusals(out)
    assert len(said) == 3 * 8
    assert all(one.startswith("denied: ") for one in said)
    assert said[0] == "denied: the policy does not name this tool"
    assert "for the workflow's own steps" in said[1]
    assert "amount" in said[2]
    assert close.posted() == {}
    assert close.kinds(tool="post_journal_entry") == ["action.denied"] * 18
    assert close.kinds(tool="load_period") == ["action.allowed", "effect.reserved", "effect.settled"] + (
        ["action.denied"] * 3
    )
    (question,) = close.runtime.approvals(thread="close")
    assert question.kind == "escalation"
    assert "no close pack was built" in question.description
    assert close.runtime.verify_audit().intact
    assert server.refusals == []


def writes(raw: str) -> ScriptedModel:
    """A model that gives a tool these arguments, to the letter, and then gives up."""
    broken = {"id": "call-1", "name": "post_journal_entry", "args": raw, "error": None, "type": "invalid_tool_call"}
    return ScriptedModel(script=[AIMessage("", invalid_tool_calls=[broken]), *[AIMessage("I cannot do it.")] * 3])


@pytest.mark.parametrize("raw", ['{"period": "2026-10", "amount": 12.5', "null", '{"amount": NaN}', "{'a': 1}", ""])
def test_arguments_that_are_no_json_are_refused_and_the_run_goes_on(
    raw: str, close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(OpenAIServer(writes(raw)), monkeypatch) as server:
        out = close.run(planner=OPENAI)
    assert [one[:7] for one in refusals(out)] == ["denied:"]
    assert close.posted() == {}
    assert close.kinds(tool="post_journal_entry") == ["action.denied"]
    assert server.refusals == []


def test_an_answer_that_the_client_cannot_read_leaves_the_run_where_it_was(
    close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(OpenAIServer(writes("[12.5]")), monkeypatch), pytest.raises(ValidationError, match="AIMessage"):
        close.run(planner=OPENAI)
    close.resume()
    assert set(close.waiting()) == LARGE
    assert set(close.posted()) == SMALL


@PROVIDERS
def test_a_missing_key_says_which_variables_to_set(server_of: Server, name: str, close: Close) -> None:
    expected = "OPENAI_API_KEY" if server_of is OpenAIServer else "AWS_REGION"
    with pytest.raises(ConfigurationError, match=expected):
        close.run(planner=name)
    assert close.runtime.timeline("close") == []


@pytest.mark.parametrize("name", ["nonsense:model", "gpt-5.1", "", "openai:"])
def test_a_name_that_means_no_model_is_a_configuration_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    with pytest.raises(ConfigurationError):
        planner(name)


@PROVIDERS
def test_settings_reach_the_client(server_of: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(server_of(says("done")), monkeypatch) as server:
        planner(name, max_tokens=100).invoke("go")
    body = server.requests[0].body
    assert body.get("max_completion_tokens") == 100 or body["inferenceConfig"] == {"maxTokens": 100}


def test_the_servers_refuse_what_the_providers_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    user, use = {"role": "user", "content": [{"text": "go"}]}, {"toolUseId": "1", "name": "look", "input": {}}
    calls = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": "1", "content": "{}"}
    with OpenAIServer(says("done")) as server:
        post = poster(f"{server.url}/v1/chat/completions", "Bearer x")
        assert post({"model": "m", "messages": [asked, result]}) == 200
        assert post({"model": "m", "messages": [asked]}) == 400
        assert post({"model": "m", "messages": [asked, {"role": "user", "content": "go"}, result]}) == 400
        assert post({"model": "m", "messages": [result]}) == 400
        assert poster(f"{server.url}/v1/chat/completions", "")({"model": "m", "messages": []}) == 401
        assert poster(f"{server.url}/v1/responses", "Bearer x")({"model": "m", "input": "go"}) == 404
    with BedrockServer(says("done")) as server:
        post = poster(f"{server.url}/model/m/converse", "AWS4-HMAC-SHA256 x")
        assert post({"messages": [user]}) == 200
        assert post({"messages": [user, user]}) == 400
        assert post({"messages": [user, {"role": "assistant", "content": [{"toolUse": use}]}, user]}) == 400
        assert post({"messages": [{"role": "user", "content": [{"text": " "}]}]}) == 400
        assert poster(f"{server.url}/model/m/converse", "")({"messages": [user]}) == 403


def poster(url: str, authorization: str) -> Callable[[dict[str, Any]], int]:
    headers = {"Authorization": authorization} if authorization else {}
    return lambda body: httpx.post(url, json=body, headers=headers, trust_env=False).status_code
