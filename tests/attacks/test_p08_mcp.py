"""P8: the credential that an MCP server is given with one call is nowhere else, whatever the server does with it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from test_p08_secrets import Tracer, dump

from bank import Bank, texts
from branch import POLICY, Branch, behind, loaded
from stateward import PolicyError, call, mcp
from ways import every_way

SECRET = "hunter2-of-the-bank"
PAY = [call("bank_pay", amount=5)]
TOKEN = "token: {kind: credential, env: BANK_TOKEN}"
WITH = POLICY.replace("bank: {for: [bot]}", "bank: {for: [bot], identity: token}")


STS = """sts:
      role: arn:aws:iam::123456789012:role/x
      session_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "*"}]}
  """


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_TOKEN", SECRET)


@every_way
@pytest.mark.parametrize("does", ["quiet", "echo", "fail"])
def test_a_credential_reaches_the_server_and_nothing_else(
    bank: Bank, branch: Branch, does: str, caplog: pytest.LogCaptureFixture
) -> None:
    # At DEBUG, the MCP client itself logs all that a server sends, before anybody else has it.
    caplog.set_level(logging.DEBUG if does == "quiet" else logging.INFO)
    said = {"content": [{"type": "text", "text": f"hello {SECRET}"}], "structuredContent": {SECRET: [SECRET]}}
    branch.does(pay="" if does == "quiet" else {**said, "isError": does == "fail"})
    other, tracer = behind(bank, *loaded(branch)), Tracer()
    graph = other.graph(PAY, policy=WITH)
    config: Any = {**other.config(), "callbacks": [tracer]}
    graph.invoke({"messages": [("user", "go")]}, config)
    (reached,) = branch.calls()
    assert reached["authorization"] == f"Bearer {SECRET}"
    rows = dump(bank)
    assert "bank_pay" in rows
    seen = rows + repr(tracer.seen) + caplog.text + repr(bank.runtime.timeline(config["configurable"]["thread_id"]))
    assert SECRET not in seen


def test_the_teams_own_header_gives_way_for_the_call(bank: Bank, branch: Branch) -> None:
    connection = {**branch.http, "headers": {"authorization": "Bearer for-listing"}}
    behind(bank, *mcp.tools_sync({"bank": connection})).run(PAY, policy=WITH)
    assert [one["authorization"] for one in branch.calls()] == [f"Bearer {SECRET}"]


def test_a_call_that_is_not_permitted_has_no_credential(bank: Bank, branch: Branch) -> None:
    policy = WITH.replace("identity: token", "identity: token, deny: [{when: args.amount > 1, because: too much}]")
    branch.offers(*(one for one in offers(branch) if one["name"] == "pay"))
    started = behind(bank, *loaded(branch)).run(PAY, policy=policy)
    assert branch.calls() == []
    assert "too much" in texts(started.out)[0]


def test_a_credential_that_cannot_be_minted_ends_the_call_before_it(
    bank: Bank, branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = loaded(branch)
    monkeypatch.delenv("BANK_TOKEN")
    started = behind(bank, *tools).run(PAY, policy=WITH)
    assert branch.calls() == []
    assert started.effects()[0]["status"] == "failed"


def test_a_credential_for_a_connection_without_headers_is_refused_at_build_time(bank: Bank, branch: Branch) -> None:
    tools = mcp.tools_sync({"bank": branch.stdio})
    with pytest.raises(PolicyError, match="no credential can be given with a call"):
        behind(bank, *tools).run(PAY, policy=WITH)


def test_one_credential_does_not_both_read_and_write(bank: Bank, branch: Branch) -> None:
    trusted = WITH.replace("bank: {for", "bank: {trusted: true, for")
    with pytest.raises(PolicyError, match="'token' would serve"):
        behind(bank, *loaded(branch)).run(PAY, policy=trusted)
    serves = trusted.replace("env: BANK_TOKEN", "env: BANK_TOKEN, serves: [read, write]")
    behind(bank, *loaded(branch)).run(PAY, policy=serves)
    assert branch.names == ["pay"]


@pytest.mark.parametrize("source", ["role: bank_writer", STS])
def test_what_is_no_bearer_token_is_refused(bank: Bank, branch: Branch, source: str) -> None:
    with pytest.raises(PolicyError, match="is no bearer token"):
        behind(bank, *loaded(branch)).run(
            PAY, policy=WITH.replace(TOKEN, f"token:\n    kind: credential\n    {source}")
        )


def offers(branch: Branch) -> list[dict[str, Any]]:
    import json

    return json.loads((branch.directory / "offer.json").read_text(encoding="utf-8"))
