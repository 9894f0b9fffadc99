"""Emit events and read what is kept of them, with Flask or without it.

Celery tasks, cron jobs and scripts reach the same browsers as the web workers do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypedDict, Unpack

from . import settings
from .broker import Broker, open_broker
from .channels import KICKS, Channel, check_name, written
from .exceptions import ConfigError, FieldError
from .settings import Settings
from .wire import Position, ServerSentEvent, sse
from .wire.data import MARK, dumps, raw_of
from .workers.worker import EVERYWHERE


class EmitOptions(TypedDict, total=False):
    """The options of `emit` that other ways to emit have, too."""

    #: How long browsers wait before they reconnect, in milliseconds.
    retry: int | None
    #: False does not keep the event for clients that reconnect.
    persist: bool
    #: The value that the event updates, for streams with `overflow="latest"`.
    key: str | None


class HistoricEvent(NamedTuple):
    """An event as it was emitted: its id, channel, SSE event name, and data."""

    id: str
    channel: str
    event: str | None
    data: Any


class Emitting:
    """What an `Emitter` and a `RedisEvents` both can do, through their broker."""

    @property
    def broker(self) -> Broker:
        raise NotImplementedError

    @property
    def _default(self) -> Callable[[Any], Any] | None:
        """Turns what JSON does not know into what it does."""
        raise NotImplementedError

    def emit(
        self,
        channel: str,
        data: Any,
        *,
        event: str | None = None,
        retry: int | None = None,
        persist: bool = True,
        key: str | None = None,
    ) -> str | None:
        """Send `data` to every browser on `channel`; return the event's id (None without history).

        `data` is any JSON value; an object with `__html__`, such as Markup, is sent as it is.
        `event` is the SSE event name, `retry` the reconnection time in milliseconds; `data` may be
        a `ServerSentEvent` that has them.  `persist=False`: not kept for those who come back.
        `key`: where a client's buffer is full and its overflow policy is "latest", a newer value of
        the same key takes an older one's place.

        Raises `ChannelError` and `FieldError` for what cannot be sent, `BrokerError` without Redis.
        """
        if not isinstance(data, ServerSentEvent):
            data = ServerSentEvent(data, event=event, retry=retry)
        frame = self._frame(data)
        id = self.broker.publish(_name(channel), frame, persist=persist, key=_key(key))
        return None if id is None else str(id)

    def emit_html(
        self, channel: str, html: Any, event: str | None = None, **options: Unpack[EmitOptions]
    ) -> str | None:
        """Send HTML as it is, and not as a JSON string; the options are those of `emit`.

        `html` is a str, or an object with `__html__`.
        """
        rendered = raw_of(html)
        raw = html if rendered is None else rendered
        retry = options.pop("retry", None)
        return self.emit(channel, ServerSentEvent(raw=raw, event=event, retry=retry), **options)

    def emit_many(
        self, events: Iterable[tuple[str, Any]], *, persist: bool = True
    ) -> list[str | None]:
        """Send many (channel, data) pairs in order, in one round trip; return their ids.

        `data` may be a `ServerSentEvent`, to give it an event name.  All are checked before the
        first one is sent.
        """
        messages = [(_name(channel), self._frame(data)) for channel, data in map(_pair, events)]
        if not messages:
            return []
        ids = self.broker.publish_many(messages, persist=persist)
        return [None if id is None else str(id) for id in ids]

    def _frame(self, data: Any) -> bytes:
        event = data if isinstance(data, ServerSentEvent) else ServerSentEvent(data)
        if event.id is not None:
            raise FieldError("An emitted event gets its id from Redis; leave out id=.")
        frame = event.encode(default=self._default)
        return MARK + frame if event.is_raw else frame

    def history(
        self, channel: str, *, after: str | None = None, limit: int = 100
    ) -> list[HistoricEvent]:
        """Return what is kept of a channel (or a pattern): the last `limit`, oldest first.

        `after`: an id; then the first `limit` after it.  Raises `BrokerError` without Redis.
        """
        parsed = Channel.parse(written(channel))
        cursor = Position.parse(after) if after is not None else None
        if after is not None and cursor is None:
            raise FieldError(f"after= takes an id like '1795420087121-0', not {after!r}.")
        if not isinstance(limit, int) or limit < 1:
            raise FieldError(f"limit= must be a whole number, 1 or more, not {limit!r}.")
        if not self.broker.numbered:
            return []
        snapshot = self.broker.replay([parsed], after=cursor, last=limit, limit=limit)
        return [
            HistoricEvent(str(message.id), message.channel, message.event, message.value)
            for message in snapshot.messages[:limit]
        ]

    def present(self, channel: str) -> dict[str, int]:
        """Return who is on a channel: identity -> number of streams, over all workers.

        0 streams: the identity has left, and may be back in a moment.
        """
        return self.broker.people.present(_name(channel))

    def clients(self) -> dict[str, int]:
        """Return all identities that have streams, with their numbers, over all workers."""
        return self.broker.people.present(EVERYWHERE)

    def workers(self) -> list[dict[str, Any]]:
        """Return what each worker says of itself."""
        return [json.loads(text) for text in self.broker.people.leases()]

    def disconnect(
        self, *, identity: str | None = None, channel: str | None = None, for_good: bool = True
    ) -> None:
        """End the streams of an identity, or on a channel, in all workers within a second.

        For good: the browser gets `end`, and stays away until its page opens a stream anew.
        Otherwise it gets `reconnect`, comes back, and its view is asked again.
        """
        given = [value for value in (identity, channel) if value is not None]
        if len(given) != 1 or not isinstance(given[0], str) or not given[0]:
            raise FieldError("disconnect() takes identity= or channel=, a str that is not empty.")
        if not self.broker.numbered:
            raise ConfigError(
                "disconnect() needs a history: set REDIS_EVENTS_HISTORY to 1 or more, as the"
                " request to disconnect is an event that workers must be able to trust."
            )
        what = {"identity": identity, "channel": channel and _name(channel)}
        self.broker.publish(KICKS, sse.encode(dumps({**what, "for_good": for_good})))


class Emitter(Emitting):
    """Sends events through a Redis; the arguments are the settings of the same names.

    `redis` is a redis-py client to take the connection's settings from, in place of `url`;
    `default` turns what JSON does not know into what it does, as in `json.dumps`.
    """

    def __init__(
        self,
        url: str = Settings.url,
        *,
        prefix: str = Settings.prefix,
        history: int = Settings.history,
        history_ttl: float = Settings.history_ttl,
        silence_ttl: float = Settings.silence_ttl,
        secret: str = Settings.secret,
        redis: object = None,
        default: Callable[[Any], Any] | None = None,
    ) -> None:
        self._own_default = default
        self._broker = open_broker(
            settings.url("url", url),
            prefix=settings.prefix("prefix", prefix),
            history=settings.count("history", history),
            history_ttl=settings.seconds("history_ttl", history_ttl),
            silence_ttl=settings.seconds("silence_ttl", silence_ttl),
            secret=settings.secret("secret", secret),
            client=redis,
        )

    @property
    def broker(self) -> Broker:
        """The broker of this emitter."""
        return self._broker

    @property
    def _default(self) -> Callable[[Any], Any] | None:
        return self._own_default

    def close(self) -> None:
        """Close its connections; the next emit opens new ones."""
        self.broker.close()


def _name(channel: str) -> str:
    return check_name(written(channel))


def _pair(given: object) -> tuple[str, Any]:
    if isinstance(given, (tuple, list)) and len(given) == 2:
        return given[0], given[1]
    raise FieldError(f"emit_many takes (channel, data) pairs, not {given!r}.")


def _key(key: str | None) -> str | None:
    if key is not None and (not isinstance(key, str) or not key or any(c in key for c in "\r\n\0")):
        raise FieldError(f"key must be a str without line ends, not {key!r}.")
    return key
