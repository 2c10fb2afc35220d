"""A chat model that replays what it was given, so that a test says what the planner proposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from stateward.orchestrate.playbook import PlaybookCall


class ScriptedModel(BaseChatModel):
    """Says its n-th message where a conversation holds n messages of the model already.

    Counting in the conversation, and not in the model, makes it right after a crash and in a second worker.

    Attributes:
        script: The messages, in order.

    Example:
        model = ScriptedModel(script=[proposes(call("pay", amount=5)), AIMessage("paid")])
    """

    script: Sequence[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "stateward-scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> ScriptedModel:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The script names its tools itself."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = sum(isinstance(message, AIMessage) for message in messages)
        if said >= len(self.script):
            raise IndexError(f"the script ends after {len(self.script)} messages; the conversation wants another one")
        # A copy, because LangChain writes into the message that it is given.
        return ChatResult(generations=[ChatGeneration(message=self.script[said].model_copy(deep=True))])


def proposes(*calls: PlaybookCall, text: str = "") -> AIMessage:
    """A message of the model that proposes tool calls.

    Args:
        calls: Made with `stateward.call`.
        text: What it says beside them.
    """
    made = [
        {"name": one.tool, "args": one.arguments, "id": f"call-{at}-{one.tool}", "type": "tool_call"}
        for at, one in enumerate(calls)
    ]
    return AIMessage(text, tool_calls=made)
