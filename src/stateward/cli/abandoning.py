"""`stateward abandon`: end a thread, and say what was undone, what is left and what waits."""

from __future__ import annotations

from stateward.blocking import Runtime
from stateward.cli import shapes
from stateward.cli.exits import DONE, WAITS, say
from stateward.cli.people import os_user, person
from stateward.cli.workflows import load_workflow
from stateward.model.abandonment import Abandonment, Undoing


def abandon(thread: str, *, reason: str, by: str | None, workflow: str | None, as_json: bool) -> int:
    """Abandon a thread; the exit code says whether it is finished."""
    with Runtime.open(keep_running=True) as runtime:
        loaded = load_workflow(workflow or runtime.find_thread(thread).facts.graph)
        ward = loaded.flow.ward()  # no planner is asked, so none has to be there
        runtime.services.wards[ward.name] = ward
        made = runtime.abandon(thread, by=person(by or os_user(), loaded.flow.document), reason=reason)
    if as_json:
        shapes.emit(shapes.abandonment_json(made))
    else:
        _tell(made)
    return WAITS if made.waiting else DONE


def _tell(made: Abandonment) -> None:
    print(f"{made.thread} is abandoned")
    for one in made.effects:
        print(f"  {one.outcome:<7}  {one.tool}{_why(one)}")
    if made.waiting:
        say(f"go on with: stateward abandon {made.thread} --reason ...")


def _why(one: Undoing) -> str:
    about = ", ".join(part for part in (one.why, one.approval) if part)
    return f" ({about})" if about else ""
