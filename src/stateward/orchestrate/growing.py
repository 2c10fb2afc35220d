"""Message lists that grow: what a step adds is kept, not the whole list anew (promise P14)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langgraph.types import Overwrite

from stateward.model.checkpoint import CheckpointKey, StoredValue, ValueRow

_REMEMBERED = 1024  # checkpoints whose lists this process knows
_SHORTEST = 256  # rows of a chain before it is written anew; a longer list waits longer, so that the total stays linear


@dataclass(slots=True)
class Chain:
    """A list as it is kept.

    Attributes:
        root: The version that began it.
        ordinal: Place of its last row.
        first: How many messages the root row holds.
        items: The messages, as this process has them.
        ids: `id()` of each of them.
    """

    root: str
    ordinal: int
    first: int
    items: list[BaseMessage]
    ids: set[int]


@dataclass(slots=True)
class Known:
    """What this process knows of a checkpoint.

    Attributes:
        chains: Its growing lists, by channel.
        written: Whether a task has written since.
        touched: `id()` of messages that tasks have written: one that was there before was changed in place.
    """

    chains: dict[str, Chain] = field(default_factory=dict[str, Chain])
    written: bool = False
    touched: set[int] = field(default_factory=set[int])


class GrowingLists:
    """Turns channel values into rows.

    A list of messages whose beginning is the list of the checkpoint before, the very same messages, leaves a row with
    the rest. A message that a node changed in place counts as changed if the node returned it, which is how LangGraph
    tells a change; then the list is written anew, as it is when anything else than its end has changed.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[CheckpointKey, Known] = OrderedDict()

    def rows(
        self,
        parent: CheckpointKey | None,
        key: CheckpointKey,
        values: Mapping[str, Any],
        versions: Mapping[str, str],
        dump: Callable[[Any], bytes],
        *,
        grows: bool,
        from_tasks: bool,
    ) -> tuple[ValueRow, ...]:
        """The rows of what is new in a checkpoint's channels.

        Args:
            parent: The checkpoint that it follows from.
            versions: Channels that have changed, with their versions. One without a value is empty, and has no row.
            dump: Serialises.
            grows: Whether chains may be continued; a fork begins its own.
            from_tasks: Whether tasks made the change, so that their writes tell what was changed in place.
        """
        before = self._known.pop(parent, None) if parent else None
        after = self._known.get(key) or Known()
        if before is None or not grows or (from_tasks and not before.written):
            before = Known()
        rows: list[ValueRow] = []
        for channel, version in versions.items():
            if channel in values:
                chain = before.chains.pop(channel, None)
                if chain is not None and not before.touched.isdisjoint(chain.ids):
                    chain = None
                rows.append(_row(channel, version, values[channel], chain, after, dump))
        after.chains.update({name: chain for name, chain in before.chains.items() if name in values})
        self._remember(key, after)
        return tuple(rows)

    def write(self, key: CheckpointKey, values: Iterable[Any]) -> None:
        """Tasks of this checkpoint have written something; LangGraph may say so before it hands the checkpoint over."""
        known = self._known.get(key)
        if known is None:
            self._remember(key, known := Known())
        known.written = True
        known.touched.update(id(one) for value in values for one in _messages(value))

    def forget(self, key: CheckpointKey) -> None:
        """Nothing follows from this checkpoint before it is read again."""
        self._known.pop(key, None)

    def loaded(self, key: CheckpointKey, stored: Mapping[str, StoredValue], values: Mapping[str, Any]) -> None:
        """A checkpoint was read: its lists may grow from here."""
        known = Known()
        for channel, kept in stored.items():
            value = values[channel]
            if kept.newest and _is_messages(value):
                items = list(cast("list[BaseMessage]", value))
                ordinal = len(kept.bodies) - 1
                first = max(0, len(items) - ordinal)  # at least: a row may hold several
                known.chains[channel] = Chain(kept.root, ordinal, first, items, set(map(id, items)))
        self._remember(key, known)

    def _remember(self, key: CheckpointKey, known: Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _row(
    channel: str, version: str, value: Any, chain: Chain | None, after: Known, dump: Callable[[Any], bytes]
) -> ValueRow:
    if chain is not None and _continues(chain, value):
        rest = value[len(chain.items) :]
        if all(isinstance(one, BaseMessage) for one in rest):
            chain.items.extend(rest)
            chain.ids.update(map(id, rest))
            chain.ordinal += 1
            after.chains[channel] = chain
            body = dump(rest)
            return ValueRow(channel=channel, version=version, root=chain.root, ordinal=chain.ordinal, body=body)
    if _is_messages(value):
        items = list(cast("list[BaseMessage]", value))
        after.chains[channel] = Chain(version, 0, len(items), items, set(map(id, items)))
    return ValueRow(channel=channel, version=version, root=version, ordinal=0, body=dump(value))


def _continues(chain: Chain, value: Any) -> bool:
    if type(value) is not list or chain.ordinal + 1 >= max(_SHORTEST, chain.first):
        return False
    # The very same objects, not equal ones: what happens to them afterwards is told by their identity.
    return len(cast("list[Any]", value)) >= len(chain.items) and all(map(is_, chain.items, cast("list[Any]", value)))


def _is_messages(value: Any) -> bool:
    return (
        type(value) is list
        and bool(cast("list[Any]", value))
        and all(isinstance(one, BaseMessage) for one in cast("list[Any]", value))
    )


def _messages(value: Any) -> Sequence[BaseMessage]:
    if isinstance(value, Overwrite):
        value = value.value
    if isinstance(value, dict):  # LangGraph's other way to say the same
        value = next(iter(cast("dict[str, Any]", value).values()), None)
    if isinstance(value, BaseMessage):
        return (value,)
    if isinstance(value, (list, tuple)):
        return [one for one in cast("Sequence[Any]", value) if isinstance(one, BaseMessage)]
    return ()
