"""Threads that LangGraph's own PostgresSaver keeps, brought over into our saver as they are.

Nothing is built on the way: an object of any class goes over as the bytes that stand for it. So a class that cannot be
imported here loses nothing, a runtime with `types=` gets its objects back, and no database makes us run its code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, Protocol, cast

import ormsgpack
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple, writes_sort_key

from stateward.errors import DatabaseError, ThreadBusy, ThreadErased, ThreadError
from stateward.orchestrate.saver import StatewardSaver
from stateward.ports import Checkpoints

State = Literal["imported", "complete", "gone on", "refused", "failed"]
Row = Mapping[str, Any]
Key = tuple[str, str]  # namespace and checkpoint id

_READ = ("msgpack", "json", "bytes", "bytearray", "null")  # what our saver reads
_MESSAGES = "langchain_core.messages."
_PLAIN = ormsgpack.OPT_NON_STR_KEYS
_OPTIONS = _PLAIN | ormsgpack.OPT_PASSTHROUGH_DATACLASS


class Tables(Protocol):
    """LangGraph's tables, read within `held`."""

    @property
    def connection(self) -> Any:
        """The connection, for upstream's saver."""
        ...

    def held(self, *, alone: bool = False) -> AbstractAsyncContextManager[None]:
        """A transaction that sees one state of them; `alone`: nobody else writes them until its end."""
        ...

    async def line(self, thread: str) -> Sequence[Row]:
        """`ns`, `id`, `parent` and number of `writes` of a thread's checkpoints, oldest first."""
        ...

    async def places(self, thread: str) -> Sequence[Row]:
        """`ns`, `id`, `path`, `task`, `idx` and `channel` of a thread's writes."""
        ...


class Arrivals(Protocol):
    """The way in for whole threads."""

    async def here(self, thread: str) -> Sequence[Row]:
        """`ns`, `id`, whether it is a `head`, and number of `writes` of the checkpoints that we keep of a thread."""
        ...

    def thread(self, thread: str, heads: Mapping[str, str]) -> AbstractAsyncContextManager[None]:
        """What is put in the block is seen at its end, with these heads, or never."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """What came of a thread.

    Attributes:
        checkpoints: How many it has in LangGraph's tables.
        state: `imported` (now), `complete` (it was here), `gone on` (it was here, and a run has moved it on since),
            `refused` (there is another thread of this id, or it was deleted), or `failed`.
        why: What is to be said about it.
        dropped: Whether it was deleted from LangGraph's tables.
    """

    thread: str
    checkpoints: int
    state: State
    why: str = ""
    dropped: bool = False


class Importer:
    """Brings threads over, one at a time. It may be cut off and begun again: a thread is here as a whole, or not.

    Args:
        tables: Where from.
        arrivals: Where to.
        checkpoints: What our saver writes to, which hands it to `arrivals`.
    """

    def __init__(self, tables: Tables, arrivals: Arrivals, checkpoints: Checkpoints) -> None:
        # It brings psycopg with it, which nothing else here needs.
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        self._tables, self._arrivals = tables, arrivals
        self._theirs = AsyncPostgresSaver(tables.connection, serde=AsIs())
        self._ours = StatewardSaver(checkpoints, loop=asyncio.get_running_loop())
        self._ours.serde = AsIs()

    async def bring(self, thread: str, *, drop: bool = False) -> Brought:
        """Bring a thread over, unless it is here.

        Args:
            thread: Its id.
            drop: Delete it from LangGraph's tables, once it was read back and is the same.

        Raises:
            DatabaseError: one of the databases cannot be used; the other threads would fail as this one.
        """
        try:
            brought = await self._bring(thread)
            whole = brought.state in ("imported", "complete", "gone on")
            return await self._drop(brought) if drop and whole else brought
        except DatabaseError:
            raise
        except (ThreadBusy, ThreadErased) as error:
            return Brought(thread=thread, checkpoints=0, state="refused", why=error.message)
        except Exception as error:  # whatever is wrong with one thread does not keep the others from coming over
            why = error.message if isinstance(error, ThreadError) else f"{type(error).__name__}: {error}"
            return Brought(thread=thread, checkpoints=0, state="failed", why=why)

    async def _bring(self, thread: str) -> Brought:
        async with self._tables.held():
            line = await self._tables.line(thread)
            state, why = standing(line, await self._arrivals.here(thread))
            if state == "imported":
                async with self._arrivals.thread(thread, heads_of(line)):
                    await self._copy(thread, line)
        return Brought(thread=thread, checkpoints=len(line), state=state, why=why)

    async def _copy(self, thread: str, line: Sequence[Row]) -> None:
        messages, written = _Messages(), set[tuple[str, str, str]]()
        async for found, places in self._read(thread, line):
            ns = _configurable(found.config)["checkpoint_ns"]
            values = {name: messages.in_place(value) for name, value in _versioned(found).items()}
            versions = {name: str(found.checkpoint["channel_versions"][name]) for name in values}
            new = {name: version for name, version in versions.items() if (ns, name, version) not in written}
            written.update((ns, name, version) for name, version in new.items())
            parent: RunnableConfig = found.parent_config or {
                "configurable": {"thread_id": thread, "checkpoint_ns": ns},
            }
            whole = cast("Any", {**found.checkpoint, "channel_values": values})
            await self._ours.aput(parent, whole, found.metadata, cast("Any", new))
            await self._copy_writes(found, places)

    async def _copy_writes(self, found: CheckpointTuple, places: Sequence[Row]) -> None:
        # Upstream sorts a checkpoint's writes by task path, task and index, and gives neither path nor index: we read
        # those beside it in the same order, because they are what our own saver sorts by when it replays.
        writes = list(zip(places, found.pending_writes or (), strict=True))
        for (path, task), of_task in groupby(writes, key=lambda one: (one[0]["path"], one[0]["task"])):
            rows = [(place["idx"], channel, value) for place, (_, channel, value) in of_task]
            await self._ours.aput_writes(found.config, numbered(rows), task, path)

    async def _read(self, thread: str, line: Sequence[Row]) -> AsyncGenerator[tuple[CheckpointTuple, Sequence[Row]]]:
        """The checkpoints, parents first, each with the places of its writes in the order of upstream's values."""
        places: dict[Key, list[Row]] = {}
        for row in sorted(
            await self._tables.places(thread), key=lambda row: writes_sort_key(row["path"], row["task"], row["idx"])
        ):
            places.setdefault((row["ns"], row["id"]), []).append(row)
        for ns, id_ in parents_first(line):
            found = await self._theirs.aget_tuple(_config(thread, ns, id_))
            if found is not None:
                yield found, places.get((ns, id_), ())

    async def _drop(self, brought: Brought) -> Brought:
        thread = brought.thread
        async with self._tables.held(alone=True):
            line = await self._tables.line(thread)
            state, _ = standing(line, await self._arrivals.here(thread))
            if state not in ("complete", "gone on"):
                return replace(brought, state="failed", why="not dropped: it was changed meanwhile, run this again")
            problem = await self._difference(thread, line, gone_on=state == "gone on")
            if problem:
                return replace(brought, state="failed", why=f"not dropped: {problem}")
            await self._theirs.adelete_thread(thread)
        return replace(brought, dropped=True)

    async def _difference(self, thread: str, line: Sequence[Row], *, gone_on: bool) -> str:
        """What our saver reads back otherwise than upstream's, or nothing."""
        async for theirs, _ in self._read(thread, line):
            ours = await self._ours.aget_tuple(theirs.config)
            if ours is None:
                return f"checkpoint {theirs.checkpoint['id']} is not here"
            expected, found = _essence(theirs), _essence(ours)
            if gone_on:
                expected["writes"], found["writes"] = _still_there(expected["writes"], found["writes"])
            for part, value in expected.items():
                if found[part] != value:
                    return f"the {part} of checkpoint {theirs.checkpoint['id']} here are not those there"
        return ""


