"""People and street addresses are found by lists and cues, and what only looks like one is left alone."""

from __future__ import annotations

from importlib.resources import files

import pytest
from benchmarks.personal_data import make_names

from stateward.adapters.detection.name_lists import PARTICLES, lists
from stateward.adapters.detection.person_names import _CLOSING, _GREETING, _INTRODUCES, _SAYS_NAME, people
from stateward.adapters.detection.spoken_numbers import spoken_numbers, spoken_ssns
from stateward.adapters.detection.street_addresses import street_addresses

_GERMAN = ("Qorvanpornsiri", "Qorvana Blyxt", "Qorvanger")


def named(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in people(text)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Spoke with Anna Schneider about it.", ["Anna Schneider"]),
        ("Liebe Frau Qorvanpornsiri,\nihre Patientin Frau Qorvana Blyxt, Herrn Qorvanger", [*_GERMAN]),
        ("MR. QORVANSEN: Objection; tenant upstairs mr Blyxt pays", ["QORVANSEN", "Blyxt"]),
        ("About: I'm Qorvana and I write", ["Qorvana"]),
        ("Lehrerin Qorvi, Tante Blyxi; Partner Qorvys on leave", ["Qorvi", "Blyxi", "Qorvys"]),
        ("our loss adjuster, Qorvan Blyxt, would like; the watchman, Qorvanu, has signed", ["Qorvan Blyxt", "Qorvanu"]),
        ("shouting at somebody called Qorvola. He then", ["Qorvola"]),
        ("or ask for Qorvevra. Qorvda told me; Qorvyka or I can merge", ["Qorvevra", "Qorvda", "Qorvyka"]),
        ("know that Qorvilade has been chosen to play", ["Qorvilade"]),
        ("not my wife (Qorvburga), she is out", ["Qorvburga"]),
        ("NGQORV THX BXYO\nbaochau.ng@outlook.vn | +84 91 555 3072", ["NGQORV THX BXYO"]),
        ("Sounds good, see you.\n\nQorventin\n\n> x wrote:", ["Qorventin"]),
        ("Yours, with fond memories,\nPenny Qorvgrove", ["Penny Qorvgrove"]),
        ("MAIDEN NAME QORVLEY, see", ["QORVLEY"]),
        ('user "Qorvish Tariq" viewed it', ["Qorvish Tariq"]),
        ("DIMQORVADIS, Delphine | Master", ["DIMQORVADIS, Delphine"]),
        ("Dear Mrs. Xqwerty, we thank you", ["Xqwerty"]),
        ("Hi Zzyzxa, thanks", ["Zzyzxa"]),
        ("Kind regards,\nWill", ["Will"]),
        ("my name is Qorvan Blyxt.", ["Qorvan Blyxt"]),
        ('{"first_name": "Qorvan", "last_name": "Blyxt"}', ["Qorvan", "Blyxt"]),
        ('"full_name": "Ludwig van den Berg"', ["Ludwig van den Berg"]),
        ("Kowalska, Jane; 4711", ["Kowalska, Jane"]),
        ("JANE SMITH called", ["JANE SMITH"]),
        ("Jane's order", ["Jane"]),
        ("Qorvan Blyxt <q@example.com>", ["Qorvan Blyxt"]),
        ("José García and Zoë O’Brien met", ["José García", "Zoë O’Brien"]),
        ("met J. Smith and Mary-Ann McDonald", ["J. Smith", "Mary-Ann McDonald"]),
        ("Jane Smith, Qorvan Blyxt, Peter Jones", ["Jane Smith", "Qorvan Blyxt", "Peter Jones"]),
        ("According to Kowalski it works", ["Kowalski"]),
        ("Will called twice", ["Will"]),
        ("Spoke to Director Qorvan Blyxt and Officer Grzegorz Blyxtski", ["Qorvan Blyxt", "Grzegorz Blyxtski"]),
        ("my son Qorvan has an appointment", ["Qorvan"]),
        ("guard Qorvan reports, 13:41 gate closed by J. van Blyxt.", ["Qorvan", "J. van Blyxt"]),
        ("Left with A. Qorvanska, holder W.J. Blyxtra", ["A. Qorvanska", "W.J. Blyxtra"]),
        ("Requested by: OKAFOR, Ifeanyi", ["OKAFOR, Ifeanyi"]),
        ("CARD HOLDER: JANE A SMITH, VISA; JANE A SMITH", ["JANE A SMITH", "JANE A SMITH"]),
        ("Qorvan binti Blyxt and (Qorvana Lo Blyxti)", ["Qorvan binti Blyxt", "Qorvana Lo Blyxti"]),
        ('Caller: Jane "Jo" Qorvan, phone', ['Jane "Jo" Qorvan']),
        ("team: Jane Smith (leader), Anna, Qorvan.", ["Jane Smith", "Anna", "Qorvan"]),
        ("Subject: 1:1 Anna / Qorvan", ["Anna", "Qorvan"]),
        ("cannot parse contact 'Anna Qorvan'", ["Anna Qorvan"]),
        ("It is there because Qorvankova's importer writes", ["Qorvankova"]),
        ("13:00 Anna + 2 guests", ["Anna"]),
        ("Good morning Qorvan, see below.\n\nGrüße\nBlyxta", ["Qorvan", "Blyxta"]),
        ("Wir haben es.\n\nGruß\nQorvan\n\nHet is klaar.\n\nGroete,\nBlyxta", ["Qorvan", "Blyxta"]),
        ("Friday 11:00 works.\nQorvan", ["Qorvan"]),
        ("Visitors\n09:00 Mbalira Qorvan, Transnet\nPresent: Xu Qorvan", ["Mbalira Qorvan", "Xu Qorvan"]),
        ("with the entity, Qorvana is on it; give it to Blyxta, she has the key", ["Qorvana", "Blyxta"]),
        ("Qorvan Blyxten (sales), Xu Blyxtor, head of purchasing", ["Qorvan Blyxten", "Xu Blyxtor"]),
        ("this is Qorvan Blyxt, née Qorvanka; asked Qorvan Blyxten", ["Qorvan Blyxt", "Qorvanka", "Qorvan Blyxten"]),
        ("Qorvan Blyxten, 020 7946 0815; Blyx Qorvan, born 1980", ["Qorvan Blyxten", "Blyx Qorvan"]),
        ("Anna Schneider of Baker Hughes and Joe Blyxt of Wells Fargo", ["Anna Schneider", "Joe Blyxt"]),
        ("Aleksandar Qorvan Blyxt II inherited", ["Aleksandar Qorvan Blyxt II"]),
    ],
)
def test_people_are_found(text: str, names: list[str]) -> None:
    assert named(text) == names


