"""`serverEvent()`: a function that is called again and again, and what it returns is sent.

A poll is a producer with a clock in place of an inbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .. import concurrency, endings
from ..clients import Audience, Subscription
from ..hub import Hub
from ..wire import Batch, Message, Position, control
from .callbacks import Runner, StreamEvent
from .source import Source

OnPoll = Callable[[StreamEvent], Any]


class Poll(Source):
    """Calls `function` at once and then every `interval` seconds, for one client alone."""

    __slots__ = ("_due", "_function", "_interval", "_made", "_runner", "_scheduled", "_target")

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        function: OnPoll,
        interval: float,
        *,
        client: Subscription,
        target: Subscription | Audience | None = None,
    ) -> None:
        super().__init__(hub, client, client)
        self._runner = runner
        self._function = function
        self._interval = interval
        self._target = target or client
        self._due = 0.0
        #: Whether the pool will work for it, or does.
        self._scheduled = False
        #: What the function returned, to be sent.
        self._made: Batch | None = None

    @property
    def over(self) -> bool:
        """Whether the function is called no more."""
        return self.client.closed is not None

    def open(self) -> None:
        """There is nothing to listen to."""

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        self._due = time.monotonic()
        self.schedule()

    def leave(self) -> None:
        """There was nothing to listen to."""

    def schedule(self) -> None:
        """See to it that somebody calls the function."""
        if not concurrency.patched():
            self.client.notify()
        elif not self._scheduled:
            self._scheduled = True
            self.hub.pool.add(self)

    def tick(self, now: float) -> float | None:
        """It is time: the ticker calls this."""
        self.schedule()
        return None

    @property
    def has_work(self) -> bool:
        return not self.over and time.monotonic() >= self._due

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._due - time.monotonic())

    def work(self) -> bool:
        due = self.has_work
        try:
            # A client that does not read is not called for: its next value is as good as this one.
            if due and self.client.has_room:
                frames = self._runner.call(self._function, self._runner.event)
                self._made = Batch([Message("", frames)]) if frames else None
        finally:
            self._scheduled = due
        return due

    def send(self) -> bool:
        made, self._made = self._made, None
        if made is not None:
            self._target.offer(made)
        self._due = max(self._due + self._interval, time.monotonic())
        if self._runner.ended:
            self._target.close(endings.ENDED, last=control.end(None))
        elif not self.over and concurrency.patched():
            self.hub.keep_time(self, self._due, exact=True)
        self._scheduled = False
        return False
