"""A run that cannot go on by itself asks a person how, or ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from stateward.approve.ask import escalation_question
from stateward.model.approval import Decision
from stateward.orchestrate.steps import Turn, settlers


async def escalate(turn: Turn, why: str, *, about: str) -> Decision | None:
    """Ask how to go on, and wait; it interrupts the run until somebody has said so.

    Args:
        turn: A turn of the run.
        why: Why it cannot go on, for people.
        about: What it is about: the same after a crash, and another one for the next question.

    Returns:
        What the person says the run should do; None where it is to end, or nobody answered in time.
    """
    rule, asking = turn.ward.document.escalate, replace(turn, id=f"escalate:{about}")
    desk, thread = turn.services.desk, turn.thread
    if not await desk.of_turn(thread.thread, asking.id):
        by = rule.to if rule else settlers(turn.ward, "")
        within = rule.after if rule else timedelta(days=7)
        question = escalation_question(thread, action="", turn=asking.id, why=why, by=by, within=within)
        await desk.ask(question, actor=thread.principal)
    await asking.approve()
    signed = [one.signatures[-1].decision for one in await desk.of_turn(thread.thread, asking.id) if one.signatures]
    return signed[-1] if signed and signed[-1].kind == "respond" else None
