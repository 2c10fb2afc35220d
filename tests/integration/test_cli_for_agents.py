"""The command line beside an agent that no folder holds: who has which role, what is erased, and what people read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agents import GO, governed, says, thread, wards
from bank import POLICY, Bank
from stateward import Principal, call
from stateward.cli.app import app
from stateward.settings import Settings

LEADS = POLICY.replace("boss: {kind: person}", "boss: {kind: person, role: lead}").replace(
    "by: [boss, chief]", "by: [lead]"
)
ADMIN = Principal("dpo")


@dataclass
class Shell:
    environment: dict[str, str | None]

    def __call__(self, *args: str, code: int = 0) -> Result:
        done = CliRunner(env=self.environment).invoke(app, [*args])
        assert done.exit_code == code, f"{args} ended with {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def shell(settings: Settings) -> Shell:
    return Shell({"DATABASE_URL": settings.database_url, "STATEWARD_HOME": str(settings.home), "COLUMNS": "160"})


@pytest.fixture
def asked(bank: Bank) -> Any:
    """An agent's question to a role, which its policy gives the boss."""
    ward = wards(bank, bank.tools(), policy=LEADS)
    agent = governed(bank, says([call("pay", amount=500)]), bank.tools(), ward)
    agent.invoke(GO, thread(bank))
    (question,) = bank.runtime.approvals(thread="case-1")
    return question


def test_the_policy_that_asked_says_who_has_the_role(shell: Shell, bank: Bank, asked: Any) -> None:
    assert (
        "chief may not decide this; it is for lead"
        in shell("decide", asked.id, "approve", "--as", "chief", code=1).stderr
    )
    done = shell("decide", asked.id, "approve", "--as", "boss")
    assert "approved by boss" in done.stdout
    assert "runtime.resume(..., 'case-1')" in done.stderr  # there is no folder that `stateward resume` could load
    (signed,) = bank.runtime.approval(asked.id).signatures
    assert signed.verified_by.startswith("cli:")


def test_a_role_that_the_policy_does_not_give_is_said(shell: Shell, asked: Any) -> None:
    wrong = shell("decide", asked.id, "approve", "--as", "eve", "--role", "leed", code=1)
    assert "eve (leed) may not decide this; it is for lead" in wrong.stderr
    assert "approved by eve" in shell("decide", asked.id, "approve", "--as", "eve", "--role", "lead").stdout


def test_the_requester_gets_no_further_by_a_role(shell: Shell, asked: Any) -> None:
    said = shell("decide", asked.id, "approve", "--as", "ann", "--role", "lead", code=1).stderr
    assert "ann is excluded here (segregation of duties: not editor, not requester, not subject)" in said


def test_a_rejection_without_words_says_which_option_has_them(shell: Shell, asked: Any) -> None:
    assert "reject needs a reason" in shell("decide", asked.id, "reject", "--as", "boss", code=1).stderr


def test_what_is_erased_is_called_so(shell: Shell, bank: Bank, asked: Any) -> None:
    bank.runtime.forget("customer:17", by=ADMIN)
    assert " erased " in shell("threads").stdout
    assert '"erased": true' in shell("threads", "--json").stdout


def test_what_is_erased_is_not_judged_by_a_new_policy(bank: Bank, asked: Any) -> None:
    assert [one.is_erased for one in bank.runtime.judgements()] == [False]
    bank.runtime.forget("customer:17", by=ADMIN)
    assert [one.is_erased for one in bank.runtime.judgements()] == [True]


def test_a_receipt_that_has_no_folder_erases_nothing(shell: Shell, bank: Bank, asked: Any, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no" / "receipt.json")
    said = shell("forget", "--subject", "customer:17", "--yes", "--receipt", nowhere, code=2).stderr
    assert "nothing was erased" in said
    assert not bank.runtime.find_thread("case-1").is_erased


def test_nothing_to_show_is_said(shell: Shell) -> None:
    for command, said in [
        ("holds", "no subject is on legal hold"),
        ("delegations", "nobody decides for anybody"),
        ("tick", "nothing was due"),
        ("inbox", "nothing waits for anybody"),
    ]:
        done = shell(command)
        assert (done.stdout, done.stderr.strip()) == ("", said)


def test_what_an_agent_has_done_is_judged_by_a_new_policy(
    shell: Shell, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wf_beside"
    folder.mkdir()
    (folder / "graph.py").write_text(BESIDE)
    (tmp_path / "new.yaml").write_text(BESIDE_POLICY)
    monkeypatch.setattr("sys.path", [*sys.path])
    backtest = ("policy", "backtest", "--policy", str(tmp_path / "new.yaml"), "--workflow", str(folder))
    said = shell(*backtest, "--agent", "bot")
    assert "1 action of the last 30d judged by bank@2: 0 the same, 1 differently" in said.stdout
    assert "ask → allow" in said.stdout
    assert "--agent PRINCIPAL" in shell(*backtest).stderr


BESIDE_POLICY = """
policy: bank
version: 2
identities: {bot: {kind: agent}, boss: {kind: person}}
tools: {pay: {effect: write, for: [bot], ask: [{when: args.amount > 1000, by: [boss]}]}}
"""
BESIDE = """
from stateward import FlowState, Workflow, tool
from stateward.verify.load import parse_policy

@tool
def pay(amount: float) -> str:
    \"\"\"Pay.\"\"\"
    return ""

policy = "{policy: bank, version: 1, identities: {bot: {kind: agent}}, tools: {pay: {effect: write, for: [bot]}}}"
flow = Workflow("wf_beside", state=FlowState, policy=parse_policy(policy), principal="bot")
flow.orchestrate(lambda request: "done", tools=[pay])
"""
