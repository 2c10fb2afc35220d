"""Who may decide what, as plain functions: authority, segregation of duties, quorum, expiry. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from stateward.model.approval import Approval, ApprovalStatus, Decision
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


def refusal(approval: Approval, decision: Decision, principal: Principal, *, now: datetime) -> str | None:
    """Why this person may not take this decision, or None where they may."""
    if principal.kind != "person":
        return f"{principal.id} is a {principal.kind}; only a person decides"
    if principal.tenant != approval.tenant:
        return "the approval belongs to another tenant"
    if approval.status != "pending":
        return f"it is {approval.status} already"
    if now >= approval.expires_at:
        return f"it expired at {approval.expires_at:%Y-%m-%d %H:%M} UTC"
    return _decision_refusal(approval, decision) or _authority_refusal(approval, principal)


def outcome(approval: Approval, decision: Decision, principal: Principal) -> ApprovalStatus:
    """What the approval becomes by this decision: `pending` while more people have to approve.

    An edit, a rejection and an answer close it at once; an approval closes it when every asking rule has its quorum.
    """
    if decision.kind != "approve":
        return _CLOSES[decision.kind]
    signers = [*_earlier_signers(approval), principal.names]
    met = (_has_quorum(requirement, signers, approval) for requirement in approval.requirements)
    return "approved" if all(met) else "pending"


def may_sign(requirement: Requirement, names: frozenset[str], approval: Approval) -> bool:
    """Whether somebody with these names counts for this rule: named by it, and not excluded by it."""
    return bool(names & set(requirement.by)) and not names & _excluded(requirement, approval)


def _decision_refusal(approval: Approval, decision: Decision) -> str | None:
    if decision.kind not in approval.allowed:
        return f"{decision.kind} cannot be answered here; allowed: {', '.join(approval.allowed)}"
    if decision.kind == "edit" and decision.arguments is None:
        return "an edit needs the complete new arguments"
    if decision.kind in ("reject", "respond") and not decision.reason.strip():
        return f"{decision.kind} needs a text: why, or what the answer is"
    return None


def _authority_refusal(approval: Approval, principal: Principal) -> str | None:
    if any(signature.principal == principal.id for signature in approval.signatures):
        return f"{principal.id} has signed already; it needs different people"
    if any(may_sign(requirement, principal.names, approval) for requirement in approval.requirements):
        return None
    named = [requirement for requirement in approval.requirements if principal.names & set(requirement.by)]
    if named:
        return f"{principal.id} is excluded here (segregation of duties: {', '.join(_exclusions(named))})"
    by = sorted({name for requirement in approval.requirements for name in requirement.by})
    return f"{principal.id} may not decide this; it is for {', '.join(by) or 'nobody'}"


def _earlier_signers(approval: Approval) -> list[frozenset[str]]:
    approving = (signature for signature in approval.signatures if signature.decision.kind == "approve")
    return [frozenset({signature.principal, *signature.roles}) for signature in approving]


def _has_quorum(requirement: Requirement, signers: Iterable[frozenset[str]], approval: Approval) -> bool:
    return sum(may_sign(requirement, names, approval) for names in signers) >= requirement.of


def _excluded(requirement: Requirement, approval: Approval) -> set[str]:
    people = {"requester": approval.requester, "subject": approval.subject, "editor": approval.editor}
    return {people.get(name, name) or "" for name in requirement.excluding}


def _exclusions(requirements: Iterable[Requirement]) -> list[str]:
    return sorted({f"not {name}" for requirement in requirements for name in requirement.excluding})
