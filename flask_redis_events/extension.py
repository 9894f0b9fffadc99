"""The Flask face: `init_app`, the decorators, the helpers, emitting."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from flask import Flask, Response, current_app, has_app_context

from .application import Application
from .attributes import Attributes
from .broker import Broker
from .channels import PRESENCE, Channel, Template, parse_all, written
from .concurrency import check_patches
from .emitting import Emitting
from .exceptions import ChannelError, SetupError
from .functions import check_plain
from .hub import Hub
from .later import Sender
from .listener import OnEvent
from .module import Page, register
from .options import PollOptions, StreamOptions, check
from .settings import Settings, without_password
from .streams import response
from .streams.poll import OnPoll
from .streams.producer import OnMessage
from .streams.views import View, check_route, decorator, fill, is_callback, is_channels
from .touches import Touches

NAME = "redis_events"
OnPresence = Callable[[str, str, str], Any]


class RedisEvents(Emitting, Page, Attributes):
    """Real-time events for a Flask application: streams to browsers, `emit` from anywhere.

    `redis` is a redis-py client to take the connection's settings from, in place of
    `REDIS_EVENTS_URL`; its own connections stay free.
    """

    def __init__(self, app: Flask | None = None, *, redis: object = None) -> None:
        self._redis = redis
        self._listeners: list[tuple[tuple[Channel, ...], OnEvent]] = []
        self._applications: weakref.WeakKeyDictionary[Flask, Application] = (
            weakref.WeakKeyDictionary()
        )
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Check the settings and register with the app; nothing connects, locks or starts here."""
        if not isinstance(app, Flask):
            raise SetupError(
                f"init_app takes the Flask application, not {without_password(repr(app))}; Redis'"
                " URL goes into"
                " app.config['REDIS_EVENTS_URL']."
            )
        check_patches()
        if NAME in app.extensions:
            raise SetupError(
                f"Flask-Redis-Events is initialised for {app.name!r} already: call init_app once."
            )
        application = Application(app, Settings.from_config(app.config), self._redis)
        # First what Flask may refuse, as it does after the first request.
        app.before_request(self.start)
        app.before_request(check_route)
        register(app, self)
        app.extensions[NAME] = self
        self._applications[app] = application

    def start(self) -> None:
        """Start the `on` listeners in this process; a worker's first request does it otherwise."""
        if self._listeners:
            self._application.start(self._listeners)

    @property
    def broker(self) -> Broker:
        """The broker of the current app."""
        return self._application.emitter.broker

    @property
    def _default(self) -> Callable[[Any], Any] | None:
        return self._application.emitter._default

    @property
    def _max_event(self) -> int:
        return self._application.settings.max_event

    @property
    def _sender(self) -> Sender:
        application = self._application
        return Sender(application.emitter.broker, application.reports)

    @property
    def _touches(self) -> Touches:
        return self._application.emitter.touches(self._sender)

    @property
    def hub(self) -> Hub:
        """The hub of the current app in this process, for its metrics."""
        return self._application.hub

    @property
    def _application(self) -> Application:
        app = self._app()
        application = self._applications.get(app)
        if application is not None:
            return application
        if NAME in app.extensions:
            raise SetupError(
                f"{app.name!r} has another RedisEvents: use app.extensions['redis_events']."
            )
        raise SetupError(
            f"This RedisEvents is not initialised for {app.name!r}: call events.init_app(app)."
        )

    def _app(self) -> Flask:
        if has_app_context():
            return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
        apps = list(self._applications)
        if len(apps) == 1:
            return apps[0]
        if not apps:
            raise SetupError("RedisEvents has no application yet: call events.init_app(app).")
        raise SetupError("RedisEvents has several applications: say which, with app.app_context().")

    # -- streams -----------------------------------------------------------------------------------

    def stream(self, *channels: str, **options: Unpack[StreamOptions]) -> Callable[[View], View]:
        """Make a view a stream of channels, which may hold `{names}` of the URL's values.

        The view runs first: it may abort or return a response (the stream is refused), return a
        callback or a generator function, or the channels as a str or a list of str.
        """
        templates = [Template(channel) for channel in channels]
        checked = check(options, StreamOptions)
        label = " ".join(channels)

        def respond(result: Any, values: dict[str, Any]) -> Any:
            if isinstance(result, str) or is_channels(result):
                return self._stream(parse_all(result), None, checked)
            if result is None or is_callback(result):
                return self._stream(fill(templates, values), result, checked, label=label)
            return result

        return decorator(respond)

    def stream_response(
        self,
        channels: str | Sequence[str],
        on_message: Callable[..., Any] | None = None,
        **options: Unpack[StreamOptions],
    ) -> Response:
        """Return a stream of channels from inside any view; the options are those of `stream`."""
        return self._stream(parse_all(channels), on_message, check(options, StreamOptions))

    def _stream(
        self,
        channels: tuple[Channel, ...],
        callback: Any,
        options: dict[str, Any],
        *,
        label: str = "",
    ) -> Response:
        if not channels:
            raise ChannelError(
                "The stream has no channels: name them in @events.stream(…), or return them."
            )
        return response.channel_stream(self._application, channels, callback, options, label)

    def poll(self, **options: Unpack[PollOptions]) -> Callable[[View], View]:
        """Make a view a stream of what a function returns; the view returns the function.

        It is called with the stream at once and then every `interval` (1.0) seconds.  `shared`: for
        all clients of a worker that have the same URL (True), or the same key (a function).
        """
        checked = check(options, PollOptions)

        def respond(result: Any, values: dict[str, Any]) -> Any:
            if is_callback(result):
                return response.poll_stream(self._application, result, checked)
            return result

        return decorator(respond)

    def poll_response(self, function: OnPoll, **options: Unpack[PollOptions]) -> Response:
        """Return such a stream from inside any view; the options are those of `poll`."""
        return response.poll_stream(self._application, function, check(options, PollOptions))

    # -- listeners ---------------------------------------------------------------------------------

    def on(self, *channels: str) -> Callable[[OnEvent], OnEvent]:
        """Call `f(channel, message)` in each worker for what is emitted, in an app context."""
        parsed = parse_all([written(channel) for channel in channels])

        def decorate(function: OnEvent) -> OnEvent:
            check_plain("A listener", function)
            self._listeners.append((parsed, function))
            return function

        return decorate

    def on_presence(self, *channels: str) -> Callable[[OnPresence], OnPresence]:
        """Call `f(channel, identity, event)` in each worker when an identity comes or goes.

        `event` is "join" or "leave"; the channels may be patterns.
        """
        parsed = tuple(
            Channel(PRESENCE + channel.name, channel.pattern)
            for channel in parse_all([written(one) for one in channels])
        )

        def decorate(function: OnPresence) -> OnPresence:
            check_plain("A listener", function)

            def tell(_: str, told: dict[str, str]) -> None:
                function(told["channel"], told["identity"], told["event"])

            self._listeners.append((parsed, tell))
            return function

        return decorate


def _current() -> RedisEvents:
    events = current_app.extensions.get(NAME)
    if not isinstance(events, RedisEvents):
        raise SetupError(
            f"Flask-Redis-Events is not initialised for {current_app.name!r}:"
            " call RedisEvents(app), or events.init_app(app)."
        )
    return events


def redis_event(
    channels: str | Sequence[str], on_message: OnMessage | None = None, **options: Any
) -> Response:
    """Return a stream of channels for the current app; see `RedisEvents.stream_response`."""
    return _current().stream_response(channels, on_message, **options)


def server_event(function: OnPoll, *, interval: float = 1.0, **options: Any) -> Response:
    """Return a stream of what a function returns, for the current app; see `poll_response`."""
    return _current().poll_response(function, interval=interval, **options)


def emit(channel: str, data: Any, **options: Any) -> str | None:
    """Send `data` to every browser on `channel`, for the current app; see `Emitter.emit`."""
    return _current().emit(channel, data, **options)
