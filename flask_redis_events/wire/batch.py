"""Messages that are sent together: the bytes are made once for each form that clients need."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .dialects import translate
from .message import Message
from .position import Position

#: Bytes that are made or written for one client at a time, unless one message has more.
PART = 64 * 1024


class Form(NamedTuple):
    """The form in which a client is sent its bytes."""

    #: Whether frames carry their ids, so that the client can resume.
    numbered: bool = True
    #: Whether the bytes are framed as a chunk of HTTP/1.1, because no server does it.
    chunked: bool = False
    #: The library of the page that is told of `reset` and `refresh` in its own words, or "".
    dialect: str = ""


class Batch:
    """Messages that came together, for all clients of the same channels.

    A batch without messages is a control frame (`heartbeat`, `reset`, …), with or without ids.
    """

    __slots__ = ("_encoded", "_frame", "messages", "position", "size")

    def __init__(
        self,
        messages: Iterable[Message] = (),
        *,
        control: bytes | None = None,
        position: Position | None = None,
    ) -> None:
        self.messages = tuple(messages)
        self._frame = control
        self._encoded: dict[Form, bytes] = {}
        if control is not None:
            #: The id that a client's cursor moves to, if any.
            self.position = position
            #: bytes that wait where the batch waits.
            self.size = len(control)
            return
        ids = [message.id for message in self.messages if message.id]
        self.position = ids[-1] if ids else None
        self.size = sum([len(message.frame) for message in self.messages])

    def encode(self, form: Form) -> bytes:
        """Return the bytes for the wire."""
        made = self._encoded.get(form)
        if made is None:
            made = self._encoded[form] = self._make(form)
        return made

    def _make(self, form: Form) -> bytes:
        if self._frame is not None:
            data = self._frame
        elif form.numbered:
            data = b"".join([message.frame for message in self.messages])
        else:
            data = b"".join([message.bare for message in self.messages])
        if form.dialect:
            data = translate(data, form.dialect)
        return framed(data) if form.chunked else data

    def after(self, position: Position | None) -> Batch | None:
        """Return what is newer than `position` (messages without an id always are), if anything."""
        if not self.size:
            return None
        if position is None or self.position is None or not self.messages:
            return self
        first = self.messages[0].id
        if first is not None and first > position:
            return self
        newer = [m for m in self.messages if m.id is None or m.id > position]
        return Batch(newer) if newer else None


def joined(made: list[Batch]) -> list[Batch]:
    """Join neighbouring batches of messages; one alone shares its bytes with other clients."""
    if len(made) < 2:
        return made
    result: list[Batch] = []
    for messages, run in itertools.groupby(made, lambda batch: bool(batch.messages)):
        batches = list(run)
        if messages and len(batches) > 1:
            batches = [Batch([message for batch in batches for message in batch.messages])]
        result += batches
    return result


def parts(messages: Sequence[Message]) -> Iterator[Batch]:
    """Cut messages into batches of up to `PART` bytes, each when it is asked for.

    So a client that does not read holds one part of its bytes, and beside it only the messages,
    which it shares with others.
    """
    start = size = 0
    for index, message in enumerate(messages):
        size += len(message.frame)
        if size > PART and index > start:
            yield Batch(messages[start:index])
            start, size = index, len(message.frame)
    if messages:
        yield Batch(messages[start:])


def encoded(batches: Sequence[Batch], form: Form) -> bytes:
    """Return the bytes of batches for the wire, as one chunk; those of a single one are shared."""
    if len(batches) == 1:
        return batches[0].encode(form)
    data = b"".join([batch.encode(form._replace(chunked=False)) for batch in batches])
    return framed(data) if form.chunked else data


def framed(data: bytes) -> bytes:
    """Frame bytes as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
