"""From the arguments of `emit` to the message that the broker publishes; all checks are here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from .broker import Outgoing
from .channels import check_name, written
from .exceptions import FieldError
from .settings import Settings
from .wire import ServerSentEvent
from .wire.data import MARK


class EmitOptions(TypedDict, total=False):
    """The options of `emit` that other ways to emit have, too."""

    #: How long browsers wait before they reconnect, in milliseconds.
    retry: int | None
    #: False does not keep the event for clients that reconnect.
    persist: bool
    #: The value that the event updates, for streams with `overflow="latest"`.
    key: str | None


def outgoing(
    channel: str,
    data: Any,
    *,
    event: str | None = None,
    retry: int | None = None,
    key: str | None = None,
    default: Callable[[Any], Any] | None = None,
    max_event: int = Settings.max_event,
) -> Outgoing:
    """Encode an event; raise `ChannelError` or `FieldError` for one that cannot be sent."""
    if not isinstance(data, ServerSentEvent):
        data = ServerSentEvent(data, event=event, retry=retry)
    if data.id is not None:
        raise FieldError("An emitted event gets its id from Redis; leave out id=.")
    frame = data.encode(default=default)
    if len(frame) > max_event:
        raise FieldError(
            f"The event has {len(frame)} bytes, and REDIS_EVENTS_MAX_EVENT allows {max_event}: emit"
            " an id or a URL by which the page fetches the data, or raise the setting."
        )
    return Outgoing(name(channel), MARK + frame if data.is_raw else frame, _key(key))


def name(channel: str) -> str:
    """Return the channel's exact name, as it is on Redis."""
    return check_name(written(channel))


def pair(given: object) -> tuple[str, Any]:
    """Return one of the pairs that `emit_many` is given."""
    if isinstance(given, (tuple, list)) and len(given) == 2:
        return given[0], given[1]
    raise FieldError(f"emit_many takes (channel, data) pairs, not {given!r}.")


def _key(key: str | None) -> str | None:
    if key is not None and (not isinstance(key, str) or not key or any(c in key for c in "\r\n\0")):
        raise FieldError(f"key must be a str without line ends, not {key!r}.")
    return key
