"""Keys, tags and columns say what their values are; values that do not look like it, and things, are left alone."""

from __future__ import annotations

import pytest

from stateward.adapters.detection.fields import fields


def held(text: str) -> list[tuple[str, str]]:
    return [(one.entity, text[one.start : one.end]) for one in fields(text)]


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("SET last_name='Qorvan-Blyxt' WHERE id=7", "PERSON", "Qorvan-Blyxt"),
        ("refund ok holder=Qorvana_Blyxt amount=4.20", "PERSON", "Qorvana_Blyxt"),
        ("contact[name]=Qorvan+Blyxt&score=6", "PERSON", "Qorvan+Blyxt"),
        ('{"firstName":"Qorvan","age":7}', "PERSON", "Qorvan"),
        ("ORGANIZER;CN=Qorvan Smith:mailto:x", "PERSON", "Qorvan Smith"),
        ("<cac:Name>Qorvan Smith</cac:Name>", "PERSON", "Qorvan Smith"),
        ("CONSIGNEE: QORVAN BLYXT, HOUSE", "PERSON", "QORVAN BLYXT"),
        ("contact_person: Qorvan Abu Blyxt\niban: x", "PERSON", "Qorvan Abu Blyxt"),
        ("Cardholder: Qorvan Blyxt. PAN as supplied", "PERSON", "Qorvan Blyxt"),
        ("opened_by: QUANT, Jane", "PERSON", "QUANT, Jane"),
        ('employee="Jane Doe" ssn=x', "PERSON", "Jane Doe"),
        ("dateOfBirth=21.08.1982", "DATE_OF_BIRTH", "21.08.1982"),
        ('"taxId":"536-90-4399"', "US_SSN", "536-90-4399"),
        ('"phone": "555-0123"', "PHONE_NUMBER", "555-0123"),
        ("<Telephone>555 01 26</Telephone>", "PHONE_NUMBER", "555 01 26"),
        ('"street": "Qorvanova 88/12", "city": "x"', "LOCATION", "Qorvanova 88/12"),
        ('"addressLine1":"Qorvan Blyxt No: 14 D: 7"', "LOCATION", "Qorvan Blyxt No: 14 D: 7"),
        ("<StreetName>Blyxt 143</StreetName>", "LOCATION", "Blyxt 143"),
        ("street=Qorvan+Blyxta+88&city=x", "LOCATION", "Qorvan+Blyxta+88"),
        ("Vorname: Qorvan\nFirma: x", "PERSON", "Qorvan"),
        ("apellidos: Qorvan Blyxt\n", "PERSON", "Qorvan Blyxt"),
        ("Swimmer: Qorvana Blyxtova, Class 4W", "PERSON", "Qorvana Blyxtova"),
        ("dob=05161947", "DATE_OF_BIRTH", "05161947"),
        ('"ssn_full": "536904399"', "US_SSN", "536904399"),
        ('"social_sec_no": "536904399"', "US_SSN", "536904399"),
    ],
)
def test_more_keys_name_their_values(text: str, entity: str, value: str) -> None:
    assert held(text) == [(entity, value)]


def test_keys_of_parts_name_people_beside_one_another() -> None:
    assert held('<name last="Qorvan" first="Blyxt"/>') == [("PERSON", "Qorvan"), ("PERSON", "Blyxt")]
    assert held('"legalName":"Qorvan Blyxt","preferred":"Qor"') == [("PERSON", "Qorvan Blyxt"), ("PERSON", "Qor")]
    assert held("preferred: Qorvan, size: 4") == []


def test_an_insert_names_the_values_of_its_columns() -> None:
    rows = "(1, 'Qorvan', 'Blyxt', '1988-06-30'),\n (2, 'O, x', NULL, '');"
    found = held(f"INSERT INTO t (id, surname, given, dob) VALUES\n {rows}")
    assert sorted(found) == [("DATE_OF_BIRTH", "1988-06-30"), ("PERSON", "Blyxt"), ("PERSON", "Qorvan")]
    assert held("INSERT INTO t (id, brand) VALUES (1, 'Qorvan')") == []


