"""The application behind a guest: a middleware that somebody else put between it and gunicorn.

`create_app(name)` takes one of `GUESTS`.  Some only watch, as Sentry and OpenTelemetry do; some
write bytes of their own after the body; some fail after it.  `/guest` tells what a watcher saw.
The watchers are in `tests/guests/watchers.py`, as they need packages of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import gevent
from flask import Flask, jsonify

from tests.support.apps import streams

#: What the writers write when the body has ended.
APPENDED = b"<!-- appended -->"

#: What a watcher saw, each with the `path` of the request that it was about.
Seen = Callable[[], list[dict[str, Any]]]
Middleware = Callable[[Any, Any, Any], Any]


def create_app(name: str) -> Flask:
    app = streams.create_app()
    install = GUESTS.get(name) or getattr(import_module("tests.guests.watchers"), name)
    seen: Seen | None = install(app)

    @app.get("/guest")
    def guest() -> Any:
        return jsonify(seen() if seen else [])

    return app


# -- guests that only watch ------------------------------------------------------------------------


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


GUESTS: dict[str, Callable[[Flask], None]] = {
    "header": _middleware(header),
    "copy": _middleware(copy),
    "append": _middleware(append),
    "write": _middleware(write),
    "fail": _middleware(fail),
    "time out": _middleware(time_out),
    "fail to close": _middleware(FailsToClose),
    "change": _middleware(change),
}
