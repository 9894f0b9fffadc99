"""From a request to a response: which kind of stream it starts, or why it starts none."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from flask import Flask, Response, request

from .. import endings, options
from ..application import Application
from ..channels import PRESENCE, Channel
from ..clients import Finite, Stateful, Subscription
from ..concurrency import TURN, jitter
from ..endings import Ending
from ..exceptions import BrokerError, ConfigError, FieldError
from ..functions import check_function, codes_of, is_generator, is_hashable
from ..hub import Hub
from ..options import Options
from ..server import ClientSocket, Takeover, gunicorn
from ..wire import Form, ai_sdk, control
from ..wire.dialects import DIALECTS
from .callbacks import Runner, StreamEvent
from .group import Group, Member
from .poll import OnPoll, Poll
from .producer import Callback, OnMessage
from .pull import Pull
from .source import Source
from .stream import Stream
from .views import asked_at

CONTENT_TYPE = "text/event-stream"
#: What an identity may be.
_IDENTITY = re.compile(r"[^\r\n\0\ud800-\udfff]{1,256}")
#: No hop-by-hop header among them: WSGI does not allow an application to set those.
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


def channel_stream(
    app: Application,
    channels: tuple[Channel, ...],
    callback: Any,
    given: Mapping[str, Any],
    label: str = "",
) -> Response:
    """Respond with messages of channels: passed through, or by a callback or a generator.

    `label` stands for the channels in statistics; without one, the view's name does.
    """
    if callback is not None:
        check_function("A stream's callback", callback)
    hub, chosen = app.hub, options.complete(given, app.settings)
    runner = Runner(app.app, _event(hub, [c.name for c in channels], chosen, label), hub)
    if chosen.presence:
        channels = _with_presence(channels, chosen)
    numbered = chosen.history and hub.settings.history > 0
    if chosen.backlog in ("state", "all") and not hub.broker.numbered:
        needs = "needs a history: set REDIS_EVENTS_HISTORY to 1 or more."
        raise ConfigError(f'backlog="{chosen.backlog}" {needs}')
    if chosen.backlog == "all":
        _check_run(channels, callback)
        if chosen.format and request.method in ("GET", "HEAD") and not _is_active(hub, channels[0]):
            return Response(status=204)

    def subscription(on: tuple[Channel, ...] = (), *, held: bool = True) -> Subscription:
        kinds = {"state": Stateful, "all": Finite if on else Stateful}
        kind = kinds.get(str(chosen.backlog), Subscription)
        return kind(on, limit=chosen.buffer, overflow=chosen.overflow, held=held, numbered=numbered)

    source: Source
    if callback is None:
        client = subscription(channels)
        source = Source(hub, client, client)
    elif chosen.shared:
        source = _shared(hub, runner, subscription(), channels, callback, chosen)
    else:
        kind = Pull if is_generator(callback) else Callback
        source = kind(hub, runner, subscription(held=False), subscription(channels), callback)
    return _respond(hub, runner, source, chosen)


def _check_run(channels: tuple[Channel, ...], callback: Any) -> None:
    if len(channels) != 1 or channels[0].pattern or is_generator(callback):
        raise ConfigError(
            'backlog="all" is for one channel with an exact name, passed through or by a callback:'
            " open a stream for each run."
        )


def _is_active(hub: Hub, channel: Channel) -> bool:
    """Say whether there is a run to join; while Redis is away, the stream waits for the answer."""
    try:
        return hub.broker.runs.look(channel.name).state == "running"
    except BrokerError:
        return True


def _shared(
    hub: Hub,
    runner: Runner,
    client: Subscription,
    channels: tuple[Channel, ...],
    callback: OnMessage,
    chosen: Options,
) -> Source:
    if is_generator(callback):
        raise ConfigError("A generator function cannot be shared: it waits for one client.")

    def make(group: Group) -> Callback:
        # If the callback is too slow for its channels, all members are told what is missing.
        inbox = Subscription(
            channels, limit=chosen.buffer, overflow="drop", held=True, numbered=client.numbered
        )
        return Callback(hub, _nobodys(runner, hub), group, inbox, callback, turn=TURN * 4)

    def make_group() -> Group:
        return Group(hub, make, numbered=client.numbered)

    key = (_key("callback", callback, chosen.shared), frozenset(channels), chosen.history)
    return Member(hub, runner, client, key=key, make=make_group)


def poll_stream(app: Application, function: OnPoll, given: Mapping[str, Any]) -> Response:
    """Respond with what a function returns, again and again."""
    check_function("A poll", function)
    hub, chosen = app.hub, options.complete(given, app.settings)
    runner = Runner(app.app, _event(hub, [request.path], chosen), hub)
    client = Subscription(limit=chosen.buffer, overflow=chosen.overflow, numbered=False)

    def make(target: Any) -> Poll:
        own = runner if target is client else _nobodys(runner, hub)
        return Poll(hub, own, target, function, chosen.interval)

    def make_group() -> Group:
        return Group(hub, make, numbered=False)

    source: Source
    if chosen.shared:
        key = (_key("poll", function, chosen.shared), chosen.interval)
        source = Member(hub, runner, client, key=key, make=make_group)
    else:
        source = make(client)
    return _respond(hub, runner, source, chosen)


def _event(hub: Hub, channels: list[str], chosen: Options, label: str = "") -> StreamEvent:
    identity = _identity(chosen)
    # The newest first: a browser updates the header at each reconnect; a library that may not set
    # headers puts `lastEventId` behind the URL, where the page may have put `last_event_id` before.
    header, args = request.headers.get("Last-Event-ID"), request.args
    return StreamEvent(
        channels,
        header or args.get("lastEventId") or args.get("last_event_id") or None,
        identity=identity,
        label=label or request.endpoint or "",
        whose=_whose(identity) if hub.settings.max_streams_per_client else None,
        asked_at=asked_at(),
    )


def _whose(identity: str | None) -> Hashable:
    """Return as whose stream a stream is counted; None if the request has no address (a socket)."""
    if identity is not None or not request.remote_addr:
        return identity
    # No identity is equal to this.
    return ("address", request.remote_addr)


def _identity(chosen: Options) -> str | None:
    identity = None if chosen.identity is None else chosen.identity()
    if identity is None or (isinstance(identity, str) and _IDENTITY.fullmatch(identity)):
        return identity
    raise FieldError(
        "identity= must return a str of 1 to 256 characters without line ends and NUL, or None;"
        f" not {identity!r}. Write str(user.id)."
    )


def _with_presence(channels: tuple[Channel, ...], chosen: Options) -> tuple[Channel, ...]:
    """Add the channels on which others are seen to come and go."""
    if any(channel.pattern for channel in channels):
        raise ConfigError("presence= needs channels with exact names, not patterns.")
    if chosen.presence != "events":
        return channels
    return (*channels, *[Channel(PRESENCE + channel.name) for channel in channels])


def _nobodys(runner: Runner, hub: Hub) -> Runner:
    """Return a runner for the code that clients share: its event is not the first client's."""
    event = StreamEvent(runner.event.channels, None, label=runner.event.label)
    return Runner(runner.app, event, hub)


