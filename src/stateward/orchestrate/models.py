"""Planners: any LangChain chat model, by object or by name; a playbook is one too."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.language_models import BaseChatModel

from stateward.errors import ConfigurationError, MissingExtra
from stateward.orchestrate.playbook import PlaybookModel

_EXTRAS = {"openai": "openai", "bedrock_converse": "aws", "bedrock": "aws"}


def planner(model: object, **settings: Any) -> BaseChatModel:
    """The chat model behind a planner.

    Args:
        model: A chat model, a playbook (a generator function), or a name such as `openai:gpt-5.1` or
            `bedrock_converse:us.anthropic.claude-sonnet-4-5-20250929-v1:0`, as `init_chat_model` reads it.
        settings: Passed on to the model, such as `temperature=0`.

    Raises:
        MissingExtra: the provider's package is not installed.
        ConfigurationError: it is none of these.
    """
    if isinstance(model, BaseChatModel):
        return model
    if callable(model):
        return PlaybookModel(playbook=model)
    if isinstance(model, str):
        return _by_name(model, settings)
    raise ConfigurationError(f"{type(model).__name__} is no planner: give a chat model, a playbook or a name")


def _by_name(name: str, settings: dict[str, Any]) -> BaseChatModel:
    provider = name.partition(":")[0] if ":" in name else ""
    if not provider:
        raise ConfigurationError(f"{name!r} names no provider: write for example openai:gpt-5.1")
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise MissingExtra("langchain", extra=_EXTRAS.get(provider, "all")) from error
    try:
        return cast("BaseChatModel", init_chat_model(name, **settings))
    except ImportError as error:
        raise MissingExtra(provider, extra=_EXTRAS.get(provider, "all")) from error
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
