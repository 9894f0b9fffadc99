"""The framings of HTTP/1.1 response bodies, read incrementally.  Pure."""

from __future__ import annotations

from typing import Protocol


class Body(Protocol):
    """A framing; `feed` takes bytes of the connection and returns those of the body."""

    #: Whether the body has ended by its framing; bytes that follow are not part of it.
    done: bool

    def feed(self, data: bytes) -> bytes: ...


class Chunked:
    """`Transfer-Encoding: chunked` (RFC 9112, 7.1); only whole chunks are returned."""

    def __init__(self) -> None:
        self.done = False
        self._buffer = b""
        self._trailers = False

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        chunks = []
        while not self.done and (chunk := self._take()) is not None:
            chunks.append(chunk)
        return b"".join(chunks)

    def _take(self) -> bytes | None:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return None
        size = 0 if self._trailers else int(line.partition(b";")[0], 16)
        if size == 0:
            self.done = self._trailers and not line
            self._trailers = True
            self._buffer = rest
            return b""
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise ValueError(f"A chunk of {size} bytes ends with {rest[size : size + 2]!r}.")
        self._buffer = rest[size + 2 :]
        return rest[:size]


class Counted:
    """A body whose `Content-Length` is known."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = not length

    def feed(self, data: bytes) -> bytes:
        body = data[: self._left]
        self._left -= len(body)
        self.done = not self._left
        return body


class UntilClosed:
    """A body that ends with the connection, as in HTTP/1.0."""

    done = False

    def feed(self, data: bytes) -> bytes:
        return data
