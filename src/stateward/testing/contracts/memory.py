"""Memory's contract: found by tenant, subject and purpose only, until it expires, and told in the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from stateward.errors import MemoryConflict
from stateward.model.memory import Change, MemoryItem, Scope, Search
from stateward.model.values import Json
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import facts, kinds, scope

DAY, AT_ONCE = timedelta(days=1), timedelta(0)


async def _change(adapters: Adapters, *changes: Change, where: Scope | None = None) -> list[int | None]:
    await adapters.threads.open(facts())
    return await adapters.memory.change(where or scope(), changes)


def _note(key: str = "k", *, keep: timedelta = DAY, **value: Json) -> Change:
    return Change(namespace=("note",), key=key, kind="note", value=value, keep=keep)


async def _put(adapters: Adapters, key: str = "k", *, keep: timedelta = DAY, **value: Json) -> int | None:
    return (await _change(adapters, _note(key, keep=keep, **value)))[0]


async def _get(adapters: Adapters, where: Scope | None = None, key: str = "k") -> MemoryItem | None:
    return await adapters.memory.get(where or scope(), namespace=("note",), key=key)


async def _keys(adapters: Adapters, where: Scope | None = None, **more: Any) -> list[str]:
    search = replace(Search(prefix=("note",)), **more)
    found = await adapters.memory.search(where or scope(), search)
    return [item.key for item in found]


async def keeps_and_finds_an_item(adapters: Adapters) -> None:
    """With everything that it was written with."""
    sensitive = replace(_note(text="paid"), sensitivity="restricted", action="a" * 32)
    assert await _change(adapters, sensitive) == [1]
    item = await _get(adapters)
    assert item is not None
    assert (item.value, item.kind, item.subject, item.purpose) == ({"text": "paid"}, "note", "customer:17", "bank")
    assert (item.source, item.version, item.expires_at - item.created_at >= DAY) == ("t1", 1, True)
    assert (item.sensitivity, item.action) == ("restricted", "a" * 32)
    assert (await kinds(adapters))[-1] == "memory.written"


async def carries_labels(adapters: Adapters) -> None:
    """Those that it is given, and its thread's; a later value has those of whoever wrote it."""
    await _change(adapters, replace(_note(n=1), labels=("personal",)))
    adapters.provenance.label("t1", ["untrusted"], turn="", actor="bot")
    await _put(adapters, "l", n=1)
    found = await adapters.memory.search(scope(), Search(prefix=("note",)))
    assert {item.key: item.labels for item in found} == {"k": ("personal",), "l": ("untrusted",)}
    await adapters.threads.open(facts("t2"))
    await _change(adapters, _note("l", n=2), where=scope("t2"))
    item = await _get(adapters, key="l")
    assert item is not None
    assert item.labels == ()


async def counts_versions(adapters: Adapters) -> None:
    """The same key again replaces the value, and what it was is kept as long as it would have been."""
    assert [await _put(adapters, n=at) for at in range(3)] == [1, 2, 3]
    assert await _keys(adapters) == ["k"]
    before = await adapters.memory.versions(scope(), namespace=("note",), key="k")
    assert [(item.version, item.value) for item in before] == [(2, {"n": 1}), (1, {"n": 0})]
    assert await adapters.memory.versions(scope(tenant="other"), namespace=("note",), key="k") == []
    await _put(adapters, keep=AT_ONCE, n=3)
    await _put(adapters, n=4)
    assert [item.version for item in await adapters.memory.versions(scope(), namespace=("note",), key="k")] == [3, 2, 1]


async def changes_what_has_the_expected_version_only(adapters: Adapters) -> None:
    """Zero where nothing may be there; what has expired is not there."""
    assert await _change(adapters, replace(_note(n=1), version=0)) == [1]
    assert await _change(adapters, replace(_note(n=2), version=1)) == [2]
    stale = [replace(one, version=at) for at in (0, 1, 3) for one in (_note(n=9), Change(namespace=("note",), key="k"))]
    for change in (*stale, replace(_note("not there", n=9), version=1)):
        try:
            await _change(adapters, _note("other", n=9), change)
        except MemoryConflict:
            continue
        raise AssertionError(f"version {change.version} of {change.key!r} was taken for the current one")
    assert await _keys(adapters) == ["k"]
    item = await _get(adapters)
    assert item is not None
    assert item.value == {"n": 2}
    await _put(adapters, "gone", keep=AT_ONCE, n=1)
    assert await _change(adapters, replace(_note("gone", n=2), version=0)) == [2]


