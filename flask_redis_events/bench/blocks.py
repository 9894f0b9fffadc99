"""Counting the blocks of a stream in pieces that are cut anywhere.  Pure: bytes in, numbers out.

A load client reads far more than it can parse.  So the common piece, whole messages of one data
line each, is counted by searching it twice; only what looks different is taken apart.  The frames
of chunked HTTP stay in: none of their bytes look like a block's end, and as a line of their own
they are no field.
"""

from __future__ import annotations

import re

#: Named events in which this project's streams speak of themselves: no messages.
CONTROL = frozenset({b"ready", b"heartbeat", b"reset", b"reconnect", b"end"})

_ID = re.compile(rb"(?:\A|\n)id: ?([^\r\n]*)")
_LAST_CHUNK = re.compile(rb"(?:\A|\r\n)0\r\n\r\n\Z")


class Blocks:
    """What has come of one response's body."""

    __slots__ = ("_end", "_last", "_rest", "_whole", "chunked", "controls", "over", "retry")

    def __init__(self, *, chunked: bool) -> None:
        self.chunked = chunked
        #: The body has ended as its framing says.
        self.over = False
        #: How many control frames there were.
        self.controls = 0
        #: The reconnection time that the server asked for, in seconds.
        self.retry: float | None = None
        #: What ends a block here: an empty line, in the server's own line ends.
        self._end = b"\n\n"
        #: What a piece ends with that is cut between two blocks.
        self._whole = b""
        self._rest = b""
        #: The last piece that had an id.
        self._last = b""

    def take(self, data: bytes) -> int:
        """Return how many messages these bytes complete; what follows them waits for more."""
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
        # As many blocks as data lines: one each.  An id alone would have to meet a block of two
        # lines in the same piece for this to be wrong.
        if blocks == data.count(b"data:") and b"event:" not in data and b"retry:" not in data:
            return blocks
        return self._parse(data)

    @property
    def last_id(self) -> str:
        """What the browser would send back as `Last-Event-ID`."""
        found: list[bytes] = _ID.findall(self._last)
        return found[-1].decode("latin-1") if found else ""

    def _learn(self, data: bytes) -> None:
        for end in (b"\r\n\r\n", b"\n\n"):
            if end in data:
                self._end = end
                self._whole = end + b"\r\n" if self.chunked else end
                return

    def _without_last_chunk(self, data: bytes) -> bytes:
        found = _LAST_CHUNK.search(data)
        if found is None:
            return data
        self.over = True
        return data[: found.start()] + (b"\r\n" if found.start() else b"")

    def _cut(self, data: bytes) -> bytes:
        """Return the whole blocks; what follows them is kept, unless it only ends a chunk."""
        if not self._whole:
            self._learn(data)
        end = data.rfind(self._end)
        end = 0 if end < 0 else end + len(self._end)
        rest = data[end:]
        if rest not in (b"", b"\r\n"):
            self._rest = rest
        return data[:end]

    def _parse(self, data: bytes) -> int:
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
