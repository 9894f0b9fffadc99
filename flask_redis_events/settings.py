"""The settings of an application, read once and checked: a wrong one never gets past `init_app`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from .exceptions import ConfigError

PREFIX = "REDIS_EVENTS_"
SCHEMES = ("redis", "rediss", "unix", "memory")
OVERFLOWS = ("close", "drop", "latest")
HANDOFFS = ("auto", "off")


def url(name: str, value: object) -> str:
    if isinstance(value, str) and value.partition(":")[0] in SCHEMES:
        return value
    shown = without_password(value) if isinstance(value, str) else value
    raise ConfigError(f"{name} must be a URL like redis://localhost:6379/0, not {shown!r}.")


def without_password(url: str) -> str:
    """Return a URL as it may be shown and logged."""
    url = re.sub(r"(//[^:@/]*):.*@", r"\1:…@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1…", url)


def prefix(name: str, value: object) -> str:
    if isinstance(value, str) and not any(character in value for character in "\r\n\0"):
        return value
    raise ConfigError(f"{name} must be a str without line ends, like 'events:', not {value!r}.")


def seconds(name: str, value: object) -> float:
    if _is_number(value) and 0 < value < math.inf:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise ConfigError(f"{name} must be a positive number of seconds, not {value!r}.")


def maybe_seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        return seconds(name, value)
    except ConfigError:
        raise ConfigError(
            f"{name} must be a positive number of seconds or None, not {value!r}."
        ) from None


def count(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ConfigError(f"{name} must be a whole number, 0 or more, not {value!r}.")


def size(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1024:
        return value
    raise ConfigError(f"{name} must be a number of bytes, 1024 or more, not {value!r}.")


def maybe_limit(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ConfigError(f"{name} must be a positive whole number or None, not {value!r}.")


def one_of(*choices: str) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")

    return check


overflow = one_of(*OVERFLOWS)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One entry a setting; durations are seconds, sizes are bytes."""

    #: Where Redis is: redis://, rediss://, unix://, or memory:// for one process without Redis.
    url: str = "redis://localhost:6379/0"
    #: What every key and pub/sub channel on Redis begins with.
    prefix: str = "events:"
    #: How many messages a channel keeps for those who come back; 0 keeps none, and gives no ids.
    history: int = 1000
    #: How long a channel's history outlives its last message.
    history_ttl: float = 300.0
    #: How long a stream may be silent before it says that it is alive.
    heartbeat: float = 15.0
    #: How long a browser waits before it reconnects.
    retry: float = 3.0
    #: How many streams a worker serves; None takes 80 % of gunicorn's worker_connections.
    max_streams: int | None = None
    #: How long a stream may live before its browser is asked to reconnect; None has no limit.
    max_age: float | None = None
    #: How many bytes may wait for one client.
    buffer: int = 1024 * 1024
    #: What happens to a client whose buffer is full: close, drop or latest.
    overflow: str = "close"
    #: How long a client may refuse to read before its connection is cut.
    write_timeout: float = 30.0
    #: Whether the client's socket may be written by the hub itself: auto or off.
    handoff: str = "auto"

    @classmethod
    def from_config(cls, config: MutableMapping[str, Any]) -> Settings:
        """Read `REDIS_EVENTS_…`, set what is absent to its default, and refuse what is unknown."""
        _refuse_unknown(config)
        values = {}
        for field, check in CHECKS.items():
            name = PREFIX + field.upper()
            values[field] = check(name, config.setdefault(name, _DEFAULTS[field]))
        return cls(**values)


CHECKS: dict[str, Callable[[str, object], Any]] = {
    "url": url,
    "prefix": prefix,
    "history": count,
    "history_ttl": seconds,
    "heartbeat": seconds,
    "retry": seconds,
    "max_streams": maybe_limit,
    "max_age": maybe_seconds,
    "buffer": size,
    "overflow": overflow,
    "write_timeout": seconds,
    "handoff": one_of(*HANDOFFS),
}
_DEFAULTS = {field: getattr(Settings(), field) for field in CHECKS}


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    known = {PREFIX + field.upper() for field in CHECKS}
    for name in config:
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(
                f"{name} is no setting of Flask-Redis-Events; there are {', '.join(sorted(known))}."
            )
