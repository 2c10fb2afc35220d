"""What the steps work with inside a graph: the ports of one runtime, and the wards of its workflows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config, get_store

from stateward.conversation import Conversation, Treatments
from stateward.errors import ConfigurationError, ThreadError, UnknownThread
from stateward.model.memory import MemoryItem, Scope, Search
from stateward.model.policy import PolicyDocument
from stateward.model.provenance import UNTRUSTED, Sighting
from stateward.model.thread import ThreadFacts
from stateward.model.values import digest
from stateward.orchestrate.answers import AnswerSpec
from stateward.orchestrate.reading import Doubt, Given, Reading, said
from stateward.orchestrate.tools import ToolSpec
from stateward.orchestrate.turns import Turns
from stateward.personal_data.pseudonyms import Tokens, nobodys
from stateward.personal_data.treating import PersonalDataPolicy
from stateward.ports import (
    CaseFile,
    Credentials,
    Desk,
    Embedder,
    Erasure,
    Journal,
    Ledger,
    Memory,
    Overview,
    Policies,
    Provenance,
    Redactor,
    Schema,
    Threads,
    Vault,
)
from stateward.remember.write import Keeper, personal_data_policy
from stateward.spans import Spans
from stateward.verify.gate import Gate
from stateward.verify.origin import sighting

_LOG = logging.getLogger("stateward")


@dataclass(frozen=True, kw_only=True)
class Ward:
    """One workflow under one policy: its gate, its tools, and the identity that acts in it.

    Attributes:
        name: The workflow's name.
        version: Digest over its drawn structure.
        document: The policy.
        gate: The policy, compiled against the tools.
        tools: The tools by name.
        principal: The agent identity that acts.
        purpose: What its threads are for.
        shown: The tools that the planner may call; the others are for the workflow's own steps.
        answer: What it answers with.
        only_messages: Of a run's input only the messages are the person's; an agent's other channels are its own.
        migrations: The workflow's own tables, by name and SQL.
    """

    name: str
    version: str
    document: PolicyDocument
    gate: Gate
    tools: Mapping[str, ToolSpec]
    principal: str
    purpose: str
    shown: frozenset[str]
    answer: AnswerSpec
    only_messages: bool = False
    migrations: tuple[tuple[str, str], ...] = ()

    @cached_property
    def conversation(self) -> PersonalDataPolicy | None:
        """How personal data is treated in what models are given; None where they may have all of it."""
        said = self.document.conversation.personal_data
        return PersonalDataPolicy.of(said, self.document.memory.detection) if said else None

    @cached_property
    def treatments(self) -> Sequence[PersonalDataPolicy]:
        """Of what is treated at all: memory where anything can be kept, and the conversation."""
        kept = [personal_data_policy(self.document)] if self.document.memory.kinds else []
        return kept if self.conversation is None else [*kept, self.conversation]

    @cached_property
    def pseudonyms(self) -> Sequence[PersonalDataPolicy]:
        """Those of the treatments that give pseudonyms."""
        return [one for one in self.treatments if "pseudonymize" in (one.default, *one.entities.values())]


@dataclass(frozen=True, kw_only=True)
class Services:
    """The ports of one runtime.

    Attributes:
        loop: The event loop that all of them live on.
        development: Whether an answer without a verified person counts. Never outside a developer's machine.
        hash_key: Key of the keyed hashes in memory.
        embedder: Says where texts lie among all texts, for a recall by meaning; None where nothing does.
        govern: Refuses what would send away what a ward treats.
        spans: Makes OpenTelemetry's spans.
        turns: What this process knows of the turns that go on in it.
        treatments: What this process has treated of conversations.
    """

    schema: Schema
    threads: Threads
    journal: Journal
    desk: Desk
    ledger: Ledger
    overview: Overview
    memory: Memory
    erasure: Erasure
    redactor: Redactor
    case_file: CaseFile
    vault: Vault
    credentials: Credentials
    provenance: Provenance
    policies: Policies
    loop: asyncio.AbstractEventLoop
    development: bool
    hash_key: bytes
    embedder: Embedder | None = None
    govern: Callable[[Ward], None] = lambda _: None
    spans: Spans = field(default_factory=Spans)
    turns: Turns = field(default_factory=Turns)
    treatments: Treatments = field(default_factory=Treatments)
    wards: dict[str, Ward] = field(default_factory=dict[str, Ward])
    _facts: dict[str, ThreadFacts] = field(default_factory=dict[str, ThreadFacts])
    _installed: set[str] = field(default_factory=set[str])
    _kept: set[str] = field(default_factory=set[str])
    _proven: set[frozenset[tuple[str, float]]] = field(default_factory=set[frozenset[tuple[str, float]]])

    def know(self, ward: Ward) -> None:
        """A workflow is compiled, or an agent's middleware is made, before anything runs."""
        self.govern(ward)
        self.wards[ward.name] = ward

    async def install(self, ward: Ward) -> None:
        """Make the ward known to this process, and create its workflow's tables where they are missing.

        Raises:
            ConfigurationError: its policy promises to find personal data that cannot be found here.
            RedactionFailed: what finds it does not work.
        """
        self.wards.setdefault(ward.name, ward)
        self.govern(ward)
        if ward.migrations and ward.name not in self._installed:
            await self.schema.migrate(ward.migrations)
            self._installed.add(ward.name)
        await self._prove(ward)
        await self.keep(ward)

    async def _prove(self, ward: Ward) -> None:
        """Refuse to start where the policy promises to find what cannot be found here."""
        policy = PersonalDataPolicy(detection=ward.document.memory.detection)
        entities = {entity for one in ward.treatments for entity in one.scanned()}
        promised = frozenset((entity, policy.detection.least(entity)) for entity in entities)
        if promised and promised not in self._proven:
            await self.redactor.prove((entity for entity, _ in promised), least=policy.detection.least)
            self._proven.add(promised)

    async def keep(self, ward: Ward) -> None:
        """Keep the ward's policy before it judges for the first time in this process."""
        digest = ward.gate.digest
        if digest in self._kept:
            return
        others = await self.policies.keep(ward.document)
        if others and digest not in self._kept:
            _LOG.warning(
                "another policy has judged as %s too (%s, this is %s): give a change of the rules a new version",
                ward.document.label,
                ", ".join(one[:12] for one in others),
                digest[:12],
            )
        self._kept.add(digest)

    async def facts(self, thread: str) -> ThreadFacts:
        """Whom the thread belongs to, from its row; it never changes, so it is read once.

        Raises:
            UnknownThread: nobody opened it.
        """
        if thread not in self._facts:
            record = await self.threads.find(thread)
            if record is None:
                raise UnknownThread(thread)
            self._facts[thread] = record.facts
        return self._facts[thread]

    async def scope(self, thread: str) -> Scope:
        """On whose behalf memory is read and written in this thread."""
        return scope_of(await self.facts(thread))

    async def reading(self, ward: Ward, facts: ThreadFacts, *, anew: bool = False) -> Reading:
        """Where what the thread works with comes from; read once in a run, and only for a policy that asks about it.

        Args:
            anew: Read it again, where another process may be running the thread.
        """
        reading, gate = self.turns.readings.of(facts.thread), ward.gate
        if (anew or not reading.fresh) and (gate.labelled or gate.reads_origin):
            known = await self.provenance.load(facts.thread, seen=gate.reads_origin)
            reading.join(known.labels, known.sightings)
        given, reading.given = reading.given, None
        if given is not None and gate.reads_origin and self._vouches(given, facts):
            words = said(given.value, only_messages=ward.only_messages)
            await self.see(facts.thread, sighting(given.source, "person", words))
        return reading

    async def see(self, thread: str, one: Sighting) -> None:
        """Keep a text, here and with the thread's next commit."""
        self.turns.readings.of(thread).sightings.add(one)
        await self.provenance.see(thread, one)

    async def tokens(self, ward: Ward, thread: str) -> Tokens:
        """How pseudonyms are read in this thread: of the entity types that get some under its policy."""
        anything = any(one.default == "pseudonymize" for one in ward.pseudonyms)
        known = [one.entity for one in await self.case_file.known(thread)] if anything else ()
        return Tokens(entities=frozenset(name for one in ward.pseudonyms for name in one.pseudonymized(known)))

    def conversation(self, ward: Ward, facts: ThreadFacts, *, within: bool = False) -> Conversation | None:
        """Treats what models are given in this thread; None where its policy lets them have all of it."""
        if ward.conversation is None:
            return None
        return Conversation(
            policy=ward.conversation,
            version=ward.gate.digest,
            scope=scope_of(facts),
            redactor=self.redactor,
            case_file=self.case_file,
            vault=self.vault,
            hash_key=self.hash_key,
            done=self.treatments,
            provenance=self.provenance,
            reveals=ward.document.conversation.answers == "values",
            within=within,
        )

    def label(
        self,
        facts: ThreadFacts,
        labels: Iterable[str],
        *,
        turn: str,
        action: str | None = None,
        tool: str | None = None,
    ) -> None:
        """Give a thread labels, here and with its next commit; those that it has cost nothing."""
        reading = self.turns.readings.of(facts.thread)
        new = {label for label in labels if label not in reading.labels}
        if new:
            self.provenance.label(facts.thread, new, turn=turn, actor=facts.principal, action=action, tool=tool)
            reading.labels.update(dict.fromkeys(new, turn))

    @property
    def keeper(self) -> Keeper:
        """Writes memory under a policy."""
        return Keeper(
            memory=self.memory,
            redactor=self.redactor,
            case_file=self.case_file,
            vault=self.vault,
            embedder=self.embedder,
            hash_key=self.hash_key,
        )

    async def search(self, scope: Scope, search: Search) -> list[MemoryItem]:
        """What fits best, by words and, where embeddings are configured, by meaning; it brings its labels along."""
        if search.query and self.embedder is not None:
            search = replace(search, embedding=await self.embedder.aembed_query(search.query))
        found = await self.memory.search(scope, search)
        await self.recalled(scope.thread, found)
        return found

    async def recalled(self, thread: str, items: Sequence[MemoryItem]) -> None:
        """What was kept on another thread brings its labels to this one."""
        facts = await self.facts(thread)
        ward = self.wards.get(facts.graph)
        if ward is not None and (talk := self.conversation(ward, facts)) is not None:
            talk.recalled([item.value for item in items])
        for item in items:
            kind = ward.document.memory.kinds.get(item.kind) if ward else None
            labels = {*item.labels, *(kind.labels if kind else ())}
            self.label(facts, labels, turn="")
            if UNTRUSTED in labels:
                Doubt.rise()
                if ward is not None and ward.gate.reads_origin:
                    source = f"item:{digest([*item.namespace, item.key])}"
                    await self.see(thread, sighting(source, "untrusted", item.value))

    def _vouches(self, given: Given, facts: ThreadFacts) -> bool:
        """Whether an input is the requester's own: of the people whom a server lets in, nobody else's is."""
        return (given.is_verified or self.development) and given.by in (None, facts.requester)

    def ward_of(self, facts: ThreadFacts) -> Ward:
        """The ward that the thread runs under.

        Raises:
            ThreadError: its workflow, or its agent's middleware, is not loaded in this process.
        """
        ward = self.wards.get(facts.graph)
        if ward is None:
            raise ThreadError(
                f"thread {facts.thread!r} runs under {facts.graph!r}, which is not loaded in this process: compile the "
                "workflow with the runtime, or make the agent's middleware, first"
            )
        return ward


