"""Personal data in what is to be kept: a redactor finds it, the policy says what happens to each kind of it.

The walk sees string values, object keys, and whole numbers whose key says what they are, such as
`"phone": 2125550187`. Amounts, dates and identifiers stay as they are, and so do the types of everything that
is not treated.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from stateward.errors import MemoryRefused, RedactionFailed
from stateward.model.memory import Coverage, Finding, KnownValue
from stateward.model.policy import Detection
from stateward.model.pseudonym import token
from stateward.model.values import Json
from stateward.personal_data.normal import NUMBERS
from stateward.personal_data.pseudonyms import Names, Tokens, unused
from stateward.ports import Redactor

Treatment = Literal["allow", "redact", "mask", "hash", "pseudonymize", "refuse"]

DEFAULT_ENTITIES = frozenset(
    {
        "CREDIT_CARD",
        "CRYPTO",
        "DATE_OF_BIRTH",
        "EMAIL_ADDRESS",
        "IBAN_CODE",
        "LOCATION",
        "PERSON",
        "PHONE_NUMBER",
        "UK_NHS",
        "US_BANK_NUMBER",
        "US_DRIVER_LICENSE",
        "US_ITIN",
        "US_PASSPORT",
        "US_SSN",
    }
)
"""What is looked for unless the policy allows it. Others, such as `URL`, `IP_ADDRESS`, `MAC_ADDRESS`,
`ORGANIZATION` and `NRP`, are looked for when the policy names them."""

NATIONAL_ENTITIES: Mapping[str, tuple[str, ...]] = {
    "GB": ("UK_NINO",),
    "AU": ("AU_MEDICARE", "AU_TFN"),
    "ES": ("ES_NIF",),
    "FI": ("FI_PERSONAL_IDENTITY_CODE",),
    "IN": ("IN_AADHAAR", "IN_PAN"),
    "IT": ("IT_FISCAL_CODE",),
    "PL": ("PL_PESEL",),
    "SG": ("SG_NRIC_FIN",),
}
"""What is looked for as well where the policy's `detection` names the country."""

PERSONAL_NUMBERS = (
    r"phones?|tel|telephone|mobile|cell|fax|cards?|pan|ssn|social security|iban|account|acct|passport|licen[cs]e|nhs"
    r"|itin|tax|dob|birth"
)
"""A pattern of the words that say of a number that it is somebody's."""

_NUMBER_KEY = re.compile(rf"\b({PERSONAL_NUMBERS})\b")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])|[_\W]+")
_PLACEHOLDER = re.compile(r"\[([A-Z][A-Z_]*)(?::[0-9a-f]{12})?\]|<([A-Z][A-Z0-9_]*)_[0-9]{1,7}>")
_CONTEXT_KEYS = 2
_CONTEXT_KEY_LENGTH = 40


def key_words(key: str) -> str:
    """The words of a key: `homePhone2` as `home Phone 2`."""
    return _WORD_START.sub(" ", key).strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonalDataPolicy:
    """What happens to personal data before it is kept.

    Attributes:
        default: The treatment of every entity type that is not named.
        entities: The treatment of a Presidio entity type, such as `{"CREDIT_CARD": "refuse"}`.
        detection: How it is looked for.
    """

    default: Treatment = "redact"
    entities: Mapping[str, Treatment] = field(default_factory=dict[str, Treatment])
    detection: Detection = field(default_factory=Detection)

    @classmethod
    def of(cls, treatments: Mapping[str, Treatment], detection: Detection) -> PersonalDataPolicy:
        """The treatments as a policy has them, `default` among them; without one, the rest is redacted."""
        entities: dict[str, Treatment] = {name: one for name, one in treatments.items() if name != "default"}
        return cls(default=treatments.get("default", "redact"), entities=entities, detection=detection)

    def treatment(self, entity: str) -> Treatment:
        """What happens to findings of this entity type."""
        return self.entities.get(entity, self.default)

    def pseudonymized(self, more: Iterable[str] = ()) -> frozenset[str]:
        """The entity types that get pseudonyms, of those that are looked for."""
        return frozenset(one for one in self.scanned(more) if self.treatment(one) == "pseudonymize")

    def scanned(self, more: Iterable[str] = ()) -> frozenset[str]:
        """The entity types to look for: the default list, those named and `more`, without those that are allowed."""
        national = (entity for country in self.detection.countries for entity in NATIONAL_ENTITIES.get(country, ()))
        asked = DEFAULT_ENTITIES.union(self.entities, national, more)
        return frozenset(e for e in asked if self.treatment(e) != "allow")


@dataclass(frozen=True, kw_only=True, slots=True)
class Treated:
    """A value that may be kept.

    Attributes:
        counts: How many places were replaced, for each entity type.
        coverage: What was looked for, and what the policy asks for that could not be.
    """

    value: dict[str, Json]
    counts: dict[str, int]
    coverage: Coverage


