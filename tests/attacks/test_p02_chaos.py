"""P2: workers that are killed at random points over calls that run at once double nothing, lose nothing, hide nothing.

A bounded number of kills; `make chaos` does a thousand. The same kills are made on the same tools in LangChain's own
agent on LangGraph's own saver, to see that they bite.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from chaos import GOVERNED, PLAIN, chaos, report

from stateward.testing.databases import Databases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SEED = 4
KILLS, PLAIN_KILLS = 60, 16
BETWEEN_AT_LEAST = 8


def test_kills_at_random_points_double_nothing_and_lose_nothing(databases: Databases, tmp_path: Path) -> None:
    began = time.monotonic()
    (lane,) = chaos(databases, tmp_path, kills=KILLS, seed=SEED, modes=GOVERNED)
    print(f"\n{report([lane], time.monotonic() - began)}")
    assert lane.defects == []
    tally = lane.tally
    assert (tally.doubled, tally.lost, tally.forbidden) == (0, 0, 0)
    assert tally.kills >= KILLS
    assert tally.between >= BETWEEN_AT_LEAST
    assert tally.unknown == tally.asked > 0


def test_plain_the_same_kills_double_effects_falls(databases: Databases, tmp_path: Path) -> None:
    began = time.monotonic()
    (lane,) = chaos(databases, tmp_path, kills=PLAIN_KILLS, seed=SEED, modes=PLAIN)
    print(f"\n{report([lane], time.monotonic() - began)}")
    assert lane.tally.doubled > 0
