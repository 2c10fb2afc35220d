"""What a model is given of a conversation, and what the state keeps of people's messages: their personal data treated
as the policy says, each text once in a process.

Values of a thread's subject that have a pseudonym are looked for as they are, whatever stands around them; everything
else is found as in memory. Images, audio and other files are not looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.types import Command

from stateward.model.memory import KnownValue, Scope
from stateward.model.values import Json, plain
from stateward.personal_data.pseudonyms import Key, Tokens, hidden
from stateward.personal_data.treating import PersonalDataPolicy, treat
from stateward.ports import CaseFile, Provenance, Redactor, Vault

One = TypeVar("One", bound=BaseMessage)
_Part = tuple[Json, frozenset[Key] | None]

_TEXTS, _THREADS = 8192, 1024
_READ = ("text", "input", "args", "title", "context")
_WITHIN = ("content", "source")
_MARK = "stateward"  # in a message's `additional_kwargs`: what says that its pseudonyms are ours


class Treatments:
    """What this process has treated, so that only what is new is looked through; and the pseudonyms of each thread."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._texts: OrderedDict[bytes, Json] = OrderedDict()
        self._given: OrderedDict[str, set[Key]] = OrderedDict()

    def key(self, *what: object) -> bytes:
        """Names what was treated, and how."""
        text = json.dumps(what, default=str, ensure_ascii=False).encode(errors="surrogatepass")
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()

    def get(self, key: bytes) -> Json:
        """What was made of it; None where it is new, as it is for a null."""
        return self._texts.get(key)

    def keep(self, key: bytes, value: Json) -> None:
        """Keep what was made of it, as long as there is room."""
        self._texts[key] = value
        while len(self._texts) > _TEXTS:
            self._texts.popitem(last=False)

    def given(self, thread: str) -> set[Key]:
        """The pseudonyms that stand in what the thread was given."""
        found = self._given.setdefault(thread, set())
        self._given.move_to_end(thread)
        while len(self._given) > _THREADS:
            self._given.popitem(last=False)
        return found


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Treats the conversation of one thread.

    Attributes:
        version: Names the policy.
        reveals: Whether an answer has the values.
        within: Whether the model is that of an agent within an agent: what it is asked is another model's words.
        gives: Whether the thread is given what is treated.
    """

    policy: PersonalDataPolicy
    version: str
    scope: Scope
    redactor: Redactor
    case_file: CaseFile
    vault: Vault
    hash_key: bytes
    done: Treatments
    provenance: Provenance
    reveals: bool = True
    within: bool = False
    gives: bool = True

    async def given(self, messages: Sequence[AnyMessage], state: Sequence[AnyMessage] = ()) -> list[AnyMessage]:
        """The messages as a model may read them. Those of the team, a `SystemMessage`, stay.

        Args:
            messages: The request.
            state: The conversation as the state has it: where somebody has changed a person's message for the request
                only, such as shortened it, it may hold the pseudonyms that it has there.

        Raises:
            RedactionFailed: personal data could not be looked for.
            MemoryRefused: a message holds what the policy refuses.
        """
        theirs = [one for one in messages if not isinstance(one, SystemMessage)]
        kept = {one.id: one for one in state if one.id and _MARK in one.additional_kwargs}
        may = [await self._may_say(one) or await self._may_say(kept.get(one.id or "", one)) for one in theirs]
        treated = iter(await self._treated([(_body(one), says) for one, says in zip(theirs, may, strict=True)]))
        return [one if isinstance(one, SystemMessage) else _unmarked(_with(one, next(treated))) for one in messages]

    async def kept(self, messages: Sequence[AnyMessage], *, enters: bool = False) -> list[AnyMessage]:
        """What the state has to keep in place of people's messages, by their ids: those that treating changes.

        Where one then has pseudonyms, a keyed digest in it says that they were put there for this thread: they are
        believed as long as it fits, whoever brings the message, and a text without it is a person's own. Errors as
        `given`.

        Args:
            messages: The conversation as the state has it.
            enters: Whether a run begins, so that what calls itself a summary, and was not seen here, is a person's.
        """
        theirs = [one for one in messages if isinstance(one, HumanMessage) and one.id]
        parts = [(_body(one), await self._may_say(one, enters=enters)) for one in theirs]
        changed = [
            (one, new)
            for one, (body, may), new in zip(theirs, parts, await self._treated(parts), strict=True)
            if new != body or (may != frozenset()) != (_MARK in one.additional_kwargs)
        ]
        tokens = self._tokens(await self._who() if changed else ())
        made = [(one, await self._marked(one, new, tokens)) for one, new in changed]
        return [new for one, new in made if new is not one]

    async def said(self, said: Sequence[Any], arguments: Json, *, is_given: bool = True) -> list[Any]:
        """What a tool says, before it enters the state: messages, and commands with messages in them.

        Args:
            said: The messages and commands.
            arguments: Those of the call: a pseudonym that was in them may come back.
            is_given: Whether the thread is given it, so that its pseudonyms may be said from then on. What it is not
                given is treated at once, whoever's message it is.
        """
        tokens = self._tokens(await self._who())
        may = frozenset(self.done.given(self.scope.thread) | tokens.found(arguments))
        talk = self if is_given else replace(self, gives=False)
        return [await talk._one_said(one, may) for one in said]

    async def shown(self, value: Json) -> Json:
        """What others than the conversation may see of a value."""
        (new,) = await replace(self, gives=False)._treated([(value, None)])
        return new

    async def answered(self, content: Json, may: frozenset[Key] | None = None) -> Json:
        """An answer, or a part of one, for the reader: with the values, where the policy gives them to readers.

        Args:
            content: It.
            may: Which of its tokens are pseudonyms. Default: all that there are.
        """
        tokens = self._tokens(await self._who())
        found = tokens.found(content) if self.reveals else set[Key]()
        found = found if may is None else found & may
        return tokens.put_back(content, await self.vault.reveal(self.scope, found)) if found else content

    async def leaving(self, message: One, may: frozenset[Key] | None = None) -> One:
        """An answer's message, likewise."""
        content = cast("Json", message.content)
        readable = _readable(content)
        new = await self.answered(readable, may)
        return message if new == readable else message.model_copy(update={"content": _written(content, new)})

    async def read(self, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        """The messages that people and models wrote for each other, for the reader likewise; a pseudonym that a person
        has typed is none."""
        may = [
            await self._may_say(one, enters=True) if isinstance(one, AIMessage | HumanMessage) else frozenset[Key]()
            for one in messages
        ]
        return [
            one if says == frozenset() else await self.leaving(_unmarked(one), says)
            for one, says in zip(messages, may, strict=True)
        ]

    def recalled(self, values: Json) -> None:
        """What memory gave the thread may be said in it."""
        self.done.given(self.scope.thread).update(Tokens(entities=self.policy.pseudonymized()).found(values))

    async def _one_said(self, one: Any, may: frozenset[Key]) -> Any:
        # A tool's own messages; those of others are treated as a model is given them, as wherever they come from.
        if isinstance(one, ToolMessage) or (isinstance(one, BaseMessage) and not self.gives):
            (new,) = await self._treated([(_body(one), may)])
            told, artifact = _with(one, new), getattr(one, "artifact", None)
            if artifact is not None:
                told = told.model_copy(update={"artifact": await self._artifact(artifact, may)})
            return told
        if isinstance(one, Command):
            command = cast("Command[Any]", one)
            update: Any = command.update
            messages = cast("Mapping[str, Any]", update).get("messages") if isinstance(update, Mapping) else update
            listed = cast("list[Any]", messages if isinstance(messages, list) else [messages])
            if any(isinstance(each, BaseMessage) for each in listed):
                new = [await self._one_said(each, may) for each in listed]
                made = {**cast("Mapping[str, Any]", update), "messages": new} if isinstance(update, Mapping) else new
                return Command(graph=command.graph, update=made, resume=command.resume, goto=command.goto)
        return cast("Any", one)

    async def _artifact(self, artifact: Any, may: frozenset[Key]) -> Any:
        try:
            value = plain(artifact)
        except (TypeError, ValueError):
            return artifact
        (new,) = await self._treated([(value, may)])
        return artifact if new == value else new

    async def _may_say(self, message: AnyMessage, *, enters: bool = False) -> frozenset[Key] | None:
        """Which pseudonyms a message may hold: none of a person's own, and of all others those that there are."""
        summed_up = "lc_source" in message.additional_kwargs  # by a middleware, from what a model has said
        if not isinstance(message, HumanMessage) or self.within or (summed_up and not enters):
            return None
        mark = message.additional_kwargs.get(_MARK)
        said = _pseudonyms(mark) if isinstance(mark, str) else frozenset[Key]()
        is_ours = said and _alike(cast("str", mark), await self._mark(message, said))
        return said if is_ours else frozenset()

    async def _marked(self, message: HumanMessage, body: Json, tokens: Tokens) -> HumanMessage:
        made = _with(message, body)
        said = tokens.found(_body(made))
        if self.within:
            return made if made is message else _unmarked(made)  # nobody knows here which of them a person has written
        if not said:
            return _unmarked(made)  # it reads the same as a person's own
        mark = await self._mark(made, said)
        if made.additional_kwargs.get(_MARK) == mark:
            return made
        return made.model_copy(update={"additional_kwargs": {**made.additional_kwargs, _MARK: mark}})

    async def _mark(self, message: BaseMessage, said: Collection[Key]) -> str:
        """The pseudonyms that were put into it, as what else looks like one may be one later, and a digest of all."""
        names = " ".join(f"{entity}:{number}" for entity, number in sorted(said))
        return f"{await self.provenance.vouch(self.scope.thread, json.dumps([_body(message), names]))} {names}"

    async def _who(self) -> Sequence[KnownValue]:
        return await self.case_file.known(self.scope.thread)

    def _tokens(self, known: Sequence[KnownValue]) -> Tokens:
        return Tokens(entities=self.policy.pseudonymized(one.entity for one in known))

    async def _treated(self, parts: Sequence[_Part]) -> list[Json]:
        known = await self._who()
        who = [(one.entity, one.value) for one in known]
        tokens = self._tokens(known)

        def named(part: Json, may: frozenset[Key] | None) -> bytes:
            return self.done.key(self.scope.thread, self.version, who, sorted(may) if may is not None else None, part)

        keys = [named(part, may) for part, may in parts]
        new = {key: part for key, part in zip(keys, parts, strict=True) if self.done.get(key) is None}
        found = {key: self.done.get(key) for key in keys if key not in new}
        for may in {may for _, may in new.values()}:
            alike = {key: part for key, (part, allowed) in new.items() if allowed == may}
            for key, value in zip(alike, await self._looked_through(list(alike.values()), may, known), strict=True):
                self.done.keep(key, value)
                # What was treated is left alone where it comes again.
                self.done.keep(named(value, None), value)
                self.done.keep(named(value, frozenset(tokens.found(value))), value)
                found[key] = value
        treated = [found[key] for key in keys]
        if self.gives:
            self.done.given(self.scope.thread).update(tokens.found(treated))
        return treated

    async def _looked_through(
        self, parts: Sequence[Json], may: frozenset[Key] | None, known: Sequence[KnownValue]
    ) -> Sequence[Json]:
        tokens = self._tokens(known)
        names = _Names(vault=self.vault, scope=self.scope, may=may)
        given: Json = list(parts)
        if tokens.entities:
            # First what only looks like a pseudonym, so that none is taken for one of those that come next.
            given = tokens.settled(given, await names.issued(tokens.found(given)))
            values = await self.vault.reveal(self.scope)
            given = hidden(given, [one for key, one in values.items() if key[0] in tokens.entities])
            names = _Names(vault=self.vault, scope=self.scope, may=None)
        treated = await treat(
            {"": given}, policy=self.policy, redactor=self.redactor, key=self.hash_key, known=known, names=names
        )
        return cast("Sequence[Json]", treated.value[""])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Names:
    vault: Vault
    scope: Scope
    may: frozenset[Key] | None

    async def issue(self, values: Sequence[KnownValue]) -> list[int]:
        return await self.vault.issue(self.scope, values)

    async def issued(self, wanted: Collection[Key]) -> Collection[Key]:
        return await self.vault.reveal(self.scope, wanted if self.may is None else set(wanted) & self.may)


def _alike(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="surrogatepass"), other.encode())


