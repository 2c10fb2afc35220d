"""The ledger's contract: appended in order, one chain for each thread, checked as a whole."""

from __future__ import annotations

import asyncio

from stateward.audit.chain import GENESIS, entry_hash
from stateward.model.values import Json
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import BOT, facts


async def chains_its_entries(adapters: Adapters) -> None:
    """Each names the hash of the one before."""
    await adapters.threads.open(facts())
    seqs = [await adapters.ledger.append("t1", "note", actor=BOT, detail={"n": at}) for at in range(3)]
    entries = [entry async for entry in adapters.ledger.entries("t1")]
    assert seqs == [2, 3, 4]
    assert [entry.prev for entry in entries] == [GENESIS, *(entry.hash for entry in entries[:-1])]
    assert [entry_hash(entry.prev, entry.text) for entry in entries] == [entry.hash for entry in entries]
    assert entries[-1].detail == {"n": 2}


async def keeps_a_chain_for_each_thread(adapters: Adapters) -> None:
    """They do not wait for each other, and each starts anew."""
    for thread in ("t1", "t2"):
        await adapters.threads.open(facts(thread))
        assert await adapters.ledger.append(thread, "note", actor=BOT, detail={}) == 2
    everything = [(entry.thread, entry.seq) async for entry in adapters.ledger.entries()]
    assert everything == [("t1", 1), ("t1", 2), ("t2", 1), ("t2", 2)]


async def leaves_no_gap_under_concurrency(adapters: Adapters) -> None:
    """Whoever appends at the same moment."""
    await adapters.threads.open(facts())
    many = (adapters.ledger.append("t1", "note", actor=BOT, detail={"n": at}) for at in range(20))
    assert sorted(await asyncio.gather(*many)) == list(range(2, 22))
    report = await adapters.ledger.verify("t1")
    assert report.intact
    assert report.entries == 21


async def takes_any_text(adapters: Adapters) -> None:
    """The hash is over the exact text, whatever letters are in it."""
    await adapters.threads.open(facts())
    detail: dict[str, Json] = {
        "why": 'Ünïcode 𝄞 "quoted" \\ back\nslash',
        "nested": {"b": [1, 2.5, None, True], "a": {}},
    }
    await adapters.ledger.append("t1", "note", actor=BOT, detail=detail)
    entries = [entry async for entry in adapters.ledger.entries("t1")]
    assert entries[-1].detail == detail
    assert (await adapters.ledger.verify()).intact


async def verifies_nothing_as_intact(adapters: Adapters) -> None:
    """An empty ledger holds."""
    report = await adapters.ledger.verify()
    assert (report.intact, report.threads, report.entries) == (True, 0, 0)


CHECKS: tuple[Check, ...] = (
    chains_its_entries,
    keeps_a_chain_for_each_thread,
    leaves_no_gap_under_concurrency,
    takes_any_text,
    verifies_nothing_as_intact,
)
