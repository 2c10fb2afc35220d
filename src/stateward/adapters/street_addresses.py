"""Street addresses, found by how they are written in English, German, Dutch, French, Spanish and Italian.

Cities alone are no address: business text is full of them.
"""

from __future__ import annotations

import re

_NUMBER = r"\d{1,5}[a-zA-Z]?(?:[-/]\d{1,4}[a-zA-Z]?)?"
_NAME = r"[^\W\d_a-z][\w'’.-]*"
_SURE_WAYS = (
    r"Street|Road|Avenue|Ave|Lane|Boulevard|Blvd|Crescent|Highway|Hwy|Parkway|Pkwy|Terrace|Mews|Close|Alley|St|Rd|Ln"
)
_OTHER_WAYS = r"Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq|Circle|Cir|Gardens|Grove|Hill|Row|Walk|Trail|Loop"
_FLAT = r"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|#)\.? ?\w{1,5})?"
_TOWN = r"[^\W\d_a-z][\w'’-]+"
_POSTCODE = r"(?:[A-Z]{2} \d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2})"
_ENGLISH = (
    rf"(?<![\w.,/#-]){_NUMBER},? (?:[NSEW]\.? )?(?:{_NAME} |\d{{1,3}}(?:st|nd|rd|th) ){{1,4}}?"
    rf"(?:(?P<sure>{_SURE_WAYS})|(?P<other>{_OTHER_WAYS}))\b\.?(?: [NSEW][EW]?\b)?"
    rf"{_FLAT}(?:,? {_TOWN}(?: {_TOWN})?,? {_POSTCODE})?"
)
_GERMANIC = (
    r"(?<!\w)(?:[^\W\d_a-z]\w+(?:-\w+)*(?:stra(?:ß|ss)e|str\.|gasse|allee|laan|straat|gracht|gatan|vägen|gade|vej)"
    rf"|(?:{_NAME} )?(?:Stra(?:ß|ss)e|Str\.|Allee|Gasse)|Am {_NAME}|[^\W\d_a-z]\w+(?:weg|platz|ring|damm|ufer))"
    rf" {_NUMBER}(?!\w)(?:,? (?:[A-Z]{{1,2}}-)?\d{{4,5}} {_NAME})?"
)
_ROMANCE = (
    rf"(?<![\w.,/#-]){_NUMBER},? (?:rue|avenue|boulevard|place|chemin|all[ée]e|quai|impasse)"
    rf" (?:(?:de|du|des|la|le|les) |l['’]|d['’]){{0,3}}{_NAME}(?: {_NAME}){{0,2}}"
    r"|(?<!\w)(?:Calle|Avenida|Avda\.|Paseo|Via|Viale|Corso|Piazza|Rua|Travessa)"
    rf" (?:(?:de|del|della|dei|la|las|los|da|do|dos) ){{0,2}}{_NAME}(?: {_NAME}){{0,2}},? (?:n[º.°] ?)?{_NUMBER}(?!\w)"
)
_ADDRESS = re.compile(f"{_ENGLISH}|{_GERMANIC}|{_ROMANCE}")
_NO_STREET = re.compile(
    r"\b(?:hard|solid|state|disk|usb|flash|network|shared|test|tape|google|data|four|two|three|one|same|supreme|high|food|in"
    r"|first|market|third|second|up|half|any|either|by|all|no|net|gross|each|total)\b",
    re.IGNORECASE,
)
_SCORE = 0.75


def street_addresses(text: str) -> list[tuple[int, int, float]]:
    """Where street addresses stand: first character, one past the last, and a score."""
    return [
        (*match.span(), _SCORE)
        for match in _ADDRESS.finditer(text)
        if not (match["other"] and _NO_STREET.search(match[0]))
    ]
