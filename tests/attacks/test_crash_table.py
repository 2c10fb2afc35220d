"""What a crash leaves, row by row of the table in ARCHITECTURE.md, and what the next process makes of it.

A worker process kills itself exactly at the named point. What is durable then is looked up, the run is gone on with in
new processes, people answer honestly what they are asked, and every write has happened once when it is done.

Where a worker "lingers", nothing goes into the database but what something waits for: it dies before 25 ms have passed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from crash_worker import WORLD, WRITES
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from bank import BOOKS, POLICY
from stateward import Principal, Runtime, Settings
from stateward.model.approval import Approval
from stateward.testing.databases import Databases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
WORKER = Path(__file__).with_name("crash_worker.py")
THREAD, PARENT, BOSS = "crash-1", "the parent of workers", Principal("boss")
LATEST = POLICY + "checkpoints: {keep: latest}\n"
ANSWERS = POLICY + "answers: {text: {ask: [{by: [boss], because: it leaves the house}]}}\n"
KINDS = ["workflow", "agent"]
Script = list[list[tuple[str, dict[str, Any]]]]

PAY: Script = [[("pay", {"amount": 5})]]
RENEW_PAY: Script = [[("renew", {"amount": 3})], [("pay", {"amount": 5})]]
LOOK: Script = [[("look", {"what": "x"})]]
BIG: Script = [[("pay", {"amount": 500}), ("pay", {"amount": 600})]]


def write(name: str) -> Script:
    return [[(name, {"amount": 5})]]


@dataclass(frozen=True, kw_only=True)
class Zygote:
    """A process that has imported everything, and forks a worker for each job."""

    process: subprocess.Popen[str]
    errors: Path

    def run(self, job: dict[str, Any]) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the zygote is gone: {self.said()}"
        return int(line)

    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8", errors="replace")[-6000:]


@dataclass
class Case:
    """One thread on a database of its own, worked on by process after process.

    Attributes:
        runtime: Ours, which looks at what the workers have left, and decides for people.
        connection: Straight to the tables.
    """

    runtime: Runtime
    connection: psycopg.Connection[dict[str, Any]]
    zygote: Zygote
    job: dict[str, Any]

    def dies(self, at: str, *, turn: int = 0, lingers: bool = False, **more: Any) -> None:
        """A worker goes on until it dies there; what has not been committed by then never comes."""
        ended = self.zygote.run(self.job | {"die": at, "turn": turn, "lingers": lingers} | more)
        assert ended == -signal.SIGKILL, f"it ended with {ended}, and not at {at!r}: {self.zygote.said()}"
        self._alone()

    def goes_on(self, **more: Any) -> None:
        """A worker goes on as far as it goes."""
        ended = self.zygote.run(self.job | more)
        assert ended == 0, self.zygote.said()

    def finish(self) -> None:
        """Go on, and answer what people are asked, until it is done; then everything has happened once."""
        for _ in range(6):
            self.goes_on()
            if self.status == "answered":
                break
            for asked in self.runtime.approvals(thread=THREAD):
                self.runtime.decide(asked, self.honestly(asked), by=BOSS)
        assert self.status == "answered"
        self.assert_once()

    def honestly(self, asked: Approval) -> Any:
        """What an honest person says: yes, and of an unknown outcome, what the world knows."""
        if asked.kind != "outcome":
            return "approve"
        return "done" if f"sw-{asked.action}" in self.happened()[asked.tool] else "retry"

    def assert_once(self) -> None:
        """Every write of the script has happened once, no other has, and the trail holds."""
        wanted = Counter(name for turn in self.job["script"] for name, _ in turn if name in WRITES)
        for name in WRITES:
            keys = self.happened()[name]
            assert len(keys) == wanted[name], (name, keys)
            assert set(keys.values()) <= {1}, (name, keys)
        assert self.rows("select * from stateward.effect where status <> 'settled'") == []
        settled = "select action_id from stateward.ledger where kind = 'effect.settled' group by 1 having count(*) > 1"
        assert self.rows(settled) == []
        report = self.runtime.verify_audit()
        assert report.intact, report.breaks
        assert report.threads == 1

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self.connection.execute(query, values).fetchall()  # pyright: ignore[reportArgumentType]

    def column(self, query: str, *values: Any) -> list[Any]:
        return [next(iter(row.values())) for row in self.rows(query, *values)]

    @property
    def status(self) -> str:
        (found,) = self.column("select status from stateward.thread")
        return found

    @property
    def actions(self) -> list[tuple[str, str]]:
        query = "select tool, status from stateward.action order by created_at, position"
        return [(row["tool"], row["status"]) for row in self.rows(query)]

    @property
    def effects(self) -> list[tuple[str, str, int]]:
        rows = self.rows("select tool, status, attempt from stateward.effect order by reserved_at")
        return [(row["tool"], row["status"], row["attempt"]) for row in rows]

    @property
    def kinds(self) -> list[str]:
        """The ledger, by kind of entry."""
        return self.column("select kind from stateward.ledger order by seq")

    @property
    def questions(self) -> list[tuple[str, str]]:
        rows = self.rows("select approval_id, status from stateward.approval order by requested_at, approval_id")
        return [(row["approval_id"], row["status"]) for row in rows]

    @property
    def asked(self) -> list[int]:
        """The turns for which the planner was asked, in order."""
        return self.column("select turn from world.asked order by ctid")

    def workers(self) -> list[int]:
        """The processes in which the planner was asked, in order."""
        return self.column("select worker from world.asked order by ctid")

    def called(self, name: str) -> int:
        """How often a tool's body has run."""
        return len(self.rows("select 1 from world.called where tool = %s", name))

    def happened(self) -> dict[str, Counter[str]]:
        """How often each key has taken effect, by tool."""
        found: dict[str, Counter[str]] = {name: Counter() for name in WRITES}
        for row in self.rows("select tool, key from world.happened"):
            found[row["tool"]][row["key"]] += 1
        found["post"].update(self.column("select key from books.entry"))
        return found

    def said(self) -> list[str]:
        """The conversation as it is durable: the type of each message, finished tasks' own included."""
        return [one.type for one in self.messages()]

    def messages(self) -> list[BaseMessage]:
        found = self.runtime.checkpointer.get_tuple(self.runtime.config(THREAD))
        if found is None:
            return []
        messages = list(found.checkpoint["channel_values"].get("messages") or [])
        for _, channel, value in found.pending_writes or []:
            if channel == "messages":
                messages += convert_to_messages(value if isinstance(value, list) else [value])
        return messages

    def answer(self) -> str:
        last = self.messages()[-1]
        assert isinstance(last, AIMessage)
        return last.text

    def checkpoints(self) -> int:
        (found,) = self.column("select count(*) from stateward.checkpoint")
        return found

    def _alone(self) -> None:
        """Wait until the server has noticed that the worker is gone, and has done what it had been sent before."""
        deadline = time.monotonic() + 20
        of = "select count(*) from pg_stat_activity where datname = current_database() and application_name <> %s"
        while self.column(of, PARENT) != [0]:
            assert time.monotonic() < deadline, "the worker's connections do not go"
            time.sleep(0.01)


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    errors = tmp_path_factory.mktemp("zygote") / "errors"
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


