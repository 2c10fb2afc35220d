"""What the contracts are checked with: a thread, judged actions, and the permits that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal

from stateward.model.action import Action, Call, action_id
from stateward.model.history import HistoryQuery, HistoryScope
from stateward.model.memory import Scope
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json
from stateward.model.verdict import Allow, Ask, Deny, Permit, Reason, Requirement, Verdict
from stateward.ports import ActionRow, Judged, Past
from stateward.testing.contracts import Adapters

BOT, BOSS = "bot", Principal("boss")
HOUR = timedelta(hours=1)


def facts(thread: str = "t1", *, subject: str = "customer:17", tenant: str = "default") -> ThreadFacts:
    """A thread."""
    return ThreadFacts(
        thread=thread,
        tenant=tenant,
        principal=BOT,
        requester="ann",
        purpose="bank",
        subject=subject,
        graph="bank",
        graph_version="1",
    )


def scope(thread: str = "t1", *, subject: str = "customer:17", tenant: str = "default", purpose: str = "bank") -> Scope:
    """On whose behalf memory is used."""
    return Scope(tenant=tenant, principal=BOT, purpose=purpose, subject=subject, thread=thread)


def asks(*, of: int = 1, within: timedelta = timedelta(days=1)) -> Ask:
    """A verdict that asks the boss."""
    reason = Reason(rule="tools.pay.ask[0]", because="big")
    return Ask(requirements=(Requirement(by=("boss",), of=of, within=within, reason=reason),))


def denies() -> Deny:
    """A verdict that denies."""
    return Deny(reasons=(Reason(rule="tools.pay.deny[0]", because="never"),))


def judged(
    verdict: Verdict | None = None,
    *,
    call: str = "c1",
    thread: str = "t1",
    arguments: dict[str, Json] | None = None,
    effect: Literal["read", "write"] = "write",
    edit: int = 0,
    turn: str = "turn-1",
    position: int = 0,
) -> Judged:
    """A judged call of `pay`; allowed unless said otherwise."""
    action = Action(
        id=action_id(thread=thread, turn=turn, call=call, edit=edit),
        thread=thread,
        turn=turn,
        position=position,
        call=Call(id=call, tool="pay", arguments={"amount": 500} if arguments is None else arguments),
        tool_digest="schema",
        edit=edit,
    )
    return Judged(
        action=action,
        verdict=verdict or Allow(),
        policy="bank@1",
        policy_digest="policy",
        effect=effect,
        identity=None,
        idempotent=False,
    )


def past(tool: str = "pay", *, scope: HistoryScope = "tenant", excluding: Sequence[str] = ()) -> Past:
    """Number and sum of the last hour."""
    count = HistoryQuery(kind="count", window=HOUR, scope=scope)
    return Past(tool=tool, queries=[count, replace(count, kind="sum", argument="amount")], excluding=excluding)


async def recorded(adapters: Adapters, *what: Judged, thread: str = "t1") -> list[ActionRow]:
    """An open thread with these actions; gives the rows of their turn."""
    await adapters.threads.open(facts(thread))
    return await adapters.journal.record(facts(thread), what, actor="policy:bank")


async def permit(adapters: Adapters, judged_: Judged | None = None) -> Permit:
    """The permit of one allowed call."""
    row = (await recorded(adapters, judged_ or judged()))[0]
    return permit_of(row)


def permit_of(row: ActionRow) -> Permit:
    """The permit that a row stands for."""
    assert row.effect != "answer"
    call = row.action.call
    return Permit(
        action=row.action.id,
        thread=row.action.thread,
        call=call.id,
        tool=call.tool,
        arguments=call.arguments,
        effect=row.effect,
    )


async def kinds(adapters: Adapters, thread: str = "t1") -> list[str]:
    """The ledger of a thread, by kind."""
    return [entry.kind async for entry in adapters.ledger.entries(thread)]
