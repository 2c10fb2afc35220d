"""OpenTelemetry spans, by its semantic conventions for generative AI, with the ids of the ledger.

They hold no arguments, results, prompts, answers, messages of errors, subjects or names of people: of an error its
class, of a tool that nobody has made nothing. Spans are made where an application has configured OpenTelemetry's SDK;
without it, or without the package, nothing is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.errors import GraphBubbleUp

from stateward.act.calling import NothingDone, Paused
from stateward.errors import MissingExtra
from stateward.model.action import Action
from stateward.model.effect import Receipt
from stateward.ports import ActionRow

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer
    from opentelemetry.util.types import AttributeValue

T = TypeVar("T")

_RUNS = 10_000  # at once, with their steps
# As providers give them: another id may be anything that a client has written.
_CALL_ID = re.compile(
    r"(call|fc|toolu|tooluse)_[A-Za-z0-9_-]{16,80}|chatcmpl-tool-[0-9a-f]{16,64}|pb-[0-9a-f]{8}-\d+-\d+"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
_FINISHED = ("finish_reason", "stop_reason", "stopReason", "done_reason")
_MODELS = ("model_name", "model", "model_id")
# The convention's names, by the package of LangChain's integration.
_PROVIDERS = {
    "langchain_anthropic": "anthropic",
    "langchain_aws": "aws.bedrock",
    "langchain_cohere": "cohere",
    "langchain_deepseek": "deepseek",
    "langchain_google_genai": "gcp.gemini",
    "langchain_google_vertexai": "gcp.vertex_ai",
    "langchain_groq": "groq",
    "langchain_ibm": "ibm.watsonx.ai",
    "langchain_mistralai": "mistral_ai",
    "langchain_openai": "openai",
    "langchain_perplexity": "perplexity",
    "langchain_xai": "x_ai",
}


class Spans:
    """Makes the spans of one runtime; without a tracer, none.

    Args:
        tracer: OpenTelemetry's.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._records = _looks_for_readers() if tracer is not None else lambda: False
        self.runs: dict[UUID, Run] = {}

    @classmethod
    def of(cls, wanted: bool | None) -> Spans:
        """Those of this process.

        Args:
            wanted: True where there have to be some; False where there are none; None wherever OpenTelemetry is
                installed.

        Raises:
            MissingExtra: they are wanted, and it is not.
        """
        if wanted is False:
            return cls()
        try:
            from opentelemetry.trace import get_tracer
        except ImportError as error:
            if wanted:
                raise MissingExtra("opentelemetry-api", extra="otel") from error
            return cls()
        return cls(get_tracer("stateward"))

    @property
    def records(self) -> bool:
        """Whether an application has configured OpenTelemetry here, so that somebody may read a span."""
        return self._records()

    def listener(self, name: str = "") -> list[BaseCallbackHandler]:
        """What LangChain tells of a run, for its config; nothing where nobody reads a span.

        Args:
            name: The graph's; where it is not known yet, it is said when the graph runs.
        """
        return [Runs(self, name)] if self.records else []

    def listening(self, graph: T, name: str) -> T:
        """The graph, whose runs have a span whatever config they are run with."""
        listener = self.listener(name)
        return cast("Any", graph).with_config(callbacks=listener) if listener else graph

    @contextmanager
    def within(self) -> Generator[None]:
        """A node of a run: what it does by itself belongs to the run's span."""
        run = self._run() if self.records else None
        around = None if run is None else self._around(run)
        if around is None:
            yield
            return
        with _attached(around):
            yield

    @contextmanager
    def chat(self, model: object, agent: str) -> Generator[Chat]:
        """A call of a model.

        Args:
            model: The chat model, with or without its tools.
            agent: The name of the workflow, or of the agent.
        """
        if not self.records:
            yield Chat(None)
            return
        run, inner = self._run(), _unbound(model)
        if run is not None:
            run.is_of(agent)
        name = next((one for key in _MODELS if (one := _as(_MODEL, getattr(inner, key, None)))), "")
        facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _provider(inner),
            "gen_ai.request.model": name,
            "gen_ai.agent.name": agent,
            "gen_ai.conversation.id": _thread(),
        }
        with self.span(f"chat {name}".strip(), facts, client=True) as made:
            yield Chat(made)

    def call(self, row: ActionRow) -> Performing:
        """A call that may be performed; its span begins when the tool is called."""
        return Performing(self, row)

    @contextmanager
    def span(self, name: str, facts: Mapping[str, AttributeValue], *, client: bool = False) -> Generator[Span | None]:
        """A span around a block, whose error it tells by its class. None where nobody reads it."""
        if not self.records:
            yield None
            return
        made = self.begin(name, facts, client=client)
        try:
            with _attached_to(made):
                yield made
        except GraphBubbleUp:
            raise  # it waits for people
        except BaseException as error:
            _fail(made, error)
            raise
        finally:
            made.end()

    def told(self, name: str, facts: Mapping[str, AttributeValue], *, since: int | None = None) -> None:
        """A span of what has happened already, since then, in nanoseconds."""
        if self.records:
            self.begin(name, facts, since=since).end()

    def begin(
        self, name: str, facts: Mapping[str, AttributeValue], *, since: int | None = None, client: bool = False
    ) -> Span:
        """Begin a span within the run, or within whatever is the current one. What is empty is left out."""
        from opentelemetry.trace import SpanKind

        assert self._tracer is not None
        run = self._run()
        return self._tracer.start_span(
            name,
            context=None if run is None else self._around(run),
            kind=SpanKind.CLIENT if client else SpanKind.INTERNAL,
            attributes={key: value for key, value in facts.items() if value not in ("", [])},
            start_time=since,
            record_exception=False,
            set_status_on_exception=False,
        )

    def _run(self) -> Run | None:
        """The run that this is done in, by the callbacks of LangChain's running config."""
        callbacks: Any = (var_child_runnable_config.get() or {}).get("callbacks")
        return self.runs.get(cast("UUID", getattr(callbacks, "parent_run_id", None)))

    def _around(self, run: Run) -> Context | None:
        """What stands around a span of the run: the run's own, unless somebody has begun another in it."""
        from opentelemetry.trace import get_current_span, set_span_in_context

        now = get_current_span().get_span_context()
        if now.is_valid and now.span_id != run.outside.span_id:
            return None
        return set_span_in_context(run.span)


