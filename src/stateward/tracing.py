"""LangSmith's client for runs under a policy with a `conversation`: their personal data is treated before it leaves.

A run is held until it has ended, so that whoever becomes known while it goes on is found in what it began with. It is
treated beside the run, on a thread of the client's own; what cannot be treated leaves as a sentence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any, cast

import langsmith
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.tracers import LangChainTracer
from langgraph.config import get_config
from langsmith import utils as langsmith_utils
from langsmith.run_helpers import get_tracing_context

from stateward.callbacks import NOT_SHOWN
from stateward.errors import ConfigurationError, ThreadErased
from stateward.model.memory import Finding, KnownValue
from stateward.model.pseudonym import Pseudonym
from stateward.model.thread import ThreadFacts
from stateward.orchestrate.services import Services, Ward, scope_of
from stateward.personal_data.pseudonyms import hidden, mapped
from stateward.personal_data.treating import PersonalDataPolicy, Treatment, treat
from stateward.ports import Redactor
from stateward.upstream import ambient_client, as_sent

_LOG = logging.getLogger("stateward")

_RUNS, _CHARACTERS, _TRACES = 10_000, 1 << 26, 1_000
"""How much is held at most: runs of one trace, characters of it, and traces."""
_ROOM = 1 << 28
"""Characters that are held or wait to be treated, in all; what comes on top is dropped."""
_PATIENCE = 60.0
"""Seconds that treating one run may take."""
_FILE = re.compile(r"(data:[^,]{0,100},)?[A-Za-z0-9+/=_-]{1024,}\s*")
# What says where a run belongs, when it was, and where it is sent to. Everything else of it is treated.
_ROUTING = frozenset(
    (
        *("id", "run_id", "trace_id", "dotted_order", "parent_run_id", "reference_example_id", "run_type"),
        *("session_id", "session_name", "project_name", "address", "start_time", "end_time", "revision_id"),
        *("api_key", "api_url", "service_key", "tenant_id", "authorization", "cookie", "_replica_auths"),
    )
)
_UNGUARDED = (
    "LangSmith's tracing is on, and its client would be sent the personal data that {} treats: call "
    "langsmith.configure(client=runtime.langsmith_client()) before the agent or the workflow is made. To trace "
    "everything as it comes, give a run a client of your own, as in callbacks=[LangChainTracer(client=...)]"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Op:
    """One run, as it begins or as it ends.

    Attributes:
        routing: What is not treated of it.
        text: All the rest, in JSON.
    """

    send: Callable[..., None]
    routing: dict[str, Any]
    text: bytes
    id: str
    trace: str
    ends: bool


@dataclass(kw_only=True, slots=True)
class _Trace:
    """What is held of a trace.

    Attributes:
        first: The run that it began with here.
    """

    first: str
    ops: list[_Op] = field(default_factory=list[_Op])
    size: int = 0


class TracingClient(langsmith.Client):
    """LangSmith's client, which sends runs with their personal data treated. `runtime.langsmith_client()` makes one.

    Texts, keys and numbers of inputs, outputs, errors, events, metadata, tags and names are looked through as the
    policy of the run's thread treats its conversation; of a run without a thread, as memory is treated by default.
    Values that have a pseudonym get it, and others that would get one are redacted. Attachments, and files in
    messages, are left out. Feedback, datasets and prompts, which only your own code sends, leave as they are.

    Args:
        loop: Where it is treated.
        treats: Gives what treats the runs of these threads.
        options: Those of `langsmith.Client`.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop, treats: Treats, **options: Any) -> None:
        self._sw_loop, self._sw_treats = loop, treats
        self._sw_held: OrderedDict[str, _Trace] = OrderedDict()
        self._sw_lock = threading.RLock()
        self._sw_queue: queue.SimpleQueue[list[_Op] | threading.Event | None] = queue.SimpleQueue()
        self._sw_open, self._sw_size = True, 0
        cast("Any", super()).__init__(**options)
        self._sw_worker = threading.Thread(target=self._sw_work, name="stateward traces", daemon=True)
        self._sw_worker.start()

    @property
    def treats(self) -> bool:
        """Whether its runtime is open. After that, runs leave as a sentence."""
        return self._sw_open

    def create_run(self, name: str, inputs: dict[str, Any], run_type: Any, **more: Any) -> None:
        """Take a run that begins. See `langsmith.Client.create_run`."""
        given = {"name": name, "inputs": inputs, "run_type": run_type, **more}
        self._sw_take(super().create_run, given, ends=more.get("end_time") is not None)

    def update_run(self, run_id: Any, **more: Any) -> None:
        """Take a run that ends. See `langsmith.Client.update_run`."""
        self._sw_take(cast("Any", super()).update_run, {"run_id": run_id, **more}, ends=True)

    def batch_ingest_runs(self, create: Any = None, update: Any = None, **more: Any) -> None:
        """Take runs. See `langsmith.Client.batch_ingest_runs`."""
        for one in create or ():
            self.create_run(**_fields(one))
        for one in update or ():
            given = _fields(one)
            self.update_run(given.pop("id"), **given)

    def multipart_ingest(self, create: Any = None, update: Any = None, **more: Any) -> None:
        """Take runs. See `langsmith.Client.multipart_ingest`."""
        self.batch_ingest_runs(create, update)

    def flush(self, timeout: float | None = None) -> None:
        """Send what is held, without waiting for runs to end.

        On the runtime's own event loop, which treats it, this does not wait for it: use `await asyncio.to_thread`.

        Args:
            timeout: Seconds to wait for it at most, and then for LangSmith; None to wait for all of it.
        """
        if self._sw_released(timeout):
            flush = super().flush
            waits = timeout is not None and "timeout" in signature(flush).parameters  # older ones have none
            flush(*([timeout] if waits else []))

    def end(self) -> None:
        """The runtime closes: treat what is held, for a minute at most, and nothing after it.

        Another minute at most it waits for LangSmith to take it; what is left then goes on to be sent as a sentence.
        """
        self._sw_released(_PATIENCE)
        with self._sw_lock:
            self._sw_open = False
            self._sw_queue.put(None)
        self._sw_worker.join(_PATIENCE)

    def _sw_released(self, timeout: float | None) -> bool:
        """Treat what is held, and say whether all of it has been handed on to be sent."""
        with self._sw_lock:
            for trace in list(self._sw_held):
                self._sw_release(trace)
            if not self._sw_open:
                return True
            done = threading.Event()
            self._sw_queue.put(done)
        return not _is_running(self._sw_loop) and done.wait(timeout)

    def _sw_take(self, send: Callable[..., None], given: dict[str, Any], *, ends: bool) -> None:
        try:
            op = _op(send, given, ends=ends)
            with self._sw_lock:
                if self._sw_size + len(op.text) > _ROOM:
                    raise MemoryError("runs end faster than they are treated")
                self._sw_size += len(op.text)
                self._sw_hold(op)
        except Exception as error:  # which may quote the run
            _LOG.warning("a run could not be traced (%s)", type(error).__name__)

    def _sw_hold(self, op: _Op) -> None:
        trace = self._sw_held.setdefault(op.trace, _Trace(first=op.id))
        trace.ops.append(op)
        trace.size += len(op.text)
        over = len(trace.ops) >= _RUNS or trace.size >= _CHARACTERS
        if (op.ends and op.id in (trace.first, op.trace)) or over:
            self._sw_release(op.trace)
        elif len(self._sw_held) > _TRACES:
            self._sw_release(next(iter(self._sw_held)))

    def _sw_release(self, trace: str) -> None:
        ops = self._sw_held.pop(trace).ops
        if self._sw_open:
            self._sw_queue.put(ops)
        else:
            self._sw_send(ops)

    def _sw_work(self) -> None:
        while (found := self._sw_queue.get()) is not None:
            if isinstance(found, threading.Event):
                found.set()
            else:
                self._sw_send(found)

    def _sw_send(self, ops: Sequence[_Op]) -> None:
        """Send runs of one trace, treated."""
        bodies = [json.loads(one.text) for one in ops]
        try:
            sight = self._sw_wait(self._sw_treats([thread for one in bodies if (thread := _thread_of(one))]))
        except Exception:
            sight = None
        for one, body in zip(ops, bodies, strict=True):
            try:
                told = _withheld(body) if sight is None else self._sw_wait(sight.treated(body))
            except Exception:
                told = _withheld(body)
            try:
                one.send(**one.routing, **told)
            except Exception as error:
                _LOG.warning("a run could not be sent to LangSmith (%s)", type(error).__name__)
        with self._sw_lock:
            self._sw_size -= sum(len(one.text) for one in ops)

    def _sw_wait(self, work: Any) -> Any:
        """Wait for the runtime's loop, as long as it runs."""
        if not self._sw_open or not self._sw_loop.is_running():
            work.close()
            raise RuntimeError("the runtime is closed")
        found: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._sw_loop)
        for _ in range(int(_PATIENCE)):
            try:
                return found.result(1.0)
            except TimeoutError:
                if found.done() or not self._sw_open or not self._sw_loop.is_running():
                    break
        found.cancel()
        raise RuntimeError("it took too long")


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How the runs of some threads are treated.

    Attributes:
        policies: Each of them treats all that the threads say. None where they let models, and traces, have everything.
        known: The people of the cases.
        pseudonyms: The values that have one.
        threads: Those of the threads that there are.
    """

    redactor: Redactor
    hash_key: bytes
    policies: Sequence[PersonalDataPolicy] = ()
    known: tuple[KnownValue, ...] = ()
    pseudonyms: tuple[Pseudonym, ...] = ()
    threads: frozenset[str] = frozenset()

    async def treated(self, body: dict[str, Any]) -> dict[str, Any]:
        """What leaves of a run, with the id of its thread, by which LangSmith finds what belongs together.

        Raises:
            RedactionFailed: personal data could not be looked for.
        """
        if not self.policies:
            return body
        made = cast("dict[str, Any]", hidden(mapped(body, _without_files), self.pseudonyms))
        for policy in self.policies:
            found = await treat(made, policy=policy, redactor=self.redactor, key=self.hash_key, known=self.known)
            made = cast("dict[str, Any]", found.value)
        thread = _thread_of(body)
        if thread in self.threads:
            made["extra"]["metadata"]["thread_id"] = thread
        return made


Treats = Callable[[Sequence[str]], Awaitable[Sight]]


class _Once:
    """A redactor that looks through each text once: the runs of a trace say the same again and again."""

    def __init__(self, redactor: Redactor) -> None:
        self.coverage, self.prove = redactor.coverage, redactor.prove
        self._redactor = redactor
        self._found: dict[tuple[Any, ...], dict[str, list[Finding]]] = {}

    async def scan(self, texts: Sequence[str], *, entities: frozenset[str], **how: Any) -> list[list[Finding]]:
        """The findings of each text. Of whom is known it is asked alike always."""
        found = self._found.setdefault((entities, *how.get("countries", ())), {})
        new = [text for text in dict.fromkeys(texts) if text not in found]
        found.update(zip(new, await self._redactor.scan(new, entities=entities, **how), strict=True))
        return [found[text] for text in texts]


class Tracing:
    """The clients of one runtime, and what LangChain uses.

    Args:
        loop: The runtime's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._services: Services | None = None
        self._clients: list[TracingClient] = []

    def reads(self, services: Services) -> None:
        """These are the runtime's ports."""
        self._services = services

    def client(self, **options: Any) -> TracingClient:
        """A client. It takes the options of `langsmith.Client`."""
        made = TracingClient(loop=self._loop, treats=self._sight, **options)
        self._clients.append(made)
        return made

    def govern(self, ward: Ward | None = None) -> None:
        """Where LangSmith's tracing is on, see to it that what LangChain sends by itself goes through a client of ours.

        Args:
            ward: Whose policy says so; None for whatever will run here.

        Raises:
            ConfigurationError: it would go through a client that does not treat it.
        """
        if ward is not None and ward.conversation is None:
            return
        label = ward.document.label if ward is not None else "a policy"
        ambient = ambient_client()
        if any(one.client is ambient and not self._is_ours(ambient) for one in _running_tracers()):
            raise ConfigurationError(_UNGUARDED.format(label))
        if not cast("Any", langsmith_utils).tracing_is_enabled() or get_tracing_context().get("client") is not None:
            return
        if ambient is None or (isinstance(ambient, TracingClient) and not ambient.treats):
            langsmith.configure(client=self.client())
        elif not self._is_ours(ambient):
            raise ConfigurationError(_UNGUARDED.format(label))

    async def close(self) -> None:
        """Treat what is held, while the runtime can."""
        for one in self._clients:
            await asyncio.to_thread(one.end)
            if ambient_client() is one:
                langsmith.configure(client=None)

    def _is_ours(self, client: Any) -> bool:
        return any(one is client for one in self._clients)

    async def _sight(self, threads: Sequence[str]) -> Sight:
        services = cast("Services", self._services)
        redactor = _Once(services.redactor)
        facts = [one for thread in dict.fromkeys(threads) if (one := await _facts(services, thread)) is not None]
        wards = [services.wards.get(one.graph) for one in facts]
        # What is not known here is treated as memory is by default.
        said = [PersonalDataPolicy() if one is None else one.conversation for one in wards or [None]]
        policies = [one for at, one in enumerate(said) if one is not None and one not in said[:at]]
        if not policies:
            return Sight(redactor=redactor, hash_key=services.hash_key)
        known = [one for each in facts for one in await services.case_file.known(each.thread)]
        entities = {name for one in policies for name in one.pseudonymized(each.entity for each in known)}
        pseudonyms: dict[tuple[str, int], Pseudonym] = {}
        for each in facts:
            for key, one in (await services.vault.reveal(scope_of(each))).items():
                if one.entity in entities and pseudonyms.setdefault(key, one) != one:  # another subject's
                    known.append(KnownValue(entity=one.entity, value=one.value))
        return Sight(
            redactor=redactor,
            hash_key=services.hash_key,
            policies=[_traced(one) for one in policies],
            known=tuple(dict.fromkeys(known)),
            pseudonyms=tuple(pseudonyms.values()),
            threads=frozenset(one.thread for one in facts),
        )


