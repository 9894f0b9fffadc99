"""The ways to emit, which an application and an `Emitter` without Flask have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Unpack

from .asking import Asking
from .broker import REMOVE, Outgoing
from .channels import KICKS
from .commits import outbox
from .exceptions import ConfigError, FieldError
from .later import Sender
from .outgoing import EmitOptions, EventOptions, entry, name, outgoing
from .runs import MAX_BYTES, Run
from .touches import Touches
from .wire import ServerSentEvent, sse
from .wire.data import dumps, html_of


class Emitting(Asking):
    """What an `Emitter` and a `RedisEvents` both can do, through their broker."""

    @property
    def _default(self) -> Callable[[Any], Any] | None:
        """Turns what JSON does not know into what it does."""
        raise NotImplementedError

    @property
    def _max_event(self) -> int:
        """How many bytes an event may have."""
        raise NotImplementedError

    @property
    def _sender(self) -> Sender:
        """Sends what leaves later, when nobody waits for it."""
        raise NotImplementedError

    @property
    def _touches(self) -> Touches:
        """The channels that were touched lately, in this process."""
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
        keep: Literal["latest"] | None = None,
    ) -> str | None:
        """Send `data` to every browser on `channel`; return the event's id (None without history).

        `data` is any JSON value; an object with `__html__`, such as Markup, is sent as it is.
        `event` is the SSE event name, `retry` the reconnection time in milliseconds; `data` may be
        a `ServerSentEvent` that has them.  `persist=False`: not kept for those who come back.
        `key`: where a client's buffer is full and its overflow policy is "latest", a newer value of
        the same key takes an older one's place.  `keep="latest"`: a stream with `backlog="state"`
        begins with the newest event of each key.

        Raises `ChannelError` and `FieldError` for what cannot be sent, `BrokerError` without Redis,
        `StateFull` if there is no room for one more key.
        """
        message = self._outgoing(
            channel, data, event=event, retry=retry, persist=persist, key=key, keep=keep
        )
        return self._publish(message, persist=persist)

    def remove(
        self, channel: str, key: str, data: Any = None, *, event: str | None = None
    ) -> str | None:
        """Remove a key that `keep="latest"` has kept, and tell the pages; return the event's id.

        The pages get `data`; without it, an event named `remove` with the data `{"key": key}`.
        """
        if data is None:
            data, event = {"key": key}, event or "remove"
        message = self._outgoing(channel, data, event=event, key=key, keep="latest")
        return self._publish(message._replace(keep=REMOVE))

    def emit_html(
        self, channel: str, html: Any, event: str | None = None, **options: Unpack[EmitOptions]
    ) -> str | None:
        """Send HTML as it is, and not as a JSON string; the options are those of `emit`.

        `html` is a str, or an object with `__html__`.
        """
        retry = options.pop("retry", None)
        given = ServerSentEvent(raw=html_of(html), event=event, retry=retry)
        return self.emit(channel, given, **options)

    def emit_many(
        self,
        events: Iterable[tuple[str, Any] | tuple[str, Any, EventOptions]],
        *,
        persist: bool = True,
    ) -> list[str | None]:
        """Send many (channel, data) pairs in order, a thousand in a round trip; return their ids.

        A third element is a dict of options: `event`, `retry`, `key`, `keep`.  All are checked
        before the first one is sent.
        """
        messages = [
            self._outgoing(channel, data, persist=persist, **options)
            for channel, data, options in map(entry, events)
        ]
        if not messages:
            return []
        ids = self.broker.publish_many(messages, persist=persist)
        return [None if id is None else str(id) for id in ids]

    def emit_on_commit(
        self,
        session: Any,
        channel: str,
        data: Any,
        event: str | None = None,
        **options: Unpack[EmitOptions],
    ) -> None:
        """Emit once the outer transaction of an SQLAlchemy session is committed.

        The event is dropped if that transaction, or the SAVEPOINT in which it was emitted, is
        rolled back.  All events of one transaction leave in order, in one round trip.  The data is
        checked and encoded at once.  A failure after the commit raises nothing: it is logged,
        counted (`emit_failed`) and signalled.
        """
        message = self._outgoing(channel, data, event=event, **options)
        outbox(session).put(self._sender, message, persist=options.get("persist", True))

    def touch(self, channel: str) -> None:
        """Let the pages on a channel load what they show: emit an event named `refresh`.

        A channel has at most one such event a second from this process.  The last one is never
        left out, and leaves a second after the one before; then a failure raises nothing, as after
        a commit.
        """
        message = self._outgoing(channel, {}, event="refresh", key=f"refresh {channel}")
        if self._touches.touch(message):
            self._publish(message)

    def _outgoing(self, channel: str, data: Any, **options: Any) -> Outgoing:
        default, limit = self._default, self._max_event
        message = outgoing(channel, data, default=default, max_event=limit, **options)
        if message.keep and not self.broker.numbered:
            raise ConfigError(
                'keep="latest" needs a history: set REDIS_EVENTS_HISTORY to 1 or more.'
            )
        return message

    def _publish(self, message: Outgoing, *, persist: bool = True) -> str | None:
        channel, frame, key, keep = message
        id = self.broker.publish(channel, frame, persist=persist, key=key, keep=keep)
        return None if id is None else str(id)

    def run(
        self, channel: str, *, ttl: float = 3600.0, lease: float = 30.0, max_bytes: int = MAX_BYTES
    ) -> Run:
        """Produce a run on a channel: `with events.run("answer:42") as run: run.send("text")`.

        Its log is kept for `ttl` seconds after its end.  If this process dies, the run is `lost`
        `lease` seconds later.  Entering raises `RunActive` while another producer has the run.
        """
        return Run(
            self.broker,
            name(channel),
            ttl=ttl,
            lease=lease,
            max_bytes=max_bytes,
            encode=self._outgoing,
            default=self._default,
        )

    def request_stop(self, channel: str) -> bool:
        """Ask the run on a channel to stop, also one that has not begun; False if it is over."""
        return self.broker.runs.request_stop(name(channel))

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
        what = {"identity": identity, "channel": channel and name(channel)}
        self.broker.publish(KICKS, sse.encode(dumps({**what, "for_good": for_good})))
