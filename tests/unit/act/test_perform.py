"""Perform: what is done with each answer of the journal. The journal is a fake; nothing here is a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stateward import Effect
from stateward.act.calling import NothingDone
from stateward.act.perform import Performer, Traits, Waiting
from stateward.approve.ask import outcome_question
from stateward.errors import ConfigurationError, ThreadError
from stateward.model.approval import Approval, Decision, Signature
from stateward.model.effect import Credential, Receipt, Retry
from stateward.model.policy import Identity
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

    async def lose(self, permit: Permit, *, attempt: int, thread: Any, by: Any, why: str = "") -> Approval:
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

    def refuse_late(self, thread: str) -> None:
        pass

    async def release(self, permit: Permit, *, attempt: int) -> None:
        self.told.append("released")

    def let_go(self, action: str) -> None:
        self.told.append("let go")


class FakeCredentials:
    """Lends a secret, and remembers that it was given back."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.out, self.refuse = 0, refuse

    @asynccontextmanager
    async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncIterator[Credential]:
        if self.refuse:
            raise ConfigurationError("the role is missing")
        self.out += 1
        try:
            yield Credential(identity="writer", user="u", secret=f"{identity.role}-{attempt}")
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
    journal: FakeJournal, tool: Any, traits: Traits = PLAIN, *, permit: Permit = PERMIT, credentials: Any = None
) -> Receipt | Waiting:
    return await performer(journal, credentials).perform(permit, facts(), tool, traits)


def performer(journal: FakeJournal, credentials: Any = None) -> Performer:
    return Performer(
        journal=journal,
        desk=None,
        credentials=credentials or FakeCredentials(),
        identities={"writer": Identity(kind="credential", role="bank_writer"), "boss": Identity(kind="person")},
        settlers=lambda _: ("boss",),
    )


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


async def _raises(*_: Any) -> None:
    raise ConnectionError("it is away")


@pytest.mark.parametrize(
    ("traits", "answer", "status"),
    [
        (Traits(probe=lambda *_: _seen_there()), None, "settled"),
        (Traits(probe=lambda *_: _none()), None, "failed"),
        (TRANSACTIONAL, None, "failed"),
        (Traits(probe=_raises), ("edited", "retry"), "failed"),
        (PLAIN, ("approved", "done"), "settled"),
        (PLAIN, ("edited", "retry"), "failed"),
        (IDEMPOTENT, ("rejected", "give_up"), "abandoned"),
    ],
)
async def test_what_became_of_it_is_found_out_without_running_it(traits: Traits, answer: Any, status: str) -> None:
    receipt = await performer(FakeJournal(status="reserved", answer=answer)).find_out(PERMIT, facts(), traits)
    assert isinstance(receipt, Receipt)
    assert receipt.status == status


async def test_finding_out_asks_a_person_and_leaves_a_living_worker_alone() -> None:
    waiting = await performer(FakeJournal(status="reserved")).find_out(PERMIT, facts(), IDEMPOTENT)
    assert isinstance(waiting, Waiting)
    found = await performer(FakeJournal(status="reserved", busy=True)).find_out(PERMIT, facts(), TRANSACTIONAL)
    assert isinstance(found, Receipt)
    assert found.status == "reserved"


async def _seen_there() -> dict[str, str]:
    return {"id": "x"}


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
        (ValueError("bug"), IDEMPOTENT, "unknown"),
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


async def _found(arguments: Any, key: str) -> Any:
    return {"found": key}


@dataclass
class Flaky:
    """Fails so often with this error, then works."""

    errors: list[Exception]
    effects: list[Effect] = field(default_factory=list)

    async def __call__(self, effect: Effect) -> Any:
        self.effects.append(effect)
        if self.errors:
            raise self.errors.pop(0)
        return {"paid": 5}


def attempts(tool: Any) -> list[int]:
    assert len({effect.key for effect in tool.effects}) == 1
    return [effect.attempt for effect in tool.effects]


async def test_what_the_other_side_knows_of_a_failed_call_settles_it_at_once() -> None:
    journal = FakeJournal()
    receipt = await perform(journal, Tool(error=TimeoutError()), Traits(probe=_found))
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.result) == ("settled", {"found": f"sw-{PERMIT.action}"})


