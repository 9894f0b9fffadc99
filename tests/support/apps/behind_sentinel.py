"""A stream whose Redis is found by Sentinel, through the settings of a given client."""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask, jsonify, request
from redis.sentinel import Sentinel

from flask_redis_events import BrokerError, RedisEvents


def create_app() -> Flask:
    app = Flask(__name__)
    addresses = [tuple(address) for address in json.loads(os.environ["TEST_SENTINELS"])]
    sentinel = Sentinel(addresses, socket_timeout=0.5)
    events = RedisEvents(app, redis=sentinel.master_for("main", socket_timeout=1))

    @app.get("/")
    def index() -> str:
        return "here"

    @app.get("/channel/<name>")
    @events.stream("{name}")
    def channel(name: str) -> None: ...

    @app.post("/emit/<name>")
    def emit(name: str) -> Any:
        try:
            return jsonify(id=events.emit(name, request.get_json()))
        except BrokerError as error:
            return str(error), 503

    @app.get("/metrics")
    def metrics() -> Any:
        return events.hub.metrics.snapshot()

    return app
