"""P9: a thread is kept for as long as its policy says after it has ended, and then nothing of it can be read.

Time is moved by moving what the rows say of it.
"""

from __future__ import annotations

import asyncio
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
from test_p09_forgetting import dumped, found, go, planted, sealed_fields

from bank import BOSS, POLICY, Bank, Killed, Started
from stateward import PolicyError, Principal, Runtime, Settings, call, tool
from stateward.adapters.postgres.statements import statements
from stateward.errors import DatabaseError, StatewardError, ThreadErased
from stateward.remember.retention import sweep_on
from stateward.testing import ScriptedModel
from ways import every_way

DPO = Principal("dpo")
WHO = "customer:17"
KEPT = POLICY + "threads: {keep: 30d}\n"
MONTH = 30 * 24 * 3600
WORKER = Path(__file__).with_name("sweep_worker.py")


def aged(bank: Bank, days: float = 31, thread: str | None = None) -> None:
    """Let time pass for all threads, or for one."""
    for table, column in (("thread", "updated_at"), ("thread", "created_at"), ("checkpoint", "created_at")):
        bank.rows(
            f"update stateward.{table} set {column} = {column} - make_interval(secs => %s) "
            "where %s::text is null or thread_id = %s",
            days * 86400,
            thread,
            thread,
        )


def kept_for(bank: Bank, thread: str) -> int | None:
    return bank.rows("select keep_for from stateward.thread where thread_id = %s", thread)[0]["keep_for"]


def ended(bank: Bank, word: str = "zanzibar", policy: str = KEPT, **more: Any) -> Started:
    """A thread with an answer, and words of its own in all that it holds."""
    script = [call("look", what=f"{word}-arguments")], AIMessage(f"{word}-answer")
    return go(bank, *script, word=word, policy=policy, **more)


def test_what_a_thread_held_is_gone_when_its_time_is_over_and_its_chain_stays(bank: Bank) -> None:
    one = ended(bank, remember=False)
    edited = go(
        bank,
        [call("pay", amount=500, to="yucatan-arguments")],
        AIMessage("yucatan-answer"),
        word="yucatan",
        remember=False,
        policy=KEPT,
    )
    edited.decide("edit", arguments={"amount": 300, "to": "yucatan-edit"})
    edited.decide("reject", by=Principal("chief"), reason="yucatan-reason")
    edited.resume()
    words = ("zanzibar", "yucatan")
    aged(bank, 29)
    assert bank.runtime.sweep().threads == 0
    assert found(str(bank.runtime.export_subject(WHO, by=DPO)), words) == set(words)
    assert sealed_fields(bank) > 0
    aged(bank, 2)
    assert bank.runtime.sweep().threads == 2
    assert bank.runtime.sweep().threads == 0
    assert found(dumped(bank.url) + str(bank.runtime.export_subject(WHO, by=DPO)), words) == set()
    assert sealed_fields(bank) == 0
    assert bank.rows("select * from stateward.data_key where thread_id <> 'desk:default'") == []
    assert [one.kinds[-1], edited.kinds[-1]] == ["thread.expired"] * 2
    said = bank.runtime.timeline(one.thread)[-1]
    assert (said.actor, said.detail["keep"], said.detail["keys"], said.detail["known"]) == ("clock", MONTH, 1, 1)
    assert bank.runtime.find_thread(one.thread).status == "answered"
    assert bank.runtime.verify_audit().intact


def test_it_cannot_be_gone_on_with_and_what_it_remembered_stays_for_its_own_time(bank: Bank) -> None:
    one = ended(bank)
    aged(bank)
    bank.runtime.sweep()
    for again in (
        one.resume,
        lambda: one.graph.invoke({"messages": [("user", "more")], "subject": WHO}, one.config),
        lambda: bank.config(one.thread, subject=WHO),
    ):
        with pytest.raises(ThreadErased, match="time was over"):
            again()
    assert len(bank.rows("select * from stateward.memory")) == 1
    assert bank.runtime.forget(WHO, by=DPO).threads == ()  # there is nothing left of it to forget
    assert bank.rows("select * from stateward.memory") == []


