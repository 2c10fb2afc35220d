"""Model providers on loopback: servers that speak OpenAI's and Bedrock's protocols, and say what a planner says.

A provider's real client talks to them, so that a test sees what goes over the wire. They are as strict as the
originals where an agent goes wrong: no key, tools without a proper schema, a tool call that nobody answered.
"""

from __future__ import annotations

import json
import re
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self, cast
from urllib.parse import unquote
from zlib import crc32

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from stateward.orchestrate.models import planner as planner_of

Wire = dict[str, Any]

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_USAGE = 7  # what every message costs here; nobody counts
_PIECE = 40  # characters of a streamed piece, so that arguments arrive in several


class Refusal(Exception):
    """What a provider answers instead of a message: an HTTP status, its own word for the error, and why."""

    def __init__(self, status: int, kind: str, why: str) -> None:
        super().__init__(why)
        self.status, self.kind, self.why = status, kind, why


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client sent: the path, the body, and the tools in it, by name with the JSON schema of their arguments."""

    path: str
    body: Wire
    tools: dict[str, Wire]


class ProviderServer(ABC):
    """A provider's API on a free port of loopback; a context manager.

    Args:
        planner: Who says what comes next: a playbook, or any chat model.

    Attributes:
        requests: What the clients sent that was in order.
        refusals: What was not, with the reasons.
    """

    def __init__(self, planner: object) -> None:
        self._planner = planner_of(planner)
        self.requests: list[Request] = []
        self.refusals: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment variables that send the real client here, with a key that opens nothing."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def reply(self, path: str, authorization: str, body: bytes) -> Reply:
        """The answer to a POST."""
        try:
            wire = cast("Wire", json.loads(body))
            self._check_key(authorization)
            messages, tools = self._read(path, wire)
            self.requests.append(Request(path=path, body=wire, tools=tools))
            said = self._planner.invoke(messages)
            return self._stream(wire, said) if self._wants_stream(path, wire) else self._whole(wire, said)
        except Refusal as refusal:
            self.refusals.append(refusal.why)
            return self._refuse(refusal)

    @abstractmethod
    def _check_key(self, authorization: str) -> None: ...

    @abstractmethod
    def _read(self, path: str, wire: Wire) -> tuple[list[BaseMessage], dict[str, Wire]]: ...

    @abstractmethod
    def _wants_stream(self, path: str, wire: Wire) -> bool: ...

    @abstractmethod
    def _whole(self, wire: Wire, said: AIMessage) -> Reply: ...

    @abstractmethod
    def _stream(self, wire: Wire, said: AIMessage) -> Reply: ...

    @abstractmethod
    def _refuse(self, refusal: Refusal) -> Reply: ...

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = provider.reply(unquote(self.path), self.headers.get("Authorization") or "", body)
                self.send_response(answer.status)
                for name, value in (("Content-Type", answer.content_type), *answer.headers):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Silence: what matters is in `requests` and `refusals`."""

        return Handler


