"""An answer as the wards see it: its name, its schema, and how it is read from what a planner or a function gives."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from stateward.model.values import Json, JsonObject, digest, plain_object

AnswerCheck = Callable[[Any], Awaitable[str | None]]


class Text(BaseModel):
    """An answer that is a plain text."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerSpec:
    """What a workflow or an agent answers with.

    Attributes:
        name: As the policy names it: `close_pack` for a model `ClosePack`, `text` for a plain text.
        model: The pydantic model of the answer.
        schema: Its JSON schema.
        digest: Digest of that schema; an approval is bound to it.
    """

    name: str
    model: type[BaseModel]
    schema: dict[str, Any]
    digest: str

    @property
    def is_text(self) -> bool:
        """Whether it is a plain text."""
        return self.model is Text

    def read(self, given: object) -> dict[str, Json]:
        """The answer as JSON, as the model reads it, so that what is judged is what leaves.

        Args:
            given: A text (for a model of the team's own, JSON), an object of the model, or its fields.

        Raises:
            ValueError: it does not fit the model; the message says where, without values.
        """
        try:
            if isinstance(given, str) and not self.is_text:
                made = self.model.model_validate_json(given)
            else:
                fields = {"text": given} if isinstance(given, str) else given
                made = self.model.model_validate(fields, from_attributes=True)
        except ValidationError as error:
            raise ValueError("; ".join(_problem(one) for one in error.errors())) from error
        return plain_object(made.model_dump(mode="json"))

    def made(self, content: JsonObject) -> Any:
        """The answer as the team knows it: an object of its model, or the text."""
        found = self.model.model_validate(dict(content))
        return found.text if isinstance(found, Text) else found

    def said(self, content: JsonObject) -> str:
        """The answer as a message's text."""
        if self.is_text:
            return str(content["text"])
        known = {name: content[name] for name in self.model.model_fields if name in content}
        return json.dumps({**known, **content}, ensure_ascii=False)


def answer_spec(model: type[BaseModel] | None) -> AnswerSpec:
    """The answer of this model; a plain text where there is none."""
    chosen = model or Text
    schema = chosen.model_json_schema()
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", chosen.__name__).lower()
    return AnswerSpec(name=name, model=chosen, schema=schema, digest=digest(schema))


def fields_of(spec: AnswerSpec, state: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the answer that graph state has."""
    return {name: state[name] for name in spec.model.model_fields if name in state}


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "the answer"
    return f"{place}: {error['msg']}"
