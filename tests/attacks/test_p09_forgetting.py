"""P9: a forgotten subject is unreadable everywhere, in threads that run and wait too, and the trail still verifies.

Everything that a subject can leave is planted as a word of its own; then the whole database is dumped and searched.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage

from bank import BOSS, POLICY, Bank, Started
from stateward import Principal, Runtime, Settings, call
from stateward.adapters import embedded
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.errors import DecisionRefused, ErasureRefused, StatewardError, ThreadErased
from stateward.model.erasure import ErasureReceipt
from stateward.model.memory import Change, Scope
from stateward.orchestrate.loops import blocking

DPO = Principal("dpo")
WHO, OTHER = "customer:17", "customer:18"
WORKER = Path(__file__).with_name("forget_worker.py")


def dumped(url: str) -> str:
    """The whole database as `pg_dump` writes it, as a superuser."""
    command = [str(embedded._find_tools().bin_dir / "pg_dump"), "--dbname", url]
    return subprocess.run(command, capture_output=True, check=True, timeout=120, text=True).stdout


def go(bank: Bank, *script: Any, word: str, subject: str = WHO, remember: bool = True, **more: Any) -> Started:
    """A run about somebody whose request, calls and memory hold words of its own."""

    async def keep(state: Any, step: Any) -> None:
        if remember:
            await step.remember("note", word, text=f"{word}-old-note")
            await step.remember("note", word, text=f"{word}-note")

    graph = bank.graph(*script, prepare=lambda flow: flow.retrieve(keep), **more)
    config = bank.config(subject=subject, known={"EMAIL_ADDRESS": f"{word}-known@example.org"})
    given = {"messages": [("user", f"{word}-request")], "subject": subject}
    return Started(bank=bank, graph=graph, config=config, out=graph.invoke(given, config))


def planted(bank: Bank) -> None:
    """Threads in every state, each with words that only it has."""
    go(bank, [call("look", what="zanzibar-arguments")], AIMessage("zanzibar-answer"), word="zanzibar")
    edited = go(bank, [call("pay", amount=500, to="yucatan-arguments")], AIMessage("yucatan-answer"), word="yucatan")
    edited.decide("edit", arguments={"amount": 300, "to": "yucatan-edit"})
    edited.decide("reject", by=Principal("chief"), reason="yucatan-reason")
    edited.resume()
    answered = go(bank, [call("pay", amount=500, to="xanadu-arguments")], AIMessage("xanadu-answer"), word="xanadu")
    answered.decide("respond", reason="xanadu-response")
    answered.resume()
    go(bank, [call("wire", amount=13)], [call("pay", amount="wadden-wrong")], AIMessage("wadden-answer"), word="wadden")
    waits = go(bank, [call("pay", amount=500, to="vesuv-arguments")], word="vesuv")
    assert waits.asked.status == "pending"


WORDS = ("zanzibar", "yucatan", "xanadu", "wadden", "vesuv")


def found(text: str, words: Any = WORDS) -> set[str]:
    """The planted words that a text still has: ids of items are the team's own, and none is kept either."""
    return {word for word in words if word in text}


def sealed_fields(bank: Bank) -> int:
    """How many sealed fields the journal still has: without their keys they say nothing, and they go all the same."""
    fields = {
        "action": ("arguments", "reasons", "response"),
        "effect": ("result", "error"),
        "approval": ("arguments", "description", "because", "confirmation"),
        "signature": ("reason", "arguments"),
    }
    counts = [f"(select num_nonnulls({', '.join(names)}) as n from stateward.{one})" for one, names in fields.items()]
    (row,) = bank.rows(f"select coalesce(sum(n), 0)::int as n from ({' union all '.join(counts)}) as left_over")
    return row["n"]