@every_way
def test_whichever_way_in_a_thread_that_has_its_answer_goes(bank: Bank) -> None:
    one = bank.run([call("look", what="zanzibar-arguments")], AIMessage("zanzibar-answer"), policy=KEPT)
    assert kept_for(bank, one.thread) == MONTH
    aged(bank, 29)
    bank.run([call("look", what="more")], policy=KEPT)
    aged(bank, 2)
    # A graph of one's own has no answer that ends its thread.
    assert bank.runtime.sweep().threads == int(bank.way.answers)
    assert (one.kinds[-1] == "thread.expired") == bank.way.answers


def test_an_erasure_that_is_under_way_is_finished_though_a_thread_has_expired_meanwhile(bank: Bank) -> None:
    ended(bank)
    bank.rows("select stateward.begin_erasure('E-1', 'default', %s, 'dpo', 'token')", WHO)
    aged(bank)
    assert bank.runtime.sweep().threads == 1
    receipt = bank.runtime.forget(WHO, by=DPO)
    assert (receipt.id, receipt.threads, receipt.items) == ("E-1", (), 2)
    assert bank.runtime.verify_audit().intact


def test_what_has_not_ended_is_never_swept(bank: Bank) -> None:
    waits = go(bank, [call("pay", amount=500)], word="vesuv", policy=KEPT)
    bank.during = lambda: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        go(bank, [call("wire", amount=5)], word="crashed", policy=KEPT)
    bank.during = lambda: None
    opened = bank.config(subject=WHO)["configurable"]["thread_id"]
    bank.rows("update stateward.thread set keep_for = 1 where thread_id = %s", opened)
    aged(bank, 4000)
    assert bank.runtime.sweep().threads == 0
    waits.decide("approve")
    waits.resume()
    assert bank.amounts() == [500]
    # Since then it has ended, and its time begins.
    assert bank.runtime.sweep().threads == 0
    aged(bank, 31, waits.thread)
    assert bank.runtime.sweep().threads == 1


IDLE = POLICY + "threads: {keep: 30d, idle: 90d}\n"


def cut_off(bank: Bank, policy: str = IDLE, word: str = "crashed") -> str:
    """A thread whose run died in a step, before anything acts."""

    async def dies(state: Any, step: Any) -> None:
        raise Killed

    graph = bank.graph(policy=policy, prepare=lambda flow: flow.retrieve(dies))
    config = bank.config(subject=WHO)
    with pytest.raises(Killed):
        graph.invoke({"messages": [("user", f"{word}-request")], "subject": WHO}, config)
    return config["configurable"]["thread_id"]


@every_way
def test_one_that_does_not_end_goes_when_it_has_been_idle_for_so_long(bank: Bank) -> None:
    one = bank.run([call("look", what="zanzibar-arguments")], AIMessage("zanzibar-answer"), policy=IDLE)
    bank.rows("update stateward.thread set status = 'open' where thread_id = %s", one.thread)
    aged(bank, 89)
    assert bank.runtime.sweep().threads == 0
    aged(bank, 2)
    assert bank.runtime.sweep().threads == 1
    said = bank.runtime.timeline(one.thread)[-1]
    assert (said.kind, said.detail["status"], said.detail["idle"]) == ("thread.expired", "open", 3 * MONTH)
    assert found(dumped(bank.url), ["zanzibar"]) == set()
    assert bank.runtime.verify_audit().intact


def test_one_that_a_crash_has_cut_off_goes_and_cannot_be_gone_on_with(bank: Bank) -> None:
    thread = cut_off(bank)
    aged(bank, 91)
    assert bank.runtime.sweep().threads == 1
    assert found(dumped(bank.url), ["crashed"]) == set()
    with pytest.raises(ThreadErased):
        bank.config(thread, subject=WHO)


