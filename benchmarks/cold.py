"""A fresh process's first step, as a script: `python -m benchmarks.cold (plain|middleware|workflow) URI HOME`.

Each way imports what it needs and no more, as a script of a user does. It says `open` when everything stands open,
and then the CPU that it has used at the end of the first step.
"""

# No `from __future__ import annotations`: LangChain resolves string annotations anew at each tool call.

import asyncio
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

POLICY = """
policy: bench
version: 1
identities:
  clerk: {kind: agent}
tools:
  note:
    effect: write
    for: [clerk]
    deny: [{when: args.amount <= 0, because: an amount is positive}]
"""
GO = {"messages": [("user", "go")]}


def main(way: str, uri: str, home: str) -> None:
    """Run one step this way."""
    if way == "plain":
        asyncio.run(_plain(uri))
    else:
        asyncio.run(_governed(uri, Path(home), workflow=way == "workflow"))


async def _plain(uri: str) -> None:
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    # No `setup()`: a deployed application has run it once, at its first start.
    async with AsyncPostgresSaver.from_conn_string(uri) as saver:
        agent = create_agent(_model(), [tool(note)], checkpointer=saver)
        print("open", flush=True)
        config: Any = {"configurable": {"thread_id": uuid4().hex}}
        _say(await agent.ainvoke(GO, config, durability="sync"))


async def _governed(uri: str, home: Path, *, workflow: bool) -> None:
    from stateward import Principal, Runtime, Settings, tool

    clerk = Principal("clerk", kind="agent")
    async with Runtime.connect(uri, settings=Settings(home=home)) as runtime:
        name, graph = (_workflow if workflow else _agent)(runtime, tool(note), home / "policy.yaml")
        print("open", flush=True)
        thread = await runtime.thread(uuid4().hex, principal=clerk, purpose="bench", subject="none", graph=name)
        _say(await graph.ainvoke(GO, thread))


def _agent(runtime: Any, tool: Any, policy: Path) -> tuple[str, Any]:
    from langchain.agents import create_agent

    ward = runtime.middleware(policy=policy, tools=[tool], principal="clerk")
    return "clerk", create_agent(
        _model(), [tool], middleware=[ward], checkpointer=runtime.checkpointer, store=runtime.store
    )


def _workflow(runtime: Any, tool: Any, policy: Path) -> tuple[str, Any]:
    from stateward import FlowState, Workflow

    flow = Workflow("bench", state=FlowState, policy=policy, principal="clerk")
    flow.orchestrate(_model(), tools=[tool])
    return flow.name, flow.compile(runtime)


async def note(account: str, amount: float) -> dict[str, float]:
    """Note an amount."""
    return {account: amount}


def _model() -> Any:
    """Calls the tool once, and is done; made here, so that no way imports what only another needs."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Once(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "once"

        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

        def _generate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
            call = {"name": "note", "args": {"account": "4711", "amount": 1.0}, "id": "call-1", "type": "tool_call"}
            said = AIMessage("", tool_calls=[call]) if len(messages) == 1 else AIMessage("done")
            return ChatResult(generations=[ChatGeneration(message=said)])

        async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
            return self._generate(messages)

    return Once()


def _say(out: Any) -> None:
    assert [one.type for one in out["messages"]] == ["human", "ai", "tool", "ai"]
    print(time.process_time(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
