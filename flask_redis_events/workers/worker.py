"""One worker among others: its lease on Redis, and what it notes there of the identities it serves.

Streams only count in memory.  One greenlet writes the changes to Redis, several at once, and renews
the lease.  If the lease has lapsed (the worker was frozen, or Redis lost its data), the worker
begins anew under another name, because others may be cleaning up after the old one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

from .. import concurrency
from ..broker.base import Broker
from ..channels import PRESENCE
from ..exceptions import BrokerError
from ..reports import Reports
from ..wire import Position, sse
from ..wire.data import dumps

log = logging.getLogger("flask_redis_events")

#: Seconds that a lease lasts, and from one renewal to the next.
LEASE = 15.0
RENEWAL = 5.0
#: Seconds in which changes gather before they are written.
GATHER = 0.1
#: Seconds that a worker which ends waits for Redis.
PATIENCE = 0.5
#: Seconds after which everything is noted again, as Redis forgets what nobody refreshes.
REFRESH = 3600.0
#: The channel of all identities, whichever channels their streams are on.
EVERYWHERE = ""

Entry = tuple[str, str]


class Worker:
    """Notes identities, and says who has come and gone.  Any greenlet or thread may call it.

    `describe` returns what the lease says of the worker's streams, and `viewed` the runs whose end
    its clients await, and its position.  `on_lapse` is called if the lease is gone, because Redis
    may have lost other data with it.  `grace` is how many seconds a leave is held back, because
    tabs are hidden and workers are replaced.
    """

    def __init__(
        self,
        broker: Broker,
        reports: Reports,
        *,
        describe: Callable[[], dict[str, Any]],
        viewed: Callable[[], tuple[Iterable[str], Position]],
        on_lapse: Callable[[], None],
        grace: float,
    ) -> None:
        self._broker = broker
        self._metrics = reports.metrics
        self._describe = describe
        self._viewed = viewed
        self._grace = grace
        self._on_lapse = on_lapse
        self._name = secrets.token_hex(8)
        self._about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "version": metadata.version("Flask-Redis-Events"),
            "started": time.time(),
        }
        # Guards the streams and the changes.
        self._lock = threading.Lock()
        self._streams: Counter[Entry] = Counter()
        self._changed: set[Entry] = set()
        self._woken = threading.Event()
        self._stopped = False
        self._holds = False
        #: How often the reader had connected when everything was noted last.
        self._connected = 0
        self._refresh_at = time.monotonic() + REFRESH

    def start(self) -> None:
        """Hold a lease from now on."""
        concurrency.spawn("worker", self._run)

    def stop(self) -> None:
        """Give the lease up, so that others take note at once."""
        self._stopped = True
        self._woken.set()
        if self._holds:
            # Redis may be away; nobody waits for it, as the lease lapses by itself.
            concurrency.spawn("resign", self._resign).join(PATIENCE)

    def add(self, channels: Iterable[str], identity: str, *, count: int = 1) -> None:
        """Count a stream of an identity."""
        with self._lock:
            for channel in channels:
                entry = (channel, identity)
                self._streams[entry] += count
                if not self._streams[entry]:
                    del self._streams[entry]
                self._changed.add(entry)
        self._woken.set()

    def remove(self, channels: Iterable[str], identity: str) -> None:
        """Count a stream that has ended."""
        self.add(channels, identity, count=-1)

    def refresh(self) -> None:
        """Note everything again, because Redis may have lost some of it."""
        # After a failover it may also have what was over before; that has no streams now.
        noted = self._broker.people.all_noted(self._name)
        with self._lock:
            self._changed.update(self._streams, noted)
            self._refresh_at = time.monotonic() + REFRESH
        self._woken.set()

    def _resign(self) -> None:
        with contextlib.suppress(BrokerError):
            self._broker.people.resign(self._name)

    def _run(self) -> None:
        attempt, renew_at = 0, 0.0
        while not self._stopped:
            self._woken.clear()
            try:
                if time.monotonic() >= renew_at:
                    self._renew()
                    renew_at = time.monotonic() + concurrency.jitter(RENEWAL)
                self._write()
                attempt = 0
            except BrokerError as error:
                if not attempt:
                    log.warning("Who is there cannot be written to Redis: %s", error)
                self._woken.wait(concurrency.backoff(attempt))
                attempt += 1
                continue
            if self._woken.wait(max(0.0, renew_at - time.monotonic())):
                time.sleep(GATHER)

    def _renew(self) -> None:
        people = self._broker.people
        lapsed = people.renew(self._name, self._text(), LEASE, first=not self._holds)
        if lapsed is None:
            self._name, self._holds = secrets.token_hex(8), False
            self._on_lapse()
            self.refresh()
            lapsed = people.renew(self._name, self._text(), LEASE, first=True)
        self._holds = True
        for name in lapsed or ():
            self._clean_up_after(name)
        self._tell("leave", people.left())
        if self._broker.numbered:
            self._broker.runs.sweep(*self._viewed())
        connected = self._metrics["connected"]
        due = connected != self._connected or time.monotonic() >= self._refresh_at
        if due or not people.has(self._name, self._samples()):
            # After a failover Redis may lack the newest changes, and it may evict a channel.
            self.refresh()
            self._connected = connected

    def _samples(self) -> list[Entry]:
        """Return an entry of each channel that has been written."""
        with self._lock:
            written = self._streams.keys() - self._changed
        return list(dict(written).items())

    def _text(self) -> str:
        return json.dumps({"worker": self._name, **self._about, **self._describe()})

    def _write(self) -> None:
        """Write what has changed."""
        with self._lock:
            changed, self._changed = self._changed, set()
            streams = {entry: self._streams[entry] for entry in changed}
        if not streams:
            return
        try:
            joined = self._broker.people.note(self._name, streams, self._grace)
        except BaseException:
            with self._lock:
                self._changed |= changed
            raise
        self._tell("join", joined)

    def _clean_up_after(self, name: str) -> None:
        people = self._broker.people
        while entries := people.noted(name):
            people.note(name, dict.fromkeys(entries, 0), self._grace)
        people.forget(name)

    def _tell(self, event: str, entries: Iterable[Entry]) -> None:
        """Emit who has come or gone, on the channel of its own that each channel has for that."""
        messages = []
        for channel, identity in entries:
            if channel != EVERYWHERE:
                text = dumps({"event": event, "channel": channel, "identity": identity})
                messages.append((PRESENCE + channel, sse.encode(text, event=event)))
        if messages:
            self._broker.publish_many(messages)
