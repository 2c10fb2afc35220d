"""Tools with which a model remembers, recalls and forgets by itself: under the policy, as any other tool."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

from langchain_core.tools import BaseTool, ToolException

from stateward.errors import MemoryRefused
from stateward.model.memory import MemoryItem, Scope, Search
from stateward.orchestrate.invoking import current_action
from stateward.orchestrate.services import Services, current_services, current_thread
from stateward.orchestrate.tools import tool
from stateward.remember.write import Entry, MemoryRules

T = TypeVar("T")
_MOST = 50


def memory_tools() -> list[BaseTool]:
    """`remember`, `recall` and `forget`, for the policy to name and for a model to call.

    They work on the subject and for the purpose of the thread that is running, whatever the model says. A refusal is
    something that the model can read.
    """
    return [_remember(), _recall(), _forget()]


def _remember() -> BaseTool:
    @tool(idempotent=True)
    async def remember(kind: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
        """Keep something for later conversations about the same subject. The same kind and key again replaces it.

        Args:
            kind: What kind of thing it is: one of those that may be kept here.
            key: A short name for it, without personal data.
            value: What to keep.
        """
        version = await _read_or_refused(_keep(Entry(namespace=(kind,), key=key, value=value)))
        return {"kind": kind, "key": key, "version": version}

    return remember


def _recall() -> BaseTool:
    @tool
    async def recall(query: str, kind: str = "", limit: int = 10) -> dict[str, Any]:
        """Look for what was kept in earlier conversations about the same subject, best match first.

        Args:
            query: What to look for, in words; empty for the newest.
            kind: Only things of this kind.
            limit: How many at most, up to 50.
        """
        services, scope = await _here()
        place = (kind,) if kind else ()
        search = Search(prefix=place, query=query.strip() or None, limit=max(1, min(limit, _MOST)))
        return {"found": [_shown(item) for item in await services.search(scope, search)]}

    return recall


def _forget() -> BaseTool:
    @tool(idempotent=True)
    async def forget(kind: str, key: str) -> dict[str, Any]:
        """Delete something that was kept, with all that it said before.

        Args:
            kind: What kind of thing it is.
            key: Its name.
        """
        version = await _read_or_refused(_keep(Entry(namespace=(kind,), key=key)))
        return {"kind": kind, "key": key, "forgotten": version is not None}

    return forget


async def _keep(entry: Entry) -> int | None:
    services, scope = await _here()
    rules = MemoryRules.of(services.ward_of(await services.facts(scope.thread)).document)
    (version,) = await services.keeper.keep(rules, scope, [replace(entry, action=current_action())])
    return version


async def _here() -> tuple[Services, Scope]:
    services = current_services()
    return services, await services.scope(current_thread())


async def _read_or_refused(work: Awaitable[T]) -> T:
    try:
        return await work
    except MemoryRefused as refusal:
        raise ToolException(refusal.message) from refusal  # nothing was written, and the model is told why


def _shown(item: MemoryItem) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "key": item.key,
        "value": item.value,
        "kept_at": item.updated_at.isoformat(timespec="seconds"),
    }
