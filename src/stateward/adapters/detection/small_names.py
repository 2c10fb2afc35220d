"""Names that are written in small letters, as people do in chats: `hi its fatima again`, `driver is nelson`.

Small letters say nothing, so that two things have to be there: a list that knows the word as a name and as nothing
else, and a cue beside it or a second name. Only what says outright that a name comes, such as `my name is` and
`mrs`, is believed for a word that no list has.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from stateward.adapters.detection.name_lists import GOES_ON, LIKELY, LONE, PARTICLES, SURE, Lists, Named, lists
from stateward.adapters.detection.person_names import names_a_thing

_LETTERS = r"[^\W\d_A-Z]"
_NAME = rf"{_LETTERS}{{2,}}(?:['’-]{_LETTERS}{{2,}})*"
_WORD = re.compile(
    rf"(?<![\w@/\\.$#=&%+\[-])(?<![\w.]['’]){_NAME}"
    rf"(?!{GOES_ON}|[\[&]|[\"']?\s?[:=]|['’](?!s\b))"
)
_BEFORE = 48
_LEAST, _LEAST_ALONE = 3, 4
_SAYS_NAME = re.compile(
    r"(?:\bname(?:'s| is|s)?(?: on (?:it|the card|the account|my card|the order|the booking))?(?: is|:)?"
    r"|\b(?:this is|i am|i'?m|it'?s me|its me|im|me:))\s+(?:uh+,? |um+,? )?$"
)
_GREETS = re.compile(
    r"(?:^|[\n.,!?;:>(\"]\s*|\s)(?:hi|hello|hey|hiya|dear|yo|morning|evening|afternoon|thx|thanks|thank you|thnx|tnx|ty"
    r"|ta|cheers|regards|best|love|sincerely|xx?|its|it'?s|sorry|welcome"
    r"|bye)[, ]+(?:so much |again |you |there )?$"
)
_GREETING = re.compile(r"(?:^|[\n.!?:>]\s*)(?:hi|hello|hey|hiya|dear|thx|thanks|thank you|ty|cheers|regards)[, ]+$")
_END_OF_GREETING = re.compile(r"\s*(?:[,!\n]|$)")
_TITLE = re.compile(r"(?<!\w)(?:mr|mrs|herr|frau|mme|madame|signora?|se[nñ]ora?|prof|dr(?=\.)|mister)\.? $")
_SOFT_TITLE = re.compile(r"(?<!\w)(?:ms|miss|dr|sir|uncle|auntie|aunt|big|old|little|young|father|sister)\.? $")
_CUES = re.compile(
    r"(?<!\w)(?:tell|told|ask|asked|asking|seen|saw|see|add|added|call|called|calling|ring|rang|text|texted|message|msg|ping"
    r"|email|mail|with|for|from|by|of|and|or|is|was|not|also|said|says|met|meet|contact|cc|to|per|give|gave|send|sent|remind"
    r"|let|invite|invited|know|knows|knew|thank|when|if|has|have|did|does|can|will|where'?s|about|named|driver|boss"
    r"|colleague|manager|sister|brother|mum|mom|dad|wife|husband|son|daughter|friend|mate|neighbou?r|cousin|partner|customer|client"
    r"|guest|patient|passenger|tenant|caller|visitor|agent|guy|lady|girl|woman|man|new|our|my|ex)[,:]? [\"'(]?$"
)
_VERBS = re.compile(
    r"(?:['’]s)? (?:says?|said|called|calls|calling|wants?|wanted|asks?|asked|told|tells|thinks?|knows?|from|in the"
    r"|at the|u there|here|again|won'?t|will|has|had|hasn'?t|is|was|isn'?t|did|does|didn'?t|can|can'?t|needs?|got|gets"
    r"|sent|sends|left|came|comes|went|paid|pays|ordered|moved|lives|works|signed|forgot|smth|and i|or|and|just|never"
    r"|still"
    r"|also|already|out|plz|pls|please|could|would|should|may|might|over there|wrote|writes|replied|phoned|texted|rang"
    r"|mailed|emailed|picked|pick|dropped|drop|brought|took|takes|gave)\b"
    r"|\??,? (?:u there|are you|r u|can you|can u|pls|plz)|[,:] "
)
_SIGNED = re.compile(r"(?:[.,!?)x\n-]\s*|\b(?:thx|ty|thanks|cheers|regards|best|love) )$")
_END = re.compile(r"\W*(?:\n|$)")
_SPEAKER = re.compile(
    r"^[ \t]*(?:\[?\d\d?:\d\d(?::\d\d)?\]?[ \t]+)?(?P<name>[^\W\d_]{3,20}(?: [^\W\d_]{3,20})?):[ \t]+\S+[ \t]+\S",
    re.MULTILINE,
)
_INITIAL = re.compile(rf"(?<![\w.@/-])(?P<first>[a-z])\. ?(?P<last>{_LETTERS}{{4,}})(?!{GOES_ON}|=)")
_MAIL_AFTER = re.compile(r" ?<(?P<local>[\w.+-]+)@")
_OF_LINE = re.compile(r"[^\W\d_]")
_NICK = re.compile(r"(?<!\w)(?:big|little|lil|old|young|uncle|auntie|aunt|crazy) $")
_UNLIKE_NAME = re.compile(r".*(?:ing|ed|ly|er|tion|ment|ness|able|ive|ous|ful|n'?t|s)")
_SECOND = re.compile(rf" (?P<word>{_NAME})(?!{GOES_ON}|=)")


def small_names(text: str) -> list[Named]:
    """Where people are named in small letters: first character, one past the last, and a score."""
    known, names = lists(), _small_lists()
    found: list[Named] = []
    done = 0
    for match in _WORD.finditer(text):
        if match.start() < done:
            continue
        named = _titled(text, match, known) or _listed(text, match, names, known) or _said(text, match, known)
        if named:
            found.append(named)
            done = named[1]
    return sorted({*found, *_speakers(text, names), *_with_initials(text, known)})


class _Names(NamedTuple):
    """First and last names that are no words, however they are written."""

    first: frozenset[str]
    last: frozenset[str]

    def is_double(self, word: str) -> bool:
        """Whether it has a hyphen, and a name beside it."""
        known = lists()
        parts = word.split("-")
        return (
            len(parts) == 2
            and any(part in self.first or part in self.last for part in parts)
            and not any(known.is_small_word(part) for part in parts)
        )


@cache
def _small_lists() -> _Names:
    known = lists()
    words = known.words | known.small | known.places | PARTICLES
    return _Names(
        frozenset(name for name in known.first if len(name) >= _LEAST and name not in words),
        frozenset(name for name in known.last if len(name) >= _LEAST and name not in words),
    )


def _follows(text: str, match: re.Match[str]) -> str:
    after = _SECOND.match(text, match.end())
    return after["word"] if after else ""


def _before(text: str, at: int) -> str:
    return text[max(0, at - _BEFORE) : at].lower()


def _titled(text: str, match: re.Match[str], known: Lists) -> Named | None:
    """What stands behind `mrs` or `dr.`, and no word."""
    before = text[max(0, match.start() - 8) : match.start()]
    if not _TITLE.search(before) or known.is_word(match[0]) or len(match[0]) < _LEAST:
        return None
    return match.start(), _extended(text, match, known), SURE


def _said(text: str, match: re.Match[str], known: Lists) -> Named | None:
    """What stands behind `my name is`: no list needs to know the first of two names if it knows the other."""
    word = match[0]
    if len(word) < _LEAST or known.is_small_word(word):
        return None
    if len(word) >= _LEAST_ALONE and _END_OF_GREETING.match(text, match.end()) and not _UNLIKE_NAME.fullmatch(word):
        return (match.start(), match.end(), LONE) if _GREETING.search(_before(text, match.start())) else None
    after = _follows(text, match)
    if not after or known.is_small_word(after) or not known.is_name(after):
        return None
    return (
        (match.start(), _extended(text, match, known), SURE)
        if _SAYS_NAME.search(_before(text, match.start()))
        else None
    )


def _listed(text: str, match: re.Match[str], names: _Names, known: Lists) -> Named | None:
    """A name of the list, where another one follows or a cue says so."""
    word = match[0]
    is_first = word in names.first or names.is_double(word)
    if not is_first and word not in names.last:
        return None
    after = _follows(text, match)
    start, before = match.start(), _before(text, match.start())
    if {(word, after), (before.rpartition(" ")[0].rpartition(" ")[2], word)} & known.firms:
        return None
    end = _extended(text, match, known)
    if names_a_thing(text, start, end):
        return None
    if is_first and (after in names.last or after in names.first):
        return start, end, LIKELY
    if is_first and (_SAYS_NAME.search(before) or _GREETS.search(before) or _SOFT_TITLE.search(before)):
        nick = _NICK.search(before)
        return start - (len(nick[0]) if nick else 0), end, LIKELY
    mail = _MAIL_AFTER.match(text, match.end())
    if mail and mail["local"].startswith(word):
        return start, match.end(), LIKELY
    least = (_LEAST if word in known.usual else _LEAST_ALONE) if is_first else _LEAST_ALONE + 2
    cued = _CUES.search(before) or _VERBS.match(text, end) if is_first else _CUES.search(before)
    signed = is_first and _END.match(text, match.end()) and _SIGNED.search(before)
    return (start, end, LONE) if len(word) >= least and (cued or signed) and _is_chat(text, start) else None


def _extended(text: str, match: re.Match[str], known: Lists) -> int:
    """Where the name ends: with each further name, and with one word at its end that is in no list."""
    end = match.end()
    for _ in range(3):
        after = _SECOND.match(text, end)
        if not after:
            return end
        word, rest = after["word"], _SECOND.match(text, after.end())
        named = known.is_name(word) and not known.is_small_word(word)
        goes_on = rest is not None and known.is_name(rest["word"]) and not known.is_word(rest["word"])
        if not named and not (goes_on and (known.is_first(word) or word in PARTICLES)):
            return after.end() if _may_be_last(word, known) else end
        end = after.end()
    return end


def _may_be_last(word: str, known: Lists) -> bool:
    plain = len(word) > _LEAST_ALONE and not _UNLIKE_NAME.fullmatch(word)
    return plain and not known.is_small_word(word)


def _is_chat(text: str, at: int) -> bool:
    """Whether the line begins with a small letter, as business text seldom does."""
    line = text.rfind("\n", 0, at) + 1
    start = max(line, text.rfind(": ", line, at) + 1)
    begins = _OF_LINE.search(text, start)
    return begins is not None and begins[0].islower()


def _speakers(text: str, names: _Names) -> list[Named]:
    """Who speaks in a chat: `leila: did it arrive?`"""
    return [
        (*match.span("name"), LIKELY)
        for match in _SPEAKER.finditer(text)
        if all(word in names.first for word in match["name"].lower().split())
    ]


def _with_initials(text: str, known: Lists) -> list[Named]:
    """`p. okonjo`: an initial and no word, in a line of small letters."""
    found: list[Named] = []
    for match in _INITIAL.finditer(text):
        word = match["last"]
        cued = _CUES.search(_before(text, match.start())) or _END.match(text, match.end())
        if not known.is_small_word(word) and _is_chat(text, match.start()) and cued:
            found.append((*match.span(), LIKELY))
    return found
