"""A table of calls and the verdicts that are expected of a policy, read from YAML and held against a gate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stateward.errors import ToolInputError
from stateward.model.history import HistoryQuery, HistoryValue, Usage, value_of
from stateward.model.policy import Name, Path, duration_text, nearest, parse_duration
from stateward.model.principal import Principal
from stateward.model.provenance import Origin
from stateward.model.values import plain_object
from stateward.model.verdict import Ask
from stateward.verify.gate import Gate, Ruling
from stateward.verify.load import Place, Problem, fail, parse_as, read_text, where


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CaseFacts(_Part):
    """What a call is judged by besides its arguments; what is not given is as for a new thread of the workflow.

    Attributes:
        principal: Who acts; the workflow's own principal unless stated.
        roles: The principal's roles.
        requester: Who asked for the work.
        purpose: Why; the workflow's own purpose unless stated.
        subject: Whom or what it is about.
        thread: The thread's id.
        labels: The thread's labels.
        origin: Where arguments were seen, by the argument's name; `unknown` unless stated.
        history: What the journal says, by the query as the policy writes it; as if nothing had been done unless stated.
            A `last` is a duration such as 30m.
    """

    principal: str = ""
    roles: tuple[str, ...] = ()
    requester: str = "somebody"
    purpose: str = ""
    subject: str = "none"
    thread: str = "none"
    labels: tuple[Name, ...] = ()
    origin: Mapping[str, Origin] = Field(default_factory=dict)
    history: Mapping[str, bool | int | float | str] = Field(default_factory=dict)


class Case(_Part):
    """One call, and what is expected.

    Attributes:
        name: What people call it; the tool and the line unless stated.
        tool: The tool, or an answer that the policy has rules for.
        arguments: The call's arguments, or the answer's fields.
        facts: What it is judged by.
        expect: The verdict.
        rule: A rule that has to have spoken, such as `tools.pay.ask[0]`.
        by: Who has to be asked: all of the ids and roles that may decide.
    """

    name: str = ""
    tool: str
    arguments: Mapping[str, Any] = Field(default_factory=dict)
    facts: CaseFacts = CaseFacts()
    expect: Literal["allow", "deny", "ask"]
    rule: str | None = None
    by: tuple[str, ...] | None = None


class _Table(_Part):
    cases: tuple[Case, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseTable:
    """A table that was read.

    Attributes:
        file: What errors call it.
        cases: In the order of the file.
    """

    file: str
    cases: tuple[Case, ...]
    places: Mapping[Path, Place] = field(repr=False)

    def line(self, index: int) -> int:
        """The line that a case begins at."""
        return where(self.places, ("cases", index), key=True)[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult:
    """What the policy says to one case.

    Attributes:
        line: Where the case stands in its file.
        differs: What is not as expected, each as name, expected and found; empty where all of it is.
    """

    name: str
    line: int
    ruling: Ruling
    differs: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What the cases of a workflow are judged with.

    Attributes:
        tools: All tools of the workflow, those that the policy does not name among them.
        labels: Those that a thread under the policy can come by.
        principal: Who acts unless a case says otherwise.
        purpose: What for.
    """

    gate: Gate
    tools: frozenset[str]
    labels: frozenset[str]
    principal: str
    purpose: str

    def judge(self, tool: str, arguments: Mapping[str, Any], facts: CaseFacts) -> Ruling:
        """Judge one call by stated facts, which `problems` has found nothing wrong with."""
        return self.gate.judge(
            tool=tool,
            arguments=plain_object(arguments),
            principal=Principal(facts.principal or self.principal, roles=facts.roles, kind="agent"),
            requester=facts.requester,
            purpose=facts.purpose or self.purpose,
            subject=facts.subject,
            thread=facts.thread,
            history=self._history(tool, facts),
            answer=self._is_answer(tool),
            labels=frozenset(facts.labels),
            origins={_origin(name): value for name, value in facts.origin.items()},
        )

    def problems(self, tool: str, facts: CaseFacts) -> Iterator[tuple[Path, str]]:
        """What is named that there is not: each with its place within the case."""
        known = self.tools | set(self.gate.answers)
        if tool not in known:
            yield ("tool",), f"there is no tool {tool!r}{nearest(tool, known)}"
            return
        for index, label in enumerate(facts.labels):
            if label not in self.labels:
                hint = nearest(label, self.labels)
                yield ("facts", "labels", index), f"nothing in this policy gives the label {label!r}{hint}"
        yield from self._unread(tool, facts)
        for text, value in facts.history.items():
            query = self._query(tool, text)
            if query is not None and (wrong := _misfit(query, value)):
                yield ("facts", "history", text), wrong

    def _is_answer(self, name: str) -> bool:
        return name in self.gate.answers

    def _unread(self, tool: str, facts: CaseFacts) -> Iterator[tuple[Path, str]]:
        # What no rule reads changes no verdict: it is mistyped, or meant for a rule that is not there.
        origins = [name for name in self.gate.reads(tool, answer=self._is_answer(tool)) if name.startswith("origin.")]
        for name in facts.origin:
            if _origin(name) not in origins:
                yield ("facts", "origin", name), f"no rule of {tool} reads {_origin(name)!r}{_there_are(origins)}"
        for text in facts.history:
            if self._query(tool, text) is None:
                asked = [query.text for query in self.gate.needs(tool)]
                yield ("facts", "history", text), f"no rule of {tool} reads {text!r}{_there_are(asked)}"

    def _query(self, tool: str, text: str) -> HistoryQuery | None:
        return next((one for one in self.gate.needs(tool) if _spelling(one.text) == _spelling(text)), None)

    def _history(self, tool: str, facts: CaseFacts) -> dict[HistoryQuery, HistoryValue]:
        found = {query: value_of(query, Usage()) for query in self.gate.needs(tool)}
        for text, value in facts.history.items():
            if query := self._query(tool, text):
                found[query] = _value(query, value)
        return {query: value for query, value in found.items() if value is not None}


