"""What is planted: people, written by hand for these corpora and taken from no list, and numbers made from a seed.

The rules are written against the development names and templates only; the held-out ones are looked at when
the figures are made. No name is in both.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

DEVELOPMENT_NAMES = (
    """
Margaret Hollis|Dwayne Whitaker|Siobhan Kearney|Rajesh Iyer|Ingrid Solberg|Mateusz Zielinski|Yolanda Figueroa
Tomoko Hayashi|Emeka Nwosu|Fatima El-Sayed|Gareth Pryce|Helene Baumgartner|Luc Desrochers|Chiara Lombardi
Nadia Petrenko|Oluwaseun Adebayo|Priya Raghavan|Kwame Boateng|Anders Lindqvist|Beatriz Carvalho|Jürgen Krause
Élodie Marchand|Zoltán Szabó|Aoife O'Rourke|Hugo van den Berg|Ruth Abernathy|Terrence McAllister|Mei-Ling Tan
Curtis Boyd|Wanda Kowalska|Sergei Volkov|Leila Haddad|Ahmed Mansour|Karthik Subramanian|Marisol Quintero
Stephen Hartley|Joanna Pike|Will Turner|Grace Park|Mark Bishop|June Carter|Bill Chambers|Rose Whitfield
Donald Prescott|Hye-jin Kwon|Nguyen Thi Lan|Pedro Alves|Ivana Horvat|Lars Mikkelsen|Deepak Malhotra
""".replace("\n", "|")
    .strip("|")
    .split("|")
)

HELD_OUT_NAMES = (
    """
Patricia Lockwood|Jerome Castellano|Niamh Gallagher|Sanjay Deshpande|Astrid Haugen|Piotr Wojciechowski
Guadalupe Santillan|Kenji Morimoto|Chinedu Okafor|Yasmin Al-Farsi|Rhys Llewellyn|Sabine Oberholzer
Thierry Gauthier|Giulia Ferrante|Oksana Shevchuk|Temitope Ogunleye|Ananya Krishnan|Kofi Mensah|Björn Hallström
Mariana Teixeira|Matthias Vogel|Aurélie Lefebvre|István Kocsis|Ciarán Fitzgerald|Pieter de Vries|Eleanor Radcliffe
Malcolm MacPherson|Wei Zhang|Tyrone Jefferson|Agnieszka Nowak|Dmitri Sokolov|Rania Khoury|Omar Farouk
Lakshmi Venkataraman|Alejandra Villanueva|Timothy Ashworth|Deborah Flint|Hope Sanders|Frank Banks|April Summers
Grant Fields|Faith Bell|Jack Stone|Constance Nightingale|Soo-min Choi|Tran Van Minh|João Nogueira|Petra Novotná
Mikkel Rasmussen|Arjun Bhattacharya|Shanice Coleman|Brandon Kessler|Heather Dunning|Kelvin Osei|Maria Papadopoulos
Elif Yildiz|Noa Friedman|Tamar Goldstein|Siti Rahmawati|Bongani Dlamini|Thandiwe Nkosi|Aleksandar Jovanovic
Radu Ionescu|Kaisa Virtanen|Juhani Korhonen|Liis Tamm|Jānis Bērziņš|Gintarė Kazlauskas|Xavier Dubois|Nathaniel Briggs
Rosalind Thackeray|Desmond Achebe|Colleen Fairbanks|Vincent Moretti|Bernadette Ouellette|Clifford Langston
Harriet Winslow|Bruno Schaefer|Renata Sobczak|Esteban Rojas|Camila Ortega|Ricardo Benavides|Luisa Cardoso
Ewan Sinclair|Morag Campbell|Percival Goodwin|Tabitha Crane|Leopold Weiss|Friederike Lindemann|Annika Bergström
""".replace("\n", "|")
    .strip("|")
    .split("|")
)

HARD_NAMES = (
    """
