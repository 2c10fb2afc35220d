"""A database of release 0.1.0, which kept the journal in clear, is sealed when it is opened, once, and goes on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stateward import AsyncRuntime, Principal, Runtime, Settings
from stateward.adapters import embedded
from stateward.adapters.postgres import clear
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.statements import migrations, statements
from stateward.model.approval import Approval
from stateward.testing.contracts.samples import facts, past
from stateward.testing.databases import Databases

SQL = statements("database")
MANY = 1203  # more than is sealed at once
OLD = f"""
insert into stateward.thread (thread_id, tenant, principal, roles, requester, purpose, subject, graph, graph_version)
select 't' || n, 'default', 'bot', '{{}}', 'ann', 'bank', 'customer:17', 'bank', '1' from generate_series(1, 3) as n;
insert into stateward.action (action_id, thread_id, tenant, turn, position, call_id, tool, tool_digest, arguments,
    arguments_digest, effect, idempotent, policy, policy_digest, verdict, reasons, status, response)
select 'a' || n, 't' || 1 + n % 3, 'default', 'turn', n, 'c' || n, 'pay', 'd',
       jsonb_build_object('amount', 1, 'phone', 4711, 'to', 'Zq-argument-' || n), '', 'write', false,
       'bank@1', '', 'ask',
       '[{{"rule": "pay", "because": "Zq-reason"}}]',
       case n when 2 then 'asked' when 3 then 'responded' else 'consumed' end,
       case n when 3 then 'Zq-response' else '' end
  from generate_series(1, {MANY}) as n;
insert into stateward.effect (action_id, thread_id, tenant, tool, key, status, worker, arguments, result, error)
select action_id, thread_id, tenant, tool, 'sw-' || action_id, case position when 5 then 'failed' else 'settled' end, 1,
       arguments, case when position <> 5 then '{{"done": "Zq-result"}}'::jsonb end,
       case position when 5 then 'Zq-error' else '' end
  from stateward.action where position > 3;
insert into stateward.approval (approval_id, tenant, thread_id, action_id, turn, kind, tool, arguments, description,
    requirements, allowed, digest, requester, subject, expires_at, status)
select 'A-' || position, tenant, thread_id, action_id, turn, 'action', tool,
       '{{"to": "Zq-asked", "amount": 1}}', 'Zq-description',
       '[{{"by": ["boss"], "of": 1, "not": [], "within": 172800, "rule": "pay", "because": "Zq-because"}}]',
       '{{approve,edit,reject,respond}}', 'd', 'ann', 'customer:17', now() + interval '1 day',
       case position when 2 then 'pending' else 'responded' end
  from stateward.action where position in (2, 3);
insert into stateward.signature (approval_id, principal, roles, verified_by, decision, reason, arguments)
values ('A-3', 'boss', '{{}}', 'cli', 'respond', 'Zq-said', '{{"to": "Zq-edited"}}');
"""
PLANTED = ("argument", "reason", "response", "result", "error", "asked", "description", "because", "said", "edited")


@pytest.fixture
def old(databases: Databases) -> Iterator[str]:
    """A database as release 0.1.0 left it."""
    [(name, text), *_] = migrations()
    with databases.empty() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SQL["create_schema"])
            connection.execute(SQL["create_migrations"])
            connection.execute(text.encode())
            checksum = hashlib.sha256(text.encode()).hexdigest()
            connection.execute(SQL["note_migration"], {"name": name, "checksum": checksum})
            connection.execute(OLD.encode())
        yield url


def planted(url: str) -> set[str]:
    """What of it stands in clear in a dump, in hex as well."""
    dump = subprocess.run(
        [str(embedded._find_tools().bin_dir / "pg_dump"), "--dbname", url], capture_output=True, check=True, timeout=120
    ).stdout
    return {one for one in PLANTED if b"Zq-" + one.encode() in dump or (b"Zq-" + one.encode()).hex().encode() in dump}


def test_it_is_sealed_once_and_everything_in_it_is_read_as_it_was(old: str, tmp_path: Path) -> None:
    assert planted(old) == set(PLANTED)
    settings = Settings(home=tmp_path, database_url=old)
    with Runtime.open(settings=settings) as runtime:
        assert planted(old) == set()
        told = runtime.export_subject("customer:17", by=Principal("dpo"))
        rows = runtime._wait(runtime.services.overview.actions(thread="t1", limit=1))
        assert rows[0][0].reasons == (("pay", "Zq-reason"),)
        (asked,) = runtime.approvals()
        assert as_it_was(asked)
        assert runtime.decide(asked, "approve", by=Principal("boss")).status == "approved"
    said = json.dumps(told, default=str)
    assert {one for one in PLANTED if f"Zq-{one}" in said} == set(PLANTED) - {"reason", "because"}
    assert all(f'"Zq-argument-{at}"' in said for at in range(1, MANY + 1))
    with Runtime.open(settings=settings) as runtime:
        assert runtime.approvals() == []
        assert runtime.verify_audit().intact


def as_it_was(asked: Approval) -> bool:
    (requirement,) = asked.requirements
    return (list(asked.arguments.items()), asked.description, requirement.reason.because) == (
        [("to", "Zq-asked"), ("amount", 1)],
        "Zq-description",
        "Zq-because",
    )


async def test_limits_count_what_was_done_before(old: str, tmp_path: Path) -> None:
    async with AsyncRuntime.connect(settings=Settings(home=tmp_path, database_url=old)) as runtime:
        found = await runtime.services.journal.history(facts("t1"), past())
        assert found[past().queries[1]] == MANY - 3 - 1 + 1  # settled ones, and the one that waits
        rows = await runtime.database.all(b"select amounts from stateward.action where action_id = 'a7'")
        assert rows[0]["amounts"] == {"amount": 1, "phone": None, "to": None}


async def test_without_the_key_ring_nothing_is_sealed_and_nothing_is_lost(old: str, tmp_path: Path) -> None:
    database = Database(old)
    with pytest.raises(psycopg.Error, match="is not sealed yet"):
        await database.migrate()
    assert await asyncio.to_thread(planted, old) == set(PLANTED)
    async with AsyncRuntime.connect(settings=Settings(home=tmp_path, database_url=old)):
        assert await asyncio.to_thread(planted, old) == set()


async def test_cut_off_it_is_done_again_from_the_beginning(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(row: Any) -> Any:
        raise KeyboardInterrupt

    settings = Settings(home=tmp_path, database_url=old)
    with monkeypatch.context() as patched:
        patched.setattr(clear, "_TABLES", (*clear._TABLES[:2], ("approvals", "seal_approval", dies)))
        with pytest.raises(KeyboardInterrupt):
            async with AsyncRuntime.connect(settings=settings):
                pass
    assert await asyncio.to_thread(planted, old) == set(PLANTED)
    async with AsyncRuntime.connect(settings=settings) as runtime:
        assert len(await runtime.services.desk.list(status=None)) == 2
    assert await asyncio.to_thread(planted, old) == set()
