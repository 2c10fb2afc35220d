"""The hash chain: parse an entry, and check that every chain holds. No database: it works on an export as well."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Any, cast

from stateward.model.ledger import AuditReport, Break, Entry, Head

GENESIS = "0" * 64
RawEntry = tuple[str, int, str, str, str]


def entry_hash(prev: str, text: str) -> str:
    """SHA-256 over the hash before and the exact text, in hex."""
    return hashlib.sha256((prev + text).encode()).hexdigest()


def parse_entry(thread: str, seq: int, prev: str, hash_: str, text: str) -> Entry:
    """An entry from its row."""
    body = cast("dict[str, Any]", json.loads(text))
    return Entry(
        thread=thread,
        seq=seq,
        at=datetime.fromisoformat(body["at"]),
        kind=body["kind"],
        actor=body["actor"],
        action=body.get("action"),
        tool=body.get("tool"),
        detail=body.get("detail") or {},
        prev=prev,
        hash=hash_,
        text=text,
    )


def check_chains(rows: Iterable[RawEntry], heads: Iterable[Head]) -> AuditReport:
    """Recompute every chain and hold its end against the thread's own row.

    Args:
        rows: Entries by thread and position.
        heads: Where each thread says that its chain ends; this is what shows a cut tail.
    """
    ends = {head.thread: head for head in heads}
    threads = set(ends)
    breaks: list[Break] = []
    count = 0
    for thread, group in groupby(rows, key=lambda row: row[0]):
        chain = list(group)
        count += len(chain)
        threads.add(thread)
        breaks.extend(_check_links(thread, chain))
        breaks.extend(_check_end(chain[-1], ends.pop(thread, None)))
    breaks.extend(_cut(head, 0) for head in ends.values() if head.seq)
    return AuditReport(threads=len(threads), entries=count, breaks=tuple(breaks))


def _check_links(thread: str, chain: list[RawEntry]) -> Iterable[Break]:
    expected, prev = 1, GENESIS
    for _, seq, stored_prev, stored_hash, text in chain:
        if seq != expected:
            yield Break(thread=thread, seq=expected, problem="missing", detail=f"entry {expected} is missing")
        if _names_other_place(text, thread, seq):
            yield Break(thread=thread, seq=seq, problem="reordered", detail=f"entry {seq} tells of another place")
        if entry_hash(stored_prev, text) != stored_hash or (seq == expected and stored_prev != prev):
            yield Break(thread=thread, seq=seq, problem="edited", detail=f"entry {seq} does not match its hash")
        expected, prev = seq + 1, stored_hash


def _names_other_place(text: str, thread: str, seq: int) -> bool:
    try:
        body = cast("dict[str, Any]", json.loads(text))
    except ValueError:
        return True
    return (body.get("thread"), body.get("seq")) != (thread, seq)


def _check_end(last: RawEntry, head: Head | None) -> Iterable[Break]:
    thread, seq, _, hash_, _ = last
    if head is None:
        yield Break(thread=thread, seq=seq, problem="foreign", detail="the chain belongs to no thread")
    elif head.seq > seq:
        yield _cut(head, seq)
    elif (head.seq, head.hash) != (seq, hash_):
        yield Break(thread=thread, seq=seq, problem="edited", detail="the thread's own row names another end")


def _cut(head: Head, last: int) -> Break:
    detail = f"the chain ends at {last}, the thread's row says {head.seq}"
    return Break(thread=head.thread, seq=last + 1, problem="cut tail", detail=detail)