def _pseudonyms(mark: str) -> frozenset[Key]:
    """Those that a mark says were put into its message."""
    parts = [name.rpartition(":") for name in mark.split(" ")[1:]]
    return frozenset((entity, int(number)) for entity, _, number in parts if number.isascii() and number.isdigit())


def _unmarked(message: One) -> One:
    if _MARK not in message.additional_kwargs:
        return message
    left = {name: value for name, value in message.additional_kwargs.items() if name != _MARK}
    return message.model_copy(update={"additional_kwargs": left})


def _body(message: BaseMessage) -> Json:
    """What a model reads of a message."""
    content = cast("Json", message.content)
    calls = [cast("Json", call["args"]) for call in message.tool_calls] if isinstance(message, AIMessage) else []
    return [
        _parsed(message, _readable(content)),
        plain(calls),
        message.name if isinstance(message, HumanMessage) else "",
    ]


def _with(message: One, body: Json) -> One:
    """The message with what was made of its body."""
    if body == _body(message):
        return message
    said, calls, name = cast("tuple[Json, list[dict[str, Any]], str | None]", body)
    content = cast("Json", message.content)
    if isinstance(content, str) and not isinstance(said, str):
        said = json.dumps(said, ensure_ascii=False)
    update: dict[str, Any] = {"content": _written(content, said)}
    if isinstance(message, AIMessage):
        made = [{**call, "args": args} for call, args in zip(message.tool_calls, calls, strict=True)]
        extra = {
            key: value for key, value in message.additional_kwargs.items() if key not in ("tool_calls", "function_call")
        }
        update |= {"tool_calls": made, "additional_kwargs": extra}
    elif isinstance(message, HumanMessage) and name != message.name:
        update["name"] = None  # a provider takes plain letters only
    return message.model_copy(update=update)