def test_nothing_planted_is_in_a_dump_afterwards_and_all_of_it_was_before(bank: Bank) -> None:
    planted(bank)
    before = dumped(bank.url)
    assert found(before, [f"{word}-note" for word in WORDS]) == {f"{word}-note" for word in WORDS}
    sealed = {
        "zanzibar-arguments",
        "yucatan-edit",
        "yucatan-reason",
        "xanadu-response",
        "vesuv-arguments",
        "wadden-wrong",
    }
    assert {word for word in sealed if word in before} == set()
    known = repr(bank.runtime.export_subject(WHO, by=DPO))
    assert {word for word in sealed if word in known} == sealed
    assert sealed_fields(bank) > 20
    receipt = bank.runtime.forget(WHO, by=DPO)
    assert found(dumped(bank.url)) == set()
    assert sealed_fields(bank) == 0
    assert len(receipt.threads) == 5
    assert receipt.items == 10
    assert [one.counts["known"] for one in receipt.threads] == [1] * 5
    assert bank.runtime.verify_audit().intact


def test_with_the_master_key_in_hand_there_is_nothing_left_to_open(bank: Bank) -> None:
    planted(bank)
    threads = [row["thread_id"] for row in bank.rows("select thread_id from stateward.thread where subject = %s", WHO)]
    copied = bank.rows("select thread_id, body from stateward.checkpoint")
    assert len(bank.rows("select * from stateward.case_value where thread_id = any (%s)", threads)) == 5
    bank.runtime.forget(WHO, by=DPO)
    sealed = ("checkpoint", "checkpoint_value", "checkpoint_write", "checkpoint_head", "sighting", "case_value")
    for table in ("data_key", *sealed):
        assert bank.rows(f"select * from stateward.{table} where thread_id = any (%s)", threads) == []
    # What somebody has copied before: its key was random, and is gone from the one place that had it.
    assert copied
    assert bank.rows("select * from stateward.data_key where thread_id <> all (%s)", ["desk:default"]) == []


def test_others_keep_everything(bank: Bank) -> None:
    go(bank, AIMessage("first"), word="theirs", subject=OTHER)
    other = go(bank, [call("pay", amount=500)], word="waits", subject=OTHER)
    before = bank.rows("select * from stateward.memory order by key")
    planted(bank)
    bank.runtime.forget(WHO, by=DPO)
    assert bank.rows("select * from stateward.memory order by key") == before
    other.decide("approve")
    other.resume()
    assert bank.amounts() == [500]


def test_a_tenant_forgets_its_own_only(bank: Bank) -> None:
    planted(bank)
    receipt = bank.runtime.forget(WHO, by=Principal("dpo", tenant="rival"))
    assert (receipt.threads, receipt.items) == ((), 0)
    assert len(bank.rows("select * from stateward.memory")) == 5


def test_a_thread_that_waits_is_decided_by_nobody_and_goes_on_no_more(bank: Bank) -> None:
    waits = go(bank, [call("pay", amount=500)], word="vesuv")
    question = waits.asked
    bank.runtime.forget(WHO, by=DPO)
    assert bank.runtime.approvals() == []
    with pytest.raises(ThreadErased):
        bank.runtime.decide(question, "approve", by=BOSS)
    for again in (waits.resume, lambda: waits.graph.invoke({"messages": [("user", "more")]}, waits.config)):
        with pytest.raises(StatewardError):
            again()
    with pytest.raises(ThreadErased):
        bank.config(waits.thread)
    assert bank.amounts() == []
    assert "more" not in str(bank.rows("select * from stateward.action"))


@pytest.mark.parametrize("tool", ["pay", "post"])
def test_a_thread_that_runs_is_stopped_and_leaves_nothing_behind_it(bank: Bank, settings: Settings, tool: str) -> None:
    def forget() -> None:
        with Runtime.open(settings=settings) as another:
            another.forget(WHO, by=DPO)

    def during() -> None:
        thread = threading.Thread(target=forget)
        thread.start()
        thread.join()

    bank.during = during
    more = {"to": "zanzibar-arguments"} if tool == "pay" else {}
    with pytest.raises(StatewardError):
        go(bank, [call(tool, amount=5, **more)], AIMessage("zanzibar-answer"), word="zanzibar")
    assert found(dumped(bank.url)) == set()
    assert bank.rows("select * from stateward.memory") == []
    assert bank.rows("select key from books.entry") == []  # a transactional tool's own write is taken back with it
    assert bank.runtime.verify_audit().intact