async def changes_together_or_not_at_all(adapters: Adapters) -> None:
    """In whatever order they are given."""
    await _put(adapters, "old", n=0)
    gone = Change(namespace=("note",), key="old")
    assert await _change(adapters, _note("z", n=1), gone, _note("a", n=2)) == [1, 1, 1]
    assert await _keys(adapters) in (["a", "z"], ["z", "a"])
    assert await _change(adapters, gone) == [None]


async def counts_each_change_of_a_key_in_a_batch(adapters: Adapters) -> None:
    """Whether the item was there or not, as if they had come one after the other; each is in the ledger."""
    await _put(adapters, "old", n=0)
    gone = Change(namespace=("note",), key="new")
    batch = (_note("new", n=1), _note("old", n=1), _note("new", n=2), gone, _note("new", n=3))
    assert await _change(adapters, *batch) == [1, 2, 2, 2, 1]
    item = await _get(adapters, key="new")
    assert item is not None
    assert item.value == {"n": 3}
    assert (await kinds(adapters))[-5:].count("memory.deleted") == 1


async def numbers_each_item_of_a_batch_by_itself(adapters: Adapters) -> None:
    """An item whose former versions are kept longer than it was goes on with its number, beside others that are new."""
    await _put(adapters, "b", n=0)
    await _put(adapters, "b", keep=AT_ONCE, n=1)
    assert await adapters.memory.sweep() == 1
    assert await _change(adapters, _note("c", n=2), _note("b", n=2)) == [1, 2]
    await _put(adapters, "e", n=0)
    await _put(adapters, "e", keep=AT_ONCE, n=1)
    assert await adapters.memory.sweep() == 1
    mixed = [_note("f", n=3), _note("b", n=3), Change(namespace=("note",), key="d"), _note("e", n=3), _note("e", n=4)]
    assert await _change(adapters, *mixed) == [1, 3, None, 2, 3]


async def makes_the_changes_of_a_key_in_their_order(adapters: Adapters) -> None:
    """A deletion that comes before does not take away what is written after it, whether the item was there or not."""
    await _put(adapters, "old", n=0)
    batch = [change for key in ("new", "old") for change in (Change(namespace=("note",), key=key), _note(key, n=1))]
    assert await _change(adapters, *batch) == [None, 1, 1, 1]
    assert await _change(adapters, *batch[:2]) == [1, 1]
    assert set(await _keys(adapters)) == {"new", "old"}
    assert await _change(adapters, replace(_note("third", n=1), version=0), _note("third", n=2)) == [1, 2]


async def lets_batches_come_at_once(adapters: Adapters) -> None:
    """Of the same items, some of them new, from different threads: each counts, and none waits for ever."""
    await _put(adapters, "3", n=0)
    names = [f"{at}" for at in range(6)]
    for at in range(4):
        await adapters.threads.open(facts(f"w{at}"))
    await asyncio.gather(
        *(
            adapters.memory.change(scope(f"w{at}"), [_note(name, n=at) for name in (names if at % 2 else names[::-1])])
            for at in range(4)
        )
    )
    found = await adapters.memory.search(scope(), Search(prefix=("note",)))
    assert {item.key: item.version for item in found} == {name: 5 if name == "3" else 4 for name in names}
    assert (await adapters.ledger.verify()).intact


async def finds_nothing_of_others(adapters: Adapters) -> None:
    """Another tenant, subject or purpose; not by key, search, list or deletion."""
    await _put(adapters, text="paid")
    for other in (scope(tenant="other"), scope(subject="customer:18"), scope(purpose="marketing")):
        assert await _get(adapters, other) is None
        assert await _keys(adapters, other) == []
        assert await _keys(adapters, other, query="paid") == []
        assert await adapters.memory.namespaces(other) == []
        assert await _change(adapters, Change(namespace=("note",), key="k"), where=other) == [None]
    assert await _keys(adapters) == ["k"]


