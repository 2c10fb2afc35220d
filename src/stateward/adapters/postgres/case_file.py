"""What is known of the people of a case, sealed with the thread's key."""

from __future__ import annotations

import json
from collections.abc import Collection

from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.statements import statements
from stateward.errors import ThreadErased
from stateward.model.memory import KnownValue

_SQL = statements("case_file")


class PostgresCaseFile:
    """The table of what is known."""

    def __init__(self, database: Database, keys: DataKeys) -> None:
        self._db, self._keys = database, keys

    async def add(self, thread: str, values: Collection[KnownValue]) -> None:
        """Keep values; those that are kept already are left out."""
        known = await self.known(thread)
        new = [one for one in dict.fromkeys(values) if one not in known]
        if not new:
            return
        sealer = await self._keys.make(thread)
        body = json.dumps([[one.entity, one.value] for one in new], ensure_ascii=False).encode()
        sealed = sealer.seal(body, *case_value_place(thread))
        if await self._db.one(_SQL["add_case_values"], {"thread": thread, "body": sealed}) is None:
            raise ThreadErased(thread)

    async def known(self, thread: str) -> tuple[KnownValue, ...]:
        """What is kept, oldest first."""
        rows = await self._db.all(_SQL["case_values"], {"thread": thread})
        if not rows:
            return ()
        async with self._keys.opening(thread) as sealer:
            bodies = [sealer.open(row["body"], *case_value_place(thread)) for row in rows]
        return tuple(KnownValue(entity=entity, value=value) for body in bodies for entity, value in json.loads(body))


def case_value_place(thread: str) -> tuple[str, ...]:
    """What a row is bound to: it is nobody's in another thread."""
    return "case_value", thread
