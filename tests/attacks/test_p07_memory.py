"""P7: nothing enters long-term memory without subject, purpose, kind and expiry, and personal data is treated first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langgraph.config import get_store

from bank import Bank, Started, start
from stateward import Principal
from stateward.errors import MemoryRefused

PLANTED = {
    "mail": "jo.planted@example.com",
    "card": "4111111111111111",
    "iban": "DE89370400440532013000",
    "phone": "+1 212 555 0187",
}
StepFunction = Callable[[Any, Any], Awaitable[Any]]


def within(bank: Bank, function: StepFunction, **facts: Any) -> Started:
    """A run whose first step is this function."""
    graph = bank.graph(prepare=lambda flow: flow.retrieve(function))
    config = bank.config(**facts)
    out = graph.invoke({"messages": [("user", "go")], "subject": facts.get("subject", "customer:17")}, config)
    return Started(bank=bank, graph=graph, config=config, out=out)


def recalled(bank: Bank, **facts: Any) -> list[Any]:
    """What a run about these facts finds, through the step and through LangGraph's store."""
    found: list[Any] = []

    async def recall(state, step):
        found.extend(await step.recall("note"))
        found.extend(await get_store().asearch(("note",)))

    within(bank, recall, **facts)
    return found


async def keep(state: Any, step: Any) -> None:
    await step.remember("note", "n1", text="a note")


def test_what_is_kept_has_all_four(bank: Bank) -> None:
    run = within(bank, keep)
    (row,) = bank.rows("select *, expires_at - created_at as kept from stateward.memory")
    assert (row["subject"], row["purpose"], row["kind"]) == ("customer:17", "bank", "note")
    assert (row["kept"].days, row["source"]) == (10, run.thread)


@pytest.mark.parametrize("place", [("gossip",), (), ("Note",), ("other",), ("bank", "note")])
def test_what_the_policy_does_not_declare_is_refused(bank: Bank, place: tuple[str, ...]) -> None:
    async def write(state, step):
        await get_store().aput(place, "k", {"text": "x"})

    with pytest.raises((MemoryRefused, ValueError)):
        within(bank, write)
    assert bank.rows("select * from stateward.memory") == []


def test_outside_a_run_nothing_is_written_and_nothing_found(bank: Bank) -> None:
    within(bank, keep)
    with pytest.raises(MemoryRefused, match="inside a run"):
        bank.runtime.store.put(("note",), "n1", {"text": "overwritten"})
    with pytest.raises(MemoryRefused, match="inside a run"):
        bank.runtime.store.delete(("note",), "n1")
    assert bank.runtime.store.get(("note",), "n1") is None
    assert bank.runtime.store.search(("note",)) == []
    assert bank.runtime.store.list_namespaces() == []
    assert len(bank.rows("select * from stateward.memory")) == 1


def test_the_same_subject_and_purpose_finds_it_in_another_thread(bank: Bank) -> None:
    within(bank, keep)
    assert len(recalled(bank)) == 2


@pytest.mark.parametrize(
    "facts", [{"subject": "customer:18"}, {"principal": Principal("bot", kind="agent", tenant="other")}]
)
def test_another_subject_or_tenant_finds_nothing(bank: Bank, facts: dict[str, Any]) -> None:
    within(bank, keep)
    assert recalled(bank, **facts) == []


def test_a_namespace_in_the_call_does_not_reach_another_subject(bank: Bank) -> None:
    within(bank, keep)
    found: list[Any] = []

    async def reach(state, step):
        store = get_store()
        for place in [("note", "customer:17"), ("customer:17", "note"), ()]:
            found.extend(await store.asearch(place))
        found.append(await store.aget(("note",), "n1"))

    within(bank, reach, subject="customer:18")
    assert found == [None]


def test_what_has_expired_is_never_returned(bank: Bank) -> None:
    within(bank, keep)
    bank.rows("update stateward.memory set expires_at = clock_timestamp()")
    assert recalled(bank) == []


def test_reading_does_not_extend_it(bank: Bank) -> None:
    within(bank, keep)
    before = bank.rows("select expires_at, updated_at, version from stateward.memory")
    recalled(bank)
    assert bank.rows("select expires_at, updated_at, version from stateward.memory") == before


def test_writing_it_again_after_it_expired_starts_anew(bank: Bank) -> None:
    within(bank, keep)
    bank.rows("update stateward.memory set expires_at = clock_timestamp(), created_at = now() - interval '1 year'")
    within(bank, keep)
    (row,) = bank.rows("select created_at > now() - interval '1 hour' as fresh, version from stateward.memory")
    assert row["fresh"]


def everything(bank: Bank) -> str:
    """Every row of every table of memory and the audit trail, as text."""
    rows = [bank.rows(f"select t::text as row from stateward.{name} t") for name in ("memory", "ledger")]
    return str(rows)


@pytest.mark.parametrize(
    "value",
    [
        {"text": "write to jo.planted@example.com or call +1 212 555 0187"},
        {"nested": [{"deep": ["card 4111111111111111", {"iban": "DE89370400440532013000"}]}]},
        {"jo.planted@example.com": "as a key"},
        {"card": 4111111111111111},
        {"text": "JO.PLANTED@EXAMPLE.COM".lower() + ", " + "4111 1111 1111 1111"},
    ],
    ids=["text", "nested", "key", "number", "grouped"],
)
def test_planted_personal_data_is_in_no_row(bank: Bank, value: dict[str, Any]) -> None:
    async def plant(state, step):
        await step.remember("note", "n1", **value)

    try:
        within(bank, plant)
    except MemoryRefused:
        assert bank.rows("select * from stateward.memory") == []
    kept = everything(bank)
    for planted in [*PLANTED.values(), "4111 1111 1111 1111"]:
        assert planted not in kept


@pytest.mark.parametrize("place", ["key", "namespace"])
def test_personal_data_in_a_key_or_namespace_is_refused(bank: Bank, place: str) -> None:
    async def plant(state, step):
        iban = PLANTED["iban"]  # LangGraph itself refuses labels with a dot, such as an address
        where, key = (("note",), iban) if place == "key" else (("note", iban), "k")
        await get_store().aput(where, key, {"text": "x"})

    with pytest.raises(MemoryRefused, match="holds personal data"):
        within(bank, plant)
    assert PLANTED["iban"] not in everything(bank)


def test_a_tool_writes_under_the_same_rules(bank: Bank) -> None:
    from langchain_core.messages import AIMessage

    from bank import POLICY
    from stateward import call, tool
    from stateward.testing import proposes

    @tool
    async def look(what: str) -> str:
        """Look something up."""
        await get_store().aput(("note",), "seen", {"text": what})
        await get_store().aput(("gossip",), "seen", {"text": what})
        return "kept"

    tools = [look, *(one for one in bank.tools() if one.name != "look")]
    flow = bank.flow(tools, POLICY, [proposes(call("look", what="of jo.planted@example.com")), AIMessage("done")])
    start(flow.compile(bank.runtime), bank.config())
    (row,) = bank.rows("select value from stateward.memory")
    assert "planted" not in str(row)
