"""Delta channels: rebuilt from the nearest ancestor that holds a value, and what tasks have written since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory

from stateward.model.checkpoint import CheckpointKey, StoredCheckpoint, StoredValue
from stateward.ports import Checkpoints

_PAGE, _DEEPEST = 64, 1 << 20
Opened = Callable[[StoredCheckpoint], Mapping[str, Any]]
# LangGraph counts here, for each delta channel, what has happened since its last value.
_COUNTERS = "counters_since_delta_snapshot"


async def lineage(checkpoints: Checkpoints, key: CheckpointKey, opened: Opened) -> list[StoredCheckpoint]:
    """A checkpoint, and the ancestors that its delta channels are rebuilt from."""
    line = await checkpoints.ancestors(key, (), depth=0)
    if not line:
        return []
    head = opened(line[0])
    counted: Mapping[str, Any] = head["metadata"].get(_COUNTERS) or {}
    missing = {name for name in counted if name not in head["held"]}
    if not missing:
        return line
    line = await checkpoints.ancestors(key, (), depth=_DEEPEST)
    for at, one in enumerate(line[1:], 1):
        missing.difference_update(opened(one)["held"])
        if not missing:
            return line[: at + 1]
    return line


async def history(
    checkpoints: Checkpoints,
    key: CheckpointKey,
    channels: Sequence[str],
    opened: Opened,
    load: Callable[[bytes], Any],
    joined: Callable[[StoredValue], Any],
) -> Mapping[str, DeltaChannelHistory]:
    """For each channel the nearest ancestor's value, if any, and the writes since, oldest first."""
    found: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
    left = set(channels)
    for one in await _far_enough(checkpoints, key, channels, opened):
        for write in reversed(one.writes):
            if write.channel in left:
                found[write.channel]["writes"].insert(0, (write.task, write.channel, load(write.body)))
        here = opened(one)
        seeds = {name: str(here["checkpoint"]["channel_versions"][name]) for name in left if name in here["held"]}
        kept = await checkpoints.values(one.key.thread, one.key.ns, seeds)
        for name, value in kept.items():
            found[name]["seed"] = joined(value)
        left.difference_update(seeds)
    return found


async def _far_enough(
    checkpoints: Checkpoints, key: CheckpointKey, channels: Sequence[str], opened: Opened
) -> Sequence[StoredCheckpoint]:
    """The ancestors, nearest first, down to where every channel has a value, or to the root."""
    depth = _PAGE
    while True:
        line = await checkpoints.ancestors(key, channels, depth=depth)
        left = set(channels)
        for at, one in enumerate(line[1:], 1):
            left.difference_update(opened(one)["held"])
            if not left:
                return line[1 : at + 1]
        if len(line) <= depth:
            return line[1:]
        depth *= 4