def test_one_that_has_ended_does_not_wait_until_it_is_idle_and_keep_counts_where_it_is_longer(bank: Bank) -> None:
    ended(bank, policy=IDLE)
    longer = cut_off(bank, policy=POLICY + "threads: {keep: 60d, idle: 1d}\n")
    aged(bank, 31)
    assert bank.runtime.sweep().threads == 1
    aged(bank, 28)
    assert bank.runtime.sweep().threads == 0
    aged(bank, 2)
    assert bank.runtime.sweep().threads == 1
    assert bank.runtime.timeline(longer)[-1].kind == "thread.expired"


def test_whatever_happens_on_it_begins_its_time_anew(bank: Bank) -> None:
    thread = cut_off(bank)
    aged(bank, 91)
    new = "insert into stateward.checkpoint (thread_id, ns, checkpoint_id, body) values (%s, '', 'new', '')"
    bank.rows(new, thread)
    assert bank.runtime.sweep().threads == 0
    aged(bank, 91)
    bank.rows("select stateward.append(%s, 'read.done', 'bot', null, null, '{}')", thread)
    assert bank.runtime.sweep().threads == 0
    aged(bank, 91)
    assert bank.runtime.sweep().threads == 1


def test_a_question_that_waits_keeps_it_however_long_and_one_that_is_over_does_not(bank: Bank) -> None:
    decided = go(bank, [call("pay", amount=500)], word="vesuv", policy=IDLE)
    late = go(bank, [call("pay", amount=500)], word="wadden", policy=IDLE)
    aged(bank, 4000)
    assert bank.runtime.sweep().threads == 0
    decided.decide("approve")
    bank.rows("update stateward.approval set expires_at = now() where thread_id = %s", late.thread)
    bank.runtime.tick()
    assert [one.kinds[-1] for one in (decided, late)] == ["approval.approved", "approval.expired"]
    assert bank.runtime.sweep().threads == 0, "that was something that happened on them"
    aged(bank, 91)
    assert bank.runtime.sweep().threads == 2
    assert bank.runtime.timeline(decided.thread)[-1].detail["status"] == "waiting"
    with pytest.raises(ThreadErased):
        decided.resume()
    assert bank.amounts() == []


@every_way
@pytest.mark.parametrize("within", ["a read", "a call of the model"])
def test_a_run_that_is_quiet_for_longer_is_refused_with_its_next_commit_and_does_nothing_twice(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch, within: str
) -> None:
    said = ScriptedModel._generate
    swept: list[int] = []

    def quiet() -> None:
        with Runtime.open(settings=settings) as another:
            for _ in range(100):  # what the step before it left may still be on its way
                aged(bank, 91)
                swept.append(another.sweep().threads)
                if swept[-1]:
                    return
                time.sleep(0.02)

    @tool
    async def look(what: str) -> dict[str, str]:
        """Look something up."""
        if within == "a read":
            await asyncio.to_thread(quiet)
        return {"seen": what}

    def says(model: Any, messages: list[Any], *given: Any, **more: Any) -> Any:
        if within == "a call of the model" and sum(isinstance(one, AIMessage) for one in messages) == 2:
            quiet()
        return said(model, messages, *given, **more)

    monkeypatch.setattr(ScriptedModel, "_generate", says)
    monkeypatch.setattr(bank, "tools", lambda: [look, *Bank.tools(bank)[1:]])
    script = [call("pay", amount=50)], [call("look", what="zanzibar")], [call("pay", amount=60)]
    graph, config = bank.graph(*script, policy=IDLE), bank.config()
    with pytest.raises(ThreadErased):
        graph.invoke({"messages": [("user", "zanzibar-request")]}, config)
    assert swept[-1] == 1
    assert bank.amounts() == [50]
    with pytest.raises(ThreadErased):
        graph.invoke({"messages": [("user", "more")]}, config)
    assert bank.amounts() == [50]
    assert sealed_fields(bank) == 0
    for table in ("checkpoint", "checkpoint_value", "checkpoint_write", "sighting", "data_key"):
        rows = bank.rows(f"select 1 from stateward.{table} where thread_id = %s", config["configurable"]["thread_id"])
        assert rows == [], table
    assert bank.runtime.timeline(config["configurable"]["thread_id"])[-1].kind == "thread.expired"
    assert bank.runtime.verify_audit().intact


