"""Tools of MCP servers, as teams use them: a server made with FastMCP, all the ways in, results of all kinds."""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool
from langchain_mcp_adapters.client import MultiServerMCPClient
from typer.testing import CliRunner

from agents import asked, drawn, says, thread
from bank import BOSS, Bank, texts
from branch import POLICY, TRUSTED, Branch, behind, loaded, offer
from stateward import call, mcp
from stateward.cli.app import app
from stateward.errors import ConfigurationError, PolicyError
from stateward.verify.load import parse_policy

FAST = '''
from mcp.server.fastmcp import FastMCP, Image
from mcp.types import ToolAnnotations
from pydantic import BaseModel

server = FastMCP("bank", log_level="ERROR")
READS = ToolAnnotations(readOnlyHint=True)


class Held(BaseModel):
    account: str
    balance: float


class Query(BaseModel):
    account: str
    most: int = 10


@server.tool(annotations=READS)
def held(query: Query) -> Held:
    """What an account holds."""
    return Held(account=query.account, balance=query.most)


@server.tool(annotations=READS)
def names() -> list[str]:
    """All accounts."""
    return ["a", "b"]


@server.tool(annotations=READS)
def number(x: int = 3) -> int:
    """A number."""
    return x


@server.tool(annotations=READS, structured_output=False)
def seal() -> Image:
    """A picture."""
    return Image(data=b"png", format="png")


@server.tool(annotations=READS)
def nul() -> str:
    """What Postgres cannot keep."""
    return "a\\0b"


server.run()
'''


@pytest.fixture
def fast(tmp_path: Path) -> dict[str, Any]:
    """A server that FastMCP serves over stdio."""
    file = tmp_path / "fast.py"
    file.write_text(FAST, encoding="utf-8")
    return {"transport": "stdio", "command": sys.executable, "args": [str(file)]}


def test_results_are_what_the_server_means(bank: Bank, fast: dict[str, Any]) -> None:
    calls = [
        call("bank_held", query={"account": "DE02", "most": "7"}),
        call("bank_names"),
        call("bank_number"),
        call("bank_seal"),
        call("bank_nul"),
    ]
    started = behind(bank, *mcp.tools_sync({"bank": fast})).run(calls, policy=TRUSTED)
    held, names, number, _, nul = texts(started.out)
    assert held == '{"account": "DE02", "balance": 7.0}'
    assert (names, number) == ('["a", "b"]', "3")
    picture = [one for one in started.out["messages"] if one.type == "tool"][3].content
    assert picture == [{"type": "image", "base64": base64.b64encode(b"png").decode(), "mime_type": "image/png"}]
    assert nul == "a\ufffdb"


def test_a_write_keeps_its_result_in_the_journal(bank: Bank, branch: Branch) -> None:
    branch.does(pay={"content": [{"type": "text", "text": "paid\0"}], "structuredContent": {"receipt": "r-1"}})
    started = behind(bank, *loaded(branch)).run([call("bank_pay", amount=5)], policy=POLICY)
    (effect,) = started.effects()
    assert effect["status"] == "settled"
    assert effect["result"]["structured"] == {"receipt": "r-1"}


def test_the_middleware_takes_them_from_the_agent_and_shows_what_it_may_use(bank: Bank, branch: Branch) -> None:
    ward = bank.runtime.middleware(policy=parse_policy(POLICY), principal="bot", purpose="bank")
    tools = loaded(branch)
    model = says([call("bank_pay", amount="5")])
    agent = create_agent(
        model, tools, middleware=[ward], checkpointer=bank.runtime.checkpointer, store=bank.runtime.store
    )
    agent.invoke({"messages": [("user", "go")]}, thread(bank))
    assert branch.calls()[0]["arguments"] == {"amount": 5}
    other = bank.runtime.middleware(policy=parse_policy(POLICY), principal="bot", purpose="bank")
    web = mcp.tools_sync({"web": branch.http})
    with pytest.raises(PolicyError, match="tools that the policy does not name"):
        create_agent(model, [*tools, *web], middleware=[other], checkpointer=bank.runtime.checkpointer)


def test_a_node_of_a_graph_of_ones_own(bank: Bank, branch: Branch) -> None:
    policy = POLICY.replace("bank: {for: [bot]}", "bank: {for: [bot], ask: [{by: [boss]}]}")
    graph = drawn(bank, says([call("bank_pay", amount=5)]), loaded(branch), policy=policy)
    graph.invoke({"messages": [("user", "go")]}, thread(bank))
    (question,) = asked(bank)
    bank.runtime.decide(question, "approve", by=BOSS)
    bank.runtime.resume(graph, "case-1")
    assert branch.names == ["pay"]


def test_they_load_where_a_loop_runs(branch: Branch) -> None:
    async def both() -> list[list[str]]:
        found = [await mcp.tools({"bank": branch.http}), mcp.tools_sync({"bank": branch.http})]
        return [[one.name for one in each] for each in found]

    assert asyncio.run(both()) == [["bank_pay", "bank_look"]] * 2


