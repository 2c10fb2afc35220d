"""Recorded verdicts judged again by another policy, from the facts that were recorded with them. No I/O.

Each call is judged as it was met then, by itself: what the other policy would have changed before it, a payment that
would not have counted or a label that would have come earlier, is not played through.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from stateward.model.history import history_of
from stateward.model.judgement import Judgement
from stateward.model.policy import PolicyDocument
from stateward.model.principal import Principal
from stateward.model.provenance import Origin
from stateward.model.values import Json
from stateward.verify.gate import Gate, Ruling

Kind = Literal["allow", "deny", "ask"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unjudged:
    """Why a recorded call cannot be judged by a policy."""

    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A recorded call that would be judged differently.

    Attributes:
        was: As it was recorded.
        ruling: What the other policy says.
        rules: The rules that make the difference: those of the new policy that speak, or, where it allows, those of
            the old one that spoke.
    """

    was: Judgement
    ruling: Ruling

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that make the difference."""
        return tuple(reason.rule for reason in self.ruling.verdict.reasons) or self.was.rules


@dataclass(kw_only=True, slots=True)
class Backtest:
    """What came out, call by call.

    Attributes:
        same: How many would be judged as they were.
        differences: Those that would not.
        unjudged: How many could not be judged, by the reason.
    """

    same: int = 0
    differences: list[Difference] = field(default_factory=list["Difference"])
    unjudged: Counter[str] = field(default_factory=Counter[str])

    @property
    def by_verdict(self) -> Counter[tuple[Kind, Kind]]:
        """How many by the old verdict and the new one."""
        return Counter((one.was.verdict, one.ruling.verdict.kind) for one in self.differences)

    @property
    def by_rule(self) -> Counter[str]:
        """How many by the rules that make the difference; one call may count for several."""
        return Counter(rule for one in self.differences for rule in one.rules)

    def add(self, was: Judgement, said: Ruling | Unjudged) -> None:
        """Count one call."""
        if isinstance(said, Unjudged):
            self.unjudged[said.why] += 1
        elif said.verdict.kind == was.verdict:
            self.same += 1
        else:
            self.differences.append(Difference(was=was, ruling=said))


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """Judges recorded calls by a policy.

    Attributes:
        gate: The policy, compiled against the workflow's tools.
        labels: Those that a thread under it can come by.
        tools: The workflow's tools; a call of any other can only be judged where nobody named it then either.
    """

    gate: Gate
    labels: frozenset[str]
    tools: Collection[str]

    def judge(self, was: Judgement, then: PolicyDocument | None) -> Ruling | Unjudged:
        """Judge one call again.

        Args:
            was: The call with what was recorded.
            then: The policy that judged it, where it was kept: it says whether labels were known at all.
        """
        if was.is_erased:
            return Unjudged(why="its thread was emptied, and the arguments with it")
        if was.is_answer and was.tool not in self.gate.answers:
            return self._leaves(was)
        if not was.is_answer and was.tool not in self.tools and was.rules != ("tools",):
            return Unjudged(why=f"the tool {was.tool} is not loaded")
        beside = [rule for rule in was.rules if not _RULE.match(rule)]
        if beside:
            return Unjudged(why=f"{', '.join(beside)} refused it, which no rule of a tool or an answer did")
        history = history_of(cast("Mapping[str, Json]", was.facts.get("history") or {}), self.gate.needs(was.tool))
        missing = self._missing(was, then, {query.text for query in history})
        if missing:
            return Unjudged(why=f"{missing} was not recorded for {was.tool}")
        return self.gate.judge(
            tool=was.tool,
            arguments=was.arguments,
            principal=Principal(was.principal, roles=was.roles, kind="agent"),
            requester=was.requester,
            purpose=was.purpose,
            subject=was.subject,
            thread=was.thread,
            history=history,
            answer=was.is_answer,
            labels=frozenset(was.labels),
            origins={name: cast("Origin", was.facts[name]) for name in self._origins(was)},
        )

    def _missing(self, was: Judgement, then: PolicyDocument | None, history: Collection[str]) -> str:
        """The first thing that the policy reads and that nobody has recorded."""
        for query in self.gate.needs(was.tool):
            if query.text not in history:
                return query.text
        for name in self.gate.reads(was.tool, answer=was.is_answer):
            if name == "labels" and not self._knew_labels(was, then):
                return "labels"
            if name != "labels" and name not in was.facts:
                return name
        return ""

    def _knew_labels(self, was: Judgement, then: PolicyDocument | None) -> bool:
        # A policy that gives a label which the old one did not give asks for what no thread had then.
        return "labels" in was.facts or (then is not None and bool(then.labels) and self.labels <= then.labels)

    def _origins(self, was: Judgement) -> list[str]:
        read = self.gate.reads(was.tool, answer=was.is_answer)
        return [name for name in read if name.startswith("origin.") and name in was.facts]

    def _leaves(self, was: Judgement) -> Ruling | Unjudged:
        """An answer that the policy has no rules for leaves where it is valid, and nobody judges it."""
        if any(rule.endswith(".validate") for rule in was.rules):
            return Unjudged(why=f"{was.tool} was not valid, which no rule of a tool or an answer did")
        return self.gate.let_leave(was.tool)


# A rule of a tool or an answer, or the step that no rule of its own belongs to.
_RULE = re.compile(r"tools(\.|$)|mcp\.|answers\.(?!.*\.validate$)")
