"""The connections for commands of one process; each belongs to one call at a time.

redis-py's own pool takes longer to lend a connection than Redis takes to publish.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..exceptions import BrokerError
from .connections import UNREACHABLE
from .versions import is_connected

#: The most connections; further calls wait until one is free.
CONNECTIONS = 16
#: Seconds without a call after which a connection is looked at before it is lent, because Redis
#: closes connections that are idle for too long.
IDLE = 1.0


class Loan:
    """A connection for commands; `with` lends it, and it is disconnected if the block fails."""

    __slots__ = ("_pool", "_used", "connection", "home")

    def __init__(self, pool: CommandPool, connection: Any, home: deque[Loan]) -> None:
        self._pool = pool
        #: Where it waits for the next call.
        self.home = home
        self._used = 0.0
        self.connection = connection

    def __enter__(self) -> Any:
        return self.connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            # A reply that was not read would be taken for that of the next command.
            self.connection.disconnect()
        self._used = time.monotonic()
        self._pool.take_back(self)

    def make_usable(self, *, sure: bool) -> None:
        """Connect anew where Redis has closed the connection; look at the socket if need be."""
        lately = time.monotonic() - self._used < IDLE
        if lately and not sure and is_connected(self.connection):
            return
        try:
            # Redis says nothing unasked.
            unusable = self.connection.can_read(0)
        except UNREACHABLE:
            unusable = True
        if unusable:
            self.connection.disconnect()
            self.connection.connect()


class CommandPool:
    """Lends connections, which `make` makes; a call waits `patience` seconds for one at most."""

    def __init__(self, make: Callable[[], Any], patience: float) -> None:
        self._make = make
        self._patience = patience
        self._permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(CONNECTIONS):
            self._permits.put(None)
        # Its operations are atomic, so that nobody disconnects a connection that is lent.  Whoever
        # disconnects all of them puts another one in its place.
        self._idle: deque[Loan] = deque()

    def lend(self, *, sure: bool = False) -> Loan:
        """Lend a connection that is up; of one that was just in use, only if it must be `sure`."""
        try:
            self._permits.get(timeout=self._patience)
        except queue.Empty:
            raise BrokerError(
                f"All {CONNECTIONS} connections to Redis were in use for {self._patience:.0f} s:"
                " Redis is slow, or one process emits in too many threads at once."
            ) from None
        idle = self._idle
        try:
            loan = idle.pop()
        except IndexError:
            loan = Loan(self, self._make(), idle)
        try:
            loan.make_usable(sure=sure)
        except BaseException:
            self.take_back(loan)
            raise
        return loan

    def take_back(self, loan: Loan) -> None:
        loan.home.append(loan)
        if loan.home is not self._idle:
            # Meanwhile all were disconnected.
            _disconnect(loan.home)
        self._permits.put(None)

    def disconnect(self) -> None:
        """Disconnect all connections: those that nobody uses now, the others when they return."""
        idle, self._idle = self._idle, deque()
        _disconnect(idle)


def _disconnect(loans: deque[Loan]) -> None:
    while loans:
        try:
            loans.pop().connection.disconnect()
        except IndexError:
            return