def scope_of(facts: ThreadFacts) -> Scope:
    """On whose behalf a thread reads and writes."""
    return Scope(
        tenant=facts.tenant,
        principal=facts.principal,
        purpose=facts.purpose,
        subject=facts.subject,
        thread=facts.thread,
    )


def refuse_nobody(ward: Ward, facts: ThreadFacts) -> ThreadFacts:
    """The facts of a thread that may have pseudonyms, where the policy has any.

    Raises:
        ThreadError: its subject is nobody's.
    """
    if nobodys(facts.subject) and ward.pseudonyms:
        raise ThreadError(
            f"thread {facts.thread!r} has the subject {facts.subject!r}, and {ward.document.label} has pseudonyms: "
            "cases that share a subject would open each other's, so give it one of its own, such as customer:17"
        )
    return facts


def current_services() -> Services:
    """The services behind the store of the graph that is running.

    Raises:
        ConfigurationError: the graph runs without our store.
    """
    try:
        store = get_store()
    except (RuntimeError, KeyError):
        store = None
    services = getattr(store, "services", None)
    if not isinstance(services, Services):
        raise ConfigurationError(
            "this graph runs without Stateward's store: use flow.compile(runtime), or give create_agent(...) or "
            "compile(...) both checkpointer=runtime.checkpointer and store=runtime.store"
        )
    return services


def current_thread() -> str:
    """The id of the thread that is running.

    Raises:
        ConfigurationError: the run has no thread id.
    """
    thread = configurable(get_config()).get("thread_id")
    if not isinstance(thread, str) or not thread:
        raise ConfigurationError("the run has no thread_id: pass the config that runtime.thread(...) gives")
    return thread


def configurable(config: RunnableConfig) -> Mapping[str, object]:
    """The configurable part of a config."""
    return cast("Mapping[str, object]", config.get("configurable") or {})
