"""The one reader of a worker: it owns the pub/sub connection's whole life.

After every connect the reader waits until Redis has acknowledged all channels, delivers from
history what came after its position, and only then what arrived meanwhile.

Others hand it intents (`subscribe`, `unsubscribe`), which are sent at once on a healthy connection.
Nobody else connects, and nobody kills the reader in mid-read, because closing the feed wakes it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from .. import concurrency
from ..broker.base import Acknowledgement, Broker, Delivery, Feed, Received, Refusal
from ..channels import KICKS, OWN, TICKS, Channel
from ..clients import Audience, Registry, Subscription
from ..concurrency import Deadline
from ..exceptions import BrokerError
from ..reports import Reports
from ..wire import BEGINNING, Position
from .acknowledgements import Acknowledgements
from .recovery import recover
from .sequence import Sequence
from .tail import Tail

log = logging.getLogger("flask_redis_events")

#: Seconds that the acknowledgement of all channels may take.
ANSWER = 5.0
#: Bytes of memory for the last messages, which are kept for clients that come back.
TAIL = 8 * 1024 * 1024


class Reader:
    """Connects, acknowledges, recovers.  `lock` guards the registry, the sequence and all below."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        *,
        lock: threading.RLock,
        reports: Reports,
        on_refused: Callable[[Channel], None],
        on_kick: Callable[..., None] = lambda message, **_: None,
    ) -> None:
        self.sequence = Sequence(
            registry, ttl=broker.history_ttl * 1000, tail=Tail(TAIL), on_kick=on_kick
        )
        self._broker = broker
        self._registry = registry
        self._lock = lock
        self._reports = reports
        #: The connection to read from, if there is one.
        self.feed: Feed | None = None
        self._acknowledgements = Acknowledgements()
        #: Called under the lock, for a channel that Redis does not let its user hear.
        self._on_refused = on_refused
        self._received_at = self._moved_at = time.monotonic()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start reading."""
        concurrency.spawn("reader", self._run)

    def stop(self) -> None:
        """End for good."""
        self._stopped.set()
        if self.feed is not None:
            self.feed.close()

    def reconnect(self) -> None:
        """Connect anew, and so find out whether Redis has lost data."""
        feed = self.feed
        if feed is not None:
            feed.close()

    def subscribe(self, channels: list[Channel]) -> None:
        """Ask for channels; without a connection, the next one asks for all there are."""
        self._intend(channels, subscribe=True)

    def unsubscribe(self, channels: list[Channel]) -> None:
        """Give channels up."""
        self._intend(channels, subscribe=False)
        self.sequence.forget(channels)

    def maybe_go_live(self, audience: Audience, members: Iterable[Subscription]) -> None:
        """Let members of an audience go live, if all its channels are acknowledged."""
        for channel in self._acknowledgements.refused & audience.channels:
            # The clients that asked for it first have not left yet.
            self._on_refused(channel)
        granted = self._acknowledgements.granted
        if self.feed is None or not granted.keys() >= audience.channels:
            return
        position, subscribed_at = self.sequence.position, None
        if position is not None and self.sequence.tail.lags(audience.channels, position):
            subscribed_at = max(granted[channel] for channel in audience.channels)
        for member in members:
            member.go_live(position, subscribed_at=subscribed_at)

    def _intend(self, channels: list[Channel], *, subscribe: bool) -> None:
        # Under the caller's lock: commands leave in the order in which the registry changed.
        if self.feed is None or not channels:
            return
        if self._acknowledgements.intend(channels, subscribe=subscribe):
            # Under gevent in the loop's next turn, so that a storm of clients is one command.
            concurrency.soon(self._send_intents)

    def _send_intents(self) -> None:
        """Send what was asked for since the last time, in as few commands as keep the order."""
        with self._lock:
            feed = self.feed
            if feed is None:
                return
            try:
                for subscribe, channels in self._acknowledgements.commands():
                    (feed.subscribe if subscribe else feed.unsubscribe)(channels)
            except BrokerError:
                # Only the reader reconnects; closing wakes it.
                feed.close()

    def _run(self) -> None:
        attempt = 0
        while not self._stopped.is_set():
            feed = None
            try:
                feed = self._broker.open()
                early = self._connect(feed)
                self._fill("reconnect")
                attempt = 0
                self._receive(early)
                while not self._stopped.is_set():
                    self._receive(feed.read(1.0))
            except BrokerError as error:
                self._lose(error)
            except Exception as error:
                # Nothing that arrives may end the reader; what it was is in the log.
                log.exception("The reader failed; reconnecting.")
                self._lose(error)
            finally:
                if feed is not None:
                    feed.close()
            self._stopped.wait(concurrency.backoff(attempt))
            attempt += 1

    def _connect(self, feed: Feed) -> list[Received]:
        """Subscribe to everything and wait until all of it is acknowledged; return what came."""
        started = time.monotonic()
        with self._lock:
            wanted = self._registry.channels
            if self._broker.numbered:
                wanted += map(Channel, OWN)
            self._acknowledgements.begin(wanted)
            self.feed = feed
            feed.subscribe(wanted)
        missing = set(wanted)
        early: list[Received] = []
        deadline = Deadline(ANSWER)
        while missing:
            for received in feed.read(min(1.0, deadline.left or 0.0)):
                if isinstance(received, Refusal):
                    with self._lock:
                        missing.difference_update(self._refuse(received.channels))
                    continue
                if isinstance(received, Acknowledgement):
                    missing.discard(received.channel)
                early.append(received)
            if self._stopped.is_set() or (missing and deadline.passed):
                raise BrokerError(f"Redis did not acknowledge {len(missing)} channels in time.")
        self._received_at = time.monotonic()
        self._reports.connected(time.monotonic() - started)
        return early

    def _lose(self, error: Exception) -> None:
        with self._lock:
            self.feed = None
            self._acknowledgements.begin()
        if not self._stopped.is_set():
            self._reports.lost(error)

    def _receive(self, received: list[Received]) -> None:
        """Take in a batch: put each message to its audiences, then offer once to each client."""
        if received:
            self._received_at = time.monotonic()
        while received:
            before = self.sequence.position
            with self._lock:
                received = self._take_in(received)
            if self.sequence.position != before:
                self._moved_at = self._received_at
            if received:
                # Outside the lock, as it reads from Redis; order holds, as only we deliver.
                self._fill("gap")
            concurrency.let_others_run()

    def _take_in(self, received: list[Received]) -> list[Received]:
        """Route and flush; stop before a message that follows a gap, and return the rest."""
        offered = 0
        rest: list[Received] = []
        for index, item in enumerate(received):
            if isinstance(item, Delivery):
                if self.sequence.follows_a_gap(item.message):
                    rest = received[index:]
                    break
                self.sequence.route(item)
            elif isinstance(item, Acknowledgement):
                # Flush first: a client that goes live at this acknowledgement must not receive
                # earlier messages.
                offered += self.sequence.flush()
                self._acknowledge(item.channel)
            elif isinstance(item, Refusal):
                self._refuse(item.channels)
        offered += self.sequence.flush()
        self._reports.offered(offered)
        return rest

    def _acknowledge(self, channel: Channel) -> None:
        if self._acknowledgements.answered(channel) and channel in self._registry:
            self._acknowledgements.granted[channel] = time.monotonic()
            self.sequence.tail.acknowledged(channel)
            for audience in self._registry.listening(channel):
                self.maybe_go_live(audience, audience)

    def _refuse(self, channels: list[Channel]) -> list[Channel]:
        """Give up channels that Redis does not let its user hear; return those that are settled.

        Redis refuses a command as a whole, so several channels are asked for again one by one.
        """
        assert self.feed is not None
        again = [c for c in channels if c in self._registry or c.name in OWN]
        if len(channels) == 1:
            if channels[0].name == TICKS:
                raise BrokerError(f"Redis refused its user the channel {TICKS!r}.")
            if channels[0].name == KICKS:
                self._reports.forbidden(KICKS)
            again = []
        for channel in again:
            self.feed.subscribe([channel])
        settled = [channel for channel in channels if channel not in again]
        for channel in settled:
            if self._acknowledgements.answered(channel) and channel in self._registry:
                self._acknowledgements.refused.add(channel)
                self._on_refused(channel)
        return settled

    def _fill(self, reason: str) -> None:
        with self._lock:
            refused = self._acknowledgements.refused
            channels = [c for c in self._registry.channels if c not in refused]
            channels.append(Channel(KICKS))
        recover(
            channels,
            reason,
            broker=self._broker,
            sequence=self.sequence,
            lock=self._lock,
            reports=self._reports,
        )

    def viewed_runs(self) -> tuple[set[str], Position]:
        """Return the channels of runs whose end a client awaits, and how far this worker has come.

        An end up to there is not awaited any more.
        """
        position = self.sequence.position or BEGINNING
        return self._registry.viewed_runs(), position

    @property
    def idle_for(self) -> float:
        """Seconds since anything came from Redis."""
        return time.monotonic() - self._received_at

    @property
    def stalled_for(self) -> float:
        """Seconds since the position moved: acknowledgements, and what has no id, leave it."""
        return time.monotonic() - self._moved_at
