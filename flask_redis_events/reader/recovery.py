"""Recover what this worker missed while disconnected: read it from history, deliver it, report it.

All channels are read in one snapshot, which is delivered before anything newer.  A recovery channel
by channel would let a newer message of one channel carry a client's position past an older one of
another.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

from ..broker.base import Broker
from ..channels import TICKS, Channel
from ..reports import Reports
from ..wire import Message
from .sequence import Sequence


class Recovery:
    """Brings the sequence up to Redis' clock.  `lock` guards the sequence."""

    def __init__(
        self, broker: Broker, sequence: Sequence, *, lock: threading.RLock, reports: Reports
    ) -> None:
        self._broker = broker
        self._sequence = sequence
        self._lock = lock
        self._reports = reports

    def run(self, channels: Collection[Channel], reason: str) -> None:
        """Deliver what came after the position, for a `reason`; may raise `BrokerError`."""
        if not self._broker.numbered:
            return
        after = self._sequence.position
        witness = self._sequence.tail.newest
        snapshot = self._broker.replay(channels, after=after, witness=witness)
        if witness is not None and snapshot.forked == witness.id:
            self._tell_of_fork(witness)
        with self._lock:
            resets = self._sequence.refill(snapshot)
        if after is not None:
            self._reports.recovered(reason, len(snapshot.messages))
        for reset in resets:
            self._reports.reset(reset)

    def _tell_of_fork(self, witness: Message) -> None:
        """Tell all workers: those that have not seen this message can never get it."""
        self._reports.forked(witness.id)
        self._broker.publish(TICKS, f":forked {witness.id}\n\n".encode(), persist=False)
