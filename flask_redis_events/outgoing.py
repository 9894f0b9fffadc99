"""From the arguments of `emit` to the message that the broker publishes; all checks are here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypedDict, cast

from .broker import KEEP, Outgoing
from .channels import LONGEST, check_name, written
from .exceptions import FieldError
from .settings import Settings
from .wire import ServerSentEvent, sse
from .wire.data import MARK, dumps, raw_of

_KEY = re.compile(r"[^\r\n\0\ud800-\udfff]+")


class KeyOptions(TypedDict, total=False):
    """The options of `emit` that each event of `emit_many` may have."""

    #: How long browsers wait before they reconnect, in milliseconds.
    retry: int | None
    #: The value that the event updates, for streams with `overflow="latest"`, and for `keep`.
    key: str | None
    #: "latest" keeps the event as the newest one of its key, for streams with `backlog="state"`.
    keep: Literal["latest"] | None


class EmitOptions(KeyOptions, total=False):
    """The options of `emit` that other ways to emit have, too."""

    #: False does not keep the event for clients that reconnect.
    persist: bool


class EventOptions(KeyOptions, total=False):
    """The options of one event of `emit_many`."""

    #: The SSE event name.
    event: str | None


def outgoing(
    channel: str,
    data: Any,
    *,
    event: str | None = None,
    retry: int | None = None,
    persist: bool = True,
    key: str | None = None,
    keep: str | None = None,
    default: Callable[[Any], Any] | None = None,
    max_event: int = Settings.max_event,
) -> Outgoing:
    """Encode an event; raise `ChannelError` or `FieldError` for one that cannot be sent."""
    if isinstance(data, ServerSentEvent):
        if data.id is not None:
            raise FieldError("An emitted event gets its id from Redis; leave out id=.")
        is_raw, frame = data.is_raw, data.encode(default=default)
    else:
        # Of every event a ServerSentEvent could be made, but that takes as long as all the rest.
        sse.check_free(event)
        raw = raw_of(data)
        is_raw, text = raw is not None, dumps(data, default=default) if raw is None else raw
        frame = sse.encode(text, event=event, retry=retry)
    if len(frame) > max_event:
        raise FieldError(
            f"The event has {len(frame)} bytes, and REDIS_EVENTS_MAX_EVENT allows {max_event}: emit"
            " an id or a URL by which the page fetches the data, or raise the setting."
        )
    frame = MARK + frame if is_raw else frame
    return Outgoing(name(channel), frame, _key(key), _keep(keep, key, persist=persist))


def name(channel: str) -> str:
    """Return the channel's exact name, as it is on Redis."""
    return check_name(written(channel))


def entry(given: object) -> tuple[str, Any, EventOptions]:
    """Return one of the events that `emit_many` is given."""
    if isinstance(given, (tuple, list)) and len(given) in (2, 3):
        channel, data, options = (*given, {})[:3]
        if isinstance(options, dict) and options.keys() <= EventOptions.__annotations__.keys():
            return channel, data, cast(EventOptions, options)
    raise FieldError(
        "emit_many takes (channel, data) pairs, or (channel, data, options) with a dict of"
        f" {', '.join(EventOptions.__annotations__)}; not {given!r}."
    )


def _key(key: str | None) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise FieldError(
            "key must be a str that is not empty, without line ends, NUL and lone surrogates,"
            f" not {key!r}."
        )
    if (size := len(key.encode())) > LONGEST:
        raise FieldError(f"A key has {LONGEST} bytes at most; {key[:40]!r}… has {size}.")
    return key


def _keep(keep: str | None, key: str | None, *, persist: bool) -> str:
    if keep is None:
        return ""
    if keep != "latest":
        raise FieldError(f'keep must be "latest" or None, not {keep!r}.')
    if key is None:
        raise FieldError('keep="latest" needs key=: the value of which this is the newest event.')
    if not persist:
        raise FieldError(
            'keep="latest" needs persist=True: clients that come back get the event from history.'
        )
    return KEEP
