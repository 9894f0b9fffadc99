"""What an application can be told of, with blinker as Flask does it.

The sender is the Flask app (None for an `Emitter`); receivers run where it happens, so they must
be quick and must not block.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal, Namespace

log = logging.getLogger("flask_redis_events")
_signals = Namespace()

#: A stream went live.  Keywords: `channels`.
stream_opened = _signals.signal("redis-events-stream-opened")
#: A stream is over.  Keywords: `channels`, `reason`, `seconds`.
stream_closed = _signals.signal("redis-events-stream-closed")
#: A callback, poll or listener raised.  Keywords: `channels`, `exception`.
callback_failed = _signals.signal("redis-events-callback-failed")
#: The reader has a connection, and all its channels are acknowledged.  Keywords: `seconds`.
broker_connected = _signals.signal("redis-events-broker-connected")
#: The reader lost its connection, or cannot get one.  Keywords: `exception`.
broker_lost = _signals.signal("redis-events-broker-lost")
#: Pub/sub lost messages and history is read instead.  Keywords: `reason`, `recovered`.
gap_repaired = _signals.signal("redis-events-gap-repaired")
#: A client could not be given all its messages, and is told to reset.  Keyword: `reason`.
stream_reset = _signals.signal("redis-events-stream-reset")


def tell(signal: NamedSignal, sender: object, **what: Any) -> None:
    """Call the receivers of a signal; one that raises is logged, and harms no stream."""
    try:
        signal.send(sender, **what)
    except Exception:
        log.exception("A receiver of the signal %s failed.", signal.name)
