"""Jobs: a worker of RQ hashes large files, and every page shows how far each of them is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from flask import Flask
from rq import Queue

from examples.layout import away, layout

from .hashing import events
from .views import jobs


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; `FLASK_REDIS_EVENTS_URL` in the environment says where Redis is."""
    app = Flask(__name__)
    app.config.update(
        APP_NAME="Jobs",
        REDIS_EVENTS_URL="redis://localhost:6379/0",
        REDIS_EVENTS_PREFIX="jobs:",
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)
    # RQ keeps its jobs on the same Redis.  It connects when the first job is asked for.
    connection = redis.Redis.from_url(app.config["REDIS_EVENTS_URL"])
    app.extensions["queue"] = Queue(app.config["REDIS_EVENTS_PREFIX"], connection=connection)
    app.register_error_handler(redis.RedisError, away)
    app.register_blueprint(layout)
    app.register_blueprint(jobs)
    return app
