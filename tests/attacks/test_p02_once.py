"""P2: a write runs at most once for each permit, whatever crashes, and nobody guesses what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest
from plain import GO, PlainBank, thread
from pydantic import BaseModel

from bank import BOSS, Bank, Killed, Started, start, texts
from stateward import AsyncRuntime, Effect, Principal, Runtime, Settings, call, tool
from stateward.errors import ThreadError
from ways import every_way

CLASSES = ["pay", "renew", "wire", "post"]


def crash() -> None:
    raise Killed


def fail() -> None:
    raise TimeoutError("the other side did not answer")


def cut_off(bank: Bank, name: str, how: Callable[[], None] = crash) -> Started:
    """A run whose tool is cut off after it took effect, before it could say so."""
    graph, config = bank.graph([call(name, amount=5)]), bank.config()
    bank.during = how
    try:
        out = start(graph, config)
    except Killed:
        out = {}
    finally:
        bank.during = lambda: None
    return Started(bank=bank, graph=graph, config=config, out=out)


def posted(bank: Bank) -> list[Any]:
    return [(row["attempt"], float(row["amount"])) for row in bank.rows("select * from books.entry")]


@pytest.mark.parametrize("name", CLASSES)
def test_a_cut_off_write_is_reserved_and_nothing_more(bank: Bank, name: str) -> None:
    run = cut_off(bank, name)
    (effect,) = run.effects()
    assert (effect["status"], effect["attempt"], effect["result"]) == ("reserved", 1, None)
    assert run.kinds[-1] == "effect.reserved"


@every_way
def test_a_transactional_write_left_nothing_and_runs_again(bank: Bank) -> None:
    run = cut_off(bank, "post")
    assert posted(bank) == []
    assert texts(run.resume()) == ['{"posted": 5.0}']
    assert posted(bank) == [(2, 5.0)]
    assert run.effects()[0]["status"] == "settled"


@every_way
def test_an_idempotent_write_runs_again_with_the_same_key(bank: Bank) -> None:
    run = cut_off(bank, "renew")
    run.resume()
    assert len(bank.ran) == 2
    assert len({key for *_, key in bank.ran}) == 1
    assert run.effects()[0]["attempt"] == 2


def test_a_policy_can_say_that_a_write_is_idempotent(bank: Bank) -> None:
    from bank import POLICY

    policy = POLICY.replace("wire: {effect: write", "wire: {effect: write, idempotent: true")
    bank.wired = False
    bank.during = crash
    graph, config = bank.graph([call("wire", amount=5)], policy=policy), bank.config()
    with pytest.raises(Killed):
        start(graph, config)
    bank.during = lambda: None
    bank.runtime.resume(graph, config["configurable"]["thread_id"])
    assert len({key for *_, key in bank.ran}) == 1


@every_way
def test_what_the_other_side_knows_is_believed(bank: Bank) -> None:
    run = cut_off(bank, "wire")
    run.resume()
    assert bank.amounts("wire") == [5]
    assert run.effects()[0]["result"] == {"found": bank.ran[0][2]}


@every_way
def test_what_the_other_side_never_saw_runs_again(bank: Bank) -> None:
    run = cut_off(bank, "wire")
    bank.wired = False
    run.resume()
    assert bank.amounts("wire") == [5, 5]
    assert [row["attempt"] for row in run.effects()] == [2]


@every_way
@pytest.mark.parametrize("how", [crash, fail])
def test_otherwise_a_person_is_asked_and_nothing_runs_until_then(bank: Bank, how: Callable[[], None]) -> None:
    run = cut_off(bank, "pay", how)
    for _ in range(3):
        run.resume()
    assert bank.amounts() == [5]
    assert (run.asked.kind, run.asked.allowed) == ("outcome", ("done", "retry", "give_up"))
    assert run.effects()[0]["status"] == "unknown"


@every_way
def test_done_settles_it_with_the_persons_name(bank: Bank) -> None:
    run = cut_off(bank, "pay", fail)
    run.decide("done", reason="seen on the statement")
    assert texts(run.resume()) == ['{"settled_by": "boss", "note": "seen on the statement"}']
    assert bank.amounts() == [5]
    assert run.effects()[0]["status"] == "settled"


@every_way
def test_retry_runs_it_once_more_with_the_same_key(bank: Bank) -> None:
    run = cut_off(bank, "pay", fail)
    run.decide("retry")
    run.resume()
    run.resume()
    assert bank.amounts() == [5, 5]
    assert len({key for *_, key in bank.ran}) == 1


def test_a_retry_that_is_cut_off_asks_anew(bank: Bank) -> None:
    run = cut_off(bank, "pay", fail)
    first = run.decide("retry")
    bank.during = fail
    run.resume()
    assert run.asked.id != first.id
    assert bank.amounts() == [5, 5]


@every_way
@pytest.mark.parametrize("name", ["pay", "wire"])
def test_give_up_never_runs_it_again(bank: Bank, name: str) -> None:
    bank.wired = False
    run = cut_off(bank, name, fail)
    run.decide("give_up", reason="we will not")
    assert texts(run.resume()) == ["given up by boss"]
    run.resume()
    assert bank.amounts(name) == [5]
    assert run.effects()[0]["status"] == "abandoned"


def test_an_outcome_that_turns_up_settles_what_people_were_asked_about(bank: Bank) -> None:
    bank.wired = False
    run = cut_off(bank, "wire", fail)
    bank.wired = True
    run.decide("retry")
    run.resume()
    assert bank.amounts("wire") == [5]
    assert run.effects()[0]["status"] == "settled"


def test_an_outcome_cannot_be_approved_or_edited(bank: Bank) -> None:
    from stateward import DecisionRefused

    run = cut_off(bank, "pay", fail)
    for decision in ("approve", "edit", "respond"):
        with pytest.raises(DecisionRefused, match="cannot be answered here"):
            run.decide(decision, reason="x", arguments={"amount": 1})
    assert run.asked.status == "pending"


def test_an_error_of_a_transactional_write_is_told_to_the_planner(bank: Bank) -> None:
    run = cut_off(bank, "post", fail)
    assert texts(run.out) == ["TimeoutError: the other side did not answer"]
    assert run.effects()[0]["status"] == "failed"
    assert posted(bank) == []


def test_an_error_of_an_idempotent_write_is_not_taken_for_nothing_happened(bank: Bank) -> None:
    run = cut_off(bank, "renew", fail)
    assert len({key for *_, key in bank.ran}) == 1
    assert (run.asked.kind, run.effects()[0]["status"]) == ("outcome", "unknown")


def test_a_tool_that_says_nothing_happened_asks_nobody(bank: Bank) -> None:
    run = bank.run([call("wire", amount=13)])
    assert texts(run.out) == ["the other side refused it"]
    assert run.effects()[0]["status"] == "failed"


def test_an_answer_that_cannot_be_read_is_not_taken_for_nothing_happened(bank: Bank) -> None:
    class Answer(BaseModel):
        reference: str

    def misread() -> None:
        Answer.model_validate({"ref": "4711"})

    run = cut_off(bank, "pay", misread)
    assert run.asked.kind == "outcome"


def test_a_transaction_without_a_settlement_leaves_nothing(bank: Bank) -> None:
    run = cut_off(bank, "post")
    assert posted(bank) == []
    assert run.effects()[0]["status"] == "reserved"


def test_a_settled_write_never_runs_again_however_often_it_is_resumed(bank: Bank) -> None:
    run = bank.run([call("pay", amount=5), call("post", amount=6)])
    for _ in range(3):
        run.resume()
        after = run.graph.update_state(run.config, {}, as_node="approve")
        run.graph.invoke(None, after)
    assert bank.amounts() == [5]
    assert posted(bank) == [(1, 6.0)]


BROKEN = "a\0b\ud800c\\u0000"  # a NUL, half a character, and text that only looks like a NUL


@pytest.mark.parametrize("name", CLASSES)
def test_a_result_with_text_that_postgres_refuses_is_kept(
    bank: Bank, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its receipt would be lost, and with it what is known of the call: it would be made again, at each resume."""

    def does(tool: str, amount: float, effect: Effect) -> dict[str, Any]:
        bank.ran.append((tool, amount, effect.key))
        return {"posted" if tool == "post" else "done": BROKEN}

    monkeypatch.setattr(bank, "took_effect", does)
    run = bank.run([call(name, amount=5)])
    assert len(bank.ran) == 1
    assert run.effects()[0]["status"] == "settled"
    if name != "post":  # which settles with a text of its own
        assert run.effects()[0]["result"] == {"done": "a\ufffdb\ufffdc\\u0000"}


