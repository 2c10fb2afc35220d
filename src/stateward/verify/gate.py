"""The gate: what the policy says to one call, decided without I/O and in one fixed order.

named → identity → arguments → deny → limit → ask → allow. The first refusal wins, every ask is collected, and
whatever cannot be evaluated refuses. No rule can loosen another, whatever the order of the file. A rule that is only
observed is in the trace, and in nothing else that decides.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stateward.model.history import History, HistoryQuery, history_json
from stateward.model.policy import (
    AnswerRule,
    AskRule,
    DenyRule,
    Escalation,
    LimitRule,
    Path,
    PolicyDocument,
    ToolRule,
    duration_text,
    nearest,
    shared_credentials,
)
from stateward.model.principal import Principal
from stateward.model.provenance import Origin
from stateward.model.values import Json, JsonObject, plain
from stateward.model.verdict import Allow, Ask, Deny, Reason, Requirement, Verdict
from stateward.personal_data.boundary import Reveal
from stateward.verify.arguments import Shape, ToolSchema, problem, shape_of, unspeakable
from stateward.verify.conditions import Condition, Conditions, Evaluation, Facts, Flaw, Variable
from stateward.verify.load import PolicySource, Problem, fail, policy_digest
from stateward.verify.origin import Sightings
from stateward.verify.servers import Ruled, contradictions, means, rule_of
from stateward.verify.together import Together

Step = Literal["named", "identity", "arguments", "deny", "limit", "ask"]
Outcome = Literal["pass", "deny", "ask"]
Validator = Callable[[JsonObject], str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """What one step, or one rule of it, said.

    Attributes:
        step: The step it belongs to.
        rule: Where it stands in the policy, such as `tools.post_journal_entry.ask[0]`.
        outcome: `pass`, `deny` or `ask`; what it would be, where the rule is only observed.
        because: Why, for people; it repeats no argument's value.
        condition: The condition, where there is one.
        value: What the condition came to; None where it has none, or could not be evaluated.
        requirement: Who has to approve, where it asks.
        observed: Whether it changes nothing, because the policy only observes the rule.
    """

    step: Step
    rule: str
    outcome: Outcome
    because: str
    condition: str = ""
    value: bool | None = None
    requirement: Requirement | None = None
    observed: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it ends the judgement."""
        return self.outcome == "deny" and not self.observed


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """A verdict with its derivation.

    Attributes:
        tool: The tool that was asked for.
        verdict: Allow, Deny or Ask.
        trace: Every step and rule that was looked at, in order.
        policy: `name@version`.
        policy_digest: Digest over the policy.
        effect: `read` or `write`, as the policy says; `write` for a tool that it does not name; `answer` for an answer.
        identity: The credential to mint for the call, if any.
        idempotent: Whether running it again with the same key is harmless.
        observed: The rules that would have spoken if they were enforced.
        facts: What the rules read besides the call and its thread, as the trail keeps it: no personal data.
    """

    tool: str
    verdict: Verdict
    trace: tuple[RuleResult, ...]
    policy: str
    policy_digest: str
    effect: Literal["read", "write", "answer"]
    identity: str | None
    idempotent: bool
    observed: tuple[Reason, ...] = ()
    facts: JsonObject = field(default_factory=dict[str, Json])


