"""What counts as personal data: Presidio proposes a stretch of text, a judge says which part of it counts.

Presidio's scores cannot tell a phone number from an order number, or an SSN from a ledger account; the words
beside them can. Each entity type has a judge and a canary, a text in which it must be found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, cast

from stateward.adapters.detection.person_names import people
from stateward.adapters.detection.small_names import small_names
from stateward.adapters.detection.speakers import speakers
from stateward.adapters.detection.spoken_numbers import spoken_births, spoken_cards, spoken_numbers, spoken_ssns
from stateward.adapters.detection.street_addresses import street_addresses
from stateward.adapters.detection.turned_names import turned_names

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a stretch that Presidio proposes is judged, and a text in which the entity type must be found.

    Attributes:
        stems: In casefolded text; where a text has none of them, nothing in it would be let through.
    """

    judge: Callable[[str, int, int, frozenset[str]], list[Span]]
    canary: str
    stems: tuple[str, ...] = ()

    def may_be_in(self, casefolded: str) -> bool:
        """Whether a text is worth a look."""
        return not self.stems or any(stem in casefolded for stem in self.stems)


@dataclass(frozen=True, slots=True)
class Finder:
    """What finds an entity type without Presidio, in part only, and a text in which it must be found."""

    find: Callable[[str], list[tuple[int, int, float]]]
    canary: str


def _words(alternatives: str) -> re.Pattern[str]:
    """Whole words, where `_` and digits end a word as well, so that `phone_1` has the word phone."""
    return re.compile(rf"(?<![A-Za-z])(?:{alternatives})(?![A-Za-z])", re.IGNORECASE)


