"""Memory as LangGraph's `BaseStore`: whatever writes through it writes under the policy, and cannot go round it."""

from __future__ import annotations

from collections.abc import Iterable
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
)

from stateward.errors import MemoryRefused, UnknownThread
from stateward.model.memory import MemoryItem, Scope
from stateward.model.values import plain_object
from stateward.orchestrate.loops import blocking, on_loop
from stateward.orchestrate.services import Services, configurable
from stateward.remember.write import MemoryRules, write


class StatewardStore(BaseStore):
    """A store whose items have subject, purpose, kind and expiry.

    The first label of a namespace is the item's kind, which the policy declares. Tenant, subject and purpose come
    from the row of the thread that is running, never from the caller. Outside a run nothing is found, and a write
    is refused.
    """

    supports_ttl = False

    def __init__(self, services: Services) -> None:
        self.services = services

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """The operations in order, blocking."""
        return blocking(self.services.loop, self._batch(list(ops), _running_thread()))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The operations in order."""
        return await on_loop(self.services.loop, self._batch(list(ops), _running_thread()))

    async def _batch(self, ops: list[Op], thread: str | None) -> list[Result]:
        scope = await self._scope(thread)
        return [await self._run(op, scope) for op in ops]

    async def _scope(self, thread: str | None) -> Scope | None:
        if thread is None:
            return None
        try:
            return await self.services.scope(thread)
        except UnknownThread:
            return None

    async def _run(self, op: Op, scope: Scope | None) -> Result:
        match op:
            case GetOp():
                return await self._get(op, scope)
            case SearchOp():
                return await self._search(op, scope)
            case PutOp():
                return await self._put(op, scope)
            case _:
                return await self._namespaces(op, scope)

    async def _get(self, op: GetOp, scope: Scope | None) -> Item | None:
        if scope is None:
            return None
        found = await self.services.memory.get(scope, namespace=op.namespace, key=op.key)
        if found is None:
            return None
        await self.services.recalled(scope.thread, [found])
        return Item(**_fields(found))

    async def _search(self, op: SearchOp, scope: Scope | None) -> list[SearchItem]:
        if scope is None:
            return []
        found = await self.services.memory.search(
            scope,
            prefix=op.namespace_prefix,
            query=op.query,
            filter_=op.filter,
            limit=op.limit,
            offset=op.offset,
        )
        await self.services.recalled(scope.thread, found)
        return [SearchItem(**_fields(one)) for one in found]

    async def _put(self, op: PutOp, scope: Scope | None) -> None:
        if scope is None:
            raise MemoryRefused("memory is written inside a run only: there is no subject and purpose here")
        if op.value is None:
            await self.services.memory.delete(scope, namespace=op.namespace, key=op.key)
            return
        ward = self.services.ward_of(await self.services.facts(scope.thread))
        await write(
            self.services.memory,
            self.services.redactor,
            MemoryRules.of(ward.document),
            scope,
            namespace=op.namespace,
            key=op.key,
            value=plain_object(op.value),
            hash_key=self.services.hash_key,
            known=await self.services.case_file.known(scope.thread),
        )

    async def _namespaces(self, op: ListNamespacesOp, scope: Scope | None) -> list[tuple[str, ...]]:
        if scope is None:
            return []
        found = await self.services.memory.namespaces(scope)
        kept = [one for one in found if all(_fits(one, condition) for condition in op.match_conditions or ())]
        cut = dict.fromkeys(one[: op.max_depth] if op.max_depth else one for one in kept)
        return list(cut)[op.offset : op.offset + op.limit]


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
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    if len(part) < len(path):
        return False
    return all(wanted in ("*", found) for found, wanted in zip(part, path, strict=True))


def _running_thread() -> str | None:
    try:
        thread = configurable(get_config()).get("thread_id")
    except RuntimeError:
        return None
    return thread if isinstance(thread, str) else None
