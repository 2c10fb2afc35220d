"""A verdict as it was recorded: the call, on whose behalf it was, and what the rules have read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stateward.model.values import JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One recorded verdict, with what it takes to judge the call again.

    Attributes:
        action: The action's id.
        thread: Its thread.
        graph: The workflow, or the agent, that the thread runs under.
        at: When it was judged.
        tool: The tool.
        tool_digest: Digest over the tool's schema at that time.
        arguments: Exactly what was judged.
        principal: Who acted.
        roles: The principal's roles.
        requester: Who asked for the work.
        purpose: Why.
        subject: Whom or what it was about.
        verdict: What was said.
        rules: The rules that spoke.
        policy: `name@version` of the policy.
        policy_digest: Its digest.
        facts: What the rules have read besides the call and its thread.
        labels: The labels that the thread had, where the policy knew labels.
        is_answer: Whether it is an answer, with its fields as arguments, and no call.
        is_erased: Whether its thread was emptied: then the arguments are gone.
    """

    action: str
    thread: str
    graph: str
    at: datetime
    tool: str
    tool_digest: str
    arguments: JsonObject
    principal: str
    roles: tuple[str, ...] = ()
    requester: str
    purpose: str
    subject: str
    verdict: Literal["allow", "deny", "ask"]
    rules: tuple[str, ...] = ()
    policy: str
    policy_digest: str
    facts: JsonObject
    labels: tuple[str, ...] = ()
    is_answer: bool = False
    is_erased: bool = False
