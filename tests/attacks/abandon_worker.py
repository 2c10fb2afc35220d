"""A shop whose effects can be taken back, and a process that abandons one of its threads, or dies while it does.

What the tools do, they do to a world that remembers: a schema in the same database, written over connections that
Stateward knows nothing of.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException

from stateward import FlowState, Principal, Runtime, Settings, Workflow, tool
from stateward.model.effect import Effect
from stateward.orchestrate.playbook import PlaybookCall
from stateward.orchestrate.tools import Undo
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

POLICY = """
policy: shop
version: 1
identities:
  bot: {kind: agent}
  boss: {kind: person}
  desk: {kind: service, role: back-office}
tools:
  charge: {effect: write, for: [bot]}
  refund:
    effect: write
    for: [bot]
    deny: [{when: args.amount == 13, because: thirteen is never refunded}]
    ask: [{when: args.amount > 100, by: [boss], not: [requester], because: a large refund}]
  ship: {effect: write, for: [bot]}
  recall: {effect: write, for: [bot]}
  peek: {effect: read, for: [bot]}
  mail: {effect: write, for: [bot], ask: [{when: args.to == "everybody", by: [boss]}]}
escalate: {to: [boss], after: 2d}
"""
WORLD = "create schema world; create table world.happened (at serial, tool text not null, what text not null)"
ANN, BOSS = Principal("ann"), Principal("boss")


@dataclass
class Shop:
    """The world, and the workflow that acts on it.

    Attributes:
        after: Called with a tool's name when it took effect.
        shipped: What the other side says when it is asked about a parcel.
    """

    url: str
    policy: str = POLICY
    after: Callable[[str], None] = lambda _: None
    shipped: dict[str, str] | None = field(default_factory=lambda: {"parcel": "found"})

    def flow(self, *script: list[PlaybookCall]) -> Workflow:
        """The workflow; its model makes these calls."""
        said = [*(proposes(*one) for one in script), *[AIMessage("done")] * 9]
        flow = Workflow(
            "shop", state=FlowState, policy=parse_policy(self.policy), principal="bot", subject=lambda _: "order:1"
        )
        flow.orchestrate(ScriptedModel(script=said), tools=self.tools())
        return flow

    def did(self, tool: str, what: object) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute("insert into world.happened (tool, what) values (%s, %s)", (tool, str(what)))
        self.after(tool)

    def happened(self) -> list[str]:
        """What the world has seen, in order."""
        with psycopg.connect(self.url) as connection:
            found = connection.execute("select tool || ' ' || what from world.happened order by at").fetchall()
        return [row[0] for row in found]

    def tools(self) -> list[Any]:
        """charge, ship (with a probe), mail (which nothing takes back), peek (a read)."""
        shop = self

        @tool
        def refund(charge: str, amount: float, effect: Effect) -> str:
            """Give money back."""
            if amount == 7:
                raise ToolException("the bank refused it")
            shop.did("refund", charge)
            return "refunded"

        @tool
        def recall(parcel: str) -> str:
            """Call a parcel back."""
            shop.did("recall", parcel)
            return "recalled"

        @tool(undo=refund)
        def charge(amount: float) -> dict[str, str]:
            """Charge a customer."""
            shop.did("charge", amount)
            return {"charge": f"ch-{amount:g}"}

        async def look(arguments: Any, key: str) -> Any:
            return shop.shipped

        @tool(undo=Undo(recall, arguments=lambda _, result: {"parcel": result["parcel"]}), probe=look)  # type: ignore[index, call-overload]
        def ship(to: str) -> dict[str, str]:
            """Send a parcel."""
            shop.did("ship", to)
            return {"parcel": f"to-{to}"}

        @tool
        def mail(to: str) -> str:
            """Write a mail."""
            shop.did("mail", to)
            return "sent"

        @tool
        def peek(at: str) -> str:
            """Look at something, and be seen."""
            shop.did("peek", at)
            return "seen"

        return [charge, ship, mail, peek]


def load(runtime: Runtime, shop: Shop) -> None:
    """Make the workflow known to a runtime that only abandons."""
    shop.flow().compile(runtime)


def main() -> None:
    """Abandon a thread when a line comes; print what came of it."""
    job: dict[str, Any] = json.loads(sys.argv[1])

    def die(name: str) -> None:
        if name == job.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)

    shop = Shop(url=job["url"], after=die)
    with Runtime.open(settings=Settings(home=Path(job["home"]), database_url=job["url"])) as runtime:
        load(runtime, shop)
        print("ready", flush=True)
        sys.stdin.readline()
        made = runtime.abandon(job["thread"], by=ANN, reason="the order was cancelled")
    print(json.dumps(asdict(made)), flush=True)


if __name__ == "__main__":
    main()
