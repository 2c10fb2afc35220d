"""P2: an abandoned thread acts no more, and each of its effects is taken back at most once, through the gate."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from abandon_worker import ANN, BOSS, POLICY, WORLD, Shop, load
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from plain import GO

from bank import Killed
from opening import sealer_of
from stateward import Principal, Runtime, Settings, call
from stateward.adapters.postgres.envelopes import Fields, sealed
from stateward.errors import DecisionRefused, ThreadAbandoned
from stateward.model.abandonment import Abandonment
from stateward.model.approval import Approval
from stateward.orchestrate.workflow import Graph
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

WORKER = Path(__file__).parent / "abandon_worker.py"
THREAD = "order-1"


@dataclass
class Order:
    """A thread of the shop."""

    shop: Shop
    runtime: Runtime
    settings: Settings
    graph: Graph = field(init=False)

    def run(self, *script: Any, **more: Any) -> None:
        """Go as far as it goes."""
        self.graph = self.shop.flow(*script).compile(self.runtime)
        config: Any = self.runtime.thread(
            THREAD,
            principal=Principal("bot", kind="agent"),
            purpose="shop",
            subject="order:1",
            requester="ann",
            graph="shop",
        )
        self.graph.invoke({"messages": [("user", "go")]}, config, **more)  # pyright: ignore[reportUnknownMemberType]

    def abandon(self, by: Principal = ANN) -> Abandonment:
        return self.runtime.abandon(THREAD, by=by, reason="the order was cancelled")

    @contextmanager
    def another(self) -> Iterator[Runtime]:
        """Another worker on the same database."""
        with Runtime.open(settings=self.settings) as runtime:
            load(runtime, self.shop)
            yield runtime

    @property
    def asked(self) -> Approval:
        (one,) = self.runtime.approvals(thread=THREAD)
        return one

    @property
    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.runtime.timeline(THREAD)]

    def start(self, **job: Any) -> subprocess.Popen[str]:
        """A process that is about to abandon it."""
        given = {"url": self.shop.url, "home": str(self.settings.home), "thread": THREAD, **job}
        command = [sys.executable, "-W", "error", str(WORKER), json.dumps(given)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process


@pytest.fixture
def order(runtime: Runtime, database_url: str, settings: Settings) -> Order:
    runtime.apply([("world", WORLD)])
    return Order(shop=Shop(url=database_url), runtime=runtime, settings=settings)


def outcomes(made: Abandonment) -> list[tuple[str, str]]:
    return [(one.tool, one.outcome) for one in made.effects]


def test_effects_are_undone_in_reverse_and_what_cannot_be_is_told(order: Order) -> None:
    order.run([call("charge", amount=5)], [call("mail", to="bob")], [call("ship", to="bob")])
    made = order.abandon()
    assert outcomes(made) == [("ship", "undone"), ("mail", "left"), ("charge", "undone")]
    assert order.shop.happened()[3:] == ["recall to-bob", "refund ch-5"]
    assert made.left[0].why == "it has no undo"
    told = order.runtime.timeline(THREAD)[-1]
    assert told.kind == "thread.compensated"
    assert [one["why"] for one in told.detail["left"]] == ["it has no undo"]  # type: ignore[union-attr, index, call-overload]
    assert order.runtime.find_thread(THREAD).status == "abandoned"
    assert order.runtime.verify_audit(THREAD).intact


def test_abandoning_it_again_does_nothing_more(order: Order) -> None:
    order.run([call("charge", amount=5)])
    first, before = order.abandon(), order.kinds
    assert order.abandon() == first
    assert (order.kinds, order.shop.happened()) == (before, ["charge 5.0", "refund ch-5"])


def test_the_policy_judges_an_undo_as_any_other_call(order: Order) -> None:
    order.run([call("charge", amount=13)], [call("charge", amount=7)], [call("charge", amount=1)])
    made = order.abandon()
    assert outcomes(made) == [("charge", "undone"), ("charge", "left"), ("charge", "left")]
    assert [one.why for one in made.left] == [
        "refund: the bank refused it",
        "refund: denied: thirteen is never refunded",
    ]
    assert order.shop.happened()[3:] == ["refund ch-1"]


def test_people_are_asked_about_an_undo_and_abandoning_goes_on_after_it(order: Order) -> None:
    order.run([call("charge", amount=5)], [call("charge", amount=500)])
    made = order.abandon()
    assert outcomes(made) == [("charge", "waiting"), ("charge", "waiting")]
    assert made.effects[0].approval == order.asked.id
    assert order.asked.allowed == ("approve", "reject", "respond")
    assert order.shop.happened()[2:] == []  # the one before it waits, so that the order stays
    with pytest.raises(DecisionRefused, match=r"may not|excluded"):
        order.runtime.decide(order.asked, "approve", by=ANN)
    order.runtime.decide(order.asked, "approve", by=BOSS)
    assert outcomes(order.abandon()) == [("charge", "undone"), ("charge", "undone")]
    assert order.shop.happened()[2:] == ["refund ch-500", "refund ch-5"]


@pytest.mark.parametrize(
    ("decision", "why"),
    [("reject", "refund: rejected: keep it"), ("respond", "a person answered in place of refund: keep it")],
)
def test_an_undo_that_people_refuse_is_left_and_the_others_go_on(order: Order, decision: Any, why: str) -> None:
    order.run([call("charge", amount=5)], [call("charge", amount=500)])
    order.abandon()
    order.runtime.decide(order.asked, decision, by=BOSS, reason="keep it")
    made = order.abandon()
    assert outcomes(made) == [("charge", "left"), ("charge", "undone")]
    assert made.left[0].why == why
    assert order.shop.happened()[2:] == ["refund ch-5"]


LABELLED = POLICY.replace("mail: {effect: write,", "mail: {effect: write, returns: [untrusted],").replace(
    "recall: {effect: write,",
    "recall: {deny: [{when: '\"untrusted\" in labels', because: it has read strange things}], effect: write,",
)


def test_an_undo_is_judged_by_what_the_thread_has_read_in_any_process(order: Order) -> None:
    order.shop.policy = LABELLED
    order.run([call("ship", to="bob")], [call("mail", to="bob")])
    with order.another() as other:
        made = other.abandon(THREAD, by=ANN, reason="cancelled")
    assert [one.why for one in made.left][1:] == ["recall: denied: it has read strange things"]
    assert order.shop.happened()[2:] == []


# Who may.


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (Principal("eve"), "eve may not abandon it; it is for ann, boss"),
        (Principal("eve", roles=["ann"]), "eve may not abandon it"),
        (Principal("bot", kind="agent"), "bot is an agent"),
        (Principal("ann", kind="agent"), "ann is an agent"),
        (Principal("ann", tenant="other"), "another tenant"),
    ],
)
def test_who_has_no_right_abandons_nothing(order: Order, who: Principal, why: str) -> None:
    order.run([call("charge", amount=5)])
    with pytest.raises(DecisionRefused, match=why):
        order.abandon(by=who)
    assert order.kinds[-1] == "abandon.refused"
    assert order.runtime.find_thread(THREAD).status == "answered"
    assert order.shop.happened() == ["charge 5.0"]


def test_a_reason_is_needed(order: Order) -> None:
    order.run([call("charge", amount=5)])
    with pytest.raises(DecisionRefused, match="needs a reason"):
        order.runtime.abandon(THREAD, by=ANN, reason=" ")


def test_whom_the_policy_names_may_and_then_nobody_else(order: Order) -> None:
    order.shop.policy = POLICY + "abandon: {by: [back-office]}\n"
    order.run([call("charge", amount=5)])
    for who in (ANN, BOSS):
        with pytest.raises(DecisionRefused, match="it is for back-office"):
            order.abandon(by=who)
    made = order.abandon(by=Principal("desk", kind="service", roles=["back-office"]))
    assert outcomes(made) == [("charge", "undone")]


# What waits, and who comes late.


def test_a_decision_on_a_withdrawn_approval_decides_nothing(order: Order) -> None:
    order.run([call("mail", to="everybody")])
    asked = order.asked
    order.abandon()
    assert order.runtime.approval(asked.id).status == "withdrawn"
    assert order.runtime.approval(asked.id).signatures == ()
    with pytest.raises(DecisionRefused, match="it is withdrawn already"):
        order.runtime.decide(asked, "approve", by=BOSS)
    with pytest.raises(ThreadAbandoned):
        order.runtime.resume(order.graph, THREAD)
    assert order.shop.happened() == []
    assert {"approval.withdrawn", "action.withdrawn", "thread.compensated"} <= set(order.kinds)


def test_a_permit_from_before_is_void(order: Order) -> None:
    order.run([call("mail", to="everybody")])
    order.runtime.decide(order.asked, "approve", by=BOSS)
    order.abandon()
    config: Any = order.runtime.config(THREAD)
    order.graph.invoke(None, config)  # pyright: ignore[reportUnknownMemberType]
    assert order.shop.happened() == []
    assert order.runtime.find_thread(THREAD).status == "abandoned"


def test_a_new_run_is_refused(order: Order) -> None:
    order.run([call("charge", amount=5)])
    order.abandon()
    with pytest.raises(ThreadAbandoned):
        order.run([call("charge", amount=6)])
    config: Any = order.runtime.config(THREAD)
    with pytest.raises(ThreadAbandoned):
        order.graph.invoke({"messages": [("user", "go")]}, config)  # pyright: ignore[reportUnknownMemberType]
    assert order.shop.happened() == ["charge 5.0", "refund ch-5"]


@pytest.mark.parametrize("then", [call("mail", to="bob"), call("mail", to="everybody")])
def test_a_run_that_is_under_way_acts_no_more_but_its_receipt_arrives(order: Order, then: Any) -> None:
    made: list[Abandonment] = []
    with order.another() as other:

        def abandon(tool: str) -> None:
            if tool == "charge":
                made.append(other.abandon(THREAD, by=ANN, reason="cancelled meanwhile"))

        order.shop.after = abandon
        with pytest.raises(ThreadAbandoned):
            order.run([call("charge", amount=5)], [then])
    assert [one.why for one in made[0].waiting] == ["a worker still runs it"]
    assert outcomes(order.abandon()) == [("charge", "undone")]
    assert order.shop.happened() == ["charge 5.0", "refund ch-5"]
    assert order.runtime.approvals(thread=THREAD) == []
    assert order.runtime.find_thread(THREAD).status == "abandoned"
    with psycopg.connect(order.shop.url) as connection:
        permits = "select tool from stateward.action where status in ('asked', 'permitted')"
        assert connection.execute(permits).fetchall() == []


PEEK = call("peek", at="the account")


def late(order: Order, given: Any, *, graph: Any = None, **more: Any) -> list[str]:
    """What the world sees of a run that comes too late."""
    config: Any = order.runtime.config(THREAD)
    with pytest.raises(ThreadAbandoned):
        (graph or order.graph).invoke(given, config, **more)
    return order.shop.happened()


def test_a_run_that_was_cut_off_as_it_read_does_not_read_when_it_goes_on_too_late(order: Order) -> None:
    order.shop.after = lambda tool: (_ for _ in ()).throw(Killed()) if tool == "peek" else None
    with pytest.raises(Killed):
        order.run([PEEK], [PEEK])
    order.shop.after = lambda _: None
    with order.another() as other:
        other.abandon(THREAD, by=ANN, reason="over")
    # The permit of the read is void, so the planner is told; and the read that it asks for then is refused.
    assert late(order, None) == ["peek the account"]


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_an_agent_that_is_started_too_late_does_not_read(order: Order, begun: bool) -> None:
    tools, runtime = [one for one in order.shop.tools() if one.name in ("peek", "refund", "recall")], order.runtime
    policy = parse_policy(
        "policy: shop\nversion: 1\nidentities: {bot: {kind: agent}}\ntools: {peek: {effect: read, for: [bot]}}"
    )
    ward = runtime.middleware(policy=policy, tools=tools, principal="bot", purpose="shop")
    model = ScriptedModel(script=[*([AIMessage("hello")] if begun else []), *[proposes(PEEK)] * 3])
    agent: Any = create_agent(model, tools, middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store)
    facts: dict[str, Any] = {"purpose": "shop", "subject": "x", "requester": "ann", "graph": "bot"}
    config = runtime.thread(THREAD, principal=Principal("bot", kind="agent"), **facts)
    if begun:
        agent.invoke(GO, config)
    with psycopg.connect(order.shop.url) as connection:  # another process abandons it, which has no ward to undo with
        connection.execute("select stateward.abandon(%s, 'ann', '{}')", (THREAD,))
    assert late(order, GO, graph=agent) == []


def test_a_run_that_is_under_way_reads_no_more_when_it_has_been_told(order: Order) -> None:
    with order.another() as other:
        order.shop.after = lambda tool: tool == "charge" and other.abandon(THREAD, by=ANN, reason="meanwhile")
        with pytest.raises(ThreadAbandoned):
            order.run([call("charge", amount=5)], [PEEK], durability="sync")
    assert order.shop.happened() == ["charge 5.0"]


def test_a_client_that_names_its_turn_like_an_undo_stands_for_none(order: Order) -> None:
    order.run([call("charge", amount=5)])
    assert _forge(order, "undo:") == 1
    assert outcomes(order.abandon()) == [("charge", "undone")]
    assert order.shop.happened() == ["charge 5.0", "refund ch-5"]


def _forge(order: Order, prefix: str) -> int:
    """A denied call of the turn that the undo of the first effect will have, as a client's message id could make it."""
    made = "f" * 32
    values = sealed(
        {"arguments": Fields(("action", THREAD, made)).json("arguments", {})}, sealer_of(order.runtime, THREAD)
    )
    forge = """
        insert into stateward.action
        select (jsonb_populate_record(a, jsonb_build_object(
                   'action_id', %(made)s::text, 'turn', %(prefix)s || a.action_id, 'call_id', 'undo',
                   'status', 'denied', 'verdict', 'deny', 'arguments', %(arguments)s::text))).*
          from stateward.action a where a.thread_id = %(thread)s and a.tool = 'charge'"""
    with psycopg.connect(order.shop.url) as connection:
        return connection.execute(forge, values | {"made": made, "prefix": prefix, "thread": THREAD}).rowcount


