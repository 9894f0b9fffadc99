"""The callback contract: a value is sent, None skips, False ends the stream for good.

Each callback runs in a short app context of its own, so that what it opens (a database session) is
closed again at once.  A callback that raises is logged and counted, and its message is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from flask import Flask

from .. import concurrency, endings
from ..clients.outcomes import fingerprint_of, is_sent_alike
from ..endings import Ending
from ..hub import Hub
from ..options import Options
from ..wire import Batch, Message, Position, ServerSentEvent, sse
from ..wire.data import text_of
from ..wire.message import number
from ..workers.worker import EVERYWHERE

T = TypeVar("T")

#: What a callback makes of a message that it skips.
NOTHING = Batch()


class StreamEvent:
    """What a callback is given as `event`: the stream itself."""

    __slots__ = (
        *("_sent", "_terminated", "asked_at", "channels", "identity", "label", "last_event_id"),
        "whose",
    )

    def __init__(
        self,
        channels: Sequence[str],
        last_event_id: str | None,
        *,
        identity: str | None = None,
        label: str = "",
        whose: Hashable = None,
        asked_at: float = 0.0,
    ) -> None:
        #: The stream's channels, as they were asked for.
        self.channels = tuple(channels)
        #: The id that the browser came back with; None on a first connect.
        self.last_event_id = last_event_id
        #: Who the client is, as the option `identity` says; None if it says nothing.
        self.identity = identity
        #: What stands for the channels in statistics: their templates, or the view's name.
        self.label = label
        #: The identity or address whose streams are counted; None where their number has no limit.
        self.whose = whose
        #: When the view was called that let the client in, in monotonic seconds.
        self.asked_at = asked_at
        self._sent: list[ServerSentEvent] | None = None
        self._terminated = False

    def message(
        self,
        data: Any,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Send a value before whatever the callback returns.  `retry` is in milliseconds."""
        sent = ServerSentEvent(data, event=event, id=id, retry=retry)
        self._sent = [*(self._sent or ()), sent]

    def terminate(self) -> None:
        """End the stream for good when the callback returns, as returning False does."""
        self._terminated = True

    @property
    def silent(self) -> bool:
        """Whether nothing was sent, nor ended, since the last call."""
        return self._sent is None and not self._terminated

    def collect(self) -> tuple[list[ServerSentEvent], bool]:
        """Return what was sent since the last call, and whether the stream is to end."""
        sent, terminated = self._sent or [], self._terminated
        self._sent, self._terminated = None, False
        return sent, terminated