async def test_an_idempotent_call_that_fails_is_made_once_more_with_its_key() -> None:
    journal, tool = FakeJournal(), Flaky([TimeoutError()])
    receipt = await perform(journal, tool, IDEMPOTENT)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, attempts(tool)) == ("settled", [1, 2])


RETRY = Retry(on=(TimeoutError, ConnectionError), attempts=3, wait=0)


@pytest.mark.parametrize(
    ("traits", "status"),
    [
        (Traits(retry=RETRY, idempotent=True), "unknown"),
        (Traits(retry=RETRY, transactional=True), "failed"),
    ],
)
async def test_a_retry_ends_after_its_attempts(traits: Traits, status: str) -> None:
    journal, tool = FakeJournal(), Flaky([TimeoutError()] * 9)
    await perform(journal, tool, traits)
    assert (journal.status, attempts(tool)) == (status, [1, 2, 3])


async def test_a_retry_is_for_its_classes_of_error_only() -> None:
    journal, tool = FakeJournal(), Flaky([ConnectionResetError(), ValueError("bug"), TimeoutError()])
    await perform(journal, tool, Traits(retry=RETRY, idempotent=True))
    assert (journal.status, attempts(tool)) == ("unknown", [1, 2])


async def test_a_plain_write_is_made_again_where_nothing_happened() -> None:
    class RateLimited(Exception):
        pass

    nothing = NothingDone("later")
    nothing.__cause__ = RateLimited()
    journal, tool = FakeJournal(), Flaky([nothing])
    await perform(journal, tool, Traits(retry=Retry(on=(RateLimited,), wait=0)))
    assert (journal.status, attempts(tool)) == ("settled", [1, 2])


async def test_a_credential_that_cannot_be_minted_anew_does_not_undo_the_doubt() -> None:
    class Once(FakeCredentials):
        @asynccontextmanager
        async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncIterator[Credential]:
            if attempt > 1:
                raise ConfigurationError("the server is away")
            yield Credential(identity="writer", secret="hunter2hunter2")

    journal, permit = FakeJournal(), replace(PERMIT, identity="writer")
    traits = Traits(idempotent=True, retry=RETRY)
    asked = await perform(journal, Flaky([TimeoutError()]), traits, credentials=Once(), permit=permit)
    assert isinstance(asked, Waiting)


async def test_a_retry_that_another_worker_overtakes_goes_no_further() -> None:
    tool = Flaky([TimeoutError()] * 3)
    with pytest.raises(ThreadError, match="another worker"):
        await perform(OvertakenJournal(), tool, Traits(retry=RETRY, idempotent=True))
    assert attempts(tool) == [1]


@dataclass
class OvertakenJournal(FakeJournal):
    """Another worker takes the effect over between two attempts."""

    async def restart(self, permit: Permit, *, attempt: int, actor: str, follows: Any = None) -> Reservation:
        return Reservation(outcome="busy", receipt=self._receipt(), key="sw-key")


async def test_a_read_is_made_again_and_each_attempt_is_told() -> None:
    journal, tool = FakeJournal(), Flaky([TimeoutError(), TimeoutError()])
    receipt = await perform(journal, tool, Traits(retry=RETRY), permit=replace(PERMIT, effect="read"))
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.attempt, journal.told) == ("settled", 3, ["failed", "failed", "ok"])


class Hangs:
    """Never answers; whether it was stopped."""

    def __init__(self) -> None:
        self.inside, self.stopped = asyncio.Event(), False

    async def __call__(self, effect: Effect) -> Any:
        self.inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


SHORT = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("traits", "status"),
    [
        (Traits(timeout=SHORT), "unknown"),
        (Traits(timeout=SHORT, probe=lambda *_: _none()), "unknown"),
        (Traits(timeout=SHORT, probe=_found), "settled"),
        (Traits(timeout=SHORT, idempotent=True), "unknown"),
        (Traits(timeout=SHORT, transactional=True), "failed"),
    ],
)
async def test_a_timeout_is_never_taken_for_nothing_happened(traits: Traits, status: str) -> None:
    journal, tool = FakeJournal(), Hangs()
    await perform(journal, tool, traits)
    assert (journal.status, tool.stopped) == (status, True)