def standing(line: Sequence[Row], here: Sequence[Row]) -> tuple[State, str]:
    """Whether a thread is to be imported, and why not.

    Args:
        line: Its checkpoints in LangGraph's tables.
        here: Its checkpoints in ours.
    """
    theirs, ours = ({(row["ns"], row["id"]): row["writes"] for row in rows} for rows in (line, here))
    if not ours:
        return "imported", ""
    missing = [key for key, writes in theirs.items() if ours.get(key, -1) < writes]
    if missing:
        return "refused", (
            f"there is a thread of this id here already, and {len(missing)} of its {len(theirs)} checkpoints there are "
            "not in it, or not with all that was written: it went on there, or it is another thread, or its history "
            "here was deleted"
        )
    if ours == theirs and {(row["ns"], row["id"]) for row in here if row["head"]} == set(heads_of(line).items()):
        return "complete", ""
    more = f", by {len(ours) - len(theirs)} checkpoints" if len(ours) > len(theirs) else ""
    return "gone on", f"refused: it has gone on here since{more}; nothing of it was changed"


def heads_of(line: Iterable[Row]) -> dict[str, str]:
    """Where each namespace stands for upstream's saver: at the checkpoint of the highest id."""
    heads: dict[str, str] = {}
    for row in line:
        heads[row["ns"]] = max(row["id"], heads.get(row["ns"], ""))
    return heads


def parents_first(line: Iterable[Row]) -> Iterator[Key]:
    """The checkpoints in an order in which each comes after its parent; ids say so, unless clocks differed."""
    parents = {(row["ns"], row["id"]): (row["ns"], row["parent"]) for row in line}
    done: set[Key] = set()
    for youngest in parents:
        branch: dict[Key, None] = {}
        key = youngest
        while key in parents and key not in done and key not in branch:
            branch[key] = None
            key = parents[key]
        done.update(branch)
        yield from reversed(branch)