@pytest.mark.parametrize("name", ["pay", "post"])
def test_an_error_with_such_text_is_kept(bank: Bank, name: str) -> None:
    def fail() -> None:
        raise TimeoutError(BROKEN)

    run = cut_off(bank, name, fail)
    assert "a\ufffdb\ufffdc" in run.effects()[0]["error"]
    assert [one.kind for one in run.waiting] == (["outcome"] if name == "pay" else [])


def test_two_calls_with_one_id_are_one_call(bank: Bank) -> None:
    from stateward.testing import proposes

    message = proposes(call("pay", amount=5), call("pay", amount=6))
    message.tool_calls[1]["id"] = message.tool_calls[0]["id"]
    bank.run(message)
    assert bank.amounts() == [5]


@every_way
def test_two_calls_with_one_id_act_once_and_leave_a_thread_that_goes_on(bank: Bank) -> None:
    from stateward.testing import proposes

    message = proposes(call("pay", amount=5), call("pay", amount=6))
    message.tool_calls[1]["id"] = message.tool_calls[0]["id"]
    graph, config = bank.graph(message), bank.config()
    start(graph, config)
    run = Started(bank=bank, graph=graph, config=config, out={})
    run.resume()
    assert run.waiting == []
    assert bank.amounts() == [5]
    # What a graph of a team's own answers does not come by the wards.
    assert bank.runtime.find_thread(run.thread).status == ("answered" if bank.way.answers else "open")


