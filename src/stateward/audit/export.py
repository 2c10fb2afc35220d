"""The ledger as a file that can be checked elsewhere: JSON lines, chain heads first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from stateward.audit.chain import RawEntry, check_chains
from stateward.errors import ToolInputError
from stateward.model.ledger import AuditReport, Entry, Head

FORMAT = "stateward-ledger/1"


def export_lines(entries: Sequence[Entry]) -> Iterator[str]:
    """The lines of an export.

    The first line says where every chain ends, so that a file that lost its tail shows it; then one line for
    each entry with the exact text that was hashed.

    Args:
        entries: By thread and position, as the ledger gives them.
    """
    ends = {entry.thread: entry for entry in entries}
    heads = [{"thread": one.thread, "seq": one.seq, "hash": one.hash} for one in ends.values()]
    yield _text({"format": FORMAT, "entries": len(entries), "heads": heads})
    for entry in entries:
        names = ("thread", "seq", "prev", "hash", "text")
        yield _text({name: getattr(entry, name) for name in names})


def verify_export(lines: Iterable[str], *, file: str, thread: str | None = None) -> AuditReport:
    """Check the chains of an export, without a database.

    Args:
        lines: The file's lines.
        file: What errors call it.
        thread: Only this thread.

    Raises:
        ToolInputError: it is not an export; the message names file and line.
    """
    numbered = ((at, line) for at, line in enumerate(lines, 1) if line.strip())
    rows = [_parsed(file, at, line) for at, line in numbered]
    if not rows or rows[0].get("format") != FORMAT:
        raise ToolInputError(f"{file}:1: this is no export of the ledger; `stateward audit export` writes one")
    heads = [_head(file, head) for head in rows[0].get("heads", [])]
    entries = [_entry(file, at, row) for at, row in enumerate(rows[1:], 2)]
    chosen = [entry for entry in entries if thread in (None, entry[0])]
    return check_chains(_in_chains(chosen), [head for head in heads if thread in (None, head.thread)])


def _in_chains(entries: Sequence[RawEntry]) -> list[RawEntry]:
    # Chains side by side, their entries in the order of the file: so a reordering within one still shows.
    threads = {entry[0]: at for at, entry in reversed(list(enumerate(entries)))}
    return sorted(entries, key=lambda entry: threads[entry[0]])


def _parsed(file: str, at: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ToolInputError(f"{file}:{at}: this line is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ToolInputError(f"{file}:{at}: expected an object, as `stateward audit export` writes")
    return cast("dict[str, Any]", found)


def _head(file: str, head: dict[str, Any]) -> Head:
    try:
        return Head(thread=str(head["thread"]), seq=int(head["seq"]), hash=str(head["hash"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ToolInputError(f"{file}:1: a head needs thread, seq and hash") from error


def _entry(file: str, at: int, row: dict[str, Any]) -> RawEntry:
    try:
        return str(row["thread"]), int(row["seq"]), str(row["prev"]), str(row["hash"]), str(row["text"])
    except (KeyError, TypeError, ValueError) as error:
        raise ToolInputError(f"{file}:{at}: an entry needs thread, seq, prev, hash and text") from error


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
