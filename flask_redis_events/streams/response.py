"""From a request to a response: which stream it is to be, or why there is none."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from flask import Response, request

from .. import options
from ..application import State
from ..channels import Channel
from ..clients.subscription import Subscription
from ..concurrency import jitter
from ..exceptions import ConfigError
from ..server.client_socket import ClientSocket
from ..server.gunicorn import gunicorn_response
from ..wire import control
from .callbacks import Runner, StreamEvent, check_function, is_generator
from .channel_stream import ChannelStream
from .poll import OnPoll, PollStream, Producer, SharedPollStream
from .pull import PullStream
from .relay import Relay, SharedStream
from .stream import Stream

CONTENT_TYPE = "text/event-stream"
#: No hop-by-hop header among them: WSGI does not allow an application to set those.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def channel_stream(
    state: State, channels: tuple[Channel, ...], callback: Any, given: Mapping[str, Any]
) -> Response:
    """Respond with messages of channels: passed through, or by a callback or a generator."""
    if callback is not None:
        check_function("A stream's callback", callback)
    chosen = options.complete(given, state.settings)
    numbered = chosen.history and state.settings.history > 0

    def mailbox(on: tuple[Channel, ...], *, held: bool) -> Subscription:
        return Subscription(
            on, limit=chosen.buffer, overflow=chosen.overflow, held=held, numbered=numbered
        )

    event = StreamEvent([channel.name for channel in channels], _last_event_id())
    if chosen.shared and callback is not None:
        return _shared_stream(state, channels, callback, chosen, event)
    inbox = mailbox(channels, held=True)
    runner = Runner(state.hub, state.app, event)
    if is_generator(callback):
        outbox = mailbox((), held=False)
        return _respond(
            state,
            PullStream(runner, outbox, chosen, request.environ, inbox=inbox, function=callback),
        )
    return _respond(state, ChannelStream(runner, inbox, chosen, request.environ, callback=callback))


def _shared_stream(
    state: State,
    channels: tuple[Channel, ...],
    callback: Any,
    chosen: options.Options,
    event: StreamEvent,
) -> Response:
    if is_generator(callback):
        raise ConfigError("A generator function cannot be shared: it waits for one client.")
    heard = frozenset(channels)

    def make() -> Relay:
        own = Runner(state.hub, state.app, StreamEvent(event.channels, None))
        return Relay(own, heard, callback, chosen)

    # A mailbox of the relay's channel is made when the relay is known, at the first byte.
    stream = SharedStream(
        Runner(state.hub, state.app, event),
        Subscription(
            limit=chosen.buffer,
            overflow=chosen.overflow,
            held=True,
            numbered=chosen.history and state.settings.history > 0,
        ),
        chosen,
        request.environ,
        relays=state.relays,
        key=(_key(), heard, chosen.history),
        make=make,
    )
    return _respond(state, stream)


def _key() -> Hashable:
    """Name this endpoint with its URL's values: what is shared is shared among its clients."""
    values = (request.view_args or {}).items()
    return (request.endpoint, *sorted((name, repr(value)) for name, value in values))


def poll_stream(state: State, function: OnPoll, given: Mapping[str, Any]) -> Response:
    """Respond with what a function returns, again and again."""
    check_function("A poll", function)
    chosen = options.complete(given, state.settings)
    event = StreamEvent([request.path], _last_event_id())
    runner = Runner(state.hub, state.app, event)

    def mailbox(*on: Channel) -> Subscription:
        return Subscription(on, limit=chosen.buffer, overflow=chosen.overflow, numbered=False)

    if not chosen.shared:
        return _respond(
            state, PollStream(runner, mailbox(), chosen, request.environ, function=function)
        )
    producer = state.producers.get(_key(), lambda: Producer(runner, function, chosen.interval))
    own = Runner(state.hub, state.app, event)
    return _respond(
        state,
        SharedPollStream(
            own, mailbox(producer.channel), chosen, request.environ, producer=producer
        ),
    )


def _respond(state: State, stream: Stream) -> Response:
    """Start the stream, unless this client was told that it is over, or there is no room."""
    if control.is_end(stream.runner.event.last_event_id or ""):
        # The one status that makes an EventSource stop for good.
        return Response(status=204)
    if state.hub.draining or state.hub.full:
        return _turn_away(state, "draining" if state.hub.draining else "full")
    return _streaming(state.app.response_class)(
        stream, headers=HEADERS, content_type=CONTENT_TYPE, direct_passthrough=True
    )


def _turn_away(state: State, reason: str) -> Response:
    """Ask the client to come again: any status but 200 makes an EventSource give up."""
    state.hub.metrics.count("refused", reason=reason)
    if CONTENT_TYPE in request.accept_mimetypes.values():
        words = _last_words(state.hub.farewell(reason).data, request.environ)
        return state.app.response_class(words, headers=HEADERS, content_type=CONTENT_TYPE)
    seconds = round(jitter(state.settings.retry * 2, by=0.5)) or 1
    return Response(
        f"No room for one more stream: {reason}.\n",
        status=503,
        headers={"Retry-After": str(seconds)},
        content_type="text/plain; charset=utf-8",
    )


def _last_words(frame: bytes, environ: Mapping[str, Any]) -> Iterator[bytes]:
    yield frame
    # An idle connection takes a place in a full worker, too.
    client = ClientSocket.of(environ)
    if client is not None:
        client.finish()


def _streaming(kind: type[Response]) -> type[Response]:
    if kind not in _kinds:
        _kinds[kind] = type(kind.__name__, (_Streaming, kind), {})
    return _kinds[kind]


#: For each class of responses that applications use, the one whose body may be a stream.
_kinds: dict[type[Response], type[Response]] = {}


class _Streaming(Response):
    """A response that gunicorn writes the beginning of, and the hub, it may be, what follows."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        stream = self.response
        if isinstance(stream, Stream):
            # Werkzeug calls these for what it iterates over itself: for the answer to HEAD only.
            stream.runner.finalizers, self._on_close = self._on_close, []
            if stream.shareable and stream.hub.settings.handoff == "auto":
                stream.server_response = gunicorn_response(environ, start_response)
        return super().__call__(environ, start_response)


def _last_event_id() -> str | None:
    return request.headers.get("Last-Event-ID") or request.args.get("last_event_id") or None
