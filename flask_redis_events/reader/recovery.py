"""What a worker missed while it could not hear: read from history, delivered, and told of.

All channels are read in one snapshot, and delivered before anything newer.  A refill channel by
channel would let a newer message of one channel carry a client's position past an older one of
another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from .. import signals
from ..broker.base import Broker
from ..channels import TICKS, Channel
from ..metrics import Metrics
from ..wire.message import Message
from .sequence import Sequence

log = logging.getLogger("flask_redis_events")


class Refill:
    """Brings the sequence up to Redis' clock.  `lock` guards the sequence."""

    def __init__(
        self,
        broker: Broker,
        sequence: Sequence,
        *,
        lock: threading.RLock,
        metrics: Metrics,
        sender: object,
    ) -> None:
        self._broker = broker
        self._sequence = sequence
        self._lock = lock
        self._metrics = metrics
        self._sender = sender

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
            self._metrics.count("refilled", reason=reason)
            recovered = len(snapshot.messages)
            signals.tell(signals.gap_repaired, self._sender, reason=reason, recovered=recovered)
        for reset in resets:
            self._metrics.count("reset", reason=reset)
            signals.tell(signals.stream_reset, self._sender, reason=reset)

    def _tell_of_fork(self, witness: Message) -> None:
        """Tell all workers: those who have not seen this message can never get it."""
        self._metrics.count("forked")
        log.warning("Messages up to %s were lost with another master of Redis.", witness.id)
        self._broker.publish(TICKS, f":forked {witness.id}\n\n".encode(), persist=False)
