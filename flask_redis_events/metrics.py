"""Counters of one worker: every drop, skip, gap, reconnect and overflow, by its reason."""

from __future__ import annotations

import threading
from collections import Counter


class Metrics:
    """Named counters; `snapshot()` is what a metrics exporter reads."""

    def __init__(self) -> None:
        # Guards the counters: `+=` on a dict entry is two steps, and threads may interleave.
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, name: str, amount: int = 1, *, reason: str | None = None) -> None:
        """Add to a counter; a reason makes it a counter of its own, `name.reason`."""
        with self._lock:
            self._counts[name if reason is None else f"{name}.{reason}"] += amount

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Return all counters by name."""
        with self._lock:
            return dict(self._counts)
