"""The command line as a user meets it: real processes, one embedded server, a tiny workflow in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stateward.cli.app import app

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "stateward.cli.app"]
PATIENCE = 120
POLICY = """\
policy: pay-demo
version: 1
identities: {bot: {kind: agent}, boss: {kind: person}, ana: {kind: person, role: lead}}
tools:
  look: {effect: read, for: [bot]}
  pay:
    effect: write
    for: [bot]
    deny: [{when: args.amount <= 0, because: a payment is positive}]
    ask: [{when: args.amount > 100, by: [boss, lead], not: [requester], within: 2d, because: it is above 100}]
  fetch_back: {effect: write, for: [bot]}
memory: {kinds: {note: {purpose: [pay-demo], keep: 10d}}}
"""
GRAPH = '''
import asyncio, os
from pathlib import Path
from typing import Any
from stateward import FlowState, Workflow, call, tool
from stateward.cli.workflows import Option, Start
from stateward.errors import ToolInputError

@tool
async def look(what: str) -> dict[str, Any]:
    """Look."""
    Path("looking").touch()
    await asyncio.sleep(float(os.environ.get("LOOK_SECONDS", "0")))
    return {"seen": what}

@tool
async def fetch_back(to: str, amount: float) -> str:
    """Get a payment back."""
    with Path("paid").open("a") as file:
        file.write(f"{to} {-amount}\\n")
    return "back"

@tool(undo=fetch_back)
async def pay(amount: float, to: str) -> dict[str, Any]:
    """Pay."""
    with Path("paid").open("a") as file:
        file.write(f"{to} {amount}\\n")
    return {"paid": amount}

def plan(request):
    yield call("look", what=request)
    done = yield [call("pay", amount=5, to="a"), call("pay", amount=500, to="b"), call("pay", amount=-1, to="c")]
    return " | ".join(one.text for one in done)

class State(FlowState):
    period: str
    note: str

flow = Workflow("mini", state=State, policy=Path(__file__).parent / "policy.yaml", principal="bot",
                subject=lambda state: f"period:{state['period']}")
flow.orchestrate(plan, tools=[look, pay])

class CommandLine:
    baseline_minutes = 30.0
    options = (Option(name="period", help="The month.", required=True), Option(name="note", help="Any.", default=""))

    def prepare(self, options):
        if len(options["period"]) != 7:
            raise ToolInputError(f"--period {options['period']!r}: expected YYYY-MM, such as 2026-10")
        state = {**options, "messages": [("user", f"close {options['period']}")]}
        return Start(thread=f"mini-{options['period']}", input=state, subject=f"period:{options['period']}")

    def demo(self, directory):
        (directory / "sample.csv").write_text("x\\n")
        return {"period": "2026-01"}

    def describe(self, state):
        return [f"Result for {state['period']}: {state['messages'][-1].text}"]

cli = CommandLine()
'''


@dataclass(frozen=True)
class Shell:
    """A folder with a workflow, and the command in it."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *args: str, code: int = 0) -> Result:
        """A command within this process, which spares the start of another one."""
        with contextlib.chdir(self.folder), _own_imports():
            done = CliRunner(env=self.environment | {"DATABASE_URL": None}).invoke(app, [*args])
        assert done.exit_code == code, f"{args} ended with {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done

    def process(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command as a process of its own."""
        done = subprocess.run(
            [*COMMAND, *args],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, f"{args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self(*args, "--json", code=code).stdout)

    def start(self, *args: str, **environment: str) -> subprocess.Popen[str]:
        (self.folder / "looking").unlink(missing_ok=True)
        return subprocess.Popen(
            [*COMMAND, *args],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_interruptible,
        )

    def paid(self) -> list[str]:
        file = self.folder / "paid"
        return file.read_text().splitlines() if file.exists() else []

    def wait_for_look(self, run: subprocess.Popen[str]) -> None:
        until = time.monotonic() + PATIENCE
        while not (self.folder / "looking").exists():
            if run.poll() is not None or time.monotonic() > until:
                run.kill()
                pytest.fail(f"the run never came to the slow tool: {run.communicate()[1]}")
            time.sleep(0.02)


def _interruptible() -> None:
    # What runs in the background of a shell, as tests may, ignores Ctrl-C, and so does what it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def _own_imports() -> Iterator[None]:
    # Each test has a workflow of the same name in a folder of its own.
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.partition(".")[0] == "mini"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    # A short path of its own: a socket's path must not be longer than about 100 characters.
    home = Path(tempfile.mkdtemp(prefix="sw"))
    yield home
    stop = [*COMMAND, "stop"]
    stopped = subprocess.run(
        stop, env=_environment(home), check=False, timeout=PATIENCE, capture_output=True, text=True
    )
    assert (stopped.stdout, stopped.returncode) == ("stopped\n", 0)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def shell(home: Path, tmp_path: Path) -> Shell:
    folder = tmp_path / "graphs" / "mini"
    folder.mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "graph.py").write_text(GRAPH)
    return Shell(tmp_path, _environment(home))


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STATEWARD_", "PG"))}
    for name in ("DATABASE_URL", "PYTHONDONTWRITEBYTECODE"):
        kept.pop(name, None)
    # Compiled once for all of the many processes here, and nothing is written beside the sources.
    kept["PYTHONPYCACHEPREFIX"] = str(home / "pyc")
    return kept | {"STATEWARD_HOME": str(home), "LOGNAME": "ann", "NO_COLOR": "1", "COLUMNS": "120"}


def test_a_run_stops_is_decided_by_hand_and_goes_on(shell: Shell) -> None:
    stopped = shell.process("run", "mini", "--period", "2026-10", code=3).stdout
    assert "it is above 100" in stopped
    assert "stateward resume mini-2026-10.1" in stopped
    assert shell.paid() == ["a 5.0"]

    inbox = shell.process("inbox", "--thread", "mini-2026-10.1", "--json").stdout
    [question] = json.loads(inbox)["approvals"]
    id_ = question["id"]
    assert (question["tool"], question["arguments"], question["requester"]) == (
        "pay",
        {"amount": 500.0, "to": "b"},
        "ann",
    )
    assert id_ in shell("show", id_).stdout
    assert shell.json("show", id_)["digest"] == question["digest"]

    assert "may not decide" in shell.process("decide", id_, "approve", "--as", "ann", code=1).stderr
    assert "did you mean 'amount'" in shell("decide", id_, "edit", "--as", "boss", "--set", "amont=1", code=2).stderr
    shell("decide", id_, "edit", "--as", "boss", "--set", "amount=250.00")
    [edited] = shell.json("inbox", "--thread", "mini-2026-10.1")["approvals"]
    assert edited["arguments"]["amount"] == 250.0
    assert shell.json("decide", edited["id"], "approve", "--as", "ana")["status"] == "approved"
    assert "approved already" in shell("decide", edited["id"], "approve", "--as", "boss", code=1).stderr

    done = shell.process("resume", "mini-2026-10.1").stdout
    assert 'Result for 2026-10: {"paid": 5.0} | {"paid": 250.0} | denied: a payment is positive' in done
    assert shell.paid() == ["a 5.0", "b 250.0"]
    assert "nothing is left to do" in shell("resume", "mini-2026-10.1").stdout
    assert shell.paid() == ["a 5.0", "b 250.0"]
    _look_back(shell)


def _look_back(shell: Shell) -> None:
    assert "approved pay" in shell("timeline", "mini-2026-10.1").stdout
    entries = shell.json("timeline", "mini-2026-10.1")["entries"]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert (entries[0]["kind"], entries[-1]["kind"]) == ("thread.opened", "thread.answered")
    found = shell.json("metrics", "mini-2026-10.1")
    assert (found["completed"], found["asked"], found["writes"], found["refused_decisions"]) == (1, 2, 2, 2)
    assert found["saved_minutes"] > 0
    assert "mini-2026-10.1" in [one["thread"] for one in shell.json("threads")["threads"]]

    report = shell.json("audit", "verify", "--thread", "mini-2026-10.1")
    assert (report["intact"], report["entries"]) == (True, len(entries))
    export = shell.folder / "export.jsonl"
    export.write_text(shell("audit", "export", "--thread", "mini-2026-10.1").stdout)
    assert shell.json("audit", "verify", "--file", str(export))["entries"] == len(entries)
    export.write_text(export.read_text().replace('\\"actor\\": \\"ana\\"', '\\"actor\\": \\"eve\\"'))
    assert not shell.json("audit", "verify", "--file", str(export), code=1)["intact"]

    health = shell.json("doctor")
    assert health["healthy"], health
    assert {check["name"] for check in health["checks"]} >= {"versions", "postgres", "schema", "audit", "personal data"}


def test_a_policy_is_tested_and_compared_with_what_was_done(shell: Shell) -> None:
    shell("run", "mini", "--period", "2027-05", code=3)
    policy, new, table = "graphs/mini/policy.yaml", shell.folder / "new.yaml", shell.folder / "table.yaml"
    new.write_text(POLICY.replace("version: 1", "version: 2").replace("args.amount <= 0", "args.amount <= 10"))

    call = "{tool: pay, arguments: {amount: 5.5, to: a}, expect: allow}"
    table.write_text(f"cases:\n  - {call}\n")
    assert "1 of 1 as expected" in shell("policy", "test", policy, str(table), "--workflow", "mini").stdout
    failed = shell.json("policy", "test", str(new), str(table), "--workflow", "mini", code=1)
    assert failed["cases"][0]["differs"] == [{"what": "verdict", "expected": "allow", "found": "deny"}]
    table.write_text("cases:\n  - {tool: pay, expects: allow}\n")
    assert "table.yaml:2:17: unknown key 'expects'" in shell(
        "policy", "test", policy, str(table), "--workflow", "mini", code=2
    ).stderr.replace("\n", " ")

    compared = shell.json("policy", "diff", policy, str(new))
    assert [(one["place"], one["effect"]) for one in compared["changes"]] == [
        ("tools.pay.deny[0].when", "tightens"),
        ("version", "neither"),
    ]
    assert compared["effect"] == "tightens"
    assert "tightens" in shell("policy", "diff", policy, str(new)).stdout

    found = shell.json("policy", "backtest", "--policy", str(new), "--workflow", "mini", "--since", "1d")
    # Other tests of this module have made runs of this workflow too.
    mine = [one for one in found["actions"] if one["thread"] == "mini-2027-05.1"]
    assert [(one["old"], one["new"], one["rules"]) for one in mine] == [("allow", "deny", ["tools.pay.deny[0]"])]
    assert found["judged"] == found["same"] + found["different"] >= 4
    said = shell("policy", "backtest", "--policy", str(new), "--workflow", "mini").stdout
    assert "allow → deny" in said
    _explain(shell, mine[0]["action"])


def _explain(shell: Shell, action: str) -> None:
    as_it_was = shell.json("policy", "explain", "--action", action)
    assert (as_it_was["verdict"], as_it_was["policy"]) == ("allow", "pay-demo@1")
    assert as_it_was["recorded"]["arguments"] == {"amount": 5.0, "to": "a"}
    deny = next(one for one in as_it_was["trace"] if one["rule"] == "tools.pay.deny[0]")
    assert (deny["condition"], deny["value"], deny["outcome"]) == ("args.amount <= 0", False, "pass")
    # The file says something else by now; the action is explained by what has judged it.
    policy = shell.folder / "graphs" / "mini" / "policy.yaml"
    policy.write_text(POLICY.replace("args.amount <= 0", "args.amount <= 10"))
    with _own_imports():
        assert shell.json("policy", "explain", "--action", action) == as_it_was
    assert "is not known" in shell("policy", "explain", "--action", "nothing", code=2).stderr


def test_two_policies_of_one_name_and_version_are_told(shell: Shell) -> None:
    shell.process("run", "mini", "--period", "2027-06", code=3)
    file = shell.folder / "graphs" / "mini" / "policy.yaml"
    file.write_text(POLICY.replace("args.amount > 100", "args.amount > 300"))
    assert shell.json("policy", "check", str(file), "--workflow", "mini")["others"]
    warned = shell.process("run", "mini", "--period", "2027-07", code=3).stderr
    assert warned.count("another policy has judged as pay-demo@1 too") == 1
    [policies] = [check for check in shell.json("doctor")["checks"] if check["name"] == "policies"]
    assert (policies["status"], "pay-demo@1 is" in policies["found"]) == ("warn", True)


def test_a_call_is_explained_by_stated_facts(shell: Shell) -> None:
    call = ("policy", "explain", "pay", "--workflow", "mini", "--set", "to=a", "--set", "amount=500")
    assert "args.amount > 100  is true" in shell(*call).stdout
    assert (
        shell.json("policy", "explain", "pay", "--workflow", "mini", "--set", "to=1200", "--set", "amount=5")["verdict"]
        == "allow"
    )
    assert shell.json(*call)["verdict"] == "ask"
    assert shell.json(*call, "--principal", "eve", code=1)["reasons"][0]["rule"] == "tools.pay.for"
    assert "gives the label 'untrusted'" in shell(*call, "--label", "untrusted", code=2).stderr
    assert "reads 'origin.to'" in shell(*call, "--origin", "to=person", code=2).stderr
    assert "write name=value" in shell(*call, "--history", "3", code=2).stderr


ANSWERS = """
answers:
  text:
    deny: [{when: 'answer.text.contains("secret")', because: secrets stay here}]
    ask: [{when: 'requester == "eve"', by: [boss], because: eve is watched}]
"""


def test_an_answer_is_explained_by_stated_facts(shell: Shell) -> None:
    answer = ("policy", "explain", "--answer", "text", "--workflow", "mini")
    assert shell.json(*answer, "--set", "text=5")["verdict"] == "allow"
    assert "no rule for it: it leaves" in shell(*answer, "--set", "text=hello").stdout
    (shell.folder / "graphs" / "mini" / "policy.yaml").write_text(POLICY + ANSWERS)
    said = shell.json(*answer, "--set", "text=the secret", code=1)
    assert (said["tool"], said["verdict"], said["reasons"][0]["rule"]) == ("text", "deny", "answers.text.deny[0]")
    assert "is true" in shell(*answer, "--arguments", '{"text": "a secret"}', code=1).stdout
    assert shell.json(*answer, "--set", "text=x")["verdict"] == "allow"
    assert shell.json(*answer, "--set", "text=x", "--requester", "eve")["verdict"] == "ask"
    assert "there is no" not in shell("policy", "explain", "text", "--workflow", "mini", "--set", "text=x").stderr


def test_an_answer_that_cannot_be_is_not_explained(shell: Shell) -> None:
    of = ("--workflow", "mini")
    assert "answers with 'text'" in shell("policy", "explain", "--answer", "pack", *of, code=2).stderr
    assert "text: Field required" in shell("policy", "explain", "--answer", "text", *of, code=2).stderr
    wrong = shell("policy", "explain", "--answer", "text", *of, "--set", "txt=1", code=2).stderr
    assert "has no field txt; did you mean 'text'?" in wrong.replace("\n", " ")
    for given in (("--answer", "text"), ("pay", "--answer", "text", *of), of):
        assert "which tool or which answer" in shell("policy", "explain", *given, code=2).stderr


def test_a_recorded_answer_is_explained(shell: Shell) -> None:
    (shell.folder / "graphs" / "mini" / "policy.yaml").write_text(POLICY.replace("pay-demo", "answers-demo") + ANSWERS)
    shell("run", "mini", "--period", "2028-01", code=3)
    [asked] = shell.json("inbox", "--thread", "mini-2028-01.1")["approvals"]
    shell("decide", asked["id"], "approve", "--as", "boss")
    shell("resume", "mini-2028-01.1")
    entries = shell.json("timeline", "mini-2028-01.1")["entries"]
    (answer,) = [one["action"] for one in entries if one["kind"] == "answer.allowed"]
    found = shell.json("policy", "explain", "--action", answer)
    assert (found["tool"], found["verdict"], found["recorded"]["verdict"]) == ("text", "allow", "allow")


def test_a_run_is_abandoned_and_what_it_paid_is_fetched_back(shell: Shell) -> None:
    shell("run", "mini", "--period", "2027-08", code=3)
    thread = "mini-2027-08.1"
    refused = shell("abandon", thread, "--reason", "a mistake", "--as", "eve", code=1)
    assert "eve may not abandon it; it is for ann" in refused.stderr
    assert shell("abandon", thread, "--as", "ann", code=2).stdout == ""  # no reason
    said = shell("abandon", thread, "--reason", "a mistake", "--as", "ann").stdout
    assert said.splitlines() == [f"{thread} is abandoned", "  undone   pay"]
    assert shell.paid() == ["a 5.0", "a -5.0"]
    again = shell.json("abandon", thread, "--reason", "a mistake", "--as", "ann")
    assert (again["finished"], [one["outcome"] for one in again["effects"]]) == (True, ["undone"])
    assert shell.paid() == ["a 5.0", "a -5.0"]
    assert shell.json("inbox", "--thread", thread)["approvals"] == []
    assert "abandoned it: a mistake" in shell("timeline", thread).stdout
    assert "nothing is left to do" in shell("resume", thread).stdout
    shell("run", "mini", "--period", "2027-08", code=3)  # anew, under the next number
    assert [one["thread"] for one in shell.json("inbox")["approvals"]][-1] == "mini-2027-08.2"


def test_a_subject_is_held_exported_and_forgotten(shell: Shell) -> None:
    shell("run", "mini", "--period", "2026-08", "--note", "zanzibar", "--requester", "ann", code=3)
    who = "period:2026-08"
    shell("holds", "place", who, "--reason", "case 4711", "--as", "legal")
    assert json.loads(shell("holds", "--json").stdout)["holds"][0]["subject"] == who
    assert "legal hold" in shell("forget", "--subject", who, "--as", "dpo", "--yes", code=1).stderr
    shell("holds", "end", who, "--as", "legal")
    shell("holds", "end", who, "--as", "legal", code=1)
    assert "zanzibar" in shell("export", "--subject", who, "--as", "dpo").stdout
    asks = shell("forget", "--subject", who, "--as", "dpo", "--receipt", "receipt.json", code=2)
    assert (
        "1 thread (1 waiting for people, 0 running or cut off), 0 items of memory and 0 pseudonyms; nothing was erased"
        in asks.stderr
    )
    assert not (shell.folder / "receipt.json").exists()
    yes = ("forget", "--subject", who, "--as", "dpo", "--receipt", "receipt.json", "--json", "--yes")
    said = json.loads(shell(*yes).stdout)
    assert [one["thread"] for one in said["threads"]] == ["mini-2026-08.1"]
    assert "genuine" in shell("receipt", "receipt.json").stdout
    receipt = shell.folder / "receipt.json"
    receipt.write_text(receipt.read_text().replace("mini-2026-08.1", "mini-2026-08.2"))
    assert "NOT" in shell("receipt", "receipt.json", code=1).stdout
    assert "receipt" in shell("receipt", "paid", code=2).stderr
    assert "zanzibar" not in shell("export", "--subject", who, "--as", "dpo").stdout
    assert "deleted" in shell("resume", "mini-2026-08.1", code=1).stderr
    assert shell("sweep").stdout == (
        "0 expired items of memory deleted, 0 threads emptied whose time was over\n"
        "0 vaults of pseudonyms deleted, of subjects of which nothing else was left\n"
    )
    shell("audit", "verify")


def test_bad_input_writes_nothing(shell: Shell) -> None:
    before = shell.json("threads")
    assert "--period '2026' expected" in shell("run", "mini", "--period", "2026", code=2).stderr.replace(":", "")
    assert "did you mean '--period'" in shell("run", "mini", "--perod", "2026-10", code=2).stderr
    assert "is not known" in shell("timeline", "nothing", code=2).stderr
    assert "is not known" in shell("show", "A-NOTHING", code=2).stderr
    assert shell.json("threads") == before


def test_the_same_run_again_goes_on_and_other_input_is_refused(shell: Shell) -> None:
    shell("run", "mini", "--period", "2026-11", code=3)
    again = shell("run", "mini", "--period", "2026-11", code=3).stdout
    assert "mini-2026-11.1 is not finished and goes on" in again
    refused = shell("run", "mini", "--period", "2026-11", "--note", "other", code=2).stderr
    assert "note was '', is 'other' now" in refused
    assert shell.paid() == ["a 5.0"]
    finished = shell("run", "mini", "--period", "2026-11", "--approve-as", "boss").stdout
    assert "approved by boss" in finished
    assert "mini-2026-11.2 starts" in shell("run", "mini", "--period", "2026-11", code=3).stdout


def test_a_requester_cannot_play_the_approver(shell: Shell) -> None:
    args = ("--period", "2026-12", "--requester", "boss", "--approve-as", "boss")
    assert "excluded" in shell("run", "mini", *args, code=3).stdout
    assert shell.paid() == ["a 5.0"]


def test_a_killed_run_goes_on_with_the_same_command(shell: Shell) -> None:
    killed = shell.start("run", "mini", "--period", "2027-01", LOOK_SECONDS="60")
    shell.wait_for_look(killed)
    killed.kill()
    killed.communicate()
    done = shell.process("run", "mini", "--period", "2027-01", "--approve-as", "boss").stdout
    assert "mini-2027-01.1 is not finished and goes on" in done
    assert shell.paid() == ["a 5.0", "b 500.0"]


def test_an_interrupt_says_how_to_go_on(shell: Shell) -> None:
    run = shell.start("run", "mini", "--period", "2027-02", LOOK_SECONDS="1")
    shell.wait_for_look(run)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130
    assert "stateward resume mini-2027-02.1" in said
    assert "Traceback" not in said
    shell("resume", "mini-2027-02.1", "--approve-as", "boss")


def test_the_demo_runs_and_ends_with_what_happened(shell: Shell) -> None:
    done = shell.process("demo", "mini", "--approve-as", "boss", "--out", "sample").stdout
    assert (shell.folder / "sample" / "sample.csv").exists()
    for part in ("retrieve", "orchestrate", "verify", "act", "What happened", "How it went", "approved pay"):
        assert part in done


def test_on_a_terminal_it_asks(shell: Shell) -> None:
    with Terminal(shell, "run", "mini", "--period", "2027-03") as terminal:
        terminal.answer("later?", "edit")
        terminal.answer("amount [500.0]:", "300")
        terminal.answer("to [b]:", "")
        terminal.answer("decide as [boss]:", "ann")
        terminal.answer("later?", "reject")
        terminal.answer("why:", "not now")
        terminal.answer("decide as [boss]:", "")
        said = terminal.rest()
    assert "refused: " in said
    assert "rejected by boss" in said
    assert shell.paid() == ["a 5.0"]


def test_on_a_terminal_the_subject_is_typed_before_it_is_erased(shell: Shell) -> None:
    shell("run", "mini", "--period", "2027-04", code=3)
    forget = ("forget", "--subject", "period:2027-04", "--as", "dpo")
    for typed in ("y", "period:2027-0", ""):
        with Terminal(shell, *forget) as terminal:
            terminal.answer("type exactly period:2027-04:", typed)
            assert "nothing was erased" in terminal.rest()
    with Terminal(shell, *forget) as terminal:
        terminal.answer("type exactly period:2027-04:", "period:2027-04")
        said = terminal.rest()
    assert "1 thread (1 waiting for people, 0 running or cut off)" in said
    assert "period:2027-04 is forgotten" in said


class Terminal:
    """A run on a pseudo-terminal, answered as a person would."""

    def __init__(self, shell: Shell, *args: str) -> None:
        self._shell, self._args = shell, args
        self._said, self._seen = "", 0

    def __enter__(self) -> Terminal:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(self._shell.folder)
            os.execve(sys.executable, [*COMMAND, *self._args], self._shell.environment | {"TERM": "dumb"})
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        os.waitpid(self._pid, 0)

    def answer(self, prompt: str, text: str) -> None:
        until = time.monotonic() + PATIENCE
        while prompt not in self._said[self._seen :]:
            assert time.monotonic() < until, f"never asked {prompt!r}:\n{self._said}"
            assert self._read(), f"ended before it asked {prompt!r}:\n{self._said}"
        self._seen = self._said.index(prompt, self._seen) + len(prompt)
        os.write(self._fd, f"{text}\n".encode())

    def rest(self) -> str:
        while self._read():
            pass
        return self._said

    def _read(self) -> bool:
        ready, _, _ = select.select([self._fd], [], [], PATIENCE)
        try:
            text = os.read(self._fd, 65536).decode(errors="replace") if ready else ""
        except OSError:  # the other end was closed
            return False
        self._said += text
        return bool(text)
