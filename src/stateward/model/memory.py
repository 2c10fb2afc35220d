"""What is kept beyond a thread: for whom, why and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stateward.model.values import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """On whose behalf memory is read or written. It comes from the thread's row, never from graph state."""

    tenant: str
    principal: str
    purpose: str
    subject: str
    thread: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryItem:
    """One kept item.

    Attributes:
        namespace: LangGraph's namespace; its first label is the kind.
        key: Unique within tenant, subject, purpose and namespace.
        kind: A kind that the policy declares.
        subject: Whom or what it is about.
        purpose: What it may be used for.
        value: The content after personal data was treated.
        source: The thread that wrote it.
        action: Id of the action that wrote it, where a tool did.
        sensitivity: What the policy says that its kind is.
        expires_at: When it stops being found; reading never moves it.
        version: 1 at first, one more at each change.
        labels: What it brings to the thread that recalls it.
        score: How well it fits what was looked for; higher is better, and None where nothing was.
    """

    namespace: tuple[str, ...]
    key: str
    kind: str
    subject: str
    purpose: str
    value: dict[str, Json]
    source: str
    action: str | None = None
    sensitivity: str | None = None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    version: int
    labels: tuple[str, ...] = ()
    score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """An item to be written, after its personal data was treated; or to be deleted, where it has no value.

    Attributes:
        kind: A kind that the policy declares; it is not needed to delete.
        keep: How long it is found.
        labels: What it carries beside the labels of the thread.
        action: Id of the action that writes it.
        version: The version that it has to have now, 0 where it must not be there; None where that does not matter.
        embedding: Where its text lies among all texts, for a search by meaning.
    """

    namespace: tuple[str, ...]
    key: str
    kind: str = ""
    value: Mapping[str, Json] | None = None
    keep: timedelta = timedelta(0)
    labels: tuple[str, ...] = ()
    sensitivity: str | None = None
    action: str | None = None
    version: int | None = None
    embedding: Sequence[float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        prefix: The beginning of the namespaces.
        query: Words of which some have to be found; the best match comes first. None: the newest does.
        embedding: Where the query lies among all texts: what is near in meaning is found as well.
        filter: What the value has to fulfil, as LangGraph's stores have it.
        limit: How many items at most.
        offset: How many to leave out before them.
    """

    prefix: tuple[str, ...] = ()
    query: str | None = None
    embedding: Sequence[float] | None = None
    filter: Mapping[str, object] | None = None
    limit: int = 10
    offset: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A place in a text that holds personal data.

    Attributes:
        entity: Presidio's entity type, such as `EMAIL_ADDRESS`.
        start: First character.
        end: One past the last.
        score: 0 to 1.
    """

    entity: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """What a redactor looks for, and what the policy asks for that it cannot find. Said, never skipped silently."""

    covered: tuple[str, ...]
    uncovered: tuple[str, ...]
    engine: str
