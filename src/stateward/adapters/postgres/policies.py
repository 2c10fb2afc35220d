"""The policies that have judged, and their verdicts as they were recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from psycopg.types.json import Json

from stateward.adapters.postgres.actions import arguments_of
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.database import Database, Row
from stateward.adapters.postgres.statements import statements
from stateward.adapters.sealing import Sealer
from stateward.model.judgement import Judgement
from stateward.model.policy import PolicyDocument
from stateward.verify.load import policy_digest, policy_from_json, policy_json

_SQL = statements("policies")
_PAGE = 500


class PostgresPolicies:
    """The policy table, and actions with their entries."""

    def __init__(self, database: Database, commits: Commits | None = None) -> None:
        self._db, self._commits = database, commits

    async def keep(self, document: PolicyDocument) -> Sequence[str]:
        """Keep a policy; digests of others that have judged under the same name and version."""
        values = _named(document) | {"document": Json(policy_json(document))}
        return [row["policy_digest"] for row in await self._db.all(_SQL["keep_policy"], values)]

    async def others(self, document: PolicyDocument) -> Sequence[str]:
        """Digests of other policies that have judged under the same name and version."""
        return [row["policy_digest"] for row in await self._db.all(_SQL["others_of"], _named(document))]

    async def find(self, digest: str) -> PolicyDocument | None:
        """The policy of a digest, or None where none was kept."""
        row = await self._db.one(_SQL["find_policy"], {"digest": digest})
        return None if row is None else policy_from_json(row["document"], digest)

    async def same_names(self) -> Mapping[str, Sequence[str]]:
        """Names and versions that several policies have judged under, each with the digests, oldest first."""
        return {row["label"]: row["digests"] for row in await self._db.all(_SQL["same_names"])}

    async def judgements(
        self, *, graph: str | None = None, action: str | None = None, since: timedelta | None = None
    ) -> AsyncIterator[Judgement]:
        """Recorded verdicts, oldest first."""
        assert self._commits is not None, "verdicts are read with the commits that a runtime has"
        await self._commits.settled(None)
        seconds = None if since is None else since.total_seconds()
        values: dict[str, Any] = {"graph": graph, "action_id": action, "seconds": seconds, "limit": _PAGE}
        after: str | None = None
        while rows := await self._db.all(_SQL["judgements"], values | {"after": after}):
            async with self._commits.keys.openings(row["thread_id"] for row in rows) as sealers:
                found = [_judgement(row, sealers[row["thread_id"]]) for row in rows]
            for one in found:
                yield one
            after = rows[-1]["action_id"]


def _named(document: PolicyDocument) -> dict[str, Any]:
    return {"label": document.label, "digest": policy_digest(document)}


def _judgement(row: Row, sealer: Sealer) -> Judgement:
    detail = row["detail"]
    return Judgement(
        action=row["action_id"],
        thread=row["thread_id"],
        graph=row["graph"],
        at=row["created_at"],
        tool=row["tool"],
        tool_digest=row["tool_digest"],
        arguments=arguments_of(row, sealer),
        principal=row["principal"],
        roles=tuple(row["roles"]),
        requester=row["requester"],
        purpose=row["purpose"],
        subject=row["subject"],
        verdict=row["verdict"],
        rules=tuple(detail.get("rules", ())),
        policy=row["policy"],
        policy_digest=row["policy_digest"],
        facts=detail.get("facts", {}),
        labels=tuple(detail.get("labels", ())),
        is_answer=row["effect"] == "answer",
        is_erased=row["arguments"] is None,
    )
