"""What each operation does: who sees what, and how a decision is taken. It knows nothing of HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from stateward import shapes
from stateward.api import parameters
from stateward.approve.rules import may_sign
from stateward.errors import DecisionRefused, NotFound, RequestError
from stateward.model.approval import Approval, Decision
from stateward.model.principal import Principal
from stateward.model.thread import ThreadRecord
from stateward.model.values import plain_object
from stateward.ports import Viewer
from stateward.runtime import AsyncRuntime
from stateward.shapes import Shape


class Threads(Shape):
    """A page of threads, newest first."""

    threads: list[shapes.Thread]
    next: str | None = Field(description="The `after` of the next page; null on the last.")


class Actions(Shape):
    """A page of a thread's actions, in the order in which they were judged."""

    actions: list[shapes.Action]
    next: str | None = Field(description="The `after` of the next page; null on the last.")


class Approvals(Shape):
    """A page of approvals, oldest first."""

    approvals: list[shapes.Approval]
    next: str | None = Field(description="The `after` of the next page; null on the last.")


class Timeline(Shape):
    """A page of a thread's ledger, in the order of its chain."""

    thread: str
    entries: list[shapes.Entry]
    next: int | None = Field(description="The `after` of the next page; null on the last.")


class Taken(Shape):
    """A decision that was taken, and what the thread waits for now."""

    approval: shapes.Approval
    thread: shapes.ThreadDetail


class Health(Shape):
    """The API answers, and so does its database."""

    status: Literal["ok"] = "ok"
    development: bool


