"""A channel with a state: a page begins with the newest value of each key, then come changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, request

from flask_redis_events import RedisEvents

events = RedisEvents()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)

    @app.post("/emit/<pair>")
    def emit(pair: str) -> Any:
        price = {"pair": pair, "price": request.get_json()}
        # The newest price of each pair is kept; older ones are history like that of any channel.
        return {"id": events.emit("prices", price, key=pair, keep="latest")}

    @app.delete("/emit/<pair>")
    def remove(pair: str) -> Any:
        return {"id": events.remove("prices", pair)}

    @app.get("/stream")
    @events.stream("prices", backlog="state")
    def stream() -> None:
        """Send the newest price of each pair, and then each change; nothing is missed between."""

    return app
