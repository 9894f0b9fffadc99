"""Helpers for an application's own tests: read a stream's events, or receive what was emitted.

With `REDIS_EVENTS_URL = "memory://"`, a test needs no Redis.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from werkzeug.wrappers import Response

from .channels import parse_all
from .clients.subscription import Subscription
from .concurrency import Deadline
from .extension import NAME
from .wire.message import Message
from .wire.sse import CONTROL_EVENTS, Decoder, Event


def read_events(response: Response, count: int, *, control: bool = False) -> list[Event]:
    """Read `count` events of a streamed response (`client.get(…, buffered=False)`), and close it.

    Return fewer if the stream ends before.  Control events (`ready`, `heartbeat`, …) are left out,
    unless `control=True`.
    """
    decoder = Decoder()
    events: list[Event] = []
    try:
        for chunk in response.iter_encoded():
            for event in decoder.feed(chunk):
                if control or event.event not in CONTROL_EVENTS:
                    events.append(event)
            if len(events) >= count:
                break
    finally:
        response.close()
    return events[:count]


class Heard:
    """The messages emitted on some channels since the `with` block of `hear` began."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._messages: list[Message] = []

    def wait(self, count: int = 1, *, timeout: float = 5.0) -> list[tuple[str, Any]]:
        """Return the first `count` messages as (channel, value), or raise `TimeoutError`."""
        deadline = Deadline(timeout)
        while len(self._messages) < count:
            for batch in self._subscription.take(deadline.left):
                self._messages.extend(batch.messages)
            if deadline.passed and len(self._messages) < count:
                raise TimeoutError(
                    f"{len(self._messages)} of {count} messages arrived within {timeout} s."
                )
        return [(message.channel, message.value) for message in self._messages[:count]]


@contextmanager
def hear(app: Flask, *channels: str) -> Iterator[Heard]:
    """Receive the messages on channels: `with hear(app, "orders") as heard: …`.

    Redis has acknowledged the channels when the block begins, so it misses no message.
    """
    with app.app_context():
        hub = app.extensions[NAME].hub
    subscription = Subscription(parse_all(list(channels)))
    hub.listen(subscription)
    try:
        if not subscription.wait(lambda: subscription.live, 5.0):
            raise TimeoutError("Redis did not acknowledge the channels within 5 s.")
        yield Heard(subscription)
    finally:
        hub.unlisten(subscription)