async def treat(
    value: Mapping[str, Json],
    *,
    policy: PersonalDataPolicy,
    redactor: Redactor,
    key: bytes,
    known: Sequence[KnownValue] = (),
    names: Names | None = None,
) -> Treated:
    """Treat the personal data in a JSON object as the policy says.

    What was treated once is left alone when it is treated again. What only looks like a pseudonym is changed, so that
    it is nobody's.

    Args:
        value: The content to be kept. It is not changed.
        policy: What happens to which entity type.
        redactor: What finds personal data.
        key: The secret of the `hash` treatment: equal values have equal hashes under one key only.
        known: What is known of the people of the case, found however it is written.
        names: The pseudonyms of whom it is about, where the policy has any.

    Raises:
        MemoryRefused: the value holds data that the policy refuses; names its type and place, never the data.
        RedactionFailed: personal data could not be looked for, or there are no pseudonyms to be had here.
    """
    entities = policy.scanned(one.entity for one in known)
    tokens = Tokens(entities=policy.pseudonymized(one.entity for one in known))
    if tokens.entities and names is None:
        raise RedactionFailed("the policy has pseudonyms, and whom this is about is not known: nothing was written")
    if names is not None and (found := tokens.found(cast("Json", value))):
        value = cast("dict[str, Json]", tokens.settled(cast("Json", value), await names.issued(found)))
    leaves = list(_leaves(value))
    findings = await _scan(leaves, redactor=redactor, policy=policy, entities=entities, known=known)
    places = [_places(each) for each in findings]
    writer = _Writer(policy=policy, key=key, results=iter(zip(leaves, places, strict=True)))
    if names is not None and tokens.entities and not writer.refuses(places):
        values = list(
            dict.fromkeys(
                _value(leaf, one)
                for leaf, each in zip(leaves, places, strict=True)
                for one in each
                if one.entity in tokens.entities
            )
        )
        writer.numbers = dict(zip(values, await names.issue(values), strict=True))
    treated = writer.mapping(value, "$")
    # What is known is found by itself, whether or not anything else looks for its type.
    return Treated(value=treated, counts=dict(writer.counts), coverage=redactor.coverage(policy.scanned()))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Leaf:
    """A text as it stands, and the keys above it, which tell a phone number from an order number."""

    text: str
    context: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """A stretch of text to be replaced, named after the longest finding in it.

    Attributes:
        known: The values that it is, or holds, a way of writing.
    """

    start: int
    end: int
    entity: str
    entities: frozenset[str]
    length: int
    known: frozenset[KnownValue]


async def _scan(
    leaves: Sequence[_Leaf],
    *,
    redactor: Redactor,
    policy: PersonalDataPolicy,
    entities: frozenset[str],
    known: Sequence[KnownValue],
) -> list[list[Finding]]:
    if not entities or not leaves:
        return [[] for _ in leaves]
    try:
        texts = [leaf.context + leaf.text for leaf in leaves]
        found = await redactor.scan(texts, entities=entities, countries=policy.detection.countries, known=known)
    except MemoryRefused:
        raise
    except Exception as error:
        # The text of a foreign error may quote what was scanned, so that only its type is told.
        raise RedactionFailed(
            f"the redactor failed with {type(error).__name__}, so nothing was written: check how it is set up"
        ) from None
    if len(found) != len(leaves):
        raise RedactionFailed(f"the redactor answered {len(found)} of {len(leaves)} texts: nothing was written")
    return [
        _own(leaf, entities, (one for one in findings if one.score >= policy.detection.least(one.entity)))
        for leaf, findings in zip(leaves, found, strict=True)
    ]


def _own(leaf: _Leaf, entities: frozenset[str], findings: Iterable[Finding]) -> list[Finding]:
    """The findings in the leaf's own text: not in its keys, nor in what an earlier treatment left there."""
    offset = len(leaf.context)
    left = [m.span() for m in _PLACEHOLDER.finditer(leaf.text) if (m[1] or m[2]) in entities]
    starts = [start for start, _ in left]
    moved = (
        replace(f, start=max(0, f.start - offset), end=f.end - offset)
        for f in findings
        if f.end > offset and f.entity in entities
    )
    # The last one that begins no later is the only one that can hold it: they do not overlap.
    return [f for f in moved if not ((at := bisect_right(starts, f.start)) and f.end <= left[at - 1][1])]


