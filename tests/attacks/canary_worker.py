"""Takes the canaries through their runs, and kills itself with SIGKILL where a run has come to its deadly point.

Its argument is a JSON object: url, home, folder, seed, and the way: `workflow`, or `agent` for a `create_agent` whose
model gets pseudonyms. Everything that anybody logs, of whatever level, goes to a file of the folder, and so do
OpenTelemetry's spans. A point that has killed once leaves a file, and is passed by whoever comes next.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from canaries import RUNS, Canary, planted
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from spanning import written
from stateward import Effect, FlowState, Principal, Runtime, Settings, Workflow, call, tool
from stateward.testing import ScriptedModel, proposes
from stateward.verify.load import parse_policy

BOSS = Principal("boss")
POLICY = """
policy: desk
version: 1
identities: {bot: {kind: agent}, boss: {kind: person}}
tools:
  find: {effect: read, for: [bot]}
  send: {effect: write, idempotent: true, for: [bot], ask: [{when: args.leaves, by: [boss], because: it leaves}]}
  file: {effect: write, for: [bot]}
memory:
  kinds: {note: {purpose: [desk], keep: 10d}}
  personal_data:
    default: redact
    IP_ADDRESS: redact
    MAC_ADDRESS: redact
    URL: redact
    ES_NIF: redact
    PL_PESEL: redact
    UK_NINO: redact
"""
TOOLS, _, _ = POLICY.partition("memory:")
# What is found by default, and what is not.
TREATED = "{default: pseudonymize, IP_ADDRESS: pseudonymize, MAC_ADDRESS: pseudonymize, URL: pseudonymize,"
TREATED += " ES_NIF: pseudonymize, PL_PESEL: pseudonymize, UK_NINO: pseudonymize}"
TALKS = f"""{TOOLS.rstrip()}
  remember: {{effect: write, for: [bot]}}
  mail: {{effect: write, idempotent: true, for: [bot], reveal: [to]}}
conversation: {{personal_data: {TREATED}}}
checkpoints: {{keep: latest}}
memory:
  kinds: {{note: {{purpose: [desk], keep: 10d}}}}
  personal_data: {TREATED}
