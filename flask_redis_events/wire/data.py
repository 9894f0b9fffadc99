"""The data of an event as text: JSON, or raw text that is sent as it is, such as HTML.

A worker that receives a message must know whether its data is raw, because raw text may happen to
be JSON.  So the emitter writes a comment before the frame of a raw event.  `EventSource` ignores
comments, a frame without the comment is as before, and the scripts on Redis need not know of it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from ..exceptions import FieldError

#: The comment before the frame of a message whose data is raw.
MARK = b":raw\n"


class Raw(str):
    """The data of a raw event, as application code is given it; sent again, it is raw again."""

    __slots__ = ()


def raw_of(value: object) -> str | None:
    """Return the text of a value that is sent as it is, and None for a value that is JSON.

    Raw values are `Raw` and everything that renders itself with `__html__`, as Markup does.
    """
    if isinstance(value, Raw):
        return value
    render = getattr(value, "__html__", None)
    return None if render is None else check_raw(render())


def check_raw(text: object) -> str:
    """Return the text; raise FieldError for a value that no client could read as it is."""
    if isinstance(text, bytes | bytearray):
        raise FieldError("Raw data must be a str, not bytes: write data.decode().")
    if not isinstance(text, str):
        raise FieldError(
            f"Raw data must be a str, not {text!r}: emit(channel, value) sends a value as JSON."
        )
    if "\0" in text:
        raise FieldError(
            "The raw text holds NUL, which HTML does not allow: remove it with"
            " text.replace('\\0', ''), or leave out raw= to send the text as JSON."
        )
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise FieldError(
            "The raw text holds a lone surrogate, which UTF-8 cannot carry: repair it with"
            " text.encode('utf-8', 'replace').decode(), or leave out raw= to send the text as JSON."
        ) from exc
    return text


def html_of(value: object) -> str:
    """Return HTML as text: a str, or what an object with `__html__` renders."""
    raw = raw_of(value)
    return check_raw(value) if raw is None else raw


def one_line(name: str, value: object) -> str:
    """Return an argument; raise FieldError if it could not stand in one line."""
    if isinstance(value, str) and value and not any(c in value for c in "\r\n\0"):
        return value
    raise FieldError(f"{name} must be a str of one line, not {value!r}.")


def dumps(value: object, *, default: Callable[[Any], Any] | None = None) -> str:
    """Write a value as one line of JSON; raise FieldError for a value that JSON does not have.

    `default` converts an object that JSON does not know into one that it knows, as in `json.dumps`.
    """
    try:
        text = _writer(default).encode(value)
    except TypeError as exc:
        if isinstance(value, bytes | bytearray | memoryview):
            raise FieldError(
                "bytes are no JSON: send data.decode() as a JSON string,"
                " ServerSentEvent(raw=data.decode()) for the text as it is, or"
                " base64.b64encode(data).decode() if the data is no text."
            ) from exc
        raise FieldError(
            f"The data cannot be written as JSON: {exc}. Convert it first, or name a default."
        ) from exc
    except ValueError as exc:
        raise FieldError(
            f"The data cannot be written as JSON: {exc}. JSON has no NaN, no infinity and "
            "nothing that contains itself: send None or a str in its place."
        ) from exc
    except RecursionError as exc:
        raise FieldError("The data is nested too deeply for JSON: send it flatter.") from exc
    # UTF-8 cannot encode a lone surrogate, but JSON can escape it; Python's escape is the same.
    return text.encode("utf-8", "backslashreplace").decode()


def text_of(value: object, *, default: Callable[[Any], Any] | None = None) -> str:
    """Write a value as the text of an event: raw data as it is, any other as `dumps` does."""
    raw = raw_of(value)
    return dumps(value, default=default) if raw is None else raw


@functools.lru_cache(maxsize=16)
def _writer(default: Callable[[Any], Any] | None) -> json.JSONEncoder:
    # `json.dumps` would make one for every value.
    return json.JSONEncoder(
        allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=default
    )
