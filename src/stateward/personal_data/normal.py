"""One spelling for all spellings of a value, so that equal values have equal hashes and pseudonyms."""

from __future__ import annotations

import unicodedata

NUMBERS = frozenset({"CREDIT_CARD", "IBAN_CODE", "PHONE_NUMBER", "US_SSN"})
"""Entity types that are written with signs between their digits, which mean nothing."""


def normal(entity: str, text: str) -> str:
    """The value in small letters and single spaces; a name also without accents and first name first, and a number
    without what stands between its digits.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if entity == "PHONE_NUMBER":
        return "".join(c for c in plain if c.isdecimal())
    if entity in NUMBERS:
        return "".join(c for c in plain if c.isalnum())
    if entity == "PERSON":
        last, _, first = plain.partition(",")
        bare = unicodedata.normalize("NFD", f"{first} {last}")
        return " ".join("".join(c for c in bare if not unicodedata.combining(c)).split())
    return plain
