"""What every implementation of a port has to do, as checks that its own tests run.

Example:
    @pytest.mark.parametrize("check", journal.CHECKS, ids=named)
    async def test_my_adapter(check: Check, adapters: Adapters) -> None:
        await check(adapters)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stateward.ports import CaseFile, Desk, Journal, Ledger, Memory, Overview, Policies, Provenance, Threads, Vault


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """The adapters of one storage, empty at the start of each check."""

    threads: Threads
    journal: Journal
    desk: Desk
    ledger: Ledger
    memory: Memory
    provenance: Provenance
    case_file: CaseFile
    overview: Overview
    policies: Policies
    vault: Vault


Check = Callable[[Adapters], Awaitable[None]]


def named(check: Check) -> str:
    """The name of a check, as a test's id."""
    return f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
