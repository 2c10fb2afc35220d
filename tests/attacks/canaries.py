"""Canaries: 500 valid values of 20 entity types, made from a seed, each of which goes through one place of a run.

The value of an entity type moves to the next place with each run, so that every type comes to every place.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

RUNS = 25
LONG = range(11, 17)  # so many digits that nothing else has them, and that a checkpoint's numbers hold
PLACES = (
    *("prompt", "prompt_json", "said", "argument", "nested", "key", "file", "result", "result_item", "result_key"),
    *("result_file", "approved", "edited_away", "edit", "rejection", "response", "error", "memory", "memory_json"),
    "answer",
)
# How each is written down, so that it is found where it is looked for.
TEXTS = {
    "CREDIT_CARD": "card {}",
    "CRYPTO": "wallet {}",
    "DATE_OF_BIRTH": "born {}",
    "EMAIL_ADDRESS": "write to {}",
    "ES_NIF": "NIF {}",
    "IBAN_CODE": "IBAN {}",
    "IP_ADDRESS": "from {}",
    "LOCATION": "She lives at {}.",
    "MAC_ADDRESS": "device {}",
    "PERSON": "Spoke with {} about it.",
    "PHONE_NUMBER": "phone {}",
    "PL_PESEL": "PESEL {}",
    "UK_NHS": "NHS number {}",
    "UK_NINO": "national insurance {}",
    "URL": "see {}",
    "US_BANK_NUMBER": "bank account {}",
    "US_DRIVER_LICENSE": "driver's license {}",
    "US_ITIN": "ITIN {}",
    "US_PASSPORT": "passport {}",
    "US_SSN": "SSN {}",
}
_FIRST = ("Patricia", "Jerome", "Niamh", "Sanjay", "Astrid", "Kenji", "Yasmin", "Rhys", "Sabine", "Thierry", "Giulia")
_LAST = ("Lockwood", "Gallagher", "Haugen", "Hallström", "Kocsis", "Mensah", "Teixeira", "Ferrante", "Okafor", "Vogel")
_STREETS = ("Maple", "Harbour", "Church", "Kingsway", "Station", "Mill", "Victoria")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """A planted value, and what stands around it."""

    entity: str
    value: str

    @property
    def text(self) -> str:
        """As somebody would write it."""
        return TEXTS[self.entity].format(self.value)

    @property
    def number(self) -> int:
        """Its digits as a number, where that tells it from all others; else 0."""
        digits = "".join(one for one in self.value if one.isdigit())
        return int(digits) if len(digits) in LONG else 0


def planted(seed: int, count: int = RUNS) -> list[dict[str, Canary]]:
    """For each of so many runs, what stands at each place. No value is part of another."""
    makers = _makers(random.Random(seed))
    runs: list[dict[str, Canary]] = [{} for _ in range(count)]
    taken: list[str] = []
    for at, entity in enumerate(TEXTS):
        for run in range(count):
            value = makers[entity]()
            while any(value in other or other in value for other in taken):
                value = makers[entity]()
            taken.append(value)
            runs[run][PLACES[(at + run) % len(PLACES)]] = Canary(entity=entity, value=value)
    return runs


def _makers(made: random.Random) -> Mapping[str, Callable[[], str]]:
    def digits(count: int) -> str:
        return "".join(str(made.randint(0, 9)) for _ in range(count))

    def name() -> str:
        return f"{made.choice(_FIRST)} {made.choice(_LAST)}"

    return {
        "CREDIT_CARD": lambda: _by_four(_with_luhn("4" + digits(14))),
        "CRYPTO": lambda: _bitcoin(made.randbytes(20)),
        "DATE_OF_BIRTH": lambda: f"19{made.randint(30, 99)}-{made.randint(1, 12):02}-{made.randint(1, 28):02}",
        "EMAIL_ADDRESS": lambda: f"{made.choice(_FIRST).lower()}.{digits(4)}@example.com",
        "ES_NIF": lambda: _nif(made.randint(10_000_000, 99_999_999)),
        "IBAN_CODE": lambda: _by_four(_iban("DE", digits(18))),
        "IP_ADDRESS": lambda: f"203.{made.randint(100, 255)}.{made.randint(100, 255)}.{made.randint(100, 255)}",
        "LOCATION": lambda: f"{made.randint(100, 980)} {made.choice(_STREETS)} Street",
        "MAC_ADDRESS": lambda: ":".join(f"{one:02X}" for one in b"\x00\x1a" + made.randbytes(4)),
        "PERSON": name,
        "PHONE_NUMBER": lambda: f"+44 20 7946 0{made.randint(100, 999)}",
        "PL_PESEL": lambda: _pesel(
            f"{made.randint(40, 99)}{made.randint(1, 12):02}{made.randint(1, 28):02}{digits(4)}"
        ),
        "UK_NHS": lambda: _nhs(made),
        "UK_NINO": lambda: f"{made.choice(('AB', 'CE', 'JK', 'LM'))} {digits(2)} {digits(2)} {digits(2)} C",
        "URL": lambda: f"https://example.com/people/{digits(6)}",
        "US_BANK_NUMBER": lambda: "9" + digits(11),
        "US_DRIVER_LICENSE": lambda: f"H{digits(8)}",
        "US_ITIN": lambda: f"9{digits(2)}-7{digits(1)}-{made.randint(1000, 9999)}",
        "US_PASSPORT": lambda: f"A{digits(8)}",
        "US_SSN": lambda: f"{made.randint(101, 599)}-{made.randint(10, 99)}-{made.randint(1000, 9999)}",
    }


def _by_four(text: str) -> str:
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _with_luhn(body: str) -> str:
    total = sum(int(d) * 2 - 9 * (int(d) > 4) if at % 2 == 0 else int(d) for at, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def _iban(country: str, account: str) -> str:
    number = int("".join(str(int(c, 36)) for c in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02}{account}"


def _bitcoin(payload: bytes) -> str:
    whole = b"\x00" + payload
    whole += hashlib.sha256(hashlib.sha256(whole).digest()).digest()[:4]
    number, text = int.from_bytes(whole, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    return "1" * (len(whole) - len(whole.lstrip(b"\x00"))) + text


def _nif(number: int) -> str:
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def _pesel(body: str) -> str:
    total = sum(int(d) * w for d, w in zip(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True))
    return body + str(-total % 10)


def _nhs(made: random.Random) -> str:
    while True:
        body = "9" + "".join(str(made.randint(0, 9)) for _ in range(8))
        check = 11 - sum(int(d) * (10 - at) for at, d in enumerate(body)) % 11
        if check != 10:
            whole = f"{body}{check % 11}"
            return f"{whole[:3]} {whole[3:6]} {whole[6:]}"
