"""Phone numbers and SSNs that are spelt out in words, as in transcripts of voice mails: `five one two, double five`."""

from __future__ import annotations

import re

_DIGIT = r"(?:zero|oh|nought|one|two|three|four|five|six|seven|eight|nine)"
_SAID = rf"(?:(?:double|triple) {_DIGIT}|{_DIGIT})"
_SPOKEN = re.compile(rf"\b(?:plus )?{_SAID}(?:[ ,.-]{{1,3}}{_SAID}){{4,16}}\b", re.IGNORECASE)
_WORD = re.compile(rf"\b(?:double|triple|plus|{_DIGIT})\b", re.IGNORECASE)
_CUE = re.compile(
    r"\b(?:phone|cell|mobile|number|call|ring|dial|reach|text|whats ?app|landline|line)\b[^.!?\n]{0,40}$", re.IGNORECASE
)
_SOCIAL = re.compile(r"\b(?:social|ssn|s s n)\b[^.!?\n]{0,40}$", re.IGNORECASE)
_SSN = 9
_COUNT = ["one", "two", "three", "four", "five"]
_LEAST, _MOST, _ALONE = 7, 15, 10
_SCORE = 0.75


def spoken_numbers(text: str) -> list[tuple[int, int, float]]:
    """Where phone numbers stand: first character, one past the last, and a score."""
    return [(*match.span(), _SCORE) for match in _SPOKEN.finditer(text) if _is_phone(text, match)]


def spoken_ssns(text: str) -> list[tuple[int, int, float]]:
    """Where social security numbers stand: nine digits behind a word that says so."""
    return [(*match.span(), _SCORE) for match in _SPOKEN.finditer(text) if _is_ssn(text, match)]


def _is_phone(text: str, match: re.Match[str]) -> bool:
    digits = _digits(match)
    if not _LEAST <= digits <= _MOST or _WORD.findall(match[0].lower())[:5] == _COUNT or _is_ssn(text, match):
        return False
    return digits >= _ALONE or bool(_CUE.search(_before(text, match)))


def _is_ssn(text: str, match: re.Match[str]) -> bool:
    return _digits(match) == _SSN and bool(_SOCIAL.search(_before(text, match)))


def _digits(match: re.Match[str]) -> int:
    words = _WORD.findall(match[0].lower())
    return sum({"double": 1, "triple": 2, "plus": 0}.get(word, 1) for word in words)


def _before(text: str, match: re.Match[str]) -> str:
    return text[max(0, match.start() - 60) : match.start()]
