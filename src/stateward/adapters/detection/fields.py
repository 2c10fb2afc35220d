"""Values whose key, column or tag names them: `last_name='...'`, `holder=...`, `dob;phone`, `<StreetName>`.

What a cue in a sentence cannot say, structure can: a name that is in no list, a date without a word beside it, a
number of seven digits. A value still has to look like what its key says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from stateward.adapters.detection.name_lists import FIRM_FORMS, PARTICLES, PIECE, Lists, folded, lists
from stateward.model.memory import Finding

Columns = dict[int, tuple[str, str]]
_SCORE = 0.9
_NAMED = (
    "first|last|full|given|family|middle|maiden|legal|preferred|nick|display|customer|client|contact|holder|owner|employee"
    "|patient|passenger|guest|user|person|recipient|driver|requester|sender|caller|member|applicant|candidate|tenant"
    "|student|teacher|manager|supervisor|agent|reporter|author|signer|witness|payee|payer|beneficiary|debtor|consignee"
    "|rep|visitor|attendee|spouse|emergency|buyer|staff|worker|doctor|nurse|assignee|approver|parent|child|insured"
    "|borrower|lead|shopper|rider|learner|resident|cardholder"
)
_ROLES = (
    "holder|beneficiary|payee|payer|assignee|employee|patient|passenger|attendee|recipient|requester|requestor|reporter"
    "|approver|caller|driver|visitor|candidate|applicant|nominee|next of kin|cust|customer|client|contact|guest|tenant"
    "|debtor|consignee|organizer|organiser|cn|spouse|signatory|point of contact|cardholder|insured|witness|supervisor"
    "|owner|operator|picker|rider|clerk|inspector|host|assigned to|contact ?person|(?:card|account) ?holder"
    "|guardian|mother|father|husband|wife|manager|homeroom|pax|borrower \\d|petitioner|plaintiff|defendant|proposer"
)
_FOREIGN = (
    "vorname|nachname|familienname|zuname|pr[eé]nom|nombres?|apellidos?|nome|cognome|sobrenome|voornaam|achternaam"
    "|fornavn|etternavn|efternavn|f[oö]rnamn|efternamn|etunimi|sukunimi|nazwisko|soyad|keresztn[eé]v|vezet[eé]kn[eé]v"
)
_DONE = (
    "approved|opened|closed|signed|handled|submitted|requested|received|collected|prepared|reviewed|checked|reported"
    "|entered|booked|picked|packed|created|updated|authorized|authorised|witnessed|taken|ordered|issued|verified|inspected"
)
_NUMBER = "(?: (?:no|nr|number|num))"
_KEYS = {
    entity: re.compile(rf"(?:.* )?(?:{keys})")
    for entity, keys in {
        "PERSON": rf"(?:{_NAMED}) ?names?|surname|forenames?|[fl]name|{_FOREIGN}|{_ROLES}|(?:{_DONE}) (?:up )?by",
        "PHONE_NUMBER": (
            rf"(?:tele|cell|home|work|mobile|office)? ?phones?(?:{_NUMBER}| \d)?|tel|mobile|cell|call ?back|fax"
            rf"|msisdn|handy|telefono?|cellular|whatsapp|landline|(?:contact|mobile|tel|cell|fax|call ?back){_NUMBER}"
        ),
        "DATE_OF_BIRTH": (
            "dob|d o b|born|birth ?(?:date|day)|date ?of ?birth|b ?day|geburtsdatum|fecha de nacimiento|fecha nac|birth"
            "|yob|b ?date|birth ?dt|dt ?of ?birth|geburtstag|geb datum|date ?(?:de )?naissance|data ?(?:di )?nascita"
        ),
        "US_SSN": rf"(?:ssn|s s n|ss|soc|social|soc(?:ial)? ?sec(?:urity)?)(?:{_NUMBER}| id| full| value| \d)?"
        rf"|tax ?(?:payer)? ?id(?:entification)?{_NUMBER}?|tin"
        "|(?:national|government|gov|govt|personal|identity) ?id",
        "LOCATION": (
            r"street(?: ?(?:name|address|line|\d))*|address(?: ?line)?(?: \d)?|addr(?: \d)?|stra(?:ss|ß)e|adresse|calle"
            r"|direcci[oó]n|residence"
        ),
    }.items()
}
_PARTS = re.compile("first|last|given|family|middle|preferred|maiden|forenames?|surname")
_AGENT = re.compile(
    r"(?!.*(?:server|number|order|printer|carrier|supplier|router|vendor|provider|dealer|publisher|maker"
    r"|manufacturer|insurer|lender|employer|retailer|container|folder|header|footer|cluster|parameter|filter|character"
    r"|computer|monitor|counter|letter|paper|poster|cover|layer|color|error|sensor|motor|factor|sector|vector|broker"
    r"|browser|loader|compiler|docker|client|agent|event|content|component|document|environment|payment|shipment)$)"
    r"[a-z]{3,}(?:er|or|ee|ant|ent|ian|ist|man|woman)"
)
_BARE = re.compile(
    "name|first|last|given|family|middle|preferred|primary|secondary|user|agent|by|who|person|author|manager|rep|sender|to|from"
)
_OF_NAMES = re.compile(f"(?:.* )?(?:(?:sur|fore)? ?names?|surname|forenames?|[fl]name|{_FOREIGN})")
_THINGS = (
    "company|vendor|supplier|business|firm|file|product|item|brand|domain|event|table|column|class|model|app|service|queue"
    "|job|city|town|country|state|region|bank|branch|store|shop|site|school|project|team|group|role|warehouse|merchant"
    "|carrier|display|campaign|policy|index|sheet|server|database|db|bucket|package|module|function|field|plan|tag|vessel"
    "|ship|street|road|printer|device|path|key|type|id|no|nr|number|code|date|count|total|status|email|mail|phone"
)
_OF_THINGS = re.compile(
    r"(?:.* )?(?:company|vendor|supplier|product|item|brand|model|colou?r|finish|size|city|town|county|country|state"
    r"|region|site|hub|depot|warehouse|branch|bank|port|carrier|vessel|ship|court|queue|server|node|host|shard|sku|article|series"
    r"|material|fabric|theme|font|campaign|project|sprint|category|type|origin|destination|route|zone|room|bin|shelf|machine"
    r"|equipment|tool|version|repo|environment|cluster|currency)(?: ?names?)?"
)
_MACHINES = "ip|mac|e ?mail|mail|web|url|memory|source|remote|server|bind|listen|host|wallet|contract"
_BARRED = {
    "PERSON": re.compile(rf"(?:.* )?(?:{_THINGS})(?: ?names?)?|display name of .*"),
    "LOCATION": re.compile(rf"(?:.* )?(?:{_MACHINES}) addr(?:ess)?(?: \d)?"),
}
_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|[^A-Za-z\dß-ÿ]+")
_KEY_VALUE = re.compile(
    r"(?<![\w.$@-])(?P<key>[A-Za-z][\w-]{1,40})(?:\[(?P<inner>[\w-]{2,30})\])?[\"']?\s{0,2}(?:=>|[=:](?![=:/\\]))\s{0,2}"
    r"[\"']?(?=(?P<value>[^\s\"'=<>{}\[\]()|;&][^\n\"'=<>{}\[\]()|;&]{1,79}))"
)
_TAG = re.compile(r"<(?:\w+:)?(?P<key>[A-Za-z][\w.-]{1,40})(?: [^<>]{0,200})?>(?P<value>[^<>\n]{2,80})</")
_PART = r"(?:[^\W\d_]\.(?:-?[^\W\d_]\.)*|[^\W\d_]+(?:['’-][^\W\d_]+)*(?:(?<=\b[JSD]r)\.)?)"
_NAME = re.compile(rf"{_PART}(?:,? {_PART}|[+_]{_PART}){{0,5}}")
_GOES_ON = re.compile(r"[@(]| (?=[^\W\d_a-z])(?![A-Z_]+[=:])| \d|[\\/]\w")
_FIRM = re.compile(
    rf"\b(?:{FIRM_FORMS}|srl|spa|sa|limited|company|group|bank|holdings?|partners"
    r"|services|solutions|logistics|university|team|department|office|school|hotel|trading|foundation|institute|agency)\b",
    re.IGNORECASE,
)
_NOBODY = frozenset(
    ("null", "none", "true", "false", "unknown", "string", "str", "int", "text", "varchar", "nil", "undefined", "na")
)
_DATE = re.compile(
    r"\d{1,2}[-/. ]\d{1,2}[-/. ](?:\d{4}|\d\d)|(?:19|20)\d\d(?:[-/.]\d\d?[-/.]\d\d?|\d{4})|[0-3]\d[0-3]\d(?:19|20)\d\d"
    r"|\d{1,2}\.? [A-Za-z]{3,9}\.?,? \d{4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"
)
_PATTERNS = {
    "PHONE_NUMBER": re.compile(r"\(?\+?\(?\d[\d ().\-/\u00a0]{5,22}\d"),
    "DATE_OF_BIRTH": _DATE,
    "US_SSN": re.compile(r"\d{3}([-. ]?)\d\d\1\d{4}"),
    "LOCATION": re.compile(
        r"(?:\d{1,5}[a-zA-Z]?(?:[-/]\d{1,4})?,? [^\W\d_]{2}|[^\W\d_]{2,}\.?(?=[^\n]{0,40}\d))"
        r"(?:[^\W_]|[ .,'’/#()º°:+%-]){2,70}"
    ),
}
_HEAD_CELL = re.compile(r"[A-Za-zÀ-ÿ][\w .,()/#*-]{0,40}")
_ALIGNED = re.compile(r"\S(?: ?\S){0,40} {2,30}\S")
_GAP = re.compile(r" {2,}")
_INSERT = re.compile(r"insert into [\w.\"`]{1,80} ?\((?P<columns>[^()]{3,400})\)\s{1,8}values\s{0,8}", re.IGNORECASE)
_TUPLE = re.compile(r"\((?P<cells>[^()\n]{1,400})\)\s{0,8},?\s{0,8}")
_LONGEST_HEADER = 400
_MAIL = re.compile("mail", re.IGNORECASE)
_RUNS_ON = re.compile(r"[\w=@]")
_RULE = re.compile(r"[|\s:+-]+")
_QUOTED = re.compile(r"\"[^\"\n]*\"")
_QUOTED_SQL = re.compile(r"'[^'\n]*'")


def fields(text: str) -> list[Finding]:
    """What keys, tags and columns of a text name."""
    return [*_keyed(text), *_in_tables(text)]


def things(text: str) -> list[tuple[int, int]]:
    """Where values begin whose key or column says that they are no people: `brand: 'Wilson'`, a column `colour`."""
    keyed = [match.span("value") for match in _KEY_VALUE.finditer(text) if _is_thing(match["inner"] or match["key"])]
    cells = (cell for headers, row in _rows(text, _thing_columns) for at, cell in enumerate(row) if at in headers)
    return [*keyed, *cells]


def _is_thing(key: str) -> bool:
    return _OF_THINGS.fullmatch(_plain(key)) is not None


def _keyed(text: str) -> Iterator[Finding]:
    found = [(pattern is _TAG, match) for pattern in (_KEY_VALUE, _TAG) for match in pattern.finditer(text)]
    keys = {_plain(match["key"]) for _, match in found}
    in_parts = len({key for key in keys if _PARTS.fullmatch(key) or _OF_NAMES.fullmatch(key)}) > 1
    for is_tag, match in found:
        inner = match.groupdict().get("inner")
        key = inner or match["key"]
        plain = _plain(key)
        if in_parts and _PARTS.fullmatch(plain):
            yield from _value("PERSON", f"{plain} name", text, match.span("value"))
            continue
        bare = plain == "name" and (inner or is_tag)
        for entity in ["PERSON"] if bare else _kinds(key):
            yield from _value(entity, key, text, match.span("value"))


def _kinds(key: str) -> Sequence[str]:
    words = _plain(key)
    if _AGENT.fullmatch(words) and not _BARRED["PERSON"].fullmatch(words):
        return ["PERSON"]
    found = [entity for entity, pattern in _KEYS.items() if pattern.fullmatch(words)]
    return [one for one in found if one not in _BARRED or not _BARRED[one].fullmatch(words)]


def _plain(key: str) -> str:
    """The words of a key: `dateOfBirth` and `date_of_birth` are date of birth."""
    return " ".join(_WORD_END.sub(" ", key).lower().split())


def _value(entity: str, key: str, text: str, at: tuple[int, int], *, column: bool = False) -> Iterator[Finding]:
    """The value that stands there, if it looks like what its key says; that of a column to its end."""
    if entity == "PERSON":
        span = _person(text, at, key, column=column)
    else:
        span = _plain_value(_PATTERNS[entity], text, at, column=column)
    if span and _holds(entity, key, text[slice(*span)]):
        end = span[0] + len(text[slice(*span)].rstrip(" ,."))
        yield Finding(entity=entity, start=span[0], end=end, score=_SCORE)


def _plain_value(pattern: re.Pattern[str], text: str, at: tuple[int, int], *, column: bool) -> tuple[int, int] | None:
    match = pattern.match(text, *at)
    if not match or (match.end() != at[1] if column else _RUNS_ON.match(text, match.end())):
        return None
    return match.span()


def _holds(entity: str, key: str, value: str) -> bool:
    digits = sum(map(str.isdecimal, value))
    if entity == "PHONE_NUMBER":
        return 7 <= digits <= 15 and not _DATE.fullmatch(value)
    # An employer has a tax id as well: nine digits alone are a person's only where the key says so.
    return entity != "US_SSN" or len(value) > digits or "s" in _plain(key).split()[0]


def _person(text: str, at: tuple[int, int], key: str, *, column: bool) -> tuple[int, int] | None:
    """As much of a value as is a name."""
    match = _NAME.match(text, *at)
    found = _leading_name(match[0], lists()) if match else ""
    end = at[0] + len(found)
    after = text[end : min(at[1], end + 12)]
    if not found or (column and end != at[1]) or _GOES_ON.match(text, end) or folded(found) == folded(key):
        return None
    if _FIRM.search(after) or _FIRM.search(found):
        return None
    return (at[0], end) if _fits(found, key, lists(), column=column) else None


def _leading_name(value: str, known: Lists) -> str:
    last = 0
    for at, part in enumerate(PIECE.finditer(value)):
        turns = "," in value[last : part.start()]
        if not _is_part(part[0], known) or (turns and not _turned(value, part[0], at, known)):
            break
        last = part.end()
    if value[last : last + 1] == ".":
        last += 1
    return value[:last].rstrip("+_ ,")


def _turned(value: str, word: str, at: int, known: Lists) -> bool:
    """Whether a comma stands in a name as in `Doe, Jane`."""
    before = value.partition(",")[0]
    return at == 1 and (before.isupper() or known.is_name(folded(before)) or known.is_first(folded(word)))


def _is_part(word: str, known: Lists) -> bool:
    plain = folded(word)
    if plain in PARTICLES:
        return True
    if word[0].islower() and ("-" in plain or not known.is_sure(plain)):
        return False
    return known.is_name(plain) or plain not in known.words


def _fits(found: str, key: str, known: Lists, *, column: bool) -> bool:
    """Whether it may be a name under this key: a customer may be a firm, a first name is somebody's whatever it is."""
    words = [folded(one) for one in PIECE.findall(found)]
    full = [word for word in words if word not in PARTICLES and len(word) > 1]
    plain = _plain(key)
    names = _OF_NAMES.fullmatch(plain) is not None and (column or plain != "name")
    if not full or set(full) & _NOBODY:
        return False
    if len(full) == 1 and not column and (_BARE.fullmatch(plain) or not _KEYS["PERSON"].fullmatch(plain)):
        return False
    if any(known.is_sure(word) for word in full):
        return True
    if all(known.is_word(word) for word in full) and not (names and known.is_name(full[0])):
        return False
    return len(full) > 1 or column or names


