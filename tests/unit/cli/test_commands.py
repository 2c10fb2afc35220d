"""The commands that need no database: help, version, exit codes, one clear line for an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stateward.cli import run as runs
from stateward.cli.app import app
from stateward.cli.doctor import place
from stateward.cli.exits import code_of, program
from stateward.errors import DecisionRefused, EmbeddedServerError, PolicyError, StatewardError, UnknownThread

RUNNER = CliRunner()


def test_help_names_every_command() -> None:
    said = RUNNER.invoke(app, ["--help"]).output
    commands = "demo run resume abandon inbox show decide threads timeline metrics doctor stop audit policy"
    assert all(command in said for command in commands.split())


def test_a_command_to_go_on_with_is_one_that_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert program() == "stateward"  # called as a module, by these tests
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    for argument, said in [
        (str(tmp_path / ".venv" / "bin" / "stateward"), ".venv/bin/stateward"),
        (".venv/bin/stateward", ".venv/bin/stateward"),
        ("/opt/venv/bin/stateward", "/opt/venv/bin/stateward"),
    ]:
        monkeypatch.setattr("sys.argv", [argument])
        assert program() == said


def test_the_version() -> None:
    assert RUNNER.invoke(app, ["--version"]).output.startswith("stateward ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PolicyError("wrong"), 2),
        (UnknownThread("t"), 2),
        (DecisionRefused("no"), 1),
        (EmbeddedServerError("no binaries"), 1),
        (RuntimeError("unexpected"), 1),
    ],
)
def test_the_exit_code_of_an_error(error: Exception, code: int) -> None:
    assert code_of(error) == code


def test_an_error_is_one_line_on_stderr() -> None:
    result = RUNNER.invoke(app, ["run", "wf_nowhere"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: [SW100] there is no workflow 'wf_nowhere'")
    assert "Traceback" not in result.stderr


def test_debug_lets_the_traceback_through() -> None:
    result = RUNNER.invoke(app, ["--debug", "run", "wf_nowhere"])
    assert isinstance(result.exception, StatewardError)


def test_what_nobody_expected_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise RuntimeError("the sky fell")

    monkeypatch.setattr(runs, "run", fails)
    result = RUNNER.invoke(app, ["run", "x"])
    assert result.exit_code == 1
    assert "error: RuntimeError: the sky fell" in result.stderr


def test_a_usage_error_is_bad_input() -> None:
    assert RUNNER.invoke(app, ["decide", "A-1"]).exit_code == 2


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"format": "other"}'])
def test_what_is_no_export_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text(text)
    result = RUNNER.invoke(app, ["audit", "verify", "--file", str(file)])
    assert result.exit_code == 2
    assert f"{file}:1:" in result.stderr


def test_doctor_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("STATEWARD_HOME", str(tmp_path / "home"))
    result = RUNNER.invoke(app, ["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert "not running" in checks["postgres"]["found"] or checks["postgres"]["status"] == "fail"
    assert not (tmp_path / "home").exists()
    assert checks["personal data"]["status"] == "warn"
    assert "in part, by rules and lists: LOCATION, PERSON" in checks["personal data"]["found"]


def test_doctor_names_a_setting_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATEWARD_DEVELOPMENT", "perhaps")
    result = RUNNER.invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["healthy"] is False


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql://ann:secret@db.example:5433/books?sslmode=require", "ann@db.example:5433/books"),
        ("postgresql:///books?host=/tmp&password=secret", "local socket/books"),
        ("host=db.example password=secret dbname=books", "host=db.example dbname=books"),
    ],
)
def test_an_address_is_told_without_its_password(uri: str, said: str) -> None:
    assert place(uri) == said


def test_the_help_of_a_run_lists_the_workflows_own_options() -> None:
    found = RUNNER.invoke(app, ["run", "month_end", "--help"])
    assert found.exit_code == 0
    assert "--period" in found.stdout
    assert "(required)" in found.stdout
    assert RUNNER.invoke(app, ["run"]).exit_code == 0
