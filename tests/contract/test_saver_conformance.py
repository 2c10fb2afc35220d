"""LangGraph's own conformance suite over every surface of the checkpointer, and our own of its delta history."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langgraph.checkpoint.conformance.report import CapabilityResult
from langgraph.checkpoint.serde.types import _DeltaSnapshot as Snapshot
from langgraph.graph import START, StateGraph

from stateward import AsyncRuntime, Runtime

Saver = BaseCheckpointSaver[Any]
TASKS = [str(UUID(int=number)) for number in range(1, 10)]


class Blocking(Saver):
    """A saver's sync surface, behind the async names that the suite calls."""

    def __init__(self, saver: Saver) -> None:
        super().__init__(serde=saver.serde)
        self.saver = saver

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self.saver.get_next_version(current, channel)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.saver.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        def collect() -> list[CheckpointTuple]:
            return list(self.saver.list(config, filter=filter, before=before, limit=limit))

        for one in await asyncio.to_thread(collect):
            yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.saver.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.saver.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.saver.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.saver.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.saver.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(lambda: self.saver.prune(thread_ids, strategy=strategy))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await asyncio.to_thread(lambda: self.saver.get_delta_channel_history(config=config, channels=channels))


@pytest.fixture(params=["on its own loop", "on another loop", "from threads"])
def saver(request: pytest.FixtureRequest) -> Saver:
    """The runtime's checkpointer, by each of its surfaces."""
    if request.param == "on its own loop":
        own: AsyncRuntime = request.getfixturevalue("async_runtime")
        return own.checkpointer
    threaded: Runtime = request.getfixturevalue("runtime")
    return threaded.checkpointer if request.param == "on another loop" else Blocking(threaded.checkpointer)


async def test_the_suite_of_langgraph_passes_in_full(saver: Saver) -> None:
    @checkpointer_test(name="Stateward")
    async def factory() -> AsyncGenerator[Saver, None]:
        yield saver

    report = await validate(factory)
    assert report.results.keys() == {capability.value for capability in ALL_CAPABILITIES}
    shown = json.dumps({name: vars(result) for name, result in report.results.items() if not whole(result)}, indent=1)
    assert shown == "{}", shown


def whole(result: CapabilityResult) -> bool:
    ran = result.detected and result.tests_passed > 0 and result.tests_skipped == 0
    return ran and result.passed is True and result.tests_failed == 0 and not result.failures


class Thread:
    """A thread whose checkpoints are put one by one, as the runs of a graph put them."""

    def __init__(self, saver: Saver, *, ns: str = "") -> None:
        self.saver = saver
        self.config: RunnableConfig = {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ns}}
        self.versions: dict[str | None, ChannelVersions] = {None: {}}
        self.plain: dict[str | None, dict[str, Any]] = {None: {}}

    async def put(
        self, after: RunnableConfig | None = None, *, touched: Iterable[str] = (), source: str = "loop", **values: Any
    ) -> RunnableConfig:
        """A child of a checkpoint. A touched channel without a value is one that is kept as its writes alone."""
        parent = after["configurable"]["checkpoint_id"] if after else None
        old = self.versions[parent]
        new = {name: self.saver.get_next_version(old.get(name), None) for name in {*touched, *values}}
        kept = {name: value for name, value in self.plain[parent].items() if name not in touched} | values
        checkpoint = Checkpoint(
            v=4,
            id=str(uuid6()),
            ts="2026-01-01T00:00:00+00:00",
            channel_values=kept,
            channel_versions=old | new,
            versions_seen={},
            updated_channels=sorted(new),
        )
        self.versions[checkpoint["id"]] = old | new
        # A snapshot is given once, at the step that makes it; later steps find it by its version.
        self.plain[checkpoint["id"]] = {name: one for name, one in kept.items() if not isinstance(one, Snapshot)}
        said: Any = {"source": source, "step": len(self.versions), "parents": {}}
        return await self.saver.aput(after or self.config, checkpoint, said, new)

    async def write(self, at: RunnableConfig, channel: str, *values: Any, task: int = 0, path: str = "") -> None:
        await self.saver.aput_writes(at, [(channel, value) for value in values], TASKS[task], path)

    async def step(self, after: RunnableConfig, channel: str, *values: Any, **options: Any) -> RunnableConfig:
        """One task writes, and the next checkpoint keeps nothing but its writes."""
        await self.write(after, channel, *values)
        return await self.put(after, touched=[channel], **options)


async def history(saver: Saver, config: RunnableConfig, *channels: str) -> dict[str, tuple[list[Any], Any]]:
    """Writes and seed for each channel, which have to be what the base class finds by walking from parent to parent."""
    found = await saver.aget_delta_channel_history(config=config, channels=channels)
    walked = await BaseCheckpointSaver.aget_delta_channel_history(saver, config=config, channels=channels)
    assert dict(found) == dict(walked)
    assert list(found) == list(channels)
    return {name: ([value for _, _, value in one["writes"]], one.get("seed", "none")) for name, one in found.items()}


