"""Spans of a request's life, by OpenTelemetry. Exported only where OTEL_EXPORTER_OTLP_ENDPOINT says to where.

A caller's W3C `traceparent` is the parent of ours, and the engine is told ours; without an export the caller's own goes through.
The names of spans are the steps of `docs/life-of-a-request.md`.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deployments.gateway.asgi import Exchange

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS = ("traceparent", "tracestate")

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("vlmfleet")


def export_if_asked() -> None:
    """Send this process's spans to the endpoint from now on, in batches, on a thread. Does nothing without one."""
    if not os.environ.get(ENDPOINT):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  # most gateways need none of it
        OTLPSpanExporter,
    )

    provider = TracerProvider(resource=Resource.create({"service.name": "vlmfleet-gateway"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def request(exchange: Exchange) -> Iterator[None]:
    """The whole of a request. What is known of it at the end, as in the log, is on its span."""
    sent = {name: value for name in HEADERS if (value := exchange.header(name))}
    token = context.attach(_propagator.extract(sent))
    try:
        with _tracer.start_as_current_span("request", kind=SpanKind.SERVER) as span:
            yield
            _describe(span, exchange)
    finally:
        context.detach(token)


def step(name: str) -> AbstractContextManager[Span]:
    """A part of the request at hand. What is raised within is on its span, without its message: that may name an address."""
    return _tracer.start_as_current_span(name, record_exception=False)


def outgoing() -> dict[str, str]:
    """The headers that make the receiver's spans children of the step at hand."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers


def _describe(span: Span, exchange: Exchange) -> None:
    span.set_attribute("http.request.method", exchange.method)
    span.set_attribute("http.response.status_code", exchange.status)
    for name, value in exchange.notes.items():
        if value is not None:
            span.set_attribute(f"vlmfleet.{name}", value)
