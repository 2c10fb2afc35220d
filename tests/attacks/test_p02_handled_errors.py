"""P2: an error that LangChain's handlers make a result of is an error all the same, and never a write that is done."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, ToolException
from langchain_core.tools import tool as plain_tool
from langgraph.types import Command
from plain import GO
from pydantic import BaseModel

from bank import POLICY, Bank, Started, start, texts
from stateward import Effect, call, tool
from stateward.model.effect import Retry
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

NO = ToolException("the bank is closed")


def breaks(error: ToolException) -> str:
    raise RuntimeError("the handler is broken")


HANDLERS: dict[str, tuple[Any, str]] = {
    "none": (False, "the bank is closed"),
    "true": (True, "the bank is closed"),
    "text": ("try another bank", "try another bank"),
    "function": (lambda error: f"sorry: {error}", "sorry: the bank is closed"),
    "message": (lambda error: ToolMessage("paid", tool_call_id="c"), "paid"),
    "command": (lambda error: Command(update={"messages": []}), "Command("),
    "blocks": (lambda error: [{"type": "text", "text": "closed"}], "closed"),
    "broken": (breaks, "the bank is closed"),
}
handled = pytest.mark.parametrize(("handler", "told"), HANDLERS.values(), ids=HANDLERS.keys())
either = pytest.mark.parametrize("name", ["workflow", "agent"])


def run_with(bank: Bank, one: BaseTool, *, name: str = "workflow") -> Started:
    """A run that calls this tool, which stands in for the bank's own of that name."""
    tools = [*[other for other in bank.tools() if other.name != one.name], one]
    said = [proposes(call(one.name, amount=5)), AIMessage("done")]
    if name == "workflow":
        graph, config = bank.flow(tools, POLICY, said).compile(bank.runtime), bank.config()
    else:
        ward = bank.runtime.middleware(policy=parse_policy(POLICY), tools=tools, principal="bot", purpose="bank")
        saver, store = bank.runtime.checkpointer, bank.runtime.store
        graph = create_agent(ScriptedModel(script=said), tools, middleware=[ward], checkpointer=saver, store=store)
        config = bank.config(graph="bot")
    return Started(bank=bank, graph=graph, config=config, out=start(graph, config))


def paying(act: Any, **handlers: Any) -> BaseTool:
    """A plain LangChain tool with these handlers."""

    def pay(amount: float) -> Any:
        """Pay somebody."""
        return act(amount)

    return StructuredTool.from_function(pay, **handlers)


def refuses(amount: float) -> Any:
    raise NO


@either
@handled
def test_a_handled_error_is_no_payment(bank: Bank, handler: Any, told: str, name: str) -> None:
    run = run_with(bank, paying(refuses, handle_tool_error=handler), name=name)
    (effect,) = run.effects()
    assert (effect["status"], run.kinds.count("effect.settled")) == ("failed", 0)
    (answer,) = [one for one in run.out["messages"] if isinstance(one, ToolMessage)]
    assert (answer.status, answer.text.startswith(told)) == ("error", True)


@handled
def test_a_handled_error_of_a_read_is_no_result(bank: Bank, handler: Any, told: str) -> None:
    def look(amount: float) -> str:
        """Look something up."""
        raise NO

    run = run_with(bank, StructuredTool.from_function(look, handle_tool_error=handler))
    (answer,) = [one for one in run.out["messages"] if isinstance(one, ToolMessage)]
    assert (answer.status, answer.text.startswith(told)) == ("error", True)


def test_a_retry_sees_an_error_that_is_handled(bank: Bank) -> None:
    left = [NO]

    @tool(retry=Retry(on=(ToolException,), wait=0))
    async def pay(amount: float, effect: Effect) -> int:
        """Pay somebody."""
        if left:
            raise left.pop()
        return effect.attempt

    pay.handle_tool_error = True
    assert texts(run_with(bank, pay).out) == ["2"]


class Reply(BaseModel):
    """What the other side answers with."""

    paid: float


def misreads(bank: Bank) -> Any:
    """It pays, and cannot read the other side's answer: pydantic raises what it raises for arguments too."""

    def pay(amount: float) -> Any:
        bank.ran.append(("pay", amount, ""))
        return Reply.model_validate({"paid": "perhaps"})

    return pay


@either
@pytest.mark.parametrize("handler", [True, "not valid", lambda error: "not valid"], ids=["true", "text", "function"])
def test_what_is_not_valid_inside_the_tool_may_have_happened(bank: Bank, handler: Any, name: str) -> None:
    run = run_with(bank, paying(misreads(bank), handle_validation_error=handler), name=name)
    assert (run.asked.kind, run.effects()[0]["status"]) == ("outcome", "unknown")
    assert bank.amounts() == [5]


def test_any_other_error_may_have_happened(bank: Bank) -> None:
    def pays(amount: float) -> Any:
        bank.ran.append(("pay", amount, ""))
        raise TimeoutError("no answer")

    run = run_with(bank, paying(pays, handle_tool_error=True, handle_validation_error=True))
    assert (run.asked.kind, run.effects()[0]["status"]) == ("outcome", "unknown")


@either
@pytest.mark.parametrize("shape", ["message", "command"])
def test_a_tool_that_returns_an_error_has_not_paid(bank: Bank, shape: str, name: str) -> None:
    def pay(amount: float, call: Annotated[str, InjectedToolCallId]) -> Any:
        """Pay somebody."""
        said = ToolMessage("refused: no money", tool_call_id=call, status="error")
        return said if shape == "message" else Command(update={"messages": [said]})

    run = run_with(bank, StructuredTool.from_function(pay), name=name)
    assert [(one["status"], one["error"]) for one in run.effects()] == [("failed", "refused: no money")]
    assert texts(run.out) == ["refused: no money"]


def test_plain_a_handled_error_looks_like_a_payment_falls() -> None:
    @plain_tool
    def pay(amount: float) -> str:
        """Pay somebody."""
        raise NO

    pay.handle_tool_error = HANDLERS["message"][0]
    said = [proposes(call("pay", amount=5)), AIMessage("done")]
    out = create_agent(ScriptedModel(script=said), [pay]).invoke(GO)
    (answer,) = [one for one in out["messages"] if isinstance(one, ToolMessage)]
    assert (answer.status, answer.text) == ("success", "paid")
