"""The options of a stream: checked where they are written, and completed from the settings."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from . import settings
from .concurrency import jitter
from .exceptions import ConfigError
from .settings import Settings


class StreamOptions(TypedDict, total=False):
    """What `stream` and `stream_response` take; durations are seconds."""

    #: How long the stream may be silent.
    heartbeat: float | None
    #: How long the stream may live before its browser is asked to reconnect; None: no limit.
    max_age: float | None
    #: False: no ids, and nothing for those who come back.
    history: bool
    #: How many of the channels' last messages a first connect gets.
    backlog: int
    #: What happens when the client's buffer is full: close, drop or latest.
    overflow: str | None
    #: The callback does not depend on the client: it runs once for each message in a worker.
    shared: bool
    #: `f(event)`: what it returns or sends is the first message.
    on_open: Callable[..., Any] | None
    #: `f(event, reason)`: called when the stream is over.
    on_close: Callable[..., Any] | None


class PollOptions(TypedDict, total=False):
    """What `poll` and `poll_response` take; durations are seconds."""

    #: How long from one call to the next.
    interval: float
    #: How long the stream may be silent.
    heartbeat: float | None
    #: How long the stream may live before its browser is asked to reconnect.
    max_age: float | None
    #: One producer in each worker, however many clients.
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All that a stream needs to know."""

    heartbeat: float
    max_age: float | None
    buffer: int
    overflow: str
    history: bool = True
    backlog: int = 0
    on_open: Callable[..., Any] | None = None
    on_close: Callable[..., Any] | None = None
    interval: float = 1.0
    shared: bool = False


def flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigError(f"{name} must be True or False, not {value!r}.")


def maybe_function(name: str, value: object) -> Callable[..., Any] | None:
    if value is None or callable(value):
        return value
    raise ConfigError(f"{name} must be a function, not {value!r}.")


def maybe_overflow(name: str, value: object) -> str | None:
    return None if value is None else settings.overflow(name, value)


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "heartbeat": settings.maybe_seconds,
    "max_age": settings.maybe_seconds,
    "history": flag,
    "backlog": settings.count,
    "overflow": maybe_overflow,
    "on_open": maybe_function,
    "on_close": maybe_function,
    "interval": settings.seconds,
    "shared": flag,
}


def check(
    given: Mapping[str, Any], kind: type[StreamOptions] | type[PollOptions]
) -> dict[str, Any]:
    """Return the options that are given, checked.

    None stands for the setting and is left out, but for `max_age`, where it means no limit.
    """
    allowed = kind.__annotations__
    for name in given:
        if name not in allowed:
            raise ConfigError(f"There is no option {name!r}; there are {', '.join(allowed)}.")
    checked = {name: _CHECKS[name](name, value) for name, value in given.items()}
    return {
        name: value for name, value in checked.items() if value is not None or name == "max_age"
    }


def next_tick(options: Options, write_timeout: float, opened_at: float, active_at: float) -> float:
    """Seconds until something may be due for a stream: a heartbeat, its end, or its being cut."""
    now = time.monotonic()
    seconds = min(active_at + jitter(options.heartbeat) - now, write_timeout / 2)
    if options.max_age is not None:
        seconds = min(seconds, opened_at + options.max_age - now)
    return max(0.0, seconds)


def complete(checked: Mapping[str, Any], settings: Settings) -> Options:
    """Add the settings to what was given; streams that are given the same share the outcome."""
    if "on_open" in checked or "on_close" in checked:
        # Functions may be made anew for each request, and nothing should keep them.
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