@pytest.fixture
def case(databases: Databases, zygote: Zygote, tmp_path: Path) -> Iterator[Case]:
    with databases.fresh() as url:
        ours = make_conninfo(url, application_name=PARENT)
        settings = Settings(home=tmp_path / "home", database_url=ours, pool_size=2)
        job = {"url": url, "home": str(settings.home), "thread": THREAD, "kind": "workflow", "script": PAY}
        job |= {"policy": POLICY, "die": "", "turn": 0, "lingers": False, "says": "", "decides": "", "remembers": False}
        with (
            Runtime.open(settings=settings, migrations=[("books", BOOKS), ("world", WORLD)]) as runtime,
            psycopg.connect(ours, row_factory=dict_row, autocommit=True) as connection,
        ):
            yield Case(runtime=runtime, connection=connection, zygote=zygote, job=job)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, case: Case) -> str:
    case.job["kind"] = request.param
    return request.param


# 1. While the planner thinks in the first turn.


def test_01_the_planner_thinks_and_the_request_is_kept(case: Case, kind: str) -> None:
    case.dies("thinks, the request is kept")
    assert case.said() == ["human"]
    assert (case.actions, case.effects) == ([], [])
    case.finish()
    assert case.asked == [0, 0, 1]
    assert case.said() == ["human", "ai", "tool", "ai"]


