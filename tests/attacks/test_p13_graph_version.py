"""P13: a thread resumes on the graph version that it was started with, or is refused with a clear error."""

from __future__ import annotations

import pytest
from langgraph.types import Command
from plain import PlainBank, thread

from bank import POLICY, Bank, texts
from stateward import call
from stateward.errors import ThreadError

BIG = [call("pay", amount=500)]
NO_WIRE = POLICY.replace("  wire: {effect: write, for: [bot]}\n", "")


def test_a_graph_with_other_tools_does_not_take_over_a_waiting_thread(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    changed = bank.graph(BIG, policy=NO_WIRE, without=["wire"])
    with pytest.raises(ThreadError, match="resume it with the version that it was started with"):
        run.resume(changed)
    assert bank.ran == []


def test_the_version_that_it_was_started_with_still_resumes_it(bank: Bank) -> None:
    run = bank.run(BIG)
    run.decide("approve")
    changed = bank.graph(BIG, policy=NO_WIRE, without=["wire"])
    with pytest.raises(ThreadError):
        run.resume(changed)
    assert texts(run.resume()) == ['{"done": 500.0}']
    assert bank.amounts() == [500]


def test_a_new_request_on_an_old_thread_is_refused_as_well(bank: Bank) -> None:
    run = bank.run()
    changed = bank.graph(policy=NO_WIRE, without=["wire"])
    with pytest.raises(ThreadError, match="graph_version"):
        changed.invoke({"messages": [("user", "go")]}, run.config)


def test_another_workflow_does_not_take_over_the_thread(bank: Bank) -> None:
    run = bank.run(BIG)
    other = bank.flow(bank.tools(), POLICY, [])
    other.name = "another"
    with pytest.raises(ThreadError, match="another"):
        run.resume(other.compile(bank.runtime))


def test_the_same_graph_compiled_twice_is_the_same_version(bank: Bank) -> None:
    assert bank.flow(bank.tools(), POLICY, []).ward().version == bank.flow(bank.tools(), POLICY, []).ward().version


def test_a_thread_that_was_opened_before_its_graph_was_loaded_can_run(bank: Bank) -> None:
    config = bank.config("early")
    graph = bank.graph([call("pay", amount=5)])
    graph.invoke({"messages": [("user", "go")]}, config)
    assert bank.amounts() == [5]
    assert bank.runtime.find_thread("early").facts.graph_version


def test_a_thread_of_the_first_release_is_not_refused(bank: Bank) -> None:
    # The bank's version as 0.1.0 computed it: edges that came since lead nowhere that it could not have gone.
    assert bank.flow(bank.tools(), POLICY, []).ward().version == "658599326afc"


def test_plain_a_renamed_node_swallows_the_approval_falls() -> None:
    bank, config = PlainBank(), thread()
    assert "__interrupt__" in bank.gated_graph("gate").invoke({}, config)
    renamed = bank.gated_graph("approval")
    assert renamed.invoke(Command(resume="approve"), config) == {"amount": 500.0, "said": []}  # no error, and no effect
    assert bank.ran == []
    assert renamed.get_state(config).next == ()
