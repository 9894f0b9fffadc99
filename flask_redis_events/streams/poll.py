"""`serverEvent()`: a function that is called again and again, and what it returns is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .. import concurrency
from ..hub import Hub
from ..wire import Batch, Message, Position
from .callbacks import Runner, StreamEvent
from .producer import Producer

OnPoll = Callable[[StreamEvent], Any]

#: Seconds after which the ticker asks again whether a poll is still wanted.
LOOK = 30.0


class Poll(Producer):
    """A producer with a clock in place of an inbox: calls `function` every `interval` seconds."""

    __slots__ = ("_due", "_function", "_interval")

    def __init__(
        self, hub: Hub, runner: Runner, target: Any, function: OnPoll, interval: float
    ) -> None:
        super().__init__(hub, runner, target, target)
        self._function = function
        self._interval = interval
        self._due = 0.0

    def open(self) -> None:
        """There is nothing to listen to."""

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        self._due = time.monotonic()
        self.schedule()

    def leave(self) -> None:
        """There was nothing to listen to."""

    def tick(self, now: float) -> float | None:
        """Call the function, if it is time: the ticker calls this."""
        if self.has_work:
            self.schedule()
        else:
            self._keep_time()
        return None

    @property
    def has_work(self) -> bool:
        return self.target.closed is None and time.monotonic() >= self._due

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._due - time.monotonic())

    def _work(self) -> bool:
        due = self.has_work
        try:
            # A client that does not read is not called for: its next value is as good as this one.
            if due and self.target.has_room:
                frames = self._runner.call(self._function, self._runner.event)
                self._made = [Batch([Message("", frames)])] if frames else []
        finally:
            self._scheduled = due
        return due

    def send(self) -> bool:
        self._flush()
        self._due = max(self._due + self._interval, time.monotonic())
        self._scheduled = False
        if self._runner.ended:
            self._end(None)
        else:
            self._keep_time()
        return False

    def _keep_time(self) -> None:
        if self.target.closed is None and concurrency.patched():
            self.hub.keep_time(self, min(self._due, time.monotonic() + LOOK), exact=True)