def test_01_the_planner_thinks_and_nothing_is_kept(case: Case, kind: str) -> None:
    case.dies("thinks", lingers=True)
    # A workflow opens its thread first, for which all that was handed over before has to be durable.
    assert case.said() in ([], ["human"])
    assert (case.actions, case.effects) == ([], [])
    case.finish()
    assert case.asked == [0, 0, 1]
    assert case.said() == ["human", "ai", "tool", "ai"]


# 2. While the planner thinks in a later turn.


def test_02_the_planner_thinks_in_a_later_turn(case: Case, kind: str) -> None:
    case.job["script"] = RENEW_PAY
    case.dies("thinks, the receipt is kept", turn=1, lingers=True)
    assert case.said()[:2] == ["human", "ai"]
    assert case.effects == [("renew", "settled", 1)]
    assert case.actions == [("renew", "consumed")]
    case.finish()
    assert case.asked == [0, 1, 1, 2]
    assert case.called("renew") == 1


# 3. When the planner has answered, before anything is committed for the turn.


def test_03_the_planner_has_answered_and_nothing_of_it_is_kept(case: Case, kind: str) -> None:
    case.job["script"] = RENEW_PAY
    case.dies("said", turn=1, lingers=True)
    assert "tool" not in case.said()[3:]
    assert sum(one == "ai" for one in case.said()) == 1
    assert case.actions == [("renew", "consumed")]
    case.finish()
    assert case.asked == [0, 1, 1, 2]
    assert case.called("renew") == 1


def test_03_the_planner_has_answered_and_its_message_is_kept(case: Case, kind: str) -> None:
    case.job["script"] = RENEW_PAY
    case.dies("said, and kept", turn=1)
    assert case.said() == ["human", "ai", "tool", "ai"]
    assert case.actions == [("renew", "consumed")]
    assert case.effects == [("renew", "settled", 1)]
    case.finish()
    assert case.asked == [0, 1, 2]
    assert case.kinds.count("action.allowed") == 2


# 4. In the commit before an action.


def whole(case: Case) -> list[bool]:
    """Which parts of the commit before an action are there: the turn's message, its verdict, the reservation."""
    return [
        "ai" in case.said(),
        case.actions != [],
        "action.allowed" in case.kinds,
        case.effects != [],
        "effect.reserved" in case.kinds,
    ]


@pytest.mark.parametrize("name", ["pay", "post"])
def test_04_the_commit_before_an_action_is_not_sent(case: Case, kind: str, name: str) -> None:
    case.job["script"] = write(name)
    case.dies("sends the reservation", lingers=True)
    assert not any(whole(case))
    case.finish()
    assert case.asked == [0, 0, 1]
    assert case.called(name) == 1


@pytest.mark.parametrize("name", ["pay", "post"])
def test_04_the_commit_before_an_action_is_sent_and_not_answered(case: Case, kind: str, name: str) -> None:
    case.job["script"] = write(name)
    case.dies("sent the reservation", lingers=True)
    assert len(set(whole(case))) == 1  # all of it, as the server does what it was sent, or nothing
    assert case.called(name) == 0
    case.finish()
    assert case.called(name) == 1


@pytest.mark.parametrize("name", ["pay", "post"])
def test_04_the_commit_before_an_action_is_done_and_nobody_knows(case: Case, kind: str, name: str) -> None:
    case.job["script"] = write(name)
    case.dies("committed the reservation", lingers=True)
    assert all(whole(case))
    assert case.effects == [(name, "reserved", 1)]
    assert case.called(name) == 0
    case.finish()
    assert case.asked == [0, 1]
    assert case.called(name) == 1


