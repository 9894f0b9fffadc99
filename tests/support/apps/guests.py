"""The application behind a guest: a middleware that somebody else put between it and gunicorn.

`create_app(name)` takes one of `GUESTS`.  Some only watch, as Sentry and OpenTelemetry do; some
write bytes of their own after the body; some fail after it.  `/guest` tells what a watcher saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import gevent
import sentry_sdk
from flask import Flask, jsonify
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.support.apps import streams

#: What the writers write when the body has ended.
APPENDED = b"<!-- appended -->"

#: What a watcher saw, each with the `path` of the request that it was about.
Seen = Callable[[], list[dict[str, Any]]]
Middleware = Callable[[Any, Any, Any], Any]


def create_app(name: str) -> Flask:
    app = streams.create_app()
    seen = GUESTS[name](app)

    @app.get("/guest")
    def guest() -> Any:
        return jsonify(seen() if seen else [])

    return app


# -- guests that only watch ------------------------------------------------------------------------


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


def header(inner: Any, environ: Any, start_response: Any) -> Any:
    """Add a header; return what `start_response` and the application return."""

    def start(status: str, headers: Any, *rest: Any) -> Any:
        return start_response(status, [*headers, ("X-Guest", "header")], *rest)

    return inner(environ, start)


def copy(inner: Any, environ: Any, start_response: Any) -> Any:
    """Give the application an environ of its own, so that gunicorn's says nothing of it."""
    return inner(dict(environ), start_response)


# -- guests that do something after the body -------------------------------------------------------


def append(inner: Any, environ: Any, start_response: Any) -> Iterator[bytes]:
    """Yield bytes after the body."""
    yield from _body(inner(environ, start_response))
    if _is_stream(environ):
        yield APPENDED


def write(inner: Any, environ: Any, start_response: Any) -> Iterator[bytes]:
    """Write after the body, with the function that `start_response` returned before it."""
    writes: list[Any] = []

    def start(*given: Any) -> Any:
        writes.append(start_response(*given))
        return writes[-1]

    yield from _body(inner(environ, start))
    if _is_stream(environ):
        writes[-1](APPENDED)


def fail(inner: Any, environ: Any, start_response: Any) -> Iterator[bytes]:
    """Raise after the body."""
    yield from _body(inner(environ, start_response))
    if _is_stream(environ):
        raise RuntimeError("A guest that fails.")


def time_out(inner: Any, environ: Any, start_response: Any) -> Iterator[bytes]:
    """Raise after the body what is no `Exception`, as a limit on a request's time does."""
    yield from _body(inner(environ, start_response))
    if _is_stream(environ):
        raise gevent.Timeout(1)


class FailsToClose:
    """A body whose `close()` raises."""

    def __init__(self, inner: Any, environ: Any, start_response: Any) -> None:
        self._body = _body(inner(environ, start_response))
        self._fails = _is_stream(environ)

    def __iter__(self) -> Iterator[bytes]:
        return self._body

    def close(self) -> None:
        self._body.close()  # type: ignore[attr-defined]
        if self._fails:
            raise RuntimeError("A guest that fails to close.")


def _body(iterable: Any) -> Iterator[bytes]:
    try:
        yield from iterable
    finally:
        if hasattr(iterable, "close"):
            iterable.close()


def _is_stream(environ: Any) -> bool:
    """Say whether this is a request of the test's; how it looks on is not to be disturbed."""
    return environ["PATH_INFO"].endswith("/x") and environ["REQUEST_METHOD"] == "GET"


# -- guests that are in the way --------------------------------------------------------------------


def change(inner: Any, environ: Any, start_response: Any) -> Iterator[bytes]:
    """Put a comment before each chunk: the hub's writing would be without it."""
    for chunk in _body(inner(environ, start_response)):
        yield b": changed\n\n" + chunk if _is_stream(environ) else chunk


def _middleware(middleware: Middleware) -> Callable[[Flask], None]:
    def install(app: Flask) -> None:
        inner = app.wsgi_app

        def wsgi_app(environ: Any, start_response: Any) -> Any:
            return middleware(inner, environ, start_response)

        app.wsgi_app = wsgi_app  # type: ignore[method-assign]

    return install


GUESTS: dict[str, Callable[[Flask], Seen | None]] = {
    "sentry": sentry,
    "opentelemetry": opentelemetry,
    "opentelemetry-flask": opentelemetry_flask,
    "header": _middleware(header),
    "copy": _middleware(copy),
    "append": _middleware(append),
    "write": _middleware(write),
    "fail": _middleware(fail),
    "time out": _middleware(time_out),
    "fail to close": _middleware(FailsToClose),
    "change": _middleware(change),
}
