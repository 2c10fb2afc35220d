"""The vault's contract: one number for a value of a subject, whoever asks at once, and no value for another one."""

from __future__ import annotations

import asyncio

from stateward.errors import RedactionFailed
from stateward.model.memory import KnownValue, Scope
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import facts, scope

JANE, JOHN = KnownValue(entity="PERSON", value="Zoë  Doe"), KnownValue(entity="PERSON", value="John Doe")
PHONE = KnownValue(entity="PHONE_NUMBER", value="+1 212 555 0187")


async def _opened(adapters: Adapters, *threads: tuple[str, str, str]) -> list[Scope]:
    for thread, subject, tenant in threads:
        await adapters.threads.open(facts(thread, subject=subject, tenant=tenant))
    return [scope(thread, subject=subject, tenant=tenant) for thread, subject, tenant in threads]


async def counts_the_values_of_each_entity_type(adapters: Adapters) -> None:
    """From 1, in the order in which they come, each once."""
    (mine,) = await _opened(adapters, ("t1", "customer:17", "default"))
    assert await adapters.vault.issue(mine, []) == []
    assert await adapters.vault.issue(mine, [JANE, PHONE, JOHN, JANE]) == [1, 1, 2, 1]
    assert await adapters.vault.issue(mine, [JOHN, PHONE]) == [2, 1]
    found = await adapters.vault.reveal(mine)
    assert [(one.token, one.value) for one in found.values()] == [
        ("<PERSON_1>", JANE.value),
        ("<PERSON_2>", JOHN.value),
        ("<PHONE_NUMBER_1>", PHONE.value),
    ]


async def knows_a_value_however_it_is_written(adapters: Adapters) -> None:
    """Case, spaces, the accents of a name, and what stands between digits do not make another one."""
    (mine,) = await _opened(adapters, ("t1", "customer:17", "default"))
    said = [
        ("PERSON", "Zoë Doe", "ZOE DOE", "doe, zoë", "Zoe\n Doe"),
        ("PHONE_NUMBER", "+1 212 555 0187", "1-212-555-0187", "1 (212) 5550187"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("EMAIL_ADDRESS", "jo@example.com", "Jo@Example.COM"),
    ]
    for entity, *values in said:
        numbers = await adapters.vault.issue(mine, [KnownValue(entity=entity, value=value) for value in values])
        assert set(numbers) == {1}, entity


async def reveals_only_what_was_issued_for_the_subject(adapters: Adapters) -> None:
    """Another subject, and another tenant's subject of the same name, has values and numbers of its own."""
    mine, other, elsewhere = await _opened(
        adapters, ("t1", "customer:17", "default"), ("t2", "customer:18", "default"), ("t3", "customer:17", "other")
    )
    await adapters.vault.issue(mine, [JANE, JOHN])
    assert await adapters.vault.issue(other, [JOHN]) == [1]
    assert await adapters.vault.reveal(elsewhere) == {}
    found = await adapters.vault.reveal(other, [("PERSON", 1), ("PERSON", 2), ("PHONE_NUMBER", 1)])
    assert {key: one.value for key, one in found.items()} == {("PERSON", 1): JOHN.value}
    assert await adapters.vault.reveal(mine, []) == {}


async def issues_nothing_for_nobody(adapters: Adapters) -> None:
    """Unrelated cases share such a subject, and one of them would open what was issued in another."""
    for at, subject in enumerate(("none", " None ", "", " ")):
        (mine,) = await _opened(adapters, (f"t{at}", subject, "default"))
        assert await adapters.vault.issue(mine, []) == []
        (refused,) = await asyncio.gather(adapters.vault.issue(mine, [JANE]), return_exceptions=True)
        assert isinstance(refused, RedactionFailed), f"a value was kept for {subject!r}"
        assert JANE.value not in str(refused)
        assert await adapters.vault.reveal(mine) == {}


async def gives_one_number_to_whoever_asks_at_once(adapters: Adapters) -> None:
    """Whoever is slower has the number of whoever was first, and none is left out or doubled."""
    (mine,) = await _opened(adapters, ("t1", "customer:17", "default"))
    people = [KnownValue(entity="PERSON", value=f"Person {letter}") for letter in "abcdefgh"]
    orders = [people[at:] + people[:at] for at in range(len(people))]
    found = await asyncio.gather(*(adapters.vault.issue(mine, order) for order in orders))
    numbers = [
        dict(zip((one.value for one in order), said, strict=True)) for order, said in zip(orders, found, strict=True)
    ]
    assert all(one == numbers[0] for one in numbers)
    assert sorted(numbers[0].values()) == list(range(1, len(people) + 1))


CHECKS: tuple[Check, ...] = (
    counts_the_values_of_each_entity_type,
    knows_a_value_however_it_is_written,
    reveals_only_what_was_issued_for_the_subject,
    issues_nothing_for_nobody,
    gives_one_number_to_whoever_asks_at_once,
)