_ID = (
    r"(?:inv|invoice|order|ref|reference|id|case|ticket|po|sku|part|item|code|serial|tracking|batch|lot|doc"
    r"|document|contract|policy|claim|entry|journal|je|gl|ledger|account|acct|cost cent(?:er|re)|segment"
    r"|project|version|build|release|drawing|catalog(?:ue)?|article|style|stock|permit|mrn|cas|commit|transaction|txn|trx|payment|shipment|delivery|asset|bill|receipt"
    r"|quote|rma|job|task|record|row|page|section|session|trace|key|hash|run|period|model|imei)s?"
)
_ID_BEFORE = re.compile(
    rf"(?:(?<![A-Za-z]){_ID}|(?-i:[a-z]Id))[^\w,;]*(?:(?:no|nr|num|number|id|is|ref|code)(?![A-Za-z])\W*)?$",
    re.IGNORECASE,
)
_PHONE_BEFORE = re.compile(
    r"(?<![A-Za-z])(?:(?:tele|cell|home|work|mobile)?phones?|tel|t[eé]l[eé]fono?|telefon(?:um|u|nummer)?|t[eé]l[eé]phone|cellular|celular|handy"
    r"|fax|hotline|whats ?app|sms|msisdn|voice ?mail|call ?back|cellulare"
    r"|[A-Za-zü]*(?:ruf|telefon|handy|mobil)nummer)"
    r"(?![A-Za-z])[^\n]*$"
    r"|(?<![A-Za-z])(?:call(?:s|ed|ing)?|dial(?:s|led|ling)?|rings?|rang|texted"
    r"|(?:texts?|txt|msg|message|ping)(?= (?:me|us|him|her|them) )"
    r"|cell|mobile|mob|ph|reach(?:able|ed)?|contact|landline|m[oó]vil|mobil|mobiel|portable|natel|gsm"
    r"|appele[rz]|llam[ae][rn]?|anrufen|erreich(?:en|bar))(?![A-Za-z])"
    r"(?:\W+(?-i:[A-Z][\w'’-]*)){0,3}(?:\W+(?:me|us|him|her|them|moi|back|at|on|is|no|nr|number|to|via|under|unter|au|al|sul))*\W*$"
    r"|(?<![A-Za-z])(?:my|his|her|our|their|your|new|private|direct|contact|emergency)\W+(?:number|nr|no|line|num)"
    r"(?:\W+(?:is|now|changed|to|still))*\W*$"
    r"|(?:^|[|,;·•/]\s*)(?-i:[TMPF]|Ph|Mob|Cell)[.:]?\s*$"
    r"|(?<![A-Za-z])(?:message|picked up|picks? up|answers?|answered|get (?:me|us|him|her|them))\W+(?:at|on|under)\W+$",
    re.IGNORECASE,
)
_PHONE_AFTER = re.compile(
    r"\s{0,3}[,(]?\s{0,3}(?:(?:as|is|was|on|by|via|over|which is|my|his|her|their|our|your|the|still|a)\s{1,3}){1,3}"
    r"(?:[a-z]{1,20}\s{1,3}){0,2}?"
    r"(?:(?:tele)?phone|mobile|cell|landline|whats ?app|fax|number to (?:call|ring|dial|text))(?![a-z])"
    r"|\s{0,3}\((?:(?:tele)?phone|tel|mobile|cell|home|work|office|landline|fax)\b",
    re.IGNORECASE,
)
_CARD_WORDS = _words(r"cards?|visa|master ?card|amex|american express|maestro|discover|diners|jcb|union ?pay|pan|cc")
_BIRTH_WORDS = _words(
    r"born|d\.?o\.?b\.?|date ?of ?birth|birth ?da(?:te|y)|birth|b-?day|yob|year of birth|geb(?:oren|urtsdatum|urtstag)?"
    r"|n[eé]e? le|date de naissance|nat[oa] il|data di nascita|nacid[oa]|nacimiento|nascimento|nascid[oa]|geboortedatum"
    r"|f[oö]dd|f[oö]delsedatum|f[oø]dt|ur|urodzen(?:ia|y|a)|narozen[ay]?|do[gğ]um(?: tarihi)?|syntynyt|sz[uü]letett"
)
_BORN_TOO = re.compile(
    r"(?<![A-Za-z])(?:born|birthdays?|dobs?)\W[^.\n;]{0,4}\d[^\n;:]{3,20} ?(?:and|&|,) $"
    r"|(?<![A-Za-z])b\. ?$|[(,] ?\* ?$",
    re.IGNORECASE,
)
_BIRTHDAY_BEFORE = re.compile(
    r"(?:birth ?da(?:y|te)|b['’]?-?day)\W*(?:(?:is|on|the|was|falls)\W+){0,3}$", re.IGNORECASE
)
_SOME_DATE = re.compile(r"\d{4}|\d[./-]\d|0(?!\d)")
_SSN_WORDS = _words(
    r"[A-Za-z]{0,12}ssns?|s\.? ?s\.? ?n\.?|s\.?s\.? ?(?:#|no|nr|num|number)"
    r"|socials?(?: sec(?:urity)?)?(?! (?:media|network|club|event|post|housing|care|fund|team))"
    r"|s/s|ssno|soc\.?[ _]?sec\.?"
)
_SSN_AFTER = re.compile(
    r"[^\n\"'=:|;<>\d]{0,24}(?<![A-Za-z])(?:ssn|ss(?= ?#)|social(?: security)?|soc\.? sec)(?![A-Za-z]|\W{0,3}[:=#])",
    re.IGNORECASE,
)
_SSN_RIGHT_BEFORE = re.compile(
    r"(?<![A-Za-z])(?:[A-Za-z]{0,12}ssn|ssno|s[./]? ?s\.?|soc|social|soc\.?[ _]?sec\.?|social security)s?"
    r"\W*(?:(?:no|nr|nbr|num|number|id|is|card|on|file)(?![A-Za-z])\W*){0,3}$",
    re.IGNORECASE,
)
_SSN_BETWEEN = re.compile(r"\d{3}[\s.–-]{0,3}\d\d[\s.–-]{0,3}\d{4}(?!\d)|(?<!\d)\d{1,4}(?!\d)")
_GROUPS = re.compile(r"\d{3}([ .-])\d\d\1\d{4}")
_SAME_CLAUSE = re.compile(r"[^\d,;|\n\"]*")
_ZIP = re.compile(r"\d{5}-\d{4}")
_NO_SSN = re.compile(r"000|666|\d{3}00|\d{5}0000")
_TAX_WORDS = _words(
    r"tax(?:payer)?[ _]?(?:id|identification)|tin|w-?[249]|(?:national|government|gov|personal|employee|payroll"
    r"|member|subscriber|insured|student|recipient|dependent|spouse|veteran"
    r"|applicant|candidate|claimant|patient|identity)[ _]?(?:id|no|nr|number)"
)
_PERSONAL_FORM = _words(
    r"(?:first|last|full|given|family|legal|employee)[ _]?name|d\.?o\.?b|birth ?date|date ?of ?birth|born|w-?[249]|1099"
    r"|employees?|individual|payroll|dependents?|spouse"
)
_BANK_WORDS = _words(
    r"bank (?:account|acct|a/c)|(?:checking|savings?|deposit) (?:account|acct)"
    r"|(?<!gl )(?<!g/l )(?<!ledger )(?<!cost )(?<!customer )(?:account|acct|a/c) ?(?:numbers?|no|nr|#)"
)
_BANK_STEMS = ("bank", "account", "acct", "a/c")
_PASSPORT_WORDS = _words("passports?")
_LICENSE_WORDS = _words(r"driver'?s?'? ?licen[cs]e|driving ?licen[cs]e|dl (?:no|number|#)|cdl")
_ITIN_WORDS = _words(r"itin|individual taxpayer|tax ?payer|tax ?id|tin")
_NHS_WORDS = _words(r"nhs|national health(?: service)?")
_NINO_WORDS = _words(r"nino|national insurance|ni (?:no|number|#)")
_AADHAAR_WORDS = _words(r"aadhaar|aadhar|uidai")
_PAN_WORDS = _words(r"pan|permanent account(?: number)?|income tax")
_NIF_WORDS = _words(r"nif|dni|n\.i\.f\.|documento nacional|identificaci[oó]n")
_FISCAL_WORDS = _words(r"codice fiscale|cod\. ?fisc\.?|fiscal code|c\.f\.|cf")
_PESEL_WORDS = _words(r"pesel")
_TFN_WORDS = _words(r"tfn|tax file(?: number)?")
_MEDICARE_WORDS = _words(r"medicare")
_NRIC_WORDS = _words(r"nric|fin|identity card|ic (?:no|number)")
_HETU_WORDS = _words(r"hetu|henkil[oö]tunnus|personal identity(?: code)?|personbeteckning")
_REFERENCE_BEFORE = re.compile(
    r"(?<![A-Za-z])(?:inv|invoice|order|ref|reference|tracking|ticket|case|po|batch|sku|serial)s?\W*"
    r"(?:(?:no|nr|num|number|id)(?![A-Za-z])\W*)?$",
    re.IGNORECASE,
)
_VERSION_BEFORE = re.compile(r"(?:\bv|version|release|build)\W{0,3}$", re.IGNORECASE)

