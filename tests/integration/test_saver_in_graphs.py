"""LangGraph's own features on our checkpointer, each beside the same graph on `InMemorySaver`.

A scenario is played on both, by the sync and by the async methods, on the runtime's loop and on another one. What it
returns, the effects of its nodes, and every checkpoint it left have to be equal.
"""

from __future__ import annotations

import asyncio
import dataclasses
import operator
import random
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import psycopg
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.types import Command, Overwrite, RetryPolicy, Send, StateUpdate, interrupt
from pydantic import BaseModel

from stateward import AsyncRuntime, Runtime, Settings, call
from stateward.errors import ConfigurationError, ThreadBusy, ThreadErased
from stateward.testing.models import ScriptedModel, proposes

Saver = BaseCheckpointSaver[Any]
IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")


class Graph:
    """A compiled graph, by its sync or by its async methods."""

    def __init__(self, compiled: Any, *, sync: bool) -> None:
        self.compiled, self.sync = compiled, sync

    async def invoke(self, given: Any, config: RunnableConfig, **options: Any) -> Any:
        if self.sync:
            return await asyncio.to_thread(self.compiled.invoke, given, config, **options)
        return await self.compiled.ainvoke(given, config, **options)

    async def stream(self, given: Any, config: RunnableConfig, **options: Any) -> list[Any]:
        if self.sync:
            return await asyncio.to_thread(lambda: list(self.compiled.stream(given, config, **options)))
        return [one async for one in self.compiled.astream(given, config, **options)]

    async def state(self, config: RunnableConfig, **options: Any) -> Any:
        if self.sync:
            return await asyncio.to_thread(self.compiled.get_state, config, **options)
        return await self.compiled.aget_state(config, **options)

    async def history(self, config: RunnableConfig, **options: Any) -> list[Any]:
        if self.sync:
            return await asyncio.to_thread(lambda: list(self.compiled.get_state_history(config, **options)))
        return [one async for one in self.compiled.aget_state_history(config, **options)]

    async def update(self, config: RunnableConfig, values: Any, as_node: str | None = None) -> RunnableConfig:
        if self.sync:
            return await asyncio.to_thread(self.compiled.update_state, config, values, as_node)
        return await self.compiled.aupdate_state(config, values, as_node)

    async def bulk(self, config: RunnableConfig, steps: Sequence[Sequence[StateUpdate]]) -> RunnableConfig:
        if self.sync:
            return await asyncio.to_thread(self.compiled.bulk_update_state, config, steps)
        return await self.compiled.abulk_update_state(config, steps)


@dataclass
class Stage:
    """Where a scenario plays: a saver, a way to call graphs, and what the nodes did."""

    saver: Saver
    sync: bool
    threads: list[str] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)

    def graph(self, built: Any, **options: Any) -> Graph:
        compiled = built.compile(checkpointer=self.saver, **options) if isinstance(built, StateGraph) else built
        return Graph(compiled, sync=self.sync)

    def thread(self, name: str = "t", **more: Any) -> RunnableConfig:
        self.threads.append(name)
        return {"configurable": {"thread_id": name}, **more}

    async def rows(self) -> list[Any]:
        """Every checkpoint of the threads by namespace, newest first."""
        found: dict[tuple[str, str], list[Any]] = {}
        for thread in self.threads:
            config: RunnableConfig = {"configurable": {"thread_id": thread}}
            for one in await asyncio.to_thread(lambda config=config: list(self.saver.list(config))):
                ns = one.config["configurable"]["checkpoint_ns"]
                versions = {name: int(str(at).split(".")[0]) for name, at in one.checkpoint["channel_versions"].items()}
                kept = (one.checkpoint["channel_values"], versions, sorted(one.checkpoint["versions_seen"]))
                ids = (one.checkpoint["id"], one.parent_config and one.parent_config["configurable"]["checkpoint_id"])
                found.setdefault((thread, ns), []).append((ids, kept, one.metadata, one.pending_writes))
        return sorted(([thread, plain(ns), plain(rows)] for (thread, ns), rows in found.items()), key=repr)


def plain(value: Any, names: dict[str, str] | None = None) -> Any:
    """What can be compared: ids are replaced by the order in which they appear, objects by their type and fields."""
    known = {} if names is None else names
    match value:
        case str():
            return IDS.sub(lambda found: known.setdefault(found.group(), f"#{len(known) + 1}"), value)
        case BaseMessage() | BaseModel():
            return (type(value).__name__, plain(value.model_dump(), known))
        case Mapping():
            ordered = sorted(value, key=str)
            return {plain(key, known): plain(_tame(key, value[key]), known) for key in ordered}
        case tuple() if hasattr(value, "_fields"):
            named = {name: one for name, one in value._asdict().items() if name != "created_at"}
            return (type(value).__name__, plain(named, known))
        case list() | tuple():
            return type(value)(plain(one, known) for one in value)
        case set() | frozenset():
            return (type(value).__name__, sorted(map(repr, value)))
        case BaseException():
            return plain(repr(value), known)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
            return (type(value).__name__, plain(fields, known))
        case Send():
            return ("Send", value.node, plain(value.arg, known))
        case _:
            return value


def _tame(key: Any, value: Any) -> Any:
    # A pair of counters, which one saver keeps as a tuple and another as a list.
    return {name: list(pair) for name, pair in value.items()} if key == "counters_since_delta_snapshot" else value


Scenario = Callable[[Stage], Awaitable[Any]]


@dataclass
class Both:
    """Plays a scenario on `InMemorySaver` and on ours."""

    saver: Saver
    sync: bool

    async def __call__(self, scenario: Scenario, *, rows: bool = True) -> None:
        control, ours = Stage(InMemorySaver(), self.sync), Stage(self.saver, self.sync)
        expected, found = plain(await scenario(control)), plain(await scenario(ours))
        assert found == expected
        assert sorted(ours.effects) == sorted(control.effects)
        if rows:
            assert await ours.rows() == await control.rows()


WAYS = ["sync", "async", "async on another loop"]


@pytest.fixture
def typed_runtime(settings: Settings) -> Iterator[Runtime]:
    with Runtime.open(settings=settings, types=TYPES) as opened:
        yield opened


@pytest.fixture
async def typed_async_runtime(settings: Settings) -> AsyncIterator[AsyncRuntime]:
    async with AsyncRuntime.connect(settings=settings, types=TYPES) as opened:
        yield opened


@pytest.fixture(params=WAYS)
def both(request: pytest.FixtureRequest) -> Both:
    name = "typed_async_runtime" if request.param == "async" else "typed_runtime"
    return Both(request.getfixturevalue(name).checkpointer, sync=request.param == "sync")


class Notes(BaseModel):
    text: str
    at: datetime
    tags: set[str] = set()


@dataclass
class Point:
    x: int
    y: int


@dataclass(frozen=True)
class Place:
    name: str
    at: Point


class Form(BaseModel):
    log: Annotated[list[str], operator.add] = []
    note: Notes | None = None
    messages: Annotated[list[AnyMessage], add_messages] = []


# What state may hold beside plain values and LangChain's own, as the runtime is told.
TYPES = [Notes, Point, Place, Form]


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def chain(*names: str, effects: list[str] | None = None, schema: type = Log) -> StateGraph[Any]:
    """Nodes that follow each other, each of which adds its name."""
    builder = StateGraph(schema)
    for before, name in zip([START, *names], names, strict=False):
        builder.add_node(name, adding(name, effects if effects is not None else []))
        builder.add_edge(before, name)
    return builder


def adding(name: str, effects: list[str]) -> Callable[[Any], Any]:
    def node(state: Any) -> Any:
        effects.append(name)
        return {"log": [name]}

    return node


def asking(name: str, effects: list[str]) -> Callable[[Any], Any]:
    def node(state: Any) -> Any:
        effects.append(f"{name} asks")
        answer = interrupt({"from": name, "seen": len(state["log"])})
        effects.append(f"{name} heard {answer}")
        return {"log": [f"{name}:{answer}"]}

    return node


# --- state and history


