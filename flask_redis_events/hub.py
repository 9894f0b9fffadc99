"""One per process and app: which clients it serves, what they receive, and when they end.

Nothing starts before the first stream or listener does, and then in this process, so that an
application that is loaded before a fork (`--preload`) has a hub in each worker.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from . import endings
from .broker import Broker
from .channels import Channel
from .clients import Outcomes, Owner, Registry, Shared, Subscription, Ticker
from .concurrency import Deadline, jitter
from .endings import Ending
from .kicks import Kicks
from .pool import Pool
from .rate import Rate
from .reader import Probe, Reader, Replays
from .reports import Metrics, Reports
from .server import gunicorn, unfit
from .settings import Settings
from .wire import Batch, Message, Position, control, newest
from .workers import Worker

#: Seconds that a client has to take the last words of a worker that drains.
FAREWELL = 0.5


class Hub:
    """Brings clients and the reader together.  Every method may be called from anywhere."""

    def __init__(self, settings: Settings, broker: Broker, sender: object) -> None:
        self.pid = os.getpid()
        self.settings = settings
        self.broker = broker
        self.reports = Reports(sender, settings.prefix)
        #: Runs the application's code for streams, under gevent.
        self.pool = Pool()
        #: How often each identity or address may resume.
        self.resumes = Rate(settings.resume_rate)
        #: What callbacks made of the last messages.
        self.outcomes = Outcomes()
        #: Groups of clients that share a producer, by key.
        self.shared = Shared()
        self.draining = False
        # Guards the registry, the sequence and the clients: a fan-out and a join exclude each
        # other.
        self._lock = threading.RLock()
        self._registry = Registry()
        self._clients: set[Owner] = set()
        #: How many of them one identity or address has, where that is limited (or else None).
        self._streams_of: Counter[Hashable] = Counter()
        self._kicks = Kicks()
        self._ticker = Ticker(self._look)
        self._reader = Reader(
            broker,
            self._registry,
            lock=self._lock,
            reports=self.reports,
            on_refused=self._forbid,
            on_kick=self._kick,
        )
        self._probe = Probe(broker, self._reader, self.reports)
        #: History for clients that come back.
        self.replays = Replays(
            broker,
            self._reader.sequence,
            lock=self._lock,
            reports=self.reports,
            max_bytes=settings.max_replay,
        )
        #: This worker among others.
        self.worker = Worker(
            broker,
            self.reports,
            describe=self._describe,
            viewed=self._reader.viewed_runs,
            on_lapse=self._reader.reconnect,
            grace=settings.retry * 2,
        )
        self._reading = self._ticking = self._met = False

    @property
    def metrics(self) -> Metrics:
        """The counters of this worker."""
        return self.reports.metrics

    # -- streams -----------------------------------------------------------------------------------

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._clients)

    @property
    def full(self) -> bool:
        """Whether one more stream would be too many."""
        limit = self.settings.max_streams or gunicorn.stream_limit()
        return limit is not None and self.streams >= limit

    def refusal(self, whose: Hashable) -> Ending | None:
        """Return why one more stream of an identity or address would be turned away, or None."""
        if self.draining:
            return endings.DRAINING
        if self.full:
            return endings.FULL
        limit = self.settings.max_streams_per_client
        too_many = limit and whose is not None and self._streams_of[whose] >= limit
        return endings.TOO_MANY if too_many else None

    def meet(self, environ: Mapping[str, Any]) -> None:
        """Look once at the server that a stream's request comes from: can it serve streams?"""
        with self._lock:
            met, self._met = self._met, True
        if not met:
            unfit.warn(environ)

    def open(self, client: Owner) -> bool:
        """Count a stream, and end it when the worker drains; False if it is turned away."""
        whose = client.about.whose
        with self._lock:
            # Asked again: many requests may have been let in before their streams opened.
            refusal = None if self.draining else self.refusal(whose)
            if refusal is None:
                self._clients.add(client)
                self._streams_of[whose] += 1
            if not self._ticking:
                self._ticking = True
                self._ticker.start()
                self.worker.start()
                # gunicorn may end the worker before the ticker's next look at it.
                atexit.register(self._exit)
        if refusal is not None:
            self.reports.refused(refusal)
            client.dismiss(refusal)
        elif self.draining:
            self._dismiss(client)
        elif ending := self._kicks.since(client.about.asked_at, client.about):
            client.dismiss(ending)
        return refusal is None

    def leave(self, client: Owner) -> None:
        """Forget a stream; idempotent."""
        whose = client.about.whose
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)
                self._streams_of[whose] -= 1
                if not self._streams_of[whose]:
                    # A worker may meet millions of addresses.
                    del self._streams_of[whose]

    def keep_time(self, timed: Owner, at: float, *, exact: bool = False) -> None:
        """Call `timed.tick` at a moment of the monotonic clock; see `Ticker.add`."""
        self._ticker.add(timed, at, exact=exact)

    # -- channels ----------------------------------------------------------------------------------

    @property
    def position(self) -> Position | None:
        """How far this worker has come."""
        return self._reader.sequence.position

    @property
    def connected(self) -> bool:
        """Whether the reader has its connection."""
        return self._reader.feed is not None

    def listen(self, subscription: Subscription) -> None:
        """Register for the subscription's channels; it goes live once Redis acknowledged them."""
        with self._lock:
            audience, fresh = self._registry.add(subscription)
            self._reader.subscribe(fresh)
            self._reader.maybe_go_live(audience, [subscription])
            if not self._reading:
                self._reading = True
                self._reader.start()
                self._probe.start()

    def unlisten(self, subscription: Subscription) -> None:
        """Give up the subscription's channels; idempotent."""
        with self._lock:
            self._reader.unsubscribe(self._registry.remove(subscription))

    def let_join(self, member: Subscription, inbox: Subscription, reached: Position | None) -> None:
        """Let a client go live on an inbox whose messages have gone out up to `reached`."""
        with self._lock:
            position = newest(self.position, reached) if inbox.idle else reached
            lags = position and self._reader.sequence.tail.lags(inbox.channels, position)
            member.go_live(position, subscribed_at=inbox.subscribed_at if lags else None)

    def beat(self, client: Subscription, inbox: Any) -> None:
        """Send a heartbeat to an idle client, with the position that its inbox has come to."""
        # Under the lock: a message delivered in between would be older than the position.
        with self._lock:
            position = self.position if inbox.channels and inbox.idle else None
            client.beat(newest(position, inbox.floor) if position else None)

    def _forbid(self, channel: Channel) -> None:
        """Close the clients of a channel that Redis does not let its user hear."""
        self.reports.forbidden(channel.name)
        last = self.farewell(endings.FORBIDDEN)
        for audience in self._registry.listening(channel):
            audience.close(endings.FORBIDDEN, last=last)

    def _kick(self, message: Message | None, *, age: float | None = None) -> None:
        """End the streams that `events.disconnect` means; see `Kicks.add`."""
        kick = self._kicks.add(message, age=age)
        for client in self._snapshot():
            if kick.means(client.about):
                client.dismiss(kick.ending)

    def _snapshot(self) -> list[Owner]:
        with self._lock:
            return list(self._clients)

    def _describe(self) -> dict[str, Any]:
        """Say what other workers, and whoever operates them, may know of this one."""
        clients = self._snapshot()
        return {
            "draining": self.draining,
            "streams": len(clients),
            "channels": Counter(client.about.label for client in clients),
        }

    # -- the end -----------------------------------------------------------------------------------

    def farewell(self, ending: Ending) -> Batch | None:
        """Make the frame that asks a client to come back, but not all clients at once."""
        if not ending.returns:
            return None
        retry = jitter(self.settings.retry * ending.patience, by=0.75)
        return control.reconnect(ending.reason, retry=retry, anew=ending.anew)

    def _look(self) -> None:
        self.replays.evict()
        self.replays.maybe_give_back()
        if not self.draining and gunicorn.draining():
            self.drain()

    def drain(self) -> None:
        """Ask every client to come back elsewhere, and end its stream; new ones end at once."""
        self.draining = True
        for client in self._snapshot():
            self._dismiss(client)
        # Clients that do not read their farewell must not delay the worker's exit.
        self._ticker.hasten()

    def _exit(self) -> None:
        """Drain when the process ends, in which nobody works any more; not in a child of it."""
        if os.getpid() == self.pid:
            self.drain()
            self.drain()
            self.worker.stop()

    def _dismiss(self, client: Owner) -> None:
        if client.dismiss(endings.DRAINING):
            self.reports.drained()

    def close(self, *, timeout: float = 1.0) -> None:
        """End all streams, the reader and the ticker."""
        atexit.unregister(self._exit)
        self.drain()
        deadline = Deadline(timeout)
        while self._clients and not deadline.passed:
            time.sleep(0.01)
        self._reader.stop()
        self._probe.stop()
        self._ticker.stop()
        self.worker.stop()