_SEPARATOR = r"[ \u00a0\u202f.\-\u2010\u2011\u2013/()]"
_NUMBER = re.compile(r"\d+")
_TREATED = re.compile(r"\[(?:CRYPTO|URL|[A-Z]+(?:_[A-Z]+)+)(?::[0-9a-f]{12})?\]|\*{5,}")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'\]\[{}|\\^`]+", re.IGNORECASE)
_DATE = re.compile(
    r"(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|[12]\d|3[01])[-/.](?:19|20)\d\d(?!\d)"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4}|\d{6})?(?!\d)"
)
_MONEY_BEFORE = re.compile(r"(?:[€$£¥]|\b(?:EUR|USD|GBP|CHF|JPY))\s?[-+]?$", re.IGNORECASE)
_AMOUNT = re.compile(r"[^.]*[^.\d][^.]*\.\d\d")  # as the end of `0-30 5,112.33`
_LIKE_NORTH_AMERICA = frozenset({"US", "CA"})
_WITHOUT_ZERO = frozenset({"CZ", "DK", "ES", "GR", "HK", "LU", "MX", "NO", "PL", "PT", "SG"})
_INDIAN_MOBILE = re.compile(r"[6-9]\d{4}[ -]\d{5}")
_BRITISH_MOBILE = re.compile(r"07\d{3}[ -]\d{3}[ -]?\d{3}")
_WITH_TRUNK = re.compile(
    r"\(?0[1-9]\d{0,4}\)?(?: ?[/-] ?| )\d{2,5}([ -])\d{2,4}(?:\1\d{2,4}){0,3}|0[1-9](?:([ .])\d\d)(?:\2\d\d){3}"
)
_REACHED_BEFORE = re.compile(r"(?<![A-Za-z])(?:unter|au|al)\W*$", re.IGNORECASE)
_MORE = re.compile(r"\s+\d")
_MONEY_AFTER = re.compile(r"\s?(?:[€$£¥%]|(?:EUR|USD|GBP|CHF|JPY|units?|pcs|kg|km|ms)\b)", re.IGNORECASE)
_NORTH_AMERICA = re.compile(rf"(?:1{_SEPARATOR})?\(?[2-9]\d\d\)?{_SEPARATOR}{{0,2}}[2-9]\d\d{_SEPARATOR}\d{{4}}")
_PRIVATE_DOMAINS = frozenset({"corp", "example", "home", "internal", "invalid", "lan", "local", "test"})
_CARD_BRANDS = (
    # ISO/IEC 7812 ranges. These lengths count alone, the others of 12 to 19 digits only beside a card word:
    # one in ten article numbers would be a card otherwise.
    (re.compile(r"4"), {16}),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),
    (re.compile(r"3[47]|2131|1800"), {15}),
    (re.compile(r"30[0-5]|309|3[689]"), {14}),
    (re.compile(r"35(?:2[89]|[3-8])|6011|64[4-9]|65|62|81"), {16}),
    (re.compile(r"50|5[6-9]|6"), set[int]()),
)

