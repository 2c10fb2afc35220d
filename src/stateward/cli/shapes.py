"""The JSON that `--json` prints. The shapes are stable: keys are added, never renamed or dropped.

| command | shape |
|---|---|
| `threads` | `{"threads": [thread]}` |
| `threads import` | `{"schema", "threads": [thread and what became of it], "left"}` |
| `inbox` | `{"approvals": [approval]}` |
| `show` | an approval with `signatures` |
| `decide` | the approval after the decision |
| `delegate`, `delegations`, `delegations end` | `{"delegations": [delegation]}` |
| `tick` | `{"events": [{"event", "approval"}]}` |
| `abandon` | `{"thread", "finished", "effects": [{"action", "tool", "outcome", "why", "approval"}]}` |
| `timeline` | `{"thread": id, "entries": [entry]}` |
| `metrics` | the fields of `stateward.audit.views.Metrics` |
| `audit verify` | `{"intact", "threads", "entries", "breaks": [{"thread", "seq", "problem", "detail"}]}` |
| `keys` | `{"ring", "where", "current", "keys": [{"master", "status", "data_keys"}]}` |
| `keys rotate` | the same with `rewrapped` |
| `policy check` | `{"policy": "name@version", "tools": [name], "others": [digest]}` |
| `policy explain` | `{"tool", "verdict", "policy", "policy_digest", "reasons", "trace", "facts"[, "recorded"]}` |
| `policy test` | `{"passed": n, "failed": n, "cases": [{"name", "line", "passed", "verdict", "differs"}]}` |
| `policy diff` | `{"old", "new", "effect", "changes": [{"place", "kind", "effect", "old", "new"}]}` |
| `policy backtest` | `{"policy", "judged", "same", "different", "by_verdict", "by_rule", "actions", "unjudged"}` |
| `doctor` | `{"healthy": bool, "checks": [{"name", "status", "found", "fix"}]}` |

Threads, approvals and entries are those of `stateward.shapes`, which the HTTP API shows too.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from stateward import shapes
from stateward.audit.views import Metrics
from stateward.model.abandonment import Abandonment
from stateward.model.approval import Approval, Delegation
from stateward.model.ledger import AuditReport, Entry
from stateward.model.thread import ThreadRecord


def emit(value: object) -> None:
    """Print JSON, and nothing else, on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def thread_json(record: ThreadRecord) -> dict[str, Any]:
    """A thread."""
    return shapes.Thread.of(record).json_object()


def approval_json(approval: Approval) -> dict[str, Any]:
    """A question to people."""
    return shapes.Approval.of(approval).json_object()


def delegation_json(one: Delegation) -> dict[str, Any]:
    """One person decides with the right of another, for a time."""
    return {
        "id": one.id,
        "from": one.delegator,
        "roles": list(one.roles),
        "to": one.delegate,
        "tenant": one.tenant,
        "since": shapes.when(one.since),
        "until": shapes.when(one.until),
        "revoked_at": None if one.revoked_at is None else shapes.when(one.revoked_at),
    }


def abandonment_json(made: Abandonment) -> dict[str, Any]:
    """What came of abandoning a thread."""
    effects = [asdict(one) for one in made.effects]
    return {"thread": made.thread, "finished": not made.waiting, "effects": effects}


def entry_json(entry: Entry) -> dict[str, Any]:
    """A ledger entry, with what it says for people under `text`."""
    return shapes.Entry.of(entry).json_object()


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Metrics, by the names of their fields."""
    return asdict(metrics)


def report_json(report: AuditReport) -> dict[str, Any]:
    """What a check of the ledger found."""
    return {
        "intact": report.intact,
        "threads": report.threads,
        "entries": report.entries,
        "breaks": [asdict(one) for one in report.breaks],
    }