def _traced(policy: PersonalDataPolicy) -> PersonalDataPolicy:
    """The policy for what is sent away: nothing new gets a pseudonym by it, and nothing is refused."""

    def less(one: Treatment) -> Treatment:
        return "redact" if one in ("pseudonymize", "refuse") else one

    return replace(
        policy, default=less(policy.default), entities={name: less(one) for name, one in policy.entities.items()}
    )


async def _facts(services: Services, thread: str) -> ThreadFacts | None:
    """Whom a thread is about; None where there is none of that id.

    Raises:
        ThreadErased: its subject was forgotten, and whom to look for with it.
    """
    found = await services.threads.find(thread)
    if found is not None and found.is_erased:
        raise ThreadErased(thread)
    return found.facts if found is not None else None


def _running_tracers() -> list[LangChainTracer]:
    """LangSmith's tracers of the graph that is running here."""
    try:
        callbacks = get_config().get("callbacks")
    except RuntimeError:
        return []
    handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or []
    return [one for one in handlers if isinstance(one, LangChainTracer)]


def _op(send: Callable[..., None], given: dict[str, Any], *, ends: bool) -> _Op:
    routing = {name: value for name, value in given.items() if name in _ROUTING and value is not None}
    more = {name: value for name, value in given.items() if name not in _ROUTING and name != "attachments"}
    id_ = str(given.get("id") or given.get("run_id") or "")
    return _Op(
        send=send,
        routing=routing,
        text=as_sent({name: value for name, value in more.items() if value is not None}),
        id=id_,
        trace=str(given.get("trace_id") or id_),
        ends=ends,
    )


def _thread_of(body: Mapping[str, Any]) -> str | None:
    """The thread that a run says that it belongs to."""
    found: Any = body.get("extra")
    for name in ("metadata", "thread_id"):
        found = cast("Mapping[str, Any]", found).get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None


def _fields(run: Any) -> dict[str, Any]:
    if isinstance(run, Mapping):
        return {**cast("Mapping[str, Any]", run)}
    return cast("dict[str, Any]", run.model_dump(exclude={"child_runs"}))


def _without_files(text: str) -> str:
    return "(a file, not shown)" if len(text) > 1024 and _FILE.fullmatch(text) else text


def _withheld(body: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of a run that could not be treated."""
    said: dict[str, Any] = {"name": NOT_SHOWN, "error": NOT_SHOWN, "tags": [], "events": [], "extra": {}}
    said |= {name: {"text": NOT_SHOWN} for name in ("inputs", "outputs")}
    return {name: said[name] for name in said if name in body}


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
