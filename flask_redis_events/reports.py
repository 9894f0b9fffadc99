"""Metrics, signals and logs: each happening reaches all three by one call.

A metrics back end is a leaf that knows `Happening` and nothing else.  `Metrics` is the one that
every hub has.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import signals
from .endings import Ending

log = logging.getLogger("flask_redis_events")

#: How many forbidden channels the log names, because they may come from URLs.
MOST_NAMED = 100


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened `count` times, and why, where there are several reasons."""

    name: str
    reason: str | None = None
    count: int = 1


class Metrics:
    """Counters of one worker by name, or by `name.reason`."""

    def __init__(self) -> None:
        # Guards the counters: `+=` on a dict entry is two steps, and threads may interleave.
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def record(self, happening: Happening) -> None:
        """Add to a counter."""
        name, reason = happening.name, happening.reason
        with self._lock:
            self._counts[name if reason is None else f"{name}.{reason}"] += happening.count

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Return all counters by name."""
        with self._lock:
            return dict(self._counts)


class Reports:
    """The happenings of one hub.  `sender` is the application, as receivers of signals know it.

    `prefix` is that of the channels on Redis, for the log.
    """

    def __init__(self, sender: object, prefix: str = "") -> None:
        self.metrics = Metrics()
        #: Functions that are told of every happening; they must not block.
        self.back_ends: list[Callable[[Happening], None]] = [self.metrics.record]
        self._sender = sender
        self._prefix = prefix
        #: Whether the log has been told that there is no connection.
        self._away = False
        self._forbidden: set[str] = set()

    def _count(self, name: str, reason: str | None = None, count: int = 1) -> None:
        happening = Happening(name, reason, count)
        for back_end in self.back_ends:
            try:
                back_end(happening)
            except Exception:
                # Counting must not keep a message from the next client.
                log.exception("A metrics back end failed.")

    # -- streams -----------------------------------------------------------------------------------

    def opened(self, channels: Sequence[str]) -> None:
        """A stream was opened."""
        self._count("opened")
        signals.tell(signals.stream_opened, self._sender, channels=channels)

    def handed_off(self) -> None:
        """The hub writes a client's socket from here on."""
        self._count("handed_off")

    def refused(self, ending: Ending) -> None:
        """A request for a stream was turned away."""
        self._count("refused", ending.reason)

    def drained(self) -> None:
        """A client was asked to come back elsewhere, because the worker ends."""
        self._count("drained")

    def closed(self, channels: Sequence[str], ending: Ending, seconds: float) -> None:
        """A stream is over."""
        self._count("closed", ending.reason)
        signals.tell(
            signals.stream_closed,
            self._sender,
            channels=channels,
            reason=ending.reason,
            seconds=seconds,
        )

    def reset(self, reason: str) -> None:
        """A client could not be given all its messages, and is told so."""
        self._count("reset", reason)
        signals.tell(signals.stream_reset, self._sender, reason=reason)

    def dropped(self, count: int) -> None:
        """A full backlog did not keep so many messages."""
        self._count("dropped", count=count)
        self.reset("overflow")

    def replayed(self, source: str) -> None:
        """A client's history was read: from memory, shared with others, or from history itself."""
        self._count("replayed", source)

    def callback_failed(self, channels: Sequence[str], error: BaseException) -> None:
        """The application's code raised."""
        self._count("callback_failed")
        log.error("The application's code for %s failed.", ", ".join(channels), exc_info=error)
        signals.tell(signals.callback_failed, self._sender, channels=channels, exception=error)

    def emit_failed(self, channels: Sequence[str], error: Exception) -> None:
        """Events, one for each of the channels, were not emitted, and nobody was told by an error.

        As after any `BrokerError`, they may have been published all the same.
        """
        self._count("emit_failed", count=len(channels))
        names = ", ".join(list(dict.fromkeys(channels))[:MOST_NAMED])
        log.error("%d events for %s were not emitted.", len(channels), names, exc_info=error)
        signals.tell(signals.emit_failed, self._sender, channels=channels, exception=error)

    # -- the reader --------------------------------------------------------------------------------

    def offered(self, count: int) -> None:
        """So many clients were offered what arrived."""
        self._count("offered", count=count)

    def connected(self, seconds: float) -> None:
        """The reader has a connection, and Redis has acknowledged all channels."""
        if self._away:
            log.warning("The pub/sub connection is back.")
        self._away = False
        self._count("connected")
        signals.tell(signals.broker_connected, self._sender, seconds=seconds)

    def lost(self, error: Exception) -> None:
        """The reader lost its connection, or could not make one."""
        self._count("lost")
        # Once for each outage; what follows are the attempts to end it.
        if not self._away:
            log.warning("The pub/sub connection is lost; reconnecting: %s", error)
        self._away = True
        signals.tell(signals.broker_lost, self._sender, exception=error)

    def mute(self) -> None:
        """Nothing arrived on the connection although it should have."""
        self._count("mute")
        log.warning("The pub/sub connection went silent; reconnecting.")

    def recovered(self, reason: str, count: int) -> None:
        """So many messages, which had not arrived, were read from history."""
        self._count("refilled", reason)
        signals.tell(signals.gap_repaired, self._sender, reason=reason, recovered=count)

    def forked(self, id: object) -> None:
        """Messages up to an id are missing, because another master of Redis never had them."""
        self._count("forked")
        log.warning("Messages up to %s were lost with another master of Redis.", id)

    def forbidden(self, channel: str) -> None:
        """Redis does not let its user hear a channel."""
        self._count("forbidden")
        if len(self._forbidden) < MOST_NAMED and channel not in self._forbidden:
            self._forbidden.add(channel)
            log.error(
                "Redis does not let its user hear the channel %r (ACL SETUSER … &%s…).",
                channel,
                self._prefix,
            )
