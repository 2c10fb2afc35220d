"""Who speaks in a chat or a transcript, whom it calls with `@`, and where it names them again.

A chat says by its shape who its people are, so that no list has to: lines begin with `Qorvan: ` again and again,
or with `Qorvan 10:02 AM`. Forms have lines like these as well, but seldom one twice, and with values, not sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from stateward.adapters.detection.name_lists import GOES_ON, LIKELY, Lists, Named, folded, lists
from stateward.adapters.detection.word_classes import CHAT_ROLES, NO_SPEAKERS

_PART = r"[^\W\d_]{2,20}(?:['’-][^\W\d_]{2,20})*"
_LINE = re.compile(
    r"^[ \t>]*(?:\[[^\[\]\n]{4,24}\][ \t]*|\d\d?:\d\d(?::\d\d)?[ \t]+)?"
    rf"(?P<label>{_PART}(?: {_PART}){{0,3}})"
    r"(?::[ \t]+(?P<said>\S[^\n]*)|[ \t]+\d\d?:\d\d(?: ?[AaPp]\.?[Mm]\.?)?[ \t]*$)",
    re.MULTILINE,
)
_CALLED = re.compile(rf"(?<![\w.@/])@(?P<name>{_PART})(?!{GOES_ON})")
_AGAIN = re.compile(rf"(?<![\w/\\.$#=&%+-])(?<!\w['’])[^\W\d_]{{3,}}(?:-[^\W\d_]+)*(?!{GOES_ON}|\[)")
_SPEECH = re.compile(r"[?!]|^[a-z]|[a-z]{2,} [a-z]{2,} [a-z]{2,}")


def speakers(text: str) -> list[Named]:
    """Where they are named: first character, one past the last, and a score."""
    known = lists()
    spoken = [(match, one) for match in _LINE.finditer(text) if (one := _named(match, known))]
    chat = spoken if _is_chat(text, [match for match, _ in spoken], known) else []
    found = [(*span, LIKELY) for _, span in chat]
    words = {text[slice(*span)] for _, span in chat if " " not in text[slice(*span)]}
    return sorted({*found, *_called(text, words, known), *_again(text, words, found)})


def _named(match: re.Match[str], known: Lists) -> tuple[int, int] | None:
    """Where the name stands in a label: behind the role, as in `Agent Qorvan`."""
    words = [*re.finditer(r"\S+", match["label"])]
    while words and (folded(words[0][0]) in CHAT_ROLES or (words[1:] and known.is_word(folded(words[0][0])))):
        words.pop(0)
    if not words or len(words) > 2 or not all(_may_be_name(one[0], known) for one in words):
        return None
    start = match.start("label")
    return start + words[0].start(), start + words[-1].end()


def _may_be_name(word: str, known: Lists) -> bool:
    plain = folded(word)
    parts = plain.split("-")
    if len(word) < 3 or plain in NO_SPEAKERS or (word.isupper() and not known.is_first(plain)):
        return False
    if word[0].islower() and known.is_small_word(plain):
        return False
    return known.is_sure(plain) or not any(known.is_small_word(part) for part in parts)


def _is_chat(text: str, lines: list[re.Match[str]], known: Lists) -> bool:
    """Whether people speak here: some of them twice, in sentences, or under the time of day."""
    labels = Counter(match["label"] for match in lines)
    timed = [match for match in lines if not match["said"]]
    if len(timed) > 1 or (timed and any(known.is_first(folded(match["label"])) for match in timed)):
        return True
    said = [match["said"] for match in lines if match["said"]]
    speech = sum(_SPEECH.search(one) is not None for one in said)
    if any(label[0].islower() for label in labels) and not any(known.is_first(folded(label)) for label in labels):
        return False
    others = {folded(match["label"]).split()[0] for match in _LINE.finditer(text)} & CHAT_ROLES
    if not said or 2 * speech < len(said):
        return False
    return max(labels.values()) > 1 or (bool(others) and speech == len(said))


def _called(text: str, words: set[str], known: Lists) -> Iterator[Named]:
    for match in _CALLED.finditer(text):
        plain = folded(match["name"])
        if match["name"] in words or (known.is_first(plain) and known.is_sure(plain) and match["name"][0].isupper()):
            yield (*match.span("name"), LIKELY)


def _again(text: str, words: set[str], found: list[Named]) -> Iterator[Named]:
    starts = {start for start, _, _ in found}
    for match in _AGAIN.finditer(text) if words else ():
        if match[0] in words and match.start() not in starts:
            yield (*match.span(), LIKELY)