# 5. After the reservation, before or in the tool.


@pytest.mark.parametrize("at", ["reserved", "in the tool", "done in the tool"])
@pytest.mark.parametrize("name", WRITES)
def test_05_a_write_is_under_way(case: Case, kind: str, name: str, at: str) -> None:
    case.job["script"] = write(name)
    case.dies(at)
    happened = at == "done in the tool" and name != "post"  # what its transaction held is undone
    assert case.effects == [(name, "reserved", 1)]
    assert (case.actions, case.kinds[-1]) == ([(name, "consumed")], "effect.reserved")
    assert sum(case.happened()[name].values()) == happened
    assert_settled_as_its_class_says(case, name, happened=happened)


def assert_settled_as_its_class_says(case: Case, name: str, *, happened: bool) -> None:
    before = case.called(name)
    key = f"sw-{case.column('select action_id from stateward.action')[0]}"
    case.goes_on()
    match name:
        case "post" | "renew":  # again, with the same key
            assert case.effects == [(name, "settled", 2)]
            assert case.called(name) == before + 1
        case "wire":  # as the other side says
            assert case.effects == [(name, "settled", 1 if happened else 2)]
            assert case.called(name) == before + (not happened)
        case _:  # by a person
            assert case.effects == [(name, "unknown", 1)]
            assert case.called(name) == before
            assert [status for _, status in case.questions] == ["pending"]
    case.finish()
    assert set(case.column("select key from world.called")) == {key}
    assert case.happened()[name] == {key: 1}
    assert case.asked == [0, 1]


@pytest.mark.parametrize("name", ["post", "renew", "wire"])
def test_05_it_dies_again_and_again(case: Case, kind: str, name: str) -> None:
    case.job["script"] = write(name)
    for attempt in (1, 2, 3):
        case.dies("in the tool")
        assert case.effects == [(name, "reserved", attempt)]
    case.dies("committed the restart")
    assert case.effects == [(name, "reserved", 4)]
    case.finish()
    assert case.effects == [(name, "settled", 5)]
    assert case.asked == [0, 1]


def test_05_a_retry_that_a_person_wanted_dies_and_another_person_is_asked(case: Case, kind: str) -> None:
    case.dies("in the tool")
    case.goes_on()
    ((first, _),) = case.questions
    case.runtime.decide(first, "retry", by=BOSS)
    case.dies("in the tool")
    assert case.effects == [("pay", "reserved", 2)]
    case.goes_on()
    assert case.questions[0] == (first, "edited")
    assert [status for _, status in case.questions[1:]] == ["pending"]
    case.finish()
    assert case.effects == [("pay", "settled", 3)]


# 6. When the tool has returned, before its receipt is in the database.


@pytest.mark.parametrize("at", ["returned", "sends the receipt"])
@pytest.mark.parametrize("name", [name for name in WRITES if name != "post"])
def test_06_a_write_is_done_and_its_receipt_is_not_there(case: Case, kind: str, name: str, at: str) -> None:
    case.job["script"] = write(name)
    case.dies(at)
    assert case.effects == [(name, "reserved", 1)]
    assert case.kinds[-1] == "effect.reserved"
    assert sum(case.happened()[name].values()) == 1
    assert_settled_as_its_class_says(case, name, happened=True)


def test_06_a_transactional_write_brings_its_receipt(case: Case, kind: str) -> None:
    case.job["script"] = write("post")
    case.dies("returned")
    assert case.effects == [("post", "settled", 1)]
    case.finish()
    assert case.called("post") == 1


# 7. After the receipt is in the database, before the next step.


