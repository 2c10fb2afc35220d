"""P10: every transition and its ledger entry are one transaction, and the chain shows what was done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from langgraph.types import Command
from plain import APPROVE, on_postgres

from bank import Bank, Killed, start
from stateward import Principal, call
from stateward.errors import DatabaseError
from stateward.model.ledger import AuditReport

OFF, ON = "alter table stateward.ledger disable trigger all", "alter table stateward.ledger enable trigger all"


@pytest.mark.parametrize(
    "attack",
    [
        "update stateward.ledger set entry = replace(entry, 'bot', 'boss')",
        "delete from stateward.ledger where seq = 2",
        "truncate stateward.ledger",
        "truncate stateward.thread cascade",
        "insert into stateward.ledger (thread_id, seq, prev, hash, entry) "
        "select thread_id, seq, prev, hash, entry from stateward.ledger "
        "on conflict (thread_id, seq) do update set hash = ''",
    ],
)
def test_the_database_refuses_to_change_it(bank: Bank, attack: str) -> None:
    bank.run([call("pay", amount=5)])
    with pytest.raises(psycopg.Error, match="append-only"):
        bank.rows(attack)
    assert bank.runtime.verify_audit().intact


def tampered(bank: Bank, *attacks: str) -> AuditReport:
    """What a check finds after a superuser has switched the trigger off and worked on the table."""
    bank.run([call("pay", amount=5)])
    bank.run([call("pay", amount=6)])
    assert bank.runtime.verify_audit().intact
    for statement in (OFF, *attacks, ON):
        bank.rows(statement)
    return bank.runtime.verify_audit()


def found(report: AuditReport) -> set[tuple[str, int, str]]:
    return {(one.thread, one.seq, one.problem) for one in report.breaks}


T1 = "where thread_id = 'thread-1'"


def test_an_edit_is_found(bank: Bank) -> None:
    report = tampered(bank, f"update stateward.ledger set entry = replace(entry, 'bot', 'ann') {T1} and seq = 3")
    assert found(report) == {("thread-1", 3, "edited")}


def test_an_edit_with_a_hash_that_fits_is_found_at_the_next_entry(bank: Bank) -> None:
    edit = "update stateward.ledger set entry = replace(entry, 'bot', 'ann') " + T1 + " and seq = 3"
    rehash = (
        "update stateward.ledger set hash = encode(sha256(convert_to(prev || entry, 'UTF8')), 'hex') "
        + T1
        + " and seq = 3"
    )
    assert ("thread-1", 4, "edited") in found(tampered(bank, edit, rehash))


def test_a_deletion_in_the_middle_is_found(bank: Bank) -> None:
    assert ("thread-1", 2, "missing") in found(tampered(bank, f"delete from stateward.ledger {T1} and seq = 2"))


def test_a_deletion_that_closes_the_gap_is_found(bank: Bank) -> None:
    close = f"update stateward.ledger set seq = seq - 1 {T1} and seq > 2"
    problems = found(tampered(bank, f"delete from stateward.ledger {T1} and seq = 2", close))
    assert ("thread-1", 2, "reordered") in problems


def test_a_swap_is_found(bank: Bank) -> None:
    swap = """update stateward.ledger l set entry = o.entry, hash = o.hash, prev = o.prev from stateward.ledger o
                where l.thread_id = 'thread-1' and o.thread_id = 'thread-1' and l.seq in (2, 3) and o.seq = 5 - l.seq"""
    problems = found(tampered(bank, swap))
    assert {("thread-1", 2, "reordered"), ("thread-1", 3, "reordered")} <= problems


def test_an_entry_of_another_thread_is_found(bank: Bank) -> None:
    move = """update stateward.ledger l set entry = o.entry, hash = o.hash from stateward.ledger o
                where l.thread_id = 'thread-1' and o.thread_id = 'thread-2' and l.seq = 1 and o.seq = 1"""
    assert ("thread-1", 1, "reordered") in found(tampered(bank, move))


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_a_cut_tail_is_found(bank: Bank, keep: int) -> None:
    report = tampered(bank, f"delete from stateward.ledger {T1} and seq > {keep}")
    assert found(report) == {("thread-1", keep + 1, "cut tail")}


def test_a_head_that_is_set_back_is_found(bank: Bank) -> None:
    assert ("thread-1", 5, "edited") in {
        (thread, min(seq, 5), problem)
        for thread, seq, problem in found(tampered(bank, f"update stateward.thread set head_seq = 2 {T1}"))
    }


def test_the_other_threads_are_still_intact(bank: Bank) -> None:
    tampered(bank, f"delete from stateward.ledger {T1} and seq = 2")
    assert bank.runtime.verify_audit("thread-2").intact
    assert not bank.runtime.verify_audit("thread-1").intact


def test_the_searchable_columns_cannot_disagree_with_the_entry(bank: Bank) -> None:
    bank.run([call("pay", amount=5)])
    bank.rows(OFF)
    with pytest.raises(psycopg.Error, match="can only be updated to DEFAULT"):
        bank.rows("update stateward.ledger set actor = 'boss'")


BREAK = """
create function stateward.test_break() returns trigger language plpgsql as $$
begin raise exception 'the disk is full'; end $$;
create trigger test_break before insert on stateward.ledger for each row
    when ((new.entry::jsonb ->> 'kind') = '{kind}') execute function stateward.test_break();
