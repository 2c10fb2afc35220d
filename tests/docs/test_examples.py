"""Runs every example of the README and the docs, in order within one file, so that none of them can rot.

What a block is, its language says:

- `python` runs, always. All blocks of a file share one namespace, as if they were one script.
- `console` runs: each line `$ command` in a shell, in the file's own directory. It has to exit with 0, or with N
  where a comment at its end says `# exits with N`. The lines below it are its output.
- `text` directly after a `python` block is what that block prints.
- `yaml` whose first line is `# name.yaml` is written to that file when its turn comes.
- `sh`, `json`, `mermaid`, and other `yaml` and `text`, are only shown.

In an output, `...` stands for anything, and an approval's id for any id, which later blocks may then use.
Each file has an embedded server of its own, so that none depends on what another has left.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest

from spanning import unset
from stateward import Runtime

ROOT = Path(__file__).parents[2]
FILES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SHOWN = frozenset({"sh", "json", "mermaid", "yaml", "text"})

_BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_FILE = re.compile(r"# (?P<name>[\w-]+\.yaml)\n")
_COMMAND = re.compile(r"^\$ (?P<command>.*?)(?:\s+# exits with (?P<code>\d+))?$")
_ID = r"A-[A-Z2-7]{8}"
_HOLE = re.compile(rf"\.\.\.|{_ID}")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block, and the line that its text begins at."""

    language: str
    text: str
    line: int
    follows: str = ""


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text."""
    found: list[Block] = []
    end = 0
    for match in _BLOCK.finditer(text):
        between = text[end : match.start()]
        follows = found[-1].language if found and not between.strip() else ""
        line = text.count("\n", 0, match.start("text")) + 1
        found.append(Block(language=match["info"], text=match["text"], line=line, follows=follows))
        end = match.end()
    return found


@dataclass(kw_only=True)
class Page:
    """One file while its examples run."""

    path: Path
    module: ModuleType
    printed: str = ""
    ids: dict[str, str] = field(default_factory=dict[str, str])

    def run(self, block: Block) -> None:
        """Run, write or compare a block, as its language says."""
        match block.language:
            case "python":
                self._python(block)
            case "console":
                self._console(block)
            case "text" if block.follows == "python":
                self._compare(block.text, self.printed, block.line)
            case "yaml" if named := _FILE.match(block.text):
                Path(named["name"]).write_text(block.text, encoding="utf-8")
            case _:
                assert block.language in SHOWN, f"{self.path}:{block.line}: {block.language!r} is no language of ours"

    def _python(self, block: Block) -> None:
        # The empty lines make a traceback name the line of the Markdown file.
        code = compile("\n" * (block.line - 1) + block.text, str(self.path), "exec")
        with redirect_stdout(StringIO()) as printed:
            exec(code, self.module.__dict__)
        self.printed = printed.getvalue()

    def _console(self, block: Block) -> None:
        for line, command, code, expected in _commands(block):
            for shown, real in self.ids.items():
                command = command.replace(shown, real)
            done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
            said = done.stdout + done.stderr
            assert done.returncode == code, f"{self.path}:{line}: $ {command}\nexit {done.returncode}\n{said}"
            if expected.strip():
                self._compare(expected, said, line)

    def _compare(self, expected: str, actual: str, line: int) -> None:
        shown_ids = [hole for hole in _HOLE.findall(expected) if hole != "..."]
        match = _pattern(expected, self.ids).fullmatch(_trimmed(actual))
        assert match, f"{self.path}:{line}: expected\n{expected}\n--- but it says\n{actual}"
        self.ids |= dict(zip(shown_ids, match.groups(), strict=True))


def _commands(block: Block) -> Iterator[tuple[int, str, int, str]]:
    """Line, command, exit code and expected output of each command of a console block."""
    lines = block.text.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        found = _COMMAND.match(lines[start])
        assert found
        output = "\n".join(lines[start + 1 : end])
        yield block.line + start, found["command"], int(found["code"] or 0), output


def _pattern(expected: str, ids: Mapping[str, str]) -> re.Pattern[str]:
    text = _trimmed(expected)
    parts: list[str] = []
    end = 0
    for hole in _HOLE.finditer(text):
        anything = ".*?" if hole[0] == "..." else f"({ids.get(hole[0], _ID)})"
        parts += [re.escape(text[end : hole.start()]), anything]
        end = hole.end()
    return re.compile("".join([*parts, re.escape(text[end:])]), re.DOTALL)


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a running server; its path is short, because a socket's name has to be."""
    with (
        tempfile.TemporaryDirectory(prefix="sw", ignore_cleanup_errors=True) as made,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv("STATEWARD_HOME", made)
        m.delenv("DATABASE_URL", raising=False)
        m.delenv("STATEWARD_DEVELOPMENT", raising=False)
        m.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        m.setenv("COLUMNS", "120")
        with Runtime.open():
            yield Path(made)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_run(path: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    page = Page(path=path, module=module)
    try:
        for block in blocks_of(path.read_text(encoding="utf-8")):
            page.run(block)
    finally:
        for value in vars(module).values():
            if isinstance(value, Runtime):
                value.close()
        unset()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_block_escapes_the_runner(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(_FENCE.findall(text)) == 2 * len(blocks_of(text)), "an indented or unclosed fence is not run"


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    text = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    page = Page(path=tmp_path / "page.md", module=ModuleType("example"))
    code, output = blocks_of(text)
    page.run(code)
    with pytest.raises(AssertionError, match=r"expected\s+3"):
        page.run(output)


def test_an_id_is_matched_and_remembered(tmp_path: Path) -> None:
    text = (
        "```python\nprint('waits: A-ABCDEFGH since today')\n```\n\n```text\nwaits: A-77777777 ...\n```\n\n"
        "```console\n$ echo decide A-77777777 && exit 3  # exits with 3\ndecide A-77777777\n```\n"
    )
    page = Page(path=tmp_path / "page.md", module=ModuleType("example"))
    for block in blocks_of(text):
        page.run(block)
    assert page.ids == {"A-77777777": "A-ABCDEFGH"}


def test_an_error_names_the_line_of_the_page(tmp_path: Path) -> None:
    page = Page(path=tmp_path / "page.md", module=ModuleType("example"))
    [block] = blocks_of("# A page\n\n```python\nfine = 1\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        page.run(block)
    assert (str(caught.traceback[-1].path), caught.traceback[-1].lineno) == (str(page.path), 4)