Tarquin Mbeki-Ashcombe|Ondine Fauvelle|Zsófia Bálint|Kwabena Asante|Marlowe Quill|Sunniva Dahlgren|Ptolemy Grange
Nkechi Uzoma|Wren Halloran|Aroha Ngata|Bertil Sjögren|Xochitl Barragán|Yevhen Tkachenko|Ilse Wauters|Pádraig Mulcahy
Saoirse Devlin|Ximena Urrutia|Thorsten Eichhorn|Gulnara Akhmetova|Vikramjit Sandhu|Oyelaran Bello|Hana Suzuki
Dorcas Wanjiru|Art Page|Summer Green|Christian Major|Penny Wise|Melody Rivers|Chase Long|Olive Branch
""".replace("\n", "|")
    .strip("|")
    .split("|")
)

_PHONES = (
    "+1 ({a}) 555-01{b}",
    "+1 {a} 555 01{b}",
    "({a}) 555-01{b}",
    "{a}-555-01{b}",
    "{a}.555.01{b}",
    "+44 20 7946 0{c}",
    "+44 7700 900{c}",
    "020 7946 0{c}",
    "07700 900{c}",
    "+49 30 23125{c}",
    "0049 30 23125 {c}",
    "+33 1 99 00 {b} {b}",
    "+61 2 5550 {b}{b}",
    "+91 98765 4{b}{b}",
)
_SPOKEN_PHONES = (*_PHONES, "{a}55501{b}", "030 23125{c}", "98765 4{b}{b}", "(030) 23125-{c}")
_AREAS = ("212", "303", "415", "512", "617", "702", "808", "917")
_CARDS = (
    ("4", 16, 4),
    ("4", 16, 0),
    ("51", 16, 4),
    ("55", 16, 0),
    ("2221", 16, 4),
    ("34", 15, 0),
    ("37", 15, 6),
    ("6011", 16, 4),
    ("3528", 16, 0),
    ("36", 14, 0),
    ("65", 16, 0),
)
_IBANS = {"DE": 18, "FR": 23, "NL": 0, "ES": 20, "AT": 16, "BE": 12, "GB": 0, "CH": 17, "PT": 21, "DK": 14}
_STREETS = ("Maple", "Harbour", "Church", "Kingsway", "Elm", "Station", "Mill", "Victoria", "Old Oak", "Jefferson")
_WAYS = ("Street", "St.", "Road", "Avenue", "Ave", "Lane", "Drive", "Court", "Boulevard", "Blvd")
_MAILS = ("{f}.{l}@example.com", "{f}{n}@mail.example.org", "{l}-{f}@example.co.uk", "{f}_{l}@example.net")
_DATES = ("19{y}-{m:02}-{d:02}", "{d:02}.{m:02}.19{y}", "{m}/{d}/19{y}", "{d} March 19{y}", "May {d}, 19{y}")


def fillers(names: list[str], made: random.Random) -> Mapping[str, Callable[[], str]]:
    """What makes a value for each slot of a template."""

    def name() -> tuple[str, str]:
        first, _, last = made.choice(names).partition(" ")
        return first, last

    return {
        "PERSON": lambda: "{} {}".format(*name()),
        "FIRST": lambda: name()[0],
        "LAST": lambda: name()[1],
        "LAST_FIRST": lambda: ", ".join(reversed(name())),
        "CAPITALS": lambda: " ".join(name()).upper(),
        "SHOUTED": lambda: " ".join(name()).upper(),
        "SMALL": lambda: " ".join(name()).lower(),
        "SMALL_FIRST": lambda: str.lower(name()[0]),
        "CREDIT_CARD": lambda: _card(made),
        "PHONE_NUMBER": lambda: _phone(made, _PHONES),
        "SPOKEN_PHONE": lambda: _phone(made, _SPOKEN_PHONES),
        "EMAIL_ADDRESS": lambda: _mail(made, *name()),
        "IBAN_CODE": lambda: _iban(made),
        "US_SSN": lambda: f"{made.randint(101, 599)}-{made.randint(10, 99)}-{made.randint(1000, 9999)}",
        "DATE_OF_BIRTH": lambda: made.choice(_DATES).format(
            y=made.randint(30, 99), m=made.randint(1, 12), d=made.randint(1, 28)
        ),
        "LOCATION": lambda: f"{made.randint(1, 980)} {made.choice(_STREETS)} {made.choice(_WAYS)}",
        "order": lambda: str(made.randint(4_500_000_000, 4_599_999_999)),
        "ticket": lambda: str(made.randint(10_000, 99_999)),
        "invoice": lambda: f"INV-{made.randint(2019, 2026)}-{made.randint(0, 999_999):06}",
        "amount": lambda: f"{made.randint(1, 99_999)}.{made.randint(0, 99):02}",
        "big": lambda: f"{made.randint(1, 999)},{made.randint(0, 999):03}.{made.randint(0, 99):02}",
        "day": lambda: f"20{made.randint(19, 26)}-{made.randint(1, 12):02}-{made.randint(1, 28):02}",
        "time": lambda: f"{made.randint(0, 23):02}:{made.randint(0, 59):02}:{made.randint(0, 59):02}",
        "hex": lambda: f"{made.getrandbits(48):012x}",
        "count": lambda: str(made.randint(2, 900)),
        "sku": lambda: _checked(made, "400", 13),
        "epoch": lambda: str(made.randint(1_600_000_000_000, 1_790_000_000_000)),
        "account": lambda: f"{made.randint(1, 9)}{made.randint(0, 9_999_999):07}",
        "version": lambda: f"{made.randint(0, 9)}.{made.randint(0, 30)}.{made.randint(0, 30)}",
    }


def _phone(made: random.Random, shapes: tuple[str, ...]) -> str:
    return made.choice(shapes).format(a=made.choice(_AREAS), b=made.randint(10, 99), c=made.randint(100, 999))


def _mail(made: random.Random, first: str, last: str) -> str:
    first, last = (_ascii(part) for part in (first, last))
    return made.choice(_MAILS).format(f=first, l=last, n=made.randint(2, 99))


def _ascii(text: str) -> str:
    return "".join(c for c in text.lower() if "a" <= c <= "z") or "x"


def _card(made: random.Random) -> str:
    prefix, length, grouping = made.choice(_CARDS)
    digits = prefix + "".join(str(made.randint(0, 9)) for _ in range(length - len(prefix) - 1))
    digits += next(str(c) for c in range(10) if luhn(digits + str(c)))
    mark = made.choice(" -")
    if grouping == 4:
        return mark.join(digits[at : at + 4] for at in range(0, length, 4))
    return mark.join((digits[:4], digits[4:10], digits[10:])) if grouping == 6 else digits


def luhn(digits: str) -> bool:
    """Whether the check digit is right."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + at % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


def _checked(made: random.Random, prefix: str, length: int) -> str:
    return prefix + "".join(str(made.randint(0, 9)) for _ in range(length - len(prefix)))


def _iban(made: random.Random) -> str:
    country = made.choice([name for name, digits in _IBANS.items() if digits])
    account = "".join(str(made.randint(0, 9)) for _ in range(_IBANS[country]))
    number = int("".join(str(int(c, 36)) for c in f"{account}{country}00"))
    whole = f"{country}{98 - number % 97:02}{account}"
    return whole if made.random() < 0.5 else " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