@pytest.mark.parametrize("cue", f"{_CLOSING}|{_GREETING}|{_INTRODUCES}|{_SAYS_NAME}".split("|"))
def test_every_cue_that_is_listed_is_one(cue: str) -> None:
    between = "\n" if cue in _CLOSING.split("|") else " "
    assert named(f"so {cue}{between}Qorvan") == ["Qorvan"]


@pytest.mark.parametrize(
    "text",
    [
        "Will you mark the bill as paid in May or in June?",
        "Morgan Stanley and Wells Fargo; Ernst & Young; Miller & Sons; Schneider GmbH",
        "class OrderService extends BaseService, Anna.py, /Users/Anna, jane@Smith.com, Anna(1), Smith=2",
        "Dear Customer, dear Team, Hi All, Hello World, Thanks Everyone",
        "The Lincoln Park Branch, Victoria Street, Jefferson Avenue",
        "Paris, Austin, Charlotte, Florence and Sofia",
        '"name": "Quarterly Report", "name": "Standing Desk"',
        "Grand Total, Sales Tax, Price Page, Key Account",
        "on Tue, 4 Mar 2025, Mar 03 07:15:22 host, Dec 24",
        "the Anna armchair, 40 Stanley knives, Allen keys, the Oscar line, Anna's 501",
        'lamp "Ingrid", press Bertha, room Elena, project Oscar, `Oscar`, court=Shelby',
        '["Anna", "Ruby"], {"line": "Oscar"}',
        "Anna 200 in black, Anna D-28",
        "Storm Anna, Hurricane Katrina, St Patrick's Day, Washington Park",
        "ABCD Schneider, DAP Jebel Ali, Dayton OH, Murphy Roofing, Competitor Schneider offered",
        "He asked for German lessons before Ramadan.",
        "Wells Fargo, Parker Qorvan and Emerson answered the tender",
        'the header "Idempotency-Key": 0123456789',
        "Nach Auskunft der Firma bitte sorgen Sie am 1. Mai. Die Parkwege am Platz, Ab Juni, Bitte Helm und Haube.",
        "a signal failure at Warren Street, from Charlotte Street towards Fulton Ave; Corso Vittorio",
        "The Martha Stewart line. Stan Smith white, size 42; The Bunsen burner is off",
        'Track list: "Roxanne" (3:12), "Billie Jean" (4:54), "Eleanor Rigby" (2:06)',
        "41, 44, 39 J. Brinell not measured; sections A to D. Brake sheet",
        "Gertrude Jekyll (pot 5 l, 18.90), Sirs",
    ],
)
def test_what_only_looks_like_a_name_is_left_alone(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize(
    "address",
    [
        "12 Maple Street",
        "5580 OLD FORGE PIKE",
        "26 HARBORVIEW TER",
        "63 Chestnut Hill Rd",
        "RR 2 Box 118-A",
        "Salah al-Din Street 12",
        "The Gables, 55 Orchard Way",
        "calle del Horno Viejo, 12",
        "8 Lôn y Bont",
        "вул. Зелена 27",
        "fourteen oh two juniper court",
        "twenty two strand road",
        "221B Baker St.",
        "742 Evergreen Terrace, Springfield, IL 62704",
        "10 Downing Street, London SW1A 2AA",
        "Hauptstraße 5",
        "Lange Straße 12a, 10115 Berlin",
        "Prinsengracht 263",
        "14 rue de la Paix",
        "Calle de Alcalá 42",
        "5 W 42nd St",
        "88 Copper Mill Blvd, Bldg D",
        "Flat 7, 31 Orchard Terrace",
        "The Old Barn, 9 Chapel Lane",
        "Keizersgracht 90-II",
        "ul. Długa 12/4",
        "Ulica Petra Krešimira 5",
        "Rákóczi utca 14",
        "İnönü Bulvarı 98",
        "Gül Sokak No: 12 D: 3",
        "House 9 Road 4 Gulshan",
        "Jalan Ampang No. 77",
        "9 Sráid an Mhuilinn",
        "Calle Hidalgo 31 int. 2",
        "Carrera 11 # 82-71",
        "7 elm st apt 4c",
        "Blk 214 Bishan Ave 3 #05-12",
        "Calle 8 No. 12-34",
        "Rose Cottage, Church Hill",
        "P.O. Box 4411",
        "Unit 5/12 Smith St",
        "Hämeenkatu 12 A 5",
        "Kungsgatan 12, lgh 1101",
        "Via Garibaldi, 12/B",
        "lindenstr. 5",
        "12 rue de la paix",
        "bul. Vitosha 12",
    ],
)
def test_street_addresses_are_found_whole(address: str) -> None:
    text = f"She lives at {address} since March."
    assert [text[start:end].rstrip(".") for start, end, _ in street_addresses(text)] == [address.rstrip(".")]


def test_what_somebody_lives_at_is_an_address() -> None:
    text = "She lives at 12 Oakfields, and 12 Oakfields pallets are at 14 Departments."
    assert [text[start:end] for start, end, _ in street_addresses(text)] == ["12 Oakfields"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("my number is five one oh, six six six, oh two double three", "five one oh, six six six, oh two double three"),
        (
            "Call plus four nine, three oh, one two three four five six",
            "plus four nine, three oh, one two three four five six",
        ),
        ("one two three four five six seven eight nine ten", ""),
        ("gates two, three, four, five, six, seven and eight", ""),
        ("gates two three four five six seven eight nine", ""),
        ("the number of gates: one, two, three, four, five, six, seven, eight", ""),
        ("my social is five three six nine oh four three double nine", ""),
    ],
)
def test_a_number_that_is_spoken_is_found(text: str, number: str) -> None:
    assert "".join(text[start:end] for start, end, _ in spoken_numbers(text)) == number


