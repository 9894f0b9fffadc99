"""The connections for commands of one process; each belongs to one call at a time.

redis-py's own pool takes longer to lend a connection than Redis takes to publish.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..exceptions import BrokerError
from .connections import UNREACHABLE

#: The most connections; further calls wait until one is free.
CONNECTIONS = 16


class CommandPool:
    """Lends connections, which `make` makes; a call waits `patience` seconds for one at most."""

    def __init__(self, make: Callable[[], Any], patience: float) -> None:
        self._make = make
        self._patience = patience
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        # Its operations are atomic, so that nobody disconnects a connection that is lent.
        self._idle: deque[Any] = deque()

    @contextmanager
    def lend(self) -> Iterator[Any]:
        """Lend a connection, which is up; it is disconnected if its call fails."""
        if not self._free.acquire(timeout=self._patience):
            raise BrokerError(
                f"All {CONNECTIONS} connections to Redis were in use for {self._patience:.0f} s:"
                " Redis is slow, or one process emits in too many threads at once."
            )
        try:
            connection = self._take()
            try:
                yield connection
            except BaseException:
                # A reply that was not read would be taken for that of the next command.
                connection.disconnect()
                raise
            finally:
                self._idle.append(connection)
        finally:
            self._free.release()

    def _take(self) -> Any:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._make()
        try:
            # Redis closes connections that are idle for too long, and says nothing unasked.
            unusable = connection.can_read(0)
        except UNREACHABLE:
            unusable = True
        if unusable:
            connection.disconnect()
            connection.connect()
        return connection

    def disconnect(self) -> None:
        """Disconnect the connections that nobody uses."""
        while self._idle:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return
