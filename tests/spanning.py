"""Spans as an application's own exporter gets them, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once


class Exported:
    """What was exported so far."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        """Every span that has ended, in that order."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of this name."""
        return [one for one in self.all() if one.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of this name."""
        found = self.named(name)
        assert len(found) == 1, f"{len(found)} spans are named {name}: {self.names()}"
        return found[0]

    def names(self) -> list[str]:
        """The names of all of them."""
        return [one.name for one in self.all()]

    def facts(self, name: str) -> dict[str, Any]:
        """The attributes of the only one of this name."""
        return dict(self.one(name).attributes or {})

    def parents(self) -> dict[str, set[str]]:
        """The names of the spans that stand directly around those of each name; empty for none of ours."""
        by_id = {one.context.span_id: one.name for one in self.all()}
        found: dict[str, set[str]] = {}
        for one in self.all():
            around = by_id.get(one.parent.span_id, "?") if one.parent else ""
            found.setdefault(one.name, set()).add(around)
        return found

    def text(self) -> str:
        """All that stands in them: names, attributes, events, descriptions, links, resources."""
        return "\n".join(written(one) for one in self.all())

    def clear(self) -> None:
        """Begin anew."""
        self._exporter.clear()


def written(span: ReadableSpan) -> str:
    """All that an exporter gets of a span, on one line."""
    return json.dumps(json.loads(span.to_json()), ensure_ascii=False) + "\n"


@contextmanager
def exporting() -> Generator[Exported]:
    """OpenTelemetry as an application configures it, for the length of the block."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield Exported(exporter)
    finally:
        provider.shutdown()
        unset()


def unset() -> None:
    """OpenTelemetry as nobody has configured it, for the tests that come after: in a process it can be set once."""
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