def test_nine_digits_that_are_spoken_are_an_ssn_where_a_word_says_so() -> None:
    number = "five three six nine oh four three double nine"
    assert [(start, end) for start, end, _ in spoken_ssns(f"My social is {number}.")] == [(13, 13 + len(number))]
    assert spoken_ssns(f"My code is {number}, my social is one two three four five six.") == []


@pytest.mark.parametrize(
    "text",
    [
        "twenty five minutes down the road, a two way street, one hundred people per court",
        "Entrance via gate 4, leave by route 12; Street 12.5 %",
        "4 Hard Drive, 2 Solid State Drive",
        "Wall Street rose by 3 %",
        "on 5 May the Road Map",
        "24 Month Supreme Court",
        "12 cars on the road, 3 trucks per lane, a 2 lane road",
        "the house is in block 4",
    ],
)
def test_what_only_looks_like_a_street_is_left_alone(text: str) -> None:
    assert street_addresses(text) == []


def test_the_lists_say_where_they_are_from_and_hold_what_they_say() -> None:
    text = files("stateward.adapters.detection").joinpath("person_names.txt").read_text(encoding="utf-8")
    assert "MIT License" in text
    assert "Permission is hereby granted, free of charge" in text
    assert len(text) < 400_000
    known = lists()
    assert len(known.first) > 15_000
    assert len(known.last) > 15_000
    assert {"jane", "anna"} <= known.usual
    assert not {"jane", "anna", "smith"} & known.words
    assert {"will", "may", "mark"} <= known.words


def test_the_lists_are_as_the_script_makes_them_now() -> None:
    known = lists()
    assert not PARTICLES & (known.first | known.last | known.words | known.places)
    assert set(make_names._OWN_WORDS.split()) <= known.words
    assert set(make_names._OWN_PLACES.split()) <= known.places
    assert all(map(known.is_small_word, make_names._OWN_SMALL_WORDS.split()))
    assert not known.small & (known.words | known.places)
    firms = {tuple(name.split()) for name in make_names._OWN_FIRMS.strip().replace("\n", "|").split("|")}
    assert known.firms == firms


@pytest.mark.parametrize(
    "piece",
    [
        "Anna ",
        "A. ",
        "Anna-",
        "van der ",
        "Mr. ",
        "Anna, ",
        "1 Old ",
        "1 old ",
        "The Old Barn, ",
        "Jalan A ",
        "House 1 ",
        "Rue de la ",
        "O'",
        "\n",
        "one ",
    ],
)
def test_text_made_to_be_slow_is_answered(piece: str) -> None:
    text = (piece * 4_000)[:4_000]
    people(text)
    street_addresses(text)
    spoken_numbers(text)
