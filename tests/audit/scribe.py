"""A witness of what Redis has: looks at all histories again and again, and notes when."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import redis

from flask_redis_events.wire import Position
from flask_redis_events.wire import sse as wire

from .emitting import PREFIX
from .fate import Window
from .ledger import Kept, Name
from .stores import Store

#: What keys of runs begin with, whose messages have other witnesses.
LOGS = f"{PREFIX}history:run-".encode()
#: Seconds between two looks.
PERIOD = 0.4


class Scribe:
    """A thread; `look` may also be called when the thread has ended."""

    def __init__(self, store: Store) -> None:
        #: Each message that was seen, and until when it was there for certain, as Unix times.
        self.seen: dict[Kept, float] = {}
        #: When each look began and ended.
        self.looks: list[Window] = []
        self._store = store
        #: What an entry of a history means.
        self._read: dict[tuple[bytes, bytes, bytes], Kept] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(PERIOD):
            try:
                self.look()
            except redis.RedisError:
                pass  # in the midst of a fault

    def look(self) -> None:
        began, master = time.time(), self._store.master
        with redis.Redis.from_url(master.url, socket_timeout=5) as client:
            for key in client.scan_iter(match=f"{PREFIX}history:*", count=1000):
                if key.startswith(LOGS):
                    continue
                at = time.time()
                entries = client.xrange(key)
                if self._store.master is not master:
                    return  # It still has what a failover has lost.
                for id, fields in entries:
                    self.seen[self._kept(key, id, fields)] = at
        self.looks.append((began, time.time()))

    def _kept(self, key: bytes, id: bytes, fields: Any) -> Kept:
        entry = (key, id, fields[b"frame"])
        if entry not in self._read:
            position = Position.parse(id)
            value = json.loads(wire.decode(fields[b"frame"])[0].data)
            assert position is not None
            name = Name(value["emitter"], value["number"], value["channel"])
            self._read[entry] = Kept(position, name)
        return self._read[entry]
