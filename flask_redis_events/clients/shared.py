"""Groups of clients by key: the first client of a key makes its group, the last one ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

from .subscription import Subscription


class Shared:
    """The groups of one worker, by key; see `streams/group.py`."""

    def __init__(self) -> None:
        # Guards the groups, and that none is joined as it is stopped.
        self._lock = threading.Lock()
        self._groups: dict[Hashable, Any] = {}

    def join(self, key: Hashable, make: Callable[[], Any], member: Subscription) -> Any:
        """Let a client join the group of a key, which is made if there is none; return it."""
        with self._lock:
            group = self._groups.get(key)
            if group is not None and group.closed is None:
                group.join(member)
                return group
            group = make()
            # First the member, because a poll skips its first value if it has none.
            group.join(member)
            group.start()
            self._groups[key] = group
            return group

    def leave(self, key: Hashable, group: Any, member: Subscription) -> None:
        """Forget a client; the last one ends the group."""
        with self._lock:
            if group.release(member):
                group.stop()
                if self._groups.get(key) is group:
                    del self._groups[key]