# What nobody knows.


def killed(order: Order, tool: str, *script: Any) -> None:
    """A run that dies after this tool took effect and before anybody was told."""

    def die(name: str) -> None:
        if name == tool:
            raise Killed

    with order.another() as other:
        order.shop.after, dying = die, Order(shop=order.shop, runtime=other, settings=order.settings)
        with pytest.raises(Killed):
            dying.run(*script)
    order.shop.after = lambda _: None
    load(order.runtime, order.shop)


@pytest.mark.parametrize(("shipped", "expected"), [({"parcel": "found"}, ["recall found"]), (None, [])])
def test_a_probe_says_whether_there_is_something_to_undo(order: Order, shipped: Any, expected: list[str]) -> None:
    order.shop.shipped = shipped
    killed(order, "ship", [call("ship", to="bob")])
    assert outcomes(order.abandon()) == ([("ship", "undone")] if expected else [])
    assert order.shop.happened() == ["ship bob", *expected]


@pytest.mark.parametrize(
    ("decision", "outcome", "undone"),
    [("done", [("charge", "left")], []), ("retry", [], []), ("give_up", [("charge", "left")], [])],
)
def test_without_a_probe_a_person_says_and_nothing_is_run_again(
    order: Order, decision: Any, outcome: Any, undone: list[str]
) -> None:
    killed(order, "charge", [call("ship", to="bob")], [call("charge", amount=5)])
    waiting = order.abandon()
    assert [one.why for one in waiting.effects] == ["nobody knows whether it happened"]
    assert order.asked.kind == "outcome"
    order.runtime.decide(order.asked, decision, by=BOSS)
    assert outcomes(order.abandon()) == [*outcome, ("ship", "undone")]
    assert order.shop.happened() == ["ship bob", "charge 5.0", *undone, "recall to-bob"]


