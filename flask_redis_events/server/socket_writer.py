"""Writes a client's socket for the hub: no greenlet, no generator, no request.

It is used in gevent's one thread only, so there is no lock.  Bytes that the socket does not take
stay here, as a view of bytes that all clients share; the source keeps what comes after them.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from ..wire import PART
from .client_socket import ClientSocket

_NOTHING = memoryview(b"")


class Source(Protocol):
    """Where the bytes come from."""

    def more(self) -> bytes:
        """Return a part of what waits, for the socket to take; b"" where nothing does."""

    def lost(self) -> None:
        """The connection is broken."""

    def finished(self) -> None:
        """The last byte is out."""


class SocketWriter:
    """Writes bytes as far as the socket takes them, and the rest when it takes more."""

    __slots__ = ("_rest", "_socket", "_source", "_tail", "sent", "stalled_since")

    def __init__(self, socket: ClientSocket, source: Source) -> None:
        self._socket = socket
        self._source = source
        #: What the socket has not taken, and what ends the body after it.
        self._rest = _NOTHING
        self._tail: bytes | None = None
        #: How many bytes were written.
        self.sent = 0
        #: Since when the socket takes nothing, in monotonic seconds; None while nothing waits.
        self.stalled_since: float | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes.  While `stalled_since` is not None, only what waits here may be written."""
        try:
            sent = os.write(self._socket.fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop()
            self._source.lost()
            return
        self.sent += sent
        if sent == len(data):
            self._rest, self.stalled_since = _NOTHING, None
            return
        self._rest = memoryview(data)[sent:]
        if sent or self.stalled_since is None:
            self.stalled_since = time.monotonic()
        self._socket.when_writable(self._flush)

    def begin(self) -> None:
        """Write the first part of what waits at the source; the loop writes what follows."""
        if self._flush():
            self._socket.when_writable(self._flush)

    def drop(self) -> None:
        """Forget what the socket has not taken, as it never will."""
        self._rest = _NOTHING

    def end(self, tail: bytes) -> None:
        """Write what ends the body, after all that waits, and tell the source."""
        self._tail = tail
        # If the process ends, the loop does not come round again.
        while self.stalled_since is None and self._flush():
            pass

    def _flush(self) -> bool:
        """Write a part of what waits; say whether there may be more of it."""
        until = self.sent + PART
        # Where the connection breaks or ends, its owner has released the socket.
        while self._socket.fd >= 0:
            if self.stalled_since is not None:
                self.write(self._rest)
            elif data := self._source.more():
                self.write(data)
            elif self._tail:
                tail, self._tail = self._tail, b""
                self.write(tail)
            elif self._tail is not None:
                self._source.finished()
                return False
            else:
                return False
            if self.stalled_since is not None or self.sent >= until:
                return True
        return False
