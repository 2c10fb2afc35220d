"""What a new policy changes: in its text, and in what it would have said to recorded actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stateward.cli import shapes
from stateward.cli.exits import DONE, say
from stateward.cli.render import counted
from stateward.cli.workflows import load_workflow
from stateward.errors import ToolInputError
from stateward.model.durations import parse_duration
from stateward.model.policy import PolicyDocument
from stateward.orchestrate.workflow import gate_of
from stateward.policies.backtest import Backtest, Difference, Replay
from stateward.policies.difference import Change, difference, together
from stateward.verify.load import load_policy, read_policy

_STYLES = {"loosens": "red", "tightens": "green", "unknown": "yellow", "neither": "dim"}
_WORDS = {"loosens": "loosens", "tightens": "tightens", "unknown": "cannot be said", "neither": "decides nothing"}
_SHOWN = 50  # differences that people are shown; `--json` has all


def diff(old: Path, new: Path, *, as_json: bool) -> int:
    """What the new policy changes.

    Raises:
        PolicyError: one of them does not hold.
    """
    before, after = load_policy(old), load_policy(new)
    changes = difference(before, after)
    effect = together(one.effect for one in changes)
    if as_json:
        said = {"old": before.label, "new": after.label, "effect": effect}
        shapes.emit({**said, "changes": [_change_json(one) for one in changes]})
    else:
        _tell_changes(before, after, changes)
    return DONE


def backtest(file: Path, *, workflow: str, agent: str | None, since: str, as_json: bool) -> int:
    """Judge the workflow's recorded actions by a policy, or those of an agent that has the same tools.

    Raises:
        PolicyError: the policy does not hold for the workflow's tools.
    """
    from stateward.blocking import Runtime

    source = read_policy(file)
    document = source.document
    try:
        window = parse_duration(since)
    except ValueError as error:
        raise ToolInputError(f"--since {since}: {error}") from error
    ward = load_workflow(workflow).flow.ward()
    gate = gate_of(document, ward.tools, source, answer=ward.answer)
    replay = Replay(gate=gate, labels=document.labels, tools=ward.tools)
    with Runtime.open(keep_running=True) as runtime:
        found = Backtest()
        kept: dict[str, PolicyDocument | None] = {}
        for one in runtime.judgements(graph=agent or ward.name, since=window):
            if one.policy_digest not in kept:
                kept[one.policy_digest] = runtime.policy(one.policy_digest)
            found.add(one, replay.judge(one, kept[one.policy_digest]))
    if as_json:
        shapes.emit(_backtest_json(document, found))
    else:
        _tell_backtest(document, found, since)
    return DONE


def _tell_changes(old: PolicyDocument, new: PolicyDocument, changes: list[Change]) -> None:
    console = Console()
    if not changes:
        console.print(f"{old.label} and {new.label} say the same", highlight=False)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in changes:
        said = Text(f"{one.place}\n")
        said.append(f"- {one.old}\n" if one.kind != "added" else "", style="dim")
        said.append(f"+ {one.new}\n" if one.kind != "removed" else "")
        table.add_row(Text(_WORDS[one.effect], style=_STYLES[one.effect]), one.kind, said[:-1])
    console.print(table, highlight=False)
    effects = [f"{sum(one.effect == name for one in changes)} {word}" for name, word in _COUNTED.items()]
    many = counted(len(changes), "change")
    console.print(f"{many} from {old.label} to {new.label}: {', '.join(effects)}", highlight=False)
    if old.label == new.label:
        console.print("both have the same name and version: give a change of the rules a new version")


_COUNTED = {"loosens": "loosen", "tightens": "tighten", "unknown": "cannot be said", "neither": "decide nothing"}


def _change_json(one: Change) -> dict[str, Any]:
    return {"place": one.place, "kind": one.kind, "effect": one.effect, "old": one.old, "new": one.new}


def _tell_backtest(document: PolicyDocument, found: Backtest, since: str) -> None:
    console = Console()
    judged = found.same + len(found.differences)
    console.print(
        f"{counted(judged, 'action')} of the last {since} judged by {document.label}: {found.same} the same, "
        f"{len(found.differences)} differently",
        highlight=False,
    )
    for (old, new), count in found.by_verdict.most_common():
        console.print(f"  {count} × {old} → {new}", highlight=False)
    for rule, count in found.by_rule.most_common():
        console.print(Text(f"  {count} × {rule}"), highlight=False)
    if found.differences:
        console.print(_differences(found.differences), highlight=False)
    if not (judged or found.unjudged):
        say("nothing was recorded in that time; those of an agent are found by --agent PRINCIPAL")
    if found.unjudged:
        console.print(f"{found.unjudged.total()} could not be judged", highlight=False)
        for why, count in found.unjudged.most_common():
            console.print(Text(f"  {count} × {why}"), highlight=False)


def _differences(differences: list[Difference]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("action", "tool", "was", "would be", "by"):
        table.add_column(name, no_wrap=name in ("action", "was", "would be"), overflow="fold")
    for one in differences[:_SHOWN]:
        cells = (one.was.action, one.was.tool, one.was.verdict, one.ruling.verdict.kind, ", ".join(one.rules))
        table.add_row(*(Text(cell) for cell in cells))
    if len(differences) > _SHOWN:
        table.add_row(Text(f"and {len(differences) - _SHOWN} more; --json has all"))
    return table


def _backtest_json(document: PolicyDocument, found: Backtest) -> dict[str, Any]:
    verdicts = [{"old": old, "new": new, "count": count} for (old, new), count in found.by_verdict.most_common()]
    return {
        "policy": document.label,
        "judged": found.same + len(found.differences),
        "same": found.same,
        "different": len(found.differences),
        "by_verdict": verdicts,
        "by_rule": [{"rule": rule, "count": count} for rule, count in found.by_rule.most_common()],
        "actions": [_action_json(one) for one in found.differences],
        "unjudged": [{"why": why, "count": count} for why, count in found.unjudged.most_common()],
    }


def _action_json(one: Difference) -> dict[str, Any]:
    was = one.was
    said = {"action": was.action, "thread": was.thread, "at": was.at.isoformat(), "tool": was.tool}
    reasons = [reason.because for reason in one.ruling.verdict.reasons]
    return {**said, "old": was.verdict, "new": one.ruling.verdict.kind, "rules": list(one.rules), "because": reasons}
