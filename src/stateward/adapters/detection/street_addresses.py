"""Street addresses, found by how they are written in some thirty countries of Latin letters.

Cities alone are no address: business text is full of them. What belongs to the street line is found along with
it: the number of a flat, the name of a house, a floor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NUMBER = r"\d{1,5}[a-zA-Z]?(?:[-/](?:\d{1,4}[a-zA-Z]?|[IVX]{1,4}\b|[A-Z]\b))?"
_NAME = r"[^\W\d_a-z][\w'’.-]*"
_SURE_WAYS = (
    "Street|Road|Avenue|Ave|Lane|Boulevard|Blvd|Crescent|Highway|Hwy|Parkway|Pkwy|Terrace|Mews|Close|Alley|Turnpike"
    "|Causeway|Quay|Wharf|Esplanade|St|Rd|Ln|Terr|Ter"
)
_OTHER_WAYS = (
    r"Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq|Circle|Cir|Gardens|Grove|Hill|Row|Walk|Trail|Loop|Rise|Bend|Ridge|Pike|Parade"
    r"|Wynd|Brae"
    r"|Green(?=\s*[,.;\n]|\s*$)"
)
_UNIT = r"(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm|Bldg|Building|#)"
_FLAT = rf"(?:,? {_UNIT}\.? ?[\w-]{{1,5}}|,? \d{{1,2}}(?:st|nd|rd|th) [Ff]loor)?"
_HOUSES = r"House|Cottage|Forge|Lodge|Barn|Farm|Farmhouse|Mill|Rectory|Vicarage|Manor|Hall|Villa|Towers?|Court"
_HOUSE_BEFORE = re.compile(
    rf"(?<!\w)(?:(?:Flat|Apt|Apartment|Unit|Suite) (?:\w{{1,4}},? )?|\d{{1,2}}(?:st|nd|rd|th) [Ff]loor,? |No\. ?"
    rf"|(?:The )?(?:{_NAME} ){{0,2}}(?:{_HOUSES}), |The (?:{_NAME} )?{_NAME}, )$"
)
_TOWN = r"[^\W\d_a-z][\w'’-]+"
_LONG_WAYS = r"Street|Road|Avenue|Lane|Hill|Close|Drive|Crescent|Way|Green|Terrace|Gardens|Row|Square"
_POSTCODE = r"(?:[A-Z]{2} \d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2})"
_ENGLISH = (
    rf"(?<![\w.,/#-]){_NUMBER},? (?:[NSEW]\.? )?(?:{_NAME} |\d{{1,3}}(?:st|nd|rd|th) ){{1,4}}?"
    rf"(?:(?P<sure>{_SURE_WAYS})|(?P<other>{_OTHER_WAYS}))\b\.?"
    rf"(?: (?:{_SURE_WAYS})\b\.?)?(?: [NSEW][EW]?\b)?"
    rf"{_FLAT}(?:,? {_TOWN}(?: {_TOWN})?,? {_POSTCODE})?"
    rf"|(?<!\w)(?:The )?(?:{_NAME} )?(?:Cottage|House|Farm|Lodge|Villa|Barn|Mill|Rectory|Vicarage),"
    rf" (?:{_NAME} ){{1,3}}?(?:{_LONG_WAYS})\b|(?<![\w.])P\.? ?O\.? Box \d{{1,6}}\b"
    r"|(?<![\w.])(?:RR|R\.R\.|Rural Route|HC) ?\d{1,3},? Box \d{1,5}(?:-?[A-Z]\b)?"
)
_GERMANIC = (
    r"(?<!\w)(?:[^\W\d_a-z]\w+(?:-\w+)*(?:stra(?:ß|ss)e|str\.|gasse|allee|chaussee|laan|straat|gracht|kade|plein|singel"
    r"|dijk|gatan|gata|vägen|vegen|veien|stien|gade|vej|stræde|katu|kuja|polku)"
    rf"|(?:{_NAME} )?(?:Stra(?:ß|ss)e|Str\.|Allee|Gasse)|(?:Am|An der|Auf dem|Unter den) {_NAME}"
    r"|[^\W\d_a-z]\w+(?:weg|platz|ring|damm|ufer|pfad|steig|graben))"
    rf" {_NUMBER}(?!\w)"
    rf"(?: [A-D] \d{{1,3}}\b|,? (?:lgh|\d\.) ?(?:\d{{1,4}}|tv|th|mf|sal)\b)?(?:,? (?:[A-Z]{{1,2}}-)?\d{{4,5}} {_NAME})?"
)
_DOOR = r"(?:,? (?:int|piso|depto|dpto|apto|esc|bajo|ap|sc|et|m|kat)\.? ?\w{1,4}| ?[º°] ?\w{1,2}\b)?"
_ROMANCE = (
    rf"(?<![\w.,/#-]){_NUMBER}(?: (?:bis|ter))?,?"
    rf" (?i:rue|avenue|boulevard|place|chemin|all[ée]e|quai|impasse|route|cours)"
    rf" (?:(?:de|du|des|la|le|les) |l['’]|d['’]){{0,3}}{_NAME}(?: {_NAME}){{0,2}}"
)
_ROMANCE_WORD_FIRST = (
    r"(?<!\w)(?:[Cc]alle|C/|[Aa]venida|Av(?:da)?\.|Paseo|Plaza|Camino|Jir[oó]n|Jr\.|Pasaje|Via|Viale|Corso|Piazza|Vicolo|[Rr]ua"
    r"|Travessa|Pra[cç]a|Largo|Alameda|Estrada|Strada|Str\.|Bulevardul|Bd\.|Calea)"
    rf" ?(?:(?:de|del|della|dei|la|las|los|da|do|dos) ){{0,2}}{_NAME}(?: (?:de |del |da |do )?{_NAME}){{0,2}},?"
    rf" (?:n[º.°r]\.? ?|No\.? ?|# ?)?{_NUMBER}(?!\w){_DOOR}"
    r"|(?<!\w)(?:Calle|Carrera|Cra\.?|Kr\.|Diagonal|Transversal) \d{1,3}[A-Z]? ?(?:#|No\.?|N[º°]) ?"
    r"\d{1,3}[A-Z]?-\d{1,3}"
)
_SLAVIC = (
    r"(?<!\w)(?:ul\.|[Uu]lica|[Uu]l|al\.|Aleja|Aleje|Al\.|os\.|Osiedle|pl\.|Plac|n[aá]m\.|[Uu]litsa)"
    rf" (?:[^\W\d_][\w'’.-]* ){{1,4}}?{_NUMBER}(?!\w)(?: ?m\.? ?\d{{1,3}}\b|/\d{{1,3}}\b)?"
)
_NAME_FIRST = (
    rf"(?<!\w)(?:{_NAME} ){{1,3}}(?:utca|út|tér|körút) {_NUMBER}(?!\w)"
    rf"|(?<!\w)(?:bul|bulv|prosp|per|nab|pr|Odos|Leof(?:oros|\.))\.? (?:{_NAME} ){{1,3}}?{_NUMBER}(?!\w)"
    rf"|(?<!\w)(?:Blk|Block|BLK) \d{{1,4}}[A-Z]? (?:{_NAME} ){{1,4}}?(?:Ave|Avenue|Street|St|Road|Rd|Drive|Dr)"
    r"(?: \d{1,2})?"
    r"(?:,? #\d\d-\d{2,4})?"
    rf"|(?<!\w)(?:{_NAME} ){{1,3}}(?:Cad\.|Caddesi|Cd\.|Sok\.|Sokak|Sokağı|Sk\.|Bulvarı|Blv\.),?"
    rf" ?(?:No ?[:.]? ?)?{_NUMBER}(?!\w)(?:,? ?(?:D|Daire|Kat) ?[:.]? ?\d{{1,3}}\b)*"
)
_ASIAN = (
    r"(?<!\w)(?:(?:House|HOUSE|Flat|FLAT|Plot|PLOT|Holding)(?: (?:No|NO)\.?)?[ #:-]{1,2}\w{1,5},? ){1,2}"
    r"(?:Road|ROAD|Street|STREET|Lane|LANE|Block|BLOCK|Sector|SECTOR|Phase|PHASE)(?: (?:No|NO)\.?)? ?\w{1,4}"
    rf"(?:,? (?:Block|BLOCK|Sector|SECTOR) \w{{1,4}})?(?:,? {_NAME})?"
    rf"|(?<!\w)(?:Jl\.?|Jalan|Jln\.?|Lorong|Persiaran) (?:{_NAME} |\d{{1,2}}/\d{{1,2}} ){{1,4}}?"
    rf"(?:No\.? ?)?{_NUMBER}(?!\w)|(?<!\w)(?:No\.? )?{_NUMBER},? (?:Jalan|Jln\.?|Lorong|Persiaran) {_NAME}"
    rf"(?: {_NAME}){{0,2}}"
    rf"|(?<!\w){_NUMBER},? (?:Đường|Phố|Ngõ) {_NAME}(?: {_NAME}){{0,3}}"
)
_IRISH = (
    rf"(?<![\w.,/#-]){_NUMBER},? (?:Bóthar|Sráid|Lána|Ascaill|Céide|Lôn|Heol|Ffordd|Stryd)"
    rf" (?:na |an |y |yr )?{_NAME}(?: {_NAME})?"
)
_SMALL = (
    r"(?<![\w.,/#-])\d{1,5}[a-z]? (?:[nsew]\.? )?(?P<small>(?:[a-z][a-z'’]+ ){1,3}?)"
    r"(?:street|road|avenue|ave|lane|boulevard"
    r"|blvd|crescent|terrace|st|rd|ln|drive|close|grove)\b(?!-)\.?"
    r"(?:,? (?:apt|apartment|suite|ste|unit|flat|#)\.? ?\w{1,5}\b)?"
)
_SMALL_OTHERS = (
    r"(?<!\w)[^\W\d_A-Z]{3,}(?:str\.?|strasse|straße|gasse|allee|laan|straat|gracht|gatan|gade) \d{1,4}[a-z]?\b"
    r"|(?<![\w.,/#-])\d{1,4}(?: bis)?,? rue (?:de la |du |des |de |d['’]|l['’]|la |le )?[^\W\d_]{3,}"
    r"|(?<!\w)(?:calle|via|rua)"
    r" (?!(?:gate|dock|port|terminal|line|route|exit|door|lane|page|form|channel|node|server|ticket|step|zone|bus)\b)"
    r"(?:de |del |da |do )?[^\W\d_]{3,} \d{1,4}\b"
)
_CUED = (
    r"(?=\d)(?:(?<=lives at )|(?<=living at )|(?<=residing at )|(?<=moved to )|(?<=eliver to )|(?<=ddress is )"
    rf"|(?<=ddress: )|(?<=ddress to ))\d{{1,4}}[a-zA-Z]? {_NAME}(?: {_NAME}){{0,3}}(?=[,.;\n]|$)"
)
_LOUD_WAYS = "|".join(way.upper() for way in f"{_SURE_WAYS}|{_OTHER_WAYS}".split("|") if way.isalpha())
_LOUD = (
    rf"(?<![\w.,/#-])\d{{1,5}}[A-Z]?,? (?:[NSEW]\.? )?(?:[A-Z][A-Z'’-]* |\d{{1,3}}(?:ST|ND|RD|TH) ){{1,4}}?"
    rf"(?:{_LOUD_WAYS})\b\.?(?: (?:{_LOUD_WAYS})\b\.?)?(?: [NSEW][EW]?\b)?{_FLAT}(?:,? (?:APT|UNIT|STE) ?\w{{1,5}}\b)?"
)
_NUMBER_LAST = (
    rf"(?<!\w)(?:{_NAME} ){{1,2}}(?:[a-z]{{2}}-{_NAME} )?(?:Street|Road|Avenue|Lane)"
    r" \d{1,4}[a-zA-Z]?\b(?![.:,]\d| ?%)"
)
_CYRILLIC = (
    r"(?<!\w)(?:[Вв]ул|[Уу]л|[Пп]росп|[Пп]ров|[Пп]ер|[Бб]ул)\. [^\W\d_][\w’'.-]*(?: [^\W\d_][\w’'.-]*){0,2}"
    r",? (?:[бд]\. ?)?\d{1,4}\w?\b(?:,? кв\. ?\d{1,4})?"
)
_COUNT = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|oh|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred)"
)
_NO_WAY = (
    r"(?!(?:an?|the|o[nfr]|off|in|at|by|per|for|to|from|and|with|are|is|was|more|days?|hours?|minutes?|miles?|percent"
    r"|people|years?|times|down|up|way|point|pounds|dollars|euros|feet|meters|metres|blocks?|cars?|lane|main)\b)"
)
_SPOKEN_WAYS = "street|road|avenue|lane|drive|court|close|terrace|crescent|place|boulevard|grove|gardens"
_SPOKEN = rf"\b{_COUNT}(?:[ -]{_COUNT}){{1,4}} (?:{_NO_WAY}[a-z'’]+ ){{1,3}}?(?:{_SPOKEN_WAYS})\b"
_BY_NUMBER = re.compile(f"{_ENGLISH}|{_ROMANCE}|{_SMALL}")
_OTHERS = tuple(
    # Where one of these words is missing, the pattern is not tried: most texts hold none.
    (re.compile(pattern), re.compile(hints))
    for pattern, hints in (
        (_GERMANIC, r"[a-zß.] \d"),
        (_CUED, r"(?:lives|living|residing) at \d|moved to \d|eliver to \d|ddress(?: is|:| to) \d"),
        (
            _ROMANCE_WORD_FIRST,
            "[Cc]all|C/|[Aa]v|rua|Pas|Pl|Cam|Jir|Jr|Via|Corso|Pia|Vic|Rua|Tra|Pra|Lar|Alam|Estr|Str|Bul|Bd|Car|Cra|Kr|Dia",
        ),
        (
            _SMALL_OTHERS,
            r"rue |calle |via |rua |(?:str\.?|strasse|straße|gasse|allee|laan|straat|gracht|gatan|gade) \d",
        ),
        (_SLAVIC, r"(?:ul|al|os|pl|Al|n[aá]m)\. |[Uu]l(?:ica|itsa)? |Aleje? |Osiedle|Plac "),
        (
            _NAME_FIRST,
            r"utca|út|tér|körút|Cad|Cd|Sok|Sk\.|Bulvar|Blv|bulv?\.|prosp|per\.|nab\.|pr\.|Odos|Leof|Bl(?:oc)?k |BLK",
        ),
        (
            _ASIAN,
            r"[Hh]ouse[ .#:-]|HOUSE|F(?:lat|LAT) |P(?:lot|LOT) |Holding|Jl|Jalan|Jln|Lorong|Persiaran|Đường|Phố|Ngõ",
        ),
        (_IRISH, "Bóthar|Sráid|Lána|Ascaill|Céide|Lôn|Heol|Ffordd|Stryd"),
        (_NUMBER_LAST, r"(?:Street|Road|Avenue|Lane) \d"),
        (_LOUD, r"\d[A-Z]?,? (?:[NSEW]\.? )?(?:[A-Z]{2}|\d)"),
        (_CYRILLIC, r"[а-я]\. "),
        (_SPOKEN, f" (?:{_SPOKEN_WAYS})"),
    )
)
_NO_STREET = re.compile(
    r"\b(?:hard|solid|state|disk|usb|flash|network|shared|test|tape|google|data|four|two|three|one|same|supreme|high|food|in"
    r"|first|market|third|second|up|half|any|either|by|all|no|net|gross|each|total)\b",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"\b(?:a|an|the|on|in|at|of|off|by|per|for|to|from|and|or|with|are|is|was|were|that|this|via|more|lane|days?|hours?"
    r"|min|mins|minutes?|miles?|meters?|metres?|trucks?|cars?|pcs|pieces|cross|down|up)\b"
)
_SCORE = 0.75


def street_addresses(text: str) -> list[tuple[int, int, float]]:
    """Where street addresses stand: first character, one past the last, and a score."""
    found = [
        (match.start() - _house(text, match.start()), match.end(), _SCORE)
        for match in _BY_NUMBER.finditer(text)
        if _is_street(match)
    ]
    for pattern, hints in _OTHERS:
        if hints.search(text):
            found += [(*match.span(), _SCORE) for match in pattern.finditer(text)]
    return [*_widest(found)]


def _widest(found: list[tuple[int, int, float]]) -> Iterator[tuple[int, int, float]]:
    """Those that do not stand within another."""
    done = -1
    for start, end, score in sorted(found, key=lambda one: (one[0], -one[1])):
        if end > done:
            yield start, end, score
            done = end


def _house(text: str, start: int) -> int:
    """How long the name of a house, or the number of a flat, is before the street."""
    before = _HOUSE_BEFORE.search(text, max(0, start - 50), start)
    return len(before[0]) if before else 0


def _is_street(match: re.Match[str]) -> bool:
    if match["small"]:
        return not _NO_NAME.search(match["small"])
    return not (match["other"] and _NO_STREET.search(match[0]))
