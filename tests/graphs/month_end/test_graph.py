"""The close as a whole: who is asked, what is posted when, what the next run knows, what bad input leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from closing import (  # noqa: F401
    CONTROLLER,
    EARNED,
    FEE,
    INTEREST,
    LARGE,
    PERIOD,
    SLIP,
    SMALL,
    TWICE,
    Books,
    Close,
    books_fixture,
    close_fixture,
)
from langchain_core.messages import AIMessage
from pydantic import ValidationError

from month_end import tools
from month_end.graph import flow
from stateward import Effect, FlowState, Principal, StatewardError, Workflow, call, tool
from stateward.errors import DecisionRefused
from stateward.model.memory import Scope, Search
from stateward.orchestrate.loops import blocking
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

SCOPE = {"tenant": "default", "principal": "close-agent", "purpose": flow.purpose, "subject": f"period:{PERIOD}"}


def remembered(close: Close, kind: str) -> dict[str, Any]:
    """What is remembered of a kind, as a step of the close sees it."""
    memory, loop = close.runtime.services.memory, close.runtime.services.loop
    items = blocking(loop, memory.search(Scope(**SCOPE, thread="close"), Search(prefix=(kind,), limit=100)))
    return {item.key: item.value for item in items}


class TestTheFirstRun:
    def test_it_posts_what_is_small_and_asks_about_the_rest(self, close: Close) -> None:
        out = close.run()
        assert out["__interrupt__"]
        asked = close.waiting()
        assert set(asked) == LARGE
        assert set(close.posted()) == SMALL
        interest = asked[INTEREST]
        assert interest.arguments["amount"] == 2312.5
        assert (interest.requester, interest.subject) == ("ann", f"period:{PERIOD}")
        assert interest.requirements[0].by == ("controller",)
        assert "entries above 1,000 need the controller" in interest.description
        assert not any(close.books.out.glob("close-pack*"))

    def test_approved_edited_and_rejected_entries_are_each_what_was_decided(self, close: Close) -> None:
        close.run()
        asked = close.waiting()
        edited = dict(asked[SLIP].arguments) | {"amount": 4900.0, "memo": "Without the rebate"}
        close.runtime.decide(asked[SLIP], "edit", arguments=edited, by=CONTROLLER)
        close.runtime.decide(asked[TWICE], "reject", reason="it is two deliveries", by=CONTROLLER)
        close.approve_all()
        out = close.resume()
        while close.waiting():
            # What was edited is judged again, and above the limit of what passes by itself it is asked again.
            close.approve_all()
            out = close.resume()
        posted = close.posted()
        assert set(posted) == SMALL | {INTEREST, SLIP}
        assert (posted[SLIP]["amount"], posted[SLIP]["memo"]) == (Decimal("4900.0"), "Without the rebate")
        assert posted[INTEREST]["approved_by"] == ["controller"]
        assert posted[FEE]["approved_by"] == []
        assert "Not posted: rejected: it is two deliveries" in out["messages"][-1].text
        assert (out["outcome"], out["pack"]["version"]) == ("answered", 1)
        # The pack does not hide the 50.00 that the edit left open.
        text = Path(out["pack"]["markdown"]).read_text(encoding="utf-8")
        assert "| -5,411.80 | -7,221.80 | 1,860.00 | 0.00 | -50.00 |" in text

    def test_an_edit_that_the_policy_denies_posts_nothing(self, close: Close) -> None:
        close.run()
        asked = close.waiting()[SLIP]
        arguments = dict(asked.arguments) | {"amount": 60000.0}
        close.runtime.decide(asked, "edit", arguments=arguments, by=CONTROLLER)
        close.approve_all()
        out = close.resume()
        assert SLIP not in close.posted()
        assert "no more than 50,000 is posted in a day" in out["messages"][-1].text

    def test_only_the_controller_decides_and_never_the_one_who_asked_for_the_work(self, close: Close) -> None:
        close.run()
        asked = close.waiting()[INTEREST]
        for person in (
            Principal("ann"),
            Principal("ann", roles=["controller"]),
            Principal("close-agent", kind="agent"),
        ):
            with pytest.raises(DecisionRefused):
                close.runtime.decide(asked, "approve", by=person)
        close.resume()
        assert set(close.posted()) == SMALL

    def test_the_pack_proves_that_the_books_agree(self, close: Close) -> None:
        close.run()
        close.approve_all()
        pack = close.resume()["pack"]
        text = Path(pack["markdown"]).read_text(encoding="utf-8")
        assert Path(pack["workbook"]).exists()
        # Bank, ledger, difference, posted, rejected, open items, and what none of them explains.
        assert "| USD | -9,801.80 | -4,390.00 | -5,411.80 | -5,411.80 | 0.00 | 0.00 | 0.00 |" in text
        assert "Interest paid is an expense of the month." in text
        assert text.count("| controller |") == 3
        assert close.rows("select version from month_end.close_pack") == [{"version": 1}]
        assert close.runtime.verify_audit().intact

    def test_the_audit_tells_every_posting(self, close: Close) -> None:
        close.run()
        close.approve_all()
        close.resume()
        kinds = close.kinds(tool="post_journal_entry")
        counted = {kind: kinds.count(kind) for kind in set(kinds)}
        assert counted["action.allowed"] == 2
        assert counted["action.asked"] == counted["approval.approved"] == 3
        assert counted["effect.reserved"] == counted["effect.settled"] == 5
        assert close.kinds()[0] == "thread.opened"
        assert close.kinds()[-1] == "thread.answered"


class TestTheNextRun:
    @pytest.fixture(autouse=True)
    def first_run(self, close: Close) -> None:
        close.run("first")
        close.runtime.decide(close.waiting("first")[TWICE], "reject", reason="it is two deliveries", by=CONTROLLER)
        close.approve_all("first")
        close.resume("first")

    def test_it_goes_on_from_there(self, close: Close) -> None:
        before, packs = close.posted(), close.rows("select * from month_end.close_pack")
        out = close.run("second")
        assert "__interrupt__" not in out
        assert close.posted() == before
        assert close.rows("select * from month_end.close_pack") == packs
        assert out["pack"]["version"] == 1
        said = out["messages"][-1].text
        assert "0 entries posted now, 4 before" in said
        assert f"Turned down before: {TWICE}" in said
        assert "Close pack version 1 is unchanged" in said
        assert close.kinds("second", tool="post_journal_entry") == []
        assert len(close.rows("select * from month_end.import")) == 1

    def test_it_is_told_what_is_remembered(self, close: Close) -> None:
        asked = close.run("second")["messages"][0].text
        assert "It was reconciled before, at 20" in asked
        assert "The current close pack is version 1." in asked

    def test_a_changed_file_is_another_import_and_another_version_of_the_pack(self, close: Close) -> None:
        close.books.add_bank_line("B-7", "2026-10-31", "-25.00", "USD", "", "First Harbor Bank", "Wire transfer fee")
        out = close.run("second")
        assert set(close.posted()) == SMALL | {INTEREST, SLIP, "missing-in-ledger:B-7"}
        assert out["pack"]["version"] == 2
        assert Path(out["pack"]["markdown"]).name == f"close-pack-{PERIOD}-v2.md"
        assert (close.books.out / f"close-pack-{PERIOD}-v1.md").exists()
        assert [row["lines"] for row in close.rows(_LINES)] == [6, 7]
        assert "1 entries posted now, 4 before" in out["messages"][-1].text

    def test_another_period_knows_nothing_of_it(self, close: Close) -> None:
        out = close.run("november", period="2026-11", bank="", ledger="")
        assert "before" not in out["messages"][0].text

    def test_reconciliations_flags_rejections_and_the_pack_are_remembered(self, close: Close) -> None:
        assert remembered(close, "reconciliation")[PERIOD]["variances"] == {
            "missing_in_ledger": 3,
            "wrong_amount": 1,
            "duplicate_in_ledger": 1,
        }
        notes = remembered(close, "variance_note")
        assert set(notes["flagged"]["variances"]) == SMALL | LARGE
        turned_down = notes[TWICE]
        assert (turned_down["status"], turned_down["by"]) == ("rejected", "controller")
        assert turned_down["reason"] == "it is two deliveries"
        assert remembered(close, "close_pack")[PERIOD]["version"] == 1


_LINES = """
select count(*) as lines from month_end.bank_line join month_end.import using (import_id)
 group by import_id, loaded_at order by loaded_at
