"""Errors as problem details (RFC 9457), with our stable codes; what is not expected says nothing of its inside."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from pydantic import Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from stateward.errors import (
    ConfigurationError,
    DatabaseError,
    DecisionRefused,
    ErasureRefused,
    NotAuthenticated,
    RequestError,
    StatewardError,
    ThreadError,
)
from stateward.shapes import Shape

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("stateward.api")
_STATUS: tuple[tuple[type[StatewardError], int], ...] = (
    (DecisionRefused, 409),
    (ErasureRefused, 409),
    (ThreadError, 409),
    (DatabaseError, 503),
    (ConfigurationError, 503),
)


class Wrong(Shape):
    """One thing that is wrong with a request."""

    where: str = Field(description="A parameter's name, or a JSON pointer into the body.")
    what: str


class Problem(Shape):
    """Why a request was not served (RFC 9457)."""

    type: str = Field(description="`urn:stateward:error:` and the code.")
    title: str
    status: int
    detail: str = Field(description="What was wrong, and what to do.")
    code: str = Field(description="Stable: the code of the error, such as SW420 where a decision was refused.")
    errors: list[Wrong] = Field(description="Where the request does not hold.")


def problem_response(error: StatewardError, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says what was wrong."""
    status, detail = status_of(error), error.message
    if isinstance(error, DatabaseError):  # what the database's client says names hosts and users
        detail = "the database cannot be used now: try again later"
    wrong = error.problems if isinstance(error, RequestError) else ()
    shown = Problem(
        type=f"urn:stateward:error:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=error.code,
        errors=[Wrong(where=where, what=what) for where, what in wrong],
    )
    return JSONResponse(shown.json_object(), status, headers, media_type=MEDIA_TYPE)


def status_of(error: StatewardError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def on_error(request: Request, error: Exception) -> JSONResponse:
    """The answer to any error. Those of ours say what to do; of another only its kind and place go to the log."""
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, NotAuthenticated):
        invalid = ', error="invalid_token"' if "authorization" in request.headers else ""
        return problem_response(error, headers={"WWW-Authenticate": f'Bearer realm="stateward"{invalid}'})
    if isinstance(error, StatewardError) and status_of(error) != 500:
        return problem_response(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    _LOG.error("%s in %s, line %s", type(error).__name__, frame.name, frame.lineno)
    return problem_response(RequestError("this should not have happened; the server's log says where", status=500))


def not_valid(error: ValidationError, *, body: bool = False, tagged: bool = False) -> RequestError:
    """What pydantic found, as an error that says where and what; what was sent is not repeated.

    Args:
        error: What was found.
        body: Whether it is of the body and no parameter.
        tagged: Whether the body is one of several shapes, by a field whose value pydantic begins each place with.
    """
    wrong: list[tuple[str, str]] = []
    for one in error.errors(include_url=False, include_input=False):
        parts, what = [str(part) for part in one["loc"]], one["msg"].removeprefix("Value error, ")
        context = one.get("ctx", {})
        if "discriminator" in context:
            parts = [*parts, context["discriminator"].strip("'")]
            what = f"expected {context['expected_tags']}" if "expected_tags" in context else "Field required"
        elif tagged:
            parts = parts[1:]
        wrong.append((_place(parts, body), what))
    return does_not_hold(wrong)


def does_not_hold(wrong: Sequence[tuple[str, str]]) -> RequestError:
    """The error of a request that does not hold, by where and what."""
    said = "; ".join(f"{where}: {what}" for where, what in wrong[:5])
    return RequestError(f"the request does not hold: {said}", problems=wrong[:20])


def _place(parts: list[str], body: bool) -> str:
    return ("/" + "/".join(parts) if body else ".".join(parts))[:200]


def _of_http(error: HTTPException) -> JSONResponse:
    told = {404: "there is nothing at this path", 405: "this path does not know that method"}
    detail = told.get(error.status_code, "the request cannot be served")
    shown = RequestError(f"{detail}; /openapi.json says what there is", status=error.status_code)
    return problem_response(shown, headers=error.headers)
