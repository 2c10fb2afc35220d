"""The one synchronous surface: the async runtime on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel

from stateward.model.abandonment import Abandonment
from stateward.model.approval import Approval, ApprovalStatus, DecisionKind, Delegation
from stateward.model.erasure import ErasureReceipt, LegalHold, SubjectCounts, Swept
from stateward.model.judgement import Judgement
from stateward.model.ledger import AuditReport, Entry
from stateward.model.policy import PolicyDocument
from stateward.model.principal import Principal
from stateward.model.thread import ThreadRecord
from stateward.model.values import Json, JsonObject
from stateward.orchestrate.loops import blocking
from stateward.orchestrate.saver import StatewardSaver
from stateward.orchestrate.services import Services
from stateward.orchestrate.store import StatewardStore
from stateward.orchestrate.workflow import Graph
from stateward.ports import CredentialProvider, Notice, Notifier
from stateward.runtime import AsyncRuntime
from stateward.settings import Settings
from stateward.tracing import TracingClient

T = TypeVar("T")
Kind = TypeVar("Kind", bound=type)


def _told_as(source: type) -> Callable[[Kind], Kind]:
    """`help(...)`, and a notebook's `?`, tell of each method what the class says that it stands for."""

    def tell(kind: Kind) -> Kind:
        for name, member in vars(kind).items():
            if str(member.__doc__).startswith(f"See `{source.__name__}."):
                member.__doc__ = getattr(source, name).__doc__
        return kind

    return tell


