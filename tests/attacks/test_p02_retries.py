"""P2: a retry, a timeout, a cancelled run and a sibling that fails never make two effects of one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_tool_call
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException

from bank import BOSS, POLICY, Bank, Killed, Started, start, texts
from stateward import AsyncRuntime, Effect, Principal, call, tool
from stateward.errors import ConfigurationError
from stateward.model.effect import Retry
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

SOON = timedelta(milliseconds=50)
AGAIN = Retry(on=(TimeoutError,), attempts=3, wait=0)


def run_with(bank: Bank, one: Any, *, policy: str = POLICY) -> Started:
    """A run that calls this tool, which stands in for the bank's own of that name."""
    others = [other for other in bank.tools() if other.name != one.name]
    said = [proposes(call(one.name, amount=5)), AIMessage("done")]
    graph = bank.flow([*others, one], policy, said).compile(bank.runtime)
    config = bank.config()
    return Started(bank=bank, graph=graph, config=config, out=start(graph, config))


def failing(bank: Bank, times: int, error: type[Exception] = TimeoutError) -> Callable[[Effect, float], None]:
    """Takes effect where the key is new, and fails so often before it can say so."""
    left = [error("no answer")] * times

    def take_effect(effect: Effect, amount: float) -> None:
        if effect.key not in {key for *_, key in bank.ran}:
            bank.ran.append(("renew", amount, effect.key))
        if left:
            raise left.pop()

    return take_effect


def test_each_attempt_of_a_retry_is_in_the_journal_with_one_key(bank: Bank) -> None:
    take_effect = failing(bank, 2)

    @tool(idempotent=True, retry=AGAIN)
    async def renew(amount: float, effect: Effect) -> int:
        """Renew a contract."""
        take_effect(effect, amount)
        return effect.attempt

    run = run_with(bank, renew)
    assert (texts(run.out), bank.amounts("renew")) == (["3"], [5])
    (effect,) = run.effects()
    assert (effect["status"], effect["attempt"]) == ("settled", 3)
    told = [entry for entry in bank.runtime.timeline(run.thread) if entry.kind.startswith("effect.")]
    assert [(entry.kind, entry.detail["attempt"]) for entry in told] == [
        ("effect.reserved", 1),
        ("effect.restarted", 2),
        ("effect.restarted", 3),
        ("effect.settled", 3),
    ]


def test_a_retry_that_is_used_up_asks_a_person(bank: Bank) -> None:
    take_effect = failing(bank, 9)

    @tool(idempotent=True, retry=AGAIN)
    async def renew(amount: float, effect: Effect) -> None:
        """Renew a contract."""
        take_effect(effect, amount)

    run = run_with(bank, renew)
    assert (run.asked.kind, bank.amounts("renew")) == ("outcome", [5])
    assert "failed (TimeoutError: no answer)" in run.asked.description
    run.decide("done", reason="seen")
    run.resume()
    assert (run.effects()[0]["status"], bank.amounts("renew")) == ("settled", [5])


def test_a_transactional_write_that_is_made_again_is_written_once(bank: Bank) -> None:
    left = [TimeoutError("no answer")] * 2

    @tool(transactional=True, retry=AGAIN)
    async def post(amount: float, effect: Effect) -> None:
        """Post to the books."""
        async with effect.transaction() as tx:
            insert = "insert into books.entry (key, attempt, amount) values (%s, %s, %s)"
            await tx.connection.execute(insert, (effect.key, effect.attempt, amount))
            if left:
                raise left.pop()
            tx.settle({"posted": amount})

    run = run_with(bank, post)
    assert [row["attempt"] for row in bank.rows("select attempt from books.entry")] == [3]
    assert run.effects()[0]["status"] == "settled"


def test_a_plain_write_is_made_again_only_where_nothing_happened(bank: Bank) -> None:
    left = [ToolException("busy")] * 2

    @tool(retry=Retry(on=(ToolException,), wait=0))
    async def pay(amount: float, effect: Effect) -> str:
        """Pay somebody."""
        if left:
            raise left.pop()
        bank.ran.append(("pay", amount, effect.key))
        return "paid"

    assert texts(run_with(bank, pay).out) == ["paid"]
    assert bank.amounts() == [5]


