"""P4 and P9 over HTTP: one role forgets, exports and holds, for its own tenant; nobody unless it is named."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from test_p09_forgetting import dumped, found, go, planted

from asking import Asking, Client, said
from bank import Bank
from stateward import Principal, Runtime, Settings, call

WHO = "customer:17"
ASKED: list[tuple[str, dict[str, Any] | None]] = [
    ("/subjects/forget", {"subject": WHO}),
    ("/subjects/receipts", {"subject": WHO}),
    ("/subjects/export", {"subject": WHO}),
    ("/receipts/check", {"receipt": {"id": "E-1", "seal": "x"}}),
    ("/holds", None),
    ("/holds", {"subject": WHO, "reason": "a lawsuit"}),
    ("/holds/end", {"subject": WHO}),
]


@pytest.fixture
async def asking(bank: Bank, settings: Settings) -> AsyncIterator[Asking]:
    opened = lambda: Runtime.open(settings=replace(settings, privacy_role="dpo"))  # noqa: E731
    runtime = await asyncio.to_thread(opened)
    yield Asking(bank=Bank(runtime=runtime, url=bank.url), settings={"jwt_tenant_claim": "org"})
    await asyncio.to_thread(runtime.close)


async def ask(client: Client, path: str, body: dict[str, Any] | None, status: int = 200) -> dict[str, Any]:
    sent = client.http.get(path) if body is None else client.http.post(path, json=body)
    return said(await sent, status)


async def test_only_the_role_may_and_nothing_happens_otherwise(bank: Bank, asking: Asking) -> None:
    await asyncio.to_thread(planted, bank)
    before = bank.rows("select thread_id, head_seq from stateward.thread order by thread_id")
    people: list[tuple[str, dict[str, Any]]] = [
        ("boss", {}),
        ("dpo", {}),  # an id is not a role
        ("eve", {"roles": ["DPO", "dpo2", "auditor"]}),
        ("bot", {"roles": ["dpo"], "kind": "agent"}),
    ]
    for name, claims in people:
        async with asking.as_(name, org="default", **claims) as client:
            for path, body in ASKED:
                assert (await ask(client, path, body, 403))["code"] == "SW900"
    async with asking.as_(None) as nobody:
        for path, body in ASKED:
            await ask(nobody, path, body, 401)
    assert bank.rows("select thread_id, head_seq from stateward.thread order by thread_id") == before


async def test_nobody_may_unless_a_role_is_named(bank: Bank) -> None:
    asking = Asking(bank=bank)
    for roles in (["dpo"], []):
        async with asking.as_("dana", roles=roles) as client:
            for path, body in ASKED:
                assert "names no role" in (await ask(client, path, body, 403))["detail"]


async def test_forgotten_with_a_receipt_that_is_not_lost(bank: Bank, asking: Asking) -> None:
    await asyncio.to_thread(planted, bank)
    async with asking.as_("dana", roles=["dpo"], org="default") as dana:
        receipt = await ask(dana, "/subjects/forget", {"subject": WHO})
        assert (receipt["subject"], receipt["by"], receipt["items"], len(receipt["threads"])) == (WHO, "dana", 10, 5)
        assert receipt["verified_by"] == "jwt:https://id.example"
        assert found(dumped(bank.url)) == set()
        again = await ask(dana, "/subjects/forget", {"subject": WHO})
        assert (again["items"], again["threads"]) == (0, [])
        assert (await ask(dana, "/subjects/receipts", {"subject": WHO}))["receipts"] == [receipt, again]
        assert (await ask(dana, "/receipts/check", {"receipt": receipt}))["genuine"]
        odd = ("", "x", 5, None, "ü", "e30=")
        forged = [
            {**receipt, "items": 11},
            {**receipt, "tenant": "rival"},
            *({**receipt, "seal": one} for one in odd),
            {},
        ]
        for one in forged:
            assert not (await ask(dana, "/receipts/check", {"receipt": one}))["genuine"]


async def test_another_tenant_reaches_nothing(bank: Bank, asking: Asking) -> None:
    await asyncio.to_thread(planted, bank)
    await asyncio.to_thread(bank.runtime.hold, "customer:18", by=Principal("dpo"), reason="ours")
    async with (
        asking.as_("dana", roles=["dpo"], org="default") as dana,
        asking.as_("eve", roles=["dpo"], org="x") as eve,
    ):
        exported = await ask(eve, "/subjects/export", {"subject": WHO})
        assert (exported["threads"], exported["memory"]) == ([], [])
        assert (await ask(eve, "/subjects/forget", {"subject": WHO}))["threads"] == []
        assert (await ask(eve, "/holds", None))["holds"] == []
        assert not (await ask(eve, "/holds/end", {"subject": "customer:18"}))["changed"]
        receipt = await ask(dana, "/subjects/forget", {"subject": WHO})
        assert len(receipt["threads"]) == 5
        assert not (await ask(eve, "/receipts/check", {"receipt": receipt}))["genuine"]
        assert [one["threads"] for one in (await ask(eve, "/subjects/receipts", {"subject": WHO}))["receipts"]] == [[]]


async def test_a_hold_and_its_end(bank: Bank, asking: Asking) -> None:
    await asyncio.to_thread(planted, bank)
    async with asking.as_("dana", roles=["dpo"], org="default") as dana:
        place = {"subject": WHO, "reason": "a lawsuit"}
        assert [(await ask(dana, "/holds", place))["changed"] for _ in range(2)] == [True, False]
        (held,) = (await ask(dana, "/holds", None))["holds"]
        assert (held["subject"], held["reason"], held["by"]) == (WHO, "a lawsuit", "dana")
        refused = await ask(dana, "/subjects/forget", {"subject": WHO}, 409)
        assert (refused["code"], "legal hold" in refused["detail"]) == ("SW530", True)
        assert [(await ask(dana, "/holds/end", {"subject": WHO}))["changed"] for _ in range(2)] == [True, False]
        assert len((await ask(dana, "/subjects/forget", {"subject": WHO}))["threads"]) == 5


async def test_what_is_known_and_who_got_it(bank: Bank, asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    subject = "customer:Zoë/../17 %2F?#"
    await asyncio.to_thread(go, bank, [call("look", what="q")], AIMessage("done"), word="zanzibar", subject=subject)
    caplog.set_level(logging.DEBUG)
    async with asking.as_("dana", roles=["dpo"], org="default") as dana:
        given = await ask(dana, "/subjects/export", {"subject": subject})
        assert all(word in str(given) for word in ("zanzibar-request", "zanzibar-note", "zanzibar-known"))
        assert (await ask(dana, "/subjects/forget", {"subject": subject}))["items"] == 2
        for body in ({"subject": " "}, {"subject": ""}, {"subject": "a\nb"}, {}, {"subject": WHO, "tenant": "x"}):
            await ask(dana, "/subjects/forget", body, 422)
    timeline = await asyncio.to_thread(bank.runtime.timeline, "desk:default")
    assert (timeline[0].kind, timeline[0].actor) == ("subject.exported", "dana")
    assert "Zoë" not in caplog.text
