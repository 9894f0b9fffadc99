"""Serve history to reconnecting clients; what many ask for is read from Redis once.

Two thousand clients that lost the same worker come back together, with positions close to each
other.  Most of them are served from this worker's memory (`sequence.recall`).  For the others
history is read from Redis: once for all that ask for the same channels at the same time, from the
oldest of their positions on, and completed from memory for those clients that come a little later.

A reading serves others for a moment only, because it exists for such a storm.  A few readings take
place at once, because each keeps the worker busy; the others wait their turn.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection
from weakref import WeakValueDictionary

from .. import memory
from ..broker.base import Broker
from ..broker.coverage import Snapshot
from ..channels import KICKS, Channel
from ..clients import Subscription
from ..concurrency import Deadline, Turn
from ..exceptions import BrokerError, SubscriptionClosed
from ..reports import Reports
from ..wire import BEGINNING, Message, Position
from .reading import Reading
from .sequence import Sequence
from .tail import size_of

#: How many seconds a reading serves others after it was made, and how many bytes of memory all of
#: them may take together; the last one may take more by itself.
KEPT_FOR = 2.0
KEPT = 32 * 1024 * 1024
#: Seconds that this worker may take to come as far as a reading.
PATIENCE = 5.0
#: How many readings may take place at once.
AT_ONCE = 2
#: Bytes of what was read that make it worth while to give their memory back.
WORTHWHILE = 4 * 1024 * 1024


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
        self._turns = threading.Semaphore(AT_ONCE)
        # Guards all below.
        self._lock = threading.RLock()
        #: The readings that others may join, and those of them that are done, oldest first.
        self._readings: dict[frozenset[Channel], list[Reading]] = {}
        self._kept: deque[Reading] = deque()
        self._size = 0
        #: Messages that were read and that some client still waits for, so that others are given
        #: the same.  Unguarded: where two threads read a message at once, it may be kept twice.
        self._known: WeakValueDictionary[Position, Message] = WeakValueDictionary()
        #: How many they were at most, and the bytes of all, since memory was given back.
        self._most = self._read_size = 0

    def from_memory(self, channels: Collection[Channel], cursor: Position) -> Snapshot | None:
        """Return what came after the cursor, if this worker received all of it."""
        with self._sequence_lock:
            snapshot = self._sequence.recall(channels, cursor)
        if snapshot is not None:
            self._reports.replayed("memory")
        return snapshot

    def after(
        self, subscription: Subscription, channels: frozenset[Channel], cursor: Position | None
    ) -> Snapshot:
        """Return what came after the cursor; the clock is not before the subscription's floor.

        Without a cursor, return the state: the newest value of each key.  Raises
        `SubscriptionClosed` if nobody waits for it any more.
        """
        alone = False
        while True:
            reading, mine = self._join(subscription, channels, cursor, alone=alone)
            if mine:
                self._read(reading, subscription)
            reading.done.wait()
            if reading.error is not None:
                # All of them fail together: one after the other, the last would wait for all.
                raise reading.error
            found = reading.after(cursor)
            snapshot = found if mine else self._complete(found, subscription, channels)
            if snapshot is not None:
                self._reports.replayed("history" if mine else "shared")
                return snapshot
            if found is not None:
                self._forget(reading)
            # If it was of an older cursor, that one is lost, and this one may not be.
            alone = found is None and reading.snapshot is not None

    def last(self, channels: Collection[Channel], count: int) -> Snapshot:
        """Return the newest messages."""
        with self._turns:
            found = self._broker.replay(channels, last=count, max_bytes=self._max_bytes)
        self._heed_requests()
        return found

    def _heed_requests(self) -> None:
        """Return when this worker has acted on all requests to disconnect that Redis has.

        What was read may be newer than such a request, so the streams that it means must end first.
        """
        requests = self._broker.replay([Channel(KICKS)], last=1).messages
        deadline = Deadline(PATIENCE)
        while not all(self._has_reached(request.id) for request in requests):
            if deadline.passed:
                raise BrokerError("This worker has not received the newest events in time.")
            time.sleep(0.005)

    def _has_reached(self, position: Position | None) -> bool:
        with self._sequence_lock:
            return (self._sequence.position or BEGINNING) >= (position or BEGINNING)

    def now(self, subscription: Subscription, channels: frozenset[Channel]) -> Position:
        """Return Redis' clock, after which this worker has everything of these channels."""
        clock = self._broker.replay(()).clock
        # Where nothing is emitted, the next client need not ask.
        self._mark_complete(subscription, channels, clock)
        return clock

    def evict(self) -> None:
        """Forget the readings that are too old, and the oldest while they are too large."""
        with self._lock:
            now = time.monotonic()
            while self._kept and (
                self._kept[0].stale_at <= now or (self._size > KEPT and len(self._kept) > 1)
            ):
                reading = self._kept.popleft()
                self._size -= reading.size
                self._forget(reading)

    def maybe_give_back(self) -> None:
        """Give memory back after a storm, when most of what was read is free again."""
        left = len(self._known)
        self._most = max(self._most, left)
        if self._read_size > WORTHWHILE and left < self._most / 2:
            self._read_size, self._most = self._read_size * left // self._most, left
            memory.give_back()

    def _join(
        self,
        subscription: Subscription,
        channels: frozenset[Channel],
        cursor: Position | None,
        *,
        alone: bool,
    ) -> tuple[Reading, bool]:
        """Return the reading that serves this subscription, and whether we have to carry it out."""
        # What was emitted between a reading and the SUBSCRIBE is in neither of them.
        earliest, losses = subscription.subscribed_at or 0.0, self._sequence.losses
        self.evict()
        with self._lock:
            readings = self._readings.setdefault(channels, [])
            for reading in readings:
                valid = reading.began is None or (
                    reading.began >= earliest and reading.losses == losses
                )
                if valid and reading.takes(cursor, alone=alone):
                    return reading, False
            reading = Reading(channels, cursor, alone=alone)
            readings.append(reading)
            return reading, True

    def _read(self, reading: Reading, subscription: Subscription) -> None:
        try:
            with self._turns:
                if subscription.closed is not None:
                    # The next one who waits for it carries it out.
                    raise SubscriptionClosed(subscription.closed.reason)
                with self._lock:
                    reading.began, reading.losses = time.monotonic(), self._sequence.losses
                cursor, most = reading.cursor, self._max_bytes
                snapshot = self._broker.replay(
                    reading.channels, after=cursor, max_bytes=most, state=cursor is None
                )
                self._share(snapshot.messages)
            self._heed_requests()
            self._mark_complete(subscription, reading.channels, snapshot.clock)
            self._keep(reading, snapshot)
        except BrokerError as error:
            reading.error = error
        finally:
            if reading.snapshot is None:
                self._forget(reading)
            reading.done.set()

    def _share(self, messages: list[Message]) -> None:
        """Put messages that others wait for in the place of their copies."""
        turn = Turn()
        for index, message in enumerate(messages):
            assert message.id is not None
            known = self._known.setdefault(message.id, message)
            # After the clock went back, there may be another message with the same id.
            if (known.channel, known.frame) == (message.channel, message.frame):
                messages[index] = known
            turn.maybe_rest()

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

    def _keep(self, reading: Reading, snapshot: Snapshot) -> None:
        with self._lock:
            reading.snapshot = snapshot
            reading.size = size_of(snapshot.messages)
            reading.stale_at = time.monotonic() + KEPT_FOR
            self._kept.append(reading)
            self._size += reading.size
            self._read_size += reading.size
        self.evict()

    def _forget(self, reading: Reading) -> None:
        with self._lock:
            readings = self._readings.get(reading.channels, [])
            if reading in readings:
                readings.remove(reading)
            if not readings:
                self._readings.pop(reading.channels, None)