class Runner:
    """Runs an application's functions for one stream, and makes frames of what they say."""

    __slots__ = ("_default", "_hub", "_places", "app", "ended", "event", "finalizers")

    def __init__(self, app: Flask, event: StreamEvent, hub: Hub) -> None:
        self.app = app
        self.event = event
        self._hub = hub
        #: The channels on which others see that the client is there.
        self._places: Sequence[str] = ()
        #: Whether the application has ended the stream.
        self.ended = False
        #: What the application gave to `Response.call_on_close`.
        self.finalizers: Sequence[Callable[[], Any]] = ()
        self._default = getattr(app.json, "default", None)

    def call(self, function: Callable[..., Any], *args: Any) -> bytes:
        """Call a function, and return the frames to send."""
        return self._attempt(self._call, function, args) or b""

    def render(self, callback: Callable[..., Any], message: Message, *, numbered: bool) -> Batch:
        """Call a callback for a message, and return what it makes of it, with the message's id."""
        return self._attempt(self._render, callback, message, numbered) or NOTHING

    def _call(self, function: Callable[..., Any], args: Sequence[Any]) -> bytes:
        with self.app.app_context():
            value = function(*args)
        return self.frames(value)

    def _render(self, callback: Callable[..., Any], message: Message, numbered: bool) -> Batch:
        with self.app.app_context():
            value = callback(message.channel, message.value, self.event)
        return self.outcome(value, message, numbered=numbered, name=message.event)

    def outcome(
        self, value: Any, message: Message, *, numbered: bool, name: str | None = None
    ) -> Batch:
        """Return what was made of a message, with the message's id; see `frames`."""
        if not self.event.silent or value is False:
            return self._made_of(message, value, numbered, name)
        if value is None:
            return NOTHING
        fingerprint = fingerprint_of(value)
        if fingerprint is None:
            return self._made_of(message, value, numbered, name)
        key = (numbered, name, fingerprint)
        made = self._hub.outcomes.get(message, key)
        if made is None:
            made = self._made_of(message, value, numbered, name)
            if is_sent_alike(value):
                self._hub.outcomes.put(message, key, made)
        return made

    def _made_of(self, message: Message, value: Any, numbered: bool, name: str | None) -> Batch:
        id = message.id if numbered else None
        frames = self.frames(value, position=id, name=name)
        return Batch([Message(message.channel, frames, id=id, key=message.key)] if frames else ())

    def _attempt(self, do: Callable[..., T], *args: Any) -> T | None:
        try:
            return do(*args)
        except BaseException as error:
            # A gevent.Timeout and SystemExit are no Exception, and must not end what goes on here.
            if concurrency.is_exit(error):
                raise
            # What the function had sent is skipped with its message; that it terminated is not.
            self.ended = self.ended or self.event.collect()[1]
            self.failed(error)
            return None

    def frames(
        self, value: Any, *, position: Position | None = None, name: str | None = None
    ) -> bytes:
        """Make the frames of all that was sent, and of a returned value.

        `position` becomes the id of the last frame, so that a client which gets only the first of
        them gets all of them again.  `name` is the event's, for a returned value that brings none.
        """
        sent, terminated = self.event.collect()
        if terminated or value is False:
            self.ended = True
        if isinstance(value, ServerSentEvent):
            sent.append(value)
        frames = [event.encode(default=self._default) for event in sent]
        own_id = sent[-1].id if sent else None
        if value is not None and value is not False and not isinstance(value, ServerSentEvent):
            frames.append(sse.encode(text_of(value, default=self._default), event=name))
            own_id = None
        if frames and position is not None and own_id is None:
            frames[-1] = number(frames[-1], position)
        return b"".join(frames)

    def ask(self, function: Callable[[StreamEvent], object]) -> bool | None:
        """Return what a function says of the stream, yes or no; None if it fails."""
        return self._attempt(self._ask, function)

    def _ask(self, function: Callable[[StreamEvent], object]) -> bool:
        with self.app.app_context():
            return bool(function(self.event))

    def report_presence(self, options: Options) -> None:
        """Let others see that the client is there."""
        if self.event.identity is not None:
            self._places = (EVERYWHERE, *self.event.channels) if options.presence else (EVERYWHERE,)
            self._hub.worker.add(self._places, self.event.identity)

    def report_end(self, options: Options, ending: Ending, seconds: float) -> None:
        """Tell the application, and all who want to know, that the stream is over."""
        if ending in endings.REFUSALS:
            # It was never open.
            self.finalize()
            return
        if options.on_close is not None:
            self._call_in_vain(options.on_close, self.event, ending.reason)
        self.finalize()
        self._hub.reports.closed(self.event.channels, ending, seconds)
        if self.event.identity is not None:
            self._hub.worker.remove(self._places, self.event.identity)

    def finalize(self) -> None:
        """Call what the application wants to have called at the end of the response."""
        finalizers, self.finalizers = self.finalizers, ()
        for function in finalizers:
            self._call_in_vain(function)

    def _call_in_vain(self, function: Callable[..., Any], *args: Any) -> None:
        """Call when nobody is left to be sent anything."""

        def say_nothing() -> None:
            function(*args)

        self.call(say_nothing)

    def failed(self, error: BaseException) -> None:
        """Report an error of the application's."""
        self._hub.reports.callback_failed(self.event.channels, error)
