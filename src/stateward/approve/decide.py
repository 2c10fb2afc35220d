"""Take a decision: under lock, by the rules, with its ledger entries, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from stateward.approve.rules import outcome, refusal
from stateward.model.approval import Approval, Decision
from stateward.model.principal import Principal
from stateward.model.values import Json
from stateward.ports import ActionRow, Desk, DeskCase, Judged

Rejudge = Callable[[DeskCase, ActionRow, dict[str, Json], str], Awaitable[Judged | str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """The decision stands.

    Attributes:
        approval: As it is afterwards; `pending` while more people have to approve.
    """

    approval: Approval


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Nothing was decided. The refusal is in the ledger."""

    approval: Approval
    why: str


async def decide(
    desk: Desk,
    approval: str,
    decision: Decision,
    *,
    by: Principal,
    rejudge: Rejudge,
    now: datetime | None = None,
) -> Decided | Refused:
    """Take one decision.

    Args:
        desk: Where the approval lies.
        approval: Its id.
        decision: What the person says.
        by: The verified person.
        rejudge: Judges edited arguments from the start; a sentence where the tool's schema refuses them.
        now: The time, for tests.

    Raises:
        UnknownApproval: there is none of that id.
    """
    async with desk.deciding(approval) as case:
        why = refusal(case.approval, decision, by, now=now or case.now)
        if why is None:
            why = await _take(case, decision, by, rejudge)
        if why is not None:
            await case.refuse(by, decision, why)
    found = await desk.get(approval)
    current = found or case.approval
    return Decided(approval=current) if why is None else Refused(approval=current, why=why)


async def _take(case: DeskCase, decision: Decision, by: Principal, rejudge: Rejudge) -> str | None:
    status = outcome(case.approval, decision, by)
    if decision.kind == "edit":
        judged = await rejudge(case, await case.action(), decision.arguments or {}, by.id)
        if isinstance(judged, str):
            return judged
        await case.sign(by, decision)
        await case.replace(judged, principal=by)
    else:
        await case.sign(by, decision)
    if status != "pending":
        await case.close(status, principal=by, decision=decision)
    return None
