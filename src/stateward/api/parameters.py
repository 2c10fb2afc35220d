"""What may be asked: the parameters and the body of each operation. Whatever is not declared here is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from stateward.model.approval import ApprovalStatus
from stateward.model.thread import ThreadStatus
from stateward.verify.arguments import unspeakable


def _spoken(value: dict[str, Any]) -> dict[str, Any]:
    problem = unspeakable(value, "it")
    if problem:
        raise ValueError(problem)
    return value


_NAME = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, StringConstraints(max_length=255, pattern=_NAME)]
PathName = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]
SomeText = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Arguments = Annotated[dict[str, Any], AfterValidator(_spoken), WithJsonSchema({"type": "object"})]
Limit = Annotated[int, Field(ge=1, le=200, description="How many at most.")]


class Asked(BaseModel):
    """Parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Asked):
    """No parameters."""


class OneThread(Asked):
    """Which thread."""

    thread: PathName


class OneAction(Asked):
    """Which action."""

    action: PathName


class OneApproval(Asked):
    """Which approval."""

    approval: PathName


_SUBJECT = r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$"
Subject = Annotated[str, StringConstraints(max_length=1000, pattern=_SUBJECT)]


class OneSubject(BaseModel):
    """Which subject. It stands in the body: paths end up in the logs of proxies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject = Field(description="Whom or what threads and memory are about, such as `customer:17`.")


class NewHold(OneSubject):
    """What is put on hold, and why."""

    reason: SomeText = Field(description="Why; it is kept with the hold.")


class Claimed(BaseModel):
    """A receipt that somebody shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    receipt: Arguments = Field(description="As it was given, with its seal.")


class Threads(Asked):
    """Which threads."""

    status: ThreadStatus | None = Field(None, description="Only those of this status.")
    workflow: Name | None = Field(None, description="Only those of this workflow.")
    subject: Name | None = Field(None, description="Only those about this subject.")
    after: Name | None = Field(None, description="The page after this thread: `next` of the page before.")
    limit: Limit = 50


class Actions(OneThread):
    """Which actions."""

    after: Name | None = Field(None, description="The page after this action: `next` of the page before.")
    limit: Limit = 50


class Timeline(OneThread):
    """Which entries."""

    after: int = Field(0, ge=0, le=2**62, description="The page after this position: `next` of the page before.")
    limit: Limit = 50


class Approvals(Asked):
    """Which approvals."""

    status: ApprovalStatus | Literal["all"] = Field("pending", description="Only those of this status.")
    thread: Name | None = Field(None, description="Only those of this thread.")
    after: Name | None = Field(None, description="The page after this approval: `next` of the page before.")
    limit: Limit = 50


class _Decision(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: Digest = Field(description="The digest of the approval that the person was shown.")


class Plain(_Decision):
    """Approve; for an unknown outcome: it was done, run it again, or give it up."""

    decision: Literal["approve", "done", "retry", "give_up"]
    reason: Text = ""
    confirmation: Text | None = Field(None, description="What the approval says has to be typed, exactly.")


class Spoken(_Decision):
    """Reject with the reason why, or respond with an answer in place of the tool."""

    decision: Literal["reject", "respond"]
    reason: SomeText = Field(description="Why, for reject; the answer, for respond.")


class Edit(_Decision):
    """Change the arguments; they are judged again from the start."""

    decision: Literal["edit"]
    arguments: Arguments = Field(description="The complete new arguments.")
    reason: Text = ""


Said = Annotated[Plain | Spoken | Edit, Field(discriminator="decision")]
