"""An assistant: a worker of RQ answers word by word, whoever looks on, and wherever from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from flask import Flask
from rq import Queue

from examples.layout import away, layout

from .answers import events
from .views import assistant


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; `FLASK_REDIS_EVENTS_URL` in the environment says where Redis is."""
    app = Flask(__name__)
    app.config.update(
        APP_NAME="Assistant",
        REDIS_EVENTS_URL="redis://localhost:6379/0",
        REDIS_EVENTS_PREFIX="assistant:",
        #: How long the model takes for a word.
        WORD_SECONDS=0.05,
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)
    # RQ keeps the questions on the same Redis.  It connects when the first one is asked.
    connection = redis.Redis.from_url(app.config["REDIS_EVENTS_URL"])
    app.extensions["queue"] = Queue(app.config["REDIS_EVENTS_PREFIX"], connection=connection)
    app.register_error_handler(redis.RedisError, away)
    app.register_blueprint(layout)
    app.register_blueprint(assistant)
    return app
