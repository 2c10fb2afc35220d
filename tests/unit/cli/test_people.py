"""What is printed and asked at the terminal: approvals, progress, lengths of time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from rich.console import Console

from stateward.cli.people import Approvers, person, suggested
from stateward.cli.progress import Progress
from stateward.cli.render import approval_panel, counted, duration
from stateward.errors import DecisionRefused
from stateward.model.approval import Approval
from stateward.model.policy import PolicyDocument
from stateward.model.principal import Principal
from stateward.model.verdict import Reason, Requirement
from stateward.verify.load import parse_policy

NOW = datetime(2026, 10, 31, 12, tzinfo=UTC)
QUESTION = Approval(
    id="A-1",
    kind="action",
    tenant="default",
    thread="close.1",
    action="a",
    turn="t",
    tool="pay",
    arguments={"amount": 500.0, "to": "[red]b[/]"},
    description="",
    requirements=(
        Requirement(
            by=("boss",), excluding=("requester",), reason=Reason(rule="tools.pay.ask[0]", because="above 100")
        ),
    ),
    allowed=("approve", "edit", "reject", "respond"),
    digest="0123456789abcdef",
    requester="ann",
    subject="period:2026-10",
    requested_at=NOW,
    expires_at=NOW + timedelta(days=2),
)


PEOPLE = """
policy: pay
version: 1
identities:
  bot: {kind: agent}
  ann: {kind: person, role: boss}
  eve: {kind: person, role: clerk}
  joe: {kind: person, role: boss}
