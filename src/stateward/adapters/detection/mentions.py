"""Later mentions: whoever a text names in full, it goes on to call `Feldman` or `Sarah`, and their address says so too.

`known_values` does more for the people of a case, with a pattern for each way of writing them; here the people are
new with every text, so that its words are looked up once.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from stateward.adapters.detection.name_lists import GOES_ON, LIKELY, PARTICLES, PIECE, SURE, Lists, Named, folded, lists
from stateward.adapters.detection.person_names import names_a_thing

_WORD = re.compile(
    r"(?<![\w@/\\.$#=&%+-])(?<!\w['’])"
    rf"[^\W\d_]{{3,}}(?:['’](?![sS]\b)[^\W\d_]+|-[^\W\d_]+)*(?!{GOES_ON}|\[)"
)
_MAIL = re.compile(r"(?<![\w.+-])(?P<local>[^\W_][\w.+-]{2,62})@(?P<domain>[\w.-]{3,80})")
_TOKEN = re.compile(r"[^\W\d_]{3,}")
_PHRASE = re.compile(r" (?P<word>[^\W\d_a-z][^\W\d_]+)")
_LEAST = 3


def mentions(text: str, people: Iterable[Named]) -> list[Named]:
    """Where parts of the names that were found, and of e-mail addresses, stand by themselves."""
    known = lists()
    spans = sorted(people)
    wanted = {*_parts(text, spans, known), *_of_addresses(text, known)}
    return sorted(_found(text, wanted, spans, known))


def _parts(text: str, people: Sequence[Named], known: Lists) -> Iterator[str]:
    """The words of each full name that are no words of the language, as they may be written again."""
    for start, end, score in people:
        words = [one for one in PIECE.findall(text[start:end]) if len(one) >= _LEAST]
        if score < LIKELY or (len(words) < 2 and text[start:end].count(" ") == 0 and score < SURE):
            continue
        for word in words:
            if folded(word) not in PARTICLES and not known.is_word(folded(word)):
                yield word
                yield f"{word}s"
                if word.isupper():
                    yield word.title()


def _of_addresses(text: str, known: Lists) -> Iterator[str]:
    """The names in `l.bellucci@` and `sarah@`, not those of desks and machines."""
    for match in _MAIL.finditer(text):
        tokens = [token.lower() for token in _TOKEN.findall(match["local"])]
        people = not any(known.is_word(token) for token in tokens) and len(tokens) > 1
        for token in tokens:
            named = known.is_sure(token) or (people and token not in match["domain"].lower())
            if named and not known.is_word(token):
                yield token.title()


def _found(text: str, wanted: Iterable[str], people: Sequence[Named], known: Lists) -> Iterator[Named]:
    starts, sought = [start for start, _, _ in people], frozenset(wanted)
    for match in _WORD.finditer(text) if sought else ():
        if match[0] in sought and not _is_within(match.start(), starts, people) and _stands_for(text, match, known):
            yield (*match.span(), LIKELY)


def _is_within(at: int, starts: Sequence[int], people: Sequence[Named]) -> bool:
    before = bisect_right(starts, at) - 1
    return before >= 0 and at < people[before][1]


def _stands_for(text: str, match: re.Match[str], known: Lists) -> bool:
    """Whether it is the person, and not a firm or a thing: `Qorvan Roofing`."""
    phrase = _PHRASE.match(text, match.end())
    return (not phrase or known.is_sure(folded(phrase["word"]))) and not names_a_thing(text, *match.span())
