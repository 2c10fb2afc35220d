"""P3, labels: what a thread has read stays on it, is durable before anything that is judged later, and goes along with
memory.
"""

from __future__ import annotations

import pytest
from langgraph.types import Command

from bank import Killed
from mailroom import BOSS, WAYS, Mailroom, Way
from stateward import Runtime, Settings, call, tool

MAIL, LETTER = [call("read_mail")], [call("send", text="hello")]


@tool
async def gossip() -> str:
    """Hear something."""
    return "they say"


@pytest.fixture(params=WAYS)
def room(request: pytest.FixtureRequest, runtime: Runtime, database_url: str) -> Mailroom:
    way: Way = request.param
    return Mailroom(runtime=runtime, url=database_url, way=way)


def test_what_is_sent_after_reading_mail_is_asked(room: Mailroom) -> None:
    room.run(LETTER, MAIL, [call("send", text="again")])
    assert room.did("send") == ["hello"]
    (asked,) = room.asked()
    assert asked.arguments == {"text": "again"}
    assert "untrusted" in asked.description
    assert room.labels() == ["untrusted"]


def test_a_write_that_returns_what_strangers_say_counts_as_reading(room: Mailroom) -> None:
    room.run([call("write_back", text="hi")], LETTER)
    assert room.did("send") == []
    assert len(room.asked()) == 1


def test_calls_of_one_turn_are_judged_before_any_of_them_runs(room: Mailroom) -> None:
    room.run([*MAIL, *LETTER], [call("send", text="again")])
    assert room.did("send") == ["hello"]
    assert [one.arguments for one in room.asked()] == [{"text": "again"}]


def test_a_denied_call_brings_nothing(room: Mailroom) -> None:
    room.policy = room.policy.replace(
        "returns: [untrusted]}\n  sup", "returns: [untrusted], deny: [{when: 'true', because: no}]}\n  sup"
    )
    room.run(MAIL, LETTER)
    assert room.labels() == []
    assert room.did("send") == ["hello"]


def test_another_request_on_the_thread_does_not_clear_it(room: Mailroom) -> None:
    _, config = room.run(MAIL)
    assert room.did("read_mail") == ["inbox"]
    again = room.graph(MAIL, LETTER, LETTER)
    again.invoke({"messages": [("user", "send a letter")]}, config)
    assert room.did("send") == []
    assert len(room.asked()) == 1


def test_another_process_knows_it(room: Mailroom, settings: Settings) -> None:
    room.run(MAIL)
    with Runtime.open(settings=settings) as second:
        graph = room.graph(MAIL, LETTER, LETTER, runtime=second)
        graph.invoke({"messages": [("user", "send a letter")]}, second.config("t-1"))
    assert room.did("send") == []
    assert len(room.asked()) == 1


def test_a_process_that_worked_on_the_thread_before_learns_what_another_has_added(
    room: Mailroom, settings: Settings
) -> None:
    _, config = room.run(LETTER)
    with Runtime.open(settings=settings) as second:
        graph = room.graph(LETTER, LETTER, MAIL, runtime=second)
        graph.invoke({"messages": [("user", "read it")]}, second.config("t-1"))
    assert room.labels() == ["untrusted"]
    # Of the script the model has said five messages by then.
    later = room.graph(LETTER, LETTER, MAIL, MAIL, MAIL, [call("send", text="late")])
    later.invoke({"messages": [("user", "send")]}, config)
    assert "late" not in room.did("send")


def test_a_tool_that_dies_has_left_its_label(room: Mailroom, settings: Settings) -> None:
    def die() -> None:
        raise Killed

    room.policy = room.policy.replace(
        "suppliers: {effect: read, for: [bot]}",
        "suppliers: {effect: write, idempotent: true, for: [bot], returns: [untrusted]}",
    )
    room.inside = die
    with pytest.raises(Killed):
        room.run([call("suppliers")], LETTER)
    assert room.labels() == ["untrusted"]


def test_a_permit_of_before_does_not_hold_once_the_thread_has_read_more(room: Mailroom) -> None:
    graph = room.graph(LETTER)
    config = room.config("t-1")
    before = "act" if room.way == "workflow" else "tools"
    graph.invoke({"messages": [("user", "go")]}, config, interrupt_before=[before])
    if room.way == "agent":  # an agent's calls are judged where they act
        assert room.rows("select * from stateward.action") == []
    room.rows("insert into stateward.thread_label values ('t-1', 'untrusted', 'elsewhere')")
    room.runtime.resume(graph, "t-1")
    assert room.did("send") == []


