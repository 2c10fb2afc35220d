"""What is known of names and words: lists that are shipped, and how a word is written that may be a name."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Named = tuple[int, int, float]

SURE, LIKELY, LONE = 0.9, 0.75, 0.6
"""The scores: beside a cue; by two words that are names; one first name alone."""

_PARTICLES = (
    "abu al af am ap ben bin bint binti d da das de degli dei del della den der des di do dos du e el het ibn ii iii iv"
    " jr l la las le lo los op sr st te ten ter van vom von y zu zum zur"
)
PARTICLES = frozenset(_PARTICLES.split())

PIECE = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
"""A word, with what a hyphen or an apostrophe joins to it."""
GOES_ON = r"[\w@(\\/]|[.:]\w|-\w"
"""A pattern of what shows that a word is a part of an address, a path, a call or another identifier."""
FIRM_FORMS = "inc|ltd|llc|gmbh|ag|corp|co|plc|llp|kg|bv|oy|ab"

_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_FAMILY_ENDINGS = (
    *("owski", "ewski", "inski", "ynski", "anski", "owska", "ewska", "inska", "ynska", "anska", "wicz", "czyk", "czak"),
    *("ovic", "evic", "ovich", "evich", "enko", "chuk", "ova", "eva", "kov", "nov", "rov", "lov", "sson", "dottir"),
    *("poulos", "poulou", "akis", "idis", "escu", "shvili", "adze", "oglu", "syan", "nyan", "ainen", "onen", "kvist"),
    *("qvist", "strom", "gaard", "nsen", "mann", "meier", "meyer", "guez", "ndez", "rrez", "swamy", "murthy"),
    "krishnan",
)
_LEAST_WITH_ENDING = 6
_WORD_ENDINGS = ("tion", "ment", "ness", "ity", "ship", "ical", "itor", "ator", "ology", "ware", "works", "less", "ful")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lists:
    """What is known of words, all folded.

    Attributes:
        first: First names.
        usual: Those of them that are English, or in use in more than one language.
        last: Last names.
        words: What is a word as well, or only.
        small: What is a word as well where it has a small letter: what chats are full of, and what machines are called.
        places: Countries, states and large cities.
        firms: Firms that are named like people, in their words.
    """

    first: frozenset[str]
    usual: frozenset[str]
    last: frozenset[str]
    words: frozenset[str]
    small: frozenset[str]
    places: frozenset[str]
    firms: frozenset[tuple[str, ...]]

    def is_first(self, word: str) -> bool:
        """Whether it, or each part of a double name, is a first name."""
        return all(part in self.first for part in word.split("-"))

    def is_last(self, word: str) -> bool:
        """Whether it, or a part of a double name, is a last name, or ends as only last names do."""
        return (
            word in self.last
            or any(part in self.last and part not in self.words for part in word.split("-"))
            or word[:2] in ("o'", "mc")
            or (len(word) >= _LEAST_WITH_ENDING and word.endswith(_FAMILY_ENDINGS) and not self.is_word(word))
        )

    def is_name(self, word: str) -> bool:
        """Whether it is in a list of names."""
        return self.is_first(word) or self.is_last(word)

    def is_word(self, word: str) -> bool:
        """Whether it is an ordinary word, or a place."""
        return word in self.words or word in self.places or (word.endswith(_WORD_ENDINGS) and not self._is_listed(word))

    def is_small_word(self, word: str) -> bool:
        """Whether it is a word, where it is written in small letters."""
        return word in self.small or self.is_word(word)

    def _is_listed(self, word: str) -> bool:
        return word in self.first or word in self.last

    def is_sure(self, word: str) -> bool:
        """Whether it is a name and nothing else."""
        return self.is_name(word) and not self.is_word(word)


def folded(text: str) -> str:
    """Small letters without accents."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join(c for c in plain if not unicodedata.combining(c)).replace("’", "'")


@cache
def lists() -> Lists:
    """The lists that are shipped, read once."""
    text = files("stateward.adapters.detection").joinpath("person_names.txt").read_text(encoding="utf-8")
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            sections[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            next(reversed(sections.values())).extend(line.split())
    usual = frozenset(sections["first, usual"])
    return Lists(
        first=usual.union(sections["first"]),
        usual=usual,
        last=frozenset(sections["last"]),
        words=frozenset(sections["words"]),
        small=frozenset(sections["words, small"]),
        places=frozenset(sections["places"]),
        firms=frozenset(tuple(name.split("+")) for name in sections["firms"]),
    )