_IBAN_LENGTHS = (
    # ISO 13616, the registry's lengths by country
    "NO15 BE16 DK18 FI18 FO18 GL18 NL18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CH21 HR21 LI21 LV21 BG22 BH22 CR22"
    " DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 TL23 SO23 AD24 CZ24 ES24 MD24 PK24 RO24 SA24 SE24"
    " SK24 TN24 VG24 LY25 PT25 ST25 AO25 CV25 MZ25 IS26 TR26 BI27 DJ27 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28"
    " CY28 DO28 GT28 HU28 LB28 NI28 PL28 SV28 BF28 CI28 SN28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 MU30 MT31 SC31"
    " LC32 RU33"
)


def _ibans() -> str:
    """A pattern of every country's account numbers, each to its length, in groups or not."""
    by_length: dict[str, list[str]] = {}
    for one in _IBAN_LENGTHS.split():
        by_length.setdefault(one[2:], []).append(one[:2])
    every = (
        rf"(?:{'|'.join(countries)})\d\d(?:[ -]?[A-Z0-9]){{{int(length) - 4}}}"
        for length, countries in by_length.items()
    )
    return rf"(?<![A-Z0-9])(?:{'|'.join(every)})(?![A-Z0-9])"


_LONGEST_IBAN = 66  # with a blank after each sign
_IBAN = re.compile(_ibans(), re.IGNORECASE)
_SSN_DIGITS = 9
_GAP = r"(?:\s?[-‐‑–—./·_+]?(?:\n[> \t]{1,4}|\s{0,2}))"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY_ONLY = re.compile(rf"\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?", re.IGNORECASE)
OWN_PATTERNS = {
    "CREDIT_CARD": (
        r"(?<![^\W_])(?<!\d\.)"
        r"(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})"
        r"(?![^\W_]|[.-]\d)"
    ),
    "DATE_OF_BIRTH": (
        r"(?<!\w)(?:(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}"
        r"|\d{1,2}[-/.]\d{1,2}[-/.](?:(?:19|20)\d\d|\d\d)|(?:19|20)\d{6}"
        r"|[0-3]\d[0-3]\d(?:19|20)\d\d"
        rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? ?-?{_MONTH}[-,]? ?['’]?(?:(?:19|20)\d\d|\d\d)"
        rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? ['’]?(?:(?:19|20)\d\d|\d\d)|(?:19|20)\d\d,? {_MONTH} \d{{1,2}}"
        r"|\d{1,2}(?:\.|º|er)?(?: de)? [^\W\d_]{3,10}\.?(?: de)? (?:19|20)\d\d"
        r"|\d{1,2} ?[-–./] ?\d{1,2} ?[-–./] ?(?:19|20)\d\d"
        rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}(?![ -]?\d)|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?!,? ?\d)"
        r")(?!\d)"
    ),
    "EMAIL_ADDRESS": (
        # Presidio's own pattern takes the key of `user=jane@example.com` along.
        r"(?<!\w)\w[\w.!#$%*+~^-]{0,127}(?:'[\w.!#$%*+~^-]{1,63})?"
        r"@[^\W_]+(?:-+[^\W_]+)*(?:\.[^\W_]+(?:-+[^\W_]+)*)+"
    ),
    "IBAN_CODE": r"(?<![A-Z0-9])[A-Z]{2}\d\d(?:[ -]?[A-Z0-9]){11,30}",
    "MAC_ADDRESS": (
        r"(?<![\w:.-])(?:[0-9A-F]{2}([:-])(?:[0-9A-F]{2}\1){4}[0-9A-F]{2}"
        r"|[0-9A-F]{4}\.[0-9A-F]{4}\.[0-9A-F]{4})"
        r"(?![\w:-])"
    ),
    "PHONE_NUMBER": rf"(?:(?<![\w#])|(?<=%2B))\(?\+?\(?\d(?:{_SEPARATOR}{{0,3}}\d){{6,40}}(?!\w)",
    "URL": _URL.pattern,
    "US_SSN": (
        rf"\d(?<!\d\d)(?<!\d[.,-]\d)(?:\d\d{_GAP}\d\d{_GAP}\d{{4}}|(?:[ .-]{{1,3}}\d){{8}}"
        r"|\d\d([ .-])\d{3}\1\d{3})"
        r"(?!\d|[-.]\d)"
    ),
}
CHECKED = frozenset({"IBAN_CODE"})
"""Which of our own patterns are as sure as can be once they are judged."""
STOCK_RECOGNIZERS = (
    "CryptoRecognizer",
    "IpRecognizer",
    "NhsRecognizer",
    "UsBankRecognizer",
    "UsItinRecognizer",
    "UsLicenseRecognizer",
    "UsPassportRecognizer",
    "UsSsnRecognizer",
    "AuMedicareRecognizer",
    "AuTfnRecognizer",
    "EsNifRecognizer",
    "FiPersonalIdentityCodeRecognizer",
    "InAadhaarRecognizer",
    "InPanRecognizer",
    "ItFiscalCodeRecognizer",
    "PlPeselRecognizer",
    "SgFinRecognizer",
    "UkNinoRecognizer",
)


