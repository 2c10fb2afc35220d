"""What the HTTP API does for a subject's rights: forget, export, receipts and legal holds, for one role only."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from stateward import shapes
from stateward.api import parameters
from stateward.errors import RequestError
from stateward.model.erasure import ErasureReceipt, LegalHold
from stateward.model.principal import Principal
from stateward.model.values import plain_object
from stateward.runtime import AsyncRuntime
from stateward.shapes import Shape


class Erasure(Shape):
    """What an erasure has erased, with its seal."""

    id: str
    tenant: str
    subject: str
    by: str
    verified_by: str
    requested_at: str
    finished_at: str
    items: int = Field(description="Items of memory, former versions included.")
    pseudonyms: int = Field(description="Values of the vault of pseudonyms.")
    keys: int = Field(description="Data keys of the subject itself.")
    threads: list[shapes.JsonObject] = Field(description="Each with its id, and how much of what went with it.")
    seal: str

    @classmethod
    def of(cls, receipt: ErasureReceipt) -> Erasure:
        """The shape of a receipt."""
        return cls(**receipt.said(), seal=receipt.seal)  # pyright: ignore[reportArgumentType]


class Erasures(Shape):
    """The receipts of a subject, oldest first."""

    receipts: list[Erasure]


class Checked(Shape):
    """Whether a receipt is what was sealed here, for this tenant."""

    genuine: bool


class Export(Shape):
    """All that is known of a subject."""

    tenant: str
    subject: str
    threads: list[shapes.JsonObject]
    memory: list[shapes.JsonObject]
    pseudonyms: list[shapes.JsonObject] = Field(description="Each with the value that it stands for.")


class Hold(Shape):
    """A subject of which nothing is swept or erased."""

    subject: str
    reason: str
    by: str
    since: shapes.Time

    @classmethod
    def of(cls, hold: LegalHold) -> Hold:
        """The shape of a hold."""
        return cls(subject=hold.subject, reason=hold.reason, by=hold.by, since=hold.since)


class Holds(Shape):
    """The legal holds of the tenant, oldest first."""

    holds: list[Hold]


class Changed(Shape):
    """Whether it was done now, or was so before."""

    changed: bool


class Privacy:
    """Serves one runtime, each to the tenant of whoever asks, and only to bearers of the privacy role."""

    def __init__(self, runtime: AsyncRuntime) -> None:
        self._runtime = runtime

    async def forget(self, who: Principal, asked: parameters.Nothing, said: parameters.OneSubject) -> Erasure:
        """Erase a subject; what was cut off goes on where it was."""
        return Erasure.of(await self._runtime.forget(said.subject, by=self._entitled(who)))

    async def receipts(self, who: Principal, asked: parameters.Nothing, said: parameters.OneSubject) -> Erasures:
        """What has been erased of a subject so far."""
        found = await self._runtime.receipts(said.subject, tenant=self._entitled(who).tenant)
        return Erasures(receipts=[Erasure.of(one) for one in found])

    async def check(self, who: Principal, asked: parameters.Nothing, said: parameters.Claimed) -> Checked:
        """Whether a receipt is genuine; another tenant's is not, here."""
        told: dict[str, Any] = dict(said.receipt)
        seal = told.pop("seal", "")
        ours = told.get("tenant") == self._entitled(who).tenant and isinstance(seal, str)
        return Checked(genuine=ours and await self._runtime.verify_receipt(plain_object(told), seal=seal))

    async def export(self, who: Principal, asked: parameters.Nothing, said: parameters.OneSubject) -> Export:
        """All that is known of a subject."""
        return Export.model_validate(await self._runtime.export_subject(said.subject, by=self._entitled(who)))

    async def holds(self, who: Principal, asked: parameters.Nothing) -> Holds:
        """The subjects on hold."""
        found = await self._runtime.holds(tenant=self._entitled(who).tenant)
        return Holds(holds=[Hold.of(one) for one in found])

    async def hold(self, who: Principal, asked: parameters.Nothing, said: parameters.NewHold) -> Changed:
        """Put a subject on hold."""
        return Changed(changed=await self._runtime.hold(said.subject, by=self._entitled(who), reason=said.reason))

    async def end_hold(self, who: Principal, asked: parameters.Nothing, said: parameters.OneSubject) -> Changed:
        """End a hold."""
        return Changed(changed=await self._runtime.end_hold(said.subject, by=self._entitled(who)))

    def _entitled(self, who: Principal) -> Principal:
        role = self._runtime.settings.privacy_role
        if not role:
            raise RequestError("nobody may do this here: STATEWARD_PRIVACY_ROLE names no role", status=403)
        if role not in who.roles or who.kind == "agent":
            raise RequestError("this is for people and services of the privacy role only", status=403)
        return who