@pytest.mark.parametrize("name", [name for name in WRITES if name != "post"])
def test_07_the_receipt_is_there(case: Case, kind: str, name: str) -> None:
    case.job["script"] = write(name)
    case.dies("committed the receipt", lingers=True)
    assert case.effects == [(name, "settled", 1)]
    assert case.kinds[-1] == "effect.settled"
    assert case.said() == ["human", "ai"]
    case.finish()
    assert case.called(name) == 1
    assert case.effects == [(name, "settled", 1)]
    assert case.asked[:1] == [0]
    assert case.asked[-1] == 1
    (told,) = [one for one in case.messages() if one.type == "tool"]
    assert told.text == '{"done": 5.0}'


# 8. In a read, or after it before the next commit.


@pytest.mark.parametrize("at", ["in the tool", "read", "read, and kept"])
def test_08_a_read(case: Case, kind: str, at: str) -> None:
    case.job["script"] = LOOK
    case.dies(at, lingers=at != "read, and kept")
    entries = [one for one in case.kinds if one.startswith("read")]
    assert entries == (["read.done"] if at == "read, and kept" else [])
    assert "tool" not in case.said()
    case.finish()
    assert case.called("look") == 2
    assert case.effects == []


# 9. After questions to people are written, before the interrupt is shown.


@pytest.mark.parametrize("at", ["asks", "shows"])
def test_09_people_are_about_to_be_asked(case: Case, kind: str, at: str) -> None:
    case.job["script"] = BIG
    case.dies(at)
    asked, judged = case.questions, case.kinds.count("action.asked")
    assert case.actions == [("pay", "asked")] * 2
    assert [status for _, status in asked] == ["pending"] * 2
    assert judged == 2
    assert "__interrupt__" not in case.column("select channel from stateward.checkpoint_write")
    case.goes_on()
    assert (case.questions, case.status) == (asked, "waiting")
    case.finish()
    assert [approval for approval, _ in case.questions] == [approval for approval, _ in asked]
    assert case.kinds.count("action.asked") == judged


@pytest.mark.parametrize("kind", ["workflow", "agent"])
def test_09_a_turn_is_judged_in_part(case: Case, kind: str) -> None:
    case.job |= {"script": BIG, "kind": kind}
    case.dies("judged")
    assert case.actions == [("pay", "asked")]
    asked = case.questions
    case.goes_on()
    assert case.actions == [("pay", "asked")] * 2
    assert (case.questions[:1], case.status) == (asked, "waiting")
    case.finish()
    assert case.kinds.count("action.asked") == 2
    assert case.asked == [0, 1]


# 10. While people are asked.


def test_10_people_are_asked(case: Case, kind: str) -> None:
    case.job["script"] = BIG
    case.dies("waits")
    asked, checkpoints = case.questions, case.checkpoints()
    assert [status for _, status in asked] == ["pending"] * 2
    assert "__interrupt__" in case.column("select channel from stateward.checkpoint_write")
    for _ in range(2):
        case.goes_on()  # nobody has decided
        assert (case.questions, case.status, case.effects) == (asked, "waiting", [])
        assert case.checkpoints() == checkpoints
    for approval, _ in asked:
        case.runtime.decide(approval, "approve", by=BOSS)
    case.finish()
    assert case.asked == [0, 1]


# 11. After a decision, before it is used.


@pytest.mark.parametrize("at", ["decided", "permitted", "sends the reservation"])
def test_11_a_decision_is_not_used_yet(case: Case, kind: str, at: str) -> None:
    case.job["script"] = [[("pay", {"amount": 500})]]
    if at == "decided":
        case.dies(at, decides="approve")
    else:
        case.goes_on(decides="approve")
        case.dies(at)
    assert case.actions == [("pay", "permitted")]
    assert case.column("select principal from stateward.signature") == ["boss"]
    assert case.column("select status from stateward.approval") == ["approved"]
    assert (case.effects, case.called("pay")) == ([], 0)
    case.finish()
    assert case.effects == [("pay", "settled", 1)]
    assert case.kinds.count("approval.signed") == 1
    assert case.called("pay") == 1


# 12. When the answer is given, before the last commit.


