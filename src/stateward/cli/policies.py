"""Check a policy against a workflow's tools, and say what it would do with one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stateward.cli import shapes
from stateward.cli.exits import DONE, FAILED
from stateward.cli.options import parse_arguments, typed
from stateward.cli.workflows import load_workflow
from stateward.errors import ToolInputError
from stateward.model.policy import nearest
from stateward.model.principal import Principal
from stateward.model.values import Json
from stateward.orchestrate.workflow import gate_of
from stateward.verify.gate import Ruling
from stateward.verify.load import read_policy


def check(file: Path, *, workflow: str, as_json: bool) -> int:
    """Load a policy and compile it against the workflow's tools; every problem has its line.

    Raises:
        PolicyError: it does not hold.
    """
    source = read_policy(file)
    ward = load_workflow(workflow).flow.ward()
    gate_of(source.document, ward.tools, source, answer=ward.answer)
    tools = sorted(source.document.tools)
    if as_json:
        shapes.emit({"policy": source.document.label, "tools": tools})
    else:
        print(f"{file}: {source.document.label} holds for {workflow}: {', '.join(tools)}")
    return DONE


def explain(
    tool: str, *, workflow: str, sets: Sequence[str], arguments: str | None, requester: str, as_json: bool
) -> int:
    """What the policy says to one call, as if nothing had been done before; nothing is run or recorded."""
    flow = load_workflow(workflow).flow
    ward = flow.ward()
    if tool not in ward.tools:
        raise ToolInputError(f"{workflow} has no tool {tool!r}{nearest(tool, ward.tools)}")
    ruling = ward.gate.judge(
        tool=tool,
        arguments=parse_arguments(arguments) if arguments else _sets(sets),
        principal=Principal(flow.principal, kind="agent"),
        requester=requester,
        purpose=flow.purpose,
        subject="none",
        thread="explain",
        history=dict.fromkeys(ward.gate.needs(tool), 0),
    )
    _tell(ruling, as_json=as_json)
    return FAILED if ruling.verdict.kind == "deny" else DONE


def _sets(pairs: Sequence[str]) -> dict[str, Json]:
    given: dict[str, Json] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ToolInputError(f"--set {pair}: write name=value")
        given[name] = typed(text, None)
    return given


def _tell(ruling: Ruling, *, as_json: bool) -> None:
    trace = [{"step": one.step, "rule": one.rule, "outcome": one.outcome} for one in ruling.trace]
    if as_json:
        reasons = [{"rule": one.rule, "because": one.because} for one in ruling.verdict.reasons]
        said = {"tool": ruling.tool, "verdict": ruling.verdict.kind, "policy": ruling.policy}
        shapes.emit({**said, "reasons": reasons, "trace": trace})
        return
    print(f"{ruling.tool}: {ruling.verdict.kind} ({ruling.policy})")
    for reason in ruling.verdict.reasons:
        print(f"  {reason.because} ({reason.rule})")
    for one in trace:
        print(f"    {one['outcome']:<5} {one['step']:<10} {one['rule']}")
