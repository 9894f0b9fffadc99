"""Streams of runs; the producers are the tests' own, or greenlets and threads of a worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask

from flask_redis_events import RedisEvents

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    events.init_app(app)

    @app.get("/answers/<id>")
    @events.stream("answer:{id}", backlog="all")
    def answer(id: str) -> None:
        """Stream all of a run."""

    @app.get("/loud/<id>")
    @events.stream("answer:{id}", backlog="all")
    def loud(id: str) -> Callable[..., Any]:
        """Stream all of a run, through a callback."""
        return lambda channel, message, event: message.upper()

    @app.route("/ai/<id>/stream", methods=["GET", "POST"])
    @events.stream("answer:{id}", backlog="all", format="ai-sdk")
    def ai(id: str) -> None:
        """Stream all of a run to the AI SDK."""

    @app.get("/plain/<id>")
    @events.stream("answer:{id}")
    def plain(id: str) -> None:
        """Stream what is live."""

    @app.post("/produce/<id>")
    def produce(id: str) -> str:
        """Produce a run in this worker."""

        def work() -> None:
            with app.app_context(), events.run(f"answer:{id}") as run:
                for number in range(100):
                    run.send(f"{number} ")
                    if run.stop_requested:
                        break
                    time.sleep(0.05)

        threading.Thread(target=work).start()
        return ""

    @app.post("/stop/<id>")
    def stop(id: str) -> dict[str, bool]:
        return {"stopped": events.request_stop(f"answer:{id}")}

    @app.get("/status/<id>")
    def status(id: str) -> dict[str, str]:
        return {"status": events.run_status(f"answer:{id}")}

    return app
