"""The contract of the policies: each is kept once, comes back as it was, and what it has said is read in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from stateward.model.judgement import Judgement
from stateward.model.policy import PolicyDocument
from stateward.testing.contracts import Adapters, Check
from stateward.testing.contracts.samples import asks, denies, judged, recorded
from stateward.verify.load import policy_digest


def _policy(*, version: int = 1, steps: int = 50) -> PolicyDocument:
    given = {
        "policy": "bank",
        "version": version,
        "identities": {"bot": {"kind": "agent"}, "boss": {"kind": "person", "role": "lead"}},
        "tools": {"pay": {"effect": "write", "for": ["bot"], "ask": [{"when": "args.amount > 1", "by": ["lead"]}]}},
        "memory": {"kinds": {"note": {"purpose": ["bank"], "keep": "10d"}}},
        "budget": {"steps": steps},
    }
    return PolicyDocument.model_validate(given)


async def _judgements(adapters: Adapters, **narrowed: str | timedelta) -> list[Judgement]:
    return [one async for one in adapters.policies.judgements(**narrowed)]  # pyright: ignore[reportArgumentType]


async def keeps_a_policy_as_it_was(adapters: Adapters) -> None:
    """By its digest; what was never kept is not found."""
    document = _policy()
    for _ in range(2):
        assert list(await adapters.policies.keep(document)) == []
    assert await adapters.policies.find(policy_digest(document)) == document
    assert await adapters.policies.find(policy_digest(_policy(version=2))) is None


async def tells_of_another_policy_of_the_same_name_and_version(adapters: Adapters) -> None:
    """Whoever keeps it is told, and whoever only asks, who keeps nothing by that."""
    first, second = _policy(), _policy(steps=60)
    assert await adapters.policies.same_names() == {}
    await adapters.policies.keep(first)
    assert list(await adapters.policies.others(second)) == [policy_digest(first)]
    assert list(await adapters.policies.others(first)) == []
    assert await adapters.policies.find(policy_digest(second)) is None
    assert list(await adapters.policies.keep(second)) == [policy_digest(first)]
    await adapters.policies.keep(_policy(version=2))
    assert {label: list(one) for label, one in (await adapters.policies.same_names()).items()} == {
        "bank@1": [policy_digest(first), policy_digest(second)]
    }


async def reads_verdicts_oldest_first(adapters: Adapters) -> None:
    """Each as it was recorded: the call, on whose behalf it was, and by which policy."""
    await recorded(adapters, judged(asks()), judged(denies(), call="c2", position=1))
    await recorded(adapters, replace(judged(thread="t2"), effect="answer"), thread="t2")
    first, second, third = await _judgements(adapters)
    assert [(one.thread, one.verdict) for one in (first, second, third)] == [
        ("t1", "ask"),
        ("t1", "deny"),
        ("t2", "allow"),
    ]
    assert (first.tool, first.arguments, first.tool_digest, first.graph) == ("pay", {"amount": 500}, "schema", "bank")
    assert (first.principal, first.requester, first.purpose, first.subject) == ("bot", "ann", "bank", "customer:17")
    assert (first.policy, first.policy_digest) == ("bank@1", "policy")
    assert (second.rules, first.is_answer, third.is_answer) == (("tools.pay.deny[0]",), False, True)


async def narrows_verdicts_down(adapters: Adapters) -> None:
    """By workflow, by action and by age."""
    await recorded(adapters, judged(), judged(call="c2", position=1))
    first, second = await _judgements(adapters, graph="bank")
    assert await _judgements(adapters, action=second.action) == [second]
    assert await _judgements(adapters, graph="another") == []
    assert await _judgements(adapters, since=timedelta(hours=1)) == [first, second]
    assert await _judgements(adapters, since=timedelta(0)) == []


CHECKS: tuple[Check, ...] = (
    keeps_a_policy_as_it_was,
    tells_of_another_policy_of_the_same_name_and_version,
    reads_verdicts_oldest_first,
    narrows_verdicts_down,
)
