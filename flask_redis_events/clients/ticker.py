"""One greenlet that keeps time for all streams: heartbeats, lifetimes, stalled clients, draining.

A timer for each client would cost more than the clients.  The moments of heartbeats fall apart by a
jitter, so that ten thousand of them are spread and not in step; and they are kept to a quarter of a
second, so that the ticker wakes four times a second and not for each of them.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from collections.abc import Callable

from .. import concurrency
from .owner import Owner

log = logging.getLogger("flask_redis_events")

#: Seconds between two looks at the server, as a drain must be over within one second.
LOOK = 0.25
#: Seconds that the ticker sleeps at least.
REST = 0.005


class Ticker:
    """Calls whatever is due when its moment comes, and `look` four times a second."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        # Guards the heap.
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, Owner]] = []
        self._count = 0
        #: Set when an exact moment comes before the one that is waited for.
        self._sooner = threading.Event()
        self._wakes_at = 0.0
        self._stopped = False

    def start(self) -> None:
        concurrency.spawn("ticker", self._run)

    def stop(self) -> None:
        self._stopped = True
        self._sooner.set()

    def add(self, timed: Owner, at: float, *, exact: bool = False) -> None:
        """Call `timed.tick` at a moment of the monotonic clock, or up to `LOOK` seconds later."""
        if not exact:
            at = math.ceil(at / LOOK) * LOOK
        with self._lock:
            self._count += 1
            heapq.heappush(self._due, (at, self._count, timed))
            sooner = at + REST < self._wakes_at
        if exact and sooner:
            self._sooner.set()

    def hasten(self) -> None:
        """Call everything at the next look."""
        with self._lock:
            self._due = [(0.0, count, timed) for _, count, timed in self._due]

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._stopped:
            now = time.monotonic()
            with self._lock:
                due = self._due[0][0] if self._due else math.inf
                self._wakes_at = max(min(due, looked + LOOK), now + REST)
            if self._sooner.wait(self._wakes_at - now):
                self._sooner.clear()
                continue
            now = time.monotonic()
            if now >= looked + LOOK:
                looked = now
                self._look_at_server()
            self._tick(now)

    def _look_at_server(self) -> None:
        try:
            self._look()
        except Exception:
            log.exception("Looking at the server failed.")

    def _tick(self, now: float) -> None:
        turn = concurrency.Turn()
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > now:
                    return
                _, _, timed = heapq.heappop(self._due)
            again = self._call(timed, now)
            if again is not None:
                # Never at once: this loop ends when nothing is due any more.
                self.add(timed, max(again, now + LOOK))
            turn.maybe_rest()

    def _call(self, timed: Owner, now: float) -> float | None:
        try:
            return timed.tick(now)
        except Exception:
            # One stream's trouble is not the others'.
            log.exception("A stream's timer failed.")
            return None
