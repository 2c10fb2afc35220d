"""Phone numbers that are spelt out in words, as in the transcript of a voice mail: `five one two, double five`."""

from __future__ import annotations

import re

_DIGIT = r"(?:zero|oh|nought|one|two|three|four|five|six|seven|eight|nine)"
_SAID = rf"(?:(?:double|triple) {_DIGIT}|{_DIGIT})"
_SPOKEN = re.compile(rf"\b(?:plus )?{_SAID}(?:[ ,.-]{{1,3}}{_SAID}){{4,16}}\b", re.IGNORECASE)
_WORD = re.compile(rf"\b(?:double|triple|plus|{_DIGIT})\b", re.IGNORECASE)
_CUE = re.compile(
    r"\b(?:phone|cell|mobile|number|call|ring|dial|reach|text|whats ?app|landline|line)\b[^.!?\n]{0,40}$", re.IGNORECASE
)
_COUNT = ["one", "two", "three", "four", "five"]
_LEAST, _MOST, _ALONE = 7, 15, 10
_SCORE = 0.75


def spoken_numbers(text: str) -> list[tuple[int, int, float]]:
    """Where they stand: first character, one past the last, and a score."""
    return [(*match.span(), _SCORE) for match in _SPOKEN.finditer(text) if _is_number(text, match)]


def _is_number(text: str, match: re.Match[str]) -> bool:
    words = _WORD.findall(match[0].lower())
    digits = sum({"double": 1, "triple": 2, "plus": 0}.get(word, 1) for word in words)
    if not _LEAST <= digits <= _MOST or words[:5] == _COUNT:
        return False
    return digits >= _ALONE or bool(_CUE.search(text[max(0, match.start() - 60) : match.start()]))
