"""The composition root: opens the adapters, wires the steps, closes in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import Command
from pydantic import BaseModel

from stateward.adapters.credentials import MintedCredentials
from stateward.adapters.detection.presidio import PresidioRedactor
from stateward.adapters.embedded import EmbeddedServer
from stateward.adapters.keyring import open_keyring
from stateward.adapters.postgres.case_file import PostgresCaseFile
from stateward.adapters.postgres.checkpoints import PostgresCheckpoints
from stateward.adapters.postgres.clear import sealing
from stateward.adapters.postgres.commits import Commits
from stateward.adapters.postgres.credentials import PostgresCredentials
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
from stateward.adapters.postgres.erasure import PostgresErasure
from stateward.adapters.postgres.ledger import PostgresLedger
from stateward.adapters.postgres.memory import PostgresMemory
from stateward.adapters.postgres.overview import PostgresOverview
from stateward.adapters.postgres.policies import PostgresPolicies
from stateward.adapters.postgres.provenance import PostgresProvenance
from stateward.adapters.postgres.threads import PostgresThreads
from stateward.adapters.postgres.vault import PostgresVault
from stateward.approve.clock import tick, tick_on
from stateward.errors import (
    ConfigurationError,
    DecisionRefused,
    ErasureRefused,
    ThreadAbandoned,
    ThreadErased,
    ThreadError,
    UnknownApproval,
    UnknownThread,
)
from stateward.model.abandonment import Abandonment
from stateward.model.approval import Approval, ApprovalStatus, Decision, DecisionKind, Delegation
from stateward.model.erasure import ErasureReceipt, LegalHold, SubjectCounts, Swept
from stateward.model.judgement import Judgement
from stateward.model.ledger import AuditReport, Entry
from stateward.model.policy import PolicyDocument
from stateward.model.principal import Principal
from stateward.model.thread import ThreadFacts, ThreadRecord
from stateward.model.values import Json, JsonObject, plain_object
from stateward.orchestrate.abandoning import abandon
from stateward.orchestrate.interrupts import LOOK_AGAIN, is_ours
from stateward.orchestrate.memory_tools import memory_tools
from stateward.orchestrate.node import ward_node
from stateward.orchestrate.saver import StatewardSaver
from stateward.orchestrate.services import Services, Ward, refuse_nobody
from stateward.orchestrate.steps import take_decision
from stateward.orchestrate.store import StatewardStore
from stateward.orchestrate.subjects import export, forget, refuse
from stateward.orchestrate.wards import Wards
from stateward.orchestrate.workflow import Graph
from stateward.personal_data.known import known_values
from stateward.ports import CredentialProvider, Notice, Notifier, Refused, Vote
from stateward.remember.retention import sweep_on
from stateward.settings import Settings
from stateward.spanned import SpannedDesk, SpannedJournal, SpannedMemory
from stateward.spans import Spans
from stateward.tracing import Tracing, TracingClient

_TICK = 60.0  # seconds
_SWEEP_AFTER, _SWEEP = 60.0, 3600.0  # seconds


@dataclass(frozen=True, kw_only=True)
class AsyncRuntime:
    """A runtime on one Postgres, for async code.

    Attributes:
        checkpointer: LangGraph's saver on that Postgres, for `compile(checkpointer=...)`.
        store: Governed memory as a LangGraph store, for `compile(store=...)`.
        services: The ports, for code that builds on Stateward.
        settings: What it was opened with.
        database: The connection pool.
        keys: The data keys that what a thread holds is sealed with.
        tracing: Its LangSmith clients.
        notifier: Tells people what happened to a question by the clock, if anything does.
    """

    checkpointer: StatewardSaver
    store: StatewardStore
    services: Services
    settings: Settings
    database: Database
    keys: DataKeys
    tracing: Tracing
    notifier: Notifier | None = None

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str | None = None,
        *,
        settings: Settings | None = None,
        migrations: Sequence[tuple[str, str]] = (),
        types: Sequence[type] = (),
        credentials: Mapping[str, CredentialProvider] | None = None,
        notifier: Notifier | None = None,
        embeddings: Embeddings | None = None,
        keep_running: bool = False,
    ) -> AsyncGenerator[AsyncRuntime]:
        """Open a runtime for the length of the block.

        Args:
            url: A libpq connection string; default `DATABASE_URL`, else the embedded Postgres.
            settings: Instead of the environment's.
            migrations: Name and SQL of a workflow's own tables, run once after ours.
            types: Classes of your own that graph state may hold, such as pydantic models and dataclasses. One that is
                not named comes back from a checkpoint as plain data; a workflow names those of its own state.
            credentials: Providers of credentials of your own, by the name that a policy's `provider:` has for them.
            notifier: Tells people what happened to a question by the clock: that they are reminded of it, that it was
                escalated, that it lapsed. Each is told by one process, once; what it cannot tell is logged.
            embeddings: Any of LangChain's, so that memory is found by meaning as well as by words; the database needs
                pgvector then. They are given texts whose personal data was treated.
            keep_running: Leave the embedded Postgres running at the end.

        Raises:
            DatabaseError: the server cannot be reached, its schema is of another version, or it has no pgvector and
                there are embeddings.
            EmbeddedServerError: the embedded Postgres cannot run here.
            KeyringError: the master key is not the one that this database's values were sealed under.
        """
        chosen = settings or Settings.from_environment()
        if url:
            chosen = replace(chosen, database_url=url)
        async with AsyncExitStack() as stack:
            uri = chosen.database_url or await _embedded(stack, chosen, keep_running=keep_running)
            made = await cls._wire(stack, uri, chosen, migrations, types, credentials, embeddings)
            await stack.enter_async_context(_beside("tick", tick_on(made.services.desk, notifier, every=_TICK)))
            await stack.enter_async_context(_beside("sweep", sweep_on(made.sweep, after=_SWEEP_AFTER, every=_SWEEP)))
            stack.push_async_callback(made.tracing.close)  # first, as it works with all the rest
            yield replace(made, notifier=notifier)

    async def thread(
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
        """Open a thread, or find it, and give the config that runs it.

        Args:
            id_: LangGraph's thread id; a UUID where LangGraph's server is to open it too.
            principal: The agent identity that acts; the policy's `for:` names it or one of its roles.
            purpose: What the work is for; memory is read and written for this purpose only.
            subject: Whom or what it is about, such as `customer:17`.
            requester: Who asked for it; the principal unless stated.
            graph: The workflow's name; for an agent with `middleware` or `tool_node`, the `principal` of these.
            known: What is known of the people of the case, by Presidio's entity type: `{"PERSON": "Jane Doe",
                "PHONE_NUMBER": [...]}`. It is kept sealed, and found in what is remembered however it is written.

        Raises:
            ConfigurationError: an entity type or a value in `known` is none, the id is empty, or `principal` is no
                `Principal`.
            ThreadMismatch: the thread was opened for someone or something else.
            ThreadAbandoned: it was abandoned.
            ThreadError: the policy has pseudonyms, and the subject is nobody's: `none`, or empty; or a workflow or an
                agent that is loaded works for another principal or purpose.
        """
        _refuse_no_principal("principal", principal, example="kind='agent'")
        if not id_.strip():
            raise ConfigurationError("a thread needs an id, such as case-4711")
        ward = self.services.wards.get(graph)
        if ward is not None:
            self.services.govern(ward)
        facts = ThreadFacts(
            thread=id_,
            tenant=principal.tenant,
            principal=principal.id,
            roles=tuple(sorted(principal.roles)),
            requester=requester or principal.id,
            purpose=purpose,
            subject=subject,
            graph=graph,
            graph_version=ward.version if ward else "",
        )
        values = known_values(known or {})
        if ward is not None:
            refuse_nobody(ward, facts)
            misfit = _misfit(ward, facts)
            if misfit and await self.services.threads.find(id_) is None:  # else `open` says whose it is
                raise ThreadError(misfit)
        await self.services.threads.open(facts, retention=ward.document.threads if ward else None)
        if values:
            await self.services.case_file.add(id_, values)
        return self._config(id_, graph)

    def config(self, thread: str) -> RunnableConfig:
        """The config that runs an opened thread. Where OpenTelemetry is configured, it makes the run's span too."""
        return self._config(thread, "")

    def _config(self, thread: str, graph: str) -> RunnableConfig:
        config: RunnableConfig = {"configurable": {"thread_id": thread}, "recursion_limit": 1000}
        listener = self.services.spans.listener(graph if graph in self.services.wards else "")
        return {**config, "callbacks": listener} if listener else config

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
        """The wards as a middleware for LangChain's `create_agent` and for deep agents.

        Put it last in the list, or last of those that wrap tool calls. Agents within agents get the same object.

        Args:
            policy: The policy's file, or a document.
            tools: The tools of all those agents; what else an agent has is not shown to its model, and denied. None
                to take them from the agents as they are built: then the policy has to name each of them.
            principal: The agent identity that acts. Open threads for it with `graph=principal`.
            purpose: What the agent is for. It decides nothing: each thread has its own. Default: the policy's name.
            answer: The pydantic model of the agent's answer, which the policy names like `close_pack` for `ClosePack`.
                Default: a plain text, named `text`.
            validate: `async (answer) -> problem | None`, each with the answer's object, or its text.

        Raises:
            MissingExtra: LangChain is not installed.
            PolicyError: the policy does not fit the tools.
        """
        from stateward.orchestrate.middleware import ward_middleware

        return ward_middleware(
            policy=policy,
            tools=tools,
            principal=principal,
            purpose=purpose,
            answer=answer,
            validate=validate,
            register=self.services.know,
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
        """The wards as a node for a `StateGraph` of your own, in the place of LangGraph's `ToolNode`.

        It answers the tool calls of the last message: judges them, asks people once, performs what is permitted, once.

        Args:
            policy: The policy's file, or a document.
            tools: The tools.
            principal: The agent identity that acts. Open threads for it with `graph=principal`.
            purpose: What the agent is for. It decides nothing: each thread has its own. Default: the policy's name.
            messages_key: Where the state has the conversation.

        Raises:
            PolicyError: the policy does not fit the tools.
        """
        wards = Wards(policy=policy, tools=tools, principal=principal, purpose=purpose, register=self.services.know)
        return ward_node(wards, messages_key=messages_key)

    async def sweep(self) -> Swept:
        """Delete what the policy keeps no longer, in batches, but for subjects on legal hold.

        Memory that has expired is deleted. Threads that have ended, or were idle for so long that they count as ended,
        and whose `threads: {keep: ...}` is over, are emptied as `forget` does it; their chains stay. A subject's
        pseudonyms go with the last of its threads and of its memory. A runtime that stays open does it every hour; call
        it from a scheduler where none does.
        """
        threads = await self.services.erasure.sweep()  # first: one that cannot be emptied keeps nothing else
        items = await self.services.memory.sweep()
        return Swept(items=items, threads=threads, vaults=await self.services.erasure.sweep_vaults())

    async def forget(self, subject: str, /, *, by: Principal) -> ErasureReceipt:
        """Erase a subject of this person's tenant: threads that run or wait end, and what is known of it goes.

        Checkpoints and memory are deleted, the threads' keys destroyed, and arguments, results and questions emptied.
        The chains of the audit trail stay, and verify. Interrupted anywhere, it is finished by calling it again.

        Args:
            subject: Whom or what the threads were opened for, such as `customer:17`.
            by: Who says so. Whoever calls this vouches that they are verified, and may.

        Raises:
            ErasureRefused: the subject is on legal hold, or an agent says so.
        """
        return await forget(self.services, subject, by=by)

    async def count_subject(self, subject: str, /, *, tenant: str = "default") -> SubjectCounts:
        """How much there is of a subject now, which `forget` would erase."""
        return await self.services.erasure.count(tenant, subject)

    async def receipts(self, subject: str, /, *, tenant: str = "default") -> list[ErasureReceipt]:
        """The receipts of what was erased of a subject, oldest first."""
        return await self.services.erasure.receipts(tenant, subject)

    async def verify_receipt(self, said: JsonObject, /, *, seal: str) -> bool:
        """Whether an erasure's receipt (`ErasureReceipt.said()`) is the one that was sealed here with this seal.

        Raises:
            KeyringError: the tenant's key cannot be unwrapped.
        """
        return await self.services.erasure.is_genuine(said, seal)

    async def export_subject(self, subject: str, /, *, by: Principal) -> dict[str, Json]:
        """All that is known of a subject of this person's tenant, as JSON: the right of access.

        Args:
            subject: As for `forget`.
            by: Who gets it; it stands in the ledger. Whoever calls this vouches that they are verified, and may.

        Raises:
            ErasureRefused: an agent asks.
        """
        return await export(self.services, self.checkpointer, subject, by=by)

    async def revealed(self, messages: Sequence[AnyMessage], /, *, thread: str, by: Principal) -> list[AnyMessage]:
        """Messages of a thread's state as whoever has asked for its work may read them: with the values that the
        pseudonyms stand for, in what people and models wrote. Tools' results stay as the conversation has them.

        Args:
            messages: Those of `graph.get_state(config).values["messages"]`, read by you and not handed in by a client,
                since what claims to be a model's message is believed. They are not changed.
            thread: Whose they are.
            by: Who reads them. Whoever calls this vouches that they are verified.

        Returns:
            The messages as they are where the policy has no `conversation`, or `answers: pseudonyms`.

        Raises:
            ThreadError: somebody else has asked for the work, or its graph is not loaded in this process.
            UnknownThread: nobody opened the thread.
            ThreadErased: the thread was deleted.
        """
        record = await self.find_thread(thread)
        facts = record.facts
        if record.is_erased:
            raise ThreadErased(thread)
        if (by.tenant, by.id) != (facts.tenant, facts.requester):
            raise ThreadError(f"{by.id!r} has not asked for the work of thread {thread!r}, and reads no values in it")
        talk = self.services.conversation(self.services.ward_of(facts), facts)
        return list(messages) if talk is None else await talk.read(messages)

    async def hold(self, subject: str, /, *, by: Principal, reason: str) -> bool:
        """Put a subject of this person's tenant on legal hold: nothing of it is swept or erased until that ends.

        Returns:
            False where it was on hold before; nothing changes then.

        Raises:
            ErasureRefused: an erasure of it is under way, an agent says so, or there is no reason.
        """
        refuse(subject, by)
        if not reason.strip():
            raise ErasureRefused("a legal hold needs a reason")
        return await self.services.erasure.place_hold(by.tenant, subject, reason=reason.strip(), by=by)

    async def end_hold(self, subject: str, /, *, by: Principal) -> bool:
        """End a legal hold; False where there was none.

        Raises:
            ErasureRefused: an agent says so.
        """
        refuse(subject, by)
        return await self.services.erasure.end_hold(by.tenant, subject, by=by)

    async def holds(self, *, tenant: str | None = None) -> list[LegalHold]:
        """The subjects on legal hold, oldest first; of one tenant where given."""
        return await self.services.erasure.holds(tenant=tenant)

    @staticmethod
    def memory_tools() -> list[BaseTool]:
        """`remember`, `recall` and `forget`, with which a model keeps things by itself; the policy has to name them.

        They need no runtime to be made, and work on the subject and for the purpose of the thread that runs.
        """
        return memory_tools()

    def langsmith_client(self, **options: Any) -> TracingClient:
        """LangSmith's client, which sends runs with their personal data treated as the policies say.

        Where LangSmith's tracing is on and no client is configured, an agent or a workflow whose policy has a
        `conversation` configures one by itself. Make one for options of your own, and before those are made:
        `langsmith.configure(client=runtime.langsmith_client(...))`. What it holds is sent when the runtime closes.

        Args:
            options: Those of `langsmith.Client`.
        """
        return self.tracing.client(**options)

    async def approvals(
        self, *, thread: str | None = None, status: ApprovalStatus | None = "pending"
    ) -> list[Approval]:
        """The questions to people, oldest first; `status=None` for all of them.

        Without `thread`, one that somebody has changed in the database is left out, and the log and its chain say so.

        Raises:
            SealBroken: one of the given `thread` was changed in the database.
        """
        await self.tick()
        return await self.services.desk.list(thread=thread, status=status)

    async def waiting(self) -> int:
        """How many questions wait; more than the pending `approvals` where somebody has changed one in the database."""
        return await self.services.desk.waiting()

    async def approval(self, id_: str, /) -> Approval:
        """One question.

        Raises:
            UnknownApproval: there is none of that id.
        """
        found = await self.services.desk.get(id_)
        if found is None:
            raise UnknownApproval(id_)
        return found

    async def decide(
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
        """Take a decision: checked, written down with its author, and done, in one transaction.

        Args:
            approval: The question or its id.
            decision: approve, edit, reject or respond; for an unknown outcome done, retry or give_up.
            by: The person. Whoever calls this vouches that it is verified.
            reason: Why, for reject; the answer, for respond.
            arguments: The complete new arguments, for edit; they are judged again from the start.
            confirmation: What the person typed, where the question has a `confirmation`: exactly that.
            digest: The digest of what the person was shown; another one is refused. That of the question, where it is
                given as an `Approval`.

        Raises:
            UnknownApproval: there is none of that id.
            DecisionRefused: this person may not decide it, or not like this; the message says why.
            ConfigurationError: `by` is no `Principal`.
        """
        _refuse_no_principal("by", by, example="roles=[...]")
        id_ = approval if isinstance(approval, str) else approval.id
        shown = approval.digest if digest is None and isinstance(approval, Approval) else digest
        edited = None if arguments is None else plain_object(arguments)
        said = Decision(kind=decision, reason=reason, arguments=edited, confirmation=confirmation)
        outcome = await take_decision(self.services, Vote(approval=id_, decision=said, by=by, digest=shown))
        if isinstance(outcome, Refused):
            raise DecisionRefused(f"{id_}: {outcome.why}")
        return outcome.approval

    async def delegate(
        self,
        principal: Principal,
        /,
        *,
        to: str,
        until: datetime | timedelta,
        by: Principal,
        since: datetime | None = None,
    ) -> Delegation:
        """Let another person decide what somebody may, for a time.

        The delegate decides for that person and with no more than their rights, never about their own request, and
        cannot hand it on. Where a policy excludes one of the two, or one has signed, both are excluded.

        Args:
            principal: Whose right it is, with the roles that go with it.
            to: Id of the person who may decide.
            until: When it ends, or how long it lasts.
            by: Who says so, verified: the same person, who has these roles.
            since: When it begins; now unless stated.

        Raises:
            DecisionRefused: it is not theirs to hand over; the message says why. The attempt is in the ledger.
        """
        ends = (since or datetime.now(UTC)) + until if isinstance(until, timedelta) else until
        return _granted(await self.services.desk.delegate(principal, to=to, until=ends, by=by, since=since))

    async def revoke_delegation(self, id_: str, /, *, by: Principal) -> Delegation:
        """End a delegation at once; either of the two people may.

        Raises:
            DecisionRefused: there is none of that id, or the person is neither of the two.
        """
        return _granted(await self.services.desk.revoke(id_, by=by))

    async def delegations(self, *, person: str | None = None) -> list[Delegation]:
        """The delegations that hold now or later; from or to one person where given."""
        return await self.services.desk.delegations(person=person)

    async def tick(self) -> list[Notice]:
        """Do what is due by the clock: questions lapse or are escalated, and people are reminded.

        Each of it is done once, by the server's clock, however many processes tick. Looking at the inbox does it too;
        call it from a scheduler where nothing else runs.
        """
        return await tick(self.services.desk, self.notifier)

    async def abandon(self, thread: str, /, *, by: Principal, reason: str) -> Abandonment:
        """End a thread for good, and take back what it has done, latest first.

        Questions that wait are withdrawn, and nothing acts on the thread any more. What nobody knows the outcome of is
        found out first, by the tool's probe or a person. Then each effect whose tool has an `undo` is taken back by a
        call through the gate. Call it again to go on where people had to decide, or where a crash cut it off.

        Args:
            thread: Its id. Its workflow, or its agent's middleware, has to be loaded with this runtime.
            by: Who ends it: a person or service that the policy names under `abandon:`; where it says nothing, whoever
                asked for the work, or one of `escalate:`. Whoever calls this vouches that it is verified.
            reason: Why, for the ledger.

        Raises:
            UnknownThread: nobody opened it.
            ThreadError: its workflow is not loaded.
            DecisionRefused: it is not theirs to abandon, or there is no reason.
        """
        return await abandon(self.services, thread, by=by, reason=reason)

    async def resume(self, graph: Graph, thread: str) -> dict[str, Any]:
        """Go on with a thread that was decided, or that a crash cut off; one that is finished stays as it is.

        Raises:
            UnknownThread: nobody opened it.
            ThreadAbandoned: it was abandoned.
            ThreadErased: its subject was forgotten.
            ThreadError: it was started on another workflow than `graph`.
        """
        config, given = await self.resumption(thread, graph=graph.name)
        if given is None and not await self.checkpointer.has_begun(thread):
            return {}
        return await graph.ainvoke(given, config)  # pyright: ignore[reportUnknownMemberType]

    async def resumption(self, thread: str, *, graph: str = "") -> tuple[RunnableConfig, Command[Any] | None]:
        """The config and the input that go on with a thread, for those who stream it; errors as `resume`.

        Args:
            thread: Its id.
            graph: The name of the graph that is to go on with it; a workflow of another name is refused.
        """
        record, waits = await asyncio.gather(self.find_thread(thread), self.checkpointer.waits(thread))
        if record.is_erased:
            raise ThreadErased(thread)
        if record.status == "abandoned":
            raise ThreadAbandoned(thread)
        ward = self.services.wards.get(graph)
        if ward is not None and not ward.only_messages and record.facts.graph != graph:
            raise ThreadError(
                f"thread {thread!r} was started on {record.facts.graph!r}, and {graph!r} cannot go on with it"
            )
        # By id, as agents within an agent may ask at once; what somebody else's interrupt asks is not ours to answer.
        answers = {one.id: LOOK_AGAIN for one in waits if is_ours(one.value)}
        return self._config(thread, record.facts.graph), Command(resume=answers) if answers else None

    async def threads(self, *, subject: str | None = None) -> list[ThreadRecord]:
        """The threads, newest first."""
        return await self.services.threads.list(subject=subject)

    async def find_thread(self, thread: str) -> ThreadRecord:
        """One thread.

        Raises:
            UnknownThread: nobody opened it.
        """
        found = await self.services.threads.find(thread)
        if found is None:
            raise UnknownThread(thread)
        return found

    async def timeline(self, thread: str | None = None) -> list[Entry]:
        """The ledger of a thread, or of all."""
        return [entry async for entry in self.services.ledger.entries(thread)]

    async def judgements(
        self, *, graph: str | None = None, action: str | None = None, since: timedelta | None = None
    ) -> list[Judgement]:
        """Recorded verdicts with what they were judged by, oldest first: of a workflow, of one action, since then."""
        return [one async for one in self.services.policies.judgements(graph=graph, action=action, since=since)]

    async def policy(self, digest: str) -> PolicyDocument | None:
        """The policy of a digest that has judged on this database, or None.

        Raises:
            PolicyError: what was kept is not the policy of this digest.
        """
        return await self.services.policies.find(digest)

    async def verify_audit(self, thread: str | None = None) -> AuditReport:
        """Recompute the chains of the ledger."""
        return await self.services.ledger.verify(thread)

    async def apply(self, migrations: Iterable[tuple[str, str]]) -> None:
        """Create a workflow's own tables, once, whoever else tries at the same time."""
        await self.database.migrate(list(migrations))

    @classmethod
    async def _wire(
        cls,
        stack: AsyncExitStack,
        uri: str,
        settings: Settings,
        extra: Sequence[tuple[str, str]],
        types: Sequence[type],
        credentials: Mapping[str, CredentialProvider] | None,
        embeddings: Embeddings | None,
    ) -> AsyncRuntime:
        # Without a DATABASE_URL it is the embedded server, which has no pooler before it.
        direct = settings.direct_url if settings.database_url else ""
        database = Database(uri, size=settings.pool_size, direct=direct)
        await database.open()
        stack.push_async_callback(database.close)
        keys = await _keys(database, settings)
        await database.migrate(extra, before=sealing(keys))
        await keys.probe()
        commits = Commits(database, keys)
        stack.push_async_callback(commits.close)
        tracing = Tracing(asyncio.get_running_loop())
        services = _services(database, keys, commits, settings, credentials, embeddings, tracing)
        tracing.reads(services)
        if embeddings is not None:
            await PostgresMemory(database, commits).recall_by_meaning()
        await PostgresCredentials(database, keys).sweep()
        return cls(
            checkpointer=StatewardSaver(
                PostgresCheckpoints(database, keys, commits),
                loop=services.loop,
                types=types,
                turns=services.turns,
            ),
            keys=keys,
            store=StatewardStore(services),
            services=services,
            settings=settings,
            database=database,
            tracing=tracing,
        )


def _granted(said: Delegation | str) -> Delegation:
    if isinstance(said, str):
        raise DecisionRefused(said)
    return said


@asynccontextmanager
async def _beside(name: str, work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Do something now and then, while the runtime is open."""
    task = asyncio.create_task(work, name=f"stateward {name}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keys(database: Database, settings: Settings) -> DataKeys:
    ring = await asyncio.to_thread(
        open_keyring, home=settings.home, master_key=settings.master_key, kms_key=settings.kms_key
    )
    return DataKeys(database, ring)


def _services(
    database: Database,
    keys: DataKeys,
    commits: Commits,
    settings: Settings,
    own: Mapping[str, CredentialProvider] | None,
    embeddings: Embeddings | None,
    tracing: Tracing,
) -> Services:
    spans = Spans.of(settings.spans)
    return Services(
        schema=database,
        threads=PostgresThreads(database, commits),
        journal=SpannedJournal(database, commits, spans),
        desk=SpannedDesk(database, commits, spans),
        ledger=PostgresLedger(database, commits),
        overview=PostgresOverview(database, commits),
        memory=SpannedMemory(database, commits, spans),
        erasure=PostgresErasure(database, keys, commits),
        case_file=PostgresCaseFile(database, keys),
        vault=PostgresVault(database, keys),
        redactor=PresidioRedactor(ner_model=settings.ner_model or None),
        credentials=MintedCredentials(PostgresCredentials(database, keys), own=own),
        provenance=PostgresProvenance(database, keys, commits),
        policies=PostgresPolicies(database, commits),
        loop=asyncio.get_running_loop(),
        development=settings.development,
        hash_key=settings.hash_key(),
        embedder=embeddings,
        govern=tracing.govern,
        spans=spans,
    )


async def _embedded(stack: AsyncExitStack, settings: Settings, *, keep_running: bool) -> str:
    server = EmbeddedServer(embedded_root(settings), keep_running=keep_running)
    uri = await asyncio.to_thread(server.start)
    stack.push_async_callback(asyncio.to_thread, server.close)
    return uri


def embedded_root(settings: Settings) -> Path:
    """Where the embedded Postgres of these settings lives; the major version is part of the name."""
    if not settings.home.is_absolute():
        raise ConfigurationError(f"STATEWARD_HOME is {str(settings.home)!r}: give an absolute path")
    return settings.home / "pg18"


def _refuse_no_principal(name: str, given: object, *, example: str) -> None:
    if not isinstance(given, Principal):
        said = repr(given) if isinstance(given, str) else "'...'"
        raise ConfigurationError(f"{name}={given!r} is no Principal: give {name}=Principal({said}, {example})")


def _misfit(ward: Ward, facts: ThreadFacts) -> str:
    """Why every run of a new thread would be refused; an agent's thread may have any purpose."""
    works = {"principal": ward.principal} | ({} if ward.only_messages else {"purpose": ward.purpose})
    for name, needed in works.items():
        if (given := getattr(facts, name)) != needed:
            return (
                f"thread {facts.thread!r} was not opened: its {name} is {given!r}, and {ward.name!r} works for "
                f"{needed!r}; give runtime.thread(...) that, or make {ward.name!r} with {name}={given!r}"
            )
    return ""
