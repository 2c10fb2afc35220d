"""The policy document: what a team writes about tools, people, memory and budgets. No I/O.

The document checks itself when it is made: shapes, durations and the names that it refers to. `verify.load`
reads it from YAML and adds file, line and column; `verify.gate` compiles its conditions against the tools'
argument schemas.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, cast

from jsonschema import Draft202012Validator, SchemaError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from stateward.model.durations import Duration
from stateward.model.durations import duration_text as duration_text
from stateward.model.durations import parse_duration as parse_duration
from stateward.model.grants import OAuthGrant, StsGrant, Variable
from stateward.model.memory import COUNTRIES, COUNTRY_CODES
from stateward.model.provenance import UNTRUSTED
from stateward.model.served import Hints, overlapping

IdentityKind = Literal["agent", "person", "service", "credential"]
EffectKind = Literal["read", "write"]
Treatment = Literal["allow", "redact", "mask", "hash", "pseudonymize", "refuse"]
Mode = Literal["enforce", "observe"]

PARTIES = ("requester", "subject", "editor")
"""What a `not:` may name besides identities and roles: the people of the case at hand."""

_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_DATED = re.compile(r"[-@](?:20[0-9]{2}-?[01][0-9]-?[0-3][0-9])$")
_SOURCES = ("role", "env", "sts", "oauth", "provider")
_ONE_SOURCE = "a credential needs exactly one of `role:` (a Postgres group role), `env:`, `sts:`, `oauth:`, `provider:`"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, `; did you mean 'x'?`, or nothing where none is near."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _condition(value: object) -> object:
    # YAML reads `when: true` as a boolean, and it is a fine condition.
    return str(value).lower() if isinstance(value, bool) else value


def parse_amount(value: object) -> Decimal:
    """Read an amount of money or a price: a number of zero or more, such as 20 or 0.25.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, Decimal | int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or _AMOUNT.fullmatch(value) is None:
        raise ValueError("expected an amount such as 20 or 0.25")
    return Decimal(value)


def _entity_type(name: str) -> str:
    if name == "default":
        raise ValueError("expected an entity type in capitals, such as PERSON; for all others there is `threshold`")
    return _entity(name)


def _country(code: str) -> str:
    if code not in COUNTRY_CODES:
        raise ValueError(f"expected a country by its ISO 3166 code, such as GB or DE{nearest(code, COUNTRY_CODES)}")
    return code


def _score(value: object) -> float:
    if isinstance(value, bool) or not re.fullmatch(r"0(\.[0-9]+)?|1(\.0+)?", str(value)):
        raise ValueError("expected a number from 0 to 1, such as 0.6")
    return float(str(value))


