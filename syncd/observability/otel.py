"""The part of `syncd.observability.traces` that imports OpenTelemetry: spans, the derived ids of signals, export by OTLP/HTTP.

Endpoint, headers, timeouts, sampler and resource are OpenTelemetry's own OTEL_* variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from hashlib import sha256
from typing import Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from syncd import __version__

MOST_LINKS = 128
"""What OpenTelemetry itself keeps of a span's links."""

_given: ContextVar[UUID | None] = ContextVar("given", default=None)
_PROPAGATED = ("traceparent", "tracestate")


def span_id_of(signal: UUID) -> int:
    """The span that stands for a signal: derived, so that whoever has the id can link to it."""
    return int.from_bytes(sha256(signal.bytes).digest()[:8], "big") or 1


class _Ids(RandomIdGenerator):
    """Random ids, but for the span that stands for a signal."""

    def generate_trace_id(self) -> int:
        given = _given.get()
        return given.int if given is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        given = _given.get()
        return span_id_of(given) if given is not None else super().generate_span_id()


class Tracer:
    """`exporter` None: OTLP over HTTP, in batches, by the environment."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create({"service.name": "syncd", "service.version": __version__})
        self._provider = TracerProvider(id_generator=_Ids(), resource=resource)
        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        else:
            self._provider.add_span_processor(SimpleSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("syncd", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def request(self, source: str, headers: Iterable[tuple[bytes, bytes]]) -> Any:
        carrier = {
            name: value.decode("latin-1") for key, value in headers if (name := key.decode("latin-1")) in _PROPAGATED
        }
        context = self._propagator.extract(carrier)
        return self._tracer.start_as_current_span(
            "webhook", context=context, kind=trace.SpanKind.SERVER, attributes={"syncd.source": source}
        )

    def span(self, name: str, signals: Sequence[str], attributes: Mapping[str, Any]) -> Any:
        links = [trace.Link(self._of(UUID(id))) for id in signals[:MOST_LINKS]]
        kind = trace.SpanKind.CLIENT if name == "call" else trace.SpanKind.INTERNAL
        named = {f"syncd.{key}": value for key, value in attributes.items()}
        return self._tracer.start_as_current_span(name, kind=kind, links=links, attributes=named)

    def signal(self, id: UUID, source: str) -> None:
        """The root of a signal's own trace, linked to what brought it."""
        came_by = trace.get_current_span().get_span_context()
        links = [trace.Link(came_by)] if came_by.is_valid else []
        token = _given.set(id)
        try:
            made = self._tracer.start_span(
                "signal", context=Context(), links=links, attributes={"syncd.signal": str(id), "syncd.source": source}
            )
        finally:
            _given.reset(token)
        made.end()

    def attempt(self, id: str, attributes: Mapping[str, Any]) -> None:
        """What became of a try, in the signal's own trace, linked to the round that made it."""
        parent = trace.set_span_in_context(trace.NonRecordingSpan(self._of(UUID(id))), Context())
        here = trace.get_current_span().get_span_context()
        named = {"syncd.signal": id} | {f"syncd.{key}": value for key, value in attributes.items()}
        links = [trace.Link(here)] if here.is_valid else []
        self._tracer.start_span("attempt", context=parent, links=links, attributes=named).end()

    def close(self) -> None:
        self._provider.shutdown()

    def _of(self, id: UUID) -> trace.SpanContext:
        kept = self._provider.sampler.should_sample(None, id.int, "signal").decision is Decision.RECORD_AND_SAMPLE
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if kept else trace.TraceFlags.DEFAULT)
        return trace.SpanContext(id.int, span_id_of(id), is_remote=True, trace_flags=flags)
