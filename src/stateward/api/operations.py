"""The table of operations. The routes and the OpenAPI document are both made from it, so that they cannot differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from stateward import shapes
from stateward.api import office, parameters, privacy
from stateward.api.office import Office
from stateward.api.privacy import Privacy
from stateward.shapes import Shape


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: Its id in the document.
        method: GET or POST.
        path: With the names of path parameters in braces; every other parameter stands in the query.
        summary: What it does.
        asked: The parameters.
        answer: The shape of the answer.
        run: Does it.
        body: What the body may be, where there is one.
        open: Whether it needs no identity.
        refuses: The statuses of its own refusals, beside those of every operation.
    """

    name: str
    method: str = "GET"
    path: str
    summary: str
    asked: type[parameters.Asked]
    answer: type[Shape]
    run: Callable[..., Awaitable[Shape]]
    body: Any = None
    open: bool = False
    refuses: tuple[int, ...] = ()


def operations(by: Office, rights: Privacy) -> list[Operation]:
    """Every operation, done by these two."""
    return [*_threads(by), *_approvals(by), *_subjects(rights), *_holds(rights), _health(by)]


def _threads(by: Office) -> list[Operation]:
    return [
        Operation(
            name="listThreads",
            path="/threads",
            summary="The threads that you may see, newest first",
            asked=parameters.Threads,
            answer=office.Threads,
            run=by.threads,
            refuses=(404,),
        ),
        Operation(
            name="showThread",
            path="/threads/{thread}",
            summary="One thread, its workflow, and the approvals that it waits for",
            asked=parameters.OneThread,
            answer=shapes.ThreadDetail,
            run=by.thread,
            refuses=(404,),
        ),
        Operation(
            name="listActions",
            path="/threads/{thread}/actions",
            summary="The actions of a thread: verdicts, reasons and receipts",
            asked=parameters.Actions,
            answer=office.Actions,
            run=by.actions,
            refuses=(404,),
        ),
        Operation(
            name="showTimeline",
            path="/threads/{thread}/timeline",
            summary="The ledger of a thread, in the order of its chain",
            asked=parameters.Timeline,
            answer=office.Timeline,
            run=by.timeline,
            refuses=(404,),
        ),
        Operation(
            name="showAction",
            path="/actions/{action}",
            summary="One action",
            asked=parameters.OneAction,
            answer=shapes.Action,
            run=by.action,
            refuses=(404,),
        ),
    ]


def _approvals(by: Office) -> list[Operation]:
    return [
        Operation(
            name="listApprovals",
            path="/approvals",
            summary="The inbox: the approvals that wait, oldest first",
            asked=parameters.Approvals,
            answer=office.Approvals,
            run=by.approvals,
            refuses=(404,),
        ),
        Operation(
            name="showApproval",
            path="/approvals/{approval}",
            summary="One approval: exactly what is asked, why, of whom, and until when",
            asked=parameters.OneApproval,
            answer=shapes.Approval,
            run=by.approval,
            refuses=(404,),
        ),
        Operation(
            name="decideApproval",
            method="POST",
            path="/approvals/{approval}/decision",
            summary="Decide an approval, as the person whom the token names",
            asked=parameters.OneApproval,
            answer=office.Taken,
            run=by.decide,
            body=parameters.Said,
            refuses=(403, 404, 409, 413, 415),
        ),
    ]


_POSTED = (403, 409, 413, 415)


def _subjects(by: Privacy) -> list[Operation]:
    return [
        Operation(
            name="forgetSubject",
            method="POST",
            path="/subjects/forget",
            summary="Erase a subject, or go on where that was cut off; for the privacy role",
            asked=parameters.Nothing,
            answer=privacy.Erasure,
            run=by.forget,
            body=parameters.OneSubject,
            refuses=_POSTED,
        ),
        Operation(
            name="listReceipts",
            method="POST",
            path="/subjects/receipts",
            summary="The receipts of what was erased of a subject; for the privacy role",
            asked=parameters.Nothing,
            answer=privacy.Erasures,
            run=by.receipts,
            body=parameters.OneSubject,
            refuses=_POSTED,
        ),
        Operation(
            name="exportSubject",
            method="POST",
            path="/subjects/export",
            summary="All that is known of a subject; for the privacy role",
            asked=parameters.Nothing,
            answer=privacy.Export,
            run=by.export,
            body=parameters.OneSubject,
            refuses=_POSTED,
        ),
        Operation(
            name="checkReceipt",
            method="POST",
            path="/receipts/check",
            summary="Whether a receipt is what was sealed here; for the privacy role",
            asked=parameters.Nothing,
            answer=privacy.Checked,
            run=by.check,
            body=parameters.Claimed,
            refuses=_POSTED,
        ),
    ]


def _holds(by: Privacy) -> list[Operation]:
    return [
        Operation(
            name="listHolds",
            path="/holds",
            summary="The legal holds of the tenant, oldest first; for the privacy role",
            asked=parameters.Nothing,
            answer=privacy.Holds,
            run=by.holds,
            refuses=(403,),
        ),
        Operation(
            name="placeHold",
            method="POST",
            path="/holds",
            summary="Keep all that is known of a subject; for the privacy role",
            asked=parameters.Nothing,
            answer=privacy.Changed,
            run=by.hold,
            body=parameters.NewHold,
            refuses=_POSTED,
        ),
        Operation(
            name="endHold",
            method="POST",
            path="/holds/end",
            summary="End a legal hold; for the privacy role",
            asked=parameters.Nothing,
            answer=privacy.Changed,
            run=by.end_hold,
            body=parameters.OneSubject,
            refuses=_POSTED,
        ),
    ]


def _health(by: Office) -> Operation:
    return Operation(
        name="health",
        path="/health",
        summary="Whether the API and its database answer; needs no token",
        asked=parameters.Nothing,
        answer=office.Health,
        run=by.health,
        open=True,
    )
