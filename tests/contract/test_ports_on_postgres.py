"""The contract of every port, over the Postgres adapter."""

from __future__ import annotations

import pytest

from stateward import AsyncRuntime
from stateward.testing.contracts import (
    Adapters,
    Check,
    case_file,
    desk,
    journal,
    ledger,
    memory,
    named,
    overview,
    policies,
    provenance,
    threads,
    vault,
)

PORTS = [threads, journal, desk, ledger, memory, provenance, case_file, overview, policies, vault]
ALL: list[Check] = [check for port in PORTS for check in port.CHECKS]


@pytest.fixture
def adapters(async_runtime: AsyncRuntime) -> Adapters:
    services = async_runtime.services
    return Adapters(
        threads=services.threads,
        journal=services.journal,
        desk=services.desk,
        ledger=services.ledger,
        memory=services.memory,
        provenance=services.provenance,
        case_file=services.case_file,
        overview=services.overview,
        policies=services.policies,
        vault=services.vault,
    )


@pytest.mark.parametrize("check", ALL, ids=named)
async def test_the_adapter_keeps_the_contract(check: Check, adapters: Adapters) -> None:
    await check(adapters)


@pytest.mark.parametrize(
    "check",
    [
        memory.counts_each_change_of_a_key_in_a_batch,
        memory.numbers_each_item_of_a_batch_by_itself,
        memory.makes_the_changes_of_a_key_in_their_order,
    ],
    ids=named,
)
async def test_memory_does_so_in_whatever_order_rows_come_back(
    check: Check, adapters: Adapters, async_runtime: AsyncRuntime
) -> None:
    """Postgres promises none for what an insert returns; here it is that of the changes turned round."""
    found = await async_runtime.database.one(
        b"select pg_get_functiondef('stateward.add_items(jsonb, text[])'::regprocedure) as text"
    )
    assert found is not None
    assert found["text"].count("from given g order by g.at\n") == 1
    turned = found["text"].replace("order by g.at\n", "order by g.at desc\n")
    await async_runtime.apply([("turned", turned)])
    await check(adapters)


@pytest.mark.parametrize("module", PORTS)
def test_no_check_is_forgotten(module) -> None:
    written = {name for name in vars(module) if getattr(vars(module)[name], "__module__", "") == module.__name__}
    checks = {name for name in written if not name.startswith("_") and callable(vars(module)[name])}
    assert checks == {check.__name__ for check in module.CHECKS}
