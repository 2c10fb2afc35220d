"""P7: a kind's schema, purpose and versions hold against steps, and against models with memory tools of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from bank import POLICY, Bank, Started, start, texts
from stateward import PolicyError, Runtime, call
from stateward.errors import MemoryConflict, MemoryRefused, StatewardError
from stateward.testing import proposes
from stateward.verify.load import parse_policy, policy_digest

KINDS = """
    limit:
      purpose: [bank]
      keep: 10d
      sensitivity: confidential
      schema:
        type: object
        required: [amount]
        properties: {amount: {type: integer, minimum: 0}, why: {$ref: "#/$defs/why"}}
        additionalProperties: false
        $defs: {why: {type: string, maxLength: 20}}
"""
TOOLS = """
  remember: {effect: write, for: [bot], ask: [{when: args.kind == "limit", by: [boss]}]}
  recall: {effect: read, for: [bot]}
  forget: {effect: write, for: [bot]}
"""


def policy(kinds: str = KINDS, tools: str = "") -> str:
    return POLICY.replace("\nmemory:\n  kinds:", tools.rstrip() + "\nmemory:\n  kinds:" + kinds.rstrip())


def step(bank: Bank, work: Any, kinds: str = KINDS, **facts: Any) -> Started:
    """A run whose first step does this."""
    flow = bank.flow(bank.tools(), policy(kinds), [])
    flow.retrieve(work)
    graph, config = flow.compile(bank.runtime), bank.config(**facts)
    return Started(bank=bank, graph=graph, config=config, out=start(graph, config))


def model(bank: Bank, *script: Any, **facts: Any) -> Started:
    """A run whose model has the memory tools."""
    tools = [*bank.tools(), *Runtime.memory_tools()]
    said = [proposes(*calls) for calls in script]
    graph = bank.flow(tools, policy(tools=TOOLS), [*said, AIMessage("done")]).compile(bank.runtime)
    config = bank.config(**facts)
    given = {"messages": [("user", "go")], "subject": facts.get("subject", "customer:17")}
    return Started(bank=bank, graph=graph, config=config, out=graph.invoke(given, config))


@pytest.mark.parametrize(
    "value",
    [{}, {"amount": "1"}, {"amount": -1}, {"amount": 1, "more": 2}, {"amount": 1, "why": "x" * 21}, {"amount": True}],
    ids=str,
)
def test_what_does_not_fit_the_schema_of_its_kind_is_refused_without_saying_what_it_was(bank: Bank, value: Any) -> None:
    async def keep(state: Any, step: Any) -> None:
        await step.remember("limit", "l", **value)

    with pytest.raises(MemoryRefused, match="schema of memory kind 'limit'") as refused:
        step(bank, keep)
    assert "xxx" not in str(refused.value)
    assert bank.rows("select * from stateward.memory") == []


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{additionalProperties: {type: integer}}", "at additionalProperties/type"),
        ("{properties: {$ref: {type: string}}, additionalProperties: false}", "at additionalProperties"),
        ("{$ref: '#'}", "comes back to itself without end"),
    ],
)
def test_a_key_of_what_does_not_fit_is_not_said_either(bank: Bank, schema: str, said: str) -> None:
    async def keep(state: Any, step: Any) -> None:
        await step.remember("x", "k", **{"jane@example.com": "x"})

    with pytest.raises(MemoryRefused, match=said) as refused:
        step(bank, keep, kinds=f"\n    x: {{purpose: [bank], keep: 1d, schema: {schema}}}")
    assert "jane" not in str(refused.value)
    assert bank.rows("select * from stateward.memory") == []


def test_what_fits_is_kept_with_its_sensitivity_and_the_trail_says_so(bank: Bank) -> None:
    async def keep(state: Any, step: Any) -> None:
        await step.remember("limit", "l", amount=5, why="asked for")

    run = step(bank, keep)
    (row,) = bank.rows("select sensitivity, value from stateward.memory")
    assert row == {"sensitivity": "confidential", "value": {"amount": 5, "why": "asked for"}}
    (entry,) = [one for one in bank.runtime.timeline(run.thread) if one.kind == "memory.written"]
    assert entry.detail["sensitivity"] == "confidential"


@pytest.mark.parametrize(
    "kind",
    [
        "{purpose: [bank], keep: 1d, schema: {type: thing}}",
        "{purpose: [bank], keep: 1d, schema: {$ref: 'https://example.com/schema.json'}}",
        "{purpose: [bank], keep: 1d, schema: {properties: {x: {allOf: [{$ref: 'file:///etc/passwd'}]}}}}",
        "{purpose: [bank], keep: 1d, schema: {properties: {x: {$ref: '#/$defs/none'}}}}",
        "{purpose: [bank], keep: 1d, schema: {properties: {x: {$ref: '#nowhere'}}}}",
        "{purpose: [bank], keep: 1d, sensitivity: secret}",
    ],
)
def test_a_kind_that_is_none_is_refused_at_load(kind: str) -> None:
    with pytest.raises(PolicyError, match=r"schema|sensitivity|restricted"):
        parse_policy(policy(f"\n    x: {kind}"))


def test_a_policy_without_them_keeps_its_digest() -> None:
    plain = parse_policy(policy("\n    x: {purpose: [bank], keep: 1d}"))
    assert "schema" not in str(plain.model_dump(by_alias=True))
    assert policy_digest(plain) != policy_digest(
        parse_policy(policy("\n    x: {purpose: [bank], keep: 1d, schema: {}}"))
    )


def test_two_steps_that_change_the_same_version_do_not_overwrite_each_other(bank: Bank) -> None:
    said: list[Any] = []

    async def change(state: Any, step: Any) -> None:
        said.append(await step.revise("limit", "l", {"amount": 1}, version=0))
        (known,) = await step.recall("limit")
        said.append(await step.revise("limit", "l", {"amount": 2}, version=known.version))
        try:
            await step.revise("limit", "l", {"amount": 3}, version=known.version)
        except MemoryConflict as error:
            said.append(error.code)
        said.append([item.value["amount"] for item in await step.recall("limit")])
        said.append([await step.forget("limit", "l"), await step.forget("limit", "l")])

    step(bank, change)
    assert said == [1, 2, "SW520", [2], [True, False]]
    assert bank.rows("select * from stateward.memory_version") == []


def test_what_an_item_said_before_goes_when_its_own_time_is_over(bank: Bank) -> None:
    async def twice(state: Any, step: Any) -> None:
        await step.remember("note", "n", text="first")
        await step.remember("note", "n", text="second")

    step(bank, twice)
    (row,) = bank.rows("select value, expires_at - updated_at as kept from stateward.memory_version")
    assert (row["value"], row["kept"].days) == ({"text": "first"}, 10)
    bank.rows("update stateward.memory_version set expires_at = now()")
    bank.runtime.sweep()
    assert bank.rows("select * from stateward.memory_version") == []
    assert len(bank.rows("select * from stateward.memory")) == 1


def test_a_model_remembers_recalls_and_forgets_for_the_threads_own_subject_only(bank: Bank) -> None:
    first = model(
        bank, [call("remember", kind="note", key="tea", value={"text": "prefers tea, jo.planted@example.com"})]
    )
    assert '"version": 1' in texts(first.out)[0]
    found = texts(model(bank, [call("recall", query="which tea?")]).out)[0]
    assert "prefers tea" in found
    assert "planted" not in found
    other = {"subject": "customer:18"}
    assert texts(model(bank, [call("recall", query="tea")], **other).out) == ['{"found": []}']
    assert '"forgotten": false' in texts(model(bank, [call("forget", kind="note", key="tea")], **other).out)[0]
    (row,) = bank.rows(
        "select m.action, a.tool from stateward.memory m join stateward.action a on a.action_id = m.action"
    )
    assert row["tool"] == "remember"
    assert '"forgotten": true' in texts(model(bank, [call("forget", kind="note", key="tea")]).out)[0]
    assert bank.rows("select * from stateward.memory") == []
    assert bank.runtime.verify_audit().intact


def test_what_a_model_may_not_keep_is_a_refusal_that_it_can_read(bank: Bank) -> None:
    calls = [
        call("remember", kind="gossip", key="k", value={"x": 1}),
        call("remember", kind="other", key="k", value={"x": 1}),
        call("remember", kind="note", key="jo.planted@example.com", value={"x": 1}),
    ]
    out = model(bank, calls).out
    assert "__interrupt__" not in out
    said = " ".join(texts(out))
    for why in ("no memory kind 'gossip'", "not kept for the purpose", "holds personal data"):
        assert why in said
    assert bank.rows("select * from stateward.memory") == []


def test_a_policy_can_ask_a_person_before_something_is_remembered(bank: Bank) -> None:
    run = model(bank, [call("remember", kind="limit", key="l", value={"amount": 5})])
    assert bank.rows("select * from stateward.memory") == []
    run.decide("approve")
    run.resume()
    assert [row["value"] for row in bank.rows("select value from stateward.memory")] == [{"amount": 5}]


def test_a_recall_brings_the_labels_of_what_it_finds(bank: Bank) -> None:
    model(bank, [call("remember", kind="note", key="k", value={"text": "from a mail"})])
    bank.rows("update stateward.memory set labels = '{untrusted}'")
    run = model(bank, [call("recall", query="mail", kind="note")])
    rows = bank.rows("select label from stateward.thread_label where thread_id = %s", run.thread)
    assert [row["label"] for row in rows] == ["untrusted"]


def test_memory_tools_outside_a_run_find_nobody(bank: Bank) -> None:
    (remember, recall, _) = Runtime.memory_tools()
    for one, given in ((remember, {"kind": "note", "key": "k", "value": {}}), (recall, {"query": "x"})):
        with pytest.raises((StatewardError, RuntimeError)):
            bank.runtime._thread.wait(one.ainvoke(given))
    assert json.dumps(bank.rows("select key from stateward.memory")) == "[]"