async def test_a_timeout_says_how_long_it_was() -> None:
    receipt = await perform(FakeJournal(), Hangs(), Traits(timeout=SHORT), permit=replace(PERMIT, effect="read"))
    assert isinstance(receipt, Receipt)
    assert receipt.error == "TimeoutError: it did not come to an end within 0.001 seconds"


async def test_a_tool_knows_its_deadline() -> None:
    tool = Tool()
    await perform(FakeJournal(), tool, Traits(timeout=timedelta(hours=1)))
    deadline = tool.effects[0].deadline
    assert deadline is not None
    assert timedelta(minutes=59) < deadline - datetime.now(UTC) <= timedelta(hours=1)


async def test_a_cancelled_call_is_left_to_be_found_out() -> None:
    journal, tool = FakeJournal(), Hangs()
    running = asyncio.create_task(perform(journal, tool))
    await tool.inside.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (journal.status, journal.told) == ("reserved", ["released", "let go"])


@pytest.mark.parametrize(
    ("traits", "status"), [(PLAIN, "failed"), (IDEMPOTENT, "reserved"), (TRANSACTIONAL, "reserved")]
)
async def test_a_run_that_is_cancelled_before_the_call_has_done_nothing(traits: Traits, status: str) -> None:
    """What may be called again stays reserved: whoever goes on calls it, and the permit is not lost."""
    minting = asyncio.Event()

    class Slow(FakeCredentials):
        @asynccontextmanager
        async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncIterator[Credential]:
            minting.set()
            await asyncio.Event().wait()
            yield Credential(identity="writer", secret="hunter2hunter2")

    journal, tool = FakeJournal(), Tool()
    running = asyncio.create_task(
        perform(journal, tool, traits, credentials=Slow(), permit=replace(PERMIT, identity="writer"))
    )
    await minting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (journal.status, tool.effects) == (status, [])


async def test_a_run_that_is_cancelled_when_the_call_is_done_keeps_its_receipt() -> None:
    taking_back = asyncio.Event()

    class SlowBack(FakeCredentials):
        @asynccontextmanager
        async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncIterator[Credential]:
            yield Credential(identity="writer", secret="hunter2hunter2")
            taking_back.set()
            await asyncio.Event().wait()

    journal = FakeJournal()
    running = asyncio.create_task(
        perform(journal, Tool(), credentials=SlowBack(), permit=replace(PERMIT, identity="writer"))
    )
    await taking_back.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (journal.status, journal.result) == ("settled", {"paid": 5})


class Lends(FakeCredentials):
    """Lends this secret."""

    @asynccontextmanager
    async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncIterator[Credential]:
        yield Credential(identity="writer", secret='a "quoted" s&cret')


@pytest.mark.parametrize("form", ['a "quoted" s&cret', "a%20%22quoted%22%20s%26cret", 'a \\"quoted\\" s&cret'])
async def test_an_error_does_not_say_the_secret(form: str) -> None:
    journal, permit = FakeJournal(), replace(PERMIT, identity="writer")
    await perform(journal, Tool(error=NothingDone(f"refused: {form}!")), credentials=Lends(), permit=permit)
    assert journal.error == "refused: [secret]!"


async def test_a_result_does_not_hold_the_secret() -> None:
    class Tells(Tool):
        async def __call__(self, effect: Effect) -> Any:
            assert effect.credential is not None
            return {"headers": [effect.credential.secret, 5, None], effect.credential.secret: True}

    journal, permit = FakeJournal(), replace(PERMIT, identity="writer")
    await perform(journal, Tells(), credentials=Lends(), permit=permit)
    assert journal.result == {"headers": ["[secret]", 5, None], "[secret]": True}


@pytest.mark.parametrize(("error", "told"), [(None, "ok"), (ValueError("gone"), "failed")])
async def test_a_read_is_told_and_not_reserved(error: Exception | None, told: str) -> None:
    journal = FakeJournal()
    receipt = await perform(journal, Tool(error=error), permit=replace(PERMIT, effect="read"))
    assert isinstance(receipt, Receipt)
    assert (journal.status, journal.told) == ("new", [told])
    assert receipt.error == ("" if error is None else "ValueError: gone")
