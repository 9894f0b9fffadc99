"""The parts of a run that faults may change."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import redis

from flask_redis_events.wire import Position
from tests.support.servers import Gunicorn

from .emitting import PREFIX, Emitting, Style, Where, by_emitter
from .fate import Excuse, Window
from .ledger import Record
from .page import Page
from .stores import Store
from .viewing import Stage

#: Seconds between the heartbeats of a stream.
HEARTBEAT = 2.0


class Pausable(Protocol):
    """An emitter that can be paused."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass
class Scene:
    """Servers, pages and emitters, and notes of what Redis was made to lose."""

    chance: random.Random
    server: Gunicorn
    store: Store
    where: Where
    #: Open pages; `come` opens one more.
    pages: list[Page]
    come: Callable[[], None]
    #: Emits a message of a size in bytes on each of some channels, in one round trip.
    emit: Callable[[Sequence[str], int], None]
    channels: list[str]
    emitting: Sequence[Pausable]
    stage: Stage
    prefix: str = PREFIX
    #: What was emitted by `emitting_by`.
    records: list[Record] = field(default_factory=list)
    excuses: list[Excuse] = field(default_factory=list)
    failovers: list[Window] = field(default_factory=list)
    #: When it was last known that nothing but faults had befallen Redis.
    looked_at: float = field(default_factory=time.time)
    over: threading.Event = field(default_factory=threading.Event)

    def client(self) -> redis.Redis:
        """Return a new client of the master, which the caller closes."""
        client: redis.Redis = redis.Redis.from_url(self.store.master.url)
        return client

    def signal_a_worker(self, number: signal.Signals) -> None:
        pids = self.server.worker_pids()
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(pids), number)

    def wait(self, seconds: float) -> None:
        self.over.wait(seconds)

    def burst(self, count: int, size: int, channels: Sequence[str]) -> None:
        """Emit `count` messages of `size` bytes, one by one, on random ones of some channels."""
        for _ in range(count):
            self.emit([self.chance.choice(channels)], size)

    def some_pages(self, share: float) -> list[Page]:
        return self.chance.sample(self.pages, max(1, round(len(self.pages) * share)))

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Pause all emitters; only the fault itself can emit inside the block."""
        for each in self.emitting:
            each.pause()
        try:
            yield
        finally:
            for each in self.emitting:
                each.resume()

    @contextlib.contextmanager
    def away(self, pages: Sequence[Page]) -> Iterator[None]:
        """Keep pages from the network inside the block."""
        for page in pages:
            page.go_away()
        try:
            yield
        finally:
            for page in pages:
                page.come_back()

    @contextlib.contextmanager
    def emitting_by(self, url: str) -> Iterator[Emitting]:
        """Emit through another address, from this thread."""
        emitter = self.where.emitter(url)
        style = Style(f"fault-{len(self.records)}", self.channels, 1, 0)
        emitting = Emitting(style, by_emitter(emitter)[0])
        yield emitting
        emitter.close()
        self.records += emitting.records

    def clock(self) -> Position:
        """Return the last id that the master gave out, or its time if that is later."""
        with self.client() as client:
            newest = client.xrevrange(f"{self.prefix}ids", count=1)
            seconds, microseconds = client.time()
        moment = Position(seconds * 1000 + microseconds // 1000)
        last = Position.parse(newest[0][0]) if newest else None
        return max(moment, last or moment)

    @contextlib.contextmanager
    def losing(self, *reasons: str, ahead: int = 1000) -> Iterator[None]:
        """Let Redis lose something inside the block by which it knows who missed nothing.

        Clients that had not come further than `ahead` milliseconds after it may get a reset.
        """
        at = time.time()
        yield
        # The first event after it brings back what is written once in a grain.
        self.wait(0.3)
        self.emit([self.chance.choice(self.channels)], 0)
        clock = self.clock()
        self.excuses += [Excuse(each, at, Position(clock.ms + ahead)) for each in reasons]