def _as_found(_text: str, start: int, end: int) -> list[Span]:
    return [(start, end)]


def _beside(words: re.Pattern[str], *, digits: int = 0) -> Callable[[str, int, int], list[Span]]:
    """A judge that wants one of the words near, and a number of so many digits that is not a date."""

    def judge(text: str, start: int, end: int) -> list[Span]:
        found = text[start:end]
        wrong = len(_digits(found)) < digits or _DATE.fullmatch(found)
        return [] if wrong or not _near(words, text, start, end) else [(start, end)]

    return judge


def _birth(text: str, start: int, end: int) -> list[Span]:
    """A date beside a word of birth, in spite of small numbers between; one without a year right behind `birthday`."""
    before = _before(text, start, 60)
    if _DAY_ONLY.fullmatch(text, start, end):
        return [(start, end)] if _BIRTHDAY_BEFORE.search(before) else []
    said = [match.end() for match in _BIRTH_WORDS.finditer(before)]
    plain = bool(said) and not _SOME_DATE.search(before, said[-1])
    near = plain or _BORN_TOO.search(before[-40:]) or _near(_BIRTH_WORDS, text, start, end)
    return [(start, end)] if near else []


def _near(words: re.Pattern[str], text: str, start: int, end: int, *, reach: int = 60) -> bool:
    """Whether one of the words stands within reach, and no other number between it and the stretch."""
    left = _before(text, start, reach)
    found = [match.end() for match in words.finditer(left)]
    if found and not _NUMBER.search(left, found[-1]):
        return True
    right = _TREATED.sub("0", text[end : end + reach // 2])[: reach // 3]
    after = words.search(right)
    return after is not None and not _NUMBER.search(right, 0, after.start())


def _before(text: str, start: int, reach: int) -> str:
    """What stands before the stretch, with a 0 for each value that an earlier treatment replaced.

    The type in `[PHONE_NUMBER]` would introduce the next number, and no digits of the value would stop it.
    """
    return _TREATED.sub("0", text[max(0, start - 2 * reach) : start])[-reach:]


def _digits(text: str) -> str:
    """The digits of any script as ASCII."""
    return "".join(str(int(c)) for c in text if c.isdecimal())


def _attached(text: str, start: int, end: int) -> bool:
    """Whether the stretch is a part of a longer reference, amount or address."""
    before, after = text[max(0, start - 4) : start], text[end : end + 2]
    if before.upper().endswith("%2B"):
        before = ""
    # Three stars are bold and italic; more of them hide digits.
    return bool(re.search(r"[\w#+]\Z|\w[-./]\Z|\d:\Z|\*{4}\Z", before) or re.match(r"\w|-\w|[.:]\d", after))


def _email(text: str, start: int, end: int) -> list[Span]:
    """The address up to where its domain can exist, as in `jane@example.com.The next sentence`."""
    domain = text[start:end].rpartition("@")[2]
    while "." in domain:
        if _exists(domain):
            return [(start, end)]
        shorter = domain.rpartition(".")[0]
        end -= len(domain) - len(shorter)
        domain = shorter
    return []


def _exists(domain: str) -> bool:
    """Whether it may be registered, or is set apart for private use."""
    return domain.rpartition(".")[2].lower() in _PRIVATE_DOMAINS or bool(_suffixes()(domain).fqdn)


@cache
def _suffixes() -> Callable[[str], Any]:
    tldextract = cast("Any", import_module("tldextract"))
    # Without addresses it takes the list that it ships; by default it fetches one, without a time limit.
    return cast("Callable[[str], Any]", tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None))


def _card(text: str, start: int, end: int) -> list[Span]:
    found = text[start:end]
    digits = _digits(found)
    lengths = next((usual for prefix, usual in _CARD_BRANDS if prefix.match(digits)), None)
    if lengths is None or not _luhn(digits):
        return []
    plain = len(digits) in lengths or found != digits
    before = text[max(0, start - 40) : start]
    reference = re.search(r"\w-\Z|_\Z", before) or _REFERENCE_BEFORE.search(before)
    return [(start, end)] if (plain and not reference) or _near(_CARD_WORDS, text, start, end) else []


def _luhn(digits: str) -> bool:
    """The check digit of ISO/IEC 7812-1."""
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(int(d) for d in digits[-1::-2]) + sum(doubled)) % 10 == 0


