"""P7: what is remembered says `<PERSON_1>`, for one subject, whoever writes it how; and nobody makes up a pseudonym."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.config import get_store

from bank import POLICY, Bank, start
from stateward import Principal, call, tool
from stateward.errors import ThreadError
from stateward.testing import proposes
from ways import every_way

DPO = Principal("dpo")
NAMED = POLICY.replace("memory:\n", "memory:\n  personal_data: {PERSON: pseudonymize, EMAIL_ADDRESS: pseudonymize}\n")
JANE = {"PERSON": "Zanzibar Qwertz-Blyxt", "CUSTOMER_NUMBER": "QX 77-12345"}
MAIL = "yucatan@example.org"


def noted(bank: Bank, *texts: Any, policy: str = NAMED, key: str = "n1", **more: Any) -> list[Any]:
    """What is kept of these texts, and what a recall in the same step gives."""
    recalled: list[Any] = []

    async def notes(state: Any, step: Any) -> None:
        await step.remember("note", key, said=list(texts))
        recalled.extend(await step.recall("note", limit=50))

    graph = bank.graph(policy=policy, prepare=lambda flow: flow.retrieve(notes))
    config = bank.config(**more)
    graph.invoke({"messages": [("user", "note this")], "subject": more.get("subject")}, config)
    assert key in [one.key for one in recalled]
    found = next(one for one in recalled if one.key == key)
    return found.value["said"]


def kept(bank: Bank) -> list[Any]:
    return [row["value"] for row in bank.rows("select value from stateward.memory order by key")]


def test_memory_holds_pseudonyms_which_are_the_same_in_every_thread_of_the_subject(bank: Bank) -> None:
    said = [f"mail {MAIL}", "i spoke to zanzibar qwertz-blyxt", "Blyxt is angry", "Z. Qwertz-Blyxt, no qx7712345"]
    first = noted(bank, *said, known=JANE)
    assert first == [
        "mail <EMAIL_ADDRESS_1>",
        "i spoke to <PERSON_1>",
        "<PERSON_1> is angry",
        "<PERSON_1>, no [CUSTOMER_NUMBER]",
    ]
    assert noted(bank, *reversed(said), key="n2", known=JANE) == list(reversed(first))
    assert [one["value"] for one in bank.runtime.export_subject("customer:17", by=DPO)["pseudonyms"]] == [
        MAIL,
        JANE["PERSON"],
    ]


def test_another_subject_and_another_tenant_have_numbers_of_their_own(bank: Bank) -> None:
    noted(bank, MAIL)
    assert noted(bank, "other@example.org", MAIL, subject="customer:18") == ["<EMAIL_ADDRESS_1>", "<EMAIL_ADDRESS_2>"]
    rows = bank.rows("select subject, count(*) as n from stateward.pseudonym group by 1 order by 1")
    assert [(row["subject"], row["n"]) for row in rows] == [("customer:17", 1), ("customer:18", 2)]


def test_a_pseudonym_that_somebody_types_is_nobodys(bank: Bank) -> None:
    """Nor is one of another subject, or one that does not exist yet."""
    noted(bank, MAIL, "other@example.org", subject="customer:18")
    said = noted(bank, "ask <EMAIL_ADDRESS_2> and [person_01] or < PERSON 7 >", MAIL)
    assert said == ["ask (EMAIL_ADDRESS_2) and (person_01) or (PERSON 7)", "<EMAIL_ADDRESS_1>"]
    again = noted(bank, "ask <EMAIL_ADDRESS_2>", "third@example.org", key="n2")
    assert again == ["ask (EMAIL_ADDRESS_2)", "<EMAIL_ADDRESS_2>"]


@pytest.mark.parametrize("subject", ["none", " NONE", " "])
@every_way
def test_a_thread_about_nobody_is_refused_where_there_are_pseudonyms(bank: Bank, subject: str) -> None:
    """Cases that have nothing to do with each other would share a vault, and open what stands in it."""
    early = bank.config(subject=subject)  # before its policy is known
    graph = bank.graph([call("look", what="x")], policy=NAMED)
    with pytest.raises(ThreadError, match="has pseudonyms"):
        graph.invoke({"messages": [("user", "go")], "subject": subject}, early)
    if bank.way.graph in bank.runtime.services.wards:
        with pytest.raises(ThreadError, match="has pseudonyms"):
            bank.config(subject=subject)
    assert bank.rows("select 1 from stateward.pseudonym") == bank.rows("select 1 from stateward.action") == []


def test_a_thread_about_nobody_is_fine_where_there_are_none(bank: Bank) -> None:
    graph, config = bank.graph([call("look", what="x")]), bank.config(subject="none")
    assert graph.invoke({"messages": [("user", "go")], "subject": "none"}, config)["messages"][-1].text == "done"


def test_what_was_recalled_can_be_kept_again(bank: Bank) -> None:
    first = noted(bank, f"mail {MAIL}")
    assert noted(bank, *first, "[email address 1]", key="n2") == [*first, "<EMAIL_ADDRESS_1>"]


def test_nobody_who_types_a_pseudonym_into_a_key_gets_anything(bank: Bank) -> None:
    async def notes(state: Any, step: Any) -> None:
        await step.remember("note", "<PERSON_1>", said="x")

    graph = bank.graph(policy=NAMED, prepare=lambda flow: flow.retrieve(notes))
    with pytest.raises(Exception, match="use ids of your own"):
        start(graph, bank.config())
    assert kept(bank) == []


def test_langgraphs_store_writes_pseudonyms_too(bank: Bank) -> None:
    @tool
    async def look(what: str) -> str:
        """Write down what was seen."""
        await get_store().aput(("note",), "n1", {f"{MAIL} said": [{"deep": {"by": MAIL.upper()}}]})
        return "seen"

    tools = [look, *(one for one in bank.tools() if one.name != "look")]
    flow = bank.flow(tools, NAMED, [proposes(call("look", what="x")), AIMessage("done")])
    start(flow.compile(bank.runtime), bank.config())
    assert kept(bank) == [{"<EMAIL_ADDRESS_1> said": [{"deep": {"by": "<EMAIL_ADDRESS_1>"}}]}]


def test_an_export_has_the_values_and_what_their_pseudonyms_are(bank: Bank) -> None:
    noted(bank, f"mail {MAIL}")
    given = bank.runtime.export_subject("customer:17", by=DPO)
    assert given["memory"][0]["value"] == {"said": [f"mail {MAIL}"]}
    assert given["pseudonyms"] == [{"pseudonym": "<EMAIL_ADDRESS_1>", "value": MAIL}]
    assert bank.runtime.export_subject("customer:18", by=DPO)["pseudonyms"] == []


def test_forgetting_takes_them_and_whoever_comes_back_begins_anew(bank: Bank) -> None:
    noted(bank, MAIL, "other@example.org")
    assert bank.runtime.count_subject("customer:17").pseudonyms == 2
    assert bank.runtime.count_subject("customer:17", tenant="other").pseudonyms == 0
    receipt = bank.runtime.forget("customer:17", by=DPO)
    assert (receipt.items, receipt.pseudonyms, receipt.keys) == (1, 2, 1)
    assert bank.runtime.export_subject("customer:17", by=DPO)["pseudonyms"] == []
    assert noted(bank, "other@example.org", thread="t-9") == ["<EMAIL_ADDRESS_1>"]
