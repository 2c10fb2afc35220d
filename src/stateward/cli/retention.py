"""What goes and what stays: expired memory, a forgotten subject, a legal hold; and what is known of a subject."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from stateward.blocking import Runtime
from stateward.cli import shapes
from stateward.cli.exits import DONE, FAILED, say
from stateward.cli.people import os_user, person
from stateward.cli.render import counted, moment
from stateward.errors import ToolInputError
from stateward.model.principal import Principal


def sweep(*, as_json: bool) -> None:
    """Delete what has expired, and say how much it was."""
    with Runtime.open(keep_running=True) as runtime:
        swept = runtime.sweep()
    if as_json:
        shapes.emit({"swept": swept.items, "threads": swept.threads, "vaults": swept.vaults})
    else:
        items, threads = counted(swept.items, "expired item"), counted(swept.threads, "thread")
        print(f"{items} of memory deleted, {threads} emptied whose time was over")
        print(f"{counted(swept.vaults, 'vault')} of pseudonyms deleted, of subjects of which nothing else was left")


def forget(subject: str, *, by: str | None, tenant: str, out: Path | None, as_json: bool, sure: bool) -> int:
    """Erase a subject, and write its receipt.

    Args:
        sure: Do not ask whether it is meant.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise ToolInputError(f"--receipt {out}: there is no folder {out.absolute().parent}; nothing was erased")
    with Runtime.open(keep_running=True) as runtime:
        if not (sure or _is_meant(runtime, subject, tenant)):
            say("nothing was erased: that is not the subject")
            return FAILED
        receipt = runtime.forget(subject, by=_author(by, tenant))
    said = {**receipt.said(), "seal": receipt.seal}
    if out is not None:
        out.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    if as_json:
        shapes.emit(said)
        return DONE
    keys = receipt.keys + sum(one.counts["keys"] for one in receipt.threads)
    print(f"{receipt.id}: {subject} is forgotten")
    gone = f"{counted(receipt.items, 'item')} of memory, {counted(receipt.pseudonyms, 'pseudonym')}"
    print(f"  {counted(len(receipt.threads), 'thread')}, {counted(keys, 'key')} destroyed, {gone}")
    kept = f"runtime.receipts({subject!r}) gives the receipt again, and --receipt FILE writes it at once"
    say(kept if out is None else f"the receipt is in {out}")
    return DONE


def check_receipt(file: Path, *, as_json: bool) -> int:
    """Whether a receipt is genuine."""
    said = _read(file)
    seal = said.pop("seal", "")
    with Runtime.open(keep_running=True) as runtime:
        genuine = runtime.verify_receipt(said, seal=str(seal))
    if as_json:
        shapes.emit({"receipt": said.get("id"), "genuine": genuine})
    else:
        print(f"{said.get('id')}: {'genuine' if genuine else 'NOT what was sealed here'}")
    return DONE if genuine else FAILED


def export(subject: str, *, by: str | None, tenant: str) -> None:
    """Print all that is known of a subject."""
    with Runtime.open(keep_running=True) as runtime:
        shapes.emit(runtime.export_subject(subject, by=_author(by, tenant)))


def hold(subject: str, *, reason: str, by: str | None, tenant: str) -> None:
    """Put a subject on legal hold."""
    with Runtime.open(keep_running=True) as runtime:
        new = runtime.hold(subject, by=_author(by, tenant), reason=reason)
    print(f"{subject} is on legal hold" if new else f"{subject} was on legal hold before")


def end_hold(subject: str, *, by: str | None, tenant: str) -> int:
    """End a legal hold."""
    with Runtime.open(keep_running=True) as runtime:
        ended = runtime.end_hold(subject, by=_author(by, tenant))
    print(f"{subject} is not on legal hold any more" if ended else f"{subject} was not on legal hold")
    return DONE if ended else FAILED


def holds(*, as_json: bool) -> None:
    """The subjects on hold."""
    with Runtime.open(keep_running=True) as runtime:
        found = runtime.holds()
    if as_json:
        names = ("tenant", "subject", "reason", "by")
        shapes.emit(
            {
                "holds": [
                    {name: getattr(one, name) for name in names} | {"since": one.since.isoformat()} for one in found
                ]
            }
        )
        return
    if not found:
        say("no subject is on legal hold")
        return
    table = Table("subject", "tenant", "by", "since (UTC)", "reason", box=None)
    for one in found:
        table.add_row(one.subject, one.tenant, one.by, moment(one.since), one.reason)
    Console().print(table, highlight=False, markup=False)


def _is_meant(runtime: Runtime, subject: str, tenant: str) -> bool:
    """Say what would go, and have the subject typed; nobody is asked where there is no terminal."""
    found = runtime.count_subject(subject, tenant=tenant)
    under_way = f"{found.waiting} waiting for people, {found.running} running or cut off"
    what = (
        f"{subject} of {tenant}: {counted(found.threads, 'thread')} ({under_way}), "
        f"{counted(found.items, 'item')} of memory and {counted(found.pseudonyms, 'pseudonym')}"
    )
    if not sys.stdin.isatty():
        raise ToolInputError(f"{what}; nothing was erased: type the subject at a terminal, or say --yes")
    say(f"{what} would be erased, for good.\nTo erase them, type exactly {subject}:")
    return input() == subject


def _author(by: str | None, tenant: str) -> Principal:
    who = person(by or os_user())
    return Principal(who.id, tenant=tenant, verified_by=who.verified_by)


def _read(file: Path) -> dict[str, Any]:
    try:
        found: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ToolInputError(f"{file}: it cannot be read as a receipt ({error})") from error
    if not isinstance(found, dict):
        raise ToolInputError(f"{file}: a receipt is a JSON object")
    return cast("dict[str, Any]", found)
