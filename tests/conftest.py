"""Shared by all tests: a runtime on a fresh database, and the bank on it."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("stateward.testing")

from bank import BOOKS, Bank  # noqa: E402
from branch import branch, branches  # noqa: E402, F401
from stateward import Runtime  # noqa: E402
from stateward.testing.fixtures import (  # noqa: E402, F401
    async_runtime,
    database_url,
    databases,
    runtime,
    settings,
)
from ways import WORKFLOW, Way  # noqa: E402


@pytest.fixture
def way() -> Way:
    """The way in: the workflow, blocking, unless a test is marked with `every_way`."""
    return WORKFLOW


@pytest.fixture
def bank(runtime: Runtime, database_url: str, way: Way) -> Bank:  # noqa: F811
    """The bank on a fresh database."""
    runtime.apply([("books", BOOKS)])
    return Bank(runtime=runtime, url=database_url, way=way)
