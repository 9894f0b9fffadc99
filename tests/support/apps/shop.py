"""The application `streams.py` once more under `/stream/`, where a proxy expects the streams."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tests.support.apps import streams


def create_app() -> Flask:
    app = streams.create_app()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/stream": app.wsgi_app})  # type: ignore[method-assign]
    return app
