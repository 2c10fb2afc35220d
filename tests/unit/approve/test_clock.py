"""What is due by the clock is done, and told of; who cannot be told stops nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from stateward.approve.ask import action_question
from stateward.approve.clock import tick, tick_on
from stateward.errors import DatabaseError
from stateward.ports import Notice
from stateward.testing.contracts.samples import asks, facts, judged

NOTICE = Notice(event="reminded", approval=action_question(judged(asks()), facts()))


@dataclass
class Desk:
    """A desk where something is due each time; the first time its server is away."""

    ticks: int = 0
    third: asyncio.Event = field(default_factory=asyncio.Event)

    async def tick(self) -> list[Notice]:
        self.ticks += 1
        if self.ticks == 1:
            raise DatabaseError("away")
        if self.ticks == 3:
            self.third.set()
        return [NOTICE, NOTICE]


@dataclass
class Mail:
    """A notifier whose first message cannot be sent."""

    told: list[Notice] = field(default_factory=list[Notice])

    async def notify(self, notice: Notice) -> None:
        self.told.append(notice)
        if len(self.told) == 1:
            raise ConnectionError("no mail today")


async def test_who_cannot_be_told_is_logged_and_the_next_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    desk, mail = cast("Any", Desk(ticks=1)), Mail()
    with caplog.at_level(logging.WARNING):
        assert await tick(desk, mail) == [NOTICE, NOTICE]
    assert mail.told == [NOTICE, NOTICE]
    assert "no mail today" in caplog.text


async def test_without_anybody_to_tell_it_is_done_all_the_same() -> None:
    assert await tick(cast("Any", Desk(ticks=1)), None) == [NOTICE, NOTICE]


async def test_it_goes_on_when_the_server_was_away() -> None:
    desk = Desk()
    ticking = asyncio.create_task(tick_on(cast("Any", desk), None, every=0))
    await desk.third.wait()
    ticking.cancel()
    await asyncio.wait([ticking])