async def finds_what_is_below_a_namespace(adapters: Adapters) -> None:
    """Labels are whole, whatever characters come before or after the mark between them."""
    places = [(), ("a",), ("a", "b"), ("a", " b"), ("a b",), ("a!",), ("ab",), ("a", "\u00e9", "\U0001f600"), ("b",)]
    await _change(adapters, *(replace(_note(str(at), n=at), namespace=place) for at, place in enumerate(places)))
    for prefix in [*places, ("c",), ("a", "c")]:
        below = {str(at) for at, place in enumerate(places) if place[: len(prefix)] == prefix}
        assert set(await _keys(adapters, prefix=prefix)) == below
        assert set(await _keys(adapters, prefix=prefix, filter={"n": {"$gte": 0}})) == below
        assert set(await _keys(adapters, prefix=prefix, query=" ".join(map(str, range(len(places)))))) == below


async def never_returns_what_has_expired(adapters: Adapters) -> None:
    """Swept or not."""
    await _put(adapters, "gone", keep=AT_ONCE, text="old")
    await _put(adapters, "here", text="new")
    assert await _get(adapters, key="gone") is None
    assert await _keys(adapters) == ["here"]
    assert await _keys(adapters, query="old") == []
    assert await adapters.memory.sweep() == 1
    assert await adapters.memory.sweep() == 0
    assert await _keys(adapters) == ["here"]


async def does_not_extend_what_is_read(adapters: Adapters) -> None:
    """However it is read."""
    await _put(adapters, text="paid")
    before = await _get(adapters)
    await _keys(adapters, query="paid")
    assert await _get(adapters) == before


async def deletes_with_an_entry(adapters: Adapters) -> None:
    """Once, with all that it has said before."""
    await _put(adapters, text="paid")
    await _put(adapters, text="paid twice")
    gone = Change(namespace=("note",), key="k")
    assert [await _change(adapters, gone) for _ in range(2)] == [[2], [None]]
    assert (await kinds(adapters)).count("memory.deleted") == 1
    assert await adapters.memory.versions(scope(), namespace=("note",), key="k") == []
    assert await _put(adapters, text="anew") == 1


async def searches_by_words_filter_and_place(adapters: Adapters) -> None:
    """The best match first, some of the words being enough; a place is a beginning of labels, not of letters."""
    await _put(adapters, "a", text="rent for october", amount=100)
    await _put(adapters, "b", text="rent rent rent", amount=20)
    await _put(adapters, "c", text="salary", amount=3000)
    assert set(await _keys(adapters, query="rent")) == {"a", "b"}
    assert (await _keys(adapters, query="which rent was paid for october?"))[0] == "a"
    assert await _keys(adapters, query="?") == []
    assert await _keys(adapters, filter={"amount": {"$gt": 20, "$lt": 3000}}) == ["a"]
    assert await _keys(adapters, query="rent", filter={"amount": 20}) == ["b"]
    assert len(await _keys(adapters, limit=2)) == 2
    assert len(await _keys(adapters, limit=2, offset=2)) == 1
    assert await _keys(adapters, limit=0) == []
    assert await _keys(adapters, prefix=("not",)) == []
    assert await _keys(adapters, prefix=("note", "more")) == []
    assert len(await _keys(adapters, prefix=())) == 3
    assert await adapters.memory.namespaces(scope()) == [("note",)]


CHECKS: tuple[Check, ...] = (
    keeps_and_finds_an_item,
    carries_labels,
    counts_versions,
    changes_what_has_the_expected_version_only,
    changes_together_or_not_at_all,
    counts_each_change_of_a_key_in_a_batch,
    numbers_each_item_of_a_batch_by_itself,
    makes_the_changes_of_a_key_in_their_order,
    lets_batches_come_at_once,
    finds_nothing_of_others,
    finds_what_is_below_a_namespace,
    never_returns_what_has_expired,
    does_not_extend_what_is_read,
    deletes_with_an_entry,
    searches_by_words_filter_and_place,
)
