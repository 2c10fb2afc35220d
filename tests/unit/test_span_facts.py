"""What passes into a span of what models and providers say, and what does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from spanning import exporting
from stateward.model.action import Action, Call
from stateward.spans import Spans, action_facts


def facts(id_: str, *, digest: str = "d", effect: str = "write") -> dict[str, Any]:
    called = Call(id=id_, tool="pay", arguments={})
    action = Action(id="a", thread="t", turn="u", position=0, call=called, tool_digest=digest, edit=0)
    return action_facts(action, verdict="allow", effect=effect, policy="p@1", policy_digest="d", rules=["r", "r"])


@pytest.mark.parametrize(
    "id_",
    [
        "call_abc123DEF456ghi789JKL012",
        "toolu_01A09q90qw90lq917835lq9",
        "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q",
        "chatcmpl-tool-1e8f3c0a9b7d4e6f8a0b1c2d3e4f5a6b",
        "3f2b8c1e-0d4a-4c7e-9a51-7b6f0e2d1c3a",
        "pb-0a1b2c3d-0-1",
    ],
)
def test_an_id_that_a_provider_has_given_passes(id_: str) -> None:
    assert facts(id_)["gen_ai.tool.call.id"] == id_


@pytest.mark.parametrize("id_", ["call_jane_doe", "jane@example.com", "call_jane.doe@example.com", "4111111111111111"])
def test_another_id_does_not(id_: str) -> None:
    assert facts(id_)["gen_ai.tool.call.id"] == ""


def test_the_name_of_a_tool_that_there_is_none_of_does_not_nor_that_of_an_answer() -> None:
    good = "call_abc123DEF456ghi789JKL012"
    assert facts(good)["gen_ai.tool.name"] == "pay"
    assert [facts(good, digest="")[f"gen_ai.tool.{name}"] for name in ("name", "call.id")] == ["", ""]
    assert facts(good, effect="answer")["gen_ai.tool.name"] == ""
    assert facts(good)["stateward.rules"] == ["r"]


@pytest.mark.parametrize(
    ("package", "name", "provider"),
    [
        ("langchain_openai.chat_models.base", "ChatOpenAI", "openai"),
        ("langchain_openai.chat_models.azure", "AzureChatOpenAI", "azure.ai.openai"),
        ("langchain_aws.chat_models.bedrock_converse", "ChatBedrockConverse", "aws.bedrock"),
        ("langchain_anthropic.chat_models", "ChatAnthropic", "anthropic"),
        ("langchain_ollama.chat_models", "ChatOllama", "ollama"),
    ],
)
def test_a_provider_has_the_conventions_name(package: str, name: str, provider: str) -> None:
    model = type(name, (), {"__module__": package, "model_id": "m-1"})()
    bound = SimpleNamespace(bound=SimpleNamespace(bound=model))
    with exporting() as spans, Spans.of(None).chat(bound, "bot"):
        pass
    assert spans.facts("chat m-1")["gen_ai.provider.name"] == provider


@pytest.mark.parametrize("ended", [{"finish_reason": "stop"}, {"stopReason": "end_turn"}, {"stop_reason": "tool_use"}])
def test_a_reason_to_end_passes_and_a_sentence_does_not(ended: dict[str, str]) -> None:
    said = {**ended, "model": "gpt-5.1 of jane@example.com", "model_name": "jane@example.com"}
    with exporting() as spans, Spans.of(None).chat(None, "bot") as chat:
        chat.heard(AIMessage("Hello Jane", response_metadata=said))
        chat.heard(AIMessage("Hello Jane", response_metadata={"finish_reason": "because Jane said so"}))
    assert spans.facts("chat")["gen_ai.response.finish_reasons"] == tuple(ended.values())
    assert "jane" not in spans.text().lower()
