"""LangGraph's server with our API under a prefix and our tokens at its door: a close is asked for, decided, resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from dev_server import ROOT, langgraph_dev, new_home
from small_books import ASKED, write_small_books
from stateward import Runtime, Settings
from tokens import AUDIENCE, ISSUER, Issuer, other_keys

pytestmark = pytest.mark.slow
LOOK_AGAIN = {"stateward": "look at the desk"}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running `langgraph dev` that takes tokens of one issuer."""

    url: str
    home: Path
    issuer: Issuer

    def headers(self, who: str, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.issuer.token(sub=who, org='acme', **claims)}"}

    @contextmanager
    def sdk(self, who: str, **claims: Any) -> Iterator[SyncLangGraphClient]:
        with get_sync_client(url=self.url, headers=self.headers(who, **claims)) as client:
            yield client

    def api(self, who: str | None, **claims: Any) -> httpx.Client:
        headers = self.headers(who, **claims) if who else {}
        return httpx.Client(base_url=f"{self.url}/stateward", headers=headers, timeout=60)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with new_home() as home:
        issuer = Issuer()
        (home / "jwks.json").write_text(json.dumps(issuer.key_set()))
        auth = {"path": "stateward.api.langgraph_auth:auth", "disable_studio_auth": True}
        ours = {
            "STATEWARD_JWKS": str(home / "jwks.json"),
            "STATEWARD_JWT_ISSUER": ISSUER,
            "STATEWARD_JWT_AUDIENCE": AUDIENCE,
            "STATEWARD_JWT_TENANT_CLAIM": "org",
        }
        with configured(home, {"auth": auth}, ours) as url:
            yield Server(url=url, home=home, issuer=issuer)


def test_nobody_without_a_token_comes_in(server: Server) -> None:
    with server.api(None) as nobody:
        assert nobody.get("/health").json() == {"status": "ok", "development": False}
        assert nobody.get("/openapi.json").json()["servers"] == [{"url": "/stateward"}]
        assert nobody.get("/approvals").status_code == 401
        assert nobody.post(f"{server.url}/threads", json={}).status_code == 401
        forged = {"Authorization": f"Bearer {Issuer(keys=other_keys()).token(org='acme')}"}
        assert nobody.post(f"{server.url}/threads", json={}, headers=forged).status_code == 401
        assert nobody.get("/approvals", headers=forged).status_code == 401
        assert nobody.post(f"{server.url}/threads", json={}, headers={"x-auth-scheme": "langsmith"}).status_code == 401


def test_a_close_is_asked_for_decided_and_resumed_by_people_with_tokens(server: Server, tmp_path: Path) -> None:
    thread = start(server, "ann", tmp_path, period="2026-05")
    with server.api("ada", roles=["controller"]) as ada, server.api("mallory") as mallory:
        shown = ada.get(f"/threads/{thread}").json()
        assert (shown["requester"], shown["tenant"], shown["workflow"]) == ("ann", "acme", "month_end")
        assert len(shown["waits_for"]) == ASKED
        assert mallory.get(f"/threads/{thread}").status_code == 404

        # A service's token answers in the SDK's way, and decides nothing.
        again = run(server, thread, "robot", command=approve(ASKED), kind="service", roles=["controller"])
        assert "only a person decides" in shown_in(again)[0]["description"]

        first, *rest = ada.get("/approvals", params={"thread": thread}).json()["approvals"]
        edited = {"decision": "edit", "digest": first["digest"], "arguments": first["arguments"]}
        assert ada.post(f"/approvals/{first['id']}/decision", json=edited).status_code == 200
        for one in rest:
            said = {"decision": "approve", "digest": one["digest"]}
            assert ada.post(f"/approvals/{one['id']}/decision", json=said).status_code == 200

    # The question that the edit has raised stands; another controller answers it through the SDK.
    assert len(shown_in(run(server, thread, "ann", command={"resume": LOOK_AGAIN}))) == 1
    done = run(server, thread, "bob", command=approve(1), roles=["controller"])
    assert done["outcome"] == "answered"

    with Runtime.open(settings=Settings(home=server.home)) as ours:
        signatures = [one for asked in ours.approvals(thread=thread, status=None) for one in asked.signatures]
        assert {(one.principal, one.verified_by) for one in signatures} == {
            ("ada", f"jwt:{ISSUER}"),
            ("bob", f"jwt:{ISSUER}"),
        }
        assert not ours.verify_audit(thread).breaks


def test_another_tenant_reaches_neither_thread_nor_approval(server: Server, tmp_path: Path) -> None:
    thread = start(server, "ann", tmp_path, period="2026-06")
    theirs = {"Authorization": f"Bearer {server.issuer.token(sub='ada', org='other', roles=['controller'])}"}
    with httpx.Client(base_url=server.url, headers=theirs, timeout=60) as other:
        assert other.get("/stateward/approvals").json() == {"approvals": [], "next": None}
        assert other.get(f"/stateward/threads/{thread}").status_code == 404
        assert other.get(f"/threads/{thread}/state").status_code == 404
        resume = {"assistant_id": "month_end", "command": approve(ASKED)}
        assert other.post(f"/threads/{thread}/runs/wait", json=resume).status_code == 404
        assert other.post("/store/items/search", json={"namespace_prefix": []}).status_code == 403
    with Runtime.open(settings=Settings(home=server.home)) as ours:
        assert all(not one.signatures for one in ours.approvals(thread=thread))


def test_an_unconfigured_server_runs_and_serves_nothing_of_ours() -> None:
    with new_home() as home, configured(home, {}, {}) as url:
        answer = httpx.get(f"{url}/stateward/approvals", timeout=60)
        assert answer.status_code == 503
        assert "set STATEWARD_JWKS" in answer.json()["detail"]


def start(server: Server, who: str, folder: Path, *, period: str) -> str:
    """A close that somebody asked for and that waits for people."""
    with server.sdk(who) as client:
        thread = str(client.threads.create()["thread_id"])
    assert len(shown_in(run(server, thread, who, input=small_input(folder, period)))) == ASKED
    return thread


def run(server: Server, thread: str, who: str, *, input: Any = None, command: Any = None, **claims: Any) -> Any:
    """Run to the next stop as somebody."""
    with server.sdk(who, **claims) as client:
        return client.runs.wait(thread, "month_end", raise_error=False, input=input, command=command)


def approve(count: int) -> dict[str, Any]:
    return {"resume": {"decisions": [{"type": "approve"}] * count}}


def shown_in(said: Any) -> list[dict[str, Any]]:
    return list(said["__interrupt__"][0]["value"]["action_requests"])


def small_input(folder: Path, period: str) -> dict[str, Any]:
    books = write_small_books(folder / period, period=period)
    return {"period": period, "bank": str(books.bank), "ledger": str(books.ledger), "out": str(folder / "out")}


@contextmanager
def configured(home: Path, more: dict[str, Any], environment: dict[str, str]) -> Iterator[str]:
    """The server with the project's own configuration and more; where it listens."""
    config = json.loads((ROOT / "langgraph.json").read_text())
    config["graphs"]["month_end"]["path"] = f"{ROOT}/graphs/month_end/graph.py:graph"
    (home / "langgraph.json").write_text(json.dumps({**config, "dependencies": [str(ROOT)], **more}))
    with langgraph_dev(home, environment, config=home / "langgraph.json") as started:
        started.wait_until_up()
        yield started.url
