"""Evaluates the conditions of a tool together: a few programs in place of one for each rule, with the same results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from stateward.verify.celenv import cel, new_env
from stateward.verify.conditions import Condition, Evaluation, Facts, Variable, values_of

_AT_ONCE = 64  # conditions of one program; CEL bounds how long one may be


class Together:
    """All conditions of a tool.

    Whether any of them speaks is one disjunction for each program: CEL gives false only where every part of it is false
    and none has failed. What each of them says is a list. Where a program cannot tell, each condition is evaluated by
    itself.

    Args:
        conditions: In the order of the policy.
        speaks: For each, the value at which its rule speaks: True for a `when`, False for a `keep`.
    """

    def __init__(self, conditions: Sequence[Condition], speaks: Sequence[bool]) -> None:
        self._parts = [
            _Part.of(conditions[at : at + _AT_ONCE], speaks[at : at + _AT_ONCE])
            for at in range(0, len(conditions), _AT_ONCE)
        ]

    def silent(self, facts: Facts) -> bool:
        """Whether no rule speaks and every condition could be evaluated."""
        return all(part.silent(facts) for part in self._parts)

    def each(self, facts: Facts) -> Iterator[Evaluation]:
        """What each condition comes to, in order; later parts are evaluated only when they are asked for."""
        for part in self._parts:
            yield from part.each(facts)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    conditions: Sequence[Condition]
    variables: Mapping[str, Variable]
    any: cel.Expression | None
    all: cel.Expression | None

    @classmethod
    def of(cls, conditions: Sequence[Condition], speaks: Sequence[bool]) -> _Part:
        # A comment in a condition ends with its line.
        texts = [f"({one.rewritten}\n)" for one in conditions]
        spoken = [text if value else f"!{text}" for text, value in zip(texts, speaks, strict=True)]
        variables = {name: each for one in conditions for name, each in one.variables.items()}
        return cls(
            conditions=conditions,
            variables=variables,
            any=_program(variables, " || ".join(spoken)),
            all=_program(variables, f"[{', '.join(texts)}]"),
        )

    def silent(self, facts: Facts) -> bool:
        return self._value(self.any, facts) is False

    def each(self, facts: Facts) -> Iterator[Evaluation]:
        values = self._value(self.all, facts) if len(self.conditions) > 1 else None
        if isinstance(values, list):
            yield from (_TRUE if value is True else _FALSE for value in cast("list[object]", values))
        else:
            yield from (one.evaluate(facts) for one in self.conditions)

    def _value(self, program: cel.Expression | None, facts: Facts) -> object:
        """What a program comes to; None where it fails."""
        if program is None:
            return None
        try:
            return program.eval(data=values_of(self.variables, facts)).plain_value()
        except Exception:
            return None


_TRUE, _FALSE = Evaluation(value=True), Evaluation(value=False)


def _program(variables: Mapping[str, Variable], text: str) -> cel.Expression | None:
    """The program, or None where it is too much for CEL together."""
    try:
        return new_env({name: each.run for name, each in variables.items()}).compile(text)
    except RuntimeError:
        return None