def _tool_key(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_*][A-Za-z0-9_.:/*-]*", name) is None:
        raise ValueError("a tool's name has letters, digits and _ . : / - only; * stands for any of them")
    if re.search(r"[A-Za-z0-9]", name) is None:
        raise ValueError("a pattern that matches every tool would name tools that nobody has thought of; say which")
    return name


def _entity(name: str) -> str:
    if name != "default" and re.fullmatch(r"[A-Z][A-Z0-9_]*", name) is None:
        raise ValueError("expected 'default' or an entity type in capitals, such as EMAIL_ADDRESS")
    return name


Amount = Annotated[Decimal, BeforeValidator(parse_amount)]
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Sentence = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1)]
Condition = Annotated[str, BeforeValidator(_condition), StringConstraints(strict=True, min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]
ToolName = Annotated[str, AfterValidator(_tool_key)]
EntityName = Annotated[str, AfterValidator(_entity)]
EntityType = Annotated[str, AfterValidator(_entity_type)]
Country = Annotated[str, AfterValidator(_country)]
Score = Annotated[float, BeforeValidator(_score)]


def later(default: object, *, alias: str | None = None) -> Any:
    """A key that came after the first release of its part.

    It is left out of the policy's digest where it is not given, so that an older policy keeps its digest, and with it
    every approval and permit, over an upgrade. So what its default means may never change: that would take a new key.
    """
    return Field(default=default, alias=alias, exclude_if=lambda value: value == default)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Identity(_Part):
    """Somebody, or something, that the policy names.

    Attributes:
        kind: `agent`, `person`, `service`, or `credential` for what a tool authenticates with. A credential is minted
            for one call, from exactly one of `role`, `env`, `sts`, `oauth` and `provider`.
        role: For a credential, the Postgres group role that a login is made in; else a role that its bearers are
            addressed as.
        env: The variable of the environment that holds a secret.
        sts: AWS STS assumes a role.
        oauth: An OAuth 2.0 server gives an access token.
        provider: A provider of the team's own, by the name that `Runtime.open(credentials=...)` gives it.
        serves: `read`, `write` or both. Unless stated, all tools of a credential have to have the same effect.
    """

    kind: IdentityKind
    role: Sentence | None = None
    env: Variable | None = later(None)
    sts: StsGrant | None = later(None)
    oauth: OAuthGrant | None = later(None)
    provider: Name | None = later(None)
    serves: tuple[EffectKind, ...] = later(())

    @property
    def source(self) -> tuple[object, ...]:
        """What it is minted from: two credentials with the same one can do the same."""
        return self.role, self.env, self.provider, _dumped(self.sts), _dumped(self.oauth)

    @model_validator(mode="after")
    def _is_minted_from_one_thing(self) -> Self:
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        if self.kind == "credential":
            if len(sources) != 1:
                found = f", and this has {' and '.join(sources)}" if sources else ""
                raise PydanticCustomError("policy", "{text}", {"text": f"{_ONE_SOURCE}{found}"})
        elif (set(sources) - {"role"}) or self.serves:
            extra = sorted(set(sources) - {"role"} | ({"serves"} if self.serves else set()))
            text = f"only a credential has {', '.join(extra)}; this is of `kind: {self.kind}`"
            raise PydanticCustomError("policy", "{text}", {"text": text})
        return self


class _Rule(_Part):
    mode: Mode = later("enforce")


class DenyRule(_Rule):
    """Refuses a call when `when` holds; `because` is the sentence for people and for the model.

    Attributes:
        mode: `enforce`, or `observe`: it is evaluated and recorded, and changes nothing. So for every kind of rule.
    """

    when: Condition
    because: Sentence


class LimitRule(_Rule):
    """Refuses a call unless `keep` holds; it may read `history`."""

    keep: Condition
    because: Sentence


class AskRule(_Rule):
    """Asks people when `when` holds.

    Attributes:
        when: The condition, `true` by default: every call is asked about.
        by: Persons or roles, any of which may decide.
        of: How many different people have to approve, 1 by default.
        excluding: `not:` in the file: who may not decide: requester, subject, editor, identities or roles.
        within: How long its people have, 7 days by default, from the moment that it is their turn.
        stage: Its people are asked when every rule of a lower stage has its quorum; 1 by default.
        lapse: What becomes of the question when they have not decided in time: `reject`, or `escalate`, once, to the
            people of `escalate`.
        remind: How often they are reminded meanwhile; never by default.
        confirm: `typed`: an approval needs a word of the call typed exactly. No button approves it.
        because: The sentence for people; derived from the condition where it is not given.
    """

    when: Condition = "true"
    by: Names
    of: Annotated[StrictInt, Field(ge=1)] = 1
    excluding: tuple[Name, ...] = Field(default=(), alias="not")
    within: Duration = timedelta(days=7)
    stage: Annotated[StrictInt, Field(ge=1, le=99)] = later(1)
    lapse: Literal["reject", "escalate"] = later("reject")
    remind: Duration | None = later(None)
    confirm: Literal["typed"] | None = later(None)
    because: Sentence | None = None


class ToolRule(_Part):
    """What one tool is, who may use it and under which conditions.

    Attributes:
        effect: `read` or `write`.
        destructive: MCP's hint: a write may destroy what was there. True unless said otherwise, as in MCP.
        idempotent: MCP's hint: running it again with the same key changes nothing more.
        open_world: MCP's hint: it reaches beyond the team's own systems. True unless said otherwise, as in
            MCP.
        identity: The credential that is minted for each call.
        allowed: `for:` in the file: the agents, or roles, that may call it. There is no default: nobody is
            meant by silence.
        returns: The labels that its results carry: the team's own names, and `untrusted` for content that strangers
            can write. The thread has them from the call on.
        reveal: The top-level arguments in which the tool gets the values that pseudonyms stand for; elsewhere it gets
            the pseudonyms.
        deny: Refusals, in order.
        limit: What has to hold, in order.
        ask: Questions to people; all that apply are collected into one request.
    """

    effect: EffectKind
    destructive: StrictBool = True
    idempotent: StrictBool = False
    open_world: StrictBool = True
    identity: Name | None = None
    allowed: Names = Field(alias="for")
    returns: tuple[Name, ...] = later(())
    reveal: tuple[Name, ...] = later(())
    deny: tuple[DenyRule, ...] = ()
    limit: tuple[LimitRule, ...] = ()
    ask: tuple[AskRule, ...] = ()

    @model_validator(mode="after")
    def _reads_destroy_nothing(self) -> Self:
        if self.effect == "read" and self.destructive and "destructive" in self.model_fields_set:
            raise PydanticCustomError("policy", "a tool with `effect: read` cannot be destructive")
        return self


class ServerRule(_Part):
    """What the tools of an MCP server are that `tools:` does not name, who may use them and under which conditions.

    Attributes:
        trusted: Whether the server's annotations are believed. Otherwise each of its tools is a destructive write that
            may not be repeated and reaches beyond the team's systems, whatever the server says.
        identity: The credential that is minted for each call, and sent with it as `Authorization: Bearer ...`.
        allowed: `for:` in the file: the agents, or roles, that may call them.
        returns: The labels that their results carry; those of a server that is not trusted carry `untrusted` as well.
        deny: Refusals, in order. A rule may read only those arguments that all of these tools have.
        limit: What has to hold, in order.
        ask: Questions to people; all that apply are collected into one request.
    """

    trusted: StrictBool = False
    identity: Name | None = None
    allowed: Names = Field(alias="for")
    returns: tuple[Name, ...] = ()
    deny: tuple[DenyRule, ...] = ()
    limit: tuple[LimitRule, ...] = ()
    ask: tuple[AskRule, ...] = ()

    def of(self, hints: Hints) -> ToolRule:
        """The rule of a tool that has these annotations, with MCP's defaults for those that it lacks."""
        said = hints if self.trusted else Hints()
        return ToolRule.model_construct(
            effect="read" if said.read_only else "write",
            destructive=said.destructive is not False and not said.read_only,
            idempotent=bool(said.idempotent) and not said.read_only,
            open_world=said.open_world is not False,
            identity=self.identity,
            allowed=self.allowed,
            returns=self.returns if self.trusted else tuple(dict.fromkeys((*self.returns, UNTRUSTED))),
            deny=self.deny,
            limit=self.limit,
            ask=self.ask,
        )


class AnswerRule(_Part):
    """What has to hold before an answer leaves.

    Attributes:
        deny: Refusals, in order; conditions see the answer as `answer.<field>`, a plain text as `answer.text`.
        ask: Questions to people; all that apply are collected into one request.
        tries: After how many answers in a row that do not hold people are asked how to go on, 3 by default.
    """

    deny: tuple[DenyRule, ...] = ()
    ask: tuple[AskRule, ...] = ()
    tries: Annotated[StrictInt, Field(ge=1)] = 3


Sensitivity = Literal["public", "internal", "confidential", "restricted"]


class MemoryKind(_Part):
    """A kind of memory item.

    Attributes:
        purpose: What it may be kept and used for.
        keep: How long it is kept.
        labels: What every item of it carries, beside the labels of the thread that wrote it.
        sensitivity: How a leak of it would be judged: `public`, `internal`, `confidential` or `restricted`. It stands
            with every item and in the audit trail. No default.
        shape: `schema` in the file: a JSON Schema that the content of every item has to fit, before personal data is
            treated.
    """

    purpose: Names
    keep: Duration
    labels: tuple[Name, ...] = later(())
    sensitivity: Sensitivity | None = later(None)
    shape: dict[str, Any] | None = later(None, alias="schema")

    @field_validator("shape")
    @classmethod
    def _is_a_schema(cls, shape: dict[str, Any] | None) -> dict[str, Any] | None:
        if shape is not None:
            try:
                Draft202012Validator.check_schema(shape)
            except SchemaError as error:
                text = f"this is no JSON Schema (2020-12): {error.message}"
                raise PydanticCustomError("policy", "{text}", {"text": text}) from error
            wrong = next(_lost(shape), None)
            if wrong is not None:
                raise PydanticCustomError("policy", "{text}", {"text": wrong})
        return shape


def _lost(schema: dict[str, Any]) -> Iterator[str]:
    """References of a schema that would need a network, or that lead nowhere."""
    registry: Registry[Any] = Registry()
    resolver = registry.with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for reference in _references(schema):
        if not reference.startswith("#"):
            yield "a schema refers to its own parts only: `$ref` begins with #"
        try:
            resolver.lookup(reference)
        except Unresolvable:
            yield f"the schema has nothing at {reference!r}, to which it refers"


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, value in cast("Mapping[object, object]", schema).items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):  # a property may be called so
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in cast("list[object]", schema):
            yield from _references(value)


class Detection(_Part):
    """How personal data is looked for.

    Attributes:
        countries: Where the people are, as ISO 3166 codes such as `GB`: phone numbers are found without a word or a key
            where they are written as there, and so are the national ids of these countries that are known.
        threshold: From which score on a finding counts, 0 to 1: a higher one finds less.
        thresholds: The same for single entity types.
    """

    countries: Annotated[tuple[Country, ...], Field(min_length=1)] = COUNTRIES
    threshold: Score = 0.4
    thresholds: Mapping[EntityType, Score] = Field(default_factory=dict)

    def least(self, entity: str) -> float:
        """From which score on a finding of this entity type counts."""
        return self.thresholds.get(entity, self.threshold)


class MemoryPolicy(_Part):
    """What may be remembered. A kind that is not named here is refused.

    Attributes:
        kinds: By name.
        personal_data: Treatment by entity type; `default` is for all others, `redact` where it is not given.
        detection: How personal data is looked for.
    """

    kinds: Mapping[Name, MemoryKind] = Field(default_factory=dict)
    personal_data: Mapping[EntityName, Treatment] = Field(default_factory=dict)
    # Left out of the digest where it is not given, as for a rule's mode.
    detection: Detection = later(Detection())

    def treatment(self, entity: str) -> Treatment:
        """What is done with a finding of this entity type before anything is written."""
        return self.personal_data.get(entity, self.personal_data.get("default", "redact"))


class ConversationPolicy(_Part):
    """What models are given of a conversation.

    Attributes:
        personal_data: Treatment by entity type; `default` is for all others, `redact` where it is not given. Where
            nothing is given, nothing is looked for. How it is looked for stands in `memory: {detection: ...}`.
        answers: Whether an answer leaves with the `values` of its pseudonyms, or as it is, with `pseudonyms`.
    """

    personal_data: Mapping[EntityName, Treatment] = Field(default_factory=dict)
    answers: Literal["values", "pseudonyms"] = "values"


class Budget(_Part):
    """What stops a run.

    Attributes:
        steps: The most model turns of one thread, 200 by default.
        tokens: The most tokens that models may read and write in one thread; no limit by default.
        usd: The most that these tokens may cost, in US dollars; needs `prices`. No limit by default.
        wall: How long after it was opened a thread may act, by the server's clock; no limit by default.
    """

    steps: Annotated[StrictInt, Field(ge=1)] = 200
    tokens: Annotated[StrictInt, Field(ge=1)] | None = later(None)
    usd: Annotated[Amount, Field(gt=0)] | None = later(None)
    wall: Duration | None = later(None)


class Price(_Part):
    """What a model costs, in US dollars for a million tokens.

    Attributes:
        input: For what it reads.
        output: For what it writes.
    """

    input: Amount
    output: Amount

    def of(self, *, input: int, output: int) -> Decimal:
        """What so many tokens cost, in US dollars."""
        return (self.input * input + self.output * output) / 1_000_000


class CheckpointPolicy(_Part):
    """What stays of a thread's checkpoints.

    Attributes:
        keep: `all`, or `latest`: when a run has been answered, only where it stands stays, and its history goes.
    """

    keep: Literal["all", "latest"] = "all"


class ThreadPolicy(_Part):
    """How long threads are kept.

    Attributes:
        keep: How long after the last thing that happened on a thread that has ended; for ever by default.
        idle: After how long without anything that happens a thread that is open, or waits, counts as one that has
            ended with the last thing that happened on it; never by default. It needs `keep`.
    """

    keep: Duration | None = None
    idle: Duration | None = later(None)

    @model_validator(mode="after")
    def _idle_is_not_all(self) -> Self:
        if self.idle is not None and self.keep is None:
            raise PydanticCustomError("policy", "`idle` deletes nothing by itself: say `keep` as well")
        return self


class Escalation(_Part):
    """Who is told when work waits for too long, and after how long."""

    to: Names
    after: Duration


class AbandonRule(_Part):
    """Who may abandon a thread: persons, services or their roles. An agent never may."""

    by: Names


class PolicyDocument(_Part):
    """A complete policy.

    Attributes:
        policy: Its name.
        version: 1 or higher; a change of the rules is a new version.
        identities: Everybody whom the rules name.
        tools: By name, or by a pattern such as `read_*`. A tool that is not here is denied.
        mcp: By the name of an MCP server: what those of its tools are that `tools` does not name. The tools of a server
            that is not here are denied.
        answers: By name. An answer that is not here leaves when it is valid.
        memory: What may be kept; nothing by default.
        conversation: What models are given of a conversation; all of it by default.
        budget: What stops a run.
        prices: What models cost, by the name that the provider gives them; a date at its end may be left out.
        escalate: Whom to tell; nobody by default.
        checkpoints: What stays of a thread's history; all of it by default.
        threads: How long threads are kept; for ever by default.
        abandon: Who may abandon a thread; by default whoever asked for the work, and the people of `escalate`.

    Raises:
        ValidationError: a shape is wrong, or a rule names somebody who is not declared.
    """

    policy: Name
    version: Annotated[StrictInt, Field(ge=1)]
    identities: Mapping[Name, Identity] = Field(default_factory=dict)
    tools: Mapping[ToolName, ToolRule] = Field(default_factory=dict)
    mcp: Mapping[Name, ServerRule] = later({})
    answers: Mapping[Name, AnswerRule] = later({})
    memory: MemoryPolicy = MemoryPolicy()
    conversation: ConversationPolicy = later(ConversationPolicy())
    budget: Budget = Budget()
    prices: Mapping[Sentence, Price] = later({})
    escalate: Escalation | None = None
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    threads: ThreadPolicy = later(ThreadPolicy())
    abandon: AbandonRule | None = later(None)

    @property
    def label(self) -> str:
        """`name@version`, as the audit trail has it."""
        return f"{self.policy}@{self.version}"

    @property
    def labels(self) -> frozenset[str]:
        """Every label that a thread under this policy can come by."""
        tools = (label for tool in self.tools.values() for label in tool.returns)
        servers = (label for server in self.mcp.values() for label in server.of(Hints()).returns)
        kinds = (label for kind in self.memory.kinds.values() for label in kind.labels)
        return frozenset((*tools, *servers, *kinds))

    def price(self, model: str) -> Price | None:
        """What this model costs, or None where the policy does not say."""
        return self.prices.get(model) or self.prices.get(_DATED.sub("", model))

    @model_validator(mode="after")
    def _names_are_declared(self) -> Self:
        # Each error carries its own place, so that the loader can point at its line.
        errors = [
            InitErrorDetails(type=PydanticCustomError("policy", "{text}", {"text": text}), loc=path, input=None)
            for path, text in _reference_problems(self)
        ]
        if errors:
            raise ValidationError.from_exception_data("PolicyDocument", errors)
        return self


Path = tuple[str | int, ...]
"""Where a part stands: keys, 0-based indexes, and a last `[key]` for the key itself."""

_Problem = tuple[Path, str]


def _reference_problems(document: PolicyDocument) -> Iterator[_Problem]:
    for name in document.identities:
        if name in PARTIES:
            yield (
                ("identities", name, "[key]"),
                f"{name!r} is reserved for the {name} of a case; choose another name",
            )
    people = _addressable(document, {"person"})
    everybody = _addressable(document, {"agent", "person", "service"})
    for name, tool in document.tools.items():
        yield from _tool_problems(document, ("tools", name), tool, people, everybody)
    for name, server in document.mcp.items():
        yield from _tool_problems(document, ("mcp", name), server, people, everybody)
    yield from _server_problems(document)
    for name, answer in document.answers.items():
        if name in document.tools:
            yield ("answers", name, "[key]"), f"an answer and a tool are both called {name!r}; choose another name"
        for index, rule in enumerate(answer.ask):
            yield from _ask_problems(document, ("answers", name, "ask", index), rule, people, everybody)
    if document.budget.usd is not None and not document.prices:
        yield (
            ("budget", "usd"),
            "a budget in usd needs to know what models cost, such as prices: {gpt-5.1: {input: 1.25, output: 10}}",
        )
    rules = [(("tools", name), name, tool) for name, tool in document.tools.items()]
    yield from shared_credentials(document.identities, rules)
    if document.escalate is not None:
        yield from _unknown(("escalate", "to"), document.escalate.to, people, "a person, or a person's role,")
    if document.abandon is not None:
        known = _addressable(document, {"person", "service"})
        yield from _unknown(("abandon", "by"), document.abandon.by, known, "a person or service, or a role of one,")


def _tool_problems(
    document: PolicyDocument, path: Path, tool: ToolRule | ServerRule, people: set[str], everybody: set[str]
) -> Iterator[_Problem]:
    credentials = {name for name, identity in document.identities.items() if identity.kind == "credential"}
    if tool.identity is not None and tool.identity not in credentials:
        hint = nearest(tool.identity, credentials)
        yield (*path, "identity"), f"{tool.identity!r} is not a credential under identities{hint}"
    yield from _unknown((*path, "for"), tool.allowed, everybody, "an agent, service or person, or a role of one,")
    for index, rule in enumerate(tool.ask):
        yield from _ask_problems(document, (*path, "ask", index), rule, people, everybody)


def _server_problems(document: PolicyDocument) -> Iterator[_Problem]:
    two = overlapping(document.mcp)
    if two is not None:
        yield (
            ("mcp", two[1], "[key]"),
            f"a tool of {two[0]!r} could have the name of one of {two[1]!r}: both begin with '{two[0]}_'; rename one",
        )
    for name, server in document.mcp.items():
        identity = document.identities.get(server.identity or "")
        if identity is not None and (identity.role is not None or identity.sts is not None):
            yield (
                ("mcp", name, "identity"),
                f"{server.identity!r} is no bearer token: an MCP server takes one from `env:`, `oauth:` or `provider:`",
            )


def shared_credentials(
    identities: Mapping[str, Identity], rules: Iterable[tuple[Path, str, ToolRule]]
) -> Iterator[tuple[Path, str]]:
    """A credential that reads must not be one that writes, unless it says so.

    Args:
        identities: The policy's.
        rules: Each with its place and the name of its tool.

    Returns:
        The place and a sentence for each that does.
    """
    first: dict[object, tuple[str, ToolRule]] = {}
    for place, name, tool in rules:
        identity = identities.get(tool.identity or "")
        if identity is None or identity.kind != "credential":
            continue
        path = (*place, "identity")
        if identity.serves and tool.effect not in identity.serves:
            yield path, f"{tool.identity!r} serves {' and '.join(identity.serves)} only, and {name} is a {tool.effect}"
        other, known = first.setdefault(identity.source, (name, tool))
        if known.effect != tool.effect and not identity.serves:
            yield (
                path,
                f"{tool.identity!r} would serve {other}, a {known.effect}, and {name}, a {tool.effect}: give them "
                "credentials of their own, or declare `serves: [read, write]` with the credential",
            )


def _dumped(grant: BaseModel | None) -> str:
    return "" if grant is None else grant.model_dump_json()


def _ask_problems(
    document: PolicyDocument, path: Path, rule: AskRule, people: set[str], everybody: set[str]
) -> Iterator[_Problem]:
    yield from _unknown((*path, "by"), rule.by, people, "a person, or a person's role,")
    yield from _unknown(
        (*path, "not"), rule.excluding, everybody | set(PARTIES), "requester, subject, editor or an identity"
    )
    if set(rule.by) <= set(rule.excluding):
        yield (*path, "not"), "nobody is left to decide: `not` excludes everybody in `by`"
    if rule.remind is not None and rule.remind >= rule.within:
        yield (*path, "remind"), "nobody would be reminded: `within` ends before"
    if rule.lapse == "escalate":
        yield from _lapse_problems(document, path, rule)


def _lapse_problems(document: PolicyDocument, path: Path, rule: AskRule) -> Iterator[_Problem]:
    if document.escalate is None:
        yield (*path, "lapse"), "the policy says nobody to escalate to; add `escalate: {to: [...], after: 48h}`"
    elif set(document.escalate.to) <= set(rule.excluding):
        yield (*path, "lapse"), "nobody is left to escalate to: `not` excludes everybody in `escalate.to`"


def _addressable(document: PolicyDocument, kinds: set[IdentityKind]) -> set[str]:
    chosen = {name: identity for name, identity in document.identities.items() if identity.kind in kinds}
    return set(chosen) | {identity.role for identity in chosen.values() if identity.role is not None}


def _unknown(path: Path, names: Iterable[str], known: set[str], what: str) -> Iterator[_Problem]:
    for index, name in enumerate(names):
        if name not in known:
            yield (*path, index), f"{name!r} is not {what} under identities{nearest(name, known)}"
