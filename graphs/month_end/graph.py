"""The month-end close as a governed workflow: its state, its steps, and what it remembers."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, cast

from langchain_core.messages import AIMessage, HumanMessage

from month_end import tools
from month_end.books import MIGRATIONS
from month_end.command import MonthEndCommand
from month_end.generate import write_sample
from month_end.playbook import close_period
from month_end.records import InputError, parse_period
from stateward import Done, FlowState, Step, Workflow
from stateward.errors import ToolInputError

INSTRUCTIONS = """You close a month: you reconcile the bank statement with the ledger and settle what differs.
Work in this order, one tool at a time: reconcile, flag_variances, propose_entries; then post every proposed entry
exactly as it was proposed with post_journal_entry, all of them in one turn; then build_close_pack; then
send_close_pack if you are asked to send it. A call may be denied or rejected: do not repeat it, and say in your
answer what was not done and why. Answer with a short summary that names the version of the close pack."""


class Close(FlowState):
    """What a close starts from, and what it ends with.

    Attributes:
        period: The month, as YYYY-MM.
        bank: Path of the bank statement; sample data where it is missing.
        ledger: Path of the ledger.
        out: Folder for the close pack.
        mail_to: Who receives the close pack.
        pack: The current close pack, at the end.
    """

    period: str
    bank: NotRequired[str]
    ledger: NotRequired[str]
    out: NotRequired[str]
    mail_to: NotRequired[list[str]]
    pack: NotRequired[dict[str, Any]]


flow = Workflow(
    "month_end",
    state=Close,
    policy=Path(__file__).parent / "policy.yaml",
    principal="close-agent",
    subject=lambda state: f"period:{state['period']}",
    migrations=MIGRATIONS,
)
flow.orchestrate(
    close_period,
    tools=[
        tools.reconcile,
        tools.flag_variances,
        tools.propose_entries,
        tools.post_journal_entry,
        tools.build_close_pack,
        tools.send_close_pack,
    ],
    instructions=INSTRUCTIONS,
)


async def load_period(state: Close, step: Step) -> dict[str, Any]:
    """Load the files through the gate, and tell the planner what is known from before."""
    _check_given(state)
    files = await asyncio.to_thread(_files, state)
    loaded = await step.act("load_period", period=state["period"], **files)
    known = await step.recall("reconciliation")
    packs = await step.recall("close_pack")
    request = [f"Close the period {state['period']}. {_loaded(loaded)}"]
    request += [f"It was reconciled before, at {item.value['at']}." for item in known]
    request += [f"The current close pack is version {item.value['version']}." for item in packs]
    request += ["Send the close pack when it is new."] if files["mail_to"] else []
    return {"messages": [HumanMessage(" ".join(request))], "out": files["out"]}


async def keep_reconciliation(state: Close, step: Step, done: Done) -> None:
    """Remember that a reconciliation ran, and what it found."""
    result = done.receipt.result
    if isinstance(result, dict):
        counts = {"matches": result["matches"], "variances": result["variances"]}
        await step.remember("reconciliation", state["period"], at=_now(), thread=step.thread.thread, **counts)


async def keep_flags(state: Close, step: Step, done: Done) -> None:
    """Remember which variances were flagged."""
    result: Any = done.receipt.result
    if isinstance(result, dict):
        keys = [str(one["variance"]) for one in cast("list[dict[str, Any]]", result["variances"])]
        await step.remember("variance_note", "flagged", status="flagged", at=_now(), variances=keys)


async def keep_rejection(state: Close, step: Step, done: Done) -> None:
    """Remember who turned an entry down and why, so that nobody is asked the same again."""
    if done.row.status != "rejected":
        return
    signature = await step.decision(done)
    await step.remember(
        "variance_note",
        str(done.row.action.call.arguments["variance"]),
        status="rejected",
        by=signature.principal if signature else "nobody in time",
        reason=done.row.response,
        at=_now(),
    )


async def keep_pack(state: Close, step: Step, done: Done) -> None:
    """Remember which version of the close pack is current."""
    result = done.receipt.result
    if done.receipt.status == "settled" and isinstance(result, dict):
        await step.remember("close_pack", state["period"], at=_now(), **result)


async def check_close_pack(state: Close, step: Step) -> str | None:
    """A close is answered with a pack, or with why there is none."""
    if not await step.recall("close_pack"):
        return f"no close pack was built for {state['period']}: call build_close_pack"
    said = state["messages"][-1]
    if not isinstance(said, AIMessage) or not str(said.text).strip():
        return "the answer is empty: summarise what was done"
    return None


async def answer(state: Close, step: Step) -> dict[str, Any]:
    """The answer carries the current pack."""
    packs = await step.recall("close_pack")
    return {"pack": packs[0].value if packs else {}}


flow.retrieve(load_period, tools=[tools.load_period])
flow.remember(keep_reconciliation, after=["reconcile"])
flow.remember(keep_flags, after=["flag_variances"])
flow.remember(keep_rejection, after=["post_journal_entry"])
flow.remember(keep_pack, after=["build_close_pack"])
flow.validate(check_close_pack)
flow.answer(answer)

cli = MonthEndCommand()
graph = flow.compile()


def _check_given(state: Close) -> None:
    try:
        parse_period(state["period"])
    except InputError as error:
        raise ToolInputError(str(error)) from error
    # One file of one's own next to one of the samples would close with books that nobody has.
    missing = [name for name in ("bank", "ledger") if not state.get(name)]
    if len(missing) == 1:
        raise ToolInputError(f"{missing[0]}: found no file, expected both bank and ledger, or neither for sample data")


def _files(state: Close) -> dict[str, Any]:
    out = Path(state.get("out") or _default_out(state["period"]))
    bank, ledger = state.get("bank"), state.get("ledger")
    if not bank or not ledger:
        sample = write_sample(out / "sample", period=state["period"])
        bank, ledger = str(sample.bank), str(sample.ledger)
    return {"bank": bank, "ledger": ledger, "out": str(out), "mail_to": list(state.get("mail_to") or [])}


def _default_out(period: str) -> Path:
    home = os.environ.get("STATEWARD_HOME") or str(Path.home() / ".local" / "state" / "stateward")
    return Path(home) / "month_end" / period


def _loaded(loaded: Any) -> str:
    return f"{loaded['bank_lines']} bank lines and {loaded['ledger_lines']} ledger lines are loaded."


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
