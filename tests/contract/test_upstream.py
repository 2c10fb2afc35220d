"""What the saver relies on in LangGraph: each of these fails loudly when a new version of it behaves otherwise."""

from __future__ import annotations

import asyncio
import inspect
import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict
from unittest import mock

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import EXCLUDED_METADATA_KEYS, WRITES_IDX_MAP, BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.base import BasePostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

from stateward.upstream import Serializer

READS = "(self, config)"
LISTS = "(self, config, *, filter=None, before=None, limit=None)"
PUTS = "(self, config, checkpoint, metadata, new_versions)"
WRITES = "(self, config, writes, task_id, task_path='')"
HISTORY = "(self, *, config, channels)"
SURFACE = {
    "get": READS,
    "aget": READS,
    "get_tuple": READS,
    "aget_tuple": READS,
    "list": LISTS,
    "alist": LISTS,
    "put": PUTS,
    "aput": PUTS,
    "put_writes": WRITES,
    "aput_writes": WRITES,
    "delete_thread": "(self, thread_id)",
    "adelete_thread": "(self, thread_id)",
    "delete_for_runs": "(self, run_ids)",
    "adelete_for_runs": "(self, run_ids)",
    "copy_thread": "(self, source_thread_id, target_thread_id)",
    "acopy_thread": "(self, source_thread_id, target_thread_id)",
    "prune": "(self, thread_ids, *, strategy='keep_latest')",
    "aprune": "(self, thread_ids, *, strategy='keep_latest')",
    "get_delta_channel_history": HISTORY,
    "aget_delta_channel_history": HISTORY,
    "get_next_version": "(self, current, channel)",
    "with_allowlist": "(self, extra_allowlist)",
}


class Count(BaseModel):
    n: int


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


