"""Others' memory on our store, unchanged: LangMem's tools, and the files that deep agents keep between threads."""

from __future__ import annotations

import os
import re
import warnings
from importlib.util import find_spec
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends import StoreBackend

from agents import DEEP, GO, asked, both_ways, governed, named, says, thread, wards
from bank import Bank, texts
from stateward import call

KINDS = ("files: {purpose: [bank], keep: 30d}", "memories: {purpose: [bank], keep: 30d}")
MANAGES = [
    f"{name}_memory: {{effect: {effect}, for: [bot]}}" for name, effect in (("manage", "write"), ("search", "read"))
]


def remembering(*lines: str) -> str:
    """The bank's policy with more tools, and with kinds for what they keep."""
    return named(*lines).replace("  kinds:", "  kinds:" + "".join(f"\n    {kind}" for kind in KINDS))


def deep(bank: Bank, *script: Any, kind: str = "files") -> Any:
    """A deep agent whose files are kept in our store."""
    ward = wards(bank, policy=remembering(*DEEP))
    helper = {"name": "general-purpose", "description": "Helps.", "system_prompt": "Help.", "model": says()}
    return create_deep_agent(
        says(*script),
        bank.tools(),
        middleware=[ward],
        backend=StoreBackend(namespace=lambda _: (kind,)),
        subagents=[{**helper, "tools": bank.tools(), "middleware": [ward]}],  # pyright: ignore[reportArgumentType]
        checkpointer=bank.runtime.checkpointer,
        store=bank.runtime.store,
    )


@both_ways
async def test_the_files_of_a_deep_agent_outlive_the_thread_and_stay_with_their_subject(bank: Bank, run: Any) -> None:
    writes = [call("write_file", file_path="/notes/plan.md", content="pay jo.planted@example.com on Friday\nthen rest")]
    edits = [call("edit_file", file_path="/notes/plan.md", old_string="Friday", new_string="Monday")]
    await run(deep(bank, writes, edits), GO, thread(bank))
    reads = [
        [call("ls", path="/notes")],
        [call("read_file", file_path="/notes/plan.md")],
        [call("grep", pattern="Monday")],
        [call("glob", pattern="**/*.md")],
    ]
    again = texts(await run(deep(bank, *reads), GO, thread(bank, "case-2")))
    assert all("/notes/plan.md" in said for said in (again[0], again[2], again[3]))
    assert "Monday" in again[1]
    assert "planted" not in str(again)
    other = texts(await run(deep(bank, *reads), GO, thread(bank, "case-3", subject="customer:18")))
    assert "plan.md" not in str([other[0], other[2], other[3]])
    (row,) = bank.rows("select kind, subject, version, action from stateward.memory")
    assert (row["kind"], row["subject"], row["version"]) == ("files", "customer:17", 2)
    (edit,) = bank.rows("select action_id from stateward.action where tool = 'edit_file'")
    assert row["action"] == edit["action_id"]
    assert bank.runtime.verify_audit().intact


@both_ways
async def test_a_deep_agent_deletes_a_file(bank: Bank, run: Any) -> None:
    writes = [call("write_file", file_path=f"/{name}.md", content="x") for name in ("a", "b")]
    await run(deep(bank, writes, [call("delete", file_path="/a.md")]), GO, thread(bank))
    assert [row["key"] for row in bank.rows("select key from stateward.memory")] == ["/b.md"]


async def test_a_deep_agent_whose_files_are_of_no_kind_writes_none(bank: Bank) -> None:
    agent = deep(bank, [call("write_file", file_path="/a.md", content="x")], kind="gossip")
    await agent.ainvoke(GO, thread(bank))
    (question,) = asked(bank)  # a tool that raises in a write may have done anything
    assert "no memory kind 'gossip'" in question.description
    assert bank.rows("select * from stateward.memory") == []


@both_ways
async def test_langmem_creates_finds_changes_and_deletes(bank: Bank, run: Any) -> None:
    langmem = langmem_tools()
    kept = "prefers tea, writes from jo.planted@example.com"

    async def says_again(name: str, *script: Any, **facts: Any) -> list[str]:
        ward = wards(bank, [*bank.tools(), *langmem], policy=remembering(*MANAGES))
        return texts(
            await run(governed(bank, says(*script), [*bank.tools(), *langmem], ward), GO, thread(bank, name, **facts))
        )

    (said,) = await says_again("case-1", [call("manage_memory", content=kept, action="create")])
    id_ = re.findall(r"[0-9a-f-]{36}", said)[0]
    (found,) = await says_again("case-2", [call("search_memory", query="does the customer drink tea?")])
    assert id_ in found
    assert "planted" not in found
    (other,) = await says_again("case-3", [call("search_memory", query="tea")], subject="customer:18")
    assert other == "[]"
    await says_again("case-4", [call("manage_memory", content="prefers coffee", action="update", id=id_)])
    assert [row["value"] for row in bank.rows("select value from stateward.memory")] == [{"content": "prefers coffee"}]
    await says_again("case-5", [call("manage_memory", action="delete", id=id_)])
    assert bank.rows("select * from stateward.memory") == []
    assert bank.runtime.verify_audit().intact


def langmem_tools() -> list[Any]:
    """Its tools, which import what LangGraph has moved since."""
    if find_spec("langmem") is None:
        if os.environ.get("CI"):
            pytest.fail("langmem is not installed")
        pytest.skip("langmem is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langmem import create_manage_memory_tool, create_search_memory_tool

    return [create_manage_memory_tool(namespace=("memories",)), create_search_memory_tool(namespace=("memories",))]