def _ssn(text: str, start: int, end: int) -> list[Span]:
    """Anything beside the words; alone only `536-90-4399`, unless a word makes it an order or account."""
    if _NO_SSN.match(_digits(text[start:end])):
        return []
    if _SSN_RIGHT_BEFORE.search(text[max(0, start - 40) : start]) or _is_said_to_be_ssn(text, start, end):
        return [(start, end)]
    written = re.fullmatch(r"[0-8]\d\d[-‑–]\d\d[-‑–]\d{4}", text[start:end])
    barred = _ID_BEFORE.search(text[max(0, start - 40) : start]) and not _near(_TAX_WORDS, text, start, end)
    return [(start, end)] if written and not barred and not _attached(text, start, end) else []


def _is_said_to_be_ssn(text: str, start: int, end: int) -> bool:
    """Whether a word says so, in spite of other SSNs between, or a form of a person has it as a tax id."""
    left = _before(text, start, 90)
    said = [match.end() for match in _SSN_WORDS.finditer(left)]
    between = left[said[-1] :] if said else left
    if _ZIP.fullmatch(text, start, end) or (
        _ID_BEFORE.search(between) and not (said and _SAME_CLAUSE.fullmatch(between))
    ):
        return bool(_TAX_WORDS.search(between[-40:]) and not said and _is_of_a_person(text, start, end, left))
    if _GROUPS.fullmatch(text, start, end) and (said or _SSN_WORDS.search(text[max(0, start - 400) : end + 100])):
        return True
    if (said and not _NUMBER.search(_SSN_BETWEEN.sub("", between))) or _SSN_AFTER.match(text, end):
        return True
    return _is_of_a_person(text, start, end, left)


def _is_of_a_person(text: str, start: int, end: int, left: str) -> bool:
    """Whether it is a tax id, in a form that is about a person."""
    tax = [match.end() for match in _TAX_WORDS.finditer(left)]
    taxed = bool(tax) and not _NUMBER.search(left, tax[-1])
    return taxed and _PERSONAL_FORM.search(text[max(0, start - 250) : end + 120]) is not None


def _ip(text: str, start: int, end: int) -> list[Span]:
    return [] if _VERSION_BEFORE.search(text[max(0, start - 12) : start]) else [(start, end)]


def _url(text: str, start: int, end: int) -> list[Span]:
    """The whole address, which may be longer than the piece of text in which it was found."""
    match = _URL.match(text, start)
    return [(start, start + len(match[0].rstrip(".,;:!?)")))] if match else [(start, end)]


