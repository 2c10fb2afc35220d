"""P8: a tool gets what a pseudonym stands for in the fields that the policy names, right before it runs; nobody else.

Nobody's pseudonym, be it made up, of another subject or of another tenant, is refused in whatever field.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import ToolException
from langgraph.types import Command, interrupt
from pydantic import Field
from test_p07_known_people import dump
from test_p08_secrets import Tracer

from bank import BOSS, POLICY, Bank, Started, start, texts
from stateward import Effect, Runtime, call, tool
from stateward.errors import DecisionRefused, PolicyError
from stateward.model.memory import KnownValue, Scope
from stateward.orchestrate.loops import blocking
from stateward.testing import proposes
from stateward.verify.load import parse_policy
from ways import every_way

MAIL, OTHER, JANE = "zanzibar@example.org", "yucatan@example.org", "Xanadu Qwertz"
VALUES = (MAIL, OTHER, JANE, "anzibar", "ucatan", "anadu")
REVEALING = POLICY.replace(
    "memory:\n",
    "memory:\n  personal_data: {PERSON: pseudonymize, EMAIL_ADDRESS: pseudonymize, PHONE_NUMBER: pseudonymize}\n",
).replace(
    "  look: {effect: read, for: [bot]}",
    """  look: {effect: read, for: [bot], reveal: [what]}
  send:
    effect: write
    for: [bot]
    reveal: [to, phone]
    ask: [{when: args.amount > 100, by: [boss], because: big}]""",
)
Address = Annotated[str, Field(pattern=r"^[^@<>]+@[^@<>]+\.[a-z]+$")]


@dataclass
class Post:
    """A tool that sends something, and what it was given.

    Attributes:
        does: What it does then.
    """

    got: list[dict[str, Any]] = field(default_factory=list)
    does: Any = lambda to: {"done": True}

    def tools(self, bank: Bank) -> list[Any]:
        """The bank's tools, and `send`."""
        post = self

        @tool
        async def send(to: Address, body: str = "", amount: float = 1, phone: int = 0, more: Any = None) -> Any:
            """Send a mail."""
            post.got.append({"to": to, "body": body, "phone": phone, "more": more})
            return post.does(to)

        return [*bank.tools(), send]


def issued(bank: Bank, *values: tuple[str, str], subject: str = "customer:17", tenant: str = "default") -> list[int]:
    """Pseudonyms of a subject."""
    from stateward import Principal

    name = f"for-{tenant}-{subject}"
    who = Principal("bot", kind="agent", tenant=tenant)
    bank.runtime.thread(name, principal=who, purpose="bank", subject=subject, requester="ann", graph="bank")
    scope = Scope(tenant=tenant, principal="bot", purpose="bank", subject=subject, thread=name)
    services = bank.runtime.services
    given = [KnownValue(entity=entity, value=value) for entity, value in values]
    return blocking(services.loop, services.vault.issue(scope, given))


def run(bank: Bank, post: Post, *script: Any, policy: str = REVEALING) -> Started:
    """A run whose model makes these calls."""
    said = [one if isinstance(one, AIMessage) else proposes(*one) for one in script]
    graph = bank.way.made(bank, post.tools(bank), policy, said, bank.runtime)
    config = bank.config()
    return Started(bank=bank, graph=graph, config=config, out=start(graph, config))


def in_clear(bank: Bank, started: Started) -> set[str]:
    """The values that stand anywhere they must not: rows, state, answers, the trail."""
    state = bank.runtime.checkpointer.get_tuple(started.config)
    audit = bank.runtime.timeline()
    opened = [started.actions(), started.effects(), bank.runtime.approvals(thread=started.thread, status=None)]
    text = "\n".join([dump(bank), *map(repr, (started.out, state, audit, opened))])
    return {value for value in VALUES if value in text}


