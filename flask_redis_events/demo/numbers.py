"""Numbered events: a page can prove by them that it has each of them, once and in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

from flask_redis_events import ServerSentEvent

from .outbox import Outbox

CHANNEL = "numbers"
#: The channel on which the application asks for a flood.
WANTED = "numbers:wanted"
#: Seconds from one number to the next.
EVERY = 0.25
#: How many numbers a flood has.
FLOOD = 1_000


class Numbers:
    """Counts, and sends each number as an event."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        # Guards the number, so that numbers leave in their order.
        self._lock = threading.Lock()
        self._last = 0
        #: Which publisher counts: another one begins at 1 again.
        self._run = time.time_ns() // 1_000_000

    def run(self) -> None:
        """Send a number four times a second."""
        at = time.monotonic()
        while True:
            self._send([None])
            at = max(at + EVERY, time.monotonic() - EVERY)
            time.sleep(max(0.0, at - time.monotonic()))

    def flood(self) -> None:
        """Send a thousand numbers at once."""
        self._send(range(1, FLOOD + 1))

    def _send(self, places: Iterable[int | None]) -> None:
        with self._lock:
            self._outbox.put(self._pairs(places))

    def _pairs(self, places: Iterable[int | None]) -> Iterator[tuple[str, ServerSentEvent]]:
        for place in places:
            self._last += 1
            number = {"n": self._last, "run": self._run, "made": time.time_ns() // 1_000_000}
            if place is not None:
                number |= {"flood": place, "of": FLOOD}
            yield CHANNEL, ServerSentEvent(number, event="number")
