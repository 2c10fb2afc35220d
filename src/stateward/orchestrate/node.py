"""The same wards for a graph that a team draws itself: one node that performs the calls of a turn."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import Runnable

from stateward.errors import ConfigurationError
from stateward.orchestrate.invoking import Given
from stateward.orchestrate.said import Said
from stateward.orchestrate.wards import Wards, messages_of, open_calls, turn_id
from stateward.orchestrate.workflow import Both


def ward_node(wards: Wards, *, messages_key: str) -> Runnable[Any, Any]:
    """A node that judges the calls of the last message, asks people once, and performs what is permitted, once."""

    async def act(state: Any) -> Any:
        said = await _act(wards, state, messages_key)
        plain = [one for one in said if not hasattr(one, "goto")]
        others = [one for one in said if hasattr(one, "goto")]
        update: Any = plain if isinstance(state, list) else {messages_key: plain}
        return [*others, update] if others else update

    return Both("stateward", act)


async def _act(wards: Wards, state: Any, key: str) -> list[Said]:
    message, calls = open_calls(messages_of(state, key))
    if message is None:
        raise ConfigurationError("the state has no message of a model, so there are no calls to perform")
    turn = await wards.turn(turn_id(message), given=Given(state=state))
    await wards.judge(turn, calls)
    await turn.approve()
    performed, waits = await turn.act()
    while waits:
        await turn.approve()
        performed, waits = await turn.act()
    asked = {call.id for call in calls}
    mine = [one for one in performed if one[0].action.call.id in asked]
    return [said for row, receipt in mine for said in await turn.told(row, receipt)]
