"""What the steps need from outside, as small Protocols named for what they do for us."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from stateward.model.action import Action, ActionStatus
from stateward.model.approval import Approval, ApprovalStatus, Decision, Delegation
from stateward.model.checkpoint import CheckpointKey, CheckpointRow, StoredCheckpoint, StoredValue, WriteRow
from stateward.model.effect import Credential, Receipt, Transaction
from stateward.model.erasure import ErasureReceipt, LegalHold, SubjectCounts
from stateward.model.history import History, HistoryQuery
from stateward.model.judgement import Judgement
from stateward.model.ledger import AuditReport, Entry
from stateward.model.memory import COUNTRIES, Change, Coverage, Finding, KnownValue, MemoryItem, Scope, Search
from stateward.model.policy import Identity, PolicyDocument, ThreadPolicy
from stateward.model.principal import Principal
from stateward.model.provenance import Sighting, ThreadPast
from stateward.model.pseudonym import Pseudonym
from stateward.model.thread import Spent, ThreadFacts, ThreadRecord, ThreadStatus
from stateward.model.values import Json, JsonObject
from stateward.model.verdict import Permit, Reason, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """An action with its verdict, as verify hands it to the journal.

    Attributes:
        policy: `name@version` of the policy that judged.
        policy_digest: Digest of that policy.
        effect: `read` or `write`; `answer` for an answer, which is nothing to perform.
        identity: The credential that the policy names for the tool.
        idempotent: Whether the policy says that a repetition is harmless.
        description: What people are shown if they are asked.
        supersedes: The action that an edit replaces.
        editor: Who edited the arguments.
        undoes: Id of the settled action that it takes back, in an abandoned thread.
        limited: Whether its rules have read the history, which others wait to read meanwhile.
        observed: The rules that would have spoken, if the policy enforced them.
        facts: What the rules read besides the call and its thread.
        labels: The labels that the thread had.
    """

    action: Action
    verdict: Verdict
    policy: str
    policy_digest: str
    effect: Literal["read", "write", "answer"]
    identity: str | None
    idempotent: bool
    description: str = ""
    supersedes: str | None = None
    editor: str | None = None
    undoes: str | None = None
    limited: bool = False
    observed: tuple[Reason, ...] = ()
    facts: JsonObject = field(default_factory=dict[str, Json])
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionRow:
    """An action as the journal has it: the only authority on what may happen (promise P15).

    Attributes:
        response: Why it was rejected, denied or withdrawn, or the answer that a person gave in place of the tool.
        observed: The rules that would have spoken, if the policy enforced them.
        labels: The labels that it was judged under.
        undoes: Id of the settled action that it takes back.
    """

    action: Action
    status: ActionStatus
    verdict: Literal["allow", "deny", "ask"]
    effect: Literal["read", "write", "answer"]
    identity: str | None
    idempotent: bool
    reasons: tuple[tuple[str, str], ...]
    response: str
    approvers: tuple[str, ...]
    policy: str
    policy_digest: str
    observed: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] = ()
    undoes: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What is asked of the history, for one call.

    Attributes:
        tool: Whose calls.
        queries: What the tool's rules ask.
        excluding: Ids of actions that do not count: the one that is judged, and those that it is an edit of.
    """

    tool: str
    queries: Sequence[HistoryQuery]
    excluding: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """What reserving found.

    Attributes:
        outcome: `reserved` (run it now), `settled` or `failed` (it has run), `unknown` (an earlier attempt was cut
            off), `busy` (a living worker runs it now), `abandoned`, or `refused` (no unused permit).
    """

    outcome: Literal["reserved", "settled", "failed", "unknown", "busy", "abandoned", "refused"]
    receipt: Receipt
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """Somebody who looks from outside, and what they may see.

    Attributes:
        id: Their own id.
        names: Their id and roles.
        tenant: Nothing of another tenant is ever seen.
        everything: Whether they see all of their tenant, rather than what they asked for, act in, or are asked about.
    """

    id: str
    names: frozenset[str]
    tenant: str
    everything: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """A decision, of whom, about which approval.

    Attributes:
        approval: Its id.
        by: The verified person.
        digest: What the person was shown, where that is known; another one is refused.
    """

    approval: str
    decision: Decision
    by: Principal
    digest: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """The decision stands.

    Attributes:
        approval: As it is afterwards; `pending` while more people have to approve.
    """

    approval: Approval


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Nothing was decided. The refusal is in the ledger."""

    approval: Approval
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToJudge:
    """The person may edit; the new arguments have to be judged first, by `Desk.decide`."""

    approval: Approval


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A turn as it stands at the desk.

    Attributes:
        questions: All of its questions, decided or not, oldest first.
        actions: Its actions that are not superseded, by position.
        shown: Ids of the questions that the interrupt shows, where one is to be raised.
    """

    questions: list[Approval]
    actions: list[ActionRow]
    shown: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether people have to decide something."""
        return any(one.status == "pending" for one in self.questions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What happened to a question by the clock.

    Attributes:
        event: `reminded`, `escalated` (others are asked now) or `expired` (it counts as rejected).
        approval: The question as it is now.
    """

    event: Literal["reminded", "escalated", "expired"]
    approval: Approval


