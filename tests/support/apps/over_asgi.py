"""The application `streams.py` for ASGI servers, which carry it in ways of their own."""

from __future__ import annotations

from typing import Any, cast

from a2wsgi import WSGIMiddleware

from tests.support.apps import streams

app = streams.create_app()
carried = WSGIMiddleware(cast(Any, app))
