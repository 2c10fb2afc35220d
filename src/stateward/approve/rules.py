"""Who may decide what, as plain functions: authority, segregation of duties, quorum, stages, expiry. No I/O.

They are for previews, and for people to read. What decides is `stateward.decide` in the database, which says the same:
a test holds the two against each other, sentence by sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stateward.model.approval import Approval, ApprovalStatus, Decision, Delegation
from stateward.model.principal import Principal
from stateward.model.verdict import Requirement

_CLOSES: dict[str, ApprovalStatus] = {
    "edit": "edited",
    "reject": "rejected",
    "respond": "responded",
    "done": "approved",
    "retry": "edited",
    "give_up": "rejected",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighed:
    """Whether a person may take a decision.

    Attributes:
        why: Why not, or None where they may.
        acting_for: The delegation that they decide by, where they have no right of their own.
    """

    why: str | None = None
    acting_for: Delegation | None = None


def weigh(
    approval: Approval,
    decision: Decision,
    principal: Principal,
    *,
    now: datetime,
    digest: str | None = None,
    delegations: Sequence[Delegation] = (),
) -> Weighed:
    """Whether this person may take this decision now.

    Args:
        digest: What the person was shown, where that is known.
        delegations: Those that name the person as the delegate.
    """
    why = _question_refusal(approval, principal, now, digest) or _decision_refusal(approval, decision)
    if why is not None:
        return Weighed(why=why)
    return _authority(approval, principal, _holding(delegations, approval, principal, now))


def refusal(
    approval: Approval,
    decision: Decision,
    principal: Principal,
    *,
    now: datetime,
    digest: str | None = None,
    delegations: Sequence[Delegation] = (),
) -> str | None:
    """Why this person may not take this decision, or None where they may. The arguments are those of `weigh`."""
    return weigh(approval, decision, principal, now=now, digest=digest, delegations=delegations).why


def outcome(
    approval: Approval, decision: Decision, principal: Principal, *, acting_for: Delegation | None = None
) -> ApprovalStatus:
    """What the approval becomes by this decision: `pending` while more people have to approve.

    An edit, a rejection and an answer close it at once; an approval closes it when every asking rule has its quorum,
    stage by stage.
    """
    if decision.kind != "approve":
        return _CLOSES[decision.kind]
    by = principal.names if acting_for is None else acting_for.by
    signers = [*_signers(approval), (by, principal.names | by)]
    met = all(_count(requirement, signers, approval) >= requirement.of for requirement in approval.open_requirements)
    last = all(requirement.stage <= approval.stage for requirement in approval.requirements)
    return "approved" if met and last else "pending"


def may_sign(requirement: Requirement, by: frozenset[str], everybody: frozenset[str], approval: Approval) -> bool:
    """Whether somebody counts for this rule.

    Args:
        by: The names that they decide by: their own, or those of a delegation.
        everybody: All names of theirs, and of whom they stand for: a rule excludes each of them.
    """
    return bool(by & set(requirement.by)) and not everybody & _excluded(requirement, approval)


def unconfirmed(word: str) -> str:
    """Why an approval counts for nothing where the word that it asks for was not typed."""
    return f"to approve it, {json.dumps(word, ensure_ascii=False)} has to be typed as the confirmation"


def _question_refusal(approval: Approval, principal: Principal, now: datetime, digest: str | None) -> str | None:
    if principal.kind != "person":
        return f"{principal.id} is of the kind {principal.kind}; only a person decides"
    if principal.tenant != approval.tenant:
        return "the approval belongs to another tenant"
    if approval.status != "pending":
        return f"it is {approval.status} already"
    if now >= approval.expires_at:
        return f"it expired at {approval.expires_at:%Y-%m-%d %H:%M} UTC"
    if digest is not None and digest != approval.digest:
        return "it asks for something else than what you were shown; look at it again"
    return None


def _decision_refusal(approval: Approval, decision: Decision) -> str | None:
    if decision.kind not in approval.allowed:
        return f"{decision.kind!r} cannot be answered here; allowed: {', '.join(approval.allowed)}"
    if decision.kind == "edit" and decision.arguments is None:
        return "an edit needs the complete new arguments"
    if decision.kind in ("reject", "respond") and not decision.reason.strip():
        return f"{decision.kind} needs a reason: why, or what the answer is"
    word = approval.confirmation
    if decision.kind == "approve" and word is not None and (decision.confirmation or "").strip() != word:
        return unconfirmed(word)
    return None


def _authority(approval: Approval, principal: Principal, delegations: Sequence[Delegation]) -> Weighed:
    signed = _has_signed(approval, principal.id)
    if signed is not None:
        return Weighed(why=signed)
    rules, mine = approval.open_requirements, principal.names
    if any(may_sign(rule, mine, mine, approval) for rule in rules):
        return Weighed()
    barred: list[str] = []
    for one in delegations:
        if not any(one.by & set(rule.by) for rule in rules):
            continue
        if _may_act_for(approval, principal, one):
            return Weighed(acting_for=one)
        barred.append(one.delegator)
    return Weighed(why=_why_not(approval, principal, barred))


def _may_act_for(approval: Approval, principal: Principal, delegation: Delegation) -> bool:
    # Through a delegation nobody decides about themselves, whatever the policy leaves open.
    if principal.id in (approval.requester, approval.subject, approval.editor):
        return False
    if _has_signed(approval, delegation.delegator) is not None:
        return False
    everybody = principal.names | delegation.by
    return any(may_sign(rule, delegation.by, everybody, approval) for rule in approval.open_requirements)


def _why_not(approval: Approval, principal: Principal, barred: Sequence[str]) -> str:
    rules, mine = approval.open_requirements, principal.names
    named = [rule for rule in rules if mine & set(rule.by)]
    if named:
        return f"{principal.id} is excluded here (segregation of duties: {', '.join(_exclusions(named))})"
    if barred:
        return f"{principal.id} may not decide this for {barred[0]} (segregation of duties)"
    by = ", ".join(sorted({name for rule in rules for name in rule.by})) or "nobody"
    if any(rule.stage > approval.stage and mine & set(rule.by) for rule in approval.requirements):
        return f"it is not {principal.id}'s turn yet; first it is for {by}"
    roles = f" ({', '.join(sorted(principal.roles))})" if principal.roles else ""
    return f"{principal.id}{roles} may not decide this; it is for {by}"


def _has_signed(approval: Approval, person: str) -> str | None:
    for one in approval.signatures:
        if one.principal == person:
            return f"{person} has signed already; it needs different people"
        if one.acting_for == person:
            return f"{one.principal} has signed for {person} already; it needs different people"
    return None


def _holding(
    delegations: Sequence[Delegation], approval: Approval, principal: Principal, now: datetime
) -> list[Delegation]:
    mine = (one for one in delegations if (one.tenant, one.delegate) == (approval.tenant, principal.id))
    holding = (one for one in mine if one.revoked_at is None and one.since <= now < one.until)
    return sorted(holding, key=lambda one: (one.delegator, one.id))


def _signers(approval: Approval) -> list[tuple[frozenset[str], frozenset[str]]]:
    signed = (one for one in approval.signatures if one.asking == approval.asking and one.decision.kind == "approve")
    return [(one.by, one.names) for one in signed]


def _count(
    requirement: Requirement, signers: Iterable[tuple[frozenset[str], frozenset[str]]], approval: Approval
) -> int:
    return sum(may_sign(requirement, by, everybody, approval) for by, everybody in signers)


def _excluded(requirement: Requirement, approval: Approval) -> set[str]:
    people = {"requester": approval.requester, "subject": approval.subject, "editor": approval.editor}
    return {people.get(name, name) or "" for name in requirement.excluding}


def _exclusions(requirements: Iterable[Requirement]) -> list[str]:
    return sorted({f"not {name}" for requirement in requirements for name in requirement.excluding})
