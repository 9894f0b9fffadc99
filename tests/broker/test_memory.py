"""What only a broker inside this process has to take care of."""

from __future__ import annotations

import threading

import pytest

from flask_redis_events.broker import KEEP, Outgoing, StateLimits
from flask_redis_events.broker.memory import MemoryBroker
from flask_redis_events.concurrency import spawn
from flask_redis_events.exceptions import StateFull
from flask_redis_events.wire import Message
from tests.support.factories import channels


def test_many_messages_are_published_together(monkeypatch: pytest.MonkeyPatch):
    """No other thread fills the state after there was found room for them."""
    broker = MemoryBroker(state=StateLimits(keys=1))
    feed = broker.open()
    refused = threading.Event()

    def keep_another_key() -> None:
        try:
            broker.publish("a", b"data: 2\n\n", key="q", keep=KEEP)
        except StateFull:
            refused.set()

    def deliver(message: Message) -> None:
        if message.key is None:
            spawn("test", keep_another_key).join(0.2)

    monkeypatch.setattr(feed, "deliver", deliver)
    broker.publish_many([("a", b"data: 1\n\n"), Outgoing("a", b"data: 1\n\n", "p", KEEP)])

    assert refused.wait(5)
    kept = broker.replay(channels("a"), state=True).messages
    assert [one.key for one in kept] == ["p"]
