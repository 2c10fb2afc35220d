"""The OpenAPI 3.1 document, made from the table of operations and the shapes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from stateward.api.identity import PERSON_HEADER, ROLES_HEADER
from stateward.api.operations import Operation
from stateward.api.problems import MEDIA_TYPE, Problem

_REF = "#/components/schemas/{model}"


def document(operations: Sequence[Operation], *, prefix: str, development: bool) -> dict[str, Any]:
    """The document.

    Args:
        operations: What there is.
        prefix: The path under which the app is mounted.
        development: Whether people are named by a header instead of a token.
    """
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, development)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stateward",
            "version": version("stateward"),
            "description": "Threads, actions, approvals and the timeline of governed agents, and the rights of "
            "subjects. Deciding does not resume a thread: whoever runs the graph does that.",
        },
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {"schemas": _schemas(operations), "securitySchemes": _schemes(development)},
    }


def _operation(one: Operation, development: bool) -> dict[str, Any]:
    refused = sorted({503, *one.refuses, *(() if one.open else (401, 422)), *((403,) if development else ())})
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": _parameters(one),
        "responses": {
            "200": _answer("Done", "application/json", one.answer.__name__),
            **{str(status): _answer(HTTPStatus(status).phrase, MEDIA_TYPE, Problem.__name__) for status in refused},
        },
        "security": [] if one.open else [{name: list[str]() for name in _schemes(development)}],
    }
    if one.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=f"{_body_name(one)}")}}},
        }
    return described


def _parameters(one: Operation) -> list[dict[str, Any]]:
    schema = one.asked.model_json_schema()
    in_path, needed = set(re.findall(r"{(\w+)}", one.path)), schema.get("required", ())
    return [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in needed,
            **({"description": given.pop("description")} if "description" in given else {}),
            "schema": _without_null(given),
        }
        for name, given in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query cannot say null: a parameter that may be left out has the schema of its values."""
    values = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    kept = {name: value for name, value in schema.items() if name not in ("anyOf", "title") and value is not None}
    if not values:
        return kept
    return kept | (values[0] if len(values) == 1 else {"anyOf": values})


def _answer(description: str, media: str, model: str) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": {"$ref": _REF.format(model=model)}}}}


def _body_name(one: Operation) -> str:
    return one.name[0].upper() + one.name[1:]


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    answers = dict.fromkeys([*(one.answer for one in operations), Problem])
    _, shown = models_json_schema([(one, "serialization") for one in answers], ref_template=_REF)
    schemas: dict[str, Any] = shown["$defs"]
    for one in operations:
        if one.body is not None:
            body = TypeAdapter[Any](one.body).json_schema(ref_template=_REF)
            schemas |= body.pop("$defs", {})
            schemas[_body_name(one)] = body
    return dict(sorted(schemas.items()))


def _schemes(development: bool) -> dict[str, Any]:
    if development:
        return {
            "person": {"type": "apiKey", "in": "header", "name": PERSON_HEADER, "description": "Who you say you are."},
            "roles": {"type": "apiKey", "in": "header", "name": ROLES_HEADER, "description": "Your roles."},
        }
    return {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
