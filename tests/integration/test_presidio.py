"""Presidio finds what it claims to find, spares business text, fails closed, and never asks the network."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from stateward.adapters.detection import presidio
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.adapters.detection.rules import FINDERS, RULES, Finder
from stateward.errors import ConfigurationError, MemoryRefused, RedactionFailed
from stateward.model.memory import Finding, KnownValue
from stateward.model.values import Json
from stateward.personal_data.treating import DEFAULT_ENTITIES, PersonalDataPolicy, Treated, treat

BUSINESS_LINES = """
2024-03-31,GL 110-20-4000,Accrued utilities,1,250.00,0.00,JE-2024-000318
2024-03-31|400100|Trade receivables|DR|12 500.00|EUR|period 2024-03
Journal entry 20240331 posts 4 812.75 EUR from ledger account 40001000 to 40002000
Opening balance 1 250 000.00, closing balance 1 312 450.25, variance +62 450.25 (4.99%)
account 40001000 debit 1200.50 credit 0.00 cost center 110-20-3000
Bank line 20240115 matched to ledger 40001000 with difference 0.00
Bank account statement 20240131 imported, 214 lines, total 98,412.77
100 200 300 1000
212 300 1000 4000
Fiscal periods 001-2024, 002-2024 and 003-2024 are closed; 004-2024 is open
FX revaluation at 1.0842 for 250,000.00 USD gives 230 584.76 EUR
Intercompany clearing 1000-2000-3000 is zero; 1000-2000-3100 shows -14.20
Reclass 75.000,00 from 6100/4711 to 6200/4711, approved in batch 20240402-17
Depreciation run 2024-04: 318 assets, 41,220.19 in total, next run 2024-05-31
Cash pool transfer ref 4000123412341234 booked on value date 15.01.2024
Invoice INV-2024-001234 of 2024-01-15 over 1,499.00 EUR is due within 30 days
Invoice no 2024001234, PO 4500012345, delivery note 8000123456, net 14 days
Credit note CN-000-123-4567 corrects invoice 212-555-0187 by 19.99
VAT 19% on 1000.00 = 190.00, gross 1190.00, rounding 0.00
PO 4500012345 line 10: 12 pcs of SKU 4006381333931 at 7.49 each
Payment terms 2/10 net 30; discount until 25.01.2024; dunning level 0
Payment run 20240115-001 pays 214 invoices with 98 412.77 EUR in total
Invoice 4111-2024-0099 was split into 4111-2024-0099-A and 4111-2024-0099-B
Receipt #0012345678 for order #2024123456789 printed twice
Quantity 1000 units at 1.25 USD = 1250.00 USD, freight 48.00 USD
Contract 2023/0456-02 renews on 2025-01-01 for 24 months at 1 200.00 per month
Ticket #48213: customer cannot log in since version 2.14.3, build 20240117.4
Ticket SUP-2024-11823 escalated to tier 2 after 4 h 12 min, SLA 8 h
Please check case 0012-3456-789 and close case 5551234567 as a duplicate
Call option 10000000 notional, strike 1.0850, expiry 2024-06-28
Follow up on 2024-02-12 at 14:30, next review 2024-03-12 09:00-10:30
Order 212-555-0199 was shipped as parcel 1Z999AA10123456784
Tracking number 00340434161094042557 says delivered on 17 January 2024
The mobile revenue grew to 1 250 000 EUR, the cell business shrank by 4%
The software license K1234567 and the policy B9876543 expire on 2024-12-31
Passport control at gate 12 is closed; document K12345678 is the floor plan
She was promoted on 5 April 2020 and moved to team 7 in building 12
The security deposit 123456789 is refunded by 2024-05-01
Meeting room 3.14, extension of deadline 2024-01-31, agenda points 1-12
Refund order 1042 with 49.99 and close ticket 77120
{"order_id": "2125550187", "customer_id": "C-0012345", "total": 1499.0}
{"invoice": "INV-2024-001234", "lines": [{"sku": "4006381333931", "qty": 2}], "paid": false}
{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "ts": 1705314600123}
{"account": "40001000", "period": "2024-03", "balance": "-12500.00", "currency": "EUR"}
{"epoch_ms": 1705314600123, "uuid": "550e8400-e29b-41d4-a716-446655440000"}
{"article": "4012345678901", "stock": 120, "reorder_at": "2024-02-01", "price": "12.99"}
{"version": "10.20.30.40", "sha": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
{"policy_id": "536-90-4399", "contract": "2023-10-0456", "limit": 50000}
def total(rows): return sum(r.amount for r in rows if r.payment.captured)
path = os.path.join(root, "2024", "01", "report-20240115-093000.csv")
import numpy as np; x = np.zeros((1024, 768)); assert x.shape == (1024, 768)
@app.route("/orders/<int:order_id>/lines/<int:line>", methods=["GET"])
SELECT id, amount FROM ledger WHERE period = '2024-03' AND id IN (1000001, 1000002, 1000003)
pip install requests==2.31.0 pandas>=2.1.4,<3 && python -m build --no-isolation
git checkout 3f2a9c1 && git tag v1.4.0-rc.2 && make -j4 test
const retry = { attempts: 5, delayMs: 250, maxMs: 30000 }; // since 2024-01-15
kubectl -n billing get pods -l app=invoice-worker,version=2024.01.15-3
2024-01-15T10:22:33.123Z INFO worker-3 job=8f14e45f took 1532 ms, 1042 rows, 0 errors
2024-01-15 10:22:33,123 WARN [pool-2-thread-17] retry 3/5 after 2000 ms for order 4500012345
Jan 15 10:22:33 db-1 postgres[21873]: checkpoint complete: wrote 1042 buffers (6.4%)
GET /api/v1/orders/4500012345/lines?page=2&size=100 HTTP/1.1 200 5312 0.042
level=info ts=1705314600 msg="batch done" batch=20240115-17 rows=1250000 bytes=734003200
ERROR 1205 (HY000): Lock wait timeout exceeded; transaction 281479271743 rolled back
Rate limit 5000/3600 s, used 4817, resets at 1705318200, request 9f2c-4e1b-77aa
Heap 1073741824 bytes, used 734003200 (68.4%), gc pause 12.4 ms, 17 runs
Article 4006381333931 and 9780306406157 are listed in catalogue 2024/25
Parcel 12.5 kg, 40 x 30 x 20 cm, zone 4, route 17-B, dock 3
Tax id 536904399 of the firm, IBAN DE89 3704 0044 0532 0130 01 is a sample, part 0806-555
<employees batch="204471188"><employee no="118"><grade>4</grade></employee></employees>
The SSN column holds 000-00-0000, no value, zip 53690-4399
The social media campaign 536904399 ends today
The birthday voucher is sent on 6 Dec and the fourth of May
Drawing 118-20-4471 and part 118-20-4472 replace style 118-20-4473
Sections 1.2.3 to 1.2.10 of standard 9001:2015 apply, see table 4-12
""".strip().splitlines()

SPOKEN_CARD = "four one one one, one one one one, one one double one, one one one one"
SPOKEN_SSN = "five three six dash nine oh dash four three nine nine"

PLANTED = [
    ("CREDIT_CARD", "paid with 4111 1111 1111 1111.", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "visa-4012888888881881", "4012888888881881"),
    ("CREDIT_CARD", "Mastercard 5555-5555-5555-4444 declined", "5555-5555-5555-4444"),
    ("CREDIT_CARD", "2-series 2223003122003222 works", "2223003122003222"),
    ("CREDIT_CARD", "amex 378282246310005", "378282246310005"),
    ("CREDIT_CARD", "3782 822463 10005", "3782 822463 10005"),
    ("CREDIT_CARD", "jcb 3530111333300000, ok", "3530111333300000"),
    ("CREDIT_CARD", "diners 30569309025904", "30569309025904"),
    ("CREDIT_CARD", "the old card 4222222222222 has 13 digits", "4222222222222"),
    ("CREDIT_CARD", "maestro 6759649826438453", "6759649826438453"),
    ("CREDIT_CARD", "7,4111111111111111,12/27,123", "4111111111111111"),
    ("CREDIT_CARD", "card_4111111111111111_front.png", "4111111111111111"),
    ("CRYPTO", "send to 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 today", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ("DATE_OF_BIRTH", "Jane, born on April 5, 1980, hired 2020-01-01", "April 5, 1980"),
    ("DATE_OF_BIRTH", "date of birth: 05.04.1980", "05.04.1980"),
    ("DATE_OF_BIRTH", "DOB 1980-04-05", "1980-04-05"),
    ("DATE_OF_BIRTH", "**Date of birth:** 4/5/1980", "4/5/1980"),
    ("DATE_OF_BIRTH", "born 5th of May '76 in Cork", "5th of May '76"),
    ("DATE_OF_BIRTH", "DOB 14-JAN-1961, hired 2-FEB-2020", "14-JAN-1961"),
    ("DATE_OF_BIRTH", "née le 14 février 1980 à Lyon", "14 février 1980"),
    ("DATE_OF_BIRTH", "fecha de nacimiento: 3 de marzo de 1985", "3 de marzo de 1985"),
    ("DATE_OF_BIRTH", "geboren am 2. Mai 1990", "2. Mai 1990"),
    ("DATE_OF_BIRTH", "date of birth 14 / 02 / 1980", "14 / 02 / 1980"),
    ("DATE_OF_BIRTH", "Qorvan (* 14.02.1980) and others", "14.02.1980"),
    ("DATE_OF_BIRTH", "Qorvan, b. 14.02.1980", "14.02.1980"),
    ("DATE_OF_BIRTH", "dateOfBirth=07.11.1974", "07.11.1974"),
    ("DATE_OF_BIRTH", "bday 06-23-1991 for the check", "06-23-1991"),
    ("AU_MEDICARE", "Medicare card 2123 45670 1", "2123 45670 1"),
    ("AU_TFN", "my tax file number is 876 543 210", "876 543 210"),
    ("ES_NIF", "con NIF 12345678Z", "12345678Z"),
    ("FI_PERSONAL_IDENTITY_CODE", "hetu: 131052-308T", "131052-308T"),
    ("IN_AADHAAR", "Aadhaar no. 3123 4567 8909", "3123 4567 8909"),
    ("IN_PAN", "PAN: ABCPE1234F", "ABCPE1234F"),
    ("IT_FISCAL_CODE", "codice fiscale RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    ("PL_PESEL", "PESEL 44051401359", "44051401359"),
    ("SG_NRIC_FIN", "NRIC S1234567D", "S1234567D"),
    ("UK_NINO", "National Insurance AB 12 34 56 C", "AB 12 34 56 C"),
    ("EMAIL_ADDRESS", "mail Jane.Doe+x@mail.example.co.uk!", "Jane.Doe+x@mail.example.co.uk"),
    ("EMAIL_ADDRESS", "user_mail=jane@corp.com&x=1", "jane@corp.com"),
    ("EMAIL_ADDRESS", "<o'brien@corp.internal>", "o'brien@corp.internal"),
    ("EMAIL_ADDRESS", "Ask jane@example.com.The rest is in jane@old_notes", "jane@example.com"),
    ("EMAIL_ADDRESS", "jane@example.com_2024.bak", "jane@example.com"),
    ("IBAN_CODE", "IBAN DE89 3704 0044 0532 0130 00 please", "DE89 3704 0044 0532 0130 00"),
    ("IBAN_CODE", "to gb82west12345698765432", "gb82west12345698765432"),
    ("IBAN_CODE", "to_iban=AT611904300234573201 holder=x", "AT611904300234573201"),
    ("IBAN_CODE", "from NL91 ABNA 0417 1643 00 DE", "NL91 ABNA 0417 1643 00"),
    ("IP_ADDRESS", "login from 203.0.113.7 failed", "203.0.113.7"),
    ("MAC_ADDRESS", "device 00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5E"),
    ("PHONE_NUMBER", "reach me at (212) 555-0187", "(212) 555-0187"),
    ("PHONE_NUMBER", "+44 20 7946 0958 is the desk", "+44 20 7946 0958"),
    ("PHONE_NUMBER", "Tel. +49 (0)30 901820", "+49 (0)30 901820"),
    ("PHONE_NUMBER", "call 5551234567 after six", "5551234567"),
    ("PHONE_NUMBER", "phone number: 98765 43210", "98765 43210"),
    ("PHONE_NUMBER", "212-555-0187 2024-01-15", "212-555-0187"),
    ("PHONE_NUMBER", "020 7946 0958", "020 7946 0958"),
    ("PHONE_NUMBER", "mobile 07911 123456", "07911 123456"),
    ("PHONE_NUMBER", "0044 20 7946 0958", "0044 20 7946 0958"),
    ("PHONE_NUMBER", "7,Jane,212-555-0187,gold", "212-555-0187"),
    ("PHONE_NUMBER", "Kind regards\nJane\n+1 212-555-0187", "+1 212-555-0187"),
    ("US_SSN", "Jane\n536-90-4399", "536-90-4399"),
    ("PHONE_NUMBER", "tel:+12125550187", "+12125550187"),
    ("PHONE_NUMBER", '{"phone":"2125550187"}', "2125550187"),
    ("PHONE_NUMBER", "If nobody opens: 0806 555 0123.", "0806 555 0123"),
    ("PHONE_NUMBER", "my new number is 555 0123", "555 0123"),
    ("PHONE_NUMBER", "Jane\nM 555 0123 99", "555 0123 99"),
    ("PHONE_NUMBER", "my number is five five five, oh one two three", "five five five, oh one two three"),
    ("UK_NHS", "NHS number 943 476 5919", "943 476 5919"),
    ("URL", "see https://example.com/people/7?x=1.", "https://example.com/people/7?x=1"),
    ("US_BANK_NUMBER", "my bank account number is 945456787654", "945456787654"),
    ("US_DRIVER_LICENSE", "driver's license H12234567", "H12234567"),
    ("US_ITIN", "taxpayer 911-70-1234", "911-70-1234"),
    ("US_PASSPORT", "passport no. K12345678", "K12345678"),
    ("US_SSN", "536-90-4399", "536-90-4399"),
    ("US_SSN", '"taxId":"536-90-4399"', "536-90-4399"),
    ("US_SSN", "SSN 536 – 90 – 4399", "536 – 90 – 4399"),
    (
        "US_SSN",
        "my social is five three six, nine oh, four three nine nine",
        "five three six, nine oh, four three nine nine",
    ),
    ("US_SSN", "national id 536-90-4399", "536-90-4399"),
    ("US_SSN", "SSN for the 2025 W-2: 536 90 4399", "536 90 4399"),
    ("US_SSN", '"legalName": "x", "taxId": "536904399"', "536904399"),
    ("US_SSN", "S.S.N. 536 90 4399", "536 90 4399"),
    ("US_SSN", "7,Jane,536-90-4399,gold", "536-90-4399"),
    ("US_SSN", "| **SSN** | 536904399 |", "536904399"),
    ("US_SSN", "social security number 536904399", "536904399"),
    ("US_SSN", "my SSN is 536-\n90-4399", "536-\n90-4399"),
    ("US_SSN", "SOC. SEC. NO. 536 90 4399", "536 90 4399"),
    ("US_SSN", "SS 536904399 for the waiver", "536904399"),
    ("US_SSN", "SSN 536/90/4399", "536/90/4399"),
    ("US_SSN", "SSN: 5 3 6 9 0 4 3 9 9", "5 3 6 9 0 4 3 9 9"),
    ("US_SSN", '{"applicantSSN":"536904399"}', "536904399"),
    ("US_SSN", "Social Security account number 536904399", "536904399"),
    ("US_SSN", "the SSN on this claim: 536904399", "536904399"),
    ("US_SSN", "Member ID 536-90-4399", "536-90-4399"),
    ("US_SSN", "SSN-536-90-4399", "536-90-4399"),
    (
        "US_SSN",
        "your social? Hold on, it is on the card in the other bag, I am looking, right, there: 536 90 4399",
        "536 90 4399",
    ),
    ("DATE_OF_BIRTH", "dob 05161947 sex F", "05161947"),
    ("DATE_OF_BIRTH", "her birthday is the fourth of May two thousand and nine", "fourth of May two thousand and nine"),
    ("DATE_OF_BIRTH", "On the first of June 1990 was born a child", "first of June 1990"),
    ("DATE_OF_BIRTH", "B'day 6 Dec; turns 90", "6 Dec"),
    ("DATE_OF_BIRTH", "born to parents of 34 and 35 years on 4 May 1990", "4 May 1990"),
    ("US_SSN", "> my SSN is 536-90-\n> 4399", "536-90-\n> 4399"),
    ("US_SSN", "SSN  5 3 6 - 9 0 - 4 3 9 9", "5 3 6 - 9 0 - 4 3 9 9"),
    ("US_SSN", "SSN with the suffix 536-90-4399A", "536-90-4399"),
    ("US_SSN", "ssn=536+90+4399&x", "536+90+4399"),
    ("US_SSN", "SSN (box 12, since 2019): 536904399", "536904399"),
    ("US_SSN", "social is five three six dash nine oh dash four three nine nine", SPOKEN_SSN),
    ("US_SSN", "536 90 4399 is her current social", "536 90 4399"),
    ("US_SSN", "Social? It is 536 904 399", "536 904 399"),
    (
        "US_SSN",
        "And your social?\nCaller: five thirty six, ninety, forty three ninety nine",
        "five thirty six, ninety, forty three ninety nine",
    ),
    ("CREDIT_CARD", f"it is {SPOKEN_CARD}", SPOKEN_CARD),
    ("PHONE_NUMBER", "txt me 07700900617", "07700900617"),
    ("PHONE_NUMBER", "Sie erreichen ihn unter 089 / 23125 884.", "089 / 23125 884"),
    ("PHONE_NUMBER", "Jane, Claims, 0806 55 50 12 66", "0806 55 50 12 66"),
    ("PHONE_NUMBER", "tel=%2B381645550177&city=Novi+Sad", "381645550177"),
    ("PHONE_NUMBER", "the phone in the order is 0176 555 83 014", "0176 555 83 014"),
]

BY_KEY: list[tuple[str, Json, str]] = [
    ("phone", "2125550187", "PHONE_NUMBER"),
    ("homePhone", 2125550187, "PHONE_NUMBER"),
    ("phone2", 2125550187, "PHONE_NUMBER"),
    ("card2", 4111111111111111, "CREDIT_CARD"),
    ("card_number", 4222222222222, "CREDIT_CARD"),
    ("ssn", 536904399, "US_SSN"),
    ("date_of_birth", "1980-04-05", "DATE_OF_BIRTH"),
    ("passportNumber", "K12345678", "US_PASSPORT"),
    ("bank_account", 945456787654, "US_BANK_NUMBER"),
    ("iban", "DE89370400440532013000", "IBAN_CODE"),
]


@pytest.fixture(scope="module")
def redactor() -> PresidioRedactor:
    return PresidioRedactor()


def found(redactor: PresidioRedactor, text: str, *entities: str) -> list[tuple[str, str]]:
    findings = asyncio.run(redactor.scan([text], entities=frozenset(entities or RULES)))[0]
    return [(f.entity, text[f.start : f.end]) for f in findings]


def treated(redactor: PresidioRedactor, value: dict[str, Json], **policy: Any) -> Treated:
    return asyncio.run(treat(value, policy=PersonalDataPolicy(**policy), redactor=redactor, key=b"key"))


def test_business_lines_stay_as_they_are(redactor: PresidioRedactor) -> None:
    assert len(BUSINESS_LINES) >= 60
    damaged = {line: hits for line in BUSINESS_LINES if (hits := found(redactor, line, *DEFAULT_ENTITIES))}
    assert damaged == {}


def test_business_json_stays_as_it_is(redactor: PresidioRedactor) -> None:
    values = [json.loads(line) for line in BUSINESS_LINES if line.startswith("{")]
    assert len(values) >= 8
    for value in values:
        assert treated(redactor, value).value == value


@pytest.mark.parametrize(("entity", "text", "value"), PLANTED)
def test_planted_values_are_found(redactor: PresidioRedactor, entity: str, text: str, value: str) -> None:
    assert found(redactor, text, entity) == [(entity, value)]


def test_a_key_or_a_column_says_that_a_thing_is_named(redactor: PresidioRedactor) -> None:
    assert found(redactor, 'brand: Anna, hub=Oscar, "city": "Florence", model: Vera Schneider', "PERSON") == []
    assert found(redactor, "model,colour,qty\nStella Schneider,Ivory,4\nVera,Ruby,2", "PERSON") == []
    assert found(redactor, "model,packed_by\nVera,Anna", "PERSON") == [("PERSON", "Anna")]
    assert found(redactor, "model: Vera, for Anna Schneider", "PERSON") == [("PERSON", "Anna Schneider")]


def test_whoever_is_named_in_full_is_found_again(redactor: PresidioRedactor) -> None:
    text = "Anna Blyxten came.\n" + "x " * 3_000 + "\nBlyxten left."
    assert [value for _, value in found(redactor, text, "PERSON")] == ["Anna Blyxten", "Blyxten"]


def test_account_numbers_in_a_row_are_all_found(redactor: PresidioRedactor) -> None:
    text = "NL91ABNA0417164300 AT611904300234573201 DE89370400440532013000"
    assert [value for _, value in found(redactor, text, "IBAN_CODE")] == text.split()


def test_two_are_born_on_two_days(redactor: PresidioRedactor) -> None:
    text = "both were born 5 June 1970 and 12.9.71, hired 1.2.99"
    assert [value for _, value in found(redactor, text, "DATE_OF_BIRTH")] == ["5 June 1970", "12.9.71"]


def test_every_entity_type_is_planted() -> None:
    assert {entity for entity, _, _ in PLANTED} == set(RULES)


@pytest.mark.parametrize(("key", "value", "entity"), BY_KEY)
def test_a_key_says_what_a_number_is(redactor: PresidioRedactor, key: str, value: Json, entity: str) -> None:
    assert treated(redactor, {"person": {key: value}}).value == {"person": {key: f"[{entity}]"}}


def test_content_blocks_and_tool_calls_are_treated_and_their_amounts_ids_and_dates_survive(
    redactor: PresidioRedactor,
) -> None:
    value: dict[str, Json] = {
        "content": [
            {"type": "text", "text": "Anna Schneider, born on 1980-04-05, pays 1499.00 on 2024-02-01"},
            {"type": "reasoning", "reasoning": "mail jo@corp.example about order 2125550187"},
        ],
        "tool_calls": [
            {
                "id": "call_4111",
                "name": "refund",
                "args": {"customer": {"name": "Anna Schneider", "phone": 2125550187}, "order_id": 2125550187},
            }
        ],
        "result": {"rows": [[4500012345, "INV-2024-001234", 1499.0, True, None]], "ship_to": "12 Maple Street"},
    }
    assert treated(redactor, value).value == {
        "content": [
            {"type": "text", "text": "[PERSON], born on [DATE_OF_BIRTH], pays 1499.00 on 2024-02-01"},
            {"type": "reasoning", "reasoning": "mail [EMAIL_ADDRESS] about order 2125550187"},
        ],
        "tool_calls": [
            {
                "id": "call_4111",
                "name": "refund",
                "args": {"customer": {"name": "[PERSON]", "phone": "[PHONE_NUMBER]"}, "order_id": 2125550187},
            }
        ],
        "result": {"rows": [[4500012345, "INV-2024-001234", 1499.0, True, None]], "ship_to": "[LOCATION]"},
    }


@pytest.mark.parametrize("treatment", ["redact", "mask", "hash"])
def test_treating_again_finds_nothing(redactor: PresidioRedactor, treatment: str) -> None:
    value: dict[str, Json] = {
        **{f"text {i}": text for i, (_, text, _) in enumerate(PLANTED)},
        **{key: inner for key, inner, _ in BY_KEY},
    }
    policy: dict[str, Any] = {"default": treatment, "entities": dict.fromkeys(RULES, treatment)}
    once = treated(redactor, value, **policy)
    twice = treated(redactor, once.value, **policy)
    assert sum(once.counts.values()) >= len(value)
    assert (twice.value, twice.counts) == (once.value, {})


TOKEN_CUES = (
    "{}",
    "Dear {},",
    "Please call {} on {} or write to {}.",
    "My name is {} and I live at {}, born {}",
    "phone: {} card: {} ssn: {} passport {} iban {} account number {}",
    "From: {} <{}>",
    '{{"first_name": "{}", "phone": "{}", "nhs number": "{}"}}',
    "Kind regards,\n{}",
)


@pytest.mark.parametrize("number", [1, 12, 3456])
def test_a_pseudonym_is_no_personal_data_beside_whatever_it_stands(redactor: PresidioRedactor, number: int) -> None:
    entities = sorted({*DEFAULT_ENTITIES, *RULES, *FINDERS})
    texts = [cue.replace("{}", f"<{entity}_{number}>") for entity in entities for cue in TOKEN_CUES]
    found = asyncio.run(redactor.scan(texts, entities=frozenset(entities)))
    spans = [[match.span() for match in re.finditer(r"<[A-Z_]+_[0-9]+>", text)] for text in texts]
    assert len(texts) > 150
    assert [
        (text, one)
        for text, tokens, each in zip(texts, spans, found, strict=True)
        for one in each
        if any(one.start < end and start < one.end for start, end in tokens)
    ] == []


def test_a_refused_value_is_named_by_place_only(redactor: PresidioRedactor) -> None:
    with pytest.raises(MemoryRefused, match=r"CREDIT_CARD at \$\.pay\[0\]") as refused:
        treated(redactor, {"pay": ["4111111111111111"]}, entities={"CREDIT_CARD": "refuse"})
    assert "4111" not in str(refused.value)


def test_names_are_said_to_be_covered_in_part_without_a_model(redactor: PresidioRedactor) -> None:
    coverage = redactor.coverage(DEFAULT_ENTITIES)
    assert coverage.uncovered == ()
    assert coverage.partial == ("LOCATION", "PERSON")
    assert redactor.coverage(["ORGANIZATION", "NRP"]).uncovered == ("NRP", "ORGANIZATION")
    assert coverage.engine.startswith("presidio-analyzer 2.")
    assert coverage.engine.endswith("no name model")
    assert redactor.coverage(["MEDICAL_LICENSE", "URL"]).uncovered == ("MEDICAL_LICENSE",)
    assert found(redactor, "qorvan blyxt called", "PERSON") == []
    assert found(redactor, "John Smith called", "PERSON") == [("PERSON", "John Smith")]


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("US_PASSPORT", "PASSPORTS: 912803456"),
        ("US_DRIVER_LICENSE", "dl # H12234567"),
        ("US_DRIVER_LICENSE", "his CDL is H12234567"),
        ("US_DRIVER_LICENSE", "driving lıcence H12234567"),
        ("US_ITIN", "TIN 911-70-1234"),
        ("US_ITIN", "tax payer 911-70-1234"),
        ("UK_NHS", "National Health 943 476 5919"),
        ("US_BANK_NUMBER", "a/c no 945456787654"),
        ("US_BANK_NUMBER", "savings acct 945456787654"),
        ("UK_NINO", "NI # AB 12 34 56 C"),
    ],
)
def test_a_text_is_looked_at_for_every_word_that_says_what_a_number_is(
    redactor: PresidioRedactor, entity: str, text: str
) -> None:
    assert found(redactor, text, entity) != []


@pytest.mark.parametrize(
    ("entity", "text", "value"),
    [
        ("PHONE_NUMBER", "***212-555-0187***", "212-555-0187"),
        ("US_SSN", "***536-90-4399***", "536-90-4399"),
        ("PHONE_NUMBER", "social 212-555-0187", "212-555-0187"),
        ("PHONE_NUMBER", "phone=%2b4917612345678", "+4917612345678"),
        ("US_DRIVER_LICENSE", "DRİVER'S LİCENSE H12234567", "H12234567"),
        ("US_SSN", "ss_1: 536904399", "536904399"),
        (
            "PHONE_NUMBER",
            "call my mobile, plus four nine one seven six one two three four five zero zero zero",
            "plus four nine one seven six one two three four five zero zero zero",
        ),
    ],
)
def test_what_stands_around_a_number_does_not_hide_it(
    redactor: PresidioRedactor, entity: str, text: str, value: str
) -> None:
    assert value in [said for _, said in found(redactor, text, entity)] or value.lstrip("+") in [
        said for _, said in found(redactor, text, entity)
    ]


def test_a_long_text_is_searched_to_its_end_and_across_every_seam(redactor: PresidioRedactor) -> None:
    filler = "ledger 4000-1000 on 2024-01-15 shows 1 250.00; "
    pieces = [f"{(filler * 30)[: 197 + i % 53]} p{i}@example.com 4111111111111111 " for i in range(400)]
    text = "".join(pieces)
    assert len(text) > 100_000
    hits = found(redactor, text, *DEFAULT_ENTITIES)
    assert [value for entity, value in hits if entity == "EMAIL_ADDRESS"] == [f"p{i}@example.com" for i in range(400)]
    assert sum(entity == "CREDIT_CARD" for entity, _ in hits) == 400
    assert len(hits) == 800


def test_an_address_longer_than_a_piece_is_found_whole(redactor: PresidioRedactor) -> None:
    address = f"https://example.com/?q={'a' * 9_000}"
    assert found(redactor, f"see {address} now", "URL") == [("URL", address)]


@pytest.mark.parametrize("piece", ["12 ", "a.b-", "1234567890", "((((", "x@", "+1 ", "4000-1000-", "A1b2"])
def test_text_made_to_be_slow_is_answered(redactor: PresidioRedactor, piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    asyncio.run(redactor.scan([text], entities=DEFAULT_ENTITIES))


@pytest.mark.parametrize("number", ["212-555-0187", "4111 1111 1111 1111", "536-90-4399", "1980-04-05"])
def test_a_number_before_many_blanks_is_answered(redactor: PresidioRedactor, number: str) -> None:
    # A pattern that takes quadratic time here holds the interpreter, so that no limit of time can end it.
    assert found(redactor, f"call {number}{' ' * 30_000}x", "PHONE_NUMBER", "US_SSN", "DATE_OF_BIRTH") is not None


def test_a_scan_that_takes_too_long_is_refused_every_time() -> None:
    hurried = PresidioRedactor(timeout_seconds=0.01)
    for _ in range(2):
        with pytest.raises(RedactionFailed, match=r"took longer than 0\.01 s"):
            found(hurried, "call 212-555-0187 " * 6_000)


def test_a_limit_beyond_the_one_at_which_presidio_skips_is_refused() -> None:
    with pytest.raises(RedactionFailed, match="silently skips a pattern"):
        found(PresidioRedactor(timeout_seconds=600), "joe@example.com")


def test_a_failing_recognizer_refuses_and_tells_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    own = PresidioRedactor()
    assert found(own, "nothing") == []
    monkeypatch.setattr("presidio_analyzer.predefined_recognizers.CryptoRecognizer.analyze", _fail)
    with pytest.raises(RedactionFailed) as failed:
        found(own, "joe@example.com")
    assert "joe" not in str(failed.value)
    assert "ValueError" in str(failed.value)


def test_what_cannot_be_checked_is_not_logged(redactor: PresidioRedactor, caplog: pytest.LogCaptureFixture) -> None:
    """Presidio's own recognizer logs an IBAN that it cannot read; the sign of Kelvin is a letter there."""
    assert found(redactor, "IBAN D\N{KELVIN SIGN}89 3704 0044 0532 0130 00", "IBAN_CODE") == []
    assert "3704" not in caplog.text


def test_loading_tells_the_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        asyncio.run(PresidioRedactor().prove(["EMAIL_ADDRESS"]))
        assert not [one for one in caplog.records if one.name == "presidio-analyzer"]
        import_module("presidio_analyzer").PatternRecognizer(supported_entity="X", deny_list=["x"])
        assert [one for one in caplog.records if one.name == "presidio-analyzer"]


def test_a_dead_recognizer_is_noticed_before_anything_is_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presidio_analyzer.predefined_recognizers.UsPassportRecognizer.analyze", _find_nothing)
    with pytest.raises(RedactionFailed, match="US_PASSPORT is not found in a known sample"):
        found(PresidioRedactor(), "nothing")


def test_a_model_path_brings_names(tmp_path: Path) -> None:
    model = _model(tmp_path, PERSON=["John Smith", "Zelda Quux"], GPE=["London", "Quuxville"])
    named = PresidioRedactor(ner_model=model)
    coverage = named.coverage([*DEFAULT_ENTITIES, "ORGANIZATION"])
    assert coverage.uncovered == ("ORGANIZATION",)
    assert coverage.engine.endswith("names by model")
    result = treated(named, {"note": "Zelda Quux of Quuxville, zelda@example.com"})
    assert result.value == {"note": "[PERSON] of [LOCATION], [EMAIL_ADDRESS]"}


def test_a_label_that_the_model_claims_and_does_not_find_is_noticed(tmp_path: Path) -> None:
    model = _model(tmp_path, PERSON=["John Smith"], ORG=["Acme Widgets"])
    with pytest.raises(RedactionFailed, match="ORGANIZATION"):
        found(PresidioRedactor(ner_model=model), "nothing")


def test_a_missing_model_is_refused_and_not_downloaded() -> None:
    missing = PresidioRedactor(ner_model="en_no_such_model")
    with pytest.raises(ConfigurationError, match="'en_no_such_model' is not installed"):
        missing.coverage(["PERSON"])
    with pytest.raises(RedactionFailed, match="'en_no_such_model' is not installed"):
        found(missing, "John Smith", "PERSON")


def test_a_library_that_exits_while_loading_does_not_end_the_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("presidio_analyzer.nlp_engine.SpacyNlpEngine.load", _leave)
    with pytest.raises(RedactionFailed, match="SystemExit"):
        found(PresidioRedactor(ner_model=tmp_path), "John Smith", "PERSON")


def test_no_request_leaves_the_machine() -> None:
    script = """
import asyncio, socket

calls = []

def trapped(*args, **kwargs):
    calls.append(args)
    raise OSError("no network")

socket.getaddrinfo = socket.create_connection = trapped
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = trapped

from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.adapters.detection.rules import FINDERS, RULES
from stateward.errors import RedactionFailed
from stateward.model.memory import KnownValue

every = {**RULES, **FINDERS}
texts = [rule.canary for rule in every.values()]
known = [KnownValue(entity="PERSON", value="Jane Doe"), KnownValue(entity="PHONE_NUMBER", value="+44 20 7946 0958")]
redactor = PresidioRedactor()
asyncio.run(redactor.prove(every))
found = asyncio.run(redactor.scan(texts, entities=frozenset(every), countries=("US", "DE", "IN"), known=known))
assert all(found), found
try:
    asyncio.run(PresidioRedactor(ner_model="en_core_web_none").scan(texts, entities=frozenset({"PERSON"})))
except RedactionFailed:
    pass
else:
    raise AssertionError("a missing model was accepted")
assert calls == [], calls
print("quiet")
"""
    assert _child(script) == "quiet"


def test_each_text_is_searched_once_and_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[tuple[str, bool]] = []

    def search(text: str) -> list[tuple[int, int, float]]:
        searched.append((text, threading.current_thread() is threading.main_thread()))
        return FINDERS["PERSON"].find(text)

    monkeypatch.setattr(presidio, "FINDERS", {**FINDERS, "PERSON": Finder(search, FINDERS["PERSON"].canary)})
    own = PresidioRedactor()
    asyncio.run(own.prove(["PERSON"]))
    searched.clear()

    async def grow() -> list[list[Finding]]:
        asked = frozenset({"PERSON"})
        await own.scan(["Jane Miller", "b", "Jane Miller"], entities=asked)
        await own.scan(["Jane Miller", "b", "c"], entities=asked)
        return await own.scan(["c", "Jane Miller"], entities=asked)

    assert [len(one) for one in asyncio.run(grow())] == [0, 1]
    assert sorted(searched) == [("Jane Miller", False), ("b", False), ("c", False)]


def test_what_was_found_for_one_question_is_no_answer_to_another(redactor: PresidioRedactor) -> None:
    def asked(*entities: str, countries: tuple[str, ...] = ("US",), known: tuple[KnownValue, ...] = ()) -> int:
        text = "Jane Miller, 030 23125150, Qx-1"
        scan = redactor.scan([text], entities=frozenset(entities), countries=countries, known=known)
        return len(asyncio.run(scan)[0])

    assert asked("PERSON") == 1
    assert asked("EMAIL_ADDRESS") == 0
    assert asked("PERSON", "PHONE_NUMBER") == 1
    assert asked("PERSON", "PHONE_NUMBER", countries=("DE",)) == 2
    assert asked("CODE", known=(KnownValue(entity="CODE", value="Qx-1"),)) == 1
    assert asked("CODE") == 0


def test_importing_the_adapter_imports_none_of_its_libraries() -> None:
    script = """
import sys
import stateward.adapters.detection.presidio
heavy = {"presidio_analyzer", "spacy", "tldextract", "phonenumbers"} & set(sys.modules)
from stateward.adapters.detection.presidio import PresidioRedactor
PresidioRedactor().coverage(["PERSON"])
print(sorted(heavy | {"presidio_analyzer", "spacy"} & set(sys.modules)))
"""
    assert _child(script) == "[]"


def _child(script: str) -> str:
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def _model(folder: Path, **names: list[str]) -> Path:
    """A spaCy pipeline that knows these names and no others."""
    pipeline = cast("Any", import_module("spacy")).blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": label, "pattern": name} for label in names for name in names[label]])
    pipeline.to_disk(folder / "model")
    return folder / "model"


def _fail(*_: object, **__: object) -> NoReturn:
    raise ValueError("cannot read joe@example.com")


def _find_nothing(*_: object, **__: object) -> list[object]:
    return []


def _leave(*_: object, **__: object) -> NoReturn:
    raise SystemExit(2)
