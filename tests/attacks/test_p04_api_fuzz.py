"""P4 through the HTTP API, fuzzed: every operation of its OpenAPI document, with data that fits and that does not.

All checks of schemathesis are on: no server error, no status, header or body that the document does not know, nothing
bad accepted, nothing good refused, no way round the token.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as fuzzed
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

from asking import Asking, stopped
from bank import Bank
from stateward import Runtime, Settings
from stateward.verify.arguments import unspeakable

pytestmark = pytest.mark.slow
EXAMPLES = 15
OPERATIONS = (
    "listThreads",
    "showThread",
    "listActions",
    "showTimeline",
    "showAction",
    "listApprovals",
    "showApproval",
    "decideApproval",
    "forgetSubject",
    "listReceipts",
    "exportSubject",
    "checkReceipt",
    "listHolds",
    "placeHold",
    "endHold",
    "health",
)
NOTHING_ASKED = ("listHolds", "health")  # so nothing that could be wrong
CASES = [
    (name, mode)
    for name in OPERATIONS
    for mode in GenerationMode
    if name not in NOTHING_ASKED or mode is GenerationMode.POSITIVE
]
# Unknown parameters: `test_api` sends some.
GENERATION = GenerationConfig(allow_extra_parameters=False, deterministic=True)
CONFIG = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=GENERATION)))
FUZZ = fuzzed(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@dataclass
class Api:
    """The API before a bank where one approval waits, and what is really there."""

    schema: Any
    real: dict[str, str]
    digest: str
    headers: dict[str, str]
    session: requests.Session


@pytest.fixture
def api(bank: Bank, settings: Settings) -> Iterator[Api]:
    run = stopped(bank)
    asked, (action,) = run.asked, run.actions()
    runtime = Runtime.open(settings=replace(settings, privacy_role="dpo"))
    asking = Asking(bank=Bank(runtime=runtime, url=bank.url))
    with runtime, serving(asking.app()) as url, requests.Session() as session:
        yield Api(
            schema=schemathesis.openapi.from_url(f"{url}/openapi.json", config=CONFIG),
            real={"thread": run.thread, "approval": asked.id, "action": action["action_id"]},
            digest=asked.digest,
            headers={"Authorization": f"Bearer {asking.issuer.token(sub='boss', roles=['dpo'])}"},
            session=session,
        )


def is_sent(query: dict[str, Any] | None) -> bool:
    """Whether all of a query arrives: an empty list is sent as nothing at all, and nothing is not wrong."""
    url = requests.Request("GET", "http://127.0.0.1/", params=query or {}).prepare().url or ""
    return set(query or {}) <= set(parse_qs(urlsplit(url).query, keep_blank_values=True))


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The app behind a real server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_the_document_has_these_operations_and_no_other(api: Api) -> None:
    assert {one.ok().definition.raw["operationId"] for one in api.schema.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize(("name", "mode"), CASES, ids=lambda one: getattr(one, "value", one))
def test_no_input_is_a_surprise(api: Api, name: str, mode: GenerationMode) -> None:
    operation = api.schema.find_operation_by_id(name)
    seen: set[int] = set()

    @FUZZ
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def fuzz(case: Any, real: bool) -> None:
        # Text with a NUL is refused wherever it stands, which a schema cannot say of a tool's free arguments.
        assume(unspeakable(case.body) is None if mode is GenerationMode.POSITIVE else is_sent(case.query))
        if real and mode is GenerationMode.POSITIVE:
            case.path_parameters = {key: api.real[key] for key in case.path_parameters or {}}
            case.query = {key: value for key, value in (case.query or {}).items() if key != "after"}
            # Whether edited arguments fit is said by the tool's schema, which this document does not have.
            if isinstance(case.body, dict) and case.body.get("decision") != "edit":
                case.body["digest"] = api.digest
        seen.add(case.call_and_validate(headers=api.headers, session=api.session).status_code)

    fuzz()
    assert seen
    assert mode is GenerationMode.NEGATIVE or 200 in seen
