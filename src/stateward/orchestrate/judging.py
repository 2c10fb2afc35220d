"""Hold one call against the gate: as the tool's schema reads it, and as it can be kept."""

from __future__ import annotations

from dataclasses import replace

from stateward.model.action import Action, Call
from stateward.model.history import History
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts
from stateward.orchestrate.reading import Reading
from stateward.orchestrate.services import Ward
from stateward.personal_data.boundary import Reveal
from stateward.ports import Judged
from stateward.verify.arguments import unspeakable


def judged(
    ward: Ward,
    thread: ThreadFacts,
    action: Action,
    history: History,
    reading: Reading,
    *,
    answer: bool = False,
    reveal: Reveal | None = None,
) -> Judged:
    """The gate's verdict on a call, or an answer, of a thread."""
    labels = frozenset(reading.labels if ward.gate.labelled else ())
    ruling = ward.gate.judge(
        tool=action.call.tool,
        arguments=action.call.arguments,
        principal=Principal(thread.principal, roles=thread.roles, kind="agent", tenant=thread.tenant),
        requester=thread.requester,
        purpose=thread.purpose,
        subject=thread.subject,
        thread=thread.thread,
        history=history,
        answer=answer,
        labels=labels,
        sightings=reading.sightings,
        reveal=reveal,
    )
    made = Judged(
        action=action,
        verdict=ruling.verdict,
        policy=ruling.policy,
        policy_digest=ruling.policy_digest,
        effect=ruling.effect or "write",
        identity=ruling.identity,
        idempotent=ruling.idempotent,
        limited=bool(ward.gate.needs(action.call.tool)),
        observed=ruling.observed,
        facts=ruling.facts,
        labels=tuple(sorted(labels)),
    )
    return _storable(made)


def fitted(ward: Ward, call: Call, reveal: Reveal | None) -> Call:
    """The call as its tool's schema reads it, with its pseudonyms."""
    spec = ward.tools.get(call.tool)
    if spec is None:
        return call
    try:
        if reveal is None:
            return replace(call, arguments=spec.normalize(call.arguments))
        return replace(call, arguments=reveal.kept(call.arguments, spec.normalize(reveal.real(call.arguments))))
    except ValueError:
        return call  # the gate refuses it and says why


def _storable(judged: Judged) -> Judged:
    """The gate denies what neither CEL nor Postgres can hold; its row says so in place of it."""
    call = judged.action.call
    why = unspeakable([call.tool, call.arguments])
    if why is None:
        return judged
    said = replace(call, tool=call.tool.encode("unicode_escape").decode(), arguments={"unreadable": why})
    return replace(judged, action=replace(judged.action, call=said))