def _parsed(message: BaseMessage, readable: Json) -> Json:
    """The JSON that a tool has returned, so that its keys say what its numbers are."""
    if isinstance(message, ToolMessage) and isinstance(readable, str) and readable[:1] in ("{", "["):
        try:
            return cast("Json", json.loads(readable))
        except ValueError:
            return readable
    return readable


def _readable(content: Json) -> Json:
    """The texts in a message's content: of its blocks, what is neither a file nor signed by a provider."""
    if isinstance(content, Mapping):
        if content.get("type") in ("thinking", "redacted_thinking", "reasoning"):
            return {}
        found: dict[str, Json] = {name: content[name] for name in _READ if name in content}
        for name in _WITHIN:
            if name in content:
                found[name] = _readable(content[name])
        if content.get("type") == "text" and isinstance(content.get("data"), str):
            found["data"] = content["data"]
        return found
    if isinstance(content, list | tuple):
        return [_readable(one) for one in cast("Sequence[Json]", content)]
    return content if isinstance(content, str) else ""


def _written(content: Json, new: Json) -> Any:
    """The content with other texts."""
    if isinstance(content, Mapping) and isinstance(new, Mapping):
        return {
            **content,
            **{name: _written(content[name], new[name]) if name in _WITHIN else new[name] for name in new},
        }
    if isinstance(content, list | tuple) and isinstance(new, list | tuple):
        pairs = zip(cast("Sequence[Json]", content), cast("Sequence[Json]", new), strict=True)
        return [_written(one, other) for one, other in pairs]
    return new if isinstance(content, str) else content
