"""What a governed step costs, in exact counts only: whatever else the machine is doing, they are the same.

How they are counted: commits as transaction ids that were used, statements at a socket before the server's
(`benchmarks/relay.py`), both as the difference of a long and a short run over the steps between. The run waits for
one commit in each step, before the tool acts; the receipt follows in the background, behind the next turn of the
model. The counters do not tell the two apart, so the bound is twice the 1.1 that a step may wait for.
`make bench` measures what is waited for.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from benchmarks import job
from benchmarks.agents import OURS, Place, Variant, place
from benchmarks.counters import Meter, checkpoint_bytes, counted, quiet
from benchmarks.relay import Frames, Relay
from psycopg import AsyncConnection

from stateward.adapters.postgres import commits

WAITED_FOR = 1.1
STEPS = 20
Way = Literal["middleware", "workflow"]
WAYS: tuple[Way, ...] = ("middleware", "workflow")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A database behind a relay, and what counts there."""

    meter: Meter
    place: Place

    def variant(self, way: Way) -> Variant:
        return self.place.middleware() if way == "middleware" else self.place.workflow()

    async def kept(self, variant: Variant, steps: int) -> int:
        """Bytes in the tables of checkpoints after a run of so many steps."""
        run = await variant.run(job.script("look", steps))
        await run.go()
        await self.meter.relay.settle()
        return await checkpoint_bytes(self.meter.admin, OURS, run.thread)


@pytest_asyncio.fixture
async def bench(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    # What lingers for company leaves by itself after a while, which is one more commit where the machine is slow.
    monkeypatch.setattr(commits, "_LINGER", 3600)
    async with AsyncExitStack() as stack:
        # A short path: a socket's path must not be longer than about 100 characters.
        home, relay = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swc"))), Relay()
        through = await stack.enter_async_context(relay.listen(database_url, home))
        made = await stack.enter_async_context(place(through, home / "home"))
        admin = await stack.enter_async_context(await AsyncConnection.connect(database_url, autocommit=True))
        await stack.enter_async_context(quiet(admin))
        yield Bench(meter=Meter(admin=admin, relay=relay), place=made)


@pytest.mark.parametrize("way", WAYS)
async def test_a_step_waits_for_one_commit_of_one_statement(bench: Bench, way: Way) -> None:
    counts = await counted(bench.meter, bench.variant(way), "note", few=2, many=STEPS + 2)
    assert 1 <= counts.commits <= 2 * WAITED_FOR
    assert 1 <= counts.statements <= 2 * WAITED_FOR
    assert round(counts.logins) == 0  # the pool may open or close a connection of its own accord
    assert counts.supersteps == 2


@pytest.mark.parametrize("way", WAYS)
async def test_a_step_leaves_the_same_however_long_its_thread_is(bench: Bench, way: Way) -> None:
    variant = bench.variant(way)
    kept = {steps: await bench.kept(variant, steps) for steps in (5, 15, 105, 115)}
    assert kept[15] > kept[5] > 0
    assert kept[115] - kept[105] == pytest.approx(kept[15] - kept[5], rel=0.02)


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 64])
def test_messages_are_counted_wherever_the_stream_is_cut(cut: int) -> None:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    wants_tls = message(b"", (80877103).to_bytes(4, "big"))
    startup = message(b"", (196608).to_bytes(4, "big") + b"user\0postgres\0\0")
    said = b"".join(
        [message(b"P", b"\0select 1;QQEE\0"), message(b"E", b"\0" * 5), message(b"S", b""), message(b"X", b"")]
    )
    stream, frames = wants_tls + startup + said, Frames()
    chunks = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    assert bytes(kind for chunk in chunks for kind in frames.feed(chunk)) == b"PESX"
