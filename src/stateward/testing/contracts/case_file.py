"""The contract of the case file: what is known of a case's people is kept for its thread, once, and in order."""

from __future__ import annotations

from stateward.model.memory import KnownValue
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import facts

JANE = KnownValue(entity="PERSON", value="Zoë Doe")
PHONE = KnownValue(entity="PHONE_NUMBER", value="+1 212 555 0187")


async def keeps_what_is_known_for_one_thread(adapters: Adapters) -> None:
    """Each value once, oldest first, and in no other thread."""
    await adapters.threads.open(facts())
    assert await adapters.case_file.known("t1") == ()
    await adapters.case_file.add("t1", [JANE])
    await adapters.case_file.add("t1", [JANE, PHONE, PHONE])
    await adapters.case_file.add("t1", [PHONE])
    assert await adapters.case_file.known("t1") == (JANE, PHONE)
    assert await adapters.case_file.known("t2") == ()


CHECKS: tuple[Check, ...] = (keeps_what_is_known_for_one_thread,)
