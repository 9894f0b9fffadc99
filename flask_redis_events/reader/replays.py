"""Serve history to reconnecting clients; each position is read from Redis once, however many ask.

Two thousand clients that lost the same worker come back together with the same few positions.  Most
of them are served from this worker's memory (`sequence.recall`).  For the others history is read
from Redis once for each set of channels and position, and completed from memory for those clients
that come a little later.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection

from ..broker.base import Broker
from ..broker.coverage import Snapshot
from ..channels import Channel
from ..clients import Subscription
from ..concurrency import Deadline
from ..exceptions import BrokerError
from ..reports import Reports
from ..wire import Position
from .sequence import Sequence

#: How many snapshots are kept, and for how many seconds.
KEPT = 32
KEPT_FOR = 5.0

Key = tuple[frozenset[Channel], Position]


class _Reading:
    """One reading of history, for all who need the same."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.began = time.monotonic()
        self.done = threading.Event()
        self.fresh = Deadline(KEPT_FOR)
        self.snapshot: Snapshot | None = None
        self.error: BrokerError | None = None


class Replays:
    """Replays for subscriptions that are live and held.  `lock` guards the sequence."""

    def __init__(
        self,
        broker: Broker,
        sequence: Sequence,
        *,
        lock: threading.RLock,
        reports: Reports,
        max_bytes: int | None = None,
    ) -> None:
        self._broker = broker
        self._max_bytes = max_bytes
        self._sequence = sequence
        self._sequence_lock = lock
        self._reports = reports
        # Guards the readings.
        self._lock = threading.Lock()
        self._readings: OrderedDict[Key, _Reading] = OrderedDict()

    def from_memory(self, channels: Collection[Channel], cursor: Position) -> Snapshot | None:
        """Return what came after the cursor, if this worker received all of it."""
        with self._sequence_lock:
            snapshot = self._sequence.recall(channels, cursor)
        if snapshot is not None:
            self._reports.replayed("memory")
        return snapshot

    def after(
        self, subscription: Subscription, channels: frozenset[Channel], cursor: Position
    ) -> Snapshot:
        """Return what came after the cursor; the clock is not before the subscription's floor."""
        key = (channels, cursor)
        while True:
            reading, mine = self._join(key, subscription)
            if mine:
                return self._read(key, reading, subscription)
            reading.done.wait()
            if reading.error is not None:
                # All of them fail together: one after the other, the last would wait for all.
                raise reading.error
            snapshot = self._complete(reading.snapshot, subscription, channels)
            if snapshot is not None:
                self._reports.replayed("shared")
                return snapshot
            self._forget(key, reading)

    def now(self, subscription: Subscription, channels: frozenset[Channel]) -> Position:
        """Return Redis' clock, from which on this worker has everything of these channels."""
        clock = self._broker.replay(()).clock
        # Where nothing is emitted, the next client need not ask.
        self._mark_complete(subscription, channels, clock)
        return clock

    def _join(self, key: Key, subscription: Subscription) -> tuple[_Reading, bool]:
        """Return the reading that serves this subscription, and whether we have to carry it out."""
        # What was emitted between a reading and the SUBSCRIBE is in neither of them.
        earliest, losses = subscription.subscribed_at or 0.0, self._sequence.losses
        with self._lock:
            reading = self._readings.get(key)
            if reading is not None and not reading.fresh.passed:
                if reading.began >= earliest and reading.losses == losses:
                    return reading, False
            reading = self._readings[key] = _Reading(losses)
            while len(self._readings) > KEPT:
                self._readings.popitem(last=False)
            return reading, True

    def _read(self, key: Key, reading: _Reading, subscription: Subscription) -> Snapshot:
        channels, cursor = key
        try:
            reading.snapshot = self._broker.replay(
                channels, after=cursor, max_bytes=self._max_bytes
            )
            self._mark_complete(subscription, channels, reading.snapshot.clock)
            self._reports.replayed("history")
            return reading.snapshot
        except BrokerError as error:
            reading.error = error
            raise
        finally:
            if reading.snapshot is None:
                self._forget(key, reading)
            reading.done.set()

    def _complete(
        self,
        snapshot: Snapshot | None,
        subscription: Subscription,
        channels: frozenset[Channel],
    ) -> Snapshot | None:
        """Add what came after a snapshot that others read; None where that cannot be had."""
        if snapshot is None:
            return None
        if subscription.floor is None or snapshot.clock >= subscription.floor:
            return snapshot
        with self._sequence_lock:
            later = self._sequence.recall(channels, snapshot.clock)
        if later is None:
            return None
        return Snapshot(later.clock, [*snapshot.messages, *later.messages], snapshot.lost)

    def _mark_complete(
        self, subscription: Subscription, channels: frozenset[Channel], position: Position
    ) -> None:
        with self._sequence_lock:
            # While it listens, none of its channels was given up.
            if subscription.closed is None:
                self._sequence.tail.mark_complete(channels, position)

    def _forget(self, key: Key, reading: _Reading) -> None:
        with self._lock:
            if self._readings.get(key) is reading:
                del self._readings[key]
