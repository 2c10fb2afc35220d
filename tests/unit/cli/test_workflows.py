"""How a workflow is found, and what is said when its folder does not follow the contract."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stateward.cli.workflows import load_workflow
from stateward.errors import ConfigurationError

GRAPH = """
class Flow:
    name = "{name}"
    def compile(self): ...
    def subject_of(self, given): return "customer:" + str(given.get("customer", 17))
flow = Flow()
"""


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in set(sys.modules) - before:
        if name.startswith("wf_"):
            del sys.modules[name]


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "graph.py").write_text(text)
    return folder


def test_a_name_is_looked_for_below_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "graphs" / "wf_one", GRAPH.format(name="wf_one"))
    monkeypatch.chdir(tmp_path)
    loaded = load_workflow("wf_one")
    assert (loaded.name, loaded.folder, loaded.again) == ("wf_one", folder, "")


def test_a_path_is_told_again_when_it_is_resumed(tmp_path: Path) -> None:
    folder = write(tmp_path / "wf_two", GRAPH.format(name="wf_two"))
    assert load_workflow(str(folder)).again == f" --workflow {folder}"
    assert load_workflow(str(folder / "graph.py")).folder == folder


def test_a_name_that_is_no_folder_is_told_with_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "graphs" / "wf_desk", GRAPH.format(name="wf_desk"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="there is no workflow 'wf-desk'; did you mean 'wf_desk'"):
        load_workflow("wf-desk")
    with pytest.raises(ConfigurationError, match=r"\./wf-desk: there is no graph\.py in"):
        load_workflow("./wf-desk")


def test_without_a_command_line_it_takes_a_request(tmp_path: Path) -> None:
    folder = write(tmp_path / "wf_plain", GRAPH.format(name="wf_plain"))
    start = load_workflow(str(folder)).cli.prepare({"request": "Close October"})
    assert (start.thread, start.input) == ("wf_plain", {"messages": [("user", "Close October")]})
    assert start.subject == "customer:17"  # as the workflow itself says, or its run would refuse the thread


def test_a_subject_that_a_request_does_not_tell_needs_options(tmp_path: Path) -> None:
    text = GRAPH.format(name="wf_about").replace('given.get("customer", 17)', 'given["customer"]')
    loaded = load_workflow(str(write(tmp_path / "wf_about", text)))
    with pytest.raises(ConfigurationError, match="from --request alone, as it reads 'customer': export a `cli`"):
        loaded.cli.prepare({"request": "Close October"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "exports no `flow`"),
        (GRAPH.format(name="other"), "names its workflow 'other': name it 'wf_bad'"),
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError"),
        (GRAPH.format(name="wf_bad") + "\ncli = object()", "`cli` has no options, prepare, demo, describe"),
    ],
)
def test_what_does_not_follow_the_contract_is_said(tmp_path: Path, text: str, said: str) -> None:
    folder = write(tmp_path / "wf_bad", text)
    with pytest.raises(ConfigurationError) as raised:
        load_workflow(str(folder))
    assert said in raised.value.message


def test_an_unknown_name_gets_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "graphs" / "wf_close", GRAPH.format(name="wf_close"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="did you mean 'wf_close'"):
        load_workflow("wf_clos")


def test_another_package_of_that_name_is_not_taken_for_it(tmp_path: Path) -> None:
    load_workflow(str(write(tmp_path / "a" / "wf_same", GRAPH.format(name="wf_same"))))
    other = write(tmp_path / "b" / "wf_same", GRAPH.format(name="wf_same"))
    with pytest.raises(ConfigurationError, match="another package named 'wf_same'"):
        load_workflow(str(other))
