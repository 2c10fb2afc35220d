"""P11: one writer per thread. A run that another one has overtaken can neither commit nor act."""

from __future__ import annotations

from threading import Barrier
from typing import Any

import pytest
from langgraph.types import Command
from plain import GO, on_postgres, thread
from test_p03_bound_approvals import APPROVE, as_server, both, stale_config

from bank import Bank, Started
from stateward import Runtime, Settings, call
from stateward.errors import ThreadBusy
from ways import every_way

BIG, NEXT = [call("pay", amount=500)], [call("renew", amount=7)]


@every_way
def test_one_turn_that_two_runs_reach_acts_once(bank: Bank, settings: Settings) -> None:
    run = two_workers(bank, settings)
    assert bank.amounts() == [500]
    assert len([row for row in run.effects() if row["tool"] == "pay"]) == 1


def test_a_stale_tab_does_not_act_on_the_turn_after(bank: Bank) -> None:
    run = bank.run(BIG, NEXT)
    stale = stale_config(run)
    run.graph.invoke(Command(resume=APPROVE), as_server(run.config))
    with pytest.raises(ThreadBusy):
        run.graph.invoke(Command(resume=APPROVE), stale)
    assert bank.amounts("renew") == [7]


def two_workers(bank: Bank, settings: Settings) -> Started:
    """Both resume one decision at the same moment."""
    run = bank.run(BIG, NEXT)
    run.decide("approve")
    with Runtime.open(settings=settings) as second:
        other: Any = bank.graph(BIG, NEXT, runtime=second)
        both(lambda: bank.runtime.resume(run.graph, run.thread), lambda: second.resume(other, run.thread))
    run.resume()
    return run


def test_plain_two_runs_of_one_thread_both_succeed_and_one_is_lost_falls(database_url: str) -> None:
    inside = Barrier(2)
    with on_postgres(database_url) as first, on_postgres(database_url) as second:
        for plain in (first, second):
            plain.bank.during = lambda: inside.wait(20) and None
        agents = [first.bank.agent([call("renew", amount=1)]), second.bank.agent([call("renew", amount=2)])]
        outs = both(*(lambda agent=agent: agent.invoke(GO, thread()) for agent in agents))
        assert [out["messages"][-1].text for out in outs] == ["done", "done"]
        assert sorted([*first.bank.ran, *second.bank.ran]) == [("renew", 1), ("renew", 2)]
        kept = [one.text for one in agents[0].get_state(thread()).values["messages"] if one.type == "tool"]
        assert len(kept) == 1