def _iban(text: str, start: int, end: int) -> list[Span]:
    """The account numbers of a stretch, each to the length of its country, whose check digits are right."""
    found = _IBAN.finditer(text, start, end + _LONGEST_IBAN)
    return [match.span() for match in found if match.start() < end and _is_checked(match[0])]


def _is_checked(iban: str) -> bool:
    """The check digits of ISO 7064, MOD 97-10."""
    plain = re.sub(r"\W", "", iban).upper()
    return plain.isascii() and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _phones(text: str, start: int, end: int, countries: frozenset[str]) -> list[Span]:
    """The phone numbers in a run of digits and separators, the longest first from the left."""
    before = _before(text, start, 40).rpartition("\n")[2]
    trunk = text[start:end].lstrip("(").startswith("0")
    introduced = bool(_PHONE_BEFORE.search(before) or (trunk and _REACHED_BEFORE.search(before)))
    others = (_ID_BEFORE, _MONEY_BEFORE, *([_SSN_RIGHT_BEFORE] if len(_digits(text[start:end])) == _SSN_DIGITS else []))
    barred = any(one.search(before) for one in others) and not (trunk and introduced)
    groups = [match.span() for match in _NUMBER.finditer(text, start, end)]
    spans: list[Span] = []
    first = 0
    while first < len(groups):
        opening = _opening(text, groups[first][0], start)
        unless = barred and first == 0 and "+" not in text[opening : opening + 2]
        ends = () if unless else reversed(range(first, min(first + 7, len(groups))))
        last = next((i for i in ends if _is_phone(text, opening, groups[i][1], introduced, countries)), None)
        if last is not None:
            spans.append((opening, groups[last][1]))
        first = (first if last is None else last) + 1
    return spans


def _opening(text: str, start: int, limit: int) -> int:
    while start > limit and text[start - 1] in "+(":
        start -= 1
    return start


def _is_phone(text: str, start: int, end: int, introduced: bool, countries: frozenset[str]) -> bool:
    found = text[start:end]
    digits = _digits(found)
    if not 7 <= len(digits) <= 15 or _attached(text, start, end) or _DATE.match(found):
        return False
    if _MONEY_AFTER.match(text, end):
        return False
    if introduced or _PHONE_AFTER.match(text, end):
        return True
    if _AMOUNT.fullmatch(found):
        return False
    if found.lstrip("(").startswith("+"):
        return _dialable(f"+{digits}") or (len(digits) >= 11 and _dialable(f"+{digits}", possible=True))
    return found != digits and not _in_table(text, start, end) and _national(found, digits, countries)


def _in_table(text: str, start: int, end: int) -> bool:
    """Whether the groups, with nothing but spaces between them, go on to the left or to the right."""
    spaced = re.fullmatch(r"[\d\s]+", text[start:end])
    return bool(spaced and (re.search(r"\d\s+$", text[max(0, start - 9) : start]) or _MORE.match(text, end)))


def _national(found: str, digits: str, countries: frozenset[str]) -> bool:
    """Whether a number without a word is written as in one of the countries, or with 00."""
    if digits.startswith("00"):
        return _dialable(f"+{digits[2:]}")
    if _LIKE_NORTH_AMERICA & countries and _NORTH_AMERICA.fullmatch(found) and _dialable(digits, "US"):
        return True
    if _WITH_TRUNK.fullmatch(found) and 9 <= len(digits) <= 12 and not _DATE.search(found):
        return True
    if "GB" in countries and _BRITISH_MOBILE.fullmatch(found):
        return True
    if "IN" in countries and _INDIAN_MOBILE.fullmatch(found):
        return True
    # Where numbers do not begin with a 0, as in Spain, only its groups tell one from an amount or an id.
    others = countries - _LIKE_NORTH_AMERICA
    return (digits.startswith("0") or len(_NUMBER.findall(found)) > 2) and any(
        digits.startswith("0") == (country not in _WITHOUT_ZERO) and _dialable(digits, country) for country in others
    )


def _dialable(number: str, region: str | None = None, *, possible: bool = False) -> bool:
    """Whether it is given to subscribers, or only has a length that its country knows."""
    phonenumbers = cast("Any", import_module("phonenumbers"))
    try:
        parsed = phonenumbers.parse(number, region)
        return bool((phonenumbers.is_possible_number if possible else phonenumbers.is_valid_number)(parsed))
    except phonenumbers.NumberParseException:
        return False


