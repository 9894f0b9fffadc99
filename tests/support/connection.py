"""A connection of which a test holds both ends, so that the test decides when the client reads."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tests.support.waiting import wait_until


class Connection:
    """A pair of Unix sockets; without a reader, the server's end takes a few KiB only."""

    def __init__(self) -> None:
        self.server, self.client = socket.socketpair()
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for end in (self.server, self.client):
            end.setblocking(False)
        #: All that the client has read.
        self.received = bytearray()
        #: Whether there is nothing more to read, ever.
        self.ended = False

    def read(self, most: int = 1 << 30) -> bytes:
        """Read up to `most` bytes of what has come to the client; return all that it has read."""
        most += len(self.received)
        try:
            while len(self.received) < most and not self.ended:
                data = self.client.recv(min(most - len(self.received), 1 << 16))
                self.received += data
                self.ended = not data
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = True
        return bytes(self.received)

    def read_until(self, happened: Callable[[], object]) -> bytes:
        """Read, and let gevent's loop run, until `happened()`; return all that the client read."""

        def read_and_ask() -> object:
            self.read()
            return happened()

        wait_until(read_and_ask)
        return self.read()

    def fill(self) -> int:
        """Fill the connection, so that the server's end takes nothing more; return the bytes."""
        filled = 0
        try:
            while True:
                filled += self.server.send(b"." * 512)
        except BlockingIOError:
            return filled

    def close(self) -> None:
        self.ended = True
        self.server.close()
        self.client.close()
