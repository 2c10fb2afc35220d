"""The HTTP API over ASGI: what it shows, to whom, what it refuses, and how a decision is taken through it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from asking import BIG, Asking, stopped
from bank import POLICY, Bank
from stateward import Principal, Runtime, Settings, call
from stateward.api import create_app
from stateward.api.app import LARGEST_BODY
from stateward.api.identity import LocalPeople
from stateward.errors import ConfigurationError

READERS = frozenset({"auditor"})


@pytest.fixture
def asking(bank: Bank) -> Asking:
    return Asking(bank=bank)


async def test_a_close_look_at_a_thread_and_its_approval(asking: Asking) -> None:
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        (listed,) = (await boss.get("/threads"))["threads"]
        thread = await boss.get(f"/threads/{run.thread}")
        (action,) = (await boss.get(f"/threads/{run.thread}/actions"))["actions"]
        approval = await boss.asked()
        timeline = await boss.get(f"/threads/{run.thread}/timeline")

        assert thread.items() >= listed.items()
        assert (thread["workflow"], thread["status"], thread["requester"]) == ("bank", "waiting", "ann")
        assert thread["waits_for"] == [approval["id"]]
        assert (action["tool"], action["verdict"], action["status"]) == ("pay", "ask", "asked")
        assert action["reasons"] == [{"rule": "tools.pay.ask[0]", "because": "big"}]
        assert (action["policy"], action["receipt"]) == ("bank@1", None)
        assert await boss.get(f"/actions/{action['id']}") == action
        assert approval["arguments"] == {"amount": 500, "to": "ACME"}
        assert approval["requirements"][0]["not"] == ["requester", "subject", "editor"]
        assert await boss.get(f"/approvals/{approval['id']}") == approval
        assert [one["seq"] for one in timeline["entries"]] == list(range(1, len(timeline["entries"]) + 1))
        assert timeline["entries"][-1]["kind"] == "thread.waiting"


async def test_a_decision_and_what_came_of_it(asking: Asking) -> None:
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        taken = await boss.decide(await boss.asked(), "approve")

        assert taken["approval"]["status"] == "approved"
        assert taken["approval"]["signatures"][0]["verified_by"] == "jwt:https://id.example"
        assert (taken["thread"]["workflow"], taken["thread"]["waits_for"]) == ("bank", [])
        assert asking.bank.ran == []  # deciding does not resume

        await asyncio.to_thread(run.resume)
        assert asking.bank.amounts() == [500]
        (action,) = (await boss.get(f"/threads/{run.thread}/actions"))["actions"]
        assert (action["status"], action["approvers"]) == ("consumed", ["boss"])
        assert (action["receipt"]["status"], action["receipt"]["result"]) == ("settled", {"done": 500.0})


@pytest.mark.parametrize(
    ("decision", "more", "status"),
    [("reject", {"reason": "no"}, "rejected"), ("respond", {"reason": "paid by cheque"}, "responded")],
)
async def test_a_word_in_place_of_the_tool(asking: Asking, decision: str, more: dict[str, str], status: str) -> None:
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        taken = await boss.decide(await boss.asked(), decision, **more)
    assert taken["approval"]["status"] == status
    await asyncio.to_thread(run.resume)
    assert asking.bank.ran == []


async def test_an_edit_is_judged_again_and_asks_somebody_else(asking: Asking) -> None:
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss, asking.as_("chief") as chief:
        first = await boss.asked()
        wrong = await boss.decide(first, "edit", 422, arguments={"amount": "much"})
        assert "do not fit pay" in wrong["detail"]
        taken = await boss.decide(first, "edit", arguments={"amount": 400, "to": "ACME"})
        (again,) = taken["thread"]["waits_for"]
        assert again != first["id"]
        second = await chief.asked()
        assert (second["id"], second["editor"], second["arguments"]["amount"]) == (again, "boss", 400)
        assert (await boss.decide(second, "approve", 403))["code"] == "SW420"
        await chief.decide(second, "approve")
    await asyncio.to_thread(run.resume)
    assert asking.bank.amounts() == [400]


async def test_a_double_click_decides_once(asking: Asking) -> None:
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss, asking.as_("chief") as chief:
        asked = await boss.asked()
        both = await asyncio.gather(boss.decide(asked, "approve"), boss.decide(asked, "approve"))
        assert both[0]["approval"] == both[1]["approval"]
        assert len(both[0]["approval"]["signatures"]) == 1
        assert (await boss.decide(asked, "approve"))["approval"] == both[0]["approval"]
        changed = await boss.decide(asked, "reject", 409, reason="no, after all")
        late = await chief.decide(asked, "approve", 409)
    assert changed["detail"].endswith("it is approved already")
    assert (changed["code"], late["code"]) == ("SW420", "SW420")
    await asyncio.to_thread(run.resume)
    assert asking.bank.amounts() == [500]


async def test_what_was_not_shown_is_not_decided(asking: Asking) -> None:
    await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        asked = await boss.asked()
        other = await boss.decide({**asked, "digest": "0" * 64}, "approve", 409)
        none = await boss.http.post(f"/approvals/{asked['id']}/decision", json={"decision": "approve"})
        shrug = await boss.http.post(f"/approvals/{asked['id']}/decision", json={"decision": "shrug"})
        empty = await boss.http.post(f"/approvals/{asked['id']}/decision", json={})
        assert other["detail"].endswith("it asks for something else than what you were shown; look at it again")
        assert none.status_code == 422
        assert none.json()["errors"] == [{"where": "/digest", "what": "Field required"}]
        (wrong,) = shrug.json()["errors"]
        assert (wrong["where"], "'approve', 'done'" in wrong["what"], "shrug" in shrug.text) == (
            "/decision",
            True,
            False,
        )
        assert empty.json()["errors"] == [{"where": "/decision", "what": "Field required"}]
        assert (await boss.asked())["signatures"] == []


async def test_who_sees_what(asking: Asking) -> None:
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        asked = await boss.asked()
        (action,) = (await boss.get(f"/threads/{run.thread}/actions"))["actions"]
    paths = [f"/threads/{run.thread}{part}" for part in ("", "/actions", "/timeline")]
    paths += [f"/approvals/{asked['id']}", f"/actions/{action['id']}"]
    for who in ("boss", "chief", "ann"):
        async with asking.as_(who) as somebody:
            assert await somebody.inbox() == [asked]
            for path in paths:
                await somebody.get(path)
    async with asking.as_("ann") as ann:
        assert (await ann.decide(asked, "approve", 403))["code"] == "SW420"
    for claims in ({"sub": "mallory"}, {"sub": "bot-2", "kind": "agent"}):
        async with asking.as_(None, token=asking.issuer.token(**claims)) as stranger:
            assert await stranger.inbox() == []
            assert (await stranger.get("/threads"))["threads"] == []
            for path in paths:
                assert (await stranger.get(path, 404))["code"] == "SW920"
            assert (await stranger.decide(asked, "approve", 404))["code"] == "SW920"


async def test_a_role_is_a_name_too(asking: Asking) -> None:
    await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("lea", roles=["chief"]) as lea:
        assert (await lea.decide(await lea.asked(), "approve"))["approval"]["status"] == "approved"


async def test_only_a_person_decides(asking: Asking) -> None:
    await asyncio.to_thread(stopped, asking.bank)
    for claims in ({"kind": "agent"}, {"kind": "service"}, {"client_id": "boss"}, {"gty": "client-credentials"}):
        async with asking.as_("boss", **claims) as machine:
            assert "only a person decides" in (await machine.decide(await machine.asked(), "approve", 403))["detail"]


async def test_another_tenant_sees_nothing(asking: Asking) -> None:
    asking.settings["jwt_tenant_claim"] = "org"
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss", org="default") as boss, asking.as_("boss", org="other") as other:
        asked = await boss.asked()
        assert await other.inbox(status="all") == []
        await other.get(f"/threads/{run.thread}", 404)
        await other.get(f"/approvals/{asked['id']}", 404)
        await other.get("/threads", 404, after=run.thread)
        await other.decide(asked, "approve", 404)
    async with asking.as_("boss") as nowhere:
        await nowhere.get("/approvals", 401)


async def test_a_reader_sees_all_of_the_tenant(bank: Bank, settings: Settings) -> None:
    run = await asyncio.to_thread(stopped, bank)
    with await asyncio.to_thread(lambda: Runtime.open(settings=replace(settings, readers=READERS))) as runtime:
        asking = Asking(bank=Bank(runtime=runtime, url=bank.url))
        async with asking.as_("eve", roles=["auditor"]) as eve:
            assert (await eve.get(f"/threads/{run.thread}"))["thread"] == run.thread
            assert (await eve.decide(await eve.asked(), "approve", 403))["code"] == "SW420"
        await asyncio.to_thread(runtime.close)


async def test_pages(asking: Asking) -> None:
    script = [[call("look", what=str(n)) for n in range(5)]]
    runs = [await asyncio.to_thread(asking.bank.run, *script) for _ in range(3)]
    async with asking.as_("ann") as ann:
        first = await ann.get("/threads", limit=2)
        rest = await ann.get("/threads", limit=2, after=first["next"])
        listed = [one["thread"] for one in first["threads"] + rest["threads"]]
        assert listed == [run.thread for run in reversed(runs)]
        assert rest["next"] is None

        actions = await pages(ann, f"/threads/{runs[0].thread}/actions", "actions")
        assert [one["arguments"]["what"] for one in actions] == list("01234")
        entries = await pages(ann, f"/threads/{runs[0].thread}/timeline", "entries")
        assert [one["hash"] for one in entries] == [
            one.hash for one in await asyncio.to_thread(asking.bank.runtime.timeline, runs[0].thread)
        ]
        for path in ("/threads", "/approvals", f"/threads/{runs[0].thread}/actions"):
            await ann.get(path, 404, after="nothing of that name")


async def pages(client: Any, path: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        page = await client.get(path, limit=2, **after)
        found += page[key]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def test_filters(asking: Asking) -> None:
    waiting = await asyncio.to_thread(stopped, asking.bank)
    done = await asyncio.to_thread(asking.bank.run, [call("look", what="x")])
    async with asking.as_("ann") as ann:
        for query, expected in (
            ({"status": "waiting"}, [waiting.thread]),
            ({"status": "answered"}, [done.thread]),
            ({"subject": "customer:18"}, []),
            ({"workflow": "bank"}, [done.thread, waiting.thread]),
        ):
            assert [one["thread"] for one in (await ann.get("/threads", **query))["threads"]] == expected
        assert len(await ann.inbox(thread=waiting.thread)) == 1
        assert await ann.inbox(thread=done.thread) == []
        assert await ann.inbox(status="approved") == []


@pytest.mark.parametrize(
    ("query", "where", "what"),
    [
        ("limit=0", "limit", "greater than or equal to 1"),
        ("limit=many", "limit", "valid integer"),
        ("status=wating", "status", "'waiting'"),
        ("statsu=waiting", "statsu", "did you mean 'status'?"),
        ("limit=1&limit=2", "limit", "more than once"),
        ("subject=a%00b", "subject", "pattern"),
    ],
)
async def test_a_bad_parameter_is_named(asking: Asking, query: str, where: str, what: str) -> None:
    async with asking.as_("boss") as boss:
        problem = await boss.get(f"/threads?{query}", 422)
    assert problem["code"] == "SW900"
    (wrong,) = problem["errors"]
    assert wrong["where"] == where
    assert what in wrong["what"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "{",
        '{"decision": "shrug", "digest": "%s"}',
        '{"decision": "reject", "digest": "%s", "reason": "  "}',
        '{"decision": "approve", "digest": "%s", "arguments": {}}',
        '{"decision": "edit", "digest": "%s"}',
        '{"decision": "edit", "digest": "%s", "arguments": {"amount": NaN}}',
        '{"decision": "edit", "digest": "%s", "arguments": {"amount": 1e999}}',
        '{"decision": "edit", "digest": "%s", "arguments": {"to": "a\\u0000b"}}',
        '{"decision": "edit", "digest": "%s", "arguments": {"to": "\\ud800"}}',
        '{"decision": "edit", "digest": "%s", "arguments": ' + '{"a": ' * 500 + "1" + "}" * 501,
        '{"decision": "edit", "digest": "%s", "arguments": {"amount": ' + "9" * 5000 + "}}",
    ],
)
async def test_a_bad_body_decides_nothing(asking: Asking, body: str) -> None:
    await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        asked = await boss.asked()
        content = body.replace("%s", asked["digest"])
        path, headers = f"/approvals/{asked['id']}/decision", {"Content-Type": "application/json"}
        answer = await boss.http.post(path, content=content, headers=headers)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"]
        assert (await boss.asked())["signatures"] == []


async def test_a_body_of_another_kind_or_size_is_refused(asking: Asking) -> None:
    async with asking.as_("boss") as boss:
        path = "/approvals/A-AAAAAAAA/decision"
        form = await boss.http.post(path, data={"decision": "approve"})
        large = await boss.http.post(
            path, content=b" " * (LARGEST_BODY + 1), headers={"Content-Type": "application/json"}
        )
    assert (form.status_code, large.status_code) == (415, 413)


async def test_paths_and_methods_that_are_not_there(asking: Asking) -> None:
    async with asking.as_("boss") as boss:
        await boss.get("/", 404)
        await boss.get("/threads/", 404)
        answer = await boss.http.delete("/threads")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert answer.json()["code"] == "SW900"


async def test_every_answer_stays_put(asking: Asking) -> None:
    async with asking.as_(None) as nobody:
        for path in ("/health", "/openapi.json", "/threads", "/nothing"):
            headers = (await nobody.http.get(path, headers={"Origin": "https://evil.example"})).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert not [name for name in headers if name.startswith("access-control-")]
            assert "stateward-development" not in headers


async def test_the_log_names_nobody(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="stateward.api")
    run = await asyncio.to_thread(stopped, asking.bank)
    async with asking.as_("boss") as boss:
        await boss.get("/threads", subject="customer:17")
        await boss.decide(await boss.asked(), "reject", reason="ann asked me to")
        await boss.get("/nothing", 404)
    async with asking.as_(None, token="a.b.c") as nobody:
        await nobody.get("/threads", 401)
    said = "\n".join(record.getMessage() for record in caplog.records if record.name == "stateward.api")
    assert "decideApproval 200" in said
    assert "refused a token: DecodeError" in said
    for secret in ("boss", "ann", "customer:17", run.thread, "a.b.c", "eyJ"):
        assert secret not in said


async def test_without_a_database_it_says_so_and_no_more(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    async with asking.as_("boss") as boss:
        assert await boss.get("/health") == {"status": "ok", "development": False}
        await asyncio.to_thread(asking.bank.runtime.close)
        problem = await boss.get("/threads", 503)
    assert "postgres" not in problem["detail"].lower()


def test_without_settings_it_does_not_start(bank: Bank) -> None:
    with pytest.raises(ConfigurationError, match="set STATEWARD_JWKS, STATEWARD_JWT_ISSUER"):
        create_app(bank.runtime)


async def test_development_mode_says_so_and_is_for_this_machine(bank: Bank) -> None:
    await asyncio.to_thread(stopped, bank)
    asking = Asking(bank=bank)
    asking.app = lambda: create_app(bank.runtime, identity=LocalPeople())  # type: ignore[method-assign]
    async with asking.as_(None) as client:
        client.http.base_url = "http://127.0.0.1:8080"
        assert (await client.http.get("/approvals")).status_code == 401
        client.http.headers.update({"Stateward-Person": "lea", "Stateward-Roles": "chief, clerk"})
        answer = await client.http.get("/approvals")
        assert answer.headers["stateward-development"] == "nobody is verified"
        taken = await client.decide(answer.json()["approvals"][0], "approve")
        assert taken["approval"]["signatures"][0]["verified_by"] == "development: nobody"
        for headers in (
            {"Host": "api.example"},
            {"Host": "127.0.0.1.evil.example"},
            {"Host": "[::1"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"X-Forwarded-For": "203.0.113.7"},
        ):
            for path in ("/approvals", "/openapi.json", "/health"):
                assert (await client.http.get(path, headers=headers)).status_code == 403


async def test_the_runtime_that_loaded_no_workflow_says_so_for_an_edit(bank: Bank, settings: Settings) -> None:
    await asyncio.to_thread(stopped, bank)
    elsewhere = await asyncio.to_thread(lambda: Runtime.open(settings=settings))
    asking = Asking(bank=Bank(runtime=elsewhere, url=bank.url))
    async with asking.as_("boss") as boss:
        asked = await boss.asked()
        problem = await boss.decide(asked, "edit", 409, arguments={"amount": 400})
        assert "not loaded in this process" in problem["detail"]
        assert (await boss.decide(asked, "approve"))["approval"]["status"] == "approved"
    await asyncio.to_thread(elsewhere.close)


async def test_two_people_have_to_approve(asking: Asking) -> None:
    policy = POLICY.replace("by: [boss, chief],", "by: [boss, chief], of: 2,")
    await asyncio.to_thread(lambda: asking.bank.run(BIG, policy=policy))
    async with asking.as_("boss") as boss, asking.as_("chief") as chief:
        asked = await boss.asked()
        first = await boss.decide(asked, "approve")
        assert (first["approval"]["status"], first["thread"]["waits_for"]) == ("pending", [asked["id"]])
        assert await boss.decide(asked, "approve") == first
        assert (await chief.decide(asked, "approve"))["approval"]["status"] == "approved"


async def test_a_delegate_sees_and_decides_what_the_delegator_may(asking: Asking) -> None:
    await asyncio.to_thread(stopped, asking.bank)
    boss = Principal("boss", verified_by="test")
    async with asking.as_("dan") as dan:
        assert await dan.inbox() == []
        lent = await asyncio.to_thread(
            lambda: asking.bank.runtime.delegate(boss, to="dan", until=timedelta(hours=1), by=boss)
        )
        asked = await dan.asked()
        await asyncio.to_thread(lambda: asking.bank.runtime.revoke_delegation(lent.id, by=boss))
        assert await dan.inbox() == []
        await asyncio.to_thread(lambda: asking.bank.runtime.delegate(boss, to="dan", until=timedelta(hours=1), by=boss))
        taken = await dan.decide(asked, "approve")
    (signature,) = taken["approval"]["signatures"]
    assert (signature["by"], signature["acting_for"]) == ("dan", "boss")


async def test_what_has_to_be_typed_is_typed(asking: Asking) -> None:
    policy = POLICY.replace("within: 2d,", "within: 2d, confirm: typed,")
    await asyncio.to_thread(lambda: asking.bank.run(BIG, policy=policy))
    async with asking.as_("boss") as boss:
        asked = await boss.asked()
        assert "has to be typed" in (await boss.decide(asked, "approve", 422))["detail"]
        taken = await boss.decide(asked, "approve", confirmation=asked["confirmation"])
        assert taken["approval"]["status"] == "approved"
        assert (await boss.decide(asked, "approve", confirmation=asked["confirmation"]))["approval"] == taken[
            "approval"
        ]
