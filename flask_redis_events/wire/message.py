"""One event as it crosses Redis: the payload's envelope, and the order of ids.

    :<id> <prev>[ <key>]\\n        the envelope: to a browser, a comment
    id: <id>\\n                    absent when the message has no id
    event: …\\ndata: …\\n\\n         the frame

What follows the envelope goes to the browser untouched.  `-` stands for "none": a transient
message has an id and no prev, one of an application without history has neither.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from . import sse as wire


class Position(NamedTuple):
    """A point in the one order of all messages: milliseconds of Redis' clock, and a counter."""

    ms: int
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str | bytes) -> Position | None:
        """Read `<ms>-<seq>`; None for anything else, as an id from outside may be anything."""
        if isinstance(text, bytes):
            text = text.decode("ascii", "replace")
        found = _POSITION.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None


# Redis' stream ids are two unsigned 64-bit numbers; Lua counts exactly up to 2**53 (16 digits).
_POSITION = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
_ENVELOPE = re.compile(
    rb":(?:-|(([0-9]{1,15})-([0-9]{1,15}))) (?:-|([0-9]{1,15})-([0-9]{1,15}))(?: ([^\n]*))?\n"
    rb"(?(1)(?=id: \1\n))"  # the frame's own id, if there is one, is the envelope's
)
_UNREAD = object()


def _refuse(constant: str) -> float:
    # Python reads what JSON does not have, and a browser could not.
    raise ValueError(f"{constant} is no JSON.")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


class Message:
    """One event.  `frame` is its bytes for the wire, id line included; `value` its data."""

    __slots__ = ("_event", "_value", "channel", "frame", "id", "key", "prev")

    def __init__(
        self,
        channel: str,
        frame: bytes,
        *,
        id: Position | None = None,
        prev: Position | None = None,
        key: str | None = None,
    ) -> None:
        self.channel = channel
        self.frame = frame
        self.id = id
        self.prev = prev
        self.key = key
        self._value: Any = _UNREAD
        self._event: Any = _UNREAD

    @classmethod
    def numbered(
        cls,
        channel: str,
        bare: bytes,
        id: Position,
        *,
        prev: Position | None = None,
        key: str | None = None,
    ) -> Message:
        """Make a message of a frame that has no id line yet."""
        return cls(channel, b"id: %d-%d\n%b" % (*id, bare), id=id, prev=prev, key=key)

    @classmethod
    def from_payload(cls, channel: str, payload: bytes) -> Message:
        """Read what came over pub/sub; what is no envelope and whole frame is foreign: data."""
        found = _ENVELOPE.match(payload)
        # A frame without its end would run into the next one.
        if found is None or not payload.endswith(b"\n\n", found.end()):
            return cls(channel, wire.encode(payload.decode("utf-8", "replace")))
        _, ms, seq, prev_ms, prev_seq, key = found.groups()
        return cls(
            channel,
            payload[found.end() :],
            id=Position(int(ms), int(seq)) if ms else None,
            prev=Position(int(prev_ms), int(prev_seq)) if prev_ms else None,
            key=key.decode("utf-8", "replace") if key else None,
        )

    @property
    def bare(self) -> bytes:
        """The frame without its id, for streams that promise no resume."""
        return self.frame[self.frame.index(b"\n") + 1 :] if self.id else self.frame

    @property
    def value(self) -> Any:
        """The data as JSON has it; data that is no JSON is the text itself."""
        return self._read() if self._value is _UNREAD else self._value

    @property
    def event(self) -> str | None:
        """The SSE event name it was emitted with."""
        if self._event is _UNREAD:
            self._read()
        return cast("str | None", self._event)

    def _read(self) -> Any:
        decoded = wire.decode(self.bare)
        text = decoded[0].data if decoded else ""
        name = decoded[0].event if decoded else "message"
        self._event = None if name == "message" else name
        try:
            value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            value = text
        # A callback may change what it is given, and the next one is not to see that.
        self._value = _UNREAD if isinstance(value, (dict, list)) else value
        return value

    def __repr__(self) -> str:
        return f"Message({self.channel!r}, {self.frame!r}, id={self.id}, prev={self.prev})"


def framed(data: bytes) -> bytes:
    """Frame bytes as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Batch:
    """Messages that came together, for all who hear the same channels; bytes are made once.

    A batch without messages is a control frame (`heartbeat`, `reset`, …) on its way to one client.
    """

    __slots__ = ("_bare", "_bare_chunk", "_chunk", "_data", "messages", "position", "size")

    def __init__(
        self,
        messages: Iterable[Message] = (),
        *,
        control: bytes | None = None,
        position: Position | None = None,
    ) -> None:
        self.messages = tuple(messages)
        self._data = control
        self._bare = control
        self._chunk: bytes | None = None
        self._bare_chunk: bytes | None = None
        if control is not None:
            self.size = len(control)
            self.position = position
        else:
            self.size = sum([len(message.frame) for message in self.messages])
            ids = [message.id for message in self.messages if message.id]
            self.position = ids[-1] if ids else None

    @property
    def data(self) -> bytes:
        """The bytes for the wire, ids included."""
        if self._data is None:
            self._data = b"".join([message.frame for message in self.messages])
        return self._data

    @property
    def bare(self) -> bytes:
        """The bytes for the wire, without ids."""
        if self._bare is None:
            self._bare = b"".join([message.bare for message in self.messages])
        return self._bare

    @property
    def chunk(self) -> bytes:
        """`data` as a chunk of HTTP/1.1."""
        if self._chunk is None:
            self._chunk = framed(self.data)
        return self._chunk

    @property
    def bare_chunk(self) -> bytes:
        """`bare` as a chunk of HTTP/1.1."""
        if self._bare_chunk is None:
            self._bare_chunk = framed(self.bare)
        return self._bare_chunk

    def after(self, position: Position) -> Batch | None:
        """Return what is newer than `position` (messages without an id always are)."""
        if not self.messages or self.position is None:
            return self
        first = self.messages[0].id
        if first is not None and first > position:
            return self
        newer = [m for m in self.messages if m.id is None or m.id > position]
        return Batch(newer) if newer else None
