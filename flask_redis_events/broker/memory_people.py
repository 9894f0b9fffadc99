"""Who is there, in one process without Redis; see `people.py`, whose promises it keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from .base import Entry


class MemoryPeople:
    """The leases and identities of the workers that share a `memory://` broker."""

    def __init__(self) -> None:
        # Guards all below.
        self._lock = threading.Lock()
        #: Worker -> when its lease, or the claim of the worker that cleans up after it, lapses.
        self._lapses: dict[str, float] = {}
        #: What the workers that hold a lease say of themselves.
        self._texts: dict[str, str] = {}
        #: Entry -> worker -> streams; empty where the identity has left and may come back.
        self._present: dict[Entry, dict[str, int]] = {}
        self._leaving: dict[Entry, float] = {}

    def renew(self, worker: str, text: str, seconds: float, *, first: bool) -> list[str] | None:
        now = time.monotonic()
        with self._lock:
            if not first and not self._lives(worker):
                return None
            self._lapses[worker], self._texts[worker] = now + seconds, text
            lapsed = [name for name, lapses in self._lapses.items() if lapses <= now]
            for name in lapsed:
                self._lapses[name] = now + seconds
                self._texts.pop(name, None)
            return lapsed

    def resign(self, worker: str) -> None:
        with self._lock:
            self._lapses[worker] = 0.0
            self._texts.pop(worker, None)

    def leases(self) -> list[str]:
        with self._lock:
            return [text for name, text in self._texts.items() if self._lives(name)]

    def note(self, worker: str, streams: Mapping[Entry, int], grace: float) -> list[Entry]:
        joined: list[Entry] = []
        with self._lock:
            for entry, count in streams.items():
                before = self._present.get(entry)
                after = {name: n for name, n in (before or {}).items() if name != worker}
                if count:
                    after[worker] = count
                    self._leaving.pop(entry, None)
                    if before is None:
                        joined.append(entry)
                elif before and not after:
                    self._leaving[entry] = time.monotonic() + grace
                if before is not None or after:
                    self._present[entry] = after
        return joined

    def noted(self, worker: str) -> list[Entry]:
        with self._lock:
            return [entry for entry, workers in self._present.items() if worker in workers]

    def all_noted(self, worker: str) -> list[Entry]:
        return self.noted(worker)

    def forget(self, worker: str) -> None:
        with self._lock:
            self._lapses.pop(worker, None)

    def left(self) -> list[Entry]:
        now = time.monotonic()
        with self._lock:
            due = [entry for entry, at in self._leaving.items() if at <= now]
            for entry in due:
                del self._leaving[entry], self._present[entry]
        return due

    def has(self, worker: str, entries: Sequence[Entry]) -> bool:
        return True

    def present(self, channel: str) -> dict[str, int]:
        with self._lock:
            return {
                identity: sum([n for worker, n in workers.items() if self._lives(worker)])
                for (name, identity), workers in self._present.items()
                if name == channel
            }

    def _lives(self, worker: str) -> bool:
        return worker in self._texts and self._lapses[worker] > time.monotonic()
