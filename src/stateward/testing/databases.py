"""Fresh databases with Stateward's schema, made from a template in a fraction of a second."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from stateward.runtime import AsyncRuntime
from stateward.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Databases:
    """Makes databases on a server.

    Attributes:
        uri: Any database of the server, as a user that may create more.
    """

    uri: str
    _template: str = field(default_factory=lambda: f"template_{secrets.token_hex(4)}")

    @contextmanager
    def fresh(self) -> Generator[str]:
        """A database of its own with the schema in it, dropped at the end; gives its connection string."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute("create database {} template {}", name, self._template)
        try:
            yield make_conninfo(self.uri, dbname=name)
        finally:
            self._execute("drop database {} with (force)", name)

    @contextmanager
    def empty(self) -> Generator[str]:
        """A database of its own without any schema, dropped at the end."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute("create database {}", name)
        try:
            yield make_conninfo(self.uri, dbname=name)
        finally:
            self._execute("drop database {} with (force)", name)

    def prepare(self, home: Path) -> None:
        """Make the template; once, before `fresh`."""
        self._execute("create database {}", self._template)
        asyncio.run(_migrate(make_conninfo(self.uri, dbname=self._template), home))

    def _execute(self, text: str, *names: str) -> None:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(sql.SQL(text).format(*map(sql.Identifier, names)))  # pyright: ignore[reportArgumentType]


async def _migrate(uri: str, home: Path) -> None:
    async with AsyncRuntime.connect(settings=Settings(home=home, database_url=uri)):
        pass