class Schema(Protocol):
    """Creates tables."""

    async def migrate(self, extra: Sequence[tuple[str, str]] = ()) -> None:
        """Run a workflow's own migrations that have not run yet: name and SQL each."""
        ...


class Threads(Protocol):
    """Which threads exist and whom they belong to."""

    async def open(self, facts: ThreadFacts, *, retention: ThreadPolicy | None = None) -> ThreadRecord:
        """Open the thread, or find it as it was opened.

        Args:
            facts: What it is for.
            retention: How long its policy keeps it; where none is given, what is known of that stays. So for `mark`
                and `abandon`.

        Raises:
            ThreadMismatch: it was opened for someone or something else (P12).
            ThreadAbandoned: it was abandoned.
        """
        ...

    async def find(self, thread: str) -> ThreadRecord | None:
        """The thread, or None where nobody opened it."""
        ...

    async def list(self, *, tenant: str | None = None, subject: str | None = None) -> list[ThreadRecord]:
        """The threads, newest first; of one tenant and about one subject where given."""
        ...

    async def mark(
        self, thread: str, status: ThreadStatus, *, actor: str, retention: ThreadPolicy | None = None
    ) -> None:
        """Change the status and note it, with the thread's next commit; what it is already leaves no entry."""
        ...

    async def abandon(self, thread: str, *, by: Principal, reason: str, retention: ThreadPolicy | None = None) -> bool:
        """End the thread for good: questions that wait are withdrawn, unused permits are void, nothing new may act.

        Returns:
            False where it was abandoned before; nothing changes then.
        """
        ...

    async def conclude(self, thread: str, *, actor: str, detail: Mapping[str, Json]) -> None:
        """Note, once, what came of taking back an abandoned thread's effects."""
        ...

    async def spend(self, thread: str, more: Spent, /) -> Spent:
        """Add to what the thread has used up, with its next commit; returns what that is by now.

        Its age is the server's, and what `more` says of it counts for nothing.

        Raises:
            UnknownThread: nobody opened it.
        """
        ...


