"""Playbooks: a Python generator as a chat model. It needs no key, and the same results give the same calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict

from stateward.errors import ConfigurationError
from stateward.model.values import Json, digest


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaybookCall:
    """A tool call that a playbook yields; make it with `call`."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaybookResult:
    """What came of a call.

    Attributes:
        ok: False where the call was denied, rejected, or failed.
        value: The tool's result, as JSON.
        text: The message's text: the reason where `ok` is False.
    """

    ok: bool
    value: Json
    text: str


Yielded = PlaybookCall | Sequence[PlaybookCall]
_SHAPE = "a playbook is a generator that yields call(...), or a list of them, and returns a text"
Playbook = Callable[[str], Generator[Yielded, Any, str]]


def call(tool: str, /, **arguments: Any) -> PlaybookCall:
    """A tool call for a playbook to yield: `result = yield call("reconcile", period="2026-10")`.

    A playbook may yield a list of calls; they are one turn, and it receives a list of results.
    """
    return PlaybookCall(tool=tool, arguments=arguments)


class PlaybookModel(BaseChatModel):
    """A chat model that plays a generator.

    Each time it is invoked it starts the generator with the text of the last human message, feeds it the results
    that the conversation holds, and says what the generator does next: a turn of tool calls, or the answer that it
    returns. So the generator has to be deterministic: what it needs to know, it asks a tool.

    Attributes:
        playbook: `def close(request): ...; return "done"`. What it yields is `call(...)`, or a list of them; anything
            else is a ConfigurationError when the model is invoked.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    playbook: Any

    @property
    def _llm_type(self) -> str:
        return "stateward-playbook"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> PlaybookModel:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A playbook names its tools itself."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=next_message(self.playbook, messages))])


def next_message(playbook: Playbook, messages: Sequence[BaseMessage]) -> AIMessage:
    """What the playbook says to this conversation."""
    start = max((at for at, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    request = str(messages[start].text) if start >= 0 else ""
    results = {message.tool_call_id: message for message in messages[start + 1 :] if isinstance(message, ToolMessage)}
    seed = digest([start, request])[:8]
    generator = playbook(request)
    if not isinstance(generator, Generator):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{_SHAPE}; this one yields nothing, and gave {type(generator).__name__}")
    yielded, turn = _advance(generator, None), 0
    while not isinstance(yielded, str):
        ids = _ids(yielded, seed, turn)
        if any(one not in results for one in ids):
            return _calls(yielded, ids)
        answers = [_result(results[one]) for one in ids]
        yielded = _advance(generator, answers[0] if isinstance(yielded, PlaybookCall) else answers)
        turn += 1
    return AIMessage(content=yielded)


def _advance(generator: Generator[Yielded, Any, str], sent: object) -> Yielded | str:
    try:
        given: object = next(generator) if sent is None else generator.send(sent)
    except StopIteration as stop:
        answer: object = stop.value or ""
        if not isinstance(answer, str):
            raise ConfigurationError(f"{_SHAPE}; this one returned {answer!r}") from None
        return answer
    calls = cast("Sequence[object]", given if isinstance(given, list | tuple) else [given])
    if not (calls and all(isinstance(one, PlaybookCall) for one in calls)):
        raise ConfigurationError(f"{_SHAPE}; this one yielded {given!r}")
    return cast("Yielded", given)


def _ids(yielded: Yielded, seed: str, turn: int) -> list[str]:
    return [f"pb-{seed}-{turn}-{at}" for at in range(len(_listed(yielded)))]


def _calls(yielded: Yielded, ids: list[str]) -> AIMessage:
    pairs = zip(_listed(yielded), ids, strict=True)
    calls = [{"name": one.tool, "args": one.arguments, "id": id_, "type": "tool_call"} for one, id_ in pairs]
    return AIMessage(content="", tool_calls=calls)


def _listed(yielded: Yielded) -> list[PlaybookCall]:
    return [yielded] if isinstance(yielded, PlaybookCall) else list(yielded)


def _result(message: ToolMessage) -> PlaybookResult:
    text = str(message.text)
    try:
        value = cast("Json", json.loads(text))
    except ValueError:
        value = text
    return PlaybookResult(ok=message.status != "error", value=value, text=text)
