"""The Starlette app: routes from the table of operations, identity before anything else, and answers that stay put."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stateward.api.identity import Identity, identity_of, refuse_elsewhere
from stateward.api.office import Office
from stateward.api.openapi import document
from stateward.api.operations import Operation, operations
from stateward.api.privacy import Privacy
from stateward.api.problems import does_not_hold, not_valid, on_error
from stateward.blocking import Runtime
from stateward.errors import RequestError
from stateward.model.policy import nearest
from stateward.model.principal import Principal
from stateward.orchestrate.loops import on_loop
from stateward.runtime import AsyncRuntime

LARGEST_BODY = 64 * 1024  # bytes
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LOG = logging.getLogger("stateward.api")
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(runtime: AsyncRuntime | Runtime, /, *, identity: Identity | None = None) -> Starlette:
    """The HTTP API of a runtime, to be served alone or mounted in another ASGI app.

    Args:
        runtime: An open runtime, which has to stay open as long as the app is served.
        identity: Who says who asks; as the runtime's settings say, unless stated.

    Raises:
        ConfigurationError: the settings do not say how people are verified.
    """
    inner = runtime.inner if isinstance(runtime, Runtime) else runtime
    known = identity or identity_of(inner.settings)
    table = operations(Office(inner, development=known.development), Privacy(inner))
    routes = [Route(one.path, _endpoint(one, inner, known), methods=[one.method]) for one in table]
    app = Starlette(
        routes=[*routes, Route("/openapi.json", _openapi(table, known))],
        middleware=[Middleware(Headers, development=known.development)],
        exception_handlers={HTTPException: on_error},
    )
    app.router.redirect_slashes = False
    return app


class Headers:
    """Puts on every answer what keeps it from being cached, framed, sniffed, or taken for a verified one."""

    def __init__(self, app: ASGIApp, *, development: bool) -> None:
        self._app = app
        more = {"stateward-development": "nobody is verified"} if development else {}
        self._headers = [(name.encode(), value.encode()) for name, value in (_HEADERS | more).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, send_more if scope["type"] == "http" else send)


def _endpoint(one: Operation, runtime: AsyncRuntime, identity: Identity) -> Endpoint:
    body = None if one.body is None else TypeAdapter[Any](one.body)

    async def serve(request: Request) -> Response:
        who = None if one.open else await identity.of(request)
        given: list[Any] = [_asked(one, request)]
        if body is not None:
            given.append(_said(body, await _body(request)))
        return JSONResponse(await on_loop(runtime.services.loop, _run(one, who, given)))

    return _guarded(one.name, identity, serve)


def _openapi(table: list[Operation], identity: Identity) -> Endpoint:
    async def serve(request: Request) -> Response:
        prefix = request.scope.get("root_path", "")
        return JSONResponse(document(table, prefix=prefix, development=identity.development))

    return _guarded("openapi", identity, serve)


def _guarded(name: str, identity: Identity, serve: Endpoint) -> Endpoint:
    """Errors become answers, and the log has a line without ids: they may name people."""

    async def endpoint(request: Request) -> Response:
        try:
            if identity.development:
                refuse_elsewhere(request)
            answer = await serve(request)
        except Exception as error:
            answer = on_error(request, error)
        _LOG.info("%s %s", name, answer.status_code)
        return answer

    return endpoint


async def _run(one: Operation, who: Principal | None, given: list[Any]) -> MutableMapping[str, Any]:
    return (await one.run(who, *given)).json_object()


def _asked(one: Operation, request: Request) -> Any:
    known = set(one.asked.model_fields) - set(request.path_params)
    query = request.query_params
    unknown = [name[:80] for name in query if name not in known]
    wrong = [(name, f"there is no such parameter{nearest(name, known)}") for name in unknown]
    wrong += [(name, "it is given more than once") for name in sorted(known) if len(query.getlist(name)) > 1]
    if wrong:
        raise does_not_hold(wrong)
    try:
        return one.asked.model_validate({**query, **request.path_params})
    except ValidationError as error:
        raise not_valid(error) from None


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError("the body has to be JSON: send `Content-Type: application/json`", status=415)
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > LARGEST_BODY:
            raise RequestError(f"the body is larger than {LARGEST_BODY} bytes: send less", status=413)
    return bytes(read)


def _said(adapter: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise not_valid(error, body=True, tagged="discriminator" in adapter.json_schema()) from None
