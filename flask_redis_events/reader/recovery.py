"""Recover what this worker missed while disconnected: read it from history, deliver it, report it.

All channels are read in one snapshot, which is delivered before anything newer.  A recovery channel
by channel would let a newer message of one channel carry a client's position past an older one of
another.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

from ..broker.base import Broker
from ..broker.coverage import Snapshot
from ..channels import KICKS, TICKS, Channel
from ..exceptions import BrokerError
from ..reports import Reports
from ..wire import BEGINNING, Position
from .sequence import Sequence

#: How many requests to disconnect a worker reads that has just begun.
REQUESTS = 1000


def recover(
    channels: Collection[Channel],
    reason: str,
    *,
    broker: Broker,
    sequence: Sequence,
    lock: threading.RLock,
    reports: Reports,
) -> None:
    """Deliver what came after the position, for a `reason`; may raise `BrokerError`.

    It also raises if Redis has made its clock anew, because the connection may still carry later
    ids of the clock before, which would move the position past what the new one gives out.  `lock`
    guards the sequence.
    """
    if not broker.numbered:
        return
    after, witness = sequence.position, sequence.witness
    snapshot = broker.replay(channels, after=after, witness=witness)
    if after is not None:
        with lock:
            doubtful = snapshot.lacks_witness or sequence.is_overtaken(snapshot)
        if doubtful or (witness is not None and after > snapshot.clock):
            snapshot = _tell_of_fork(channels, after, broker, sequence, lock, reports)
    with lock:
        created = sequence.created
        resets = sequence.refill(snapshot)
    if after is None:
        _learn_of_requests(broker, sequence, lock)
    if after is not None:
        reports.recovered(reason, len(snapshot.messages))
    for reset in resets:
        reports.reset(reset)
    if created not in (None, snapshot.created):
        raise BrokerError("Redis has lost its clock, and the ids begin anew.")


def _learn_of_requests(broker: Broker, sequence: Sequence, lock: threading.RLock) -> None:
    """Act on requests to disconnect that came before this worker's first connection."""
    requests = broker.replay([Channel(KICKS)], last=REQUESTS).messages
    # A new id is the only "now" that can be compared with theirs.
    now = broker.publish(TICKS, b":\n\n", persist=False) if requests else None
    with lock:
        sequence.begin(requests, now or BEGINNING)


def _tell_of_fork(
    channels: Collection[Channel],
    after: Position,
    broker: Broker,
    sequence: Sequence,
    lock: threading.RLock,
    reports: Reports,
) -> Snapshot:
    """Note that a failover lost messages, tell the other workers, and read what is there now."""
    # Ids go on after our position from here on.  So what has an earlier one is there already; it is
    # compared with what this worker remembers.
    forked = broker.note_fork(after, overtaken=False)
    snapshot = broker.replay(channels, after=sequence.tail.oldest.before)
    with lock:
        overtaken = sequence.is_overtaken(snapshot)
    if overtaken:
        forked = broker.note_fork(after, overtaken=True)
    snapshot = broker.replay(channels, after=after)
    reports.forked(forked)
    broker.publish(TICKS, f":forked {forked}\n\n".encode(), persist=False)
    return snapshot
