"""Tools: what they say of themselves, what a model is shown of them, and what their arguments become."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException
from langchain_core.tools import tool as langchain_tool
from pydantic import BaseModel, Field

from stateward import Effect, tool
from stateward.act.calling import NothingDone
from stateward.act.perform import Traits
from stateward.conversation import Conversation
from stateward.errors import ConfigurationError
from stateward.model.action import Call
from stateward.orchestrate.fitting import refuse_misfits
from stateward.orchestrate.invoking import Given, Invoker
from stateward.orchestrate.tools import ToolSpec, Undo, specs
from stateward.verify.load import parse_policy

EFFECT = Effect(action="a", thread="t", key="k", opens=lambda: None)


@tool(idempotent=True)
async def pay(amount: float, effect: Effect, to: str = "bank", urgent: bool = False) -> dict[str, Any]:
    """Pay somebody.

    Args:
        amount: How much, in euros.
        to: Whom.
        urgent: Whether at once.
    """
    return {"amount": amount, "to": to, "key": effect.key}


def spec(one: Any) -> ToolSpec:
    return specs([one])[one.name]


async def ran(one: Any, **arguments: Any) -> Any:
    return (await spec(one).run(Call(id="c", tool=one.name, arguments=arguments), EFFECT)).result


def test_a_model_is_shown_the_arguments_and_not_the_effect() -> None:
    shown = spec(pay).schema
    assert set(shown["properties"]) == {"amount", "to", "urgent"}
    assert shown["properties"]["amount"]["description"] == "How much, in euros."
    assert "effect" not in str(pay.tool_call_schema.model_json_schema())


def test_it_says_what_it_is() -> None:
    assert spec(pay).traits == Traits(idempotent=True)

    @langchain_tool
    def other(x: int) -> int:
        """Any LangChain tool."""
        return x

    assert spec(other).traits == Traits()


async def test_it_is_given_the_effect() -> None:
    assert await ran(pay, amount=5) == {"amount": 5, "to": "bank", "key": "k"}


async def test_a_blocking_function_is_a_tool_as_well() -> None:
    @tool
    def look(what: str) -> str:
        """Look."""
        return what * 2

    assert await ran(look, what="x") == "xx"


@pytest.mark.parametrize(
    ("given", "becomes"),
    [({"amount": "5"}, {"amount": 5.0}), ({"amount": 5, "urgent": "yes"}, {"amount": 5.0, "urgent": True})],
)
def test_arguments_become_what_the_schema_says(given: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert spec(pay).normalize(given) == becomes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "amount: Field required"),
        ({"amount": "much"}, "amount: "),
        ({"amount": 5, "effect": {}}, "no argument effect"),
        ({"amount": 5, "a": 1, "b": 2}, "no argument a, b"),
    ],
)
def test_arguments_that_do_not_fit_are_said_where(given: dict[str, Any], said: str) -> None:
    assert said in (spec(pay).problem(given) or "")


async def test_arguments_that_do_not_fit_never_reach_it() -> None:
    with pytest.raises(NothingDone, match="amount"):
        await ran(pay, amount="much")


async def test_a_tool_exception_says_that_nothing_happened() -> None:
    @tool
    async def refuses(x: int) -> int:
        """Refuses."""
        raise ToolException("no money")

    with pytest.raises(NothingDone, match="no money"):
        await ran(refuses, x=1)


async def test_an_answer_that_cannot_be_read_does_not_say_so() -> None:
    class Answer(BaseModel):
        reference: str

    @tool
    async def misreads(x: int) -> Any:
        """Pays, and then cannot read the answer."""
        return Answer.model_validate({})

    with pytest.raises(ValueError, match="reference") as error:
        await ran(misreads, x=1)
    assert not isinstance(error.value, NothingDone)


def test_a_digest_is_of_the_schema() -> None:
    @tool(idempotent=True)
    async def changed(amount: float, effect: Effect, to: str = "mallory") -> None:
        """Pay somebody."""

    changed.name = "pay"
    assert spec(pay).digest == spec(pay).digest != spec(changed).digest


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two tools are called 'pay'"):
        specs([pay, pay])


def test_an_undo_takes_its_arguments_from_the_result_and_then_from_the_arguments() -> None:
    @tool
    async def refund(charge: str, amount: float, effect: Effect, note: str = "") -> None:
        """Give money back."""

    @tool(undo=refund)
    async def charge(amount: float, to: str) -> dict[str, str]:
        """Charge."""
        return {"charge": "ch-1"}

    undo = spec(charge).undo
    assert undo is not None
    assert undo.call({"amount": 5, "to": "x"}, {"charge": "ch-1", "amount": 4}).arguments == {
        "charge": "ch-1",
        "amount": 4,
    }
    assert undo.call({"amount": 5, "to": "x"}, "no object").arguments == {"amount": 5}
    other = Undo(refund, arguments=lambda arguments, result: {"charge": str(result), "amount": arguments["to"]})
    assert other.call({"to": "x"}, 7).arguments == {"charge": "7", "amount": "x"}


def test_the_tool_that_undoes_comes_with_the_other_and_only_once() -> None:
    @tool
    async def refund(amount: float) -> None:
        """Give money back."""

    @tool(undo=refund)
    async def charge(amount: float) -> None:
        """Charge."""

    assert list(specs([charge])) == ["charge", "refund"]
    assert sorted(specs([refund, charge])) == ["charge", "refund"]
    with pytest.raises(ConfigurationError, match="two tools are called 'refund'; one of them takes back 'charge'"):
        specs([charge, tool(_refund_of_another_kind)])


@pytest.mark.parametrize(
    ("said", "why"), [("", "does not name it"), ("refund: {effect: read, for: [bot]}", "says that it is a read")]
)
def test_an_undo_that_the_policy_does_not_name_as_a_write_is_refused(said: str, why: str) -> None:
    policy = parse_policy(
        "policy: p\nversion: 1\nidentities: {bot: {kind: agent}}\n"
        f"tools:\n  charge: {{effect: write, for: [bot]}}\n  {said}\n"
    )

    @tool
    async def refund(amount: float) -> None:
        """Give money back."""

    @tool(undo=refund)
    async def charge(amount: float) -> None:
        """Charge."""

    with pytest.raises(ConfigurationError, match=f"undone by 'refund', but the policy {why}"):
        refuse_misfits(policy, specs([charge]))


async def _refund_of_another_kind(amount: int) -> None:
    """Give money back."""


_refund_of_another_kind.__name__ = "refund"


@pytest.mark.parametrize("handler", [False, True, lambda error: ToolMessage("fine", tool_call_id="c1")])
@pytest.mark.parametrize("says", ["raises", "returns"])
async def test_an_error_of_a_tool_that_cannot_tell_may_have_happened(handler: Any, says: str) -> None:
    async def post(amount: float) -> Any:
        """Post it."""
        if says == "raises":
            raise ToolException("no")
        return ToolMessage("no", tool_call_id="c1", status="error")

    one = StructuredTool.from_function(coroutine=post, handle_tool_error=handler)
    asked = Call(id="c1", tool="post", arguments={"amount": 1})
    with pytest.raises(NothingDone, match=r"no|fine"):
        await Invoker(one).call(asked, EFFECT, Given())
    with pytest.raises(ToolException, match="no"):
        await Invoker(one, tells=False).call(asked, EFFECT, Given())


class Masks:
    """Treats a call as a conversation does: beside the event loop, with one of its few helpers."""

    async def said(self, parts: Any, arguments: Any, *, is_given: bool) -> Any:
        return await asyncio.to_thread(lambda: parts)

    async def shown(self, value: Any) -> Any:
        return dict.fromkeys(cast("dict[str, Any]", value), "[PERSON]") if isinstance(value, dict) else value


HEARD = Given(config={"callbacks": [BaseCallbackHandler()]}, talk=cast("Conversation", Masks()))


class Pays(BaseTool):
    """A tool that makes its own arguments of what a model has said."""

    name: str = "pay_out"
    description: str = "Pay somebody."
    got: list[str] = Field(default_factory=list[str])

    def _to_args_and_kwargs(self, tool_input: Any, tool_call_id: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (tool_input["to"],), {}

    def _run(self, to: str) -> str:
        self.got.append(to)
        return "paid"


async def test_a_tool_with_arguments_of_its_own_making_gets_the_values_where_somebody_listens() -> None:
    one = Pays()
    await Invoker(one).call(Call(id="c1", tool="pay_out", arguments={"to": "Jane"}), EFFECT, HEARD)
    assert one.got == ["Jane"]


async def test_more_blocking_tools_at_once_than_the_loop_has_helpers_are_told_of_and_end() -> None:
    def say(what: str) -> str:
        return f"said {what}"

    said = Invoker(Tool(name="say", description="Say it.", func=say))
    calls = [Call(id=f"c{at}", tool="say", arguments={"__arg1": str(at)}) for at in range(80)]
    returned = await asyncio.gather(*[said.call(one, EFFECT, HEARD) for one in calls])
    assert [one.result for one in returned] == [f"said {at}" for at in range(80)], "each call gets its own"


class Refused(Exception):
    """What a client raises, with what it was answered in a field."""

    def __init__(self, body: str) -> None:
        super().__init__("502")
        self.body = body


def grouped() -> ExceptionGroup[Exception]:
    inner = Refused("Jane")
    inner.add_note("Jane was on the line")
    return ExceptionGroup("several", [inner])


@pytest.mark.parametrize("error", [Refused("Jane"), grouped()])
async def test_what_an_error_carries_beside_its_text_is_kept_from_callbacks_and_not_from_the_run(error: Any) -> None:
    told: list[BaseException] = []

    class Listens(BaseCallbackHandler):
        def on_tool_error(self, error: BaseException, **more: Any) -> None:
            told.append(error)

    async def post() -> str:
        raise error

    given = Given(config={"callbacks": [Listens()]}, talk=HEARD.talk)
    with pytest.raises(type(error)) as raised:
        await Invoker(StructuredTool.from_function(coroutine=post, description="Post it.")).call(
            Call(id="c1", tool="post", arguments={}), EFFECT, given
        )
    assert raised.value is error
    (one,) = told
    assert (type(one), vars(one), one.__cause__, one.__context__) == (RuntimeError, {}, None, None)


def test_a_tool_without_a_docstring_is_named() -> None:
    with pytest.raises(ConfigurationError, match="tool 'silent' has no docstring"):

        @tool
        def silent(amount: float) -> float:
            return amount