@every_way
def test_what_the_other_side_knows_by_now_leaves_no_question_open(bank: Bank) -> None:
    bank.wired = False
    run = cut_off(bank, "wire", fail)
    first = run.asked
    assert first.kind == "outcome"
    bank.wired = True
    run.resume()
    if run.waiting:  # a workflow waits for the person whom it has asked
        assert run.effects()[0]["status"] == "unknown"
        run.decide("retry")
        run.resume()
    assert run.waiting == []
    assert bank.amounts("wire") == [5]
    assert run.effects()[0]["result"] == {"found": bank.ran[0][2]}
    assert bank.runtime.verify_audit().intact


def test_a_second_worker_leaves_a_living_one_alone(bank: Bank, settings: Settings) -> None:
    inside, go_on = Event(), Event()

    def wait() -> None:
        inside.set()
        assert go_on.wait(20)

    graph, config = bank.graph([call("renew", amount=5)]), bank.config()
    bank.during = wait
    with Runtime.open(settings=settings) as second, ThreadPoolExecutor() as pool:
        # The tool's body blocks the first runtime's loop, as a long computation would.
        running = pool.submit(start, graph, config)
        assert inside.wait(20)
        other = bank.graph([call("renew", amount=5)], runtime=second)
        with pytest.raises(ThreadError, match="being run by another worker"):
            second.resume(other, config["configurable"]["thread_id"])
        go_on.set()
        running.result(20)
    assert bank.amounts("renew") == [5]


def test_a_second_worker_takes_over_from_a_dead_one(bank: Bank, settings: Settings, database_url: str) -> None:
    with Runtime.open(settings=settings) as dying:
        graph = bank.graph([call("pay", amount=5)], runtime=dying)
        bank.during = crash
        run = Started(bank=bank, graph=bank.graph([call("pay", amount=5)]), config=bank.config(), out={})
        with pytest.raises(Killed):
            start(graph, run.config)
        bank.during = lambda: None
    run.resume()
    assert run.asked.kind == "outcome"
    assert bank.amounts() == [5]


def test_a_worker_whose_sign_of_life_was_lost_shows_it_again(bank: Bank, settings: Settings) -> None:
    bank.run([call("pay", amount=1)])
    locks = "select pid from pg_locks where locktype = 'advisory' and classid = 21335"
    (lost,) = bank.rows(locks)
    bank.rows("select pg_terminate_backend(%s)", lost["pid"])
    bank.run([call("pay", amount=2)])
    (held,) = bank.rows(locks)
    assert held["pid"] != lost["pid"]


def test_a_worker_that_was_taken_over_neither_settles_nor_goes_on(bank: Bank) -> None:
    graph, config = bank.graph([call("renew", amount=5)]), bank.config()
    taken = "update stateward.effect set attempt = 2, worker = 0"
    bank.during = lambda: bank.rows(taken) and None
    with pytest.raises(ThreadError, match="taken over"):
        start(graph, config)
    assert bank.rows("select status, result from stateward.effect") == [{"status": "reserved", "result": None}]


def test_a_transaction_of_a_worker_that_was_taken_over_is_rolled_back(bank: Bank) -> None:
    graph, config = bank.graph([call("post", amount=5)]), bank.config()
    bank.during = lambda: bank.rows("update stateward.effect set attempt = 2, worker = 0") and None
    with pytest.raises(ThreadError, match="taken over"):
        start(graph, config)
    assert posted(bank) == []