def read_cases(path: str | File) -> CaseTable:
    """Read a table.

    Raises:
        PolicyError: it cannot be read, or does not hold; the message lists every problem with its line and column.
    """
    return parse_cases(read_text(path, "table"), file=str(path))


def parse_cases(text: str, *, file: str = "<table>") -> CaseTable:
    """Read a table from text. Errors as `read_cases`."""
    table, places = parse_as(_Table, text, file=file, what="table", fractions=True)
    if not table.cases:
        line, column = where(places, ("cases",))
        fail([Problem(line=line, column=column, message="this list must not be empty")], file=file)
    return CaseTable(file=file, cases=table.cases, places=places)


def run_cases(bench: Bench, table: CaseTable) -> Sequence[CaseResult]:
    """Judge every case.

    Raises:
        PolicyError: a case names a tool, a label, an origin or a history that there is not.
    """
    fail(_problems(bench, table), file=table.file)
    return [_run(bench, case, table.line(index)) for index, case in enumerate(table.cases)]


def stated(bench: Bench, tool: str, facts: CaseFacts) -> CaseFacts:
    """The same facts, where what they name is there.

    Raises:
        ToolInputError: it is not.
    """
    for _, message in bench.problems(tool, facts):
        raise ToolInputError(message)
    return facts


def _problems(bench: Bench, table: CaseTable) -> Iterator[Problem]:
    for index, case in enumerate(table.cases):
        for path, message in bench.problems(case.tool, case.facts):
            full: Path = ("cases", index, *path)
            line, column = where(table.places, full, key=path[-2:-1] in (("origin",), ("history",)))
            yield Problem(line=line, column=column, message=message)


def _run(bench: Bench, case: Case, line: int) -> CaseResult:
    ruling = bench.judge(case.tool, case.arguments, case.facts)
    differs = tuple(_differences(case, ruling))
    return CaseResult(name=case.name or f"{case.tool}, line {line}", line=line, ruling=ruling, differs=differs)


def _differences(case: Case, ruling: Ruling) -> Iterator[tuple[str, str, str]]:
    verdict = ruling.verdict
    spoke = [reason.rule for reason in verdict.reasons]
    if verdict.kind != case.expect:
        yield "verdict", case.expect, verdict.kind
    if case.rule is not None and case.rule not in spoke:
        yield "rule", case.rule, ", ".join(spoke) or "no rule"
    people = {name for need in verdict.requirements for name in need.by} if isinstance(verdict, Ask) else set[str]()
    if case.by is not None and set(case.by) != people:
        yield "by", ", ".join(sorted(case.by)), ", ".join(sorted(people)) or "nobody"


def _origin(name: str) -> str:
    return name if name.startswith("origin.") else f"origin.{name}"


def _spelling(text: str) -> str:
    """A query in one spelling: without spaces, in one kind of quotes, its window in the largest unit."""
    bare = re.sub(r"\s", "", text).replace("'", '"').replace("history.tenant.", "history.")
    return re.sub(r'"([1-9][0-9]{0,8}[smhdw])"', lambda found: f'"{duration_text(parse_duration(found[1]))}"', bare)


def _misfit(query: HistoryQuery, value: object) -> str:
    try:
        _value(query, value)
    except ValueError as error:
        return f"{query.text}: {error}"
    return ""


def _value(query: HistoryQuery, value: object) -> HistoryValue:
    if query.kind == "last":
        return min(parse_duration(value), query.window)
    if query.kind == "exists":
        if not isinstance(value, bool):
            raise ValueError("expected true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int if query.kind == "count" else int | float):
        raise ValueError("expected a whole number" if query.kind == "count" else "expected a number")
    return value


def _there_are(known: Sequence[str]) -> str:
    return f"; they read {', '.join(known)}" if known else "; they read none"
