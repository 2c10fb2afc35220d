"""Names of people, found by lists and by what stands around them; no model, no download.

A capitalised word is a name because it is in a list of names and no ordinary word, because its neighbour is,
or because a cue says so: a title, a greeting, the key of a JSON object, a signature, a verb such as `called`.
Unknown people with names that are in no list are found beside a cue only: this is the floor, not a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stateward.adapters.detection.name_lists import (
    FIRM_FORMS,
    GOES_ON,
    LIKELY,
    LONE,
    PARTICLES,
    SURE,
    Lists,
    Named,
    folded,
    lists,
)
from stateward.adapters.detection.word_classes import (
    DATE_WORDS,
    FUNCTION_WORDS,
    NO_AGENTS,
    NO_NOUNS,
    PEOPLE_BEFORE,
    RANKS,
    TAILS,
    THINGS_BEFORE,
)

_MOST_WORDS = 4
_BEFORE = 60
_NEAR = 32
_SHORT = 2
_LONGEST_ACRONYM = 5
_LONGEST_LISTED = 4

_TITLE = (
    "mr mrs ms miss mx dr prof professor sir madam herr frau senor senora mme mlle monsieur madame signor signora"
    " don dona herrn doctor doktor"
)
_TITLES = frozenset(_TITLE.split())
_WITHIN_NAMES = frozenset(("don", "dona", "sir", "madam"))
_WOMAN = re.compile(r"\w{2,}(?:er|or|ist|ent|ant|ärzt)in")  # who does something, in German
_GREETING_WORD = "dear hi hello hey hallo bonjour hola thanks liebe lieber beste cher chere i'm"
_GREETINGS = frozenset(_GREETING_WORD.split())

# A capitalised word, with the point of an initial or of a title; `'s` is not a part of it.
_LETTER = r"[^\W\d_a-z]"
_WORD = (
    rf"(?>(?:{_LETTER}\.){{1,3}}(?!\w)|{_LETTER}[^\W\d_]*(?:(?:['’](?![sS]\b)|-)[^\W\d_]+)*"
    r"(?:(?:(?<=\bMR)|(?<=\bMRS)|(?<=\bDR)|(?<=\bMr)|(?<=\bMs)|(?<=\bDr)|(?<=\bMrs)|(?<=\bProf))\.)?)"
)
_PARTICLE = "|".join(sorted(PARTICLES, key=len, reverse=True))
_NEXT = rf"[ \u00a0](?:(?:{_PARTICLE})[ \u00a0]){{0,2}}{_WORD}"
# Not a part of a path, an address, a call, an assignment or a qualified name.
_RUN = re.compile(rf"(?<![\w@/\\$#.-])(?<!\w['’])(?>{_WORD}(?:{_NEXT})*+)(?!{GOES_ON}|[\[=]|::)")
_PIECE = re.compile(rf"{_WORD}|[^\W\d_]+")

_PERSON_KEY = (
    r"(?:(?:first|last|full|given|family|middle|maiden|sur|fore|customer|client|contact|holder|cardholder|employee"
    r"|patient|passenger|guest|user|owner|person|recipient|account|display|legal)[ _-]?name|surname|forename"
    r"|card[ _-]?holder|account[ _-]?holder|holder|beneficiary|payee|payer|assignee|employee|patient|passenger"
    r"|attendees?|recipient|requester|reporter|approver|spouse|signatory|attn|attention|consignee|debtor|next of kin"
    r"|(?:sign|approv|request|report|submitt|order|prepar|review|receiv|collect|open|clos|handl|book|check)ed"
    r"(?:[ _-]off)?[ _-]by|left with|contact person|care of|c/o)"
)
_WEAK_KEY = (
    r"(?:primary|secondary|backup|on call|name|customer|contact|owner|user|agent|author|manager|by|from|to|cc|bcc"
    r"|caller|driver|tenant|ship to|sold to|bill to|deliver to|present|absent|apologies|excused|participants?|speakers?"
    r"|interviewe[re]|trainer|instructor|signature|signed|receiver|on duty|on shift|visitors?|witness|injured person)"
)
_MARK = r"[\"'*|]*\s*[:=]\s*[\"'*|]*\s*(?:(?:Mr|Mrs|Ms|Dr)\.? )?"
_CLOSING_IN_LINE = "regards|sincerely|thanks|thank you|cheers|wishes|cordially|signed"
_CLOSING = (
    rf"{_CLOSING_IN_LINE}|faithfully|best|greetings|yours|truly|br|kr|love|gruß|gruss|grüß|grüße|grüßen|grüsse|grüssen"
    "|gruße|grußen|grusse|grussen|mfg|lg|saludos|atentamente|cordialement|saluti|hilsen|mvh|groet|groete|groeten"
    "|pozdrawiam|abraços|abracos|atenciosamente"
)
_GREETING = (
    "dear|hi|hello|hey|morning|afternoon|evening|hallo|hola|ciao|bonjour|salut|liebe|lieber|liebes|cher|chere|chère"
    "|beste|geachte|hej|estimado|estimada|querido|querida|caro|cara|ola|olá"
)
_SAYS_NAME = "my name is|my full name is|name's|speaking with|speaking to"
_INTRODUCES = "this is|i am|i'm|nee|née|aka|alias|attn|fao|attention of"
_SURE_BEFORE = re.compile(
    rf"(?:(?<![a-z]){_PERSON_KEY}{_MARK}|\b(?:{_SAYS_NAME})\s+|\bname on (?:the |my )?card:?\s+"
    rf"|\b(?:{_CLOSING})[,!.]?\s*\n\s*|\b(?:{_CLOSING_IN_LINE})[,!.]?\s+|\b(?:{_GREETING})[, ]\s*"
    rf"|\b(?:{_INTRODUCES})[.:]?\s+|\b(?:{_TITLE.replace(' ', '|')})\.? "
    r"|(?<![a-z])(?:first|last|maiden|family)[ _-]name\s{1,3})$",
    re.IGNORECASE,
)
_CUE = f"{_CLOSING}|{_GREETING}|{_SAYS_NAME}|{_INTRODUCES}|name on card|first name|{_TITLE.replace(' ', '|')}"
_CUE_ENDS = frozenset(cue.rpartition(" ")[2] for cue in _CUE.split("|"))
_ROLES = (
    r"patient|tenant|customer|client|caller|passenger|guarantor|husband|wife|spouse|partner|son|daughter|brother"
    r"|sister|mother|father|colleague|neighbou?r|employee|driver|agent|nurse|lawyer|accountant|landlord|applicant"
    r"|claimant|manager|supervisor|friend|holder|recipient|beneficiary|attendees?|guest|member|witness|heir|host|sponsor"
    r"|lead|leader|chair|chairman|chairwoman|deputy|boss|buyer|sender|dispatcher|engineer|technician|auditor|assistant"
    r"|guard|clerk|intern|trainee|apprentice|foreman|cousin|uncle|aunt|nephew|niece|grandson|granddaughter|fianc[eé]e?|mum|mom|dad"
    r"|teacher|student|pupil|resident|visitor|candidate|debtor|planner|owner|inspector|operator|receptionist|consultant"
    r"|bookkeeper|controller|surveyor|trustee|carer|nanny|coach|nickname|contact|caller|concierge|handler|approver|reviewer"
)
_ROLE_BEFORE = re.compile(
    rf"(?:\b(?:{_ROLES})(?: is| was|,|:| named| called)?,? (?:an? )?[\"'“‘]?|(?<![a-z]){_WEAK_KEY}{_MARK}"
    r"|\buser [\"“]"
    r"|\b(?:ask(?:ed)?|tell|told|thank|remind|(?:spoke|talked|speak|talk) (?:to|with)|(?:signed|approved|requested"
    r"|reported|written|taken|opened|submitted|countersigned|chaired|attended|led) by) "
    r"|(?:^|\n)\s*\d\d?[:.]\d\d\s+)$",
    re.IGNORECASE,
)
_APPOSED = re.compile(
    r"\b(?:[Mm]y|[Oo]ur|[Hh]is|[Hh]er|[Tt]heir|[Yy]our|[Tt]he|an?)(?: [a-z-]{2,14}){0,2}"
    rf" (?!(?:{'|'.join(sorted(NO_AGENTS))}),)[a-z]{{3,}}(?:er|or|ist|man|woman|mate|ian|ee|ent|ant|mother|father), $"
    r"|\b(?:somebody|someone|man|woman|guy|girl|boy|lady|fellow|person|friend|child)"
    r"(?: [a-z]{2,12}){0,3} (?:called|named) $"
)
_ASKED_BEFORE = re.compile(
    r"\b(?:[Aa]sk(?:ed|ing)? for|(?:[Ss]poke|[Ss]peak|[Tt]alk|[Tt]alked) (?:to|with)|married|[Oo]n behalf of) $"
)
_WEAK_BEFORE = re.compile(
    r"\b(?:with|by|from|to|for|asks?|asked|tell|told|called|phoned|e-?mailed|met|meet|contact|contacted|reach"
    r"|colleague|according to|opinion of|per|and|or|cc|via|behalf of|than|add|has|is|was|when|that|did|does|about"
    r"|named|copy|invite|inform|notify|remind|thank|birthday|meet|see|saw|believe|because|while|if|before|after|love)[:,]?\s+$",
    re.IGNORECASE,
)
_VERBS = (
    r"called|calls|said|says|wrote|writes|thinks?|thought|asks|asked|told|tells|reports|reported|confirms|confirmed"
    r"|signed|signs|wants|wanted|paid|pays|lives|lived|moved|works|worked|joined|agreed|agrees|replied|replies"
    r"|complained|complains|explained|explains|requested|requests|gave|gives|approved|approves|rejected|picked up"
    r"|answered|answers|insists|insisted|mentioned|mentions|claims|claimed|stated|states|believes|wishes|needs|knows"
    r"|left|resigned|retired|passed away|died|born|noticed|saw|heard|phoned|rang|texted|emailed|e-mailed|promised"
    r"|remembers|forgot|prefers|hopes|hoped|apologi[sz]ed|presents|presented|takes over|took over|signs off|signed off"
    r"|drove|drives|started|starts|met|meets|thanked|suggested|suggests|noted|likes|came|comes|went|helped|helps|collects"
    r"|collected|checked|on it|on leave|on holiday|on vacation|out|off|away|back|sick|ill|late|here|speaking"
    r"|there until"
    r"|from the"
)
_VERB_AFTER = re.compile(
    r",?\s+(?:has |had |have |was |were |is |will |would |also |just |then |already )?(?:been )?"
    rf"(?:{_VERBS})\b|['’]s\s+[a-z]"
)
_MAIL_AFTER = re.compile(
    r"[\"']?\s*[<(,;|]\s*[\"'<]?[\w.+-]+@|[,:;(|]? {1,2}\(?(?:\+|0|\(\d)[\d ().-]{7,}\d"
    r"|,? \(?(?:born|DOB|dob|n[eé]e|aged|SSN|ssn|date of birth|head of|chief|our|manager|director|engineer|founder"
    r"|deputy|secretary|remote|sales|legal|finance|HR|retired|concierge|leader|chair|they|she|he)\b"
)
_FIRM_AFTER = re.compile(
    rf",? ?(?:&|\+ (?=[^\W\d_]))|,?\s+(?:{FIRM_FORMS}|s\.?a|sons|brothers|bros"
    r"|and sons|and co|roofing|plumbing|catering|joinery|motors|foods|farms|interiors|industries|pharma|systems"
    r"|logistics)\b",
    re.IGNORECASE,
)
_HUMAN_AFTER = re.compile(
    r" (?:thinks?|thought|phoned|rang|texted|forgot|remembers|promised|drove|knows|knew|apologi[sz]ed|retired|resigned"
    r"|married|passed away|is (?:sick|ill|on it|on leave|on holiday|on vacation|at lunch|in a meeting|pregnant))\b"
    r"|['’]s (?:wife|husband|son|daughter|mum|mother|father|desk|phone|boss|car|laptop|birthday|number|kids|shift)\b"
    r"|[^A-Z\n.!?]{0,45}[ ,](?:she|he|her|his|him)\b"
)
_PERSON_AFTER = re.compile(
    r" (?:(?:told|asked|thanked|reminded|taught|phoned|texted|hugged|kissed) (?:me|us|him|her|them)\b|(?:and|or) I\b"
    r"|(?:has|have|had|was|is|will) (?:been |be )?(?:chosen|appointed|promoted|elected|hired|diagnosed|admitted|born"
    r"|crying)\b)"
)
_CONTACT_AFTER = re.compile(
    r"\s{0,3}\n\s{0,3}(?:(?!info|sales|office|contact|support)[\w.+-]+@|\(?\+?\(?\d[\d ().-]{7,})"
)
_LINE_BEFORE = re.compile(r"(?:^|\n)\s*$")
_NOUN_AFTER = re.compile(r" (?P<word>[a-z]{3,})(?![\w'’])")
_MEASURED = re.compile(r"(?:\d| [A-Z] to) $")
_PREFIX = re.compile(r"^(?:Mc|Mac|De|Di|La|Le|Van|Von|O['’])(?=[A-Z])")
_HYPHEN = re.compile(r"['’-]")
_CLOSES = re.compile(r"[.!?,]\s*\n\s*(?:[-–—~]{1,2} ?)?$")
_START = re.compile(r"(?:^|[.!?:;\"'“(>|*-]\s*|\n\s*)$")
_TOGETHER = re.compile(r"(?: \([^()\n]{1,24}\))?(?:,| and| or| &| /)[ \n]")
_AFFILIATED = re.compile(r",? (?:of|from|at|with|for) ")
_NICKNAME = re.compile(rf" [\"“‘'(]{_WORD}[\"”’')] (?P<last>{_WORD})")
_TURNED = re.compile(rf"({_WORD}), $")
_ONE_OF_A_KIND = frozenset(("the", "a", "an", "this", "that", "each", "every", "per", "our", "new", "old", "pcs"))
_COUNTED = re.compile(r"\d{1,5}x?")
_STORMS = frozenset(("storm", "hurricane", "typhoon", "cyclone"))
_THINGS = (
    r"armchairs?|sofas?|chairs?|tables?|desks?|beds?|lamps?|shelf|shelves|shoes|boots|jeans|jackets?|shirts?|belts?|bags?"
    r"|guitars?|amps?|amplifiers?|pumps?|engines?|machines?|drills?|saws?|knife|knives|keys?|screws?|wrench|wrenches|tools?"
    r"|line|lines|series|range|model|models|edition|collection|kit|kits|set|sets|hub|site|plant|warehouse|depot|branch"
    r"|terminal|port|brand|font|chart|charts|diagram|diagrams|cycle|plot|board|test|tests|scale|hardness|algorithm|graph"
    r"|filter|method|law|rule|server|servers|node|nodes|cluster|queue|importer|build|release|sprint|milestone|award|prize"
    r"|day|bridge|dam|class|router|switch|proxy|printers?|scanners?|trucks?|vans?|cars?|bikes?|airport|marble|tiles?|project|campaign|theme|repo"
    r"|sauce|tea|beer|wine|salad|cake|apples?|oak|wood|paint|blue|green|red|black|white|grey|gray|cotton|leather|index"
)
_THING_AFTER = re.compile(
    rf" (?:{_THINGS})\b|['’]s (?:\d|Day\b)|[ -]\d+(?![\d:.]*[:.]\d)(?!\w*(?:st|nd|rd|th)\b)(?: |\W|$)| [A-Z]{{1,4}}-?\d"
)
_SIZE_AFTER = re.compile(r" \((?:[a-z]+ )?\d+(?:[.,]\d+)? ?(?:l|ml|kg|g|cm|mm|pcs)\b")
_IN_QUOTES = re.compile(r"[\"“'‘]$"), re.compile(r"[\"”'’](?!\w)")
_WAYS = frozenset(
    ("corso", "travessa", "chaussee", "rue", "calle", "via", "viale", "plaza", "piazza", "rua", "avenida")
)
_ONLY_IN_NAMES = frozenset(
    ("van", "von", "bin", "binti", "bint", "ibn", "ben", "abu", "ter", "ten", "al", "af", "dos", "lo")
)


class Word(NamedTuple):
    """One word of a run."""

    start: int
    end: int
    text: str
    plain: str


def people(text: str) -> list[Named]:
    """Where people are named: first character, one past the last, and a score."""
    known = lists()
    found: list[Named] = []
    before: Sequence[Word] = ()
    firm = 0
    for match in _RUN.finditer(text):
        for words, likely in _split(text, match, known):
            is_firm = _is_firm(text, words, firm, likely, known)
            firm, score = (match.end(), 0.0) if is_firm else (firm, likely)
            if score:
                low = _with_last_name(text, before, words, known)
                if found and low < found[-1][1]:
                    found.pop()
                found.append((low, words[-1].end, score))
            elif turned := _turned(text, found, words, known):
                if found and found[-1][1] > turned.start():
                    found.pop()
                found.append((turned.start(), words[-1].end, LIKELY))
            elif _goes_on(text, found, words, known):
                found.append((words[0].start, words[-1].end, LIKELY if len(words) > 1 else LONE))
            if found and found[-1][1] == words[-1].end:
                found[-1] = _with_nickname(text, found[-1], known)
            alone = len(words) == 1 and words[0].plain not in known.usual
            before = words if alone or not found or found[-1][1] < words[-1].end else ()
    return found


def names_a_thing(text: str, start: int, end: int) -> bool:
    """Whether a name stands for a thing here, as in `Anna keys`, `Anna 200` or `room Anna`."""
    return bool(_THING_AFTER.match(text, end) or _is_thing_before(text[max(0, start - _BEFORE) : start]))


def _last_word(before: str) -> str:
    """The word that ends right before a name, in small letters; a quotation mark may stand between the two."""
    plain = before.rstrip("\"“'‘(")
    bare = plain.rstrip()
    return bare[max(bare.rfind(" "), bare.rfind("\n")) + 1 :].lower() if len(bare) < len(plain) else ""


def _may_be_cue(before: str) -> bool:
    """Whether it ends as `_SURE_BEFORE` does: a quick look before a slow one."""
    tail = before.rstrip(" \t\n\u00a0\"'*|")
    return tail[-1:] in ":=" or tail[tail.rfind(" ") + 1 :].rpartition("\n")[2].strip(",.!").lower() in _CUE_ENDS


def _is_thing_before(before: str) -> bool:
    return before[-1:] == "`" or _last_word(before).rstrip(".").replace("é", "e") in THINGS_BEFORE


def _split(text: str, run: re.Match[str], known: Lists) -> Iterator[tuple[Sequence[Word], float]]:
    """The stretches of a run that may be names, each with its score, 0 where it is none."""
    words = [_word(piece, run.start()) for piece in _PIECE.finditer(run[0])]
    at = 0
    cued = False
    while at < len(words):
        plain = words[at].plain.rstrip(".")
        if plain in _TITLES or plain in _GREETINGS or (at + 1 < len(words) and _is_rank(plain)):
            at, cued = at + 1, True
            continue
        if plain in FUNCTION_WORDS:
            at, cued = at + 1, False
            continue
        end = _end(words, at, known)
        if end == at:
            at, cued = at + 1, False
            continue
        stretch = words[at:end]
        start = words[at].start
        before = text[max(0, start - _BEFORE) : start]
        place = _Place(text=text, words=words, low=at, high=end, known=known, cued=cued, _before=before)
        yield stretch, place.score()
        at, cued = end, False


def _is_rank(plain: str) -> bool:
    return plain in RANKS or plain in PEOPLE_BEFORE or _WOMAN.fullmatch(plain) is not None


def _end(words: Sequence[Word], at: int, known: Lists) -> int:
    end = at
    loud = words[at].text.isupper() and all(one.text.isupper() for one in words[at : at + _MOST_WORDS + 2])
    while end < len(words) and end - at < _MOST_WORDS + 2:
        one = words[end]
        plain = one.plain.rstrip(".")
        if (not loud and _is_acronym(one, known)) or (plain in _TITLES and plain not in _WITHIN_NAMES):
            break
        if plain in FUNCTION_WORDS and one.text[0].isupper():
            break
        if len(one.text) == 1 and at < end < len(words) - 1:  # JANE A DOE
            end += 1
            continue
        if one.text[0].islower():
            if end == at or end + 1 == len(words) or not _may_be_name(words[end + 1], known):
                break
        elif not _may_be_name(one, known):
            break
        end += 1
    return end


def _is_acronym(word: Word, known: Lists) -> bool:
    return (
        word.plain not in PARTICLES
        and word.text.isalpha()
        and word.text.isupper()
        and 1 < len(word.text) <= _LONGEST_ACRONYM
        and not known.is_name(word.plain.strip("."))
    )


def _may_be_name(word: Word, known: Lists) -> bool:
    plain = word.plain
    if len(plain.rstrip(".")) == 1 or plain.endswith("."):
        return plain.endswith(".")
    if word.text[0].islower() or plain in PARTICLES:
        return plain in PARTICLES
    if not word.text[1:].islower() and not word.text.isupper() and _is_identifier(word.text):
        return False
    return known.is_name(plain) or not known.is_word(plain)


def _is_identifier(word: str) -> bool:
    """Whether it has capitals within, as OrderService does, and McDonald and Anna-Lena do not."""
    inner = _PREFIX.sub("", word)
    return any(c.isupper() for part in _HYPHEN.split(inner) for c in part[1:])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """A stretch of capitalised words, and what stands around it."""

    text: str
    words: Sequence[Word]
    low: int
    high: int
    known: Lists
    cued: bool
    _before: str

    def score(self) -> float:
        """How sure it is that this is a name, 0 where it is not."""
        names = [one.plain for one in self.words[self.low : self.high] if one.plain not in PARTICLES]
        full = [name for name in names if not name.endswith(".") and len(name) > 1]
        if not full or tuple(full[:2]) in self.known.firms:
            return 0.0
        if self._before.endswith("& ") or _is_thing_before(self._before):
            return 0.0
        if self.cued or (_may_be_cue(self._before) and _SURE_BEFORE.search(self._before)):
            return SURE if self._fits_a_cue(full) else 0.0
        if len(full) > 1 and self._heads_contacts(full):
            return LIKELY
        if self._is_loud():
            return self._loud(full)
        return self._alone(full[0]) if len(names) == 1 else self._several(full, names)

    def _fits_a_cue(self, full: Sequence[str]) -> bool:
        if len(full) == 1 and self.high < len(self.words):  # followed by a word: `Dear Acme Team`
            return self.known.is_sure(full[0])
        if self.known.is_word(full[0]) and full[0] not in self.known.usual and not self.cued:
            return False
        return all(name not in self.known.words or self.known.is_name(name) for name in full)

    def _heads_contacts(self, full: Sequence[str]) -> bool:
        """Whether it is a line of its own above an address or a number, as letters and CVs begin."""
        alone = self.low == 0 and self.high == len(self.words) and _LINE_BEFORE.search(self._before)
        contact = alone and _CONTACT_AFTER.match(self.text, self._end)
        return bool(contact) and not any(map(self.known.is_word, full))

    def _is_loud(self) -> bool:
        return all(one.text.isupper() for one in self.words[self.low : self.high])

    def _loud(self, full: Sequence[str]) -> float:
        """Capitals only, as in forms: both words have to be names."""
        known = self.known
        sure = sum(known.is_sure(name) for name in full)
        return LIKELY if len(full) > 1 and all(map(known.is_name, full)) and sure and known.is_first(full[0]) else 0.0

    def _alone(self, name: str) -> float:
        known = self.known
        if (name,) in known.firms or len(name) < 3 or name in DATE_WORDS or self._in_a_phrase():
            return 0.0
        if known.is_word(name) and not known.is_first(name):
            return 0.0
        if len(name) > _SHORT and not known.is_word(name) and _PERSON_AFTER.match(self.text, self._end):
            return LONE
        if self._is_thing():
            return 0.0
        human = self._before[-1:] != "\n" and _last_word(self._before).strip(",:") in PEOPLE_BEFORE
        human = human or self._is_apposed() or _ASKED_BEFORE.search(self._before[-_NEAR:])
        if human and not known.is_word(name):
            return LONE
        if not known.is_word(name) and (self._signs() or self._acts(name)):
            return LONE
        if known.is_sure(name):
            if name in known.usual and known.is_first(name):
                return LONE
            return LONE if self._says_more() or self._has_role() or self._is_introduced() else 0.0
        return LONE if known.is_first(name) and name not in known.places and self._says_more() else 0.0

    def _acts(self, name: str) -> bool:
        """Whether a word within a sentence does what people do, or is a she."""
        starts = _START.search(self._before[-4:])
        return len(name) > _SHORT and not starts and _HUMAN_AFTER.match(self.text, self._end) is not None

    def _signs(self) -> bool:
        """Whether it is the last line of a text, below a sentence."""
        ends = not self.text[self._end : self._end + 9].strip() or self.text.startswith("\n\n>", self._end)
        return bool(ends and _CLOSES.search(self._before) and not self.text[self._end :].partition("\n>")[0].strip())

    def _is_thing(self) -> bool:
        """Whether it names a thing, as in `the Anna armchair`, `Anna 200`, `Anna keys` or `lamp "Anna"`."""
        word = _last_word(self._before)
        if _THING_AFTER.match(self.text, self._end) or word in _ONE_OF_A_KIND or self._before[-1:] == "=":
            return True
        if self._has_noun():
            return True
        if _COUNTED.fullmatch(word):
            return True
        return self._is_title()

    def _has_noun(self) -> bool:
        """Whether a word of the language follows that is no verb, as in `Anna Smith sofa`."""
        after = _NOUN_AFTER.match(self.text, self._end)
        word = after["word"] if after else ""
        return self.known.is_word(word) and word not in NO_NOUNS and not word.endswith(("ed", "s", "ing", "ly"))

    def _is_title(self) -> bool:
        """Whether it stands in quotes, as songs and lamps do, and nobody is said to be it."""
        opens, closes = _IN_QUOTES
        quoted = opens.search(self._before) and closes.match(self.text, self._end)
        said = quoted and (_WEAK_BEFORE.search(self._before[-_NEAR:-1]) or _ROLE_BEFORE.search(self._before[-_NEAR:-1]))
        return bool(quoted and not said and not self._has_role())

    def _is_one_of_titles(self) -> bool:
        """Whether more is in quotes beside it, as in a list of songs."""
        after = self.text[self._end + 1 : self._end + _NEAR]
        return self._before[-_NEAR:-1].count('"') > 1 or after.count('"') > 1

    def _several(self, full: Sequence[str], names: Sequence[str]) -> float:
        known = self.known
        first, last = names[0], full[-1]
        if first in _STORMS:
            return 0.0
        if (last in TAILS and not self._has_role()) or first in _WAYS or _SIZE_AFTER.match(self.text, self._end):
            return 0.0
        if self._has_noun() and not (self._says_person() or self._is_introduced()):
            return 0.0
        if self._is_title() and self._is_one_of_titles():
            return 0.0
        between = [one.plain for one in self.words[self.low : self.high] if one.plain in PARTICLES]
        if first.endswith(".") and _MEASURED.search(self._before):
            return 0.0
        if _is_unusual(first, last, between, known):
            return 0.0 if self._in_a_phrase() else LIKELY
        if self._in_a_phrase():
            sure = known.is_sure(first) and first in known.usual and known.is_sure(last)
            return LIKELY if sure and self.high == len(self.words) else 0.0
        if self._says_person():
            named = any(known.is_name(name) for name in full)
            return SURE if named or not any(known.is_word(name) for name in full) else 0.0
        if self._is_apposed() and not any(map(known.is_word, full)):
            return LIKELY
        if known.is_first(first) and not known.is_word(first):
            return LIKELY if known.is_name(last) or last not in known.words else 0.0
        if known.is_sure(last):
            fits = known.is_last(last) or known.is_sure(first)
            return LIKELY if fits and (known.is_name(first) or not known.is_word(first)) else 0.0
        introduced = first in known.usual and self._is_introduced()
        return LIKELY if introduced and (known.is_last(last) or not known.is_word(last)) else 0.0

    def _is_apposed(self) -> bool:
        """Whether words say whose and what this is: `our watchman, `, `a man called `."""
        return self._before.endswith((", ", "called ", "named ")) and _APPOSED.search(self._before) is not None

    def _says_person(self) -> bool:
        return self._signs() or self._has_role() or self._says_more()

    def _has_role(self) -> bool:
        return _ROLE_BEFORE.search(self._before[-_NEAR:]) is not None

    def _is_introduced(self) -> bool:
        return _WEAK_BEFORE.search(self._before[-_NEAR:]) is not None

    def _says_more(self) -> bool:
        """Whether a verb of people, an address, a number or what somebody is follows."""
        return bool(_VERB_AFTER.match(self.text, self._end) or _MAIL_AFTER.match(self.text, self._end))

    def _in_a_phrase(self) -> bool:
        """Whether capitalised words that are no names stand beside it: `Lincoln Park Branch`, `Bank Julius`."""
        if self.high < len(self.words):
            return True
        if self.low == 0 or self.words[self.low - 1].plain.rstrip(".") in _GREETINGS:
            return False
        first = self.words[0].start
        return self.low > 1 or not _START.search(self.text[max(0, first - 4) : first])

    @property
    def _end(self) -> int:
        return self.words[self.high - 1].end


def _is_unusual(first: str, last: str, particles: Sequence[str], known: Lists) -> bool:
    """Whether only people are written so: an initial before a name, or a `van`, `binti` or `Lo` within it.

    A `der` or `du` is an article as well: it counts behind a first name only.
    """
    if known.is_word(last) or len(last) < 3:
        return False
    fits = not known.is_word(first) and (known.is_first(first) or not _ONLY_IN_NAMES.isdisjoint(particles))
    return first.endswith(".") or (bool(particles) and fits)


def _is_firm(text: str, words: Sequence[Word], firm: int, score: float, known: Lists) -> bool:
    """Whether it is one, or one more in a row of firms: `Johnson Controls, Parker Qorvan and Emerson`."""
    names = tuple(text[words[0].start : words[0].start + 60].lower().split(None, 2)[:2])
    if tuple(name.strip(",.;:") for name in names) in known.firms or _FIRM_AFTER.match(text, words[-1].end):
        return True
    row = bool(firm) and _TOGETHER.fullmatch(text[firm : words[0].start]) is not None
    return row and score < SURE and not _AFFILIATED.match(text, words[-1].end)


def _with_last_name(text: str, before: Sequence[Word], words: Sequence[Word], known: Lists) -> int:
    """Where the name begins: with the last name of `Smith, Jane`, if one stands there."""
    start = words[0].start
    if not 0 < len(before) < 3 or text[before[-1].end : start] != ", " or not known.is_first(words[0].plain):
        return start
    return before[0].start


def _with_nickname(text: str, found: Named, known: Lists) -> Named:
    """With what follows in `Jane "Jo" Doe`."""
    match = _NICKNAME.match(text, found[1])
    return (found[0], match.end(), found[2]) if match and not known.is_word(folded(match["last"])) else found


def _turned(text: str, found: Sequence[Named], words: Sequence[Word], known: Lists) -> re.Match[str] | None:
    """The last name of `OKAFOR, Ifeanyi`, where one stands before a first name that is in the list alone."""
    before = _TURNED.search(text, max(0, words[0].start - 40), words[0].start)
    if not before or len(words) != 1 or not known.is_first(words[0].plain) or known.is_word(words[0].plain):
        return None
    last = folded(before[1])
    within = bool(found) and found[-1][0] < before.start() < found[-1][1]
    listed = known.is_last(last) or len(last) > _LONGEST_LISTED
    fits = before[1].isupper() and not words[0].text.isupper() and listed and not known.is_word(last)
    return before if fits and not within else None


def _goes_on(text: str, found: Sequence[Named], words: Sequence[Word], known: Lists) -> bool:
    """Whether it is one more in a row of people: `Jane Smith, Xu Yv`, or `Jane Smith, Joe, Xu`."""
    if not found or any(known.is_word(one.plain) for one in words) or words[0].text.isupper():
        return False
    between = text[found[-1][1] : words[0].start]
    if not _TOGETHER.fullmatch(between):
        return False
    if len(words) > 1:
        return found[-1][2] >= LIKELY or " and" in between
    row = len(found) > 1 and _TOGETHER.fullmatch(text[found[-2][1] : found[-1][0]])
    return bool(row or "/" in between or known.is_first(words[0].plain)) and len(words[0].text) > _SHORT


def _word(piece: re.Match[str], offset: int) -> Word:
    return Word(offset + piece.start(), offset + piece.end(), piece[0], folded(piece[0]))
