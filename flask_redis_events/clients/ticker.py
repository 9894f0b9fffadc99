"""One greenlet that keeps time for all streams: heartbeats, lifetimes, stalled clients, draining.

A timer for each client would cost more than the clients.  The moments fall apart by a jitter, so
that ten thousand heartbeats are spread and not in step.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from .. import concurrency

log = logging.getLogger("flask_redis_events")

#: Seconds between two looks at the server: a drain must be over within one second.
LOOK = 0.25


class Timed(Protocol):
    """What the ticker keeps time for."""

    def tick(self, now: float) -> float | None:
        """Do what is due, never blocking; return when to be called again, or None for never."""


class Ticker:
    """Calls each stream when its moment comes, and `look` four times a second."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        # Guards the heap.
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, Timed]] = []
        self._count = 0
        self._stopped = threading.Event()

    def start(self) -> None:
        concurrency.spawn("ticker", self._run)

    def stop(self) -> None:
        self._stopped.set()

    def add(self, timed: Timed, at: float) -> None:
        """Call `timed.tick` at that moment of the monotonic clock."""
        with self._lock:
            self._count += 1
            heapq.heappush(self._due, (at, self._count, timed))

    def hasten(self) -> None:
        """Call everything at the next look."""
        with self._lock:
            self._due = [(0.0, count, timed) for _, count, timed in self._due]

    def _run(self) -> None:
        while not self._stopped.wait(LOOK):
            try:
                self._look()
            except Exception:
                log.exception("The look at the server failed.")
            self._tick(time.monotonic())

    def _tick(self, now: float) -> None:
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > now:
                    return
                _, _, timed = heapq.heappop(self._due)
            again = self._call(timed, now)
            if again is not None:
                # Never at once: this loop ends when nothing is due any more.
                self.add(timed, max(again, now + LOOK))

    def _call(self, timed: Timed, now: float) -> float | None:
        try:
            return timed.tick(now)
        except Exception:
            # One stream's trouble is not the others'.
            log.exception("A stream's timer failed.")
            return None