"""


def test_who_could_decide_is_a_person_and_not_the_requester() -> None:
    assert suggested(QUESTION, parse_policy(PEOPLE)) == "joe"
    assert suggested(QUESTION, parse_policy(PEOPLE.replace("joe", "boss"))) == "boss"
    assert suggested(QUESTION, parse_policy(PEOPLE.replace("role: boss", "role: clerk"))) == ""


class Terminal(Console):
    """A terminal that answers by itself and remembers what it showed."""

    def __init__(self, answers: Iterator[str]) -> None:
        self._answers = answers
        super().__init__(file=io.StringIO(), width=100, force_terminal=False)

    def input(self, prompt: Any = "", **_: Any) -> str:
        self.print(prompt)
        answer = next(self._answers, None)
        if answer is None:
            raise EOFError
        return answer

    @property
    def shown(self) -> str:
        return cast("io.StringIO", self.file).getvalue()


class Desk:
    """Takes every decision of those who may decide, as the runtime would."""

    def __init__(self) -> None:
        self.taken: list[tuple[Any, ...]] = []

    def decide(
        self, approval: Approval, kind: str, *, by: Principal, reason: str, arguments: Any, confirmation: str | None
    ) -> Approval:
        assert confirmation == approval.confirmation
        if by.id != "boss":
            raise DecisionRefused(f"{by.id} may not decide this")
        self.taken.append((kind, by.id, by.verified_by.partition(":")[0], reason, arguments))
        return replace(approval, status="approved")


def approvers(*answers: str, name: str | None = None, interactive: bool = True) -> tuple[Approvers, Desk, Terminal]:
    desk, terminal = Desk(), Terminal(iter(answers))
    document = PolicyDocument.model_validate({"policy": "p", "version": 1, "identities": {"boss": {"kind": "person"}}})
    loaded: Any = SimpleNamespace(flow=SimpleNamespace(document=document))
    people = Approvers(console=terminal, runtime=cast("Any", desk), loaded=loaded, name=name, interactive=interactive)
    return people, desk, terminal


def test_the_question_shows_what_is_asked_and_why() -> None:
    terminal = Terminal(iter(()))
    terminal.print(approval_panel(QUESTION))
    for part in (
        "A-1",
        "pay",
        "500.0",
        "[red]b[/]",
        "above 100",
        "tools.pay.ask[0]",
        "boss",
        "not the requester (ann)",
    ):
        assert part in terminal.shown
    assert "2026-11-02 12:00 UTC" in terminal.shown


@pytest.mark.parametrize(
    ("answers", "taken"),
    [
        (("a", ""), ("approve", "boss", "cli", "", None)),
        (("nonsense", "approve", "boss"), ("approve", "boss", "cli", "", None)),
        (("rej", "too much", ""), ("reject", "boss", "cli", "too much", None)),
        (("reject", "", "res", "paid by cash", ""), ("respond", "boss", "cli", "paid by cash", None)),
        (("e", "250", "", ""), ("edit", "boss", "cli", "", {"amount": 250, "to": "[red]b[/]"})),
        (("e", "", "", "a", ""), ("approve", "boss", "cli", "", None)),
        (("a", "ann", "a", "boss"), ("approve", "boss", "cli", "", None)),
    ],
)
def test_an_answer_at_the_terminal(answers: tuple[str, ...], taken: tuple[Any, ...]) -> None:
    people, desk, _ = approvers(*answers)
    assert people.decide(QUESTION)
    assert desk.taken == [taken]


def test_later_decides_nothing() -> None:
    people, desk, _ = approvers("later")
    assert not people.decide(QUESTION)
    assert desk.taken == []


def test_enter_alone_decides_nothing_and_the_end_of_input_leaves() -> None:
    people, desk, _ = approvers("")
    with pytest.raises(KeyboardInterrupt):
        people.decide(QUESTION)
    assert desk.taken == []


def test_who_was_let_through_once_is_not_asked_for_again() -> None:
    people, desk, _ = approvers("a", "boss", "a")
    assert people.decide(QUESTION)
    assert people.decide(replace(QUESTION, id="A-2"))
    assert [one[1] for one in desk.taken] == ["boss", "boss"]


def test_without_a_terminal_the_named_person_approves_what_they_may() -> None:
    people, desk, terminal = approvers(name="boss", interactive=False)
    assert people.decide(QUESTION)
    assert not people.decide(replace(QUESTION, id="A-2", kind="outcome", allowed=("done", "retry", "give_up")))
    assert len(desk.taken) == 1
    assert "cannot answer this" in terminal.shown


def test_without_anybody_the_question_is_shown_and_stays() -> None:
    people, desk, terminal = approvers(interactive=False)
    assert not people.decide(QUESTION)
    assert "A-1" in terminal.shown
    assert desk.taken == []


def test_a_person_has_the_roles_that_the_policy_gives() -> None:
    document = PolicyDocument.model_validate(
        {
            "policy": "p",
            "version": 1,
            "identities": {"ana": {"kind": "person", "role": "lead"}, "bot": {"kind": "agent"}},
        }
    )
    assert person("ana", document).names == {"ana", "lead"}
    assert person("joe", document, ["lead"]).names == {"joe", "lead"}
    with pytest.raises(DecisionRefused, match="'bot' is of the kind agent in the policy; only a person decides"):
        person("bot", document, ["lead"])


def test_progress_tells_the_words_with_what_is_done() -> None:
    terminal = Terminal(iter(()))
    call = {"name": "pay", "args": {}, "id": "1"}
    with Progress(terminal) as progress:
        progress.show("updates", {"retrieve": {"messages": [HumanMessage("Close 2026-10.")]}})
        progress.show("updates", {"orchestrate": {"messages": [AIMessage("", tool_calls=[call, {**call, "id": "2"}])]}})
        for verdict, reasons in (("allow", []), ("allow", []), ("deny", ["a [bold]payment[/] is positive"])):
            progress.show("custom", {"step": "verify", "tool": "pay", "verdict": verdict, "reasons": reasons})
        progress.show("updates", {"verify": None})
        progress.show("custom", {"step": "act", "tool": "pay", "status": "settled", "error": ""})
        progress.show("custom", {"step": "act", "tool": "pay", "status": "abandoned", "error": "denied: no"})
        progress.show("custom", {"step": "act", "tool": "pay", "status": "failed", "error": "no bank"})
        progress.show("updates", {"act": {"messages": []}})
        progress.show("updates", {"validate": {"outcome": "answered"}})
        progress.show("updates", {"__interrupt__": ()})
    assert [line.split(maxsplit=1) for line in terminal.shown.splitlines()] == [
        ["retrieve", "Close 2026-10."],
        ["orchestrate", "proposes pay ×2"],
        ["verify", "pay ×2 allowed"],
        ["pay", "denied: a [bold]payment[/] is positive"],
        ["act", "pay done"],
        ["pay", "failed: no bank"],
        ["validate", "the answer holds"],
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59, "59 s"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (172_790, "2 d"),
        (97_200, "1 d 3 h"),
    ],
)
def test_a_length_of_time(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_one_thing_is_not_several() -> None:
    assert [counted(number, "thread") for number in (0, 1, 2)] == ["0 threads", "1 thread", "2 threads"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
