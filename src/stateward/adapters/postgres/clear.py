"""What release 0.1.0 kept in clear in the journal is sealed, once, in the transaction that drops its columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.actions import effect_fields
from stateward.adapters.postgres.amounts import amounts
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Connection, Row, Step
from stateward.adapters.postgres.envelopes import Fields, sealed
from stateward.adapters.postgres.questions import signature_fields
from stateward.adapters.postgres.statements import statements

_CLEAR = statements("clear/journal")
_MIGRATION = "0012_sealed"
_BATCH = 500
_NOWHERE = {"after": "", "after_principal": "", "limit": _BATCH}


def sealing(keys: DataKeys) -> dict[str, Step]:
    """What `Database.migrate` does before the migration that drops the columns.

    Args:
        keys: What the rows are sealed with, each for its thread.
    """

    async def seal(connection: Connection) -> None:
        await connection.execute(_CLEAR["alone"])
        for many, one, values in _TABLES:
            await _seal(connection, keys, (many, one), values)

    return {_MIGRATION: seal}


async def _seal(
    connection: Connection, keys: DataKeys, names: tuple[str, str], values: Callable[[Row], dict[str, Any]]
) -> None:
    place = _NOWHERE
    while rows := await _batch(connection, names[0], place):
        sealers = {thread: await keys.make(thread) for thread in {row["thread_id"] for row in rows}}
        async with connection.cursor() as cursor:
            await cursor.executemany(_CLEAR[names[1]], [sealed(values(row), sealers[row["thread_id"]]) for row in rows])
        last = rows[-1]
        after = last.get("approval_id") or last["action_id"]
        place = {"after": after, "after_principal": last.get("principal", ""), "limit": _BATCH}


async def _batch(connection: Connection, name: str, place: dict[str, Any]) -> Sequence[Row]:
    return await (await connection.execute(_CLEAR[name], place)).fetchall()


def _action(row: Row) -> dict[str, Any]:
    fields = Fields(("action", row["thread_id"], row["action_id"]))
    return {
        "action_id": row["action_id"],
        "arguments": fields.json("arguments", row["clear_arguments"]),
        "reasons": fields.json("reasons", row["clear_reasons"]),
        "response": fields.text("response", row["clear_response"] or ""),
        "amounts": Jsonb({} if row["verdict"] == "deny" else amounts(row["clear_arguments"], ())),
    }


def _effect(row: Row) -> dict[str, Any]:
    fields = effect_fields(row["thread_id"], row["action_id"])
    return {
        "action_id": row["action_id"],
        "result": fields.json("result", row["clear_result"]) if row["status"] == "settled" else None,
        "error": fields.text("error", row["clear_error"]),
    }


def _approval(row: Row) -> dict[str, Any]:
    fields = Fields(("approval", row["thread_id"], row["approval_id"]))
    asked: list[dict[str, Any]] = row["requirements"]
    requirements = [{name: said for name, said in one.items() if name != "because"} for one in asked]
    return {
        "approval_id": row["approval_id"],
        "arguments": fields.json("arguments", json.loads(row["clear_arguments"])),
        "description": fields.json("description", row["clear_description"]),
        "because": fields.json("because", [one.get("because", "") for one in asked]),
        "requirements": Jsonb(requirements),
    }


def _signature(row: Row) -> dict[str, Any]:
    fields = signature_fields(row["thread_id"], row["approval_id"], row["principal"])
    arguments = row["clear_arguments"]
    return {
        "approval_id": row["approval_id"],
        "principal": row["principal"],
        "reason": fields.text("reason", row["clear_reason"]),
        "arguments": None if arguments is None else fields.json("arguments", arguments),
    }


_TABLES: tuple[tuple[str, str, Callable[[Row], dict[str, Any]]], ...] = (
    ("actions", "seal_action", _action),
    ("effects", "seal_effect", _effect),
    ("approvals", "seal_approval", _approval),
    ("signatures", "seal_signature", _signature),
)
