"""One browser: a connection, what has come on it, and what it would resume from."""

from __future__ import annotations

import re
import socket

from .blocks import Blocks
from .target import Target

#: A server that does not say when to come back: what browsers take.
RETRY = 3.0
#: Bytes that a response's head may have.
HEAD = 64 * 1024

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked *\r\n", re.IGNORECASE)


class BadAnswer(Exception):
    """The server's answer is no stream; `status` is None where it is not even HTTP."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Client:
    """What the load knows of one client, over its connections."""

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
        #: Whether it had a stream before.
        self.opened = False
        #: Whether it is not to come back.
        self.done = False
        self.retry = RETRY
        self.sock: socket.socket | None = None
        self.connected = False
        self.head = b""
        #: The stream, once its head is there.
        self.blocks: Blocks | None = None
        self.asked_at = 0.0
        self.heard_at = 0.0
        self._controls = 0

    @property
    def controls(self) -> int:
        """How many control frames it was sent."""
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
        """Take bytes of the head; return the first ones of the body, or None while more are needed.

        Raises `BadAnswer`.
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
        """Close the connection, and remember where it got to."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self.blocks is not None:
            self.last_event_id = self.blocks.last_id or self.last_event_id
            self.retry = self.blocks.retry or self.retry
            self._controls += self.blocks.controls
            self.blocks = None
