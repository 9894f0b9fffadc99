"""An assistant: a worker of RQ answers word by word, whoever looks on, and wherever from."""

from __future__ import annotations

import os
import secrets
from typing import Any

import redis
from flask import Flask, render_template, request, url_for
from rq import Queue

from flask_redis_events import BrokerError, RedisEvents

try:
    from .answers import answer
except ImportError:  # gunicorn runs in this directory, and so does RQ's worker
    from answers import answer  # type: ignore[no-redef]

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    url = os.environ.get("REDIS_EVENTS_URL", "redis://localhost:6379/0")
    app.config.update(
        REDIS_EVENTS_URL=url,
        REDIS_EVENTS_PREFIX=os.environ.get("REDIS_EVENTS_PREFIX", "events:"),
    )
    events.init_app(app)
    queue = Queue(os.environ.get("RQ_QUEUE", "answers"), connection=redis.Redis.from_url(url))

    @app.get("/")
    def index() -> str:
        return render_template("index.html")

    @app.post("/answers")
    def ask() -> Any:
        question = (request.get_json(silent=True) or {}).get("question")
        if not isinstance(question, str) or not 0 < len(question) <= 500:
            return {"error": "A question has 1 to 500 characters."}, 400
        # An id for each answer, so that a stop and a stream can mean no other one.
        id = secrets.token_urlsafe(9)
        queue.enqueue(answer, id, question)
        return {"id": id, "stream": url_for("stream", id=id)}, 202

    @app.get("/answers/<id>/stream")
    @events.stream("answer:{id}", backlog="all")
    def stream(id: str) -> None:
        """Stream all of the answer so far, then each word, then the end."""

    @app.post("/answers/<id>/stop")
    def stop(id: str) -> Any:
        # Also where the job still waits in its queue.
        return {"stopping": events.request_stop(f"answer:{id}")}

    @app.get("/answers/<id>")
    def status(id: str) -> Any:
        return {"status": events.run_status(f"answer:{id}")}

    @app.errorhandler(BrokerError)
    @app.errorhandler(redis.RedisError)
    def away(error: Exception) -> Any:
        # The error's text may describe our Redis, so it goes into the log and not to the client.
        app.logger.error("%s", error)
        return {"error": "Redis is away, try again later."}, 503

    return app
