"""One per process and app: who streams here, what they hear, and when they end.

Nothing starts before the first stream or listener does, and then in this process: an application
that is loaded before a fork (`--preload`) has a hub in each worker.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time

from . import signals
from .broker import Broker
from .channels import Channel
from .clients.member import Member
from .clients.registry import Registry
from .clients.subscription import Subscription
from .clients.ticker import Ticker, Timed
from .concurrency import Deadline, jitter
from .metrics import Metrics
from .reader.probe import Prober
from .reader.reader import Reader
from .reader.replays import Replays
from .server import gunicorn as server
from .settings import Settings
from .wire import control
from .wire.message import Batch, Message, Position

log = logging.getLogger("flask_redis_events")

#: How many forbidden channels the log names: they may come from URLs.
MOST_NAMED = 100


def _newest(position: Position | None, floor: Position | None) -> Position | None:
    """Return a position that does not take back what a client had from history."""
    return position if position is None or floor is None else max(position, floor)


class Hub:
    """Brings subscriptions and the reader together.  Every method may be called from anywhere."""

    def __init__(self, settings: Settings, broker: Broker, sender: object) -> None:
        self.pid = os.getpid()
        self.settings = settings
        self.broker = broker
        self.sender = sender
        self.metrics = Metrics()
        self.draining = False
        #: Guards the registry and the sequence: a fan-out and a join exclude each other.
        self.lock = threading.RLock()
        self._registry = Registry()
        self._streams: set[Member] = set()
        self._ticker = Ticker(self._look)
        self._reader = Reader(
            broker,
            self._registry,
            lock=self.lock,
            metrics=self.metrics,
            sender=sender,
            on_refused=self._forbid,
        )
        self._prober = Prober(broker, self._reader, self.metrics)
        self.replays = Replays(broker, self, self.metrics)
        #: What the log has named.
        self._forbidden: set[Channel] = set()
        self._reading = False
        self._ticking = False

    # -- streams -----------------------------------------------------------------------------------

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @property
    def full(self) -> bool:
        """Whether one more stream would be too many."""
        limit = self.settings.max_streams or server.stream_limit()
        return limit is not None and self.streams >= limit

    def open(self, mailbox: Member) -> None:
        """Count a stream, and end it when the worker drains."""
        with self.lock:
            # Asked again: many requests may have been let in before their streams opened.
            full = self.full
            if not full:
                self._streams.add(mailbox)
            if not self._ticking:
                self._ticking = True
                self._ticker.start()
                server.warn_if_unfit()
                # gunicorn may end the worker before the ticker's next look at it.
                atexit.register(self.drain)
        if full:
            self.metrics.count("refused", reason="full")
            mailbox.close("full", last=self.farewell("full"))
        elif self.draining:
            self._dismiss(mailbox)

    def leave(self, mailbox: Member) -> None:
        """Forget a stream and what it listened to; idempotent."""
        with self.lock:
            self._streams.discard(mailbox)
            self._reader.unsubscribe(self._registry.remove(mailbox))

    def replace(self, mailbox: Subscription, member: Member) -> list[Batch] | None:
        """Put a member that writes for itself in a mailbox's place, and return what waited there.

        None if the mailbox is closed.
        """
        with self.lock:
            if mailbox.closed is not None:
                return None
            self._streams.discard(mailbox)
            self._streams.add(member)
            self._registry.replace(mailbox, member)
            return mailbox.take(0)

    def report_reset(self, reason: str) -> None:
        """Count and tell that a client could not be given all its messages."""
        self.metrics.count("reset", reason=reason)
        signals.tell(signals.stream_reset, self.sender, reason=reason)

    def report_dropped(self, count: int) -> None:
        """Count and tell what a full buffer did not keep."""
        self.metrics.count("dropped", count)
        self.report_reset("overflow")

    def keep_time(self, timed: Timed, seconds: float) -> None:
        """Call `timed.tick` after that many seconds."""
        self._ticker.add(timed, time.monotonic() + seconds)

    # -- channels ----------------------------------------------------------------------------------

    def listen(self, subscription: Subscription) -> None:
        """Register for the subscription's channels; it is `live` once Redis acknowledged them."""
        with self.lock:
            audience, fresh = self._registry.add(subscription)
            self._reader.subscribe(fresh)
            self._reader.maybe_begin(audience, [subscription])
            if not self._reading:
                self._reading = True
                self._reader.start()
                self._prober.start()

    def spread(self, channel: Channel, batch: Batch) -> None:
        """Offer a batch to all who listen to a channel of this worker's own; under `lock`."""
        for audience in self._registry.listening(channel):
            for member in list(audience.members):
                member.offer(batch)

    def lose(self, channel: Channel, loss: control.Loss) -> None:
        """Reset those who missed something on a channel of this worker's own; under `lock`."""
        for audience in self._registry.listening(channel):
            for member in list(audience.members):
                member.lose(loss.until, loss.reason, restart=loss.restart)

    def heard(self, channel: Channel) -> bool:
        """Say whether anyone hears a channel of this worker's own; under `lock`."""
        audiences = self._registry.listening(channel)
        return any(one.closed is None for audience in audiences for one in audience.members)

    def dismiss(self, channel: Channel, reason: str, *, last: Batch) -> None:
        """Close all who listen to a channel; under `lock`."""
        for audience in self._registry.listening(channel):
            for member in list(audience.members):
                member.close(reason, last=last)

    def _forbid(self, channel: Channel) -> None:
        """Send away who listens to a channel that Redis does not let its user hear."""
        self.metrics.count("forbidden")
        if len(self._forbidden) < MOST_NAMED and channel not in self._forbidden:
            self._forbidden.add(channel)
            log.error(
                "Redis does not let its user hear the channel %r (ACL SETUSER … &%s…).",
                channel.name,
                self.settings.prefix,
            )
        self.dismiss(channel, "forbidden", last=self.farewell("forbidden"))

    def beat(self, mailbox: Member, inbox: Member) -> None:
        """Queue a heartbeat for an idle client, with the position that its inbox has come to."""
        # Under the lock: a message delivered in between would be older than the position.
        with self.lock:
            position = self.position if inbox.channels and inbox.idle else None
            mailbox.beat(_newest(position, inbox.floor))

    def recall(
        self, channels: frozenset[Channel], cursor: Position
    ) -> tuple[list[Message], Position] | None:
        """Return what came after the cursor, if all of it was heard here; see `Replays`."""
        with self.lock:
            position = self.position
            if position is None or cursor > position:
                return None
            messages = self._reader.sequence.tail.after(channels, cursor)
            return None if messages is None else (messages, position)

    def vouch(self, inbox: Subscription, channels: frozenset[Channel], position: Position) -> None:
        """Take note that the channels were subscribed to at this position, for the inbox."""
        with self.lock:
            # While it listens, none of them was given up.
            if inbox.closed is None:
                self._reader.sequence.tail.complete(channels, position)

    @property
    def position(self) -> Position | None:
        """How far this worker has come."""
        return self._reader.sequence.position

    @property
    def losses(self) -> int:
        """How often this worker saw that something was lost."""
        return self._reader.sequence.losses

    @property
    def connected(self) -> bool:
        """Whether the reader has its connection."""
        return self._reader.feed is not None

    # -- the end -----------------------------------------------------------------------------------

    def _look(self) -> None:
        if not self.draining and server.draining():
            self.drain()

    def drain(self) -> None:
        """Ask every client to come back elsewhere, and end its stream; new ones end at once."""
        self.draining = True
        with self.lock:
            streams = list(self._streams)
        for mailbox in streams:
            self._dismiss(mailbox)
        # Those who do not take their farewell are not to keep the worker.
        self._ticker.hasten()

    def _dismiss(self, mailbox: Member) -> None:
        if mailbox.close("draining", last=self.farewell("draining")):
            self.metrics.count("drained")

    def farewell(self, reason: str) -> Batch:
        """Make the frame that ends a stream whose client is to come back, but not all at once."""
        # What Redis forbids it may allow one day, but not in a moment.
        retry = self.settings.retry * (10 if reason == "forbidden" else 1)
        return control.reconnect(reason, retry=jitter(retry, by=0.75))

    def close(self, *, timeout: float = 1.0) -> None:
        """End all streams, the reader and the ticker."""
        atexit.unregister(self.drain)
        self.drain()
        deadline = Deadline(timeout)
        while self._streams and not deadline.passed:
            time.sleep(0.01)
        self._reader.stop()
        self._prober.stop()
        self._ticker.stop()