@pytest.mark.parametrize("error", [TimeoutError, Exception])
def test_any_other_retry_of_a_plain_write_is_refused_before_it_runs(bank: Bank, error: type[Exception]) -> None:
    @tool(retry=Retry(on=(ToolException, error)))
    async def pay(amount: float) -> None:
        """Pay somebody."""

    with pytest.raises(ConfigurationError, match=f"'pay' may not be called again after {error.__name__}"):
        run_with(bank, pay)


def test_the_policy_can_make_a_retry_safe(bank: Bank) -> None:
    left = [TimeoutError()]

    @tool(retry=AGAIN)
    async def wire(amount: float) -> str:
        """Wire money."""
        if left:
            raise left.pop()
        return "wired"

    policy = POLICY.replace("wire: {effect: write", "wire: {effect: write, idempotent: true")
    assert texts(run_with(bank, wire, policy=policy).out) == ["wired"]


def test_a_write_that_takes_too_long_is_of_unknown_outcome(bank: Bank) -> None:
    @tool(timeout=SOON)
    async def pay(amount: float, effect: Effect) -> None:
        """Pay somebody, and never hear of it."""
        bank.ran.append(("pay", amount, effect.key))
        await asyncio.Event().wait()

    run = run_with(bank, pay)
    assert (run.asked.kind, run.effects()[0]["status"]) == ("outcome", "unknown")
    assert "within 0.05 seconds" in run.asked.description
    for _ in range(2):
        run.resume()
    assert bank.amounts() == [5]


def test_a_timeout_that_the_other_side_knows_of_is_settled(bank: Bank) -> None:
    async def ask_other_side(arguments: Any, key: str) -> Any:
        return {"found": key}

    @tool(timeout=SOON, probe=ask_other_side)
    async def wire(amount: float, effect: Effect) -> None:
        """Wire money, and never hear of it."""
        bank.ran.append(("wire", amount, effect.key))
        await asyncio.Event().wait()

    run = run_with(bank, wire)
    assert (run.effects()[0]["status"], run.waiting) == ("settled", [])
    assert bank.amounts("wire") == [5]


def test_a_blocking_tool_has_no_timeout_that_would_let_go_of_it() -> None:
    with pytest.raises(ConfigurationError, match="a thread cannot be stopped"):

        @tool(timeout="1s")
        def wire(amount: float) -> None:
            """Wire money."""