class Gate:
    """A policy, compiled once against the tools that there are.

    Args:
        document: The policy.
        schemas: The argument schema of each tool, by name. A tool that the policy does not name may be there;
            it is denied.
        validate: By tool, the tool's own validation: a sentence about what is wrong, without the values, or
            None. A tool that is not there is checked against its schema: required and unknown keys, JSON
            types and choices, all the way down.
        answers: The schema of each answer that the workflow may give, by name.
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
        answers: Mapping[str, ToolSchema] | None = None,
        source: PolicySource | None = None,
    ) -> None:
        self._label = document.label
        self._digest = policy_digest(document)
        compiler = _Compiler(schemas, validate or {}, source, document)
        self._tools = {name: tool for name, ruled in compiler.named() if (tool := compiler.tool(name, ruled))}
        given, rules = answers or {}, document.answers.items()
        self._answers = {name: made for name, rule in rules if (made := compiler.answer(name, rule, given))}
        fail(compiler.problems, file=source.file if source else "<policy>")
        read = {
            name.split(".")[0] for each in (*self._tools.values(), *self._answers.values()) for name in each.recorded
        }
        returned = document.labels or any(self.returns(name) for name in self._tools)
        self._labelled, self._reads_origin = bool(returned) or "labels" in read, "origin" in read

    @property
    def digest(self) -> str:
        """Digest over the policy."""
        return self._digest

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that the policy names, those of its patterns and of its MCP servers included."""
        return tuple(self._tools)

    def named_by(self, tool: str) -> tuple[str, str]:
        """Where the policy names a tool, such as `tools.read_*` or `mcp.bank`, and how; empty where it does not."""
        compiled = self._tools.get(tool)
        return (compiled.place, compiled.because) if compiled else ("", "")

    def rule(self, tool: str) -> ToolRule | None:
        """What the policy says of a tool, by its name or by the pattern that matches it."""
        compiled = self._tools.get(tool)
        return compiled.rule if compiled and isinstance(compiled.rule, ToolRule) else None

    def needs(self, tool: str) -> tuple[HistoryQuery, ...]:
        """What to fetch from the journal before judging this tool, each query once."""
        compiled = self._tools.get(tool)
        return compiled.queries if compiled else ()

    @property
    def labelled(self) -> bool:
        """Whether the policy knows labels at all: one that does not costs nothing for them."""
        return self._labelled

    @property
    def reads_origin(self) -> bool:
        """Whether any rule reads an origin, so that what the threads see has to be kept."""
        return self._reads_origin

    def reads_labels(self, tool: str, *, answer: bool = False) -> bool:
        """Whether a rule of this tool, or of this answer, reads the thread's labels."""
        compiled = (self._answers if answer else self._tools).get(tool)
        return compiled is not None and "labels" in compiled.recorded

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers that the policy has rules for."""
        return tuple(self._answers)

    def reads(self, tool: str, *, answer: bool = False) -> tuple[str, ...]:
        """What its rules read of the thread's past besides the history: `labels`, and `origin.` with an argument."""
        compiled = (self._answers if answer else self._tools).get(tool)
        return tuple(compiled.recorded) if compiled else ()

    def returns(self, tool: str) -> tuple[str, ...]:
        """The labels that the tool's results carry."""
        compiled = self._tools.get(tool)
        return compiled.rule.returns if compiled and isinstance(compiled.rule, ToolRule) else ()

    def offers(self, tool: str, principal: Principal) -> bool:
        """Whether the policy names the tool, and for this principal; a call of it may be refused all the same."""
        rule = self._tools[tool].rule if tool in self._tools else None
        return isinstance(rule, ToolRule) and bool(principal.names & set(rule.allowed))

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
        history: History | None = None,
        answer: bool = False,
        labels: frozenset[str] = frozenset(),
        sightings: Sightings | None = None,
        origins: Mapping[str, Origin] | None = None,
        reveal: Reveal | None = None,
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
            answer: It is no call but an answer of that name, with its fields as arguments.
            labels: The thread's labels.
            sightings: What the thread has seen. Without it every origin is `unknown`.
            origins: Origins that are known already, such as `{"origin.account": "person"}`.
            reveal: What is put back before the call runs: its values have to fit the tool's schema, and nothing else
                reads them.

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
            labels=labels,
            sightings=sightings,
            origins=dict(origins or {}),
        )
        compiled = (self._answers if answer else self._tools).get(tool)
        rule = compiled.rule if compiled and isinstance(compiled.rule, ToolRule) else None
        trace = tuple(_until_refused(_before(compiled, facts, reveal)))
        spoke: tuple[RuleResult, ...] = ()
        if compiled and not trace[-1].refuses:
            spoke, said = _ruled(compiled, facts)
            trace += said
        return Ruling(
            tool=tool,
            verdict=_verdict(trace[-1], spoke),
            trace=trace,
            policy=self._label,
            policy_digest=self._digest,
            effect="answer" if answer else rule.effect if rule else "write",
            identity=rule.identity if rule else None,
            idempotent=rule.idempotent if rule else False,
            observed=tuple(
                Reason(rule=one.rule, because=one.because) for one in spoke if one.observed and one.outcome != "pass"
            ),
            facts=_recorded(compiled, facts) if compiled else {},
        )

    def let_leave(self, answer: str) -> Ruling:
        """What is said of an answer that the policy has no rules for: it leaves when it is valid."""
        return Ruling(
            tool=answer,
            verdict=Allow(),
            trace=(),
            policy=self._label,
            policy_digest=self._digest,
            effect="answer",
            identity=None,
            idempotent=False,
        )


