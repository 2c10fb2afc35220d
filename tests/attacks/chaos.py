"""Kills workers at random points, over and over, and counts at the other side what was doubled and what was lost.

`python tests/attacks/chaos.py --kills 1000` does it on a server of its own and prints what the kills hit. See
`chaos_worker.py` for the work: turns of calls that run at once, half of them harmless to repeat, some transactional.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg
from chaos_worker import AS_EDITED, EDITED, GIVES_WAY, REJECTED, OtherSide, name_of, plain_script, script
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row

from bank import BOOKS
from opening import opened
from stateward import Runtime, Settings
from stateward.adapters.embedded import EmbeddedServer
from stateward.testing.databases import Databases

WORKER = Path(__file__).with_name("chaos_worker.py")
# A kill comes at random after a mark that a worker leaves: its start, that it is ready, its first effect, its second...
# so that a slow machine is killed at the same points as a fast one.
MARKS = (0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8)
WITHIN = 0.2  # seconds after the mark
LIVES = 0.1  # how many of the workers live where there are two
KILLS_A_THREAD = 12  # after that it is left in peace
ROUNDS = 100
DEFECTS = 5  # after so many a lane gives up

GONE = "select count(*) from pg_stat_activity where application_name = any(%s)"
LOST_PAYMENTS = (
    "select action_id, attempt from stateward.effect where thread_id = %s and status = 'reserved' and tool = 'pay'"
)
EFFECTS = "select * from stateward.effect where thread_id = %s"
ENTRIES = "select key, amount::float8 as amount from books.entry where key = any(%s)"
OUTCOMES = """
select a.action_id, count(*) as asked, count(*) filter (where a.status = 'edited') as retried,
       count(*) filter (where a.status = 'approved') as found
  from stateward.approval a where a.thread_id = %s and a.kind = 'outcome' group by a.action_id
"""
SETTLED_TWICE = """
select action_id from stateward.ledger where thread_id = %s and kind = 'effect.settled'
 group by action_id having count(*) > 1
"""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How a thread is worked on.

    Attributes:
        way: `workflow`, `agent` or `plain`.
        sync: Whether blocking code does it.
        workers: How many at once.
    """

    way: str
    sync: bool
    workers: int

    def __str__(self) -> str:
        return f"{self.way} {'sync' if self.sync else 'async'} {self.workers}"


GOVERNED = [Mode(way=w, sync=s, workers=n) for n in (1, 2) for s in (False, True) for w in ("workflow", "agent")]
PLAIN = [Mode(way="plain", sync=sync, workers=1) for sync in (False, True)]


@dataclass
class Tally:
    """What the kills hit, and what came of it.

    Attributes:
        threads: Brought to their answer.
        kills: Workers that were killed.
        between: Kills that hit between an effect and its settlement.
        in_transaction: Kills that hit within a transaction of a tool.
        restarted: Attempts after the first: same key, or somebody knew that it had not happened.
        unknown: Attempts of which only the other side knows whether they happened.
        asked: Questions to a person about one of those.
        done: Of these, the ones where it had happened.
        found: Effects of which the tool's own probe said that they had happened.
        repeats: Calls with a key that the other side of an idempotent tool knew, and ignored.
        met: Times that a worker was refused because another one was at the thread.
        doubled: Effects that happened more than once.
        lost: Effects that did not happen and should have.
        forbidden: Effects that happened and should not have.
    """

    threads: int = 0
    kills: int = 0
    between: int = 0
    in_transaction: int = 0
    restarted: int = 0
    unknown: int = 0
    asked: int = 0
    done: int = 0
    found: int = 0
    repeats: int = 0
    met: int = 0
    doubled: int = 0
    lost: int = 0
    forbidden: int = 0

    def add(self, other: Tally) -> None:
        """Add another's numbers."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def __str__(self) -> str:
        return ", ".join(f"{one.name} {getattr(self, one.name)}" for one in fields(self))


class Defect(AssertionError):
    """What must not happen has happened."""


@dataclass
class Zygote:
    """A process that has imported everything, and forks workers."""

    process: subprocess.Popen[str]
    errors: Path

    def run(self, job: dict[str, Any], workers: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
        """Run workers to their ends, and say who they were and how they ended."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"job": job, "workers": workers}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the zygote is gone: {self.said()}"
        return [(pid, code) for pid, code in json.loads(line)]

    def said(self) -> str:
        """The end of what its workers have complained of."""
        return self.errors.read_text(encoding="utf-8", errors="replace")[-6000:]


