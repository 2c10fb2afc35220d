"""A subject's rights: to have what is known of them, and to have it forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from langchain_core.messages import BaseMessage, message_to_dict

from stateward.errors import ErasureRefused
from stateward.model.approval import Approval, Signature
from stateward.model.erasure import ErasureReceipt
from stateward.model.memory import MemoryItem, Scope
from stateward.model.principal import Principal
from stateward.model.thread import ThreadRecord
from stateward.model.values import Json, plain
from stateward.orchestrate.saver import StatewardSaver
from stateward.orchestrate.services import Services
from stateward.personal_data.pseudonyms import Tokens

_PAGE = 200


async def forget(services: Services, subject: str, *, by: Principal) -> ErasureReceipt:
    """Erase a subject of the tenant of whoever says so."""
    refuse(subject, by)
    return await services.erasure.forget(by.tenant, subject, by=by)


async def export(services: Services, saver: StatewardSaver, subject: str, *, by: Principal) -> dict[str, Json]:
    """All that is known of a subject: threads with their last state, what is known of its people, actions
    and questions; memory; and what its pseudonyms stand for, which is put back everywhere else."""
    refuse(subject, by)
    memory = await services.erasure.export(by.tenant, subject, by=by)
    threads = await services.threads.list(tenant=by.tenant, subject=subject)
    scope = Scope(tenant=by.tenant, principal=by.id, purpose="", subject=subject, thread=f"desk:{by.tenant}")
    known = await services.vault.reveal(scope)
    tokens = Tokens(entities=frozenset(entity for entity, _ in known))
    return {
        "tenant": by.tenant,
        "subject": subject,
        "threads": [tokens.put_back(await _thread(services, saver, one), known) for one in threads],
        "memory": [tokens.put_back(_item(one), known) for one in memory],
        "pseudonyms": [{"pseudonym": one.token, "value": one.value} for one in known.values()],
    }


def refuse(subject: str, by: Principal) -> None:
    """Refuse an agent, and nobody as a subject."""
    if by.kind == "agent":
        raise ErasureRefused(f"{by.id} is an agent: a person or a service decides about a subject's data")
    if not subject.strip():
        raise ErasureRefused("no subject is named")


async def _thread(services: Services, saver: StatewardSaver, record: ThreadRecord) -> dict[str, Json]:
    thread = record.facts.thread
    found = await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    state: Mapping[str, Any] = found.checkpoint["channel_values"] if found else {}
    return {
        "thread": thread,
        "purpose": record.facts.purpose,
        "graph": record.facts.graph,
        "requester": record.facts.requester,
        "status": record.status,
        "opened_at": record.created_at.isoformat(),
        "state": {name: _shown(value) for name, value in state.items() if not name.startswith(("__", "branch:"))},
        "known": [{"entity": one.entity, "value": one.value} for one in await services.case_file.known(thread)],
        "actions": await _actions(services, thread),
        "approvals": await _approvals(services, thread),
    }


async def _actions(services: Services, thread: str) -> list[Json]:
    shown: list[Json] = []
    after = None
    while page := await services.overview.actions(thread=thread, after=after, limit=_PAGE):
        for row, receipt in page:
            shown.append(
                {
                    "action": row.action.id,
                    "tool": row.action.call.tool,
                    "arguments": row.action.call.arguments,
                    "status": row.status,
                    "response": row.response,
                    "result": receipt.result if receipt else None,
                    "error": receipt.error if receipt else "",
                }
            )
        after = page[-1][0].action.id
    return shown


async def _approvals(services: Services, thread: str) -> list[Json]:
    return [_approval(one) for one in await services.desk.list(thread=thread, status=None)]


def _approval(one: Approval) -> dict[str, Json]:
    return {
        "approval": one.id,
        "tool": one.tool,
        "arguments": one.arguments,
        "description": one.description,
        "status": one.status,
        "signatures": [_signature(signed) for signed in one.signatures],
    }


def _signature(signed: Signature) -> dict[str, Json]:
    said = signed.decision
    return {"by": signed.principal, "decision": said.kind, "reason": said.reason, "arguments": said.arguments}


def _item(item: MemoryItem) -> dict[str, Json]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in asdict(item).items()
        if name not in ("subject", "score")
    }


def _shown(value: object) -> Json:
    if isinstance(value, BaseMessage):
        return plain(message_to_dict(value))
    if isinstance(value, list | tuple):
        return [_shown(one) for one in cast("list[object]", value)]
    try:
        return plain(value)
    except (TypeError, ValueError):
        return str(value)