@_told_as(AsyncRuntime)
class Runtime:
    """A runtime on one Postgres, for code that is not async, notebooks included.

    Use `Runtime.open(...)`, as a context manager or with `close()`; async code uses
    `async with Runtime.connect(...)`, which has the same methods to await.
    """

    connect = AsyncRuntime.connect
    memory_tools = staticmethod(AsyncRuntime.memory_tools)

    def __init__(
        self, inner: AsyncRuntime, exits: AbstractAsyncContextManager[AsyncRuntime], thread: _LoopThread
    ) -> None:
        self.inner, self._exits, self._thread = inner, exits, thread

    @classmethod
    def open(
        cls,
        url: str | None = None,
        /,
        *,
        settings: Settings | None = None,
        migrations: Sequence[tuple[str, str]] = (),
        types: Sequence[type] = (),
        credentials: Mapping[str, CredentialProvider] | None = None,
        notifier: Notifier | None = None,
        embeddings: Embeddings | None = None,
        keep_running: bool = False,
    ) -> Runtime:
        """Open a runtime. The arguments and errors are those of `AsyncRuntime.connect`."""
        thread = _LoopThread()
        context = AsyncRuntime.connect(
            url,
            settings=settings,
            migrations=migrations,
            types=types,
            credentials=credentials,
            notifier=notifier,
            embeddings=embeddings,
            keep_running=keep_running,
        )
        try:
            return cls(thread.wait(context.__aenter__()), context, thread)
        except BaseException:
            thread.stop()
            raise

    def close(self) -> None:
        """Close the connections, and the embedded Postgres where nobody else uses it. Twice does no harm."""
        if self._thread.running:
            self._thread.wait(self._exits.__aexit__(None, None, None))
            self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def checkpointer(self) -> StatewardSaver:
        """LangGraph's saver, for `compile(checkpointer=...)`."""
        return self.inner.checkpointer

    @property
    def store(self) -> StatewardStore:
        """Governed memory, for `compile(store=...)`."""
        return self.inner.store

    @property
    def services(self) -> Services:
        """The ports."""
        return self.inner.services

    def thread(
        self,
        id_: str,
        /,
        *,
        principal: Principal,
        purpose: str,
        subject: str,
        requester: str | None = None,
        graph: str = "",
        known: Mapping[str, str | Iterable[str]] | None = None,
    ) -> RunnableConfig:
        """See `AsyncRuntime.thread`."""
        opening = self.inner.thread(
            id_, principal=principal, purpose=purpose, subject=subject, requester=requester, graph=graph, known=known
        )
        return self._wait(opening)

    def config(self, thread: str) -> RunnableConfig:
        """See `AsyncRuntime.config`."""
        return self.inner.config(thread)

    def middleware(
        self,
        *,
        policy: str | Path | PolicyDocument,
        tools: Sequence[BaseTool] | None = None,
        principal: str,
        purpose: str = "",
        answer: type[BaseModel] | None = None,
        validate: Sequence[Callable[[Any], Awaitable[str | None]]] = (),
    ) -> Any:
        """See `AsyncRuntime.middleware`."""
        return self.inner.middleware(
            policy=policy, tools=tools, principal=principal, purpose=purpose, answer=answer, validate=validate
        )

    def tool_node(
        self,
        *,
        policy: str | Path | PolicyDocument,
        tools: Sequence[BaseTool],
        principal: str,
        purpose: str = "",
        messages_key: str = "messages",
    ) -> Any:
        """See `AsyncRuntime.tool_node`."""
        return self.inner.tool_node(
            policy=policy, tools=tools, principal=principal, purpose=purpose, messages_key=messages_key
        )

    def approvals(self, *, thread: str | None = None, status: ApprovalStatus | None = "pending") -> list[Approval]:
        """See `AsyncRuntime.approvals`."""
        return self._wait(self.inner.approvals(thread=thread, status=status))

    def waiting(self) -> int:
        """See `AsyncRuntime.waiting`."""
        return self._wait(self.inner.waiting())

    def approval(self, id_: str, /) -> Approval:
        """See `AsyncRuntime.approval`."""
        return self._wait(self.inner.approval(id_))

    def decide(
        self,
        approval: Approval | str,
        decision: DecisionKind,
        /,
        *,
        by: Principal,
        reason: str = "",
        arguments: JsonObject | None = None,
        confirmation: str | None = None,
        digest: str | None = None,
    ) -> Approval:
        """See `AsyncRuntime.decide`."""
        return self._wait(
            self.inner.decide(
                approval,
                decision,
                by=by,
                reason=reason,
                arguments=arguments,
                confirmation=confirmation,
                digest=digest,
            )
        )

    def delegate(
        self,
        principal: Principal,
        /,
        *,
        to: str,
        until: datetime | timedelta,
        by: Principal,
        since: datetime | None = None,
    ) -> Delegation:
        """See `AsyncRuntime.delegate`."""
        return self._wait(self.inner.delegate(principal, to=to, until=until, by=by, since=since))

    def revoke_delegation(self, id_: str, /, *, by: Principal) -> Delegation:
        """See `AsyncRuntime.revoke_delegation`."""
        return self._wait(self.inner.revoke_delegation(id_, by=by))

    def delegations(self, *, person: str | None = None) -> list[Delegation]:
        """See `AsyncRuntime.delegations`."""
        return self._wait(self.inner.delegations(person=person))

    def tick(self) -> list[Notice]:
        """See `AsyncRuntime.tick`."""
        return self._wait(self.inner.tick())

    def sweep(self) -> Swept:
        """See `AsyncRuntime.sweep`."""
        return self._wait(self.inner.sweep())

    def forget(self, subject: str, /, *, by: Principal) -> ErasureReceipt:
        """See `AsyncRuntime.forget`."""
        return self._wait(self.inner.forget(subject, by=by))

    def count_subject(self, subject: str, /, *, tenant: str = "default") -> SubjectCounts:
        """See `AsyncRuntime.count_subject`."""
        return self._wait(self.inner.count_subject(subject, tenant=tenant))

    def receipts(self, subject: str, /, *, tenant: str = "default") -> list[ErasureReceipt]:
        """See `AsyncRuntime.receipts`."""
        return self._wait(self.inner.receipts(subject, tenant=tenant))

    def verify_receipt(self, said: JsonObject, /, *, seal: str) -> bool:
        """See `AsyncRuntime.verify_receipt`."""
        return self._wait(self.inner.verify_receipt(said, seal=seal))

    def export_subject(self, subject: str, /, *, by: Principal) -> dict[str, Json]:
        """See `AsyncRuntime.export_subject`."""
        return self._wait(self.inner.export_subject(subject, by=by))

    def revealed(self, messages: Sequence[AnyMessage], /, *, thread: str, by: Principal) -> list[AnyMessage]:
        """See `AsyncRuntime.revealed`."""
        return self._wait(self.inner.revealed(messages, thread=thread, by=by))

    def hold(self, subject: str, /, *, by: Principal, reason: str) -> bool:
        """See `AsyncRuntime.hold`."""
        return self._wait(self.inner.hold(subject, by=by, reason=reason))

    def end_hold(self, subject: str, /, *, by: Principal) -> bool:
        """See `AsyncRuntime.end_hold`."""
        return self._wait(self.inner.end_hold(subject, by=by))

    def holds(self, *, tenant: str | None = None) -> list[LegalHold]:
        """See `AsyncRuntime.holds`."""
        return self._wait(self.inner.holds(tenant=tenant))

    def abandon(self, thread: str, /, *, by: Principal, reason: str) -> Abandonment:
        """See `AsyncRuntime.abandon`."""
        return self._wait(self.inner.abandon(thread, by=by, reason=reason))

    def resume(self, graph: Graph, thread: str) -> dict[str, Any]:
        """See `AsyncRuntime.resume`."""
        return self._wait(self.inner.resume(graph, thread))

    def threads(self, *, subject: str | None = None) -> list[ThreadRecord]:
        """See `AsyncRuntime.threads`."""
        return self._wait(self.inner.threads(subject=subject))

    def find_thread(self, thread: str) -> ThreadRecord:
        """See `AsyncRuntime.find_thread`."""
        return self._wait(self.inner.find_thread(thread))

    def timeline(self, thread: str | None = None) -> list[Entry]:
        """See `AsyncRuntime.timeline`."""
        return self._wait(self.inner.timeline(thread))

    def judgements(
        self, *, graph: str | None = None, action: str | None = None, since: timedelta | None = None
    ) -> list[Judgement]:
        """See `AsyncRuntime.judgements`."""
        return self._wait(self.inner.judgements(graph=graph, action=action, since=since))

    def policy(self, digest: str) -> PolicyDocument | None:
        """See `AsyncRuntime.policy`."""
        return self._wait(self.inner.policy(digest))

    def verify_audit(self, thread: str | None = None) -> AuditReport:
        """See `AsyncRuntime.verify_audit`."""
        return self._wait(self.inner.verify_audit(thread))

    def langsmith_client(self, **options: Any) -> TracingClient:
        """See `AsyncRuntime.langsmith_client`."""
        return self.inner.langsmith_client(**options)

    def apply(self, migrations: Iterable[tuple[str, str]]) -> None:
        """See `AsyncRuntime.apply`."""
        self._wait(self.inner.apply(migrations))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return blocking(self._thread.loop, work)


class _LoopThread:
    """An event loop that runs in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="stateward", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return blocking(self.loop, work)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
