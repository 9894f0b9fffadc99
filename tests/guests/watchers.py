"""The guests that watch requests and errors for people: Sentry and OpenTelemetry."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import sentry_sdk
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.support.apps.guests import Seen


class Dropping(Transport):
    """Keep what Sentry is told, in short, and send nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            event = item.get_event() or item.get_transaction_event()
            if event is not None:
                self.seen.append({"type": item.type, **_brief(event)})


def _brief(event: Any) -> dict[str, Any]:
    """Return an event's path, None where it belongs to no request, and its exceptions."""
    url = event.get("request", {}).get("url")
    errors = [error["type"] for error in event.get("exception", {}).get("values", ())]
    return {"path": urlsplit(url).path if url else None, "errors": errors}


def sentry(app: Flask) -> Seen:
    """Sentry, which wraps `Flask.__call__` and redis-py, with all that it does by default."""
    transport = Dropping()
    sentry_sdk.init("http://key@127.0.0.1:1/1", transport=transport, traces_sample_rate=1.0)
    return lambda: transport.seen


def opentelemetry(app: Flask) -> Seen:
    """OpenTelemetry's WSGI middleware, a generator that ends its span after the body."""
    provider, seen = _tracing()
    wsgi_app = OpenTelemetryMiddleware(app.wsgi_app, tracer_provider=provider)
    app.wsgi_app = wsgi_app  # type: ignore[method-assign]
    return seen


def opentelemetry_flask(app: Flask) -> Seen:
    """OpenTelemetry for Flask, which ends its span at the request's teardown."""
    provider, seen = _tracing()
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    return seen


def _tracing() -> tuple[TracerProvider, Seen]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def seen() -> list[dict[str, Any]]:
        return [
            {
                "path": (span.attributes or {}).get("http.target"),
                "status": (span.attributes or {}).get("http.status_code"),
                "ended": span.end_time is not None,
                "errors": [event.name for event in span.events],
            }
            for span in exporter.get_finished_spans()
        ]

    return provider, seen
