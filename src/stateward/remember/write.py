"""Write memory under the policy: a declared kind, for a declared purpose, with its personal data treated."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from stateward.errors import MemoryRefused
from stateward.model.memory import KnownValue, Scope
from stateward.model.policy import PolicyDocument
from stateward.model.values import Json
from stateward.ports import Memory, Redactor
from stateward.remember.personal_data import PersonalDataPolicy, Treated, treat


@dataclass(frozen=True, kw_only=True, slots=True)
class KindRule:
    """A kind that may be kept: for which purposes, how long, and with which labels."""

    purposes: frozenset[str]
    keep: timedelta
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryRules:
    """The memory part of a policy."""

    kinds: Mapping[str, KindRule]
    personal_data: PersonalDataPolicy

    @classmethod
    def of(cls, document: PolicyDocument) -> MemoryRules:
        """The rules of a policy document."""
        memory = document.memory
        kinds = {
            name: KindRule(purposes=frozenset(kind.purpose), keep=kind.keep, labels=kind.labels)
            for name, kind in memory.kinds.items()
        }
        return cls(kinds=kinds, personal_data=personal_data_policy(document))


def personal_data_policy(document: PolicyDocument) -> PersonalDataPolicy:
    """The treatments of a policy document."""
    treatments = dict(document.memory.personal_data)
    default = treatments.pop("default", "redact")
    return PersonalDataPolicy(default=default, entities=treatments, detection=document.memory.detection)


async def write(
    memory: Memory,
    redactor: Redactor,
    rules: MemoryRules,
    scope: Scope,
    *,
    namespace: tuple[str, ...],
    key: str,
    value: dict[str, Json],
    hash_key: bytes,
    known: Sequence[KnownValue] = (),
) -> int:
    """Write one item; returns its version.

    Args:
        namespace: Its first label is the kind; none of them holds personal data.
        key: Unique below subject, purpose and namespace; it holds no personal data.
        known: What is known of the people of the case.

    Raises:
        MemoryRefused: the kind is not declared, not for this purpose, or the value holds what must not be kept.
        RedactionFailed: the value could not be searched for personal data.
    """
    kind = namespace[0] if namespace else ""
    rule = _rule(rules, kind, scope.purpose)
    given: dict[str, Json] = {"place": [*namespace[1:], key], "value": value}
    named = await treat(given, policy=rules.personal_data, redactor=redactor, key=hash_key, known=known)
    if named.value["place"] != given["place"]:
        raise MemoryRefused(f"the key or namespace of a {kind!r} item holds personal data: use ids of your own")
    treated = named.value["value"]
    assert isinstance(treated, dict)
    return await memory.put(
        scope,
        namespace=namespace,
        key=key,
        kind=kind,
        value=treated,
        keep=rule.keep,
        labels=rule.labels,
        note=_note(named),
    )


def _note(treated: Treated) -> dict[str, Json]:
    """What the audit trail says of the search: how many of which type were treated, and what is found in part only."""
    said: dict[str, Json] = {}
    if treated.counts:
        said["treated"] = dict(treated.counts)
    if treated.coverage.partial:
        said["found_in_part"] = list(treated.coverage.partial)
    if treated.coverage.uncovered:
        said["not_found"] = list(treated.coverage.uncovered)
    return said


def _rule(rules: MemoryRules, kind: str, purpose: str) -> KindRule:
    rule = rules.kinds.get(kind)
    if rule is None:
        near = difflib.get_close_matches(kind, rules.kinds, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise MemoryRefused(f"the policy declares no memory kind {kind!r} (the first label of the namespace){hint}")
    if purpose not in rule.purposes:
        raise MemoryRefused(f"memory of kind {kind!r} is not kept for the purpose {purpose!r}")
    return rule
