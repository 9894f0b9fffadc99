"""`@events.on`: a function of the application that receives messages inside each worker.

A listener has a subscription like a client's, and a greenlet or thread that takes messages from it.
Every worker calls the function with every message, for example to clear a cache of its own; work
that must be done exactly once belongs in a queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from . import concurrency
from .channels import Channel
from .clients import Owner, Subscription
from .exceptions import SubscriptionClosed
from .hub import Hub
from .wire.message import Message

OnEvent = Callable[[str, Any], Any]


class Listener(Owner):
    """Calls a function `f(channel, message)` for each message on its channels, in one process."""

    def __init__(self, hub: Hub, app: Flask, channels: tuple[Channel, ...], function: OnEvent):
        self._hub = hub
        self._app = app
        self._function = function
        self._names = tuple(channel.name for channel in channels)
        # A listener that is too slow loses its oldest messages, because keeping them would use up
        # the worker's memory.
        self._subscription = Subscription(
            channels, limit=hub.settings.buffer, overflow="drop", numbered=False, owner=self
        )

    def start(self) -> None:
        """Subscribe, and call the function in a greenlet or thread of its own."""
        self._hub.listen(self._subscription)
        concurrency.spawn("listener", self._run)

    def dropped(self, count: int) -> None:
        self._hub.reports.dropped(count)

    def _run(self) -> None:
        try:
            while True:
                for batch in self._subscription.take():
                    for message in batch.messages:
                        self._call(message)
        except SubscriptionClosed:
            self._hub.unlisten(self._subscription)

    def _call(self, message: Message) -> None:
        try:
            with self._app.app_context():
                self._function(message.channel, message.value)
        except BaseException as error:
            if concurrency.is_exit(error):
                raise
            self._hub.reports.callback_failed(self._names, error)