def _key(kind: str, function: object, shared: Any) -> Hashable:
    """Name the clients that share a function: those of one URL, or of one result of `shared`."""
    of: Any
    if callable(shared):
        of = shared()
    else:
        # The path has the values that a url_value_preprocessor takes away; it may also add some.
        values = sorted((request.view_args or {}).items())
        of = (request.host, request.root_path, request.path, *values)
    key = (kind, request.endpoint, codes_of(function, exact=not callable(shared)), of)
    if not is_hashable(key):
        raise ConfigError(
            f"shared= cannot compare {function!r} for {of!r} with those of other clients: give it a"
            " function that returns a str, a number, or a tuple of these."
        )
    return key


def _respond(hub: Hub, runner: Runner, source: Source, chosen: Options) -> Response:
    """Start the stream, unless this client was told that it is over, or there is no room."""
    if control.is_end(runner.event.last_event_id or ""):
        # The one status that makes an EventSource stop for good.
        return Response(status=204, headers=HEADERS)
    refusal = hub.refusal(runner.event.whose)
    if refusal is None and runner.event.last_event_id:
        admitted = hub.resumes.admits(_whose(runner.event.identity))
        refusal = None if admitted else endings.RESUMES
    if refusal is not None:
        return _turn_away(hub, runner.app, refusal)
    dialect, headers = request.args.get("dialect"), HEADERS
    if chosen.format == ai_sdk.NAME:
        dialect, headers = ai_sdk.NAME, {**HEADERS, **ai_sdk.HEADERS}
    if dialect in DIALECTS or headers is not HEADERS:
        source.target.form = source.target.form._replace(dialect=dialect)
    stream = Stream(hub, runner, source, chosen, ClientSocket.of(request.environ))
    return _streaming(runner.app.response_class)(
        stream, headers=headers, content_type=CONTENT_TYPE, direct_passthrough=True
    )


def _turn_away(hub: Hub, app: Flask, ending: Ending) -> Response:
    """Ask the client to come again: any status but 200 makes an EventSource give up."""
    hub.reports.refused(ending)
    farewell = hub.farewell(ending)
    if farewell is not None and CONTENT_TYPE in request.accept_mimetypes.values():
        words = _last_words(farewell.encode(Form()), request.environ)
        kind = _streaming(app.response_class)
        return kind(words, headers=HEADERS, content_type=CONTENT_TYPE)
    seconds = round(jitter(hub.settings.retry * ending.patience * 2, by=0.5)) or 1
    return Response(
        f"No room for one more stream: {ending.reason}.\n",
        status=503,
        headers={**HEADERS, "Retry-After": str(seconds)},
        content_type="text/plain; charset=utf-8",
    )


def _last_words(frame: bytes, environ: Mapping[str, Any]) -> Iterator[bytes]:
    yield frame
    # An idle connection takes a place in a full worker, too.
    if client := ClientSocket.of(environ):
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
        stream, takeover = self.response, None
        if isinstance(stream, Stream):
            # Werkzeug calls these for what it iterates over itself: for the answer to HEAD only.
            stream.runner.finalizers, self._on_close = self._on_close, []
            stream.hub.meet(environ)
            if stream.hub.settings.handoff == "auto":
                takeover = stream.takeover = Takeover.of(environ)
        return super().__call__(environ, gunicorn.watch(start_response, takeover))
