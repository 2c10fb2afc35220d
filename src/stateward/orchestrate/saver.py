"""The checkpointer: LangGraph's contract over our own sealed, fenced and flat tables."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.types import Interrupt

from stateward.errors import StatewardError, ThreadError
from stateward.model.checkpoint import CheckpointKey, CheckpointRow, StoredCheckpoint, StoredValue, WriteRow
from stateward.orchestrate.ancestry import history, lineage
from stateward.orchestrate.growing import GrowingLists
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.reading import Given
from stateward.orchestrate.turns import Turns
from stateward.ports import Checkpoints
from stateward.upstream import (
    INPUT,
    INTERRUPT,
    Serializer,
    asking,
    in_run,
    is_nested,
    looks_final,
    replays,
    saves_each_step,
)

_LARGE = 1 << 16  # bytes that are decoded beside the event loop
_FORKS = ("fork", "update")
# Which checkpoint the caller of the running graph named: its saves run in the context that it was loaded in.
_NAMED: ContextVar[tuple[str, str] | None] = ContextVar("stateward.named", default=None)
_LOG = logging.getLogger("stateward")


class StatewardSaver(BaseCheckpointSaver[str]):
    """Keeps LangGraph's checkpoints sealed and fenced, and in step with what the runtime itself keeps.

    A checkpoint is durable before anything acts on the world, before a person is asked, and at the end of a run; with
    `durability="sync"` after each step. Its methods may be called on any thread and event loop; the blocking ones not
    on the runtime's own loop.

    Args:
        checkpoints: Where to.
        loop: The event loop that they live on.
        types: Classes that state may hold beside LangChain's and plain ones; any other comes back as plain data.
        turns: Forgets a thread when it is read, as at the start of every run, and knows whose history may go.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        *,
        loop: asyncio.AbstractEventLoop,
        types: Sequence[type] = (),
        turns: Turns | None = None,
    ) -> None:
        super().__init__(serde=Serializer(allowed_msgpack_modules=tuple(types) or None))
        self.loop = loop
        self._checkpoints = checkpoints
        self._lists = GrowingLists()
        self._turns = turns or Turns()

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A version after `current` that no other branch has."""
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{secrets.token_hex(8)}"

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, else the head of its namespace.

        Raises:
            SealBroken: what is kept is not what was sealed for its place.
        """
        _name(config)
        return await on_loop(self.loop, self._get(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of a thread, or of all, newest first; `filter` is held against their metadata."""
        for one in await on_loop(self.loop, self._list(config, filter, before, limit)):
            yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint.

        Raises:
            ThreadBusy: another run has moved the thread on (P11).
            ThreadErased: the thread was deleted.
            DatabaseError: the database did not take it.
        """
        return await on_loop(self.loop, self._put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task wrote. Errors as `aput`."""
        rows = self._rows(writes, task_id, task_path)
        await on_loop(self.loop, self._write(config, writes, rows))

    async def waits(self, thread: str) -> list[Interrupt]:
        """The interrupts at the thread's head that nobody has answered; its state is not read for that."""
        stored = await on_loop(self.loop, self._checkpoints.load(thread, "", None))
        writes = stored.writes if stored else ()
        done = {write.task for write in writes if write.idx >= 0}
        asked = [write for write in writes if write.channel == INTERRUPT and write.task not in done]
        return [one for write in asked for one in self._load(write.body)]

    async def has_begun(self, thread: str) -> bool:
        """Whether a run of the thread has left anything."""
        return bool(await on_loop(self.loop, self._checkpoints.heads(thread)))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread for good: its key is destroyed, and a run that still works on it is refused.

        Raises:
            ErasureRefused: its subject is on legal hold.
        """
        await on_loop(self.loop, self._checkpoints.erase(str(thread_id)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what some runs have left."""
        await on_loop(self.loop, self._delete_runs([str(one) for one in run_ids]))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with its whole history."""
        await on_loop(self.loop, self._checkpoints.copy(str(source_thread_id), str(target_thread_id)))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete history.

        Args:
            thread_ids: The threads.
            strategy: `keep_latest` keeps the head of each namespace, and what its delta channels are rebuilt from;
                `delete` keeps nothing.

        Where a thread's subject is on legal hold, `keep_latest` deletes nothing.

        Raises:
            ValueError: the strategy is another.
            ErasureRefused: `delete`, and a thread's subject is on legal hold.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"strategy is {strategy!r}: keep_latest or delete")
        for thread in thread_ids:
            work = self._checkpoints.clear if strategy == "delete" else self._prune
            await on_loop(self.loop, work(str(thread)))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What delta channels are rebuilt from: the nearest value, and the writes since."""
        return await on_loop(self.loop, self._history(config, channels))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `aget_tuple`."""
        _name(config)
        return blocking(self.loop, self._get(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """See `alist`."""
        yield from blocking(self.loop, self._list(config, filter, before, limit))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `aput`."""
        return blocking(self.loop, self._put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See `aput_writes`."""
        rows = self._rows(writes, task_id, task_path)
        blocking(self.loop, self._write(config, writes, rows))

    def delete_thread(self, thread_id: str) -> None:
        """See `adelete_thread`."""
        blocking(self.loop, self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See `adelete_for_runs`."""
        blocking(self.loop, self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See `acopy_thread`."""
        blocking(self.loop, self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """See `aprune`."""
        blocking(self.loop, self.aprune(thread_ids, strategy=strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See `aget_delta_channel_history`."""
        return blocking(self.loop, self._history(config, channels))

    async def _get(self, config: RunnableConfig) -> CheckpointTuple | None:
        thread, ns, id_ = _named(config)
        stored = await self._checkpoints.load(thread, ns, id_)
        if not ns:
            self._turns.forget(thread)
        return None if stored is None else await self._tuple(stored, self._opened(stored), grows=True)

    async def _list(
        self,
        config: RunnableConfig | None,
        filter_: Mapping[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Sequence[CheckpointTuple]:
        given = _configurable(config)
        found: list[CheckpointTuple] = []
        for stored in await self._checkpoints.list(
            str(given["thread_id"]) if "thread_id" in given else None,
            ns=given.get("checkpoint_ns"),
            id_=given.get("checkpoint_id") or None,
            before=_configurable(before).get("checkpoint_id"),
            limit=None if filter_ else limit,  # metadata is sealed, so it is looked through here
        ):
            opened = self._opened(stored)
            if limit is not None and len(found) >= limit:
                break
            if all(opened["metadata"].get(name) == wanted for name, wanted in (filter_ or {}).items()):
                found.append(await self._tuple(stored, opened, grows=False))
        return found

    async def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        thread, ns, parent = _named(config)
        key = CheckpointKey(thread=thread, ns=ns, id=checkpoint["id"])
        said = get_checkpoint_metadata(config, metadata)
        source, running = said.get("source"), in_run(config)
        self._notice_input(key, metadata, checkpoint, config)
        # Whoever gives no parent outside a run begins anew on purpose.
        fork = source in _FORKS or (parent is None and not running) or replays(config)
        # New input on a checkpoint that the caller named is a branch on purpose, as when a message is edited.
        fork = fork or (source == "input" and parent is not None and _NAMED.get() == (thread, parent))
        if parent is not None and parent == self._checkpoints.stands(thread, ns):
            fork = False  # it follows from where the thread stands, whatever it is called
        values = checkpoint["channel_values"]
        rows = self._lists.rows(
            CheckpointKey(thread=thread, ns=ns, id=parent) if parent else None,
            key,
            values,
            {name: str(version) for name, version in new_versions.items()},
            self._dump,
            grows=not fork,
            from_tasks=source == "loop",
        )
        kept = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        body = self._dump({"checkpoint": kept, "metadata": said, "held": list(values)})
        run, final = said.get("run_id"), looks_final(checkpoint)
        await self._checkpoints.put(
            CheckpointRow(key=key, parent=parent, run=str(run) if run else None, body=body, values=rows, fork=fork),
            urgent=not running or saves_each_step(config) or final,
        )
        if final:
            await self._ended(key)
        return _config(key)

    def _notice_input(
        self, key: CheckpointKey, metadata: CheckpointMetadata, checkpoint: Checkpoint, config: RunnableConfig
    ) -> None:
        """What a run is started with, before any node has seen it: neither a node nor `update_state` writes that."""
        values = checkpoint["channel_values"]
        if metadata.get("source") == "input" and not key.ns and INPUT in values and not is_nested(config):
            person, is_verified = asking(config)
            self._turns.readings.of(key.thread).given = Given(
                source=f"input:{key.id}", value=values[INPUT], by=person, is_verified=is_verified
            )

    async def _ended(self, key: CheckpointKey) -> None:
        """A run has come to its end: memory lets go of its messages, and its history goes where the policy says so."""
        self._lists.forget(key)
        if not key.ns and self._turns.take_answered(key.thread):
            try:
                await self._prune(key.thread)
            except StatewardError as error:  # the answer is there, and the next run tries again
                _LOG.warning("the history of thread %s could not be pruned: %s", key.thread, error)

    def _rows(self, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str) -> list[WriteRow]:
        """The writes as they are now: until the runtime's loop comes to them, a node may change them in place."""
        return [
            WriteRow(
                task=task_id,
                idx=WRITES_IDX_MAP.get(channel, at),
                path=task_path,
                channel=channel,
                body=self._dump(value),
            )
            for at, (channel, value) in enumerate(writes)
        ]

    async def _write(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], rows: Sequence[WriteRow]) -> None:
        thread, ns, id_ = _named(config)
        key = CheckpointKey(thread=thread, ns=ns, id=id_ or "")
        self._lists.write(key, (value for channel, value in writes if channel not in WRITES_IDX_MAP))
        # What ends a run, or is shown to a person, has no step after it that would make it durable.
        urgent = not in_run(config) or any(row.idx < 0 for row in rows)
        asks = any(row.channel == INTERRUPT for row in rows)
        await self._checkpoints.write(key, rows, urgent=urgent, asks=asks)

    async def _tuple(self, stored: StoredCheckpoint, opened: Mapping[str, Any], *, grows: bool) -> CheckpointTuple:
        key = stored.key
        versions = {name: str(version) for name, version in opened["checkpoint"]["channel_versions"].items()}
        held = [name for name in opened["held"] if name in versions]
        # A delta channel's last value stands at its version, which later checkpoints share without holding it.
        kept = await self._checkpoints.values(key.thread, key.ns, versions, needed=held)
        size = sum(len(body) for value in kept.values() for body in value.bodies)
        values = await asyncio.to_thread(self._load_all, kept) if size > _LARGE else self._load_all(kept)
        if grows:
            self._lists.loaded(key, kept, values)
        parent = None if stored.parent is None else CheckpointKey(thread=key.thread, ns=key.ns, id=stored.parent)
        return CheckpointTuple(
            config=_config(key),
            checkpoint=cast("Checkpoint", {**opened["checkpoint"], "channel_values": values}),
            metadata=opened["metadata"],
            parent_config=None if parent is None else _config(parent),
            pending_writes=[(write.task, write.channel, self._load(write.body)) for write in stored.writes],
        )

    async def _prune(self, thread: str) -> None:
        keep: list[StoredCheckpoint] = []
        for ns, id_ in (await self._checkpoints.heads(thread)).items():
            key = CheckpointKey(thread=thread, ns=ns, id=id_)
            keep.extend(await lineage(self._checkpoints, key, self._opened))
        await self._keep_only(thread, keep)

    async def _delete_runs(self, runs: Sequence[str]) -> None:
        for thread in await self._checkpoints.delete_runs(runs):
            left = await self._checkpoints.list(thread, ns=None, id_=None, before=None, limit=None)
            await self._keep_only(thread, left)

    async def _keep_only(self, thread: str, keep: Sequence[StoredCheckpoint]) -> None:
        values: list[tuple[str, str, str]] = []
        for stored in keep:
            versions = self._opened(stored)["checkpoint"]["channel_versions"]
            values.extend((stored.key.ns, name, str(version)) for name, version in versions.items())
        await self._checkpoints.prune(thread, keep=[stored.key for stored in keep], values=values)

    async def _history(self, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, DeltaChannelHistory]:
        thread, ns, id_ = _named(config)
        key = CheckpointKey(thread=thread, ns=ns, id=id_ or (await self._checkpoints.heads(thread)).get(ns, ""))
        return await history(self._checkpoints, key, channels, self._opened, self._load, self._joined)

    def _opened(self, stored: StoredCheckpoint) -> dict[str, Any]:
        return self._load(stored.body)

    def _load_all(self, kept: Mapping[str, StoredValue]) -> dict[str, Any]:
        return {name: self._joined(value) for name, value in kept.items()}

    def _joined(self, value: StoredValue) -> Any:
        if len(value.bodies) == 1:
            return self._load(value.bodies[0])
        return [one for body in value.bodies for one in self._load(body)]

    def _dump(self, value: Any) -> bytes:
        try:
            kind, body = self.serde.dumps_typed(value)
        except (TypeError, OverflowError) as error:  # which names a class at most
            raise ThreadError(
                f"the state cannot be kept ({error}): whole numbers have at most 64 bits, those in a call that a model "
                "proposes too; a class of your own has to be one that LangGraph can serialize"
            ) from error
        name = kind.encode()
        return bytes([len(name)]) + name + body

    def _load(self, body: bytes) -> Any:
        end = body[0] + 1
        return self.serde.loads_typed((body[1:end].decode(), body[end:]))


def _name(config: RunnableConfig) -> None:
    """Note which checkpoint the caller of a run names; LangGraph's own look at the head names none on purpose."""
    given = _configurable(config)
    if given.get("checkpoint_id"):
        _NAMED.set((str(given["thread_id"]), given["checkpoint_id"]))
    elif "checkpoint_id" not in given:
        _NAMED.set(None)


def _named(config: RunnableConfig) -> tuple[str, str, str | None]:
    given = _configurable(config)
    return str(given["thread_id"]), given.get("checkpoint_ns") or "", given.get("checkpoint_id") or None


def _configurable(config: RunnableConfig | None) -> Mapping[str, Any]:
    return (config or {}).get("configurable") or {}


def _config(key: CheckpointKey) -> RunnableConfig:
    return {"configurable": {"thread_id": key.thread, "checkpoint_ns": key.ns, "checkpoint_id": key.id}}