@every_way
def test_the_tool_gets_the_value_and_nothing_else_does(
    bank: Bank, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    issued(bank, ("EMAIL_ADDRESS", MAIL), ("PERSON", JANE))
    post, tracer = Post(does=lambda to: {"sent": f"to {to.upper()}", to: [f"?to={MAIL.replace('@', '%40')}"]}), Tracer()
    said = [proposes(call("send", to="<EMAIL_ADDRESS_1>", body="Dear <PERSON_1>")), AIMessage("done")]
    graph = bank.way.made(bank, post.tools(bank), REVEALING, said, bank.runtime)
    config = {**bank.config(), "callbacks": [tracer]}
    started = Started(bank=bank, graph=graph, config=config, out=start(graph, config))
    assert post.got == [{"to": MAIL, "body": "Dear <PERSON_1>", "phone": 0, "more": None}]
    (told,) = texts(started.out)
    assert json.loads(told) == {"sent": "to <EMAIL_ADDRESS_1>", "<EMAIL_ADDRESS_1>": ["?to=<EMAIL_ADDRESS_1>"]}
    (action,) = started.actions()
    assert action["arguments"]["to"] == "<EMAIL_ADDRESS_1>"
    (effect,) = started.effects()
    assert effect["status"] == "settled"
    assert in_clear(bank, started) == set()
    seen = "\n".join([*tracer.seen, caplog.text, *capsys.readouterr()])
    assert tracer.seen
    assert {value for value in VALUES if value in seen} == set()


@pytest.mark.parametrize(
    "said", ["[email_address_1]", "< Email Address 01 >", "{EMAIL-ADDRESS-1}", "&lt;EMAIL_ADDRESS_1&gt;"]
)
def test_what_models_make_of_a_pseudonym_is_the_same(bank: Bank, said: str) -> None:
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    post = Post()
    run(bank, post, [call("send", to=said)])
    assert [one["to"] for one in post.got] == [MAIL]


@every_way
@pytest.mark.parametrize(
    "arguments",
    [
        {"to": "<EMAIL_ADDRESS_7>"},
        {"to": "[email address 07]"},
        {"to": "a@b.org", "body": "for <EMAIL_ADDRESS_2>"},
        {"to": "a@b.org", "more": {"deep": [{"<PERSON_1>": 1}]}},
        {"to": "<EMAIL_ADDRESS_1> <PERSON_4>"},
    ],
    ids=["made up", "made up and written otherwise", "of another subject", "as a key", "beside one that is"],
)
def test_a_pseudonym_that_nobody_has_issued_is_refused(bank: Bank, arguments: dict[str, Any]) -> None:
    """PERSON_1 is another tenant's, and EMAIL_ADDRESS_2 another subject's."""
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    issued(bank, ("EMAIL_ADDRESS", MAIL), ("EMAIL_ADDRESS", OTHER), subject="customer:18")
    issued(bank, ("PERSON", JANE), tenant="rival")
    post = Post()
    started = run(bank, post, [call("send", **arguments)])
    assert post.got == []
    (action,) = started.actions()
    assert (action["verdict"], action["status"]) == ("deny", "denied")
    assert "stands for nothing here" in str(action["reasons"])
    assert "stands for nothing here" in texts(started.out)[0]
    assert [entry.kind for entry in bank.runtime.timeline(started.thread) if entry.action] == ["action.denied"]
    assert in_clear(bank, started) == set()


def test_a_field_that_the_policy_does_not_name_keeps_its_pseudonym(bank: Bank) -> None:
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    post = Post()
    run(bank, post, [call("send", to="a@b.org", body="<EMAIL_ADDRESS_1>", more=["[email_address_1]"])])
    assert post.got == [{"to": "a@b.org", "body": "<EMAIL_ADDRESS_1>", "phone": 0, "more": ["[email_address_1]"]}]


def test_without_reveal_a_typed_field_refuses_the_pseudonym(bank: Bank) -> None:
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    post = Post()
    policy = REVEALING.replace("    reveal: [to, phone]\n", "")
    started = run(bank, post, [call("send", to="<EMAIL_ADDRESS_1>")], policy=policy)
    assert (post.got, started.actions()[0]["status"]) == ([], "denied")


def test_a_number_comes_back_as_a_number(bank: Bank) -> None:
    issued(bank, ("PHONE_NUMBER", "2125550187"))
    post = Post()
    started = run(bank, post, [call("send", to="a@b.org", phone="<PHONE_NUMBER_1>")])
    assert post.got[0]["phone"] == 2125550187
    assert started.actions()[0]["arguments"]["phone"] == "<PHONE_NUMBER_1>"


def test_a_value_that_does_not_fit_is_refused_without_being_told(bank: Bank) -> None:
    issued(bank, ("EMAIL_ADDRESS", "zanzibar"))
    post = Post()
    started = run(bank, post, [call("send", to="<EMAIL_ADDRESS_1>")])
    assert post.got == []
    assert "to: String should match pattern" in texts(started.out)[0]
    assert in_clear(bank, started) == set()


def raised(error: Any) -> Any:
    def does(to: str) -> Any:
        try:
            raise ValueError(f"cannot reach {to}")
        except ValueError as cause:
            made = error(f"no {to} <{to}>")
            made.add_note(f"it was {to}")
            raise made from cause

    return does


@every_way
@pytest.mark.parametrize("error", [ToolException, RuntimeError])
def test_an_error_that_quotes_the_value_does_not_tell_it(bank: Bank, error: type[Exception]) -> None:
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    post, tracer = Post(does=raised(error)), Tracer()
    said = [proposes(call("send", to="<EMAIL_ADDRESS_1>")), AIMessage("done")]
    graph = bank.way.made(bank, post.tools(bank), REVEALING, said, bank.runtime)
    config = {**bank.config(), "callbacks": [tracer]}
    started = Started(bank=bank, graph=graph, config=config, out=start(graph, config))
    assert len(post.got) == 1
    (effect,) = started.effects()
    assert "<EMAIL_ADDRESS_1>" in effect["error"]
    assert in_clear(bank, started) == set()
    assert {value for value in VALUES if value in "\n".join(tracer.seen)} == set()


def test_people_are_shown_the_pseudonym_and_the_value_is_put_back_after_they_approve(
    bank: Bank, runtime: Runtime
) -> None:
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    post = Post()
    started = run(bank, post, [call("send", to="<EMAIL_ADDRESS_1>", amount=500)])
    assert started.asked.arguments["to"] == "<EMAIL_ADDRESS_1>"
    started.decide("approve")
    started.resume()
    assert [one["to"] for one in post.got] == [MAIL]
    assert in_clear(bank, started) == set()


def test_an_edit_may_keep_a_pseudonym_and_may_not_make_one_up(bank: Bank) -> None:
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    post = Post()
    started = run(bank, post, [call("send", to="<EMAIL_ADDRESS_1>", amount=500)])
    started.decide("edit", arguments={"to": "<EMAIL_ADDRESS_1>", "amount": 3}, by=BOSS)
    started.resume()
    assert [one["to"] for one in post.got] == [MAIL]
    other = run(bank, post, [call("send", to="<EMAIL_ADDRESS_1>", amount=500)])
    with pytest.raises(DecisionRefused, match="EMAIL_ADDRESS_9> stands for nothing here"):
        other.decide("edit", arguments={"to": "<EMAIL_ADDRESS_9>", "amount": 3}, by=BOSS)
    assert (len(post.got), other.asked.status) == (1, "pending")


def test_a_probe_asks_with_the_value_and_what_it_finds_tells_none(bank: Bank) -> None:
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    asked: list[Any] = []

    async def probe(arguments: Any, key: str) -> Any:
        asked.append(arguments["to"])
        return {"sent to": arguments["to"]}

    @tool(probe=probe)
    async def send(to: Address) -> Any:
        """Send a mail."""
        raise ConnectionError("the line broke")

    flow = bank.flow(
        [*bank.tools(), send],
        REVEALING.replace(", phone]", "]").replace(
            "    ask: [{when: args.amount > 100, by: [boss], because: big}]", ""
        ),
        [proposes(call("send", to="<EMAIL_ADDRESS_1>")), AIMessage("done")],
    )
    config = bank.config()
    started = Started(bank=bank, graph=(graph := flow.compile(bank.runtime)), config=config, out=start(graph, config))
    assert asked == [MAIL]
    assert texts(started.out) == ['{"sent to":"<EMAIL_ADDRESS_1>"}'] or "<EMAIL_ADDRESS_1>" in texts(started.out)[0]
    assert in_clear(bank, started) == set()


@every_way
def test_what_a_tool_asks_people_by_itself_is_without_the_value(bank: Bank) -> None:
    """LangGraph shows an interrupt to people, and keeps it; the tool is run again with their answer, and the value."""
    issued(bank, ("EMAIL_ADDRESS", MAIL))
    got: list[str] = []

    @tool
    async def look(what: str) -> Any:
        """Look something up, once people say so."""
        got.append(what)
        return {"said": interrupt({"about": [f"Look for {what}?"], what: 1})}

    tools = [look, *(one for one in Post().tools(bank) if one.name != "look")]
    said = [proposes(call("look", what="<EMAIL_ADDRESS_1>")), AIMessage("done")]
    graph, config = bank.way.made(bank, tools, REVEALING, said, bank.runtime), bank.config()
    started = Started(bank=bank, graph=graph, config=config, out=start(graph, config))
    (asked,) = started.out["__interrupt__"]
    assert asked.value == {"about": ["Look for <EMAIL_ADDRESS_1>?"], "<EMAIL_ADDRESS_1>": 1}
    assert in_clear(bank, started) == set()
    out = graph.invoke(Command(resume="yes"), config)
    assert got == [MAIL, MAIL]
    assert "yes" in str([one for one in out["messages"] if isinstance(one, ToolMessage)][-1].content)


def test_a_transaction_settles_without_the_value(bank: Bank) -> None:
    issued(bank, ("PERSON", JANE))

    @tool(transactional=True)
    async def post(to: str, effect: Effect) -> Any:
        """Post to the books."""
        async with effect.transaction() as tx:
            await tx.connection.execute("insert into books.entry (key, attempt, amount) values (%s, 1, 1)", [to[:3]])
            tx.settle({"posted for": to})
        return {}

    policy = REVEALING.replace("post: {effect: write, for: [bot]", "post: {effect: write, for: [bot], reveal: [to]")
    policy = policy.replace("reveal: [to, phone]\n", "reveal: [to]\n")
    tools = [post, *(one for one in Post().tools(bank) if one.name != "post")]
    flow = bank.flow(tools, policy, [proposes(call("post", to="<PERSON_1>")), AIMessage("done")])
    config = bank.config()
    started = Started(bank=bank, graph=(graph := flow.compile(bank.runtime)), config=config, out=start(graph, config))
    assert bank.rows("select key from books.entry") == [{"key": JANE[:3]}]
    assert started.effects()[0]["result"] == {"posted for": "<PERSON_1>"}
    assert in_clear(bank, started) == set()


def test_a_field_that_the_tool_does_not_have_is_refused_with_its_line_and_the_nearest_name(bank: Bank) -> None:
    wrong = REVEALING.replace("reveal: [to, phone]", "reveal: [to, phon]")
    with pytest.raises(PolicyError, match="'send' has no argument 'phon'; did you mean 'phone'"):
        run(bank, Post(), policy=wrong)
    parse_policy(wrong)


def test_what_only_looks_like_a_pseudonym_of_a_type_without_any_is_let_through(bank: Bank) -> None:
    post = Post()
    run(bank, post, [call("send", to="a@b.org", body="[LOCATION_1] or <URL_2> or (PERSON_1)")])
    assert post.got[0]["body"] == "[LOCATION_1] or <URL_2> or (PERSON_1)"


def test_a_forgotten_subjects_pseudonym_stands_for_nothing(bank: Bank) -> None:
    from stateward import Principal

    issued(bank, ("EMAIL_ADDRESS", MAIL))
    bank.runtime.forget("customer:17", by=Principal("dpo"))
    post = Post()
    started = run(bank, post, [call("send", to="<EMAIL_ADDRESS_1>")])
    assert (post.got, started.actions()[0]["status"]) == ([], "denied")