def test_what_a_running_step_remembers_afterwards_is_refused(bank: Bank, settings: Settings) -> None:
    async def late(state: Any, step: Any) -> None:
        await step.remember("note", "before", text="zanzibar")
        with Runtime.open(settings=settings) as another:
            another.forget(WHO, by=DPO)
        with pytest.raises(ThreadErased):
            await step.remember("note", "after", text="zanzibar")
        with pytest.raises(ThreadErased):
            await step.knows(PERSON="Zanzibar Blyxt")

    graph = bank.graph(AIMessage("done"), prepare=lambda flow: flow.retrieve(late))
    with pytest.raises(ThreadErased):
        graph.invoke({"messages": [("user", "zanzibar")], "subject": WHO}, bank.config())
    assert found(dumped(bank.url)) == set()
    assert bank.rows("select * from stateward.case_value") == []


def test_a_new_thread_about_the_same_subject_begins_from_nothing(bank: Bank) -> None:
    planted(bank)
    first = bank.runtime.forget(WHO, by=DPO)
    go(bank, AIMessage("hello"), word="anew")
    second = bank.runtime.forget(WHO, by=DPO)
    assert second.id != first.id
    assert (len(second.threads), second.items) == (1, 2)


def test_the_receipt_is_genuine_and_no_other_is(bank: Bank, settings: Settings, tmp_path: Path) -> None:
    planted(bank)
    receipt = bank.runtime.forget(WHO, by=DPO)
    said = dict(receipt.said())
    assert bank.runtime.verify_receipt(said, seal=receipt.seal)
    forged = [
        {**said, "subject": OTHER},
        {**said, "items": 11},
        {**said, "threads": []},
        {**said, "finished_at": said["requested_at"]},
        {**said, "tenant": "rival"},
        {**said, "more": 1},
    ]
    assert not any(bank.runtime.verify_receipt(one, seal=receipt.seal) for one in forged)
    for seal in ("", "x", "ü", receipt.seal[:-8] + "AAAAAAA=", bank.runtime.forget(OTHER, by=DPO).seal):
        assert not bank.runtime.verify_receipt(said, seal=seal)
    entries = [one.kind for one in bank.runtime.timeline("desk:default")]
    assert entries[:2] == ["erasure.requested", "subject.erased"]
    assert WHO not in str(bank.rows("select entry from stateward.ledger where thread_id = 'desk:default'"))


def test_an_agent_nobody_and_nothing(bank: Bank) -> None:
    planted(bank)
    for subject, by in ((WHO, Principal("bot", kind="agent")), ("", DPO), ("  ", DPO)):
        for do in (bank.runtime.forget, bank.runtime.export_subject, bank.runtime.end_hold):
            with pytest.raises(ErasureRefused):
                do(subject, by=by)
    assert len(bank.rows("select * from stateward.memory")) == 5


def test_a_legal_hold_stops_forgetting_sweeping_and_deleting(bank: Bank) -> None:
    planted(bank)
    assert bank.runtime.hold(WHO, by=DPO, reason="a lawsuit")
    assert not bank.runtime.hold(WHO, by=DPO, reason="again")
    with pytest.raises(ErasureRefused, match="on legal hold"):
        bank.runtime.forget(WHO, by=DPO)
    with pytest.raises(ErasureRefused, match="reason"):
        bank.runtime.hold(OTHER, by=DPO, reason=" ")

    async def delete(state: Any, step: Any) -> None:
        assert await step.forget("note", "zanzibar")
        assert "zanzibar" not in [item.key for item in await step.recall("note")]
        await step.remember("note", "zanzibar", text="anew")

    graph = bank.graph(AIMessage("done"), prepare=lambda flow: flow.retrieve(delete))
    graph.invoke({"messages": [("user", "go")], "subject": WHO}, bank.config())
    bank.rows("update stateward.memory set expires_at = now()")
    bank.rows("update stateward.memory_version set expires_at = now()")
    assert bank.runtime.sweep().items == 0
    kept = dumped(bank.url)
    assert "zanzibar-note" in kept
    assert "zanzibar-old-note" in kept
    (hold,) = bank.runtime.holds()
    assert (hold.subject, hold.reason, hold.by) == (WHO, "a lawsuit", "dpo")
    assert bank.runtime.end_hold(WHO, by=DPO)
    assert not bank.runtime.end_hold(WHO, by=DPO)
    assert bank.runtime.sweep().items == 11
    bank.runtime.forget(WHO, by=DPO)
    kinds = [one.kind for one in bank.runtime.timeline("desk:default")]
    assert kinds == ["hold.placed", "hold.ended", "erasure.requested", "subject.erased"]


