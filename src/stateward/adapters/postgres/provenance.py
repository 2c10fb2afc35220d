"""What a thread has come by: its labels, and, sealed, the texts that it has seen; written with its next commit."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Collection

from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.statements import statements
from stateward.model.provenance import Origin, Sighting, ThreadPast

_SQL = statements("provenance")
_MOST = 4_000_000  # bytes of each origin that are read back: more than counts


class PostgresProvenance:
    """The tables of labels and sightings."""

    def __init__(self, database: Database, keys: DataKeys, commits: Commits) -> None:
        self._db, self._keys, self._commits = database, keys, commits

    async def load(self, thread: str, *, seen: bool) -> ThreadPast:
        """The thread's labels, and what it has seen."""
        rows = await self._db.all(_SQL["provenance"], {"thread": thread, "seen": seen, "size": _MOST})
        labels = {row["name"]: row["detail"] for row in rows if row["what"] == "label"}
        sealed = [row for row in rows if row["what"] == "sighting"]
        if not sealed:
            return ThreadPast(labels=labels)
        async with self._keys.opening(thread) as sealer:
            opened = [
                (row, sealer.open(row["body"], *sighting_place(thread, row["name"], row["detail"]))) for row in sealed
            ]
        return ThreadPast(
            labels=labels, sightings=tuple(_sighting(row["name"], row["detail"], body) for row, body in opened)
        )

    def label(
        self,
        thread: str,
        labels: Collection[str],
        *,
        turn: str,
        actor: str,
        action: str | None = None,
        tool: str | None = None,
    ) -> None:
        """Add labels, with the thread's next commit."""
        what = {"do": "label", "labels": sorted(labels), "turn": turn, "actor": actor, "action": action, "tool": tool}
        self._commits.transit(thread, what)

    async def see(self, thread: str, sighting: Sighting) -> None:
        """Keep a text, with the thread's next commit."""
        sealer = await self._keys.make(thread)
        body = json.dumps([sighting.text, sorted(sighting.numbers)], ensure_ascii=False).encode()
        sealed = sealer.seal(body, *sighting_place(thread, sighting.source, sighting.origin))
        what = {"do": "see", "source": sighting.source, "origin": sighting.origin, "body": b64encode(sealed).decode()}
        self._commits.transit(thread, what)

    async def vouch(self, thread: str, text: str) -> str:
        """A keyed digest of a text."""
        return (await self._keys.make(thread)).digest(text, "said", thread).hex()


def sighting_place(thread: str, source: str, origin: Origin) -> tuple[str, ...]:
    """What a text is bound to: it vouches for nothing in another thread, or as another origin."""
    return "sighting", thread, source, origin


def _sighting(source: str, origin: Origin, body: bytes) -> Sighting:
    text, numbers = json.loads(body)
    return Sighting(source=source, origin=origin, text=text, numbers=frozenset(numbers))
