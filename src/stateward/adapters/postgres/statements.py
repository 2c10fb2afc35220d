"""Named SQL statements, read from the `.sql` files beside this module. Python holds no SQL text."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Statements:
    """The named statements of one `.sql` file; a workflow keeps its own in the same form.

    Above each statement stands a line `-- name: post_entry`, and below that a sentence of what it is for.

    Args:
        path: The file.

    Raises:
        KeyError: at a look-up, there is no statement of that name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        parts = _NAME.split(path.read_text(encoding="utf-8"))
        self._texts = {name: _body(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}

    def __getitem__(self, name: str) -> bytes:
        return self._texts[name].encode()

    def names(self) -> list[str]:
        """All names, in the order of the file."""
        return list(self._texts)


@cache
def statements(file: str) -> Statements:
    """The statements of `sql/<file>.sql`."""
    return Statements(_HERE / "sql" / f"{file}.sql")


def migrations() -> list[tuple[str, str]]:
    """Name and text of every migration, in order."""
    return [(path.stem, path.read_text(encoding="utf-8")) for path in sorted((_HERE / "migrations").glob("*.sql"))]


def _body(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.startswith("--")]
    return "\n".join(lines).rstrip().rstrip(";")
