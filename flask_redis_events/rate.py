"""How often each client may do something in a minute.  It knows a client only by a name."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Hashable

MINUTE = 60.0


class Rate:
    """Counts for each name, and begins anew every minute; `limit` None admits everything."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        # Guards all below.
        self._lock = threading.Lock()
        self._counts: Counter[Hashable] = Counter()
        self._until = 0.0

    def admits(self, name: Hashable) -> bool:
        """Count one more for a name; say whether that is within the limit."""
        if self._limit is None:
            return True
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self._until = now + MINUTE
                self._counts.clear()
            self._counts[name] += 1
            return self._counts[name] <= self._limit
