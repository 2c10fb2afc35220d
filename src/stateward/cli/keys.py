"""The master keys and what each of them wraps: look at them, or rotate them. No secret is ever shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stateward.adapters.embedded import EmbeddedServer
from stateward.adapters.keyring import LocalKeyring, open_keyring
from stateward.adapters.postgres.clear import sealing
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
from stateward.adapters.rings import Ring, RingFacts
from stateward.cli import shapes
from stateward.cli.exits import DONE, FAILED, say
from stateward.runtime import embedded_root
from stateward.settings import Settings

_STYLES = {"current": "green", "held": "", "missing": "bold red", "broken": "bold red"}
_SAID = {"current": "current", "held": "", "missing": "MISSING from the ring", "broken": "rows that are no wrapped key"}
_NEXT = {
    "environment": "to rotate, put a new key first in STATEWARD_MASTER_KEY, before a comma and the others",
    "kms": "to rotate, put another key first in STATEWARD_KMS_KEY, before a comma and the others; the yearly rotation "
    "that AWS KMS does by itself needs nothing here",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MasterKey:
    """A master key, and what it wraps.

    Attributes:
        master: Its id; None for rows that name none.
        status: `current` (wraps), `held` (unwraps), `missing` (needed, and not in the ring), or `broken` for rows that
            are no wrapped keys.
        data_keys: How many data keys it wraps.
    """

    master: str | None
    status: Literal["current", "held", "missing", "broken"]
    data_keys: int

    @property
    def opens(self) -> bool:
        """Whether the ring unwraps what this one has wrapped."""
        return self.status in ("current", "held")


def show(*, as_json: bool) -> int:
    """The ring, its master keys, and how many data keys each wraps; those that are missing make it fail."""
    with _address() as (settings, uri):
        facts, masters = asyncio.run(_look(settings, uri))
    if as_json:
        shapes.emit(_shape(facts, masters))
    else:
        print(f"{facts.kind}: {facts.where}")
        if masters:
            Console().print(_table(masters), highlight=False)
        if facts.current is None:
            say("there is no master key yet: the first run makes one")
    return DONE if all(one.opens for one in masters) else FAILED


def rotate(*, as_json: bool) -> int:
    """A new master key for a file ring, and the current one around every data key."""
    with _address() as (settings, uri):
        done, facts, masters = asyncio.run(_rotate(settings, uri))
    if as_json:
        shapes.emit({"rewrapped": done, **_shape(facts, masters)})
    else:
        print(f"{done} data keys wrapped anew, with {facts.current or 'no master key'}")
    for line in _advice(facts, masters):
        say(line)
    return DONE


def master_keys(facts: RingFacts, counted: Mapping[str, int]) -> list[MasterKey]:
    """The master keys of a ring, and those that it lacks.

    Args:
        facts: What the ring tells of itself.
        counted: How many data keys each master key wraps, as `DataKeys.count` says.
    """
    found = [
        MasterKey(master=one, status="held" if number else "current", data_keys=counted.get(one, 0))
        for number, one in enumerate(facts.keys)
    ]
    for master in sorted(counted.keys() - set(facts.keys)):
        status = "missing" if master else "broken"
        found.append(MasterKey(master=master or None, status=status, data_keys=counted[master]))
    return found


async def ring_of(settings: Settings) -> Ring:
    """The ring of these settings; nothing is made.

    Raises:
        KeyringError, ConfigurationError: as `open_keyring` says.
    """
    return await asyncio.to_thread(
        open_keyring, home=settings.home, master_key=settings.master_key, kms_key=settings.kms_key
    )


async def _look(settings: Settings, uri: str) -> tuple[RingFacts, list[MasterKey]]:
    async with _opened(settings, uri) as (keys, ring):
        facts = await ring.facts()
        return facts, master_keys(facts, await keys.count())


async def _rotate(settings: Settings, uri: str) -> tuple[int, RingFacts, list[MasterKey]]:
    async with _opened(settings, uri) as (keys, ring):
        await keys.probe()  # a ring that cannot unwrap must not get a further key to be backed up
        if isinstance(ring, LocalKeyring) and (await ring.facts()).kind == "file":
            new = await ring.rotate()
            say(f"master key {new} is made, and the current one")
        done = await keys.rewrap()
        facts = await ring.facts()
        return done, facts, master_keys(facts, await keys.count())


@contextmanager
def _address() -> Generator[tuple[Settings, str]]:
    settings = Settings.from_environment()
    if settings.database_url:
        yield settings, settings.database_url
    else:
        with EmbeddedServer(embedded_root(settings), keep_running=True) as server:
            yield settings, server.start()


@asynccontextmanager
async def _opened(settings: Settings, uri: str) -> AsyncGenerator[tuple[DataKeys, Ring]]:
    # Not a runtime, which refuses to start without the master keys: that is when somebody looks here.
    ring = await ring_of(settings)
    database = Database(uri, size=2, direct=settings.direct_url if settings.database_url else "")
    await database.open()
    try:
        keys = DataKeys(database, ring)
        await database.migrate(before=sealing(keys))
        yield keys, ring
    finally:
        await database.close()


def _shape(facts: RingFacts, masters: Sequence[MasterKey]) -> dict[str, Any]:
    return {
        "ring": facts.kind,
        "where": facts.where,
        "current": facts.current,
        "keys": [asdict(one) for one in masters],
    }


def _advice(facts: RingFacts, masters: Sequence[MasterKey]) -> Generator[str]:
    if facts.kind != "file":
        yield _NEXT[facts.kind]
        return
    yield f"back up {facts.where} now: without it, nothing that was sealed can be read again"
    idle = [str(one.master) for one in masters if one.status == "held" and not one.data_keys]
    if idle:
        yield (
            f"nothing in this database is wrapped by {', '.join(idle)} any more. Keep that line as long as another "
            "database uses the file, or a backup from before may be restored; then remove it"
        )


def _table(masters: Sequence[MasterKey]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("master key", no_wrap=True, overflow="fold")
    table.add_column("data keys", justify="right")
    table.add_column("")
    for one in masters:
        style = _STYLES[one.status]
        table.add_row(Text(one.master or "none", style=style), str(one.data_keys), Text(_SAID[one.status], style=style))
    return table
