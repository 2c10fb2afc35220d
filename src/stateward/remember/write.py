"""Write memory under the policy: a declared kind, for a declared purpose, with its personal data treated."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from jsonschema import Draft202012Validator

from stateward.errors import MemoryRefused
from stateward.model.memory import Change, KnownValue, Scope
from stateward.model.policy import MemoryKind, PolicyDocument
from stateward.model.values import Json
from stateward.personal_data.pseudonyms import Subject
from stateward.personal_data.treating import PersonalDataPolicy, Treated, treat
from stateward.ports import CaseFile, Embedder, Memory, Redactor, Vault

# Stands between the labels of a namespace in the database.
_MARK = "\x1f"


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryRules:
    """The memory part of a policy."""

    kinds: Mapping[str, MemoryKind]
    personal_data: PersonalDataPolicy

    @classmethod
    def of(cls, document: PolicyDocument) -> MemoryRules:
        """The rules of a policy document."""
        return cls(kinds=document.memory.kinds, personal_data=personal_data_policy(document))


def personal_data_policy(document: PolicyDocument) -> PersonalDataPolicy:
    """The treatments of a policy document."""
    return PersonalDataPolicy.of(document.memory.personal_data, document.memory.detection)


def words_of(value: Mapping[str, Json]) -> str:
    """Every text in a value, in order: what a search by meaning compares."""
    return "\n".join(_texts(dict(value)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What somebody wants to have kept, or deleted where there is no value.

    Attributes:
        namespace: Its first label is the kind; none of them holds personal data.
        key: Unique below subject, purpose and namespace; it holds no personal data.
        ttl: How long it is to be kept, where that is shorter than the policy says. It is never kept longer.
        action: Id of the action that writes it.
        version: The version that it has to have now, 0 where it must not be there; None where that does not matter.
        words: The text of a treated value that a search by meaning compares; empty for none.
    """

    namespace: tuple[str, ...]
    key: str
    value: Mapping[str, Json] | None = None
    ttl: timedelta | None = None
    action: str | None = None
    version: int | None = None
    words: Callable[[Mapping[str, Json]], str] = words_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeper:
    """Keeps what the policy lets be kept.

    Attributes:
        embedder: Says where texts lie among all texts, for a search by meaning; None where nothing does.
        hash_key: The secret of the `hash` treatment.
    """

    memory: Memory
    redactor: Redactor
    case_file: CaseFile
    vault: Vault
    embedder: Embedder | None
    hash_key: bytes

    async def keep(self, rules: MemoryRules, scope: Scope, entries: Sequence[Entry]) -> list[int | None]:
        """Write and delete, all or none; the version of each, in order.

        Raises:
            MemoryRefused: a kind is not declared, not for this purpose, or a value holds what must not be kept.
            MemoryConflict: an item has not the version that was expected.
            RedactionFailed: a value could not be searched for personal data.
        """
        _refuse_nobody(scope)
        written = any(entry.value is not None for entry in entries)
        known = await self.case_file.known(scope.thread) if written else ()
        changes = await asyncio.gather(*(self._change(rules, scope, entry, known) for entry in entries))
        return await self.memory.change(scope, await self._embedded(changes))

    async def _change(
        self, rules: MemoryRules, scope: Scope, entry: Entry, known: Sequence[KnownValue]
    ) -> tuple[Change, str]:
        place = Change(namespace=entry.namespace, key=entry.key, action=entry.action, version=entry.version)
        if entry.value is None:
            return place, ""
        kind = entry.namespace[0] if entry.namespace else ""
        rule = _rule(rules, kind, scope.purpose)
        _refuse_misshapen(rule, entry, kind)
        value, note = await self._treated(rules, scope, entry, kind, known)
        change = Change(
            namespace=entry.namespace,
            key=entry.key,
            kind=kind,
            value=value,
            keep=rule.keep if entry.ttl is None else min(rule.keep, entry.ttl),
            labels=rule.labels,
            sensitivity=rule.sensitivity,
            action=entry.action,
            version=entry.version,
            note=note,
        )
        return change, entry.words(value)

    async def _treated(
        self, rules: MemoryRules, scope: Scope, entry: Entry, kind: str, known: Sequence[KnownValue]
    ) -> tuple[dict[str, Json], dict[str, Json]]:
        """The value, and what the audit trail says of the search."""
        place: list[Json] = [*entry.namespace[1:], entry.key]
        if any(_MARK in str(label) for label in place):
            raise MemoryRefused(f"the key or namespace of a {kind!r} item holds a control character: use plain text")
        given: dict[str, Json] = {"place": place, "value": dict(entry.value or {})}
        named = await treat(
            given,
            policy=rules.personal_data,
            redactor=self.redactor,
            key=self.hash_key,
            known=known,
            names=Subject(vault=self.vault, scope=scope),
        )
        if named.value["place"] != place:
            raise MemoryRefused(f"the key or namespace of a {kind!r} item holds personal data: use ids of your own")
        treated = named.value["value"]
        assert isinstance(treated, dict)
        return treated, _note(named)

    async def _embedded(self, changes: Sequence[tuple[Change, str]]) -> list[Change]:
        """The changes with embeddings of their treated texts: whoever makes those sees no personal data."""
        texts = [words for _, words in changes if words]
        if self.embedder is None or not texts:
            return [change for change, _ in changes]
        found = iter(await self.embedder.aembed_documents(texts))
        return [replace(change, embedding=next(found)) if words else change for change, words in changes]


def _note(treated: Treated) -> dict[str, Json]:
    """How many of which type were treated, and what is found in part only, or not at all."""
    said: dict[str, Json] = {}
    if treated.counts:
        said["treated"] = dict(treated.counts)
    if treated.coverage.partial:
        said["found_in_part"] = list(treated.coverage.partial)
    if treated.coverage.uncovered:
        said["not_found"] = list(treated.coverage.uncovered)
    return said


def _refuse_nobody(scope: Scope) -> None:
    missing = [name for name in ("tenant", "subject", "purpose") if not getattr(scope, name).strip()]
    if missing:
        raise MemoryRefused(f"memory needs a {' and a '.join(missing)}: open the thread with one")


def refused_kind(rules: MemoryRules, kind: str, purpose: str) -> str:
    """Why items of this kind are not for this purpose; empty where they are."""
    rule = rules.kinds.get(kind)
    if rule is None:
        near = difflib.get_close_matches(kind, rules.kinds, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"the policy declares no memory kind {kind!r} (the first label of the namespace){hint}"
    if purpose not in rule.purpose:
        return f"memory of kind {kind!r} is not kept for the purpose {purpose!r}"
    return ""


def _rule(rules: MemoryRules, kind: str, purpose: str) -> MemoryKind:
    why = refused_kind(rules, kind, purpose)
    if why:
        raise MemoryRefused(why)
    return rules.kinds[kind]


def _refuse_misshapen(rule: MemoryKind, entry: Entry, kind: str) -> None:
    """Refuse what does not fit the kind's schema; the message never holds the value itself, nor a key of it."""
    if rule.shape is None:
        return
    try:
        problems: Sequence[Any] = list(Draft202012Validator(rule.shape).iter_errors(entry.value))  # pyright: ignore[reportUnknownMemberType]
    except RecursionError:
        raise MemoryRefused(f"the schema of memory kind {kind!r} comes back to itself without end") from None
    if problems:
        # Where in the schema, as the value's own keys may be data too.
        said = ", ".join(sorted({"/".join(str(step) for step in one.absolute_schema_path) for one in problems}))
        raise MemoryRefused(f"this does not fit the schema of memory kind {kind!r} at {said}")


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _texts(one)
