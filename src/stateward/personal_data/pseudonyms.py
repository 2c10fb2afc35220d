"""Pseudonyms in texts: found however a model writes them, put back where somebody is entitled, escaped where they are
nobody's.

A token is written `<PERSON_1>`. Models change its case, its brackets, the space in it and the zeros before its number;
all of that is read as the token. In round brackets it is none: that is how a text stands that only looks like one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from stateward.model.memory import KnownValue, Scope
from stateward.model.pseudonym import Pseudonym, token
from stateward.model.values import Json, written_forms
from stateward.ports import Vault

Key = tuple[str, int]
"""Entity type and number of a pseudonym."""

# Every repetition is bounded, so that a long text takes time in proportion to its length.
_TOKEN = re.compile(
    r"(?:[<\[{‹«＜]|&lt;)"
    r"(\s{0,3}([A-Za-z][A-Za-z0-9 _\\-]{1,40}?)[ _\\-]{0,3}0{0,6}([0-9]{1,7})\s{0,3})"
    r"(?:[>\]}›»＞]|&gt;)"
)
_TOO_SHORT = 2  # letters; such a value would be found in other words
_RUN = re.compile(r"[A-Za-z0-9]+")  # however a value is quoted, such a part of it stays
_BETWEEN = re.compile(r"[ _\\-]+")
# Where a value begins: not within a word, but right behind a sign that is quoted for a URL, JSON or Python.
_BEGINS = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{2})|(?<=\\[abfnrtv])|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"


def nobodys(subject: str) -> bool:
    """Whether a subject is nobody's: unrelated cases share it, and would open each other's pseudonyms."""
    return subject.strip().casefold() in ("", "none")


class Names(Protocol):
    """The pseudonyms of one subject."""

    async def issue(self, values: Sequence[KnownValue]) -> list[int]:
        """The number of each value's pseudonym, in order."""
        ...

    async def issued(self, wanted: Collection[Key]) -> Collection[Key]:
        """Which of these may stand in a text that is treated."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """`Names` of the vault."""

    vault: Vault
    scope: Scope

    async def issue(self, values: Sequence[KnownValue]) -> list[int]:
        """The number of each value's pseudonym, in order."""
        return await self.vault.issue(self.scope, values)

    async def issued(self, wanted: Collection[Key]) -> Collection[Key]:
        """Those that the vault has."""
        return await self.vault.reveal(self.scope, wanted)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Reads tokens.

    Attributes:
        entities: The entity types that have pseudonyms; of another type nothing is a token.
    """

    entities: frozenset[str]

    def found(self, value: Json) -> set[Key]:
        """The tokens in a JSON value, in its keys too."""
        if not self.entities:
            return set()
        return {key for text in _texts(value) for match in _TOKEN.finditer(text) if (key := self._key(match))}

    def rewritten(self, value: Json, say: Callable[[Key], str | None]) -> Json:
        """The value with each token as `say` has it, and in round brackets where that is None."""
        if not self.entities:
            return value

        def one(match: re.Match[str]) -> str:
            key = self._key(match)
            if key is None:
                return match[0]
            said = say(key)
            return f"({match[1].strip()})" if said is None else said

        return mapped(value, lambda text: _TOKEN.sub(one, text))

    def settled(self, value: Json, issued: Collection[Key]) -> Json:
        """The value with those tokens that somebody has issued as they are written, and the others escaped."""
        return self.rewritten(value, lambda key: token(*key) if key in issued else None)

    def put_back(self, value: Json, known: Mapping[Key, Pseudonym]) -> Json:
        """The value with what its tokens stand for; those that are not known stay."""
        return self.rewritten(value, lambda key: known[key].value if key in known else token(*key))

    def _key(self, match: re.Match[str]) -> Key | None:
        entity = _BETWEEN.sub("_", match[2]).upper()
        return (entity, int(match[3])) if entity in self.entities else None


def hidden(value: Json, known: Iterable[Pseudonym]) -> Json:
    """The value with the pseudonyms of what stands in it, however it is quoted."""
    # Most values stand nowhere in a text, which a plain search says fast.
    whole = "\n".join(_texts(value)).casefold()
    near = [one for one in known if max(_RUN.findall(one.value), key=len, default="").casefold() in whole]
    said = ((form, one.token) for one in near for form in written_forms(one.value))
    there = {form: name for form, name in said if len(form) > _TOO_SHORT and form.casefold() in whole}
    if not there:
        return value
    forms = {form.casefold(): name for form, name in there.items()}
    # Both, as `re` does not take `ß` for the `ss` that it is in small letters.
    longest = sorted({*there, *forms}, key=len, reverse=True)
    pattern = re.compile(rf"{_BEGINS}(?:{'|'.join(map(re.escape, longest))})(?!\w)", re.IGNORECASE)
    return mapped(value, lambda text: pattern.sub(lambda match: forms.get(match[0].casefold(), "[hidden]"), text))


def mapped(value: Json, change: Callable[[str], str]) -> Json:
    """The value with every text of it, keys too, changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        written: dict[str, Json] = {}
        alike = Counter[str]()
        for key, inner in value.items():
            written[unused(change(key), written, alike)] = mapped(inner, change)
        return written
    if isinstance(value, list | tuple):
        return [mapped(inner, change) for inner in cast("Sequence[Json]", value)]
    return value


def unused(key: str, written: Mapping[str, Json], alike: Counter[str]) -> str:
    """The key, with a number behind it if need be: two keys may look alike once they are changed."""
    name = key
    while name in written:
        # Counted on, not anew: ten thousand addresses may be the keys of one object.
        alike[key] += 1
        name = f"{key} ({alike[key] + 1})"
    return name


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[Json]", value):
            yield from _texts(inner)
