"""The wheel carries what `pip install stateward && stateward demo` needs: the graphs, the SQL, the types."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = [
    "stateward/py.typed",
    "stateward/adapters/detection/person_names.txt",
    "stateward/adapters/postgres/migrations/0001_base.sql",
    "stateward/adapters/postgres/sql/journal.sql",
    "stateward/graphs/month_end/graph.py",
    "stateward/graphs/month_end/policy.yaml",
    "stateward/graphs/month_end/sql/schema.sql",
]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return wheel.namelist()


def test_the_wheel_is_complete(names: list[str]) -> None:
    assert [name for name in NEEDED if name not in names] == []
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_carries_nothing_else(names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert all(top == "stateward" or top.endswith(".dist-info") for top in tops)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".csv", ".xlsx"))]
