"""Memory's contract: found by tenant, subject and purpose only, until it expires, and told in the ledger."""

from __future__ import annotations

from datetime import timedelta

from stateward.model.memory import Scope
from stateward.model.values import Json
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import facts, kinds, scope

DAY, AT_ONCE = timedelta(days=1), timedelta(0)


async def _put(adapters: Adapters, key: str = "k", *, keep: timedelta = DAY, **value: Json) -> int:
    await adapters.threads.open(facts())
    return await adapters.memory.put(scope(), namespace=("note",), key=key, kind="note", value=value, keep=keep)


async def _keys(adapters: Adapters, where: Scope | None = None, **more: object) -> list[str]:
    found = await adapters.memory.search(where or scope(), prefix=("note",), **more)  # pyright: ignore[reportArgumentType]
    return [item.key for item in found]


async def keeps_and_finds_an_item(adapters: Adapters) -> None:
    """With everything that it was written with."""
    assert await _put(adapters, text="paid") == 1
    item = await adapters.memory.get(scope(), namespace=("note",), key="k")
    assert item is not None
    assert (item.value, item.kind, item.subject, item.purpose) == ({"text": "paid"}, "note", "customer:17", "bank")
    assert (item.source, item.version, item.expires_at - item.created_at >= DAY) == ("t1", 1, True)
    assert (await kinds(adapters))[-1] == "memory.written"


async def carries_labels(adapters: Adapters) -> None:
    """Those that it is given, and its thread's; a later value has those of whoever wrote it."""
    await adapters.threads.open(facts())
    put = adapters.memory.put
    where = {"namespace": ("note",), "key": "k", "kind": "note", "value": {"n": 1}, "keep": DAY}
    await put(scope(), labels=["personal"], **where)  # pyright: ignore[reportArgumentType]
    adapters.provenance.label("t1", ["untrusted"], turn="", actor="bot")
    await put(scope(), **where | {"key": "l"})  # pyright: ignore[reportArgumentType]
    found = await adapters.memory.search(scope(), prefix=("note",))
    assert {item.key: item.labels for item in found} == {"k": ("personal",), "l": ("untrusted",)}
    await adapters.threads.open(facts("t2"))
    await put(scope("t2"), **where | {"key": "l"})  # pyright: ignore[reportArgumentType]
    item = await adapters.memory.get(scope(), namespace=("note",), key="l")
    assert item is not None
    assert item.labels == ()


async def counts_versions(adapters: Adapters) -> None:
    """The same key again replaces the value."""
    assert [await _put(adapters, n=at) for at in range(3)] == [1, 2, 3]
    assert await _keys(adapters) == ["k"]


async def finds_nothing_of_others(adapters: Adapters) -> None:
    """Another tenant, subject or purpose; not by key, search, list or deletion."""
    await _put(adapters, text="paid")
    for other in (scope(tenant="other"), scope(subject="customer:18"), scope(purpose="marketing")):
        assert await adapters.memory.get(other, namespace=("note",), key="k") is None
        assert await _keys(adapters, other) == []
        assert await adapters.memory.namespaces(other) == []
        assert await adapters.memory.delete(other, namespace=("note",), key="k") is False
    assert await _keys(adapters) == ["k"]


async def never_returns_what_has_expired(adapters: Adapters) -> None:
    """Swept or not."""
    await _put(adapters, "gone", keep=AT_ONCE, text="old")
    await _put(adapters, "here", text="new")
    assert await adapters.memory.get(scope(), namespace=("note",), key="gone") is None
    assert await _keys(adapters) == ["here"]
    assert await _keys(adapters, query="old") == []
    assert await adapters.memory.sweep() == 1
    assert await adapters.memory.sweep() == 0
    assert await _keys(adapters) == ["here"]


async def does_not_extend_what_is_read(adapters: Adapters) -> None:
    """However it is read."""
    await _put(adapters, text="paid")
    before = await adapters.memory.get(scope(), namespace=("note",), key="k")
    await _keys(adapters, query="paid")
    assert await adapters.memory.get(scope(), namespace=("note",), key="k") == before


async def deletes_with_an_entry(adapters: Adapters) -> None:
    """Once."""
    await _put(adapters, text="paid")
    assert [await adapters.memory.delete(scope(), namespace=("note",), key="k") for _ in range(2)] == [True, False]
    assert (await kinds(adapters)).count("memory.deleted") == 1


async def searches_by_words_filter_and_place(adapters: Adapters) -> None:
    """The best match first; a place is a beginning of labels, not of letters."""
    await _put(adapters, "a", text="rent for october", amount=100)
    await _put(adapters, "b", text="rent rent rent", amount=20)
    await _put(adapters, "c", text="salary", amount=3000)
    assert set(await _keys(adapters, query="rent")) == {"a", "b"}
    assert await _keys(adapters, filter_={"amount": {"$gt": 20, "$lt": 3000}}) == ["a"]
    assert len(await _keys(adapters, limit=2)) == 2
    assert len(await _keys(adapters, limit=2, offset=2)) == 1
    assert await adapters.memory.search(scope(), prefix=("not",)) == []
    assert await adapters.memory.namespaces(scope()) == [("note",)]


CHECKS: tuple[Check, ...] = (
    keeps_and_finds_an_item,
    carries_labels,
    counts_versions,
    finds_nothing_of_others,
    never_returns_what_has_expired,
    does_not_extend_what_is_read,
    deletes_with_an_entry,
    searches_by_words_filter_and_place,
)