@pytest.mark.parametrize(
    ("connections", "more", "said"),
    [
        ({"bank": {"transport": "http", "url": "http://127.0.0.1:1/mcp"}}, {}, "the MCP server 'bank' does not list"),
        ({"bank": {"transport": "pigeon"}}, {}, "the MCP server 'bank' does not list"),
        ({"my bank": {}}, {}, "an MCP server is called 'my bank'"),
        ({"bank": {}}, {"timeout": "soon"}, "timeout='soon': expected a duration"),
    ],
)
def test_what_cannot_be_loaded_is_said(connections: Any, more: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        mcp.tools_sync(connections, **more)


def test_tools_that_the_adapters_have_loaded_are_adopted(bank: Bank, fast: dict[str, Any]) -> None:
    tools = asyncio.run(MultiServerMCPClient({"bank": fast}, tool_name_prefix=True).get_tools())
    calls = [call("bank_held", query={"account": "DE02"}), call("bank_names"), call("bank_number", x="4")]
    started = behind(bank, *mcp.adopt(tools, server="bank")).run(calls, policy=TRUSTED)
    assert texts(started.out) == ['{"account": "DE02", "balance": 10.0}', '["a", "b"]', "4"]
    with pytest.raises(ConfigurationError, match=r"stateward\.mcp\.adopt"):
        behind(bank, *tools).run(calls, policy=TRUSTED)


def test_what_is_no_mcp_tool_is_not_adopted() -> None:
    def pay(amount: float) -> str:
        """Pay."""
        return "paid"

    with pytest.raises(ConfigurationError, match="was not loaded by langchain-mcp-adapters"):
        mcp.adopt([StructuredTool.from_function(pay)], server="bank")


@pytest.mark.parametrize(
    ("tool", "server", "said"),
    [
        ("bank_pay me", "bank", "offers a tool called 'pay me'"),
        ("my bank_pay", "my bank", "an MCP server is called 'my bank'"),
    ],
)
def test_a_name_that_begins_with_the_servers_is_looked_at_as_well(
    branch: Branch, tool: str, server: str, said: str
) -> None:
    (one, _) = asyncio.run(MultiServerMCPClient({"bank": branch.http}).get_tools())
    one.name = tool
    with pytest.raises(ConfigurationError, match=said):
        mcp.adopt([one], server=server)


def test_an_argument_may_be_called_as_langchain_calls_its_own(bank: Bank, branch: Branch) -> None:
    names = (
        "config",
        "callbacks",
        "self",
        "args",
        "run_manager",
        "state",
        "store",
        "runtime",
        "tool_call_id",
        "effect",
    )
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}
    branch.offers(offer("pay", inputSchema=schema))
    given = {name: f"the {name}" for name in names}
    behind(bank, *loaded(branch)).run([call("bank_pay", **given)], policy=POLICY)
    assert [one["arguments"] for one in branch.calls()] == [given]


def test_any_tool_with_a_plain_schema_works(bank: Bank) -> None:
    paid: list[Any] = []

    async def pay(**arguments: Any) -> str:
        paid.append(arguments)
        return "paid"

    schema = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    one = StructuredTool(name="wire", description="Wire.", args_schema=schema, coroutine=pay)
    policy = POLICY.replace("mcp:\n  bank: {for: [bot]}", "tools:\n  wire: {effect: write, for: [bot], RULES}")
    limit = policy.replace("RULES", "deny: [{when: args.amount > 100, because: too much}]")
    script = [[call("wire", amount="7")], [call("wire", amount=700)], [call("wire", amuont=7)], AIMessage("done")]
    started = behind(bank, one).run(*script, policy=limit)
    assert paid == [{"amount": 7}]
    assert ["too much" in text for text in texts(started.out)] == [False, True, False]
    with pytest.raises(PolicyError, match=r"did you mean 'args\.amount'"):
        behind(bank, one).run(*script, policy=limit.replace("args.amount", "args.amuont"))


def test_the_command_line_says_where_a_class_comes_from(
    branch: Branch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "counter"
    folder.mkdir()
    tools = "\n  bank_pay: {effect: write, for: [bot], idempotent: true}\nmcp:"
    (folder / "policy.yaml").write_text(TRUSTED.replace("\nmcp:", "\ntools:" + tools), encoding="utf-8")
    (folder / "graph.py").write_text(GRAPH.format(connection=branch.http), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATEWARD_HOME", str(tmp_path / "home"))
    checked = CliRunner().invoke(app, ["policy", "check", "counter/policy.yaml", "--workflow", "counter"])
    said = checked.output
    assert checked.exit_code == 0, said
    assert (
        "bank_look, by mcp.bank: the policy names its server; it is a read, by the annotations of its trusted" in said
    )
    assert "bank_pay, by tools.bank_pay: the policy names it; it is a write (destructive, idempotent" in said
    assert "denied, as the policy names neither them nor their server: web_look, web_pay" in said
    wanted = ["policy", "explain", "bank_look", "--workflow", "counter", "--set", "amount=1"]
    said = " ".join(CliRunner().invoke(app, wanted).output.split())
    assert "mcp.bank" in said
    assert "by the annotations of its" in said


GRAPH = """
from stateward import FlowState, Workflow, mcp

flow = Workflow("counter", state=FlowState, policy="counter/policy.yaml", principal="bot")
connection = {connection}
flow.orchestrate("openai:gpt-5.1", tools=mcp.tools_sync({{"bank": connection, "web": connection}}))
"""
