"""How a connection to Redis is made, and how redis-py's errors become ours.

redis-py's own retries are switched off everywhere, because they would publish a message twice,
reconnect in a greenlet that does not own the connection, and sleep with a `sleep` that redis-py
imported before gevent patched it.
"""

from __future__ import annotations

import inspect
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ..exceptions import BrokerError, ConfigError
from ..settings import Settings, without_password

#: redis-py adds entries with these prefixes to a pool's settings, for the use of that pool only.
_PRIVATE = ("maint_notifications", "orig_", "himport", "cache", "retry", "event_dispatcher")


def connection_settings(url: str, client: Any) -> tuple[type[Any], dict[str, Any]]:
    """Return the class of connections and its keyword arguments, from a URL or from a client.

    Raises `ConfigError` for a URL or a client that redis-py could not use.
    """
    if client is None:
        connection_class, given = _read_url(url)
    elif isinstance(client, redis.Redis):
        given = client.connection_pool.connection_kwargs
        connection_class = client.connection_pool.connection_class
    else:
        shown = without_password(repr(client))
        raise ConfigError(f"redis= takes a redis.Redis client, not {shown}.")
    if connection_class.__module__.startswith("fakeredis"):
        # Its connections read without a timeout, so that the reader would wait for ever.
        raise ConfigError(
            "redis= takes a client of a real Redis, not one of fakeredis: in tests, set"
            " REDIS_EVENTS_URL to 'memory://'."
        )
    settings = {name: value for name, value in given.items() if not name.startswith(_PRIVATE)}
    settings.update(
        # RESP2 carries the same bytes as RESP3, and redis-py parses it in less time.
        protocol=2,
        # Frames are bytes, and reach the browser as they are.
        decode_responses=False,
        # redis-py's health check would read a reply that the feed's reader waits for.
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
    )
    return connection_class, settings


def _read_url(url: str) -> tuple[type[Any], dict[str, Any]]:
    try:
        given = dict(parse_url(url))  # type: ignore[no-untyped-call]
        connection_class = given.pop("connection_class", redis.Connection)
        # These two configure a pool, and the broker makes its own pool.
        for name in ("max_connections", "timeout"):
            given.pop(name, None)
        if unknown := given.keys() - _parameters(connection_class):
            raise ValueError(f"redis-py has no option {', '.join(sorted(unknown))}")
        parts = urlsplit(url)
        database = parts.path.strip("/")
        if "path" not in given and database and not database.isdecimal():
            raise ValueError(f"the database must be a number, not {database!r}")
        if parts.fragment or (parts.query and not parse_qsl(parts.query)):
            raise ValueError("a URL of Redis has no # and only options like db=1 after its ?")
    except ValueError as error:
        # One of these in a password ends the host for redis-py, whose error shows a part of it.
        unquoted = re.search(r"[/?#\[\]].*@", url.partition("//")[2], re.DOTALL)
        reason = "write / ? # [ ] in its password as %2F %3F %23 %5B %5D" if unquoted else error
        raise ConfigError(
            f"REDIS_EVENTS_URL must be a URL like redis://localhost:6379/0, not"
            f" {without_password(url)!r}: {reason}."
        ) from (None if unquoted else error)
    return connection_class, given


def _parameters(kind: type[Any]) -> set[str]:
    """Return the names of all arguments that a class accepts, inherited ones included."""
    return {name for base in kind.__mro__ for name in inspect.signature(base).parameters}


_DEFAULT = urlsplit(Settings.url).netloc

#: Errors which show that a connection is unusable.  AttributeError is one of them, because another
#: greenlet or thread may be disconnecting the connection at this moment (after an error all idle
#: connections are), and redis-py then finds some of its attributes set to None.
UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError, AttributeError)


class translated:
    """A context in which errors of redis-py and of the socket are raised as `BrokerError`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (RedisError, *UNREACHABLE)):
            raise broker_error(error) from error


#: Answers that only a node of a cluster gives.
CLUSTER = (AskError, ClusterCrossSlotError, ClusterDownError, MovedError, TryAgainError)

#: redis-py derives these from its ConnectionError.  A new attempt would not help, because Redis
#: refuses the same password or user every time.
REFUSED = (AuthenticationError, AuthorizationError)


def broker_error(error: BaseException) -> BrokerError:
    """Return the `BrokerError` for a foreign error: Redis is unreachable, or refuses a command."""
    if isinstance(error, UNREACHABLE) and not isinstance(error, REFUSED):
        reason = str(error).rstrip(".")
        # Where the setting has its default, this may be the first try of all.
        hint = (
            " Without a Redis, set it to memory:// for a first try." if _DEFAULT in reason else ""
        )
        return BrokerError(
            f"Redis could not be reached: {reason}. Check REDIS_EVENTS_URL, and that Redis"
            f" runs.{hint}"
        )
    # redis-py 5 has no class for CROSSSLOT outside of its cluster client.
    if isinstance(error, CLUSTER) or str(error).startswith("CROSSSLOT"):
        return BrokerError(
            f"REDIS_EVENTS_URL leads to a node of a Redis Cluster, which is not supported: {error}."
            " Choose a Redis that is no cluster."
        )
    if "unknown" in str(error).lower() and "command" in str(error).lower():
        return BrokerError(
            f"Redis lacks a command that Flask-Redis-Events needs: {error}. It must be Redis 6.2 or"
            " later, and `rename-command` in its configuration must leave that command as it is."
        )
    return BrokerError(f"Redis refused: {error}")