def _in_tables(text: str) -> Iterator[Finding]:
    """The cells of columns whose header names them."""
    for columns, cells in [*_rows(text, _columns), *_inserted(text)]:
        for column, (entity, key) in columns.items():
            yield from _value(entity, key, text, cells[column], column=True)


def _inserted(text: str) -> Iterator[tuple[Columns, list[tuple[int, int]]]]:
    """The rows of `INSERT INTO people (surname, dob) VALUES ('Doe', '1980-04-05')`."""
    for head in _INSERT.finditer(text):
        columns, at = _columns([name.strip(' \n"`') for name in head["columns"].split(",")]), head.end()
        while columns and (row := _TUPLE.match(text, at)):
            cells = _cells(row["cells"], "'", row.start("cells"))
            if len(cells) > max(columns):
                yield columns, cells
            at = row.end()


def _rows(text: str, columns_of: Callable[[Sequence[str]], Columns]) -> Iterator[tuple[Columns, list[tuple[int, int]]]]:
    """The lines of tables with as many cells as the header above them has, and what its columns hold."""
    at, count, separator = 0, 0, ""
    columns: Columns = {}
    for line in text.splitlines(keepends=True):
        cells = _cells(line, separator, at) if count else []
        if count and len(cells) == count and not _RULE.fullmatch(line):
            yield columns, cells
        elif not (count and _RULE.fullmatch(line)):
            separator, names = _header(line)
            columns = columns_of(names)
            count = len(names) if columns else 0
        at += len(line)


