"""pytest fixtures: a runtime on a fresh database of a throw-away server. Import them in your `conftest.py`.

Example:
    from stateward.testing.fixtures import async_runtime, database_url, databases, runtime, settings
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from stateward.adapters.embedded import EmbeddedServer
from stateward.blocking import Runtime
from stateward.runtime import AsyncRuntime
from stateward.settings import Settings
from stateward.testing.databases import Databases

__all__ = ["async_runtime", "database_url", "databases", "runtime", "settings"]


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """A throw-away embedded server for the whole session."""
    # A short path of its own: a socket's path must not be longer than about 100 characters.
    home = Path(tempfile.mkdtemp(prefix="sw"))
    try:
        with EmbeddedServer(home / "pg", durable=False) as server:
            made = Databases(uri=server.start())
            made.prepare(home)
            yield made
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A fresh database with the schema in it."""
    with databases.fresh() as url:
        yield url


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings for the fresh database; not in development mode."""
    return Settings(home=tmp_path / "home", database_url=database_url, pool_size=5)


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    """A blocking runtime on the fresh database."""
    with Runtime.open(settings=settings) as opened:
        yield opened


@pytest_asyncio.fixture
async def async_runtime(settings: Settings) -> AsyncIterator[AsyncRuntime]:
    """A runtime for async tests on the fresh database."""
    async with AsyncRuntime.connect(settings=settings) as opened:
        yield opened
