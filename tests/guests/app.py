"""An application with the extensions and queues that are most used with Flask and Redis.

All of them use the same Redis, each with connections of its own.  Celery's and RQ's workers import
this module, and emit without Flask.
"""

from __future__ import annotations

import os
import time
from typing import Any

import redis
from celery import Celery
from flask import Flask, abort, session
from flask_caching import Cache
from flask_limiter import Limiter
from flask_session import Session
from rq import Queue

from flask_redis_events import Emitter, RedisEvents

URL = os.environ["TEST_REDIS_EVENTS_URL"]
celery = Celery(__name__, broker=URL)
queue = Queue("rq", connection=redis.Redis.from_url(URL))
emitter = Emitter(URL)

events = RedisEvents()
cache = Cache()
limiter = Limiter(lambda: session.get("user", ""))


@celery.task
def in_celery(user: str) -> None:
    emitter.emit(f"user:{user}", "from /celery")


@celery.task
def answer(id: str) -> None:
    """Produce an answer, as a language model would."""
    with emitter.run(f"answer:{id}", lease=3) as run:
        for number in range(150):
            run.send(f"{number} ")
            if run.stop_requested:
                break
            time.sleep(0.02)


def in_rq(user: str) -> None:
    emitter.emit(f"user:{user}", "from /rq")


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    app.config.update(
        CACHE_TYPE="RedisCache",
        CACHE_REDIS_URL=URL,
        RATELIMIT_STORAGE_URI=URL,
        SESSION_TYPE="redis",
        SESSION_REDIS=redis.Redis.from_url(URL),
    )
    for extension in (Session(), cache, limiter, events):
        extension.init_app(app)
    add_views(app)
    return app


def add_views(app: Flask) -> None:
    @app.post("/login/<user>")
    def login(user: str) -> dict[str, Any]:
        session["user"] = user
        return {}

    @app.get("/stream")
    @limiter.limit("2 per hour")
    @events.stream()
    def stream() -> str:
        if "user" not in session:
            abort(401)
        return f"user:{session['user']}"

    @app.get("/report")
    @cache.cached(timeout=60, key_prefix=lambda: session["user"])
    def report() -> dict[str, Any]:
        return {"id": events.emit(f"user:{session['user']}", "computed")}

    @app.post("/done")
    def done() -> dict[str, Any]:
        return {"id": events.emit(f"user:{session['user']}", "done")}

    @app.post("/celery")
    def with_celery() -> dict[str, Any]:
        return {"job": in_celery.delay(session["user"]).id}

    @app.post("/answers/<id>")
    def ask(id: str) -> dict[str, Any]:
        return {"job": answer.delay(id).id}

    @app.get("/answers/<id>")
    @events.stream("answer:{id}", backlog="all")
    def answers(id: str) -> None:
        """Stream an answer, to its end."""

    @app.post("/answers/<id>/stop")
    def stop(id: str) -> dict[str, bool]:
        return {"stopping": events.request_stop(f"answer:{id}")}

    @app.post("/rq")
    def with_rq() -> dict[str, Any]:
        return {"job": queue.enqueue(in_rq, session["user"]).id}

    @app.get("/metrics")
    def metrics() -> dict[str, Any]:
        return events.hub.metrics.snapshot()
