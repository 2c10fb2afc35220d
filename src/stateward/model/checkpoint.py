"""Checkpoints as rows: what LangGraph hands over, serialised, before it is sealed and after it is opened."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointKey:
    """Where a checkpoint stands.

    Attributes:
        thread: LangGraph's thread id.
        ns: LangGraph's checkpoint namespace; empty for the root graph.
        id: The checkpoint's id.
    """

    thread: str
    ns: str
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueRow:
    """What one version of a channel adds.

    Attributes:
        channel: The channel's name.
        version: Its version.
        root: The version that began this row's chain; its own version where it stands by itself.
        ordinal: 0-based place in the chain: the value is every row of the root up to here, put together.
        body: What is kept, serialised.
    """

    channel: str
    version: str
    root: str
    ordinal: int
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteRow:
    """One write of a task.

    Attributes:
        idx: Its place among the task's writes; negative for LangGraph's special channels, which are replaced.
        path: The task's path, by which parallel writes are ordered.
    """

    task: str
    idx: int
    path: str
    channel: str
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRow:
    """A checkpoint to keep.

    Attributes:
        parent: Id of the checkpoint that it follows from; None for the first.
        run: Id of the run that made it, where there is one; kept as a digest.
        body: Checkpoint and metadata, serialised, without the channels' values.
        values: What is new in the channels.
        fork: It is declared to follow from elsewhere than the head.
    """

    key: CheckpointKey
    parent: str | None
    run: str | None
    body: bytes
    values: tuple[ValueRow, ...] = ()
    fork: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as it is kept, opened.

    Attributes:
        run: Digest of the id of the run that made it, where there was one.
        writes: What its tasks have written, in the order in which LangGraph applies them.
    """

    key: CheckpointKey
    parent: str | None
    run: str | None
    body: bytes
    writes: tuple[WriteRow, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredValue:
    """A channel's value as it is kept, opened.

    Attributes:
        root: The version that began the chain.
        bodies: The rows of the chain in order, serialised.
        newest: Whether nothing continues the chain yet, as another branch may.
    """

    root: str
    bodies: tuple[bytes, ...] = field(default=())
    newest: bool = True
