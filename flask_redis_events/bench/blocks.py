"""Counts the messages of a stream, in pieces that are cut anywhere.  Pure: bytes in, numbers out.

One process plays thousands of browsers, so it has no time to parse all that they receive.  Most
pieces consist of whole messages with one data line each; these are counted with `bytes.count`, and
only other pieces are parsed.

The chunk sizes of HTTP's chunked coding remain in the bytes.  They do no harm: none looks like the
end of a block, and a size on a line of its own is a field that SSE ignores.
"""

from __future__ import annotations

import re

#: The names of control frames, which are not counted as messages.
CONTROL = frozenset({b"ready", b"heartbeat", b"reset", b"reconnect", b"end"})

_ID = re.compile(rb"(?:\A|\n)id: ?([^\r\n]*)")
_LAST_CHUNK = re.compile(rb"(?:\A|\r\n)0\r\n\r\n\Z")


class Blocks:
    """The body of one response, as far as it has arrived."""

    __slots__ = ("_end", "_last", "_rest", "_whole", "chunked", "controls", "over", "retry")

    def __init__(self, *, chunked: bool) -> None:
        self.chunked = chunked
        #: Whether the last chunk has arrived, so that the body is complete.
        self.over = False
        #: How many control frames have arrived.
        self.controls = 0
        #: The reconnection time that the server asked for, in seconds.
        self.retry: float | None = None
        #: The empty line that ends a block, in this server's line ends.
        self._end = b"\n\n"
        #: The end of a piece that is cut between two blocks; b"" until the line ends are known.
        self._whole = b""
        #: The beginning of a block whose end has not arrived.
        self._rest = b""
        #: The last piece in which there was an id.
        self._last = b""

    def take(self, data: bytes) -> int:
        """Return how many messages these bytes complete; keep the beginning of a further block."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if self.chunked and data.endswith(b"0\r\n\r\n"):
            data = self._without_last_chunk(data)
        if not (self._whole and data.endswith(self._whole)):
            data = self._cut(data)
        if b"id:" in data:
            self._last = data
        blocks = data.count(self._end)
        # With as many blocks as data lines, each block has one.  That is wrong only if a block
        # without data and a block with two data lines are in the same piece, which is rare enough.
        if blocks == data.count(b"data:") and b"event:" not in data and b"retry:" not in data:
            return blocks
        return self._parse(data)

    @property
    def last_id(self) -> str:
        """The value that a browser would send as `Last-Event-ID`."""
        found: list[bytes] = _ID.findall(self._last)
        return found[-1].decode("latin-1") if found else ""

    def _learn(self, data: bytes) -> None:
        """Find out the server's line ends from the first empty line."""
        for end in (b"\r\n\r\n", b"\n\n"):
            if end in data:
                self._end = end
                self._whole = end + b"\r\n" if self.chunked else end
                return

    def _without_last_chunk(self, data: bytes) -> bytes:
        """Remove the chunk of size 0 that ends a body (RFC 9112, section 7.1), and note the end."""
        found = _LAST_CHUNK.search(data)
        if found is None:
            return data
        self.over = True
        return data[: found.start()] + (b"\r\n" if found.start() else b"")

    def _cut(self, data: bytes) -> bytes:
        """Return the whole blocks; keep the bytes after them, unless these only end a chunk."""
        if not self._whole:
            self._learn(data)
        end = data.rfind(self._end)
        end = 0 if end < 0 else end + len(self._end)
        rest = data[end:]
        if rest not in (b"", b"\r\n"):
            self._rest = rest
        return data[:end]

    def _parse(self, data: bytes) -> int:
        """Count the messages block by block, and note control frames and `retry`."""
        messages = 0
        for block in data.split(self._end)[:-1]:
            has_data, name = False, b""
            for line in block.split(b"\n"):
                field, _, value = line.rstrip(b"\r").partition(b":")
                if field == b"data":
                    has_data = True
                elif field == b"event":
                    name = value.removeprefix(b" ")
                elif field == b"retry" and value.strip().isdigit():
                    self.retry = int(value) / 1000
            if name in CONTROL:
                self.controls += 1
            elif has_data:
                messages += 1
        return messages
