"""The gate: what the policy says to one call, decided without I/O and in one fixed order.

named → identity → arguments → deny → limit → ask → allow. The first refusal wins, every ask is collected, and
whatever cannot be evaluated refuses. No rule can loosen another, whatever the order of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stateward.model.policy import AskRule, Path, PolicyDocument, ToolRule, duration_text, nearest
from stateward.model.principal import Principal
from stateward.model.values import JsonObject
from stateward.model.verdict import Allow, Ask, Deny, Reason, Requirement, Verdict
from stateward.verify.arguments import Shape, ToolSchema, problem, shape_of, unspeakable
from stateward.verify.conditions import Condition, Conditions, Facts, Flaw, HistoryQuery
from stateward.verify.load import PolicySource, Problem, fail, policy_digest

Step = Literal["named", "identity", "arguments", "deny", "limit", "ask"]
Outcome = Literal["pass", "deny", "ask"]
Validator = Callable[[JsonObject], str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """What one step, or one rule of it, said.

    Attributes:
        step: The step it belongs to.
        rule: Where it stands in the policy, such as `tools.post_journal_entry.ask[0]`.
        outcome: `pass`, `deny` or `ask`.
        because: Why, for people; it repeats no argument's value.
        condition: The condition, where there is one.
        value: What the condition came to; None where it has none, or could not be evaluated.
        requirement: Who has to approve, where it asks.
    """

    step: Step
    rule: str
    outcome: Outcome
    because: str
    condition: str = ""
    value: bool | None = None
    requirement: Requirement | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """A verdict with its derivation.

    Attributes:
        tool: The tool that was asked for.
        verdict: Allow, Deny or Ask.
        trace: Every step and rule that was looked at, in order.
        policy: `name@version`.
        policy_digest: Digest over the policy.
        effect: `read` or `write`, as the policy says; `write` for a tool that it does not name.
        identity: The credential to mint for the call, if any.
        idempotent: Whether running it again with the same key is harmless.
    """

    tool: str
    verdict: Verdict
    trace: tuple[RuleResult, ...]
    policy: str
    policy_digest: str
    effect: Literal["read", "write"]
    identity: str | None
    idempotent: bool


class Gate:
    """A policy, compiled once against the tools that there are.

    Args:
        document: The policy.
        schemas: The argument schema of each tool, by name. A tool that the policy does not name may be there;
            it is denied.
        validate: By tool, the tool's own validation: a sentence about what is wrong, without the values, or
            None. A tool that is not there is checked against its schema: required and unknown keys, JSON
            types and choices, all the way down.
        source: Where the policy was read from, so that errors name line and column.

    Raises:
        PolicyError: the policy names a tool that is not there, or a condition has a misspelt name, a wrong
        type or bad syntax; the
            message lists every problem.
    """

    def __init__(
        self,
        document: PolicyDocument,
        schemas: Mapping[str, ToolSchema],
        *,
        validate: Mapping[str, Validator] | None = None,
        source: PolicySource | None = None,
    ) -> None:
        self._label = document.label
        self._digest = policy_digest(document)
        compiler = _Compiler(schemas, validate or {}, source)
        self._tools = {name: tool for name, rule in document.tools.items() if (tool := compiler.tool(name, rule))}
        fail(compiler.problems, file=source.file if source else "<policy>")

    @property
    def digest(self) -> str:
        """Digest over the policy."""
        return self._digest

    def needs(self, tool: str) -> tuple[HistoryQuery, ...]:
        """What to fetch from the journal before judging this tool, each query once."""
        compiled = self._tools.get(tool)
        return compiled.queries if compiled else ()

    def judge(
        self,
        *,
        tool: str,
        arguments: JsonObject,
        principal: Principal,
        requester: str,
        purpose: str,
        subject: str,
        thread: str,
        history: Mapping[HistoryQuery, float | int] | None = None,
    ) -> Ruling:
        """Judge one call. Pure: the same call, facts and history give the same ruling.

        Args:
            tool: The tool's name, exactly.
            arguments: The arguments as JSON, exactly as they would run.
            principal: Who acts; `for:` is held against the id and the roles.
            requester: Who asked for the work.
            purpose: Why.
            subject: Whom or what it is about.
            thread: The thread's id.
            history: A value for each of `needs(tool)`. One that is missing denies.

        Returns:
            The verdict, and what each rule said.
        """
        facts = Facts(
            arguments=arguments,
            principal=principal,
            requester=requester,
            purpose=purpose,
            subject=subject,
            thread=thread,
            history=history or {},
        )
        compiled = self._tools.get(tool)
        trace = tuple(_until_refused(_results(tool, compiled, facts)))
        return Ruling(
            tool=tool,
            verdict=_verdict(trace),
            trace=trace,
            policy=self._label,
            policy_digest=self._digest,
            effect=compiled.rule.effect if compiled else "write",
            identity=compiled.rule.identity if compiled else None,
            idempotent=compiled.rule.idempotent if compiled else False,
        )


def explain(ruling: Ruling) -> str:
    """The ruling for people: the verdict, then a line for each step and each rule, with its value and why."""
    head = f"{ruling.verdict.kind}: {ruling.tool}, by {ruling.policy} ({ruling.policy_digest[:12]})"
    return "\n".join([head, *(_line(result) for result in ruling.trace)])


def _line(result: RuleResult) -> str:
    value = "" if result.value is None else f" is {str(result.value).lower()}"
    condition = f"`{result.condition}`{value}: " if result.condition else ""
    asked = f" ({_asked(result.requirement)})" if result.requirement else ""
    return f"  {result.outcome:<5}{result.step:<10} {result.rule}: {condition}{result.because}{asked}"


def _asked(requirement: Requirement) -> str:
    count = f"{requirement.of} of " if requirement.of > 1 else ""
    excluding = f", not {_listed(requirement.excluding)}" if requirement.excluding else ""
    return f"by {count}{_listed(requirement.by)}{excluding}, within {duration_text(requirement.within)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compiled:
    """One rule with its condition."""

    step: Step
    name: str
    condition: Condition
    refuses: bool | None
    because: str
    requirement: Requirement | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tool:
    rule: ToolRule
    rules: tuple[_Compiled, ...]
    validate: Validator
    queries: tuple[HistoryQuery, ...]


def _results(tool: str, compiled: _Tool | None, facts: Facts) -> Iterator[RuleResult]:
    if compiled is None:
        yield RuleResult(step="named", rule="tools", outcome="deny", because="the policy does not name this tool")
        return
    place = f"tools.{tool}"
    yield RuleResult(step="named", rule=place, outcome="pass", because="the policy names it")
    yield _identity(place, compiled.rule, facts.principal)
    yield _arguments(place, compiled.validate, facts.arguments)
    for rule in compiled.rules:
        yield _ruled(rule, facts)


def _until_refused(results: Iterator[RuleResult]) -> Iterator[RuleResult]:
    for result in results:
        yield result
        if result.outcome == "deny":
            return


def _verdict(trace: Sequence[RuleResult]) -> Verdict:
    last = trace[-1]
    if last.outcome == "deny":
        return Deny(reasons=(Reason(rule=last.rule, because=last.because),))
    asked = tuple(result.requirement for result in trace if result.requirement is not None)
    return Ask(requirements=asked) if asked else Allow()


def _identity(place: str, rule: ToolRule, principal: Principal) -> RuleResult:
    if principal.names & set(rule.allowed):
        return RuleResult(step="identity", rule=f"{place}.for", outcome="pass", because=f"{principal.id} may call it")
    because = f"this tool is for {_listed(rule.allowed)}, not for {principal.id}"
    return RuleResult(step="identity", rule=f"{place}.for", outcome="deny", because=because)


def _arguments(place: str, validate: Validator, arguments: JsonObject) -> RuleResult:
    try:
        wrong = unspeakable(arguments) or validate(arguments)
    except Exception as error:
        wrong = f"the arguments could not be checked ({type(error).__name__})"
    if wrong is None:
        return RuleResult(step="arguments", rule=place, outcome="pass", because="they fit the tool's schema")
    return RuleResult(step="arguments", rule=place, outcome="deny", because=wrong)


def _ruled(rule: _Compiled, facts: Facts) -> RuleResult:
    found = rule.condition.evaluate(facts)
    outcome: Outcome = "pass"
    because, requirement = rule.because, None
    if found.value is None:
        outcome, because = "deny", f"the condition could not be evaluated: {found.error}"
    elif rule.step == "ask" and found.value:
        outcome, requirement = "ask", rule.requirement
    elif found.value is rule.refuses:
        outcome = "deny"
    return RuleResult(
        step=rule.step,
        rule=rule.name,
        outcome=outcome,
        because=because,
        condition=rule.condition.text,
        value=found.value,
        requirement=requirement,
    )


class _Compiler:
    """Compiles tools, and collects what is wrong instead of stopping at the first problem."""

    def __init__(
        self,
        schemas: Mapping[str, ToolSchema],
        validate: Mapping[str, Validator],
        source: PolicySource | None,
    ) -> None:
        self.problems: list[Problem] = []
        self._schemas, self._validate, self._source = schemas, validate, source

    def tool(self, name: str, rule: ToolRule) -> _Tool | None:
        schema = self._schemas.get(name)
        if schema is None:
            self._problem(("tools", name), f"there is no tool {name!r}{nearest(name, self._schemas)}", key=True)
            return None
        shape = shape_of(schema.json_schema)
        rules = tuple(self._rules(name, rule, Conditions(name, shape)))
        queries = dict.fromkeys(query for each in rules for query in each.condition.queries)
        validate = self._validate.get(name) or _schema_validator(shape)
        return _Tool(rule=rule, rules=rules, validate=validate, queries=tuple(queries))

    def _rules(self, tool: str, rule: ToolRule, conditions: Conditions) -> Iterator[_Compiled]:
        for index, deny in enumerate(rule.deny):
            path = ("tools", tool, "deny", index)
            if (condition := self._condition(conditions, (*path, "when"), deny.when)) is not None:
                yield _Compiled(
                    step="deny", name=_dotted(path), condition=condition, refuses=True, because=deny.because
                )
        for index, limit in enumerate(rule.limit):
            path = ("tools", tool, "limit", index)
            if (condition := self._condition(conditions, (*path, "keep"), limit.keep)) is not None:
                yield _Compiled(
                    step="limit",
                    name=_dotted(path),
                    condition=condition,
                    refuses=False,
                    because=limit.because,
                )
        for index, ask in enumerate(rule.ask):
            path = ("tools", tool, "ask", index)
            if (condition := self._condition(conditions, (*path, "when"), ask.when)) is not None:
                yield _asking(tool, _dotted(path), ask, condition)

    def _condition(self, conditions: Conditions, path: Path, text: str) -> Condition | None:
        compiled = conditions.compile(text)
        if isinstance(compiled, Flaw):
            self._problem(path, compiled.message, line=compiled.line, column=compiled.column)
            return None
        return compiled

    def _problem(self, path: Path, message: str, *, key: bool = False, line: int = 1, column: int = 1) -> None:
        if self._source is None:
            self.problems.append(Problem(line=0, column=0, message=f"{_dotted(path)}: {message}"))
            return
        line, column = self._source.where(path, key=key, line=line, column=column)
        self.problems.append(Problem(line=line, column=column, message=message))


def _schema_validator(shape: Shape) -> Validator:
    return lambda arguments: problem(shape, arguments)


def _asking(tool: str, name: str, rule: AskRule, condition: Condition) -> _Compiled:
    because = rule.because or (
        f"every call of {tool} is approved" if rule.when == "true" else f"{tool} is approved where {rule.when}"
    )
    requirement = Requirement(
        by=rule.by,
        of=rule.of,
        excluding=rule.excluding,
        within=rule.within,
        reason=Reason(rule=name, because=because),
    )
    return _Compiled(step="ask", name=name, condition=condition, refuses=None, because=because, requirement=requirement)


def _dotted(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)