class Run:
    """A run of a graph.

    Args:
        id: LangChain's id of it.
        span: Its span.
        outside: What stood around it.
        name: The graph's name, empty where it is not known yet.
    """

    def __init__(self, id: UUID, span: Span, outside: SpanContext, name: str) -> None:
        self.id, self.span, self.outside, self._name = id, span, outside, name

    def is_of(self, name: str) -> None:
        """The run is of this graph."""
        if not self._name and name:
            self._name = name
            self.span.update_name(f"invoke_agent {name}")
            self.span.set_attribute("gen_ai.agent.name", name)


class Runs(BaseCallbackHandler):
    """Begins and ends the spans of runs. LangChain says in which run each step is; contexts of others stay theirs."""

    run_inline = True  # in the caller's own context, which says what stands around

    def __init__(self, spans: Spans, name: str) -> None:
        self._spans, self._name = spans, name

    @property
    def ignore_llm(self) -> bool:
        """It is told of runs only."""
        return True

    @property
    def ignore_chat_model(self) -> bool:
        """It is told of runs only."""
        return True

    @property
    def ignore_retriever(self) -> bool:
        """It is told of runs only."""
        return True

    @property
    def ignore_agent(self) -> bool:
        """It is told of runs only, and not of tools."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """It is told of runs only."""
        return True

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A run begins, or a step of one."""
        runs = self._spans.runs
        if run_id in runs:
            return  # it was told twice
        if parent_run_id is not None:
            if parent_run_id in runs:
                runs[run_id] = runs[parent_run_id]
            return
        from opentelemetry.trace import get_current_span

        facts = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": self._name,
            "gen_ai.conversation.id": str((metadata or {}).get("thread_id") or ""),
            "stateward.run.id": str(run_id),
        }
        outside = get_current_span().get_span_context()
        span = self._spans.begin(f"invoke_agent {self._name}".strip(), facts)
        runs[run_id] = Run(run_id, span, outside, self._name)
        if len(runs) > _RUNS:  # whoever leaves at once tells nobody that a run has ended
            self._end(next(iter(runs.values())).id, None)

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        """It has ended: with an answer, or because people are asked."""
        self._end(run_id, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It has failed, or nobody listens to it any more."""
        self._end(run_id, None if isinstance(error, GeneratorExit) else error)

    def _end(self, run_id: UUID, error: BaseException | None) -> None:
        runs = self._spans.runs
        run = runs.pop(run_id, None)
        if run is None or run.id != run_id:
            return
        for step in [one for one, of in list(runs.items()) if of is run]:
            runs.pop(step, None)  # it was cut off, and nobody has told its end
        if error is not None:
            _fail(run.span, error)
        run.span.end()


class Chat:
    """A call of a model."""

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def heard(self, said: T) -> T:
        """What the model has said: of it the tokens, why it ended, and who said it."""
        if self._span is None:
            return said
        messages = [one for one in getattr(said, "result", [said]) if isinstance(one, AIMessage)]
        usage = [one.usage_metadata for one in messages if one.usage_metadata]
        if usage:
            self._span.set_attribute("gen_ai.usage.input_tokens", sum(one["input_tokens"] for one in usage))
            self._span.set_attribute("gen_ai.usage.output_tokens", sum(one["output_tokens"] for one in usage))
        ended = [word for one in messages for key in _FINISHED if (word := _as(_WORD, one.response_metadata.get(key)))]
        if ended:
            self._span.set_attribute("gen_ai.response.finish_reasons", ended)
        names = [name for one in messages for key in _MODELS if (name := _as(_MODEL, one.response_metadata.get(key)))]
        if names:
            self._span.set_attribute("gen_ai.response.model", names[0])
        return said


class Performing:
    """A call that is performed, in as many attempts as it takes.

    Attributes:
        ran: Whether the tool was called.
        outcome: What came of it: a receipt, or else nobody knows.
    """

    def __init__(self, spans: Spans, row: ActionRow) -> None:
        self._spans, self._row = spans, row
        self._span: Span | None = None
        self._error: BaseException | None = None
        self.ran, self.outcome = False, cast("object", None)

    @contextmanager
    def attempt(self, number: int) -> Generator[None]:
        """One call of the tool."""
        self.ran = True
        if not self._spans.records:
            yield
            return
        if self._span is None:
            self._span = self._spans.begin(f"execute_tool {self._row.action.call.tool}", _performed(self._row))
        self._span.set_attribute("stateward.attempt", number)
        self._error = None
        try:
            with _attached_to(self._span):
                yield
        except BaseException as error:
            self._error = error.__cause__ if isinstance(error, NothingDone) and error.__cause__ else error
            if not isinstance(self._error, Paused):
                what = {"error.type": type(self._error).__qualname__, "stateward.attempt": number}
                self._span.add_event("stateward.attempt.failed", what)
            raise

    def __enter__(self) -> Performing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        span = self._span
        if span is None:
            return
        if isinstance(error, GraphBubbleUp):
            span.set_attribute("stateward.status", "paused")
        elif error is not None:
            _fail(span, error)
        else:
            status = self.outcome.status if isinstance(self.outcome, Receipt) else "unknown"
            span.set_attribute("stateward.status", status)
            if status != "settled":
                _fail(span, self._error)
        span.end()


def action_facts(
    action: Action, *, verdict: str, effect: str, policy: str, policy_digest: str, rules: Iterable[str]
) -> dict[str, AttributeValue]:
    """What spans say of an action; of a tool that nobody has made, which a model may call anything, no name."""
    is_tool = bool(action.tool_digest) and effect != "answer"
    return {
        "gen_ai.tool.name": action.call.tool if is_tool else "",
        "gen_ai.tool.call.id": _as(_CALL_ID, action.call.id) if is_tool else "",
        "gen_ai.conversation.id": action.thread,
        "stateward.action.id": action.id,
        "stateward.effect": effect,
        "stateward.verdict": verdict,
        "stateward.rules": list(dict.fromkeys(rules)),
        "stateward.policy": policy,
        "stateward.policy.digest": policy_digest,
    }


def _performed(row: ActionRow) -> dict[str, AttributeValue]:
    rules = (rule for rule, _ in row.reasons)
    facts = action_facts(
        row.action,
        verdict=row.verdict,
        effect=row.effect,
        policy=row.policy,
        policy_digest=row.policy_digest,
        rules=rules,
    )
    return {**facts, "gen_ai.operation.name": "execute_tool", "gen_ai.tool.type": "function"}


def _looks_for_readers() -> Callable[[], bool]:
    from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, get_tracer_provider

    idle = (ProxyTracerProvider, NoOpTracerProvider)
    return lambda: not isinstance(get_tracer_provider(), idle)


@contextmanager
def _attached(around: Context) -> Generator[None]:
    from opentelemetry.context import attach, detach

    token = attach(around)
    try:
        yield
    finally:
        detach(token)


def _attached_to(span: Span) -> AbstractContextManager[None]:
    from opentelemetry.trace import set_span_in_context

    return _attached(set_span_in_context(span))


def _fail(span: Span, error: BaseException | None) -> None:
    """It went wrong: the class of the error, as its text may quote people."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", "_OTHER" if error is None else type(error).__qualname__)
    span.set_status(StatusCode.ERROR)


def _unbound(model: Any) -> Any:
    """The chat model itself, without what was bound to it."""
    while not isinstance(model, BaseChatModel) and hasattr(model, "bound"):
        model = model.bound
    return model


def _provider(model: object) -> str:
    package = type(model).__module__.partition(".")[0]
    if package == "langchain_openai" and type(model).__name__.startswith("Azure"):
        return "azure.ai.openai"
    return _PROVIDERS.get(package, package.removeprefix("langchain_"))


def _thread() -> str:
    config = var_child_runnable_config.get() or {}
    return str((config.get("configurable") or {}).get("thread_id") or "")


def _as(shape: re.Pattern[str], value: object) -> str:
    return value if isinstance(value, str) and shape.fullmatch(value) else ""
