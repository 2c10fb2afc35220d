"""The commands around a decision: who decides for whom, and what is due by the clock."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from stateward.blocking import Runtime
from stateward.cli import shapes
from stateward.cli.exits import say
from stateward.cli.people import person
from stateward.cli.render import moment
from stateward.errors import ToolInputError
from stateward.model.approval import Delegation
from stateward.model.policy import parse_duration
from stateward.model.principal import Principal


def delegate(by: str, to: str, *, until: str, roles: list[str], as_json: bool) -> None:
    """Hand one's right to decide to another."""
    ends = _moment(until)
    author = person(by)
    held = Principal(author.id, roles=roles, verified_by=author.verified_by)
    with Runtime.open(keep_running=True) as runtime:
        _show([runtime.delegate(held, to=to, until=ends, by=held)], as_json=as_json)


def end(id_: str, *, by: str, as_json: bool) -> None:
    """End a delegation."""
    with Runtime.open(keep_running=True) as runtime:
        _show([runtime.revoke_delegation(id_, by=person(by))], as_json=as_json)


def delegations(*, as_json: bool) -> None:
    """Who decides for whom, now or later."""
    with Runtime.open(keep_running=True) as runtime:
        _show(runtime.delegations(), as_json=as_json)


def tick(*, as_json: bool) -> None:
    """Do what is due by the clock."""
    with Runtime.open(keep_running=True) as runtime:
        notices = runtime.tick()
    if as_json:
        shapes.emit(
            {"events": [{"event": one.event, "approval": shapes.approval_json(one.approval)} for one in notices]}
        )
        return
    if not notices:
        say("nothing was due")
    for one in notices:
        print(f"{one.approval.id} {one.event}: {one.approval.tool} in {one.approval.thread}")


def _show(found: list[Delegation], *, as_json: bool) -> None:
    if as_json:
        shapes.emit({"delegations": [shapes.delegation_json(one) for one in found]})
        return
    if not found:
        say("nobody decides for anybody")
        return
    table = Table("id", "decides", "for", "with the roles", "from (UTC)", "until (UTC)", box=None)
    for one in found:
        ends = one.revoked_at or one.until
        table.add_row(one.id, one.delegate, one.delegator, ", ".join(one.roles), moment(one.since), moment(ends))
    Console().print(table, highlight=False, markup=False)


def _moment(text: str) -> datetime:
    """A length of time from now, such as `14d`, or a date and time in ISO 8601; without a zone it is UTC."""
    try:
        return datetime.now(UTC) + parse_duration(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ToolInputError(f"{text!r} is no time: write a length such as 14d, or 2026-12-24T18:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
