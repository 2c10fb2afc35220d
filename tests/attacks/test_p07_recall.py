"""P7: recall by words and by meaning, in one ranking; vectors are of treated text, and of the text beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.config import get_store

from bank import BOOKS, Bank, start
from stateward import Runtime, Settings
from stateward.errors import DatabaseError

MEANINGS = {"tea": 0, "beverage": 0, "drink": 0, "invoice": 1, "bill": 1, "car": 2, "vehicle": 2}


class Topics(Embeddings):
    """Knows three topics by a few words each, and notes what it was given."""

    def __init__(self, dims: int = 4) -> None:
        self.dims, self.seen = dims, list[str]()

    def embed_query(self, text: str) -> list[float]:
        self.seen.append(text)
        vector = [0.0] * (self.dims - 1) + [0.01]
        for word in text.lower().split():
            if word in MEANINGS:
                vector[MEANINGS[word]] += 1.0
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@pytest.fixture
def topics() -> Topics:
    return Topics()


@pytest.fixture
def bank(settings: Settings, topics: Topics) -> Iterator[Bank]:
    with Runtime.open(settings=settings, embeddings=topics) as runtime:
        runtime.apply([("books", BOOKS)])
        yield Bank(runtime=runtime, url=settings.database_url)


def within(bank: Bank, work: Any, **facts: Any) -> None:
    def prepare(flow: Any) -> None:
        flow.retrieve(work)

    start(bank.graph(prepare=prepare), bank.config(**facts))


def recalled(bank: Bank, query: str) -> list[str]:
    found: list[str] = []

    async def recall(state: Any, step: Any) -> None:
        found.extend(item.key for item in await step.recall("note", query=query))

    within(bank, recall)
    return found


async def fill(state: Any, step: Any) -> None:
    await step.remember("note", "tea", text="prefers tea")
    await step.remember("note", "bill", text="paid the invoice late")
    await step.remember("note", "car", text="sold a vehicle")
    await step.remember("note", "word", text="likes every beverage")


def test_what_means_the_same_is_found_without_a_common_word(bank: Bank) -> None:
    within(bank, fill)
    assert recalled(bank, "drink")[0] in ("tea", "word")
    assert set(recalled(bank, "drink")[:2]) == {"tea", "word"}
    assert recalled(bank, "bill")[0] == "bill"


def test_what_fits_both_ways_comes_first(bank: Bank) -> None:
    within(bank, fill)
    assert recalled(bank, "beverage")[0] == "word"
    assert recalled(bank, "tea")[0] == "tea"


def test_whoever_makes_the_vectors_sees_treated_text_only(bank: Bank, topics: Topics) -> None:
    async def plant(state: Any, step: Any) -> None:
        await step.remember("note", "n", text="tea for jo.planted@example.com", card=4111111111111111)

    within(bank, plant)
    assert topics.seen
    assert "planted" not in str(topics.seen)
    assert "4111" not in str(topics.seen)


def test_a_vector_is_never_that_of_another_text(bank: Bank, settings: Settings) -> None:
    """A process without embeddings that changes a text takes its vector away."""
    within(bank, fill)
    with Runtime.open(settings=settings) as plain:

        async def change(state: Any, step: Any) -> None:
            await step.remember("note", "tea", text="sold it all")

        graph = bank.graph(runtime=plain, prepare=lambda flow: flow.retrieve(change))
        start(graph, plain.config(bank.config()["configurable"]["thread_id"]))
    assert bank.rows("select embedding from stateward.memory where key = 'tea'") == [{"embedding": None}]
    assert recalled(bank, "drink")[0] == "word"


def test_a_model_of_other_dimensions_finds_by_words_what_the_old_one_has_embedded(
    bank: Bank, settings: Settings
) -> None:
    within(bank, fill)
    with Runtime.open(settings=settings, embeddings=Topics(dims=7)) as runtime:
        other = Bank(runtime=runtime, url=bank.url, threads=iter(range(100, 200)))
        assert recalled(other, "tea") == ["tea"]
        assert recalled(other, "drink") == []


def test_an_item_that_is_not_to_be_indexed_has_no_vector(bank: Bank) -> None:
    async def keep(state: Any, step: Any) -> None:
        await get_store().aput(("note",), "not", {"text": "tea"}, index=False)
        await get_store().aput(("note",), "some", {"text": "car", "more": ["tea"]}, index=["more[*]"])
        await get_store().aput(("note",), "empty", {"n": 5})

    within(bank, keep)
    rows = bank.rows("select key, embedding from stateward.memory order by key")
    assert [row["key"] for row in rows if row["embedding"] is None] == ["empty", "not"]
    assert rows[2]["embedding"][0] == 1.0
    assert recalled(bank, "drink") == ["some"]


def test_an_item_that_has_expired_or_is_anothers_is_not_found_by_meaning_either(bank: Bank) -> None:
    within(bank, fill)
    bank.rows("update stateward.memory set expires_at = now() where key = 'tea'")
    bank.rows("update stateward.memory set subject = 'customer:18' where key = 'word'")
    assert set(recalled(bank, "drink")) == {"bill", "car"}


def test_a_score_says_how_well_it_fits(bank: Bank) -> None:
    scores: list[Any] = []

    async def look(state: Any, step: Any) -> None:
        await fill(state, step)
        scores.extend((item.key, item.score) for item in await get_store().asearch(("note",), query="tea"))
        scores.extend((item.key, item.score) for item in await get_store().asearch(("note",), limit=1))

    within(bank, look)
    assert scores[0][0] == "tea"
    assert [one for _, one in scores[:-1]] == sorted([one for _, one in scores[:-1]], reverse=True)
    assert scores[-1][1] is None


MISSING = """
create function no_vector() returns event_trigger language plpgsql as $$
begin
    raise exception 'extension "vector" is not available' using errcode = '0A000';
end $$;
create event trigger no_vector on ddl_command_start when tag in ('CREATE EXTENSION') execute function no_vector();
"""


def test_a_database_without_pgvector_is_refused_where_embeddings_are_configured_and_only_there(
    settings: Settings, database_url: str
) -> None:
    """What the server says where it is not installed, said by a trigger."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(MISSING)
    with Runtime.open(settings=settings):
        pass
    with (
        pytest.raises(DatabaseError, match=r"has no pgvector.*not available.*create extension vector"),
        Runtime.open(settings=settings, embeddings=Topics()),
    ):
        pass
