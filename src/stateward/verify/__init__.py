"""Verify: may this happen? A policy is read, compiled against the tools, and judges each call beforehand."""

from stateward.model.history import HistoryQuery
from stateward.verify.arguments import ToolSchema
from stateward.verify.gate import Gate, RuleResult, Ruling, explain
from stateward.verify.load import PolicySource, load_policy, parse_policy, policy_digest, read_policy

__all__ = [
    "Gate",
    "HistoryQuery",
    "PolicySource",
    "RuleResult",
    "Ruling",
    "ToolSchema",
    "explain",
    "load_policy",
    "parse_policy",
    "policy_digest",
    "read_policy",
]
