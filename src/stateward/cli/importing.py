"""Bring threads over from LangGraph's own tables, and say what came of each.

The shape of `--json`: `{"schema", "threads": [{"thread", "checkpoints", "state", "why", "dropped"}], "left"}`, where
`left` is how many threads are still in those tables, in clear.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stateward.adapters.postgres.checkpoints import PostgresCheckpoints
from stateward.adapters.postgres.importing import Arrivals, LangGraphTables
from stateward.cli import shapes
from stateward.cli.exits import DONE, FAILED, say
from stateward.errors import DatabaseError, ToolInputError
from stateward.importing import Brought, Importer
from stateward.model.policy import nearest
from stateward.runtime import AsyncRuntime

_STYLES = {"imported": "green", "complete": "green", "gone on": "yellow", "refused": "red", "failed": "red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What is to be brought over.

    Attributes:
        uri: Where from; empty: the runtime's own database.
        schema: Where the tables are; None: `stateward` if they are there, else `public`.
        threads: Only these; none: all.
        drop: Delete each thread there, once it was read back and is the same.
    """

    uri: str = ""
    schema: str | None = None
    threads: Sequence[str] = ()
    drop: bool = False


@dataclass(kw_only=True, slots=True)
class _Report:
    """What came of it, so far."""

    schema: str = ""
    there: int = 0
    brought: list[Brought] = field(default_factory=list[Brought])

    @property
    def left(self) -> int:
        return self.there - sum(one.dropped for one in self.brought)


def bring(wishes: Wishes, *, as_json: bool) -> int:
    """Bring the threads over; what was refused or failed makes it fail."""
    report = _Report()
    try:
        asyncio.run(_bring(wishes, report))
    except DatabaseError:
        _tell(report, as_json=as_json)
        raise
    _tell(report, as_json=as_json)
    fine = all(one.dropped or one.state in ("imported", "complete") for one in report.brought)
    return DONE if fine else FAILED


async def _bring(wishes: Wishes, report: _Report) -> None:
    async with _opened(wishes) as (tables, importer):
        counted = await tables.threads()
        report.schema, report.there = tables.schema, len(counted)
        for thread in _chosen(wishes.threads, counted):
            report.brought.append(await importer.bring(thread, drop=wishes.drop))


@asynccontextmanager
async def _opened(wishes: Wishes) -> AsyncGenerator[tuple[LangGraphTables, Importer]]:
    async with (
        AsyncRuntime.connect(keep_running=True) as runtime,
        LangGraphTables.open(wishes.uri or runtime.database.uri, wishes.schema) as tables,
    ):
        arrivals = Arrivals(runtime.database, runtime.keys)
        checkpoints = PostgresCheckpoints(runtime.database, runtime.keys, arrivals)
        yield tables, Importer(tables, arrivals, checkpoints)


def _chosen(wanted: Sequence[str], there: Mapping[str, int]) -> Sequence[str]:
    for thread in wanted:
        if thread not in there:
            raise ToolInputError(f"--thread {thread}: those tables have no such thread{nearest(thread, there)}")
    return list(dict.fromkeys(wanted)) or list(there)


def _tell(report: _Report, *, as_json: bool) -> None:
    if as_json:
        threads = [asdict(one) for one in report.brought]
        shapes.emit({"schema": report.schema, "threads": threads, "left": report.left})
    elif report.brought:
        Console().print(_table(report.brought), highlight=False)
    for line in _advice(report):
        say(line)


def _advice(report: _Report) -> Iterator[str]:
    if not report.schema:
        return
    tables = ", ".join(f"{report.schema}.{name}" for name in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"))
    if report.left:
        yield (
            f"{report.left} threads are in clear in {tables}. Look at them here, then delete them there with "
            "`stateward threads import --drop`: it compares each before it deletes it"
        )
    if any(one.dropped for one in report.brought):
        yield f"Postgres keeps deleted rows on disk until it needs the room: `VACUUM FULL {tables}` makes them go"
    if not report.there:
        yield f"{tables} hold no thread"


def _table(brought: Sequence[Brought]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("thread", no_wrap=True, overflow="fold")
    table.add_column("checkpoints", justify="right")
    table.add_column("state")
    for one in brought:
        state = Text(one.state, style=_STYLES[one.state])
        state.append(", dropped there" if one.dropped else "", style="dim")
        state.append(f": {one.why}" if one.why and not one.dropped else "", style="default")
        table.add_row(Text(one.thread), str(one.checkpoints), state)
    return table
