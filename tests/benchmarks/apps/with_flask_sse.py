"""Flask-SSE, as its quick start has it, and with a filter; it runs where Flask-SSE is installed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from flask import Flask, Response, request, stream_with_context
from flask_sse import sse  # type: ignore[import-not-found, unused-ignore]


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["REDIS_URL"] = os.environ["BENCH_REDIS_URL"]
    app.register_blueprint(sse, url_prefix="/stream")

    @app.get("/filter")
    def filtered() -> Response:
        """Stream as Flask-SSE's own view does, with a decision about each decoded message."""
        channel = request.args["channel"]

        def generate() -> Iterator[str]:
            for message in sse.messages(channel=channel):
                if message.data["n"] >= 0:
                    yield str(message)

        return Response(stream_with_context(generate()), mimetype="text/event-stream")

    @app.get("/")
    def index() -> str:
        return "here"

    return app


def publish(count: int) -> None:
    """Publish so many messages; print the seconds, and the CPU seconds, that this took."""
    with create_app().app_context():
        message = {"t": 1.0, "n": 1, "text": "x" * 32}
        sse.publish(message, channel="channel")
        started, cpu = time.monotonic(), time.process_time()
        for _ in range(count):
            sse.publish(message, channel="channel")
        print(time.monotonic() - started, time.process_time() - cpu)


if __name__ == "__main__":
    publish(int(sys.argv[1]))