@pytest.mark.parametrize("status", ["reserved", "unknown"])
def test_nor_does_what_nobody_knows_the_outcome_of_go_by_itself(bank: Bank, status: str) -> None:
    bank.during = lambda: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        go(bank, [call("wire", amount=5)], word="crashed", policy=IDLE)
    bank.rows("update stateward.effect set status = %s", status)
    aged(bank, 4000)
    assert bank.runtime.sweep().threads == 0


def test_nor_one_that_was_abandoned_and_whose_effects_are_still_there(bank: Bank) -> None:
    one = go(bank, [call("renew", amount=5)], AIMessage("done"), word="zanzibar", policy=IDLE)
    bank.rows("select stateward.abandon(%s, 'boss', '{}')", one.thread)
    aged(bank, 4000)
    assert bank.runtime.sweep().threads == 0


@pytest.mark.parametrize("status", ["reserved", "unknown"])
def test_an_effect_that_nobody_knows_the_outcome_of_keeps_a_thread(bank: Bank, status: str) -> None:
    one = go(bank, [call("renew", amount=5)], AIMessage("done"), word="zanzibar", policy=KEPT)
    bank.rows("update stateward.effect set status = %s", status)
    aged(bank, 400)
    assert bank.runtime.sweep().threads == 0
    bank.rows("update stateward.effect set status = 'settled'")
    assert bank.runtime.sweep().threads == 1
    assert one.kinds[-1] == "thread.expired"


def test_an_abandoned_thread_goes_and_one_whose_undo_waits_for_people_stays(bank: Bank) -> None:
    policy = KEPT + "abandon: {by: [boss]}\n"
    waits = go(bank, [call("pay", amount=500)], word="vesuv", policy=policy)
    bank.runtime.abandon(waits.thread, by=BOSS, reason="over")
    aged(bank)
    bank.rows("update stateward.approval set status = 'pending'")
    assert bank.runtime.sweep().threads == 0
    bank.rows("update stateward.approval set status = 'withdrawn'")
    assert bank.runtime.sweep().threads == 1


def test_an_abandoned_thread_stays_until_what_it_has_done_is_taken_back(bank: Bank) -> None:
    one = go(bank, [call("renew", amount=5)], AIMessage("done"), word="zanzibar", policy=KEPT)
    bank.rows("select stateward.abandon(%s, 'boss', '{}')", one.thread)  # a crash comes before the undo
    aged(bank, 400)
    assert bank.runtime.sweep().threads == 0
    bank.rows("select stateward.conclude(%s, 'boss', '{}')", one.thread)
    aged(bank, 31)
    assert bank.runtime.sweep().threads == 1


def test_threads_whose_time_is_not_over_are_not_looked_at(bank: Bank) -> None:
    with psycopg.connect(bank.url) as connection:
        connection.execute("set enable_seqscan = off")
        query = b"explain " + statements("erasure")["threads_over"]
        plan = str(connection.execute(query, {"left": ["stuck"]}).fetchall())
    assert "Index Scan using thread_by_retention" in plan
    assert "Index Cond: (stateward.after" in plan


def test_an_escalated_thread_has_ended(bank: Bank) -> None:
    one = ended(bank)
    bank.rows("update stateward.thread set status = 'escalated' where thread_id = %s", one.thread)
    aged(bank)
    assert bank.runtime.sweep().threads == 1


def test_a_run_that_goes_on_keeps_its_thread_before_it_leaves_an_entry(bank: Bank) -> None:
    one = ended(bank)
    aged(bank)
    bank.rows(
        """insert into stateward.checkpoint (thread_id, ns, checkpoint_id, body) values (%s, '', 'new', '')""",
        one.thread,
    )
    assert bank.runtime.sweep().threads == 0