async def test_history_without_a_snapshot_starts_at_the_root(saver: Saver) -> None:
    thread = Thread(saver)
    one = await thread.put(touched=["a"])
    two = await thread.step(one, "a", 1, 2)
    three = await thread.step(two, "a", 3)
    await thread.write(three, "a", 4)
    assert await history(saver, three, "a") == {"a": ([1, 2, 3], "none")}
    assert await history(saver, two, "a") == {"a": ([1, 2], "none")}
    assert await history(saver, one, "a") == {"a": ([], "none")}


async def test_history_without_a_checkpoint_id_is_that_of_the_newest(saver: Saver) -> None:
    thread = Thread(saver)
    last = await thread.step(await thread.put(touched=["a"]), "a", 1)
    assert await history(saver, thread.config, "a") == await history(saver, last, "a") == {"a": ([1], "none")}


async def test_history_of_what_is_not_there_is_empty(saver: Saver) -> None:
    assert await history(saver, Thread(saver).config, "a") == {"a": ([], "none")}
    last = await (thread := Thread(saver)).step(await thread.put(touched=["a"]), "a", 1)
    assert await history(saver, last, "other") == {"other": ([], "none")}
    assert await history(saver, last) == {}


async def test_history_begins_at_the_nearest_snapshot_with_that_checkpoints_own_writes(saver: Saver) -> None:
    thread = Thread(saver)
    one = await thread.put(touched=["a"])
    await thread.write(one, "a", 1)
    two = await thread.put(one, a=Snapshot([1]))
    three = await thread.step(two, "a", 2)
    four = await thread.step(three, "a", 3)
    assert await history(saver, four, "a") == {"a": ([2, 3], Snapshot([1]))}
    assert await history(saver, three, "a") == {"a": ([2], Snapshot([1]))}
    assert await history(saver, two, "a") == {"a": ([1], "none")}
    assert (await saver.aget_tuple(two)).checkpoint["channel_values"] == {"a": Snapshot([1])}  # type: ignore[union-attr]


async def test_history_begins_at_the_nearest_of_two_snapshots(saver: Saver) -> None:
    thread = Thread(saver)
    one = await thread.put(a=Snapshot([0]))
    two = await thread.step(one, "a", 1)
    await thread.write(two, "a", 2)
    three = await thread.put(two, a=Snapshot([0, 1, 2]))
    four = await thread.step(three, "a", 3)
    assert await history(saver, four, "a") == {"a": ([3], Snapshot([0, 1, 2]))}


async def test_a_snapshot_is_found_through_steps_that_do_not_touch_the_channel(saver: Saver) -> None:
    thread = Thread(saver)
    one = await thread.put(a=Snapshot([1]))
    two = await thread.step(one, "b", "b")
    three = await thread.step(two, "b", "c")
    assert await history(saver, three, "a", "b") == {"a": ([], Snapshot([1])), "b": (["b", "c"], "none")}


@pytest.mark.parametrize("value", [["old"], {"k": [1]}, "text", "", 0, 7, True, False, 1.5, b"bytes"], ids=repr)
async def test_a_plain_value_from_before_the_channel_was_a_delta_is_a_seed(saver: Saver, value: Any) -> None:
    thread = Thread(saver)
    one = await thread.put(a=value)
    two = await thread.step(one, "a", 1)
    three = await thread.step(two, "a", 2)
    assert await history(saver, three, "a") == {"a": ([1, 2], value)}


async def test_each_channel_ends_at_its_own_seed(saver: Saver) -> None:
    thread = Thread(saver)
    one = await thread.put(touched=["a", "c"], b=Snapshot(["b0"]))
    await thread.write(one, "a", "a1", task=0)
    await thread.write(one, "b", "b1", task=1)
    two = await thread.put(one, touched=["a", "b"], c=Snapshot(["c0"]))
    await thread.write(two, "a", "a2", task=0)
    await thread.write(two, "c", "c1", task=2)
    three = await thread.put(two, touched=["a", "b", "c"])
    assert await history(saver, three, "a", "b", "c") == {
        "a": (["a1", "a2"], "none"),
        "b": (["b1"], Snapshot(["b0"])),
        "c": (["c1"], Snapshot(["c0"])),
    }
    assert await history(saver, three, "c") == {"c": (["c1"], Snapshot(["c0"]))}


async def test_parallel_writers_are_in_the_order_of_their_paths_then_tasks(saver: Saver) -> None:
    """That is the order in which the run itself applied them."""
    thread = Thread(saver)
    one = await thread.put(touched=["a"])
    await thread.write(one, "a", "late", "later", task=0, path="~__pregel_push, 0000000001")
    await thread.write(one, "a", "middle", task=3, path="~__pregel_pull, b")
    await thread.write(one, "a", "before", task=2, path="~__pregel_pull, b")
    await thread.write(one, "a", "first", task=5)
    two = await thread.put(one, touched=["a"])
    ordered = ["first", "before", "middle", "late", "later"]
    assert await history(saver, two, "a") == {"a": (ordered, "none")}
    found = await saver.aget_tuple(one)
    assert found is not None
    assert [value for _, _, value in found.pending_writes or []] == ordered


