"""Make the question: what is asked, of whom, why, until when, and the digest that binds the answer to it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from stateward.model.approval import Approval, ApprovalKind, DecisionKind
from stateward.model.thread import ThreadFacts
from stateward.model.values import digest
from stateward.model.verdict import Reason, Requirement
from stateward.ports import ActionRow, Judged

ANSWER_DECISIONS: tuple[DecisionKind, ...] = ("approve", "edit", "reject")
ACTION_DECISIONS: tuple[DecisionKind, ...] = ("approve", "edit", "reject", "respond")
UNDO_DECISIONS: tuple[DecisionKind, ...] = ("approve", "reject", "respond")
OUTCOME_DECISIONS: tuple[DecisionKind, ...] = ("done", "retry", "give_up")
OUTCOME_STANDS = timedelta(days=30)


def action_question(judged: Judged, thread: ThreadFacts) -> Approval:
    """The question that goes with an `Ask`: every asking rule is in it.

    Raises:
        ValueError: the verdict is not an `Ask`.
    """
    if judged.verdict.kind != "ask":
        raise ValueError(f"a verdict of {judged.verdict.kind} asks nothing")
    action, answers = judged.action, judged.effect == "answer"
    bound = [action.call.tool, action.call.arguments, action.tool_digest, judged.policy_digest]
    return _question(
        thread,
        kind="answer" if answers else "action",
        action=action.id,
        turn=action.turn,
        tool=action.call.tool,
        arguments=action.call.arguments,
        description=judged.description or _describe(judged),
        requirements=judged.verdict.requirements,
        allowed=ANSWER_DECISIONS if answers else ACTION_DECISIONS if judged.undoes is None else UNDO_DECISIONS,
        digest=digest([*bound, list(judged.labels), thread.thread, thread.principal, thread.tenant]),
        editor=judged.editor,
        confirmation=_confirmation(judged),
    )


def outcome_question(
    row: ActionRow, thread: ThreadFacts, *, attempt: int, by: Sequence[str], why: str = ""
) -> Approval:
    """Nobody knows whether a write happened, and it cannot be repeated on suspicion: did it?

    Args:
        why: What the tool raised; empty where it was cut off and could say nothing.
    """
    call = row.action.call
    because = "it failed while it ran" if why else "it was cut off while it ran"
    reason = Reason(rule=f"act.{call.tool}.unknown_outcome", because=because)
    return _question(
        thread,
        kind="outcome",
        action=row.action.id,
        turn=row.action.turn,
        tool=call.tool,
        arguments=call.arguments,
        description=(
            f"`{call.tool}` was started (attempt {attempt}) and {_ended(why)}, so nobody knows whether it was done. "
            "Look at the other side, then answer **done** (it happened), **retry** (it did not: run it again) "
            "or **give up** (leave it). Where a client has other buttons: Approve is done, Respond is retry, Reject is "
            "give up."
        ),
        requirements=(Requirement(by=tuple(by), within=OUTCOME_STANDS, reason=reason),),
        allowed=OUTCOME_DECISIONS,
        digest=digest([call.tool, call.arguments, row.action.tool_digest, attempt, thread.thread]),
        salt=str(attempt),
    )


def escalation_question(
    thread: ThreadFacts, *, action: str, turn: str, why: str, by: Sequence[str], within: timedelta
) -> Approval:
    """The workflow cannot go on by itself: a person says how, or ends it."""
    reason = Reason(rule="escalate", because=why)
    return _question(
        thread,
        kind="escalation",
        action=action,
        turn=turn,
        tool="escalate",
        arguments={"why": why},
        description=f"The workflow cannot go on by itself: {why}. Respond with what it should do, or reject to end it.",
        requirements=(Requirement(by=tuple(by), within=within, reason=reason),),
        allowed=("respond", "reject"),
        digest=digest([turn, why, thread.thread]),
        salt=turn,
    )


def approval_id(*parts: str) -> str:
    """A short id for people, `A-` and eight letters or digits; the same parts give the same id."""
    return short_id("A", *parts)


def short_id(letter: str, *parts: str) -> str:
    """A letter, and eight letters or digits that the parts give."""
    raw = hashlib.sha256("\0".join(parts).encode()).digest()
    return f"{letter}-" + base64.b32encode(raw).decode()[:8]


def _question(
    thread: ThreadFacts,
    *,
    kind: ApprovalKind,
    action: str,
    requirements: tuple[Requirement, ...],
    salt: str = "",
    editor: str | None = None,
    **fields: object,
) -> Approval:
    now, stage = datetime.now(UTC), min(requirement.stage for requirement in requirements)
    return Approval(
        id=approval_id(thread.thread, action, kind, salt),
        kind=kind,
        action=action,
        tenant=thread.tenant,
        thread=thread.thread,
        requester=thread.requester,
        subject=thread.subject,
        requirements=requirements,
        requested_at=now,
        expires_at=now + min(requirement.within for requirement in requirements if requirement.stage == stage),
        stage=stage,
        editor=editor,
        **fields,  # pyright: ignore[reportArgumentType]
    )


def _describe(judged: Judged) -> str:
    lines = [f"- {reason.because} (`{reason.rule}`)" for reason in judged.verdict.reasons]
    word = _confirmation(judged)
    typed = [] if word is None else ["", f"To approve it, type exactly `{word}` as the confirmation."]
    when = " before it leaves" if judged.effect == "answer" else ""
    taking_back = "" if judged.undoes is None else f", to take back what action {judged.undoes} has done"
    read = [f"The thread has read what is {', '.join(judged.labels)}."] if judged.labels else []
    return "\n".join([f"`{judged.action.call.tool}` needs an approval{when}{taking_back}:", *lines, *read, *typed])


def _confirmation(judged: Judged) -> str | None:
    """What is to be typed: the first number among the arguments, which is mostly the amount, else the tool's name."""
    verdict, call = judged.verdict, judged.action.call
    if verdict.kind != "ask" or not any(requirement.confirm for requirement in verdict.requirements):
        return None
    numbers = (one for one in call.arguments.values() if isinstance(one, int | float) and not isinstance(one, bool))
    number = next(numbers, None)
    if number is None:
        return call.tool
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _ended(why: str) -> str:
    return f"failed ({why.strip().rstrip('.')})" if why else "cut off before it could say so"
