"""The options of one stream, and how they are completed from the application's settings.

They are checked where the developer writes them, so that a wrong one fails when the view is
decorated, with that line in the traceback.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from . import settings
from .concurrency import jitter
from .exceptions import ConfigError
from .functions import check_plain
from .settings import Settings


class StreamOptions(TypedDict, total=False):
    """The options of `stream` and `stream_response`; durations are in seconds."""

    #: How long the stream may be silent before it sends a heartbeat.
    heartbeat: float | None
    #: How long the stream may live before its browser is asked to reconnect; None sets no limit.
    max_age: float | None
    #: False sends events without ids, so that a reconnecting client gets no missed messages.
    history: bool
    #: How many of the channels' last messages a client gets when it connects for the first time.
    #: "state": it gets the newest value of each key that was emitted with `keep="latest"`.
    #: "all": the channel has runs, and a client gets all of the newest one, to its end.
    backlog: int | Literal["state", "all"]
    #: "ai-sdk" sends what clients of Vercel's AI SDK read; it needs backlog="all".
    format: Literal["ai-sdk"] | None
    #: Action when the client's buffer is full: close, drop or latest.
    overflow: str | None
    #: True runs the callback once for each message in a worker, and sends the result to all clients
    #: of the same URL; the callback must not depend on the client.  A function `f()` is called in
    #: the view, and returns the key of the clients that share the callback.
    shared: bool | Callable[[], Hashable]
    #: `f()`, called in the view: who the client is, as text; None says nothing.
    identity: Callable[[], str | None] | None
    #: True lets `events.present(channel)` name the identity; "events" also sends the stream an
    #: event `join` or `leave` for each identity that comes to its channels or goes.
    presence: bool | str
    #: `f(event)`, called about every heartbeat: False ends the stream for good.
    reauthorize: Callable[..., Any] | None
    #: `f(event)`, called when the stream begins; the messages that it sends or returns come first.
    on_open: Callable[..., Any] | None
    #: `f(event, reason)`, called when the stream has ended.
    on_close: Callable[..., Any] | None


class PollOptions(TypedDict, total=False):
    """The options of `poll` and `poll_response`; durations are in seconds."""

    #: The time from one call of the function to the next.
    interval: float
    #: How long the stream may be silent before it sends a heartbeat.
    heartbeat: float | None
    #: How long the stream may live before its browser is asked to reconnect; None sets no limit.
    max_age: float | None
    #: True calls the function once for all clients of the same URL in a worker.  A function `f()`
    #: is called in the view, and returns the key of the clients that share the calls.
    shared: bool | Callable[[], Hashable]
    #: `f()`, called in the view: who the client is, as text; None says nothing.
    identity: Callable[[], str | None] | None
    #: `f(event)`, called about every heartbeat: False ends the stream for good.
    reauthorize: Callable[..., Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a stream, with the settings in place of those not given."""

    heartbeat: float
    max_age: float | None
    buffer: int
    overflow: str
    history: bool = True
    backlog: int | Literal["state", "all"] = 0
    format: str | None = None
    on_open: Callable[..., Any] | None = None
    on_close: Callable[..., Any] | None = None
    interval: float = 1.0
    shared: bool | Callable[[], Hashable] = False
    identity: Callable[[], str | None] | None = None
    presence: bool | str = False
    reauthorize: Callable[..., Any] | None = None


def flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigError(f"{name} must be True or False, not {value!r}.")


def maybe_function(name: str, value: Any) -> Callable[..., Any] | None:
    if value is not None:
        check_plain(name, value)
    return value  # type: ignore[no-any-return]


def flag_or_function(name: str, value: Any) -> bool | Callable[..., Any] | None:
    if isinstance(value, bool):
        return value
    if value is not None and not callable(value):
        raise ConfigError(f"{name} must be True, False or a function, not {value!r}.")
    return maybe_function(name, value)


def presence(name: str, value: object) -> bool | str:
    if isinstance(value, bool) or value == "events":
        return value
    raise ConfigError(f'{name} must be True, False or "events", not {value!r}.')


def backlog(name: str, value: object) -> int | str:
    if isinstance(value, str) and value in ("state", "all"):
        return value
    if isinstance(value, str):
        raise ConfigError(f'{name} must be a number of messages, "state" or "all", not {value!r}.')
    return settings.count(name, value)


def maybe_format(name: str, value: object) -> str | None:
    if value is None or value == "ai-sdk":
        return value
    raise ConfigError(f'{name} must be "ai-sdk" or None, not {value!r}.')


def maybe_overflow(name: str, value: object) -> str | None:
    return None if value is None else settings.overflow(name, value)


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "heartbeat": settings.maybe_seconds,
    "max_age": settings.maybe_seconds,
    "history": flag,
    "backlog": backlog,
    "format": maybe_format,
    "overflow": maybe_overflow,
    "on_open": maybe_function,
    "on_close": maybe_function,
    "interval": settings.seconds,
    "shared": flag_or_function,
    "identity": maybe_function,
    "presence": presence,
    "reauthorize": maybe_function,
}


def check(
    given: Mapping[str, Any], kind: type[StreamOptions] | type[PollOptions]
) -> dict[str, Any]:
    """Check the given options and return them.

    The value None selects the application's setting, so the option is left out.  The exception is
    `max_age`, for which None means that there is no limit.
    """
    allowed = kind.__annotations__
    for name in given:
        if name not in allowed:
            raise ConfigError(f"There is no option {name!r}; use one of {', '.join(allowed)}.")
    checked = {name: _CHECKS[name](name, value) for name, value in given.items()}
    if checked.get("presence") and checked.get("identity") is None:
        raise ConfigError("presence= needs identity=, a function that says who the client is.")
    if checked.get("backlog") == "all" and (checked.get("shared") or not checked.get("history", 1)):
        raise ConfigError('backlog="all" works without shared=, and not with history=False.')
    if checked.get("format") and checked.get("backlog") != "all":
        raise ConfigError('format="ai-sdk" needs backlog="all": it streams a run.')
    return {
        name: value for name, value in checked.items() if value is not None or name == "max_age"
    }


def next_tick(options: Options, write_timeout: float, opened_at: float, active_at: float) -> float:
    """Return the seconds until a stream may need a heartbeat, its end, or its connection cut.

    `opened_at` and `active_at` are times of `time.monotonic()`.
    """
    now = time.monotonic()
    seconds = min(active_at + jitter(options.heartbeat) - now, write_timeout / 2)
    if options.max_age is not None:
        seconds = min(seconds, opened_at + options.max_age - now)
    return max(0.0, seconds)


def complete(checked: Mapping[str, Any], settings: Settings) -> Options:
    """Return the given options with the settings in place of those not given.

    Streams with the same options share one object, because a worker may have thousands of them.
    """
    if any(map(callable, checked.values())):
        # A view may make these functions anew for each request; the cache would keep them alive.
        return _complete.__wrapped__(tuple(checked.items()), settings)
    return _complete(tuple(checked.items()), settings)


@functools.lru_cache(maxsize=256)
def _complete(checked: tuple[tuple[str, Any], ...], settings: Settings) -> Options:
    values: dict[str, Any] = {
        "heartbeat": settings.heartbeat,
        "max_age": settings.max_age,
        "overflow": settings.overflow,
        "buffer": settings.buffer,
    }
    return Options(**{**values, **dict(checked)})
