"""Silence is not health: test the whole path, from emit to the reader, whenever nothing moves it.

The test is a tick, a message on a channel that every worker receives.  A tick comes back in order
on the very connection that it tests, and moves the position of all workers, because a position that
grew older than the history's TTL could not be judged any more.  A deployment pays for one tick per
interval, as each tick restarts the interval of every worker.
"""

from __future__ import annotations

import threading
import time

from .. import concurrency
from ..broker.base import Broker
from ..channels import TICKS
from ..exceptions import BrokerError
from ..reports import Reports
from ..wire import BEGINNING
from .reader import Reader

#: Seconds of silence after which the path is tested, at most.
SILENCE = 10.0
#: Seconds that the answer may take.
ANSWER = 5.0
#: The tick: a comment, which would do no harm if it ever reached a browser.
TICK = b":\n\n"


class Probe:
    """Tests the reader's connection, and drops it when nothing comes back."""

    def __init__(self, broker: Broker, reader: Reader, reports: Reports) -> None:
        self._broker = broker
        self._reader = reader
        self._reports = reports
        self._stopped = threading.Event()

    def start(self) -> None:
        concurrency.spawn("probe", self._run)

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        longest = SILENCE
        if self._broker.numbered:
            longest = min(longest, self._broker.history_ttl / 4)
        while not self._stopped.wait(max(0.1, concurrency.jitter(longest) - self._idle_for)):
            if self._idle_for >= longest * 0.7:
                self._test(min(ANSWER, longest))

    @property
    def _idle_for(self) -> float:
        return self._reader.stalled_for if self._broker.numbered else self._reader.idle_for

    def _test(self, patience: float) -> None:
        feed = self._reader.feed
        if feed is None:
            return
        sent, before, id = time.monotonic(), self._reader.sequence.position, None
        try:
            if self._broker.numbered:
                id = self._broker.publish(TICKS, TICK, persist=False)
            else:
                feed.ping()
        except BrokerError:
            return
        if id is not None and id <= (before or BEGINNING):
            # Redis' clock went back, and what is new looks like what history has brought.
            feed.close()
            return
        self._stopped.wait(patience)
        if self._reader.idle_for > time.monotonic() - sent and feed is self._reader.feed:
            self._reports.mute()
            feed.close()
