"""The clients: the streams that they open, and an EventSource that checks them and can stall."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event
from tests.support.sse_client import EventSource, SSEClient, StreamEnded

from .ledger import Ledger, expand, shrink, skipped
from .verdict import Verdict, expected, judge

#: Bytes that the kernel buffers for a page that does not read.
RECEIVE_BUFFER = 65536
#: Seconds before and after a lost message for which the page's story is shown.
STORY = 1.5


class Asked(NamedTuple):
    """The stream that a page opens."""

    path: str
    channels: tuple[str, ...]
    #: The application's callback skips some messages.
    skips: bool = False
    #: The channel is this page's own.
    alone: bool = False
    #: A generator gathers several messages into one event.
    gathers: bool = False


def ask(number: int, channels: Sequence[str], chance: random.Random) -> Asked:
    """Choose the stream of a page; its number decides the kind of stream."""
    if number % 10 in (5, 6, 7):
        kind = {5: "callback", 6: "shared", 7: "pull"}[number % 10]
        name = chance.choice(channels)
        return Asked(f"/{kind}/{name}", (name,), skips=kind != "pull", gathers=kind == "pull")
    if number % 10 == 8:
        return _through([f"own-{number}"], alone=True)
    names = chance.sample(channels, chance.randint(1, min(6, len(channels))))
    if number % 10 == 4:
        names.append(chance.choice(["c1*", "c[0-4]", "c*"]))
    return _through(names)


def _through(names: Sequence[str], *, alone: bool = False) -> Asked:
    query = "&".join(f"name={name}" for name in names)
    return Asked(f"/through?{query}", tuple(names), alone=alone)


class Page(EventSource):
    """One tab of a browser."""

    def __init__(self, url: str, name: str, asked: Asked) -> None:
        self.name = f"{name} on {asked.path}"
        self.asked = asked
        #: The error that ended reading, if the bytes were no valid stream.
        self.broken: str | None = None
        #: Whether the page was closed before the end of the run.
        self.left = False
        #: The events and connections of the page, with Unix times.
        self._story: list[tuple[float, str]] = []
        self._reading = threading.Event()
        self._reading.set()
        super().__init__(url + asked.path)

    def stall(self) -> None:
        """Stop reading until `resume`."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    def leave(self) -> None:
        """Close the page."""
        self.left = True
        self.close()

    def close(self) -> None:
        self.resume()
        super().close()

    @property
    def cursor(self) -> Position:
        return Position.parse(self.last_event_id) or Position(0)

    @property
    def began(self) -> Position | None:
        """The id of the page's first `ready`."""
        ready = next((event for event in self.events if event.event == "ready"), None)
        return Position.parse(ready.last_event_id) if ready else None

    def wanted(self, ledger: Ledger) -> list[Position]:
        """Return the ids that the page must have received; up to its cursor if it left."""
        truth = [
            (id, name.channel)
            for id, name in ledger.truth
            if not (self.asked.skips and skipped(name.number))
        ]
        ids = expected(truth, self.asked.channels, self.began or Position(2**60))
        return [id for id in ids if id <= self.cursor] if self.left else ids

    def judge(self, verdict: Verdict, ledger: Ledger) -> None:
        """Compare the page's events with the ledger, and count the differences."""
        refused = self.broken or (self.status if self.status != 200 else None)
        if refused or (self.began is None and not self.left):
            verdict.stopped += 1
            verdict.note("stopped", self.name, [refused])
        had = expand(self.events, ledger.positions, gathered=self.asked.gathers)
        name = f"{self.name} (closed early)" if self.left else self.name
        lost = judge(verdict, name, had, self.wanted(ledger))
        if lost:
            verdict.tell(self._around(lost[0]))

    def _around(self, lost: Position) -> list[str]:
        """Return the page's story around a lost message, whose id is a time of Redis' clock."""
        at = lost.ms / 1000
        return [f"{when:.3f} {what}" for when, what in self._story if abs(when - at) < STORY]

    def _note(self, what: str) -> None:
        self._story.append((time.time(), what))

    def _run(self) -> None:
        try:
            super()._run()
        except (ValueError, LookupError, TypeError) as error:
            self.broken = repr(error)

    def _connect(self) -> SSEClient:
        self._note(f"asks for what follows {self.last_event_id or 'now'}")
        client = SSEClient(
            self._url, None, self.last_event_id, timeout=10, receive_buffer=RECEIVE_BUFFER
        )
        with self._changed:
            self._client = client
            self._status = client.status
            self._stopped = self._stopped or client.status != 200
            self._connections += client.status == 200
        return client

    def _read(self, client: SSEClient) -> None:
        while not self.stopped:
            self._reading.wait()
            try:
                self._take(client, [client.next(timeout=None)])
            except StreamEnded:
                self._note("has a stream that ended" if client.clean else "is cut off")
                return self._take(client, [])

    def _take(self, client: SSEClient, events: list[Event]) -> None:
        for event in events:
            self._note(f"has {event.event} {event.last_event_id}")
        super()._take(client, [shrink(event) for event in events])