class OpenAIServer(ProviderServer):
    """OpenAI's Chat Completions, whole or as server-sent events: `POST /v1/chat/completions`.

    Its protocol has no status for a tool's result; here a result that is no JSON counts as a refusal.

    Example:
        with OpenAIServer(close_period) as server:
            os.environ.update(server.environment)
            graph = flow.compile(runtime, planner="openai:gpt-5.1")
    """

    @property
    def environment(self) -> dict[str, str]:
        """`OPENAI_BASE_URL` and `OPENAI_API_KEY`."""
        return {"OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": "not-a-key"}

    def _check_key(self, authorization: str) -> None:
        if not authorization.removeprefix("Bearer").strip():
            raise Refusal(401, "invalid_request_error", "You didn't provide an API key.")

    def _read(self, path: str, wire: Wire) -> tuple[list[BaseMessage], dict[str, Wire]]:
        if path != "/v1/chat/completions":
            raise Refusal(404, "invalid_request_error", f"Invalid URL (POST {path})")
        messages = [_from_openai(one) for one in wire["messages"]]
        for at, missing, surplus in _gaps(messages):
            if surplus:
                why = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            else:
                why = (
                    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                    f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing}"
                )
            raise Refusal(400, "invalid_request_error", f"messages.[{at}]: {why}")
        functions = [one["function"] for one in wire.get("tools") or ()]
        return messages, _tools((one["name"], one["parameters"]) for one in functions)

    def _wants_stream(self, path: str, wire: Wire) -> bool:
        return bool(wire.get("stream"))

    def _whole(self, wire: Wire, said: AIMessage) -> Reply:
        message: Wire = {"role": "assistant", "content": str(said.text) or None, "refusal": None}
        calls = _raw_calls(said)
        if calls:
            message["tool_calls"] = [_openai_call(*call) for call in calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _openai_end(said)}
        answer = _openai_head(wire, "chat.completion") | {"choices": [choice], "usage": _openai_usage()}
        return Reply(body=_json(answer))

    def _stream(self, wire: Wire, said: AIMessage) -> Reply:
        head = _openai_head(wire, "chat.completion.chunk")
        chunks: list[Wire] = [{"choices": [_openai_delta(one)]} for one in _openai_deltas(said)]
        chunks.append({"choices": [_openai_delta({}, _openai_end(said))]})
        if cast("Wire", wire.get("stream_options") or {}).get("include_usage"):
            chunks.append({"choices": [], "usage": _openai_usage()})
        events = [b"data: %s\n\n" % _json(head | one) for one in chunks]
        return Reply(content_type="text/event-stream", body=b"".join([*events, b"data: [DONE]\n\n"]))

    def _refuse(self, refusal: Refusal) -> Reply:
        error = {"message": refusal.why, "type": refusal.kind, "param": None, "code": None}
        return Reply(status=refusal.status, body=_json({"error": error}))