def numbered(writes: Sequence[tuple[int, str, Any]]) -> list[tuple[str, Any]]:
    """A task's writes as `aput_writes` takes them, which counts them and has numbers of its own for special channels.

    Args:
        writes: Index, channel and value of each.
    """
    special = [(channel, value) for idx, channel, value in writes if idx < 0]
    plain = {idx: (channel, value) for idx, channel, value in writes if idx >= 0}
    if not special:
        return [plain[idx] for idx in sorted(plain)]
    # A special one took the place of each number that is missing, and is kept once however often it is written.
    return [*(plain.get(idx, special[0]) for idx in range(max(plain, default=-1) + 1)), *special]


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A value that is not looked into.

    Attributes:
        kind: How it is serialised.
        body: The bytes.
    """

    kind: str
    body: bytes


class AsIs:
    """LangGraph's serialisation without its classes: plain data, and objects as the bytes that stand for them."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Kind and bytes, the very same that the value was read from."""
        if isinstance(obj, Verbatim):
            return obj.kind, obj.body
        if obj is None:
            return "null", b""
        return "msgpack", ormsgpack.packb(obj, default=_packed, option=_OPTIONS)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """A value.

        Raises:
            ThreadError: it is of a kind that our saver could not read later.
        """
        kind, body = data
        if kind not in _READ:
            raise ThreadError(
                f"a value is kept as {kind!r}, which is not read here: pickled and encrypted ones are not brought over"
            )
        try:
            value = ormsgpack.unpackb(body, ext_hook=_Object, option=_PLAIN) if kind == "msgpack" else None
            if value is not None and self.dumps_typed(value)[1] == body:
                return value
        except (TypeError, ValueError):
            pass  # it is written in another way than we would write it: then it is not looked into
        return Verbatim(kind, bytes(body))


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of some class, as msgpack has it."""

    tag: int
    data: bytes


class _Message(BaseMessage):
    """Stands for a message, so that our saver sees a list of them grow."""

    type: Literal["verbatim"] = "verbatim"  # pyright: ignore[reportIncompatibleVariableOverride]
    packed: Any


class _Messages:
    """The messages of one thread: those that are equal, byte by byte, become one object, as they are in a run."""

    def __init__(self) -> None:
        self._known: dict[_Object, _Message | None] = {}

    def in_place(self, value: Any) -> Any:
        """A list of messages with what stands for them; anything else as it is."""
        found = [self._message(one) for one in _objects(value)]
        return found if found and None not in found else value

    def _message(self, one: _Object) -> _Message | None:
        if one not in self._known:
            self._known[one] = _Message(content="", packed=one) if _class_of(one).startswith(_MESSAGES) else None
        return self._known[one]


def _objects(value: Any) -> Sequence[_Object]:
    listed = cast("list[Any]", value) if isinstance(value, list) else ()
    return listed if all(isinstance(one, _Object) for one in listed) else ()


def _class_of(one: _Object) -> str:
    try:
        return str(ormsgpack.unpackb(one.data, ext_hook=_Object, option=_PLAIN)[0])
    except (TypeError, ValueError, IndexError, KeyError):
        return ""


def _packed(value: Any) -> ormsgpack.Ext:
    one = value.packed if isinstance(value, _Message) else value
    if isinstance(one, _Object):
        return ormsgpack.Ext(one.tag, one.data)
    raise TypeError(f"{type(value).__name__} is not plain data")


def _essence(found: CheckpointTuple) -> dict[str, Any]:
    checkpoint, as_is = dict(found.checkpoint), AsIs()
    del checkpoint["channel_values"]
    return {
        "parents": _configurable(found.parent_config).get("checkpoint_id"),
        "metadata": dict(found.metadata),
        "channel versions": checkpoint,
        "channel values": {name: as_is.dumps_typed(value) for name, value in _versioned(found).items()},
        "writes": [(task, channel, as_is.dumps_typed(value)) for task, channel, value in found.pending_writes or ()],
    }


def _still_there(expected: Sequence[Any], found: Sequence[Any]) -> tuple[set[Any], set[Any]]:
    """The writes that have to be there of a thread that has gone on, and which of them are.

    It may have written more, and LangGraph itself replaces the special ones.
    """
    wanted = {(task, channel, None if channel in WRITES_IDX_MAP else body) for task, channel, body in expected}
    there = {(task, channel, None if channel in WRITES_IDX_MAP else body) for task, channel, body in found}
    return wanted, wanted & there


def _versioned(found: CheckpointTuple) -> dict[str, Any]:
    # A value without a version is a channel's default, which LangGraph makes again.
    versions = found.checkpoint["channel_versions"]
    return {name: value for name, value in found.checkpoint["channel_values"].items() if name in versions}


def _config(thread: str, ns: str, id_: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id_}}


def _configurable(config: RunnableConfig | None) -> Mapping[str, Any]:
    return (config or {}).get("configurable") or {}
