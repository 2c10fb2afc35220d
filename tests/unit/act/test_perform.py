"""Perform: what is done with each answer of the journal. The journal is a fake; nothing here is a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from stateward import Effect
from stateward.act.perform import NothingDone, Performer, Traits, Waiting
from stateward.approve.ask import outcome_question
from stateward.errors import ConfigurationError, ThreadError
from stateward.model.approval import Approval, Decision, Signature
from stateward.model.effect import Credential, Receipt
from stateward.model.verdict import Permit
from stateward.ports import Reservation
from stateward.testing.contracts.samples import facts

PERMIT = Permit(action="a" * 32, thread="t1", call="c1", tool="pay", arguments={"amount": 5}, effect="write")
PLAIN, IDEMPOTENT, TRANSACTIONAL = Traits(), Traits(idempotent=True), Traits(transactional=True)


@dataclass
class FakeJournal:
    """One effect in memory."""

    status: str = "new"
    busy: bool = False
    attempt: int = 1
    result: Any = None
    error: str = ""
    answer: tuple[str, str] | None = None
    taken_over: bool = False
    told: list[str] = field(default_factory=list)

    def _receipt(self) -> Receipt:
        status: Any = "reserved" if self.taken_over else self.status
        return Receipt(action=PERMIT.action, status=status, result=self.result, error=self.error, attempt=self.attempt)

    async def reserve(self, permit: Permit, *, actor: str, follows: Any = None) -> Reservation:
        outcome: Any = {"new": "reserved", "reserved": "unknown"}.get(self.status, self.status)
        if self.status == "new":
            self.status = "reserved"
        return Reservation(outcome="busy" if self.busy else outcome, receipt=self._receipt(), key="sw-key")

    async def restart(self, permit: Permit, *, attempt: int, actor: str, follows: Any = None) -> Reservation:
        self.attempt, self.status = attempt + 1, "reserved"
        return Reservation(outcome="busy" if self.busy else "reserved", receipt=self._receipt(), key="sw-key")

    async def _move(self, status: str, result: Any = None, error: str = "") -> Receipt:
        if self.status in ("reserved", "unknown") and not self.taken_over:
            self.status, self.result, self.error = status, result, error
        return self._receipt()

    async def settle(self, permit: Permit, *, attempt: int, result: Any, actor: str) -> Receipt:
        return await self._move("settled", result)

    async def fail(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        return await self._move("failed", error=error)

    async def abandon(self, permit: Permit, *, attempt: int, error: str, actor: str) -> Receipt:
        return await self._move("abandoned", error=error)

    async def lose(self, permit: Permit, *, attempt: int, thread: Any, by: Any) -> Approval:
        await self._move("unknown")
        return self._question(attempt, by)

    def _question(self, attempt: int, by: Any) -> Approval:
        from stateward.testing.contracts.samples import judged

        action = replace(judged().action, call=replace(judged().action.call, tool="pay"))
        row: Any = type("Row", (), {"action": action})()
        asked = outcome_question(row, facts(), attempt=attempt, by=by)
        if self.answer is None:
            return asked
        status, kind = self.answer
        said = Decision(kind=kind, reason="seen")
        signature = Signature(principal="boss", roles=(), verified_by="x", decision=said, at=asked.requested_at)
        return replace(asked, status=status, signatures=(signature,) if kind else ())

    async def receipt(self, action: str, *, thread: str) -> Receipt:
        return self._receipt()

    def send(self, permit: Permit, *, attempt: int, result: Any, actor: str) -> Receipt:
        self.status, self.result = "settled", result
        return self._receipt()

    def read(self, permit: Permit, *, actor: str, ok: bool) -> None:
        self.told.append("ok" if ok else "failed")

    def let_go(self, action: str) -> None:
        self.told.append("let go")


class FakeCredentials:
    """Lends a secret, and remembers that it was given back."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.out, self.refuse = 0, refuse

    @asynccontextmanager
    async def lend(self, permit: Permit, *, role: str, attempt: int) -> AsyncIterator[Credential]:
        if self.refuse:
            raise ConfigurationError("the role is missing")
        self.out += 1
        try:
            yield Credential(identity="writer", user="u", secret=f"{role}-{attempt}")
        finally:
            self.out -= 1

    @asynccontextmanager
    async def transaction(self, permit: Permit, credential: Credential, *, attempt: int) -> AsyncIterator[Any]:
        class Work:
            connection = None

            def settle(self, result: Any) -> None:
                pass

        yield Work()