class Journal(Protocol):
    """Actions, their verdicts, and what came of them."""

    async def record(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Write verdicts, questions and ledger entries in one transaction; what is already there stays (P6)."""
        ...

    async def turn(self, thread: str, turn: str) -> list[ActionRow]:
        """The actions of a turn that are not superseded, by position."""
        ...

    async def begun(self, thread: str) -> list[tuple[ActionRow, Receipt]]:
        """The writes of a thread that were begun, with what is known of each: the open ones, then the last settled."""
        ...

    def note(self, thread: ThreadFacts, judged: Sequence[Judged], *, actor: str) -> list[ActionRow]:
        """Hand over verdicts that ask nobody, of a turn that nobody has judged; the thread's next commit has them."""
        ...

    async def reserve(self, permit: Permit, *, actor: str, follows: str | None = None) -> Reservation:
        """Use up the permit, in one commit with all that led to it; or find what became of the effect.

        Args:
            follows: Id of the checkpoint that the action follows from: it happens only while the thread stands there.

        Raises:
            ThreadBusy: the thread does not stand on that checkpoint any more.
            NotDurable: no saver of this runtime was handed the checkpoint.
            ThreadAbandoned: the thread was abandoned; only what takes something back may still act.
        """
        ...

    async def restart(self, permit: Permit, *, attempt: int, actor: str, follows: str | None = None) -> Reservation:
        """A new attempt of an effect of unknown outcome; `busy` where another worker was first. Errors as `reserve`."""
        ...

    def leave(self, row: ActionRow, *, actor: str) -> None:
        """An answer that is permitted leaves; the thread's next commit has it."""
        ...

    def send(self, permit: Permit, *, attempt: int, result: Json, actor: str) -> Receipt:
        """Send the receipt of a call that is done, without waiting for it; the thread's next barrier does.

        Where another worker owns the effect by then, that barrier raises `ThreadError`.
        """
        ...

    async def settle(self, permit: Permit, *, attempt: int, result: Json, actor: str) -> Receipt:
        """It is done. Where it was settled before, or another attempt owns it, nothing changes."""
        ...

    async def fail(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        """It certainly did not happen."""
        ...

    async def abandon(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        """A person gave it up."""
        ...

    def let_go(self, action: str) -> None:
        """This process does not run the effect any more."""
        ...

    async def release(self, permit: Permit, *, attempt: int) -> None:
        """Nobody runs the effect any more, and its outcome is not known: whichever worker goes on finds it so."""
        ...

    async def lose(
        self, permit: Permit, *, attempt: int, thread: ThreadFacts, by: Sequence[str], why: str = ""
    ) -> Approval:
        """Mark the outcome as unknown and ask people what happened; `why` is what the tool raised, if it did."""
        ...

    def refuse_late(self, thread: str) -> None:
        """Refuse what would act in a thread that this process knows to be abandoned; a reservation is told anyway.

        It is known from the beginning of a run, from the next commit of one that is under way.

        Raises:
            ThreadAbandoned: the thread was abandoned.
        """
        ...

    def read(self, permit: Permit, *, actor: str, ok: bool) -> None:
        """Audit a read that happened; the thread's next commit has it."""
        ...

    async def receipt(self, action: str, *, thread: str) -> Receipt | None:
        """What is known of an effect, or None where it was never reserved."""
        ...

    async def history(self, thread: ThreadFacts, past: Past) -> History:
        """How a tool was used. What waits counts, for it may still happen; what was refused or has failed does not.

        What cannot be told, such as a sum over what is no number, is left out, and a condition that reads it denies.
        """
        ...

    async def judge(
        self, thread: ThreadFacts, past: Past, judge: Callable[[History], Judged], *, actor: str
    ) -> list[ActionRow]:
        """Read the history, judge by it and record the verdict, while nobody else judges by it; gives the turn.

        What is allowed like that counts as done from now on.
        """
        ...

    async def clear(
        self, thread: ThreadFacts, action: str, past: Past, why_not: Callable[[History], str], *, actor: str
    ) -> str:
        """Hold a permit that was not used against what has been done by now, as `judge` does.

        Args:
            why_not: Why the permit is not good any more; empty where it is. What waits does not count here: it will be
                held against this one.

        Returns:
            Why not. The permit is withdrawn then.
        """
        ...


class Provenance(Protocol):
    """Where what a thread works with comes from."""

    async def load(self, thread: str, *, seen: bool) -> ThreadPast:
        """What is durable of it; what this process has handed over may be on its way.

        Args:
            seen: The texts too.

        Raises:
            SealBroken: a text is not what was sealed for its place (P8).
        """
        ...

    def label(
        self,
        thread: str,
        labels: Collection[str],
        *,
        turn: str,
        actor: str,
        action: str | None = None,
        tool: str | None = None,
    ) -> None:
        """Add labels with the thread's next commit, before anything that is handed over later; they never go.

        Args:
            turn: The turn that brings them, empty where none does.
        """
        ...

    async def see(self, thread: str, sighting: Sighting) -> None:
        """Keep a text, sealed, with the thread's next commit; one of the same source is replaced.

        Raises:
            ThreadErased: the thread was deleted.
            KeyringError: there is no key to seal it with.
        """
        ...

    async def vouch(self, thread: str, text: str) -> str:
        """A digest of a text that only the runtime can make, and for this thread only: the same as long as it has keys.

        Raises:
            ThreadErased: the thread was deleted.
            KeyringError: there is no key to make it with.
        """
        ...


class Desk(Protocol):
    """Questions to people."""

    async def get(self, approval: str) -> Approval | None:
        """One approval with its signatures, or None."""
        ...

    async def list(
        self,
        *,
        tenant: str | None = None,
        thread: str | None = None,
        status: ApprovalStatus | None = "pending",
    ) -> list[Approval]:
        """The inbox, oldest first; every status where it is None.

        Of all threads, those that cannot be opened are left out, with a security event.

        Raises:
            SealBroken: one of the given thread cannot be opened.
        """
        ...

    async def waiting(self) -> int:
        """How many questions wait, of everybody's, those that cannot be opened too."""
        ...

    async def of_turn(self, thread: str, turn: str) -> list[Approval]:
        """All questions of a turn, decided or not, oldest first."""
        ...

    async def awaited(self, thread: str, *, task: str = "") -> str | None:
        """The turn that a thread waits in: of its last question that is open, or that its run has not gone on after.

        A write that was begun and has not ended counts as a question.

        Args:
            task: A task that went on, whose last question counts as well: it may have to go on again.
        """
        ...

    async def ask(self, question: Approval, *, actor: str) -> None:
        """Ask a question that belongs to no action, such as an escalation."""
        ...

    async def decide(self, vote: Vote, *, rejudge: Rejudge) -> Decided | Refused:
        """Take one decision with all that follows from it, or refuse it; either way it is in the ledger.

        One transaction checks who decides, until when, how many, who not and about what, by the database's own clock.

        Args:
            vote: The decision.
            rejudge: Judges the arguments of an edit from the start, in the same transaction; a sentence where the
                tool's schema refuses them.

        Raises:
            UnknownApproval: there is none of that id.
        """
        ...

    async def tick(self) -> list[Notice]:
        """Do what is due by the clock: questions lapse or are escalated, and people are reminded.

        Each is done once, however many workers look, and stands in the ledger.
        """
        ...

    async def look(self, thread: str, turn: str, *, task: str = "", round_: int = 0) -> Seen:
        """A turn as it stands, after what is due in its thread was done.

        Args:
            task: The task that asks where questions are open: what its interrupt shows is noted.
            round_: Which of the task's interrupts it is; a replay gets what was shown at first.
        """
        ...

    async def answer(
        self, thread: str, task: str, round_: int, votes: Sequence[Vote]
    ) -> list[Decided | Refused | ToJudge] | None:
        """Use up an interrupt's answer with the decisions in it. None: it was used before."""
        ...

    async def delegate(
        self, principal: Principal, *, to: str, until: datetime, by: Principal, since: datetime | None = None
    ) -> Delegation | str:
        """Hand a person's right to decide to another for a time; a sentence where it is refused.

        Args:
            principal: Whose right, and which roles go with it.
            to: Id of the person who may decide.
            until: When it ends.
            by: Who says so: the same person, who has these roles.
            since: When it begins; now unless stated.
        """
        ...

    async def revoke(self, delegation: str, *, by: Principal) -> Delegation | str:
        """End a delegation; either of the two people may. A sentence where it is refused."""
        ...

    async def delegations(self, *, tenant: str | None = None, person: str | None = None) -> list[Delegation]:
        """Those that hold now or later; of one tenant, and from or to one person, where given."""
        ...


class EditCase(Protocol):
    """An edit that may be made, under the lock of its approval until it is."""

    @property
    def thread(self) -> ThreadFacts:
        """The thread that waits for it."""
        ...

    @property
    def action(self) -> ActionRow:
        """The action that it changes."""
        ...

    async def history(self, past: Past) -> History:
        """How a tool was used, as `Journal.judge` reads it: nobody else judges by it until the edit is made."""
        ...


Rejudge = Callable[[EditCase, Mapping[str, Json], str], Awaitable[Judged | str]]
"""Judges edited arguments: the case, the arguments, and who edits them."""


class Notifier(Protocol):
    """Tells people what happened to a question by the clock: by mail, by chat, as the team likes."""

    async def notify(self, notice: Notice) -> None:
        """Tell somebody. What it raises is logged, and changes nothing."""
        ...


class Ledger(Protocol):
    """The append-only trail."""

    async def append(
        self,
        thread: str,
        kind: str,
        *,
        actor: str,
        detail: Mapping[str, Json],
        action: str | None = None,
        tool: str | None = None,
    ) -> int:
        """One entry in a transaction of its own; returns its position."""
        ...

    def entries(self, thread: str | None = None) -> AsyncIterator[Entry]:
        """The entries of one thread, or of all, in the order of the chains."""
        ...

    async def verify(self, thread: str | None = None) -> AuditReport:
        """Recompute the chains."""
        ...


class Overview(Protocol):
    """Pages for whoever looks from outside; `after` is the id of the last item of the page before."""

    async def threads(
        self,
        viewer: Viewer,
        *,
        thread: str | None = None,
        status: ThreadStatus | None = None,
        graph: str | None = None,
        subject: str | None = None,
        after: str | None = None,
        limit: int = 1,
    ) -> list[ThreadRecord]:
        """Threads that the viewer may see, newest first."""
        ...

    async def approvals(
        self,
        viewer: Viewer,
        *,
        approval: str | None = None,
        thread: str | None = None,
        status: ApprovalStatus | None = None,
        after: str | None = None,
        limit: int = 1,
    ) -> list[Approval]:
        """Questions that the viewer may see, oldest first; those that cannot be opened as in `Desk.list`."""
        ...

    async def actions(
        self, *, thread: str | None = None, action: str | None = None, after: str | None = None, limit: int = 1
    ) -> list[tuple[ActionRow, Receipt | None]]:
        """Actions with what became of them, oldest first; whether the thread may be seen is asked before."""
        ...

    async def entries(self, thread: str, *, after: int = 0, limit: int) -> list[Entry]:
        """Entries of a thread after a position; whether the thread may be seen is asked before."""
        ...


class Policies(Protocol):
    """The policies that have judged, and what they have said."""

    async def keep(self, document: PolicyDocument) -> Sequence[str]:
        """Keep a policy, once; digests of others that have judged under the same name and version."""
        ...

    async def others(self, document: PolicyDocument) -> Sequence[str]:
        """Digests of other policies that have judged under the same name and version; keeps nothing."""
        ...

    async def find(self, digest: str) -> PolicyDocument | None:
        """The policy of a digest, or None where none was kept.

        Raises:
            PolicyError: what was kept is not the policy of this digest.
        """
        ...

    async def same_names(self) -> Mapping[str, Sequence[str]]:
        """Names and versions that several policies have judged under, each with the digests, oldest first."""
        ...

    def judgements(
        self, *, graph: str | None = None, action: str | None = None, since: timedelta | None = None
    ) -> AsyncIterator[Judgement]:
        """Recorded verdicts, oldest first: of a workflow, of one action, no older than this."""
        ...


class Memory(Protocol):
    """Items with subject, purpose, kind and expiry. What is not of the scope is not found; reading changes nothing."""

    async def change(self, scope: Scope, changes: Sequence[Change]) -> list[int | None]:
        """Write and delete items with their ledger entries, all of them or none. They carry their thread's labels too.

        What an item said before is kept until that would have expired.

        Returns:
            The version of each, in order; None where there was nothing to delete.

        Raises:
            MemoryConflict: one has not the version that was expected.
            MemoryRefused: one cannot be kept.
        """
        ...

    async def get(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> MemoryItem | None:
        """One item that has not expired, or None."""
        ...

    async def versions(self, scope: Scope, *, namespace: tuple[str, ...], key: str) -> list[MemoryItem]:
        """What an item has said before, newest first, as far as that has not expired."""
        ...

    async def search(self, scope: Scope, search: Search) -> list[MemoryItem]:
        """Items that have not expired, best match first where words are given, else newest first.

        Raises:
            ValueError: the filter has an operator or a value that is not known.
        """
        ...

    async def namespaces(self, scope: Scope) -> list[tuple[str, ...]]:
        """The namespaces of this scope that hold something."""
        ...

    async def sweep(self) -> int:
        """Delete what has expired and is not on legal hold; returns how many items and former versions."""
        ...


class Erasure(Protocol):
    """Ends what is known of a subject, or keeps it from ending."""

    async def forget(self, tenant: str, subject: str, *, by: Principal) -> ErasureReceipt:
        """Erase a subject's threads and memory; what was cut off goes on where it was.

        Raises:
            ErasureRefused: the subject is on legal hold.
        """
        ...

    async def sweep(self) -> int:
        """Empty the threads that have ended, or count as ended, whose time is over, and that are not on legal hold;
        returns how many."""
        ...

    async def sweep_vaults(self) -> int:
        """Delete the vaults of subjects that have no memory, no thread that is not emptied, and no legal hold; returns
        how many."""
        ...

    async def count(self, tenant: str, subject: str) -> SubjectCounts:
        """How much there is of a subject now."""
        ...

    async def receipts(self, tenant: str, subject: str) -> list[ErasureReceipt]:
        """What has been erased of a subject so far, oldest first."""
        ...

    async def is_genuine(self, said: JsonObject, seal: str) -> bool:
        """Whether a receipt says what was sealed with it."""
        ...

    async def place_hold(self, tenant: str, subject: str, *, reason: str, by: Principal) -> bool:
        """Keep all that is known of a subject; False where it was on hold before.

        Raises:
            ErasureRefused: an erasure of it is under way.
        """
        ...

    async def end_hold(self, tenant: str, subject: str, *, by: Principal) -> bool:
        """End a hold; False where there was none."""
        ...

    async def holds(self, *, tenant: str | None = None) -> list[LegalHold]:
        """The subjects on hold, oldest first."""
        ...

    async def export(self, tenant: str, subject: str, *, by: Principal) -> list[MemoryItem]:
        """All that is remembered of a subject, for whatever purpose, expired and former versions included.

        Who has got it stands in the ledger.
        """
        ...


class Embedder(Protocol):
    """Says where texts lie among all texts: any of LangChain's `Embeddings`."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """For texts that are kept."""
        ...

    async def aembed_query(self, text: str) -> list[float]:
        """For what is looked for."""
        ...


class Checkpoints(Protocol):
    """Keeps checkpoints, sealed and fenced."""

    async def put(self, row: CheckpointRow, *, urgent: bool) -> None:
        """Keep a checkpoint; returns when it is durable, or when the run has visibly moved on.

        Args:
            row: The checkpoint.
            urgent: Do not wait for company, as at the end of a run.

        Raises:
            ThreadBusy: it does not follow from the head, and is not declared to be a fork (P11).
            ThreadErased: the thread was deleted.
        """
        ...

    async def write(self, key: CheckpointKey, rows: Sequence[WriteRow], *, urgent: bool, asks: bool = False) -> None:
        """Keep a task's writes; where they are urgent, returns when they are durable.

        Args:
            asks: They ask people something, who could not answer on a checkpoint that is not the head any more.

        Raises:
            ThreadBusy: they ask, and the checkpoint is not the head any more (P11).
        """
        ...

    async def load(self, thread: str, ns: str, id_: str | None) -> StoredCheckpoint | None:
        """A checkpoint, or the head of the namespace.

        Raises:
            SealBroken: what is kept is not what was sealed for its place; so do the other reads (P8).
        """
        ...

    async def values(
        self, thread: str, ns: str, versions: Mapping[str, str], *, needed: Sequence[str] = ()
    ) -> dict[str, StoredValue]:
        """The values of channels at their versions; a channel that is empty at its version is left out.

        Args:
            needed: Channels that are not empty: one that is left out was deleted beside Stateward, and is refused.
        """
        ...

    def stands(self, thread: str, ns: str) -> str | None:
        """The head of a namespace, where this process knows it."""
        ...

    async def list(
        self, thread: str | None, *, ns: str | None, id_: str | None, before: str | None, limit: int | None
    ) -> list[StoredCheckpoint]:
        """Checkpoints, newest first."""
        ...

    async def ancestors(self, key: CheckpointKey, channels: Sequence[str], *, depth: int) -> list[StoredCheckpoint]:
        """A checkpoint and those that it follows from, nearest first, with what was written to some channels."""
        ...

    async def heads(self, thread: str) -> dict[str, str]:
        """The head of each namespace."""
        ...

    async def prune(
        self, thread: str, *, keep: Iterable[CheckpointKey], values: Iterable[tuple[str, str, str]]
    ) -> None:
        """Delete all of a thread but some checkpoints, and what their values are made of.

        Args:
            keep: The checkpoints that stay. Where the thread has moved on meanwhile, or its subject is on legal hold,
                nothing is deleted.
            values: Namespace, channel and version of the values that stay.
        """
        ...

    async def clear(self, thread: str) -> None:
        """Delete all of a thread's checkpoints; it may go on as a new one.

        Raises:
            ErasureRefused: its subject is on legal hold.
        """
        ...

    async def erase(self, thread: str) -> None:
        """Delete a thread for good: its keys go, and a tombstone refuses whatever a run still writes.

        Raises:
            ErasureRefused: its subject is on legal hold.
        """
        ...

    async def delete_runs(self, runs: Sequence[str]) -> list[str]:
        """Delete the checkpoints of some runs, and say in which threads; the newest that is left becomes the head.

        Values stay until `prune` is told which of them the checkpoints that are left are made of.

        Raises:
            ErasureRefused: the subject of one of the threads is on legal hold.
        """
        ...

    async def copy(self, source: str, target: str) -> None:
        """Copy every checkpoint of a thread to another, sealed anew for its place."""
        ...


class Keyring(Protocol):
    """Wraps the data keys that values are sealed with; only it knows the master key."""

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        """A data key under the current master key, bound to the context; the result names the master key.

        Raises:
            KeyringError: the master key cannot be used.
        """
        ...

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """The data key again, whichever master key of this ring it was wrapped with.

        Raises:
            KeyringError: it was wrapped with a key that this ring does not hold, or for another context.
        """
        ...

    def is_current(self, wrapped: bytes) -> bool:
        """Whether it was wrapped with the current master key; what was not is wrapped anew by a rotation."""
        ...


class CaseFile(Protocol):
    """What is known of the people of a case: names, numbers, addresses, so that they are found wherever they stand."""

    async def add(self, thread: str, values: Collection[KnownValue]) -> None:
        """Keep values, sealed; those that are kept already are left out.

        Raises:
            ThreadErased: the thread was deleted.
            KeyringError: there is no key to seal them with.
        """
        ...

    async def known(self, thread: str) -> tuple[KnownValue, ...]:
        """What is kept, oldest first.

        Raises:
            SealBroken: a row is not what was sealed for its place (P8).
        """
        ...


class Vault(Protocol):
    """The pseudonyms of subjects: a number for a value of personal data, and the value again."""

    async def issue(self, scope: Scope, values: Sequence[KnownValue]) -> list[int]:
        """The number of each value's pseudonym, in order, whoever else asks at the same time.

        Values that are alike but for how they are written (case, spaces, accents of names, signs between digits) have
        one. A subject that was forgotten begins anew.

        Raises:
            RedactionFailed: the subject is nobody's (`none`, or empty), so that unrelated cases would share it.
            ThreadErased: the scope's thread was erased.
            KeyringError: there is no key to seal them with.
        """
        ...

    async def reveal(
        self, scope: Scope, wanted: Collection[tuple[str, int]] | None = None
    ) -> dict[tuple[str, int], Pseudonym]:
        """What pseudonyms of the scope's subject stand for, by entity type and number; one that nobody has issued is
        not in it.

        Args:
            scope: Whose they are; a refusal stands in the chain of its thread.
            wanted: Which of them; None for all.

        Raises:
            SealBroken: a row is not what was sealed for its place (P8).
        """
        ...


class Redactor(Protocol):
    """Finds personal data."""

    def coverage(self, entities: Iterable[str]) -> Coverage:
        """Which of these entity types are looked for, and which cannot be found."""
        ...

    async def prove(self, entities: Iterable[str], *, least: Callable[[str], float] | None = None) -> Coverage:
        """Load what is needed, and find a known sample of each of these entity types.

        Args:
            entities: What is promised.
            least: From which score on a finding of a type counts; None where every finding does.

        Raises:
            ConfigurationError: one of them cannot be found here, or no finding of it counts; says which, what to do.
            RedactionFailed: it does not work.
        """
        ...

    async def scan(
        self,
        texts: Sequence[str],
        *,
        entities: frozenset[str],
        countries: Sequence[str] = COUNTRIES,
        known: Sequence[KnownValue] = (),
    ) -> list[list[Finding]]:
        """The findings of each text.

        Args:
            texts: What is searched.
            entities: The entity types to look for.
            countries: ISO 3166 codes of where the people are: how phone numbers are written without a word.
            known: What is known of the people of the case, found however it is written; of these types only.

        Raises:
            RedactionFailed: the scan failed or took too long; nothing may be written then.
        """
        ...


class CredentialProvider(Protocol):
    """Mints one kind of credential, for one call, after the gate; a team may bring its own."""

    def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AbstractAsyncContextManager[Credential]:
        """A credential for as long as the block lasts; leaving it takes back what can be taken back.

        Args:
            permit: The call; `permit.identity` is the policy's name for the credential.
            identity: What the policy says of it.
            attempt: Which attempt of the call it is for.

        Raises:
            ConfigurationError: it cannot be minted; the call then has not happened. So does any other error.
        """
        ...


class Credentials(CredentialProvider, Protocol):
    """Mints what a tool authenticates with, whatever the policy mints it from."""

    def transaction(
        self, permit: Permit, credential: Credential, *, attempt: int
    ) -> AbstractAsyncContextManager[Transaction]:
        """A connection as the lent Postgres login, in a transaction that settles the effect of a write."""
        ...
