"""Names with the last name first, as lists, tickets and registers have them: `DOE, Jane`, `DOE/JANE MRS`, `Doe J.`

How such a name is written says so, and one of its words that is known, or the rows beside it, confirm it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stateward.adapters.detection.name_lists import LIKELY, PARTICLES, Lists, Named, folded, lists

_LOUD = r"[A-ZÀ-ÖØ-Þ](?:[A-ZÀ-ÖØ-Þ]|['’-](?=[A-ZÀ-ÖØ-Þ])){1,20}"
_CAPITAL = r"[^\W\d_a-z][^\W\d_]{0,20}(?:['’-][^\W\d_]{1,20}){0,2}"
_TITLE = "MRS?|MS|MISS|MSTR|CHD|INF"
_SLASHED = re.compile(
    rf"(?<![\w/.-])(?P<last>{_LOUD})/(?P<first>{_LOUD})(?:(?! (?:{_TITLE})\b) [A-Z]{{1,15}}){{0,2}}"
    rf"(?P<title> (?:{_TITLE})\b)?(?![\w/])"
)
_COMMA = re.compile(
    rf"(?<![\w/.-])(?P<last>{_LOUD}), (?P<first>{_CAPITAL})(?: (?:[A-Z]\.?(?!\w)|{_CAPITAL}))?(?![\w/])"
)
_TURNED = (
    rf"(?:[a-z]{{1,3}} ){{0,2}}(?:St\. )?{_CAPITAL}(?: {_CAPITAL})?,"
    rf" (?:(?:[A-Z]\.){{1,4}}|{_CAPITAL}(?: {_CAPITAL}){{0,2}})"
)
_ROW = re.compile(rf"(?<![\w.-]){_TURNED}(?:; ?{_TURNED}){{2,60}}")
_ONE = re.compile(rf"(?<![\w.-]){_TURNED}")
_INITIALED = rf"(?:[a-z]{{2,3}} ){{0,2}}{_CAPITAL} [A-Z]\."
_NUMBERED = re.compile(rf"(?<![\w.-])\d{{1,2}}[.)]? {_INITIALED}(?:[,;]? \d{{1,2}}[.)]? {_INITIALED}){{2,60}}")
_INITIALED_ONE = re.compile(_INITIALED)


def turned_names(text: str) -> list[Named]:
    """Where they stand: first character, one past the last, and a score."""
    known = lists()
    slashed = _slashed(text, known) if "/" in text else ()
    return sorted({*slashed, *_with_comma(text, known), *_in_rows(text, known)})


def _slashed(text: str, known: Lists) -> Iterator[Named]:
    for match in _SLASHED.finditer(text):
        last, first = folded(match["last"]), folded(match["first"])
        sure = len(first) > 2 and known.is_first(first) and known.is_sure(first)
        if match["title"] or (sure and not known.is_word(last)):
            yield match.start(), match.end() - len(match["title"] or ""), LIKELY


def _with_comma(text: str, known: Lists) -> Iterator[Named]:
    for match in _COMMA.finditer(text):
        last, first = folded(match["last"]), folded(match["first"])
        if len(last) > 3 and known.is_first(first) and known.is_sure(first) and not known.is_word(last):
            yield (*match.span(), LIKELY)


def _in_rows(text: str, known: Lists) -> Iterator[Named]:
    for row in _ROW.finditer(text) if text.count(";") > 1 else ():
        words = [folded(word) for word in re.findall(r"[^\W\d_]{3,}", row[0])]
        if any(map(known.is_first, words)) and not any(word not in PARTICLES and known.is_word(word) for word in words):
            for one in _ONE.finditer(text, *row.span()):
                yield (*one.span(), LIKELY)
    for row in _NUMBERED.finditer(text):
        for one in _INITIALED_ONE.finditer(text, *row.span()):
            yield (*one.span(), LIKELY)