@dataclass
class Tool:
    """Counts its runs; may raise."""

    error: BaseException | None = None
    effects: list[Effect] = field(default_factory=list)

    async def __call__(self, effect: Effect) -> Any:
        self.effects.append(effect)
        if self.error:
            raise self.error
        return {"paid": 5}


async def perform(
    journal: FakeJournal, tool: Tool, traits: Traits = PLAIN, *, permit: Permit = PERMIT, credentials: Any = None
) -> Receipt | Waiting:
    performer = Performer(
        journal=journal,
        desk=None,
        credentials=credentials or FakeCredentials(),
        roles={"writer": "bank_writer"},
        settlers=lambda _: ("boss",),
    )
    return await performer.perform(permit, facts(), tool, traits)


async def test_it_runs_and_settles() -> None:
    journal, tool = FakeJournal(), Tool()
    receipt = await perform(journal, tool)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.result, len(tool.effects)) == ("settled", {"paid": 5}, 1)
    assert tool.effects[0].key == f"sw-{PERMIT.action}"


@pytest.mark.parametrize("status", ["settled", "failed", "abandoned", "refused"])
async def test_what_has_an_end_does_not_run(status: str) -> None:
    tool = Tool()
    await perform(FakeJournal(status=status), tool)
    assert tool.effects == []


async def test_what_somebody_runs_is_left_alone() -> None:
    tool = Tool()
    with pytest.raises(ThreadError, match="another worker"):
        await perform(FakeJournal(busy=True), tool)
    assert tool.effects == []


@dataclass
class LateJournal(FakeJournal):
    """The last worker died, and its commit arrives when its attempt is about to be repeated."""

    async def restart(self, permit: Permit, *, attempt: int, actor: str, follows: Any = None) -> Reservation:
        self.status, self.result = "settled", {"id": 1}
        return Reservation(outcome="busy", receipt=self._receipt(), key="sw-key")


async def test_a_commit_that_arrives_late_is_believed() -> None:
    tool = Tool()
    receipt = await perform(LateJournal(status="reserved"), tool, TRANSACTIONAL)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.result) == ("settled", {"id": 1})
    assert tool.effects == []


@pytest.mark.parametrize("traits", [IDEMPOTENT, TRANSACTIONAL])
async def test_a_repeatable_attempt_that_was_cut_off_runs_again(traits: Traits) -> None:
    journal, tool = FakeJournal(status="reserved"), Tool()
    receipt = await perform(journal, tool, traits)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.attempt, len(tool.effects)) == ("settled", 2, 1)


@pytest.mark.parametrize("status", ["reserved", "unknown"])
async def test_any_other_waits_for_a_person(status: str) -> None:
    tool = Tool()
    assert isinstance(await perform(FakeJournal(status=status), tool), Waiting)
    assert tool.effects == []


@pytest.mark.parametrize(
    ("answer", "status", "runs"),
    [
        (("approved", "done"), "settled", 0),
        (("edited", "retry"), "settled", 1),
        (("rejected", "give_up"), "abandoned", 0),
        (("expired", ""), "abandoned", 0),
    ],
)
@pytest.mark.parametrize("traits", [PLAIN, Traits(probe=lambda *_: _none()), IDEMPOTENT])
async def test_what_a_person_said_is_done(answer: Any, status: str, runs: int, traits: Traits) -> None:
    journal, tool = FakeJournal(status="unknown", answer=answer), Tool()
    receipt = await perform(journal, tool, traits)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, len(tool.effects)) == (status, runs)


async def _none() -> None:
    return None


@pytest.mark.parametrize("status", ["reserved", "unknown"])
async def test_what_the_other_side_knows_settles_it(status: str) -> None:
    asked: list[Any] = []

    async def probe(arguments: Any, key: str) -> Any:
        asked.append((arguments, key))
        return {"found": True}

    journal, tool = FakeJournal(status=status), Tool()
    receipt = await perform(journal, tool, Traits(probe=probe))
    assert isinstance(receipt, Receipt)
    assert (receipt.result, tool.effects, asked) == ({"found": True}, [], [({"amount": 5}, "sw-key")])


async def test_a_probe_that_fails_leaves_it_unknown() -> None:
    async def probe(arguments: Any, key: str) -> Any:
        raise TimeoutError

    journal, tool = FakeJournal(status="reserved"), Tool()
    with pytest.raises(TimeoutError):
        await perform(journal, tool, Traits(probe=probe))
    assert (journal.status, tool.effects) == ("reserved", [])