@contextmanager
def zygote(folder: Path) -> Iterator[Zygote]:
    """A zygote for the length of the block."""
    errors = folder / "errors"
    with errors.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
        )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n", errors.read_text()
        yield Zygote(process=process, errors=errors)
        assert process.stdin
        process.stdin.close()


@dataclass
class Lane:
    """A database and a zygote: threads are worked on here one after the other.

    Attributes:
        url: The database.
        runtime: Reads what is sealed; it runs nothing.
        folder: Where the master key and the other side's files are.
        seed: Draws everything.
        tally: What has come of it so far.
        by_mode: The same for each mode.
        defects: What must not have happened.
    """

    url: str
    runtime: Runtime
    folder: Path
    zygote: Zygote
    seed: int
    tally: Tally = field(default_factory=Tally)
    by_mode: dict[str, Tally] = field(default_factory=dict[str, Tally])
    defects: list[str] = field(default_factory=list[str])

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Look into the database."""
        with psycopg.connect(self.url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def kill(self, kills: int, modes: Sequence[Mode]) -> None:
        """Work on thread after thread until so many workers were killed, and every mode had its turn."""
        for at, mode in enumerate(itertools.cycle(modes)):
            if (self.tally.kills >= kills and at >= len(modes)) or len(self.defects) > DEFECTS:
                return
            thread = Thread(lane=self, name=f"t{self.seed}-{at}", mode=mode, seed=self.seed * 1000 + at)
            try:
                thread.bring_to_its_answer()
            except Defect as defect:
                self.defects.append(f"{thread}: {defect}")
                print(self.defects[-1], file=sys.stderr, flush=True)
            self.tally.add(thread.tally)
            self.by_mode.setdefault(str(mode), Tally()).add(thread.tally)


@dataclass
class Thread:
    """One thread, gone on with by worker after worker until it is answered.

    Attributes:
        killed: The numbers of the workers that were killed.
        payments: Attempts of `pay` that a round has left without an outcome.
    """

    lane: Lane
    name: str
    mode: Mode
    seed: int
    tally: Tally = field(default_factory=Tally)
    killed: set[int] = field(default_factory=set[int])
    payments: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    @property
    def other(self) -> OtherSide:
        """The other side."""
        return OtherSide(file=self.lane.folder / f"{self.name}.log")

    def bring_to_its_answer(self) -> None:
        """Kill, go on, kill, until a worker gets to the end; then count."""
        rng = Random(self.seed)
        for at in range(ROUNDS):
            if self._round(rng, at):
                break
        else:
            raise Defect(f"{ROUNDS} rounds, and it is not answered: {self.lane.zygote.said()}")
        self.tally.threads = 1
        self._count()

    def _round(self, rng: Random, at: int) -> bool:
        begun = at > 0 and self._begun()
        count = self.mode.workers if begun else 1
        workers = [self._worker(rng, begins=one == 0, two=count > 1) for one in range(count)]
        ends = self.lane.zygote.run(self._job(), workers)
        for (pid, code), worker in zip(ends, workers, strict=True):
            self._note(pid, code, due=worker["after"] is not None)
        if self.mode.way != "plain":
            self._settle([pid for pid, code in ends if code == -signal.SIGKILL])
        return any(code == 0 for _, code in ends)

    def _worker(self, rng: Random, *, begins: bool, two: bool) -> dict[str, Any]:
        marks, after = rng.choice(MARKS), rng.uniform(0, WITHIN)
        lives = two and rng.random() < LIVES
        spared = lives or self.tally.kills >= KILLS_A_THREAD
        return {"job": {"begins": begins}, "marks": marks, "after": None if spared else after}

    def _job(self) -> dict[str, Any]:
        lane = self.lane
        return {
            "url": lane.url,
            "home": str(lane.folder / "home"),
            "thread": self.name,
            "other_side": str(self.other.file),
            "way": self.mode.way,
            "sync": self.mode.sync,
            "seed": self.seed,
        }

    def _begun(self) -> bool:
        return bool(self.lane.rows("select 1 from stateward.checkpoint_head where thread_id = %s", self.name))

    def _note(self, pid: int, code: int, *, due: bool) -> None:
        if code == -signal.SIGKILL:
            if not due:
                raise Defect(f"a worker hangs: {self.lane.zygote.said()}")
            self.tally.kills += 1
            self.killed.add(pid)
        elif code not in (0, GIVES_WAY):
            raise Defect(f"a worker failed: {self.lane.zygote.said()}")

    def _settle(self, dead: Sequence[int]) -> None:
        """Wait until all that the killed workers had sent is done with, and note what is open now."""
        names = [name_of(pid) for pid in dead]
        while self.lane.rows(GONE, names)[0]["count"]:
            time.sleep(0.005)
        open_ = self.lane.rows(LOST_PAYMENTS, self.name)
        self.payments |= {(row["action_id"], row["attempt"]) for row in open_}

    def __str__(self) -> str:
        return f"thread {self.name} ({self.mode}, seed {self.seed})"

    def _count(self) -> None:
        calls = self.other.calls()
        entries = self.lane.rows(ENTRIES, [one["key"] for one in calls if one["tool"] == "post"])
        happened = Counter((one["tool"], one["amount"]) for one in calls if one["new"] and one["tool"] != "post")
        happened += Counter(("post", one["amount"]) for one in entries)
        met = self.other.file.with_suffix(".met")
        self.tally.met = met.stat().st_size if met.exists() else 0
        self.tally.repeats = sum(not one["new"] for one in calls)
        wanted = expected(self.mode)
        self.tally.doubled = sum(count - 1 for count in happened.values())
        self.tally.lost = len(wanted - set(happened))
        self.tally.forbidden = len(set(happened) - wanted)
        if self.mode.way == "plain":
            self.tally.between = self._cut_off_plainly(calls)
            return
        self._count_outcomes(calls)
        if self.tally.doubled or self.tally.lost or self.tally.forbidden:
            raise Defect(f"{self.tally}: {happened}")

    def _cut_off_plainly(self, calls: Sequence[dict[str, Any]]) -> int:
        # What came again shows that the call before was cut off after it had reached the other side.
        again = Counter(one["key"] for one in calls)
        return len({one["pid"] for one in calls if again[one["key"]] > 1} & self.killed)

    def _count_outcomes(self, calls: Sequence[dict[str, Any]]) -> None:
        effects = {row["key"]: row for row in opened(self.lane.runtime, "effect", self.lane.rows(EFFECTS, self.name))}
        if open_ := [row for row in effects.values() if row["status"] != "settled"]:
            raise Defect(f"left open: {open_}")
        if twice := self.lane.rows(SETTLED_TWICE, self.name):
            raise Defect(f"settled twice: {twice}")
        cut = [one for one in calls if one["pid"] in self.killed and _cut_off(one, effects[one["key"]])]
        self.tally.between = len({one["pid"] for one in cut if one["tool"] != "post"})
        self.tally.in_transaction = len({one["pid"] for one in cut if one["tool"] == "post"})
        self.tally.restarted = sum(row["attempt"] - 1 for row in effects.values())
        self.tally.found = sum("found" in row["result"] for row in effects.values())
        self._count_questions([row for row in effects.values() if row["tool"] == "pay"])

    def _count_questions(self, payments: Sequence[dict[str, Any]]) -> None:
        """Each attempt of which nobody knew the outcome has ended in a question of its own, and no other has."""
        questions = {row["action_id"]: row for row in self.lane.rows(OUTCOMES, self.name)}
        self.tally.asked = sum(row["asked"] for row in questions.values())
        self.tally.done = sum(row["found"] for row in questions.values())
        for row in payments:
            lost = row["attempt"] - 1 + ("settled_by" in row["result"])
            self.tally.unknown += lost
            asked = questions.get(row["action_id"], {"asked": 0})
            if asked["asked"] != lost:
                raise Defect(f"{lost} attempts without an outcome, and {asked}: {row}")
        if missed := {action for action, _ in self.payments} - set(questions):
            raise Defect(f"nobody was asked about {missed}")


def _cut_off(one: dict[str, Any], effect: dict[str, Any]) -> bool:
    """Whether the attempt that reached the other side was not settled by its own worker."""
    by_others = "found" in effect["result"] or "settled_by" in effect["result"]
    return one["attempt"] < effect["attempt"] or by_others


def expected(mode: Mode) -> set[tuple[str, float]]:
    """What has to happen, once each: the calls, without those that a person has rejected or changed."""
    said = plain_script() if mode.way == "plain" else script()
    calls = {(one["name"], float(one["args"]["amount"])) for message in said for one in message.tool_calls}
    if mode.way == "plain":
        return calls
    return calls - {("pay", REJECTED), ("pay", EDITED)} | {("pay", AS_EDITED)}


@contextmanager
def lane(databases: Databases, folder: Path, seed: int) -> Iterator[Lane]:
    """A lane for the length of the block; at its end the trail is verified."""
    folder.mkdir(parents=True)
    with databases.fresh() as url, zygote(folder) as born:
        settings = Settings(home=folder / "home", database_url=url)
        with Runtime.open(settings=settings) as runtime:
            runtime.apply([("books", BOOKS)])
            with PostgresSaver.from_conn_string(url) as saver:
                saver.setup()
            made = Lane(url=url, runtime=runtime, folder=folder, zygote=born, seed=seed)
            yield made
            report = runtime.verify_audit()
        if not report.intact:
            made.defects.append(f"the trail does not hold: {report.breaks}")


def chaos(
    databases: Databases, folder: Path, *, kills: int, seed: int, modes: Sequence[Mode], lanes: int = 1
) -> list[Lane]:
    """Kill so many workers over all the modes, in so many lanes at once."""

    def one(at: int) -> Lane:
        with lane(databases, folder / f"lane-{at}", seed + at) as made:
            made.kill(-(-kills // lanes), modes[at % len(modes) :] + modes[: at % len(modes)])
            return made

    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(one, range(lanes)))


def report(lanes: Sequence[Lane], seconds: float) -> str:
    """What came of it, by mode and in all."""
    whole, modes = Tally(), dict[str, Tally]()
    for one in lanes:
        whole.add(one.tally)
        for mode, tally in one.by_mode.items():
            modes.setdefault(mode, Tally()).add(tally)
    lines = [f"  {mode}: {tally}" for mode, tally in sorted(modes.items())]
    lines += [f"  DEFECT {defect}" for one in lanes for defect in one.defects]
    return "\n".join([*lines, f"all, seeds {[one.seed for one in lanes]}, {seconds:.0f} s: {whole}"])


def main() -> int:
    """`python tests/attacks/chaos.py [--kills 1000] [--lanes 2] [--seed 1] [--plain 50]`."""
    parser = argparse.ArgumentParser(description="Kill workers at random points; count what was doubled and lost.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--plain", type=int, default=50, help="kills of LangChain's own agent, to compare")
    parser.add_argument("--lanes", type=int, default=max(2, (os.cpu_count() or 2) // 2))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    defects = 0
    with tempfile.TemporaryDirectory(prefix="sw") as place, EmbeddedServer(Path(place, "pg"), durable=False) as server:
        databases = Databases(uri=server.start())
        databases.prepare(Path(place))
        for name, kills, modes in (("plain LangChain", given.plain, PLAIN), ("Stateward", given.kills, GOVERNED)):
            began = time.monotonic()
            done = chaos(
                databases, Path(place, name), kills=kills, seed=given.seed * 100, modes=modes, lanes=given.lanes
            )
            defects += sum(len(one.defects) for one in done)
            print(f"{name}\n{report(done, time.monotonic() - began)}", flush=True)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
