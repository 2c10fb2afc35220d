"""What an MCP server answers to a call, as JSON for the journal and for the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.tools import ToolException
from mcp import types

from stateward.model.values import Json

Block = dict[str, Json]


def answer_of(result: types.CallToolResult) -> Json:
    """The result: its text; its structured content, where the text says the same; else both, or blocks of content.

    Raises:
        ToolException: the server says that the call failed (`isError`).
    """
    blocks = [_block(one) for one in result.content]
    if result.isError:
        raise ToolException(_clean(_texts(blocks)) or "the server says that it failed, and not why")
    return simplified(blocks, result.structuredContent)


def simplified(blocks: Sequence[Block], structured: dict[str, Any] | None) -> Json:
    """Content and structured content, each thing said once, in text that Postgres can keep."""
    return _sayable(_simplified(blocks, structured))


def _simplified(blocks: Sequence[Block], structured: dict[str, Any] | None) -> Json:
    is_text = all(one["type"] == "text" for one in blocks)
    content: Json = _texts(blocks) if is_text else list(blocks)
    if structured is None:
        return content
    if is_text and _is_same([str(one["text"]) for one in blocks], structured):
        return structured["result"] if set(structured) == {"result"} else structured
    return {"content": content, "structured": structured}


def _sayable(value: Json) -> Json:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, Json]", value)
        return {_clean(name): _sayable(each) for name, each in parts.items()}
    return [_sayable(each) for each in value] if isinstance(value, list) else value


def _clean(text: str) -> str:
    """Without NULs and halves of characters, which no text of Postgres holds."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _is_same(texts: list[str], structured: dict[str, Any]) -> bool:
    read = [_read(text) for text in texts]
    if read in ([], [structured]):
        return True
    result = structured.get("result")
    return set(structured) == {"result"} and (read in ([result], result) or texts in ([result], result))


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _texts(blocks: Sequence[Block]) -> str:
    return "\n".join(str(one["text"]) for one in blocks if one["type"] == "text")


def _block(one: object) -> Block:
    """One block as LangChain has it. A link is a text: a provider would fetch what stands behind it."""
    match one:
        case types.TextContent():
            return {"type": "text", "text": one.text}
        case types.ImageContent():
            return {"type": "image", "base64": one.data, "mime_type": one.mimeType}
        case types.AudioContent():
            return {"type": "audio", "base64": one.data, "mime_type": one.mimeType}
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return {"type": "text", "text": resource.text}
        case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
            mime = resource.mimeType or "application/octet-stream"
            return {"type": "file", "base64": resource.blob, "mime_type": mime}
        case types.ResourceLink():
            return {"type": "text", "text": f"{one.name}: {one.uri}"}
        case _:
            return {"type": "text", "text": str(one)}


def plain_blocks(content: object) -> list[Block]:
    """The blocks that the adapters have made, without the ids that they draw for them."""
    if not isinstance(content, list):
        return [{"type": "text", "text": str(content)}]
    return [{key: value for key, value in one.items() if key != "id"} for one in cast("list[Block]", content)]
