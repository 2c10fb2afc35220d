"""A chat says by its shape who speaks in it; forms, settings and logs are left alone."""

from __future__ import annotations

import pytest

from stateward.adapters.detection.speakers import speakers


def named(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in speakers(text)]


def test_who_speaks_twice_is_somebody_in_no_list() -> None:
    chat = "Qorvan: who has the trailer?\nBlyxa: not me\nQorvan: ask @Blyxa, or Blyxa's mum"
    assert named(chat) == ["Qorvan", "Blyxa", "Qorvan", "Blyxa", "Blyxa"]


def test_a_role_stands_before_the_name_or_speaks_itself() -> None:
    chat = "[2025-01-14 09:02] Agent Qorvan: Could you send it?\nCustomer: yes\n"
    chat += "[2025-01-14 09:04] Agent Qorvan: Thank you!"
    assert named(chat) == ["Qorvan", "Qorvan"]
    assert named("Visitor: why do I get a bill?\nQorvana: Let me check that for you.") == ["Qorvana"]


def test_a_name_before_the_time_of_day_speaks() -> None:
    chat = "Qorvan 10:02 AM\nwho moved the cards?\nBlyxa 10:04 AM\nJun did\n"
    assert named(chat) == ["Qorvan", "Blyxa"]


def test_small_letters_need_one_name_of_the_list() -> None:
    assert named("leticia: can you hear me\nqorvin: yep\nleticia: is qorvin on\n") == [
        *("leticia", "qorvin"),
        *("leticia", "qorvin"),
    ]
    assert named("kernl: it is up again\nsshd: it is up again\nkernl: that was all\n") == []


def test_a_first_name_of_the_list_behind_an_at_is_called() -> None:
    assert named("also @Matteo pls review") == ["Matteo"]
    assert named("@Override @Test mail a@Matteo.it @Qorvan") == []


@pytest.mark.parametrize(
    "text",
    [
        "Artikel: Lampe\nMenge: 2\nArtikel: Stuhl\nMenge: 1\n",
        "Betreff: wann kommt das an?\nBetreff: wann kommt das an?\n",
        "Status: is it open?\nStatus: is it open?\nHTTPS: is it on?\nHTTPS: is it on?\n",
        "deploy-bot: the ledger is up\ndeploy-bot: the ledger is up\n",
        "Qorvan: 4.20\nQorvan: 5.30\n",
        "Proposer: Qorvan Blyxt\nSmokes: gave up\nOccupation: tree surgeon\n",
    ],
)
def test_forms_and_logs_are_no_chats(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize("piece", ["Qor: a b\n", "Qor ", "@Qor", "> [a", "a-", "Qorvan Blyxt Qor:\n", "10:02 "])
def test_text_made_to_be_slow_is_answered(piece: str) -> None:
    speakers((piece * 20_000)[:20_000])
