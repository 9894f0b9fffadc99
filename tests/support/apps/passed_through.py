"""The application behind middlewares that pass `start_response` on, and iterate over the body."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from flask import Flask

from tests.support.apps import streams


def create_app() -> Flask:
    app = streams.create_app()
    inner = app.wsgi_app

    def generator(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield from inner(environ, start_response)

    def reporter(environ: Any, start_response: Any) -> Any:
        try:
            return generator(environ, start_response)
        except BaseException:
            logging.getLogger("reporter").exception("Reported.")
            raise

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        """Hold each chunk back until the next one arrives."""
        held = b""
        for chunk in inner(environ, start_response):
            yield held
            held = chunk
        yield held

    def choose(environ: Any, start_response: Any) -> Any:
        chosen = late if environ["PATH_INFO"].startswith("/foreign") else reporter
        return chosen(environ, start_response)

    app.wsgi_app = choose  # type: ignore[method-assign]
    return app
