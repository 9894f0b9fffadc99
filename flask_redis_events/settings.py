"""An application's settings: read and checked once, so that a wrong one fails in `init_app`.

Each check takes the setting's name and its value, and returns the value in the type of the field.
It raises `ConfigError` with a text that names the setting and says what to write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from .exceptions import ConfigError

PREFIX = "REDIS_EVENTS_"
SCHEMES = ("redis", "rediss", "unix", "memory")
OVERFLOWS = ("close", "drop", "latest")
HANDOFFS = ("auto", "off")


def url(name: str, value: object) -> str:
    if isinstance(value, str) and value.partition(":")[0] in SCHEMES:
        return value
    shown = without_password(repr(value))
    raise ConfigError(f"{name} must be a URL like redis://localhost:6379/0, not {shown}.")


def without_password(url: str) -> str:
    """Return the URL with its passwords replaced, so that it can be shown and logged."""
    # The greedy `.*` ends at the last `@`, because a password may hold that character, too.
    url = re.sub(r"^(['\"]?(?:\w+://)?[^:@/]*):.*@", r"\1:…@", url, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1…", url, flags=re.IGNORECASE)


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


def secret(name: str, value: object) -> str:
    if isinstance(value, str) and (not value or len(value) >= 16):
        return value
    # The value is not shown: it is a secret, even if it is a wrong one.
    raise ConfigError(
        f"{name} must be a str of 16 characters or more (secrets.token_hex() makes one), or ''."
    )


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
    """One field for each setting; durations are in seconds, sizes in bytes."""

    #: Address of Redis: redis://, rediss://, unix://, or memory:// for one process without Redis.
    url: str = field(default="redis://localhost:6379/0", repr=False)
    #: The beginning of every key and pub/sub channel on Redis.
    prefix: str = "events:"
    #: How many messages a channel keeps for reconnecting clients; 0 keeps none, and gives no ids.
    history: int = 1000
    #: How long a channel's history outlives its last message.
    history_ttl: float = 300.0
    #: How long Redis remembers a channel's last id, which proves that the channel was silent since.
    silence_ttl: float = 86_400.0
    #: How many keys the state of one channel may have: what `emit(…, keep="latest")` keeps.
    state_keys: int = 1000
    #: How many bytes the state of one channel may have.
    state_bytes: int = 1024 * 1024
    #: How long the state of a channel outlives its last change.
    state_ttl: float = 7 * 86_400.0
    #: What signs the events on Redis, so that nobody can forge one who may PUBLISH there, the same
    #: in all processes; '' signs nothing.
    secret: str = field(default="", repr=False)
    #: How many bytes an event may have.
    max_event: int = 1024 * 1024
    #: How many bytes of history one client may be sent when it resumes.
    max_replay: int = 8 * 1024 * 1024
    #: How long a stream may be silent before it sends a heartbeat.
    heartbeat: float = 15.0
    #: How long a browser waits before it reconnects.
    retry: float = 3.0
    #: How many streams a worker serves; None takes 80 % of gunicorn's worker_connections.
    max_streams: int | None = None
    #: How many of them one client may have: one identity or, without one, one address; None sets
    #: no limit.
    max_streams_per_client: int | None = None
    #: How long a stream may live before its browser is asked to reconnect; None sets no limit.
    max_age: float | None = None
    #: How many bytes may wait for one client.
    buffer: int = 1024 * 1024
    #: Action when a client's buffer is full: close ends its stream, drop discards its oldest
    #: messages, latest first discards messages that a newer one with the same key supersedes.
    overflow: str = "close"
    #: How often one identity or address may resume in a minute; None sets no limit.
    resume_rate: int | None = None
    #: How long a client may refuse to read before its connection is cut.
    write_timeout: float = 30.0
    #: Whether the hub may write a client's socket itself: auto or off.
    handoff: str = "auto"

    @classmethod
    def from_config(cls, config: MutableMapping[str, Any]) -> Settings:
        """Read the `REDIS_EVENTS_…` entries of a configuration; write the defaults of absent ones.

        Raises `ConfigError` for a wrong value, and for a name that is no setting.
        """
        _refuse_unknown(config)
        values = {}
        for setting, check in CHECKS.items():
            name = PREFIX + setting.upper()
            values[setting] = check(name, config.setdefault(name, _DEFAULTS[setting]))
        return cls(**values)


CHECKS: dict[str, Callable[[str, object], Any]] = {
    "url": url,
    "prefix": prefix,
    "history": count,
    "history_ttl": seconds,
    "silence_ttl": seconds,
    "state_keys": count,
    "state_bytes": size,
    "state_ttl": seconds,
    "secret": secret,
    "max_event": size,
    "max_replay": size,
    "heartbeat": seconds,
    "retry": seconds,
    "max_streams": maybe_limit,
    "max_streams_per_client": maybe_limit,
    "max_age": maybe_seconds,
    "buffer": size,
    "overflow": overflow,
    "resume_rate": maybe_limit,
    "write_timeout": seconds,
    "handoff": one_of(*HANDOFFS),
}
_DEFAULTS = {setting: getattr(Settings(), setting) for setting in CHECKS}


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    known = {PREFIX + setting.upper() for setting in CHECKS}
    for name in config:
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(
                f"{name} is no setting of Flask-Redis-Events; use one of"
                f" {', '.join(sorted(known))}."
            )
