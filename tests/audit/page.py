"""The clients: the streams that they open, and an EventSource that checks them and can stall."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event
from tests.support.sse_client import EventSource, SSEClient, StreamEnded

from .emitting import GATHER
from .fate import Fate
from .ledger import Emission, Kept, Ledger, expand, received, shrink, skipped
from .verdict import Verdict, expected, judge

#: Bytes that the kernel buffers for a page that does not read.
RECEIVE_BUFFER = 65536
#: Seconds after `emit` has returned at which a message on an open stream is late.
LATE_BY = 0.5
#: Seconds after a lost message up to which the page's story is shown, and how much of it.
STORY, LINES = 1.5, 40


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
    if number % 10 == 3:
        name = chance.choice(channels)
        return Asked(f"/backlog/{name}", (name,))
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
        #: When the page first asked for its stream; all times are Unix times.
        self.asked_at = time.time()
        #: When each event came.
        self._times: list[float] = []
        #: The events and connections of the page, with times.
        self._story: list[tuple[float, str]] = []
        self._reading = threading.Event()
        self._reading.set()
        #: Whether the page has a network.
        self._online = threading.Event()
        self._online.set()
        super().__init__(url + asked.path)

    def stall(self) -> None:
        """Stop reading until `resume`."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    def go_away(self) -> None:
        """Lose the network until `come_back`."""
        self._online.clear()
        self.drop()

    def come_back(self) -> None:
        self._online.set()

    def leave(self) -> None:
        """Close the page."""
        self.left = True
        self.close()

    def close(self) -> None:
        self.resume()
        self.come_back()
        super().close()

    @property
    def cursor(self) -> Position:
        return Position.parse(self.last_event_id) or Position(0)

    @property
    def began(self) -> tuple[float, Position] | None:
        """When the page's first `ready` came, and its id."""
        for at, event in self._timed():
            if event.event == "ready":
                return at, Position.parse(event.last_event_id) or Position(0)
        return None

    @property
    def beginnings(self) -> int:
        """How often a `ready` came."""
        return sum(event.event == "ready" for event in self.events)

    @property
    def received(self) -> list[Kept]:
        return received(self.events)

    def lags(self, emissions: Mapping[Position, Emission]) -> Iterator[tuple[float, float]]:
        """Yield when a message came late although the stream was open, and by how many seconds."""
        opened = math.inf
        for at, event in self._timed():
            if event.event == "ready":
                opened = at
            id = Position.parse(event.last_event_id)
            emission = emissions.get(id) if id and event.event == "message" else None
            if emission and emission.began > opened and at - emission.ended > LATE_BY:
                yield at, at - emission.ended

    def wanted(self, ledger: Ledger, fate: Fate) -> list[Emission]:
        """Return the messages that must have come to the page; up to its cursor if it left."""
        if self.began is None:
            return []
        began_at, began = self.began
        return [
            emission
            for emission in expected(ledger.truth, self.asked.channels)
            if not (self.left and emission.id > self.cursor)
            and (
                emission.began > began_at or (emission.id > began and self._in_time(emission, fate))
            )
        ]

    def possible(self, ledger: Ledger, fate: Fate) -> list[Emission]:
        """Return the messages that may have come to the page, also if they need not have."""
        began = self.began
        if began is None:
            return []
        return [
            emission
            for emission in expected(ledger.truth, self.asked.channels)
            if fate.may_have_come(emission, self.asked_at, *began)
        ]

    def awaited(self, ledger: Ledger, fate: Fate) -> list[Position]:
        """Return the ids of the messages that the page must receive."""
        return [one.id for one in self.wanted(ledger, fate) if not self._skips(one)]

    def _skips(self, emission: Emission) -> bool:
        return self.asked.skips and skipped(emission.kept.name.number)

    def _in_time(self, emission: Emission, fate: Fate) -> bool:
        """Say whether there was still a way to the page when it first asked for its stream."""
        return max(emission.ended, fate.had_until(emission.kept)) >= self.asked_at

    def judge(self, verdict: Verdict, ledger: Ledger, fate: Fate) -> None:
        """Compare the page's events with the ledger, and count the differences."""
        refused = self.broken or (self.status if self.status != 200 else None)
        if refused or (self.began is None and not self.left):
            verdict.stopped += 1
            verdict.note("stopped", self.name, [refused or "no answer"])
            verdict.tell(self._around(math.inf))
        had = expand(self._timed(), ledger.positions, gathered=self.asked.gathers)
        name = f"{self.name} (closed early)" if self.left else self.name
        every = self.wanted(ledger, fate)
        wanted = [emission for emission in every if not self._skips(emission)]
        left_out = [emission for emission in every if self._skips(emission)]
        possible = [one for one in self.possible(ledger, fate) if not self._skips(one)]
        if self.asked.gathers:
            # A generator's stream has a position as old as what the generator holds.
            fate = replace(fate, silence=fate.silence - GATHER)
        faults = judge(verdict, name, had, wanted, fate, left_out=left_out, possible=possible)
        if faults:
            verdict.tell(self._around(faults[0]))

    def _timed(self) -> list[tuple[float, Event]]:
        return list(zip(self._times, self.events, strict=False))

    def _around(self, at: float) -> list[str]:
        """Return the page's story before a moment, and shortly after it."""
        story = [f"{when:.3f} {what}" for when, what in self._story if when < at + STORY]
        return story[-LINES:]

    def _note(self, what: str) -> None:
        self._story.append((time.time(), what))

    def _run(self) -> None:
        try:
            super()._run()
        except (ValueError, LookupError, TypeError) as error:
            self.broken = repr(error)

    def _connect(self) -> SSEClient:
        self._online.wait()
        if self.stopped:
            raise StreamEnded("The page was closed while it was away.")
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
            told = event.data if event.event == "reset" else ""
            self._note(f"has {event.event} {event.last_event_id} {told}")
        self._times += [time.time()] * len(events)
        super()._take(client, [shrink(event) for event in events])
