"""A login for one call: made after the gate, in the group that the policy names, dropped when the call ends."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from stateward.adapters.postgres.actions import effect_fields
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Connection, Database
from stateward.adapters.postgres.envelopes import sealed
from stateward.adapters.postgres.statements import statements
from stateward.adapters.sealing import Sealer
from stateward.errors import ConfigurationError, CredentialError, DatabaseError
from stateward.model.effect import Credential, Transaction
from stateward.model.policy import Identity
from stateward.model.values import Json
from stateward.model.verdict import Permit

_SQL = statements("database")
_UNMINT_PAUSES = (0.0, 0.05, 0.25, 1.0)  # seconds
_LIFE_SECONDS = 3600


class PostgresCredentials:
    """Mints logins on the runtime's own server.

    Args:
        database: Its user must be allowed to create roles; `stateward doctor` says so.
        keys: What a result is sealed with, before the lent login settles it.
    """

    def __init__(self, database: Database, keys: DataKeys) -> None:
        self._db, self._keys = database, keys

    @asynccontextmanager
    async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncGenerator[Credential]:
        """A login in the group that `role:` names, for as long as the block lasts.

        Raises:
            CredentialError: the role is missing, or our user may not create roles.
        """
        role = identity.role or ""
        user = f"stateward_call_{permit.action}_{attempt}_{secrets.token_hex(3)}"
        password = secrets.token_urlsafe(24)
        await self._mint(user, role, password)
        try:
            secret = make_conninfo(self._db.direct, user=user, password=password)
            yield Credential(identity=permit.identity or role, user=user, secret=secret, hidden=(password,))
        finally:
            # Also where the run is cancelled meanwhile, which would end the wait at once.
            await asyncio.shield(self._unmint(user))

    @asynccontextmanager
    async def transaction(self, permit: Permit, credential: Credential, *, attempt: int) -> AsyncGenerator[Transaction]:
        """A connection as the lent login; a write settles in it, or is rolled back."""
        async with await AsyncConnection[DictRow].connect(credential.secret, row_factory=dict_row) as connection:
            work = _Transaction(connection)
            yield work
            if permit.effect == "write":
                await work.commit_settled(permit, await self._keys.make(permit.thread))

    async def sweep(self) -> None:
        """Drop logins that a crash left behind."""
        with suppress(Error, DatabaseError):  # a user that may not drop roles has none of its own to drop either
            await self._db.one(_SQL["sweep_roles"])

    async def _mint(self, user: str, role: str, password: str) -> None:
        values: dict[str, Any] = {"user": user, "role": role, "seconds": _LIFE_SECONDS}
        try:
            async with self._db.pool.connection() as connection:
                verifier = _verifier(connection, user, password)
                await connection.execute(_SQL["mint"], values | {"verifier": verifier})
        except (Error, DatabaseError) as error:
            raise CredentialError(f"no login could be made for {role!r}: {str(error).strip()}") from error

    async def _unmint(self, user: str) -> None:
        # The pool's connection may have been cut with the call's; and what the tool made for its session, such as a
        # temporary table, is the login's until the server has ended that session.
        for pause in _UNMINT_PAUSES:
            await asyncio.sleep(pause)
            with suppress(Error, DatabaseError):  # it expires by itself, and the next start sweeps it
                await self._db.one(_SQL["unmint"], {"user": user})
                return


class _Transaction:
    """What a tool's `effect.transaction()` yields."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self.connection = connection
        self._result: tuple[Json] | None = None

    def settle(self, result: Json) -> None:
        """Keep the result for the commit."""
        self._result = (result,)

    async def commit_settled(self, permit: Permit, sealer: Sealer) -> None:
        """Settle on this connection; leaving it commits both."""
        if self._result is None:
            raise ConfigurationError("a write left its transaction without tx.settle(result): it was rolled back")
        result = {"result": effect_fields(permit.thread, permit.action).json("result", self._result[0])}
        await self.connection.execute(_SQL["settle_here"], sealed(result, sealer))


def _verifier(connection: Connection, user: str, password: str) -> str:
    # The server is sent a SCRAM verifier, so the password stands in none of its logs.
    return connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
