"""One event as it crosses Redis, and the payload's envelope.

    :<id> <prev> <stamp>[ <key>]\\n     the envelope: to a browser, a comment
    id: <id>\\n                         absent when the message has no id
    :raw\\n                             only where the data is raw: text, and no JSON
    :run <state>\\n                     only where a run begins or ends (`run.py`)
    event: …\\ndata: …\\n\\n              the frame

A worker sends the part after the envelope to its clients untouched.  `-` stands for "none": a
transient message has an id and no prev, a message of an application without history has neither.
The stamp shows who made it (`broker/stamps.py`).
"""

from __future__ import annotations

import functools
import json
import marshal
import math
import re
from collections.abc import Callable
from typing import Any

from . import sse
from .data import MARK, Raw
from .position import Position

_ENVELOPE = re.compile(
    rb":(?:-|(?P<id>([0-9]{1,15})-([0-9]{1,15}))) (?:-|([0-9]{1,15})-([0-9]{1,15}))"
    rb" (?P<stamp>-|[0-9a-f]{16,64})(?: ([^\n]*))?\n"
    rb"(?(id)(?=id: (?P=id)\n))"  # the frame's own id, if there is one, is the envelope's
)

#: Says of a payload and the envelope found in it whether they come from an emitter.
Accept = Callable[[bytes, re.Match[bytes]], bool]


class Message:
    """One event.  `frame` is its bytes for the wire, id line included; `value` its data."""

    __slots__ = ("__weakref__", "_event", "_value", "channel", "frame", "id", "key", "prev")

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
        #: Makes the value, anew for each who asks, because an application may change its own.
        self._value: Callable[[], Any] | None = None
        self._event: str | None = None

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
        return cls(channel, number(bare, id), id=id, prev=prev, key=key)

    @classmethod
    def from_payload(cls, channel: str, payload: bytes, accept: Accept | None = None) -> Message:
        """Read a pub/sub payload; one that is no envelope and whole frame is foreign, and data.

        `accept` says of a payload and its envelope whether they come from an emitter.
        """
        found = _ENVELOPE.match(payload)
        # A frame without its end would run into the next one.
        genuine = found is not None and payload.endswith(b"\n\n", found.end())
        if found is None or not genuine or (accept is not None and not accept(payload, found)):
            return cls(channel, sse.encode(payload.decode("utf-8", "replace")))
        _, ms, seq, prev_ms, prev_seq, _, key = found.groups()
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
        """The data as JSON has it; raw data, and data that is no JSON, is the text itself."""
        if self._value is None:
            self._read()
        return self._value()  # type: ignore[misc]

    @property
    def event(self) -> str | None:
        """The SSE event name it was emitted with."""
        if self._value is None:
            self._read()
        return self._event

    def _read(self) -> None:
        bare = self.bare
        is_raw = bare.startswith(MARK)
        name, text = sse.read(bare[len(MARK) :] if is_raw else bare)
        self._event = None if name == "message" else name
        if is_raw:
            raw = Raw(text)
            self._value = lambda: raw
            return
        try:
            value = _JSON.decode(text)
        except (ValueError, RecursionError):
            value = text
        self._value = _copies(value, text)

    def __repr__(self) -> str:
        return f"Message({self.channel!r}, {self.frame!r}, id={self.id}, prev={self.prev})"


def number(bare: bytes, id: Position) -> bytes:
    """Return a frame with an id line."""
    return b"id: %d-%d\n%b" % (*id, bare)


def _copies(value: Any, text: str) -> Callable[[], Any]:
    """Return a function that makes a value of one's own, for less than reading its JSON again."""
    if not isinstance(value, (dict, list)):
        return lambda: value
    try:
        return functools.partial(marshal.loads, marshal.dumps(value))
    except ValueError:
        # Nested more deeply than marshal goes, as JSON may be.
        return functools.partial(_JSON.decode, text)


def _refuse(constant: str) -> float:
    # Python reads what JSON does not have, and a browser could not.
    raise ValueError(f"{constant} is no JSON.")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


_JSON = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
