"""A process that spends: many threads at once, each of which pays ten, under a daily limit. It says what it paid.

With `naive` it judges as one would without the lock: read the past, decide, record.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stateward import AsyncRuntime, FlowState, Principal, Settings, Workflow, call, tool
from stateward.adapters.postgres.journal import PostgresJournal
from stateward.model.history import History
from stateward.model.thread import ThreadFacts
from stateward.ports import ActionRow, Judged, Past
from stateward.verify.load import parse_policy

POLICY = """
policy: limits
version: 1
identities: {{bot: {{kind: agent}}}}
tools: {{pay: {{effect: write, for: [bot], limit: [{{keep: '{keep}', because: the daily limit}}]}}}}
"""


def main() -> None:
    """Read the job from the command line, wait for the start on stdin, and print the payments that were made."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    if job["naive"]:
        PostgresJournal.judge = _naive  # type: ignore[method-assign]
    print(json.dumps(asyncio.run(_spend(job))), flush=True)


async def _spend(job: dict[str, Any]) -> list[str]:
    paid: list[str] = []
    settings = Settings(home=Path(job["home"]), database_url=job["url"], pool_size=10)
    async with AsyncRuntime.connect(settings=settings) as runtime:
        graph = _flow(job, paid).compile(runtime)
        configs = [await _open(runtime, name, job["subject"]) for name in job["threads"]]
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        given = {"messages": [("user", "go")]}
        await asyncio.gather(*(graph.ainvoke(given, config) for config in configs))  # type: ignore[arg-type]
    return paid


def _flow(job: dict[str, Any], paid: list[str]) -> Workflow:
    @tool
    async def pay(amount: float, to: str) -> str:
        """Pay."""
        paid.append(to)
        return "paid"

    def plan(request: str) -> Any:
        yield call("pay", amount=10, to=request)
        return "done"

    policy, subject = parse_policy(POLICY.format(keep=job["keep"])), job["subject"]
    flow = Workflow("limits", state=FlowState, policy=policy, principal="bot", subject=lambda _: subject)
    flow.orchestrate(plan, tools=[pay])
    return flow


async def _open(runtime: AsyncRuntime, thread: str, subject: str) -> Any:
    bot = Principal("bot", kind="agent")
    return await runtime.thread(thread, principal=bot, purpose="limits", subject=subject, graph="limits")


async def _naive(
    self: PostgresJournal, thread: ThreadFacts, past: Past, judge: Callable[[History], Judged], *, actor: str
) -> list[ActionRow]:
    return await self.record(thread, [judge(await self.history(thread, past))], actor=actor)


if __name__ == "__main__":
    main()