def _anywhere(judge: Callable[[str, int, int], list[Span]]) -> Callable[[str, int, int, frozenset[str]], list[Span]]:
    """A judge that does not ask where the people are."""
    return lambda text, start, end, _countries: judge(text, start, end)


RULES: Mapping[str, Rule] = {
    "CREDIT_CARD": Rule(_anywhere(_card), "card 4111 1111 1111 1111"),
    "CRYPTO": Rule(_anywhere(_as_found), "wallet 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    "DATE_OF_BIRTH": Rule(_anywhere(_birth), "born 1980-04-05"),
    "EMAIL_ADDRESS": Rule(_anywhere(_email), "jane.doe@example.com"),
    "IBAN_CODE": Rule(_anywhere(_iban), "IBAN DE89 3704 0044 0532 0130 00"),
    "IP_ADDRESS": Rule(_anywhere(_ip), "from 192.168.10.7"),
    "MAC_ADDRESS": Rule(_anywhere(_as_found), "device 00:1A:2B:3C:4D:5E"),
    "PHONE_NUMBER": Rule(_phones, "phone +1 212-555-0187"),
    "UK_NHS": Rule(_anywhere(_beside(_NHS_WORDS)), "NHS number 943 476 5919", ("nhs", "national health")),
    "URL": Rule(_anywhere(_url), "https://example.com/people/7"),
    "US_BANK_NUMBER": Rule(_anywhere(_beside(_BANK_WORDS)), "bank account 945456787654", _BANK_STEMS),
    "US_DRIVER_LICENSE": Rule(
        _anywhere(_beside(_LICENSE_WORDS, digits=5)), "driver's license H12234567", ("licen", "dl ", "cdl")
    ),
    "US_ITIN": Rule(_anywhere(_beside(_ITIN_WORDS)), "ITIN 911-70-1234", ("tin", "tax")),
    "US_PASSPORT": Rule(_anywhere(_beside(_PASSPORT_WORDS)), "passport 912803456", ("passport",)),
    "AU_MEDICARE": Rule(_anywhere(_beside(_MEDICARE_WORDS)), "medicare 2123 45670 1"),
    "AU_TFN": Rule(_anywhere(_beside(_TFN_WORDS)), "tax file number 876 543 210"),
    "ES_NIF": Rule(_anywhere(_beside(_NIF_WORDS)), "NIF 12345678Z"),
    "FI_PERSONAL_IDENTITY_CODE": Rule(_anywhere(_beside(_HETU_WORDS)), "hetu 131052-308T"),
    "IN_AADHAAR": Rule(_anywhere(_beside(_AADHAAR_WORDS)), "Aadhaar 3123 4567 8909"),
    "IN_PAN": Rule(_anywhere(_beside(_PAN_WORDS)), "PAN ABCPE1234F"),
    "IT_FISCAL_CODE": Rule(_anywhere(_beside(_FISCAL_WORDS)), "codice fiscale RSSMRA85T10A562S"),
    "PL_PESEL": Rule(_anywhere(_beside(_PESEL_WORDS)), "PESEL 44051401359"),
    "SG_NRIC_FIN": Rule(_anywhere(_beside(_NRIC_WORDS)), "NRIC S1234567D"),
    "UK_NINO": Rule(
        _anywhere(_beside(_NINO_WORDS)), "national insurance AB 12 34 56 C", ("nino", "national insurance", "ni ")
    ),
    "US_SSN": Rule(_anywhere(_ssn), "SSN 536-90-4399"),
}

FINDERS: Mapping[str, Finder] = {
    "LOCATION": Finder(street_addresses, "She lives at 12 Maple Street."),
    "PERSON": Finder(
        lambda text: [*people(text), *small_names(text), *speakers(text), *turned_names(text)],
        "Spoke with Anna Schneider about it.",
    ),
}
"""What rules and lists find in part, where a model finds more: street addresses, and names with a cue or in a list."""

IN_WORDS: Mapping[str, Callable[[str], list[tuple[int, int, float]]]] = {
    "CREDIT_CARD": spoken_cards,
    "DATE_OF_BIRTH": spoken_births,
    "PHONE_NUMBER": spoken_numbers,
    "US_SSN": spoken_ssns,
}
"""What finds more of an entity type that Presidio's recognizers find already."""
