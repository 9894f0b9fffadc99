"""What the publisher has to send: kept in order, and sent once Redis is there."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from flask_redis_events import BrokerError, RedisEvents

Pair = tuple[str, Any]

#: The most events that wait; then whoever brings more waits, too.
MOST = 10_000
#: The most that leave in one round trip.
TOGETHER = 1_000


class Outbox:
    """Sends events in the order in which they were put in, from a thread of its own."""

    def __init__(self, events: RedisEvents) -> None:
        self._events = events
        self._waiting: queue.Queue[Pair] = queue.Queue(MOST)
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, pairs: Iterable[Pair]) -> None:
        """Send (channel, data) pairs, later if Redis is away."""
        for pair in pairs:
            self._waiting.put(pair)

    def _run(self) -> None:
        while True:
            pairs = [self._waiting.get()]
            while len(pairs) < TOGETHER and not self._waiting.empty():
                pairs.append(self._waiting.get())
            self._send(pairs)

    def _send(self, pairs: list[Pair]) -> None:
        said = False
        while True:
            try:
                self._events.emit_many(pairs)
                return
            except BrokerError as error:
                # `emit_many` has tried for ten seconds, without sending anything twice.  A further
                # try could; an event that is late is better than none.
                if not said:
                    print(f"publisher: {error}", file=sys.stderr)
                said = True
                time.sleep(1)
