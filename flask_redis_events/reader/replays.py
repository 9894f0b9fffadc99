"""History for those who come back, read once however many they are.

Two thousand clients that lost the same worker come back together with the same few positions.
What this worker has heard itself, it has in memory; what is older is read from Redis once for each
set of channels and position, and completed from memory for those who come a little later.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Protocol

from ..broker.base import Broker, Snapshot
from ..channels import Channel
from ..clients.subscription import Subscription
from ..concurrency import Deadline
from ..exceptions import BrokerError
from ..metrics import Metrics
from ..wire.message import Message, Position

#: How many snapshots are kept, and for how many seconds.
KEPT = 32
KEPT_FOR = 5.0

Key = tuple[frozenset[Channel], Position]


class Memory(Protocol):
    """What this worker heard itself."""

    @property
    def losses(self) -> int:
        """How often it saw that something was lost: what was read before holds no more."""

    def recall(
        self, channels: frozenset[Channel], cursor: Position
    ) -> tuple[list[Message], Position] | None:
        """Return what came after the cursor, and the position up to which that is all."""

    def vouch(self, inbox: Subscription, channels: frozenset[Channel], position: Position) -> None:
        """Take note that the channels were subscribed to at this position, for the inbox."""


class _Flight:
    """One reading of history, for all who need the same."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.began = time.monotonic()
        self.done = threading.Event()
        self.fresh = Deadline(KEPT_FOR)
        self.snapshot: Snapshot | None = None
        self.error: BrokerError | None = None


class Replays:
    """Replays for subscriptions that are live and held."""

    def __init__(self, broker: Broker, memory: Memory, metrics: Metrics) -> None:
        self._broker = broker
        self._memory = memory
        self._metrics = metrics
        # Guards the flights.
        self._lock = threading.Lock()
        self._flights: OrderedDict[Key, _Flight] = OrderedDict()

    def from_memory(self, channels: frozenset[Channel], cursor: Position) -> Snapshot | None:
        """Return what came after the cursor, if this worker heard all of it."""
        found = self._memory.recall(channels, cursor)
        if found is None:
            return None
        self._metrics.count("replayed", reason="memory")
        return Snapshot(found[1], found[0], {})

    def after(
        self, inbox: Subscription, channels: frozenset[Channel], cursor: Position
    ) -> Snapshot:
        """Return what came after the cursor; its clock is not before the inbox's floor."""
        key = (channels, cursor)
        while True:
            remembered = self.from_memory(channels, cursor)
            if remembered is not None:
                return remembered
            flight, mine = self._board(key, inbox)
            if mine:
                return self._read(key, flight, inbox)
            flight.done.wait()
            if flight.error is not None:
                # Together, too: one after the other, the last would wait for all.
                raise flight.error
            shared = self._complete(flight.snapshot, inbox, channels)
            if shared is not None:
                self._metrics.count("replayed", reason="shared")
                return shared
            self._leave(key, flight)

    def _board(self, key: Key, inbox: Subscription) -> tuple[_Flight, bool]:
        """Return the flight that goes our way, and whether we have to fly it."""
        # What was emitted between a reading and the SUBSCRIBE is in neither of them.
        earliest, losses = inbox.waited_until or 0.0, self._memory.losses
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and not flight.fresh.passed:
                if flight.began >= earliest and flight.losses == losses:
                    return flight, False
            flight = self._flights[key] = _Flight(losses)
            while len(self._flights) > KEPT:
                self._flights.popitem(last=False)
            return flight, True

    def _read(self, key: Key, flight: _Flight, inbox: Subscription) -> Snapshot:
        try:
            flight.snapshot = self._broker.replay(key[0], after=key[1])
            self._memory.vouch(inbox, key[0], flight.snapshot.clock)
            self._metrics.count("replayed", reason="history")
            return flight.snapshot
        except BrokerError as error:
            flight.error = error
            raise
        finally:
            if flight.snapshot is None:
                self._leave(key, flight)
            flight.done.set()

    def _complete(
        self, snapshot: Snapshot | None, inbox: Subscription, channels: frozenset[Channel]
    ) -> Snapshot | None:
        """Add what came after a snapshot that others read; None where that cannot be had."""
        if snapshot is None:
            return None
        if inbox.floor is None or snapshot.clock >= inbox.floor:
            return snapshot
        later = self._memory.recall(channels, snapshot.clock)
        if later is None:
            return None
        return Snapshot(later[1], [*snapshot.messages, *later[0]], snapshot.lost)

    def _leave(self, key: Key, flight: _Flight) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
