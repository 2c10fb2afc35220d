"""Make `person_names.txt` anew: `uv run --with faker==40.54.0 python -m benchmarks.personal_data.make_names FILE`.

Names come from Faker's lists (MIT). A name that is also a word, as Will, Mark or Page are, must not count by
itself: words are those that stand in small letters in the documentation of Python's standard library, and
Faker's own lists of words.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from stateward.adapters.detection.name_lists import PARTICLES, folded

HEADER = """\
# Names of people, and words that are no names, for stateward.adapters.detection.name_lists. Folded: small letters
# without accents. Made by benchmarks/personal_data/make_names.py from Faker {faker}, the documentation in Python
# {python}'s standard library (single words only), and lists of words, cities and firms that stand in that file.
#
# Faker is Copyright (c) 2012 Daniele Faraglia, MIT License:
{licence}
"""
_NAME = re.compile(r"[a-z]{2,}")
_WORD = re.compile(r"(?<![\w.'\"`/-])[a-z]{2,14}(?![\w(='\"`/])")
_OWN_WORDS = """
accountant accounts accrual accrued accumulated acme action actions activity added address adjusted adjustment
admin advice affected ageing agent aggregate agreement airport alas alert alerts amber amount analysis angel
annual answer appliance application applied approval approved approver april arab arch archive arrival art
article ascension asset assets assigned attempt attendee auction audit auditor august authority autumn
available avenue average azure bail baker balance balanced ban bank banking banks barrio batch battery bee
bell billing bins bishop bite blocked blvd board bond bones book booking books bore boss bot boulevard
branch brand bread brewer brick bridge brook brother brothers budget bug bugs build building bull bunk bureau
bus business buster butch buyer cable campaign campus canal cap capital care carrier cart carter carton
cartons cash cashier catalan category catering caution cell center central centre chai champ champion change
changed channel charge chase check checked checking checkout cheque chip christmas church circle city clause
clay clear cleared clearing clerk client clients cliff close closed closing cloud club coal coast code codes
coffee collection college comfort comment commerce committee community company complete completed compliance
conference confirmed connection consulting contact contract contracts controller controls cook cooper cop copy
cord corner corp corporate corporation cost cottage council country county coupon court cousin coverage crane
created creative credit creditor crew critical cross crown crystal currency customer customers customs cycle
czech daily daisy dale damaged danish dash dashboard database dawn day deadline deal dealer dean dear debit
debtor debug december deck declined deductible deferred delayed delete deleted delivered delivery department
deposit depot depreciation description desk details device diamond difference dinner direct director disabled
discount discounts dispatch dispute district division dock document documents dollar domain done dose draft
drive drivers due duke dunning duplicate duty earl earnest east easter ebb edge editor elder electric
electronics else employee enabled energy engineering enterprise entry equity error errors escalated escalation
estate euro europe european event exchange executive exit expense expired expires export express factory
faculty fae failed failure fair fairy faith falcon farm faster fate fax feature february federal fee fees
field fields file files final finance finding findings fire fiscal fisher fixed fleet flint flood floor flora
flower follow food forecast form format fortune forum forward foundation fox fraction frank free freely
freight french friday friends frost fuel fulfilment fund furniture future gage gallery gang garden gas gate
gateway gauge gene generated georgian german gift glass glen global gold golden goods governor grand grant
grants grass gross ground group grove grunt guard guest guide gust hall ham handling harbor harbour hardware
harm harmony harsh harvest head health heath heather heights hell hello help heritage hermes hey hi high
highway hill hire history hold holdings holiday home homes honor hood horizon horn hospital hotel house
housing human hung hunt hunter hurt import incident include included income incorporated indemnity inn
innovation installed instalment instance institute insurance intercompany interest internal inventory invest
investment invoice iris island isle issue issued item items ivy jack jade jail january jet job journal joy
judge july june junior justice kenyan kettle key kick kind king kingdom knight lab label laboratory labs lace
lad lading lady lake lance land landing lane large laser late latest laundry law lawn lead leader leaf league
lean leaner lease ledger legal lemon lens letter level liability library license lie lily limited line lines
liquid list lit live living loan lodge login logistics logs loot loss lounge love low loyalty luck lumber
lunch mac machine macs magic mail major male mall management manager mane manor march margin marina market
marketing marsh marshall mason master match matched mate material matter meadow medical medium meeting member
memo memorial merchant mercy merged merit message method metro mile miles mill miner minimum ministry minor
minutes missing mobile model module monday money month monthly moody moon motor motors mount mountain move
moved mr mrs ms museum music mutual name nation national near net network new next night nil noble nordic
normal notary note notes notice november number oak ocean october odds offer office oil old olive online open
opened opening operations opportunity oral orange orchard order orders org organic origin outage outlet output
outstanding overdue overview owe owner pace pacific package packing page paid pal palace pallet pallets palm
paper para parcel parish park parking parks parliament part partner partners parts party pass passed past path
patience payable payment payroll pearl pending penny pension people pepper per period permit personnel petrol
pharmacy phoenix phone picked picking pierce pike pilot pin pine ping pink pioneer place plan planet plant
plaza pleasant please plus point policy poll pond pool pope portal porter portfolio post postage posted
posting potter power premier premium president price prime prince princess priority private process processed
processing procurement producer product production profile profit program progress project promo promotion
property proposal prospect prosper provider public purchase purchasing qty quality quantity quarter quarterly
quartier queen queue quote radio rail rails rain ramadan ranch range rapid rate ray reason rebate receipt
receivable received reconciliation record records recovered recruiting reed reference refund regards regent
region regional rejected release released reliance reminder remittance renewal rent rental reopened repair
replacement report reported reports request requested requester required reserve reset residence resolved
resort resources response restaurant result retail retained retry return returns revenue review revised ridge
ring risk river road robin rock role roll roof root rose route royal ruby rule rules run rush rust rusty rut
sable sad saga sage saint sales salmon salt sample sand sandy sans santa saturday saved saver savings scan
schedule scheduled scholar school science scooter scope score sea seal season second secretary section
security select seller sender senior sent september sergeant serial server service services session settlement
severity shad shade sheet shelf shepherd shift shine shipment shipped shipping shop shopping shore signed silk
silver sincere sister size sky slovak small snow social society solar sole solutions source south spa special
spring springs square stable staff stage stainless standard standing star start started state statement
station status steel steering step steps steward stock stone stop storage store storm stream street studio
subject submitted subscription subtotal success suite sum summer summit sun sunday sunny supplier supply
support surplus sweet system table tack tad talon tan target tariff task tasks tax tea team tech technology
telecom template terminal terms terrace test thank thanks thousand three thursday ticket tickets ties tiger
timber time timeout tiny today tomorrow tone tools total totals tower town toy tracking trade trader trading
traffic training transaction transactions transfer transit transport travel treasury trend trial trinity trust
tuesday turner type types tyre union unit united units unity universal university unknown unpaid update
updated upgrade upper urban urgent usage use user users utilities valley value variance vat vendor venture
verified version victory view village vine vintage violet violets virtual vision visit voucher wade wait
walker wallet walls ward warehouse warning warranty wash water wave way wealth weaver weaving wednesday week
weekend weight west wheel whit white whoever wholesale widen wild wind window wine wing winner winter wire
wise wit wolf wood woods workflow works workshop world year yellow yen yesterday young youth zone
"""  # of business, and names that are words
_OWN_SMALL_WORDS = """
abb abbot absolutely acct ace acre addr admiral afaik afternoon airflow ally alma alpha alright ama amber amen
amex ami ana angry anner ansible answers anybody apache api apollo apparently arent argo argyle arrives art
asa asap ash ask asks aspen athena atlas aurora ave axel azure bab babe bal bar baron bas basil bat bebe
believes bell bent berry beryl bet beta bic birch bird bishop bliss bob bond bonny booker boom boone brain
bran brandy brave bravo brea breakfast bree brings brown btw buddy buffy bun bur burr busy buys byte cade cain
cal cam can candi candy cap cape captain car carries carry case cash casper casual cat cedar cell cent chai
char chase cheap cheers cher cherry chess chi chili chip chooses cinder cinnamon clay cleans clear clement
clementine clever click cliff clove cob coco coin cola colleague colonel colt comes comet con concerning
consul cooks cool coral core corn cosmo costs cotton couldnt count coy crew cruise cruz crystal cup cure curry
cute cuts cvv cyber dag dah dal dale dam dare dart dat dawn days dean debian decides deep definitely del dell
delta dem demo denim desk dew dia diamond did didnt died dim dina dip dis disk dj dob doc docker doe dollars
don donna dont dory dot dove downstairs drake drew drinks drives drove dude duff duke dune dunno dutch dye ean
earl eats ebony echo ego eh elastic elif elm emails ember er era eta euros ever everywhere ewe expensive
express eye faith falcon fan fancy faq far farm fawn fay fed fedora fee feels felt fern few fin fir fit fixes
flat flight flip flo flor flora floss fly foch fog folks fond ford forgets foster fount fox foy frank fry fun
fyi gab gal gale gamma gan gap gar garnet gave gay gee gel general ges gill ginger git glad glory go goal
golden gonna gotta grace grade gradle graph gray green grey groove grover guard guy guys hadnt haha hale ham
happy hara hardy hart hash hasnt hates haven havent hawk hdmi hears helm henna hermes hero hes hey hill hmm
hob hoke hole home hon honestly honor hope hopes hose hows hub hugh hum hun hunt iban ice icy ide idea idk ike
ill ima imo ina indie indigo inn inv ion ira iris iron isnt istio iva ive ivory ivy jack jade jag jama jar
java jay jean jeep jelly jenkins jewel jib jin jira job jog jolly joy json judge juice julia jump june junior
jupiter jury kafka kappa karma kay keen keep kestrel key khaki kick kid kids kin king kip kit kitty kiwi
knight kong kpi lace lacy lads lam lambda lan lance lane lao laptop lark laser last lat latte lau lava
lavender law lay laze lea leaf leafy learns lee left leg let lex liberty lid lien likes lil lily lim lime lin
line link linux listens literally lives lock log lok lol lon lord lore lorry loses lot love loves loyal luck
lucky lug luna lute lux lyric ma mac mack mad made mag magic mails majesty major malt mam mama man mango mani
manual many map maple mar mare mark marks married mars marshal martini mason mat match matrix maven may
meanwhile mellow melody mercedes mercury mercy merit merlot merry mica mil mile miles mill min mint minty
misty mite mitt mob mocha mom moms monday mono moo moon moose mos moss most msg mum mums mun nap nas nat
neighbor neighbour neo nest net nexus nginx nim nine nit noble nobody nod nomad non nope nor normal nova np nr
num nun nur oak oasis obviously ocean ola omega omg omw onyx oo opal opera ora oracle orb orion otp out owl
packer paisley pan pandas pap paprika paris pas pat patch patty paw pax pay pays peace pearl peg pen penny
pepper per perk perl pet petal pho phoenix pick picks pike pin pine pip pity pix plans plays pls plum plz po
pod pol polaris pop pope poppy porter posh postgres posts posy pot pounds prima prime prince puck puma pup
puts python qty queen quest quick quid quill rad rain ram rand ranger rap rat raven raw ray read reception red
redis reed reef regal regarding rein rem remedy reno rep resigned retired rev rice rich ride rik ring rings
rip ripe river rivers rma robin roc rock rocket rocky rod rom roma rome rosary rose rosemary rosy row royal
ruby rudder rue rum rust rusty rye sade safe saffron saga sage sai saint sal salt sami san sandy sanity sat
satin saturn sau say scala scar scarlet scout sdk sea seal sean season see sees sel selenium sells senna sepa
sergeant seriously shah shay she shell shep sheriff sherry shes shirt shouldnt shouted shun si sick sierra
sigh sigma silver sim sis sits six sku sky slack slate sleeps slowly smart smith sms smth snow sol solar
somebody son song soon sora sorry soul sounds spark sparrow speaks spencer spends spring spruce sql ssd ssn
stacy stands star stays stew stone stormy stout stuck studies sue sugar sultan sum sunday sunny supreme sure
sus swan swift sy ta tab tai tal talks tam tandem tango tap tat tbh tea teaches teal tee tel tempo ten tender
terra tex thai than thats the theta theyre thinks thnx thor thru thx tia tic tide tile tiles tin tip titan tmr
tmrw tmw tnx tod toe told ton took top topaz tor tot toy trace train treat tree tri trip tru truck true tuan
tub tuck tui tun turk turner tweed ty tysm ubuntu uh um una upstairs uri url us usb vacation vagrant van vault
vega vela velvet venus ver vest vet via vim violet viral visa vista vita viva vivid vlan void vpn vue wade wal
walk walks wan wang wanna war ward warm warner washes wasnt wave wed wee well wells went werent weve whats
wheat wheres wherever whisky whos will willow win windows winner wins wip wknd wolf won wong wont worried
worries wouldnt wrote wynn yam yaml yan yang yard yay yen yep yes yo yong you young youre yum yup zed zen
zenith zion zoom
"""  # what people write in chats, what machines and colours are called, and what a list has as a name as well
_OWN_PLACES = """
aberdeen adelaide africa albany albuquerque anaheim angeles antonio antwerp arlington asia asuncion atlanta
atlantic auckland augusta aurora austin bakersfield baltimore bangalore barcelona basel bath baton belfast
bergen bethlehem bilbao birmingham bogota boise bologna bolton bordeaux boston braga bremen brisbane bristol
brno bronx brooklyn bruges buffalo busan cairo calgary california cambridge caracas cardiff carolina chad
chandler charlotte chelsea chennai chicago china cincinnati cleveland cologne columbia columbus concord cork
cornwall craiova dakota dallas delhi denver derby detroit devon diego dijon doha dortmund dover dresden dubai
dublin durban durham edinburgh essen essex eugene europe exeter florence florida francisco frankfurt fremont
fresno galway gdansk geneva genoa georgia ghent girona giza glasgow granada graz greensboro haarlem haifa
halifax hamburg hamilton hanoi hanover hartford havana helena henderson hialeah hobart honolulu houston india
indiana indianapolis irvine irving israel jackson jacksonville jaen jakarta jefferson jerez jerusalem jordan
juarez kent kenya kiel kingston kobe kolkata krakow kyoto lagos lancaster lansing laredo lausanne leeds
leicester leipzig leuven lexington lille lima limerick lincoln linz liverpool london louisville lubbock lugo
lyon madison malaga manchester manhattan manila marseille medellin melbourne memphis mesa metz miami milan
milwaukee minneapolis montana montgomery montreal mumbai munich nairobi nantes naples nashville nazareth
newark newcastle nice norfolk nottingham oakland odessa oklahoma omaha orlando orleans osaka ottawa oviedo
oxford pacific palermo paulo perth philadelphia phoenix pierre pittsburgh plano portland porto preston
providence pune queens quito raleigh recife regina reno richmond rio riverside rotterdam rouge sacramento
saigon salamanca salem salvador salzburg santander santiago savanna savannah seattle segovia seoul seville
shanghai sheffield shenzhen sofia spokane stockton strasbourg stuttgart surrey sussex sydney tampa texas tokyo
toronto toulouse trenton tucson tulsa turin utrecht valencia vancouver vegas venice verdun verona victoria
vigo virginia warsaw wellington wichita york zaragoza zurich
"""
_OWN_FIRMS = """
morgan stanley|jp morgan|wells fargo|goldman sachs|merrill lynch|lehman brothers|calvin klein|ralph lauren
tommy hilfiger|louis vuitton|hugo boss|christian dior|laurent|harley davidson|baker hughes|johnson controls
ernst young|charles schwab|jack daniels|jim beam|philip morris|thomas cook|warner bros|walt disney
aston martin|john deere|eli lilly|ben jerry|estee lauder|elizabeth arden|arthur andersen|thomson reuters
booz allen|allen overy|baker mckenzie|clifford chance|jones lang|smith barney|edward jones|raymond james
price waterhouse|schneider electric|rolls royce|mercedes benz|johnson johnson|procter gamble|marks spencer
black decker|dun bradstreet|bosch rexroth|max mara|marc jacobs|michael kors|kate spade|jimmy choo
giorgio armani|paul smith|ted baker|vera wang|oscar mayer|uncle ben|betty crocker|aunt jemima|wendy|tiffany
macy|kellogg|hershey|hilton|marriott|ford|lloyd|lloyds|chase manhattan|standard poor|fannie mae|freddie mac
sallie mae|franklin templeton|t rowe|jefferies|lazard|rothschild|julius baer
"""
_TIMES = 3  # a word stands so often in small letters
_WIDE = 76


def main() -> None:
    """Write the file."""
    import faker  # type: ignore[import-not-found]

    first, usual, last = _names()
    words = (_words() | set(_OWN_WORDS.split())) - PARTICLES - {"elif", "joe"}
    licence = next(Path(faker.__file__).parent.parent.glob("faker-*/licenses/LICENSE*")).read_text(encoding="utf-8")
    head = HEADER.format(
        faker=faker.VERSION,
        python=".".join(map(str, sys.version_info[:2])),
        licence="\n".join(f"# {line}".rstrip() for line in licence.strip().splitlines()),
    )
    places = _places() | set(_OWN_PLACES.split())
    sections = {
        "first, usual": usual,
        "first": first - usual,
        "last": last,
        "words": words,
        "words, small": set(_OWN_SMALL_WORDS.split()) - words - places,
        "places": places,
        "firms": {name.replace(" ", "+") for name in _OWN_FIRMS.strip().replace("\n", "|").split("|")},
    }
    text = head + "".join(f"[{name}]\n{_wrapped(sorted(of))}" for name, of in sections.items())
    Path(sys.argv[1]).write_text(text, encoding="utf-8")
    print({name: len(of) for name, of in sections.items()}, len(text))


def _names() -> tuple[set[str], set[str], set[str]]:
    """All first names, those of English or of two languages, and the last names."""
    first: dict[str, set[str]] = {}
    last: set[str] = set()
    persons = import_module("faker.providers.person")
    for module in pkgutil.iter_modules(persons.__path__):
        provider = import_module(f"faker.providers.person.{module.name}").Provider
        for attribute in dir(provider):
            values = [name for value in _strings(getattr(provider, attribute)) for name in _parts(value)]
            if re.search(r"first_(?:romanized_)?name", attribute):
                for name in values:
                    first.setdefault(name, set()).add(module.name[:2])
            elif re.search(r"last_(?:romanized_)?name", attribute):
                last.update(values)
    usual = {name for name, languages in first.items() if "en" in languages or len(languages) > 1}
    return set(first), usual, last


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Iterable):
        for inner in value:
            yield from _strings(inner)


def _parts(value: str) -> Iterator[str]:
    if "{{" not in value:
        parts = (folded(part) for part in re.split(r"[\s'’.-]+", value))
        yield from (part for part in parts if _NAME.fullmatch(part) and part not in PARTICLES)


def _words() -> set[str]:
    counted: Counter[str] = Counter()
    for path in Path(sysconfig.get_path("stdlib")).rglob("*.py"):
        if not {"site-packages", "test", "tests", "idlelib", "encodings", "lib2to3"} & set(path.parts):
            for text in _documentation(path):
                counted.update(_WORD.findall(text))
    words = {word for word, times in counted.items() if times >= _TIMES}
    lorem = import_module("faker.providers.lorem.en_US").Provider
    company = import_module("faker.providers.company.en_US").Provider
    jobs = import_module("faker.providers.job.en_US").Provider
    for text in _strings([lorem.word_list, company.catch_phrase_words, company.bsWords, jobs.jobs]):
        words.update(_NAME.findall(text.lower()))
    return words


def _documentation(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
    except SyntaxError:
        return
    whole = path.parent.name == "pydoc_data"
    for node in ast.walk(tree):
        if whole and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def _places() -> set[str]:
    """States, countries and capitals."""
    american = import_module("faker.providers.address.en_US").Provider
    zones = import_module("faker.providers.date_time").Provider
    named = [*american.states, *import_module("faker.providers.address.en").Provider.countries]
    named += [name for one in zones.countries for name in (one.name, one.capital)]
    return {part for name in named for part in _parts(name) if len(part) > 2}


def _wrapped(names: Iterable[str]) -> str:
    lines, line = [], ""
    for name in names:
        if len(line) + len(name) > _WIDE:
            lines.append(line)
            line = ""
        line += f"{name} "
    return "".join(f"{one.rstrip()}\n" for one in [*lines, line])


if __name__ == "__main__":
    main()
