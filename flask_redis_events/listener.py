"""`@events.on`: a function of the application that receives messages inside each worker.

A listener has a subscription like a client's, and a greenlet or thread that takes messages from it.
Every worker calls the function with every message, for example to clear a cache of its own; work
that must be done exactly once belongs in a queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Flask

from . import concurrency
from .channels import Channel
from .clients.subscription import Subscription
from .exceptions import SubscriptionClosed
from .hub import Hub
from .wire.message import Message

log = logging.getLogger("flask_redis_events")

OnEvent = Callable[[str, Any], Any]


class Listener(NamedTuple):
    """A function `f(channel, message)`, and the channels whose messages it is called with."""

    channels: tuple[Channel, ...]
    function: OnEvent

    def start(self, hub: Hub, app: Flask) -> None:
        """Subscribe, and call the function in a greenlet or thread of its own."""
        # A listener that is too slow loses its oldest messages, because keeping them would use up
        # the worker's memory.
        subscription = Subscription(
            self.channels, limit=hub.settings.buffer, overflow="drop", numbered=False
        )
        hub.listen(subscription)
        concurrency.spawn("listener", lambda: self._run(hub, app, subscription))

    def _run(self, hub: Hub, app: Flask, subscription: Subscription) -> None:
        try:
            while True:
                for batch in subscription.take():
                    for message in batch.messages:
                        self._call(hub, app, message)
        except SubscriptionClosed:
            hub.unlisten(subscription)

    def _call(self, hub: Hub, app: Flask, message: Message) -> None:
        try:
            with app.app_context():
                self.function(message.channel, message.value)
        except BaseException as error:
            if concurrency.is_exit(error):
                raise
            names = tuple(channel.name for channel in self.channels)
            hub.reports.callback_failed(names, error)
