"""P7: whoever the case is about is found in memory however they are written, and stands nowhere in clear."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.config import get_store

from bank import POLICY, Bank, start
from stateward import Runtime, call, tool
from stateward.errors import ConfigurationError, MemoryRefused, SealBroken, ThreadErased
from stateward.testing import proposes

JANE: dict[str, Any] = {
    "PERSON": "Will Qwertz-Blyxt",
    "PHONE_NUMBER": "+44 20 7946 0958",
    "CUSTOMER_NUMBER": "QX 77-12345",
}
SAID = [
    "i spoke to will qwertz-blyxt and will call again",
    "blyxt is angry",
    "w.qwertz-blyxt",
    "it is 20 79 46 09 58",
    "qx7712345",
]
TREATED = [
    "i spoke to [PERSON] and will call again",
    "[PERSON] is angry",
    "[PERSON]",
    "it is [PHONE_NUMBER]",
    "[CUSTOMER_NUMBER]",
]


def kept(bank: Bank) -> list[Any]:
    return [row["value"] for row in bank.rows("select value from stateward.memory order by key")]


def take_notes(bank: Bank, *, tell: dict[str, Any] | None = None, policy: str = POLICY) -> Any:
    async def notes(state, step):
        if tell is not None:
            await step.knows(**tell)
        await step.remember("note", "n1", said=SAID)

    return bank.graph(policy=policy, prepare=lambda flow: flow.retrieve(notes))


def dump(bank: Bank) -> str:
    """Every row of every table of ours, and of the workflow's, as text."""
    with psycopg.connect(bank.url) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('stateward', 'books')"
        ).fetchall()
        rows = [connection.execute(f"select t::text from {table} t").fetchall() for (table,) in tables]  # type: ignore[arg-type]
    return "\n".join(text for table in rows for (text,) in table)


def test_the_step_tells_who_it_is_about(bank: Bank) -> None:
    start(take_notes(bank, tell=JANE), bank.config())
    assert kept(bank) == [{"said": TREATED}]


def test_the_thread_is_opened_with_who_it_is_about(bank: Bank) -> None:
    start(take_notes(bank), bank.config(known=JANE))
    assert kept(bank) == [{"said": TREATED}]


def test_without_it_the_same_notes_are_not_found(bank: Bank) -> None:
    """What the tests above show is theirs."""
    start(take_notes(bank), bank.config())
    assert kept(bank) == [{"said": SAID}]


def test_another_thread_does_not_know_them(bank: Bank) -> None:
    bank.config("t-known", known=JANE)
    start(take_notes(bank), bank.config())
    assert kept(bank) == [{"said": SAID}]


def test_a_copy_of_the_thread_knows_them(bank: Bank) -> None:
    bank.config("t-1", known=JANE)
    bank.runtime.checkpointer.copy_thread("t-1", "t-2")
    start(take_notes(bank), bank.config("t-2"))
    assert kept(bank) == [{"said": TREATED}]


def test_another_runtime_knows_them(bank: Bank) -> None:
    bank.config("t-1", known=JANE)
    with Runtime.open(bank.url, settings=bank.runtime.inner.settings) as other:
        elsewhere = Bank(runtime=other, url=bank.url)
        start(take_notes(elsewhere), elsewhere.config("t-1"))
    assert kept(bank) == [{"said": TREATED}]


def test_langgraphs_store_and_a_tool_that_writes_through_it_know_them(bank: Bank) -> None:
    @tool
    async def look(what: str) -> str:
        """Write down what was seen."""
        await get_store().aput(
            ("note",), "n1", {"blyxt said": [{"deep": {"by": "W. Qwertz-Blyxt", "n": [2079460958]}}]}
        )
        return "seen"

    tools = [look, *(one for one in bank.tools() if one.name != "look")]
    flow = bank.flow(tools, POLICY, [proposes(call("look", what="x")), AIMessage("done")])
    start(flow.compile(bank.runtime), bank.config(known=JANE))
    assert kept(bank) == [{"[PERSON] said": [{"deep": {"by": "[PERSON]", "n": [2079460958]}}]}]


def test_what_must_not_be_kept_is_refused_by_who_it_is(bank: Bank) -> None:
    policy = POLICY.replace("memory:\n", "memory:\n  personal_data: {PERSON: refuse}\n")
    with pytest.raises(MemoryRefused, match="PERSON at") as refused:
        start(take_notes(bank, policy=policy), bank.config(known=JANE))
    assert "lyxt" not in str(refused.value)
    assert kept(bank) == []


def test_an_item_is_not_named_after_them(bank: Bank) -> None:
    async def name(state, step):
        await step.remember("note", "qwertz-blyxt", said="x")

    graph = bank.graph(prepare=lambda flow: flow.retrieve(name))
    with pytest.raises(MemoryRefused, match="holds personal data"):
        start(graph, bank.config(known=JANE))


def test_nothing_of_them_stands_in_clear(bank: Bank) -> None:
    start(take_notes(bank, tell={"EMAIL_ADDRESS": "qq@zz.example"}), bank.config(known=JANE))
    everything = dump(bank).lower()
    for value in ("blyxt", "7946 0958", "77-12345", "zz.example"):
        assert value not in everything
        assert value.encode().hex() not in everything
    assert len(bank.rows("select * from stateward.case_value")) == 2


def test_telling_it_again_keeps_it_once(bank: Bank) -> None:
    for _ in range(3):
        start(take_notes(bank, tell=JANE), bank.config("t-1", known=JANE))
    assert len(bank.rows("select * from stateward.case_value")) == 1


@pytest.mark.parametrize(
    "forged",
    [
        "update stateward.case_value set body = 'plain'",
        "update stateward.case_value set thread_id = 't-2'",
        "update stateward.case_value set body = (select body from stateward.checkpoint limit 1)",
    ],
)
def test_a_forged_row_is_refused_and_nothing_is_written(bank: Bank, forged: str) -> None:
    bank.config("t-1", known=JANE)
    bank.config("t-2", known={"PERSON": "Somebody Else"})
    start(bank.graph(), bank.config("t-2"))
    bank.rows(forged)
    with pytest.raises(SealBroken):
        start(take_notes(bank), bank.config("t-2"))
    assert kept(bank) == []


def test_what_is_deleted_needs_nobody_known(bank: Bank) -> None:
    """A case file that cannot be read refuses what is written, and not what is forgotten."""

    async def forget(state, step):
        assert await step.forget("note", "n1")

    start(take_notes(bank), bank.config("t-1", known=JANE))
    bank.rows("update stateward.case_value set body = 'plain'")
    start(bank.graph(prepare=lambda flow: flow.retrieve(forget)), bank.config("t-1"))
    assert kept(bank) == []


def test_an_erased_thread_knows_nobody(bank: Bank) -> None:
    bank.config("t-1", known=JANE)
    bank.runtime.checkpointer.delete_thread("t-1")
    assert bank.rows("select * from stateward.case_value") == []
    with pytest.raises(ThreadErased):
        bank.config("t-1", known=JANE)
    assert bank.rows("select * from stateward.case_value") == []


def test_what_is_no_value_is_refused_before_the_thread_is_opened(bank: Bank) -> None:
    with pytest.raises(ConfigurationError, match="no entity type"):
        bank.config("t-1", known={"name": "Will"})
    assert bank.runtime.threads() == []
