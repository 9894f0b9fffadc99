"""The smallest app that tests the harness; it uses nothing of this project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response

IMPORTED_IN = os.getpid()


def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def index() -> dict[str, Any]:
        return {"pid": os.getpid(), "imported_in": IMPORTED_IN, "greeting": os.getenv("GREETING")}

    @app.get("/stream")
    def stream() -> Response:
        def frames() -> Iterator[str]:
            for number in range(3):
                yield f"id: {number}\ndata: {number}\n\n"

        return Response(frames(), mimetype="text/event-stream")

    return app
