"""One simulated browser: its connection, the stream on it, and the id from which it resumes."""

from __future__ import annotations

import re
import socket

from .blocks import Blocks
from .target import Target

#: Seconds before a client reconnects if the server sends no `retry`, as in most browsers.
RETRY = 3.0
#: The most bytes of a response's head.
HEAD = 64 * 1024

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked *\r\n", re.IGNORECASE)


class BadAnswer(Exception):
    """The server's answer is not a stream; `status` is None if it is not HTTP either."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Client:
    """The state of one client, over all its connections; times are of `time.monotonic()`."""

    __slots__ = (
        "_controls",
        "asked_at",
        "blocks",
        "connected",
        "done",
        "head",
        "heard_at",
        "index",
        "last_event_id",
        "opened",
        "retry",
        "sampled",
        "sock",
        "target",
    )

    def __init__(
        self, index: int, target: Target, *, last_event_id: str = "", sampled: bool = False
    ) -> None:
        self.index = index
        self.target = target
        self.sampled = sampled
        self.last_event_id = last_event_id
        #: Whether the client has ever had a stream.
        self.opened = False
        #: Whether the server has told the client not to reconnect.
        self.done = False
        self.retry = RETRY
        self.sock: socket.socket | None = None
        self.connected = False
        self.head = b""
        #: The body of the response, once the head has arrived.
        self.blocks: Blocks | None = None
        self.asked_at = 0.0
        #: When the client last received messages; 0.0 before the first ones on this connection.
        self.heard_at = 0.0
        #: Control frames on earlier connections.
        self._controls = 0

    @property
    def controls(self) -> int:
        """How many control frames the client has received."""
        return self._controls + (self.blocks.controls if self.blocks is not None else 0)

    def begin(self, sock: socket.socket, now: float) -> None:
        """Start over on a new connection."""
        self.sock = sock
        self.connected = False
        self.head = b""
        self.blocks = None
        self.asked_at = now
        self.heard_at = 0.0

    def take_head(self, data: bytes) -> bytes | None:
        """Take bytes of the head; return the body's first bytes, or None while the head goes on.

        Raises `BadAnswer` unless the status is 200.
        """
        self.head += data
        head, ended, body = self.head.partition(b"\r\n\r\n")
        if not ended and len(head) < HEAD:
            return None
        found = _STATUS.match(head)
        status = int(found[1]) if found and ended else None
        if status != 200:
            raise BadAnswer(status)
        self.head = b""
        self.blocks = Blocks(chunked=bool(_CHUNKED.search(head + b"\r\n")))
        return body

    def end(self) -> None:
        """Close the connection, and keep the last id and `retry` for the next one."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self.blocks is not None:
            self.last_event_id = self.blocks.last_id or self.last_event_id
            self.retry = self.blocks.retry or self.retry
            self._controls += self.blocks.controls
            self.blocks = None
