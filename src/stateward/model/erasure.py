"""The end of what is known of a subject, its receipt, and what keeps it from ending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stateward.model.values import JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedThread:
    """A thread that was erased, and how much of what went with it.

    Attributes:
        counts: Data keys destroyed (`keys`); `checkpoints`, `values`, `writes`, `sightings` and what was `known` of
            the people of the case (`runtime.thread(known=...)`) deleted; `actions`, `effects`, `approvals` and
            `signatures` emptied.
    """

    thread: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureReceipt:
    """Says what went. It is sealed with a key of the tenant's own desk, under the master key of the ring.

    Attributes:
        id: The erasure's id.
        by: Who asked for it.
        verified_by: How they were verified.
        items: How many items of memory went, former versions included.
        pseudonyms: How many values of the vault of pseudonyms went.
        keys: How many data keys of the subject itself were destroyed; those of its threads stand with each thread.
        seal: What `verify_receipt` checks, in base64.
    """

    id: str
    tenant: str
    subject: str
    by: str
    verified_by: str
    requested_at: datetime
    finished_at: datetime
    items: int
    pseudonyms: int = 0
    keys: int = 0
    threads: tuple[ErasedThread, ...]
    seal: str = ""

    @classmethod
    def of(cls, said: Mapping[str, Any], *, seal: str) -> ErasureReceipt:
        """The receipt that says this."""
        fields = dict(said)
        for name in ("requested_at", "finished_at"):
            fields[name] = datetime.fromisoformat(said[name])
        fields["threads"] = tuple(
            ErasedThread(thread=one["thread"], counts={name: n for name, n in one.items() if name != "thread"})
            for one in said["threads"]
        )
        return cls(**fields, seal=seal)

    def said(self) -> JsonObject:
        """What is sealed: all of it but the seal."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "subject": self.subject,
            "by": self.by,
            "verified_by": self.verified_by,
            "requested_at": self.requested_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "items": self.items,
            "pseudonyms": self.pseudonyms,
            "keys": self.keys,
            "threads": [{"thread": one.thread, **one.counts} for one in self.threads],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """How much has gone because its time was over.

    Attributes:
        items: Of memory, former versions included.
        threads: Emptied as `forget` empties them.
        vaults: Of subjects of which nothing else was left: their pseudonyms, and the keys to these.
    """

    items: int
    threads: int
    vaults: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectCounts:
    """How much there is of a subject.

    Attributes:
        threads: All that are not erased.
        waiting: Those of them that wait for people.
        running: Those that run, or that a crash has cut off.
        items: Of memory, former versions included.
        pseudonyms: Values in the vault of pseudonyms.
    """

    threads: int
    waiting: int
    running: int
    items: int
    pseudonyms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LegalHold:
    """All that is known of a subject stays until the hold ends.

    Attributes:
        by: Who has placed it.
    """

    tenant: str
    subject: str
    reason: str
    by: str
    since: datetime