def test_a_legal_hold_keeps_threads(bank: Bank) -> None:
    ended(bank)
    ended(bank, word="xanadu", subject="customer:18")
    bank.runtime.hold(WHO, by=DPO, reason="a lawsuit")
    aged(bank, 4000)
    before = bank.rows(
        "select * from stateward.checkpoint c join stateward.thread using (thread_id) where subject = %s", WHO
    )
    assert before
    assert bank.runtime.sweep().threads == 1
    assert (
        bank.rows(
            "select * from stateward.checkpoint c join stateward.thread using (thread_id) where subject = %s", WHO
        )
        == before
    )
    bank.runtime.end_hold(WHO, by=DPO)
    assert bank.runtime.sweep().threads == 1


def test_a_hold_that_is_placed_at_the_same_moment_is_waited_for_by_neither_and_kept_by_both(bank: Bank) -> None:
    one = ended(bank)
    aged(bank)
    with psycopg.connect(bank.url) as connection:
        connection.execute("select stateward.place_hold('default', %s, 'a lawsuit', 'dpo', 'token')", [WHO])
        swept: list[int] = []
        sweeping = threading.Thread(target=lambda: swept.append(bank.runtime.sweep().threads))
        sweeping.start()
        while sweeping.is_alive() and not bank.rows(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            " and query like '%%expire_thread%%'"
        ):
            time.sleep(0.01)
        connection.commit()
        sweeping.join()
    assert swept == [0]
    assert one.kinds[-1] != "thread.expired"


def test_the_time_is_that_of_the_policy_that_a_thread_ran_under_last(bank: Bank) -> None:
    one = ended(bank)
    assert kept_for(bank, one.thread) == MONTH
    for policy, kept in (
        (POLICY + "threads: {keep: 90d}\n", 3 * MONTH),
        (POLICY + "threads: {keep: 1d}\n", 86400),
        (POLICY, None),
        (POLICY + "threads: {}\n", None),
        (KEPT, MONTH),
    ):
        graph = bank.graph(AIMessage("again"), policy=policy, runtime=bank.runtime)
        graph.invoke({"messages": [("user", "more")], "subject": WHO}, one.config)
        assert kept_for(bank, one.thread) == kept


def test_so_is_the_time_after_which_it_counts_as_ended(bank: Bank) -> None:
    one = ended(bank, policy=IDLE)
    for policy, idle in ((KEPT, None), (IDLE.replace("90d", "60d"), 2 * MONTH), (POLICY, None), (IDLE, 3 * MONTH)):
        graph = bank.graph(AIMessage("again"), policy=policy, runtime=bank.runtime)
        graph.invoke({"messages": [("user", "more")], "subject": WHO}, one.config)
        (row,) = bank.rows("select idle_for from stateward.thread where thread_id = %s", one.thread)
        assert row["idle_for"] == idle


def test_it_is_in_the_row_from_the_start_and_needs_no_policy_to_be_loaded(bank: Bank, settings: Settings) -> None:
    ended(bank)
    bank.during = lambda: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        go(bank, [call("wire", amount=5)], word="crashed", policy=KEPT)
    kept = bank.rows("select keep_for from stateward.thread where purpose = 'bank'")
    assert [row["keep_for"] for row in kept] == [MONTH, MONTH]
    aged(bank)
    with Runtime.open(settings=settings) as another:
        assert another.sweep().threads == 1


def test_without_a_time_a_thread_is_kept_for_ever(bank: Bank) -> None:
    ended(bank, policy=POLICY)
    bank.runtime.hold("customer:99", by=DPO, reason="so that the desk has a chain")
    aged(bank, 20000)
    assert bank.runtime.sweep().threads == 0


def test_the_longest_time_that_can_be_written_is_as_good_as_for_ever(bank: Bank) -> None:
    ended(bank, policy=POLICY + "threads: {keep: 999999999d}\n")
    aged(bank, 20000)
    assert bank.runtime.sweep().threads == 0