def _leaves(value: Json, keys: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    """Every text to be looked at, in the order in which `_Writer` comes by."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield _Leaf(text=key)
            yield from _leaves(inner, (*keys, key)[-_CONTEXT_KEYS:])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _leaves(inner, keys)
    elif (leaf := _leaf(value, keys)) is not None:
        yield leaf


def _leaf(value: Json, keys: tuple[str, ...]) -> _Leaf | None:
    context = _context(keys)
    if isinstance(value, str):
        return _Leaf(text=value, context=context)
    if isinstance(value, int) and not isinstance(value, bool) and _NUMBER_KEY.search(context.lower()):
        return _Leaf(text=str(value), context=context)
    return None


def _context(keys: tuple[str, ...]) -> str:
    """`("customer", "homePhone")` as `customer home phone: `."""
    words = " ".join(key_words(key[:_CONTEXT_KEY_LENGTH]) for key in keys)
    return f"{words}: " if words else ""


@dataclass(kw_only=True, slots=True)
class _Writer:
    """Builds the value anew, replacing what was found."""

    policy: PersonalDataPolicy
    key: bytes
    results: Iterator[tuple[_Leaf, list[_Place]]]
    numbers: Mapping[KnownValue, int] = field(default_factory=dict[KnownValue, int])
    counts: Counter[str] = field(default_factory=Counter[str])

    def mapping(self, value: Mapping[str, Json], path: str, keys: tuple[str, ...] = ()) -> dict[str, Json]:
        written: dict[str, Json] = {}
        alike = Counter[str]()
        for key, inner in value.items():
            name = unused(self._text(f"a key of {path}"), written, alike)
            written[name] = self._value(inner, _step(path, name), (*keys, key)[-_CONTEXT_KEYS:])
        return written

    def refuses(self, places: Iterable[Sequence[_Place]]) -> bool:
        """Whether the policy refuses what stands at any of these places."""
        return any(
            self.policy.treatment(one) == "refuse" for each in places for place in each for one in place.entities
        )

    def _value(self, value: Json, path: str, keys: tuple[str, ...]) -> Json:
        if isinstance(value, Mapping):
            return self.mapping(value, path, keys)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self._value(inner, f"{path}[{i}]", keys) for i, inner in enumerate(value)]
        leaf = _leaf(value, keys)
        if leaf is None:
            return value
        text = self._text(path)
        return value if text == leaf.text else text

    def _text(self, path: str) -> str:
        leaf, places = next(self.results)
        parts: list[str] = []
        done = 0
        for place in places:
            parts += [leaf.text[done : place.start], self._replacement(leaf, place, path)]
            done = place.end
        return "".join([*parts, leaf.text[done:]])

    def _replacement(self, leaf: _Leaf, place: _Place, path: str) -> str:
        for entity in sorted(place.entities):
            if self.policy.treatment(entity) == "refuse":
                raise MemoryRefused(
                    f"{entity} at {path} is refused by the policy: take it out, or let the policy treat it otherwise"
                )
        self.counts[place.entity] += 1
        found = leaf.text[place.start : place.end]
        match self.policy.treatment(place.entity):
            case "mask":
                return _mask(place.entity, found)
            case "hash":
                return f"[{place.entity}:{_hash(self.key, place.entity, found)}]"
            case "pseudonymize":
                # None has a number where a refusal follows.
                return token(place.entity, self.numbers.get(_value(leaf, place), 0))
            case _:
                return f"[{place.entity}]"


def _value(leaf: _Leaf, place: _Place) -> KnownValue:
    """What a pseudonym stands for: the one known value that the text is a way of writing, else the text."""
    known = [one for one in place.known if one.entity == place.entity]
    if len(known) == 1:
        return known[0]
    return KnownValue(entity=place.entity, value=leaf.text[place.start : place.end])


def _places(findings: Iterable[Finding]) -> list[_Place]:
    """Overlapping findings as one place: no rest of a shorter one may stay readable beside the longest."""
    places: list[_Place] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, -f.score)):
        place = _Place(
            start=finding.start,
            end=finding.end,
            entity=finding.entity,
            entities=frozenset({finding.entity}),
            length=finding.end - finding.start,
            known=frozenset([KnownValue(entity=finding.entity, value=finding.known)] if finding.known else ()),
        )
        if places and place.start < places[-1].end:
            place = _joined(places.pop(), place)
        places.append(place)
    return places


def _joined(one: _Place, other: _Place) -> _Place:
    named = other if other.length > one.length else one
    return _Place(
        start=one.start,
        end=max(one.end, other.end),
        entity=named.entity,
        entities=one.entities | other.entities,
        length=named.length,
        known=one.known | other.known,
    )


def _mask(entity: str, text: str) -> str:
    if entity in NUMBERS:
        return "*" * (len(text) - 4) + text[-4:] if len(text) > 4 else "*" * len(text)
    return text[:1] + "*" * (len(text) - 1)


def _hash(key: bytes, entity: str, text: str) -> str:
    """12 hex digits of HMAC-SHA256 (RFC 2104), alike for the spellings of one value."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    if entity == "PHONE_NUMBER":
        normal = "".join(c for c in normal if c.isdecimal())
    elif entity in NUMBERS:
        normal = "".join(c for c in normal if c.isalnum())
    message = f"{entity}:{normal}".encode(errors="surrogatepass")
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:12]


def _step(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key)}]"
