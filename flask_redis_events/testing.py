"""Helpers for an application's own tests: read a stream's events, or receive what was emitted.

With `REDIS_EVENTS_URL = "memory://"`, a test needs no Redis.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from flask import Flask
from werkzeug.wrappers import Response

from .broker import Broker
from .channels import RESERVED, Channel, parse_all
from .clients.subscription import Subscription
from .concurrency import Deadline
from .extension import NAME
from .wire.message import Message
from .wire.sse import CONTROL_EVENTS, Decoder, Event


def read_events(
    response: Response, count: int, *, control: bool = False, timeout: float | None = 5.0
) -> list[Event]:
    """Read `count` events of a streamed response (`client.get(…, buffered=False)`), and close it.

    Return fewer if the stream ends before; raise `TimeoutError` if they do not come within
    `timeout` seconds.  Control events (`ready`, `heartbeat`, …) are left out, unless
    `control=True`.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        # A stream may be closed from any thread; the loop below then comes to its end.
        response.close()

    timer = threading.Timer(timeout or 0, end)
    if timeout is not None:
        timer.start()
    try:
        events = _events(response, count, control=control)
    finally:
        timer.cancel()
        response.close()
    if late.is_set() and len(events) < count:
        raise TimeoutError(f"{len(events)} of {count} events came within {timeout} s: {events}")
    return events


def _events(response: Response, count: int, *, control: bool) -> list[Event]:
    decoder = Decoder()
    events: list[Event] = []
    for chunk in response.iter_encoded():
        for event in decoder.feed(chunk):
            if control or event.event not in CONTROL_EVENTS:
                events.append(event)
        if len(events) >= count:
            break
    return events[:count]


class Emitted(NamedTuple):
    """What was emitted: the channel, the SSE event name (None is "message"), and the value."""

    channel: str
    event: str | None
    value: Any


class Heard:
    """The messages emitted on some channels since the `with` block of `hear` began."""

    def __init__(self, subscription: Subscription, broker: Broker, fence: str) -> None:
        self._subscription = subscription
        self._broker = broker
        #: A channel of our own: what was emitted before a message on it has arrived before it.
        self._fence = fence
        self._fences = 0
        self._messages: list[Message] = []

    def wait(self, count: int = 1, *, timeout: float = 5.0) -> list[tuple[str, Any]]:
        """Return the first `count` messages as (channel, value), or raise `TimeoutError`."""
        deadline = Deadline(timeout)
        while len(self._messages) < count:
            self._take(deadline.left)
            if deadline.passed and len(self._messages) < count:
                raise TimeoutError(
                    f"{len(self._messages)} of {count} messages arrived within {timeout} s."
                )
        return [(message.channel, message.value) for message in self._messages[:count]]

    def all(self, *, timeout: float = 5.0) -> list[Emitted]:
        """Return all that was emitted before this call, in order; [] says that nothing was."""
        deadline = Deadline(timeout)
        wanted = self._fences + 1
        self._broker.publish(self._fence, b":\n\n", persist=False)
        while self._fences < wanted:
            if deadline.passed:
                raise TimeoutError(f"Redis delivered nothing within {timeout} s.")
            self._take(deadline.left)
        return [Emitted(one.channel, one.event, one.value) for one in self._messages]

    def _take(self, timeout: float | None) -> None:
        for batch in self._subscription.take(timeout):
            for message in batch.messages:
                if message.channel == self._fence:
                    self._fences += 1
                else:
                    self._messages.append(message)


@contextmanager
def hear(app: Flask, *channels: str) -> Iterator[Heard]:
    """Receive the messages on channels: `with hear(app, "orders") as heard: …`.

    Redis has acknowledged the channels when the block begins, so it misses no message.
    """
    with app.app_context():
        hub = app.extensions[NAME].hub
    fence = f"{RESERVED}heard:{secrets.token_hex(8)}"
    subscription = Subscription([*parse_all(list(channels)), Channel(fence)])
    hub.listen(subscription)
    try:
        if not subscription.wait(lambda: subscription.live, 5.0):
            raise TimeoutError("Redis did not acknowledge the channels within 5 s.")
        yield Heard(subscription, hub.broker, fence)
    finally:
        hub.unlisten(subscription)
