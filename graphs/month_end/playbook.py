"""The planner of the demo: the close as a Python generator. It needs no model and no key."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from stateward import call

_ENTRY = ("variance", "debit_account", "credit_account", "amount", "currency", "date", "reference", "memo")


def close_period(request: str) -> Generator[Any, Any, str]:
    """Reconcile, flag, propose, post, build the pack, send it; what is refused on the way is told in the answer."""
    period = _period(request)
    found = yield call("reconcile", period=period)
    if not found.ok:
        return f"The close of {period} stopped: {found.text}"
    yield call("flag_variances", period=period)
    proposed = yield call("propose_entries", period=period)
    if not proposed.ok:
        return f"The close of {period} stopped: {proposed.text}"
    entries = [{name: one[name] for name in _ENTRY} for one in proposed.value["proposals"]]
    posted: list[Any] = []
    if entries:
        posted = yield [call("post_journal_entry", period=period, **entry) for entry in entries]
    pack = yield call("build_close_pack", period=period)
    if not pack.ok:
        return f"The close of {period} stopped: {pack.text}"
    sent = None
    if "Send the close pack" in request and pack.value["new"]:
        sent = yield call("send_close_pack", period=period)
    return _summary(period, found.value, proposed.value, posted, pack.value, sent)


def _period(request: str) -> str:
    match = re.search(r"\d{4}-\d{2}", request)
    if match is None:
        raise ValueError("the request names no period such as 2026-10")
    return match.group()


def _summary(period: str, found: Any, proposed: Any, posted: list[Any], pack: Any, sent: Any) -> str:
    done = [one for one in posted if one.ok]
    refused = [one.text for one in posted if not one.ok]
    flagged = sum(found["variances"].values())
    lines = [
        f"Period {period}: {found['matches']} matches, {flagged} variances flagged, "
        f"{len(done)} entries posted now, {proposed['posted_before']} before, {proposed['open_items']} open items.",
        *(f"Not posted: {text}" for text in refused),
        *(f"Turned down before: {key}" for key in proposed["rejected_before"]),
        f"Close pack version {pack['version']} is {'new' if pack['new'] else 'unchanged'}: {pack['workbook']}",
    ]
    if sent is not None:
        lines.append(_sent(sent))
    return "\n".join(lines)


def _sent(sent: Any) -> str:
    if not sent.ok:
        return f"Not sent: {sent.text}"
    if "to" in sent.value:
        return f"Sent to {', '.join(sent.value['to'])}."
    # The sender was cut off, and a person has looked whether the mail arrived.
    return f"Sent, as {sent.value['settled_by']} has confirmed."
