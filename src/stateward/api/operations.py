"""The table of operations. The routes and the OpenAPI document are both made from it, so that they cannot differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from stateward import shapes
from stateward.api import office, parameters
from stateward.api.office import Office
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


def operations(by: Office) -> list[Operation]:
    """Every operation, done by this office."""
    return [*_threads(by), *_approvals(by), _health(by)]


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
