"""Workers that are made to be killed: a process that has imported everything forks one for each line of JSON it reads.

It has opened nothing, so a fork is a fresh process without the seconds that the imports take. It kills the worker after
the seconds that the job says, if any, and says how it ended: 0, 1 after an error, or minus the signal.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import smtplib
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from month_end.books import Books
from month_end.graph import flow
from month_end.proposals import Proposal
from stateward import Principal, Runtime, Settings, call
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.model.approval import Approval, DecisionKind
from stateward.orchestrate.playbook import PlaybookModel

AGENT, CONTROLLER = Principal("close-agent", kind="agent"), Principal("controller")


def main() -> None:
    asyncio.run(_warm_up())
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_work(job))
        if job["kill_after"] is not None:
            time.sleep(job["kill_after"])
            os.kill(pid, signal.SIGKILL)  # nobody else waits for it, so the number is still its own
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


async def _warm_up() -> None:
    # What is imported at first use costs each worker a second, in which no kill would hit anything.
    await PresidioRedactor().scan(["warm"], entities=frozenset({"EMAIL_ADDRESS", "CREDIT_CARD", "PHONE_NUMBER"}))


def _work(job: dict[str, Any]) -> int:
    os.environ["MONTH_END_SMTP"] = job["smtp"]
    try:
        (plain_run if job["plain"] else governed_run)(job)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def governed_run(job: dict[str, Any]) -> None:
    """The close as it is: go on from wherever the last worker was killed, and decide what it asks."""
    settings = Settings(home=Path(job["home"]), database_url=job["url"], pool_size=4)
    with Runtime.open(settings=settings) as runtime:
        graph = flow.compile(runtime)
        config = runtime.thread(
            job["thread"],
            principal=AGENT,
            purpose=flow.purpose,
            subject=f"period:{job['input']['period']}",
            requester="ann",
            graph=flow.name,
        )
        if graph.get_state(config).created_at is None:
            graph.invoke(job["input"], config, durability="sync")
        while not finished(runtime, job["thread"]):
            for approval in runtime.approvals(thread=job["thread"]):
                runtime.decide(approval, decision(approval, job["smtp"]), by=CONTROLLER)
            runtime.resume(graph, job["thread"])


def finished(runtime: Runtime, thread: str) -> bool:
    return runtime.find_thread(thread).status == "answered"


def decision(approval: Approval, smtp: str) -> DecisionKind:
    """What an honest controller says: yes, and of a mail that may have been sent, what the mail server knows."""
    if approval.kind != "outcome":
        return "approve"
    assert approval.tool == "send_close_pack", approval.tool
    return "done" if arrived(f"sw-{approval.action}@stateward.local", smtp) else "retry"


def arrived(message: str, smtp: str) -> bool:
    host, _, port = smtp.partition(":")
    with smtplib.SMTP(host, int(port), timeout=30) as server:
        return server.verify(message)[0] == 250


def plain_run(job: dict[str, Any]) -> None:
    """The same postings through LangChain's own agent on LangGraph's own saver: what the kills do to those."""
    asyncio.run(_plain_run(job))


async def _plain_run(job: dict[str, Any]) -> None:
    entries = job["entries"]

    def post_all(_: str) -> Any:
        yield [call("post_journal_entry", entry=entry) for entry in entries]
        return "posted"

    async with AsyncPostgresSaver.from_conn_string(job["url"]) as saver:
        await saver.setup()
        agent = create_agent(PlaybookModel(playbook=post_all), [_poster(job["url"])], checkpointer=saver)
        config: Any = {"configurable": {"thread_id": job["thread"]}}
        begun = (await agent.aget_state(config)).created_at is not None
        given: Any = None if begun else {"messages": [{"role": "user", "content": "post"}]}
        await agent.ainvoke(given, config, durability="sync")


def _poster(url: str) -> BaseTool:
    @tool
    async def post_journal_entry(entry: dict[str, Any]) -> str:
        """Post an entry, with the very statement that the governed close posts with."""
        proposal = Proposal(**entry["proposal"])
        async with await AsyncConnection.connect(url, row_factory=dict_row) as connection:
            await Books(connection).post(proposal, period=entry["period"], key=proposal.key, approvers=())
        return "posted"

    return post_journal_entry


if __name__ == "__main__":
    main()
