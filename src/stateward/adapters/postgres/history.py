"""How a tool was used, read in the caller's transaction."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from stateward.adapters.postgres.database import Connection, Row
from stateward.adapters.postgres.statements import statements
from stateward.model.history import History, Usage, value_of
from stateward.model.thread import ThreadFacts
from stateward.ports import Past

_SQL = statements("journal")


async def read_history(
    connection: Connection, thread: ThreadFacts, past: Past, *, hold: bool, waiting: bool = True
) -> History:
    """A value for each query that has one.

    Args:
        hold: Let nobody else judge by it before the transaction ends; the thread's row has to be held by then.
        waiting: Count what waits too.
    """
    if not past.queries:
        return {}
    values: dict[str, Any] = {
        "hold": hold,
        "thread": thread.thread,
        "tenant": thread.tenant,
        "tool": past.tool,
        "principal": thread.principal,
        "subject": thread.subject,
        "queries": Jsonb([[one.scope, one.argument, one.window.total_seconds()] for one in past.queries]),
        "waiting": waiting,
        "excluding": list(past.excluding),
    }
    rows = await (await connection.execute(_SQL["history"], values)).fetchall()
    found = {query: value_of(query, _usage(row)) for query, row in zip(past.queries, rows, strict=True)}
    return {query: value for query, value in found.items() if value is not None}


def summed(past: Past) -> frozenset[str]:
    """The arguments that the tool's rules add up."""
    return frozenset(one.argument for one in past.queries if one.argument is not None)


def _usage(row: Row) -> Usage:
    return Usage(calls=int(row["calls"]), total=row["total"], age=row["age"])
