"""Names that are written in small letters, as people do in chats: `hi its fatima again`, `driver is nelson`.

Small letters say nothing, so that two things have to be there: a list that knows the word as a name and as nothing
else, and a cue beside it or a second name. Only what says outright that a name comes, such as `my name is` and
`mrs`, is believed for a word that no list has.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from stateward.adapters.person_names import LIKELY, LONE, PARTICLES, SURE, Lists, Named, lists, names_a_thing

_ALSO_WORDS = (
    # What people write in chats, what machines and colours are called, and what a list has as a name as well.
    "abb abbot absolutely acct ace acre addr admiral afaik afternoon airflow ally alma alpha alright ama amber"
    " amen amex ami ana angry anner ansible answers anybody apache api apollo apparently arent argo argyle arrives"
    " art asa asap ash ask asks aspen athena atlas aurora ave axel azure bab babe bal bar baron bas basil bat bebe"
    " believes bell bent berry beryl bet beta bic birch bird bishop bliss bob bond bonny booker boom boone brain"
    " bran brandy brave bravo brea breakfast bree brings brown btw buddy buffy bun bur burr busy buys byte cade"
    " cain cal cam can candi candy cap cape captain car carries carry case cash casper casual cat cedar cell cent"
    " chai char chase cheap cheers cher cherry chess chi chili chip chooses cinder cinnamon clay cleans clear"
    " clement clementine clever click cliff clove cob coco coin cola colleague colonel colt comes comet con"
    " concerning consul cooks cool coral core corn cosmo costs cotton couldnt count coy crew cruise cruz crystal"
    " cup cure curry cute cuts cvv cyber dag dah dal dale dam dare dart dat dawn days dean debian decides deep"
    " definitely del dell delta dem demo denim desk dew dia diamond did didnt died dim dina dip dis disk dj dob"
    " doc docker doe dollars don donna dont dory dot dove downstairs drake drew drinks drives drove dude duff duke"
    " dune dunno dutch dye ean earl eats ebony echo ego eh elastic elif elm emails ember er era eta euros ever"
    " everywhere ewe expensive express eye faith falcon fan fancy faq far farm fawn fay fed fedora fee feels felt"
    " fern few fin fir fit fixes flat flight flip flo flor flora floss fly foch fog folks fond ford forgets foster"
    " fount fox foy frank fry fun fyi gab gal gale gamma gan gap gar garnet gave gay gee gel general ges gill"
    " ginger git glad glory go goal golden gonna gotta grace grade gradle graph gray green grey groove grover"
    " guard guy guys hadnt haha hale ham happy hara hardy hart hash hasnt hates haven havent hawk hdmi hears helm"
    " henna hermes hero hes hey hill hmm hob hoke hole home hon honestly honor hope hopes hose hows hub hugh hum"
    " hun hunt iban ice icy ide idea idk ike ill ima imo ina indie indigo inn inv ion ira iris iron isnt istio iva"
    " ive ivory ivy jack jade jag jama jar java jay jean jeep jelly jenkins jewel jib jin jira job jog jolly joy"
    " json judge juice julia jump june junior jupiter jury kafka kappa karma kay keen keep kestrel key khaki kick"
    " kid kids kin king kip kit kitty kiwi knight kong kpi lace lacy lads lam lambda lan lance lane lao laptop"
    " lark laser last lat latte lau lava lavender law lay laze lea leaf leafy learns lee left leg let lex liberty"
    " lid lien likes lil lily lim lime lin line link linux listens literally lives lock log lok lol lon lord lore"
    " lorry loses lot love loves loyal luck lucky lug luna lute lux lyric ma mac mack mad made mag magic mails"
    " majesty major malt mam mama man mango mani manual many map maple mar mare mark marks married mars marshal"
    " martini mason mat match matrix maven may meanwhile mellow melody mercedes mercury mercy merit merlot merry"
    " mica mil mile miles mill min mint minty misty mite mitt mob mocha mom moms monday mono moo moon moose mos"
    " moss most msg mum mums mun nap nas nat neighbor neighbour neo nest net nexus nginx nim nine nit noble nobody"
    " nod nomad non nope nor normal nova np nr num nun nur oak oasis obviously ocean ola omega omg omw onyx oo"
    " opal opera ora oracle orb orion otp out owl packer paisley pan pandas pap paprika paris pas pat patch patty"
    " paw pax pay pays peace pearl peg pen penny pepper per perk perl pet petal pho phoenix pick picks pike pin"
    " pine pip pity pix plans plays pls plum plz po pod pol polaris pop pope poppy porter posh postgres posts posy"
    " pot pounds prima prime prince puck puma pup puts python qty queen quest quick quid quill rad rain ram rand"
    " ranger rap rat raven raw ray read reception red redis reed reef regal regarding rein rem remedy reno rep"
    " resigned retired rev rice rich ride rik ring rings rip ripe river rivers rma robin roc rock rocket rocky rod"
    " rom roma rome rosary rose rosemary rosy row royal ruby rudder rue rum rust rusty rye sade safe saffron saga"
    " sage sai saint sal salt sami san sandy sanity sat satin saturn sau say scala scar scarlet scout sdk sea seal"
    " sean season see sees sel selenium sells senna sepa sergeant seriously shah shay she shell shep sheriff"
    " sherry shes shirt shouldnt shouted shun si sick sierra sigh sigma silver sim sis sits six sku sky slack"
    " slate sleeps slowly smart smith sms smth snow sol solar somebody son song soon sora sorry soul sounds spark"
    " sparrow speaks spencer spends spring spruce sql ssd ssn stacy stands star stays stew stone stormy stout"
    " stuck studies sue sugar sultan sum sunday sunny supreme sure sus swan swift sy ta tab tai tal talks tam"
    " tandem tango tap tat tbh tea teaches teal tee tel tempo ten tender terra tex thai than thats the theta"
    " theyre thinks thnx thor thru thx tia tic tide tile tiles tin tip titan tmr tmrw tmw tnx tod toe told ton"
    " took top topaz tor tot toy trace train treat tree tri trip tru truck true tuan tub tuck tui tun turk turner"
    " tweed ty tysm ubuntu uh um una upstairs uri url us usb vacation vagrant van vault vega vela velvet venus ver"
    " vest vet via vim violet viral visa vista vita viva vivid vlan void vpn vue wade wal walk walks wan wang"
    " wanna war ward warm warner washes wasnt wave wed wee well wells went werent weve whats wheat wheres wherever"
    " whisky whos will willow win windows winner wins wip wknd wolf won wong wont worried worries wouldnt wrote"
    " wynn yam yaml yan yang yard yay yen yep yes yo yong you young youre yum yup zed zen zenith zion zoom"
)
_CHAT = frozenset(_ALSO_WORDS.split())
_LETTERS = r"[^\W\d_A-Z]"
_WORD = re.compile(
    rf"(?<![\w@/\\.$#=&%+\[-])(?<![\w.]['’]){_LETTERS}{{2,}}(?:['’-]{_LETTERS}{{2,}})*"
    rf"(?![\w@(\[=\\/&]|[\"']?\s?[:=]|[.:]\w|-\w|['’](?!s\b))"
)
_BEFORE = 48
_LEAST, _LEAST_ALONE = 3, 4
_SAYS_NAME = re.compile(
    r"(?:\bname(?:'s| is|s)?(?: on (?:it|the card|the account|my card|the order|the booking))?(?: is|:)?"
    r"|\b(?:this is|i am|i'?m|it'?s me|its me|im|me:))\s+(?:uh+,? |um+,? )?$"
)
_GREETS = re.compile(
    r"(?:^|[\n.,!?;:>(\"]\s*|\s)(?:hi|hello|hey|hiya|dear|yo|morning|evening|afternoon|thx|thanks|thank you|thnx|tnx|ty"
    r"|ta|cheers|regards|best|love|sincerely|xx?|its|it'?s|sorry|welcome"
    r"|bye)[, ]+(?:so much |again |you |there )?$"
)
_GREETING = re.compile(r"(?:^|[\n.!?:>]\s*)(?:hi|hello|hey|hiya|dear|thx|thanks|thank you|ty|cheers|regards)[, ]+$")
_END_OF_GREETING = re.compile(r"\s*(?:[,!\n]|$)")
_TITLE = re.compile(r"(?<!\w)(?:mr|mrs|herr|frau|mme|madame|signora?|se[nñ]ora?|prof|dr(?=\.)|mister)\.? $")
_SOFT_TITLE = re.compile(r"(?<!\w)(?:ms|miss|dr|sir|uncle|auntie|aunt|big|old|little|young|father|sister)\.? $")
_CUES = re.compile(
    r"(?<!\w)(?:tell|told|ask|asked|asking|seen|saw|see|add|added|call|called|calling|ring|rang|text|texted|message|msg|ping"
    r"|email|mail|with|for|from|by|of|and|or|is|was|not|also|said|says|met|meet|contact|cc|to|per|give|gave|send|sent|remind"
    r"|let|invite|invited|know|knows|knew|thank|when|if|has|have|did|does|can|will|where'?s|about|named|driver|boss"
    r"|colleague|manager|sister|brother|mum|mom|dad|wife|husband|son|daughter|friend|mate|neighbou?r|cousin|partner|customer|client"
    r"|guest|patient|passenger|tenant|caller|visitor|agent|guy|lady|girl|woman|man|new|our|my|ex)[,:]? [\"'(]?$"
)
_VERBS = re.compile(
    r"(?:['’]s)? (?:says?|said|called|calls|calling|wants?|wanted|asks?|asked|told|tells|thinks?|knows?|from|in the"
    r"|at the|u there|here|again|won'?t|will|has|had|hasn'?t|is|was|isn'?t|did|does|didn'?t|can|can'?t|needs?|got|gets"
    r"|sent|sends|left|came|comes|went|paid|pays|ordered|moved|lives|works|signed|forgot|smth|and i|or|and|just|never"
    r"|still"
    r"|also|already|out|plz|pls|please|could|would|should|may|might|over there|wrote|writes|replied|phoned|texted|rang"
    r"|mailed|emailed|picked|pick|dropped|drop|brought|took|takes|gave)\b"
    r"|\??,? (?:u there|are you|r u|can you|can u|pls|plz)|[,:] "
)
_FIRST_IN_LINE = re.compile(r"(?:^|\n)\s*(?:[-*>]\s*|\[?\d\d?:\d\d(?::\d\d)?\]?\s+)?$")
_SIGNED = re.compile(r"(?:[.,!?)x\n-]\s*|\b(?:thx|ty|thanks|cheers|regards|best|love) )$")
_END = re.compile(r"\W*(?:\n|$)")
_SPEAKER = re.compile(
    r"^[ \t]*(?:\[?\d\d?:\d\d(?::\d\d)?\]?[ \t]+)?(?P<name>[^\W\d_]{3,20}(?: [^\W\d_]{3,20})?):[ \t]+\S+[ \t]+\S",
    re.MULTILINE,
)
_INITIAL = re.compile(rf"(?<![\w.@/-])(?P<first>[a-z])\. ?(?P<last>{_LETTERS}{{4,}})(?![\w@(=/\\]|[.:]\w|-\w)")
_NOT_INITIAL = frozenset("eiap")
_MAIL_AFTER = re.compile(r" ?<(?P<local>[\w.+-]+)@")
_OF_LINE = re.compile(r"[^\W\d_]")
_NICK = re.compile(r"(?<!\w)(?:big|little|lil|old|young|uncle|auntie|aunt|crazy) $")
_UNLIKE_NAME = re.compile(r".*(?:ing|ed|ly|er|tion|ment|ness|able|ive|ous|ful|n'?t|s)")
_SECOND = re.compile(rf" (?P<word>{_LETTERS}{{2,}}(?:['’-]{_LETTERS}{{2,}})*)(?![\w@(=\\/]|[.:]\w|-\w)")


def small_names(text: str) -> list[Named]:
    """Where people are named in small letters: first character, one past the last, and a score."""
    known, names = lists(), _small_lists()
    found: list[Named] = []
    done = 0
    for match in _WORD.finditer(text):
        if match.start() < done:
            continue
        named = _titled(text, match, known) or _listed(text, match, names, known) or _said(text, match, known)
        if named:
            found.append(named)
            done = named[1]
    return sorted({*found, *_speakers(text, names), *_with_initials(text, known)})


class _Names(NamedTuple):
    """First and last names that are no words, however they are written."""

    first: frozenset[str]
    last: frozenset[str]

    def is_double(self, word: str) -> bool:
        """Whether it has a hyphen, and a name beside it."""
        known = lists()
        parts = word.split("-")
        return (
            len(parts) == 2
            and any(part in self.first or part in self.last for part in parts)
            and not any(known.is_word(part) or part in _CHAT for part in parts)
        )


@cache
def _small_lists() -> _Names:
    known = lists()
    words = known.words | known.places | _CHAT | PARTICLES
    return _Names(
        frozenset(name for name in known.first if len(name) >= _LEAST and name not in words),
        frozenset(name for name in known.last if len(name) >= _LEAST and name not in words),
    )


def _follows(text: str, match: re.Match[str]) -> str:
    after = _SECOND.match(text, match.end())
    return after["word"] if after else ""


def _before(text: str, at: int) -> str:
    return text[max(0, at - _BEFORE) : at].lower()


def _titled(text: str, match: re.Match[str], known: Lists) -> Named | None:
    """What stands behind `mrs` or `dr.`, and no word."""
    before = text[max(0, match.start() - 8) : match.start()]
    if not _TITLE.search(before) or known.is_word(match[0]) or len(match[0]) < _LEAST:
        return None
    return match.start(), _extended(text, match, known), SURE


def _said(text: str, match: re.Match[str], known: Lists) -> Named | None:
    """What stands behind `my name is`: no list needs to know the first of two names if it knows the other."""
    word, after = match[0], _follows(text, match)
    if len(word) < _LEAST or known.is_word(word) or word in _CHAT:
        return None
    if len(word) >= _LEAST_ALONE and _END_OF_GREETING.match(text, match.end()) and not _UNLIKE_NAME.fullmatch(word):
        return (match.start(), match.end(), LONE) if _GREETING.search(_before(text, match.start())) else None
    if not after or known.is_word(after) or after in _CHAT or not known.is_name(after):
        return None
    return (
        (match.start(), _extended(text, match, known), SURE)
        if _SAYS_NAME.search(_before(text, match.start()))
        else None
    )


def _listed(text: str, match: re.Match[str], names: _Names, known: Lists) -> Named | None:
    """A name of the list, where another one follows or a cue says so."""
    word, after = match[0], _follows(text, match)
    is_first = word in names.first or names.is_double(word)
    if not is_first and word not in names.last:
        return None
    if (word, after) in known.firms or (
        _before(text, match.start()).rpartition(" ")[0].rpartition(" ")[2],
        word,
    ) in known.firms:
        return None
    end = _extended(text, match, known)
    start, before = match.start(), _before(text, match.start())
    if names_a_thing(text, start, end):
        return None
    nick = _NICK.search(before)
    if is_first and (after in names.last or after in names.first):
        return start, end, LIKELY
    if is_first and (_SAYS_NAME.search(before) or _GREETS.search(before) or _SOFT_TITLE.search(before)):
        return start - (len(nick[0]) if nick else 0), end, LIKELY
    mail = _MAIL_AFTER.match(text, match.end())
    if mail and mail["local"].startswith(word):
        return start, match.end(), LIKELY
    least = (_LEAST if word in known.usual else _LEAST_ALONE) if is_first else _LEAST_ALONE + 2
    cued = _CUES.search(before) or _VERBS.match(text, end) if is_first else _CUES.search(before)
    signed = is_first and _END.match(text, match.end()) and _SIGNED.search(before)
    return (start, end, LONE) if len(word) >= least and (cued or signed) and _is_chat(text, start) else None


def _extended(text: str, match: re.Match[str], known: Lists) -> int:
    """Where the name ends: with each further name, and with one word at its end that is in no list."""
    end = match.end()
    for _ in range(3):
        after = _SECOND.match(text, end)
        if not after:
            return end
        word, rest = after["word"], _SECOND.match(text, after.end())
        named = known.is_name(word) and word not in _CHAT and not known.is_word(word)
        goes_on = rest is not None and known.is_name(rest["word"]) and not known.is_word(rest["word"])
        if not named and not (goes_on and (known.is_first(word) or word in PARTICLES)):
            return after.end() if _may_be_last(word, known) else end
        end = after.end()
    return end


def _may_be_last(word: str, known: Lists) -> bool:
    plain = len(word) > _LEAST_ALONE and not _UNLIKE_NAME.fullmatch(word)
    return plain and word not in _CHAT and not known.is_word(word)


def _is_chat(text: str, at: int) -> bool:
    """Whether the line begins with a small letter, as business text seldom does."""
    line = text.rfind("\n", 0, at) + 1
    start = max(line, text.rfind(": ", line, at) + 1)
    begins = _OF_LINE.search(text, start)
    return begins is not None and begins[0].islower()


def _speakers(text: str, names: _Names) -> list[Named]:
    """Who speaks in a chat: `leila: did it arrive?`"""
    return [
        (*match.span("name"), LIKELY)
        for match in _SPEAKER.finditer(text)
        if all(word in names.first for word in match["name"].lower().split())
    ]


def _with_initials(text: str, known: Lists) -> list[Named]:
    """`p. okonjo`: an initial and no word, in a line of small letters."""
    found: list[Named] = []
    for match in _INITIAL.finditer(text):
        word = match["last"]
        rare = match["first"] in _NOT_INITIAL and not known.is_last(word)
        cued = _CUES.search(_before(text, match.start())) or _END.match(text, match.end())
        if (
            not known.is_word(word)
            and word not in _CHAT
            and _is_chat(text, match.start())
            and cued
            and not (rare and not cued)
        ):
            found.append((*match.span(), LIKELY))
    return found
