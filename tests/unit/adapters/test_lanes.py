"""A thread's lane: what this process knows of where the thread stands, and what a slow reader cannot make of it."""

from __future__ import annotations

import asyncio

import pytest

from stateward.adapters.postgres.lanes import Lane
from stateward.errors import ThreadBusy
from stateward.model.checkpoint import CheckpointKey, CheckpointRow


def row(id_: str, parent: str | None) -> CheckpointRow:
    return CheckpointRow(key=CheckpointKey(thread="t", ns="", id=id_), parent=parent, run=None, body=b"")


@pytest.mark.parametrize("lands", ["before the read", "during the read", "after the read"])
async def test_a_stale_read_never_moves_the_head_back(lands: str) -> None:
    """Another run of the thread reads the head, and this one moves on, before the reader has its answer."""
    lane = Lane("t", asyncio.get_running_loop())
    lane.put(row("one", None))
    lane.take()
    lane.landed()
    if lands == "before the read":
        moves = lane.moves
        lane.put(row("two", "one"))
        lane.take()
        lane.landed()
    else:
        lane.put(row("two", "one"))
        lane.take()
        moves = lane.moves
        if lands == "during the read":
            lane.landed()
    lane.loaded(("", "one"), head=True, moves=moves)
    if lands == "after the read":
        lane.landed()
    assert lane.head("") == "two"
    with pytest.raises(ThreadBusy):
        lane.put(row("other", "one"))
    lane.put(row("three", "two"))


async def test_a_read_tells_where_another_process_has_moved_the_thread() -> None:
    lane = Lane("t", asyncio.get_running_loop())
    lane.put(row("one", None))
    lane.take()
    lane.landed()
    lane.loaded(("", "two"), head=True, moves=lane.moves)
    with pytest.raises(ThreadBusy):
        lane.put(row("other", "one"))
    lane.put(row("three", "two"))


async def test_a_lane_that_waits_for_its_key_is_in_use() -> None:
    """Who drops idle lanes would else forget what is about to be handed over."""
    lane = Lane("t", asyncio.get_running_loop())
    assert lane.idle
    lane.arriving += 1
    assert not lane.idle
