"""Tests of sources share a hub on memory://, an application, and a client without a browser."""

from __future__ import annotations

from typing import Any

from flask import Flask

from flask_redis_events import RedisEvents
from flask_redis_events.clients import Subscription
from flask_redis_events.concurrency import patched
from flask_redis_events.streams.callbacks import Runner, StreamEvent
from flask_redis_events.streams.producer import Producer
from flask_redis_events.wire.sse import Event, decode
from tests.support.factories import channels, sent
from tests.support.waiting import wait_until


class Scene:
    """One client, and the inbox of a source that stands before it."""

    def __init__(self, **options: Any) -> None:
        self.app = Flask(__name__)
        self.app.config["REDIS_EVENTS_URL"] = f"memory://{id(self)}"
        events = RedisEvents(self.app)
        with self.app.app_context():
            self.hub = events.hub
        self.client = Subscription(**options)
        self.inbox = Subscription(channels("a"), held=True, **options)
        self.runner = Runner(self.app, StreamEvent(["a"], None), self.hub)

    def work(self, source: Producer) -> None:
        """Let a source do all that it can do now, as its stream's thread, or the pool, does."""
        if patched():
            wait_until(lambda: not source._scheduled)
        else:
            while source.work() and source.send():
                pass

    def got(self) -> list[Event]:
        """Take what the client was sent."""
        if not self.client.has_news:
            return []
        events = decode(sent(self.client.take(0)))
        self.client.commit()
        return events