"""


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


BAD_INPUT: dict[str, tuple[Callable[[Books], object], str, list[str]]] = {
    "missing file": (lambda books: books.bank.unlink(), "bank.csv", ["No such file", "a CSV file that can be read"]),
    "wrong column": (
        lambda books: replaced(books.bank, "amount", "amuont"),
        "bank.csv, line 1",
        ["amuont", "did you mean amount?"],
    ),
    "impossible amount": (
        lambda books: replaced(books.bank, "-2312.50", "2312.50-"),
        "bank.csv, line 4",
        ["2312.50-", "a plain number with at most two decimals"],
    ),
    "unbalanced ledger": (
        lambda books: replaced(books.ledger, ",550.00,", ",555.00,"),
        "ledger.csv, line 4",
        ["JE-4", "balance", "5.00 USD"],
    ),
}


class TestBadInput:
    @pytest.mark.parametrize("kind", BAD_INPUT)
    def test_it_is_named_leaves_nothing_behind_and_can_be_repaired(self, kind: str, close: Close, books: Books) -> None:
        spoil, place, said = BAD_INPUT[kind]
        good = {path: path.read_bytes() for path in (books.bank, books.ledger)}
        spoil(books)
        with pytest.raises(StatewardError) as refusal:
            close.run()
        assert place in str(refusal.value)
        for word in said:
            assert word in str(refusal.value)
        self.assert_nothing(close)
        for path, content in good.items():
            path.write_bytes(content)
        close.run()
        assert set(close.waiting()) == LARGE
        assert set(close.posted()) == SMALL

    @pytest.mark.parametrize(("period", "place"), [("2026-12", "bank.csv"), ("2026-13", "period"), ("x", "period")])
    def test_a_period_that_is_not_there(self, period: str, place: str, close: Close) -> None:
        with pytest.raises(StatewardError) as refusal:
            close.run(period=period)
        assert place in str(refusal.value)
        assert period in str(refusal.value)
        self.assert_nothing(close)

    @pytest.mark.parametrize("missing", ["bank", "ledger"])
    def test_one_file_without_the_other_is_refused_and_not_made_up(self, missing: str, close: Close) -> None:
        with pytest.raises(StatewardError, match=f"{missing}: found no file"):
            close.run(**{missing: ""})
        close.run()
        assert set(close.waiting()) == LARGE

    def assert_nothing(self, close: Close) -> None:
        for table in ("import", "bank_line", "ledger_line", "journal_entry", "close_pack", "mailing"):
            assert close.rows(f"select * from month_end.{table}") == []
        assert close.runtime.approvals() == []
        assert close.runtime.verify_audit().intact


POLICY = """
policy: scribble
version: 1
identities:
  scribbler: {kind: agent}
  ledger-reader: {kind: credential, role: month_end_reader}
  ledger-writer: {kind: credential, role: month_end_writer}