class BedrockServer(ProviderServer):
    """Bedrock's Converse, whole or as an event stream: `POST /model/ID/converse` and `.../converse-stream`.

    Example:
        with BedrockServer(close_period) as server:
            os.environ.update(server.environment)
            graph = flow.compile(runtime, planner="bedrock_converse:us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    """

    @property
    def environment(self) -> dict[str, str]:
        """`AWS_ENDPOINT_URL_BEDROCK_RUNTIME`, a region, and keys that belong to nobody."""
        return {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "not-a-key",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        }

    def _check_key(self, authorization: str) -> None:
        if not authorization.startswith(("AWS4-HMAC-SHA256 ", "Bearer ")):
            raise Refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")

    def _read(self, path: str, wire: Wire) -> tuple[list[BaseMessage], dict[str, Wire]]:
        if not re.fullmatch(r"/model/[^/]+/converse(-stream)?", path):
            raise Refusal(404, "UnknownOperationException", f"no operation at {path}")
        _check_turns(wire["messages"])
        system = [SystemMessage(one["text"]) for one in wire.get("system") or () if "text" in one]
        messages: list[BaseMessage] = [*system]
        for one in wire["messages"]:
            messages += _from_bedrock(one)
        for _, missing, surplus in _gaps(messages):
            ids = ", ".join(missing or surplus)
            word = "Expected toolResult blocks for" if missing else "toolResult blocks exceed the toolUse blocks of"
            raise Refusal(400, "ValidationException", f"{word} the following Ids: {ids}")
        offered = cast("Wire", wire.get("toolConfig") or {}).get("tools") or ()
        specs = [one["toolSpec"] for one in cast("Sequence[Wire]", offered)]
        if not specs and any(isinstance(one, ToolMessage) for one in messages):
            why = "The toolConfig field must be defined when using toolUse and toolResult content blocks."
            raise Refusal(400, "ValidationException", why)
        return messages, _tools((one["name"], one["inputSchema"]["json"]) for one in specs)

    def _wants_stream(self, path: str, wire: Wire) -> bool:
        return path.endswith("-stream")

    def _whole(self, wire: Wire, said: AIMessage) -> Reply:
        blocks: list[Wire] = [{"text": str(said.text)}] if said.text else []
        blocks += [
            {"toolUse": {"toolUseId": id_, "name": name, "input": json.loads(raw)}}
            for id_, name, raw in _raw_calls(said)
        ]
        answer = {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": _bedrock_end(said)}
        return Reply(body=_json(answer | _bedrock_usage()))

    def _stream(self, wire: Wire, said: AIMessage) -> Reply:
        events = b"".join(_event(kind, payload) for kind, payload in _bedrock_events(said))
        return Reply(content_type="application/vnd.amazon.eventstream", body=events)

    def _refuse(self, refusal: Refusal) -> Reply:
        headers = (("x-amzn-ErrorType", refusal.kind),)
        return Reply(status=refusal.status, headers=headers, body=_json({"message": refusal.why}))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _gaps(messages: Sequence[BaseMessage]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Where the results do not fit the calls before them: position, calls without result, results without call."""
    for at in range(len(messages) + 1):
        before, results = messages[at - 1] if at else None, _results(messages[at:])
        if results and isinstance(before, ToolMessage):
            continue
        calls = [id_ for id_, _, _ in _raw_calls(before)] if isinstance(before, AIMessage) else []
        missing, surplus = [one for one in calls if one not in results], [one for one in results if one not in calls]
        if missing or surplus:
            yield at, missing, surplus


def _results(messages: Sequence[BaseMessage]) -> list[str]:
    found: list[str] = []
    for message in messages:
        if not isinstance(message, ToolMessage):
            break
        found.append(message.tool_call_id)
    return found


def _raw_calls(message: AIMessage) -> list[tuple[str, str, str]]:
    """Id, tool and arguments as text of every call, those whose arguments are no JSON included."""
    good = [(one["id"] or "", one["name"], json.dumps(one["args"])) for one in message.tool_calls]
    bad = [(one["id"] or "", one["name"] or "", one["args"] or "") for one in message.invalid_tool_calls]
    return [*good, *bad]


def _tools(pairs: Iterator[tuple[str, Wire]]) -> dict[str, Wire]:
    found: dict[str, Wire] = {}
    for name, schema in pairs:
        properties = cast("Mapping[str, Wire]", schema.get("properties") or {})
        unknown = set(cast("list[str]", schema.get("required") or [])) - set(properties)
        if not _TOOL_NAME.fullmatch(name) or name in found or schema.get("type") != "object" or unknown:
            raise Refusal(400, "ValidationException", f"Invalid schema for function {name!r}")
        found[name] = schema
    return found


def _from_openai(wire: Wire) -> BaseMessage:
    content = wire.get("content") or ""
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    match wire["role"]:
        case "system" | "developer":
            return SystemMessage(text)
        case "user":
            return HumanMessage(text)
        case "tool":
            return _result(wire["tool_call_id"], text, "success" if _is_json(text) else "error")
        case "assistant":
            functions = [(one["id"], one["function"]) for one in wire.get("tool_calls") or ()]
            return _said(text, [(id_, one["name"], one["arguments"]) for id_, one in functions])
        case role:
            raise Refusal(400, "invalid_request_error", f"Invalid value: {role!r} is no role.")


def _from_bedrock(wire: Wire) -> list[BaseMessage]:
    blocks = cast("list[Wire]", wire["content"])
    text = "\n".join(one["text"] for one in blocks if "text" in one)
    if wire["role"] == "assistant":
        uses = [one["toolUse"] for one in blocks if "toolUse" in one]
        return [_said(text, [(one["toolUseId"], one["name"], json.dumps(one["input"])) for one in uses])]
    results = [one["toolResult"] for one in blocks if "toolResult" in one]
    read: list[BaseMessage] = [
        _result(one["toolUseId"], _bedrock_text(one["content"]), one.get("status") or "success") for one in results
    ]
    return [*read, HumanMessage(text)] if text else read


def _check_turns(messages: Sequence[Wire]) -> None:
    for at, message in enumerate(messages):
        if message["role"] != ("assistant" if at % 2 else "user"):
            why = f"roles must alternate between user and assistant, starting with user: messages.{at}"
            raise Refusal(400, "ValidationException", why)
        if not message["content"] or any("text" in one and not one["text"].strip() for one in message["content"]):
            why = f"The text field in the ContentBlock object at messages.{at}.content is blank."
            raise Refusal(400, "ValidationException", why)


def _bedrock_text(content: Sequence[Wire]) -> str:
    return "".join(one["text"] if "text" in one else json.dumps(one["json"]) for one in content)


def _said(text: str, calls: Sequence[tuple[str, str, str]]) -> AIMessage:
    good = [
        {"id": id_, "name": name, "args": json.loads(raw), "type": "tool_call"}
        for id_, name, raw in calls
        if _is_json(raw)
    ]
    bad = [
        {"id": id_, "name": name, "args": raw, "error": None, "type": "invalid_tool_call"}
        for id_, name, raw in calls
        if not _is_json(raw)
    ]
    return AIMessage(content=text, tool_calls=good, invalid_tool_calls=bad)


def _result(call: str, text: str, status: str) -> ToolMessage:
    return ToolMessage(content=text, tool_call_id=call, status="error" if status == "error" else "success")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _openai_head(wire: Wire, kind: str) -> Wire:
    return {"id": "chatcmpl-local", "object": kind, "created": int(time.time()), "model": wire["model"]}


def _openai_call(id_: str, name: str, raw: str) -> Wire:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": raw}}


def _openai_end(said: AIMessage) -> str:
    return "tool_calls" if _raw_calls(said) else "stop"


def _openai_usage() -> Wire:
    return {"prompt_tokens": _USAGE, "completion_tokens": _USAGE, "total_tokens": 2 * _USAGE}


def _openai_delta(delta: Wire, end: str | None = None) -> Wire:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}


def _openai_deltas(said: AIMessage) -> Iterator[Wire]:
    yield {"role": "assistant", "content": ""}
    for piece in _pieces(str(said.text)):
        yield {"content": piece}
    for at, (id_, name, raw) in enumerate(_raw_calls(said)):
        yield {"tool_calls": [{"index": at} | _openai_call(id_, name, "")]}
        for piece in _pieces(raw):
            yield {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _bedrock_end(said: AIMessage) -> str:
    return "tool_use" if _raw_calls(said) else "end_turn"


def _bedrock_usage() -> Wire:
    usage = {"inputTokens": _USAGE, "outputTokens": _USAGE, "totalTokens": 2 * _USAGE}
    return {"usage": usage, "metrics": {"latencyMs": 1}}


def _bedrock_events(said: AIMessage) -> Iterator[tuple[str, Wire]]:
    yield "messageStart", {"role": "assistant"}
    text = str(said.text)
    if text:
        # A text block has no start event of its own in this protocol.
        for piece in _pieces(text):
            yield "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}}
        yield "contentBlockStop", {"contentBlockIndex": 0}
    for at, (id_, name, raw) in enumerate(_raw_calls(said), start=1 if text else 0):
        start = {"toolUse": {"toolUseId": id_, "name": name}}
        yield "contentBlockStart", {"contentBlockIndex": at, "start": start}
        for piece in _pieces(raw):
            yield "contentBlockDelta", {"contentBlockIndex": at, "delta": {"toolUse": {"input": piece}}}
        yield "contentBlockStop", {"contentBlockIndex": at}
    yield "messageStop", {"stopReason": _bedrock_end(said)}
    yield "metadata", _bedrock_usage()


def _event(kind: str, payload: Wire) -> bytes:
    """One message of the encoding `application/vnd.amazon.eventstream`."""
    named = ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event"))
    # Each header: length and name, the type 7 (string), length and value.
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in named
    )
    body = _json(payload)
    prelude = struct.pack("!II", len(headers) + len(body) + 16, len(headers))
    message = prelude + struct.pack("!I", crc32(prelude)) + headers + body
    return message + struct.pack("!I", crc32(message))
