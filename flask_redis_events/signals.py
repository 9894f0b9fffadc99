"""Signals that an application can connect to; like Flask's own, they come from blinker.

The sender is the Flask app, or None for an `Emitter`.  A receiver runs in the greenlet or thread
that sends the signal.  This may be the reader, on which all clients of the worker depend, so a
receiver must be quick and must not block.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal, Namespace

from . import concurrency

log = logging.getLogger("flask_redis_events")
_signals = Namespace()

#: A stream was opened, and not turned away.  Keywords: `channels`.
stream_opened = _signals.signal("redis-events-stream-opened")
#: A stream that was opened has ended.  Keywords: `channels`, `reason`, `seconds`.
stream_closed = _signals.signal("redis-events-stream-closed")
#: A callback, poll or listener raised an exception.  Keywords: `channels`, `exception`.
callback_failed = _signals.signal("redis-events-callback-failed")
#: Events that waited for a commit (`emit_on_commit`), or were put off, could not be emitted.
#: Keywords: `channels`, `exception`.
emit_failed = _signals.signal("redis-events-emit-failed")
#: The reader has connected, and Redis has acknowledged all channels.  Keyword: `seconds`.
broker_connected = _signals.signal("redis-events-broker-connected")
#: The reader lost its connection, or could not make one.  Keyword: `exception`.
broker_lost = _signals.signal("redis-events-broker-lost")
#: Pub/sub may have lost messages, and the reader has read `recovered` of them from history.
#: Keywords: `reason`, `recovered`.
gap_repaired = _signals.signal("redis-events-gap-repaired")
#: A client has missed messages that are gone, and was sent `reset`.  Keyword: `reason`.
stream_reset = _signals.signal("redis-events-stream-reset")


def tell(signal: NamedSignal, sender: object, **what: Any) -> None:
    """Call the receivers of a signal; log an exception that one raises, so that no stream ends."""
    try:
        signal.send(sender, **what)
    except BaseException as error:
        if concurrency.is_exit(error):
            raise
        log.exception("A receiver of the signal %s failed.", signal.name)