def test_columns_may_stand_apart_by_blanks_only() -> None:
    table = "EmpNo  Name           SSN        Gross\n0093   Qorvan Blyxt   536904399  2115.40\n0094  x\n"
    assert sorted(held(table)) == [("PERSON", "Qorvan Blyxt"), ("US_SSN", "536904399")]
    header = "No | Family name, given names | Date of birth\n1 | QORVAN, Blyxt | 04.02.1966"
    assert held(header) == [("PERSON", "QORVAN, Blyxt"), ("DATE_OF_BIRTH", "04.02.1966")]


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("Cardholder: Qorvan Blyxt Smith. x", "PERSON", "Qorvan Blyxt Smith"),
    ],
)
def test_a_key_names_its_value(text: str, entity: str, value: str) -> None:
    assert held(text) == [(entity, value)]


@pytest.mark.parametrize(
    "table",
    [
        "no;last_name;first_name;dob;phone\n1;Qorvan;Blyx;1984-10-27;555-0123\n2;O'Qor;D'Blyx;1996-02-08;5550124\n",
        "no,last_name,first_name,dob,phone\r\n1,Qorvan,Blyx,1984-10-27,555-0123\r\n2,O'Qor,D'Blyx,1996-02-08,5550124\r\n",
        "| no | last name | first name | dob | phone |\n|---|:--|---|---|---|\n| 1 | Qorvan | Blyx | 1984-10-27"
        " | 555-0123 |\n"
        "| 2 | O'Qor | D'Blyx | 1996-02-08 | 5550124 |\n\nThat is all.",
        "no\tlast_name\tfirst_name\tdob\tphone\n1\tQorvan\tBlyx\t1984-10-27\t555-0123\n2\tO'Qor\tD'Blyx\t1996-02-08\t5550124",
    ],
)
def test_a_header_names_the_values_of_its_column(table: str) -> None:
    assert [value for _, value in held(table)] == [
        *("Qorvan", "Blyx", "1984-10-27", "555-0123"),
        *("O'Qor", "D'Blyx", "1996-02-08", "5550124"),
    ]


def test_a_bare_name_is_of_people_beside_what_only_people_have() -> None:
    assert held('name,ssn\n"Qor, Jane",536904399') == [("US_SSN", "536904399"), ("PERSON", "Qor, Jane")]
    assert held("id|first|last|mail\n1|Qorvan|Blyxt|x") == [("PERSON", "Qorvan"), ("PERSON", "Blyxt")]
    assert held("name,qty\nVera,4\nStella Mini,12") == []


@pytest.mark.parametrize(
    "text",
    [
        '"customer":"Acme Ltd","client": "Transnet","customer":"Tata Steel","contact":"Support Desk"',
        "customer=Globex holder: Standard bracket owner=platform-team host=Madison-3",
        "<Name>Quarterly Report</Name><Name>Vera 200</Name><name>Harper</name>",
        'product_name: Stella Mini, file_name="Report", brand_name: Wilson, hostName=Victor',
        '"address":"10.0.0.1:8080", address: 0x7ffee4, address=8080, email_address=x, ip address: 10.0.4.17 port 22',
        "approved by: Finance; Created by: Jenkins; author: Docker; agent: Zendesk; CN=Baltimore CyberTrust Root",
        '"firstName": "string", first_name=null, last_name VARCHAR(40), holder=Holder, first_name = models.CharField()',
        "tax_id: 12-3456789; tin=123456789; mobile: 45000; phone=20240115; tel: none",
        "owner|team|due\nFalcon|Ops|2024-01-02",
        "street,city\nMain depot,Austin",
        "contact,amount\nFreight,4.20\nLogistics Dept,3.00",
        "holder=Qorvan Blyxt GmbH; customer: Qorvan Blyxt Ltd; payee='Qorvan Trading'",
        "last_name=Unknown; firstName: Varchar",
        "dob;last_name\n1;Nil\n2;True",
        "server: Qorvan Blyxt; printer: Blyxt Qorvan; converter: Jackson; burner: Bunsen",
        "ip_address: 12 Maple; bind_address: 12 Maple",
        "recipient: Accounts Payable; payee: Verizon Wireless; payer: Blue Cross; passenger: 2 adults",
    ],
)
def test_things_and_firms_are_left_alone(text: str) -> None:
    assert held(text) == []


@pytest.mark.parametrize(
    "piece", ["name: ", "name=A ", "<a>", "a,", "name,ssn\n", "| name | ssn |\n", 'a:"', "A_", "Doe, "]
)
def test_text_made_to_be_slow_is_answered(piece: str) -> None:
    fields((piece * 20_000)[:20_000])
