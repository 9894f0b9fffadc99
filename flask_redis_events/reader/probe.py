"""Silence is not health: tests the whole path, from emit to the reader, whenever nothing moves it.

The test is a tick, a message on a channel that every worker hears.  It comes back in order on the
very connection that it vouches for, and moves the position of all workers: a position that grew
older than the history's TTL could not be judged any more.  A deployment pays for one tick per
interval, as each restarts the silence of all.
"""

from __future__ import annotations

import logging
import threading
import time

from .. import concurrency
from ..broker.base import Broker
from ..channels import TICKS
from ..exceptions import BrokerError
from ..metrics import Metrics
from .reader import Reader

log = logging.getLogger("flask_redis_events")

#: Seconds of silence after which the path is tested, at most.
SILENCE = 10.0
#: Seconds that the answer may take.
ANSWER = 5.0
#: The tick: a comment, which would do no harm if it ever reached a browser.
TICK = b":\n\n"


class Prober:
    """Tests the reader's connection, and drops it when it hears nothing."""

    def __init__(self, broker: Broker, reader: Reader, metrics: Metrics) -> None:
        self._broker = broker
        self._reader = reader
        self._metrics = metrics
        self._stopped = threading.Event()

    def start(self) -> None:
        concurrency.spawn("prober", self._run)

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        longest = SILENCE
        if self._broker.numbered:
            longest = min(longest, self._broker.history_ttl / 4)
        while not self._stopped.wait(max(0.1, concurrency.jitter(longest) - self._silence)):
            if self._silence >= longest * 0.7:
                self._probe(min(ANSWER, longest))

    @property
    def _silence(self) -> float:
        return self._reader.stillness if self._broker.numbered else self._reader.silence

    def _probe(self, patience: float) -> None:
        feed = self._reader.feed
        if feed is None:
            return
        sent = time.monotonic()
        try:
            if self._broker.numbered:
                self._broker.publish(TICKS, TICK, persist=False)
            else:
                feed.ping()
        except BrokerError:
            return
        self._stopped.wait(patience)
        if self._reader.silence > time.monotonic() - sent and feed is self._reader.feed:
            self._metrics.count("mute")
            log.warning("The connection for events is mute, and is made again.")
            feed.close()