async def test_only_the_ancestors_of_a_branch_count(saver: Saver) -> None:
    thread = Thread(saver)
    root = await thread.put(a=Snapshot([0]))
    left = await thread.step(root, "a", 1)
    left = await thread.step(left, "a", "left")
    # A fork that snapshots, as LangGraph makes one: nothing that hangs on the old branch is its own.
    right = await thread.put(root, source="fork", a=Snapshot([0]))
    right = await thread.step(right, "a", "right")
    assert await history(saver, left, "a") == {"a": ([1, "left"], Snapshot([0]))}
    assert await history(saver, right, "a") == {"a": (["right"], Snapshot([0]))}
    assert await history(saver, thread.config, "a") == await history(saver, right, "a")


async def test_the_writes_of_another_namespace_do_not_count(saver: Saver) -> None:
    thread, nested = Thread(saver), Thread(saver, ns="child:1")
    nested.config = {"configurable": {**thread.config["configurable"], "checkpoint_ns": "child:1"}}
    here = await thread.step(await thread.put(touched=["a"]), "a", "here")
    there = await nested.step(await nested.put(touched=["a"]), "a", "there")
    assert await history(saver, here, "a") == {"a": (["here"], "none")}
    assert await history(saver, there, "a") == {"a": (["there"], "none")}


async def test_a_long_history_is_whole(saver: Saver) -> None:
    thread = Thread(saver)
    last = await thread.put(touched=["a", "b"])
    for number in range(120):
        await thread.write(last, "a", number)
        last = await thread.put(last, touched=["a"], **({"b": Snapshot([number])} if number == 60 else {}))
    found = await saver.aget_delta_channel_history(config=last, channels=["a", "b"])
    assert [value for _, _, value in found["a"]["writes"]] == list(range(120))
    assert found["b"] == {"writes": [], "seed": Snapshot([60])}


def joined(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(line for lines in writes for line in lines)]


class Lines(TypedDict):
    log: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=3)]
    plain: Annotated[list[str], operator.add]


def snapshotting_every_third(saver: Saver) -> Any:
    """Two writers side by side, then one, on a channel with a snapshot every third time."""
    builder = StateGraph(Lines)
    builder.add_node("left", lambda state: {"log": ["left"]})
    builder.add_node("right", lambda state: {"log": ["right"], "plain": ["right"]})
    builder.add_node("last", lambda state: {"log": [f"last of {len(state['log'])}"]})
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    builder.add_edge(["left", "right"], "last")
    return builder.compile(checkpointer=saver)


def turn(number: int) -> list[str]:
    return [f"turn {number}", "left", "right", f"last of {number * 4 + 3}"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_graphs_history_is_what_the_base_class_finds(saver: Saver, durability: Any) -> None:
    graph = snapshotting_every_third(saver)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for number in range(5):
        result = await graph.ainvoke({"log": [f"turn {number}"]}, config, durability=durability)
        assert result["log"] == [line for each in range(number + 1) for line in turn(each)]
    states = [state async for state in graph.aget_state_history(config)]
    assert len(states) == (5 if durability == "exit" else 20)
    seeded = 0
    for state in states:
        found = await history(saver, {"configurable": {"thread_id": "t", **state.config["configurable"]}}, "log")
        seeded += found["log"][1] != "none"
    assert seeded > 0
    assert states[0].values["log"] == result["log"]


async def test_pruning_keeps_what_the_newest_checkpoint_is_rebuilt_from(saver: Saver) -> None:
    graph = snapshotting_every_third(saver)
    configs: list[RunnableConfig] = [{"configurable": {"thread_id": str(number)}} for number in range(6)]
    for turns, config in enumerate(configs):
        for number in range(turns + 1):
            result = await graph.ainvoke({"log": [f"turn {number}"]}, config)
        before = await graph.aget_state(config)
        count = len([one async for one in saver.alist(config)])
        await saver.aprune([str(turns)], strategy="keep_latest")
        after = await graph.aget_state(config)
        assert after.values == before.values == result
        assert after.config == before.config
        await history(saver, after.config, "log")
        assert len([one async for one in saver.alist(config)]) < count
        result = await graph.ainvoke({"log": [f"turn {turns + 1}"]}, config)
        assert result["log"] == [line for each in range(turns + 2) for line in turn(each)]


async def test_a_copy_is_rebuilt_from_its_own_rows(saver: Saver) -> None:
    graph = snapshotting_every_third(saver)
    source: RunnableConfig = {"configurable": {"thread_id": "source"}}
    for number in range(3):
        result = await graph.ainvoke({"log": [f"turn {number}"]}, source)
    await saver.acopy_thread("source", "target")
    await saver.adelete_thread("source")
    target: RunnableConfig = {"configurable": {"thread_id": "target"}}
    assert (await graph.aget_state(target)).values == result
    await history(saver, (await graph.aget_state(target)).config, "log")
    result = await graph.ainvoke({"log": ["turn 3"]}, target)
    assert result["log"] == [line for each in range(4) for line in turn(each)]
