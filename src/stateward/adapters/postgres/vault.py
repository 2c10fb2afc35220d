"""The vault of pseudonyms: a number for each value of a subject, the value sealed with the subject's key."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from stateward.adapters.postgres.data_keys import DataKeys, subject_owner
from stateward.adapters.postgres.database import Connection, Database
from stateward.adapters.postgres.statements import statements
from stateward.adapters.sealing import Sealer
from stateward.errors import RedactionFailed
from stateward.model.memory import KnownValue, Scope
from stateward.model.pseudonym import Pseudonym
from stateward.personal_data.normal import normal
from stateward.personal_data.pseudonyms import nobodys

_SQL = statements("vault")

_Key = tuple[str, bytes]


class PostgresVault:
    """The table of pseudonyms."""

    def __init__(self, database: Database, keys: DataKeys) -> None:
        self._db, self._keys = database, keys.subjects

    async def issue(self, scope: Scope, values: Sequence[KnownValue]) -> list[int]:
        """The number of each value's pseudonym, in order."""
        if not values:
            return []
        if nobodys(scope.subject):
            raise RedactionFailed(
                f"there are no pseudonyms for the subject {scope.subject!r}, which unrelated cases share: "
                "open the thread with a subject of its own, such as customer:17"
            )
        while True:
            sealer = await self._keys.make(subject_owner(scope.tenant, scope.subject), thread=scope.thread)
            wanted = {_key(sealer, scope, one): one for one in values}
            numbers = await self._numbers(scope, sealer, wanted)
            if all(key in numbers for key in wanted):
                return [numbers[_key(sealer, scope, one)] for one in values]
            # Somebody has added one of these at the same moment, or has forgotten the subject.

    async def reveal(
        self, scope: Scope, wanted: Collection[tuple[str, int]] | None = None
    ) -> dict[tuple[str, int], Pseudonym]:
        """What pseudonyms stand for, by entity type and number."""
        if wanted is not None and not wanted:
            return {}
        asked = sorted(wanted) if wanted is not None else None
        columns = {
            "entities": None if asked is None else [entity for entity, _ in asked],
            "numbers": None if asked is None else [number for _, number in asked],
        }
        owner = subject_owner(scope.tenant, scope.subject)
        while True:
            opening = self._keys.opening(owner, thread=scope.thread)
            async with opening as sealer, self._within(scope, sealer) as connection:
                if connection is not None:
                    found = await connection.execute(_SQL["bodies"], {**_subject(scope), **columns})
                    opened = [_opened(sealer, scope, row) for row in await found.fetchall()]
                    return {(one.entity, one.number): one for one in opened}

    async def _numbers(self, scope: Scope, sealer: Sealer, wanted: Mapping[_Key, KnownValue]) -> dict[_Key, int]:
        """The numbers of values, new ones for those that have none, as far as nobody else is faster."""
        columns = {"entities": [entity for entity, _ in wanted], "digests": [digest for _, digest in wanted]}
        async with self._within(scope, sealer) as connection:
            if connection is None:
                return {}
            rows = await (await connection.execute(_SQL["numbers"], {**_subject(scope), **columns})).fetchall()
            known = {(row["entity"], row["digest"]): row["number"] for row in rows if row["digest"] is not None}
            last = {row["entity"]: row["number"] for row in rows if row["digest"] is None}
            new = [(key, one) for key, one in wanted.items() if key not in known]
            if new:
                values = _rows(scope, sealer, new, last)
                rows = await (await connection.execute(_SQL["add"], {**_subject(scope), **values})).fetchall()
                known |= {(row["entity"], row["digest"]): row["number"] for row in rows}
        return known

    @asynccontextmanager
    async def _within(self, scope: Scope, sealer: Sealer) -> AsyncGenerator[Connection | None]:
        """A transaction in which the subject keeps its key; None where that is not the sealer's any more."""
        async with self._db.transaction() as connection:
            row = await (await connection.execute(_SQL["enter"], _subject(scope))).fetchone()
            if row and (row["born"] or 0) == sealer.born:
                yield connection
            else:
                self._keys.forget(subject_owner(scope.tenant, scope.subject))
                yield None


def _subject(scope: Scope) -> dict[str, Any]:
    return {"tenant": scope.tenant, "subject": scope.subject}


def _key(sealer: Sealer, scope: Scope, one: KnownValue) -> _Key:
    said = normal(one.entity, one.value)
    return one.entity, sealer.digest(said, "pseudonym", scope.tenant, scope.subject, one.entity)


def _place(scope: Scope, entity: str, number: int) -> tuple[str, ...]:
    return "pseudonym", scope.tenant, scope.subject, entity, str(number)


def _opened(sealer: Sealer, scope: Scope, row: Mapping[str, Any]) -> Pseudonym:
    entity, number = row["entity"], row["number"]
    body = sealer.open(row["body"], *_place(scope, entity, number))
    return Pseudonym(entity=entity, number=number, value=body.decode(errors="surrogatepass"))


def _rows(
    scope: Scope, sealer: Sealer, new: Sequence[tuple[_Key, KnownValue]], last: Mapping[str, int]
) -> dict[str, list[Any]]:
    counted = dict(last)
    columns: dict[str, list[Any]] = {"entities": [], "numbers": [], "digests": [], "bodies": []}
    for (entity, digest), one in new:
        number = counted[entity] = counted.get(entity, 0) + 1
        body = sealer.seal(one.value.encode(errors="surrogatepass"), *_place(scope, entity, number))
        for name, value in zip(columns, (entity, number, digest, body), strict=True):
            columns[name].append(value)
    return columns