def test_what_is_known_of_a_subject_is_all_there(bank: Bank) -> None:
    planted(bank)
    go(bank, AIMessage("no"), word="theirs", subject=OTHER)
    given = str(bank.runtime.export_subject(WHO, by=DPO))
    for word in WORDS:
        assert f"{word}-request" in given
        assert f"{word}-note" in given
        assert f"{word}-old-note" in given
        assert f"{word}-known" in given
    for one in ("zanzibar-arguments", "yucatan-edit", "yucatan-reason", "xanadu-response", "zanzibar-answer"):
        assert one in given
    assert "theirs" not in given
    assert [one.kind for one in bank.runtime.timeline("desk:default")] == ["subject.exported"]
    bank.runtime.forget(WHO, by=DPO)
    after = bank.runtime.export_subject(WHO, by=DPO)
    assert found(str(after)) == set()
    assert after["memory"] == []


@pytest.mark.slow
def test_killed_at_random_points_it_is_finished_by_running_it_again(bank: Bank, settings: Settings) -> None:
    for at in range(8):
        go(bank, [call("look", what=f"word{at}-arguments")], AIMessage("done"), word=f"word{at}")
    words = [f"word{at}" for at in range(8)]
    # Each thread takes a moment, so that a kill can fall between two.
    bank.rows("""create function stateward.linger() returns trigger language plpgsql as $$
                 begin perform pg_sleep(0.1); return new; end $$;
                 create trigger linger before insert on stateward.erased_thread for each row
                 execute function stateward.linger()""")
    seed = random.randrange(10**6)
    chance, seen = random.Random(seed), list[int]()
    command = [sys.executable, str(WORKER), bank.url, str(settings.home), WHO]
    while len(seen) < 5:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "begins\n"
            time.sleep(chance.uniform(0, 0.3))
            worker.kill()
        seen.append(len(bank.rows("select * from stateward.erased_thread")))
        if bank.rows("select * from stateward.erasure where finished_at is not null"):
            break
    bank.runtime.forget(WHO, by=DPO)
    why = f"seed {seed}, seen {seen}"
    assert len(bank.rows("select distinct thread_id from stateward.erased_thread")) == 8, why
    assert bank.rows("select sum(items) as items from stateward.erasure") == [{"items": 16}], why
    assert bank.rows("select * from stateward.erasure where finished_at is null") == [], why
    assert found(dumped(bank.url), words) == set(), why
    assert bank.runtime.verify_audit().intact
    # A try that was cut off has begun no erasure of its own.
    first, *others = bank.rows("select erasure_id, receipt, seal from stateward.erasure order by requested_at")
    assert len(others) <= 1, why
    seal = base64.b64encode(bytes(first["seal"])).decode()
    said = json.loads(first["receipt"])
    assert len(said["threads"]) == 8, why
    assert bank.runtime.verify_receipt(said, seal=seal)


