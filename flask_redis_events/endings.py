"""Why a stream ends, and what that means for what waits, for the connection and for the client."""

from __future__ import annotations

from typing import NamedTuple


class Ending(NamedTuple):
    """One reason, as metrics, logs, `on_close` and the `reconnect` event name it."""

    reason: str
    #: Whether the client can still read what waits for it.
    readable: bool = True
    #: Whether the connection is cut, because its client has stopped reading.
    cut: bool = False
    #: Whether the client should come back; it is told so by a `reconnect` event.
    returns: bool = True
    #: How many times the usual RETRY the client should wait before it comes back.
    patience: float = 1.0
    #: Whether the client should come back without its position.
    anew: bool = False


#: The client left.
GONE = Ending("gone", readable=False)
#: The client's buffer, or its callback's, was full.  The client can have all of it from history.
OVERFLOW = Ending("overflow", readable=False, cut=True)
#: The client's socket took nothing for WRITE_TIMEOUT seconds.
WRITE_TIMEOUT = Ending("write timeout", readable=False, cut=True)
#: The application ended the stream for good: the client gets `end`, and then a 204.
ENDED = Ending("ended", returns=False)
#: `events.disconnect` has ended the stream for good, or `reauthorize` has.
DISCONNECTED = Ending("disconnected", returns=False)
#: The same, but the client comes back, and its view is asked again.
ASKED_AGAIN = Ending("asked again")
#: The client missed something, and gets the state again when it is back.
ANEW = Ending("reset", anew=True)
#: The worker is about to end.
DRAINING = Ending("draining")
#: The worker has no room for one more stream.
FULL = Ending("full")
#: The client's identity, or its address, has resumed too often.
RESUMES = Ending("too many resumes", patience=10)
#: The client has as many streams in this worker as one client may have; one of them has to end.
TOO_MANY = Ending("too many", patience=3)
#: For these a stream is turned away, and never opened.
REFUSALS = (FULL, TOO_MANY)
#: The stream has lived for `max_age` seconds.
MAX_AGE = Ending("max age")
#: The application's code fails, and would again: the generator function before it takes anything.
FAILED = Ending("failed")
#: Redis does not let its user hear one of the channels; that may change, but not in a moment.
FORBIDDEN = Ending("forbidden", patience=10)
#: The callback that clients share ended just as this client joined them; there is another one soon.
REPLACED = Ending("replaced")
#: Nobody listens any more.
UNUSED = Ending("unused")