"""


def decide(bank: Bank, what: Any) -> None:
    (asked,) = bank.runtime.approvals()
    bank.runtime.decide(asked, what, by=Principal("boss"), reason="because", arguments={"amount": 400})


TRANSITIONS: dict[str, Callable[[Bank], Any]] = {
    "thread.opened": lambda bank: bank.config("new"),
    "action.allowed": lambda bank: bank.run([call("pay", amount=7)]),
    "action.denied": lambda bank: bank.run([call("pay", amount=-7)]),
    "approval.asked": lambda bank: bank.run([call("pay", amount=700)]),
    "approval.signed": lambda bank: decide(bank, "approve"),
    "approval.approved": lambda bank: decide(bank, "approve"),
    "approval.rejected": lambda bank: decide(bank, "reject"),
    "approval.edited": lambda bank: decide(bank, "edit"),
    "action.asked": lambda bank: decide(bank, "edit"),
    "approval.expired": lambda bank: bank.runtime.approvals(),
    "effect.reserved": lambda bank: bank.run([call("pay", amount=7)]),
    "effect.settled": lambda bank: bank.run([call("pay", amount=7)]),
    "thread.answered": lambda bank: bank.run([call("pay", amount=7)]),
}


@pytest.mark.parametrize("kind", TRANSITIONS)
def test_without_its_entry_no_transition_happens(bank: Bank, kind: str) -> None:
    bank.run([call("pay", amount=500)])
    if kind == "approval.expired":
        bank.rows("update stateward.approval set expires_at = now()")
    entries = "select thread_id, seq from stateward.ledger where kind = %s"
    before = bank.rows(entries, kind)
    bank.rows(BREAK.replace("{kind}", kind))
    with pytest.raises((psycopg.Error, DatabaseError), match="the disk is full"):
        TRANSITIONS[kind](bank)
    assert bank.rows(entries, kind) == before
    assert bank.runtime.verify_audit().intact
    assert explained(bank)


def explained(bank: Bank) -> bool:
    """Whether what the tables hold is what the ledger tells, transition by transition."""
    (row,) = bank.rows(
        """select
           (select count(*) from stateward.thread)
             = (select count(*) from stateward.ledger where kind = 'thread.opened') as threads,
           (select count(*) from stateward.action)
             = (select count(*) from stateward.ledger
                 where kind in ('action.allowed', 'action.asked', 'action.denied')) as actions,
           (select count(*) from stateward.approval)
             = (select count(*) from stateward.ledger where kind = 'approval.asked') as approvals,
           (select count(*) from stateward.signature)
             = (select count(*) from stateward.ledger where kind = 'approval.signed') as signatures,
           (select count(*) from stateward.approval where status <> 'pending')
             = (select count(*) from stateward.ledger
                 where kind ~ '^approval.(approved|edited|rejected|responded|expired)$') as decisions,
           (select count(*) from stateward.effect)
             = (select count(*) from stateward.ledger where kind = 'effect.reserved') as effects,
           (select count(*) from stateward.effect where status = 'settled')
             = (select count(*) from stateward.ledger where kind = 'effect.settled') as settled,
           (select count(*) from stateward.action where status = 'consumed' and effect = 'write')
             = (select count(*) from stateward.effect) as consumed"""
    )
    assert row == dict.fromkeys(row, True)
    return True


def test_every_row_has_its_entry_after_a_whole_run(bank: Bank) -> None:
    run = bank.run([call("look", what="x"), call("pay", amount=5), call("pay", amount=500), call("pay", amount=-1)])
    run.decide("edit", arguments={"amount": 400})
    run.decide("approve", by=Principal("chief"))
    run.resume()
    assert explained(bank)


def test_a_crash_inside_a_transaction_leaves_neither_row_nor_entry(bank: Bank) -> None:
    graph, config = bank.graph([call("post", amount=5)]), bank.config()

    def crash() -> None:
        raise Killed

    bank.during = crash
    with pytest.raises(Killed):
        start(graph, config)
    assert bank.rows("select * from books.entry") == []
    assert bank.rows("select 1 from stateward.ledger where kind = 'effect.settled'") == []
    assert explained(bank)


def test_a_memory_item_and_its_entry_are_one(bank: Bank) -> None:
    async def keep(state, step):
        await step.remember("note", "n1", text="paid")

    bank.rows(BREAK.replace("{kind}", "memory.written"))
    with pytest.raises((psycopg.Error, DatabaseError), match="the disk is full"):
        bank.run(prepare=lambda flow: flow.retrieve(keep))
    assert bank.rows("select * from stateward.memory") == []


def test_plain_history_that_is_edited_or_deleted_shows_nowhere_falls(database_url: str) -> None:
    with on_postgres(database_url) as plain:
        agent, config = plain.bank.asks([call("pay", amount=500)])
        agent.invoke(Command(resume=APPROVE), config)
        before = list(agent.get_state_history(config))
        middle = before[1].config["configurable"]["checkpoint_id"]
        plain.rows("delete from checkpoints where checkpoint_id = %s", middle)
        plain.rows("""update checkpoints set metadata = metadata || '{"source": "nobody"}'""")
        after = list(agent.get_state_history(config))
        assert len(after) == len(before) - 1
        assert after[0].values == before[0].values
        assert {one.metadata["source"] for one in after} == {"nobody"}


def test_plain_who_answered_what_is_not_kept_falls(database_url: str) -> None:
    with on_postgres(database_url) as plain:
        agent, config = plain.bank.asks([call("pay", amount=500)])
        agent.invoke(Command(resume=APPROVE), config)
        columns = plain.rows("select column_name from information_schema.columns where table_schema = 'public'")
        assert not {row["column_name"] for row in columns} & {
            "actor",
            "principal",
            "user_id",
            "created_at",
            "decided_at",
        }
