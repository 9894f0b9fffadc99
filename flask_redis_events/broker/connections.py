"""How Redis is reached: a connection's settings, and redis-py's errors as ours.

redis-py's own retries are off throughout.  They would publish twice, reconnect in the wrong
greenlet, and sleep with a `sleep` that was imported before gevent patched it.
"""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ..exceptions import BrokerError, ConfigError
from ..settings import without_password

#: What redis-py puts into a pool's settings for itself; it means nothing to another pool.
_PRIVATE = ("maint_notifications", "orig_", "himport", "cache", "retry", "event_dispatcher")


def connection_settings(url: str, client: Any) -> tuple[type[Any], dict[str, Any]]:
    """Return what connections are made of, from a URL or from a client that is given."""
    if client is None:
        connection_class, given = _read_url(url)
    elif isinstance(client, redis.Redis):
        given = client.connection_pool.connection_kwargs
        connection_class = client.connection_pool.connection_class
    else:
        raise ConfigError(f"redis= takes a redis.Redis client, not {client!r}.")
    settings = {name: value for name, value in given.items() if not name.startswith(_PRIVATE)}
    settings.update(
        protocol=2,
        decode_responses=False,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
    )
    return connection_class, settings


def _read_url(url: str) -> tuple[type[Any], dict[str, Any]]:
    try:
        given = dict(parse_url(url))  # type: ignore[no-untyped-call]
        connection_class = given.pop("connection_class", redis.Connection)
        # Of a pool, and ours has its own.
        for name in ("max_connections", "timeout"):
            given.pop(name, None)
        if unknown := given.keys() - _parameters(connection_class):
            raise ValueError(f"redis-py has no option {', '.join(sorted(unknown))}")
        database = urlsplit(url).path.strip("/")
        if "path" not in given and database and not database.isdecimal():
            raise ValueError(f"a database has a number, unlike {database!r}")
    except ValueError as error:
        raise ConfigError(
            f"REDIS_EVENTS_URL must be a URL like redis://localhost:6379/0, not"
            f" {without_password(url)!r}: {error}."
        ) from error
    return connection_class, given


def _parameters(kind: type[Any]) -> set[str]:
    """Return what a class takes to make one of it, the inherited arguments included."""
    return {name for base in kind.__mro__ for name in inspect.signature(base).parameters}


#: What tells that a connection is of no use.  One that is disconnected by another greenlet or
#: thread, as all idle ones are after an error, may be found half taken apart.
UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError, AttributeError)


class translated:
    """Turn redis-py's errors and the socket's into `BrokerError`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (RedisError, *UNREACHABLE)):
            raise broker_error(error) from error


#: What redis-py takes for a lost connection, and Redis says again however often it is asked.
REFUSED = (AuthenticationError, AuthorizationError)


def broker_error(error: BaseException) -> BrokerError:
    if isinstance(error, UNREACHABLE) and not isinstance(error, REFUSED):
        reason = str(error).rstrip(".")
        return BrokerError(
            f"Redis could not be reached: {reason}. Check REDIS_EVENTS_URL, and that it runs."
        )
    return BrokerError(f"Redis refused: {error}")
