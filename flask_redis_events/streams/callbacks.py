"""The callback contract: a value is sent, None skips, False ends the stream for good.

Callbacks run in a short app context each, so that what they open (a database session) is closed
again at once.  One that raises is logged, counted, and its message skipped.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask

from .. import concurrency, signals
from ..exceptions import ConfigError
from ..hub import Hub
from ..options import Options
from ..wire.message import Message, Position
from ..wire.sse import ServerSentEvent

log = logging.getLogger("flask_redis_events")


def check_function(what: str, function: object) -> None:
    """Raise `ConfigError` unless it is what can be called here."""
    if not callable(function):
        raise ConfigError(f"{what} must be a function, not {function!r}.")
    for code in _code(function):
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            raise ConfigError(f"{what} cannot be async: write a plain function or generator.")


def is_generator(function: object) -> bool:
    """Say whether calling it makes a generator."""
    return any(map(inspect.isgeneratorfunction, _code(function)))


def _code(function: object) -> tuple[object, ...]:
    """Return where the code may be: in a function, or in the class of an object that is called."""
    return (function, type(function).__call__) if callable(function) else ()


class StreamEvent:
    """What a callback is given as `event`: the stream itself."""

    __slots__ = ("_sent", "_terminated", "channels", "last_event_id")

    def __init__(self, channels: Sequence[str], last_event_id: str | None) -> None:
        #: The stream's channels, as they were asked for.
        self.channels = tuple(channels)
        #: The id that the browser came back with; None on a first connect.
        self.last_event_id = last_event_id
        self._sent: list[ServerSentEvent] = []
        self._terminated = False

    def message(
        self,
        data: Any,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Send a value before whatever the callback returns.  `retry` is in milliseconds."""
        self._sent.append(ServerSentEvent(data, event=event, id=id, retry=retry))

    def terminate(self) -> None:
        """End the stream for good when the callback returns, as returning False does."""
        self._terminated = True

    def collect(self) -> tuple[list[ServerSentEvent], bool]:
        """Return what was sent since the last call, and whether the stream is to end."""
        sent, self._sent = self._sent, []
        terminated, self._terminated = self._terminated, False
        return sent, terminated


class Runner:
    """Runs an application's functions for one stream, and makes frames of what they say."""

    __slots__ = ("_default", "app", "ended", "event", "finalizers", "hub")

    def __init__(self, hub: Hub, app: Flask, event: StreamEvent) -> None:
        self.hub = hub
        self.app = app
        self.event = event
        #: Whether the application has ended the stream.
        self.ended = False
        #: What the application gave to `Response.call_on_close`.
        self.finalizers: Sequence[Callable[[], Any]] = ()
        self._default = getattr(app.json, "default", None)

    def call(
        self,
        function: Callable[..., Any],
        *args: Any,
        position: Position | None = None,
        name: str | None = None,
    ) -> bytes:
        """Call with the arguments, and return the frames to send.

        `position` becomes the id of the last one: a client that gets only the first of them gets
        all of them again.  `name` is the event's, for a returned value that brings none.
        """
        try:
            with self.app.app_context():
                value = function(*args)
            return self.frames(value, position=position, name=name)
        except BaseException as error:
            # A gevent.Timeout and SystemExit are no Exception, and not to end what goes on here.
            if concurrency.ends_us(error):
                raise
            # What it had sent is skipped with its message; that it terminated is not.
            self.ended = self.ended or self.event.collect()[1]
            self.failed(error)
            return b""

    def frames(
        self, value: Any, *, position: Position | None = None, name: str | None = None
    ) -> bytes:
        """Make the frames of all that was sent, and of a returned value."""
        events, terminated = self.event.collect()
        self.ended = self.ended or terminated or value is False
        if isinstance(value, ServerSentEvent):
            events.append(value)
        elif value is not None and value is not False:
            events.append(ServerSentEvent(value, event=name))
        encoded = [event.encode(default=self._default) for event in events]
        if encoded and position is not None and events[-1].id is None:
            encoded[-1] = Message.numbered("", encoded[-1], position).frame
        return b"".join(encoded)

    def report_end(self, options: Options, reason: str, seconds: float) -> None:
        """Count and tell that the stream is over."""
        self.hub.metrics.count("closed", reason=reason)
        if options.on_close is not None:
            self._call_in_vain(options.on_close, self.event, reason)
        self.finalize()
        signals.tell(
            signals.stream_closed,
            self.app,
            channels=self.event.channels,
            reason=reason,
            seconds=seconds,
        )

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
        """Log and count an error of the application's."""
        self.hub.metrics.count("callback_failed")
        log.error("A callback on %s failed.", ", ".join(self.event.channels), exc_info=error)
        signals.tell(
            signals.callback_failed, self.app, channels=self.event.channels, exception=error
        )