def _header(line: str) -> tuple[str, Sequence[str]]:
    """What separates the cells, and what they say, if it may be the header of a table."""
    separator = next((one for one in "|;\t," if one in line), " " if _ALIGNED.match(line) else "")
    if not separator or len(line) > _LONGEST_HEADER:
        return "", ()
    names = [line[low:high] for low, high in _cells(line, separator, 0)]
    if sum(map(bool, names)) < 2 or any(name and not _HEAD_CELL.fullmatch(name) for name in names):
        return "", ()
    return separator, names


def _columns(names: Sequence[str]) -> Columns:
    """What the columns hold; `name` alone is of people beside another such column."""
    columns = {at: (entity, name) for at, name in enumerate(names) for entity in _kinds(name)[:1]}
    bare = {at: ("PERSON", name) for at, name in enumerate(names) if _BARE.fullmatch(_plain(name))}
    if columns or len(bare) > 1 or any(_MAIL.search(name) for name in names):
        columns |= bare
    return columns


def _thing_columns(names: Sequence[str]) -> Columns:
    return {at: ("", name) for at, name in enumerate(names) if _is_thing(name)}


def _cells(line: str, separator: str, offset: int) -> list[tuple[int, int]]:
    """Where the cells of a line stand, without blanks and quotes around them."""
    if not separator:
        return []
    return [_bare_cell(line, *part, offset) for part in _parted(line, separator)]


def _bare_cell(line: str, low: int, high: int, offset: int) -> tuple[int, int]:
    while low < high and line[low] in " \"'*\r\n":
        low += 1
    while high > low and line[high - 1] in " \"'*\r\n":
        high -= 1
    return offset + low, offset + high


def _parted(line: str, separator: str) -> Iterator[tuple[int, int]]:
    """What stands between separators: commas in quotes are none, and of blanks two; `'` stands for SQL's commas."""
    if separator in ",;":
        line = _QUOTED.sub(lambda quoted: "x" * len(quoted[0]), line)
    elif separator == "'":
        line = _QUOTED_SQL.sub(lambda quoted: "x" * len(quoted[0]), line)
    ends = (
        _GAP.finditer(line)
        if separator == " "
        else re.finditer("," if separator == "'" else re.escape(separator), line)
    )
    start = 0
    for end in ends:
        yield start, end.start()
        start = end.end()
    yield start, len(line)
