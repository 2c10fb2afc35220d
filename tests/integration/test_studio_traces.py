"""LangGraph's server with LangSmith's tracing on, as a developer has it beside Studio."""

from __future__ import annotations

import json

import httpx
import pytest

from dev_server import langgraph_dev, new_home
from smith import Smith

pytestmark = pytest.mark.slow
DESK = '''
from langchain_core.messages import AIMessage
from stateward import FlowState, Workflow, call, tool
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

POLICY = """
policy: desk
version: 1
identities: {bot: {kind: agent}}
tools: {look: {effect: read, for: [bot]}}
CONVERSATION
memory: {kinds: {note: {purpose: [desk], keep: 10d}}}
budget: {steps: 50}
"""

@tool
async def look(what: str) -> dict[str, str]:
    """Look something up."""
    return {"seen": "a letter of Zbigniew Nowakowski, z.nowakowski@example.org"}

flow = Workflow("desk", state=FlowState, policy=parse_policy(POLICY), principal="bot", subject=lambda _: "customer:17")
script = [proposes(call("look", what="it")), AIMessage("It was <PERSON_1> who wrote.")]
flow.orchestrate(ScriptedModel(script=script * 3), tools=[look])
graph = flow.compile()
'''
TREATED = "conversation: {personal_data: {PERSON: pseudonymize, EMAIL_ADDRESS: pseudonymize, PHONE_NUMBER: redact}}"
SAID = "I am Jane Qwertzworth, jane.q@example.org, call me on +1 212 555 0187"
PERSONAL = ("Qwertzworth", "jane.q@", "555 0187", "Nowakowski", "z.nowakowski@")
HOOKS = {
    "checkpointer": {"path": "stateward.studio.checkpointer"},
    "store": {"path": "stateward.studio.store"},
    "http": {"app": "stateward.api.mounted:app"},
}


@pytest.mark.parametrize("conversation", [TREATED, ""])
def test_a_run_of_the_server_is_traced_as_its_policy_says(conversation: str) -> None:
    smith = Smith()
    tracing = {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": smith.url, "LANGSMITH_API_KEY": "key"}
    with new_home() as home:
        (home / "desk.py").write_text(DESK.replace("CONVERSATION", conversation), encoding="utf-8")
        config = {"dependencies": ["."], "graphs": {"desk": f"{home}/desk.py:graph"}, **HOOKS}
        (home / "langgraph.json").write_text(json.dumps(config))
        told = tracing | {"STATEWARD_DEVELOPMENT": "1"}
        with langgraph_dev(home, told, config=home / "langgraph.json", folder=home) as started:
            started.wait_until_up()
            thread = httpx.post(f"{started.url}/threads", json={}, timeout=60).json()["thread_id"]
            for more in ({}, {"langsmith_tracer": {"project_name": "another"}}):
                asked = {"assistant_id": "desk", "input": {"messages": [{"role": "user", "content": SAID}]}, **more}
                done = httpx.post(f"{started.url}/threads/{thread}/runs/wait", json=asked, timeout=60).json()
                assert done["messages"][-1]["content"].endswith("who wrote.")
    # The runtime is closed with the server, and has sent what it held.
    heard = smith.heard
    smith.server.shutdown()
    smith.server.server_close()
    assert thread in heard
    assert "another" in heard
    assert {one for one in PERSONAL if one in heard} == (set() if conversation else set(PERSONAL))
