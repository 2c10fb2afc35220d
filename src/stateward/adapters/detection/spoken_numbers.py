"""Numbers that are spelt out in words, as in transcripts of calls: `five one two, double five`, `forty six`.

Phone numbers and SSNs need a word that says so, or ten digits; a card number says so by its check digit.
"""

from __future__ import annotations

import re

_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_UNIT = {"oh": 0, "nought": 0, **{word: digit for digit, word in enumerate(_UNITS)}}
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = {"twenty": 2, "thirty": 3, "forty": 4, "fifty": 5, "sixty": 6, "seventy": 7, "eighty": 8, "ninety": 9}
_DIGIT = rf"(?:{'|'.join(_UNIT)})"
_SAID = rf"(?:(?:double|triple) {_DIGIT}|(?:{'|'.join(_TEENS)})|(?:{'|'.join(_TENS)})(?:[ -]{_DIGIT})?|{_DIGIT})\b"
_SPOKEN = re.compile(
    rf"\b(?=[zontfsedpZONTFSEDP])(?:plus )?{_SAID}"
    rf"(?:(?:[ ,.-]{{1,3}}|,? (?:dash|hyphen|space|uh|um|and),? ){_SAID}){{3,18}}",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]+")
_CUE = re.compile(
    r"\b(?:phone|cell|mobile|number|call|ring|dial|reach|text|whats ?app|landline|line|get (?:me|us|him|her) on)\b"
    r"[^.!?\n]{0,40}$",
    re.IGNORECASE,
)
_SOCIAL_WORD = re.compile(r"\b(?:social|ssn|s[. ]s[. ]n|soc\.? sec)\b", re.IGNORECASE)
_SOCIAL = re.compile(r"\b(?:social|ssn|s[. ]s[. ]n|soc\.? sec)\b[^\d]{0,200}$", re.IGNORECASE)
_ORDINAL = (
    r"(?:(?:(?:twenty|thirty)[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|tenth|eleventh"
    r"|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth)"
)
_MONTH = "(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_YEAR = rf"(?:(?:nineteen|twenty|two thousand)(?: and)?(?:[ -](?:hundred|{_SAID})){{0,3}}|(?:19|20)\d\d)"
_DATE = re.compile(
    rf"\b(?:{_ORDINAL}(?: of)? {_MONTH}|{_MONTH}(?: the)? {_ORDINAL})(?P<year>,? (?:of )?{_YEAR})?\b", re.IGNORECASE
)
_BORN = re.compile(r"\b(?:born|birth(?:day|date)?|d\.?o\.?b|b'?day)\b", re.IGNORECASE)
_BIRTHDAY = re.compile(r"\bbirthday\W+(?:(?:is|on|the|was)\W+){0,3}$", re.IGNORECASE)
_SSN = 9
_LEAST, _MOST, _ALONE, _CARD = 7, 15, 10, 13
_SCORE = 0.75


def spoken_numbers(text: str) -> list[tuple[int, int, float]]:
    """Where phone numbers stand: first character, one past the last, and a score."""
    return [(*match.span(), _SCORE) for match in _SPOKEN.finditer(text) if _is_phone(text, match)]


def spoken_ssns(text: str) -> list[tuple[int, int, float]]:
    """Where social security numbers stand: nine digits behind a word that says so."""
    said = _SOCIAL_WORD.search(text) is not None
    return [(*match.span(), _SCORE) for match in (_SPOKEN.finditer(text) if said else ()) if _is_ssn(text, match)]


def spoken_cards(text: str) -> list[tuple[int, int, float]]:
    """Where the numbers of payment cards stand, by their check digit."""
    return [(*match.span(), _SCORE) for match in _SPOKEN.finditer(text) if _is_card(match)]


def spoken_births(text: str) -> list[tuple[int, int, float]]:
    """Where dates of birth stand: `the fourth of October two thousand and nine`, beside a word that says so."""
    born = _BORN.search(text) is not None
    return [(*match.span(), _SCORE) for match in (_DATE.finditer(text) if born else ()) if _is_birth(text, match)]


def digits_of(words: str) -> str:
    """The digits that are said: `double five oh` is 550, `forty six` 46, `thirty` 30."""
    said, times, tens = "", 1, False
    for word in _WORD.findall(words.lower()):
        if word in _UNIT:
            said = (said[:-1] if tens else said) + str(_UNIT[word]) * times
        elif word in _TEENS:
            said += str(10 + _TEENS.index(word))
        elif word in _TENS:
            said += f"{_TENS[word]}0"
        times, tens = {"double": 2, "triple": 3}.get(word, 1), word in _TENS
    return said


def _is_phone(text: str, match: re.Match[str]) -> bool:
    digits = digits_of(match[0])
    if not _LEAST <= len(digits) <= _MOST or digits.startswith("12345") or _is_ssn(text, match):
        return False
    plain = len(digits) >= _ALONE and len(_WORD.findall(match[0])) >= _ALONE - 3
    return bool(_CUE.search(_before(text, match))) or (plain and not _is_card(match))


def _is_ssn(text: str, match: re.Match[str]) -> bool:
    return len(digits_of(match[0])) == _SSN and bool(_SOCIAL.search(text[max(0, match.start() - 220) : match.start()]))


def _is_card(match: re.Match[str]) -> bool:
    """The check digit of ISO/IEC 7812-1, on the digits of a card."""
    digits = digits_of(match[0])
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return _CARD <= len(digits) <= 19 and (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_birth(text: str, match: re.Match[str]) -> bool:
    before, after = text[max(0, match.start() - 60) : match.start()], text[match.end() : match.end() + 24]
    if not match["year"]:
        return _BIRTHDAY.search(before) is not None
    return bool(_BORN.search(before) or _BORN.search(after))


def _before(text: str, match: re.Match[str]) -> str:
    return text[max(0, match.start() - 80) : match.start()]
