"""What models have used, from the messages that they have just given, and what it costs by the policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from langchain_core.messages import AIMessage, BaseMessage

from stateward.errors import ConfigurationError
from stateward.model.policy import PolicyDocument, nearest
from stateward.model.thread import Spent
from stateward.orchestrate.playbook import PlaybookModel


def used(document: PolicyDocument, model: object, said: Iterable[BaseMessage]) -> Spent:
    """What these messages of a model have used up.

    Args:
        document: The policy, whose prices count.
        model: The model that was asked, or its name; it counts where a message does not name the one that answered.
        said: The messages, as the model gave them. What graph state holds is no evidence.

    Raises:
        ConfigurationError: the policy limits tokens or money, and the model does not say what it used, or has no price.
    """
    spent = Spent()
    for message in said:
        if isinstance(message, AIMessage):
            spent += _used_by(document, model, message)
    return spent


def refuse_unpriced(document: PolicyDocument, model: object) -> None:
    """Refuse a model that has no price before it costs anything; one without a name is refused when it has answered.

    Raises:
        ConfigurationError: the policy limits money, and does not say what this model costs.
    """
    name = name_of(model)
    if document.budget.usd is not None and name and document.price(name) is None:
        raise _unpriced(document, name)


def name_of(model: object) -> str:
    """The name of a chat model as its provider has it, or nothing where it has none."""
    if isinstance(model, str):
        return model.partition(":")[2] or model
    names = (getattr(model, attribute, None) for attribute in ("model_name", "model", "model_id"))
    return next((name for name in names if isinstance(name, str) and name), "")


def _used_by(document: PolicyDocument, model: object, message: AIMessage) -> Spent:
    usage, budget = message.usage_metadata, document.budget
    if usage is None:
        if isinstance(model, PlaybookModel) or (budget.tokens is None and budget.usd is None):
            return Spent()
        raise ConfigurationError(
            f"the policy limits tokens or money, and the model {name_of(model) or type(model).__name__!r} does not say "
            "how many tokens it used; with OpenAI's streams, set stream_usage=True"
        )
    # A provider that miscounts gives nothing back.
    read, written = max(0, usage["input_tokens"]), max(0, usage["output_tokens"])
    metadata = cast("dict[str, object]", message.response_metadata)
    named = (metadata.get(key) for key in ("model_name", "model", "model_id"))
    name = next((one for one in named if isinstance(one, str) and one), name_of(model))
    price = document.price(name)
    if price is None and budget.usd is not None and read + written:
        raise _unpriced(document, name or "without a name")
    tokens = max(read + written, usage["total_tokens"])
    return Spent(tokens=tokens) if price is None else Spent(tokens=tokens, usd=price.of(input=read, output=written))


def _unpriced(document: PolicyDocument, name: str) -> ConfigurationError:
    hint = nearest(name, document.prices)
    return ConfigurationError(f"the policy limits money and names no price for the model {name!r}: add it{hint}")
