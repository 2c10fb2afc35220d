"""Abandon a thread: nothing new acts on it, and what it has done is taken back, latest first, through the same gate.

Everything is found again in the database, so that calling it again goes on: after people have decided, after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stateward.act.perform import Waiting
from stateward.errors import DecisionRefused, ThreadError
from stateward.model.abandonment import Abandonment, Undoing
from stateward.model.effect import Receipt
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts
from stateward.model.values import Json
from stateward.orchestrate.services import Services, Ward
from stateward.orchestrate.steps import Turn, permit_of
from stateward.orchestrate.turns import Rounds
from stateward.ports import ActionRow


async def abandon(services: Services, thread: str, *, by: Principal, reason: str) -> Abandonment:
    """End a thread, and take back what it has done as far as that can be done now.

    Args:
        services: The ports of the runtime that its workflow is loaded in.
        thread: Its id.
        by: Who ends it, verified.
        reason: Why, for the ledger.

    Raises:
        UnknownThread: nobody opened it.
        ThreadError: its workflow is not loaded in this process.
        DecisionRefused: it is not theirs to abandon, or there is no reason. The attempt is in the ledger.
    """
    facts = await services.facts(thread)
    ward = services.ward_of(facts)
    why = why_not(ward, facts, by, reason)
    if why:
        detail: dict[str, Json] = {"why": why, "verified_by": by.verified_by}
        await services.ledger.append(thread, "abandon.refused", actor=by.id, detail=detail)
        raise DecisionRefused(f"{thread}: {why}")
    await services.threads.abandon(thread, by=by, reason=reason.strip(), retention=ward.document.threads)
    await services.desk.look(thread, "")  # what is due by the clock has lapsed by now
    await services.reading(ward, facts, anew=True)  # an undo is judged by what the thread has read, too
    effects = await _Undoer(services=services, ward=ward, thread=facts).run()
    made = Abandonment(thread=thread, effects=tuple(effects))
    if not made.waiting:
        await services.threads.conclude(thread, actor=by.id, detail=_told(made))
    return made


def why_not(ward: Ward, thread: ThreadFacts, by: Principal, reason: str) -> str:
    """Why somebody may not abandon a thread; empty where they may.

    They are those whom the policy's `abandon:` names. Where it says nothing: whoever asked for the work, and the people
    of `escalate:`. An agent never is.
    """
    rule, escalation = ward.document.abandon, ward.document.escalate
    named = rule.by if rule else escalation.to if escalation else ()
    asked_for_it = rule is None and by.id == thread.requester
    if by.kind == "agent":
        return f"{by.id} is an agent; only a person or a service abandons a thread"
    if by.tenant != thread.tenant:
        return "the thread belongs to another tenant"
    if not asked_for_it and by.names.isdisjoint(named):
        allowed = named if rule else (thread.requester, *named)
        return f"{by.id} may not abandon it; it is for {', '.join(dict.fromkeys(allowed))}"
    return "" if reason.strip() else "abandoning a thread needs a reason"


@dataclass(frozen=True, kw_only=True)
class _Undoer:
    services: Services
    ward: Ward
    thread: ThreadFacts

    async def run(self) -> list[Undoing]:
        unknown = [found for row, receipt in await self._begun() if (found := await self._find_out(row, receipt))]
        if unknown:
            return unknown
        done = [(row, receipt) for row, receipt in await self._begun() if receipt.status != "failed"]
        # All are judged before any is performed, so that people are asked once.
        judged = [(row, await self._judge(row, receipt)) for row, receipt in done]
        effects: list[Undoing] = []
        for row, undo in judged:
            before = next((one for one in effects if one.outcome == "waiting"), None)
            effects.append(await self._undo(row, undo, before))
        await self.services.journal.begun(self.thread.thread)  # what was done has its receipt before it is told
        return effects

    async def _begun(self) -> list[tuple[ActionRow, Receipt]]:
        return [one for one in await self.services.journal.begun(self.thread.thread) if one[0].undoes is None]

    async def _find_out(self, row: ActionRow, receipt: Receipt) -> Undoing | None:
        """What an effect of unknown outcome waits for; None where it is known."""
        if receipt.status not in ("reserved", "unknown"):
            return None
        spec = self.ward.tools.get(row.action.call.tool)
        turn, call = self._turn(row), row.action.call
        await turn.meet([call])
        found = await turn.performer().find_out(permit_of(row), self.thread, turn.traits(call, spec))
        if isinstance(found, Waiting):
            return _undoing(row, "waiting", "nobody knows whether it happened", found.approval.id)
        return _undoing(row, "waiting", "a worker still runs it") if found.status == "reserved" else None

    async def _judge(self, row: ActionRow, receipt: Receipt) -> ActionRow | str:
        """The call that takes it back, as it was judged at first; or why there is none."""
        spec, turn = self.ward.tools.get(row.action.call.tool), self._turn(row)
        if receipt.status == "abandoned":
            return f"nobody knows whether it happened: {receipt.error}"
        if known := await turn.rows():
            return known[-1]
        if spec is None or spec.undo is None:
            return "it has no undo"
        try:
            call = spec.undo.call(row.action.call.arguments, receipt.result)
        except Exception as error:  # the team's function: what it raises is told, and the others go on
            return f"the call that undoes it could not be made: {type(error).__name__}: {error}"
        return (await turn.verify([call]))[-1]

    async def _undo(self, row: ActionRow, undo: ActionRow | str, before: Undoing | None) -> Undoing:
        if isinstance(undo, str):
            return _undoing(row, "left", undo)
        turn = self._turn(row)
        if undo.status == "asked":
            return await self._asked(row, turn)
        if before is not None and undo.status == "permitted":
            return _undoing(row, "waiting", f"{before.tool} is undone before it")
        try:
            outcome = await turn.act_one(undo.action.call.id, await turn.rows())
        except ThreadError as error:  # another process abandons it at the same time
            return _undoing(row, "waiting", error.message)
        if outcome is None:
            return await self._asked(row, turn)
        _, receipt = outcome
        if receipt.status == "settled":
            return _undoing(row, "undone")
        return _undoing(row, "left", _left(undo, receipt))

    async def _asked(self, row: ActionRow, turn: Turn) -> Undoing:
        questions = await self.services.desk.of_turn(self.thread.thread, turn.id)
        pending = [one for one in questions if one.status == "pending"]
        return _undoing(row, "waiting", "people are asked", pending[-1].id if pending else None)

    def _turn(self, row: ActionRow) -> Turn:
        undoes = row.action.id
        return Turn(
            services=self.services,
            ward=self.ward,
            thread=self.thread,
            id=f"undo:{undoes}",
            rounds=Rounds(),
            undoes=undoes,
        )


def _undoing(row: ActionRow, outcome: str, why: str = "", approval: str | None = None) -> Undoing:
    return Undoing(
        action=row.action.id,
        tool=row.action.call.tool,
        outcome=outcome,  # pyright: ignore[reportArgumentType]
        why=why,
        approval=approval,
    )


def _left(undo: ActionRow, receipt: Receipt) -> str:
    tool = undo.action.call.tool
    if undo.status == "responded":
        return f"a person answered in place of {tool}: {undo.response}"
    return f"{tool}: {receipt.error}"


def _told(made: Abandonment) -> dict[str, Json]:
    def named(effects: Iterable[Undoing]) -> list[Json]:
        return [{"action": one.action, "tool": one.tool, **({"why": one.why} if one.why else {})} for one in effects]

    return {"undone": named(made.undone), "left": named(made.left)}
