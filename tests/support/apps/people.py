"""Streams of somebody: who is there, who must go, and who may stay."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import redis
from flask import Flask, abort, current_app, request

from flask_redis_events import RedisEvents
from flask_redis_events.streams.callbacks import StreamEvent
from flask_redis_events.workers import worker

events = RedisEvents()


def who() -> str | None:
    return request.args.get("who")


def may_stay(event: StreamEvent) -> bool:
    """Ask Redis what this identity may do."""
    client = redis.Redis.from_url(current_app.config["REDIS_EVENTS_URL"])
    right = client.get(f"right:{event.identity}") or b"stay"
    client.close()
    if right == b"raise":
        raise RuntimeError("The rights are not to be had.")
    if right == b"hang":
        time.sleep(30)
    return right == b"stay"


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    lease, refused = (app.config.pop(f"REDIS_EVENTS_TEST_{n}", "") for n in ("LEASE", "REFUSED"))
    if lease:
        worker.LEASE, worker.RENEWAL = lease, lease / 3
    events.init_app(app)

    @app.get("/room/<room>")
    @events.stream("room:{room}", identity=who, presence=True)
    def room(room: str) -> None:
        """Note who is there; refuse an identity of which a file has the name."""
        if refused and (Path(refused) / str(who())).exists():
            abort(403)

    @app.get("/seen/<room>")
    @events.stream("room:{room}", identity=who, presence="events")
    def seen(room: str) -> Any:
        """Tell each other who comes and goes."""
        return (lambda channel, message, event: [message]) if "callback" in request.args else None

    @app.get("/own")
    @events.stream("news", identity=who)
    def own() -> None:
        """Say who the client is, and show it to nobody."""

    @app.get("/slow")
    @events.stream("news", identity=who)
    def slow() -> None:
        """Let the client in, and take until the test says so."""
        client = redis.Redis.from_url(app.config["REDIS_EVENTS_URL"])
        client.rpush("asked", who() or "")
        client.blpop(["go"], 10)
        client.close()

    @app.get("/poll")
    @events.poll(interval=0.2, identity=who)
    def poll() -> Any:
        return lambda event: event.identity

    @app.get("/guarded")
    @events.stream("news", identity=who, reauthorize=may_stay, heartbeat=0.5)
    def guarded() -> Any:
        if request.args.get("who") == "banned":
            return "no", 403
        return None

    @app.get("/present/<room>")
    def present(room: str) -> dict[str, int]:
        return events.present(f"room:{room}")

    @app.get("/clients")
    def clients() -> dict[str, int]:
        return events.clients()

    @app.get("/workers")
    def workers() -> list[dict[str, Any]]:
        return events.workers()

    @app.post("/disconnect")
    def disconnect() -> dict[str, bool]:
        events.disconnect(**request.get_json())
        return {"done": True}

    @app.post("/emit/<channel>")
    def emit(channel: str) -> dict[str, str | None]:
        return {"id": events.emit(channel, request.get_json())}

    return app
