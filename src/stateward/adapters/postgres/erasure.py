"""Erase a subject, in small transactions that a crash may fall between; keep one that is on legal hold."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import secrets
from dataclasses import replace
from typing import Any

from psycopg import Error

from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.data_keys import DataKeys, subject_owner
from stateward.adapters.postgres.database import Database, fetch_one
from stateward.adapters.postgres.memory import memory_item
from stateward.adapters.postgres.statements import statements
from stateward.errors import DatabaseError, ErasureRefused, SealBroken
from stateward.model.erasure import ErasedThread, ErasureReceipt, LegalHold, SubjectCounts
from stateward.model.memory import MemoryItem
from stateward.model.principal import Principal
from stateward.model.values import JsonObject, canonical

_SQL = statements("erasure")
_MEMORY = statements("memory")
_LOG = logging.getLogger("stateward")
_BATCH = 1000
_REFUSED = "SW009"


class PostgresErasure:
    """The erasures and the holds."""

    def __init__(self, database: Database, keys: DataKeys, commits: Commits) -> None:
        self._db, self._keys, self._commits = database, keys, commits

    async def forget(self, tenant: str, subject: str, *, by: Principal) -> ErasureReceipt:
        """Erase a subject, or go on where an earlier try was cut off."""
        values = {"id": f"E-{secrets.token_hex(8)}", "tenant": tenant, "subject": subject, **_author(by)}
        row = await self._ask(_SQL["begin"], values)
        erasure = str(row["erasure"])
        while True:
            await self._threads(erasure, by)
            while (await self._ask(_SQL["erase_memory"], {"erasure": erasure, "batch": _BATCH}))["erased"]:
                pass
            self._keys.subjects.forget(subject_owner(tenant, subject))
            receipt = await self._finished(erasure)
            if receipt is not None:
                return receipt

    async def sweep(self) -> int:
        """Empty the threads whose time is over, each in its own transaction; who is at one keeps it."""
        swept, left = 0, list[str]()
        while rows := await self._db.all(_SQL["threads_over"], {"left": left}):
            for row in rows:
                if await self._expired(row["thread_id"]):
                    swept += 1
                else:
                    left.append(row["thread_id"])
        return swept

    async def sweep_vaults(self) -> int:
        """Delete the vaults of subjects of which nothing else is left, each in its own transaction."""
        swept = 0
        for tenant in [row["tenant"] for row in await self._db.all(_SQL["vault_tenants"])]:
            after = ""
            while rows := await self._db.all(_SQL["vaults"], {"tenant": tenant, "after": after, "batch": _BATCH}):
                over = [row["subject"] for row in rows if row["is_over"]]
                swept += sum([await self._vault_expired(tenant, subject) for subject in over])
                after = rows[-1]["subject"]
        return swept

    async def _expired(self, thread: str) -> bool:
        done = await self._swept(_SQL["expire_thread"], {"thread": thread}, f"thread {thread}")
        if done:
            self._keys.forget(thread)
            self._commits.erased(thread)
        return done

    async def _vault_expired(self, tenant: str, subject: str) -> bool:
        # By its digest, as in the trail: the ids of subjects are in no log.
        named = hashlib.sha256(subject.encode()).hexdigest()
        done = await self._swept(_SQL["expire_vault"], {"tenant": tenant, "subject": subject}, f"the vault of {named}")
        if done:
            self._keys.subjects.forget(subject_owner(tenant, subject))
        return done

    async def _swept(self, statement: bytes, values: dict[str, Any], what: str) -> bool:
        try:
            row = await self._db.one(statement, values)
        except (Error, DatabaseError) as error:  # the others need not stay because of this one
            state = getattr(error.__cause__ if isinstance(error, DatabaseError) else error, "sqlstate", None)
            if state is None:  # no server has said so
                raise
            _LOG.warning("%s is over and could not be emptied (SQLSTATE %s)", what, state)
            return False
        return bool(row and row["done"])

    async def count(self, tenant: str, subject: str) -> SubjectCounts:
        """How much there is of a subject now."""
        given = {"tenant": tenant, "subject": subject}
        async with self._db.transaction() as connection:
            threads = await fetch_one(connection, _SQL["count"], given)
            await connection.execute(_MEMORY["enter"], given)
            items = await fetch_one(connection, _SQL["count_memory"], given)
        return SubjectCounts(**(threads or {}), **(items or {}))

    async def receipts(self, tenant: str, subject: str) -> list[ErasureReceipt]:
        """The receipts of a subject, oldest first."""
        rows = await self._db.all(_SQL["receipts"], {"tenant": tenant, "subject": subject})
        return [ErasureReceipt.of(json.loads(row["receipt"]), seal=_text(row["seal"])) for row in rows]

    async def is_genuine(self, said: JsonObject, seal: str) -> bool:
        """Whether this is what was sealed."""
        sealer = await self._keys.of(_desk(str(said.get("tenant"))))
        if sealer is None:
            return False
        try:
            sealed = base64.b64decode(seal, validate=True)
            return sealer.open(sealed, "receipt", str(said.get("id"))) == canonical(said).encode()
        except (SealBroken, ValueError):  # not base64, or not even ASCII
            return False

    async def place_hold(self, tenant: str, subject: str, *, reason: str, by: Principal) -> bool:
        """Keep all that is known of a subject."""
        values = {"tenant": tenant, "subject": subject, "reason": reason, **_author(by)}
        return bool((await self._ask(_SQL["place_hold"], values))["done"])

    async def end_hold(self, tenant: str, subject: str, *, by: Principal) -> bool:
        """Let it go its way again."""
        return bool((await self._ask(_SQL["end_hold"], {"tenant": tenant, "subject": subject, **_author(by)}))["done"])

    async def holds(self, *, tenant: str | None = None) -> list[LegalHold]:
        """The subjects on hold, oldest first."""
        return [LegalHold(**row) for row in await self._db.all(_SQL["holds"], {"tenant": tenant})]

    async def export(self, tenant: str, subject: str, *, by: Principal) -> list[MemoryItem]:
        """All that is remembered of a subject, for whatever purpose; the trail says who has got it."""
        async with self._db.transaction() as connection:
            await connection.execute(_SQL["note_export"], {"tenant": tenant, "subject": subject, **_author(by)})
            await connection.execute(_MEMORY["enter"], {"tenant": tenant})
            found = await connection.execute(_SQL["memory_of"], {"tenant": tenant, "subject": subject})
            return [memory_item(row) for row in await found.fetchall()]

    async def _threads(self, erasure: str, by: Principal) -> None:
        while rows := await self._db.all(_SQL["threads_left"], {"erasure": erasure}):
            for row in rows:
                thread = row["thread_id"]
                await self._ask(_SQL["erase_thread"], {"erasure": erasure, "thread": thread, "by": by.id})
                self._keys.forget(thread)
                self._commits.erased(thread)

    async def _finished(self, erasure: str) -> ErasureReceipt | None:
        row = await self._ask(_SQL["erasure"], {"erasure": erasure})
        if row["receipt"] is not None:  # ours, or that of somebody who erases the same subject
            return ErasureReceipt.of(json.loads(row["receipt"]), seal=_text(row["seal"]))
        threads = await self._db.all(_SQL["erased_threads"], {"erasure": erasure})
        receipt = ErasureReceipt(
            id=erasure,
            tenant=row["tenant"],
            subject=row["subject"],
            by=row["requested_by"],
            verified_by=row["verified_by"],
            requested_at=row["requested_at"],
            finished_at=row["now"],
            items=row["items"],
            pseudonyms=row["pseudonyms"],
            keys=row["subject_keys"],
            threads=tuple(ErasedThread(thread=one["thread_id"], counts=one["counts"]) for one in threads),
        )
        text = canonical(receipt.said())
        sealer = await self._keys.make(_desk(receipt.tenant))
        seal = sealer.seal(text.encode(), "receipt", erasure)
        values = {"erasure": erasure, "finished": receipt.finished_at, "receipt": text, "seal": seal}
        if not (await self._ask(_SQL["finish"], values))["done"]:
            return None
        return replace(receipt, seal=_text(seal))

    async def _ask(self, statement: bytes, values: dict[str, Any]) -> Any:
        try:
            return await self._db.one(statement, values)
        except Error as error:
            if error.sqlstate == _REFUSED:
                raise ErasureRefused(f"{values['subject']}: {error.diag.message_primary}") from error
            raise


def _text(seal: bytes) -> str:
    return base64.b64encode(seal).decode()


def _desk(tenant: str) -> str:
    return f"desk:{tenant}"


def _author(by: Principal) -> dict[str, str]:
    return {"by": by.id, "verified_by": by.verified_by}
