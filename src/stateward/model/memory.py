"""What is kept beyond a thread: for whom, why and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stateward.model.values import Json

COUNTRIES = ("US", "GB", "FR")
"""Whose phone numbers are found without a word that says so, unless the policy names other countries."""

_CODES = (
    "AC AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT "
    "BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER "
    "ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE "
    "IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV "
    "LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP "
    "NR NU NZ OM PA PE PF PG PH PK PL PM PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK "
    "SL SM SN SO SR SS ST SV SX SY SZ TA TC TD TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG US UY UZ VA "
    "VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW "
)
COUNTRY_CODES = frozenset(_CODES.split())
"""Countries whose phone numbers are known, by ISO 3166."""


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
        note: What its ledger entry says besides; it holds no personal data.
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
    note: Mapping[str, Json] = field(default_factory=dict[str, Json])


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
class KnownValue:
    """Something that is known of a person of the case, and is looked for in every way in which it is written.

    Attributes:
        entity: Presidio's entity type, such as `PERSON`.
        value: `Jane Doe`; a person's name in full, first name first, or as `Doe, Jane`.
    """

    entity: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A place in a text that holds personal data.

    Attributes:
        entity: Presidio's entity type, such as `EMAIL_ADDRESS`.
        start: First character.
        end: One past the last.
        score: 0 to 1.
        known: The value that it is a way of writing, where what is known of the case has found it.
    """

    entity: str
    start: int
    end: int
    score: float
    known: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """What a redactor looks for, and what the policy asks for that it cannot find. Said, never skipped silently.

    Attributes:
        covered: The entity types that are looked for.
        uncovered: Those that cannot be found.
        engine: What looks for them, with its version.
        partial: Those of the covered ones that are found by lists and rules only, and so never all of them.
    """

    covered: tuple[str, ...]
    uncovered: tuple[str, ...]
    engine: str
    partial: tuple[str, ...] = ()
