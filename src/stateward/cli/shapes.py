"""The JSON that `--json` prints. The shapes are stable: keys are added, never renamed or dropped.

| command | shape |
|---|---|
| `threads` | `{"threads": [thread]}` |
| `threads import` | `{"schema", "threads": [thread and what became of it], "left"}` |
| `inbox` | `{"approvals": [approval]}` |
| `show` | an approval with `signatures` |
| `decide` | the approval after the decision |
| `timeline` | `{"thread": id, "entries": [entry]}` |
| `metrics` | the fields of `stateward.audit.views.Metrics` |
| `audit verify` | `{"intact", "threads", "entries", "breaks": [{"thread", "seq", "problem", "detail"}]}` |
| `keys` | `{"ring", "where", "current", "keys": [{"master", "status", "data_keys"}]}` |
| `keys rotate` | the same with `rewrapped` |
| `policy check` | `{"policy": "name@version", "tools": [name]}` |
| `policy explain` | `{"tool", "verdict", "policy", "reasons", "trace"}` |
| `doctor` | `{"healthy": bool, "checks": [{"name", "status", "found", "fix"}]}` |

Times are ISO 8601 in UTC.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from stateward.audit.views import Metrics, sentence
from stateward.model.approval import Approval, Signature
from stateward.model.ledger import AuditReport, Entry
from stateward.model.thread import ThreadRecord


def emit(value: object) -> None:
    """Print JSON, and nothing else, on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def when(time: datetime | None) -> str | None:
    """A time in UTC."""
    return None if time is None else time.astimezone(UTC).isoformat()


def thread_json(record: ThreadRecord) -> dict[str, Any]:
    """A thread."""
    facts = record.facts
    return {
        "thread": facts.thread,
        "workflow": facts.graph,
        "workflow_version": facts.graph_version,
        "status": record.status,
        "subject": facts.subject,
        "purpose": facts.purpose,
        "principal": facts.principal,
        "requester": facts.requester,
        "tenant": facts.tenant,
        "steps": record.spent.steps,
        "tokens": record.spent.tokens,
        "usd": str(record.spent.usd),
        "created_at": when(record.created_at),
        "updated_at": when(record.updated_at),
    }


def approval_json(approval: Approval) -> dict[str, Any]:
    """A question to people."""
    return {
        "id": approval.id,
        "kind": approval.kind,
        "status": approval.status,
        "thread": approval.thread,
        "tool": approval.tool,
        "arguments": approval.arguments,
        "description": approval.description,
        "requirements": [
            {
                "by": list(one.by),
                "of": one.of,
                "not": list(one.excluding),
                "rule": one.reason.rule,
                "because": one.reason.because,
            }
            for one in approval.requirements
        ],
        "allowed": list(approval.allowed),
        "digest": approval.digest,
        "requester": approval.requester,
        "subject": approval.subject,
        "editor": approval.editor,
        "requested_at": when(approval.requested_at),
        "expires_at": when(approval.expires_at),
        "decided_at": when(approval.decided_at),
        "signatures": [_signature_json(one) for one in approval.signatures],
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """A ledger entry, with what it says for people under `text`."""
    return {
        "thread": entry.thread,
        "seq": entry.seq,
        "at": when(entry.at),
        "kind": entry.kind,
        "actor": entry.actor,
        "action": entry.action,
        "tool": entry.tool,
        "detail": entry.detail,
        "text": sentence(entry),
        "hash": entry.hash,
    }


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


def _signature_json(signature: Signature) -> dict[str, Any]:
    return {
        "by": signature.principal,
        "verified_by": signature.verified_by,
        "decision": signature.decision.kind,
        "reason": signature.decision.reason,
        "arguments": signature.decision.arguments,
        "at": when(signature.at),
    }