class Office:
    """Serves one runtime.

    A thread, with its actions and its timeline, is shown to those who asked for it, act in it, are named in one of
    its questions by id or role, or have signed one. A question is shown to those who are named in it, asked for the
    work, or have signed it. Readers see all of their tenant; nobody sees another tenant.
    """

    def __init__(self, runtime: AsyncRuntime, *, development: bool) -> None:
        self._runtime, self._development = runtime, development
        self._overview = runtime.services.overview

    async def health(self, who: Principal | None, asked: parameters.Nothing) -> Health:
        """Whether the database answers."""
        await self._runtime.database.about()
        return Health(development=self._development)

    async def threads(self, who: Principal, asked: parameters.Threads) -> Threads:
        """A page of threads."""
        viewer = await self._viewer(who)
        if asked.after is not None:
            await self._thread(viewer, asked.after)
        found = await self._overview.threads(
            viewer,
            status=asked.status,
            graph=asked.workflow,
            subject=asked.subject,
            after=asked.after,
            limit=asked.limit + 1,
        )
        shown = [shapes.Thread.of(one) for one in found[: asked.limit]]
        return Threads(threads=shown, next=shown[-1].thread if len(found) > asked.limit else None)

    async def thread(self, who: Principal, asked: parameters.OneThread) -> shapes.ThreadDetail:
        """One thread."""
        return await self._detail(await self._thread(await self._viewer(who), asked.thread))

    async def actions(self, who: Principal, asked: parameters.Actions) -> Actions:
        """A page of a thread's actions."""
        await self._thread(await self._viewer(who), asked.thread)
        if asked.after and not await self._overview.actions(thread=asked.thread, action=asked.after):
            raise NotFound("action to go on after")
        found = await self._overview.actions(thread=asked.thread, after=asked.after, limit=asked.limit + 1)
        shown = [shapes.Action.of(*one) for one in found[: asked.limit]]
        return Actions(actions=shown, next=shown[-1].id if len(found) > asked.limit else None)

    async def action(self, who: Principal, asked: parameters.OneAction) -> shapes.Action:
        """One action."""
        found = await self._overview.actions(action=asked.action)
        if not found or not await self._sees(await self._viewer(who), found[0][0].action.thread):
            raise NotFound("action")
        return shapes.Action.of(*found[0])

    async def timeline(self, who: Principal, asked: parameters.Timeline) -> Timeline:
        """A page of a thread's ledger."""
        await self._thread(await self._viewer(who), asked.thread)
        found = await self._overview.entries(asked.thread, after=asked.after, limit=asked.limit + 1)
        shown = [shapes.Entry.of(one) for one in found[: asked.limit]]
        return Timeline(thread=asked.thread, entries=shown, next=shown[-1].seq if len(found) > asked.limit else None)

    async def approvals(self, who: Principal, asked: parameters.Approvals) -> Approvals:
        """A page of approvals: the inbox, unless another status is asked for."""
        viewer = await self._viewer(who)
        await self._runtime.tick()
        if asked.after is not None:
            await self._approval(viewer, asked.after)
        status = None if asked.status == "all" else asked.status
        found = await self._overview.approvals(
            viewer, thread=asked.thread, status=status, after=asked.after, limit=asked.limit + 1
        )
        shown = [shapes.Approval.of(one) for one in found[: asked.limit]]
        return Approvals(approvals=shown, next=shown[-1].id if len(found) > asked.limit else None)

    async def approval(self, who: Principal, asked: parameters.OneApproval) -> shapes.Approval:
        """One approval."""
        await self._runtime.tick()
        return shapes.Approval.of(await self._approval(await self._viewer(who), asked.approval))

    async def decide(self, who: Principal, asked: parameters.OneApproval, said: parameters.Said) -> Taken:
        """Take a decision; the same one by the same person again gives what was recorded."""
        viewer = await self._viewer(who)
        await self._runtime.tick()
        found = await self._approval(viewer, asked.approval)
        if not _is_recorded(found, who, said):
            found = await self._decide(viewer, found, who, said)
        return Taken(
            approval=shapes.Approval.of(found),
            thread=await self._detail(await self._runtime.find_thread(found.thread)),
        )

    async def _decide(self, viewer: Viewer, asked: Approval, who: Principal, said: parameters.Said) -> Approval:
        decision = _decision(said)
        try:
            return await self._runtime.decide(
                asked.id,
                decision.kind,
                by=who,
                reason=decision.reason,
                arguments=decision.arguments,
                confirmation=decision.confirmation,
                digest=said.digest,
            )
        except DecisionRefused as refused:
            found = await self._approval(viewer, asked.id)
            if _is_recorded(found, who, said):  # the other click of a double click was faster
                return found
            raise Refused(refused.message, status=_status(found, who, viewer.names, said)) from None

    async def _viewer(self, who: Principal) -> Viewer:
        """Who looks, with the names of those whose right they have now."""
        services, readers, now = self._runtime.services, self._runtime.settings.readers, datetime.now(UTC)
        lent = [
            one.by
            for one in await services.desk.delegations(tenant=who.tenant, person=who.id)
            if one.delegate == who.id and one.since <= now
        ]
        everything = not readers.isdisjoint(who.names)
        return Viewer(id=who.id, names=who.names.union(*lent), tenant=who.tenant, everything=everything)

    async def _sees(self, viewer: Viewer, thread: str) -> ThreadRecord | None:
        found = await self._overview.threads(viewer, thread=thread)
        return found[0] if found else None

    async def _thread(self, viewer: Viewer, thread: str) -> ThreadRecord:
        found = await self._sees(viewer, thread)
        if found is None:
            raise NotFound("thread")
        return found

    async def _approval(self, viewer: Viewer, approval: str) -> Approval:
        found = await self._overview.approvals(viewer, approval=approval)
        if not found:
            raise NotFound("approval")
        return found[0]

    async def _detail(self, record: ThreadRecord) -> shapes.ThreadDetail:
        waiting = await self._runtime.services.desk.list(thread=record.facts.thread)
        return shapes.ThreadDetail.of(record, [one.id for one in waiting])


class Refused(RequestError):
    """The runtime refused a decision."""

    code = DecisionRefused.code


def _decision(said: parameters.Said) -> Decision:
    arguments = plain_object(said.arguments) if isinstance(said, parameters.Edit) else None
    typed = said.confirmation if isinstance(said, parameters.Plain) else None
    return Decision(kind=said.decision, reason=said.reason, arguments=arguments, confirmation=typed)


def _is_recorded(approval: Approval, who: Principal, said: parameters.Said) -> bool:
    kept = replace(_decision(said), confirmation=None)  # what was typed is checked, and not kept
    signed = any(one.principal == who.id and one.decision == kept for one in approval.signatures)
    return signed and said.digest == approval.digest


def _status(approval: Approval, who: Principal, names: frozenset[str], said: parameters.Said) -> int:
    """403: this person may not. 409: not this question, not any more, or not what they saw. 422: not like this."""
    if who.kind != "person" or not any(may_sign(one, names, names, approval) for one in approval.requirements):
        return 403
    signed = any(one.principal == who.id for one in approval.signatures)
    same = said.digest == approval.digest and said.decision in approval.allowed
    return 422 if approval.status == "pending" and same and not signed else 409
