"""P8 and P9, measured: 500 planted values of 20 entity types go through runs with crashes, and none is found in clear.

Searched are a whole `pg_dump`, with its binary values decoded, by table and column; all logs of every level; whatever
the processes print; and OpenTelemetry's spans, with all that an exporter gets of them. What tracers and LangSmith are
given is searched in `test_p08_traces`, more of spans in `test_p08_spans`. After `forget`,
every envelope that is left, and every one that was copied before, is decrypted with every key that the ring still
unwraps, whatever it was bound to.
"""

from __future__ import annotations

import base64
import json
import random
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from canaries import LONG, RUNS, Canary, planted
from canary_worker import DEADLY
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from test_p09_forgetting import dumped

from stateward import Principal, Runtime, Settings
from stateward.adapters.postgres.data_keys import KeyTable
from stateward.orchestrate.loops import blocking
from stateward.testing.databases import Databases

pytestmark = pytest.mark.slow
WORKER = Path(__file__).with_name("canary_worker.py")
DPO = Principal("dpo")
HEAD, NONCE, TAG = 3, 12, 16  # of an envelope


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What was left of the runs.

    Attributes:
        printed: Standard output and error of all workers, and the log of everything.
        spans: What OpenTelemetry has exported.
        deaths: How often one was killed.
    """

    url: str
    settings: Settings
    runs: Sequence[Mapping[str, Canary]]
    printed: str
    spans: str
    deaths: int
    seed: int

    @property
    def values(self) -> list[str]:
        """All that was planted."""
        return [one.value for run in self.runs for one in run.values()]


@pytest.fixture(scope="module")
def done(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    with ran(databases, tmp_path_factory.mktemp("canaries"), way="workflow", kills=len(DEADLY)) as found:
        yield found


@contextmanager
def ran(databases: Databases, folder: Path, *, way: str, kills: int, count: int = RUNS) -> Iterator[Planted]:
    """So many runs of a way in, in workers of which so many are killed."""
    seed = random.randrange(10**6)
    with databases.fresh() as url:
        settings = Settings(home=folder / "home", database_url=url)
        job = {"url": url, "home": str(settings.home), "folder": str(folder), "seed": seed, "way": way}
        printed, deaths = "", 0
        for _ in range(kills + 1):
            worker = subprocess.run(
                [sys.executable, str(WORKER), json.dumps(job)], capture_output=True, text=True, timeout=300, check=False
            )
            printed += worker.stdout + worker.stderr
            deaths += worker.returncode == -signal.SIGKILL
            assert worker.returncode in (0, -signal.SIGKILL), f"seed {seed}: {worker.stderr[-3000:]}"
        printed += (folder / "everything.log").read_text(encoding="utf-8")
        spans = (folder / "spans.log").read_text(encoding="utf-8")
        runs = planted(seed, count)
        yield Planted(url=url, settings=settings, runs=runs, printed=printed, spans=spans, deaths=deaths, seed=seed)


def columns(dump: str) -> dict[str, str]:
    """Each column of a dump in plain text, with its binary values decoded and beside them as they stand."""
    found: dict[str, list[str]] = defaultdict(list)
    names: list[str] | None = None
    for line in dump.splitlines():
        copied = re.match(r"COPY (?:stateward\.)?(\S+) \((.*)\) FROM stdin;", line)
        if copied:
            names = [f"{copied[1]}.{name}" for name in re.findall(r"\w+", copied[2])]
        elif line == "\\.":
            names = None
        elif names is not None:
            for name, cell in zip(names, line.split("\t"), strict=True):
                found[name] += [cell, *(decoded(one).decode("latin-1") for one in binary(cell))]
        else:
            found["(no row)"].append(line)
    return {name: "\n".join(cells) for name, cells in found.items()}


def binary(cell: str) -> list[str]:
    return re.findall(r"\\+x([0-9a-f]+)", cell)


def decoded(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal[: len(hexadecimal) // 2 * 2])


def forms(value: str) -> list[str]:
    """A value as it may stand: as it is, as bytes, as a number, escaped, in hexadecimal, in base64."""
    raw, escaped = value.encode(), json.dumps(value)[1:-1]
    shifted = [base64.b64encode(b"\0" * at + raw)[at + 1 : -4].decode() for at in range(3)]  # wherever it begins
    plain = [value, raw.decode("latin-1"), escaped, escaped.replace("\\", "\\\\"), raw.hex()]
    digits = "".join(one for one in value if one.isdigit())
    return list(dict.fromkeys([*plain, *shifted, *([digits] if len(digits) in LONG else [])]))


def search(texts: Mapping[str, str], values: Iterable[str]) -> dict[str, set[str]]:
    """Which values stand where."""
    found: dict[str, set[str]] = defaultdict(set)
    for value in values:
        for form in forms(value):
            for name, text in texts.items():
                if form in text:
                    found[name].add(value)
    return dict(found)


def envelopes(dump: str) -> list[bytes]:
    """Every binary value of a dump that is long enough to be one."""
    return [one for one in map(decoded, binary(dump)) if len(one) > HEAD + NONCE + TAG]


def keys_of(runtime: Runtime) -> list[bytes]:
    """Every data key that the ring can unwrap, of threads, tenants and subjects."""

    async def unwrapped(table: KeyTable) -> list[bytes]:
        rows = await table.first(10_000)
        return [await table._ring.unwrap(row["wrapped"], context=table._context(table._owner(row))) for row in rows]

    async def both() -> list[bytes]:
        return [*await unwrapped(runtime.inner.keys), *await unwrapped(runtime.inner.keys.subjects)]

    return blocking(runtime.services.loop, both())


def opened(sealed: Iterable[bytes], keys: Sequence[bytes]) -> str:
    """What every key makes of every envelope. GCM encrypts in counter mode: without its tag, no place is looked at."""
    made: list[str] = []
    for one in sealed:
        for key in keys:
            counter = one[HEAD : HEAD + NONCE] + b"\0\0\0\2"
            made.append(
                Cipher(algorithms.AES(key), modes.CTR(counter))
                .decryptor()
                .update(one[HEAD + NONCE :])
                .decode("latin-1")
            )
    return "\n".join(made)


def assert_forgotten(runtime: Runtime, done: Planted, copied: Sequence[bytes]) -> None:
    """Forget all subjects; then nothing is recovered from what is left, or from envelopes that were copied before."""
    for at in range(len(done.runs)):
        runtime.forget(f"customer:{at}", by=DPO)
    dump, keys = dumped(done.url), keys_of(runtime)
    assert keys  # of the tenant's own desk, whose receipts they seal
    left = columns(dump) | {"(opened)": opened([*envelopes(dump), *copied], keys)}
    assert search(left, done.values) == {}, f"seed {done.seed}"
    assert runtime.verify_audit().intact


def test_they_are_500_of_20_types_and_each_type_comes_to_each_place() -> None:
    runs = planted(1)
    assert len({one.value for run in runs for one in run.values()}) == 500
    assert len({(place, one.entity) for run in runs for place, one in run.items()}) == 20 * 20
    assert planted(1) == runs != planted(2)


def test_the_search_finds_each_of_them_however_it_is_kept(databases: Databases) -> None:
    values = [one.value for run in planted(3) for one in run.values()]
    with databases.empty() as url:
        with psycopg.connect(url) as connection:
            connection.execute("create table clear (a text, b jsonb, c bytea, d text, e text, f bytea[])")
            for value in values:
                kept = (value, json.dumps({value: [value]}), f"x{value}".encode(), value.encode().hex())
                shown = base64.b64encode(f"{'a' * random.randrange(3)}{value}zz".encode()).decode()
                connection.execute(
                    "insert into clear values (%s, %s, %s, %s, %s, %s)", (*kept, shown, [value.encode()])
                )
        found = search(columns(dumped(url)), values)
    assert {name: len(seen) for name, seen in found.items()} == {f"public.clear.{name}": 500 for name in "abcdef"}


def test_none_is_in_clear(done: Planted) -> None:
    assert done.deaths == len(DEADLY)
    said = {"(printed or logged)": done.printed, "(spans)": done.spans}
    found = search(columns(dumped(done.url)) | said, done.values)
    assert found == {}, f"seed {done.seed}"
    assert len(done.printed) > 10_000  # everything was logged, in fact
    assert done.spans.count("execute_tool") > 2 * RUNS


def test_all_have_gone_through_and_are_there_for_whoever_may_read_them(done: Planted) -> None:
    with Runtime.open(settings=done.settings) as runtime:
        known = {
            at: json.dumps(runtime.export_subject(f"customer:{at}", by=DPO), ensure_ascii=False) for at in range(RUNS)
        }
    for at, run in enumerate(done.runs):
        for place, canary in run.items():
            # What is remembered was treated before; who the case is about is known.
            is_there = not place.startswith("memory") or canary.entity == "PERSON"
            assert (canary.value in known[at]) == is_there, f"seed {done.seed}: {canary} at {place}"


def test_with_the_master_key_nothing_is_recovered_after_they_are_forgotten(done: Planted) -> None:
    copied = envelopes(dumped(done.url))
    with Runtime.open(settings=done.settings) as runtime:
        before = search({"opened": opened(copied, keys_of(runtime))}, done.values)
        assert len(before["opened"]) > 300  # the attack works as long as there are keys
        assert_forgotten(runtime, done, copied)