@pytest.mark.parametrize(
    ("error", "traits", "status"),
    [
        (NothingDone("no"), PLAIN, "failed"),
        (ValueError("bug"), PLAIN, "unknown"),
        (ConfigurationError("left without settling"), PLAIN, "unknown"),
        (ValueError("bug"), Traits(probe=lambda *_: _none()), "unknown"),
        (ValueError("bug"), IDEMPOTENT, "failed"),
        (ValueError("bug"), TRANSACTIONAL, "failed"),
    ],
)
async def test_an_error_says_as_much_as_it_can(error: Exception, traits: Traits, status: str) -> None:
    journal = FakeJournal()
    await perform(journal, Tool(error=error), traits)
    assert journal.status == status


async def test_an_error_after_its_own_settlement_is_settled() -> None:
    journal = FakeJournal()

    class Settles(Tool):
        async def __call__(self, effect: Effect) -> Any:
            await journal.settle(PERMIT, attempt=1, result="mine", actor="bot")
            raise ValueError("afterwards")

    receipt = await perform(journal, Settles(), TRANSACTIONAL)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.result) == ("settled", "mine")


async def test_a_worker_that_was_taken_over_says_so() -> None:
    journal = FakeJournal(taken_over=True)
    with pytest.raises(ThreadError, match="taken over"):
        await perform(journal, Tool(error=ValueError("bug")), TRANSACTIONAL)


async def test_what_its_own_transaction_settled_is_its_receipt() -> None:
    journal, credentials = FakeJournal(), FakeCredentials()

    class Settles(Tool):
        async def __call__(self, effect: Effect) -> Any:
            async with effect.transaction() as work:
                work.settle({"posted": 5})
            return "what the model may read"

    permit = replace(PERMIT, identity="writer")
    receipt = await perform(journal, Settles(), TRANSACTIONAL, credentials=credentials, permit=permit)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.result) == ("settled", {"posted": 5})
    assert journal.status == "reserved"  # nothing is sent for it: its own commit has it


async def test_a_transaction_that_did_not_commit_settled_nothing() -> None:
    class Breaks(Tool):
        async def __call__(self, effect: Effect) -> Any:
            async with effect.transaction() as work:
                work.settle({"posted": 5})
                raise ValueError("rolled back")

    journal, permit = FakeJournal(), replace(PERMIT, identity="writer")
    receipt = await perform(journal, Breaks(), TRANSACTIONAL, permit=permit)
    assert isinstance(receipt, Receipt)
    assert receipt.status == "failed"


async def test_a_death_is_nobodys_error() -> None:
    class Death(BaseException):
        pass

    journal, credentials = FakeJournal(), FakeCredentials()
    with pytest.raises(Death):
        await perform(journal, Tool(error=Death()), credentials=credentials, permit=replace(PERMIT, identity="writer"))
    assert (journal.status, journal.told, credentials.out) == ("reserved", ["let go"], 0)


async def test_a_credential_is_lent_for_the_call_only() -> None:
    credentials, tool = FakeCredentials(), Tool()
    await perform(FakeJournal(), tool, credentials=credentials, permit=replace(PERMIT, identity="writer"))
    assert tool.effects[0].credential is not None
    assert (tool.effects[0].credential.secret, credentials.out) == ("bank_writer-1", 0)


@pytest.mark.parametrize(
    ("identity", "credentials"), [("writer", FakeCredentials(refuse=True)), ("nobody", FakeCredentials())]
)
async def test_without_its_credential_nothing_has_happened(identity: str, credentials: FakeCredentials) -> None:
    journal, tool = FakeJournal(), Tool()
    await perform(journal, tool, credentials=credentials, permit=replace(PERMIT, identity=identity))
    assert (journal.status, tool.effects) == ("failed", [])


async def test_without_an_identity_there_is_no_transaction() -> None:
    tool = Tool()
    await perform(FakeJournal(), tool)
    with pytest.raises(ConfigurationError, match="gives pay no identity"):
        async with tool.effects[0].transaction():
            pass


@pytest.mark.parametrize(("error", "told"), [(None, "ok"), (ValueError("gone"), "failed")])
async def test_a_read_is_told_and_not_reserved(error: Exception | None, told: str) -> None:
    journal = FakeJournal()
    receipt = await perform(journal, Tool(error=error), permit=replace(PERMIT, effect="read"))
    assert isinstance(receipt, Receipt)
    assert (journal.status, journal.told) == ("new", [told])
    assert receipt.error == ("" if error is None else "ValueError: gone")