async def test_a_cancelled_run_leaves_the_outcome_to_a_person(async_runtime: Any, database_url: str) -> None:
    bank = Bank(runtime=async_runtime, url=database_url)
    inside = asyncio.Event()

    @tool
    async def pay(amount: float) -> str:
        """Pay somebody."""
        bank.ran.append(("pay", amount, ""))
        inside.set()
        await asyncio.sleep(60)
        return "paid"

    graph = _only(bank, pay)
    config = await bank.config("cancelled")
    running = asyncio.create_task(graph.ainvoke({"messages": [("user", "go")]}, config))
    await asyncio.wait_for(inside.wait(), 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await async_runtime.resume(graph, "cancelled")
    (asked,) = await async_runtime.approvals()
    assert asked.kind == "outcome"
    await async_runtime.decide(asked, "done", by=BOSS)
    await async_runtime.resume(graph, "cancelled")
    assert bank.amounts() == [5]


@pytest.mark.parametrize("again", [True, False], ids=["same key", "person"])
async def test_what_a_cancelled_run_left_is_found_by_another_worker(
    async_runtime: Any, database_url: str, again: bool
) -> None:
    """The worker whose run was cancelled lives on, and does not run it any more."""
    bank = Bank(runtime=async_runtime, url=database_url)
    inside = asyncio.Event()

    @tool(idempotent=again)
    async def pay(amount: float, effect: Effect) -> str:
        """Pay somebody."""
        bank.ran.append(("pay", amount, effect.key))
        if not inside.is_set():
            inside.set()
            await asyncio.sleep(60)
        return "paid"

    config = await bank.config("cancelled")
    running = asyncio.create_task(_only(bank, pay).ainvoke({"messages": [("user", "go")]}, config))
    await asyncio.wait_for(inside.wait(), 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with AsyncRuntime.connect(settings=async_runtime.settings) as other:
        await other.resume(_only(Bank(runtime=other, url=database_url), pay), "cancelled")
        asked = [one.kind for one in await other.approvals()]
    assert asked == ([] if again else ["outcome"])
    assert len(bank.ran) == (2 if again else 1)
    assert len({key for _, _, key in bank.ran}) == 1


async def test_a_cancelled_run_does_not_let_go_of_a_thread_that_still_works(
    async_runtime: Any, database_url: str
) -> None:
    bank = Bank(runtime=async_runtime, url=database_url)
    inside, go_on = Event(), Event()

    async def ask_other_side(arguments: Any, key: str) -> Any:
        return {"found": key} if bank.ran else None

    @tool(probe=ask_other_side)
    def wire(amount: float, effect: Effect) -> str:
        """Wire money: a blocking function, which nobody can stop."""
        inside.set()
        assert go_on.wait(20)
        bank.ran.append(("wire", amount, effect.key))
        return "wired"

    graph = _only(bank, wire)
    await bank.config("cancelled")
    config = async_runtime.config("cancelled")
    running = asyncio.create_task(graph.ainvoke({"messages": [("user", "go")]}, config))
    assert await asyncio.to_thread(inside.wait, 20)
    running.cancel()
    asyncio.get_running_loop().call_later(0.3, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    await async_runtime.resume(graph, "cancelled")
    assert bank.amounts("wire") == [5]


def _only(bank: Bank, one: Any) -> Any:
    others = [other for other in bank.tools() if other.name != one.name]
    from langchain_core.messages import AIMessage

    from bank import POLICY
    from stateward.testing import proposes

    said = [proposes(call(one.name, amount=5)), AIMessage("done")]
    return bank.flow([*others, one], POLICY, said).compile(bank.runtime)


def test_many_effects_at_once_in_a_fresh_process_show_one_sign_of_life(bank: Bank) -> None:
    # Made one after the other: LangChain silences a warning while it makes a tool, for all threads of the process.
    ready = [(bank.graph([call("pay", amount=at + 1)]), bank.config(f"at-once-{at}")) for at in range(4)]
    barrier = Barrier(4)

    def one(prepared: tuple[Any, Any]) -> dict[str, Any]:
        barrier.wait(20)
        return start(*prepared)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, ready))
    assert sorted(bank.amounts()) == [1, 2, 3, 4]
    assert len(bank.rows("select pid from pg_locks where locktype = 'advisory' and classid = 21335")) == 1


def test_a_person_decides_the_outcome_not_the_agent(bank: Bank) -> None:
    from stateward import DecisionRefused

    run = cut_off(bank, "pay", fail)
    with pytest.raises(DecisionRefused, match="only a person decides"):
        run.decide("retry", by=Principal("bot", kind="agent"))


def test_plain_a_cut_off_write_runs_again_falls() -> None:
    bank = PlainBank(during=crash)
    agent, config = bank.agent([call("wire", amount=5)]), thread()
    with pytest.raises(Killed):
        agent.invoke(GO, config, durability="sync")
    bank.during = lambda: None
    agent.invoke(None, config, durability="sync")
    assert bank.ran == [("wire", 5), ("wire", 5)]


def test_plain_a_failing_sibling_has_its_neighbour_run_again_falls() -> None:
    def fail_once() -> None:
        if bank.ran[-1][0] == "renew" and len(bank.ran) < 3:
            raise TimeoutError("the other side did not answer")

    bank = PlainBank(during=fail_once)
    agent, config = bank.agent([call("renew", amount=5)]), thread()
    with pytest.raises(TimeoutError):
        agent.invoke(GO, config)
    with pytest.raises(TimeoutError):
        agent.invoke(None, config)
    assert bank.ran == [("renew", 5), ("renew", 5)]
