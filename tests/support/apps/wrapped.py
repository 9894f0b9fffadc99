"""The application behind a middleware that wraps start_response, with one replaced body."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

from tests.support.apps import streams


def create_app() -> Flask:
    app = streams.create_app()

    @app.get("/replaced")
    @streams.events.stream("x")
    def replaced() -> None: ...

    @app.after_request
    def replace(response: Response) -> Response:
        if request.path == "/replaced":
            response.close()
            return Response("another body")
        return response

    inner = app.wsgi_app

    def wrapped(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: Any, *rest: Any) -> Any:
            return start_response(status, [*headers, ("X-Wrapped", "yes")], *rest)

        return inner(environ, start)

    app.wsgi_app = wrapped  # type: ignore[method-assign]
    return app
