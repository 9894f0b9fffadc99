"""The producing side of a run: gather what is sent, write it every few moments, keep the lease.

A background thread (a greenlet under gevent) writes, so that the producer does not wait for Redis,
and so that the lease is kept while the producer waits for something else.  What was given to Redis
is sent again, unchanged and under the same number, until Redis answers: it is written once.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from .. import concurrency, settings
from ..broker import Broker, Outgoing
from ..concurrency import Deadline
from ..exceptions import BrokerError, ConfigError, RunActive, RunLost, RunTooLarge, SetupError
from ..wire import sse
from ..wire.data import dumps
from ..wire.run import Piece, begun, piece_of, whole

log = logging.getLogger("flask_redis_events")

#: Seconds in which what is sent gathers.
GATHER = 0.04
#: Seconds from one look at Redis to the next while nothing is sent; a stop is noticed by then.
LOOK = 1.0
#: The most bytes of a run, unless it is given another limit.
MAX_BYTES = 4 * 1024 * 1024


class _Waiting:
    """A message that waits to be written, and the pieces that have been joined to it."""

    def __init__(self, message: Outgoing, piece: Piece | None) -> None:
        self._message = message
        self.piece = piece
        self.texts = [piece.text] if piece else []

    def message(self, default: Callable[[Any], Any] | None) -> Outgoing:
        if self.piece is None or len(self.texts) == 1:
            return self._message
        data = dumps(whole(self.piece, "".join(self.texts)), default=default)
        return self._message._replace(frame=sse.encode(data))


class Run:
    """A run that this process produces; a context manager.

    It ends as `finished`, as `stopped` if `stop_requested` was seen, or as `failed` if the block
    raises.
    """

    def __init__(
        self,
        broker: Broker,
        channel: str,
        *,
        ttl: float,
        lease: float,
        max_bytes: int,
        encode: Callable[..., Outgoing],
        default: Callable[[Any], Any] | None,
    ) -> None:
        if not broker.numbered:
            raise ConfigError("A run needs a history: set REDIS_EVENTS_HISTORY to 1 or more.")
        self._runs = broker.runs
        self._channel = channel
        self._ttl = settings.seconds("ttl", ttl)
        self._lease = settings.seconds("lease", lease)
        self._max_bytes = settings.size("max_bytes", max_bytes)
        #: Makes a message of what is sent; raises for what cannot be.
        self._encode = encode
        self._default = default
        self._token = secrets.token_hex(8)
        self._entered = self._over = False
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        # Guards what waits.
        self._guard = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._since = self._size = 0.0
        # Guards all below: there is one writer at a time.
        self._lock = threading.Lock()
        #: What was given to Redis, which has not answered yet.
        self._sending: tuple[list[Outgoing], str] | None = None
        self._number = 0
        self._held = Deadline(self._lease)
        #: Whether a stop was requested, and whether the producer knows.
        self._stop = self._heeded = False
        #: Why nothing more can be written.
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        if self._entered:
            raise SetupError("A run is entered once: call run() again.")
        standing = self._runs.begin(self._channel, self._token, ttl=self._ttl, lease=self._lease)
        if standing.state == "active":
            raise RunActive(
                f"A run on {self._channel!r} is under way: give each run a channel of its own, or"
                " request_stop() and wait until run_status() is not 'running'."
            )
        self._stop, self._held, self._entered = standing.stop, Deadline(self._lease), True
        self._thread = concurrency.spawn("run", self._keep)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._over:
            return
        self._over = True
        self._woken.set()
        if not isinstance(self._error, RunLost):
            state = "stopped" if self._heeded else "finished"
            self._finish("failed" if error is not None else state)
        if error is None and self._error is not None:
            raise self._error

    def send(self, data: Any, *, event: str | None = None) -> None:
        """Add to the run's log; neighbouring pieces of a text become one event.

        A piece is a str, or a dict with a str as `delta`, without an event name.  Raises `RunLost`
        if the run is not this producer's any more, `RunTooLarge` for more than `max_bytes`, and
        `BrokerError` if Redis has been away for longer than the lease.
        """
        if self.take(data, event=event):
            self.hurry()

    def take(self, data: Any, *, event: str | None = None) -> bool:
        """Do the same without waiting for anything; say whether the thread needs help."""
        if not self._entered or self._over:
            raise SetupError("send() works in the block of `with events.run(…) as run:`.")
        if self._error is not None:
            raise self._error
        message = self._encode(self._channel, data, event=event)
        piece = piece_of(data, event, default=self._default)
        with self._guard:
            self._gather(message, piece)
            overdue = time.monotonic() - self._since > 2 * GATHER
        self._woken.set()
        return overdue

    def hurry(self) -> None:
        """Write now: the thread does not come to it, as when a greenlet works without a pause."""
        if self._lock.acquire(blocking=False):
            try:
                self._attempt()
            finally:
                self._lock.release()

    @property
    def stop_requested(self) -> bool:
        """Whether the run should end: somebody wants it to stop, or it cannot go on."""
        self._heeded = self._heeded or self._stop
        return self._stop or self._error is not None

    def _gather(self, message: Outgoing, piece: Piece | None) -> None:
        last = self._waiting[-1] if self._waiting else None
        joins = last and last.piece and piece and last.piece.kind == piece.kind
        size = len(piece.text.encode(errors="replace")) if piece and joins else len(message.frame)
        if self._size + size > self._max_bytes:
            raise RunTooLarge(
                f"The run on {self._channel!r} would have more than {self._max_bytes} bytes: give"
                " run() a greater max_bytes=, or send less."
            )
        self._size += size
        if not self._waiting:
            self._since = time.monotonic()
        if last and piece and joins:
            last.texts.append(piece.text)
        else:
            self._waiting.append(_Waiting(message, piece))

    # -- writing -----------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Write what waits, and keep the lease, until the run is over."""
        while not self._over and self._error is None:
            if self._woken.wait(min(LOOK, self._lease / 3)):
                time.sleep(GATHER)
            self._woken.clear()
            with self._lock:
                if not self._over:
                    self._attempt()

    def _attempt(self, state: str = "") -> None:
        """Write; while Redis is away, for no longer than the lease, it can be done again."""
        try:
            self._write(state)
        except BrokerError as error:
            if self._held.passed:
                self._error = error
            else:
                log.warning("The run on %r waits for Redis: %s", self._channel, error)
        except Exception as error:
            self._error = error

    def _write(self, state: str) -> None:
        if self._sending is None:
            with self._guard:
                waiting, self._waiting = self._waiting, []
            messages = [one.message(self._default) for one in waiting]
            if messages and not self._number:
                messages[0] = messages[0]._replace(frame=begun(messages[0].frame))
            self._sending = (messages, state)
            if waiting or state:
                self._number += 1
        messages, ends = self._sending
        own = (self._channel, self._token, self._number)
        standing = self._runs.write(*own, messages, state=ends, ttl=self._ttl, lease=self._lease)
        self._sending = None
        self._stop, self._held = standing.stop, Deadline(self._lease)
        if standing.state == "lost":
            raise RunLost(
                f"The run on {self._channel!r} is not this producer's any more: its lease of"
                f" {self._lease} seconds had lapsed, or Redis has lost its data."
            )

    def _finish(self, state: str) -> None:
        """Write all that waits and the marker, together."""
        with self._lock:
            self._error = None
            for ends in ("", state):
                # What Redis has not answered comes first; the marker takes the rest along.
                if ends or self._sending is not None:
                    self._attempt(ends)
                for attempt in itertools.count():
                    if self._sending is None or self._error is not None:
                        break
                    time.sleep(concurrency.backoff(attempt))
                    self._attempt()