class Recorder(InMemorySaver):
    """A saver that keeps what it was called with, in the order of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def put(self, config, checkpoint, metadata, new_versions) -> RunnableConfig:
        said = {"config": config, "checkpoint": checkpoint, "metadata": dict(metadata), "new": new_versions}
        self.calls.append(("put", said))
        return super().put(config, checkpoint, metadata, new_versions)

    def put_writes(self, config, writes, task_id, task_path="") -> None:
        said = {"config": config, "writes": list(writes), "task_id": task_id, "task_path": task_path}
        self.calls.append(("put_writes", said))
        super().put_writes(config, writes, task_id, task_path)

    def puts(self) -> list[dict[str, Any]]:
        return [said for name, said in self.calls if name == "put"]

    def written(self) -> list[dict[str, Any]]:
        return [said for name, said in self.calls if name == "put_writes"]


# One worker runs what LangGraph hands to its executor in the order in which it was handed over.
CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}, "max_concurrency": 1}
Way = Callable[..., Awaitable[Any]]


async def in_thread(graph: Any, given: Any, config: RunnableConfig = CONFIG, **options: Any) -> Any:
    return await asyncio.to_thread(graph.invoke, given, config, **options)


async def on_loop(graph: Any, given: Any, config: RunnableConfig = CONFIG, **options: Any) -> Any:
    return await graph.ainvoke(given, config, **options)


@pytest.fixture(params=[in_thread, on_loop], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture
def saver() -> Recorder:
    return Recorder()


def fanning_out(saver: Recorder) -> Any:
    """a, then two workers by Send, then a question."""
    builder = StateGraph(Log)
    builder.add_node("a", lambda state: {"log": ["a"]})
    builder.add_node("worker", lambda state: {"log": ["worker"]})
    builder.add_node("ask", lambda state: {"log": [interrupt("?")]})
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: [Send("worker", state)] * 2, ["worker"])
    builder.add_edge("worker", "ask")
    return builder.compile(checkpointer=saver)


def asking_twice(saver: Recorder) -> Any:
    """One question after the other, each in a node of its own."""
    builder = StateGraph(Log)
    builder.add_node("first", lambda state: {"log": [interrupt("first?")]})
    builder.add_node("second", lambda state: {"log": [interrupt("second?")]})
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    return builder.compile(checkpointer=saver)


def test_a_saver_has_the_methods_that_ours_implements() -> None:
    found = {name: getattr(BaseCheckpointSaver, name) for name in vars(BaseCheckpointSaver) if name[0] != "_"}
    assert {name: bare(function) for name, function in found.items() if inspect.isfunction(function)} == SURFACE


def bare(function: Callable[..., Any]) -> str:
    """The signature without its annotations."""
    signature = inspect.signature(function)
    bare_parameters = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=bare_parameters, return_annotation=inspect.Signature.empty))


def test_special_writes_have_places_of_their_own() -> None:
    assert WRITES_IDX_MAP == {"__error__": -1, "__scheduled__": -2, "__interrupt__": -3, "__resume__": -4}


def test_what_never_becomes_metadata() -> None:
    assert {"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"} <= EXCLUDED_METADATA_KEYS


def test_versions_are_ordered_as_text_and_differ() -> None:
    after = BasePostgresSaver.get_next_version
    first, again = after(None, None, None), after(None, None, None)  # type: ignore[arg-type]
    second = after(None, first, None)  # type: ignore[arg-type]
    assert isinstance(first, str)
    assert first != again
    assert first < second
    assert (first.split(".")[0], second.split(".")[0]) == (f"{1:032}", f"{2:032}")


async def test_a_run_shows_itself_in_the_config_of_each_put(saver: Recorder, invoke: Way) -> None:
    await invoke(fanning_out(saver), {"log": []})
    for said in [*saver.puts(), *saver.written()]:
        assert isinstance(said["config"]["configurable"]["__pregel_runtime"], Runtime)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_the_durability_stands_in_the_config_when_it_was_chosen(
    saver: Recorder, invoke: Way, durability: str
) -> None:
    await invoke(fanning_out(saver), {"log": []}, durability=durability)
    assert {said["config"]["configurable"]["__pregel_durability"] for said in saver.puts()} == {durability}


async def test_the_durability_does_not_stand_in_the_config_when_it_was_not(saver: Recorder, invoke: Way) -> None:
    await invoke(fanning_out(saver), {"log": []})
    assert not any("__pregel_durability" in said["config"]["configurable"] for said in saver.puts())


async def test_an_update_from_outside_shows_no_run(saver: Recorder) -> None:
    graph = fanning_out(saver)
    graph.update_state(CONFIG, {"log": ["before"]}, as_node="a")
    await graph.aupdate_state(CONFIG, {"log": ["more"]}, as_node="a")
    assert [said["metadata"]["source"] for said in saver.puts()] == ["update", "update"]
    for said in [*saver.puts(), *saver.written()]:
        assert "__pregel_runtime" not in said["config"]["configurable"]


async def test_the_config_of_a_put_names_the_parent_and_that_of_writes_their_checkpoint(
    saver: Recorder, invoke: Way
) -> None:
    await invoke(fanning_out(saver), {"log": []})
    ids = [said["checkpoint"]["id"] for said in saver.puts()]
    assert [said["config"]["configurable"].get("checkpoint_id") for said in saver.puts()] == [None, *ids[:-1]]
    assert {said["config"]["configurable"]["checkpoint_id"] for said in saver.written()} == set(ids)
    assert ids == sorted(ids)


async def test_the_channels_of_control_have_these_names(saver: Recorder, invoke: Way) -> None:
    await invoke(fanning_out(saver), {"log": []})
    checkpoints = [said["checkpoint"] for said in saver.puts()]
    versions = set().union(*(checkpoint["channel_versions"] for checkpoint in checkpoints))
    assert versions == {"__start__", "log", "branch:to:a", "branch:to:ask", "__pregel_tasks"}
    assert checkpoints[2]["channel_values"]["__pregel_tasks"] == [Send("worker", {"log": ["a"]})] * 2
    assert checkpoints[-1]["channel_values"]["branch:to:ask"] is None
    writes = [(name, value) for said in saver.written() for name, value in said["writes"]]
    assert [name for name, _ in writes if name.startswith("__")] == ["__pregel_tasks"] * 2 + ["__interrupt__"]
    assert ("branch:to:ask", None) in writes


async def test_only_what_changed_is_said_to_be_new(saver: Recorder, invoke: Way) -> None:
    await invoke(fanning_out(saver), {"log": []})
    before: dict[str, Any] = {}
    for said in saver.puts():
        versions = said["checkpoint"]["channel_versions"]
        assert said["new"] == {name: version for name, version in versions.items() if before.get(name) != version}
        assert all(versions[name] >= version for name, version in before.items())
        before = versions


async def test_messages_have_their_ids_before_they_are_written(saver: Recorder, invoke: Way) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("yes")]})
    builder.add_edge(START, "answer")
    await invoke(builder.compile(checkpointer=saver), {"messages": [HumanMessage("?")]})
    written = [value for said in saver.written() for name, value in said["writes"] if name == "messages"]
    kept = saver.puts()[-1]["checkpoint"]["channel_values"]["messages"]
    assert [one.id for value in written for one in value] == [one.id for one in kept]
    assert all(one.id for one in kept)


async def test_a_finished_task_is_written_before_the_next_checkpoint(saver: Recorder, invoke: Way) -> None:
    """That is the order of handing over; with more than one worker, threads may still overtake each other."""
    await invoke(fanning_out(saver), {"log": []})
    order = [name for name, _ in saver.calls]
    start, a, workers, question = ["put", "put_writes"], ["put", "put_writes"], ["put"] + ["put_writes"] * 2, ["put"]
    assert order == [*start, *a, *workers, *question, "put_writes"]
    for said in saver.written():
        assert isinstance(said["task_path"], str)


async def test_a_stale_answer_goes_on_as_if_nothing_had_happened_since(saver: Recorder, invoke: Way) -> None:
    """So the source alone does not tell a second run from the first: the parent has to."""
    graph = asking_twice(saver)
    await invoke(graph, {"log": []})
    stale = graph.get_state(CONFIG).config
    await invoke(graph, Command(resume="one"))
    head = graph.get_state(CONFIG).config
    before = len(saver.puts())
    await invoke(graph, Command(resume="again"), {**CONFIG, **stale})
    (said,) = saver.puts()[before:]
    assert said["metadata"]["source"] == "loop"
    assert said["config"]["configurable"]["checkpoint_id"] == stale["configurable"]["checkpoint_id"]
    assert said["config"]["configurable"]["checkpoint_id"] != head["configurable"]["checkpoint_id"]


async def test_going_back_to_an_old_checkpoint_is_declared_as_a_fork(saver: Recorder, invoke: Way) -> None:
    graph = asking_twice(saver)
    await invoke(graph, {"log": []})
    old = graph.get_state(CONFIG).config
    await invoke(graph, Command(resume="one"))
    before = len(saver.puts())
    await invoke(graph, None, {**CONFIG, **old})
    said = saver.puts()[before:]
    assert [one["metadata"]["source"] for one in said] == ["fork"]
    assert said[0]["config"]["configurable"]["checkpoint_id"] == old["configurable"]["checkpoint_id"]


async def test_an_update_of_an_old_checkpoint_is_declared_as_an_update(saver: Recorder, invoke: Way) -> None:
    graph = asking_twice(saver)
    await invoke(graph, {"log": []})
    old = graph.get_state(CONFIG).config
    await invoke(graph, Command(resume="one"))
    graph.update_state(old, {"log": ["other"]}, as_node="first")
    assert saver.puts()[-1]["metadata"]["source"] == "update"
    assert saver.puts()[-1]["config"]["configurable"]["checkpoint_id"] == old["configurable"]["checkpoint_id"]


async def test_new_input_at_an_old_checkpoint_is_not_declared(saver: Recorder, invoke: Way) -> None:
    """A chat that edits an earlier message does this: it looks like a run that lost a race."""
    graph = asking_twice(saver)
    await invoke(graph, {"log": []})
    old = graph.get_state(CONFIG).config
    await invoke(graph, Command(resume="one"))
    before = len(saver.puts())
    await invoke(graph, {"log": ["edited"]}, {**CONFIG, **old})
    first = saver.puts()[before]
    assert first["metadata"]["source"] == "input"
    assert first["config"]["configurable"]["checkpoint_id"] == old["configurable"]["checkpoint_id"]


def with_a_subgraph(saver: InMemorySaver, checkpointer: bool | None) -> Any:
    """A graph whose only node is a graph that asks."""
    inner = StateGraph(Log)
    inner.add_node("ask", lambda state: {"log": [interrupt("?")]})
    inner.add_edge(START, "ask")
    builder = StateGraph(Log)
    builder.add_node("before", lambda state: {"log": ["before"]})
    builder.add_node("inner", inner.compile(checkpointer=checkpointer))
    builder.add_edge(START, "before")
    builder.add_edge("before", "inner")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("checkpointer", [None, True])
async def test_time_travel_shows_itself_in_a_subgraphs_config_only(
    saver: Recorder, invoke: Way, checkpointer: bool | None
) -> None:
    """It says neither `fork` nor `update` when it begins anew, or from an older checkpoint of its own."""
    graph = with_a_subgraph(saver, checkpointer)
    await invoke(graph, {"log": []})
    await invoke(graph, Command(resume="one"))
    assert not any(said["config"]["configurable"].get("__pregel_replay_state") for said in saver.puts())
    old = next(one for one in graph.get_state_history(CONFIG) if one.next == ("inner",))
    before = len(saver.puts())
    await invoke(graph, None, {**CONFIG, **old.config})
    nested = [said for said in saver.puts()[before:] if said["config"]["configurable"]["checkpoint_ns"]]
    assert [said["metadata"]["source"] for said in nested] == ["input", "loop"]
    assert not nested[0]["config"]["configurable"].get("checkpoint_id")
    assert all(said["config"]["configurable"]["__pregel_replay_state"] for said in nested)
    # Going on from there is no time travel any more.
    before = len(saver.puts())
    await invoke(graph, Command(resume="two"))
    assert not any(said["config"]["configurable"].get("__pregel_replay_state") for said in saver.puts()[before:])


class Refusing(InMemorySaver):
    """Takes no checkpoint of a subgraph."""

    def put(self, config, checkpoint, metadata, new_versions) -> RunnableConfig:
        if config["configurable"]["checkpoint_ns"]:
            raise OSError("refused")
        return super().put(config, checkpoint, metadata, new_versions)


async def test_a_refusal_is_not_told_where_a_subgraph_ends_with_a_question(invoke: Way) -> None:
    """So a saver cannot rely on its error being seen, and has to refuse the question as well."""
    result = await invoke(with_a_subgraph(Refusing(), None), {"log": []})
    assert [one.value for one in result["__interrupt__"]] == ["?"]


async def test_a_barrier_is_handed_over_by_reference(saver: Recorder, invoke: Way) -> None:
    """A saver that writes it down later writes down what later steps have made of it."""
    builder = StateGraph(Log)
    for name in ("start", "left", "right", "longer", "end"):
        builder.add_node(name, lambda state, name=name: {"log": [name]})
    builder.add_edge(START, "start")
    builder.add_edge("start", "left")
    builder.add_edge("start", "right")
    builder.add_edge("right", "longer")
    builder.add_edge(["left", "longer"], "end")
    await invoke(builder.compile(checkpointer=saver), {"log": []})
    seen = [said["checkpoint"]["channel_values"].get("join:left+longer:end") for said in saver.puts()]
    sets = [one for one in seen if one is not None]
    assert len(sets) > 1
    assert sets[0] is sets[1]


async def test_an_empty_interrupt_leaves_its_task_to_be_run_again(saver: Recorder, invoke: Way) -> None:
    """A node that cannot go on beside one that asks: the run ends with the question, the answer runs both again."""
    ran: list[str] = []

    def held(state: Log) -> Log:
        ran.append("held")
        if ran.count("held") < 3:
            raise GraphInterrupt(())
        return {"log": ["held"]}

    def asks(state: Log) -> Log:
        ran.append("asks")
        return {"log": [interrupt("?")]}

    builder = StateGraph(Log)
    builder.add_node("held", held)
    builder.add_node("asks", asks)
    builder.add_edge(START, "held")
    builder.add_edge(START, "asks")
    graph = builder.compile(checkpointer=saver)

    result = await invoke(graph, {"log": []})
    assert [one.value for one in result["__interrupt__"]] == ["?"]
    assert sorted(ran) == ["asks", "held"]
    state = graph.get_state(CONFIG)
    assert {task.name: len(task.interrupts) for task in state.tasks} == {"held": 0, "asks": 1}
    assert sorted(state.next) == ["asks", "held"]
    assert [name for said in saver.written()[1:] for name, _ in said["writes"]] == ["__interrupt__"]

    result = await invoke(graph, Command(resume="yes"))
    assert sorted(ran) == ["asks", "asks", "held", "held"]
    assert "__interrupt__" not in result
    assert graph.get_state(CONFIG).next == ("held",)

    assert await invoke(graph, None) == {"log": ["yes", "held"]}
    assert sorted(ran) == ["asks", "asks", "held", "held", "held"]


async def test_an_empty_interrupt_alone_ends_the_run_without_a_question(saver: Recorder, invoke: Way) -> None:
    def held(state: Log) -> Log:
        raise GraphInterrupt(())

    builder = StateGraph(Log)
    builder.add_node("held", held)
    builder.add_edge(START, "held")
    builder.add_edge("held", END)
    graph = builder.compile(checkpointer=saver)
    assert await invoke(graph, {"log": ["begun"]}) == {"log": ["begun"]}
    assert graph.get_state(CONFIG).next == ("held",)
    assert graph.get_state(CONFIG).interrupts == ()


MESSAGES = [
    HumanMessage("hello", id="h", name="ann", additional_kwargs={"a": {"b": [1]}}),
    HumanMessage([{"type": "text", "text": "hi"}, {"type": "image", "url": "u"}, "words"]),
    SystemMessage("be brief", response_metadata={"n": 1.5}),
    AIMessage(
        [{"type": "text", "text": "see"}],
        id="a",
        tool_calls=[{"name": "look", "args": {"n": 1, "deep": {"x": [None, True]}}, "id": "c", "type": "tool_call"}],
        invalid_tool_calls=[{"name": "x", "args": "{", "id": "d", "error": "no JSON", "type": "invalid_tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    ),
    ToolMessage("done", tool_call_id="c", name="look", artifact={"rows": [1, 2]}, status="error"),
    ToolMessage("done", tool_call_id="c", artifact=b"\x00"),
    AIMessageChunk("part", id="k"),
    AIMessage("", odd="an extra field"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_comes_back_as_langgraph_brings_it(message: BaseMessage) -> None:
    kept = JsonPlusSerializer(allowed_msgpack_modules=None).dumps_typed({"messages": [message]})
    theirs = JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed(kept)["messages"][0]
    ours = Serializer(allowed_msgpack_modules=None).loads_typed(kept)["messages"][0]
    assert type(ours) is type(theirs) is type(message)
    assert (ours, vars(ours), repr(ours)) == (theirs, vars(theirs), repr(theirs))
    assert ours.model_fields_set == theirs.model_fields_set
    assert ours.model_copy(update={"id": "new"}) == theirs.model_copy(update={"id": "new"})
    assert Serializer(allowed_msgpack_modules=None).dumps_typed(ours) == JsonPlusSerializer().dumps_typed(theirs)


def test_a_message_of_another_version_of_langchain_is_validated() -> None:
    fields = {"content": "hello", "id": "h", "type": "human"}
    kept = ormsgpack.Ext(5, ormsgpack.packb(("langchain_core.messages.human", "HumanMessage", fields, "x")))
    ours = Serializer(allowed_msgpack_modules=None).loads_typed(("msgpack", ormsgpack.packb(kept)))
    assert ours == HumanMessage("hello", id="h")
    assert ours.additional_kwargs == {}


def test_no_message_is_validated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = JsonPlusSerializer().dumps_typed([one for one in MESSAGES if type(one) is not AIMessageChunk][:6])
    validated = mock.Mock(return_value=None)
    for kind in (HumanMessage, AIMessage, ToolMessage, SystemMessage):
        monkeypatch.setattr(kind, "__init__", validated)
    assert len(Serializer(allowed_msgpack_modules=None).loads_typed(kept)) == 6
    assert not validated.called


def test_the_allowlist_of_a_graph_holds_for_what_stands_beside_messages() -> None:
    kept = JsonPlusSerializer().dumps_typed([HumanMessage("hello"), Count(n=1)])
    serializer = Serializer(allowed_msgpack_modules=None)
    assert serializer.loads_typed(kept) == [HumanMessage("hello"), {"n": 1}]
    assert serializer.with_msgpack_allowlist([Count]).loads_typed(kept) == [HumanMessage("hello"), Count(n=1)]
