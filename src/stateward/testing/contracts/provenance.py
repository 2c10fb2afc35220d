"""The contract of provenance: labels only grow, texts are kept as seen, and both are durable with a commit."""

from __future__ import annotations

from stateward.model.provenance import Sighting
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import BOT, facts, judged, kinds

TEXT = Sighting(source="s1", origin="person", text="account 4711", numbers=frozenset({"4711"}))


async def _commit(adapters: Adapters) -> None:
    """A verdict that waits for all that was handed over before."""
    await adapters.journal.record(facts(), [judged()], actor="policy:bank")


async def keeps_labels_with_the_turn_that_brought_them(adapters: Adapters) -> None:
    """Each once: who brings it first stays."""
    await adapters.threads.open(facts())
    adapters.provenance.label("t1", ["untrusted", "personal"], turn="turn-1", actor=BOT, action="a", tool="read_mail")
    adapters.provenance.label("t1", ["untrusted"], turn="turn-2", actor=BOT)
    await _commit(adapters)
    past = await adapters.provenance.load("t1", seen=True)
    assert past.labels == {"untrusted": "turn-1", "personal": "turn-1"}
    assert (await kinds(adapters)).count("thread.labelled") == 1
    assert (await adapters.provenance.load("t2", seen=True)).labels == {}


async def keeps_what_was_seen(adapters: Adapters) -> None:
    """In order, each source once, and only where it is asked for."""
    await adapters.threads.open(facts())
    second = Sighting(source="s2", origin="untrusted", text="é", numbers=frozenset())
    again = Sighting(source="s1", origin="person", text="account 4712", numbers=frozenset({"4712"}))
    for one in (TEXT, second, again):
        await adapters.provenance.see("t1", one)
    await _commit(adapters)
    assert (await adapters.provenance.load("t1", seen=True)).sightings == (again, second)
    assert (await adapters.provenance.load("t1", seen=False)).sightings == ()
    assert (await adapters.provenance.load("t2", seen=True)).sightings == ()


async def vouches_for_a_text_in_its_thread(adapters: Adapters) -> None:
    """Always in the same way, and otherwise for another text, or in another thread."""
    await adapters.threads.open(facts())
    await adapters.threads.open(facts(thread="t2"))
    mark = await adapters.provenance.vouch("t1", "said")
    assert mark == await adapters.provenance.vouch("t1", "said")
    others = [await adapters.provenance.vouch(thread, text) for thread, text in [("t1", "saiD"), ("t2", "said")]]
    assert len({mark, *others}) == 3
    assert len(mark) >= 64


CHECKS: tuple[Check, ...] = (
    keeps_labels_with_the_turn_that_brought_them,
    keeps_what_was_seen,
    vouches_for_a_text_in_its_thread,
)
