"""Words by what they do in a sentence, all folded: closed classes, which no list of names can tell from names."""

from __future__ import annotations

_FUNCTION_WORDS = """
ab aber abril agosto an aout auch auf aus avec avril bei beim bitte bonjour che con danke dann das decembre
dezember diciembre die dienstag diese dieser dieses donnerstag ein eine einen enero febrero februar fevrier
freitag gracias grazie guten heute hier ich ihr ihre ihrem ihren januar janvier jeudi juillet juin juli julio
juni junio lundi lunes mai mardi martes marz mayo mein meine mercredi mit mittwoch montag nach noch non notre
nous novembre noviembre nur octobre octubre oder oktober para per por pour prego questa questo samstag sec
sehr septembre septiembre sie sirs soc sonntag sono the thurs tues und unser unsere vendredi viele votre vous
weds wenn wer wie wir wo zum zur
"""

_NO_AGENTS = """
after another brewer carrier center color computer container corner counter dealer december door either
employer error factor filter floor further however insurer lender letter maker manufacturer matter mirror
monitor motor never november number october order other over paper printer provider publisher rather retailer
river router sector sensor september server summer supplier tower under vendor water whether winter
"""

_NO_NOUNS = """
able about above after again against aka alias all along already also although always among and any are around
ask assistant ate away back beat became because been before began behind being below bent beside besides bet
between beyond bit blew born both bought broke brought built burnt but call came can cannot caught cell chief
chose come could currently cut dead dealt deputy did director dob does done down drank drew drove during each
either else email engineer even ever every fed fell felt first fled flew for forgave forgot fought found from
froze further gave get give given goes gone got grew had has hath have having head held here hid hit how hung
hurt ill into junior just keep kept knew know laid last late later lay lead learn least led left lent less let
like likely lit lost made mail manager many may mean meant met might minus mobile more most much must near
need never new next none nor not now off often once one only onto other ought our out over own paid per
perhaps phone please pls plus plz put quit quite ran rang rather read really recently rode rose said same sang
sat saw say second secretary see seen sees sell send senior sent set shall she shone shook shot should show
showed shut sick since slept slid sold somehow sometimes soon spent split spoke spread ssn still stole stood
struck such swam swept swore take taken taught tel tell than that the their them themselves then there they
think this those though thought threw through thus till today together told tomorrow too took tore toward
towards unable under understood unless until upon used versus very via want was went wept were what whatever
when where which while who who's whom whose will win wins with within without woke won wore work would write
written wrote yesterday yet you your
"""

_CHAT_ROLES = """
adviser advisor agent agente assistant berater beraterin bot caller client cliente conseiller conseillere
customer dispatch doctor guest interviewee interviewer kunde kundin mitarbeiter mitarbeiterin moderator nurse
operator patient rep representative shopper support system user visitor
"""

_NO_SPEAKERS = """
an asunto aw bcc betreff bic cc da date datum de email fax from fw fwd iban id mail mobil mobile nb note objet
oggetto para phone ps qty re ref sent sku subject tel to todo url vat von web wg
"""

_RANKS = """
admiral attorney aunt auntie avv baron baroness bayan brother canon capt captain cllr coach col colonel
comrade constable councillor count countess deacon detective director dott dottor engr father fru general
granddad grandma grandpa granny hajj headmaster headmistress imam inspector judge kollege kollegin lady
lieutenant lord lt madam major meneer mevrouw minister mother nanny nurse officer oma onkel opa pani pastor
president rabbi registrar rev reverend senator sergeant sgt sheikh shri sig sister smt sra srta tante umm
uncle vicar
"""

_PEOPLE_BEFORE = """
apprentice aunt auntie bookkeeper boss bro brother bruder clerk colleague cousin dad daughter dtr dtr-in-law
ehefrau ehemann esposa esposo father femme fiance fiancee figlia figlio fille fils foreman frau grandchildren
granddaughter grandfather grandmother grandson granny guard hija hijo husband intern mann mari marido marito
mgr moglie mom mother mujer mum nachname nanny neighbor neighbour nephew nickname nicknamed niece nurse oma
opa partner pupil receptionist schwester sis sister sohn son spouse tochter trainee uncle vorname watchman
widow widower wife
"""

_THINGS_BEFORE = """
algorithm armchair bar boat bot branch brand building cafe camp campaign cape chair class cluster codename
collection color colour court crane cyclone dataset depot dock edition engine flavor flavour font forklift
fort gate hall hotel hub hurricane island item lake lamp library line machine model mount mt mv node operation
platform port press product project pub pump queue range release restaurant robot room saint san santa schema
series server shelf ship sofa sprint st store storm street style table theme tool tower type typhoon vessel
zone
"""

_DATE_WORDS = """
apr april aug august dec december feb february fri friday jan january july june mar march may mon monday nov
november oct october sat saturday sep sept september sun sunday thu thursday tue tuesday wed wednesday
"""

_TAILS = """
airport ave avenue bay beach boulevard bridge bros center centre city college county creek crescent falls
forest harbor harbour heights hill hills hospital island lake lane park point road roofing springs square
stadium station street terrace university valley
"""

FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""What begins a sentence in several languages, and months and days: no name, whatever the lists have."""
NO_AGENTS = frozenset(_NO_AGENTS.split())
"""What ends as `watchman` and `adjuster` do, and is nobody."""
NO_NOUNS = frozenset(_NO_NOUNS.split())
"""What may follow a name in small letters and is no noun: closed classes, and verbs that do not end as verbs do."""
CHAT_ROLES = frozenset(_CHAT_ROLES.split())
"""Who speaks in a chat without a name."""
NO_SPEAKERS = frozenset(_NO_SPEAKERS.split())
"""What begins lines of forms and mails."""
RANKS = frozenset(_RANKS.split())
"""What stands before a name, where a name follows."""
PEOPLE_BEFORE = frozenset(_PEOPLE_BEFORE.split())
"""What only a person is, right before the name."""
THINGS_BEFORE = frozenset(_THINGS_BEFORE.split())
"""What is named like people, right before the name."""
DATE_WORDS = frozenset(_DATE_WORDS.split())
"""Months and days."""
TAILS = frozenset(_TAILS.split())
"""What ends names of places, firms and streets."""