async def test_a_cancelled_run_keeps_what_its_thread_has_done(async_runtime: AsyncRuntime, database_url: str) -> None:
    bank = Bank(runtime=async_runtime, url=database_url)  # pyright: ignore[reportArgumentType]
    inside, go_on = Event(), Event()

    @tool
    def wire(amount: float, effect: Effect) -> str:
        """Wire money: a blocking function, which nobody can stop."""
        inside.set()
        assert go_on.wait(20)
        bank.ran.append(("wire", amount, effect.key))
        return "wired"

    said = [proposes(call("wire", amount=5)), AIMessage("done")]
    others = [one for one in bank.tools() if one.name != "wire"]
    graph = bank.flow([*others, wire], POLICY, said).compile(async_runtime)
    config: Any = await bank.config("cancelled")
    running = asyncio.create_task(graph.ainvoke({"messages": [("user", "go")]}, config))
    assert await asyncio.to_thread(inside.wait, 20)
    running.cancel()
    asyncio.get_running_loop().call_later(0.2, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    out = await async_runtime.resume(graph, "cancelled")
    assert texts(out) == ["wired"]
    assert (bank.amounts("wire"), await async_runtime.approvals()) == ([5], [])


async def test_a_sibling_that_fails_leaves_the_outcome_to_a_person(
    async_runtime: AsyncRuntime, database_url: str
) -> None:
    """LangGraph cancels the other calls of a turn when one of them raises."""
    bank = Bank(runtime=async_runtime, url=database_url)  # pyright: ignore[reportArgumentType]
    inside, fails = asyncio.Event(), [True]

    @tool
    async def pay(amount: float, effect: Effect) -> str:
        """Pay somebody."""
        bank.ran.append(("pay", amount, effect.key))
        inside.set()
        await asyncio.Event().wait()
        return "paid"

    @wrap_tool_call  # pyright: ignore[reportArgumentType,reportCallIssue,reportUntypedFunctionDecorator]
    async def breaks(request: Any, handler: Any) -> Any:
        if request.tool_call["name"] == "look" and fails:
            await inside.wait()
            fails.clear()
            raise RuntimeError("this one fails")
        return await handler(request)

    look = next(one for one in bank.tools() if one.name == "look")
    unused = ("  renew", "  wire", "  post")
    policy = parse_policy("\n".join(line for line in POLICY.splitlines() if not line.startswith(unused)))
    wards = async_runtime.middleware(policy=policy, tools=[pay, look], principal="bot")
    said = [proposes(call("pay", amount=5), call("look", what="x")), AIMessage("done")]
    agent = create_agent(
        ScriptedModel(script=said),
        [pay, look],
        middleware=[breaks, wards],
        checkpointer=async_runtime.checkpointer,
        store=async_runtime.store,
    )
    bot = Principal("bot", kind="agent")
    await async_runtime.thread("sibling", principal=bot, purpose="bank", subject="customer:17", graph="bot")
    config: Any = async_runtime.config("sibling")
    with pytest.raises(RuntimeError, match="this one fails"):
        await agent.ainvoke({"messages": [("user", "go")]}, config)
    await async_runtime.resume(agent, "sibling")
    (asked,) = await async_runtime.approvals()
    assert (asked.kind, bank.amounts()) == ("outcome", [5])
    await async_runtime.decide(asked, "done", by=BOSS)
    out = await async_runtime.resume(agent, "sibling")
    assert (bank.amounts(), len(texts(out))) == ([5], 2)


def refusing_later(bank: Bank, first: type[BaseException]) -> Any:
    """A renewal that takes effect and cannot say so, and after that says that it does nothing."""

    @tool(idempotent=True)
    async def renew(amount: float, effect: Effect) -> int:
        """Renew a contract."""
        if effect.attempt > 1:
            raise ToolException("the other side is closed")
        bank.ran.append(("renew", amount, effect.key))
        raise first

    return renew


def test_an_attempt_that_did_nothing_says_nothing_of_the_one_before_it(bank: Bank) -> None:
    run = run_with(bank, refusing_later(bank, TimeoutError))
    assert (run.asked.kind, run.effects()[0]["status"]) == ("outcome", "unknown")
    assert bank.amounts("renew") == [5]
    run.decide("done")
    run.resume()
    assert (run.effects()[0]["status"], bank.amounts("renew")) == ("settled", [5])


def test_nor_of_the_one_that_a_crash_has_cut_off(bank: Bank) -> None:
    one = refusing_later(bank, Killed)
    others = [other for other in bank.tools() if other.name != one.name]
    graph = bank.flow([*others, one], POLICY, [proposes(call("renew", amount=5))]).compile(bank.runtime)
    run = Started(bank=bank, graph=graph, config=bank.config(), out={})
    with pytest.raises(Killed):
        start(graph, run.config)
    run.resume()
    assert (run.asked.kind, run.effects()[0]["status"]) == ("outcome", "unknown")
    assert bank.amounts("renew") == [5]


def test_a_first_attempt_that_did_nothing_has_failed(bank: Bank) -> None:
    @tool(idempotent=True)
    async def renew(amount: float, effect: Effect) -> int:
        """Renew a contract."""
        raise ToolException("the other side is closed")

    run = run_with(bank, renew)
    assert ([one["status"] for one in run.effects()], texts(run.out)) == (["failed"], ["the other side is closed"])
