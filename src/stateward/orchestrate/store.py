"""Memory as LangGraph's `BaseStore`: whatever writes through it writes under the policy, and cannot go round it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from langgraph.config import get_config
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    get_text_at_path,
    tokenize_path,
)

from stateward.errors import MemoryRefused, ThreadError, UnknownThread
from stateward.model.memory import MemoryItem, Scope, Search
from stateward.model.values import Json, plain_object
from stateward.orchestrate.invoking import current_action
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.services import Services, configurable
from stateward.remember.write import Entry, MemoryRules, refused_kind, words_of

_LOG = logging.getLogger("stateward.security")


class StatewardStore(BaseStore):
    """A store whose items have subject, purpose, kind and expiry.

    The first label of a namespace is the item's kind, which the policy declares. Tenant, subject and purpose come
    from the row of the thread that is running, never from the caller. Outside a run nothing is found, and a write
    is refused.

    A `ttl` shortens what the policy says and never lengthens it; `refresh_ttl` does nothing, as reading never extends a
    retention. In a batch, all reads see what was there before it; its writes happen together or not at all.
    """

    supports_ttl = True

    def __init__(self, services: Services) -> None:
        self.services = services

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """The operations, blocking."""
        return blocking(self.services.loop, self._batch(list(ops), _running_thread(), current_action()))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The operations."""
        return await on_loop(self.services.loop, self._batch(list(ops), _running_thread(), current_action()))

    async def _batch(self, ops: list[Op], thread: str | None, action: str | None) -> list[Result]:
        scope = await self._scope(thread)
        found = [None if isinstance(op, PutOp) else await self._read(op, scope) for op in ops]
        # The last write of a key is the one that counts, as in LangGraph's own stores.
        puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        if puts:
            await self._write(list(puts.values()), scope, action)
        return found

    async def _scope(self, thread: str | None) -> Scope | None:
        if thread is None:
            return None
        try:
            return await self.services.scope(thread)
        except UnknownThread:
            return None

    async def _read(self, op: GetOp | SearchOp | ListNamespacesOp, scope: Scope | None) -> Result:
        if scope is None:
            _LOG.warning("memory was read outside a run: nothing is found there")
            return None if isinstance(op, GetOp) else []
        match op:
            case GetOp():
                return await self._get(op, scope)
            case SearchOp():
                return await self._search(op, scope)
            case _:
                return await self._namespaces(op, scope)

    async def _get(self, op: GetOp, scope: Scope) -> Item | None:
        if await self._is_barred(scope, op.namespace):
            return None
        found = await self.services.memory.get(scope, namespace=op.namespace, key=op.key)
        if found is None:
            return None
        await self.services.recalled(scope.thread, [found])
        return Item(**_fields(found))

    async def _search(self, op: SearchOp, scope: Scope) -> list[SearchItem]:
        if await self._is_barred(scope, op.namespace_prefix):
            return []
        search = Search(prefix=op.namespace_prefix, query=op.query, filter=op.filter, limit=op.limit, offset=op.offset)
        found = await self.services.search(scope, search)
        return [SearchItem(**_fields(one), score=one.score) for one in found]

    async def _is_barred(self, scope: Scope, namespace: tuple[str, ...]) -> bool:
        """Whether the policy keeps no such kind for the thread's purpose: nothing is found, and the trail says so."""
        rules = await self._rules(scope)
        if rules is None or not namespace or not refused_kind(rules, namespace[0], scope.purpose):
            return False
        detail: dict[str, Json] = {"purpose": scope.purpose}
        if namespace[0] in rules.kinds:  # what is no name of the policy's may be anything
            detail["kind"] = namespace[0]
        await self.services.ledger.append(scope.thread, "memory.barred", actor=scope.principal, detail=detail)
        return True

    async def _rules(self, scope: Scope) -> MemoryRules | None:
        try:
            return MemoryRules.of(self.services.ward_of(await self.services.facts(scope.thread)).document)
        except ThreadError:
            return None

    async def _write(self, ops: Sequence[PutOp], scope: Scope | None, action: str | None) -> None:
        if scope is None:
            raise MemoryRefused("memory is written inside a run only: there is no subject and purpose here")
        ward = self.services.ward_of(await self.services.facts(scope.thread))
        entries = [_entry(op, action) for op in ops]
        await self.services.keeper.keep(MemoryRules.of(ward.document), scope, entries)

    async def _namespaces(self, op: ListNamespacesOp, scope: Scope) -> list[tuple[str, ...]]:
        found = await self.services.memory.namespaces(scope)
        kept = [one for one in found if all(_fits(one, condition) for condition in op.match_conditions or ())]
        cut = {one if op.max_depth is None else one[: op.max_depth] for one in kept}
        return sorted(cut)[op.offset : op.offset + op.limit]


def _entry(op: PutOp, action: str | None) -> Entry:
    return Entry(
        namespace=op.namespace,
        key=op.key,
        value=None if op.value is None else plain_object(op.value),
        ttl=None if op.ttl is None else timedelta(minutes=op.ttl),
        action=action,
        words=words_of if op.index is None else partial(_words_at, op.index or ()),
    )


def _words_at(paths: Sequence[str], value: Mapping[str, Json]) -> str:
    """What stands at LangGraph's paths into a value."""
    return "\n".join(text for path in paths for text in get_text_at_path(value, tokenize_path(path)))


def _fields(item: MemoryItem) -> dict[str, Any]:
    return {
        "value": item.value,
        "key": item.key,
        "namespace": item.namespace,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", found) for found, wanted in zip(part, path, strict=True))


def _running_thread() -> str | None:
    try:
        thread = configurable(get_config()).get("thread_id")
    except RuntimeError:
        return None
    return thread if isinstance(thread, str) else None