def test_12_the_answer_is_given(case: Case, kind: str) -> None:
    case.dies("sends the answer", turn=1, lingers=True)
    assert (case.said()[:2], case.status) == (["human", "ai"], "open")
    assert case.effects == [("pay", "settled", 1)]
    case.finish()
    assert case.asked == [0, 1, 1]  # the answer was not durable, and the planner is asked for it again
    assert case.answer() == f"done, says {case.workers()[-1]}"
    assert case.called("pay") == 1


def test_12_the_answer_is_given_and_its_message_is_kept(case: Case) -> None:
    case.dies("answers, and kept", turn=1)
    answer = case.answer()
    assert (case.said(), case.status) == (["human", "ai", "tool", "ai"], "open")
    case.finish()
    assert case.asked == [0, 1]
    assert case.answer() == answer
    assert case.called("pay") == 1


# 13. While something is remembered.


@pytest.mark.parametrize("at", ["remembers", "remembers, sent", "remembered"])
def test_13_something_is_remembered(case: Case, at: str) -> None:
    case.job["remembers"] = True
    case.dies(at)
    version = "select version from stateward.memory"
    kept = len(case.column(version))
    assert at == "remembers, sent" or kept == (at == "remembered")
    assert case.kinds.count("memory.written") == kept
    case.finish()
    assert case.column(version) == [kept + 1]
    assert case.kinds.count("memory.written") == kept + 1
    assert case.called("pay") == 1


# 14. While history is pruned by policy.


@pytest.mark.parametrize("at", ["prunes", "pruned"])
def test_14_history_is_pruned(case: Case, kind: str, at: str) -> None:
    case.job["policy"] = LATEST
    case.dies(at, turn=1)
    assert case.status == "answered"
    assert case.said() == ["human", "ai", "tool", "ai"]
    if at == "pruned":
        assert case.checkpoints() == 1
        assert case.rows("select * from stateward.checkpoint_write") == []
    else:
        assert case.checkpoints() > 4
        assert case.rows("select * from stateward.checkpoint_write") != []
    case.finish()
    case.goes_on(says="and now?")
    assert case.said() == ["human", "ai", "tool", "ai", "human", "ai"]
    assert case.checkpoints() == 1
    case.assert_once()


# 15. Between an answer's approval and its leaving.


def answers(case: Case) -> str:
    """A run whose answer waits for people; the answer."""
    case.job["policy"] = ANSWERS
    case.goes_on()
    assert (case.status, case.asked) == ("waiting", [0, 1])
    (asked,) = case.runtime.approvals(thread=THREAD)
    assert asked.kind == "answer"
    return str(asked.arguments["text"])


def left(case: Case) -> int:
    return case.kinds.count("answer.left")


def assert_left_once(case: Case, answer: str) -> None:
    """What was approved has left, once; nobody was asked again, and neither was the planner."""
    assert (case.answer(), left(case), case.status) == (answer, 1, "answered")
    assert [status for _, status in case.questions] == ["approved"]
    assert case.asked == [0, 1]
    assert case.called("pay") == 1


@pytest.mark.parametrize("at", ["decided", "leaves", "sends the answer"])
def test_15_an_answer_is_approved_and_has_not_left(case: Case, kind: str, at: str) -> None:
    answer = answers(case)
    if at == "decided":
        case.dies(at, decides="approve")
    else:
        case.runtime.decide(case.runtime.approvals(thread=THREAD)[0], "approve", by=BOSS)
        case.dies(at)
    assert (case.actions[-1], left(case)) == (("text", "permitted"), 0)
    assert case.column("select principal from stateward.signature") == ["boss"]
    case.finish()
    assert_left_once(case, answer)


# 16. When an approved answer has left.


@pytest.mark.parametrize("at", ["sent the answer", "committed the answer", "waits"])
def test_16_an_approved_answer_has_left(case: Case, kind: str, at: str) -> None:
    answer = answers(case)
    case.runtime.decide(case.runtime.approvals(thread=THREAD)[0], "approve", by=BOSS)
    case.dies(at)
    assert (case.actions[-1], left(case), case.status) == (("text", "consumed"), 1, "answered")
    for _ in range(2):
        case.goes_on()
        assert_left_once(case, answer)
    case.assert_once()
