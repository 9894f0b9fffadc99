"""Flask-SSE, written as in its quick start; it runs in the environment of the other projects."""

from __future__ import annotations

import os
import sys
import time

from flask import Flask
from flask_sse import sse  # type: ignore[import-not-found, unused-ignore]


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["REDIS_URL"] = os.environ["BENCH_REDIS_URL"]
    app.register_blueprint(sse, url_prefix="/stream")

    @app.get("/")
    def index() -> str:
        return "here"

    return app


def publish(count: int) -> None:
    """Publish messages; print the seconds and the CPU seconds that this took."""
    with create_app().app_context():
        message = {"t": 1.0, "n": 1, "text": "x" * 32}
        sse.publish(message, channel="channel")
        started, cpu = time.monotonic(), time.process_time()
        for _ in range(count):
            sse.publish(message, channel="channel")
        print(time.monotonic() - started, time.process_time() - cpu)


if __name__ == "__main__":
    publish(int(sys.argv[1]))
