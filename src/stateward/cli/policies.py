"""Check a policy against a workflow's tools, say what it would do with one call, and test it with a table of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.policies import PostgresPolicies
from stateward.cli import shapes
from stateward.cli.doctor import reachable
from stateward.cli.exits import DONE, FAILED, say
from stateward.cli.options import parse_arguments, typed
from stateward.cli.workflows import Loaded, load_workflow
from stateward.errors import StatewardError, ToolInputError
from stateward.model.judgement import Judgement
from stateward.model.policy import PolicyDocument, nearest
from stateward.model.values import Json
from stateward.orchestrate.services import Ward
from stateward.orchestrate.tools import ToolSpec
from stateward.orchestrate.workflow import gate_of
from stateward.policies.backtest import Replay, Unjudged
from stateward.policies.cases import Bench, CaseFacts, CaseResult, read_cases, run_cases, stated
from stateward.settings import Settings
from stateward.verify.gate import Gate, RuleResult, Ruling
from stateward.verify.load import read_policy

_MARKS = {"pass": "green", "ask": "magenta", "deny": "red", "allow": "green"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """A call, or an answer, to explain, as it stands on the command line."""

    tool: str = ""
    answer: str = ""
    sets: Sequence[str] = ()
    arguments: str | None = None
    principal: str = ""
    roles: Sequence[str] = ()
    requester: str = "somebody"
    subject: str = "none"
    labels: Sequence[str] = ()
    origins: Sequence[str] = ()
    history: Sequence[str] = ()

    @property
    def facts(self) -> CaseFacts:
        """What it is judged by.

        Raises:
            ToolInputError: one of them has no value, or none that it can have.
        """
        history = {name: typed(text, None) for name, text in _pairs("--history", self.history)}
        given: dict[str, object] = {
            "principal": self.principal,
            "roles": self.roles,
            "requester": self.requester,
            "subject": self.subject,
            "labels": self.labels,
            "origin": dict(_pairs("--origin", self.origins)),
            "history": history,
        }
        try:
            return CaseFacts.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise ToolInputError(f"--{first['loc'][0]} {first['input']}: {first['msg']}") from error


def check(file: Path, *, workflow: str, as_json: bool) -> int:
    """Load a policy and compile it against the workflow's tools; every problem has its line.

    Raises:
        PolicyError: it does not hold.
    """
    source = read_policy(file)
    document = source.document
    ward = load_workflow(workflow).flow.ward()
    gate = gate_of(document, ward.tools, source, answer=ward.answer)
    others = asyncio.run(_others(document))
    if as_json:
        named = {"policy": document.label, "tools": sorted(gate.tools), "others": list(others)}
        shapes.emit(named | {"mcp": {name: gate.named_by(name)[1] for name in _of_servers(gate, ward.tools)}})
        return DONE
    print(f"{file}: {document.label} holds for {workflow}: {', '.join(sorted(gate.tools))}")
    for key in (key for key in document.tools if "*" in key):
        matched = [name for name in sorted(gate.tools) if gate.named_by(name)[0] == f"tools.{key}"]
        print(f"  {key} names {', '.join(matched)}")
    for line in _served(gate, ward.tools):
        print(f"  {line}")
    if others:
        say(f"another policy has judged as {document.label} ({_short(others)}): give a change a new version")
    return DONE


def explain(wishes: Wishes, *, workflow: str | None, as_json: bool) -> int:
    """What the policy says to one call, or to one answer; nothing is run or recorded."""
    if bool(wishes.tool) == bool(wishes.answer) or not workflow:
        raise ToolInputError(
            "say which tool or which answer of which workflow, TOOL --workflow NAME, or --answer ANSWER "
            "--workflow NAME; or --action ID of a recorded action"
        )
    loaded = load_workflow(workflow)
    bench = bench_of(loaded)
    if wishes.answer:
        ruling = _explained_answer(wishes, bench, loaded.flow.ward())
    else:
        facts = stated(bench, wishes.tool, wishes.facts)
        tools = loaded.flow.ward().tools
        texts = _texts(tools[wishes.tool].schema) if wishes.tool in tools else ()
        arguments = parse_arguments(wishes.arguments) if wishes.arguments else _sets(wishes.sets, texts=texts)
        ruling = bench.judge(wishes.tool, arguments, facts)
    _tell(ruling, as_json=as_json)
    return FAILED if ruling.verdict.kind == "deny" else DONE


def explain_action(id_: str, *, workflow: str | None, as_json: bool) -> int:
    """How a recorded action was judged: by the policy that judged it, from the facts that were recorded."""
    was, document = _recorded(id_)
    if document is None:
        raise ToolInputError(f"the policy that judged {id_}, {was.policy}, was not kept: it is of an older release")
    ward = load_workflow(workflow or was.graph).flow.ward()
    gate = gate_of(document, ward.tools, answer=ward.answer)
    replay = Replay(gate=gate, labels=document.labels, tools=ward.tools)
    said = replay.judge(was, document)
    if isinstance(said, Unjudged):
        raise ToolInputError(f"{id_} was judged {was.verdict} by {was.policy}, and cannot be judged again: {said.why}")
    _tell(replace(said, policy_digest=was.policy_digest), as_json=as_json, recorded=was)
    _tell_doubts(was, said, ward.tools)
    return DONE


def test(file: Path, table: Path, *, workflow: str, as_json: bool) -> int:
    """Judge a table of calls by a policy file.

    Raises:
        PolicyError: the policy or the table does not hold.
    """
    source = read_policy(file)
    loaded = load_workflow(workflow)
    ward = loaded.flow.ward()
    gate = gate_of(source.document, ward.tools, source, answer=ward.answer)
    results = run_cases(bench_of(loaded, source.document, gate), read_cases(table))
    failed = [one for one in results if one.differs]
    if as_json:
        counts = {"passed": len(results) - len(failed), "failed": len(failed)}
        shapes.emit({**counts, "cases": [_case_json(one) for one in results]})
    else:
        _tell_cases(table, results, len(failed))
    return FAILED if failed else DONE


def bench_of(loaded: Loaded, document: PolicyDocument | None = None, gate: Gate | None = None) -> Bench:
    """What cases of a workflow are judged with: by its own policy, or by another one."""
    flow = loaded.flow
    ward = flow.ward()
    return Bench(
        gate=gate or ward.gate,
        tools=frozenset(ward.tools),
        labels=(document or ward.document).labels,
        principal=flow.principal,
        purpose=flow.purpose,
    )


def _of_servers(gate: Gate, tools: Mapping[str, ToolSpec]) -> list[str]:
    return [name for name in sorted(gate.tools) if name in tools and tools[name].served is not None]


def _served(gate: Gate, tools: Mapping[str, ToolSpec]) -> Iterable[str]:
    """A line for each tool of an MCP server, with what it is and by whose word."""
    for name in _of_servers(gate, tools):
        place, because = gate.named_by(name)
        yield f"{name}, by {place}: {because}"
    unnamed = [name for name, spec in sorted(tools.items()) if spec.served is not None and name not in gate.tools]
    if unnamed:
        yield f"denied, as the policy names neither them nor their server: {', '.join(unnamed)}"


async def _others(document: PolicyDocument) -> Sequence[str]:
    """Others of this name and version that have judged, as far as a database is there to ask."""
    try:
        uri = reachable(Settings.from_environment())
    except StatewardError:
        return ()
    if not uri:
        return ()
    database = Database(uri, size=1)
    try:
        await database.open()
        return await PostgresPolicies(database).others(document)
    except Exception:  # only the adapters know psycopg's errors; a database that is away, or older, has nothing to tell
        return ()
    finally:
        await database.close()


def _explained_answer(wishes: Wishes, bench: Bench, ward: Ward) -> Ruling:
    spec = ward.answer
    if wishes.answer != spec.name:
        raise ToolInputError(f"the workflow answers with {spec.name!r}, and not with {wishes.answer!r}")
    fields = parse_arguments(wishes.arguments) if wishes.arguments else _sets(wishes.sets, texts=_texts(spec.schema))
    known = spec.model.model_fields
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ToolInputError(f"{spec.name} has no field {', '.join(unknown)}{nearest(unknown[0], known)}")
    try:
        content = spec.read(fields)
    except ValueError as error:
        raise ToolInputError(f"the answer does not fit {spec.name}: {error}") from error
    if spec.name in bench.gate.answers:
        return bench.judge(spec.name, content, stated(bench, spec.name, wishes.facts))
    return bench.gate.let_leave(spec.name)


def _recorded(id_: str) -> tuple[Judgement, PolicyDocument | None]:
    from stateward.blocking import Runtime

    with Runtime.open(keep_running=True) as runtime:
        found = runtime.judgements(action=id_)
        if not found:
            raise ToolInputError(f"action {id_!r} is not known: `stateward timeline THREAD --json` names them")
        return found[0], runtime.policy(found[0].policy_digest)


def _pairs(option: str, given: Iterable[str]) -> Iterable[tuple[str, str]]:
    for pair in given:
        name, equals, text = pair.rpartition("=")
        if not (equals and name):
            raise ToolInputError(f"{option} {pair}: write name=value")
        yield name.strip(), text.strip()


def _texts(schema: Mapping[str, Any]) -> set[str]:
    """The arguments that are text, so that `--set account=1200` says "1200" there."""
    return {name for name, one in schema.get("properties", {}).items() if one.get("type") == "string"}


def _sets(pairs: Sequence[str], *, texts: Collection[str] = ()) -> dict[str, Json]:
    given: dict[str, Json] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ToolInputError(f"--set {pair}: write name=value")
        given[name] = typed(text, "" if name in texts else None)
    return given


def _tell(ruling: Ruling, *, as_json: bool, recorded: Judgement | None = None) -> None:
    if as_json:
        shapes.emit(_ruling_json(ruling) | (_recorded_json(recorded) if recorded else {}))
        return
    console = Console()
    if recorded:
        when = f"{recorded.at:%Y-%m-%d %H:%M:%S} UTC"
        console.print(f"{recorded.action} of {recorded.thread}, judged {recorded.verdict} at {when}", highlight=False)
    verdict = Text.assemble((ruling.verdict.kind, _MARKS[ruling.verdict.kind]))
    console.print(Text(f"{ruling.tool}: ") + verdict + Text(f", by {ruling.policy} ({ruling.policy_digest[:12]})"))
    console.print(_trace_table(ruling), highlight=False)
    if ruling.effect == "answer" and not ruling.trace:
        console.print("the policy has no rule for it: it leaves when it is valid", highlight=False)


def _trace_table(ruling: Ruling) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in ruling.trace:
        table.add_row(Text(one.outcome, style=_MARKS[one.outcome]), one.step, Text(one.rule), _why(one))
    for name, value in _facts(ruling.facts):
        table.add_row("", "read", Text(name), Text(value))
    return table


def _why(one: RuleResult) -> Text:
    value = "cannot be told" if one.value is None else f"is {str(one.value).lower()}"
    condition = f"{one.condition}  {value}\n" if one.condition else ""
    asked = f", by {' or '.join(one.requirement.by)}" if one.requirement else ""
    return Text.assemble(condition, (one.because + asked + (" (observed only)" if one.observed else ""), "dim"))


def _facts(facts: Mapping[str, Json]) -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if name == "history":
            yield from ((query, str(found)) for query, found in cast("Mapping[str, Json]", value).items())
        else:
            yield name, (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _ruling_json(ruling: Ruling) -> dict[str, Any]:
    names = ("step", "rule", "outcome", "condition", "value", "because", "observed")
    return {
        "tool": ruling.tool,
        "verdict": ruling.verdict.kind,
        "policy": ruling.policy,
        "policy_digest": ruling.policy_digest,
        "reasons": [{"rule": one.rule, "because": one.because} for one in ruling.verdict.reasons],
        "trace": [{name: getattr(one, name) for name in names} for one in ruling.trace],
        "facts": dict(ruling.facts),
    }


def _recorded_json(was: Judgement) -> dict[str, Any]:
    said = {"action": was.action, "thread": was.thread, "at": was.at.isoformat(), "arguments": was.arguments}
    return {"recorded": {**said, "verdict": was.verdict, "rules": list(was.rules)}}


def _tell_doubts(was: Judgement, said: Ruling, tools: Mapping[str, ToolSpec]) -> None:
    if was.tool in tools and tools[was.tool].digest != was.tool_digest:
        say(f"the tool {was.tool} is not as it was then: its schema has changed")
    if said.verdict.kind != was.verdict:
        say(
            f"then it was {was.verdict}, by {', '.join(was.rules) or 'no rule'}; today's tool or release says otherwise"
        )


def _tell_cases(table: Path, results: Sequence[CaseResult], failed: int) -> None:
    console = Console()
    for one in results:
        mark = ("fail  ", "red") if one.differs else ("pass  ", "green")
        console.print(Text.assemble(mark, one.name), highlight=False)
        for what, expected, found in one.differs:
            console.print(Text(f"      {table}:{one.line}: {what}", style="dim"))
            console.print(Text(f"      - {expected}", style="green"))
            console.print(Text(f"      + {found}", style="red"))
        if one.differs:
            for reason in one.ruling.verdict.reasons:
                console.print(Text(f"        because {reason.because} ({reason.rule})", style="dim"))
    console.print(f"{len(results) - failed} of {len(results)} as expected", highlight=False)


def _case_json(one: CaseResult) -> dict[str, Any]:
    differs = [{"what": what, "expected": expected, "found": found} for what, expected, found in one.differs]
    said = {"name": one.name, "line": one.line, "passed": not one.differs, "verdict": one.ruling.verdict.kind}
    return {**said, "differs": differs}


def _short(digests: Iterable[str]) -> str:
    return ", ".join(one[:12] for one in digests)
