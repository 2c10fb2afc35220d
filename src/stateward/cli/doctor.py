"""What is running where, which versions, and what is missing. It looks only: nothing is started or migrated."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.adapters.embedded import EmbeddedServer
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.desk import PostgresDesk
from stateward.adapters.postgres.importing import left_behind
from stateward.adapters.postgres.ledger import PostgresLedger
from stateward.adapters.postgres.policies import PostgresPolicies
from stateward.adapters.postgres.statements import migrations, statements
from stateward.adapters.postgres.threads import PostgresThreads
from stateward.adapters.rings import RingFacts
from stateward.cli import shapes
from stateward.cli.exits import DONE, FAILED
from stateward.cli.keys import master_keys, ring_of
from stateward.cli.render import counted
from stateward.errors import DatabaseError, EmbeddedServerError, StatewardError
from stateward.personal_data.treating import DEFAULT_ENTITIES
from stateward.runtime import embedded_root
from stateward.settings import Settings

Health = Literal["ok", "warn", "fail"]
_MARKS = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}
_MODELS = {"langchain-openai": "openai", "langchain-aws": "aws"}
_NAMES_FIX = "python -m spacy download en_core_web_lg && export STATEWARD_NER_MODEL=en_core_web_lg"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        status: `ok`, `warn` (works, with less than there could be) or `fail`.
        found: What was found.
        fix: What to do about it, where it is not ok.
    """

    name: str
    status: Health
    found: str
    fix: str = ""


