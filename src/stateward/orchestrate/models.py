"""Planners: any LangChain chat model, by object or by name; a playbook is one too."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolCall

from stateward.errors import ConfigurationError, MissingExtra
from stateward.orchestrate.playbook import PlaybookModel

_EXTRAS = {"openai": "openai", "bedrock_converse": "aws", "bedrock": "aws"}
# What a provider's client reads from the environment, for those who have not set it.
_NEEDS = {
    "openai": "set OPENAI_API_KEY, and OPENAI_BASE_URL for another address than OpenAI's own",
    "bedrock_converse": "set AWS_REGION and credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
}


def planner(model: object, **settings: Any) -> BaseChatModel:
    """The chat model behind a planner.

    Args:
        model: A chat model, a playbook (a generator function), or a name such as `openai:gpt-5.1` or
            `bedrock_converse:us.anthropic.claude-sonnet-4-5-20250929-v1:0`, as `init_chat_model` reads it.
        settings: Passed on to the model, such as `temperature=0`.

    A name needs what the provider's client reads from the environment: for OpenAI `OPENAI_API_KEY` and, for another
    address, `OPENAI_BASE_URL`; for Bedrock `AWS_REGION`, any credentials that boto3 finds and, for another address,
    `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`.

    Raises:
        MissingExtra: the provider's package is not installed.
        ConfigurationError: it is none of these, or the client lacks its key or region.
    """
    if isinstance(model, BaseChatModel):
        return model
    if callable(model):
        return PlaybookModel(playbook=model)
    if isinstance(model, str):
        return _by_name(model, settings)
    raise ConfigurationError(f"{type(model).__name__} is no planner: give a chat model, a playbook or a name")


def readable(said: AIMessage) -> AIMessage:
    """The message with its unreadable calls as calls, for the gate to refuse.

    A model may write arguments that are no JSON. The client keeps such calls apart, but the provider still demands an
    answer to each of them, or it does not go on with the conversation.
    """
    if not said.invalid_tool_calls:
        return said
    unread = [
        ToolCall(name=one["name"] or "unnamed", args={"unreadable": one["args"]}, id=one["id"], type="tool_call")
        for one in said.invalid_tool_calls
    ]
    return said.model_copy(update={"tool_calls": [*said.tool_calls, *unread], "invalid_tool_calls": []})


def _by_name(name: str, settings: dict[str, Any]) -> BaseChatModel:
    provider, _, model = name.partition(":")
    if not provider or not model:
        raise ConfigurationError(f"{name!r} names no provider and model: write for example openai:gpt-5.1")
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise MissingExtra("langchain", extra=_EXTRAS.get(provider, "all")) from error
    try:
        return cast("BaseChatModel", init_chat_model(name, **settings))
    except ImportError as error:
        raise MissingExtra(provider, extra=_EXTRAS.get(provider, "all")) from error
    except Exception as error:  # each client has errors of its own for a missing key
        hint = f" ({_NEEDS[provider]})" if provider in _NEEDS else ""
        raise ConfigurationError(f"{name} cannot be used{hint}: {error}") from error
