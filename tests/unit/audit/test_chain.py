"""The chain's check, on entries in memory: it works on an export as well."""

from __future__ import annotations

import json

import pytest

from stateward.audit.chain import GENESIS, RawEntry, check_chains, entry_hash, parse_entry
from stateward.model.ledger import Head


def chain(thread: str = "t", length: int = 4) -> list[RawEntry]:
    rows: list[RawEntry] = []
    prev = GENESIS
    for seq in range(1, length + 1):
        body = {"thread": thread, "seq": seq, "at": "2026-10-31T12:00:00Z", "kind": "note", "actor": "bot"}
        text = json.dumps(body)
        rows.append((thread, seq, prev, entry_hash(prev, text), text))
        prev = rows[-1][3]
    return rows


def head(rows: list[RawEntry]) -> Head:
    return Head(thread=rows[-1][0], seq=rows[-1][1], hash=rows[-1][3])


def problems(rows: list[RawEntry], *heads: Head) -> set[tuple[int, str]]:
    return {(one.seq, one.problem) for one in check_chains(rows, heads or [head(chain())]).breaks}


def test_a_whole_chain_is_intact() -> None:
    report = check_chains([*chain("a"), *chain("b", 2)], [head(chain("a")), head(chain("b", 2))])
    assert (report.intact, report.threads, report.entries) == (True, 2, 6)


def test_a_thread_without_entries_is_intact() -> None:
    assert check_chains([], [Head(thread="t", seq=0, hash=GENESIS)]).intact


@pytest.mark.parametrize("at", range(4))
def test_every_edit_is_found(at: int) -> None:
    rows = chain()
    thread, seq, prev, hash_, text = rows[at]
    rows[at] = (thread, seq, prev, hash_, text.replace("bot", "ann"))
    assert (seq, "edited") in problems(rows)


def test_an_edit_with_its_own_hash_breaks_the_next_link() -> None:
    rows = chain()
    thread, seq, prev, _, text = rows[1]
    changed = text.replace("bot", "ann")
    rows[1] = (thread, seq, prev, entry_hash(prev, changed), changed)
    assert problems(rows) == {(3, "edited")}


def test_a_chain_that_was_made_anew_does_not_fit_its_head() -> None:
    rows = [(t, s, p, h, text.replace("bot", "ann")) for t, s, p, h, text in chain()]
    prev, anew = GENESIS, []
    for thread, seq, _, _, text in rows:
        anew.append((thread, seq, prev, entry_hash(prev, text), text))
        prev = anew[-1][3]
    assert problems(anew) == {(4, "edited")}


@pytest.mark.parametrize("at", range(3))
def test_a_gap_is_found(at: int) -> None:
    rows = chain()
    del rows[at]
    assert (at + 1, "missing") in problems(rows)


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_cut_tail_is_found(left: int) -> None:
    assert problems(chain()[:left], head(chain())) == {(left + 1, "cut tail")}


def test_a_swap_is_found() -> None:
    first, second, *rest = chain()
    swapped = [(first[0], 1, *second[2:]), (first[0], 2, *first[2:]), *rest]
    assert {(1, "reordered"), (2, "reordered")} <= problems(swapped)


def test_an_entry_of_another_thread_is_found() -> None:
    rows = chain()
    other = chain("other")
    rows[2] = ("t", 3, *other[2][2:])
    assert (3, "reordered") in problems(rows)


def test_entries_of_no_thread_are_found() -> None:
    report = check_chains(chain("ghost", 1), [])
    assert [(one.thread, one.problem) for one in report.breaks] == [("ghost", "foreign")]


def test_what_is_not_json_is_found() -> None:
    thread, seq, prev, _, _ = chain(length=1)[0]
    assert (1, "reordered") in problems([(thread, seq, prev, entry_hash(prev, "{"), "{")])


def test_an_entry_reads_as_it_was_written() -> None:
    entry = parse_entry(*chain()[0])
    assert (entry.thread, entry.seq, entry.kind, entry.actor, entry.tool, entry.detail) == (
        "t",
        1,
        "note",
        "bot",
        None,
        {},
    )
    assert entry.at.isoformat() == "2026-10-31T12:00:00+00:00"
