"""Server-Sent Events as bytes, both ways (HTML, section 9.2).  No I/O, no clock, no Flask.

The standard allows writers more than all clients can read.  So the encoder writes only the subset
that every client reads alike: id, event, retry, data in this order, LF, one space after the colon,
one whole block at a time.  The decoder accepts everything that the standard accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

from ..exceptions import FieldError
from .data import check_raw, dumps, raw_of

#: The comment that keeps an idle connection alive.  Section 9.2.7 asks for "a comment line" only:
#: if a blank line follows it, several clients report an event that nobody sent.
COMMENT = b":\n"

_BOM = b"\xef\xbb\xbf"
# EventSource fires these itself, so a listener could not tell ours from a lost connection.
_RESERVED_EVENTS = ("open", "error")
#: The events that speak of the stream itself, and what an application does in place of sending one.
CONTROL_EVENTS = {
    "ready": "send the first event of a stream from on_open",
    "heartbeat": "set the option heartbeat",
    "reset": "choose a name such as 'reload'",
    "reconnect": "set the option max_age",
    "end": "call event.terminate() in a callback, or return False",
}
# A line end would let the sender inject other fields.  NUL is legal, but serves no purpose.
_EVENT = re.compile(r"[^\r\n\0\ud800-\udfff]*")
# A client sends its last id back as a header.  These bytes, or more than 128 of them, make the
# browser ask for permission first (a CORS preflight) on every reconnect to another origin.
_CORS_UNSAFE = '"():<>?@[\\]{}'
_ID_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F))) - frozenset(_CORS_UNSAFE)
_ID_BYTES = 128
# The standard asks for ASCII digits; str.isdigit() accepts many more.  18 digits of milliseconds
# are 30 million years.  A hostile server may send megabytes of digits, for which int() takes long
# before it refuses them.
_RETRY = re.compile("[0-9]{1,18}")


def encode(
    text: str, *, event: str | None = None, id: str | None = None, retry: int | None = None
) -> bytes:
    """Write one block, ready for the wire; `retry` is in milliseconds.

    The events "" and "message" are the default and get no line.  The id "" makes a client forget
    its last id.  All line ends in the text arrive as LF, because the format cannot tell them
    apart.  Raise FieldError for a field that a client would misread.
    """
    fields = _id_line(id) + _event_line(event) + _retry_line(retry)
    # A line ends at CRLF, CR or LF only; str.splitlines() also splits at U+0085, U+2028 and more.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    try:
        return f"{fields}data: {lines}\n\n".encode()
    except UnicodeEncodeError as exc:
        raise FieldError(
            "The text holds a lone surrogate, which UTF-8 cannot carry: send it as JSON, which "
            "escapes it, or repair it with text.encode('utf-8', 'replace').decode()."
        ) from exc


def _id_line(id: str | None) -> str:
    if id is None:
        return ""
    if isinstance(id, str) and len(id) <= _ID_BYTES and _ID_CHARACTERS.issuperset(id):
        return f"id: {id}\n"
    raise FieldError(
        f"An id must be a str of at most {_ID_BYTES} printable ASCII characters, without spaces "
        f"and without {_CORS_UNSAFE}, not {id!r}."
    )


def _event_line(event: str | None) -> str:
    if event is None or event in ("", "message"):
        return ""
    if event in _RESERVED_EVENTS:
        raise FieldError(
            f"An event must not be called {event!r}, because EventSource fires that itself: rename"
            " it."
        )
    if isinstance(event, str) and _EVENT.fullmatch(event):
        return f"event: {event}\n"
    raise FieldError(
        f"An event must be a str without line ends, NUL and lone surrogates, not {event!r}."
    )


def _retry_line(retry: int | None) -> str:
    if retry is None:
        return ""
    if isinstance(retry, int) and not isinstance(retry, bool) and retry >= 0:
        return f"retry: {retry:d}\n"
    raise FieldError(f"retry must be a whole number of milliseconds, 0 or more, not {retry!r}.")


def check_free(event: str | None) -> None:
    """Raise FieldError for the name of an event that speaks of the stream itself."""
    if event in CONTROL_EVENTS:
        raise FieldError(
            f"An event must not be called {event!r}, because the extension sends that itself:"
            f" rename it, or {CONTROL_EVENTS[event]}."
        )


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """Data with SSE fields of its own, for a callback that needs more than a plain value.

    Raise FieldError for a field that `encode` would refuse.
    """

    #: Any JSON value; an object with `__html__` is raw.
    data: Any = ...
    _: KW_ONLY
    #: In place of `data`: text that is sent as it is, such as HTML.  Each of its lines becomes a
    #: `data:` line.
    raw: str | None = None
    #: The name that a browser listens to with `addEventListener`; None is "message".
    event: str | None = None
    #: The id that the browser sends back as `Last-Event-ID`; None leaves the last one as it was.
    id: str | None = None
    #: How many milliseconds the browser waits before it reconnects; None leaves it as it was.
    retry: int | None = None
    _text: str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Checked here and not when it is sent, so that the traceback shows the line that is wrong.
        _id_line(self.id)
        _event_line(self.event)
        _retry_line(self.retry)
        check_free(self.event)
        if (self.raw is None) == (self.data is ...):
            raise FieldError("An event has either data or raw=text: give one of them.")
        raw = raw_of(self.data) if self.raw is None else check_raw(self.raw)
        if raw is not None:
            object.__setattr__(self, "_text", raw)

    @property
    def is_raw(self) -> bool:
        """Whether the data is sent as it is, and not as JSON."""
        return self._text is not None

    def encode(self, *, default: Callable[[Any], Any] | None = None) -> bytes:
        """Write the event as one block; `default` is as in `dumps`."""
        text = dumps(self.data, default=default) if self._text is None else self._text
        return encode(text, event=self.event, id=self.id, retry=self.retry)


class Event(NamedTuple):
    """An event as a browser would dispatch it."""

    event: str
    data: str
    last_event_id: str


class Decoder:
    """Read a stream as a browser does (HTML 9.2.6), in chunks that may be cut anywhere.

    A block without its blank line is never dispatched.  So the caller drops the decoder at the end
    of a stream; there is nothing to flush.
    """

    def __init__(self) -> None:
        #: The value that a client would send as `Last-Event-ID`; "" before the first id.
        self.last_event_id = ""
        #: The reconnection time that the stream asked for, in milliseconds.
        self.retry: int | None = None
        #: How many comment lines have arrived.
        self.comments = 0
        self._open_line = bytearray()
        self._first_line = True
        self._after_cr = False
        self._event = ""
        self._id = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes, and return the events that they complete."""
        if not data:
            return []
        # A CR ends its line at once, because the LF that may belong to it may never arrive; if it
        # arrives in the next chunk, it is skipped.
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        *lines, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if lines:
            lines[0] = self._close_line(lines[0])
        self._open_line += rest
        return [event for line in lines if (event := self._take(line)) is not None]

    def _close_line(self, rest: bytes) -> bytes:
        # A bytearray, because `bytes += bytes` would copy a long line again with each chunk.
        line = bytes(self._open_line + rest)
        self._open_line.clear()
        if self._first_line:
            self._first_line = False
            return line.removeprefix(_BOM)
        return line

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            self.comments += 1
            return None
        # A longer UTF-8 sequence contains no CR, LF or colon, so each line can be decoded alone.
        name, _, value = line.decode("utf-8", "replace").partition(":")
        self._set(name, value.removeprefix(" "))
        return None

    def _set(self, name: str, value: str) -> None:
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _RETRY.fullmatch(value):
            self.retry = int(value)

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        data, self._data = self._data, []
        name, self._event = self._event or "message", ""
        return Event(name, "\n".join(data), self.last_event_id) if data else None


# One frame as `encode` writes it, of one line of data and without an id.
_FRAME = re.compile(rb"(?:event: ([^\r\n]*)\n)?(?:retry: [0-9]+\n)?data: ([^\r\n]*)\n\n")


def read(frame: bytes) -> tuple[str, str]:
    """Return the event name and the data of the first event of a frame; ("message", "") of none."""
    found = _FRAME.fullmatch(frame)
    if found is not None:
        name, data = found.groups()
        return (name.decode("utf-8", "replace") if name else "message"), data.decode(
            "utf-8", "replace"
        )
    events = decode(frame)
    return events[0][:2] if events else ("message", "")


def decode(data: bytes) -> list[Event]:
    """Return the events of a whole stream, or of a frame."""
    return Decoder().feed(data)
