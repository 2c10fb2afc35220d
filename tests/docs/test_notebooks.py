"""Every notebook runs from top to bottom, twice in one home, and is committed without what it printed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from stateward.adapters.embedded import EmbeddedServer

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def shown(notebook: nbformat.NotebookNode) -> str:
    """All that a reader sees below the cells."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = [output.get("text") or "" for output in outputs]
    return "\n".join([*texts, *("\n".join(map(str, output.get("data", {}).values())) for output in outputs)])


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own with a short path, as a socket's path must not be long; a failed notebook leaves no server."""
    made = Path(tempfile.mkdtemp(prefix="sw"))
    monkeypatch.setenv("STATEWARD_HOME", str(made))
    monkeypatch.setenv("IPYTHONDIR", str(made / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(made / "jupyter"))
    for name in ("DATABASE_URL", "STATEWARD_DEVELOPMENT"):
        monkeypatch.delenv(name, raising=False)
    yield made
    if (made / "pg18").exists():
        EmbeddedServer(made / "pg18").stop(force=True)
    shutil.rmtree(made, ignore_errors=True)


def execute(path: Path, folder: Path) -> str:
    notebook = read(path)
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute()
    return shown(notebook)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_workflow_tells_its_story(home: Path, tmp_path: Path) -> None:
    path = next(path for path in NOTEBOOKS if path.name == "01_first_workflow.ipynb")
    first = execute(path, tmp_path)
    for expected in (
        "graph TD;",
        "it waits for people",
        "12,480.00 USD",
        "segregation of duties",
        "35 entries posted now, 0 before",
        "Close pack version 1 is new",
        "intact",
        "0 entries posted now, 35 before",
        "Close pack version 1 is unchanged",
    ):
        assert expected in first
    again = execute(path, tmp_path)
    assert "it is finished" in again
    assert "Close pack version 1 is unchanged" in again


def test_every_notebook_is_run() -> None:
    assert [path.name for path in NOTEBOOKS] == ["01_first_workflow.ipynb"]


@EACH
def test_outputs_are_not_committed(path: Path) -> None:
    for cell in read(path).cells:
        assert not cell.get("outputs"), cell.source
        assert cell.get("execution_count") is None


@EACH
def test_it_is_valid_and_names_the_common_kernel(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