def doctor(*, as_json: bool) -> int:
    """Look at everything, and tell it."""
    checks = list(_checks())
    healthy = all(check.status != "fail" for check in checks)
    if as_json:
        shapes.emit({"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        Console().print(_table(checks), highlight=False)
    return DONE if healthy else FAILED


def _checks() -> Iterator[Check]:
    yield Check(name="versions", status="ok", found=_versions())
    yield _models()
    try:
        settings = Settings.from_environment()
    except StatewardError as error:
        yield Check(name="settings", status="fail", found=error.message, fix="correct the variable")
        return
    yield from _postgres(settings)
    yield _master_key(settings)
    yield _personal_data(settings)
    yield _development(settings)


def _versions() -> str:
    names = ("stateward", "langgraph", "langchain-core", "langgraph-checkpoint-postgres")
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _models() -> Check:
    found = [f"{name} {_version(name)}" if _version(name) else f"{name} is not installed" for name in _MODELS]
    missing = [extra for name, extra in _MODELS.items() if not _version(name)]
    # Playbooks need neither, so nothing is wrong without them.
    fix = f"for --model: pip install 'stateward[{','.join(missing)}]'" if missing else ""
    return Check(name="models", status="ok", found=", ".join(found), fix=fix)


def _postgres(settings: Settings) -> Iterator[Check]:
    uri = settings.database_url
    if uri:
        yield Check(name="postgres", status="ok", found=f"DATABASE_URL: {place(uri)}")
    else:
        embedded, uri = _embedded(settings)
        yield embedded
    if uri:
        yield from asyncio.run(_look(uri, settings))


def reachable(settings: Settings) -> str:
    """Where the database is, as far as it is known without starting one; empty where it is not."""
    return settings.database_url or _embedded(settings)[1]


def _embedded(settings: Settings) -> tuple[Check, str]:
    try:
        status = EmbeddedServer(embedded_root(settings)).status()
    except StatewardError as error:
        return Check(name="postgres", status="fail", found=error.message, fix="set STATEWARD_HOME"), ""
    where = f"embedded {status.version or '(no binaries)'} in {status.root}"
    if status.version is None:
        fix = "set DATABASE_URL to a PostgreSQL of your own"
        return Check(name="postgres", status="fail", found=where, fix=fix), ""
    if not status.running:
        return Check(name="postgres", status="ok", found=f"{where}, not running: the next command starts it"), ""
    return Check(name="postgres", status="ok", found=f"{where}, running as process {status.pid}"), status.uri or ""


async def _look(uri: str, settings: Settings) -> list[Check]:
    database = Database(uri, size=2, direct=settings.direct_url if settings.database_url else "")
    try:
        await database.open()
    except (DatabaseError, EmbeddedServerError) as error:
        # The message of a refused login may repeat the address.
        return [Check(name="connection", status="fail", found=_hidden(error.message, uri), fix="check DATABASE_URL")]
    try:
        about = await database.about()
        return [_server(about), _credentials(about), *await _contents(database, settings)]
    finally:
        await database.close()


def _server(about: Any) -> Check:
    found = f"PostgreSQL {about['version']}, database {about['database']} as {about['user']}, {about['address']}"
    old = int(re.split(r"\D", about["version"])[0]) < 14
    return Check(
        name="connection",
        status="fail" if old else "ok",
        found=found,
        fix="use PostgreSQL 14+" if old else "",
    )


def _credentials(about: Any) -> Check:
    if about["may_create_roles"]:
        return Check(name="credentials", status="ok", found=f"{about['user']} may mint a login for each call")
    return Check(
        name="credentials",
        status="warn",
        found=f"{about['user']} may not create roles: tools with an identity cannot run",
        fix=f'ALTER ROLE "{about["user"]}" CREATEROLE',
    )


async def _contents(database: Database, settings: Settings) -> list[Check]:
    try:
        done = {row["name"]: row["checksum"] for row in await database.all(statements("database")["migrations"])}
    except Exception:  # only the adapters know psycopg's errors; without the table there is nothing to tell
        found = "there is none yet: the next command creates it"
        return [Check(name="schema", status="ok", found=found)]
    schema = _schema(done)
    if schema.status == "fail":
        return [schema]
    checks = [schema, await _work(database), *await _left_behind(database), await _audit(database)]
    # The tables of data keys and policies are younger than the first schema.
    if schema.status != "ok":
        return checks
    return [*checks, await _policies(database), await _data_keys(database, settings)]


def _schema(done: dict[str, str]) -> Check:
    ours = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in migrations()}
    other = [name for name, checksum in ours.items() if name in done and done[name] != checksum]
    waiting = [name for name in ours if name not in done]
    if other:
        fix = "run the version of Stateward that made it, or restore the migration"
        return Check(name="schema", status="fail", found=f"of another version: {', '.join(other)}", fix=fix)
    if waiting:
        fix = "any other command runs them"
        return Check(name="schema", status="warn", found=f"not up to date: {', '.join(waiting)}", fix=fix)
    return Check(name="schema", status="ok", found=f"up to date, {len(done)} migrations")


async def _work(database: Database) -> Check:
    threads = await PostgresThreads(database, Commits(database)).list()
    pending = await PostgresDesk(database, Commits(database)).waiting()
    unfinished = [one for one in threads if one.status in ("open", "waiting")]
    waiting = counted(pending, "approval")
    found = f"{counted(len(threads), 'thread')}, {len(unfinished)} unfinished, {waiting} pending"
    return Check(name="work", status="ok", found=found, fix="stateward inbox" if pending else "")


async def _left_behind(database: Database) -> list[Check]:
    threads = await left_behind(database)
    found = f"in clear in LangGraph's own tables, where release 0.1.0 kept them: {counted(threads, 'thread')}"
    return [Check(name="0.1.0", status="warn", found=found, fix="stateward threads import")] if threads else []


async def _audit(database: Database) -> Check:
    report = await PostgresLedger(database, Commits(database)).verify()
    found = f"{counted(report.entries, 'entry', 'entries')} in {counted(report.threads, 'thread')}"
    if report.intact:
        return Check(name="audit", status="ok", found=f"{found}: intact")
    fix = "stateward audit verify, and compare with an export"
    return Check(name="audit", status="fail", found=f"{found}: {counted(len(report.breaks), 'break')}", fix=fix)


async def _policies(database: Database) -> Check:
    twice = await PostgresPolicies(database).same_names()
    if not twice:
        return Check(name="policies", status="ok", found="each name and version has judged as one policy only")
    found = "; ".join(f"{name} is {', '.join(one[:12] for one in digests)}" for name, digests in twice.items())
    fix = "give a change of the rules a new version; the trail has the digests"
    return Check(name="policies", status="warn", found=f"one name and version, different rules: {found}", fix=fix)


async def _data_keys(database: Database, settings: Settings) -> Check:
    try:
        ring = await ring_of(settings)
        facts = await ring.facts()
    except StatewardError:
        return Check(name="data keys", status="warn", found="not looked at without a master key", fix="see below")
    masters = master_keys(facts, await DataKeys(database, ring).count())
    total, old = sum(one.data_keys for one in masters), sum(one.data_keys for one in masters if one.status == "held")
    lost = [f"{one.data_keys} of {one.master or 'no'} master key" for one in masters if not one.opens]
    if lost:
        found = f"{total} for threads, and NOT to be unwrapped: {', '.join(lost)}"
        return Check(name="data keys", status="fail", found=found, fix="stateward keys, and restore the master key")
    found = f"{total} for threads, {old} of them under an older master key"
    return Check(name="data keys", status="ok", found=found, fix="stateward keys rotate" if old else "")


def _master_key(settings: Settings) -> Check:
    try:
        facts = asyncio.run(_facts(settings))
    except StatewardError as error:
        fix = "correct it as said; nothing that is sealed can be read before"
        return Check(name="master key", status="fail", found=error.message, fix=fix)
    if facts.current is None:
        return Check(name="master key", status="ok", found=f"none yet in {facts.where}: the first run makes it")
    older = f", and {len(facts.keys) - 1} older" if len(facts.keys) > 1 else ""
    found = f"{facts.current}{older}, in {facts.where}"
    return Check(name="master key", status="ok", found=found, fix="" if facts.kind == "kms" else "keep a backup of it")


async def _facts(settings: Settings) -> RingFacts:
    return await (await ring_of(settings)).facts()


def _personal_data(settings: Settings) -> Check:
    try:
        redactor = PresidioRedactor(ner_model=settings.ner_model or None)
        coverage = asyncio.run(redactor.prove(DEFAULT_ENTITIES))
    except StatewardError as error:
        return Check(name="personal data", status="fail", found=error.message, fix=_NAMES_FIX)
    # It is refused above where one of them cannot be found at all.
    found = f"{coverage.engine}: {len(coverage.covered)} kinds are found"
    if not coverage.partial:
        return Check(name="personal data", status="ok", found=found)
    found = f"{found}; in part, by rules and lists: {', '.join(coverage.partial)}"
    return Check(name="personal data", status="warn", found=found, fix=_NAMES_FIX)


def _development(settings: Settings) -> Check:
    if not settings.development:
        return Check(name="development", status="ok", found="off: only verified people decide")
    found = "on: an answer without a verified person counts"
    return Check(name="development", status="warn", found=found, fix="unset STATEWARD_DEVELOPMENT, except on a laptop")


def place(uri: str) -> str:
    """Where a connection string points, without its password."""
    if "://" not in uri:
        named = dict(re.findall(r"(host|port|dbname|user)\s*=\s*('[^']*'|\S+)", uri))
        return " ".join(f"{name}={value}" for name, value in named.items()) or "libpq's defaults"
    parts = urlsplit(uri)
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{user}{parts.hostname or 'local socket'}{port}{parts.path}"


def _hidden(message: str, uri: str) -> str:
    password = urlsplit(uri).password if "://" in uri else None
    return message.replace(password, "***") if password else message


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in checks:
        found = Text(check.found)
        if check.fix:
            found.append(f"\n→ {check.fix}", style="bold" if check.status != "ok" else "dim")
        table.add_row(_MARKS[check.status], Text(check.name, style="cyan"), found)
    return table
