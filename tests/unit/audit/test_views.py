"""The timeline and the metrics of a ledger, and an export that is checked elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import stateward
from stateward.audit.chain import GENESIS, entry_hash, parse_entry
from stateward.audit.export import export_lines, verify_export
from stateward.audit.views import Line, metrics, sentence, timeline
from stateward.errors import ToolInputError
from stateward.model.ledger import Entry

START = datetime(2026, 10, 31, 12, tzinfo=UTC)
Step = tuple[float, str, str, dict[str, Any]]

RUN: Sequence[Step] = (
    (0, "thread.opened", "ann", {"detail": {"graph": "close", "purpose": "closing", "principal": "bot"}}),
    (1, "action.allowed", "policy:p", {"tool": "read", "action": "r"}),
    (1, "read.done", "bot", {"tool": "read", "action": "r"}),
    (2, "action.allowed", "policy:p", {"tool": "pay", "action": "1"}),
    (2, "action.asked", "policy:p", {"tool": "pay", "action": "2", "detail": {"rules": ["tools.pay.ask[0]"]}}),
    (2, "approval.asked", "policy:p", {"tool": "pay", "action": "2", "detail": {"approval": "A-1", "by": ["boss"]}}),
    (2, "action.denied", "policy:p", {"tool": "steal", "action": "3", "detail": {"rules": ["tools"]}}),
    (3, "effect.reserved", "bot", {"tool": "pay", "action": "1"}),
    (3, "effect.settled", "bot", {"tool": "pay", "action": "1", "detail": {"attempt": 1}}),
    (4, "thread.waiting", "bot", {}),
    (
        50,
        "approval.refused",
        "ann",
        {"tool": "pay", "action": "2", "detail": {"approval": "A-1", "why": "the requester"}},
    ),
    (
        62,
        "approval.signed",
        "boss",
        {"tool": "pay", "action": "2", "detail": {"approval": "A-1", "decision": "approve"}},
    ),
    (62, "approval.approved", "boss", {"tool": "pay", "action": "2", "detail": {"approval": "A-1"}}),
    (64, "thread.open", "bot", {}),
    (65, "effect.reserved", "bot", {"tool": "pay", "action": "2"}),
    (66, "effect.settled", "bot", {"tool": "pay", "action": "2", "detail": {"attempt": 1}}),
    (67, "memory.written", "bot", {"detail": {"kind": "note"}}),
    (67, "memory.written", "bot", {"detail": {"kind": "note"}}),
    (70, "thread.answered", "bot", {}),
)


def chain(steps: Sequence[Step], thread: str = "close.1") -> list[Entry]:
    entries: list[Entry] = []
    prev = GENESIS
    for seq, (seconds, kind, actor, more) in enumerate(steps, 1):
        at = (START + timedelta(seconds=seconds)).isoformat()
        text = json.dumps({"thread": thread, "seq": seq, "at": at, "kind": kind, "actor": actor, **more})
        entries.append(parse_entry(thread, seq, prev, entry_hash(prev, text), text))
        prev = entries[-1].hash
    return entries


def told(lines: Sequence[Line]) -> list[tuple[str, str, str, int]]:
    return [(line.word, line.who, line.what, line.times) for line in lines]


def test_a_timeline_tells_each_thing_once() -> None:
    assert told(timeline(chain(RUN))) == [
        ("orchestrate", "ann", "asked for it: closing, done by bot", 1),
        ("act", "bot", "read with read", 1),
        ("approve", "policy:p", "asked boss about pay (A-1)", 1),
        ("verify", "policy:p", "denied steal by tools", 1),
        ("act", "bot", "did pay", 1),
        ("approve", "ann", "was refused on pay (A-1): the requester", 1),
        ("approve", "boss", "approved pay (A-1)", 1),
        ("act", "bot", "did pay", 1),
        ("remember", "bot", "kept a note", 2),
        ("orchestrate", "bot", "answered", 1),
    ]


def test_everything_is_one_line_an_entry() -> None:
    assert len(timeline(chain(RUN), everything=True)) == len(RUN)


def test_where_a_crash_cut_a_call_off_its_start_stays() -> None:
    assert told(timeline(chain(RUN[:8])))[-1] == ("act", "bot", "started pay", 1)


def test_a_signature_of_two_stays() -> None:
    assert told(timeline(chain(RUN[:12])))[-1] == ("approve", "boss", "signed pay (A-1)", 1)


def test_an_unknown_kind_is_told_as_it_is() -> None:
    assert told(timeline(chain([(0, "cellar.opened", "kim", {})]))) == [("audit", "kim", "cellar.opened", 1)]


def test_what_goes_is_told_in_words() -> None:
    steps: list[Step] = [
        (0, "thread.abandoned", "dpo", {"detail": {"erasure": "E-1"}}),
        (1, "thread.erased", "dpo", {"detail": {"erasure": "E-1"}}),
        (2, "subject.erased", "dpo", {"detail": {"erasure": "E-1"}}),
        (3, "thread.expired", "clock", {}),
        (4, "vault.expired", "clock", {}),
    ]
    assert [(word, said) for word, _, said, _ in told(timeline(chain(steps), everything=True))] == [
        ("orchestrate", "abandoned it"),
        ("orchestrate", "emptied it, as its subject is forgotten"),
        ("remember", "forgot a subject (E-1)"),
        ("orchestrate", "emptied it, as its time was over"),
        ("remember", "deleted a subject's pseudonyms, as nothing else of it was left"),
    ]


def test_the_metrics_of_a_run() -> None:
    found = metrics(chain(RUN), baselines={"close": 30.0}, now=START + timedelta(days=1))
    assert (found.workflows, found.completed, found.completion_rate, found.prompts_per_completed) == (1, 1, 1.0, 1.0)
    assert (found.actions, found.reads, found.writes, found.denied) == (4, 1, 2, 1)
    assert (found.asked, found.decided, found.pending, found.refused_decisions) == (1, {"approved": 1}, 0, 1)
    assert (found.waiting_seconds, found.working_seconds) == (60.0, 10.0)
    assert found.saved_minutes == pytest.approx(30 - 10 / 60)


def test_an_open_question_waits_until_now_and_nothing_is_saved() -> None:
    found = metrics(chain(RUN[:10]), baselines={"close": 30.0}, now=START + timedelta(seconds=102))
    assert (found.completed, found.pending, found.waiting_seconds) == (0, 1, 100.0)
    assert (found.prompts_per_completed, found.saved_minutes, found.baseline_minutes) == (None, None, 30.0)


def test_questions_side_by_side_wait_once() -> None:
    def ask(at: float, id_: str) -> Step:
        return at, "approval.asked", "policy:p", {"detail": {"approval": id_}}

    def close(at: float, id_: str) -> Step:
        return at, "approval.rejected", "boss", {"detail": {"approval": id_}}

    steps = [RUN[0], ask(10, "A"), ask(20, "B"), close(30, "A"), close(40, "B"), ask(50, "C"), close(55, "C")]
    assert metrics(chain(steps), now=START).waiting_seconds == 35.0


def test_the_same_work_is_saved_once() -> None:
    entries = [*chain(RUN, "close.1"), *chain(RUN, "close.2")]
    same = metrics(entries, baselines={"close": 30.0}, subjects={"close.1": "oct", "close.2": "oct"})
    other = metrics(entries, baselines={"close": 30.0}, subjects={"close.1": "oct", "close.2": "nov"})
    assert same.saved_minutes == pytest.approx(30 - 20 / 60)
    assert other.saved_minutes == pytest.approx(60 - 20 / 60)


def test_nothing_has_no_rates() -> None:
    assert metrics([]).completion_rate == 0.0


@pytest.fixture
def exported() -> list[str]:
    return list(export_lines([*chain(RUN), *chain(RUN[:4], "close.2")]))


def test_an_export_verifies(exported: list[str]) -> None:
    report = verify_export(exported, file="x")
    assert (report.intact, report.threads, report.entries) == (True, 2, len(RUN) + 4)
    assert verify_export(exported, file="x", thread="close.2").entries == 4


def test_an_export_shows_what_was_done_to_it(exported: list[str]) -> None:
    edited = [line.replace("approval.refused", "approval.approved") for line in exported]
    removed = [*exported[:3], *exported[4:]]
    swapped = [*exported[:3], exported[4], exported[3], *exported[5:]]
    for changed, problem in (
        (edited, "edited"),
        (exported[:-1], "cut tail"),
        (removed, "missing"),
        (swapped, "missing"),
    ):
        assert problem in {one.problem for one in verify_export(changed, file="x").breaks}
    without = [line for line in exported if '"close.2"' not in line or "heads" in line]
    assert {one.thread for one in verify_export(without, file="x").breaks} == {"close.2"}


@pytest.mark.parametrize("line", ["nothing", "3", '{"thread": "t"}'])
def test_a_line_that_is_no_entry_is_named(exported: list[str], line: str) -> None:
    with pytest.raises(ToolInputError, match="x:3:"):
        verify_export([*exported[:2], line], file="x")


def test_every_entry_that_the_database_writes_has_a_sentence() -> None:
    source = Path(stateward.__file__).parent / "adapters" / "postgres"
    texts = [path.read_text() for path in [*source.rglob("*.sql"), *source.rglob("*.py")]]
    words = "thread|action|answer|approval|effect|read|memory|delegation|erasure|subject|hold|vault|abandon"
    kinds = {kind for text in texts for kind in re.findall(rf"['\"]((?:{words})\.[a-z_]+)['\"]", text)}
    assert len(kinds) > 30
    assert [kind for kind in kinds if sentence(chain([(0, kind, "bot", {})])[0]) == kind] == []


def test_a_label_is_told_with_what_brought_it() -> None:
    (line,) = timeline(
        chain([(0, "thread.labelled", "bot", {"tool": "read_mail", "detail": {"labels": ["untrusted"]}})])
    )
    assert line.what == "let in what is untrusted, with read_mail"
