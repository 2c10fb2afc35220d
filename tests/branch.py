"""A bank whose tools are an MCP server's: a process of its own, which a test can have lie, fail, change or die."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool

from bank import Bank

SERVER = Path(__file__).with_name("mcp_bank.py")
AMOUNT: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "to": {"type": "string"}},
    "required": ["amount"],
}
READ_ONLY = {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": False}
POLICY = """
policy: bank
version: 1
identities:
  bot: {kind: agent}
  boss: {kind: person}
  chief: {kind: person}
  token: {kind: credential, env: BANK_TOKEN}
mcp:
  bank: {for: [bot]}
memory: {kinds: {note: {purpose: [bank], keep: 10d}}}
budget: {steps: 50}
"""
TRUSTED = POLICY.replace("bank: {for: [bot]}", "bank: {trusted: true, for: [bot]}")


def offer(name: str, annotations: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A tool as a server offers it."""
    hints = {} if annotations is None else {"annotations": annotations}
    return {"name": name, "description": f"It does {name}.", "inputSchema": AMOUNT, **hints, **more}


@dataclass
class Branch:
    """An MCP server.

    Attributes:
        directory: Where it is told what to offer and to do, and where it writes down its calls.
        port: Where it serves HTTP, once it is started.
    """

    directory: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def offers(self, *tools: dict[str, Any]) -> None:
        """What it offers from now on."""
        (self.directory / "offer.json").write_text(json.dumps(tools), encoding="utf-8")

    def does(self, **what: Any) -> None:
        """What it does in its tools from now on: `die`, `hang`, `fail`, `refuse`, or the result."""
        (self.directory / "does.json").write_text(json.dumps(what), encoding="utf-8")

    def calls(self) -> list[dict[str, Any]]:
        """The calls that have reached it."""
        file = self.directory / "calls.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    @property
    def names(self) -> list[str]:
        """The tools that were called."""
        return [one["name"] for one in self.calls()]

    @property
    def http(self) -> dict[str, Any]:
        """The connection over streamable HTTP; the server runs until the test ends."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        return {"transport": "http", "url": f"http://127.0.0.1:{self.port}/mcp/"}

    @property
    def stdio(self) -> dict[str, Any]:
        """The connection over standard input and output, a process for each call."""
        return {"transport": "stdio", "command": sys.executable, "args": [str(SERVER), "stdio", str(self.directory)]}

    def start(self) -> None:
        """Serve HTTP."""
        self.port = self.port or _free_port()
        self.process = subprocess.Popen([sys.executable, str(SERVER), str(self.port), str(self.directory)])
        until = time.monotonic() + 60
        while not _answers(self.port):
            assert self.process.poll() is None, "the server has not started"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


@dataclass
class BranchBank(Bank):
    """The bank with other tools."""

    given: list[BaseTool] = field(default_factory=list[BaseTool])

    def tools(self) -> list[Any]:
        """The tools that it was given."""
        return list(self.given)


@pytest.fixture
def branches(tmp_path: Path) -> Iterator[Callable[[str], Branch]]:
    """Makes servers, and ends them."""
    made: dict[str, Branch] = {}

    def make(name: str) -> Branch:
        (tmp_path / name).mkdir()
        made[name] = Branch(directory=tmp_path / name)
        made[name].offers(offer("pay"), offer("look", READ_ONLY))
        made[name].does()
        return made[name]

    yield make
    for one in made.values():
        one.stop()


@pytest.fixture
def branch(branches: Callable[[str], Branch]) -> Branch:
    """A server that offers `pay` and `look`."""
    return branches("bank")


def behind(bank: Bank, *tools: BaseTool) -> BranchBank:
    """The bank with these tools, on the same runtime and by the same way."""
    return BranchBank(runtime=bank.runtime, url=bank.url, way=bank.way, threads=bank.threads, given=list(tools))


def loaded(branch: Branch, timeout: str = "60s", **others: Branch) -> list[BaseTool]:
    """The tools of the server `bank`, and of others."""
    from stateward import mcp  # not before a test needs it: the fixtures are every test's

    servers = {"bank": branch, **others}
    return mcp.tools_sync({name: one.http for name, one in servers.items()}, timeout=timeout)


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _answers(port: int) -> bool:
    with closing(socket.socket()) as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0