def test_several_who_sweep_at_once_empty_each_thread_once(bank: Bank, settings: Settings) -> None:
    for at in range(12):
        ended(bank, word=f"word{at}", remember=False)
    aged(bank)
    swept: list[int] = []

    def sweep() -> None:
        with Runtime.open(settings=replace(settings, pool_size=2)) as another:
            swept.append(another.sweep().threads)

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(swept) == 12
    assert len(bank.rows("select * from stateward.ledger where kind = 'thread.expired'")) == 12
    assert found(dumped(bank.url), [f"word{at}" for at in range(12)]) == set()
    assert bank.runtime.verify_audit().intact


@pytest.mark.parametrize("table", ["thread", "checkpoint_thread"])
def test_a_thread_that_somebody_is_at_is_left_to_them(bank: Bank, table: str) -> None:
    ended(bank, word="free")
    busy = ended(bank)
    aged(bank)
    with psycopg.connect(bank.url) as connection:
        connection.execute(f"select from stateward.{table} where thread_id = %s for update", [busy.thread])
        assert bank.runtime.sweep().threads == 1
    assert bank.runtime.sweep().threads == 1


@pytest.mark.parametrize("state", ["P0001", "57014"])  # the second one is that of a statement that took too long
def test_a_thread_that_cannot_be_emptied_does_not_keep_the_others(
    bank: Bank, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    stuck = ended(bank)
    ended(bank, word="free")
    aged(bank)
    bank.rows(f"""create function stateward.stick() returns trigger language plpgsql as $$
                  begin raise exception 'stuck with %%', old.wrapped using errcode = '{state}'; end $$;
                  create trigger stick before delete on stateward.data_key for each row
                  when (old.thread_id = '{stuck.thread}') execute function stateward.stick()""")
    assert bank.runtime.sweep().threads == 1
    assert f"{stuck.thread} is over and could not be emptied (SQLSTATE {state})" in caplog.text
    assert "stuck with" not in caplog.text
    bank.rows("drop trigger stick on stateward.data_key")
    assert bank.runtime.sweep().threads == 1


def test_nor_do_more_of_them_than_are_looked_at_at_once(bank: Bank) -> None:
    one = ended(bank)
    aged(bank)
    bank.rows(
        """insert into stateward.thread select (jsonb_populate_record(t, jsonb_build_object(
               'thread_id', 'stuck-' || n, 'created_at', t.created_at - interval '1 day'))).*
             from stateward.thread t, generate_series(1, 101) n where thread_id = %s""",
        one.thread,
    )
    bank.rows("""create function stateward.stick() returns trigger language plpgsql as $$
                 begin raise exception 'stuck'; end $$;
                 create trigger stick before insert on stateward.ledger for each row
                 when (new.thread_id like 'stuck-%%') execute function stateward.stick()""")
    assert bank.runtime.sweep().threads == 1
    assert one.kinds[-1] == "thread.expired"


async def test_what_is_logged_of_a_sweep_that_fails_quotes_no_row(caplog: pytest.LogCaptureFixture) -> None:
    again, failures = asyncio.Event(), [psycopg.errors.UniqueViolation("(zanzibar) exists"), DatabaseError("zanzibar")]

    async def fails() -> None:
        if failures:
            raise failures.pop(0)
        again.set()

    sweeping = asyncio.create_task(sweep_on(fails, after=0, every=0))
    await again.wait()
    sweeping.cancel()
    assert "could not be deleted: UniqueViolation (SQLSTATE 23505)" in caplog.text
    assert "could not be deleted: DatabaseError (SQLSTATE None)" in caplog.text
    assert "zanzibar" not in caplog.text


def test_killed_half_way_it_goes_on(bank: Bank, settings: Settings) -> None:
    for at in range(6):
        ended(bank, word=f"word{at}", remember=False)
    aged(bank)
    # Each thread takes a moment, so that the kill falls within one.
    bank.rows("""create function stateward.linger() returns trigger language plpgsql as $$
                 begin perform pg_sleep(0.3); return null; end $$;
                 create trigger linger after delete on stateward.data_key for each statement
                 execute function stateward.linger()""")
    command = [sys.executable, str(WORKER), bank.url, str(settings.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        while not bank.rows("select * from stateward.thread where erased_at is not null"):
            assert worker.poll() is None
            time.sleep(0.01)
        worker.kill()
    gone = len(bank.rows("select * from stateward.thread where erased_at is not null"))
    assert 0 < gone < 6
    # What the killed one was at is free again when its server process has noticed.
    while bank.rows("select * from stateward.thread where erased_at is null and keep_for is not null"):
        gone += bank.runtime.sweep().threads
    assert len(bank.rows("select * from stateward.ledger where kind = 'thread.expired'")) == 6
    assert found(dumped(bank.url), [f"word{at}" for at in range(6)]) == set()
    assert bank.runtime.verify_audit().intact


def test_a_limit_that_looks_back_further_than_threads_are_kept_is_refused_at_its_line(
    bank: Bank, tmp_path: Path
) -> None:
    limit = '    limit: [{keep: \'history.sum("amount", "31d") < 5\', because: no}]\n'
    policy = KEPT.replace("    ask:\n", f"{limit}    ask:\n")
    file = tmp_path / "policy.yaml"
    file.write_text(policy)
    with pytest.raises(PolicyError, match="looks back further") as refused:
        bank.runtime.tool_node(policy=file, tools=bank.tools(), principal="bot")
    assert f"{policy.splitlines()[refused.value.line - 1]}\n" == limit
    assert "kept for 30d only" in str(refused.value)
    bank.graph(policy=policy.replace("31d", "30d"))
    bank.graph(policy=policy.replace("threads: {keep: 30d}\n", ""))


def test_a_limit_counts_what_its_window_has_to_the_end(bank: Bank) -> None:
    limit = '    limit: [{keep: \'history.sum("amount", "30d") + args.amount <= 100\', because: too much}]\n'
    policy = KEPT.replace("    ask:\n", f"{limit}    ask:\n")
    go(bank, [call("pay", amount=90)], AIMessage("done"), word="first", policy=policy)
    aged(bank, 29.9)
    bank.rows("update stateward.effect set reserved_at = reserved_at - interval '29 days 21 hours'")
    bank.runtime.sweep()
    go(bank, [call("pay", amount=20)], AIMessage("done"), word="second", policy=policy)
    assert bank.amounts() == [90]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("threads: {keep: soon}", "expected a duration such as"),
        ("threads: {keep: 0d}", "expected a duration such as"),
        ("threads: {kept: 1d}", "unknown key 'kept'; did you mean 'keep'"),
        ("threads: {idle: 90d}", "`idle` deletes nothing by itself"),
        ("threads: {keep: 30d, idle: never}", "expected a duration such as"),
        ("threads: 1d", "expected keys with values"),
        ("thread: {keep: 1d}", "did you mean 'threads'"),
    ],
)
def test_what_the_policy_cannot_mean_is_refused_at_its_line(bank: Bank, said: str, why: str) -> None:
    with pytest.raises(PolicyError, match=why) as refused:
        bank.graph(policy=POLICY + said)
    assert refused.value.line == len((POLICY + said).splitlines())


def test_how_long_threads_are_kept_voids_no_permit(bank: Bank) -> None:
    waits = go(bank, [call("pay", amount=500)], word="vesuv")
    waits.decide("approve")
    waits.resume(bank.graph(policy=KEPT))
    assert bank.amounts() == [500]
    assert kept_for(bank, waits.thread) == MONTH


def test_all_that_forgetting_empties_goes(bank: Bank) -> None:
    planted(bank)
    bank.rows("update stateward.thread set keep_for = 1, status = 'answered' where purpose = 'bank'")
    bank.rows("update stateward.approval set status = 'withdrawn' where status = 'pending'")
    bank.rows("delete from stateward.memory; delete from stateward.memory_version")
    aged(bank)
    assert bank.runtime.sweep().threads == 5
    assert found(dumped(bank.url)) == set()
    with pytest.raises(StatewardError):
        bank.runtime.resume(bank.graph(), "thread-1")
