"""The spans of a request, from the caller's to the engine's, by OpenTelemetry's own exporter in memory."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deployments.gateway import trace
from tests.gateway.house import CARD, STREAM, House, question

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What would be exported."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_each_step_is_a_span_below_the_request(house: House, spans: InMemorySpanExporter, fields: dict):
    """In the order in which they end: the engine's lasts until its answer is read."""
    await house.ask(question(**fields), traceparent=TRACEPARENT)
    found = {span.name: span for span in spans.get_finished_spans()}
    assert found.keys() == {"request", "admit", "media", "hold", "queue", "engine", "settle"}
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE_ID}
    assert f"{found['request'].parent.span_id:016x}" == SPAN_ID
    assert found["media"].parent.span_id == found["admit"].context.span_id


async def test_the_engine_is_told_its_span(house: House, spans: InMemorySpanExporter):
    """So its own spans are children of ours."""
    await house.ask(question(), traceparent=TRACEPARENT)
    (engine,) = (span for span in spans.get_finished_spans() if span.name == "engine")
    assert house.engine.headers[0]["traceparent"] == f"00-{TRACE_ID}-{engine.context.span_id:016x}-01"


async def test_a_request_says_how_it_ended(house: House, spans: InMemorySpanExporter):
    """The same that is in the log, and no more: nothing of what was asked or answered."""
    await house.ask(question())
    (request,) = (span for span in spans.get_finished_spans() if span.name == "request")
    assert request.attributes["vlmfleet.model"] == CARD.served_name
    assert request.attributes["vlmfleet.outcome"] == "complete"
    assert request.attributes["http.response.status_code"] == 200
    assert "circle" not in str([span.to_json() for span in spans.get_finished_spans()])


async def test_a_caller_without_a_trace_begins_one(house: House, spans: InMemorySpanExporter):
    await house.ask(question())
    (request,) = (span for span in spans.get_finished_spans() if span.name == "request")
    assert request.parent is None


async def test_without_an_export_the_callers_trace_goes_through(house: House):
    """The engine may export where the gateway does not."""
    await house.ask(question(), traceparent=TRACEPARENT)
    assert house.engine.headers[0]["traceparent"] == TRACEPARENT


def test_nothing_is_exported_unless_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(trace.ENDPOINT, raising=False)
    monkeypatch.setattr(trace.trace, "set_tracer_provider", pytest.fail)
    trace.export_if_asked()


def test_spans_reach_the_endpoint():
    """Over HTTP, from a process of its own: OpenTelemetry takes one exporter a process."""
    paths: list[str] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    program = "from deployments.gateway import trace\ntrace.export_if_asked()\nwith trace.step('a'): pass"
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = {trace.ENDPOINT: f"http://127.0.0.1:{collector.server_port}"}
        subprocess.run([sys.executable, "-c", program], env=os.environ | endpoint, check=True)
        collector.shutdown()
    assert paths == ["/v1/traces"]