"""
# Run and point: in a tool that reads, in a write, in a step that has remembered, and after a person has decided.
DEADLY = {(3, "find"), (8, "send"), (13, "remembered"), (18, "decided")}
# Likewise; when it is `asked`, the model has what the person wrote as the policy says, and the first checkpoints as it
# came; `mail` has a value in hand that the model has not.
AGENTS, AGENTS_DEADLY = 6, {(1, "find"), (2, "mail"), (3, "decided"), (4, "answers"), (5, "asked")}


class State(FlowState, total=False):
    """The state of a run."""

    subject: str


class Desk:
    """One run: a workflow whose model, tools and people say what the canaries are.

    Attributes:
        name: Of the graph that its thread is opened for.
        deadly: Where a run is killed.
    """

    name, deadly = "desk", DEADLY

    def __init__(self, runtime: Runtime, folder: Path, at: int, there: dict[str, Canary]) -> None:
        self._runtime, self._folder, self._at = runtime, folder, at
        self._is = {place: canary.text for place, canary in there.items()}
        self._number = {place: canary.number for place, canary in there.items()}
        self._value, self._entity = there["prompt"].value, there["prompt"].entity
        self._people = [one.value for one in there.values() if one.entity == "PERSON"]

    def go(self) -> None:
        """From wherever it is to its end."""
        thread, graph = f"case-{self._at}", self._graph()
        known = any(one.facts.thread == thread for one in self._runtime.threads())
        config = self._runtime.thread(
            thread,
            principal=Principal("bot", kind="agent"),
            purpose="desk",
            subject=f"customer:{self._at}",
            graph=self.name,
            requester="ann",
            known={"PERSON": self._people},
        )
        if known:
            self._decide(thread)
            self._runtime.resume(graph, thread)
        if not graph.get_state(config).values.get("messages"):
            request = json.dumps({"asks": [{"of": self._is["prompt_json"]}]})
            first = [("user", self._is["prompt"]), ("user", request)]
            graph.invoke({"messages": first, **self._given()}, config)
        while self._runtime.find_thread(thread).status != "answered":
            self._decide(thread)
            self._runtime.resume(graph, thread)

    def _given(self) -> dict[str, Any]:
        return {"subject": f"customer:{self._at}"}

    def _decide(self, thread: str) -> None:
        said: dict[str, dict[str, Any]] = {
            "approve": {},
            "edit": {
                "arguments": {
                    "to": "edit",
                    "record": {"of": self._is["edit"]},
                    "card": self._number["edit"],
                    "leaves": False,
                }
            },
            "reject": {"reason": self._is["rejection"]},
            "respond": {"reason": self._is["response"]},
        }
        for one in self._runtime.approvals(thread=thread):
            decision = str(one.arguments["to"])
            self._runtime.decide(one, decision, by=BOSS, **said[decision])  # pyright: ignore[reportArgumentType]
            self._reach("decided")

    def _reach(self, point: str) -> None:
        mark = self._folder / f"died-{self._at}-{point}"
        if (self._at, point) in self.deadly and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def _script(self) -> list[AIMessage]:
        has, number = self._is, self._number
        leaves = [
            call(
                "send", to="approve", record={"deep": [{"of": has["approved"]}]}, card=number["approved"], leaves=True
            ),
            call("send", to="edit", record={"of": has["edited_away"]}, card=number["edited_away"], leaves=True),
            call("send", to="reject", record={}, leaves=True),
            call("send", to="respond", record={}, leaves=True),
        ]
        found = {"deep": [{"of": has["nested"], "is": number["nested"]}], has["key"]: {"deep": True}}
        return [
            proposes(call("find", what=has["argument"], account=number["argument"], record=found), text=has["said"]),
            proposes(*leaves),
            proposes(call("file", path=f"/srv/{has['file']}.pdf")),
            AIMessage(has["answer"]),
        ]

    def _graph(self) -> Any:
        flow = Workflow(
            "desk",
            state=State,
            policy=parse_policy(POLICY),
            principal="bot",
            purpose="desk",
            subject=lambda state: state["subject"],
        )
        flow.retrieve(self._remember)
        flow.orchestrate(ScriptedModel(script=self._script()), tools=self._tools())
        return flow.compile(self._runtime)

    async def _remember(self, state: Any, step: Any) -> None:
        await step.remember("note", "first", text=self._is["memory"])
        await step.remember("note", "second", deep=[{"of": self._is["memory_json"]}], by={self._is["memory_json"]: 1})
        self._reach("remembered")

    def _tools(self) -> list[Any]:
        has, reach = self._is, self._reach

        @tool
        async def find(what: str, account: int, record: dict[str, Any]) -> dict[str, Any]:
            """Find something."""
            reach("find")
            return {
                "text": has["result"],
                "items": [{"of": has["result_item"]}],
                has["result_key"]: True,
                "file": f"/srv/{has['result_file']}.pdf",
            }

        @tool(idempotent=True)
        async def send(to: str, record: dict[str, Any], leaves: bool, effect: Effect, card: int = 0) -> dict[str, Any]:
            """Send something."""
            reach("send")
            return {"sent": record}

        @tool
        async def file(path: str) -> str:
            """File something."""
            raise ToolException(f"cannot write {path}: {has['error']}")

        return [find, send, file]


class Hearing(ScriptedModel):
    """Writes down what it is given, and may be the last thing that happens.

    Attributes:
        file: Where it writes.
        asked: Called before its first message.
        answers: Called before its last message.
    """

    file: Path
    asked: Any
    answers: Any

    def _generate(self, messages: Any, *given: Any, **more: Any) -> Any:
        with self.file.open("a", encoding="utf-8") as heard:
            heard.write("".join(f"{one!r}\n" for one in messages))
        said = sum(isinstance(one, AIMessage) for one in messages)
        if said == 0:
            self.asked()
        if said == len(self.script) - 1:
            self.answers()
        return super()._generate(messages, *given, **more)


class Agent(Desk):
    """One run of a `create_agent`, whose model is given pseudonyms and remembers by itself."""

    name, deadly = "bot", AGENTS_DEADLY

    def _given(self) -> dict[str, Any]:
        return {}

    def _script(self) -> list[AIMessage]:
        has, (*first, answer) = self._is, super()._script()
        notes = {"first": {"text": has["memory"]}, "second": {"of": has["memory_json"], has["memory_json"]: [1]}}
        remembers = [call("remember", kind="note", key=key, value=value) for key, value in notes.items()]
        answer.content = f"{has['answer']} As I wrote to <{self._entity}_1>."
        return [*first, proposes(*remembers), proposes(call("mail", to=f"[{self._entity.lower()}_1]")), answer]

    def _graph(self) -> Any:
        tools = [*self._tools(), self._runtime.memory_tools()[0]]
        ward = self._runtime.middleware(policy=parse_policy(TALKS), tools=tools, principal="bot", purpose="desk")
        reached: dict[str, Any] = {at: partial(self._reach, at) for at in ("asked", "answers")}
        model = Hearing(script=self._script(), file=self._folder / "heard.log", **reached)
        kept = {"checkpointer": self._runtime.checkpointer, "store": self._runtime.store}
        return create_agent(model, tools, middleware=[ward], **kept)

    def _tools(self) -> list[Any]:
        value, folder, reach = self._value, self._folder, self._reach

        @tool(idempotent=True)
        async def mail(to: str, effect: Effect) -> str:
            """Write to somebody."""
            with (folder / "revealed").open("a", encoding="utf-8") as revealed:
                revealed.write(f"{to == value}\n")
            reach("mail")
            return f"sent to {to}"

        return [*super()._tools(), mail]


def main(job: dict[str, Any]) -> None:
    """All runs, in order."""
    folder = Path(job["folder"])
    logging.basicConfig(level=logging.DEBUG, filename=folder / "everything.log")
    spans, provider = (folder / "spans.log").open("a", encoding="utf-8"), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=spans, formatter=written)))
    trace.set_tracer_provider(provider)
    settings = Settings(home=Path(job["home"]), database_url=job["url"], pool_size=3)
    with Runtime.open(settings=settings) as runtime:
        is_agent = job["way"] == "agent"
        for at, there in enumerate(planted(job["seed"], AGENTS if is_agent else RUNS)):
            (Agent if is_agent else Desk)(runtime, folder, at, there).go()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
