"""The house keeps its shape: sizes of functions and files, docstrings, comments, the door, clean lock and settings."""

from __future__ import annotations

import ast
import inspect
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "graphs").rglob("*.py")])
CORE = ("model", "verify", "approve", "act", "remember", "audit", "orchestrate")
PUBLIC_HOSTS = {"pypi.org", "files.pythonhosted.org"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(text: str) -> int:
    """Lines that are neither empty, nor a comment, nor part of a docstring."""
    tree = ast.parse(text)
    prose = {line for node in ast.walk(tree) for line in _docstring_lines(node)}
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for at, line in lines if line.strip() and not line.lstrip().startswith("#") and at not in prose)


def functions() -> Iterator[tuple[Path, Function, int]]:
    """Every function of the sources with its length in lines of code, its docstring not counted."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield path, node, _length(node)


def test_functions_are_small() -> None:
    lengths = sorted(length for _, _, length in functions())
    long = [f"{path.name}:{node.name} has {length}" for path, node, length in functions() if length > 50]
    assert not long
    assert statistics.median(lengths) <= 7
    assert lengths[int(len(lengths) * 0.95)] <= 30


def test_files_are_small() -> None:
    sizes = {path.name: code_lines(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_the_core_is_small() -> None:
    package = ROOT / "src" / "stateward"
    files = [path for name in CORE for path in (package / name).rglob("*.py")] + [package / "ports.py"]
    assert sum(code_lines(path.read_text(encoding="utf-8")) for path in files) <= 9000


def test_what_is_private_upstream_is_imported_in_one_file() -> None:
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [f"{node.module}.{one.name}" for one in node.names] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            private = [one for one in names if one.startswith(("lang", "deepagents")) and "._" in one]
            if private:
                found.setdefault(path.name, []).extend(private)
    assert list(found) == ["upstream.py"], found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert said, "every module opens by saying what it is for"


def test_the_door_is_small_and_opens() -> None:
    import stateward

    assert len(stateward.__all__) <= 20
    for name in stateward.__all__:
        assert getattr(stateward, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stateward.nothing


def test_the_blocking_runtime_tells_of_each_method_what_the_async_one_says() -> None:
    from stateward import AsyncRuntime, Runtime

    told = {name: inspect.getdoc(member) or "" for name, member in vars(Runtime).items() if callable(member)}
    assert [name for name, text in told.items() if text.startswith("See `")] == []
    assert told["thread"] == inspect.getdoc(AsyncRuntime.thread)


def test_importing_stateward_imports_nothing_heavy() -> None:
    heavy = [
        "langgraph",
        "langchain_core",
        "langchain_openai",
        "boto3",
        "opentelemetry",
        "presidio_analyzer",
        "spacy",
        "psycopg",
        "pydantic",
    ]
    code = f"import sys, stateward; print([name for name in {heavy!r} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_python_holds_no_sql() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not _executes_text(node), f"{path.name}:{getattr(node, 'lineno', 0)} holds SQL"


def test_no_globals_beyond_constants() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Global), f"{path.name}:{node.lineno} changes a global"


def test_lock_and_settings_name_public_hosts_only() -> None:
    for name in ("uv.lock", "pyproject.toml"):
        hosts = set(re.findall(r"https?://([^/\"' ]+)", (ROOT / name).read_text(encoding="utf-8")))
        assert hosts <= PUBLIC_HOSTS, f"{name} names {hosts - PUBLIC_HOSTS}"


def test_no_path_of_a_machine_is_tracked() -> None:
    pattern = r"(^|[^A-Za-z0-9_.])/(home|root|work|Users)/[a-z]"
    out = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", ".", ":!uv.lock", ":!tests/house"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.stdout == ""


def test_every_statement_has_a_sentence_above_it() -> None:
    for path in [*(ROOT / "src").rglob("sql/*.sql"), *(ROOT / "graphs").rglob("sql/books.sql")]:
        text = path.read_text(encoding="utf-8")
        for name, body in re.findall(r"^-- name: (\w+)\n(.*)$", text, re.MULTILINE):
            assert body.startswith("-- "), f"{path.name}: {name} says nothing of what it is for"


def test_mocks_are_rare() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    mocks = sum(len(re.findall(r"\b(Mock|MagicMock|AsyncMock|patch)\(", text)) for text in texts)
    tests = sum(len(re.findall(r"^\s*(async )?def test_", text, re.MULTILINE)) for text in texts)
    assert mocks * 100 <= tests * 5


def _length(node: Function) -> int:
    first = node.body[0]
    docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    prose = (first.end_lineno or 0) - first.lineno + 1 if docstring else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - prose


def _docstring_lines(node: ast.AST) -> Iterator[int]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
        first = node.body[0]
        yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def _executes_text(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return False
    text = node.args[0]
    is_text = isinstance(text, ast.JoinedStr) or (
        isinstance(text, ast.Constant) and isinstance(text.value, str | bytes)
    )
    return is_text and node.func.attr in {"execute", "executemany", "copy", "stream"}
