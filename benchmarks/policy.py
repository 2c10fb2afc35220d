"""What a decision of the policy costs, beside what CEL alone takes for the same conditions, in turns within one run."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.table import Goal, Table, figure
from stateward.model.history import History, HistoryQuery, HistoryValue
from stateward.model.principal import Principal
from stateward.model.values import Json
from stateward.verify import Gate, ToolSchema
from stateward.verify.celenv import cel, new_env
from stateward.verify.load import parse_policy

GOAL_MICROSECONDS = 100
RULES = (10, 100, 1000)
_SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "account": {"type": "string"}, "lines": {"type": "integer"}},
    "required": ["amount", "account", "lines"],
}
_CALL: dict[str, Json] = {"amount": 250.0, "account": "4711", "lines": 3}
_HEAD = """policy: bench
version: 1
identities: {bot: {kind: agent}, ana: {kind: person}}
tools:
  post:
    effect: write
    for: [bot]
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A policy of so many rules, and a call that it is asked about.

    Attributes:
        name: What the call meets.
        rules: How many rules the tool has.
        decide: Judges the call once.
        raw: Evaluates the same conditions with CEL alone, one after the other, on values that are there.
    """

    name: str
    rules: int
    decide: Callable[[], object]
    raw: Callable[[], object]


def tables(calls: int) -> list[Table]:
    """Measure every case, gate and CEL in turns."""
    found = [(case, *_measured(case, max(20, calls * 10 // case.rules))) for rules in RULES for case in _cases(rules)]
    rows = [
        (
            f"{case.rules} rules, {case.name}",
            *(f"{figure(value)} µs" for value in (_p(gate, 50), _p(gate, 99), _p(raw, 50), _p(raw, 99))),
            figure(_p(gate, 50) / _p(raw, 50)),
        )
        for case, gate, raw in found
    ]
    goals = [
        Goal(what="p50 of a decision by 100 rules without history, in µs", value=_p(gate, 50), bound=GOAL_MICROSECONDS)
        for case, gate, _ in found
        if case.rules == 100 and case.name == "allowed"
    ]
    notes = [
        "CEL alone: every condition compiled by itself and evaluated with its values at hand, nothing else done.",
        "The gate also checks the arguments against the tool's schema, and says what each rule came to.",
        "What a rule reads of the history is fetched before; the time of that query is not in it.",
    ]
    header = ("a call", "gate p50", "gate p99", "CEL p50", "CEL p99", "ratio of p50")
    return [Table(title="A decision of the policy", header=header, rows=rows, notes=notes, goals=goals)]


def _cases(rules: int) -> list[Case]:
    plain = [f"args.amount > {1000 + at} && args.account == 'a{at}'" for at in range(rules)]
    past = [
        f"history.{scope}.sum('amount', '{hours + 1}h') + args.amount > {10_000 + hours}"
        for hours in range(5)
        for scope in ("tenant", "subject")
    ]
    return [
        _case("allowed", plain),
        _case("the last rule asks", [*plain[:-1], "args.amount > 100.0"]),
        _case("allowed, ten rules read the history", [*plain[: rules - 10], *past]),
    ]


def _case(name: str, conditions: Sequence[str]) -> Case:
    *denies, ask = (f'"{text}"' for text in conditions)
    text = "".join(f"      - {{when: {one}, because: no}}\n" for one in denies)
    policy = parse_policy(f"{_HEAD}    deny:\n{text}    ask: [{{when: {ask}, by: [ana]}}]\n")
    gate = Gate(policy, {"post": ToolSchema(name="post", json_schema=_SCHEMA)})
    history = dict.fromkeys(gate.needs("post"), 50.0)
    bot = Principal("bot", kind="agent")

    def decide() -> object:
        facts = {"requester": "ana", "purpose": "bench", "subject": "s", "thread": "t"}
        return gate.judge(tool="post", arguments=_CALL, principal=bot, history=history, **facts)

    return Case(name=name, rules=len(conditions), decide=decide, raw=_raw(conditions, history))


def _raw(conditions: Sequence[str], history: History) -> Callable[[], object]:
    values: dict[str, HistoryValue | Json] = {"args.amount": 250.0, "args.account": "4711"}
    types = {"args.amount": cel.Type.DOUBLE, "args.account": cel.Type.STRING}
    names = {_said(query): f"h{at}" for at, query in enumerate(history)}
    for query, value in history.items():
        values[names[_said(query)]], types[names[_said(query)]] = value, cel.Type.DOUBLE
    env = new_env(types)
    programs = [env.compile(_plain(text, names)) for text in conditions]
    used = [{name: value for name, value in values.items() if name in _plain(text, names)} for text in conditions]

    def evaluate() -> object:
        return [one.eval(data=data).plain_value() for one, data in zip(programs, used, strict=True)]

    return evaluate


def _said(query: HistoryQuery) -> str:
    hours = int(query.window.total_seconds()) // 3600
    return f"history.{query.scope}.sum('amount', '{hours}h')"


def _plain(text: str, names: Mapping[str, str]) -> str:
    for said, name in names.items():
        text = text.replace(said, name)
    return text


def _measured(case: Case, times: int) -> tuple[list[float], list[float]]:
    """Microseconds of each decision and of each evaluation by CEL alone, one after the other."""
    case.decide(), case.raw()
    gc.collect()
    gate: list[float] = []
    raw: list[float] = []
    for _ in range(times):
        for work, into in ((case.decide, gate), (case.raw, raw)):
            started = time.perf_counter()
            work()
            into.append((time.perf_counter() - started) * 1e6)
    return gate, raw


def _p(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]
