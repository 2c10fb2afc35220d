"""A process of its own that runs, resumes or decides one thread of a town: the one whose clock or death is the test's.

Its only argument is a JSON object: url, direct, home and thread; do: start, die, resume or approve; text: the request;
script: the turns of the model, each a write's tool and amount, or what it says; jumps: by how many days its own clock
is put off before each turn.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from langchain_core.messages import AIMessage
from surviving import Clock, Town

from bank import BOSS, start
from stateward import Runtime, Settings, call


def main(job: dict[str, Any]) -> None:
    """Do it, and print what came of it."""
    settings = Settings(home=Path(job["home"]), database_url=job["url"], direct_url=job.get("direct", ""), pool_size=2)
    with Runtime.open(settings=settings) as runtime:
        town = Town(runtime=runtime, url=job.get("direct") or job["url"])
        if job["do"] == "die":
            town.during = lambda: os.kill(os.getpid(), signal.SIGKILL)
        if jumps := job.get("jumps"):
            clock = Clock(Path(os.environ["FAKETIME_TIMESTAMP_FILE"]))
            town.thinks = lambda turn: clock.put(jumps[turn])
        out = _go_on(town, job)
        said = [message.text for message in out.get("messages", ())]
        waiting = len(runtime.approvals(thread=job["thread"]))
        print(json.dumps({"said": said, "waiting": waiting, "ran": town.ran}))


def _go_on(town: Town, job: dict[str, Any]) -> dict[str, Any]:
    graph = town.graph(*(_turn(one) for one in job["script"]))
    match job["do"]:
        case "approve":
            [asked] = town.runtime.approvals(thread=job["thread"])
            town.runtime.decide(asked, "approve", by=BOSS)
            return {}
        case "resume":
            return town.runtime.resume(graph, job["thread"])
        case _:
            return start(graph, town.config(job["thread"]), job.get("text", "go"))


def _turn(said: Any) -> Any:
    return AIMessage(said) if isinstance(said, str) else [call(said[0], amount=said[1])]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