def test_two_who_forget_at_once_give_one_erasure(bank: Bank, settings: Settings) -> None:
    planted(bank)
    receipts: list[ErasureReceipt] = []

    def forget() -> None:
        with Runtime.open(settings=replace(settings, pool_size=2)) as another:
            receipts.append(another.forget(WHO, by=DPO))

    threads = [threading.Thread(target=forget) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(receipts) == 3
    kept = {row["erasure_id"]: row for row in bank.rows("select * from stateward.erasure")}
    for one in receipts:
        assert one.said() == json.loads(kept[one.id]["receipt"])
        assert one.seal == base64.b64encode(bytes(kept[one.id]["seal"])).decode()
    assert found(dumped(bank.url)) == set()
    rows = bank.rows("select erasure_id from stateward.erased_thread")
    assert len(rows) == 5
    assert bank.runtime.verify_audit().intact


def test_a_receipt_says_all_that_went_whoever_ends_the_erasure(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(bank)
    make, theirs = DataKeys.make, list[ErasureReceipt]()

    async def late(keys: DataKeys, thread: str) -> Any:
        # Whoever has counted what went, and has not ended the erasure yet, is overtaken.
        monkeypatch.undo()
        await asyncio.to_thread(overtake)
        return await make(keys, thread)

    def overtake() -> None:
        with Runtime.open(settings=settings) as another:
            another.thread(
                "late",
                principal=Principal("bot", kind="agent"),
                purpose="bank",
                subject=WHO,
                graph="bank",
                requester="ann",
            )
            theirs.append(another.forget(WHO, by=DPO))

    monkeypatch.setattr(DataKeys, "make", late)
    ours = bank.runtime.forget(WHO, by=DPO)
    assert [len(one.threads) for one in theirs] == [6]
    assert [ours] == theirs
    assert bank.runtime.verify_receipt(ours.said(), seal=ours.seal)


def test_what_is_deleted_while_a_hold_is_placed_is_kept(bank: Bank) -> None:
    go(bank, AIMessage("done"), word="zanzibar")
    (thread,) = [row["thread_id"] for row in bank.rows("select thread_id from stateward.thread")]
    scope = Scope(tenant="default", principal="bot", purpose="bank", subject=WHO, thread=thread)
    change = Change(namespace=("note",), key="zanzibar")
    services = bank.runtime.services
    deleting = threading.Thread(target=lambda: blocking(services.loop, services.memory.change(scope, [change])))
    with psycopg.connect(bank.url) as connection:
        connection.execute("select from stateward.thread where thread_id = %s for update", [thread])
        deleting.start()
        while not bank.rows(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        ):
            time.sleep(0.01)
        bank.runtime.hold(WHO, by=DPO, reason="a lawsuit")
    deleting.join()
    assert bank.rows("select * from stateward.memory") == []
    kept = bank.rows("select value from stateward.memory_version order by version")
    assert [row["value"]["text"] for row in kept] == ["zanzibar-old-note", "zanzibar-note"]


def test_a_legal_hold_keeps_the_history_of_threads(bank: Bank) -> None:
    policy = POLICY + "checkpoints: {keep: latest}\n"
    go(bank, AIMessage("done"), word="free", policy=policy)
    assert len(bank.rows("select * from stateward.checkpoint")) == 1
    bank.runtime.hold(WHO, by=DPO, reason="a lawsuit")
    held = go(bank, AIMessage("done"), word="held", policy=policy)
    kept = bank.rows("select * from stateward.checkpoint order by thread_id, checkpoint_id")
    assert len(kept) > 2
    saver = bank.runtime.checkpointer
    runs = [one.metadata["run_id"] for one in saver.list(held.config) if "run_id" in one.metadata]
    saver.prune([held.thread])
    for delete in (
        lambda: saver.delete_thread(held.thread),
        lambda: saver.prune([held.thread], strategy="delete"),
        *([lambda: saver.delete_for_runs(runs)] if runs else []),
    ):
        with pytest.raises(ErasureRefused, match="legal hold"):
            delete()
    assert bank.rows("select * from stateward.checkpoint order by thread_id, checkpoint_id") == kept
    bank.runtime.end_hold(WHO, by=DPO)
    saver.delete_thread(held.thread)
    assert len(bank.rows("select * from stateward.checkpoint")) == 1


def test_what_had_to_be_typed_is_not_in_the_trail(bank: Bank) -> None:
    policy = POLICY.replace("because: big}", "because: big, confirm: typed}")
    waits = go(bank, [call("pay", amount=515253)], word="vesuv", policy=policy)
    assert waits.asked.confirmation == "515253"
    with pytest.raises(DecisionRefused, match="515253"):
        waits.decide("approve", confirmation="1")
    assert "approval.refused" in waits.kinds
    bank.runtime.forget(WHO, by=DPO)
    assert "515253" not in dumped(bank.url)


def test_a_policy_that_asks_for_origins_leaves_no_sighting(bank: Bank) -> None:
    policy = POLICY.replace(
        "deny: [{when: args.amount <= 0, because: a payment is positive}]",
        'deny: [{when: origin.to == "untrusted", because: no}]',
    )
    go(bank, [call("pay", amount=5, to="zanzibar")], AIMessage("done"), word="zanzibar", policy=policy)
    assert bank.rows("select * from stateward.sighting")
    bank.runtime.forget(WHO, by=DPO)
    assert bank.rows("select * from stateward.sighting") == []