def explain(ruling: Ruling) -> str:
    """The ruling for people: the verdict, then a line for each step and each rule, with its value and why, and at last
    the labels and origins that the rules read.
    """
    head = f"{ruling.verdict.kind}: {ruling.tool}, by {ruling.policy} ({ruling.policy_digest[:12]})"
    read = [f"  read  {name}: {_said(value)}" for name, value in ruling.facts.items() if name != "history"]
    return "\n".join([head, *(_line(result) for result in ruling.trace), *read])


def _said(value: Json) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _line(result: RuleResult) -> str:
    value = "" if result.value is None else f" is {str(result.value).lower()}"
    condition = f"`{result.condition}`{value}: " if result.condition else ""
    asked = f" ({_asked(result.requirement)})" if result.requirement else ""
    observed = " (observed only)" if result.observed else ""
    return f"  {result.outcome:<5}{result.step:<10} {result.rule}: {condition}{result.because}{asked}{observed}"


def _asked(requirement: Requirement) -> str:
    count = f"{requirement.of} of " if requirement.of > 1 else ""
    excluding = f", not {_listed(requirement.excluding)}" if requirement.excluding else ""
    stage = f"stage {requirement.stage}: " if requirement.stage > 1 else ""
    lapse = f", then {_listed(requirement.escalate)}" if requirement.escalate else ""
    typed = ", typed" if requirement.confirm else ""
    within = f"within {duration_text(requirement.within)}"
    return f"{stage}by {count}{_listed(requirement.by)}{excluding}, {within}{lapse}{typed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compiled:
    """One rule with its condition.

    Attributes:
        speaks: The value of the condition at which the rule denies or asks.
    """

    step: Step
    name: str
    condition: Condition
    speaks: bool
    because: str
    requirement: Requirement | None = None
    observed: bool = False

    def result(self, found: Evaluation) -> RuleResult:
        """What it says, where its condition has come to this."""
        outcome: Outcome = "pass"
        because = self.because
        if found.value is None:
            outcome, because = "deny", f"the condition could not be evaluated: {found.error}"
        elif found.value is self.speaks:
            outcome = "ask" if self.step == "ask" else "deny"
        return RuleResult(
            step=self.step,
            rule=self.name,
            outcome=outcome,
            because=because,
            condition=self.condition.text,
            value=found.value,
            requirement=self.requirement if outcome == "ask" else None,
            observed=self.observed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tool:
    """One tool, or one answer.

    Attributes:
        place: Where it stands in the policy.
        because: Why it is this rule.
        said: What each rule says when its condition is false, and when it is true; made once.
        silence: What the rules say when none of them speaks.
        recorded: What the rules read that is neither of the call nor of the thread's row.
    """

    place: str
    because: str
    rule: ToolRule | AnswerRule
    rules: tuple[_Compiled, ...]
    together: Together
    said: tuple[tuple[RuleResult, RuleResult], ...]
    silence: tuple[RuleResult, ...]
    validate: Validator
    queries: tuple[HistoryQuery, ...]
    recorded: Mapping[str, Variable]


def _before(compiled: _Tool | None, facts: Facts, reveal: Reveal | None) -> Iterator[RuleResult]:
    """What stands before the tool's own rules."""
    if compiled is None:
        yield RuleResult(step="named", rule="tools", outcome="deny", because="the policy does not name this tool")
        return
    yield RuleResult(step="named", rule=compiled.place, outcome="pass", because=compiled.because)
    if isinstance(compiled.rule, ToolRule):
        yield _identity(compiled.place, compiled.rule, facts.principal)
    yield _arguments(compiled.place, compiled.validate, facts.arguments, reveal)


def _ruled(compiled: _Tool, facts: Facts) -> tuple[tuple[RuleResult, ...], tuple[RuleResult, ...]]:
    """What the rules say, where any of them speaks; and what all of them say that were looked at."""
    if compiled.together.silent(facts):
        return (), compiled.silence
    rules = zip(compiled.rules, compiled.said, strict=True)
    pairs = zip(rules, compiled.together.each(facts), strict=False)
    said = tuple(
        _until_refused(
            either[found.value] if found.value is not None else rule.result(found) for (rule, either), found in pairs
        )
    )
    return said, said


def _until_refused(results: Iterator[RuleResult]) -> Iterator[RuleResult]:
    for result in results:
        yield result
        if result.refuses:
            return


def _verdict(last: RuleResult, spoke: Sequence[RuleResult]) -> Verdict:
    if last.refuses:
        return Deny(reasons=(Reason(rule=last.rule, because=last.because),))
    asked = tuple(one.requirement for one in spoke if one.requirement is not None and not one.observed)
    return Ask(requirements=asked) if asked else Allow()


def _recorded(compiled: _Tool, facts: Facts) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if compiled.queries:
        found["history"] = history_json({one: facts.history[one] for one in compiled.queries if one in facts.history})
    for name, variable in compiled.recorded.items():
        found[name] = plain(variable.read(facts))
    return found


def _identity(place: str, rule: ToolRule, principal: Principal) -> RuleResult:
    if principal.names & set(rule.allowed):
        return RuleResult(step="identity", rule=f"{place}.for", outcome="pass", because=f"{principal.id} may call it")
    because = f"this tool is for {_listed(rule.allowed)}, not for {principal.id}"
    return RuleResult(step="identity", rule=f"{place}.for", outcome="deny", because=because)


def _arguments(place: str, validate: Validator, arguments: JsonObject, reveal: Reveal | None) -> RuleResult:
    try:
        wrong = unspeakable(arguments) or (reveal.told(validate, arguments) if reveal else validate(arguments))
    except Exception as error:
        wrong = f"the arguments could not be checked ({type(error).__name__})"
    if wrong is None:
        return RuleResult(step="arguments", rule=place, outcome="pass", because="they fit the tool's schema")
    return RuleResult(step="arguments", rule=place, outcome="deny", because=wrong)


class _Compiler:
    """Compiles tools, and collects what is wrong instead of stopping at the first problem."""

    def __init__(
        self,
        schemas: Mapping[str, ToolSchema],
        validate: Mapping[str, Validator],
        source: PolicySource | None,
        document: PolicyDocument,
    ) -> None:
        self.problems: list[Problem] = []
        self._schemas, self._validate, self._source = schemas, validate, source
        self._document, self._escalation = document, document.escalate
        # A tool of a server that is not trusted brings `untrusted`, whatever names it.
        served = [rule_of(document, name, schema.served) for name, schema in schemas.items() if schema.served]
        self._labels = document.labels.union(*(ruled.rule.returns for ruled in served if ruled))

    def named(self) -> Iterator[tuple[str, Ruled]]:
        """Each tool with its rule: by its own name, by the one pattern that matches it, or by its server."""
        self._refuse_doubtful_patterns(self._document.tools)
        for name in (key for key in self._document.tools if "*" not in key and key not in self._schemas):
            self._problem(("tools", name), f"there is no tool {name!r}{nearest(name, self._schemas)}", key=True)
        servers = {schema.served.server for schema in self._schemas.values() if schema.served}
        for name in (name for name in self._document.mcp if name not in servers):
            self._problem(
                ("mcp", name), f"no tools of an MCP server {name!r} are loaded{nearest(name, servers)}", key=True
            )
        ruled = {name: rule_of(self._document, name, schema.served) for name, schema in self._schemas.items()}
        found = {name: one for name, one in ruled.items() if one is not None}
        by_server = [(one.place, name, one.rule) for name, one in found.items() if one.place[0] == "mcp"]
        if by_server:
            by_name = [(one.place, name, one.rule) for name, one in found.items() if one.place[0] == "tools"]
            for place, message in shared_credentials(self._document.identities, [*by_name, *by_server]):
                self._problem(place, message)
        yield from found.items()

    def _refuse_doubtful_patterns(self, tools: Mapping[str, ToolRule]) -> None:
        matching: dict[str, str] = {}
        for key in (key for key in tools if "*" in key):
            matched = [name for name, schema in self._schemas.items() if means(key, name, schema.served)]
            if not matched:
                self._problem(("tools", key), f"no tool matches {key!r}{_closest(key, self._schemas)}", key=True)
            for name in matched:
                if name in matching:
                    two = f"both {matching[name]!r} and {key!r} match the tool {name!r}; name it by itself"
                    self._problem(("tools", key), two, key=True)
                elif name not in tools:
                    matching[name] = key

    def tool(self, name: str, ruled: Ruled) -> _Tool:
        schema, place, rule = self._schemas[name], ruled.place, ruled.rule
        if schema.served is not None and place[0] == "tools":
            for key, message in contradictions(rule, schema.served):
                self._problem((*place, key), f"{name!r}: {message}")
        if rule.identity is not None and schema.served is not None and not schema.served.takes_credential:
            why = "its connection has no headers, or authenticates by itself, so no credential can be given with a call"
            self._problem((*place, "identity"), f"{name!r}: {why}")
        shape = shape_of(schema.json_schema)
        for at, field_ in enumerate(rule.reveal):
            if field_ not in shape.properties:
                hint = nearest(field_, shape.properties) or f"; it has {', '.join(shape.properties) or 'none'}"
                self._problem((*place, "reveal", at), f"{name!r} has no argument {field_!r}{hint}")
        rules = tuple(self._rules(name, place, rule, Conditions(name, shape, self._labels)))
        return _made(place, rule, rules, self._validate.get(name) or _schema_validator(shape), because=ruled.because)

    def answer(self, name: str, rule: AnswerRule, schemas: Mapping[str, ToolSchema]) -> _Tool | None:
        schema = schemas.get(name)
        if schema is None or name in self._schemas:
            known = nearest(name, schemas) or f"; it gives {', '.join(sorted(schemas)) or 'none'}"
            clash = f"an answer and a tool are both called {name!r}"
            self._problem(("answers", name), clash if schema else f"there is no answer {name!r}{known}", key=True)
            return None
        shape = shape_of(schema.json_schema)
        place = ("answers", name)
        rules = tuple(self._rules(name, place, rule, Conditions(name, shape, self._labels, root="answer")))
        if any(each.condition.queries for each in rules):
            self._problem(("answers", name), "history is about tools; a rule for an answer cannot ask for it")
        return _made(place, rule, rules, _schema_validator(shape))

    def _rules(
        self, tool: str, place: Path, rule: ToolRule | AnswerRule, conditions: Conditions
    ) -> Iterator[_Compiled]:
        for step, speaks, each, path, text in _parts(place, rule):
            condition = self._condition(conditions, path, text, tool=tool)
            if condition is not None:
                name = _dotted(path[:-1])
                asked = _requirement(tool, name, each, self._escalation) if isinstance(each, AskRule) else None
                yield _Compiled(
                    step=step,
                    name=name,
                    condition=condition,
                    speaks=speaks,
                    because=asked.reason.because if asked else each.because or "",
                    requirement=asked,
                    observed=each.mode == "observe",
                )

    def _condition(self, conditions: Conditions, path: Path, text: str, *, tool: str) -> Condition | None:
        compiled = conditions.compile(text)
        if isinstance(compiled, Flaw):
            where = f"for {tool!r}, which {str(path[1])!r} matches: "
            where = "" if tool == path[1] else f"for {tool!r} of this server: " if path[0] == "mcp" else where
            self._problem(path, f"{where}{compiled.message}", line=compiled.line, column=compiled.column)
            return None
        keep = self._document.threads.keep
        over = next((one for one in compiled.queries if keep and one.window > keep), None)
        if keep and over:
            kept = f"threads are kept for {duration_text(keep)} only (`threads: keep`)"
            self._problem(path, f"{over.text} looks back further than there is something to see: {kept}")
        return compiled

    def _problem(self, path: Path, message: str, *, key: bool = False, line: int = 1, column: int = 1) -> None:
        if self._source is None:
            self.problems.append(Problem(line=0, column=0, message=f"{_dotted(path)}: {message}"))
            return
        line, column = self._source.where(path, key=key, line=line, column=column)
        self.problems.append(Problem(line=line, column=column, message=message))


def _schema_validator(shape: Shape) -> Validator:
    return lambda arguments: problem(shape, arguments)


_RECORDED = frozenset({"labels", "origin"})


def _made(
    place: Path,
    rule: ToolRule | AnswerRule,
    rules: tuple[_Compiled, ...],
    validate: Validator,
    *,
    because: str = "the policy names it",
) -> _Tool:
    said = tuple((each.result(Evaluation(value=False)), each.result(Evaluation(value=True))) for each in rules)
    conditions = [each.condition for each in rules]
    variables = {name: each for one in conditions for name, each in one.variables.items()}
    return _Tool(
        place=_dotted(place),
        because=because,
        rule=rule,
        rules=rules,
        together=Together(conditions, [each.speaks for each in rules]),
        said=said,
        silence=tuple(either[not each.speaks] for each, either in zip(rules, said, strict=True)),
        validate=validate,
        queries=tuple(dict.fromkeys(query for each in conditions for query in each.queries)),
        recorded={name: each for name, each in variables.items() if name.split(".")[0] in _RECORDED},
    )


def _parts(
    place: Path, rule: ToolRule | AnswerRule
) -> Iterator[tuple[Step, bool, DenyRule | LimitRule | AskRule, Path, str]]:
    """The rules of a tool in the order in which they are looked at: step, the value that speaks, place, condition."""
    for index, deny in enumerate(rule.deny):
        yield "deny", True, deny, (*place, "deny", index, "when"), deny.when
    for index, limit in enumerate(rule.limit if isinstance(rule, ToolRule) else ()):
        yield "limit", False, limit, (*place, "limit", index, "keep"), limit.keep
    for index, ask in enumerate(rule.ask):
        yield "ask", True, ask, (*place, "ask", index, "when"), ask.when


def _requirement(tool: str, name: str, rule: AskRule, escalation: Escalation | None) -> Requirement:
    because = rule.because or (
        f"every call of {tool} is approved" if rule.when == "true" else f"{tool} is approved where {rule.when}"
    )
    return Requirement(
        by=rule.by,
        of=rule.of,
        excluding=rule.excluding,
        within=rule.within,
        stage=rule.stage,
        remind=rule.remind,
        confirm=rule.confirm == "typed",
        **_escalated(rule, escalation),
        reason=Reason(rule=name, because=because),
    )


def _closest(pattern: str, names: Mapping[str, object]) -> str:
    """The tools that a pattern may have meant."""
    close = difflib.get_close_matches(pattern.replace("*", ""), list(names), n=3, cutoff=0.4)
    return f"; the nearest are {', '.join(close)}" if close else ""


def _escalated(rule: AskRule, escalation: Escalation | None) -> dict[str, Any]:
    if rule.lapse != "escalate" or escalation is None:
        return {}
    return {"escalate": escalation.to, "escalate_within": escalation.after}


def _dotted(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)