@pytest.mark.slow
def test_killed_between_the_undo_and_its_receipt_it_is_finished_by_calling_it_again(order: Order) -> None:
    order.run([call("charge", amount=5)], [call("ship", to="bob")])
    process = order.start(die="recall")
    process.communicate("go\n", timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert order.shop.happened()[2:] == ["recall to-bob"]
    made = order.abandon()
    assert outcomes(made) == [("ship", "waiting"), ("charge", "waiting")]
    assert (order.asked.kind, order.asked.tool) == ("outcome", "recall")
    order.runtime.decide(order.asked, "done", by=BOSS)
    assert outcomes(order.abandon()) == [("ship", "undone"), ("charge", "undone")]
    assert order.shop.happened()[2:] == ["recall to-bob", "refund ch-5"]
    assert order.kinds.count("thread.compensated") == 1
    assert order.runtime.verify_audit(THREAD).intact


@pytest.mark.slow
def test_two_that_abandon_it_at_once_undo_each_effect_once(order: Order) -> None:
    order.run(*([call("charge", amount=n)] for n in range(1, 4)), [call("ship", to="bob")])
    two = [order.start() for _ in range(2)]
    for process in two:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in two:
        process.communicate(timeout=120)
    assert [process.returncode for process in two] == [0, 0]
    assert outcomes(order.abandon()) == [("ship", "undone"), *[("charge", "undone")] * 3]
    assert sorted(order.shop.happened()[4:]) == ["recall to-bob", "refund ch-1", "refund ch-2", "refund ch-3"]
    assert (order.kinds.count("thread.abandoned"), order.kinds.count("thread.compensated")) == (1, 1)


OPEN_DOOR = "create or replace function stateward.is_late(p jsonb) returns boolean language sql as 'select false'"


def test_control_without_the_refusal_the_late_run_acts(order: Order) -> None:
    with order.another() as other:

        def abandon(tool: str) -> None:
            if tool == "charge":
                other.abandon(THREAD, by=ANN, reason="cancelled meanwhile")
                with psycopg.connect(order.shop.url) as connection:
                    connection.execute(OPEN_DOOR)

        order.shop.after = abandon
        order.run([call("charge", amount=5)], [call("mail", to="bob")])
    assert order.shop.happened() == ["charge 5.0", "mail bob"]