tools:
  read: {effect: read, for: [scribbler], identity: ledger-reader}
  write: {effect: write, for: [scribbler], identity: ledger-writer}
  bare: {effect: write, for: [scribbler]}
budget: {steps: 50}
"""
INSERT = """
insert into month_end.journal_entry (entry_id, period, variance, debit_account, credit_account, amount, currency, date,
                                     reference, memo, key, approved_by)
values ('X-1', '2026-10', 'x', '1000', '2000', 1, 'USD', '2026-10-01', '', '', 'x', '{}')
"""


def runs_sql(name: str, lent: list[Effect]) -> Any:
    async def execute(statement: str, effect: Effect) -> dict[str, Any]:
        """Run a statement."""
        lent.append(effect)
        async with effect.transaction() as tx:
            await tx.connection.execute(statement)
            tx.settle({})
        return {}

    execute.__name__ = name
    return tool(transactional=True)(execute)


class TestIdentities:
    """What a call may do in the books is what its identity may do, for as long as the call lasts."""

    @pytest.fixture(autouse=True)
    def loaded(self, close: Close) -> None:
        close.run()

    def scribble(self, close: Close, name: str, statement: str) -> tuple[str, Effect]:
        """What a tool that runs this statement is told, and what it was lent for it."""
        lent: list[Effect] = []
        flow = Workflow("scribble", state=FlowState, policy=parse_policy(POLICY), principal="scribbler")
        script = [proposes(call(name, statement=statement)), AIMessage("done")]
        flow.orchestrate(ScriptedModel(script=script), tools=[runs_sql(one, lent) for one in ("read", "write", "bare")])
        graph = flow.compile(close.runtime)
        config = close.runtime.thread(
            f"scribble-{name}-{statement[:20]}",
            principal=Principal("scribbler", kind="agent"),
            purpose="scribble",
            subject="none",
            requester="ann",
            graph="scribble",
        )
        out = graph.invoke({"messages": [("user", "go")]}, config)
        return str(out["messages"][-2].text), lent[0]

    def test_the_reader_reads_and_cannot_write(self, close: Close) -> None:
        assert self.scribble(close, "read", "select * from month_end.journal_entry")[0] == "{}"
        said, _ = self.scribble(close, "read", INSERT)
        assert "permission denied for table journal_entry" in said
        assert "X-1" not in {row["entry_id"] for row in close.posted().values()}

    @pytest.mark.parametrize(
        "statement",
        [
            "update month_end.journal_entry set amount = 1",
            "delete from month_end.journal_entry",
            "truncate month_end.journal_entry",
            "drop table month_end.journal_entry",
            "alter table month_end.journal_entry disable trigger all",
            "select * from stateward.action",
            "create role mine login superuser",
            "set role month_end_owner",
        ],
    )
    def test_the_writer_adds_and_can_do_nothing_else(self, statement: str, close: Close) -> None:
        before = close.posted()
        said, _ = self.scribble(close, "write", statement)
        assert any(word in said for word in ("permission denied", "must be owner", "does not exist")), said
        assert close.posted() == before

    def test_the_credential_ends_with_the_call(self, close: Close) -> None:
        # Roles belong to the server, and the killed workers of other tests have left theirs there.
        before = {row["rolname"] for row in close.rows("select rolname from pg_roles")}
        said, lent = self.scribble(close, "write", INSERT)
        assert said == "{}"
        assert lent.credential is not None
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(lent.credential.secret)
        assert {row["rolname"] for row in close.rows("select rolname from pg_roles")} <= before
        assert lent.credential.secret not in repr(lent)

    def test_nothing_is_posted_outside_a_permitted_call(self, close: Close) -> None:
        before = close.posted()
        entry = dict(next(iter(close.waiting().values())).arguments)
        _, kept = self.scribble(close, "write", "select 1")
        # What a tool kept from an earlier call opens nothing, and without any the tool does not run.
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            asyncio.run(tools.post_journal_entry.ainvoke(entry | {"effect": kept}))
        with pytest.raises(ValidationError, match="effect"):
            asyncio.run(tools.post_journal_entry.ainvoke(entry))
        said, _ = self.scribble(close, "bare", INSERT)
        assert "no identity" in said
        assert close.posted() == before