def test_an_approval_of_before_does_not_hold_once_the_thread_has_read_more(room: Mailroom) -> None:
    room.policy = room.policy.replace(
        "read_mail: {effect: read", "gossip: {effect: read, for: [bot], returns: [rumour]}\n  read_mail: {effect: read"
    )
    room.more = [gossip]
    room.policy = room.policy.replace("'\"untrusted\" in labels'", '\'"untrusted" in labels || "rumour" in labels\'')
    graph, _ = room.run(MAIL, LETTER)
    (asked,) = room.asked()
    room.runtime.decide(asked, "approve", by=BOSS)
    room.rows("insert into stateward.thread_label values ('t-1', 'rumour', 'elsewhere')")
    out = room.runtime.resume(graph, "t-1")
    assert room.did("send") == []
    assert "the thread has read what is rumour" in str([m.text for m in out["messages"]])


def test_an_approval_holds_where_nothing_was_added(room: Mailroom) -> None:
    graph, _ = room.run(MAIL, LETTER)
    room.runtime.decide(room.asked()[0], "approve", by=BOSS)
    room.runtime.resume(graph, "t-1")
    assert room.did("send") == ["hello"]


def test_a_question_is_bound_to_the_labels(room: Mailroom) -> None:
    room.policy = room.policy.replace("'\"untrusted\" in labels'", "'true'")
    room.run(LETTER, thread="t-1")
    room.rows("insert into stateward.thread_label values ('t-2', 'untrusted', 'elsewhere')")
    room.run(LETTER, thread="t-2")
    (first,), (second,) = room.asked("t-1"), room.asked("t-2")
    assert first.digest != second.digest
    rows = room.rows("select labels from stateward.action order by thread_id")
    assert [row["labels"] for row in rows] == [[], ["untrusted"]]


def test_state_and_config_take_no_label_away(room: Mailroom) -> None:
    graph, config = room.run(MAIL)
    graph.update_state(config, {"messages": [("user", "labels: none")]})
    forged = {**config, "configurable": {**config["configurable"], "labels": []}}
    room.graph(MAIL, LETTER, LETTER).invoke({"messages": [("user", "go")]}, forged)
    assert room.did("send") == []


def test_a_copied_thread_has_what_its_source_has_read(room: Mailroom) -> None:
    room.run(MAIL)
    room.runtime.checkpointer.copy_thread("t-1", "t-2")
    assert room.labels("t-2") == ["untrusted"]


def test_the_chain_tells_of_it_once(room: Mailroom) -> None:
    room.run(MAIL, [call("read_mail", box="other")])
    told = [entry for entry in room.runtime.timeline("t-1") if entry.kind == "thread.labelled"]
    assert [(one.tool, one.detail) for one in told] == [("read_mail", {"labels": ["untrusted"]})]
    assert room.runtime.verify_audit().intact


def store_of(room: Mailroom, *, reads: str = "", writes: str = "") -> None:
    """`suppliers` uses the plain store that every LangGraph tool is given."""
    from langgraph.config import get_store

    async def use() -> None:
        store = get_store()
        if writes:
            await store.aput((writes,), "k", {"text": "what the mail said"})
        if reads == "search":
            await store.asearch(("note",))
        elif reads:
            await store.aget((reads,), "k")

    room.inside = use


@pytest.mark.parametrize("reads", ["note", "search"])
def test_memory_takes_the_labels_to_another_thread(room: Mailroom, reads: str) -> None:
    store_of(room, writes="note")
    room.run(MAIL, [call("suppliers")], thread="t-1")
    store_of(room, reads=reads)
    room.run([call("suppliers")], LETTER, thread="t-2")
    assert room.labels("t-2") == ["untrusted"]
    assert room.did("send") == []
    assert len(room.asked("t-2")) == 1


def test_memory_of_a_clean_thread_brings_nothing(room: Mailroom) -> None:
    store_of(room, writes="note")
    room.run([call("suppliers")], thread="t-1")
    store_of(room, reads="note")
    room.run([call("suppliers")], LETTER, thread="t-2")
    assert room.labels("t-2") == []
    assert room.did("send") == ["hello"]


def test_a_kind_has_labels_of_its_own(room: Mailroom) -> None:
    store_of(room, writes="rumour")
    room.run([call("suppliers")], thread="t-1")
    assert room.labels("t-1") == []
    store_of(room, reads="rumour")
    room.run([call("suppliers")], LETTER, thread="t-2")
    assert room.labels("t-2") == ["untrusted"]
    assert room.did("send") == []


def test_a_step_that_recalls_brings_them_too(runtime: Runtime, database_url: str) -> None:
    room = Mailroom(runtime=runtime, url=database_url, way="workflow")

    async def keep(state, step, done):
        await step.remember("note", "k", text="what it said")

    async def recall(state, step):
        assert [item.labels for item in await step.recall("note")] == [("untrusted",)]

    room.run(MAIL, thread="t-1", prepare=lambda flow: flow.remember(keep, after=["read_mail"]))
    room.run(LETTER, thread="t-2", prepare=lambda flow: flow.retrieve(recall))
    assert room.did("send") == []
    assert len(room.asked("t-2")) == 1


def test_what_an_answer_resumes_is_judged_under_the_same_labels(room: Mailroom) -> None:
    graph, config = room.run(MAIL, LETTER, [call("send", text="again")])
    graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert room.did("send") == []
