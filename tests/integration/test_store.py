"""LangGraph's store semantics, as its own tests and its documentation have them, on governed memory."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langgraph.config import get_store
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from bank import ANN, POLICY, Bank
from stateward import Principal
from stateward.errors import MemoryRefused

KINDS = """
    a: {purpose: [bank], keep: 10d}
    b: {purpose: [bank], keep: 10d}
    docs: {purpose: [bank], keep: 10d}
    test: {purpose: [bank], keep: 10d}
    users: {purpose: [bank], keep: 10d}
"""
Work = Callable[[BaseStore], Awaitable[Any]]
Within = Callable[[Work], Any]


@pytest.fixture
def within(bank: Bank) -> Within:
    """Does something with the store inside a run, as a node does."""
    policy = POLICY.replace("  kinds:", "  kinds:" + KINDS.rstrip())

    def run(work: Work) -> Any:
        said: list[Any] = []
        flow = bank.flow(bank.tools(), policy, [])

        @flow.retrieve
        async def step(state: Any, step: Any) -> None:
            said.append(await work(get_store()))

        graph = flow.compile(bank.runtime)
        given: dict[str, Any] = {"principal": Principal("bot", kind="agent"), "purpose": "bank", "requester": ANN}
        config = bank.runtime.thread(str(uuid.uuid4()), subject="customer:17", graph="bank", **given)
        graph.invoke({"messages": [("user", "go")]}, config)
        return said[0]

    return run


def test_put_get_delete(within: Within) -> None:
    async def work(store: BaseStore) -> None:
        namespace, key = ("test", "documents"), "doc1"
        value = {"title": "Test Document", "content": "Hello, World!", "n": [1, 2.5, None, True, {"x": {}}]}
        await store.aput(namespace, key, value)
        item = await store.aget(namespace, key)
        assert isinstance(item, Item)
        assert (item.namespace, item.key, item.value) == (namespace, key, value)
        created = item.created_at
        await store.aput(namespace, key, {"title": "Updated"})
        item = await store.aget(namespace, key)
        assert item is not None
        assert item.value == {"title": "Updated"}
        assert item.created_at == created < item.updated_at
        assert await store.aget(("test", "other"), key) is None
        assert await store.aget(("test",), key) is None
        assert await store.aget(namespace, "doc2") is None
        await store.adelete(namespace, key)
        assert await store.aget(namespace, key) is None
        await store.aput(namespace, key, value)
        await store.abatch([PutOp(namespace, key, None)])
        assert await store.aget(namespace, key) is None
        await store.adelete(namespace, key)

    within(work)


def test_the_blocking_methods_do_the_same(within: Within) -> None:
    def blocks(store: BaseStore) -> list[Any]:
        store.put(("test",), "k", {"n": 1})
        found = [store.get(("test",), "k"), store.search(("test",))[0], store.list_namespaces()]
        store.delete(("test",), "k")
        return [found[0].value, found[1].value, found[2], store.get(("test",), "k")]

    async def work(store: BaseStore) -> list[Any]:
        return await asyncio.to_thread(blocks, store)

    assert within(work) == [{"n": 1}, {"n": 1}, [("test",)], None]


def test_a_batch_reads_what_was_there_before_it_and_its_last_write_counts(within: Within) -> None:
    async def work(store: BaseStore) -> None:
        await store.aput(("test", "foo"), "key1", {"data": "value1"})
        await store.aput(("test", "bar"), "key2", {"data": "value2"})
        ops: list[Any] = [
            GetOp(namespace=("test", "foo"), key="key1"),
            PutOp(namespace=("test", "bar"), key="key2", value={"data": "changed"}),
            SearchOp(namespace_prefix=("test",), filter={"data": "value1"}, limit=10, offset=0),
            ListNamespacesOp(match_conditions=None, max_depth=None, limit=10, offset=0),
            GetOp(namespace=("test",), key="key3"),
            GetOp(namespace=("test", "bar"), key="key2"),
            PutOp(namespace=("test", "bar"), key="key2", value={"data": "last"}),
        ]
        found: list[Any] = await store.abatch(ops)
        assert len(found) == 7
        assert (found[0].key, found[0].value) == ("key1", {"data": "value1"})
        assert found[1] is found[4] is found[6] is None
        assert [item.key for item in found[2]] == ["key1"]
        assert found[3] == [("test", "bar"), ("test", "foo")]
        assert found[5].value == {"data": "value2"}
        last = await store.aget(("test", "bar"), "key2")
        assert last is not None
        assert last.value == {"data": "last"}
        assert await store.abatch([]) == []

    within(work)


def test_a_batch_of_which_one_write_is_refused_writes_nothing(within: Within) -> None:
    async def work(store: BaseStore) -> list[Any]:
        with pytest.raises(MemoryRefused):
            await store.abatch([PutOp(("test",), "k", {"n": 1}), PutOp(("gossip",), "k", {"n": 1})])
        return await store.asearch(())

    assert within(work) == []


VALUES: dict[str, dict[str, Any]] = {
    "one": {"n": 1, "s": "apple", "tags": ["x", "y"], "at": {"city": "Bonn", "no": 5}, "ok": True, "dash-ed": "x"},
    "ten": {"n": 10, "s": "banana", "tags": ["x"], "at": {"city": "Köln", "no": 12}, "ok": False},
    "nine": {"n": 9.5, "s": "Apple", "tags": [], "at": "Bonn", "ok": None},
    "text": {"n": "9", "s": '"quoted" \\ $x'},
    "none": {},
}


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({}, {"one", "ten", "nine", "text", "none"}),
        ({"n": 1}, {"one"}),
        ({"n": 1.0}, {"one"}),
        ({"n": "1"}, set()),
        ({"n": True}, set()),
        ({"n": {"$eq": 10}}, {"ten"}),
        ({"n": {"$ne": 1}}, {"ten", "nine", "text", "none"}),
        ({"n": {"$gt": 9}}, {"ten", "nine"}),
        ({"n": {"$gte": 9.5}}, {"ten", "nine"}),
        ({"n": {"$lt": 10}}, {"one", "nine"}),
        ({"n": {"$lte": 1, "$gt": -1e3}}, {"one"}),
        ({"n": {"$gt": "10"}}, {"text"}),
        ({"s": {"$gt": "apple"}}, {"ten"}),
        ({"s": {"$lt": "a"}}, {"nine", "text"}),
        ({"s": '"quoted" \\ $x'}, {"text"}),
        ({"ok": True}, {"one"}),
        ({"ok": None}, {"nine", "text", "none"}),
        ({"ok": {"$ne": None}}, {"one", "ten"}),
        ({"ok": {"$gt": False}}, set()),
        ({"tags": ["x", "y"]}, {"one"}),
        ({"tags": []}, {"nine"}),
        ({"tags": "x"}, set()),
        ({"at": {"city": "Bonn"}}, {"one"}),
        ({"at": {"no": {"$gt": 5}}}, {"ten"}),
        ({"at": "Bonn"}, {"nine"}),
        ({"at": {}}, {"one", "ten"}),
        ({"dash-ed": "x"}, {"one"}),
        ({"n": 1, "s": "apple"}, {"one"}),
        ({"n": 1, "s": "banana"}, set()),
        ({"missing": "x"}, set()),
    ],
    ids=str,
)
def test_filters_compare_numbers_as_numbers_and_never_across_types(within: Within, wanted: Any, keys: set[str]) -> None:
    async def work(store: BaseStore) -> set[str]:
        await store.abatch([PutOp(("test",), key, value) for key, value in VALUES.items()])
        return {item.key for item in await store.asearch(("test",), filter=wanted)}

    assert within(work) == keys


@pytest.mark.parametrize("wanted", [{"n": {"$in": [1]}}, {"n": float("nan")}, {"n": "\0"}, {"n": object()}], ids=str)
def test_a_filter_that_nobody_knows_is_an_error(within: Within, wanted: Any) -> None:
    async def work(store: BaseStore) -> None:
        with pytest.raises(ValueError, match="filter"):
            await store.asearch(("test",), filter=wanted)

    within(work)


def test_search_has_limit_and_offset_and_prefixes_are_of_labels(within: Within) -> None:
    async def work(store: BaseStore) -> None:
        places = [("docs",), ("docs", "user1"), ("docs", "user10"), ("docs", "user1", "x"), ("users", "user1")]
        await store.abatch([PutOp(place, f"k{at}", {"at": at}) for place in places for at in range(3)])
        found = await store.asearch(("docs", "user1"), limit=99)
        assert {item.namespace for item in found} == {("docs", "user1"), ("docs", "user1", "x")}
        everything = await store.asearch(("docs",), limit=99)
        assert len(everything) == 12
        pages = [await store.asearch(("docs",), limit=5, offset=at) for at in (0, 5, 10, 15)]
        assert [len(page) for page in pages] == [5, 5, 2, 0]
        assert [item for page in pages for item in page] == everything
        assert len(await store.asearch(("docs",))) == 10

    within(work)


def test_list_namespaces(within: Within) -> None:
    places = [
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("b", "a", "f"),
        ("users", "123"),
        ("users", "456", "settings"),
    ]

    async def work(store: BaseStore) -> None:
        await store.abatch([PutOp(place, "k", {"x": 1}) for place in places])
        listed = store.alist_namespaces
        assert await listed() == sorted(places)
        assert await listed(prefix=("a", "b")) == sorted(places)[:4]
        assert set(await listed(suffix=("f",))) == {("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")}
        assert await listed(prefix=("a",), suffix=("b", "f")) == [("a", "b", "f")]
        assert await listed(max_depth=2) == [("a", "b"), ("a", "c"), ("b", "a"), ("users", "123"), ("users", "456")]
        assert await listed(prefix=("users",), max_depth=1) == [("users",)]
        assert await listed(prefix=("a", "*", "f")) == [("a", "b", "f"), ("a", "c", "f")]
        assert set(await listed(suffix=("*", "f"))) == {("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")}
        assert await listed(prefix=("a", "b", "d", "e", "z")) == []
        assert await listed(limit=3) == sorted(places)[:3]
        assert await listed(limit=3, offset=7) == sorted(places)[7:]
        assert await listed(prefix=("nothing",)) == []
        condition = MatchCondition(match_type="prefix", path=())
        assert len((await store.abatch([ListNamespacesOp(match_conditions=(condition,))]))[0]) == len(places)  # pyright: ignore[reportArgumentType]

    within(work)


@pytest.mark.parametrize("namespace", [(), ("the", "thing.about"), ("some", ""), ("langgraph", "foo")])
def test_what_is_no_namespace_is_refused_as_everywhere(within: Within, namespace: tuple[str, ...]) -> None:
    async def work(store: BaseStore) -> None:
        with pytest.raises(InvalidNamespaceError):
            await store.aput(namespace, "k", {"x": 1})

    within(work)


def test_a_ttl_shortens_what_the_policy_says_and_never_lengthens_it(bank: Bank, within: Within) -> None:
    async def work(store: BaseStore) -> list[str]:
        assert store.supports_ttl
        for key, ttl in {"hour": 60.0, "century": 60.0 * 24 * 36500, "unset": None, "none": 0.0}.items():
            await store.aput(("test",), key, {"x": 1}, ttl=ttl)
        await store.aget(("test",), "hour", refresh_ttl=True)
        found = await store.asearch(("test",), refresh_ttl=True)
        return sorted(item.key for item in found)

    assert within(work) == ["century", "hour", "unset"]
    rows = bank.rows("select key, expires_at - updated_at as kept from stateward.memory")
    hours = {row["key"]: row["kept"].total_seconds() / 3600 for row in rows}
    assert hours == {"hour": 1, "century": 240, "unset": 240, "none": 0}


def test_two_who_write_the_first_one_at_once_both_count(bank: Bank, within: Within) -> None:
    async def work(store: BaseStore) -> None:
        await asyncio.gather(*(store.aput(("test",), "k", {"n": at}) for at in range(8)))

    within(work)
    (row,) = bank.rows("select version from stateward.memory")
    assert row["version"] == 8
    kinds = [entry.kind for entry in bank.runtime.timeline()]
    assert kinds.count("memory.written") == 8
    assert bank.runtime.verify_audit().intact


def test_text_that_postgres_cannot_hold(within: Within) -> None:
    async def work(store: BaseStore) -> Any:
        await store.aput(("test",), "k", {"x": "a\0b"})
        with pytest.raises(MemoryRefused, match="control character"):
            await store.aput(("test", "a\x1fb"), "k", {"x": 1})
        words = " ".join(f"word{at}" for at in range(200_000))
        with pytest.raises(MemoryRefused, match="cannot keep this item"):
            await store.aput(("test",), "large", {"x": words})
        return [item.value for item in await store.asearch(("test",))]

    assert within(work) == [{"x": "a\N{REPLACEMENT CHARACTER}b"}]


def test_reading_a_kind_that_is_not_for_this_purpose_finds_nothing_and_is_told(bank: Bank, within: Within) -> None:
    async def work(store: BaseStore) -> list[Any]:
        found = [
            await store.aget(("other",), "k"),
            await store.asearch(("other", "x")),
            await store.asearch(("secret",)),
        ]
        return [*found, await store.asearch(("note",))]

    assert within(work) == [None, [], [], []]
    barred = [entry for entry in bank.runtime.timeline() if entry.kind == "memory.barred"]
    assert [entry.detail.get("kind") for entry in barred] == ["other", "other", None]
    assert {entry.detail["purpose"] for entry in barred} == {"bank"}