async def test_state_and_history(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(chain("a", "b", "c")), stage.thread()
        empty = await graph.state(config)
        result = await graph.invoke({"log": ["in"]}, config)
        again = await graph.invoke({"log": ["more"]}, config)
        history = await graph.history(config)
        assert [one.values.get("log", []) for one in history][::-1][:6] == [
            [],
            ["in"],
            ["in", "a"],
            ["in", "a", "b"],
            ["in", "a", "b", "c"],
            ["in", "a", "b", "c"],
        ]
        by_id = [await graph.state(one.config) for one in history]
        assert [one.values for one in by_id] == [one.values for one in history]
        return [empty, result, again, await graph.state(config), history, by_id]

    await both(scenario)


async def test_history_is_filtered_and_limited(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph = stage.graph(chain("a", "b"))
        config = stage.thread(metadata={"customer": "c1", "run_id": "run-1"})
        await graph.invoke({"log": ["in"]}, config)
        await graph.invoke({"log": ["in"]}, {**config, "metadata": {"customer": "c2", "run_id": "run-2"}})
        whole = await graph.history(config)
        loops = await graph.history(config, filter={"source": "loop"})
        of_one = await graph.history(config, filter={"customer": "c1"})
        assert {one.metadata["customer"] for one in of_one} == {"c1"}
        both_keys = await graph.history(config, filter={"customer": "c2", "source": "input"})
        assert len(both_keys) == 1
        early = await graph.history(config, before=whole[2].config, limit=2)
        assert [one.config for one in early] == [one.config for one in whole[3:5]]
        none = await graph.history(config, filter={"customer": "nobody"})
        return [whole, loops, of_one, both_keys, early, none, await graph.history(config, limit=1)]

    await both(scenario)


async def test_threads_do_not_see_each_other(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, one, other = stage.graph(chain("a")), stage.thread("one"), stage.thread("other")
        await graph.invoke({"log": ["one"]}, one)
        await graph.invoke({"log": ["other"]}, other)
        await graph.invoke({"log": ["one again"]}, one)
        return [await graph.history(one), await graph.history(other)]

    await both(scenario)


async def test_a_thread_id_may_be_a_number_and_a_config_may_hold_anything(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph = stage.graph(chain("a", "b"))
        stage.thread("7")
        config: RunnableConfig = {
            "configurable": {"thread_id": 7, "number": 1, "text": "nul \x00 text", "object": threading.Event()},
            "metadata": {"flag": True, "ratio": 0.5, "words": ["a"], "nested": {"a": 1}},
            "tags": ["tag"],
        }
        await graph.invoke({"log": ["in"]}, config)
        found = await graph.state({"configurable": {"thread_id": 7}})
        assert found.values == {"log": ["in", "a", "b"]}
        return found.values, {**found.metadata}

    await both(scenario, rows=False)


async def test_a_node_reads_the_checkpoint_that_it_runs_from(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        seen: list[Any] = []
        config = stage.thread()

        def looks(state: Log) -> Any:
            found = stage.saver.get_tuple(config)
            assert found is not None
            seen.append((found.metadata["step"], found.checkpoint["channel_values"].get("log")))
            return {"log": ["looked"]}

        async def looks_async(state: Log) -> Any:
            return await asyncio.to_thread(looks, state)

        builder = StateGraph(Log)
        builder.add_node("a", looks if stage.sync else looks_async)
        builder.add_node("b", looks if stage.sync else looks_async)
        builder.add_edge(START, "a")
        builder.add_edge("a", "b")
        await stage.graph(builder).invoke({"log": ["in"]}, config, durability="sync")
        assert seen == [(0, ["in"]), (1, ["in", "looked"])]
        return seen

    await both(scenario)


# --- updates and time travel


async def test_updates_from_outside(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(chain("a", "b", "c"), interrupt_before=["b"]), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        first = await graph.update(config, {"log": ["by hand"]})
        seen = [await graph.state(config)]
        second = await graph.update(config, {"log": ["as b"]}, "b")
        seen.append(await graph.state(config))
        assert seen[-1].next == ("c",)
        result = await graph.invoke(None, config)
        assert result == {"log": ["in", "a", "by hand", "as b", "c"]}
        cleared = await graph.update(config, None, END)
        return [first, second, cleared, seen, result, await graph.history(config)]

    await both(scenario)


async def test_an_update_of_a_new_thread(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config, other = stage.graph(chain("a", "b", "c")), stage.thread(), stage.thread("other")
        await graph.update(config, {"log": ["as a"]}, "a")
        result = await graph.invoke(None, config)
        assert result == {"log": ["as a", "b", "c"]}
        steps = [
            [StateUpdate({"log": ["in"]}, "__input__")],
            [StateUpdate({"log": ["in"]}, "__start__")],
            [StateUpdate({"log": ["one"]}, "a")],
            [StateUpdate({"log": ["two"]}, "b"), StateUpdate({"log": ["three"]}, "b")],
        ]
        await graph.bulk(other, steps)
        return [result, await graph.invoke(None, other), await graph.history(config), await graph.history(other)]

    await both(scenario)


async def test_an_update_of_an_older_checkpoint_is_a_fork_that_goes_on(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(chain("a", "b", "c")), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        after_a = next(one for one in await graph.history(config) if one.next == ("b",))
        forked = await graph.update(after_a.config, {"log": ["fork"]}, "a")
        assert (await graph.state(config)).values == {"log": ["in", "a", "fork"]}
        result = await graph.invoke(None, forked)
        assert result == {"log": ["in", "a", "fork", "b", "c"]}
        again = await graph.update(after_a.config, {"log": ["second fork"]}, "a")
        result_again = await graph.invoke(None, config)
        assert result_again == {"log": ["in", "a", "second fork", "b", "c"]}
        more = await graph.invoke({"log": ["next turn"]}, config)
        older = await graph.state(forked)
        assert older.values == {"log": ["in", "a", "fork"]}
        return [forked, again, result, result_again, more, older, await graph.history(config)]

    await both(scenario)


async def test_a_checkpoint_is_copied_with_its_update(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(chain("a", "b", "c")), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        history = await graph.history(config)
        await graph.update(history[1].config, None, "__copy__")
        copied = await graph.state(config)
        await graph.update(history[2].config, [({"log": ["instead of b"]}, "b")], "__copy__")
        result = await graph.invoke(None, config)
        assert result == {"log": ["in", "a", "instead of b", "c"]}
        await graph.update(history[-1].config, None, "__copy__")
        return [copied, result, await graph.invoke(None, config), await graph.history(config)]

    await both(scenario)


async def test_time_travel_goes_on_from_an_older_checkpoint(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(chain("a", "b", "c", effects=stage.effects)), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        history = await graph.history(config)
        results = [await graph.invoke(None, one.config) for one in history]
        assert results == [{"log": ["in", "a", "b", "c"]}] * 5
        twice = await graph.invoke(None, history[2].config)
        result = await graph.invoke({"log": ["next turn"]}, config)
        assert result == {"log": ["in", "a", "b", "c", "next turn", "a", "b", "c"]}
        assert [one.values for one in (await graph.history(config))[-5:]] == [one.values for one in history]
        return [results, twice, result, await graph.history(config)]

    await both(scenario)


async def test_a_fork_is_resumed_with_another_answer(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        builder.add_node("a", adding("a", stage.effects))
        builder.add_node("ask", asking("ask", stage.effects))
        builder.add_node("b", adding("b", stage.effects))
        builder.add_edge(START, "a")
        builder.add_edge("a", "ask")
        builder.add_edge("ask", "b")
        graph, config = stage.graph(builder), stage.thread()
        await graph.invoke({"log": []}, config)
        asked = await graph.state(config)
        first = await graph.invoke(Command(resume="yes"), config)
        again = await graph.invoke(None, asked.config)
        forked = await graph.state(config)
        second = await graph.invoke(Command(resume="no"), config)
        assert (first["log"], second["log"]) == (["a", "ask:yes", "b"], ["a", "ask:no", "b"])
        before = await graph.update(asked.config, {"log": ["noted"]}, "a")
        third = [await graph.invoke(None, before), await graph.invoke(Command(resume="maybe"), config)]
        assert third[-1]["log"] == ["a", "noted", "ask:maybe", "b"]
        return [asked, first, again, forked, second, third, await graph.history(config)]

    await both(scenario)


# --- interrupts


async def test_an_interrupt_is_answered_by_value_and_by_id(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        builder.add_node("one", asking("one", stage.effects))
        builder.add_node("two", asking("two", stage.effects))
        builder.add_edge(START, "one")
        builder.add_edge("one", "two")
        graph, config = stage.graph(builder), stage.thread()
        asked = await graph.invoke({"log": []}, config)
        first = await graph.state(config)
        again = await graph.invoke(Command(resume={"an": "object"}), config)
        second = await graph.state(config)
        (question,) = second.interrupts
        result = await graph.invoke(Command(resume={question.id: "yes"}), config)
        assert result == {"log": ["one:{'an': 'object'}", "two:yes"]}
        return [asked, first, again, second, result, await graph.history(config)]

    await both(scenario)


async def test_parallel_interrupts_are_answered_one_after_the_other(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        for name in ("one", "two", "three"):
            builder.add_node(name, asking(name, stage.effects))
            builder.add_edge(START, name)
        graph, config = stage.graph(builder), stage.thread()
        await graph.invoke({"log": []}, config)
        asked = await graph.state(config)
        ids = {question.value["from"]: question.id for question in asked.interrupts}
        await graph.invoke(Command(resume={ids["two"]: "2"}), config)
        partly = await graph.state(config)
        with pytest.raises(RuntimeError, match="multiple pending interrupts"):
            await graph.invoke(Command(resume="which?"), config)
        result = await graph.invoke(Command(resume={ids["one"]: "1", ids["three"]: "3"}), config)
        assert result["log"] == ["one:1", "three:3", "two:2"]
        return [sorted(ids), partly.next, result, [one.values for one in await graph.history(config)]]

    await both(scenario)


async def test_several_questions_of_one_node(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def three(state: Log) -> Any:
            stage.effects.append("begins")
            return {"log": [interrupt("first?"), interrupt("second?"), interrupt("third?")]}

        builder = StateGraph(Log)
        builder.add_node("three", three)
        builder.add_edge(START, "three")
        graph, config = stage.graph(builder), stage.thread()
        seen = [await graph.invoke({"log": []}, config)]
        for answer in ("1", "2", "3"):
            seen.append(await graph.state(config))
            seen.append(await graph.invoke(Command(resume=answer), config))
        assert seen[-1] == {"log": ["1", "2", "3"]}
        return [seen, await graph.history(config)]

    await both(scenario)


async def test_an_answer_may_carry_an_update_and_a_way_to_go(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        builder.add_node("ask", asking("ask", stage.effects))
        builder.add_node("aside", adding("aside", stage.effects))
        builder.add_edge(START, "ask")
        graph, config, other = stage.graph(builder), stage.thread(), stage.thread("other")
        await graph.invoke({"log": []}, config)
        result = await graph.invoke(Command(resume="yes", update={"log": ["noted"]}, goto="aside"), config)
        await graph.invoke({"log": []}, other)
        went = await graph.invoke(Command(goto="aside", update={"log": ["noted"]}), other)
        return [result, went, await graph.history(config), await graph.history(other)]

    await both(scenario)


async def test_new_input_drops_a_question(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        builder.add_node("ask", asking("ask", stage.effects))
        builder.add_edge(START, "ask")
        graph, config = stage.graph(builder), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        again = await graph.invoke({"log": ["never mind"]}, config)
        result = await graph.invoke(Command(resume="yes"), config)
        assert result == {"log": ["in", "never mind", "ask:yes"]}
        return [again, result, await graph.history(config)]

    await both(scenario)


async def test_static_interrupts(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(chain("a", "b", "c", effects=stage.effects)), stage.thread()
        options = {"interrupt_before": ["b"], "interrupt_after": ["b"]}
        seen = [await graph.invoke({"log": ["in"]}, config, **options)]
        while (state := await graph.state(config)).next:
            seen += [state, await graph.invoke(None, config, **options)]
        assert seen[-1] == {"log": ["in", "a", "b", "c"]}
        assert stage.effects == ["a", "b", "c"]
        return [seen, await graph.history(config)]

    await both(scenario)


# --- branches


async def test_parallel_branches_meet(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        for name in ("start", "left", "right", "longer", "end"):
            builder.add_node(name, adding(name, stage.effects))
        builder.add_edge(START, "start")
        builder.add_edge("start", "left")
        builder.add_edge("start", "right")
        builder.add_edge("right", "longer")
        builder.add_edge(["left", "longer"], "end")
        graph, config = stage.graph(builder), stage.thread()
        # LangGraph hands over the barrier's own set, which later steps go on changing: only "sync" says which of them
        # have, with every saver that does not keep its checkpoints in memory.
        result = await graph.invoke({"log": []}, config, durability="sync")
        assert result["log"] == ["start", "left", "right", "longer", "end"]
        return [result, await graph.invoke({"log": ["again"]}, config, durability="sync"), await graph.history(config)]

    await both(scenario)


async def test_sends_fan_out(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def worker(state: Any) -> Any:
            stage.effects.append(f"worker {state['number']}")
            return {"log": [f"{state['number']} of {state['when'].isoformat()}"]}

        def spread(state: Log) -> list[Send]:
            return [Send("worker", {"number": number, "when": date(2026, 1, number + 1)}) for number in range(12)]

        builder = StateGraph(Log)
        builder.add_node("plan", adding("plan", stage.effects))
        builder.add_node("worker", worker)
        builder.add_node("end", adding("end", stage.effects))
        builder.add_edge(START, "plan")
        builder.add_conditional_edges("plan", spread, ["worker"])
        builder.add_edge("worker", "end")
        graph, config = stage.graph(builder), stage.thread()
        result = await graph.invoke({"log": []}, config)
        assert len(result["log"]) == 14
        history = await graph.history(config)
        before = next(one for one in history if one.next == ("worker",) * 12)
        return [result, history, await graph.invoke(None, before.config), await graph.history(config)]

    await both(scenario)


async def test_a_send_that_asks_keeps_its_siblings(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def worker(state: Any) -> Any:
            stage.effects.append(f"worker {state['number']}")
            answer = interrupt("sure?") if state["number"] == 1 else "done"
            return {"log": [f"{state['number']} {answer}"]}

        builder = StateGraph(Log)
        builder.add_node("worker", worker)
        builder.add_conditional_edges(
            START, lambda state: [Send("worker", {"number": n}) for n in range(3)], ["worker"]
        )
        graph, config = stage.graph(builder), stage.thread()
        await graph.invoke({"log": []}, config)
        waiting = await graph.state(config)
        result = await graph.invoke(Command(resume="yes"), config)
        assert result["log"] == ["0 done", "1 yes", "2 done"]
        assert sorted(stage.effects) == ["worker 0", "worker 1", "worker 1", "worker 2"]
        return [waiting, result, await graph.history(config)]

    await both(scenario)


async def test_a_deferred_node_waits_for_all_branches(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        for name in ("short", "long", "longer"):
            builder.add_node(name, adding(name, stage.effects))
        builder.add_node("last", adding("last", stage.effects), defer=True)
        builder.add_node("ask", asking("ask", stage.effects))
        for before, after in [
            (START, "short"),
            (START, "long"),
            ("long", "ask"),
            ("ask", "longer"),
            ("short", "last"),
            ("longer", "last"),
        ]:
            builder.add_edge(before, after)
        graph, config = stage.graph(builder), stage.thread()
        await graph.invoke({"log": []}, config)
        waiting = await graph.state(config)
        result = await graph.invoke(Command(resume="yes"), config)
        assert result["log"][-1] == "last"
        assert result["log"].count("last") == 1
        return [waiting, result, await graph.history(config)]

    await both(scenario)


async def test_a_loop_that_reaches_its_limit_goes_on_later(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def again(state: Log) -> Literal["a", "__end__"]:
            return "a" if len(state["log"]) < 10 else END

        builder = StateGraph(Log)
        builder.add_node("a", adding("a", stage.effects))
        builder.add_edge(START, "a")
        builder.add_conditional_edges("a", again)
        graph, config = stage.graph(builder), stage.thread(recursion_limit=3)
        with pytest.raises(GraphRecursionError):
            await graph.invoke({"log": []}, config)
        stopped = await graph.state(config)
        with pytest.raises(GraphRecursionError):
            await graph.invoke(None, config)
        result = await graph.invoke(None, {**config, "recursion_limit": 20})
        assert result["log"] == ["a"] * 10
        return [stopped, result, await graph.history(config)]

    await both(scenario)


# --- subgraphs


def with_subgraph(effects: list[str], *, called: bool = False, **compiled: Any) -> StateGraph[Any]:
    """A graph whose middle is a graph of three nodes, the second of which asks: as a node, or called in one."""
    inner = StateGraph(Log)
    inner.add_node("inner a", adding("inner a", effects))
    inner.add_node("inner ask", asking("inner ask", effects))
    inner.add_node("inner b", adding("inner b", effects))
    inner.add_edge(START, "inner a")
    inner.add_edge("inner a", "inner ask")
    inner.add_edge("inner ask", "inner b")
    middle = inner.compile(**compiled)

    def calls(state: Log) -> Any:
        effects.append("called")
        return {"log": middle.invoke({"log": ["from above"]})["log"]}

    async def calls_async(state: Log) -> Any:
        effects.append("called")
        return {"log": (await middle.ainvoke({"log": ["from above"]}))["log"]}

    builder = StateGraph(Log)
    builder.add_node("before", adding("before", effects))
    builder.add_node("middle", RunnableLambda(calls, afunc=calls_async) if called else middle)
    builder.add_node("after", adding("after", effects))
    builder.add_edge(START, "before")
    builder.add_edge("before", "middle")
    builder.add_edge("middle", "after")
    return builder


KINDS = {
    "as a node": {},
    "called in a node": {"called": True},
    "as a node with a memory": {"checkpointer": True},
    "called in a node with a memory": {"called": True, "checkpointer": True},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


async def test_a_subgraph_asks_and_goes_on(both: Both, kind: dict[str, Any]) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(with_subgraph(stage.effects, **kind)), stage.thread()
        seen = []
        for turn in range(2):
            seen.append(await graph.invoke({"log": [f"turn {turn}"]}, config))
            waiting = await graph.state(config, subgraphs=True)
            (paused,) = waiting.tasks
            assert paused.interrupts
            if not kind.get("called"):
                assert paused.state.next == ("inner ask",)
                seen.append(paused.state)
            seen += [waiting, await graph.state(config)]
            seen.append(await graph.invoke(Command(resume=f"yes {turn}"), config))
        assert stage.effects.count("inner a") == 2
        return [seen, await graph.history(config)]

    await both(scenario)


async def test_time_travel_through_a_subgraph(both: Both, kind: dict[str, Any]) -> None:
    """Back to before it, twice, each time with another answer, and on with a next turn."""

    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(with_subgraph(stage.effects, **kind)), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        first = await graph.invoke(Command(resume="first"), config)
        before = next(one for one in await graph.history(config) if one.next == ("middle",))
        seen = [first]
        for answer in ("second", "third"):
            asked = await graph.invoke(None, before.config)
            assert asked["__interrupt__"]
            seen += [asked, await graph.state(config, subgraphs=True)]
            seen.append(await graph.invoke(Command(resume=answer), config))
            assert f"inner ask:{answer}" in seen[-1]["log"]
        seen.append(await graph.invoke({"log": ["next turn"]}, config))
        seen.append(await graph.invoke(Command(resume="fourth"), config))
        return [seen, await graph.history(config)]

    await both(scenario)


async def test_time_travel_from_an_update_before_a_subgraph(both: Both, kind: dict[str, Any]) -> None:
    """An update's own checkpoint is run from, again and again: LangGraph makes no further fork of it."""

    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(with_subgraph(stage.effects, **kind)), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        await graph.invoke(Command(resume="first"), config)
        before = next(one for one in await graph.history(config) if one.next == ("middle",))
        updated = await graph.update(before.config, {"log": ["noted"]}, "before")
        seen = [await graph.invoke(None, updated), await graph.invoke(None, updated)]
        assert all(one["__interrupt__"] for one in seen)
        seen.append(await graph.invoke(Command(resume="second"), config))
        return [seen, await graph.history(config)]

    await both(scenario)


async def test_a_subgraphs_own_state_is_updated_and_gone_back_to(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(with_subgraph(stage.effects)), stage.thread()
        await graph.invoke({"log": ["in"]}, config)
        paused = (await graph.state(config, subgraphs=True)).tasks[0].state
        await graph.update(paused.config, {"log": ["inside, by hand"]})
        updated = await graph.state(config, subgraphs=True)
        result = await graph.invoke(Command(resume="yes"), config)
        assert "inside, by hand" in result["log"]
        ns = {"thread_id": "t", "checkpoint_ns": paused.config["configurable"]["checkpoint_ns"]}
        inside = await graph.history({"configurable": ns})
        again = await graph.invoke(None, inside[-2].config)
        return [paused, updated, result, inside, again, await graph.state(config, subgraphs=True)]

    await both(scenario)


async def test_subgraphs_in_subgraphs(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        outer = chain("top", effects=stage.effects)
        outer.add_node("deep", with_subgraph(stage.effects).compile())
        outer.add_edge("top", "deep")
        graph, config = stage.graph(outer), stage.thread()
        asked = await graph.invoke({"log": ["in"]}, config)
        waiting = await graph.state(config, subgraphs=True)
        inner = waiting.tasks[0].state.tasks[0].state
        assert inner.next == ("inner ask",)
        result = await graph.invoke(Command(resume="yes"), config)
        return [asked, waiting, result, await graph.history(config)]

    await both(scenario)


async def test_subgraphs_side_by_side(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Log)
        for name in ("one", "two"):
            builder.add_node(name, with_subgraph(stage.effects).compile())
            builder.add_edge(START, name)
        graph, config = stage.graph(builder), stage.thread()
        await graph.invoke({"log": []}, config)
        waiting = await graph.state(config, subgraphs=True)
        answers = {each.interrupts[0].id: f"for {each.name}" for each in waiting.tasks}
        result = await graph.invoke(Command(resume=answers), config)
        assert [line for line in result["log"] if "ask" in line] == ["inner ask:for one", "inner ask:for two"]
        return [[sorted(waiting.next), result], await graph.history(config)]

    await both(scenario)


async def test_a_subgraph_sends_its_parent_elsewhere(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        inner = StateGraph(Log)
        leave = Command(graph=Command.PARENT, goto="after", update={"log": ["left early"]})
        inner.add_node("leaves", lambda state: leave)
        inner.add_edge(START, "leaves")
        builder = chain("before", effects=stage.effects)
        builder.add_node("middle", inner.compile())
        builder.add_node("after", adding("after", stage.effects))
        builder.add_edge("before", "middle")
        graph, config = stage.graph(builder), stage.thread()
        result = await graph.invoke({"log": []}, config)
        assert result["log"] == ["before", "left early", "after"]
        return [result, await graph.history(config)]

    await both(scenario)


# --- streaming


def said(text: str, id_: str) -> AIMessage:
    return AIMessage(text, id=id_)


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_streams(both: Both, subgraphs: bool) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config, other = stage.graph(with_subgraph(stage.effects)), stage.thread(), stage.thread("other")
        modes = ["values", "updates"]
        seen = await graph.stream({"log": ["in"]}, config, stream_mode=modes, subgraphs=subgraphs)
        seen += await graph.stream(Command(resume="yes"), config, stream_mode=modes, subgraphs=subgraphs)
        checkpoints = await graph.stream({"log": ["in"]}, other, stream_mode="checkpoints")
        assert [one["values"].get("log") for one in checkpoints][1:] == [["in"], ["in", "before"]]
        return [seen, [[one["values"], one["next"], one["metadata"]] for one in checkpoints]]

    await both(scenario)


async def test_messages_are_streamed(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        model = GenericFakeChatModel(messages=iter([said("three short words", "ai-1")]))

        def answers(state: MessagesState) -> Any:
            return {"messages": [model.invoke(state["messages"])]}

        builder = StateGraph(MessagesState)
        builder.add_node("answers", answers)
        builder.add_edge(START, "answers")
        graph, config = stage.graph(builder), stage.thread()
        chunks = await graph.stream({"messages": [HumanMessage("?", id="h-1")]}, config, stream_mode="messages")
        assert "".join(chunk.content for chunk, _ in chunks) == "three short words"
        state = await graph.state(config)
        assert state.values["messages"][-1].content == "three short words"
        return [[chunk.content for chunk, _ in chunks], [one.content for one in state.values["messages"]]]

    await both(scenario, rows=False)


async def test_a_stream_that_is_left_goes_on_later(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(chain("a", "b", "c", effects=stage.effects)), stage.thread()

        def leaves() -> None:
            with closing(graph.compiled.stream({"log": ["in"]}, config, durability="sync")) as stream:
                assert next(stream) == {"a": {"log": ["a"]}}

        if stage.sync:
            await asyncio.to_thread(leaves)
        else:
            stream = graph.compiled.astream({"log": ["in"]}, config, durability="sync")
            assert await anext(stream) == {"a": {"log": ["a"]}}
            await stream.aclose()
        left = await graph.state(config)
        assert left.values == {"log": ["in", "a"]}
        result = await graph.invoke(None, config)
        assert result == {"log": ["in", "a", "b", "c"]}
        assert stage.effects.count("a") == 1
        return [left, result, await graph.history(config)]

    await both(scenario)


# --- the functional API


async def test_the_functional_api(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def double(number: int) -> int:
            stage.effects.append(f"double {number}")
            return number * 2

        def work(number: int, *, previous: int | None = None) -> Any:
            made = [one.result() for one in [doubled(number), doubled(number + 1)]]
            answer = interrupt({"made": made})
            kept = (previous or 0) + sum(made)
            return entrypoint.final(value={"made": made, "answer": answer, "before": previous}, save=kept)

        async def work_async(number: int, *, previous: int | None = None) -> Any:
            made = list(await asyncio.gather(doubled(number), doubled(number + 1)))
            answer = interrupt({"made": made})
            kept = (previous or 0) + sum(made)
            return entrypoint.final(value={"made": made, "answer": answer, "before": previous}, save=kept)

        doubled = task(double)
        built = entrypoint(checkpointer=stage.saver)(work if stage.sync else work_async)
        graph, config = stage.graph(built), stage.thread()
        seen = [await graph.invoke(1, config), await graph.state(config)]
        seen.append(await graph.invoke(Command(resume="yes"), config))
        assert sorted(stage.effects) == ["double 1", "double 2"]
        await graph.invoke(10, config)
        seen.append(await graph.invoke(Command(resume="again"), config))
        assert seen[-1] == {"made": [20, 22], "answer": "again", "before": 6}
        return [seen, await graph.history(config)]

    await both(scenario)


async def test_a_task_that_failed_is_run_again_and_one_that_did_not_is_not(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def step(name: str) -> str:
            stage.effects.append(name)
            if name == "fails" and stage.effects.count("fails") == 1:
                raise ValueError("once")
            return name

        def work(given: str) -> Any:
            return [given, stepped("works").result(), stepped("fails").result()]

        async def work_async(given: str) -> Any:
            return [given, await stepped("works"), await stepped("fails")]

        stepped = task(step)
        built = entrypoint(checkpointer=stage.saver)(work if stage.sync else work_async)
        graph, config = stage.graph(built), stage.thread()
        with pytest.raises(ValueError, match="once"):
            await graph.invoke("in", config)
        failed = await graph.state(config)
        result = await graph.invoke(None, config)
        assert result == ["in", "works", "fails"]
        assert stage.effects == ["works", "fails", "fails"]
        return [failed, result, await graph.history(config)]

    await both(scenario)


# --- durability, errors, cancellation


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_durability(both: Both, durability: Any) -> None:
    async def scenario(stage: Stage) -> Any:
        fails = [True]

        def unsteady(state: Log) -> Any:
            stage.effects.append("unsteady")
            if fails:
                raise ValueError(fails.pop())
            return {"log": ["steady"]}

        builder = chain("a", "b", effects=stage.effects)
        builder.add_node("ask", asking("ask", stage.effects))
        builder.add_node("unsteady", unsteady)
        builder.add_edge("b", "ask")
        builder.add_edge("ask", "unsteady")
        graph, config = stage.graph(builder), stage.thread()
        seen = [await graph.invoke({"log": ["in"]}, config, durability=durability), await graph.state(config)]
        with pytest.raises(ValueError, match="True"):
            await graph.invoke(Command(resume="yes"), config, durability=durability)
        seen += [await graph.state(config), await graph.invoke(None, config, durability=durability)]
        assert seen[-1] == {"log": ["in", "a", "b", "ask:yes", "steady"]}
        assert stage.effects == ["a", "b", "ask asks", "ask asks", "ask heard yes", "unsteady", "unsteady"]
        seen.append(await graph.history(config))
        assert len(seen[-1]) == (6 if durability != "exit" else 3)
        return seen

    await both(scenario)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_durability_with_subgraphs(both: Both, durability: Any, kind: dict[str, Any]) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(with_subgraph(stage.effects, **kind)), stage.thread()
        seen = [await graph.invoke({"log": ["in"]}, config, durability=durability)]
        seen.append(await graph.state(config, subgraphs=True))
        seen.append(await graph.invoke(Command(resume="yes"), config, durability=durability))
        return [seen, await graph.history(config)]

    await both(scenario)


async def test_an_error_is_kept_and_what_was_finished_beside_it(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        finished = threading.Event()

        def works(state: Log) -> Any:
            stage.effects.append("works")
            finished.set()
            return {"log": ["works"]}

        def fails(state: Log) -> Any:
            stage.effects.append("fails")
            if stage.effects.count("fails") == 1:
                assert finished.wait(10)
                raise ValueError("once")
            return {"log": ["no more"]}

        builder = StateGraph(Log)
        builder.add_node("works", works)
        builder.add_node("fails", fails)
        builder.add_node("end", adding("end", stage.effects))
        builder.add_edge(START, "works")
        builder.add_edge(START, "fails")
        builder.add_edge(["works", "fails"], "end")
        graph, config = stage.graph(builder), stage.thread()
        with pytest.raises(ValueError, match="once"):
            await graph.invoke({"log": []}, config)
        failed = await graph.state(config)
        assert {one.name: str(one.error) for one in failed.tasks}["fails"].count("once") == 1
        result = await graph.invoke(None, config)
        assert result["log"] == ["no more", "works", "end"]
        return [{one.name: repr(one.error) for one in failed.tasks if one.name == "fails"}, result]

    await both(scenario, rows=False)


async def test_a_retry_and_a_handler_of_errors(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def twice(state: Log) -> Any:
            stage.effects.append("twice")
            if stage.effects.count("twice") == 1:
                raise ConnectionError("once")
            return {"log": ["twice"]}

        def never(state: Log) -> Any:
            raise ValueError("never")

        builder = StateGraph(Log)
        builder.add_node("twice", twice, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
        builder.add_node("never", never, error_handler=adding("handled", stage.effects))
        builder.add_edge(START, "twice")
        builder.add_edge("twice", "never")
        graph, config = stage.graph(builder), stage.thread()
        result = await graph.invoke({"log": []}, config)
        assert result["log"] == ["twice", "handled"]
        return [result, await graph.history(config)]

    await both(scenario)


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_cancelled_run_is_resumed(both: Both, durability: Any) -> None:
    if both.sync:
        pytest.skip("a sync run cannot be cancelled")

    async def scenario(stage: Stage) -> Any:
        inside = asyncio.Event()

        async def waits(state: Log) -> Any:
            stage.effects.append("waits")
            if stage.effects.count("waits") == 1:
                inside.set()
                await asyncio.Event().wait()
            return {"log": ["waited"]}

        builder = chain("a", effects=stage.effects)
        builder.add_node("waits", waits)
        builder.add_edge("a", "waits")
        graph, config = stage.graph(builder), stage.thread()
        run = asyncio.create_task(graph.compiled.ainvoke({"log": ["in"]}, config, durability=durability))
        await inside.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        cancelled = await graph.state(config)
        assert cancelled.next == ("waits",)
        result = await graph.invoke(None, config)
        assert result == {"log": ["in", "a", "waited"]}
        assert stage.effects == ["a", "waits", "waits"]
        return [cancelled.values, result]

    await both(scenario, rows=False)


# --- messages


def person(text: str, id_: str) -> HumanMessage:
    return HumanMessage(text, id=id_)


async def turns(graph: Graph, config: RunnableConfig, *given: Any) -> list[Any]:
    """A run for each input, durable at each step, and the history after it."""
    results = [await graph.invoke({"messages": one}, config, durability="sync") for one in given]
    return [results, await graph.history(config)]


def conversation(node: Callable[[Any], Any] | None = None) -> StateGraph[Any]:
    builder = StateGraph(MessagesState)
    builder.add_node("node", node or (lambda state: {}))
    builder.add_edge(START, "node")
    return builder


async def test_messages_are_appended_replaced_and_removed(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(conversation()), stage.thread()
        seen = await turns(
            graph,
            config,
            [person("one", "1"), said("two", "2"), person("three", "3")],
            [said("two, again", "2")],
            [person("four", "4"), person("one, again", "1"), said("five", "5")],
            [RemoveMessage(id="2")],
            [RemoveMessage(id="5"), person("six", "6")],
            [],
            [said("two, anew", "2")],
            [RemoveMessage(id=REMOVE_ALL_MESSAGES), person("a new beginning", "7")],
            [person("four", "4"), said("five", "5")],
            [RemoveMessage(id=REMOVE_ALL_MESSAGES)],
            [person("last", "8")],
        )
        assert [len(one["messages"]) for one in seen[0]] == [3, 3, 5, 4, 4, 4, 5, 1, 3, 0, 1]
        return seen

    await both(scenario)


async def test_messages_keep_all_their_fields(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        calls = [
            {"name": "pay", "args": {"amount": 5, "nested": {"deep": [1, None, 2.5]}}, "id": "c1", "type": "tool_call"}
        ]
        given: list[BaseMessage] = [
            SystemMessage("system", id="1", additional_kwargs={"kept": True}),
            HumanMessage(
                [{"type": "text", "text": "part"}, {"type": "image_url", "image_url": "data:,"}], id="2", name="Ada"
            ),
            AIMessage("", id="3", tool_calls=calls, response_metadata={"model_name": "m", "logprobs": None}),
            ToolMessage("paid", id="4", tool_call_id="c1", artifact={"rows": [[1, 2]]}, status="error"),
            AIMessage("usage", id="5", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
            HumanMessage("nul \x00 and ünïcödé 🙂", id="6"),
        ]
        graph, config = stage.graph(conversation()), stage.thread()
        seen = await turns(graph, config, given, [person("more", "7")])
        found = seen[0][-1]["messages"]
        assert [type(one) for one in found] == [*map(type, given), HumanMessage]
        assert found[:-1] == given
        return seen

    await both(scenario)


RETURNS: dict[str, Callable[[BaseMessage, list[BaseMessage]], Any]] = {
    "alone": lambda changed, all_: {"messages": changed},
    "in a list": lambda changed, all_: {"messages": [changed]},
    "with another": lambda changed, all_: {"messages": [changed, said("another", f"a-{len(all_)}")]},
    "with all": lambda changed, all_: {"messages": all_},
    "by a command": lambda changed, all_: Command(update={"messages": [changed]}),
    "by a command of pairs": lambda changed, all_: Command(update=[("messages", [changed])]),
    "instead of all": lambda changed, all_: {"messages": Overwrite(all_)},
}


async def test_a_node_changes_a_message_in_place_and_returns_it(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        seen = []
        for name, returns in RETURNS.items():
            graph, config = stage.graph(conversation(changing(returns))), stage.thread(name)
            seen.append(await turns(graph, config, *([person("as it was", f"h-{number}")] for number in range(4))))
            kept = (await graph.state(config)).values["messages"]
            assert kept[0].content == f"changed at {kept[0].additional_kwargs.get('seen')}", name
        return seen

    await both(scenario)


def changing(returns: Callable[[BaseMessage, list[BaseMessage]], Any]) -> Callable[[MessagesState], Any]:
    def node(state: MessagesState) -> Any:
        changed, count = state["messages"][0], len(state["messages"])
        changed.content = f"changed at {count}"
        changed.additional_kwargs["seen"] = count
        return returns(changed, state["messages"])

    return node


async def test_a_message_is_replaced_by_an_equal_one_and_by_one_of_another_type(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        graph, config = stage.graph(conversation()), stage.thread()
        return await turns(
            graph,
            config,
            [person("same", "1"), person("other", "2")],
            [person("same", "1")],
            [said("same", "1")],
            [AIMessageChunk("same", id="1"), person("more", "3")],
        )

    await both(scenario)


class Noted(MessagesState):
    note: str


class Threads(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[AnyMessage], add_messages]
    latest: list[AnyMessage]
    window: Annotated[list[AnyMessage], lambda old, new: [*old, *new][-3:]]


async def test_messages_in_channels_of_several_kinds(both: Both) -> None:
    """Two that grow, one that is replaced as a whole, and one that drops its beginning."""

    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Threads)
        builder.add_node("node", lambda state: {"latest": state["messages"][-2:], "notes": state["window"][:1]})
        builder.add_edge(START, "node")
        graph, config = stage.graph(builder), stage.thread()
        for number in range(6):
            one = [person(f"line {number}", str(number))]
            await graph.invoke({"messages": one, "window": one, "notes": one}, config)
        result = await graph.invoke({"messages": Overwrite([person("all", "all")])}, config)
        assert [one.id for one in result["window"]] == ["3", "4", "5"]
        assert [one.id for one in result["messages"]] == ["all"]
        return [result, await graph.history(config)]

    await both(scenario)


async def test_messages_on_two_branches(both: Both) -> None:
    """Both branches append to the same beginning, and both stay what they were."""

    async def scenario(stage: Stage) -> Any:
        def answers(state: MessagesState) -> Any:
            return {"messages": [said(f"to {state['messages'][-1].content}", f"a-{state['messages'][-1].id}")]}

        graph, config = stage.graph(conversation(answers)), stage.thread()
        await graph.invoke({"messages": [person("one", "1")]}, config)
        fork_at = (await graph.state(config)).config
        await graph.invoke({"messages": [person("left", "2")]}, config)
        await graph.invoke({"messages": [person("left again", "3")]}, config)
        left = (await graph.state(config)).config
        await graph.update(fork_at, {"messages": [person("right", "4")]}, "node")
        await graph.invoke({"messages": [person("right again", "5")]}, config)
        right = (await graph.state(config)).config
        back = await graph.update(left, {"messages": [person("left after all", "6")]}, "node")
        await graph.invoke({"messages": [person("on", "7")]}, config)
        contents = [
            [one.id for one in (await graph.state(at)).values["messages"]] for at in (fork_at, left, right, back)
        ]
        assert contents == [
            ["1", "a-1"],
            ["1", "a-1", "2", "a-2", "3", "a-3"],
            ["1", "a-1", "4", "5", "a-5"],
            ["1", "a-1", "2", "a-2", "3", "a-3", "6"],
        ]
        return [contents, await graph.history(config)]

    await both(scenario)


async def test_a_conversation_goes_on_from_a_fork_that_did_not_touch_it(both: Both) -> None:
    """The fork holds the messages of its parent as they were, and so does the branch that it left."""

    async def scenario(stage: Stage) -> Any:
        def answers(state: Any) -> Any:
            return {"messages": [said(f"to {state['messages'][-1].content}", f"a-{state['messages'][-1].id}")]}

        builder = StateGraph(Noted)
        builder.add_node("node", answers)
        builder.add_edge(START, "node")
        graph, config = stage.graph(builder), stage.thread()
        await graph.invoke({"messages": [person("one", "1")], "note": "before"}, config)
        older = (await graph.state(config)).config
        await graph.invoke({"messages": [person("left", "2")]}, config)
        left = (await graph.state(config)).config
        await graph.invoke(None, older)
        await graph.invoke({"messages": [person("right", "3")]}, config)
        right = (await graph.state(config)).config
        await graph.update(older, {"note": "after"}, "node")
        await graph.invoke({"messages": [person("further right", "4")]}, config)
        await graph.update(older, None, "__copy__")
        result = await graph.invoke({"messages": [person("the copy", "5")]}, config)
        assert [one.id for one in result["messages"]] == ["1", "a-1", "5", "a-5"]
        contents = [[one.id for one in (await graph.state(at)).values["messages"]] for at in (older, left, right)]
        assert contents == [["1", "a-1"], ["1", "a-1", "2", "a-2"], ["1", "a-1", "3", "a-3"]]
        return await graph.history(config)

    await both(scenario)


@pytest.mark.parametrize("seed", range(4))
async def test_any_sequence_of_changes_to_messages(both: Both, seed: int) -> None:
    async def scenario(stage: Stage) -> Any:
        dice = random.Random(seed)
        todo: list[str] = []

        def node(state: MessagesState) -> Any:
            held = state["messages"]
            match todo.pop() if held and todo else "append":
                case "append":
                    return {"messages": [fresh() for _ in range(dice.randint(1, 3))]}
                case "replace":
                    return {"messages": [person(f"replaced {len(held)}", dice.choice(held).id or "")]}
                case "remove":
                    return {"messages": [RemoveMessage(id=dice.choice(held).id or ""), fresh()][: dice.randint(1, 2)]}
                case "clear":
                    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), fresh()]}
                case "change":
                    # Not what has just come in: LangGraph hands that over beside this node, to either saver.
                    changed = dice.choice(held[:-1]) if len(held) > 1 else fresh()
                    changed.content = f"changed {len(held)}"
                    return {"messages": [changed, *([fresh()] * dice.randint(0, 1))]}
                case "overwrite":
                    return {"messages": Overwrite(dice.sample(held, dice.randint(0, len(held))))}
                case other:
                    raise AssertionError(other)

        def fresh() -> BaseMessage:
            number = next(numbers)
            return dice.choice([person, said])(f"message {number}", str(number))

        numbers = iter(range(10_000))
        graph, config = stage.graph(conversation(node)), stage.thread()
        for _ in range(25):
            todo[:] = [dice.choice(["append", "append", "replace", "remove", "clear", "change", "overwrite"])]
            match dice.randint(0, 9):
                case 0:
                    older = dice.choice(await graph.history(config) or [await graph.state(config)])
                    await graph.update(older.config, {"messages": [fresh()]}, "node")
                case 1 if past := await graph.history(config):
                    await graph.invoke(None, dice.choice(past).config, durability="sync")
                case _:
                    await graph.invoke({"messages": [fresh()]}, config, durability="sync")
        return await graph.history(config)

    await both(scenario)


async def test_500_messages_are_read_back_as_they_were(both: Both, settings: Settings) -> None:
    async def scenario(stage: Stage) -> Any:
        def node(state: MessagesState) -> Any:
            count = len(state["messages"])
            return {"messages": [person(f"question {count}", f"h-{count}"), said(f"answer {count}", f"a-{count}")]}

        builder = conversation(node)
        builder.add_conditional_edges("node", lambda state: "node" if len(state["messages"]) < 500 else END)
        graph, config = stage.graph(builder), stage.thread(recursion_limit=1000)
        result = await graph.invoke({"messages": []}, config)
        assert len(result["messages"]) == 500
        assert (await graph.state(config)).values["messages"] == result["messages"]
        history = await graph.history(config)
        assert len(history) == 252
        assert all(one.values["messages"] == result["messages"][: 2 * at] for at, one in enumerate(history[-2::-1]))
        return result

    await both(scenario, rows=False)
    with Runtime.open(settings=settings) as reopened:
        found = await asyncio.to_thread(reopened.checkpointer.get_tuple, {"configurable": {"thread_id": "t"}})
    assert found is not None
    messages = found.checkpoint["channel_values"]["messages"]
    assert [one.id for one in messages] == [f"{kind}-{at}" for at in range(0, 500, 2) for kind in "ha"]
    assert [one.content for one in messages[-2:]] == ["question 498", "answer 498"]


async def test_two_runtimes_take_turns_on_one_thread(both: Both, settings: Settings) -> None:
    """Neither goes by what it remembers of the thread."""
    with Runtime.open(settings=settings) as other:
        second = Stage(other.checkpointer, sync=both.sync)

        async def scenario(stage: Stage) -> Any:
            def answers(state: MessagesState) -> Any:
                return {"messages": [said(f"to {len(state['messages'])}", f"a-{state['messages'][-1].id}")]}

            # The control has no other process; it goes on with the same saver.
            where = [stage, second if stage.saver is both.saver else stage]
            graphs, config = [one.graph(conversation(answers)) for one in where], stage.thread()
            given: list[list[BaseMessage]] = [
                [person("one", "1")],
                [person("two", "2")],
                [RemoveMessage(id="a-1"), person("three", "3")],
                [person("two, again", "2"), person("four", "4")],
                [RemoveMessage(id=REMOVE_ALL_MESSAGES), person("five", "5")],
                [person("six", "6")],
                [person("seven", "7")],
            ]
            for number, one in enumerate(given):
                await graphs[number % 2].invoke({"messages": one}, config)
                seen = [await graph.state(config) for graph in graphs]
                assert seen[0].values == seen[1].values
            return await graphs[0].history(config)

        await both(scenario)


# --- other values


class Everything(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    facts: Annotated[dict[str, Any], operator.or_]
    replaced: list[Any]
    place: Place
    note: Notes
    anything: Any


VALUES: dict[str, Any] = {
    "nothing": None,
    "truth": True,
    "number": 2**63 - 1,
    "ratio": 0.1,
    "endless": float("inf"),
    "text": "nul \x00 ünïcödé 🙂",
    "empty": ["", b"", [], {}],
    "bytes": b"\x00\xff",
    "pair": (1, ("two", [3])),
    "set": {1, 2},
    "frozen": frozenset({"a"}),
    "keys": {1: "int", "two": {"three": [None]}},
    "when": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "while": timedelta(days=1, seconds=2),
    "money": Decimal("10.10"),
    "id": UUID(int=7),
    "message": HumanMessage("in a value", id="1"),
    "model": Notes(text="n", at=datetime(2026, 1, 1, tzinfo=UTC), tags={"a", "b"}),
    "place": Place("here", Point(1, 2)),
}


async def test_values_of_any_kind_are_read_back_as_they_were(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = StateGraph(Everything)
        builder.add_node("node", lambda state: {"anything": [state["anything"]], "facts": {"seen": state["anything"]}})
        builder.add_edge(START, "node")
        graph, seen = stage.graph(builder), []
        for name, value in VALUES.items():
            config = stage.thread(name)
            await graph.invoke({"anything": value, "facts": {"given": value}}, config)
            found = (await graph.state(config)).values
            assert found["facts"]["given"] == found["anything"][0], name
            # A pair comes back as a list, as from every saver of LangGraph's.
            assert type(found["anything"][0]) is (list if isinstance(value, tuple) else type(value)), name
            seen.append(await graph.history(config))
        return seen

    await both(scenario)


async def test_lists_and_dicts_that_are_not_messages(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def node(state: Everything) -> Any:
            count = len(state["log"])
            state["replaced"].append(count)
            return {
                "log": [f"line {count}"],
                "facts": {f"fact {count}": {"of": [count]}, "fact": count},
                "replaced": state["replaced"][-2:],
                "place": Place("there", Point(count, 0)),
                "note": Notes(text=str(count), at=datetime(2026, 1, 1, tzinfo=UTC)),
            }

        builder = StateGraph(Everything)
        builder.add_node("node", node)
        builder.add_edge(START, "node")
        graph, config = stage.graph(builder), stage.thread()
        for number in range(4):
            await graph.invoke({"log": [f"in {number}"], "replaced": [0] * number}, config, durability="sync")
        found = (await graph.state(config)).values
        assert found["place"] == Place("there", Point(7, 0))
        return await graph.history(config)

    await both(scenario)


async def test_a_state_that_is_a_model(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        def node(state: Form) -> Any:
            assert isinstance(state, Form)
            note = Notes(text=state.note.text + "+" if state.note else "", at=datetime(2026, 1, 1, tzinfo=UTC))
            return {
                "log": [f"line {len(state.log)}"],
                "note": note,
                "messages": [said("yes", f"a-{len(state.messages)}")],
            }

        builder = StateGraph(Form)
        builder.add_node("node", node)
        builder.add_node("ask", lambda state: {"log": [interrupt("?")]})
        builder.add_edge(START, "node")
        builder.add_edge("node", "ask")
        graph, config = stage.graph(builder), stage.thread()
        for number in range(3):
            await graph.invoke(Form(log=[f"in {number}"], messages=[person("?", f"h-{number}")]), config)
            await graph.invoke(Command(resume=f"yes {number}"), config)
        found = (await graph.state(config)).values
        assert isinstance(found["note"], Notes)
        assert found["note"].text == "++"
        return await graph.history(config)

    await both(scenario)


def joined(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(line for lines in writes for line in lines)]


class Rare(TypedDict):
    log: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=100)]


class Often(TypedDict):
    log: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=2)]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("schema", [Rare, Often])
async def test_a_delta_channel(both: Both, schema: Any, durability: Any) -> None:
    async def scenario(stage: Stage) -> Any:
        builder = chain("a", schema=schema)
        builder.add_node("left", adding("left", stage.effects))
        builder.add_node("right", adding("right", stage.effects))
        builder.add_node("ask", asking("ask", stage.effects))
        builder.add_edge("a", "left")
        builder.add_edge("a", "right")
        builder.add_edge(["left", "right"], "ask")
        graph, config = stage.graph(builder), stage.thread()
        seen: list[Any] = []
        for number in range(3):
            await graph.invoke({"log": [f"in {number}"]}, config, durability=durability)
            seen.append(await graph.state(config))
            seen.append(await graph.invoke(Command(resume=str(number)), config, durability=durability))
        assert seen[-1]["log"] == [
            line for number in range(3) for line in (f"in {number}", "a", "left", "right", f"ask:{number}")
        ]
        older = (await graph.history(config))[2]
        await graph.update(older.config, {"log": ["forked"]}, "a")
        seen.append(await graph.invoke(None, config, durability=durability))
        seen.append(await graph.invoke(None, older.config, durability=durability))
        await graph.update(config, {"log": Overwrite(["only this"])}, "ask")
        seen.append(await graph.invoke({"log": ["and that"]}, config, durability=durability))
        assert seen[-1]["log"] == ["only this", "and that", "a", "left", "right"]
        return [seen, [[one.values, one.next] for one in await graph.history(config)]]

    await both(scenario)


# --- agents


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_create_agent(both: Both) -> None:
    from langchain.agents import create_agent

    async def scenario(stage: Stage) -> Any:
        script = [
            proposes(call("add", a=1, b=2), call("add", a=3, b=4)),
            AIMessage("3 and 7", id="ai-2"),
            proposes(call("add", a=5, b=6)),
            AIMessage("11", id="ai-4"),
        ]
        script = [one.model_copy(update={"id": f"ai-{at}"}) for at, one in enumerate(script)]
        agent = create_agent(ScriptedModel(script=script), [add], checkpointer=stage.saver)
        graph, config = stage.graph(agent), stage.thread()
        await graph.invoke({"messages": [person("1+2, 3+4?", "h-1")]}, config)
        result = await graph.invoke({"messages": [person("5+6?", "h-2")]}, config)
        assert [one.content for one in result["messages"] if isinstance(one, ToolMessage)] == ["3", "7", "11"]
        return [result, await graph.history(config)]

    await both(scenario)


async def test_deep_agents(both: Both) -> None:
    deepagents = pytest.importorskip("deepagents")

    async def scenario(stage: Stage) -> Any:
        script = [proposes(call("add", a=1, b=2)), AIMessage("3")]
        script = [one.model_copy(update={"id": f"ai-{at}"}) for at, one in enumerate(script)]
        agent = deepagents.create_deep_agent(ScriptedModel(script=script), [add], checkpointer=stage.saver)
        graph, config = stage.graph(agent), stage.thread()
        result = await graph.invoke({"messages": [person("1+2?", "h-1")]}, config)
        return [[one.content for one in result["messages"]], len(await graph.history(config))]

    await both(scenario, rows=False)


# --- two runs of one thread


@dataclass
class Holding:
    """A node that says when a run is inside it, and waits until it may go on."""

    effects: list[str]
    inside: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, state: Log) -> Any:
        self.effects.append("held")
        self.inside.set()
        assert self.go.wait(30)
        return {"log": ["held"]}

    def graph(self, stage: Stage, *after: Callable[[Any], Any]) -> Graph:
        """The node, and what comes after it."""
        builder = StateGraph(Log)
        builder.add_node("held", self)
        builder.add_edge(START, "held")
        before = "held"
        for number, node in enumerate(after):
            builder.add_node(f"after {number}", node)
            builder.add_edge(before, f"after {number}")
            before = f"after {number}"
        return stage.graph(builder)


@dataclass
class Pair:
    """Two ways to one database: the same runtime twice, or two runtimes with pools of their own."""

    first: Stage
    second: Stage
    url: str

    def rows(self, thread: str) -> dict[str, int]:
        """How many rows each table has of a thread, the tombstone not counted."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(
                "select table_name from information_schema.columns"
                " where table_schema = 'stateward' and column_name = 'thread_id'"
            ).fetchall()
            counted = {}
            for (table,) in found:
                row = connection.execute(
                    f"select count(*) from stateward.{table} where thread_id = %s", (thread,)
                ).fetchone()
                counted[table] = row[0] if row else 0
        return {table: count for table, count in counted.items() if count and table != "checkpoint_thread"}


@pytest.fixture(params=["one runtime", "two runtimes"])
def pair(both: Both, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Pair]:
    first = Stage(both.saver, both.sync)
    if request.param == "one runtime":
        yield Pair(first, Stage(both.saver, both.sync), settings.database_url)
        return
    with Runtime.open(settings=settings) as other:
        yield Pair(first, Stage(other.checkpointer, both.sync), settings.database_url)


async def outcome(run: Awaitable[Any]) -> Any:
    """What a run returned, or what it raised of ours."""
    try:
        return await run
    except (ThreadBusy, ThreadErased) as error:
        return error


def is_one_line(history: Sequence[Any]) -> bool:
    """Whether each checkpoint follows from the one before: nothing was lost beside it."""
    ids = [one.config["configurable"]["checkpoint_id"] for one in history]
    parents = [one.parent_config["configurable"]["checkpoint_id"] for one in history if one.parent_config]
    return ids[1:] == parents


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_of_two_runs_of_one_thread_one_goes_on(pair: Pair, durability: Any) -> None:
    first, second, config = pair.first, pair.second, pair.first.thread()
    holding = Holding(first.effects)
    slow = holding.graph(first, adding("after", first.effects), adding("long after", first.effects))
    quick = second.graph(chain("a", "b", effects=second.effects))
    running = asyncio.create_task(outcome(slow.invoke({"log": ["slow"]}, config, durability=durability)))
    await asyncio.to_thread(holding.inside.wait, 30)
    ended = await outcome(quick.invoke({"log": ["quick"]}, config))
    holding.go.set()
    outcomes = [await running, ended]

    (went_on,) = [one for one in outcomes if not isinstance(one, ThreadBusy)]
    if durability == "sync":  # what the slow one runs from is in the database, so that the quick one has overtaken it
        assert went_on == {"log": ["slow", "quick", "a", "b"]}
        assert (first.effects, second.effects) == (["held"], ["a", "b"])
    for graph in (slow, quick):
        assert (await graph.state(config)).values == went_on
        assert is_one_line(await graph.history(config))
    assert (await slow.invoke({"log": ["again"]}, config))["log"][: len(went_on["log"])] == went_on["log"]


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_is_read_first_after_a_refusal(pair: Pair, deleted: bool) -> None:
    """A refusal is told to the run, and to nobody who merely looks at the thread afterwards."""
    first, second, config = pair.first, pair.second, pair.first.thread()
    holding, quick = Holding(first.effects), second.graph(chain("a", "b"))
    begun = await quick.invoke({"log": ["begun"]}, config)
    older = (await quick.state(config)).config
    slow = holding.graph(first, adding("after", first.effects))
    running = asyncio.create_task(outcome(slow.invoke({"log": ["slow"]}, config, durability="sync")))
    await asyncio.to_thread(holding.inside.wait, 30)
    if deleted:
        await asyncio.to_thread(second.saver.delete_thread, "t")
    else:
        ended = await quick.invoke({"log": ["quick"]}, config)
    holding.go.set()
    assert isinstance(await running, ThreadErased if deleted else ThreadBusy)
    assert (await slow.state(older)).values == ({} if deleted else begun)
    history = await slow.history(config)
    assert [one.values for one in history][:1] == ([] if deleted else [ended])
    assert (await asyncio.to_thread(first.saver.get_delta_channel_history, config=older, channels=["log"]))["log"]
    await asyncio.to_thread(first.saver.delete_for_runs, ["nobody's"])


async def test_a_run_that_was_overtaken_asks_nobody(pair: Pair) -> None:
    """Its question is not pending in the thread, so that nobody could answer it."""
    first, second, config = pair.first, pair.second, pair.first.thread()
    holding = Holding(first.effects)

    def asks(state: Log) -> Any:
        holding(state)
        return {"log": [interrupt("anybody?")]}

    builder = StateGraph(Log)
    builder.add_node("asks", asks)
    builder.add_edge(START, "asks")
    slow, quick = first.graph(builder), second.graph(chain("a"))
    running = asyncio.create_task(outcome(slow.invoke({"log": ["slow"]}, config, durability="sync")))
    await asyncio.to_thread(holding.inside.wait, 30)
    ended = await quick.invoke({"log": ["quick"]}, config)
    holding.go.set()
    assert isinstance(await running, ThreadBusy)
    state = await quick.state(config)
    assert (state.values, state.interrupts, state.next) == (ended, (), ())


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_one_question_is_answered_once(pair: Pair, durability: Any) -> None:
    first, second, config = pair.first, pair.second, pair.first.thread()
    holding, passing = Holding(first.effects), Holding(second.effects)
    passing.go.set()

    def asking_graph(stage: Stage, hold: Holding) -> Graph:
        def asks(state: Log) -> Any:
            answer = interrupt("?")
            hold(state)
            return {"log": [answer]}

        builder = StateGraph(Log)
        builder.add_node("asks", asks)
        builder.add_node("after", adding("after", stage.effects))
        builder.add_edge(START, "asks")
        builder.add_edge("asks", "after")
        return stage.graph(builder)

    slow, quick = asking_graph(first, holding), asking_graph(second, passing)
    await slow.invoke({"log": []}, config)
    running = asyncio.create_task(outcome(slow.invoke(Command(resume="slow"), config, durability=durability)))
    await asyncio.to_thread(holding.inside.wait, 30)
    ended = await outcome(quick.invoke(Command(resume="quick"), config))
    holding.go.set()
    outcomes = [await running, ended]
    assert sum(isinstance(one, ThreadBusy) for one in outcomes) == 1
    (went_on,) = [one for one in outcomes if not isinstance(one, ThreadBusy)]
    assert (await quick.state(config)).values == went_on
    assert is_one_line(await quick.history(config))
    if durability == "sync":
        assert (first.effects + second.effects).count("after") == 1


async def test_an_update_from_outside_overtakes_a_run(pair: Pair) -> None:
    first, second, config = pair.first, pair.second, pair.first.thread()
    holding = Holding(first.effects)
    slow = holding.graph(first, adding("after", first.effects))
    quick = Holding(second.effects).graph(second, adding("after", second.effects))
    running = asyncio.create_task(outcome(slow.invoke({"log": ["slow"]}, config, durability="sync")))
    await asyncio.to_thread(holding.inside.wait, 30)
    await quick.update(config, {"log": ["by hand"]}, "held")
    holding.go.set()
    assert isinstance(await running, ThreadBusy)
    assert first.effects == ["held"]
    state = await quick.state(config)
    assert (state.values, state.next) == ({"log": ["slow", "by hand"]}, ("after 0",))
    assert await quick.invoke(None, config) == {"log": ["slow", "by hand", "after"]}


async def test_a_stale_answer_is_refused(both: Both) -> None:
    stage = Stage(both.saver, both.sync)
    builder = StateGraph(Log)
    builder.add_node("one", asking("one", stage.effects))
    builder.add_node("two", asking("two", stage.effects))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    graph, config = stage.graph(builder), stage.thread()
    await graph.invoke({"log": []}, config)
    stale = (await graph.state(config)).config
    await graph.invoke(Command(resume="yes"), config)
    before = await graph.history(config)
    with pytest.raises(ThreadBusy):
        await graph.invoke(Command(resume="yes, again"), stale)
    assert [one.values for one in await graph.history(config)] == [one.values for one in before]
    assert await graph.invoke(Command(resume="and yes"), config) == {"log": ["one:yes", "two:and yes"]}


async def test_new_input_at_an_older_checkpoint_is_a_branch(both: Both) -> None:
    """Who names a checkpoint goes back on purpose, as a chat does in which a message is edited."""
    stage = Stage(both.saver, both.sync)
    graph, config = stage.graph(chain("a", effects=stage.effects)), stage.thread()
    await graph.invoke({"log": ["one"]}, config)
    older = (await graph.state(config)).config
    await graph.invoke({"log": ["two"]}, config)
    instead = ["one", "a", "instead of two", "a"]
    assert await graph.invoke({"log": ["instead of two"]}, older) == {"log": instead}
    assert await graph.invoke({"log": ["three"]}, config) == {"log": [*instead, "three", "a"]}


async def test_who_names_no_checkpoint_makes_no_branch(both: Both) -> None:
    """New input that lost a race is refused, also where the same caller has looked at a checkpoint by name before."""
    stage = Stage(both.saver, both.sync)
    graph, config = stage.graph(chain("a", effects=stage.effects)), stage.thread()
    await graph.invoke({"log": ["one"]}, config)
    await graph.state((await graph.state(config)).config)
    outcomes = await asyncio.gather(*(outcome(graph.invoke({"log": [f"{n}"]}, config)) for n in range(6)))
    lines = (await graph.state(config)).values["log"]
    won = [n for n, one in enumerate(outcomes) if not isinstance(one, BaseException)]
    assert won
    assert all(isinstance(one, ThreadBusy) for one in outcomes if isinstance(one, BaseException))
    assert {str(n) for n in won} <= set(lines)


async def test_many_runs_at_once_leave_one_line(pair: Pair) -> None:
    """Whoever wins: each checkpoint follows from the one before, and whoever was told that it ran to the end did."""
    stages = [pair.first, pair.second] * 4

    def steps(number: int) -> list[str]:
        return [f"{number} a", f"{number} b", f"{number} c"]

    graphs = [stage.graph(chain(*steps(number))) for number, stage in enumerate(stages)]
    for round_ in range(12):
        config = pair.first.thread(str(round_))
        runs = [outcome(graph.invoke({"log": [f"{number} in"]}, config)) for number, graph in enumerate(graphs)]
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
        assert [one for one in outcomes if isinstance(one, BaseException) and not isinstance(one, ThreadBusy)] == []
        won = [number for number, one in enumerate(outcomes) if not isinstance(one, ThreadBusy)]
        assert won
        lines = (await graphs[0].state(config)).values["log"]
        for number in won:
            assert [line for line in lines if line.startswith(f"{number} ")] == [f"{number} in", *steps(number)]
        assert is_one_line(await graphs[0].history(config))


async def test_a_new_thread_is_read_while_it_begins(pair: Pair) -> None:
    """Whoever looks at it sees nothing yet, or what is there, and raises no alarm."""
    graph, reader = pair.first.graph(chain("a", "b")), pair.second.graph(chain("a", "b"))

    async def looks(config: RunnableConfig, run: asyncio.Task[Any]) -> None:
        while not run.done():
            await reader.state(config)
            await reader.history(config)
            await asyncio.sleep(0)  # a reader that never waits would let nobody else run

    configs = [pair.first.thread(str(number)) for number in range(20)]
    runs = [asyncio.create_task(graph.invoke({"log": ["in"]}, config, durability="sync")) for config in configs]
    looking = [looks(config, run) for config, run in zip(configs, runs, strict=True)]
    outcomes = await asyncio.gather(*runs, *looking, return_exceptions=True)
    assert [one for one in outcomes if isinstance(one, BaseException)] == []
    assert [(await reader.state(config)).values for config in configs] == [{"log": ["in", "a", "b"]}] * 20


async def test_wide_steps(both: Both) -> None:
    """Many tasks hand over their writes at once, in no order."""

    async def scenario(stage: Stage) -> Any:
        def spread(state: Log) -> Any:
            return [Send("worker", {"number": n}) for n in range(40)] if len(state["log"]) < 120 else END

        builder = StateGraph(Log)
        builder.add_node("begin", lambda state: {})
        builder.add_node("worker", lambda state: {"log": [str(state["number"])]})
        builder.add_node("again", lambda state: {})
        builder.add_edge(START, "begin")
        builder.add_edge("worker", "again")
        builder.add_conditional_edges("begin", spread, ["worker", END])
        builder.add_conditional_edges("again", spread, ["worker", END])
        graph, config = stage.graph(builder), stage.thread()
        result = await graph.invoke({"log": []}, config)
        assert result["log"] == [str(number) for number in range(40)] * 3
        return await graph.history(config)

    await both(scenario)


class Late(BaseCheckpointSaver[Any]):
    """A saver that reads, and hands over what it read when it is told to: a run that is slow to start."""

    def __init__(self, saver: Saver) -> None:
        super().__init__(serde=saver.serde)
        self.saver = saver
        self.has_read, self.go = threading.Event(), threading.Event()
        self.get_next_version = saver.get_next_version  # type: ignore[method-assign]
        self.put, self.aput = saver.put, saver.aput  # type: ignore[method-assign]
        self.put_writes, self.aput_writes = saver.put_writes, saver.aput_writes  # type: ignore[method-assign]

    def get_tuple(self, config: RunnableConfig) -> Any:
        found = self.saver.get_tuple(config)
        self.has_read.set()
        assert self.go.wait(30)
        return found

    async def aget_tuple(self, config: RunnableConfig) -> Any:
        found = await self.saver.aget_tuple(config)
        self.has_read.set()
        assert await asyncio.to_thread(self.go.wait, 30)
        return found


@pytest.mark.parametrize("begun", [False, True], ids=["a new thread", "a thread"])
async def test_two_runs_that_start_at_once(pair: Pair, begun: bool) -> None:
    """Both have read the same head, or none, before either of them writes."""
    first, config = pair.first, pair.first.thread()
    late = Late(pair.second.saver)
    slow = Stage(late, first.sync).graph(chain("c", "d", effects=pair.second.effects))
    quick = first.graph(chain("a", "b", effects=first.effects))
    if begun:
        await quick.invoke({"log": ["before"]}, config)
    running = asyncio.create_task(outcome(slow.invoke({"log": ["slow"]}, config, durability="sync")))
    await asyncio.to_thread(late.has_read.wait, 30)
    ended = await quick.invoke({"log": ["quick"]}, config)
    late.go.set()
    assert isinstance(await running, ThreadBusy)
    assert pair.second.effects == []
    history = await quick.history(config)
    assert history[0].values == ended
    assert is_one_line(history)


async def test_a_root_from_outside_is_a_new_beginning_on_purpose(both: Both) -> None:
    stage = Stage(both.saver, both.sync)
    graph, config = stage.graph(chain("a")), stage.thread()
    await graph.invoke({"log": ["in"]}, config)
    found = await asyncio.to_thread(both.saver.get_tuple, config)
    assert found is not None
    fresh = {**found.checkpoint, "id": "ffffffff-0000-6000-8000-000000000000", "channel_values": {"log": ["fresh"]}}
    fresh["channel_versions"] = versions = {"log": both.saver.get_next_version(None, None)}
    root: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    await asyncio.to_thread(both.saver.put, root, fresh, {"source": "loop", "step": 0, "parents": {}}, versions)  # type: ignore[arg-type]
    assert (await graph.state(config)).values == {"log": ["fresh"]}


# --- deletion


async def test_a_thread_that_is_deleted_under_a_run_stays_deleted(pair: Pair) -> None:
    first, second, config, other = pair.first, pair.second, pair.first.thread(), pair.first.thread("other")
    holding = Holding(first.effects)
    slow = holding.graph(first, adding("after", first.effects))
    quick = second.graph(chain("a", "b"))
    kept = await quick.invoke({"log": ["other"]}, other)
    await quick.invoke({"log": ["personal"]}, config)
    running = asyncio.create_task(outcome(slow.invoke({"log": ["more"]}, config, durability="sync")))
    await asyncio.to_thread(holding.inside.wait, 30)
    await asyncio.to_thread(second.saver.delete_thread, "t")
    holding.go.set()
    assert isinstance(await running, ThreadErased)
    assert first.effects == ["held"]
    assert pair.rows("t") == {}
    for graph in (quick, slow):
        assert (await graph.state(config)).values == {}
        assert await graph.history(config) == []
        with pytest.raises(ThreadErased):
            await graph.invoke({"log": ["again"]}, config)
        with pytest.raises(ThreadErased):
            await graph.update(config, {"log": ["again"]}, "a" if graph is quick else "held")
    with pytest.raises(ThreadErased):
        await asyncio.to_thread(first.saver.copy_thread, "other", "t")
    await asyncio.to_thread(second.saver.delete_thread, "t")
    assert pair.rows("t") == {}
    assert (await quick.state(other)).values == kept


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_a_run_of_a_deleted_thread_leaves_nothing_however_it_saves(pair: Pair, durability: Any) -> None:
    holding, config = Holding(pair.first.effects), pair.first.thread()
    slow = holding.graph(pair.first, adding("after", pair.first.effects))
    running = asyncio.create_task(outcome(slow.invoke({"log": ["personal"]}, config, durability=durability)))
    await asyncio.to_thread(holding.inside.wait, 30)
    await asyncio.to_thread(pair.second.saver.delete_thread, "t")
    holding.go.set()
    assert isinstance(await running, ThreadErased)
    assert pair.rows("t") == {}
    assert (await slow.state(config)).values == {}


async def test_what_a_run_left_is_deleted_and_the_thread_goes_on(both: Both, settings: Settings) -> None:
    stage = Stage(both.saver, both.sync)

    def answers(state: MessagesState) -> Any:
        return {"messages": [said("yes", f"a-{state['messages'][-1].id}")]}

    graph, config = stage.graph(conversation(answers)), stage.thread()
    for number in range(3):
        run = {**config, "metadata": {"run_id": f"run-{number}"}}
        await graph.invoke({"messages": [person("?", str(number))]}, run)
    await asyncio.to_thread(both.saver.delete_for_runs, ["run-2"])
    assert [one.id for one in (await graph.state(config)).values["messages"]] == ["0", "a-0", "1", "a-1"]
    result = await graph.invoke({"messages": [person("?", "3")]}, config)
    assert [one.id for one in result["messages"]] == ["0", "a-0", "1", "a-1", "3", "a-3"]
    with Runtime.open(settings=settings) as other:
        found = await asyncio.to_thread(other.checkpointer.get_tuple, config)
        assert found is not None
        assert found.checkpoint["channel_values"]["messages"] == result["messages"]


async def test_what_a_run_left_is_deleted_with_its_values(both: Both, settings: Settings) -> None:
    stage = Stage(both.saver, both.sync)
    graph, config = stage.graph(chain("a", "b")), stage.thread()
    for number in range(2):
        await graph.invoke({"log": ["in"]}, {**config, "metadata": {"run_id": f"run-{number}"}})
    pair = Pair(stage, stage, settings.database_url)
    await asyncio.to_thread(both.saver.delete_for_runs, ["run-0", "run-1"])
    assert {table for table in pair.rows("t") if table != "data_key"} == set()
    assert await graph.invoke({"log": ["anew"]}, config) == {"log": ["anew", "a", "b"]}


@pytest.mark.parametrize("strategy", ["keep_latest", "delete"])
async def test_a_pruned_thread_goes_on(both: Both, settings: Settings, strategy: str) -> None:
    stage = Stage(both.saver, both.sync)

    def answers(state: MessagesState) -> Any:
        return {"messages": [said("yes", f"a-{state['messages'][-1].id}")]}

    graph, config = stage.graph(conversation(answers)), stage.thread()
    kept: list[str] = []
    for number in range(4):
        result = await graph.invoke({"messages": [person("?", str(number))]}, config)
        kept = [*(kept if strategy == "keep_latest" else []), str(number), f"a-{number}"]
        assert [one.id for one in result["messages"]] == kept
        await asyncio.to_thread(lambda: both.saver.prune(["t"], strategy=strategy))
        assert len(await graph.history(config)) == (1 if strategy == "keep_latest" else 0)
    with Runtime.open(settings=settings) as other:
        found = await asyncio.to_thread(other.checkpointer.get_tuple, config)
        messages = found.checkpoint["channel_values"]["messages"] if found else []
        assert [one.id for one in messages] == (kept if strategy == "keep_latest" else [])


async def test_a_copy_goes_its_own_way(both: Both) -> None:
    stage = Stage(both.saver, both.sync)
    graph = stage.graph(with_subgraph(stage.effects, checkpointer=True))
    source, target = stage.thread("source"), stage.thread("target")
    await graph.invoke({"log": ["in"]}, source)
    await asyncio.to_thread(both.saver.copy_thread, "source", "target")
    copied, original = await graph.state(target, subgraphs=True), await graph.state(source, subgraphs=True)
    assert (
        plain(copied) == plain(original) | {} if isinstance(plain(copied), dict) else copied.values == original.values
    )
    results = [await graph.invoke(Command(resume=name), config) for name, config in (("s", source), ("t", target))]
    assert [f"inner ask:{name}" in result["log"] for name, result in zip("st", results, strict=True)] == [True, True]
    histories = [await graph.history(config) for config in (source, target)]
    assert [one.values for one in histories[0]][2:] == [one.values for one in histories[1]][2:]


# --- the saver as such


async def test_a_blocking_call_on_the_runtimes_own_loop_is_refused(async_runtime: AsyncRuntime) -> None:
    saver, config = async_runtime.checkpointer, {"configurable": {"thread_id": "t"}}
    with pytest.raises(ConfigurationError):
        saver.get_tuple(config)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        list(saver.list(config))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        saver.delete_thread("t")
    assert await saver.aget_tuple(config) is None  # type: ignore[arg-type]


async def test_threads_of_many_loops_at_once(runtime: Runtime) -> None:
    def play(number: int) -> Any:
        graph = chain("a", "b").compile(checkpointer=runtime.checkpointer)
        config: RunnableConfig = {"configurable": {"thread_id": str(number)}}
        for _ in range(3):
            result = (
                graph.invoke({"log": [str(number)]}, config)
                if number % 2
                else asyncio.run(graph.ainvoke({"log": [str(number)]}, config))
            )
        return result

    results = await asyncio.gather(*(asyncio.to_thread(play, number) for number in range(12)))
    assert results == [{"log": [str(number), "a", "b"] * 3} for number in range(12)]


async def test_a_type_that_the_runtime_was_not_told_comes_back_as_plain_data(runtime: Runtime) -> None:
    builder = StateGraph(Everything)
    builder.add_node("node", lambda state: {"note": Notes(text="n", at=datetime(2026, 1, 1, tzinfo=UTC))})
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=runtime.checkpointer)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    given = {"place": Place("here", Point(1, 2)), "anything": [Point(3, 4)]}
    await asyncio.to_thread(graph.invoke, given, config)
    found = (await asyncio.to_thread(graph.get_state, config)).values
    assert found["place"] == {"name": "here", "at": {"x": 1, "y": 2}}
    assert found["anything"] == [{"x": 3, "y": 4}]
    assert found["note"]["text"] == "n"


async def test_a_saver_with_a_longer_list_of_types_is_the_same_saver(runtime: Runtime) -> None:
    """LangGraph makes one for each graph where its own strict mode is on."""
    saver = runtime.checkpointer
    knowing = saver.with_allowlist([(__name__, "Point")])
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    builder = StateGraph(Everything)
    builder.add_node("node", lambda state: {"log": ["node"]})
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=knowing)
    await asyncio.to_thread(graph.invoke, {"anything": Point(1, 2)}, config)
    with pytest.raises(ThreadBusy):
        await asyncio.to_thread(refork, saver, config)
    for one, expected in ((knowing, Point(1, 2)), (saver, {"x": 1, "y": 2})):
        found = await asyncio.to_thread(one.get_tuple, config)
        assert found is not None
        assert found.checkpoint["channel_values"]["anything"] == expected


def refork(saver: Saver, config: RunnableConfig) -> None:
    """Put a child of a checkpoint that is not the head."""
    first = list(saver.list(config))[-1]
    later = {**first.checkpoint, "id": "ffffffff-0000-6000-8000-000000000000"}
    saver.put(first.config, later, {"source": "loop", "step": 9, "parents": {}}, {})  # type: ignore[arg-type]


async def test_a_graph_that_is_called_in_a_node_on_a_thread_of_its_own(both: Both) -> None:
    async def scenario(stage: Stage) -> Any:
        inner = stage.graph(chain("inner", effects=stage.effects))
        own = stage.thread("own")

        def calls(state: Log) -> Any:
            return {"log": [str(len(inner.compiled.invoke({"log": ["called"]}, own)["log"]))]}

        async def calls_async(state: Log) -> Any:
            return {"log": [str(len((await inner.compiled.ainvoke({"log": ["called"]}, own))["log"]))]}

        builder = StateGraph(Log)
        builder.add_node("calls", RunnableLambda(calls, afunc=calls_async))
        builder.add_edge(START, "calls")
        graph, config = stage.graph(builder), stage.thread()
        for number in range(3):
            result = await graph.invoke({"log": [f"in {number}"]}, config)
        assert result["log"] == ["in 0", "2", "in 1", "4", "in 2", "6"]
        return [await graph.history(config), await inner.history(own)]

    await both(scenario)


def test_what_a_task_wrote_is_kept_as_it_was_then(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """LangGraph hands writes over beside the nodes that come next, and those may change a message in place."""
    saver, dump = runtime.checkpointer, runtime.checkpointer._dump
    config = saver.put({"configurable": {"thread_id": "t", "checkpoint_ns": ""}}, empty_checkpoint(), {}, {})
    message = HumanMessage("as it was", id="1")
    busy, free, dumped = threading.Event(), threading.Event(), threading.Event()

    def noted(value: Any) -> bytes:
        try:
            return dump(value)
        finally:
            dumped.set()

    monkeypatch.setattr(saver, "_dump", noted)
    saver.loop.call_soon_threadsafe(lambda: (busy.set(), free.wait(30)))
    busy.wait()
    writes = threading.Thread(target=saver.put_writes, args=(config, [("messages", [message])], "task"))
    writes.start()
    dumped.wait(5)
    message.content = "changed"
    free.set()
    writes.join()
    kept = saver.get_tuple(config)
    assert kept is not None
    assert [value[0].content for _, _, value in kept.pending_writes or ()] == ["as it was"]
