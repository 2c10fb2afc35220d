"""The checkpointer: LangGraph's own for Postgres, in our schema, reachable from every thread and event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from stateward.orchestrate.loops import on_loop


class StatewardSaver(AsyncPostgresSaver):
    """LangGraph's saver, whose async methods may be awaited on any event loop.

    LangGraph's server runs graphs on loops of its own, while a pool belongs to one loop; each call is handed over.
    """

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint of a config."""
        return await on_loop(self.loop, super().aget_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of a thread, newest first."""

        async def collect() -> list[CheckpointTuple]:
            listed = super(StatewardSaver, self).alist(config, filter=filter, before=before, limit=limit)
            return [one async for one in listed]

        for one in await on_loop(self.loop, collect()):
            yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint."""
        return await on_loop(self.loop, super().aput(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task wrote."""
        await on_loop(self.loop, super().aput_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints."""
        await on_loop(self.loop, super().adelete_thread(thread_id))
